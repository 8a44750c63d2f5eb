r"""Smooth functions of a Gaussian pair by their Hermite series, with a rigorous bound on the error.

With normalised Hermite polynomials h_m and A_m(q) = E[f(sqrt(q) u) h_m(u)], u ~ N(0, 1) (Mehler's formula),

    E[f(z1) g(z2)] = sum_m c^m A_m[f](q1) A_m[g](q2),      sum_m A_m[f](q)^2 = E[f(z)^2]   (Parseval).

The coefficients depend on one point each, so a pair costs one product per term and no function values. For analytic f
they fall geometrically in sqrt(m); the sum stops when what Parseval leaves is below the tolerance, and what it leaves
is the error bound: |rest| <= rest(q1)^(1/2) rest(q2)^(1/2) for every c.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BLOCK, MOST = 64, 2048  # terms computed at a time, at most
STEP, REACH = 0.03, 16.0  # trapezoid in u: spectral for analytic functions; resolves h_2048
UNROLL = 8


def nodes(dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Nodes u and weights of the trapezoid rule for N(0, 1)."""
    u = np.arange(-round(REACH / STEP), round(REACH / STEP) + 1) * STEP
    return u.astype(dtype), (STEP * np.exp(-u * u / 2) / np.sqrt(2 * np.pi)).astype(dtype)


def mean(f: Callable[[Any], Any], q: Any) -> Any:
    """E[f(z)], z ~ N(0, q), for smooth f; the shape of q."""
    u, w = nodes(q.dtype)
    return jnp.tensordot(f(jnp.sqrt(q)[..., None] * u), w, 1)


def coefficients(f: Callable[[Any], Any], q: Any, tolerance: float) -> tuple[Any, Any, Any]:
    """(A, N, rest): A of shape (MOST, *q.shape), zero beyond the N terms that were needed (a traced multiple of BLOCK),
    and rest, the largest E[f^2] - sum A^2 relative to the largest E[f^2]."""
    u, w = nodes(q.dtype)
    flat = q.reshape(-1)
    values = f(jnp.sqrt(flat)[:, None] * u)  # (points, nodes)
    total = values**2 @ jnp.asarray(w)
    scale = jnp.maximum(total.max(), jnp.finfo(q.dtype).tiny)
    # Hermite functions h_m(u) exp(-u^2/4) stay bounded; the other half of the weight goes with the values
    half = jnp.asarray(np.exp(-np.asarray(u, np.float64) ** 2 / 4).astype(q.dtype))
    weighted = values * jnp.asarray(STEP / np.sqrt(2 * np.pi), q.dtype) * half
    first = (jnp.zeros_like(half), half)

    def hermite_block(start: Any, last: Any) -> tuple[Any, Any]:
        def next_one(carry: Any, m: Any) -> tuple[Any, Any]:
            below, here = carry
            above = (u * here - jnp.sqrt(m) * below) / jnp.sqrt(m + 1)
            return (here, above), here

        return jax.lax.scan(next_one, last, start + jnp.arange(BLOCK, dtype=q.dtype))

    def more(state: Any) -> Any:
        n, _, _, rest, _ = state
        return (n < MOST) & (rest > tolerance)

    def extend(state: Any) -> Any:
        n, last, left, _, A = state
        last, table = hermite_block(n.astype(q.dtype), last)
        new = jnp.matmul(table, weighted.T, precision="highest")
        left = left - (new**2).sum(0)
        return n + BLOCK, last, left, left.max() / scale, jax.lax.dynamic_update_slice_in_dim(A, new, n, 0)

    empty = jnp.zeros((MOST, flat.shape[0]), q.dtype)
    start = (jnp.asarray(0, jnp.int32), first, total, jnp.asarray(jnp.inf, q.dtype), empty)
    n, _, _, rest, A = jax.lax.while_loop(more, extend, start)
    return A.reshape(MOST, *q.shape), n, jnp.maximum(rest, 0)


def series(A1: Any, A2: Any, terms: Any, near: Any, far: Any) -> tuple[Any, ...]:
    """(E[f1 g2], E(f1 - g2)^2, E(f1 + g2)^2) from coefficients, the last two as sums without cancellation
    (for c -> 1 and, if f and g are both odd or both even, for c -> -1).

    With s = sign(c), t_m = 1 - |c|^m = t_(m-1) + |c|^(m-1) (1 - |c|):
    E(f1 - g2)^2 = sum (A1 - s^m A2)^2 + 2 s^m A1 A2 t_m, and with plus signs for the sum.
    """
    positive = near <= far
    step = jnp.minimum(near, far)
    size = 1 - step
    sign = jnp.where(positive, 1, -1).astype(near.dtype)
    shape = jnp.broadcast_shapes(A1.shape[1:], A2.shape[1:], near.shape)

    def eight(i: Any, state: Any) -> Any:
        power, lost, parity, k, gap, total = state
        a = jax.lax.dynamic_slice_in_dim(A1, i * UNROLL, UNROLL)
        b = jax.lax.dynamic_slice_in_dim(A2, i * UNROLL, UNROLL)
        for j in range(UNROLL):
            b_s = parity * b[j]
            product = a[j] * b_s
            k = k + power * product
            gap = gap + (a[j] - b_s) ** 2 + 2 * product * lost
            total = total + (a[j] + b_s) ** 2 - 2 * product * lost
            lost = lost + power * step
            power = power * size
            parity = parity * sign
        return power, lost, parity, k, gap, total

    zero = jnp.zeros(shape, near.dtype)
    one = jnp.ones(shape, near.dtype)
    state = jax.lax.fori_loop(0, terms // UNROLL, eight, (one, zero, one, zero, zero, zero))
    return state[3:]
