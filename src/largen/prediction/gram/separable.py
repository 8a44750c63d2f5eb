"""Kernels of smooth networks on points of any norms: a table in (log q, log q', c), as a short sum of products.

    F(q, q', c) = sum_m T_m(c) sum_r s_mr a_mr(q) a_mr(q'),

T_m Chebyshev polynomials, s = +-1, a_mr from the eigenvectors of the symmetric matrix that multiplies T_m in a tensor Chebyshev
interpolant; terms below the tolerance are left out. Each row has its own numbers a_mr, and an entry costs one product a term.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

from largen.architecture.nodes import Act, Serial
from largen.architecture.walk import everything
from largen.prediction.gram.angles import Rows
from largen.prediction.gram.ask import grid
from largen.prediction.gram.powers import POWERS
from largen.prediction.gram.tiles import Stretch, Values

SIZES, COSINES = 20, 40  # nodes in log q and in c
CHECKS = 7  # sizes between the nodes (with both ends), at as many cosines as there are nodes
TAIL, ACCEPTED = 5e-8, 2e-6  # of a term left out; certified error; both relative to the largest value
STEEP = 5e-6  # error that the rounding of c in float32 may cause
SPREAD = 1e4  # of the largest to the smallest |x|^2 that a table is tried for

Terms = list[tuple[np.ndarray, np.ndarray]]  # per m: coefficients (rank, SIZES) of the a_mr in log q, and their signs (rank,)


class Separable:
    """float32 tiles of one Gram matrix; `error` is certified between the nodes, relative to the largest entry."""

    def __init__(self, terms: list[Terms], error: float, ends: tuple[float, float], X: np.ndarray, X2: np.ndarray | None) -> None:
        self.error, self.same = error, X2 is None
        self.first = Rows(X, [0], "float32")
        self.second = self.first if X2 is None else Rows(X2, [0], "float32")
        self.left, self.right = (_numbers(terms, rows.size**2 / X.shape[1], ends) for rows in (self.first, self.second))
        for f, function in enumerate(terms):
            for m, (_, signs) in enumerate(function):
                self.right[m, f, :, : len(signs)] *= signs.astype(np.float32)

    def tile(self, rows: Stretch, columns: Stretch) -> Values:
        a, b = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        place = np.int32(rows.start - columns.start)
        K, Theta = _tile(self.first.unit[a], self.second.unit[b], self.left[:, :, a], self.right[:, :, b], place, self.same)
        return np.asarray(K), np.asarray(Theta)


def _numbers(terms: list[Terms], q: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """The numbers a_mr of every row, (terms in c, functions, rows, rank), padded by zeros."""
    x = np.clip(2 * np.log(q / ends[0]) / np.log(ends[1] / ends[0]) - 1, -1, 1)
    basis = chebyshev.chebvander(x, SIZES - 1)
    rank = max(len(signs) for function in terms for _, signs in function)
    out = np.zeros((COSINES, len(terms), len(q), rank), np.float32)
    for f, function in enumerate(terms):
        for m, (a, signs) in enumerate(function):
            out[m, f, :, : len(signs)] = basis @ a.T
    return out


def separable(net: Serial, rates: dict[str, Any], X: np.ndarray, X2: np.ndarray | None) -> Separable | None:
    """What evaluates the tiles in float32, or None where no table is accurate (kinks, zero rows, norms over too many decades)."""
    nodes = list(everything(net))
    if not all(type(node) in POWERS.rules for _, node in nodes) or any(isinstance(n, Act) and n.activation.kinks for _, n in nodes):
        return None
    q = np.concatenate([np.einsum("ij,ij->i", Z, Z, dtype=np.float64) / Z.shape[1] for Z in (X, X2) if Z is not None])
    ends = float(q.min()), float(q.max())
    if ends[0] * SPREAD < ends[1] or ends[0] == ends[1]:
        return None
    values, error = grid(net, rates, _sizes(chebyshev.chebpts1(SIZES), ends), chebyshev.chebpts1(COSINES))
    scale = np.abs(values).max((1, 2, 3))
    if not np.isfinite(scale).all():
        return None
    scale = np.where(scale > 0, scale, 1.0)
    terms = [_terms(v, s * TAIL) for v, s in zip(values, scale, strict=True)]
    between, cosines = np.linspace(-1, 1, CHECKS), np.cos(np.linspace(0, np.pi, COSINES))
    wanted, again = grid(net, rates, _sizes(between, ends), cosines)
    found = np.stack([_sum(function, between, cosines) for function in terms])
    error = max(error, again, float((np.abs(found - wanted).max((1, 2, 3)) / scale).max()))
    slope = max(_slope(function) / s for function, s in zip(terms, scale, strict=True))
    if error > ACCEPTED or slope * np.finfo(np.float32).eps > STEEP:
        return None
    return Separable(terms, error, ends, X, X2)


def _sizes(x: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """q of x in [-1, 1], linear in log q."""
    return ends[0] * (ends[1] / ends[0]) ** ((x + 1) / 2)


def _transform(count: int) -> np.ndarray:
    """Values at Chebyshev nodes to coefficients."""
    out = 2 / count * chebyshev.chebvander(chebyshev.chebpts1(count), count - 1).T
    out[0] /= 2
    return out


def _terms(values: np.ndarray, allowed: float) -> Terms:
    """The series of one function from its values (sizes, sizes, cosines)."""
    by_size, by_cosine = _transform(values.shape[0]), _transform(values.shape[2])
    series = np.einsum("ijc,mc->mij", values, by_cosine)
    out: Terms = []
    for matrix in series:
        weight, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        kept = np.abs(weight) > allowed
        out.append(((by_size @ (vectors[:, kept] * np.sqrt(np.abs(weight[kept])))).T, np.sign(weight[kept])))
    return out


def _sum(function: Terms, x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(sizes, sizes, cosines) of the series."""
    T = chebyshev.chebvander(x, function[0][0].shape[1] - 1)
    total = np.zeros((len(x), len(x), len(c)))
    for (a, signs), polynomial in zip(function, chebyshev.chebvander(c, len(function) - 1).T, strict=True):
        at = T @ a.T
        total += ((signs * at) @ at.T)[..., None] * polynomial
    return total


