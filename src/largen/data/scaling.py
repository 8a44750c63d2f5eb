"""Data as networks want it: standardised inputs, centred one-hot targets."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits, memory
from largen.border import bordered
from largen.errors import InputError, warn
from largen.types import Array, is_traced


@dataclass(frozen=True)
class Scale:
    """Z -> (Z/unit - centre)/size, for which the rows it is `of` have mean 0 and mean square 1, over all columns or in each of them.

    In units of the largest entry, so that no square or sum leaves the range of the dtype; a column that does not vary is 0 exactly.
    """

    unit: Any
    centre: Any
    size: Any

    @classmethod
    def of(cls, X: Array, each: bool = False) -> "Scale":
        """That of the rows X (n, features); `each` column has its own."""
        xp, axis = (jnp if isinstance(X, jax.Array) else np), 0 if each else None
        unit = _or_one(xp, abs(X).max(axis))
        unit = unit if is_traced(unit) else np.ldexp(1.0, np.frexp(unit)[1] - 1)  # a power of two, to divide by without rounding
        x = X / unit
        centre = xp.where((x == x[0]).all(0), x[0], x.mean(0))
        rest = x - centre
        most = abs(rest).max(axis)
        return cls(unit, centre, most * ((rest / _or_one(xp, most)) ** 2).mean(axis) ** 0.5)

    def __call__(self, Z: Any) -> Any:
        return (Z / self.unit - self.centre) / self.size


def _or_one(xp: Any, size: Any) -> Any:
    return xp.where(size > 0, size, 1.0)


@exits.finite()
@bordered("X")
def standardize(X: Any) -> Array:
    """Inputs centred per feature and scaled by one number so that |x|^2/n_0 = 1 on average over the rows.

    Parameters
    ----------
    X : array (n, features), or of images (n, height, width, channels)
        Inputs; every entry of an image is a feature.

    Returns
    -------
    array like `X`
        In the dtype of X.

    Raises
    ------
    InputError
        For bad arrays and for constant data.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> X = lg.standardize(np.array([[0.0, 10.0], [2.0, 30.0], [4.0, 20.0]]))
    >>> float((X**2).mean().round(12))
    1.0
    """
    X = door.inputs(X)
    if is_traced(X):
        return Scale.of(X)(X)
    values = np.asarray(X).astype(np.float64)
    scale = Scale.of(values)
    if float(scale.size) == 0:
        raise InputError("X", "rows that are all equal", "at least two different rows")
    out = scale(values).astype(X.dtype)
    return jnp.asarray(out) if isinstance(X, jax.Array) else out


def one_hot(y: Any, classes: int | None = None) -> np.ndarray:
    """Centred one-hot targets: 1 - 1/k in the label's column, -1/k elsewhere; rows sum to 0.

    Parameters
    ----------
    y : array (n,)
        Integer labels 0..k-1.
    classes : int, optional
        k; default the largest label + 1.

    Returns
    -------
    array (n, k)
        float64.

    Raises
    ------
    InputError
        For labels that are not integers in that range.

    Examples
    --------
    >>> import largen as lg
    >>> lg.one_hot([0, 1])
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    need = "integer labels 0, 1, ..., k-1 of shape (n,)"
    found = door.held(y, "y", need)
    door.concrete(found, "y")
    labels = np.asarray(found)
    if labels.ndim != 1 or labels.size == 0:
        raise InputError("y", f"shape {labels.shape}", need)
    if labels.dtype.kind not in "iub":
        raise InputError("y", f"entries of type {labels.dtype}", need, "Number string classes with np.unique(y, return_inverse=True)[1].")
    memory.require(24.0 * len(labels), "y", f"{len(labels):,} labels of two classes or more", "Take fewer labels at a time.")
    labels = labels.astype(int)
    k = int(labels.max()) + 1 if classes is None else door.count(classes, "classes")
    if labels.min() < 0 or labels.max() >= k:
        raise InputError("y", f"labels from {labels.min()} to {labels.max()}", f"labels from 0 to {k - 1}")
    memory.require(8.0 * len(labels) * k, "classes", f"{k:,} classes of {len(labels):,} labels", "Number the classes that there are.")
    out = np.full((len(labels), k), -1 / k)
    out[np.arange(len(labels)), labels] = 1 - 1 / k
    return out


_warned = False


def warn_if_unscaled(X: Array) -> None:
    """Warn, once a process, when |x|^2/n_0 is far from 1 on average (raw pixels)."""
    global _warned
    if _warned or is_traced(X):
        return
    flat = np.asarray(X).reshape(-1)
    size = float(np.einsum("i,i->", flat, flat, dtype=np.float64)) / flat.size
    if not 0.01 <= size <= 100:
        _warned = True
        message = f"|x|^2/n_0 is {size:.3g} on average; kernels assume about 1: lg.standardize(X) gives that."
        warn(message, UserWarning)
