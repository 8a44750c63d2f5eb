r"""A kinked activation without closed form: its moments and expectations of four factors, by quadrature split at the kinks.

A kink is a jump of s', so s'' has a delta function there. Moments m count it, as derivatives of expectations by K (Price),

    <s^(i+2)_1 s^(j)_2> = 2 d/dq1 <s^(i)_1 s^(j)_2>,     <s^(i+1)_1 s^(j+1)_2> = d/dk <s^(i)_1 s^(j)_2>,

taken of <s s> and <s' s'>, whose pieces move with K. What a network differentiates itself is t = s'' almost everywhere, as automatic
differentiation has it: its moments <t1 s2>, <t'1 s'2>, <t1 s''2> are the `explicit` ones, (t s)' being that of <t1 s2> by K again.

Three or more different inputs: z = center + v u along a line v that crosses all kinks, u split at the crossings, the centers
quasi-random: what is left to those is continuous, and independent sets of them give standard errors.
"""

from collections.abc import Iterator
from itertools import combinations_with_replacement, product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.reach import far
from largen.gaussian import piecewise
from largen.gaussian.pair import safe_divide
from largen.running.jitted import jitted

ORDERS = 6  # derivatives 0 to 5
COLLINEAR = 3e-6  # sin^2 of the angle below which two inputs count as multiples: derivatives lose digits as its cube, this costs the angle
RULES = piecewise.padded(piecewise.FINE), piecewise.padded(piecewise.COARSE)
CENTERS, ACROSS = 2**13, 16  # quasi-random centers of a set; nodes a piece on the lines through them
CANDIDATES, CHUNK = 256, 1 << 16  # lines to choose from; nodes at a time


# ---------------------------------------------------------------- moments of one and two inputs


def line(phi: Activation, q: Any, c: Any, order: Any) -> tuple[Any, Any, Any]:
    """m (6, 6), explicit moments of (1, 2) and of (2, 1), (3,) each, for z1 of variance q and z2 = c z1, |c| <= 1.

    Derivatives along the line are all there are: they are booked on z1 where they fall on a kink together (m[3, 1] has m[2, 2] and
    m[1, 3], and so on), since what multiplies them has the ratios of the inputs. q = 0: derivatives of first order only.
    """
    s, slope, bend = (phi.derivative(i) for i in range(3))
    live = q > 0
    kinks = jnp.asarray(phi.kinks, float)
    breaks = jnp.concatenate([kinks, safe_divide(kinks, c * jnp.ones_like(kinks), 2 * piecewise.REACH * jnp.sqrt(q))])

    def products(v: Any) -> Any:  # those that are differentiated
        g, gs = (piecewise.mean(lambda z, f=f: f(z) * f(c * z), v, breaks, order, far(phi)) for f in (s, slope))
        return jnp.stack([g, gs, piecewise.mean(lambda z: z * s(z) * s(c * z), v, breaks, order, far(phi)) / v])

    def rate(f: Any) -> Any:
        return lambda v: jax.jvp(f, (v,), (jnp.ones_like(v),))[1]

    def mean(f: Any, g: Any, power: int = 0) -> Any:
        return piecewise.mean(lambda z: z**power * f(z) * g(c * z), v, breaks, order, far(phi)) / v**power

    v = jnp.where(live, q, 1.0)
    (g, gs, _), (_, gs1, h1), (g2, gs2, _) = products(v), rate(products)(v), rate(rate(products))(v)
    m20, m02 = mean(slope, s, 1) - c * gs, safe_divide(mean(s, slope, 1) - gs, c * jnp.ones_like(gs))
    entries = {(0, 0): g, (1, 1): gs, (2, 0): m20, (0, 2): m02, (1, 0): mean(slope, s), (0, 1): mean(s, slope)}
    entries |= {(3, 0): 2 * h1, (3, 1): 2 * gs1, (4, 0): 4 * g2 - 8 * c * gs1, (5, 1): 4 * gs2}
    m, still = jnp.zeros((ORDERS, ORDERS)), jnp.zeros((ORDERS, ORDERS))
    for at, value in entries.items():
        m = m.at[at].set(value)
    at_0 = [f(jnp.zeros_like(v)) for f in (s, slope, bend)]
    for i, j in product(range(2), repeat=2):
        still = still.at[i, j].set(at_0[i] * at_0[j])
    none = jnp.zeros_like(v)
    forth = jnp.stack([mean(bend, s), mean(bend, slope, 1), none])
    back = jnp.stack([mean(s, bend), none, mean(slope, bend, 1)])
    rest = jnp.stack([at_0[2] * at_0[0], none, none])
    return jnp.where(live, m, still), jnp.where(live, forth, rest), jnp.where(live, back, rest)


_line = jitted(static=(0,))(line)