def _slope(function: Terms) -> float:
    """A bound on the derivative in c at the largest sizes: sum_m m^2 |coefficient of T_m|."""
    x = np.linspace(-1, 1, CHECKS)
    T = chebyshev.chebvander(x, function[0][0].shape[1] - 1)
    at = [(signs, T @ a.T) for a, signs in function]
    return sum(m * m * float(np.abs((signs * values) @ values.T).max()) for m, (signs, values) in enumerate(at))


@partial(jax.jit, static_argnames="same")
def _tile(U1: Any, U2: Any, left: Any, right: Any, shift: Any, same: bool) -> tuple[Any, Any]:
    """Clenshaw's recursion in c for K and Theta, its coefficients products of the rows' numbers."""
    c = jnp.clip(jnp.matmul(U1, U2.T, precision="highest"), -1, 1)
    row, column = jax.lax.broadcasted_iota(jnp.int32, c.shape, 0), jax.lax.broadcasted_iota(jnp.int32, c.shape, 1)
    c = jnp.where((row + shift == column) & same, 1, c)

    def coefficient(a: Any, b: Any) -> Any:
        return jnp.einsum("fir,fjr->fij", a, b, precision="highest")

    def step(carry: tuple[Any, Any], numbers: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
        here, above = carry
        return (coefficient(*numbers) + 2 * c * here - above, here), None

    zero = jnp.zeros((left.shape[1], *c.shape), c.dtype)
    (here, above), _ = jax.lax.scan(step, (zero, zero), (left[1:], right[1:]), reverse=True)
    out = coefficient(left[0], right[0]) + c * here - above
    if same:  # a tile on the diagonal: both ways of writing the same number alike
        out = jax.lax.cond(shift == 0, lambda a: jnp.where(row > column, a.swapaxes(1, 2), a), lambda a: a, out)
    return out[0], out[1]
