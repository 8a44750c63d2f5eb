r"""What an activation does to moments in float32, where the variances are known: E[phi phi] and E[phi' phi'] of many cosines.

For phi = a_+ z above 0, a_- z below, with v = 1 - |c|, theta the angle of |c|, J = sin theta - theta cos theta:

    E[phi phi]/(r1 r2) = m c + (a_+ - a_-)^2 (|c|/4 + J/2 pi),        E[phi' phi'] = m + sign(c) (a_+ - a_-)^2 (1/4 - theta/2 pi),

m = (a_+ + a_-)^2/4. Both theta/sqrt(v) and J/v^(3/2) are analytic in v with the next singularity at v = 2: one square root and
two short polynomials. Smooth activations without closed forms have their Hermite series, for both means from the same coefficients:

    E[phi phi] = sum_m A_m(r1) A_m(r2) c^m,        E[phi' phi'] = sum_m m A_m(r1) A_m(r2) c^(m-1)/(r1 r2),

A_m(r) = E[phi(r u) h_m(u)] of every pixel by itself, only odd or only even m for odd or even activations.
"""

from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from largen.activations.activation import Activation
from largen.activations.closed import Homogeneous, Step
from largen.activations.dual import dual, moment
from largen.gaussian import hermite, pair as pairs
from largen.running.jitted import jitted
from largen.types import float64

ANGLE, BEND = 6, 5  # degrees: errors 1e-7 and 4e-8
SAME = 2.0**-22  # 1 - |c| that rounding makes of parallel pairs; taken for 0
TERMS, REST = 128, 1e-6  # of a Hermite series, at most; what may be left out of either mean at c = 1, relative


def _fitted(f: Any, degree: int) -> list[float]:
    """Coefficients of a polynomial on [0, 1]."""
    return [float(a) for a in Chebyshev.interpolate(f, degree, domain=[0, 1]).convert(kind=Polynomial).coef]


def _bend(v: np.ndarray) -> np.ndarray:
    theta = 2 * np.arcsin(np.sqrt(v / 2))
    return (np.sin(theta) - theta * np.cos(theta)) / v**1.5


ANGLES = _fitted(lambda v: 2 * np.arcsin(np.sqrt(v / 2)) / np.sqrt(v), ANGLE)
BENDS = _fitted(_bend, BEND)


def supported(phi: Activation) -> bool:
    """Whether moments of an activation have a form that is cheap at every pair of pixels."""
    return phi.closed is not None or not phi.kinks


def _horner(coefficients: list[float], v: Any, factor: float) -> Any:
    total = jnp.float32(factor * coefficients[-1])
    for a in coefficients[-2::-1]:
        total = total * v + jnp.float32(factor * a)
    return total


def _versine(c: Any) -> Any:
    v = 1 - jnp.abs(c)
    return jnp.where(v > SAME, v, 0)


def homogeneous_mean(form: Homogeneous, c: Any) -> Any:
    """E[phi phi]/(r1 r2) at cosines c."""
    middle, jump2 = (form.a_plus + form.a_minus) ** 2 / 4, (form.a_plus - form.a_minus) ** 2
    if jump2 == 0:
        return jnp.float32(middle) * c
    v = _versine(c)
    bend = jnp.sqrt(v) * (v * _horner(BENDS, v, jump2 / (2 * np.pi)))
    return jnp.float32(middle) * c + (jnp.float32(jump2 / 4) * jnp.abs(c) + bend)


def homogeneous_slope(form: Homogeneous, c: Any) -> Any:
    """E[phi' phi'] at cosines c."""
    middle, jump2 = (form.a_plus + form.a_minus) ** 2 / 4, (form.a_plus - form.a_minus) ** 2
    if jump2 == 0:
        return jnp.float32(middle)
    v = _versine(c)
    half = jnp.float32(jump2 / 4) - jnp.sqrt(v) * _horner(ANGLES, v, jump2 / (2 * np.pi))
    return jnp.float32(middle) + jnp.where(c >= 0, half, -half)


