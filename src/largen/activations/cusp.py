"""The cusp of kinked kernels where two points coincide or oppose: what divides by the sine of their angle, and how often it may."""

from typing import Any

import jax
import jax.numpy as jnp

from largen.errors import UnsupportedError
from largen.gaussian.pair import safe_divide


def cosine_tangent(q1: Any, q2: Any, k: Any, d1: Any, d2: Any, dk: Any) -> Any:
    """dc for c = k/sqrt(q1 q2)."""
    r = jnp.sqrt(q1) * jnp.sqrt(q2)
    return safe_divide(dk, r) - safe_divide(k, r) * (safe_divide(d1, 2 * q1) + safe_divide(d2, 2 * q2))


def inverse_sine(near: Any, far: Any) -> Any:
    """1/sqrt(1 - c^2); 0 where the points coincide or oppose to within rounding: the symmetric subgradient."""
    sine2 = near * far
    return jnp.where(sine2 > 64 * jnp.finfo(sine2.dtype).eps ** 2, safe_divide(1.0, jnp.sqrt(sine2)), 0)


@jax.custom_jvp
def once(x: Any, q1: Any, q2: Any, k: Any) -> Any:
    """x, a function of the moments, whose derivative is refused."""
    return x


@once.defjvp
def _once_jvp(primals: Any, tangents: Any) -> Any:
    reason = "the kernel of a kinked activation has a cusp where points coincide, its second derivative does not exist there"
    raise UnsupportedError("a kinked activation", "", "the second derivative of a kernel", reason + "; use a smooth one, such as gelu")
