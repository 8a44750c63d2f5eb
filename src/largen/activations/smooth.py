"""The dual maps of smooth activations without closed forms, by Hermite series; what those with kinks share with them."""

from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.assumed import ordinary_angles, ordinary_sizes, summed
from largen.activations.mesh import bend, judged
from largen.activations.reach import reach
from largen.gaussian import hermite, piecewise
from largen.gaussian.pair import CLOSE, safe_divide

UNRESOLVED = {"float32": 3e-6, "float64": 1e-12}  # relative; what a rule may leave where another one could do better
FARTHEST = 40.0  # standard deviations that matter to any function
ALIASED = 0.1  # share of E[phi'^2] that the coefficients of phi do not have
Moments = tuple[Any, ...]  # E phi^2 of either point, E[phi phi], E[phi' phi'], 1 -+ c of the former, the error, what one before becomes


def mean_square(phi: Activation, q: Any, order: int) -> Any:
    """E[phi^(order)(z)^2], z ~ N(0, q)."""
    if phi.kinks:
        f = phi.derivative(order)
        return piecewise.graded_mean(lambda z: f(z) ** 2, q, phi.kinks, reach(phi))
    return _smooth_mean(phi, order, order, q)


def joined(q1: Any, q2: Any) -> Any:
    """All points of both sides as one row: what is asked of every point is then compiled once."""
    return jnp.concatenate([q1.reshape(-1), q2.reshape(-1)])


def close_to_others(q1: Any, q2: Any, near: Any, far: Any) -> Any:
    """Which of the points `joined` have another one of nearly their size in nearly their direction or the opposite one."""
    close = jnp.broadcast_to(_close(q1, q2, near, far), jnp.broadcast_shapes(q1.shape, q2.shape, near.shape))
    return joined(*(close.any([i for i, n in enumerate(q.shape) if n == 1], keepdims=True) for q in (q1, q2)))


def _close(q1: Any, q2: Any, near: Any, far: Any) -> Any:
    """Which pairs nearly coincide or are opposite, in size too."""
    r1, r2 = jnp.sqrt(q1), jnp.sqrt(q2)
    return jnp.minimum(near, far) + safe_divide((r1 - r2) ** 2, 2 * r1 * r2) < CLOSE


def parted(values: Any, q1: Any, q2: Any) -> tuple[Any, Any]:
    """Values (..., points) of the points `joined`, back in the shapes of q1 and q2."""
    lead = values.shape[:-1]
    return values[..., : q1.size].reshape(*lead, *q1.shape), values[..., q1.size :].reshape(*lead, *q2.shape)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _smooth_mean(phi: Activation, a: int, b: int, q: Any) -> Any:
    """E[phi^(a) phi^(b)](q)."""
    f, g = phi.derivative(a), phi.derivative(b)
    return _line(lambda z: f(z) * g(z), q)


def _line(product: Any, q: Any) -> Any:
    """E[product(z)], z ~ N(0, q)."""
    plain, wide = hermite.mean(product, q), hermite.mean(product, q, every=2)
    resolved = jnp.abs(plain - wide) <= UNRESOLVED[q.dtype.name] * hermite.mean(lambda z: jnp.abs(product(z)), q)
    graded = piecewise.graded_mean(product, q, (), hermite.REACH)
    return jnp.where(resolved | (q <= piecewise.LARGE**2), plain, graded)


@_smooth_mean.defjvp
def _smooth_mean_jvp(phi: Activation, a: int, b: int, primals: Any, tangents: Any) -> Any:
    (q,), (dq,) = primals, tangents
    if phi.own and a == b == 0:
        return _smooth_mean(phi, 0, 0, q), _own_slope(phi, q) * dq
    if a == b:
        curvature = 2 * _smooth_mean(phi, a, a + 2, q) + 2 * _smooth_mean(phi, a + 1, a + 1, q)
    else:
        curvature = _smooth_mean(phi, a + 2, b, q) + 2 * _smooth_mean(phi, a + 1, b + 1, q) + _smooth_mean(phi, a, b + 2, q)
    return _smooth_mean(phi, a, b, q), curvature * dq / 2