@jitted(static=(0,))
def _plane(phi: Activation, at: Any, order: Any) -> tuple[Any, Any, Any]:
    """As `line`, of two inputs (q1, q2, k) that are no multiples of one another."""
    s, slope, bend = (phi.derivative(i) for i in range(3))

    def values(v: Any) -> tuple[Any, Any]:  # twice: what is differentiated, and what is passed on, so that it is traced once
        def integrand(x: Any, y: Any) -> tuple[Any, ...]:
            (a, b, c), (d, e, f) = ([g(z) for g in (s, slope, bend)] for z in (x, y))
            return a * d, b * e, b * d, a * e, c * d, a * f

        c = v[2] / jnp.sqrt(v[0] * v[1])
        x, y, weights = piecewise.pair_nodes(v[0], v[1], 1 - c, 1 + c, phi.kinks, order, far(phi))
        both = jnp.stack([(value * weights).sum() for value in integrand(x, y)])
        return both, both

    def gradients(v: Any) -> tuple[Any, Any]:
        gradient, value = jax.jacfwd(values, has_aux=True)(v)
        return gradient[:2], (gradient, value)

    (curve, bent), (by, value) = jax.jacfwd(gradients, has_aux=True)(at)
    entries = {(0, 0): value[0], (1, 1): value[1], (1, 0): value[2], (0, 1): value[3]}
    entries |= {(2, 0): 2 * by[0, 0], (0, 2): 2 * by[0, 1], (4, 0): 4 * curve[0, 0], (0, 4): 4 * curve[1, 1]}
    entries |= {(3, 1): 2 * by[1, 0], (1, 3): 2 * by[1, 1], (2, 2): by[1, 2]}
    entries |= {(3, 0): 2 * by[2, 0], (1, 2): 2 * by[2, 1], (2, 1): by[2, 2], (0, 3): 2 * by[3, 1]}
    entries |= {(5, 1): 4 * bent[0, 0], (1, 5): 4 * bent[1, 1], (3, 3): bent[2, 2], (4, 2): 2 * bent[0, 2], (2, 4): 2 * bent[1, 2]}
    m = jnp.zeros((ORDERS, ORDERS))
    for place, entry in entries.items():
        m = m.at[place].set(entry)
    return m, jnp.stack([value[4], by[4, 2], 2 * by[4, 1]]), jnp.stack([value[5], by[5, 2], 2 * by[5, 0]])


def moments(phi: Activation, K: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """m (n, n, 6, 6), the explicit moments (n, n, 3), and their estimated error, relative to the largest moment."""
    n = len(K)
    m, explicit, error = np.zeros((n, n, ORDERS, ORDERS)), np.zeros((n, n, 3)), 0.0
    for a, b in combinations_with_replacement(range(n), 2):
        if K[b, b] > K[a, a]:
            a, b = b, a
        q, other, k = K[a, a], K[b, b], K[a, b]
        if q * other - k * k <= COLLINEAR * q * other:
            c = float(np.sign(k) * np.sqrt(other / q)) if q > 0 else 0.0
            fine, coarse = (_line(phi, jnp.asarray(q), jnp.asarray(c), rule) for rule in RULES)
        else:
            fine, coarse = (_plane(phi, jnp.asarray([q, other, k]), rule) for rule in RULES)
        table, forth, back = (np.asarray(v) for v in fine)
        m[b, a], m[a, b] = table.T, table
        explicit[b, a], explicit[a, b] = back, forth
        error = max(error, float(np.abs(coarse[0] - table).max() / max(np.abs(table).max(), 1e-300)))
    return m, explicit, error


# ---------------------------------------------------------------- four factors


@jitted(static=(0, 1))
def fourfold(phi: Activation, features: Any, K: Any, rule: Any) -> Any:
    """E[left_i(z) right_j(z)], (left, right) = `features(z)` as in `lattice.gram`, at one or two inputs of covariance K."""
    q = jnp.diagonal(K)
    if len(K) == 1:
        z, weights = piecewise.nodes(q[0], phi.kinks, rule, far(phi))
        left, right = features(z[None])
    else:
        c = safe_divide(K[0, 1], jnp.sqrt(q[0] * q[1]))
        x, y, weights = (v.ravel() for v in piecewise.pair_nodes(q[0], q[1], 1 - c, 1 + c, phi.kinks, rule, far(phi)))
        left, right = features(jnp.stack([x, y]))
    return (left * weights) @ right.T


def on_lines(phi: Activation, K: np.ndarray, seed: int) -> Iterator[tuple[Any, Any]]:
    """Nodes z (n, nodes) and weights of N(0, K), in parts: lines through CENTERS scrambled Sobol points, split at the kinks of all
    inputs; an independent set for every seed."""
    v = _across(K)
    values, axes = np.linalg.eigh(K - np.outer(v, v))
    root = (axes * np.sqrt(np.maximum(values, 0)))[:, :0:-1]  # the widest axes take the first, most even dimensions
    from scipy import special
    from scipy.stats import qmc  # slow to import

    u = qmc.Sobol(root.shape[1], rng=np.random.default_rng(seed)).random(CENTERS)
    centers = special.ndtri(np.clip(u, 1e-12, 1 - 1e-12)) @ root.T
    many = 2 ** int(np.log2(max(CHUNK / (ACROSS * (len(K) * len(phi.kinks) + 1)), 1)))
    for start in range(0, CENTERS, many):
        z, weights = _line_nodes(phi, centers[start : start + many], v)
        yield z, weights / CENTERS


@jitted(static=(0,))
def _line_nodes(phi: Activation, centers: Any, v: Any) -> tuple[Any, Any]:
    breaks = safe_divide(jnp.asarray(phi.kinks, float) - centers[..., None], v[:, None], 2 * piecewise.REACH)  # (centers, n, kinks)
    nodes, weights = piecewise.split(breaks.reshape(len(centers), -1), ACROSS)
    z = centers.T[..., None] + v[:, None, None] * nodes
    return z.reshape(len(v), -1), weights.ravel()


def _across(K: np.ndarray) -> np.ndarray:
    """v with K - v v^T >= 0 whose least |v_i| is large against sqrt(K_ii): the best of some normalised sums of +-z_i."""
    size = np.sqrt(K.diagonal())
    scale = np.where(size > 0, size, 1)
    R = K / scale[:, None] / scale
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (len(K), CANDIDATES))
    sums = R @ signs
    variance = (signs * sums).sum(0)
    sums = np.where(variance > 1e-6, sums / np.sqrt(np.maximum(variance, 1e-6)), 0.0)  # opposite inputs have sums that vanish
    return size * sums[:, np.abs(sums[size > 0]).min(0).argmax()]
