r"""Smooth functions of a Gaussian pair by their Hermite series, with a rigorous bound on the error.

With normalised Hermite polynomials h_m and A_m(q) = E[f(sqrt(q) u) h_m(u)], u ~ N(0, 1) (Mehler's formula),

    E[f(z1) g(z2)] = sum_m c^m A_m[f](q1) A_m[g](q2),      sum_m A_m[f](q)^2 = E[f(z)^2]   (Parseval).

The coefficients depend on one point each, so a pair costs one product per term and no function values. For analytic f
they fall geometrically in sqrt(m); the sum stops when what Parseval leaves is below the tolerance, and what it leaves
is the error bound: |rest| <= rest(q1)^(1/2) rest(q2)^(1/2) for every c.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.gaussian.pair import safe_divide
from largen.types import namespace

BLOCK, MOST = 64, 4096  # terms computed at a time, at most
MANY, APART = 1024, 0.03  # terms of functions with kinks, at most; 1 - |c| from which they are enough
PANEL, LENGTH, ENDS = 60, 3, 12  # nodes of a panel for functions with kinks, its length, half that of all panels
STEP, REACH = 0.03, 16.0  # trapezoid in u: spectral for analytic functions; resolves h_4096
NOT_BEGUN = 0.1  # share of E[f^2] that is left as long as a series has hardly started
NEGLIGIBLE = 1e-12  # what is left at the ends of the rule, relative
UNROLL = 8  # terms a turn of the loops
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


def ends(f: Callable[[Any], Any], q: Any, total: Any) -> Any:
    """What a standard deviation beyond the rule would add if |f| times the density stayed as it is at the ends, infinite where it still
    grows there, and not from nothing in comparison with the total E[f]; the shape of q."""
    u, w = nodes(q.dtype)
    at = np.array([0, 1, -1, -2])
    values = jnp.abs(f(jnp.sqrt(q)[..., None] * u[at])) * w[at]
    outer = values[..., ::2].sum(-1) / STEP
    growing = (values[..., ::2] > values[..., 1::2]).any(-1) & (outer > NEGLIGIBLE * jnp.abs(total))
    return jnp.where(growing, jnp.inf, outer)


def split_nodes(q: Any, kinks: Sequence[float], reach: float) -> tuple[Any, Any]:
    """Nodes u and weights du of Gauss-Legendre rules for functions of z ~ N(0, q) with kinks; (nodes,), or, where these move with q,
    (*q.shape, nodes)."""
    panels = int(np.ceil(max(reach, ENDS) / LENGTH))
    edges = LENGTH * np.arange(-panels, panels + 1).astype(q.dtype)
    if any(kinks):
        moving = safe_divide(jnp.asarray(kinks, q.dtype), jnp.sqrt(q)[..., None], 0.0)
        whole = jnp.broadcast_to(jnp.asarray(edges), (*q.shape, len(edges)))
        edges = jnp.sort(jnp.concatenate([whole, jnp.clip(moving, edges[0], edges[-1])], -1), axis=-1)
    x, w = np.polynomial.legendre.leggauss(PANEL)
    xp = namespace(edges)
    left, length = edges[..., :-1, None], xp.diff(edges)[..., None]
    u, du = left + length * ((x + 1) / 2).astype(q.dtype), length * (w / 2).astype(q.dtype)
    return u.reshape(*edges.shape[:-1], -1), xp.broadcast_to(du, u.shape).reshape(*edges.shape[:-1], -1)


def coefficients(
    functions: Sequence[Callable[[Any], Any]],
    q: Any,
    allowed: float,
    kinks: Sequence[float] | None = None,
    reach: float = REACH,
    largest: Any = 1.0,
) -> tuple[Any, Any, Any, Any]:
    """(A, N, rest, square) of each of the functions f: A of shape (MOST, functions, *q.shape), N (functions,) how many terms were
    needed (traced multiples of BLOCK; A is zero beyond the largest), rest (functions, *q.shape), E[f^2] - sum A^2 relative to E[f^2],
    and square (functions, *q.shape), E[f^2]. Stops at the allowed rest of the largest E[f^2], or when a block adds less than rounding.
    Where the values at the ends of the rule still count, for functions that grow, the rest includes them.

    Of functions with `kinks`, whose coefficients fall slowly, as many as matter for |c| <= `largest` and MANY at most; then MANY of A.
    """
    q, shape = q.reshape(-1), (len(functions), *q.shape)
    if kinks is None:
        most, (u, _) = MOST, nodes(q.dtype)
        du = np.asarray(STEP, q.dtype)
    else:
        most, (u, du) = MANY, split_nodes(q, kinks, reach)
    z = jnp.sqrt(q)[:, None] * u
    values = jnp.stack([f(z) for f in functions])  # (functions, points, nodes)
    # Hermite functions h_m(u) exp(-u^2/4) stay bounded; the other half of the weight goes with the values
    half = jnp.exp(-u * u / 4)
    share = du * np.asarray(1 / np.sqrt(2 * np.pi), q.dtype) * half
    weighted, place = values * share, "u" if u.ndim == 1 else "pu"
    total = jnp.einsum(f"fpu,{place}->fp", values**2, share * half, precision="highest")
    scale = jnp.maximum(total.max(1), jnp.finfo(q.dtype).tiny)

    def unseen(left: Any, n: Any) -> Any:
        return left if kinks is None else left * largest ** (2 * n)

    def hermite_block(start: Any, last: Any) -> tuple[Any, Any]:
        def next_one(carry: Any, m: Any) -> tuple[Any, Any]:
            below, here = carry
            above = (u * here - jnp.sqrt(m) * below) / jnp.sqrt(m + 1)
            return (here, above), here

        return jax.lax.scan(next_one, last, start + jnp.arange(BLOCK, dtype=q.dtype))

    def wanting(left: Any, added: Any) -> Any:
        missing = left.max(1) > allowed * scale
        begun = left.max(1) < NOT_BEGUN * scale  # the coefficients of a function that oscillates start late
        return missing & (~begun | (added > jnp.finfo(q.dtype).eps / 8 * scale)) if kinks is None else missing

    def more(state: Any) -> Any:
        n, _, left, added, _, _ = state
        return (n < most) & wanting(unseen(left, n), added).any()

    def extend(state: Any) -> Any:
        n, last, left, added, needed, A = state
        needed = jnp.where(wanting(unseen(left, n), added), n + BLOCK, needed)
        last, table = hermite_block(n.astype(q.dtype), last)
        new = jnp.einsum(f"m{place},fpu->mfp", table, weighted, precision="highest")
        added = (new**2).sum(0)
        return n + BLOCK, last, left - added, added.max(1), needed, jax.lax.dynamic_update_slice_in_dim(A, new, n, 0)

    empty = jnp.zeros((most, *total.shape), q.dtype)
    none = jnp.zeros(len(functions), jnp.int32)
    start = (none[0], (jnp.zeros_like(half), half), total, scale, none, empty)
    _, _, left, _, needed, A = jax.lax.while_loop(more, extend, start)
    density = half * half / np.asarray(np.sqrt(2 * np.pi), q.dtype)
    ends = values[..., 0] ** 2 * density[..., 0] + values[..., -1] ** 2 * density[..., -1]
    rest = safe_divide(jnp.maximum(unseen(left, needed.max()), ends), total)
    return A.reshape(most, *shape), needed, jnp.maximum(rest, 0).reshape(shape), total.reshape(shape)


def products(A1: Any, A2: Any, terms: Any, near: Any, far: Any) -> Any:
    """sum_m c^m A1_m A2_m over the largest number of `terms`, for k functions: coefficients A1 (terms, k, n1, 1), A2 (terms, k, 1, n2)
    and pairs (n1, n2), or any shapes that broadcast; (k, n1, n2)."""
    most = terms.max()
    return _by_rows(lambda a, b, n, f: _horner(a, b, most, n, f), A1, A2, near, far)


def series(A1: Any, A2: Any, terms: Any, near: Any, far: Any, same: Any) -> tuple[Any, Any, Any]:
    """`products`, and of the first of the k functions, a unit one (sum A^2 = 1) so that its product is a cosine c', 1 - c' and 1 + c'.

    `same` marks pairs of a point with itself, whose 1 - c' is 0. Next to c = +-1 the versines are sums without cancellation:
    with s = sign(c) and t_m = 1 - |c|^m, 2 (1 - c') = sum (A1 - s^m A2)^2 + 2 s^m A1 A2 t_m, and with plus signs for 1 + c'.
    """
    value = products(A1, A2, terms, near, far)
    plain = jnp.stack([1 - value[0], 1 + value[0]])
    critical = ((jnp.minimum(near, far) < CLOSE) & ~same).any()

    def careful() -> Any:
        found = _by_rows(lambda a, b, n, f: _versines(a[:, 0], b[:, 0], terms[0], n, f), A1[:, :1], A2[:, :1], near, far)
        return jnp.where(jnp.minimum(near, far) < CLOSE, found, plain)

    near_out, far_out = jax.lax.cond(critical, careful, lambda: plain)
    return value, jnp.where(same, 0, near_out), jnp.where(same, 2, far_out)


def _by_rows(row: Callable[..., Any], A1: Any, A2: Any, near: Any, far: Any) -> Any:
    """What a function of coefficients and pairs says, (m, n2), row by row of the pairs: (m, n1, n2)."""
    (most, k), shape = A1.shape[:2], jnp.broadcast_shapes(A1.shape[2:], A2.shape[2:], near.shape)
    if len(shape) != 2:  # pairs in a list: one row each
        A1, A2 = (jnp.broadcast_to(A, (most, k, *shape)).reshape(most, k, -1, 1) for A in (A1, A2))
        found = _by_rows(row, A1, A2, *(jnp.broadcast_to(v, shape).reshape(-1, 1) for v in (near, far)))
        return found.reshape(-1, *shape)
    shared = A2.shape[2] == 1  # one set of second points for all rows
    rows1 = jnp.moveaxis(jnp.broadcast_to(A1, (most, k, shape[0], A1.shape[3])), 2, 0)
    rows2 = None if shared else jnp.moveaxis(A2, 2, 0)

    def one(args: Any) -> Any:
        a, b, n, f = args
        return row(a, A2[:, :, 0] if b is None else b, n, f)

    batch = max(1, CACHE // int(shape[1]))  # rows at a time, so that the sums stay in cache
    return jnp.moveaxis(jax.lax.map(one, (rows1, rows2, near, far), batch_size=batch), 1, 0)


def _some(A1: Any, A2: Any, turn: Any) -> list[tuple[Any, Any]]:
    """The coefficients of the next UNROLL terms."""
    a, b = (jax.lax.dynamic_slice_in_dim(A, turn * UNROLL, UNROLL) for A in (A1, A2))
    return [(a[j], b[j]) for j in range(UNROLL)]


def _horner(A1: Any, A2: Any, terms: Any, near: Any, far: Any) -> Any:
    """From the last term down, three operations a term."""
    c = jnp.where(near <= far, 1 - near, far - 1)

    def body(i: Any, total: Any) -> Any:
        for a, b in reversed(_some(A1, A2, terms // UNROLL - 1 - i)):
            total = total * c + a * b
        return total

    return jax.lax.fori_loop(0, terms // UNROLL, body, jnp.zeros((A1.shape[1], *c.shape), c.dtype))


def _versines(A1: Any, A2: Any, terms: Any, near: Any, far: Any) -> Any:
    """(1 - c', 1 + c') of one function without cancellation, for c close to +-1."""
    step, sign = jnp.minimum(near, far), jnp.where(near <= far, 1, -1).astype(near.dtype)

    def body(i: Any, state: Any) -> Any:
        power, lost, parity, gap, total = state
        for a, b in _some(A1, A2, i):
            b_s = parity * b
            gap = gap + 0.5 * (a - b_s) ** 2 + a * b_s * lost
            total = total + 0.5 * (a + b_s) ** 2 - a * b_s * lost
            lost, power, parity = lost + power * step, power * (1 - step), parity * sign
        return power, lost, parity, gap, total

    zero, one = jnp.zeros_like(near), jnp.ones_like(near)
    return jnp.stack(jax.lax.fori_loop(0, terms // UNROLL, body, (one, zero, one, zero, zero))[3:])
