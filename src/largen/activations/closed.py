"""Closed forms of E[phi(z1) phi(z2)] and E[phi'(z1) phi'(z2)] for a Gaussian pair.

Three kinds. `Analytic`: functions of the pair carrier, sums of positive terms in q1, q2, 1 - c and 1 + c, so that they keep their
digits at every size: what is small beside q1 q2 or q1 + q2 (`gap`, `less`, `more`) is never a difference. `Homogeneous`: the ReLU
family a+ z above 0, a- z below, a function of the angle. `Step`: the sign.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.cusp import cosine_tangent, inverse_sine, once
from largen.gaussian.angle import arctan2
from largen.gaussian.pair import Pair, safe_divide

Parity = Literal["odd", "even", "none"]
Moment = Callable[[Pair], Any]


@dataclass(frozen=True)
class Analytic:
    """`expectation`: E[phi(z1) phi(z2)], `slope`: E[phi'(z1) phi'(z2)], functions of a pair; `parity` of phi."""

    expectation: Moment
    slope: Moment
    parity: Parity = "none"


@dataclass(frozen=True)
class Homogeneous:
    """phi(z) = a_plus z for z >= 0, a_minus z for z < 0 (Cho and Saul; PDLT 5.159, 5.161)."""

    a_plus: float
    a_minus: float


@dataclass(frozen=True)
class Step:
    """phi(z) = sign(z), whose derivative is 0 almost everywhere."""


ClosedForm = Analytic | Homogeneous | Step


def itself(q: Any) -> Pair:
    """The pair (z, z) of variance q."""
    return Pair(q, q, q, jnp.zeros_like(q), jnp.full_like(q, 2))


# ---------------------------------------------------------------- combinations that would cancel
# Their values come from 1 - c and 1 + c, their derivatives from (q1, q2, k), where they are polynomials.


@jax.custom_jvp
def gap(q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Any:
    """q1 q2 - k^2."""
    return q1 * q2 * (near * far)


@gap.defjvp
def _gap_jvp(primals: Any, tangents: Any) -> Any:
    q1, q2, k, _, _ = primals
    d1, d2, dk, _, _ = tangents
    return gap(*primals), q2 * d1 + q1 * d2 - 2 * k * dk


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _half_square(sign: int, q1: Any, q2: Any, k: Any, versine: Any) -> Any:
    r1, r2 = jnp.sqrt(q1), jnp.sqrt(q2)
    return 0.5 * safe_divide(q1 - q2, r1 + r2) ** 2 + r1 * r2 * versine


@_half_square.defjvp
def _half_square_jvp(sign: int, primals: Any, tangents: Any) -> Any:
    d1, d2, dk, _ = tangents
    return _half_square(sign, *primals), 0.5 * (d1 + d2) + sign * dk


def less(pair: Pair) -> Any:
    """E(z1 - z2)^2/2 = (q1 + q2)/2 - k."""
    return _half_square(-1, pair.q1, pair.q2, pair.k, pair.near)


def more(pair: Pair) -> Any:
    """E(z1 + z2)^2/2 = (q1 + q2)/2 + k."""
    return _half_square(1, pair.q1, pair.q2, pair.k, pair.far)


@dataclass(frozen=True)
class _Resolvent:
    """det(1 + rate K) = m^2 D, m = `m1` `m2` with m_i^2 about 1 + rate q_i, and `b` = rate k/m, `gap` = rate^2 (q1 q2 - k^2)/m^2:
    numbers of order one at every size. m is a unit, a power of two: it rounds nothing and carries no derivative."""

    b: Any
    gap: Any
    D: Any
    m1: Any
    m2: Any


def _unit(x: Any) -> Any:
    """The power of two next to sqrt(x): half the exponent, by its bits."""
    integer, mantissa = (jnp.int32, 23) if x.dtype == jnp.float32 else (jnp.int64, 52)
    one = jax.lax.bitcast_convert_type(jnp.ones_like(x), integer) >> mantissa
    exponent = ((jax.lax.bitcast_convert_type(x, integer) >> mantissa) - one) >> 1
    return jax.lax.bitcast_convert_type((exponent + one) << mantissa, x.dtype)


def _resolvent(pair: Pair, rate: float) -> _Resolvent:
    m1, m2 = (_unit(jax.lax.stop_gradient(1 + rate * q)) for q in (pair.q1, pair.q2))
    a1, a2, b = rate * pair.q1 / m1 / m1, rate * pair.q2 / m2 / m2, rate * pair.k / m1 / m2
    rest = gap(a1, a2, b, pair.near, pair.far)
    return _Resolvent(b, rest, (1 / m1 / m2) ** 2 + a1 / m2 / m2 + a2 / m1 / m1 + rest, m1, m2)


# ---------------------------------------------------------------- the forms


def _erf(pair: Pair) -> Any:
    at = _resolvent(pair, 2.0)
    return (2 / math.pi) * arctan2(at.b, jnp.sqrt(at.D))


def _erf_slope(pair: Pair) -> Any:
    at = _resolvent(pair, 2.0)
    return (4 / math.pi) / (jnp.sqrt(at.D) * at.m1 * at.m2)


# (2/pi) asin(2k / sqrt((1 + 2 q1)(1 + 2 q2))) (Williams)
erf = Analytic(_erf, _erf_slope, "odd")


def _share(b: Any, root: Any) -> Any:
    """atan2(root, -b)/(2 pi), rounded as little as may be for b > 0."""
    acute = b > 0
    return jnp.where(acute, 0.25, 0) + arctan2(jnp.where(acute, b, root), jnp.where(acute, root, -b)) / (2 * math.pi)


def _gelu(pair: Pair) -> Any:
    at = _resolvent(pair, 1.0)
    root, both = jnp.sqrt(at.D), 1 / (1 + pair.q1) + 1 / (1 + pair.q2)
    bulk = at.b * _share(at.b, root) + (at.gap + at.b * at.b * both) / root / (2 * math.pi)
    return at.m1 * (at.m2 * bulk)


def _gelu_slope(pair: Pair) -> Any:
    at = _resolvent(pair, 1.0)
    root, both = jnp.sqrt(at.D), 1 / (1 + pair.q1) + 1 / (1 + pair.q2)
    edge = at.b / root * (both + (1 / at.m1 / at.m2) ** 2 / at.D)
    return _share(at.b, root) + edge / (2 * math.pi)


# with D = (1+q1)(1+q2) - k^2 and u = 1/(1+q1) + 1/(1+q2), by Stein's lemma twice on P(g1 < z1, g2 < z2):
# 2 pi E = k atan2(sqrt D, -k) + (q1 q2 - k^2 + k^2 u)/sqrt D,    2 pi E' = atan2(sqrt D, -k) + k (u + 1/D)/sqrt D
gelu = Analytic(_gelu, _gelu_slope)


def _sinh(pair: Pair) -> Any:
    """exp(-(q1+q2)/2) sinh k."""
    positive = pair.k >= 0
    size = jnp.where(positive, less(pair), more(pair))
    return jnp.where(positive, -0.5, 0.5) * jnp.exp(-size) * jnp.expm1(-2 * jnp.where(positive, pair.k, -pair.k))


def _cosh(pair: Pair) -> Any:
    """exp(-(q1+q2)/2) cosh k."""
    return 0.5 * (jnp.exp(-less(pair)) + jnp.exp(-more(pair)))


sin = Analytic(_sinh, _cosh, "odd")
cos = Analytic(_cosh, _sinh, "even")
exp = Analytic(lambda pair: jnp.exp(more(pair)), lambda pair: jnp.exp(more(pair)))
linear = Analytic(lambda pair: pair.k + 0 * (pair.q1 + pair.q2), lambda pair: jnp.ones_like(pair.k), "odd")


def rbf(gamma: float) -> Analytic:
    """exp(-gamma E(z1 - z2)^2)."""
    return Analytic(lambda pair: jnp.exp(-2 * gamma * less(pair)), lambda pair: 2 * gamma * jnp.exp(-2 * gamma * less(pair)))


def gaussian(size: float, rate: float) -> Analytic:
    """Of size exp(-rate z^2): size^2 det(1 + 2 rate K)^(-1/2)."""

    def expectation(pair: Pair) -> Any:
        at = _resolvent(pair, 2 * rate)
        return size**2 / (jnp.sqrt(at.D) * at.m1 * at.m2)

    def slope(pair: Pair) -> Any:
        at = _resolvent(pair, 2 * rate)
        return 2 * rate * size**2 * at.b / at.D / jnp.sqrt(at.D) / at.m1 / at.m2 / at.m1 / at.m2

    return Analytic(expectation, slope, "even")


def _gabor_parts(pair: Pair) -> tuple[_Resolvent, Pair, Any]:
    """det(1 + 2K), the pair under the density times exp(-z1^2 - z2^2), of covariance (K^-1 + 2)^-1, and det^(-1/2)."""
    at = _resolvent(pair, 2.0)
    inverse1, inverse2 = 1 / at.m1 / at.m1, 1 / at.m2 / at.m2
    tilted1 = 0.5 * (at.gap + 2 * pair.q1 * inverse1 * inverse2) / at.D
    tilted2 = 0.5 * (at.gap + 2 * pair.q2 * inverse2 * inverse1) / at.D
    k = 0.5 * at.b / at.D / at.m1 / at.m2
    return at, Pair(tilted1, tilted2, k, None, None), 1 / (jnp.sqrt(at.D) * at.m1 * at.m2)


def _gabor(pair: Pair) -> Any:
    _, tilted, size = _gabor_parts(pair)
    return size * jnp.exp(-(tilted.q1 + tilted.q2) / 2) * jnp.sinh(tilted.k)


def _gabor_slope(pair: Pair) -> Any:
    """d/dk, with dq1' = -4k (1 + 2 q2)/D^2 dk and likewise q2', dk' = (D + 8 k^2)/D^2 dk, dD = -8k dk."""
    at, tilted, size = _gabor_parts(pair)
    inverse1, inverse2 = 1 / at.m1 / at.m1, 1 / at.m2 / at.m2
    odd = (
        2 * at.b / at.D / at.m1 / at.m2 * (1 + (inverse1 * inverse2 + pair.q1 * inverse1 * inverse2 + pair.q2 * inverse2 * inverse1) / at.D)
    )
    even = (1 + 2 * at.b * at.b / at.D) / at.D * (inverse1 * inverse2)
    return size * jnp.exp(-(tilted.q1 + tilted.q2) / 2) * (jnp.sinh(tilted.k) * odd + jnp.cosh(tilted.k) * even)


