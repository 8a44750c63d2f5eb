r"""What one activation contributes to a step of the 1/n recursions: Gaussian moments at the inputs, from K alone.

    m[a, b, i, j] = <d^i/dz_a^i d^j/dz_b^j (s_a s_b)>,  i + j <= 4 or 6,    S[a, b, c, d] = <s_a s_b s_c s_d>,

derivatives in the sense of distributions: m = <s^(i)(z_a) s^(j)(z_b)> for smooth s, and twice (four times) the derivatives of
closed forms in K otherwise, since <d_a d_b f> = 2 d<f>/dK_ab (Price), so that no second derivative of a kink is ever taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations, combinations_with_replacement, permutations
from math import comb, sqrt
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.closed import Homogeneous, Step
from largen.errors import UnsupportedError
from largen.gaussian import hermite, lattice, orthant
from largen.running.jitted import jitted
from largen.theory.corrections import kinked
from largen.theory.corrections.quartets import derivatives, quartets

ORDERS, MORE = 5, 6  # derivatives 0 to 4 for the metric, 0 to 5 for the mean of the NTK
COINCIDE = 1e-13  # sin^2 of the angle below which two inputs count as one (or opposite) for the ReLU family


@dataclass(frozen=True)
class Moments:
    """`m` (n, n, orders, orders), `S` (n, n, n, n) or None, and their estimated `error`, relative to the largest moment. `explicit`
    (n, n, 3): <t1 s2>, <t'1 s'2>, <t1 s''2> with t the s'' of automatic differentiation; None if that is s'' itself, or 0."""

    m: np.ndarray
    S: np.ndarray | None
    error: float
    explicit: np.ndarray | None = None


def moments(phi: Activation, K: np.ndarray, path: str, four: bool = True, orders: int = ORDERS) -> Moments:
    """The moments at inputs of covariance K (n, n); `four`: S too; `orders`: ORDERS, or MORE for i + j <= 6. `path` names the
    activation in errors.

    Raises `UnsupportedError` for activations that jump, and for S of three or more inputs of a kinked one without closed form.
    """
    if isinstance(phi.closed, Homogeneous):
        return _homogeneous(phi.closed, K, four, orders)
    if not phi.kinks:
        return _smooth(phi, K, four, orders)
    if isinstance(phi.closed, Step) or any(phi.jumps(0)):
        raise UnsupportedError(repr(phi), path, THEORY, "two inputs of an activation that jumps move apart as 1/sqrt(n), not 1/n", SMOOTH)
    if four and len(K) > 2:
        reason = (
            "four factors at three or more inputs of a kinked activation are sampled, which is not done here; take two inputs at a time"
        )
        raise UnsupportedError(repr(phi), path, THEORY, reason, SMOOTH)
    m, explicit, error = kinked.moments(phi, K)
    if not four:
        return Moments(m, None, error, explicit)
    X, off = quartets(phi, K, 1)
    return Moments(m, X[0, 0, 0, 0], max(error, off), explicit)


THEORY = "the 1/n expansion"
SMOOTH = ("smooth activations", "the ReLU family", "kinked ones without jumps")


def _pairs(n: int) -> Iterator[tuple[int, int]]:
    return combinations_with_replacement(range(n), 2)


def _filled(S: np.ndarray, at: tuple[int, ...], value: Any) -> None:
    for index in set(permutations(at)):
        S[index] = value


def _change(other: np.ndarray, value: np.ndarray) -> float:
    return float(np.abs(other - value).max() / max(np.abs(value).max(), 1e-300))


# ---------------------------------------------------------------- smooth: lattices


@cache
def _pair_features(phi: Activation, orders: int) -> Any:
    def features(z: Any) -> tuple[Any, Any]:
        return tuple(jnp.stack([f(z[a]) for f in derivatives(phi, orders)]) for a in (0, -1))  # type: ignore[return-value]

    return features


@cache
def _four_features(phi: Activation, d: int) -> Any:
    def features(z: Any) -> tuple[Any, Any]:
        s = phi(z)
        products = jnp.stack([s[a] * s[b] for a, b in _pairs(d)])
        return products, products

    return features


def _smooth(phi: Activation, K: np.ndarray, four: bool, orders: int) -> Moments:
    n, functions = len(K), derivatives(phi, orders)
    errors = [max(float(_mismatch(phi, q)) for q in K.diagonal())]
    m = np.zeros((n, n, orders, orders))
    for a, b in _pairs(n):
        at = np.ix_((a,), (a,)) if a == b else np.ix_((a, b), (a, b))
        rule = partial(lattice.gram, _pair_features(phi, orders), functions, 2, K[at])
        m[a, b] = rule()
        m[b, a] = m[a, b].T
        if b - a == (n > 1):  # a sample of the pairs is done a second time
            errors.append(_change(rule(shifted=True), m[a, b]) / 2)
    if not four:
        return Moments(m, None, max(errors))
    S = np.zeros((n,) * 4)
    subsets = list(combinations(range(n), min(n, 4)))
    widest = max(subsets, key=lambda at: K[np.ix_(at, at)].trace())
    for at in subsets:
        rule = partial(lattice.gram, _four_features(phi, len(at)), functions[:1], 4, K[np.ix_(at, at)])
        G = rule()
        if at == widest:
            errors.append(_change(rule(shifted=True), G) / 2)
        for (i, (a, b)), (j, (c, d)) in combinations_with_replacement(enumerate(_pairs(len(at))), 2):
            _filled(S, (at[a], at[b], at[c], at[d]), G[i, j])
    return Moments(m, S, max(errors))


def smooth_line(phi: Activation, q: Any, every: int = 1) -> tuple[Any, ...]:
    """(g, g', g'', <(s^2)'>, <(s^2)'''>, <s^4>) at one input of variance q, g = <s^2>; `every` as in `hermite.nodes`."""
    s, mean = on_a_line(phi, q, every)
    return (*(mean(_square(s, o)) / 2 ** (o // 2) for o in (0, 2, 4)), mean(_square(s, 1)), mean(_square(s, 3)), mean(s[0] ** 4))


def mismatch(phi: Activation, q: Any) -> Any:
    """How badly derivatives of s^2 fail Stein's lemma, <z h> = q <h'>, relative to its size: by rounding only if s is smooth, by the
    jump of a derivative at a kink that was not declared."""
    if phi.kinks or isinstance(phi.closed, Homogeneous):
        return jnp.zeros(())
    s, mean = on_a_line(phi, q, 1)
    gaps = []
    for o in range(ORDERS - 1):
        h, z = _square(s, o), s[-1]
        gaps.append(jnp.abs(mean(z * h) - q * mean(_square(s, o + 1))) / jnp.maximum(jnp.sqrt(q * mean(h**2)), 1e-300))
    return jnp.stack(gaps).max()


_mismatch = jitted(static=(0,))(mismatch)  # one input at a time: one program for any number of them


def on_a_line(phi: Activation, q: Any, every: int, orders: int = ORDERS) -> tuple[list[Any], Any]:
    """s and its derivatives at the nodes of a trapezoid rule, then the nodes z; and the mean of what is known there."""
    u, w = hermite.nodes(jnp.float64, every)
    z = jnp.sqrt(q) * u
    return [*(f(z) for f in derivatives(phi, orders)), z], partial(jnp.dot, jnp.asarray(w))


def _square(s: list[Any], order: int) -> Any:
    """The derivative of s^2 of the given order, by Leibniz."""
    return sum(comb(order, i) * s[i] * s[order - i] for i in range(order + 1))


# ---------------------------------------------------------------- the ReLU family: closed forms


def _homogeneous(form: Homogeneous, K: np.ndarray, four: bool, orders: int) -> Moments:
    n, plus, minus = len(K), form.a_plus, form.a_minus
    q = K.diagonal()
    m = _homogeneous_jets(form, q[:, None], q[None, :], K, orders)
    if not four:
        return Moments(m, None, 0.0)
    S, error = np.zeros((n,) * 4), 0.0
    for a, b in _pairs(n):
        for p in (4,) if a == b else (1, 2, 3):
            _filled(S, (a,) * p + (b,) * (4 - p), orthant.powers(q[a], q[b], K[a, b], p, 4 - p, plus, minus))
    triples = [(a, b, c) for b, c in combinations(range(n), 2) for a in range(n) if a not in (b, c)]
    if triples:
        found = orthant.square(np.stack([K[np.ix_(at, at)] for at in triples]), plus, minus)
        for (a, b, c), value in zip(triples, found, strict=True):
            _filled(S, (a, a, b, c), value)
    if n > 3:
        fours = list(combinations(range(n), 4))
        found, error = orthant.four(np.stack([K[np.ix_(at, at)] for at in fours]), plus, minus)
        for at, value in zip(fours, found, strict=True):
            _filled(S, at, value)
    return Moments(m, S, error)


def _homogeneous_jets(form: Homogeneous, q1: Any, q2: Any, k: Any, orders: int) -> np.ndarray:
    """m from F = A2 k + J (sqrt(D) - theta k), D = q1 q2 - k^2, J = (a+ - a-)^2/(2 pi), and <s'_1 s_2> = c (sqrt(q2) + k/sqrt(q1)).

    Where the inputs coincide or oppose, fourth derivatives diverge as 1/sqrt(D), sixth ones as D^(-3/2); they multiply variances of
    the gap, which vanish faster there: they are 0 in the limit.
    """
    A2, J = (form.a_plus**2 + form.a_minus**2) / 2, (form.a_plus - form.a_minus) ** 2 / (2 * np.pi)
    c = (form.a_plus**2 - form.a_minus**2) / 4 * sqrt(2 / np.pi)
    q1, q2, k = np.broadcast_arrays(q1, q2, k)
    live = (q1 > 0) & (q2 > 0)
    q1, q2, k = np.where(live, q1, 1.0), np.where(live, q2, 1.0), np.where(live, k, 0.0)
    D = np.maximum(q1 * q2 - k * k, 0.0)
    apart = D > COINCIDE * q1 * q2
    root, inverse = np.sqrt(D), np.where(apart, 1 / np.sqrt(np.where(apart, D, 1)), 0.0)
    theta = np.arctan2(root, k)
    m = np.zeros((*k.shape, orders, orders))
    m[..., 0, 0] = A2 * k + J * (root - theta * k)
    m[..., 1, 1] = A2 - J * theta
    m[..., 2, 0], m[..., 0, 2] = J * root / q1, J * root / q2
    m[..., 2, 2] = J * inverse
    m[..., 3, 1], m[..., 1, 3] = -J * k / q1 * inverse, -J * k / q2 * inverse
    m[..., 4, 0], m[..., 0, 4] = ((J * q / p * inverse - 2 * J * root / p**2) * apart for p, q in ((q1, q2), (q2, q1)))
    r1, r2 = np.sqrt(q1), np.sqrt(q2)
    m[..., 1, 0], m[..., 0, 1] = c * (r2 + k / r1), c * (r1 + k / r2)
    m[..., 2, 1], m[..., 1, 2] = c / r1, c / r2
    m[..., 3, 0], m[..., 0, 3] = -c * k / r1**3, -c * k / r2**3
    if orders >= MORE:
        for i, j, p, q in ((5, 1, q1, q2), (1, 5, q2, q1)):
            m[..., i, j] = J * k * inverse / p * (2 / p + q * inverse**2)
        m[..., 4, 2], m[..., 2, 4], m[..., 3, 3] = (J * v * inverse**3 for v in (-q2, -q1, k))
    if orders > MORE:
        m[..., 4, 1], m[..., 1, 4] = -c / r1**3, -c / r2**3
        for o in (5, 6):  # z s^(o-1) = (3 - o) s^(o-2), and Stein's lemma for z
            m[..., o, 0] = ((3 - o) * m[..., o - 2, 0] - k * m[..., o - 1, 1]) / q1
            m[..., 0, o] = ((3 - o) * m[..., 0, o - 2] - k * m[..., 1, o - 1]) / q2
    m[~live] = 0.0
    return m
