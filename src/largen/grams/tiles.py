"""Square tiles of a Gram matrix: which there are, threads that fill them, and the arrays they fill.

Every tile of one call has the same shape, so that one compiled program does them all: the last in a row or column reaches back
over the one before it, and writes only what is new. Where both sets of points are the same, tiles below the diagonal are not
computed: they are written as transposes, so that the result is symmetric to the last bit.
"""

import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from largen import exits

ALIGNED = 64  # bytes: JAX takes arrays that begin there without a copy

Values = tuple[np.ndarray, np.ndarray]  # K and Theta of one tile


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


def pairs(n1: int, n2: int, size: int, same: bool) -> Iterator[tuple[Stretch, Stretch]]:
    """All tiles, those on and above the diagonal if `same`."""
    columns = stretches(n2, size)
    for i, rows in enumerate(stretches(n1, size)):
        for column in columns[i:] if same else columns:
            yield rows, column


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


def put(whole: Values, values: Values, at: tuple[slice, slice], mirrored: bool) -> None:
    """Write what is new of a tile, and its transpose if `mirrored`; refuse numbers that are not finite in the dtype of the result."""
    for name, out, new in zip(("nngp", "ntk"), whole, values, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):  # the cast to a shorter dtype
            out[at] = new
        exits.require(out[at] if out.itemsize < new.itemsize else new, f"`.{name}` of `gram`")  # here, where it is still in the cache
        if mirrored:
            out[at[::-1]] = new.T


def fill(n1: int, n2: int, size: int, same: bool, dtype: Any, tile: Callable[[Stretch, Stretch], Values], progress: bool) -> Values:
    """(K, Theta), (n1, n2), from `tile(rows, columns)`, one thread a core."""
    out = empty((n1, n2), dtype), empty((n1, n2), dtype)
    work = list(pairs(n1, n2, size, same))

    def one(place: tuple[Stretch, Stretch]) -> None:
        rows, columns = place
        lower, right = slice(rows.new, rows.stop), slice(columns.new, columns.stop)
        K, Theta = (part[rows.new - rows.start :, columns.new - columns.start :] for part in tile(rows, columns))
        put(out, (K, Theta), (lower, right), same and rows != columns)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(work))) as pool:
        for done, _ in enumerate(pool.map(one, work), 1):
            if progress:
                print(f"\rgram: {done} of {len(work)} tiles", end="\n" if done == len(work) else "", file=sys.stderr, flush=True)
    return out
