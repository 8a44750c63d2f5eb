"""Data as networks want it: standardised inputs, centred one-hot targets."""

import warnings
from typing import Any

import numpy as np

from largen import door
from largen.border import bordered
from largen.errors import InputError
from largen.types import Array, hand_back, is_traced, island


@bordered("X")
def standardize(X: Any) -> Array:
    """Inputs centred per feature and scaled by one number so that |x|^2/n_0 = 1 on average over the rows.

    `X`: (n, features). Returns the same shape and dtype. Raises `InputError` for bad arrays and for constant data.

    >>> import largen as lg, numpy as np
    >>> X = lg.standardize(np.array([[0.0, 10.0], [2.0, 30.0], [4.0, 20.0]]))
    >>> float((X**2).mean().round(12))
    1.0
    """
    X = door.points(X)
    with island(X):
        centred = X - X.mean(0)
        scale = (centred**2).mean() ** 0.5
        if not is_traced(scale) and float(scale) == 0:
            raise InputError("X", "rows that are all equal", "at least two different rows")
        return hand_back((centred / scale).astype(X.dtype), X)


def one_hot(y: Any, classes: int | None = None) -> np.ndarray:
    """Centred one-hot targets: 1 - 1/k in the label's column, -1/k elsewhere, shape (n, k), float64; rows sum to 0.

    `y`: (n,) integer labels 0..k-1; `classes` = k, default the largest label + 1. Raises `InputError` for labels that
    are not integers in that range.

    >>> import largen as lg
    >>> lg.one_hot([0, 1])
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    labels = np.asarray(y)
    need = "integer labels 0, 1, ..., k-1 of shape (n,)"
    if labels.ndim != 1 or labels.size == 0:
        raise InputError("y", f"shape {labels.shape}", need)
    if labels.dtype.kind not in "iub":
        raise InputError("y", f"entries of type {labels.dtype}", need, "Number string classes with np.unique(y, return_inverse=True)[1].")
    labels = labels.astype(int)
    k = int(labels.max()) + 1 if classes is None else door.count(classes, "classes")
    if labels.min() < 0 or labels.max() >= k:
        raise InputError("y", f"labels from {labels.min()} to {labels.max()}", f"labels from 0 to {k - 1}")
    return np.eye(k)[labels] - 1 / k


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
        warnings.warn(message, UserWarning, stacklevel=3)
