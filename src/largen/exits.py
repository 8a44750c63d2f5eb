"""Checks at the exit: no public function hands back a number that is not finite without saying so.

Every public function that computes is decorated with `finite`. What it returns is looked at leaf by leaf, records and dictionaries
included, where values are concrete (under `jit`, `grad` or `vmap` nothing is). A NaN or an infinity in a field whose meaning is not
declared raises `NotFinite`, an `InputError` about the argument *of that function* whose size is farthest from one. A public function
that calls another passes the fault on as its own: the error names what its user gave it.

Declared fields are those whose documentation gives infinity (or NaN) a meaning, such as the infinite depth scale of a critical point.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from largen.errors import InputError
from largen.types import is_traced

P = ParamSpec("P")
T = TypeVar("T")

BROKEN = (OverflowError, ZeroDivisionError, np.linalg.LinAlgError)  # how Python and LAPACK say it of what is on the way
DECLARED = "not_finite"  # the attribute of a decorated function with its fields that may be infinite, and those not looked at
INSIDE = ("net", "self")  # arguments whose numbers are called by the fields they stand in, such as C_W
COUNTS = 1e12  # whole numbers up to this may be counts
CALM = 2.0  # powers of ten up to which the sizes of all arguments count as ordinary
MENDS = {
    "X": "lg.standardize gives |x|^2/n_0 = 1.",
    "y": "Divide the targets by their standard deviation.",
    "C_W": "A critical C_W keeps sizes from layer to layer: lg.critical(activation).C_W.",
    "C_b": "A critical C_b keeps sizes from layer to layer: lg.critical(activation).C_b.",
    "params": "lg.init draws parameters of ordinary size.",
}


class NotFinite(InputError):
    """Numbers of a result that are not finite: `what` they are, in what `kind` of numbers, on the way to the user as an error about the
    user's own argument. `calm`: all that the user gave is of ordinary size. `wider`: whether a wider kind could have been given."""

    def __init__(self, argument: str, got: str, need: str, fix: str, what: str, kind: np.dtype, calm: bool = False, wider: bool = True):
        super().__init__(argument, got, need, fix)
        self.what, self.kind, self.calm, self.wider = what, kind, calm, wider
        self.args = (argument, got, need, fix, what, kind, calm, wider)  # of which pickle makes it again


def finite(*infinite: str, unseen: tuple[str, ...] = ()) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator of public functions: results are finite, or an `InputError` says why they are not. Fields that may be `infinite` are only
    looked at for NaN, those `unseen` not at all: NaN is one of their meanings, or they were looked at where they are made."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what comes of it is said below
                    out = function(*args, **kwargs)
                    _look(out, f"`{function.__name__}`", frozenset(infinite), frozenset(unseen))
            except NotFinite as fault:
                raise _blame(function, args, kwargs, fault) from None
            except BROKEN as error:
                fault = NotFinite("", "", "", "", "the numbers computed on the way are", np.dtype(np.float64))
                if (found := _blame(function, args, kwargs, fault)).calm:
                    raise
                raise found from error
            return out

        setattr(checked, DECLARED, (infinite, unseen))
        return checked

    return decorate


def require(values: Any, what: str, infinite: bool = False, wider: bool = True) -> None:
    """Raise `NotFinite` if numbers computed on the way, an array, are not finite, or NaN if they may be `infinite`; `what` they are, as in
    "the train kernel"; not in a `wider` kind, whatever is given."""
    if not is_traced(values) and not is_finite(values):
        host = np.asarray(values)
        total, bad = host.size, int((np.isnan(host) if infinite else ~np.isfinite(host)).sum())
        if not bad:
            return
        said = f"{what} is" if total == 1 else f"{bad} of {total} entries of {what} are"
        raise NotFinite(what, "numbers that are not finite", "finite ones", "", said, np.dtype(values.dtype), wider=wider)


def is_finite(values: Any) -> bool:
    """Whether all entries of a concrete floating array are finite: one sum, and a second look only where that is not."""
    if isinstance(values, jax.Array) and {device.platform for device in values.devices()} != {"cpu"}:
        return bool(_all_finite(values))
    host = np.asarray(values)
    if host.dtype.itemsize > 2:
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(host.sum()):
                return True
    return bool(np.isfinite(host).all())


