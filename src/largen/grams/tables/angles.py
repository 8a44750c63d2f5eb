"""Kernels that are functions of one cosine, evaluated behind the matrix product of unit vectors, tile by tile.

A matrix product gives c to rounding, and where 1 - |c| is small few digits of the angle are left. Those pairs are found on the
way and their versines recomputed from differences of the points in float64, so that near-duplicates and antipodes are right.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen.grams.tables.curve import CLOSE, WINDOW, Curve, arcsine, at_end, clenshaw
from largen.grams.tiles import Once, Stretch, Values, symmetric
from largen.running.jitted import jitted
from largen.types import island

GATHER = 2**23  # numbers gathered at a time for differences
MANY = 64  # more than one pair in so many is many
EXACT = {"float32": 1e-8, "float64": 1e-4}  # versines that a float64 product gives to the digits that matter
ONCE = Once()


class Rows:
    """Points as tiles want them: `given` (n, d); `size` |x| and `q` |x|^2/n_0 in float64; `unit` x/|x| in the working precision."""

    def __init__(self, given: np.ndarray, work: str) -> None:
        self.given = given.astype(np.promote_types(given.dtype, work), copy=False)
        square = np.einsum("ij,ij->i", given, given, dtype=np.float64)
        self.size, self.q = np.sqrt(square), square / given.shape[1]
        inverse = np.divide(1.0, self.size, out=np.zeros_like(self.size), where=self.size > 0)
        self.unit = (self.given * inverse[:, None].astype(self.given.dtype)).astype(work, copy=False)

    def powers(self, exponents: list[int]) -> np.ndarray:
        """(|x|^2/n_0)^(p/2) of every row, (exponents, n)."""
        return np.stack([np.sqrt(self.q) ** p for p in exponents])


@jitted(static=(5,))
def _tile(U1: Any, U2: Any, R1: Any, R2: Any, table: Any, counts: tuple[int, ...]) -> tuple[list[Any], Any]:
    """The kernels, and c."""
    c = jnp.matmul(U1, U2.T, precision="highest")
    x = arcsine(jnp.clip(c, CLOSE - 1, 1 - CLOSE)) / WINDOW
    parts = (R1[i][:, None] * R2[i] * clenshaw(x, lambda d, a=a: a[d], len(a) - 1) for i, a in enumerate(table))
    return _summed(parts, counts), c


def _summed(parts: Iterable[Any], counts: tuple[int, ...]) -> list[Any]:
    """Every kernel from its parts, so many of each."""
    each = iter(parts)
    return [sum(islice(each, count - 1), next(each)) for count in counts]


class Angles:
    """Tiles of one Gram matrix of a network whose kernels `which` are sums of the functions of `curve` (one of them K, the others the
    shares of Theta), times the powers `exponents` of the rows' norms."""

    def __init__(self, first: Rows, second: Rows, curve: Curve, exponents: list[int], which: str = "both") -> None:
        self.first, self.second, self.curve, self.error = first, second, curve, curve.error
        self.which, shares = which, len(exponents) - (which != "ntk")
        self.counts = {"both": (1, shares), "nngp": (1,), "ntk": (shares,)}[which]
        self.work, self.same = first.unit.dtype, first is second
        self.powers = first.powers(exponents), second.powers(exponents)
        self.left, self.right = (p.astype(self.work) for p in self.powers)
        self.table = curve.middle.astype(self.work)

    def tile(self, rows: Stretch, columns: Stretch) -> Values:
        a, b = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        with island(self.table):
            arrays = (self.first.unit[a], self.second.unit[b], self.left[:, a], self.right[:, b], self.table)
            parts, c = ONCE.run((self.work, self.counts, *(array.shape for array in arrays)), lambda: _tile(*arrays, self.counts))
            found, c = [np.asarray(part) for part in parts], np.asarray(c)
        own = self.same and rows == columns
        if own:  # both ways of writing the same number alike; a point with itself
            found, c = [symmetric(part) for part in found], c.copy()
            np.fill_diagonal(c, 0)
            diagonal = self.powers[0][:, a] * self.powers[1][:, b] * self.curve.values[0][:, None]
            for part, values in zip(found, _summed(diagonal, self.counts), strict=True):
                np.fill_diagonal(part, values)
        if max(c.max(), -c.min()) >= 1 - CLOSE:
            i, j = np.nonzero(np.abs(c) >= 1 - CLOSE)
            if own:
                i, j = i[i < j], j[i < j]
            found = found if own else [part.copy() for part in found]
            for part, values in zip(found, self.close(a, b, i, j, c[i, j]), strict=True):
                part[i, j] = values
                if own:
                    part[j, i] = part[i, j]
        return tuple(found)

    def close(self, a: slice, b: slice, i: np.ndarray, j: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
        """The kernels of the pairs (i, j) of the rows a and b, whose cosines are near c."""
        factors = self.powers[0][:, a][:, i] * self.powers[1][:, b][:, j]
        return _summed(factors * np.stack(at_end(self.curve, *self.versines(a, b, i, j, c))), self.counts)

    def versines(self, a: slice, b: slice, i: np.ndarray, j: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """1 - |c| of the pairs (i, j) of the rows a and b, and whether c > 0, with all their digits."""
        first, second = self.first.given[a], self.second.given[b]
        r, s = self.first.size[a], self.second.size[b]
        left = np.arange(len(i))
        many = len(i) > len(first) * len(second) // MANY  # one product is cheaper than so many differences
        if self.work == np.float32 and many:
            c = ((first / r[:, None]) @ (second / s[:, None]).T)[i, j]
        v, positive = np.maximum(1 - np.abs(c), 0), c >= 0
        if self.work == np.float64 or many:
            left = np.flatnonzero(v < EXACT[self.work.name])
        for at in range(0, len(left), step := max(1, GATHER // first.shape[1])):
            some = left[at : at + step]
            m, n = i[some], j[some]
            v[some], positive[some] = _differences(first[m].astype(np.float64), second[n].astype(np.float64), r[m], s[n])
        return v, positive


def _differences(x: np.ndarray, y: np.ndarray, r: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 - |c| and whether c > 0 of rows x and y of norms r and s: from |x -+ y|^2 for like norms, where differences are exact, from
    unit vectors for unlike ones (parallel points)."""
    positive = np.einsum("pd,pd->p", x, y) >= 0
    y = y * np.where(positive, 1.0, -1.0)[:, None]
    step, units = x - y, x / r[:, None] - y / s[:, None]
    apart = (np.einsum("pd,pd->p", step, x + y) / (r + s)) ** 2  # (|x| - |y|)^2
    by_points = (np.einsum("pd,pd->p", step, step) - apart) / (2 * r * s)
    by_units = 0.5 * np.einsum("pd,pd->p", units, units)
    return np.maximum(np.where(apart <= r * s * np.sqrt(by_units), by_points, by_units), 0), positive
