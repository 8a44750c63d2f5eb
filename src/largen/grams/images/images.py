"""Kernels of convolutional networks in float32, tile by tile: what `lg.gram` does with images.

Standard deviations in front of every activation are found once per point. Then the kernels of some pairs of points at a time go through
the network offset by offset; if they are flattened without pooling, equal pixels are all that meet, and one pass does. Only pairs on
and above the diagonal are computed where both sets of points are the same.
"""

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.architecture.nodes import Dense, Serial
from largen.architecture.paths import everything, paths
from largen.architecture.walk import needed, walk
from largen.gaussian.pair import safe_divide
from largen.grams.images.maps import REST, rounded, series_of, supported, terms_for
from largen.grams.images.stages import Program, program
from largen.grams.images.sweep import Points, deviations, inverse, moments
from largen.grams.tiles import WHICH, Stretch, Values
from largen.memory import require
from largen.running.jitted import jitted, repeated
from largen.theory.positions import Carrier, start
from largen.theory.rules import KERNELS
from largen.types import island

LANES = 8  # pairs side by side
WIDE, PARTS = 64, 2  # rows of a tile where one pass does, fewer for few points
SQUARE, FEW = 8, 24  # and where all offsets are gone through; half as many for few points
CLOSE = 1e-5  # 1 - |c| of flattened points, below which rounding is felt
SKETCH, MAYBE = 64, 1e-3  # random projections that such pairs are looked for with, and how close they may seem
ONE = np.int32(1)

# in front of every activation of every stage: standard deviations (points, *grid); coefficients (points, terms, *grid) if it has a series
Sizes = list[list[tuple[np.ndarray, ...]]]


