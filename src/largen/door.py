"""Checks at the door: every public function turns its arguments into clean values here, or raises `InputError`.

One conversion serves every argument that holds numbers (`plain`): NumPy in any byte order, JAX, PyTorch, pandas and polars, lists.
Values are looked at only when they are concrete; under `jit`, `grad` or `vmap` only shapes and dtypes are checked.
"""

import math
import numbers
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from largen import memory
from largen.errors import InputError, shown
from largen.types import Array, is_traced

REALS = "an array of finite real numbers"
MOST = 2**53  # counts beyond it are no whole numbers to floating point, and no machine holds as much
LABELS = "For classes call `lg.one_hot({0})`; for counts `np.asarray({0}, float)`."


def plain(value: Any, name: str, need: str = REALS) -> Array:
    """Anything that holds numbers as an array of real numbers, of whatever kind: JAX stays JAX, all else becomes NumPy in native order.

    Integers stay integers. PyTorch tensors are detached; bfloat16, which NumPy does not know, becomes float32; long double becomes float64.
    """
    out = held(value, name, need)
    if isinstance(out, jax.Array):
        if jnp.issubdtype(out.dtype, jax.dtypes.prng_key):
            raise InputError(name, "JAX random keys", need)
    elif out.dtype == np.longdouble:
        with np.errstate(over="ignore"):  # infinity is refused where finite numbers are needed
            out = out.astype(np.float64)
    elif not out.dtype.isnative:
        out = out.astype(out.dtype.newbyteorder("="))
    if jnp.issubdtype(out.dtype, jnp.complexfloating):
        raise InputError(name, f"complex entries ({out.dtype})", need)
    if not (jnp.issubdtype(out.dtype, jnp.floating) or jnp.issubdtype(out.dtype, jnp.integer) or out.dtype == np.bool_):
        got = shown(value) if out.ndim == 0 and not hasattr(value, "dtype") else f"entries of type {_kind(out)} (not numbers)"
        raise InputError(name, got, need)
    if jnp.issubdtype(out.dtype, jnp.floating) and out.dtype.itemsize < 2:
        raise InputError(name, f"entries of type {out.dtype}", f"{need}, float16 at least", f"Convert them: {name}.astype('float32').")
    return out


def held(value: Any, name: str, need: str) -> Array:
    """The array that a value is or holds, its entries unseen."""
    memory.require_copy(value, name)
    if isinstance(value, jax.Array):
        if not isinstance(value, Tracer) and value.is_deleted():
            raise InputError(name, "a JAX array that was deleted or donated", need, "Give a copy to the call that donates it.")
        return value
    if (torch := sys.modules.get("torch")) is not None and isinstance(value, torch.Tensor):
        return _tensor(value, torch, name, need)
    if callable(getattr(value, "to_numpy", None)):
        return _frame(value, name, need) if hasattr(value, "columns") else _column(value, name, need)
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            fix = f"Fill them, `{name}.filled(0.0)`, or leave their rows out."
            raise InputError(name, f"{int(np.ma.count_masked(value))} masked entries (shape {value.shape})", need, fix)
        return np.asarray(value.data)
    if isinstance(value, (list, tuple)):  # whose masks NumPy would drop
        for row in value:
            if isinstance(row, np.ma.MaskedArray):
                held(row, name, need)
    try:
        return np.asarray(value)
    except Exception as error:  # ragged or endless lists, and whatever the conversions of other libraries raise
        if isinstance(value, (list, tuple)) and is_traced(value):
            return jnp.asarray(value)
        raise InputError(name, f"a {type(value).__name__} that is no rectangular array", need) from error


def _tensor(value: Any, torch: Any, name: str, need: str) -> np.ndarray:
    """A PyTorch tensor as NumPy, off its graph and its device."""
    try:
        value = value.detach().cpu().resolve_conj().resolve_neg()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    except Exception as error:  # sparse, quantised, on the meta device
        got = f"a torch tensor that has no NumPy form ({value.layout}, {value.dtype}, {value.device})"
        raise InputError(name, got, need, "Make it dense, on the CPU.") from error


def _frame(frame: Any, name: str, need: str) -> np.ndarray:
    """A table with named columns (pandas, polars) as (rows, columns); the error names the column."""
    columns = list(frame.items() if hasattr(frame, "items") else ((column.name, column) for column in frame.get_columns()))
    if not columns:
        raise InputError(name, "a table without columns", need)
    return np.stack([plain(column, f"{name}[{title!r}]", need) for title, column in columns], axis=1)