@jax.jit
def _all_finite(values: Any) -> Any:
    return jnp.isfinite(values).all()


def _look(value: Any, where: str, infinite: frozenset[str], unseen: frozenset[str], path: str = "", mild: bool = False) -> None:
    """Raise `NotFinite` at the first number or array of a result (records, mappings, sequences) that is not finite, or, in a `mild` part,
    NaN; all else is passed over."""
    if isinstance(value, (float, complex)):
        require(np.asarray(value), f"`{path}` of {where}" if path else f"the result of {where}", mild)
    elif isinstance(value, (np.ndarray, np.generic, jax.Array)):
        if jnp.issubdtype(value.dtype, jnp.inexact):
            require(value, f"`{path}` of {where}" if path else f"the result of {where}", mild)
    else:
        for step, name, part in _parts(value):
            if name not in unseen:
                _look(part, where, infinite, unseen, path + step, mild or name in infinite)


def _parts(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """(step of a path, name, part) of a record, a mapping or a sequence; nothing of anything else."""
    if is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{part.name}", part.name, getattr(value, part.name)) for part in fields(value))
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", key, part) for key, part in value.items())
    elif isinstance(value, (tuple, list)):
        yield from ((f"[{i}]", i, part) for i, part in enumerate(value))


def _blame(function: Callable[..., Any], args: Any, kwargs: Any, fault: NotFinite) -> NotFinite:
    """The fault as an error about the argument whose size is farthest from one; about C_W where all are ordinary and layers may grow."""
    signature, sizes = inspect.signature(function), dict[str, tuple[float, float]]()
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        inside = name in INSIDE or signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        for own, size in _sizes(value, name, inside):
            distance = abs(float(np.log10(size))) if size > 0 else 0.0
            if np.isfinite(size) and distance >= sizes.get(own, (0.0, 0.0))[0]:
                sizes[own] = distance, size
    argument = max(sizes, key=lambda name: sizes[name][0], default=next(iter(signature.parameters)))
    calm = sizes.get(argument, (0.0, 0.0))[0] < CALM
    if calm and sizes.get("C_W", (0.0, 0.0))[1] > 1:
        argument = "C_W"
    given = f"numbers of size {sizes[argument][1]:.3g}" if argument in sizes else "values"
    got = f"{given}, with which {fault.what} not finite ({fault.kind} holds numbers up to {float(jnp.finfo(fault.kind).max):.2g})"
    fix = MENDS.get("X" if argument[:1] in "Xx" else argument, "Give it in units in which it is of order one.")
    if fault.wider and fault.kind.itemsize < 8:
        fix += " float64 holds larger numbers."
    return NotFinite(argument, got, "a size with which the result is finite", fix, fault.what, fault.kind, calm, fault.wider)


def _sizes(value: Any, name: str, inside: bool) -> Iterator[tuple[str, float]]:
    """(name, largest absolute value) of the numbers of an argument; `inside` networks and records each by the name of its field."""
    size = _size(value)
    if size is not None:
        yield name, size
        return
    for _, field, part in _parts(value):
        yield from _sizes(part, field if inside and isinstance(field, str) else name, inside)


def _size(value: Any) -> float | None:
    """The largest absolute value of what is an array of numbers. Counts, such as widths, are no sizes: of whole numbers, only arrays of
    points and those too large to be counts."""
    if is_traced(value) or hasattr(value, "chunks") or not (isinstance(value, (tuple, list, float, int)) or hasattr(value, "__array__")):
        return None  # what lies in chunks on a disk is not read for a message
    try:
        host = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, lists of arrays of other libraries, random keys
        return None
    if not host.size or host.dtype.kind in "ObSUmM" or host.dtype == np.uint32:
        return None
    size = float(np.abs(host.astype(np.float64)).max())
    return None if host.dtype.kind in "iu" and host.ndim < 2 and size < COUNTS else size
