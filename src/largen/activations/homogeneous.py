r"""The dual maps of the ReLU family and of the sign, functions of the angle between two points.

J^2 = (a_plus - a_minus)^2; with theta the angle: k' = r1 r2 [A2 c + J^2/(2 pi) (sin theta - theta cos theta)],
kdot = A2 - J^2 theta/(2 pi) (PDLT 5.159, 5.161).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.closed import Homogeneous
from largen.activations.cusp import cosine_tangent, inverse_sine, once
from largen.gaussian.angle import arctan2
from largen.gaussian.pair import Pair, safe_divide


def _angle(near: Any, far: Any) -> Any:
    return 2 * arctan2(jnp.sqrt(near), jnp.sqrt(far))


def _sine_minus(near: Any, far: Any) -> Any:
    """sin t - t cos t of the angle t, without cancellation at small t: t^3/3 - t^5/30 + ..."""
    theta = _angle(near, far)
    t2 = theta * theta
    small = theta * t2 * (1 / 3 - t2 * (1 / 30 - t2 * (1 / 840 - t2 * (1 / 45360 - t2 / 3991680))))
    return jnp.where(theta < 0.7, small, jnp.sqrt(near * far) - theta * jnp.where(near <= far, 1 - near, far - 1))


def homogeneous(form: Homogeneous, pair: Pair) -> tuple[Pair, Any]:
    """(phi, kdot) of the ReLU family."""
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
    return Pair(A2 * pair.q1, A2 * pair.q2, k, near, far), kdot


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


def step(pair: Pair) -> tuple[Pair, Any]:
    """(phi, kdot) of the sign."""
    one = jnp.ones_like(pair.k)
    near = 2 * _angle(pair.near, pair.far) / np.pi
    far = 2 * _angle(pair.far, pair.near) / np.pi
    k = _step_moment(pair.q1, pair.q2, pair.k, pair.near, pair.far)
    square = (pair.q1 > 0).astype(pair.k.dtype), (pair.q2 > 0).astype(pair.k.dtype)
    return Pair(*square, k, near * one, far * one), 0 * pair.k


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
