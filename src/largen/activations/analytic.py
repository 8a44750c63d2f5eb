"""The dual maps of activations whose expectations are analytic closed forms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.assumed import ordinary_angles
from largen.activations.closed import Analytic, itself
from largen.gaussian.pair import Pair, safe_divide, steady


def analytic(form: Analytic, pair: Pair) -> tuple[Pair, Any, Any]:
    """(phi, kdot, error)."""
    pair = steady(pair)
    k, kdot = form.expectation(pair), form.slope(pair)
    m1, m2 = form.expectation(itself(pair.q1)), form.expectation(itself(pair.q2))
    near, far, error = jax.lax.stop_gradient(_versines(form, jax.lax.stop_gradient(pair), k, m1, m2))
    return Pair(m1, m2, k, near, far), kdot, error


def _versines(form: Analytic, pair: Pair, k: Any, m1: Any, m2: Any) -> tuple[Any, Any, Any]:
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
    if ordinary_angles():
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
