r"""The dual of an activation: Gaussian pairs in, second moments of phi and phi' out.

For z ~ N(0, [[q1, k], [k, q2]]): `dual` gives the pair (E phi(z1)^2, E phi(z2)^2, E phi(z1) phi(z2)) as a carrier with its
own `near` and `far`, and kdot = E[phi'(z1) phi'(z2)]. Derivatives follow Price's theorem,

    d E[f(z1) g(z2)] = (1/2) E[f'' g] dq1 + (1/2) E[f g''] dq2 + E[f' g'] dk,

with the jumps of f' as delta functions. Where both points coincide (or oppose) the NTK of a kinked activation has a cusp:
its first derivative there is the symmetric subgradient (the divergent term is odd, and left out); second derivatives of
kinked kernels are refused.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.closed import Analytic, Homogeneous, Step, itself
from largen.activations.cusp import cosine_tangent, inverse_sine, once
from largen.gaussian import hermite, piecewise
from largen.gaussian.angle import arctan2
from largen.gaussian.pair import Pair, safe_divide, steady
from largen.types import float64, is_traced

T = TypeVar("T")
_ASSUMED: ContextVar[tuple[bool, bool]] = ContextVar("assumed", default=(False, False))
SAMPLE = 64  # pairs of which errors are estimated
STEEPEST = 40  # powers of z that expectations are prepared for
UNRESOLVED = {"float32": 3e-6, "float64": 1e-12}  # relative; what a rule may leave where another one could do better


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dual:
    """`phi`: the second moments of (phi(z1), phi(z2)); `kdot`: E[phi'(z1) phi'(z2)]; `error`: estimated error of the
    two expectations, relative to the root of the product of those of either point with itself (0 for closed forms)."""

    phi: Pair
    kdot: Any
    error: Any


def as_assumed(run: Callable[[bool], T], error: Callable[[T], Any], *values: Any) -> tuple[T, bool]:
    """(run(True), True), of a program that traces dual maps `assuming` what is mostly so, compiled sooner and faster; (run(False), False),
    for all cases, where it says by an infinite error that it is not so, and under tracing of any of the values, where nobody can look."""
    out = run(usual := not is_traced(*values))
    if not is_traced(out) and np.isinf(np.asarray(error(out))).any():
        return run(False), False
    return out, usual


@contextmanager
def assuming(sizes: bool, angles: bool) -> Iterator[None]:
    """Where dual maps are traced without the rules for large variances, if `sizes`; without those of closed forms for points that nearly
    coincide, if `angles`: where these are needed the error is infinite."""
    token = _ASSUMED.set((sizes, angles))
    try:
        yield
    finally:
        _ASSUMED.reset(token)


def dual(phi: Activation, pair: Pair) -> Dual:
    """The dual map of an activation on a pair carrier, by closed form, Hermite series or piecewise quadrature."""
    if isinstance(phi.closed, Homogeneous):
        return _homogeneous(phi.closed, pair)
    if isinstance(phi.closed, Step):
        return _step(pair)
    if isinstance(phi.closed, Analytic):
        return _analytic(phi.closed, pair)
    return _by_quadrature(phi, pair)


def moment(phi: Activation, q: Any, order: int = 0) -> Any:
    """E[phi^(order)(z)^2], z ~ N(0, q), the shape of q: order 0 gives g(K), order 1 the chi_perp factor."""
    if order == 0 and isinstance(phi.closed, Homogeneous):
        return (phi.closed.a_plus**2 + phi.closed.a_minus**2) / 2 * q
    if order == 0 and isinstance(phi.closed, Analytic):
        return phi.closed.expectation(itself(q))
    if order == 1 and isinstance(phi.closed, Analytic):
        return phi.closed.slope(itself(q))
    if phi.kinks:
        f = phi.derivative(order)
        return piecewise.graded_mean(lambda z: f(z) ** 2, q, phi.kinks, _reach(phi))
    return _smooth_mean(phi, order, order, q)


# ---------------------------------------------------------------- the ReLU family
# J^2 = (a_plus - a_minus)^2; with theta the angle: k' = r1 r2 [A2 c + J^2/(2 pi) (sin theta - theta cos theta)],
# kdot = A2 - J^2 theta/(2 pi) (PDLT 5.159, 5.161).


def _angle(near: Any, far: Any) -> Any:
    return 2 * arctan2(jnp.sqrt(near), jnp.sqrt(far))


def _sine_minus(near: Any, far: Any) -> Any:
    """sin t - t cos t of the angle t, without cancellation at small t: t^3/3 - t^5/30 + ..."""
    theta = _angle(near, far)
    t2 = theta * theta
    small = theta * t2 * (1 / 3 - t2 * (1 / 30 - t2 * (1 / 840 - t2 * (1 / 45360 - t2 / 3991680))))
    return jnp.where(theta < 0.7, small, jnp.sqrt(near * far) - theta * jnp.where(near <= far, 1 - near, far - 1))


def _homogeneous(form: Homogeneous, pair: Pair) -> Dual:
    A2 = (form.a_plus**2 + form.a_minus**2) / 2
    k, kdot = _homogeneous_moments(form, pair.q1, pair.q2, pair.k, pair.near, pair.far)
    rho = (form.a_plus - form.a_minus) ** 2 / (2 * np.pi * A2) if A2 else 0.0
    bend = rho * _sine_minus(pair.near, pair.far)
    near, far = pair.near - bend, pair.far + bend
    if form.a_plus == -form.a_minus:  # |z|: opposite points become equal, near' comes from the other side
        mirrored = pair.far - rho * _sine_minus(pair.far, pair.near)
        near, far = jnp.where(pair.near <= pair.far, near, mirrored), jnp.where(pair.near <= pair.far, far, 2 - mirrored)
    both = (pair.q1 > 0) & (pair.q2 > 0)
    near, far = jnp.where(both, jnp.maximum(near, 0), 1.0), jnp.where(both, far, 1.0)
    return Dual(Pair(A2 * pair.q1, A2 * pair.q2, k, near, far), kdot, jnp.zeros((), pair.k.dtype))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _homogeneous_moments(form: Homogeneous, q1: Any, q2: Any, k: Any, near: Any, far: Any) -> tuple[Any, Any]:
    A2, J2 = (form.a_plus**2 + form.a_minus**2) / 2, (form.a_plus - form.a_minus) ** 2
    theta = _angle(near, far)
    r = jnp.sqrt(q1) * jnp.sqrt(q2)
    c = jnp.where(near <= far, 1 - near, far - 1)
    # from the opposite end the sum A2 c + J2/(2 pi)(...) cancels (ReLU: to order (pi - theta)^3): use the reflected form
    plain = A2 * c + J2 / (2 * np.pi) * _sine_minus(near, far)
    product = form.a_plus * form.a_minus
    reflected = product * c + J2 / (2 * np.pi) * _sine_minus(far, near)
    value = r * jnp.where(near <= far, plain, reflected)
    kdot = jnp.where(near <= far, A2 - J2 * theta / (2 * np.pi), product + J2 * _angle(far, near) / (2 * np.pi))
    return value, kdot


@_homogeneous_moments.defjvp
def _homogeneous_jvp(form: Homogeneous, primals: Any, tangents: Any) -> Any:
    q1, q2, k, near, far = primals
    d1, d2, dk, _, _ = tangents
    value, kdot = _homogeneous_moments(form, q1, q2, k, near, far)
    dvalue = safe_divide(value - k * kdot, 2 * q1) * d1 + safe_divide(value - k * kdot, 2 * q2) * d2 + kdot * dk
    density = once(inverse_sine(near, far) / (2 * np.pi), q1, q2, k)  # of both points at the kink, times r1 r2
    return (value, kdot), (dvalue, (form.a_plus - form.a_minus) ** 2 * density * cosine_tangent(q1, q2, k, d1, d2, dk))


# ---------------------------------------------------------------- the sign


def _step(pair: Pair) -> Dual:
    one = jnp.ones_like(pair.k)
    near = 2 * _angle(pair.near, pair.far) / np.pi
    far = 2 * _angle(pair.far, pair.near) / np.pi
    k = _step_moment(pair.q1, pair.q2, pair.k, pair.near, pair.far)
    square = (pair.q1 > 0).astype(pair.k.dtype), (pair.q2 > 0).astype(pair.k.dtype)
    return Dual(Pair(*square, k, near * one, far * one), 0 * pair.k, jnp.zeros((), pair.k.dtype))


@jax.custom_jvp
def _step_moment(q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Any:
    value = 1 - 2 * _angle(near, far) / np.pi
    return jnp.where((q1 > 0) & (q2 > 0), jnp.where(near <= far, value, 2 * _angle(far, near) / np.pi - 1), 0)


@_step_moment.defjvp
def _step_jvp(primals: Any, tangents: Any) -> Any:
    q1, q2, k, near, far = primals
    d1, d2, dk, _, _ = tangents
    slope = once(2 / np.pi * inverse_sine(near, far), q1, q2, k)
    return _step_moment(*primals), slope * cosine_tangent(q1, q2, k, d1, d2, dk)


# ---------------------------------------------------------------- analytic closed forms


def _analytic(form: Analytic, pair: Pair) -> Dual:
    pair = steady(pair)
    k, kdot = form.expectation(pair), form.slope(pair)
    m1, m2 = form.expectation(itself(pair.q1)), form.expectation(itself(pair.q2))
    near, far, error = jax.lax.stop_gradient(_analytic_versines(form, jax.lax.stop_gradient(pair), k, m1, m2))
    return Dual(Pair(m1, m2, k, near, far), kdot, error)


def _analytic_versines(form: Analytic, pair: Pair, k: Any, m1: Any, m2: Any) -> tuple[Any, Any, Any]:
    """near', far' of an analytic activation, not as differences from 1 where these are small; an infinite error where that is not done."""
    q1, q2 = pair.q1, pair.q2
    r, size = jnp.sqrt(q1) * jnp.sqrt(q2), jnp.sqrt(m1) * jnp.sqrt(m2)
    cosine = jnp.clip(safe_divide(k, size), -1, 1)
    opposite = (pair.near > pair.far) & (form.parity != "none")
    versine = jnp.where(opposite, pair.far, pair.near)
    turned = jnp.where(opposite, -1 if form.parity == "odd" else 1, 1)  # k'(-c) = -+ k'(c)
    use = (1 - turned * cosine < (5e-2 if versine.dtype == jnp.float32 else 1e-5)) & (size > 0)
    same = (versine == 0) & (q1 == q2)
    needed = (use & ~same).any()  # no pair, mostly
    zero, error = jnp.zeros_like(versine), jnp.zeros((), versine.dtype)
    if _ASSUMED.get()[1]:
        use, close, error = use & same, zero, jnp.where(needed, jnp.inf, error)
    else:
        close = jax.lax.cond(needed, lambda: jnp.where(same, 0, _near(form, q1, q2, r, versine, size)), lambda: zero)
    close, other = jnp.where(use, close, 1 - turned * cosine), jnp.where(use, 2 - close, 1 + turned * cosine)
    return jnp.maximum(jnp.where(turned < 0, other, close), 0), jnp.maximum(jnp.where(turned < 0, close, other), 0), error


def _near(form: Analytic, q1: Any, q2: Any, r: Any, versine: Any, size: Any) -> Any:
    """1 - c' of points that nearly coincide, by integrating the slope: k'(1) - k'(c) = r1 r2 int_c^1 kdot, 1 - c growing as a square,
    plus what different norms leave at c = 1."""
    x, w = (jnp.asarray(v / 2, versine.dtype) for v in np.polynomial.legendre.leggauss(8))

    def add(i: Any, total: Any) -> Any:
        node = x[i] + 0.5
        v = versine * node**2
        return total + 2 * node * w[i] * form.slope(Pair(q1, q2, r * (1 - v), v, 2 - v))

    lost = jax.lax.fori_loop(0, len(x), add, jnp.zeros_like(versine))
    return safe_divide(r * versine * lost, size) + _parallel(form, q1, q2, size)


def _parallel(form: Analytic, q1: Any, q2: Any, size: Any) -> Any:
    """1 - cos of phi(r1 u), phi(r2 u): (1/2) g (x1 - x2)^2 for close x = log r, with g = d^2 log E/dx1 dx2 at x1 = x2,

    (E[z^2 phi'^2] E[phi^2] - E[z phi phi']^2)/E[phi^2]^2, where E[z phi phi'] = q dE[phi^2]/dq, E[z^2 phi'^2] = (q + 2 q^2 d/dq) E[phi'^2].
    """

    def metric(q: Any) -> Any:
        M, dM = jax.jvp(lambda q: form.expectation(itself(q)), (q,), (jnp.ones_like(q),))
        S, dS = jax.jvp(lambda q: form.slope(itself(q)), (q,), (jnp.ones_like(q),))
        return safe_divide(q * S + 2 * q * (q * dS), M) - safe_divide(q * dM, M) ** 2

    r = jnp.sqrt(q1) * jnp.sqrt(q2)
    direct = 1 - safe_divide(form.expectation(Pair(q1, q2, r, jnp.zeros_like(r), jnp.full_like(r, 2))), size, 1.0)
    apart = safe_divide(q1 - q2, q1 + q2)  # = x1 - x2 up to a cubic term
    close = 0.25 * (metric(q1) + metric(q2)) * apart**2
    return jnp.where(jnp.abs(apart) < jnp.finfo(apart.dtype).eps ** 0.25, jnp.where(size > 0, close, 0), direct)


# ---------------------------------------------------------------- quadrature


def _by_quadrature(phi: Activation, pair: Pair) -> Dual:
    rule = _kinked if phi.kinks else _smooth
    m1, m2, k, kdot, near, far, error = rule(phi, pair.q1, pair.q2, pair.k, pair.near, pair.far)
    return Dual(Pair(m1, m2, k, jnp.clip(near, 0, 2), jnp.clip(far, 0, 2)), kdot, error)


@cache
@float64
def growth(phi: Activation) -> float:
    """The power of z that phi grows like, STEEPEST at most."""
    z = 2.0 ** np.arange(4, 12)
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        sizes = np.abs(np.asarray(phi.fn(jnp.asarray(np.stack([z, -z])))))
        degrees = np.log2(sizes[:, 1:] / sizes[:, :-1])
    return float(np.where(np.isnan(degrees), 0, degrees).clip(0, STEEPEST).max())


def _reach(phi: Activation) -> float:
    """Where expectations are cut, in standard deviations: as far out as phi grows."""
    return piecewise.reach(growth(phi))


def far(phi: Activation) -> float:
    """The same for products of four factors."""
    degree = growth(phi)
    return piecewise.REACH if degree <= 1 else piecewise.reach(2 * degree)


def _joined(q1: Any, q2: Any) -> Any:
    """All points of both sides as one row: what is asked of every point is then compiled once."""
    return jnp.concatenate([q1.reshape(-1), q2.reshape(-1)])


def _parted(values: Any, q1: Any, q2: Any) -> tuple[Any, Any]:
    """Values (..., points) of the points `_joined`, back in the shapes of q1 and q2."""
    lead = values.shape[:-1]
    return values[..., : q1.size].reshape(*lead, *q1.shape), values[..., q1.size :].reshape(*lead, *q2.shape)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _smooth_mean(phi: Activation, a: int, b: int, q: Any) -> Any:
    """E[phi^(a) phi^(b)](q)."""
    f, g = phi.derivative(a), phi.derivative(b)

    def product(z: Any) -> Any:
        return f(z) * g(z)

    plain, wide = hermite.mean(product, q), hermite.mean(product, q, every=2)
    resolved = jnp.abs(plain - wide) <= UNRESOLVED[q.dtype.name] * hermite.mean(lambda z: jnp.abs(product(z)), q)
    graded = piecewise.graded_mean(product, q, (), hermite.REACH)
    return jnp.where(resolved | (q <= piecewise.LARGE**2), plain, graded)


@_smooth_mean.defjvp
def _smooth_mean_jvp(phi: Activation, a: int, b: int, primals: Any, tangents: Any) -> Any:
    (q,), (dq,) = primals, tangents
    if a == b:
        curvature = 2 * _smooth_mean(phi, a, a + 2, q) + 2 * _smooth_mean(phi, a + 1, a + 1, q)
    else:
        curvature = _smooth_mean(phi, a + 2, b, q) + 2 * _smooth_mean(phi, a + 1, b + 1, q) + _smooth_mean(phi, a, b + 2, q)
    return _smooth_mean(phi, a, b, q), curvature * dq / 2


Moments = tuple[Any, Any, Any, Any, Any, Any, Any]  # E phi^2 of either point, E[phi phi], E[phi' phi'], 1 -+ c of the former, the error


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _smooth(phi: Activation, q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Moments:
    """By Hermite series, and by graded quadrature where sizes are so large that the series do not converge."""
    both, every = (phi.fn, phi.derivative()), _joined(q1, q2)
    A, terms, rest, square = hermite.coefficients(both, every, hermite.tolerance(q1.dtype))
    large, rest = _diverged(every, rest)
    if not _ASSUMED.get()[0]:
        square = jnp.where(large, piecewise.graded_mean(lambda z: jnp.stack([f(z) ** 2 for f in both]), every, (), hermite.REACH), square)
    (A1, A2), (size1, size2) = (_parted(v, q1, q2) for v in (A, jnp.sqrt(square)))
    same = (near == 0) & (q1 == q2)
    c, near_out, far_out = hermite.series(safe_divide(A1, size1), safe_divide(A2, size2), terms, near, far, same)
    pairs, need = _flat(near, q1, q2, near, far, size1[0], size2[0], size1[1], size2[1]), _either(large, q1, q2, near)
    series = [v.reshape(-1) for v in (c[0], c[1], near_out, far_out)]
    out, changes = _graded(phi, need, pairs, series, hermite.REACH)
    c, slope, near_out, far_out = (v.reshape(near.shape) for v in out)
    error = jnp.maximum(rest.max(), jnp.maximum(*changes[:2]))
    near_out, far_out = jnp.where(same, 0, near_out), jnp.where(same, 2, far_out)
    return size1[0] ** 2, size2[0] ** 2, size1[0] * size2[0] * c, size1[1] * size2[1] * slope, near_out, far_out, error


def _graded(phi: Activation, need: Any, pairs: Any, otherwise: Any, reach: float) -> tuple[Any, Any]:
    """`piecewise.some_pairs` by graded pieces, unless sizes are assumed to be ordinary."""
    if _ASSUMED.get()[0]:
        return tuple(otherwise), (jnp.where(need.any(), jnp.inf, 0.0),) * 2
    return piecewise.some_pairs(_integrand(phi), need, pairs, phi.kinks, otherwise, reach, graded=True)


def _split(phi: Activation, need: Any, pairs: Any, otherwise: Any, reach: float) -> tuple[Any, Any]:
    """`piecewise.some_pairs`, unless no points are assumed to be close."""
    if _ASSUMED.get()[1]:
        return tuple(otherwise), (jnp.where(need.any(), jnp.inf, 0.0),) * 2
    return piecewise.some_pairs(_integrand(phi), need, pairs, phi.kinks, otherwise, reach, graded=False)


def _diverged(q: Any, rest: Any) -> tuple[Any, Any]:
    """Which points of variance q have no Hermite series, to judge by what they leave (functions, points); and the rest of the others."""
    large = (q > piecewise.LARGE**2) & (rest.max(0) > UNRESOLVED[q.dtype.name])
    return large, jnp.where(large, 0, rest)


def _either(large: Any, q1: Any, q2: Any, like: Any) -> Any:
    """Pairs in a row of whose points one at least is large."""
    first, second = _parted(large, q1, q2)
    return jnp.broadcast_to(first | second, like.shape).reshape(-1)


def _flat(like: Any, *values: Any) -> list[Any]:
    """Each of the values for all pairs, in a row."""
    return [jnp.broadcast_to(v, like.shape).reshape(-1) for v in values]


def _integrand(phi: Activation) -> Any:
    """E[phi phi], E[phi' phi'] relative to the sizes s1, s2 of phi, t1, t2 of phi', and 1 -+ the former."""
    f, slope = phi.fn, phi.derivative()

    def integrand(z1: Any, z2: Any, s1: Any, s2: Any, t1: Any, t2: Any) -> tuple[Any, ...]:
        f1, f2 = safe_divide(f(z1), s1), safe_divide(f(z2), s2)
        return f1 * f2, safe_divide(slope(z1), t1) * safe_divide(slope(z2), t2), 0.5 * (f1 - f2) ** 2, 0.5 * (f1 + f2) ** 2

    return integrand


@_smooth.defjvp
def _smooth_jvp(phi: Activation, primals: Any, tangents: Any) -> Any:
    out = _smooth(phi, *primals)
    slopes = _slopes(phi, SQUARES, primals, tangents)
    return out, (*_own_slopes(phi, primals, tangents), *slopes, *(jnp.zeros_like(v) for v in out[4:]))


def _own_slopes(phi: Activation, primals: Any, tangents: Any) -> list[Any]:
    """What changes of the variances do to E phi^2 of either point."""
    return [jax.jvp(partial(moment, phi), (primals[i],), (tangents[i],))[1] for i in (0, 1)]


SQUARES = ((0, 0), (1, 1))
Orders = tuple[tuple[int, int], ...]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _products(phi: Activation, orders: Orders, q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Any:
    """E[phi^(a)(z1) phi^(b)(z2)] for every (a, b) of orders, (orders, *shape), by Hermite series."""
    every = sorted({order for pair in orders for order in pair})
    functions = [phi.derivative(o) for o in every]
    A, terms, rest, _ = hermite.coefficients(functions, _joined(q1, q2), hermite.tolerance(q1.dtype))
    large, _ = _diverged(_joined(q1, q2), rest)
    A1, A2 = _parted(A, q1, q2)
    first, second = (np.array([every.index(pair[side]) for pair in orders]) for side in (0, 1))
    series = hermite.products(A1[:, first], A2[:, second], terms, near, far)

    def integrand(z1: Any, z2: Any) -> tuple[Any, ...]:
        left, right = [f(z1) for f in functions], [f(z2) for f in functions]
        return tuple(left[i] * right[j] for i, j in zip(first, second, strict=True))

    flat = [v.reshape(-1) for v in series]
    out = piecewise.some_pairs(integrand, _either(large, q1, q2, near), _flat(near, q1, q2, near, far), (), flat, hermite.REACH, True)[0]
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


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _kinked(phi: Activation, q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Moments:
    """By Hermite series, which fall slowly; for points that nearly coincide, where that is not enough, by quadrature split at the kinks;
    graded where sizes are large."""
    every, reach, both = _joined(q1, q2), _reach(phi), (phi.fn, phi.derivative())
    squares = partial(piecewise.graded_mean, lambda z: jnp.stack([f(z) ** 2 for f in both]), every, phi.kinks)
    square = squares(reach)
    cut = safe_divide(jnp.abs(square - squares(reach - piecewise.SHORT, piecewise.ROUGH)), square).max()
    (size1, size2), same = _parted(jnp.sqrt(square), q1, q2), (near == 0) & (q1 == q2)
    versine, large = jnp.minimum(near, far), jnp.maximum(q1, q2) > piecewise.LARGE**2
    close = (versine < hermite.APART) & ~same & ~large
    largest = jnp.where(same | large | close, 0, 1 - versine).max()
    usual = jnp.minimum(every, piecewise.LARGE**2)
    A, terms, rest, _ = hermite.coefficients(both, usual, hermite.tolerance(q1.dtype), phi.kinks, reach, largest)
    A1, A2 = (safe_divide(a, size) for a, size in zip(_parted(A, q1, q2), (size1, size2), strict=True))
    c, slope = jnp.where(same, 1, hermite.products(A1, A2, terms, near, far))
    pairs = _flat(near, q1, q2, near, far, size1[0], size2[0], size1[1], size2[1])
    series = [v.reshape(-1) for v in (c, slope, jnp.where(same, 0, 1 - c), 1 + c)]
    apart, off = _split(phi, close.reshape(-1), pairs, series, reach)
    out, changes = _graded(phi, (large & ~same).reshape(-1), pairs, apart, reach)
    error = reduce(jnp.maximum, [cut, rest.max(), *off[:2], *changes[:2]])
    c, kdot, near_out, far_out = (v.reshape(near.shape) for v in out)
    return size1[0] ** 2, size2[0] ** 2, size1[0] * size2[0] * c, size1[1] * size2[1] * kdot, near_out, far_out, error


@_kinked.defjvp
def _kinked_jvp(phi: Activation, primals: Any, tangents: Any) -> Any:
    """Price for f = phi and f = phi', with the jumps J of f at the kinks x: D f = f' + sum J delta_x. The part of
    E[D f D f] dk with two deltas is kept apart, as it multiplies dc and diverges at coincidence; the dq parts go by
    Stein, q1 E[D^2 f f] = E[z1 D f f] - k E[D f D f]."""
    q1, q2, k, near, far = primals
    d1, d2, dk, _, _ = tangents
    out = _kinked(phi, *primals)
    r1, r2 = jnp.sqrt(q1), jnp.sqrt(q2)
    c, width = jnp.where(near <= far, 1 - near, far - 1), jnp.sqrt(near * far)
    dc = cosine_tangent(q1, q2, k, d1, d2, dk)
    rates = []
    for order in (0, 1):
        f, slope = phi.derivative(order), phi.derivative(order + 1)

        def integrand(z1: Any, z2: Any, f: Any = f, slope: Any = slope) -> tuple[Any, ...]:
            s1, s2 = slope(z1), slope(z2)
            return s1 * s2, z1 * s1 * f(z2), z2 * s2 * f(z1)

        both, first, second = piecewise.pair_mean(integrand, q1, q2, near, far, phi.kinks, reach=_reach(phi))
        cross = jnp.zeros_like(both)
        jumps = [(x, J) for x, J in zip(phi.kinks, phi.jumps(order), strict=True) if J]
        for x, J in jumps:
            p1, p2 = (J * jnp.exp(-x * x / (2 * q)) / jnp.sqrt(2 * np.pi * q) for q in (q1, q2))
            on1, on2 = (c * r2 * x / r1, r2 * width), (c * r1 * x / r2, r1 * width)  # the other z given that one is x
            given = partial(piecewise.conditional_mean, kinks=phi.kinks, reach=_reach(phi))
            both = both + p1 * given(slope, *on1) + p2 * given(slope, *on2)
            first = first + x * p1 * given(f, *on1)
            second = second + x * p2 * given(f, *on2)
            for y, Jy in jumps:
                u, v, s = x / r1, y / r2, jnp.minimum(near, far)
                square = jnp.where(near <= far, (u - v) ** 2 + 2 * u * v * s, (u + v) ** 2 - 2 * u * v * s)
                density = jnp.exp(-0.5 * safe_divide(square, width**2, jnp.inf)) * inverse_sine(near, far) / (2 * np.pi)
                cross = cross + J * Jy * density
        both, first, second, cross = (once(v, q1, q2, k) for v in (both, first, second, cross))
        tangent = both * dk + 0.5 * safe_divide(first - k * both, q1) * d1 + 0.5 * safe_divide(second - k * both, q2) * d2
        rates.append(tangent + cross * dc)
    return out, (*_own_slopes(phi, primals, tangents), *rates, *(jnp.zeros_like(v) for v in out[4:]))
