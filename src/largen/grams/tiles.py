"""Square tiles of a Gram matrix: which there are, and the arrays they fill.

Every tile of one call has the same shape, so that one compiled program does them all: the last in a row or column reaches back
over the one before it, and writes only what is new. Where both sets of points are the same, tiles below the diagonal are not
computed: they are written as transposes, so that the result is symmetric to the last bit.
"""

import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from largen import exits

ALIGNED = 64  # bytes: JAX takes arrays that begin there without a copy

WHICH = {"both": ("nngp", "ntk"), "nngp": ("nngp",), "ntk": ("ntk",)}  # the kernels that may be asked for

Values = tuple[np.ndarray, ...]  # of one tile, those of K and Theta that were asked for


def by_name(which: str, parts: Iterable[Any]) -> dict[str, Any]:
    """{name: kernel}, None for one that was not asked for."""
    return dict.fromkeys(WHICH["both"]) | dict(zip(WHICH[which], parts, strict=True))


@dataclass(frozen=True)
class Stretch:
    """Rows (or columns) start..stop of a tile, of which those from `new` on are not in the tile before."""

    start: int
    new: int
    stop: int


def stretches(n: int, size: int) -> list[Stretch]:
    """Stretches of equal length min(size, n) that cover 0..n."""
    size = min(size, n)
    return [Stretch(min(at, n - size), at, min(at + size, n)) for at in range(0, n, size)]


def empty(shape: tuple[int, int], dtype: Any) -> np.ndarray:
    """An array that JAX can take over without a copy."""
    need = shape[0] * shape[1] * np.dtype(dtype).itemsize
    raw = np.empty(need + ALIGNED, np.uint8)
    start = -raw.ctypes.data % ALIGNED
    return raw[start : start + need].view(dtype).reshape(shape)


class Once:
    """Lets one thread alone through with what is new, so that threads do not compile the same program side by side."""

    def __init__(self) -> None:
        self.lock, self.seen = threading.Lock(), set[Hashable]()

    def run(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """What `work` returns; `key` tells programs apart."""
        if key in self.seen:
            return work()
        with self.lock:
            out = work()
            self.seen.add(key)
            return out


@lru_cache(maxsize=2)
def _lower(n: int) -> np.ndarray:
    return np.tri(n, k=-1, dtype=bool)


def symmetric(a: np.ndarray) -> np.ndarray:
    """A copy with the upper half written to the lower."""
    return np.where(_lower(len(a)), a.T, a)


def put(whole: Values, values: Values, at: tuple[slice, slice], mirrored: bool, which: str) -> None:
    """Write what is new of a tile, and its transpose if `mirrored`; refuse numbers that are not finite in the dtype of the result."""
    for name, out, new in zip(WHICH[which], whole, values, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):  # the cast to a shorter dtype
            out[at] = new
        exits.require(out[at] if out.itemsize < new.itemsize else new, f"`.{name}` of `gram`")  # here, where it is still in the cache
        if mirrored:
            out[at[::-1]] = new.T