class Images:
    """float32 tiles of one Gram matrix, of the kernels `which`, of a network whose positions end after the stages of `plan`."""

    def __init__(self, net: Serial, rates: Mapping[str, Any], plan: Program, X: np.ndarray, X2: np.ndarray | None, which: str) -> None:
        self.plan, self.same, self.error, self.which = plan, X2 is None, 0.0, which
        self.asked = which != "nngp"  # whether Theta goes through the network with K
        self.network, self.shape = (net, dict(rates)), X.shape[1:]
        layers = [(node, rates[path]) for path, node in list(paths(net))[: plan.rest] if path in rates]
        rows = [(node.C_W, node.C_b, *rate) for node, rate in layers]  # type: ignore[attr-defined]
        self.hyper = np.array([*rows, (1, 0, 0, 0)], np.float32)  # nothing comes after the last: S is Theta
        self.tail = _tail_of(net, rates, plan.rest)
        self.first = _Rows(plan, X, self.hyper)
        self.second = self.first if X2 is None else _Rows(plan, X2, self.hyper)
        self.enough = self.expand()
        if not self.enough:
            return
        alone = all(isinstance(node, Dense) for node in self.tail[0].nodes)
        for some in (self.first, self.second):
            if some.own is None and not alone:
                some.own = self.pairs(some, np.arange(len(some.X)), some, np.arange(len(some.X)))

    def expand(self) -> bool:
        """Find the coefficients of activations that need them; whether few are enough."""
        rows = {id(some): some for some in (self.first, self.second)}.values()
        for number, stage in enumerate(self.plan.stages):
            for act, phi in enumerate(stage.acts):
                if phi.closed is None:
                    largest = max(float(some.sizes[number][act][0].max()) for some in rows)
                    terms = terms_for(phi, largest) if largest > 0 else 1
                    if terms is None:
                        return False
                    self.error = REST
                    numbers = terms * sum(some.sizes[number][act][0].size for some in rows)
                    require(4.0 * numbers, "X", f"{len(self.first.X)} images with {terms} numbers at every pixel", "Take fewer images.")
                    for some in rows:
                        (r,) = some.sizes[number][act]
                        parts = [np.asarray(_series(phi, r[at : at + LANES], terms)) for at in range(0, len(r), LANES)]
                        some.sizes[number][act] = (r, np.concatenate(parts))
        return True

    def size(self) -> int:
        """The rows of a tile."""
        n = max(len(self.first.X), len(self.second.X))
        if self.plan.flat:
            return min(WIDE, -(-n // (PARTS * LANES)) * LANES)
        return SQUARE if n >= FEW else SQUARE // 2

    def tile(self, rows: Stretch, columns: Stretch) -> Values:
        i, j = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
        itself = self.first.content[i][:, None] == self.second.content[j]  # equal points too
        if self.plan.flat:
            parts = self.flat(i, j)
            assert self.first.own is not None
            for whole, own in zip(parts, self.first.own, strict=False):
                whole[itself] = np.broadcast_to(own[i][:, None], itself.shape)[itself]
        else:
            above = i[:, None] <= j if self.same else np.ones(itself.shape, bool)
            a, b = np.argwhere(above).T
            values = self.pairs(self.first, i[a], self.second, j[b])
            parts = np.zeros((len(values), *above.shape), np.float32)
            parts[:, a, b] = values
        q1, q2 = (parts[0] if some.own is None else some.own[0][at] for some, at in ((self.first, i), (self.second, j)))
        # where Theta is not asked for, parts[-1] is K again, and nothing is made of it
        found = _rest(*self.tail, parts[0], parts[-1], q1.reshape(len(i), -1)[:, :1], q2.reshape(-1, len(j))[:1], itself, self.which)
        found = tuple(map(np.array, found))
        if self.plan.flat:
            self.repair(i, j, found, (i[:, None] < j) | (not self.same))
        if self.same and rows == columns:
            return tuple(np.triu(a) + np.triu(a, 1).T for a in found)
        return found

    def repair(self, i: np.ndarray, j: np.ndarray, found: Values, asked: np.ndarray) -> None:
        """Compute pairs of nearly parallel points anew in float64: where all cosines are close to +-1, float32 has few digits of the
        angles left. Equal points need none of it. Sketches of the points say which pairs to look at."""
        first, second = self.first, self.second
        maybe = np.abs(np.einsum("id,jd->ij", first.sketch[i], second.sketch[j])) > 1 - MAYBE
        for a, b in zip(*np.nonzero(maybe & asked), strict=True):
            x, y = (rows.X[at].astype(np.float64) for rows, at in ((first, i[a]), (second, j[b])))
            if (x != y).any() and (x * y).sum() ** 2 > (1 - CLOSE) ** 2 * (x * x).sum() * (y * y).sum():
                points = (np.moveaxis(z, 0, -1).reshape(1, *self.shape) for z in (x, y))
                with island():
                    net, rates = jax.tree_util.tree_map(np.float64, self.network)
                    for part, value in zip(found, _exact(net, rates, *points, self.which), strict=True):
                        part[a, b] = np.asarray(value)[0, 0]

    def flat(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """K and, if asked for, Theta of all pairs of some first and second points; those with j < i may be left 0 if both sets are the
        same."""
        padded = np.resize(j, -(-len(j) // LANES) * LANES)
        begin = np.searchsorted(j, i) // LANES if self.same else np.zeros(len(i), np.int64)
        with repeated(math.inf):  # what is swept is never little
            found = _flat(self.plan, *self.first.of(i), *self.second.of(padded), begin.astype(np.int32), self.hyper, ONE, self.asked)
        return np.array(found)[:, :, : len(j)]

    def pairs(self, first: "_Rows", i: np.ndarray, second: "_Rows", j: np.ndarray) -> np.ndarray:
        """K and, if asked for, Theta of the pairs (i, j) of a list."""
        many = len(i)
        out = np.empty((1 + self.asked, -(-many // LANES) * LANES), np.float32)
        i, j = np.resize(i, out.shape[1]), np.resize(j, out.shape[1])
        for at in range(0, out.shape[1], LANES):
            some = slice(at, at + LANES)
            with repeated(math.inf):
                out[:, some] = _pairs(self.plan, *first.of(i[some]), *second.of(j[some]), self.hyper, ONE, self.asked)
        return out[:, :many]


class _Rows:
    """Points (n, channels, *positions) in float32, their standard deviations, and where one pass does K and Theta (n,) of every point
    with itself."""

    def __init__(self, plan: Program, X: np.ndarray, hyper: np.ndarray) -> None:
        self.X = np.ascontiguousarray(np.moveaxis(X, -1, 1).reshape(len(X), X.shape[-1], *plan.stages[0].grid), np.float32)
        self.content = np.array([hash(x.tobytes()) for x in self.X])
        self.sketch = np.asarray(_sketch(self.X.reshape(len(X), -1), _signs(X[0].size)))
        lanes = np.resize(np.arange(len(X)), (-(-len(X) // LANES), LANES))
        with repeated(math.inf):
            parts = [_own(plan, self.X[some], hyper, ONE) for some in lanes]
        self.sizes: Sizes
        self.own: Any
        sizes, self.own = jax.tree_util.tree_map(lambda *a: np.concatenate(a)[: len(X)], *parts)
        self.sizes = [[(r,) for r in some] for some in sizes]

    def of(self, at: np.ndarray) -> tuple[np.ndarray, Sizes]:
        return self.X[at], [[tuple(a[at] for a in known) for known in some] for some in self.sizes]


def images(net: Serial, rates: Mapping[str, Any], X: np.ndarray, X2: np.ndarray | None, which: str = "both") -> Images | None:
    """What evaluates the tiles of the kernels `which` in float32, or None for networks that are no stages of convolutions and poolings."""
    plan = program(net, X.shape[1:-1])
    if plan is None or not all(layer.phi is None or supported(layer.phi) for stage in plan.stages for layer in stage.layers):
        return None
    require(sweeping(plan, X.shape[-1]), "X", f"pairs of images of shape {X.shape[1:]}", "Take smaller images.")
    made = Images(net, rates, plan, X, X2, which)
    return made if made.enough else None


def sweeping(plan: Program, channels: int) -> float:
    """Bytes in work: the images that a stage collects from all offsets and those it starts from, and a few more; one set a thread."""
    grids = [math.prod(stage.grid) for stage in plan.stages]
    gathered = [0, *(2 * math.prod(map(len, needs)) * n for needs, n in zip(plan.needs[1:], grids[1:], strict=True)), 0]
    few = sum((16 * len(stage.acts) + 8) * n for stage, n in zip(plan.stages, grids, strict=True)) + 4 * channels * grids[0]
    return 4.0 * LANES * (os.cpu_count() or 1) * (few + max(a + b for a, b in itertools.pairwise(gathered)))


# ---------------------------------------------------------------- compiled parts


def _lanes(a: Any) -> Any:
    """(points, ..., n) to (..., n points)."""
    a = jnp.moveaxis(a, 0, -1)
    return a.reshape(*a.shape[:-2], -1)


def _points(X: Any, sizes: Any) -> Points:
    return Points(_lanes(X), [[(_lanes(r), inverse(_lanes(r)), *map(_lanes, more)) for r, *more in some] for some in sizes])


@jitted(static=(0, 2))
def _series(phi: Activation, r: Any, terms: int) -> Any:
    return jnp.moveaxis(series_of(phi, r, terms), 0, 1)


@jitted(static=(0,))
def _own(plan: Program, X: Any, hyper: Any, one: Any) -> Any:
    lanes = len(X)
    sizes, own = deviations(plan, _lanes(X), hyper, one, lanes)
    return [[jnp.moveaxis(r.reshape(*r.shape[:-1], -1, lanes), -1, 0) for r in some] for some in sizes], own


@jitted(static=(0, 7))
def _pairs(plan: Program, X1: Any, sizes1: Any, X2: Any, sizes2: Any, hyper: Any, one: Any, asked: bool) -> Any:
    return jnp.stack(moments(plan, _points(X1, sizes1), _points(X2, sizes2), hyper, one, len(X1), asked))


@jitted(static=(0, 8))
def _flat(plan: Program, X1: Any, sizes1: Any, X2: Any, sizes2: Any, begin: Any, hyper: Any, one: Any, asked: bool) -> Any:
    """Every first point against blocks of second points, from block `begin` on: K and, if `asked`, Theta (first, second)."""
    blocks = jax.vmap(_points)(*jax.tree_util.tree_map(lambda a: a.reshape(-1, LANES, *a.shape[1:]), (X2, sizes2)))
    count = len(X2) // LANES

    def row(args: Any) -> Any:
        x, sizes, start = args
        first = _points(*jax.tree_util.tree_map(lambda a: jnp.broadcast_to(a, (LANES, *a.shape)), (x, sizes)))

        def block(number: Any, out: Any) -> Any:
            found = moments(plan, first, replace(blocks, number=number), hyper, one, LANES, asked)
            return jax.lax.dynamic_update_index_in_dim(out, jnp.stack(found), number, 1)

        return jax.lax.fori_loop(start, count, block, jnp.zeros((1 + asked, count, LANES), jnp.float32)).reshape(1 + asked, -1)

    return jax.lax.map(row, (X1, sizes1, begin)).swapaxes(0, 1)


# ---------------------------------------------------------------- after the positions are gone


def _tail_of(net: Serial, rates: Mapping[str, Any], at: int) -> tuple[Serial, dict[str, Any]]:
    """The nodes from number `at` on as a network, and their rates by its paths."""
    tail = Serial(net.nodes[at:])
    names = {new: old for (new, _), (old, _) in zip(paths(tail), list(paths(net))[at:], strict=True)}
    found = {}
    for path, _ in everything(tail):
        head, slash, inside = path.partition("/")
        if (old := names[head] + slash + inside) in rates:
            found[path] = rates[old]
    return tail, found


@cache
def _signs(features: int) -> np.ndarray:
    return np.random.default_rng(0).choice([-1.0, 1.0], (features, SKETCH)).astype(np.float32)


@jitted()
def _sketch(X: Any, signs: Any) -> Any:
    """Unit rows: random projections of the points."""
    projected = X @ signs
    return safe_divide(projected, jnp.linalg.norm(projected, axis=1, keepdims=True))


@jitted(static=(4,))
def _exact(net: Serial, rates: Any, X1: Any, X2: Any, which: str) -> tuple[Any, ...]:
    """The kernels by the recursion of `lg.kernel`."""
    return _asked(walk(net, KERNELS, start(X1, X2, needed(net, KERNELS)), rates)[0], which)


def _asked(last: Any, which: str) -> tuple[Any, ...]:
    known = {"nngp": last.pair.k, "ntk": last.theta}
    return tuple(known[name] for name in WHICH[which])


@jitted(static=(7,))
def _rest(tail: Serial, rates: Any, K: Any, Theta: Any, q1: Any, q2: Any, itself: Any, which: str) -> tuple[Any, ...]:
    """The kernels after the tail, of moments K (first, second) with variances q1 (first, 1) and q2 (1, second)."""
    pair = rounded(q1, q2, K)
    pair = replace(pair, near=jnp.where(itself, 0, pair.near), far=jnp.where(itself, 2, pair.far))
    return _asked(walk(tail, KERNELS, Carrier(pair, Theta, jnp.zeros((), K.dtype)), rates)[0], which)