def _own_slope(phi: Activation, q: Any) -> Any:
    """dE[phi^2]/dq without phi'', which does not know of kinks that nobody declared: E[z phi phi']/q, where phi bends or jumps
    E[phi^2 (z^2 - q)]/2q^2, which has fewer digits where the Gaussian is narrow."""
    f, slope, r = phi.fn, phi.derivative(), jnp.sqrt(q)
    by_parts, place = safe_divide(_line(lambda z: z * f(z) * slope(z), q), q), bend(phi)
    if place == np.inf:
        return by_parts
    unit = _line(lambda u: 0.5 * (u * u - 1) * f(r[..., None] * u) ** 2, jnp.ones_like(q))
    return jnp.where(r * FARTHEST > place, safe_divide(unit, q), by_parts)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def smooth(phi: Activation, q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Moments:
    """By Hermite series, and by graded quadrature where sizes are so large that the series do not converge."""
    both, every = (phi.fn, phi.derivative()), joined(q1, q2)
    A, terms, rest, square = hermite.coefficients(both, every, hermite.tolerance(q1.dtype))
    large, rest = _diverged(every, _unless_aliased(A, every, square, rest) if phi.own else rest)
    if not ordinary_sizes():
        square = jnp.where(large, piecewise.graded_mean(lambda z: jnp.stack([f(z) ** 2 for f in both]), every, (), hermite.REACH), square)
    (A1, A2), (size1, size2) = (parted(v, q1, q2) for v in (A, jnp.sqrt(square)))
    same = (near == 0) & (q1 == q2)
    first, second = safe_divide(A1, size1)[:, summed()], safe_divide(A2, size2)[:, summed()]
    c, near_out, far_out = hermite.series(first, second, terms, near, far, same)
    pairs, need = flat(near, q1, q2, near, far, size1[0], size2[0], size1[1], size2[1]), _either(large, q1, q2, near)
    series = [v.reshape(-1) for v in (c[0], c[-1], near_out, far_out)]
    (itself,) = flat(near, same)
    if phi.own:  # what pieces miss of a point and itself, which is known, they miss of others close by
        need &= ~itself | (_close(q1, q2, near, far) & ~same).any()
    out, changes = graded(phi, need, pairs, series, hermite.REACH)
    if phi.own:
        changes = [jnp.maximum(c, jnp.where(itself & need, jnp.abs(v - 1), 0).max()) for c, v in zip(changes, out[:2], strict=False)]
        out = [*(jnp.where(itself, 1, v) for v in out[:2]), *out[2:]]
    c, slope, near_out, far_out = (v.reshape(near.shape) for v in (*cosines(phi, out[:2]), *out[2:]))
    off, share, carried = judged(phi, every, square, close_to_others(q1, q2, near, far), q1.size)
    error = reduce(jnp.maximum, [off, *shared(share, rest.max(1)), *shared(share, changes)])
    near_out, far_out = jnp.where(same, 0, near_out), jnp.where(same, 2, far_out)
    return size1[0] ** 2, size2[0] ** 2, size1[0] * size2[0] * c, size1[1] * size2[1] * slope, near_out, far_out, error, carried


def shared(share: Any, errors: Any) -> list[Any]:
    """Errors of E[phi phi] and E[phi' phi'], cosines, times what they matter; one that is infinite says something else."""
    return [jnp.where(jnp.isinf(e), e, s * jnp.minimum(e, 2)) for s, e in zip(share, errors[:2], strict=True)]


def cosines(phi: Activation, values: Any) -> list[Any]:
    """Values that are cosines, also those of a user's own callable of which rules see so little that they are none."""
    return [jnp.clip(v, -1, 1) for v in values] if phi.own else list(values)


def graded(phi: Activation, need: Any, pairs: Any, otherwise: Any, reach: float) -> tuple[Any, Any]:
    """`piecewise.some_pairs` by graded pieces, unless sizes are assumed to be ordinary."""
    if ordinary_sizes():
        return tuple(otherwise), (jnp.where(need.any(), jnp.inf, 0.0),) * 2
    return piecewise.some_pairs(integrand_of(phi), need, pairs, phi.kinks, otherwise, reach, graded=True)


def split(phi: Activation, need: Any, pairs: Any, otherwise: Any, reach: float) -> tuple[Any, Any]:
    """`piecewise.some_pairs`, unless no points are assumed to be close."""
    if ordinary_angles():
        return tuple(otherwise), (jnp.where(need.any(), jnp.inf, 0.0),) * 2
    return piecewise.some_pairs(integrand_of(phi), need, pairs, phi.kinks, otherwise, reach, graded=False)


def _unless_aliased(A: Any, q: Any, square: Any, rest: Any) -> Any:
    """What series of phi and phi' leave, all where the nodes of the rule are too far apart: sum m A_m^2 = q E[phi'^2] (Price)."""
    weighted = jnp.einsum("m,mp->p", jnp.arange(len(A), dtype=q.dtype), A[:, 0] ** 2, precision="highest")
    allowed = ALIASED * q * square[1] + (rest.max(0) * len(A) + UNRESOLVED[q.dtype.name]) * square[0]
    return jnp.where(jnp.abs(weighted - q * square[1]) > allowed, 1, rest)


def _diverged(q: Any, rest: Any) -> tuple[Any, Any]:
    """Which points of variance q have no Hermite series, to judge by what they leave (functions, points); and the rest of the others."""
    large = (q > piecewise.LARGE**2) & (rest.max(0) > UNRESOLVED[q.dtype.name])
    return large, jnp.where(large, 0, rest)


def _either(large: Any, q1: Any, q2: Any, like: Any) -> Any:
    """Pairs in a row of whose points one at least is large."""
    first, second = parted(large, q1, q2)
    return jnp.broadcast_to(first | second, like.shape).reshape(-1)


def flat(like: Any, *values: Any) -> list[Any]:
    """Each of the values for all pairs, in a row."""
    return [jnp.broadcast_to(v, like.shape).reshape(-1) for v in values]


def integrand_of(phi: Activation) -> Any:
    """E[phi phi], E[phi' phi'] relative to the sizes s1, s2 of phi, t1, t2 of phi', and 1 -+ the former."""
    f, slope = phi.fn, phi.derivative()

    def integrand(z1: Any, z2: Any, s1: Any, s2: Any, t1: Any, t2: Any) -> tuple[Any, ...]:
        f1, f2 = safe_divide(f(z1), s1), safe_divide(f(z2), s2)
        return f1 * f2, safe_divide(slope(z1), t1) * safe_divide(slope(z2), t2), 0.5 * (f1 - f2) ** 2, 0.5 * (f1 + f2) ** 2

    return integrand


@smooth.defjvp
def _smooth_jvp(phi: Activation, primals: Any, tangents: Any) -> Any:
    out = smooth(phi, *primals)
    slopes = _slopes(phi, SQUARES, primals, tangents)
    return out, (*own_slopes(phi, primals, tangents), *slopes, *(jnp.zeros_like(v) for v in out[4:]))


def own_slopes(phi: Activation, primals: Any, tangents: Any) -> list[Any]:
    """What changes of the variances do to E phi^2 of either point."""
    return [jax.jvp(lambda q: mean_square(phi, q, 0), (primals[i],), (tangents[i],))[1] for i in (0, 1)]


SQUARES = ((0, 0), (1, 1))
Orders = tuple[tuple[int, int], ...]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _products(phi: Activation, orders: Orders, q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Any:
    """E[phi^(a)(z1) phi^(b)(z2)] for every (a, b) of orders, (orders, *shape), by Hermite series."""
    every = sorted({order for pair in orders for order in pair})
    functions = [phi.derivative(o) for o in every]
    A, terms, rest, _ = hermite.coefficients(functions, joined(q1, q2), hermite.tolerance(q1.dtype))
    large, _ = _diverged(joined(q1, q2), rest)
    A1, A2 = parted(A, q1, q2)
    first, second = (np.array([every.index(pair[side]) for pair in orders]) for side in (0, 1))
    series = hermite.products(A1[:, first], A2[:, second], terms, near, far)

    def integrand(z1: Any, z2: Any) -> tuple[Any, ...]:
        left, right = [f(z1) for f in functions], [f(z2) for f in functions]
        return tuple(left[i] * right[j] for i, j in zip(first, second, strict=True))

    values, need = [v.reshape(-1) for v in series], _either(large, q1, q2, near)
    out = piecewise.some_pairs(integrand, need, flat(near, q1, q2, near, far), (), values, hermite.REACH, graded=True)[0]
    return jnp.stack(out).reshape(series.shape)


@_products.defjvp
def _products_jvp(phi: Activation, orders: Orders, primals: Any, tangents: Any) -> Any:
    return _products(phi, orders, *primals), jnp.stack(_slopes(phi, orders, primals, tangents))


def _slopes(phi: Activation, orders: Orders, primals: Any, tangents: Any) -> list[Any]:
    """What changes of the moments do to every E[phi^(a) phi^(b)], by Price's theorem."""
    d1, d2, dk, _, _ = tangents
    wanted = [(a + i, b + j) for a, b in orders for i, j in ((2, 0), (0, 2), (1, 1))]
    distinct = tuple(sorted(set(wanted)))
    found = _products(phi, distinct, *primals)
    at = [found[distinct.index(pair)] for pair in wanted]
    return [0.5 * at[i] * d1 + 0.5 * at[i + 1] * d2 + at[i + 2] * dk for i in range(0, len(at), 3)]