# exp(-z^2) sin z: det(1 + 2K)^(-1/2) times the form of sin at the covariance (K^-1 + 2)^-1
gabor = Analytic(_gabor, _gabor_slope, "odd")


# ---------------------------------------------------------------- polynomials


def _parity(coefficients: Sequence[float]) -> Parity:
    odd, even = any(coefficients[1::2]), any(coefficients[0::2])
    return "none" if odd and even else "odd" if odd else "even"


def _horner(coefficients: Sequence[Any], x: Any) -> Any:
    total = jnp.zeros_like(x)
    for v in reversed(coefficients):
        total = total * x + v
    return total


def polynomial(coefficients: Sequence[float]) -> Analytic:
    """Of sum_i c_i z^i: sum_m k^m/m! E[phi^(m)(z1)] E[phi^(m)(z2)], the Hermite series, finite here."""

    def moment(c: list[float]) -> Moment:
        terms: list[tuple[float, list[float]]] = []
        for m in range(len(c)):
            even = [c[2 * j] * math.prod(range(1, 2 * j, 2)) for j in range((len(c) + 1) // 2)]  # E z^2j = q^j (2j-1)!!
            terms.append((1 / math.factorial(m), even))
            c = [i * v for i, v in enumerate(c)][1:]
        return lambda pair: _series(pair, [(w, _horner(even, pair.q1), _horner(even, pair.q2)) for w, even in terms])

    c = [float(v) for v in coefficients]
    return Analytic(moment(c), moment([i * v for i, v in enumerate(c)][1:] or [0.0]), _parity(c))


def hermite(weights: Sequence[float]) -> Analytic:
    """Of sum_i w_i h_i(z), h the normalised Hermite polynomials: as for polynomials, with (q - 1) in the place of q in the means,

    E[phi^(m)(z)] = sum_j w_(m+2j) sqrt((m+2j)!)/(2^j j!) (q - 1)^j.
    """

    def moment(w: list[float]) -> Moment:
        terms = []
        for m in range(len(w)):
            even = [
                w[m + 2 * j] * math.sqrt(math.factorial(m + 2 * j) / math.factorial(m)) / (2**j * math.factorial(j))
                for j in range((len(w) - m + 1) // 2)
            ]
            terms.append(even)
        return lambda pair: _series(pair, [(1.0, _horner(even, pair.q1 - 1), _horner(even, pair.q2 - 1)) for even in terms])

    w = [float(v) for v in weights]
    slope = [math.sqrt(i) * v for i, v in enumerate(w)][1:] or [0.0]  # h_i' = sqrt(i) h_(i-1)
    return Analytic(moment(w), moment(slope), _parity(w))


def _series(pair: Pair, terms: list[tuple[float, Any, Any]]) -> Any:
    total = jnp.zeros_like(pair.q1 * pair.q2 * pair.k)
    for weight, mean1, mean2 in reversed(terms):
        total = total * pair.k + weight * mean1 * mean2
    return total


# ---------------------------------------------------------------- powers above 0


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _orthant(p: int, q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Any:
    """E[z1^p z2^p; z1, z2 > 0] = (r1 r2)^p 2^p p!/(2 pi) int [sin(h - t) sin(h + t)]^p dt over |t| < h, where 2h = pi - theta (Cho and
    Saul): a trigonometric polynomial, by Gauss-Legendre."""
    h = arctan2(jnp.sqrt(far), jnp.sqrt(near))
    x, w = (jnp.asarray(v, h.dtype) for v in np.polynomial.legendre.leggauss(12 + 2 * p))

    def add(i: Any, total: Any) -> Any:
        return total + w[i] * (jnp.sin(h * (1 - x[i])) * jnp.sin(h * (1 + x[i]))) ** p

    arc = h * jax.lax.fori_loop(0, len(x), add, jnp.zeros_like(h)) / (2 * math.pi)
    # the factor that grows goes with r, so that the product overflows only where the result does
    return (jnp.sqrt(q1) * jnp.sqrt(q2) * (2 * math.exp(math.lgamma(p + 1) / max(p, 1)))) ** p * arc


@_orthant.defjvp
def _orthant_jvp(p: int, primals: Any, tangents: Any) -> Any:
    """d/dk lowers the power by one; 2 q1 d/dq1 + k d/dk = p, by homogeneity."""
    q1, q2, k, near, far = primals
    d1, d2, dk, _, _ = tangents
    value = _orthant(p, *primals)
    if p == 0:
        return value, once(inverse_sine(near, far) / (2 * np.pi), q1, q2, k) * cosine_tangent(q1, q2, k, d1, d2, dk)
    slope = p * p * _orthant(p - 1, *primals)
    rest = p * value - k * slope
    return value, safe_divide(rest, 2 * q1) * d1 + safe_divide(rest, 2 * q2) * d2 + slope * dk


def rectified(p: int) -> Analytic:
    """Of z^p above 0, 0 below."""

    def moment(power: int) -> Moment:
        return lambda pair: _orthant(power, pair.q1, pair.q2, pair.k, pair.near, pair.far)

    return Analytic(moment(p), lambda pair: p * p * moment(p - 1)(pair))
