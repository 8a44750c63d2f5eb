r"""Expectations of four factors, which the recursions of the NTK's fluctuations need:

    X[o1 o2 o3 o4][a, b, c, d] = <s^(o1)(z_a) s^(o2)(z_b) s^(o3)(z_c) s^(o4)(z_d)>      at inputs a, b, c, d, from K alone.

There are at most four different inputs in each. Smooth activations: one lattice for every set of inputs, all orders of
derivatives at once as one matrix product; many inputs: one set of quasi-random points for all. The ReLU family (orders 0 and 1):
closed forms, and one integral for four different inputs. Other kinked activations (s'' almost everywhere): rules split at the
kinks for two, lines through quasi-random points for more.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import combinations, permutations, product
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.closed import Homogeneous
from largen.gaussian import lattice, orthant
from largen.running.jitted import jitted
from largen.theory.corrections import kinked
from largen.types import float64

Orders = tuple[int, int, int, int]
# What the fluctuations of the NTK, dNTKs and ddNTKs need, by the highest derivative of s in them.
NTK: tuple[Orders, ...] = ((0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1))
PATTERNS: dict[int, tuple[Orders, ...]] = {1: NTK, 2: (*NTK, (2, 1, 1, 0)), 3: (*NTK, (2, 1, 1, 0), (3, 1, 1, 1), (2, 2, 1, 1))}
SLOPES = 0  # instead of that highest derivative: what the derivatives of X[0 0 0 0] by K need
PATTERNS[SLOPES] = ((0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 0, 2))
TOLERANCE = {1: 1e-9, 2: 1e-9, 3: 1e-8, 4: 1e-7}  # by different inputs: what lattices are chosen by; they reach more, and it is estimated
POINTS = 2**14  # of a set of quasi-random points
# How the four inputs of an entry coincide, in increasing order of inputs: (a, b, c, d) of its different inputs.
COINCIDENCES = ((0, 0, 0, 0), (0, 0, 0, 1), (0, 1, 1, 1), (0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 2), (0, 1, 2, 2), (0, 1, 2, 3))

Quartets = dict[Orders, np.ndarray]


@cache
def derivatives(phi: Activation, orders: int = 5) -> tuple[Any, ...]:
    """phi and its derivatives of order 1 to orders - 1."""
    return tuple(phi.derivative(i) for i in range(orders))


def patterns(phi: Activation, top: int) -> tuple[Orders, ...]:
    """The patterns that there are: with second derivatives of the ReLU family none, with third ones of kinked activations none."""
    return NTK if isinstance(phi.closed, Homogeneous) else PATTERNS[min(top, 2)] if phi.kinks else PATTERNS[top]


def quartets(phi: Activation, K: np.ndarray, top: int, most: int = 4) -> tuple[Quartets, float]:
    """(X by orders, error relative to the largest of each) at inputs of covariance K (n, n); `top`: the highest derivative, 1 to 3,
    or `SLOPES`.

    The ReLU family has no patterns with second derivatives: they count as 0. Entries of more than `most` different inputs are left
    0: kinked activations without closed form have one and two here, and the others from `sampled`."""
    n, form = len(K), phi.closed
    X = {orders: np.zeros((n,) * 4) for orders in patterns(phi, top)}
    errors = dict.fromkeys(X, 0.0)
    for kinds in COINCIDENCES:
        sets = np.array(list(combinations(range(n), max(kinds) + 1)))
        if not len(sets) or max(kinds) >= most:
            continue
        at = sets[:, kinds]
        if isinstance(form, Homogeneous):
            tables, off = _homogeneous(form, K, at, kinds)
        elif phi.kinks:
            tables, off = _kinked(phi, K, sets, kinds, top)
        else:
            tables, off = _smooth(phi, K, sets, kinds, top)
        for orders in X:
            errors[orders] = max(errors[orders], off[orders])
            for order in permutations(range(4)):
                place = tuple(orders[order.index(i)] for i in range(4))
                X[orders][tuple(at[:, i] for i in order)] = tables[(slice(None), *place)]
    return X, max(errors[orders] / float(np.abs(X[orders]).max()) for orders in X if X[orders].any())


def drawn(phi: Activation, K: np.ndarray, top: int, seeds: Iterable[int], lattices: int) -> tuple[Iterator[Quartets], float]:
    """(X by orders for every seed, the error of what does not depend on it): entries of one and two different inputs, the ReLU family,
    and smooth activations at up to `lattices` inputs, are not sampled."""
    if isinstance(phi.closed, Homogeneous) or (not phi.kinks and len(K) <= lattices):
        known, error = quartets(phi, K, top)
        return (known for _ in seeds), error
    if not phi.kinks:
        return (sampled(phi, K, top, seed) for seed in seeds), 0.0
    known, error = quartets(phi, K, top, most=2)
    few = (np.diff(np.sort(np.indices((len(K),) * 4), 0), axis=0) != 0).sum(0) < 2
    draws = (sampled(phi, K, top, seed) for seed in seeds)
    return ({o: np.where(few, known[o], X) for o, X in draw.items()} for draw in draws), error


def _kinked(phi: Activation, K: np.ndarray, sets: np.ndarray, kinds: tuple[int, ...], top: int) -> tuple[np.ndarray, dict[Orders, float]]:
    """As `_smooth`, by rules split at the kinks."""
    top = min(top, 2)
    features = _features(phi, kinds, top)
    rules = ([kinked.fourfold(phi, features, K[np.ix_(at, at)], o) for at in sets] for o in kinked.RULES)
    fine, coarse = (np.stack([np.asarray(v).reshape((top + 1,) * 4) for v in rule]) for rule in rules)
    return fine, {orders: float(np.abs(fine - coarse)[(slice(None), *orders)].max()) for orders in patterns(phi, top)}


def _smooth(phi: Activation, K: np.ndarray, sets: np.ndarray, kinds: tuple[int, ...], top: int) -> tuple[np.ndarray, dict[Orders, float]]:
    """(sets, orders, orders, orders, orders) by lattices, and errors by a second lattice for the widest set."""
    widest = max(range(len(sets)), key=lambda i: K[sets[i], sets[i]].sum())
    tolerance = TOLERANCE[1 if top == SLOPES else sets.shape[1]]  # slopes as fine as the values that they are of

    @float64
    def one(at: np.ndarray, shifted: bool = False) -> np.ndarray:
        grid = partial(lattice.gram, _features(phi, kinds, top), _products(phi, top), 1, K[np.ix_(at, at)], tolerance=tolerance)
        return grid(shifted=shifted).reshape((_orders(top),) * 4)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        again = pool.submit(one, sets[widest], True)
        out = np.stack(list(pool.map(one, sets)))
        change = again.result() - out[widest]
    return out, {orders: float(np.abs(change[orders])) / 2 for orders in PATTERNS[top]}


def _orders(top: int) -> int:
    """How many derivatives, with that of order 0, its patterns have."""
    return 1 + max(map(max, PATTERNS[top]))


@cache
def _products(phi: Activation, top: int) -> tuple[Any, ...]:
    """The factors of each pattern at one input, by which lattices are chosen."""
    f = derivatives(phi, _orders(top))
    return tuple(lambda z, o=o: f[o[0]](z) * f[o[1]](z) * f[o[2]](z) * f[o[3]](z) for o in PATTERNS[top])


@cache
def _features(phi: Activation, kinds: tuple[int, ...], top: int) -> Any:
    """All orders at the first two inputs, and at the last two."""
    functions = derivatives(phi, _orders(top))

    def features(z: Any) -> tuple[Any, Any]:
        a, b, c, d = ([f(z[i]) for f in functions] for i in kinds)
        return jnp.stack([p * q for p in a for q in b]), jnp.stack([p * q for p in c for q in d])

    return features


@float64
def sampled(phi: Activation, K: np.ndarray, top: int, seed: int) -> Quartets:
    """X by orders over quasi-random points, an independent set for every seed."""
    X: dict[Orders, Any] = dict.fromkeys(patterns(phi, top), 0.0)
    functions = derivatives(phi, 1 + max(map(max, X)))
    for z, weights in kinked.on_lines(phi, K, seed) if phi.kinks else [_points(K, seed)]:
        s = np.asarray(_rows(functions, z)).astype(np.float32)  # sampling errors are far above its rounding
        w, pairs = np.asarray(weights).astype(np.float32), cache(partial(_pair_rows, s))
        for orders in X:
            (left, i), (right, j) = pairs(*orders[:2]), pairs(*orders[2:])
            X[orders] = X[orders] + ((w * left) @ right.T)[i[:, None], j].reshape((len(K),) * 4).astype(float)
    return X


def _points(K: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """POINTS scrambled Sobol points (n, points) of n dimensions, along the principal axes of K, and the weight of each."""
    values, axes = np.linalg.eigh(K)
    live = values > lattice.NULL * values.sum()
    root = (axes[:, live] * np.sqrt(values[live]))[:, ::-1]  # the widest axes take the first, most even dimensions
    from scipy import special
    from scipy.stats import qmc  # slow to import

    u = qmc.Sobol(root.shape[1], rng=np.random.default_rng(seed)).random(POINTS)
    return root @ special.ndtri(np.clip(u, 1e-12, 1 - 1e-12)).T, 1 / POINTS


@jitted(static=(0,))
def _rows(functions: tuple[Any, ...], z: Any) -> Any:
    """The functions, stacked."""
    return jnp.stack([f(z) for f in functions])


def _pair_rows(s: np.ndarray, o: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """(products of s^(o) at one input and s^(p) at another, rows of points, and where the row of (a, b) is, (n n,))."""
    n = s.shape[1]
    if o != p:
        return (s[o][:, None] * s[p]).reshape(n * n, -1), np.arange(n * n)
    a, b = np.triu_indices(n)
    where = np.empty((n, n), int)
    where[a, b] = where[b, a] = np.arange(len(a))
    return s[o][a] * s[o][b], where.ravel()


def _homogeneous(form: Homogeneous, K: np.ndarray, at: np.ndarray, kinds: tuple[int, ...]) -> tuple[np.ndarray, dict[Orders, float]]:
    """(sets, 2, 2, 2, 2), the orders of `NTK` and their permutations, at the inputs `at` (sets, 4), and errors."""
    out, error = np.zeros((len(at), 2, 2, 2, 2)), 0.0
    cov = K[at[:, :, None], at[:, None, :]]  # (sets, 4, 4)
    for orders in product((0, 1), repeat=4):
        if sum(orders) % 2 == 0:
            factors = [(kinds.index(kind), *_factor(orders, kinds, kind)) for kind in sorted(set(kinds))]
            out[(slice(None), *orders)], off = _expectation(form, cov, factors)
            error = max(error, off)
    return out, dict.fromkeys(NTK, error)


def _factor(orders: tuple[int, ...], kinds: tuple[int, ...], kind: int) -> tuple[int, int]:
    """(power of s, power of s') at one of the different inputs."""
    here = [o for o, k in zip(orders, kinds, strict=True) if k == kind]
    return here.count(0), here.count(1)


def _expectation(form: Homogeneous, cov: np.ndarray, factors: list[tuple[int, int, int]]) -> tuple[np.ndarray, float]:
    """E[prod_i s(z_i)^p s'(z_i)^r] over factors (place in cov, p, r), p + r summing to 4."""
    places = [place for place, _, _ in factors]
    K = cov[:, places][:, :, places]
    if len(factors) <= 2:
        (_, p1, r1), (_, p2, r2) = (factors * 2)[:2] if len(factors) == 1 else factors
        if len(factors) == 1:
            p2 = r2 = 0
        j = len(factors) - 1
        return orthant.planar(K[:, 0, 0], K[:, j, j], K[:, 0, j], (p1, r1), (p2, r2), form.a_plus, form.a_minus), 0.0
    return orthant.linear(K, tuple((p, r) for _, p, r in factors), form.a_plus, form.a_minus)
