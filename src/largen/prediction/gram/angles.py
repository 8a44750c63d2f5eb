"""Kernels that are functions of one cosine, evaluated behind the matrix product of unit vectors, tile by tile.

A matrix product gives c to rounding, and where 1 - |c| is small few digits of the angle are left. Those pairs are found on the
way and their versines recomputed from differences of the points in float64, so that near-duplicates and antipodes are right.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.prediction.gram.curve import Curve, evaluate
from largen.prediction.gram.tiles import Stretch, Values
from largen.types import island

CLOSE = {"float32": 1e-2, "float64": 1e-4}  # 1 - |c| below which a product has lost digits that matter
GATHER = 2**23  # numbers gathered at a time for differences
MANY = 64  # more than one pair in so many is many
DOUBLE = 1e-8  # the versine that a float64 product gives to the digits of float32


class Rows:
    """Points as tiles want them: `given` (n, d); `size` |x| in float64; `unit` x/|x| in the working precision; `factors` (functions, n),
    what each function of the cosine is multiplied with."""

    def __init__(self, given: np.ndarray, powers: list[int], work: str) -> None:
        self.given = given.astype(np.promote_types(given.dtype, work), copy=False)
        self.size = np.sqrt(np.einsum("ij,ij->i", given, given, dtype=np.float64))
        inverse = np.divide(1.0, self.size, out=np.zeros_like(self.size), where=self.size > 0)
        self.unit = (self.given * inverse[:, None].astype(self.given.dtype)).astype(work, copy=False)
        self.factors = np.stack([(self.size / np.sqrt(given.shape[1])) ** p for p in powers]).astype(work)


@partial(jax.jit, static_argnames="same")
def _tile(U1: Any, U2: Any, R1: Any, R2: Any, curve: Curve, close: Any, shift: Any, same: bool) -> tuple[Any, Any, Any]:
    """K, Theta and the mask of close pairs; `shift` is the place of the diagonal if both sets of points are the same."""
    c = jnp.matmul(U1, U2.T, precision="highest")
    if same:  # a tile on the diagonal: one rounding for both ways of writing the same number
        row, column = jax.lax.broadcasted_iota(jnp.int32, c.shape, 0), jax.lax.broadcasted_iota(jnp.int32, c.shape, 1)
        c = jax.lax.cond(shift == 0, lambda c: jnp.where(row > column, c.T, c), lambda c: c, c)
        itself = row + shift == column
        c = jnp.where(itself, 1, c)
        close = jnp.where(itself, -1, close)
    v = jnp.maximum(1 - jnp.abs(c), 0)
    values = evaluate(curve, v, c >= 0)
    K, *shares = (R1[i][:, None] * R2[i] * value for i, value in enumerate(values))
    return K, sum(shares[1:], shares[0]), v < close


class Angles:
    """Tiles of one Gram matrix of a network whose kernels are `curve`, times the factors of the rows."""

    def __init__(self, first: Rows, second: Rows, curve: Curve, work: str, same: bool) -> None:
        self.first, self.second, self.curve, self.work, self.same = first, second, curve, work, same
        with island(first.unit):
            self.cast = jax.tree_util.tree_map(lambda a: jnp.asarray(a, work), curve)
            self.close = jnp.asarray(CLOSE[work], work)

    def tile(self, rows: Stretch, columns: Stretch) -> Values:
        a, b = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        first, second = self.first, self.second
        with island(first.unit):
            arrays = (first.unit[a], second.unit[b], first.factors[:, a], second.factors[:, b])
            K, Theta, mask = _tile(*arrays, self.cast, self.close, np.int32(rows.start - columns.start), self.same)
            K, Theta, mask = np.asarray(K), np.asarray(Theta), np.asarray(mask)
        if mask.any():
            K, Theta = K.copy(), Theta.copy()
            i, j = np.nonzero(mask)
            v, positive = self.versines(a, b, i, j)
            factors = first.factors[:, a][:, i].astype(np.float64) * second.factors[:, b][:, j]
            value, *shares = factors * np.stack(evaluate(self.curve, v, positive, np))
            K[i, j], Theta[i, j] = value, sum(shares)
        return K, Theta

    def versines(self, a: slice, b: slice, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """1 - |c| of the pairs (i, j) of the rows a and b, and whether c > 0, with all their digits."""
        first, second = self.first.given[a], self.second.given[b]
        r, s = self.first.size[a], self.second.size[b]
        v, positive = np.zeros(len(i)), np.ones(len(i), bool)
        left = np.arange(len(i))
        if self.work == "float32" and len(i) > len(first) * len(second) // MANY:  # one product is cheaper than so many differences
            c = ((first / r[:, None]) @ (second / s[:, None]).T)[i, j]
            v, positive = 1 - np.abs(c), c >= 0
            left = np.flatnonzero(v < DOUBLE)
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
