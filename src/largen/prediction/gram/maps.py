r"""What an activation does to moments in float32, where the variances are known: E[phi phi] and E[phi' phi'] of many cosines.

For phi = a_+ z above 0, a_- z below, with v = 1 - |c|, theta the angle of |c|, J = sin theta - theta cos theta:

    E[phi phi]/(r1 r2) = m c + (a_+ - a_-)^2 (|c|/4 + J/2 pi),        E[phi' phi'] = m + sign(c) (a_+ - a_-)^2 (1/4 - theta/2 pi),

m = (a_+ + a_-)^2/4. Both theta/sqrt(v) and J/v^(3/2) are analytic in v with the next singularity at v = 2: one square root and
two short polynomials.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from largen.activations.activation import Activation
from largen.activations.closed import Analytic, Homogeneous, Step
from largen.activations.dual import dual, moment
from largen.gaussian import pair as pairs

ANGLE, BEND = 6, 5  # degrees: errors 1e-7 and 4e-8
SAME = 2.0**-22  # 1 - |c| that rounding makes of parallel pairs; taken for 0


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
    return isinstance(phi.closed, (Homogeneous, Analytic, Step))


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
    """E[phi^2] and E[phi'^2] at variances q."""
    if isinstance(phi.closed, Homogeneous):
        square = jnp.float32((phi.closed.a_plus**2 + phi.closed.a_minus**2) / 2)
        return square * q, square
    if isinstance(phi.closed, Step):
        return jnp.where(q > 0, jnp.ones_like(q), 0), jnp.float32(0)
    return moment(phi, q), moment(phi, q, 1)