def closed_moments(phi: Activation, r1: Any, r2: Any, k: Any) -> tuple[Any, Any]:
    """E[phi phi] and E[phi' phi'] by the closed form of any activation that has one; r the standard deviations."""
    out = dual(phi, rounded(r1 * r1, r2 * r2, jnp.clip(k, -r1 * r2, r1 * r2)))
    return out.phi.k, out.kdot


def rounded(q1: Any, q2: Any, k: Any) -> pairs.Pair:
    """The pair of given moments in float32, parallel if it may be."""
    pair = pairs.from_moments(q1, q2, k)
    near, far = (jnp.where(v > SAME, v, 0) for v in (pair.near, pair.far))
    return pairs.Pair(q1, q2, k, jnp.where(far > 0, near, 2), jnp.where(near > 0, far, 2))


def own_moments(phi: Activation, q: Any) -> tuple[Any, Any]:
    """E[phi^2] and E[phi'^2] at variances q; zeros have no angle, their cosine counts as 0."""
    if isinstance(phi.closed, Homogeneous):
        square = jnp.float32((phi.closed.a_plus**2 + phi.closed.a_minus**2) / 2)
        return square * q, jnp.where(q > 0, square, jnp.float32((phi.closed.a_plus + phi.closed.a_minus) ** 2 / 4))
    if isinstance(phi.closed, Step):
        return jnp.where(q > 0, jnp.ones_like(q), 0), jnp.float32(0)
    return moment(phi, q), moment(phi, q, 1)


# ---------------------------------------------------------------- Hermite series


@cache
@float64
def parity(phi: Activation) -> tuple[int, int]:
    """(first, step) of the numbers m of the series."""
    z = np.linspace(0.1, 5, 50)
    up, down = np.asarray(jitted()(phi.fn)(np.stack([z, -z])))
    return next(((first, 2) for first, sign in ((0, 1), (1, -1)) if np.abs(up - sign * down).max() <= 1e-12 * np.abs(up).max()), (0, 1))


@cache
def _table(first: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes u and h_m(u) times the weights of N(0, 1), (TERMS, nodes)."""
    u, w = hermite.nodes(np.float64)
    rows = [np.ones_like(u), u]
    for m in range(1, first + step * TERMS):
        rows.append((u * rows[m] - np.sqrt(m) * rows[m - 1]) / np.sqrt(m + 1))
    return u, np.stack(rows[first : first + step * TERMS : step]) * w


def series_of(phi: Activation, r: Any, terms: int) -> Any:
    """A_m, (terms, ...), at standard deviations r."""
    u, table = _table(*parity(phi))
    values = phi.fn(r[..., None] * jnp.asarray(u, r.dtype))
    return jnp.moveaxis(jnp.matmul(values, jnp.asarray(table[:terms].T, r.dtype), precision="highest"), -1, 0)


@float64
def terms_for(phi: Activation, r: float) -> int | None:
    """How many terms the means need at standard deviations up to r; None: more than there are."""
    first, step = parity(phi)
    A = np.asarray(series_of(phi, jnp.asarray(r, jnp.float64), TERMS))
    m = first + step * np.arange(TERMS)
    enough = np.zeros(TERMS + 1, bool)
    for order, powers in ((0, A**2), (1, m * A**2 / r**2)):
        whole = float(moment(phi, jnp.asarray(r * r, jnp.float64), order))
        left = whole - np.concatenate([[0], np.cumsum(powers)])
        enough = left <= REST * whole if order == 0 else enough & (left <= REST * whole)
    return int(np.argmax(enough)) if enough.any() else None


def summed_series(phi: Activation, A1: Any, A2: Any, c: Any, slope: bool) -> Any:
    """The mean at cosines c; with `slope` E[phi' phi'] r1 r2."""
    first, step = parity(phi)
    begin = 1 if slope and first == 0 else 0
    total, x = jnp.zeros_like(c), c if step == 1 else c * c
    for j in reversed(range(begin, len(A1))):
        term = A1[j] * A2[j]
        total = total * x + (jnp.float32(first + step * j) * term if slope else term)
    power = first + step * begin - slope
    return total * c if power else total