def _column(column: Any, name: str, need: str) -> np.ndarray:
    """A column of a table as NumPy; missing entries of types that have no NaN are refused."""
    missing = column.null_count() if hasattr(column, "null_count") else int(column.isna().sum()) if hasattr(column, "isna") else 0
    if missing:
        raise InputError(name, f"{missing} missing entries", need, "Fill them, or leave their rows out.")
    out = np.asarray(column.to_numpy())
    if out.dtype == object and all(isinstance(v, numbers.Real) for v in out.flat):  # nullable types of pandas
        out = np.array(out.tolist())
    return out


def _kind(value: Any) -> str:
    return "object" if value.dtype == object else str(value.dtype)


def array(value: Any, name: str, need: str = REALS) -> Array:
    """A floating array of finite real numbers: numpy stays numpy, JAX stays JAX, integers become the default float."""
    out = plain(value, name, need)
    if not jnp.issubdtype(out.dtype, jnp.floating):
        out = out.astype(jnp.result_type(float))
    finite(out, name, need)
    return out


def finite(out: Array, name: str, need: str = REALS) -> None:
    """Refuse a floating array with entries that are NaN or infinite; traced ones pass unseen."""
    if is_traced(out) or not out.size:
        return
    good = np.isfinite(np.asarray(out))
    if not good.all():
        raise InputError(name, f"{int((~good).sum())} entries that are NaN or infinite (shape {out.shape})", need)


def concrete(value: Any, name: str) -> None:
    """Refuse a value traced by `jit`, `grad` or `vmap` (or a pytree that holds one) where entries have to be looked at."""
    if is_traced(value):
        raise InputError(name, "traced values (of jit, grad or vmap)", "concrete values", "Call it outside jit, grad and vmap.")


def host(checked: Array, name: str) -> np.ndarray:
    """A checked array as concrete float64 NumPy."""
    concrete(checked, name)
    return np.asarray(checked, np.float64)


def values(value: Any, name: str, need: str = REALS) -> np.ndarray:
    """A concrete float64 NumPy array of finite real numbers."""
    return host(array(value, name, need), name)


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
    """Real targets for n points: shape (n,) or (n, outputs). Labels, in whatever container, are refused, naming `lg.one_hot`."""
    need = f"real targets of shape ({n},) or ({n}, outputs), one row a point of X"
    found = held(y, name, need)
    if isinstance(found, np.ndarray) and found.dtype.kind in "USOT" and found.size:
        entries = list(islice(found.flat, 1000))
        if all(isinstance(v, (str, bytes)) for v in entries):
            fix = f"Number the classes: `lg.one_hot(np.unique({name}, return_inverse=True)[1])`."
            raise InputError(name, f"class names, such as {shown(entries[0])}", need, fix)
        if all(isinstance(v, numbers.Integral) for v in entries):
            raise InputError(name, "integer labels (object)", need, LABELS.format(name))
    found = plain(found, name, need)
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(name, f"integer labels ({found.dtype})", need, LABELS.format(name))
    out = array(found, name, need)
    if out.ndim not in (1, 2) or out.shape[0] != n or 0 in out.shape:
        raise InputError(name, f"shape {out.shape}", need)
    return out


def number(value: Any, name: str, low: float = -np.inf, strict: bool = False, finite: bool = True) -> Any:
    """A real scalar >= low (> low if strict), finite unless said otherwise. Traced scalars pass unseen."""
    need = "a finite number" if finite else "a number"
    need += f" {'>' if strict else '>='} {low:g}" if np.isfinite(low) else ""
    if hasattr(value, "dtype"):  # of NumPy, JAX or PyTorch
        one = plain(value, name, need)
        if one.ndim != 0 or one.dtype == np.bool_:
            raise InputError(name, shown(value), need)
        if isinstance(value, Tracer):
            return value
        value = one
    elif isinstance(value, bool) or not isinstance(value, (numbers.Real, Decimal)):
        raise InputError(name, shown(value), need)
    try:
        out = float(value)
    except Exception as error:  # integers beyond any float, numbers of other libraries
        raise InputError(name, shown(value), need) from error
    if math.isnan(out) or out < low or (strict and out == low) or (finite and math.isinf(out)):
        raise InputError(name, shown(value), need)
    return out


