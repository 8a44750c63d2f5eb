r"""Piecewise-analytic functions of a Gaussian pair by Gauss-Legendre rules that split at kinks wherever they lie.

Half-angle coordinates: z1 = r1 (C a + S b), z2 = s r2 (C a - S b), with a, b independent N(0, 1), s = sign(c),
C^2 = (1 + |c|)/2 >= 1/2 and S^2 = (1 - |c|)/2. A kink of one function at x and of the other at y are two lines in the
(a, b) plane of slope at most one; they cross at b = (x/r1 - s y/r2)/(2S). So b is split at the crossings and a, for each b,
at the lines: inside a piece everything is analytic on a scale of order one, however close the two points are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.gaussian.pair import safe_divide

REACH = 7.5  # N(0, 1) beyond is 6e-14
FINE, COARSE = 36, 32  # nodes a piece; their difference is the error estimate
GRADE = 0.5
BATCH = 16  # pairs at a time


def _rule(order: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre on [0, 1], moved towards the ends by t -> t + (3t^2 - 2t^3 - t)/2: the singularities of phi lie
    just beyond a kink (softsign at K = 20: 0.2), and this takes its error with 36 nodes from 8e-8 to 2e-13."""
    x, w = np.polynomial.legendre.leggauss(order)
    t, w = (x + 1) / 2, w / 2
    return (t + GRADE * (t * t * (3 - 2 * t) - t)).astype(dtype), (w * (1 + GRADE * (6 * t * (1 - t) - 1))).astype(dtype)


def padded(order: int) -> tuple[np.ndarray, np.ndarray]:
    """A rule as an array argument, in place of an `order`: FINE nodes, those beyond `order` of weight 0, so that one shape is compiled."""
    x, w = _rule(order, np.float64)
    return np.pad(x, (0, FINE - order), constant_values=0.5), np.pad(w, (0, FINE - order))


def split(breaks: Any, order: Any) -> tuple[Any, Any]:
    """Nodes and N(0, 1)-weights on [-REACH, REACH] split at `breaks` (..., m), flattened to (..., (m+1) order)."""
    x, w = _rule(order, breaks.dtype) if isinstance(order, int) else order
    inner = jnp.sort(jnp.clip(breaks, -REACH, REACH), axis=-1)
    end = jnp.full((*inner.shape[:-1], 1), REACH, breaks.dtype)
    edges = jnp.concatenate([-end, inner, end], -1)
    left, length = edges[..., :-1, None], jnp.diff(edges)[..., None]
    nodes = left + length * x
    weights = length * w * jnp.exp(-nodes * nodes / 2) / np.sqrt(2 * np.pi)
    flat = (*nodes.shape[:-2], -1)
    return nodes.reshape(flat), weights.reshape(flat)


def nodes(q: Any, kinks: Any, order: Any = FINE) -> tuple[Any, Any]:
    """Nodes and weights (..., nodes) of z ~ N(0, q), split at the kinks; they move with q."""
    r = jnp.sqrt(q)[..., None]
    u, weights = split(safe_divide(jnp.asarray(kinks, q.dtype), r, 0.0) + 0 * r, order)
    return r * u, weights


def mean(f: Callable[[Any], Any], q: Any, kinks: Any, order: Any = FINE) -> Any:
    """E[f(z)], z ~ N(0, q); the shape of q. Differentiable in q: the pieces move with it."""
    z, weights = nodes(q, kinks, order)
    return (f(z) * weights).sum(-1)


def conditional_mean(f: Callable[[Any], Any], center: Any, deviation: Any, kinks: Sequence[float]) -> Any:
    """E[f(z)], z ~ N(center, deviation^2); at deviation 0 on a kink, the average of both sides."""
    floor = jnp.asarray(1e-8 if center.dtype == jnp.float64 else 1e-4, center.dtype)
    deviation = jnp.maximum(deviation, floor)[..., None]
    nodes, weights = split((jnp.asarray(kinks, center.dtype) - center[..., None]) / deviation, FINE)
    return (f(center[..., None] + deviation * nodes) * weights).sum(-1)


def pair_mean(
    integrand: Callable[..., tuple[Any, ...]],
    q1: Any,
    q2: Any,
    near: Any,
    far: Any,
    kinks: Sequence[float],
    parameters: Sequence[Any] = (),
    order: int = FINE,
) -> tuple[Any, ...]:
    """E of each function in `integrand(z1, z2, *parameters)`, for arrays of pairs (and parameters of a pair) that
    broadcast; the broadcast shape."""
    shape = jnp.broadcast_shapes(q1.shape, q2.shape, near.shape)
    flat = [jnp.broadcast_to(v, shape).reshape(-1) for v in (q1, q2, near, far, *parameters)]

    def one(args: Any) -> tuple[Any, ...]:
        v1, v2, n, f, *rest = args
        z1, z2, weights = pair_nodes(v1, v2, n, f, kinks, order)
        return tuple((value * weights).sum() for value in integrand(z1, z2, *rest))

    out = jax.lax.map(one, tuple(flat), batch_size=BATCH)
    return tuple(v.reshape(shape) for v in out)


def pair_nodes(q1: Any, q2: Any, near: Any, far: Any, kinks: Sequence[float], order: Any = FINE) -> tuple[Any, Any, Any]:
    """Nodes z1, z2 and weights of one pair, (nodes b, nodes a) each."""
    r1, r2 = jnp.sqrt(q1), jnp.sqrt(q2)
    close = near <= far
    sign = jnp.where(close, 1, -1).astype(near.dtype)
    # not minimum and maximum, whose derivatives at a tie, orthogonal points, are means of two
    S, C = jnp.sqrt(jnp.where(close, near, far) / 2), jnp.sqrt(jnp.where(close, far, near) / 2)
    x = safe_divide(jnp.asarray(kinks, near.dtype), r1)
    y = sign * safe_divide(jnp.asarray(kinks, near.dtype), r2)
    crossings = safe_divide(x[:, None] - y[None, :], 2 * S, 2 * REACH).reshape(-1)
    b, b_weights = split(crossings, order)
    lines = jnp.concatenate([(x - S * b[:, None]) / C, (y + S * b[:, None]) / C], -1)
    a, a_weights = split(lines, order)
    z1 = r1 * (C * a + S * b[:, None])
    z2 = sign * r2 * (C * a - S * b[:, None])
    return z1, z2, b_weights[:, None] * a_weights
