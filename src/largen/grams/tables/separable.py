"""Kernels of smooth networks on points of any norms: a table in (log q, log q', angle), as a short sum of products.

    F(q, q', c) = sum_m T_m(2 asin(c)/pi) sum_r s_mr a_mr(q) a_mr(q'),

T_m Chebyshev polynomials, s = +-1, a_mr from the eigenvectors of the symmetric matrix that multiplies T_m in a tensor Chebyshev
interpolant; terms below the tolerance are left out. Each row has its own numbers a_mr, and an entry costs one product a term.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

from largen.architecture.nodes import Serial
from largen.grams.tables.angles import Rows
from largen.grams.tables.curve import WHOLE, arcsine, clenshaw
from largen.grams.tables.features import grid
from largen.grams.tiles import Once, Stretch, Values, symmetric
from largen.types import island

SIZES, ANGLES = {"float32": 26, "float64": 32}, {"float32": 44, "float64": 64}  # nodes in log q and in the angle
CHECKS = 7  # sizes between the nodes (with both ends), at as many angles as there are nodes
TAIL, ACCEPTED = {"float32": 2e-7, "float64": 3e-11}, {"float32": 2e-6, "float64": 1e-9}  # a term left out; certified error; relative
STEEP = 5e-6  # error that the rounding of c in float32 may cause
SPREAD = 1e4  # of the largest to the smallest |x|^2 that a table is tried for
STEP = 2**0.25  # ends of tables are powers of this, so that points drawn again share the table
ONCE = Once()

PLACES = {"both": [0, 1], "nngp": [0], "ntk": [1]}  # of kernels in what `grid` gives
Ranks = tuple[tuple[int, ...], ...]  # of K, of Theta or of both: how many terms multiply each T_m


@dataclass(frozen=True)
class Table:
    """`terms`: of every kernel asked for, coefficients (terms, sizes) of the a_mr in log q between `ends`, by m; `signs` (terms,) each;
    `errors` of each, certified between the nodes."""

    ranks: Ranks
    terms: tuple[np.ndarray, ...]
    signs: tuple[np.ndarray, ...]
    ends: tuple[float, float]
    errors: tuple[float, ...]

    def numbers(self, q: np.ndarray) -> list[np.ndarray]:
        """The a_mr of every size, (terms, points) each."""
        x = np.clip(2 * np.log(q / self.ends[0]) / np.log(self.ends[1] / self.ends[0]) - 1, -1, 1)
        basis = chebyshev.chebvander(x, self.terms[0].shape[1] - 1).T
        with island():  # not numpy's product, whose threads would wait busily beside ours
            every = np.asarray(jnp.matmul(np.concatenate(self.terms), basis))
        return np.split(every, np.cumsum([len(terms) for terms in self.terms])[:-1])


class Separable:
    """Tiles of one Gram matrix; `error` of the table, relative to the largest value for two of the points that coincide."""

    def __init__(self, table: Table, first: Rows, second: Rows, which: str) -> None:
        self.first, self.second, self.ranks, self.which = first, second, table.ranks, which
        self.left = [a.astype(first.unit.dtype) for a in table.numbers(first.q)]
        right = self.left if first is second else [a.astype(first.unit.dtype) for a in table.numbers(second.q)]
        self.right = [s[:, None].astype(a.dtype) * a for s, a in zip(table.signs, right, strict=True)]
        largest = [(s @ a**2).max() for s, a in zip(table.signs, table.numbers(np.r_[first.q.max(), second.q.max()]), strict=True)]
        self.error = max(error / top if top > 0 else 0.0 for error, top in zip(table.errors, largest, strict=True))

    def tile(self, rows: Stretch, columns: Stretch) -> Values:
        a, b = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        own = self.first is self.second and rows == columns
        with island(self.first.unit):
            left, right = [n[:, a] for n in self.left], [n[:, b] for n in self.right]
            U1, U2 = self.first.unit[a], self.second.unit[b]
            out = ONCE.run((U1.dtype, U1.shape, U2.shape, self.ranks), lambda: _tile(U1, U2, left, right, self.ranks))
            out = [np.asarray(part) for part in out]
        if own:  # both ways of writing the same number alike; a point with itself, where all T_m are 1
            out = [symmetric(part) for part in out]
            for part, x, y in zip(out, left, right, strict=True):
                np.fill_diagonal(part, np.einsum("ti,ti->i", x, y, dtype=np.float64))
        return tuple(out)


def separable(net: Serial, rates: dict[str, Any], first: Rows, second: Rows, which: str = "both") -> Separable | None:
    """What evaluates the tiles of the kernels `which` of a smooth network, or None where no table is accurate (zero rows, norms over too
    many decades)."""
    low, high = (float(f([f(rows.q) for rows in (first, second)])) for f in (np.min, np.max))
    if low * SPREAD < high or low == high:
        return None
    bottom, top = np.floor(np.log(low) / np.log(STEP)), np.ceil(np.log(high) / np.log(STEP))
    work, lambdas = first.unit.dtype.name, tuple((path, tuple(float(rate) for rate in pair)) for path, pair in rates.items())
    table = _table(net, lambdas, (float(STEP**bottom), float(STEP**top)), work, which)
    found = None if table is None else Separable(table, first, second, which)
    return None if found is None or found.error > ACCEPTED[work] else found


@lru_cache(maxsize=8)
def _table(net: Serial, rates: tuple[tuple[str, Any], ...], ends: tuple[float, float], work: str, which: str) -> Table | None:
    """The table for sizes between the ends, if rounding lets it be accurate."""
    sizes, angles, places = SIZES[work], ANGLES[work], PLACES[which]
    values, error = grid(net, dict(rates), _sizes(chebyshev.chebpts1(sizes), ends), np.sin(WHOLE * chebyshev.chebpts1(angles)))
    values = values[places]
    scale = np.abs(values).max((1, 2, 3))
    if not np.isfinite(scale).all():
        return None
    scale = np.where(scale > 0, scale, 1.0)
    found = [_terms(v, s * TAIL[work]) for v, s in zip(values, scale, strict=True)]
    table = Table(*zip(*found, strict=True), ends, (0.0,) * len(places))  # type: ignore[arg-type]
    x, y = np.linspace(-1, 1, CHECKS), np.linspace(-1, 1, angles)
    wanted, again = grid(net, dict(rates), _sizes(x, ends), np.sin(WHOLE * y))
    got = _sums(table, _sizes(x, ends), y)
    slope = (np.abs(np.diff(got, axis=-1)) / np.diff(np.sin(WHOLE * y))).max((1, 2, 3)) / scale
    if slope.max() * np.finfo(work).eps > STEEP:
        return None
    errors = np.maximum(np.abs(got - wanted[places]).max((1, 2, 3)), max(error, again) * scale)
    return replace(table, errors=tuple(map(float, errors)))


def _sizes(x: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """q of x in [-1, 1], linear in log q."""
    return ends[0] * (ends[1] / ends[0]) ** ((x + 1) / 2)


def _transform(count: int) -> np.ndarray:
    """Values at Chebyshev nodes to coefficients."""
    out = 2 / count * chebyshev.chebvander(chebyshev.chebpts1(count), count - 1).T
    out[0] /= 2
    return out


def _terms(values: np.ndarray, allowed: float) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """Ranks, coefficients and signs of one function from its values (sizes, sizes, angles)."""
    by_size, by_angle = _transform(values.shape[0]), _transform(values.shape[2])
    weight, vectors = np.linalg.eigh(np.moveaxis(values @ by_angle.T, 2, 0))
    kept = np.abs(weight) * (vectors**2).max(1) > allowed  # where it is largest
    kept[:2, -1] = True  # at least the terms of degree 1
    ranks = kept.sum(1)[: 1 + np.flatnonzero(kept.any(1))[-1]]
    scaled = vectors.swapaxes(1, 2)[kept] * np.sqrt(np.abs(weight[kept]))[:, None]
    return tuple(int(r) for r in ranks), scaled @ by_size.T, np.sign(weight[kept])


def _sums(table: Table, q: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(functions, sizes, sizes, angles) of the series, at angles y = 2 asin(c)/pi."""
    out = []
    for ranks, signs, a in zip(table.ranks, table.signs, table.numbers(q), strict=True):
        polynomials = np.repeat(chebyshev.chebvander(y, len(ranks) - 1).T, ranks, 0)
        out.append(np.einsum("ti,tj,ty->ijy", signs[:, None] * a, a, polynomials, optimize=True))
    return np.stack(out)


@partial(jax.jit, static_argnames="ranks")
def _tile(U1: Any, U2: Any, left: Any, right: Any, ranks: Ranks) -> list[Any]:
    """The kernels by Clenshaw's recursion in the angle, its coefficients products of the rows' numbers."""
    c = jnp.clip(jnp.matmul(U1, U2.T, precision="highest"), -1, 1)
    x = arcsine(c) / WHOLE
    return [_sum(x, *numbers) for numbers in zip(left, right, ranks, strict=True)]


def _sum(x: Any, left: Any, right: Any, ranks: tuple[int, ...]) -> Any:
    last = np.cumsum(ranks)

    def coefficient(m: int) -> Any:
        terms = range(last[m] - ranks[m], last[m])
        return sum((left[t][:, None] * right[t] for t in terms), jnp.zeros((), x.dtype))

    return clenshaw(x, coefficient, len(ranks) - 1)