def real(value: Any, name: str, low: float = -np.inf, strict: bool = False, finite: bool = True) -> float:
    """As `number`, concrete."""
    out = number(value, name, low, strict, finite)
    concrete(out, name)
    return out


def count(value: Any, name: str, low: int = 1) -> int:
    """An integer >= low."""
    need = f"an integer >= {low}"
    try:
        out = real(value, name)
    except InputError as error:
        raise InputError(name, error.got, need, error.fix) from error
    if out != int(out) or not low <= out <= MOST:
        raise InputError(name, shown(value), need if out < MOST else f"{need} that a machine can hold")
    return int(out)


def counts(value: Any, name: str, need: str, low: int = 1) -> tuple[int, ...]:
    """Integers >= low, in a list, tuple or array; `need` says what for."""
    entries = sequence(value, name, need)
    memory.require_few(len(entries), name, "entries")
    return tuple(count(v, name, low) for v in entries)


def sequence(value: Any, name: str, need: str) -> list[Any]:
    """The entries of a list, tuple, range or one-dimensional array."""
    if hasattr(value, "dtype"):
        row = plain(value, name, need)
        if row.ndim == 1:
            return list(row)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return list(value)
    raise InputError(name, shown(value), need)


def names(value: Any, name: str, options: Sequence[str], example: str) -> tuple[str, ...]:
    """Some of the options, each once, in the order given."""
    need = f"a collection of names, such as {example}"
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        raise InputError(name, shown(value), need)
    return tuple(dict.fromkeys(choice(v, name, options) for v in islice(value, 1000)))


def per_layer(value: Any, L: int, name: str) -> tuple[Any, ...]:
    """A scalar >= 0, or one per affine layer, as a tuple of length L."""
    need = f"a number, or one per affine layer ({L})"
    if (isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))) or getattr(value, "ndim", 0) == 1:
        entries = sequence(value, name, need)
        if len(entries) != L:
            raise InputError(name, f"{len(entries)} values", need)
        return tuple(number(v, name, low=0.0) for v in entries)
    return (number(value, name, low=0.0),) * L


def choice(value: Any, name: str, options: Sequence[str]) -> str:
    """One of the options."""
    if not isinstance(value, str) or value not in options:
        raise InputError(name, shown(value), "one of " + ", ".join(repr(o) for o in options))
    return str(value)


def flag(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(name, shown(value), "True or False")
    return bool(value)


def order(value: Any) -> int:
    """The order in 1/n: 0 or 1."""
    if isinstance(value, (bool, Tracer)) or not isinstance(value, (int, np.integer)) or value not in (0, 1):
        raise InputError("order", shown(value), "0 (infinite width) or 1 (with 1/n corrections)")
    return int(value)


def key(value: Any, name: str = "key") -> Any:
    """One JAX random key: typed, or the older array of uint32."""
    need, fix = "one JAX random key", "Call jax.random.key(0) for a key from a seed; jax.random.split for several."
    typed = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    raw = isinstance(value, (jax.Array, np.ndarray)) and value.dtype == np.uint32
    if not (typed or raw):
        simple = isinstance(value, (int, str, type(None)))
        raise InputError(name, shown(value) if simple else f"a {type(value).__name__}", need, fix)
    if not isinstance(value, (Tracer, np.ndarray)) and value.is_deleted():
        raise InputError(name, "a key that was deleted or donated", need, fix)
    if value.ndim != (0 if typed else 1):
        raise InputError(name, f"an array of keys of shape {value.shape if typed else value.shape[:-1]}", need, fix)
    if raw:
        try:
            jax.random.wrap_key_data(jnp.asarray(value))
        except Exception as error:
            raise InputError(name, f"uint32 numbers of shape {value.shape}, which are no key", need, fix) from error
    return value


def dtype(value: Any, name: str = "dtype") -> Any:
    """A real floating dtype of two to eight bytes."""
    need = "a real floating dtype, such as float32"
    try:
        kind = jnp.dtype(value)
    except Exception as error:  # whatever NumPy raises for what it cannot read
        raise InputError(name, shown(value), need) from error
    if not jnp.issubdtype(kind, jnp.floating) or not 2 <= kind.itemsize <= 8:
        raise InputError(name, str(kind), need)
    return kind.newbyteorder("=")
