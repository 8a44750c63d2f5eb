"""What programs may take for granted of pairs, as it is mostly so: then they are compiled sooner and faster, and say where it is not so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from largen.types import is_traced

T = TypeVar("T")
_ASSUMED: ContextVar[tuple[bool, bool, bool]] = ContextVar("assumed", default=(False, False, False))


def as_assumed(run: Callable[[bool], T], error: Callable[[T], Any], *values: Any) -> tuple[T, bool]:
    """(run(True), True), of a program that traces dual maps `assuming` what is mostly so, compiled sooner and faster; (run(False), False),
    for all cases, where it says by an infinite error that it is not so, and under tracing of any of the values, where nobody can look."""
    out = run(usual := not is_traced(*values))
    if not is_traced(out) and np.isinf(np.asarray(error(out))).any():
        return run(False), False
    return out, usual


@contextmanager
def assuming(sizes: bool, angles: bool, alone: bool = False) -> Iterator[None]:
    """Where dual maps are traced without the rules for large variances, if `sizes`; without those of closed forms for points that nearly
    coincide, if `angles`: where these are needed the error is infinite. `alone`: for E[phi phi], and nobody looks at E[phi' phi']."""
    token = _ASSUMED.set((sizes, angles, alone))
    try:
        yield
    finally:
        _ASSUMED.reset(token)


def ordinary_sizes() -> bool:
    """Whether no variance is assumed to be large."""
    return _ASSUMED.get()[0]


def ordinary_angles() -> bool:
    """Whether no two points are assumed to nearly coincide."""
    return _ASSUMED.get()[1]


def summed() -> slice:
    """Of the series of phi and phi', those to sum."""
    return slice(1) if _ASSUMED.get()[2] else slice(None)
