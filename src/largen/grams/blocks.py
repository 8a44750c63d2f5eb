"""Blocks of a Gram matrix: squares of whole tiles, each computed by itself. A matrix in memory is one block.

The tiles of all blocks are those of the matrix computed in one piece, so that its entries are the same to the last bit.
"""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from largen.grams.tiles import WHICH, Stretch, Values, empty, put, stretches
from largen.running.jitted import repeated

Place = tuple[int, int]  # row and column of a block among blocks


class Engine(Protocol):
    """What evaluates tiles of the kernels `which`; `error` is the worst so far."""

    which: str
    error: float

    def tile(self, rows: Stretch, columns: Stretch) -> Values: ...


@dataclass(frozen=True)
class Layout:
    """An (n1, n2) matrix in blocks of `across` x `across` tiles of `tile` rows; `same`: symmetric, so that blocks below the diagonal
    are transposes of others."""

    n1: int
    n2: int
    same: bool
    tile: int
    across: int

    @property
    def chunk(self) -> tuple[int, int]:
        """Shape of a block; the last in a row or column may be cut."""
        return min(self.tile * self.across, self.n1), min(self.tile * self.across, self.n2)

    def places(self) -> list[Place]:
        """All blocks to compute."""
        down, right = -(-self.n1 // self.chunk[0]), -(-self.n2 // self.chunk[1])
        return [(i, j) for i in range(down) for j in range(i if self.same else 0, right)]

    def slices(self, place: Place) -> tuple[slice, slice]:
        """Rows and columns of a block."""
        (i, j), (h, w) = place, self.chunk
        return slice(i * h, min(i * h + h, self.n1)), slice(j * w, min(j * w + w, self.n2))

    def mirrored(self, place: Place) -> bool:
        """Whether the transpose of this block is another one."""
        return self.same and place[0] != place[1]

    @property
    def tiles(self) -> int:
        """How many there are."""
        across, down = (-(-n // self.tile) for n in (self.n1, self.n2))
        return across * (across + 1) // 2 if self.same else across * down

    def pairs(self, place: Place) -> Iterator[tuple[Stretch, Stretch]]:
        """The tiles of a block; on the diagonal those on and above it."""
        (i, j), k = place, self.across
        columns = stretches(self.n2, self.tile)[j * k : j * k + k]
        for at, rows in enumerate(stretches(self.n1, self.tile)[i * k : i * k + k]):
            for column in columns[at:] if self.same and i == j else columns:
                yield rows, column


class Stopped(Exception):
    """The work was called off between two tiles."""


def one_block(n1: int, n2: int, same: bool, tile: int) -> Layout:
    """A matrix whose tiles are all in the block (0, 0)."""
    return Layout(n1, n2, same, tile, -(-max(n1, n2) // tile))


def compute(
    engine: Engine,
    layout: Layout,
    place: Place,
    dtype: Any,
    threads: int,
    device: Any = None,
    stop: threading.Event | None = None,
    progress: bool = False,
) -> Values:
    """The kernels of one block, on a JAX device if one is named; raises `Stopped` soon after `stop` is set. `progress` counts tiles."""
    rows, columns = layout.slices(place)
    shape = rows.stop - rows.start, columns.stop - columns.start
    out = tuple(empty(shape, dtype) for _ in WHICH[engine.which])

    @np.errstate(over="ignore", invalid="ignore")  # `put` looks at what came of it
    def one(pair: tuple[Stretch, Stretch]) -> None:
        if stop is not None and stop.is_set():
            raise Stopped
        first, second = pair
        with nullcontext() if device is None else jax.default_device(device), repeated(layout.tiles):
            values = engine.tile(first, second)
        lower = slice(first.new - rows.start, first.stop - rows.start)
        right = slice(second.new - columns.start, second.stop - columns.start)
        new = tuple(part[first.new - first.start :, second.new - second.start :] for part in values)
        put(out, new, (lower, right), layout.same and place[0] == place[1] and first != second, engine.which)

    work = list(layout.pairs(place))
    with ThreadPoolExecutor(max(1, min(threads, len(work)))) as pool:
        for done, _ in enumerate(pool.map(one, work), 1):
            if progress:
                print(f"\rgram: {done} of {len(work)} tiles", end="\n" if done == len(work) else "", file=sys.stderr, flush=True)
    return out
