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

BLOCK, MOST = 64, 4096  # terms computed at a time, at most
STEP, REACH = 0.03, 16.0  # trapezoid in u: spectral for analytic functions; resolves h_4096
UNROLL = 8
CLOSE = 1e-3  # 1 - |c| below which 1 - c' is summed without cancellation
CACHE = 16384  # pairs at a time


def nodes(dtype: Any, every: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Nodes u and weights of the trapezoid rule for N(0, 1); `every` widens the step."""
    step = STEP * every
    u = np.arange(-round(REACH / step), round(REACH / step) + 1) * step
    return u.astype(dtype), (step * np.exp(-u * u / 2) / np.sqrt(2 * np.pi)).astype(dtype)


def tolerance(dtype: Any) -> float:
    """What Parseval may leave of a series, relative to E[f^2]."""
    return 1e-13 if dtype == jnp.float64 else 1e-8


def mean(f: Callable[[Any], Any], q: Any, every: int = 1) -> Any:
    """E[f(z)], z ~ N(0, q), for smooth f; the shape of q."""
    u, w = nodes(q.dtype, every)
    return jnp.tensordot(f(jnp.sqrt(q)[..., None] * u), w, 1)


def coefficients(f: Callable[[Any], Any], q: Any, allowed: float) -> tuple[Any, Any, Any]:
    """(A, N, rest): A of shape (MOST, *q.shape), zero beyond the N terms that were needed (a traced multiple of BLOCK),
    and rest, the largest E[f^2] - sum A^2 relative to the largest E[f^2]. Stops at the allowed rest, or when a block adds
    less than rounding."""
    u, w = nodes(q.dtype)
    flat = q.reshape(-1)
    values = f(jnp.sqrt(flat)[:, None] * u)  # (points, nodes)
    total = values**2 @ jnp.asarray(w)
    scale = jnp.maximum(total.max(), jnp.finfo(q.dtype).tiny)
    # Hermite functions h_m(u) exp(-u^2/4) stay bounded; the other half of the weight goes with the values
    half = jnp.asarray(np.exp(-(np.asarray(u, np.float64) ** 2) / 4).astype(q.dtype))
    weighted = values * jnp.asarray(STEP / np.sqrt(2 * np.pi), q.dtype) * half

    def hermite_block(start: Any, last: Any) -> tuple[Any, Any]:
        def next_one(carry: Any, m: Any) -> tuple[Any, Any]:
            below, here = carry
            above = (u * here - jnp.sqrt(m) * below) / jnp.sqrt(m + 1)
            return (here, above), here

        return jax.lax.scan(next_one, last, start + jnp.arange(BLOCK, dtype=q.dtype))

    def more(state: Any) -> Any:
        n, _, left, added, _ = state
        return (n < MOST) & (left.max() > allowed * scale) & (added > jnp.finfo(q.dtype).eps / 8 * scale)

    def extend(state: Any) -> Any:
        n, last, left, _, A = state
        last, table = hermite_block(n.astype(q.dtype), last)
        new = jnp.matmul(table, weighted.T, precision="highest")
        added = (new**2).sum(0)
        return n + BLOCK, last, left - added, added.max(), jax.lax.dynamic_update_slice_in_dim(A, new, n, 0)

    empty = jnp.zeros((MOST, flat.shape[0]), q.dtype)
    start = (jnp.asarray(0, jnp.int32), (jnp.zeros_like(half), half), total, scale, empty)
    n, _, left, _, A = jax.lax.while_loop(more, extend, start)
    return A.reshape(MOST, *q.shape), n, jnp.maximum(left.max() / scale, 0)


def series(A1: Any, A2: Any, terms: Any, near: Any, far: Any, same: Any) -> tuple[Any, Any, Any]:
    """(c', 1 - c', 1 + c') with c' = E[f1 g2], from coefficients of unit functions (sum A^2 = 1), `terms` of them.

    A1 (MOST, n1, 1), A2 (MOST, 1, n2) and pairs (n1, n2), or any shapes that broadcast. `same` marks pairs of a
    point with itself, whose 1 - c' is 0. Next to c = +-1 the versines are sums without cancellation: with s = sign(c) and
    t_m = 1 - |c|^m, 2 (1 - c') = sum (A1 - s^m A2)^2 + 2 s^m A1 A2 t_m, and with plus signs for 1 + c'.
    """
    shape = jnp.broadcast_shapes(A1.shape[1:], A2.shape[1:], near.shape)
    if len(shape) != 2:  # pairs in a list: one row each
        A1, A2 = (jnp.broadcast_to(A, (MOST, *shape)).reshape(MOST, -1, 1) for A in (A1, A2))
        pairs = (jnp.broadcast_to(v, shape).reshape(-1, 1) for v in (near, far, same))
        c, near, far = series(A1, A2, terms, *pairs)
        return c.reshape(shape), near.reshape(shape), far.reshape(shape)
    critical = ((jnp.minimum(near, far) < CLOSE) & ~same).any()
    shared = A2.shape[1] == 1  # one set of second points for all rows
    rows1 = jnp.moveaxis(jnp.broadcast_to(A1, (MOST, shape[0], A1.shape[2])), 1, 0)
    rows2 = None if shared else jnp.moveaxis(A2, 1, 0)

    def row(args: Any) -> tuple[Any, Any, Any]:
        a, b, n, f, me = args
        return _row(a, A2[:, 0] if b is None else b, terms, n, f, me, critical)

    batch = max(1, CACHE // int(shape[1]))  # rows at a time, so that the sums stay in cache
    return jax.lax.map(row, (rows1, rows2, near, far, same), batch_size=batch)


def _row(A1: Any, A2: Any, terms: Any, near: Any, far: Any, same: Any, critical: Any) -> tuple[Any, Any, Any]:
    c = jnp.where(near <= far, 1 - near, far - 1)

    def eight(i: Any) -> list[tuple[Any, Any]]:
        a = jax.lax.dynamic_slice_in_dim(A1, i * UNROLL, UNROLL)
        b = jax.lax.dynamic_slice_in_dim(A2, i * UNROLL, UNROLL)
        return [(a[j], b[j]) for j in range(UNROLL)]

    def horner(i: Any, total: Any) -> Any:  # from the last term down, three operations a term
        for a, b in reversed(eight(terms // UNROLL - 1 - i)):
            total = total * c + a * b
        return total

    def careful() -> tuple[Any, Any]:
        step, sign = jnp.minimum(near, far), jnp.where(near <= far, 1, -1).astype(near.dtype)

        def body(i: Any, state: Any) -> Any:
            power, lost, parity, gap, total = state
            for a, b in eight(i):
                b_s = parity * b
                gap = gap + 0.5 * (a - b_s) ** 2 + a * b_s * lost
                total = total + 0.5 * (a + b_s) ** 2 - a * b_s * lost
                lost, power, parity = lost + power * step, power * (1 - step), parity * sign
            return power, lost, parity, gap, total

        zero, one = jnp.zeros_like(near), jnp.ones_like(near)
        gap, total = jax.lax.fori_loop(0, terms // UNROLL, body, (one, zero, one, zero, zero))[3:]
        return jnp.where(step < CLOSE, gap, 1 - value), jnp.where(step < CLOSE, total, 1 + value)

    value = jax.lax.fori_loop(0, terms // UNROLL, horner, jnp.zeros_like(near))
    near_out, far_out = jax.lax.cond(critical, careful, lambda: (1 - value, 1 + value))
    return value, jnp.where(same, 0, near_out), jnp.where(same, 2, far_out)
