"""Matrices that need not be held: what arrays, files on a disk and engines that compute tiles can all be asked.

An array of NumPy or JAX is an `Operator` as it is. What is read by slices alone, such as the arrays of a store, becomes one by `operator`;
`lazy` gives those of a network and points, which are computed where they are asked for.

>>> import largen as lg, numpy as np
>>> net = lg.mlp(widths=[512], out=1, activation="relu", C_W=2.0)
>>> X = np.random.default_rng(0).normal(size=(60, 8))
>>> tiles, held = lazy(net, X, X[:20]), lg.gram(net, X, X[:20])
>>> v = np.ones((20, 1))
>>> [bool(np.allclose(operator(K) @ v, held.ntk @ v)) for K in (held.ntk, tiles.ntk)]
[True, True]
>>> bool(np.allclose(tiles.ntk[40:50, 3:9], held.ntk[40:50, 3:9])), bool(np.allclose(tiles.nngp.diagonal(), held.nngp.diagonal()))
(True, True)
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np

from largen.architecture.nodes import Serial
from largen.errors import InputError
from largen.grams.blocks import Engine, Layout, Place, compute
from largen.grams.engine import task
from largen.grams.tiles import WHICH, Values, by_name
from largen.theory.given import given
from largen.types import Array, namespace

NUMBERS = 2**22  # in a block of rows that is in memory at a time


@runtime_checkable
class Operator(Protocol):
    """A matrix (n1, n2): its blocks `a[rows, columns]` by two slices without steps, its diagonal, and its products a @ b with arrays
    (n2,), (n2, k) or (..., n2, k)."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, at: Any, /) -> Any: ...
    def diagonal(self) -> Any: ...
    def __matmul__(self, matrix: Any, /) -> Any: ...


class Blockwise(ABC):
    """An operator made of its blocks: the diagonal and products go a few rows at a time, so that it is never whole in memory."""

    shape: tuple[int, int]
    dtype: Any

    @abstractmethod
    def __getitem__(self, at: tuple[slice, slice]) -> Any: ...

    @property
    def rows(self) -> int:
        """How many rows at a time."""
        return max(1, NUMBERS // self.shape[1])

    def diagonal(self) -> Array:
        parts = [self[at, at].diagonal() for at in cuts(min(self.shape), self.rows)]
        return namespace(*parts).concatenate(parts)

    def __matmul__(self, matrix: Array) -> Array:
        parts = [self[at, :] @ matrix for at in cuts(self.shape[0], self.rows)]
        return namespace(*parts).concatenate(parts, axis=-1 if matrix.ndim == 1 else -2)


def cuts(n: int, rows: int) -> Iterator[slice]:
    """Slices of at most so many of n rows."""
    return (slice(at, min(at + rows, n)) for at in range(0, n, rows))


class Sliced(Blockwise):
    """What is read by slices, such as the arrays of a store; whole rows of its chunks at a time."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype = array, tuple(array.shape), array.dtype

    @property
    def rows(self) -> int:
        chunks = getattr(self.array, "chunks", None)
        return int(chunks[0]) if chunks else super().rows

    def __getitem__(self, at: tuple[slice, slice]) -> np.ndarray:
        return np.asarray(self.array[at])


def operator(value: Any) -> Operator:
    """What is an operator as it is; and what has a shape, a dtype and slices, as one."""
    return value if isinstance(value, Operator) else Sliced(value)


class Tiles:
    """NNGP and NTK of a network on pairs of points, computed tile by tile where they are asked for: operators `.nngp` and `.ntk`, one of
    them None where `which` says so. `error`: the worst of all tiles so far. Of both the last block is kept, as whoever asks for one at a
    place mostly asks for the other."""

    def __init__(self, engine: Engine, layout: Layout, dtype: np.dtype) -> None:
        self.engine, self.layout, self.dtype = engine, layout, dtype
        self.last: tuple[Any, Values] = None, ()
        parts = by_name(engine.which, [_Part(self, place) for place in range(len(WHICH[engine.which]))])
        self.nngp, self.ntk = parts["nngp"], parts["ntk"]

    @property
    def error(self) -> float:
        return self.engine.error

    def block(self, at: tuple[slice, slice]) -> Values:
        """The kernels at those rows and columns."""
        shape = self.layout.n1, self.layout.n2
        rows, columns = (range(*part.indices(n)) for part, n in zip(at, shape, strict=True))
        if rows.step != 1 or columns.step != 1:
            raise InputError("rows, columns", "slices with steps", "slices of rows and columns side by side")
        asked, last = (rows, columns), self.last
        if asked != last[0]:
            last = self.last = asked, self._computed(rows, columns)
        return last[1]

    def _computed(self, rows: range, columns: range) -> Values:
        layout = self.layout
        out = tuple(np.empty((len(rows), len(columns)), self.dtype) for _ in WHICH[self.engine.which])

        def one(place: Place) -> None:
            turned = layout.same and place[0] > place[1]  # engines evaluate tiles on and above the diagonal
            values = compute(self.engine, layout, (place[1], place[0]) if turned else place, self.dtype, 1)
            (to_rows, from_rows), (to_columns, from_columns) = map(_overlap, (rows, columns), layout.slices(place))
            for whole, part in zip(out, values, strict=True):
                whole[to_rows, to_columns] = (part.T if turned else part)[from_rows, from_columns]

        numbers = [range(part.start // size, -(-part.stop // size)) for part, size in zip((rows, columns), layout.chunk, strict=True)]
        places = [(i, j) for i in numbers[0] for j in numbers[1]]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(one, places))
        return out


class _Part(Blockwise):
    """One of the kernels of tiles, by its place among them."""

    def __init__(self, tiles: Tiles, place: int) -> None:
        self.tiles, self.place = tiles, place
        self.shape, self.dtype = (tiles.layout.n1, tiles.layout.n2), tiles.dtype

    def __getitem__(self, at: tuple[slice, slice]) -> np.ndarray:
        return self.tiles.block(at)[self.place]


def _overlap(asked: range, there: slice) -> tuple[slice, slice]:
    """Where two stretches overlap, counted from the beginning of each."""
    start, stop = max(asked.start, there.start), min(asked.stop, there.stop)
    return slice(start - asked.start, stop - asked.start), slice(start - there.start, stop - there.start)


def lazy(net: Serial, X: Array, X2: Array | None = None, rates: Any = "ntk", which: str = "both") -> Tiles:
    """The kernels of `lg.gram(net, X, X2, rates, which=which)`, computed where they are asked for."""
    asked = given(net, X, X2, rates)
    engine, size = task(asked, rates, which).engine()
    return Tiles(engine, Layout(*asked.sizes, X2 is None, size, 1), asked.dtype)
