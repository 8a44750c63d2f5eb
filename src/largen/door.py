"""Checks at the door: every public function turns its arguments into clean arrays here, or raises `InputError`.

Values are looked at only when they are concrete; under `jit`, `grad` or `vmap` only shapes and dtypes are checked.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import memory
from largen.errors import InputError
from largen.types import Array, is_traced


def array(value: Any, name: str, need: str = "an array of finite real numbers") -> Array:
    """A floating array of finite real numbers: numpy stays numpy, JAX stays JAX, integers become the default float."""
    memory.require_copy(value, name)
    if isinstance(value, jax.Array):
        out: Array = value
    else:
        try:
            out = np.asarray(value)
        except ValueError as error:  # ragged lists
            raise InputError(name, f"a {type(value).__name__} that is no rectangular array", need) from error
        if out.dtype == object or out.dtype.kind in "USMmV":
            raise InputError(name, f"entries of type {out.dtype if out.dtype != object else 'object'} (not numbers)", need)
    if jnp.issubdtype(out.dtype, jnp.complexfloating):
        raise InputError(name, f"complex entries ({out.dtype})", need)
    if not jnp.issubdtype(out.dtype, jnp.floating):
        out = out.astype(jnp.result_type(float))
    if not is_traced(out) and out.size and not bool(np.isfinite(np.asarray(out, dtype=np.float64)).all()):
        bad = int((~np.isfinite(np.asarray(out, dtype=np.float64))).sum())
        raise InputError(name, f"{bad} entries that are NaN or infinite (shape {out.shape})", need)
    return out


def points(X: Any, name: str = "X", columns: int | None = None, other: str = "the other points") -> Array:
    """Inputs of a network: shape (n, features), n >= 1, features >= 1, as many features as `columns` if given."""
    need = "an array of finite real numbers of shape (n, features), one row a point"
    out = array(X, name, need)
    if out.ndim != 2:
        fix = (
            f"One point is `{name}[None, :]`." if out.ndim == 1 else "Flatten images with `X.reshape(len(X), -1)`." if out.ndim > 2 else ""
        )
        raise InputError(name, f"an array of shape {out.shape}", need, fix)
    if 0 in out.shape:
        raise InputError(name, f"an empty array of shape {out.shape}", need)
    if columns is not None and out.shape[1] != columns:
        raise InputError(name, f"{out.shape[1]} columns", f"{columns} columns, as in {other}")
    return out


def inputs(X: Any, name: str = "X", shape: tuple[int, ...] | None = None, other: str = "the other points") -> Array:
    """Inputs of a network that may know positions: shape (n, features) or (n, *positions, channels), each point of the given `shape`."""
    need = "an array of finite real numbers of shape (n, features) or (n, *positions, channels), one entry a point"
    out = array(X, name, need)
    if out.ndim < 2:
        raise InputError(name, f"an array of shape {out.shape}", need, f"One point is `{name}[None, :]`." if out.ndim == 1 else "")
    if 0 in out.shape:
        raise InputError(name, f"an empty array of shape {out.shape}", need)
    if shape is not None and out.shape[1:] != shape:
        wanted = f"{shape[0]} columns, as in {other}" if len(shape) == 1 else f"points of shape {shape}, as in {other}"
        got = f"{out.shape[1]} columns" if out.ndim == 2 == len(shape) + 1 else f"points of shape {out.shape[1:]}"
        raise InputError(name, got, wanted)
    return out


def targets(y: Any, n: int, name: str = "y") -> Array:
    """Real targets for n points: shape (n,) or (n, outputs). Integer labels are refused, naming `lg.one_hot`."""
    need = f"real targets of shape ({n},) or ({n}, outputs), one row a point of X"
    kind = getattr(y, "dtype", None)
    if kind is None:
        y = np.asarray(y) if isinstance(y, (list, tuple)) and all(isinstance(v, (int, float)) for v in y) else y
        kind = getattr(y, "dtype", None)
    if (kind is not None and jnp.issubdtype(kind, jnp.integer)) or kind == np.bool_:
        raise InputError(
            name, f"integer labels ({kind})", need, f"For classes call `lg.one_hot({name})`; for counts `{name}.astype(float)`."
        )
    out = array(y, name, need)
    if out.ndim not in (1, 2) or out.shape[0] != n or 0 in out.shape:
        raise InputError(name, f"shape {out.shape}", need)
    return out


def number(value: Any, name: str, low: float = -np.inf, strict: bool = False, finite: bool = True) -> Any:
    """A real scalar >= low (> low if strict), finite unless said otherwise. Traced values pass unseen."""
    need = "a finite number" if finite else "a number"
    need += f" {'>' if strict else '>='} {low:g}" if np.isfinite(low) else ""
    if is_traced(value):
        return value
    if isinstance(value, (bool, str)) or value is None or np.ndim(value) != 0:
        raise InputError(name, repr(value), need)
    try:
        out = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(name, repr(value), need) from error
    if np.isnan(out) or out < low or (strict and out == low) or (finite and np.isinf(out)):
        raise InputError(name, repr(value), need)
    return out


def count(value: Any, name: str, low: int = 1) -> int:
    """An integer >= low."""
    if isinstance(value, (bool, str)) or np.ndim(value) != 0 or value is None or int(value) != value or value < low:
        raise InputError(name, repr(value), f"an integer >= {low}")
    return int(value)


def per_layer(value: Any, L: int, name: str) -> tuple[Any, ...]:
    """A scalar >= 0, or one per affine layer, as a tuple of length L."""
    if (isinstance(value, Sequence) and not isinstance(value, str)) or getattr(value, "ndim", 0) == 1:
        values = tuple(value)
        if len(values) != L:
            raise InputError(name, f"{len(values)} values", f"a number, or one per affine layer ({L})")
    else:
        values = (value,) * L
    return tuple(number(v, name, low=0.0) for v in values)


def choice(value: Any, name: str, options: Sequence[str]) -> str:
    """One of the options."""
    if value not in options:
        raise InputError(name, repr(value), "one of " + ", ".join(repr(o) for o in options))
    return value
