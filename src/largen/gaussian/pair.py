"""The pair carrier: second moments of two points that keep their digits when the points nearly coincide or oppose.

(q1, q2, k) alone loses them: k close to sqrt(q1 q2) hides the angle, and one ulp of k is an angle of 1e-8 (3e-4 in
float32). So the carrier also holds `near` = 1 - c and `far` = 1 + c for the cosine c = k/sqrt(q1 q2), each with full
relative precision, formed from |x/|x| -+ x'/|x'||^2 and propagated by sums of positive terms. Unlike the gap
q1 + q2 - 2k they stay exact for parallel points of different norm as well.

Derivatives live in (q1, q2, k) alone, where everything smooth is smooth; `near` and `far` are copies of the same
information for the values and carry no tangent. Hence no derivative ever goes through sqrt(1 - c^2).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

CLOSE = 0.1  # 1 - c or 1 + c below which points are near or opposite


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pair:
    """Second moments of Gaussian pairs, arrays that broadcast together: variances `q1`, `q2`, covariance `k`,
    `near` = 1 - c, `far` = 1 + c."""

    q1: Any
    q2: Any
    k: Any
    near: Any
    far: Any

    def mirrored(self) -> "Pair":
        """The pair (z1, -z2)."""
        return Pair(self.q1, self.q2, -self.k, self.far, self.near)


def safe_divide(a: Any, b: Any, otherwise: Any = 0.0) -> Any:
    """a/b, `otherwise` where b = 0."""
    return jnp.where(b == 0, otherwise, a / jnp.where(b == 0, 1, b))


def steady(pair: Pair) -> Pair:
    """The pair whose covariance is r1 r2 c where the points nearly coincide or oppose.

    There k and 1 - c hold the same information twice, and what rounding sets between them would grow from layer to layer as the
    covariance does at fixed variances, exponentially; 1 - c keeps its digits.
    """
    return replace(pair, k=_by_cosine(pair.q1, pair.q2, pair.k, pair.near, pair.far))


@jax.custom_jvp
def _by_cosine(q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Any:
    size = jnp.where(q1 == q2, q1, jnp.sqrt(q1) * jnp.sqrt(q2))
    return jnp.where(jnp.minimum(near, far) < CLOSE, size * jnp.where(near <= far, 1 - near, far - 1), k)


@_by_cosine.defjvp
def _by_cosine_jvp(primals: Any, tangents: Any) -> Any:
    return _by_cosine(*primals), tangents[2]


def from_moments(q1: Any, q2: Any, k: Any) -> Pair:
    """The pair with given moments; `near` and `far` are only as good as k is (prefer `from_points`)."""
    c = jax.lax.stop_gradient(jnp.clip(safe_divide(k, jnp.sqrt(q1) * jnp.sqrt(q2)), -1, 1))
    return Pair(q1, q2, k, 1 - c, 1 + c)


def from_points(X1: Any, X2: Any | None) -> Pair:
    """The pair (x, x') of every two rows, second moments x.x'/n_0: q1 (n1, 1), q2 (1, n2), the rest (n1, n2)."""
    n0 = X1.shape[1]
    other = X1 if X2 is None else X2
    k = _products(X1, other) / n0
    q1, q2 = (X1 * X1).sum(1)[:, None] / n0, (other * other).sum(1)[None, :] / n0
    if X2 is None:  # one rounding for both ways of writing the same number
        k = jnp.where(jnp.eye(len(k), dtype=bool), q1, k)
    near, far = _versines(*jax.lax.stop_gradient((X1, other)), X2 is None)
    return Pair(q1, q2, k, near, far)


def _products(X1: Any, X2: Any) -> Any:
    return jnp.matmul(X1, X2.T, precision="highest")


def _versines(X1: Any, X2: Any, same: bool) -> tuple[Any, Any]:
    """1 - c and 1 + c of every two rows: by the matrix product, recomputed from differences where c is close to +-1."""
    size1, size2 = jnp.linalg.norm(X1, axis=1), jnp.linalg.norm(X2, axis=1)
    U1, U2 = safe_divide(X1, size1[:, None]), safe_divide(X2, size2[:, None])
    c = _products(U1, U2)
    itself = jnp.eye(*c.shape, dtype=bool) & (size1[:, None] > 0) & same  # a zero vector has no angle: c = 0
    close = 1e-2 if c.dtype == np.float32 else 1e-4  # where 1 - c has lost digits that matter
    sign = jnp.where(c < 0, -1, 1).astype(c.dtype)
    lost = (1 - sign * c < close) & ~itself

    def mended(i: Any, versine: Any) -> Any:
        y, v = sign[i][:, None] * X2, sign[i][:, None] * U2
        # from |x - y|^2 for like norms (exact differences), from unit vectors for unlike ones (parallel points)
        turn, both = U1[i] - v, U1[i] + v
        by_units = 0.5 * jnp.maximum((turn**2).sum(1) - ((turn * both).sum(1) / 2) ** 2, 0)  # units are so to rounding only
        step, total = X1[i] - y, X1[i] + y
        apart = safe_divide((step * total).sum(1), size1[i] + size2) ** 2  # (|x| - |y|)^2
        norms = size1[i] * size2
        by_points = safe_divide((step**2).sum(1) - apart, 2 * norms)
        small = jnp.maximum(jnp.where(apart <= norms * jnp.sqrt(by_units), by_points, by_units), 0)
        return jnp.where(lost[i], small, versine[i])

    versine = _by_rows(mended, lost.any(1), jnp.where(itself, 0, 1 - sign * c))
    return jnp.where(sign > 0, versine, 2 - versine), jnp.where(sign > 0, 2 - versine, versine)


def _by_rows(change: Callable[[Any, Any], Any], rows: Any, values: Any) -> Any:
    """`values` with each of the `rows`, few mostly, by change(i, values)."""
    numbers = jnp.arange(len(rows))

    def following(i: Any) -> Any:
        return jnp.where(rows & (numbers > i), numbers, len(rows)).min()

    def some(state: Any) -> Any:
        i, now = state
        return following(i), now.at[i].set(change(i, now))

    return jax.lax.while_loop(lambda state: state[0] < len(rows), some, (following(-1), values))[1]


def scaled(pair: Pair, factor: Any) -> Pair:
    """The pair after z -> sqrt(factor) z, factor >= 0."""
    gone = jax.lax.stop_gradient(factor) == 0  # a zero vector has no angle: c = 0
    near, far = jnp.where(gone, 1.0, pair.near), jnp.where(gone, 1.0, pair.far)
    return Pair(factor * pair.q1, factor * pair.q2, factor * pair.k, near, far)


def plus(one: Pair, other: Pair) -> Pair:
    """The pair of the sums of uncorrelated z and y: q = q_z + q_y, k = k_z + k_y, and with a = r1 r2 of each, A = sqrt(q1 q2) of the sum,

    A (1 -+ c) = a_z (1 -+ c_z) + a_y (1 -+ c_y) + (A - a_z - a_y),    A - a_z - a_y = (r1_z r2_y - r1_y r2_z)^2/(A + a_z + a_y) >= 0,

    by Lagrange's identity, the difference formed from q2 - q1 of each, which keeps its digits for like norms.
    """
    q1, q2, k = one.q1 + other.q1, one.q2 + other.q2, one.k + other.k
    z, y = jax.lax.stop_gradient((one, other))
    root = [jnp.sqrt(q) for q in (z.q1, z.q2, y.q1, y.q2)]
    a, b = root[0] * root[1], root[2] * root[3]
    size = jnp.sqrt(z.q1 + y.q1) * jnp.sqrt(z.q2 + y.q2)
    step_z, step_y = (safe_divide(v.q2 - v.q1, r1 + r2) for v, r1, r2 in ((z, *root[:2]), (y, *root[2:])))  # r2 - r1
    difference = root[0] * step_y - root[2] * step_z
    rest = safe_divide(difference, size + a + b) * difference
    near, far = a * z.near + b * y.near + rest, a * z.far + b * y.far + rest
    return Pair(q1, q2, k, safe_divide(near, size, 1.0), safe_divide(far, size, 1.0))


def times(one: Pair, other: Pair) -> Pair:
    """The pair of the products z y of independent z and y: moments multiply, and so do cosines,

    1 - c_z c_y = n_z + n_y - n_z n_y with n = 1 - c (f_z + f_y - f_z f_y with f = 1 + c, the better one where both are small).
    """
    z, y = jax.lax.stop_gradient((one, other))
    acute = z.near <= z.far
    near = jnp.where(acute, z.near + y.near - z.near * y.near, z.far + y.far - z.far * y.far)
    far = jnp.where(acute, z.near + y.far - z.near * y.far, z.far + y.near - z.far * y.near)
    return Pair(one.q1 * other.q1, one.q2 * other.q2, one.k * other.k, near, far)


def mean(pair: Pair, axes: tuple[int, ...]) -> Pair:
    """The pair of (z_1, ..., z_m)/sqrt(m), the z of the entries along `axes`: moments are means; A = sqrt(Q1 Q2), t = (Q2/Q1)^(1/4),

    A (1 -+ C) = <r1 r2 (1 -+ c)> + <(r1 t - r2/t)^2>/2, a sum of positive terms.
    """
    Q1, Q2, k = pair.q1.mean(axes), pair.q2.mean(axes), pair.k.mean(axes)
    p = jax.lax.stop_gradient(pair)
    r1, r2 = jnp.sqrt(p.q1), jnp.sqrt(p.q2)
    S1, S2 = p.q1.mean(axes, keepdims=True), p.q2.mean(axes, keepdims=True)
    t = jnp.sqrt(jnp.sqrt(safe_divide(S2, S1, 1.0)))
    size = jnp.sqrt(S1) * jnp.sqrt(S2)
    rest = 0.5 * (r1 * t - safe_divide(r2, t)) ** 2
    near, far = ((r1 * r2 * v + rest).mean(axes, keepdims=True) for v in (p.near, p.far))
    near, far = (safe_divide(v, size, 1.0).squeeze(axes) for v in (near, far))
    return Pair(Q1, Q2, k, near, far)


def normalised(pair: Pair, eps: Any) -> Pair:
    """The pair after z1 -> z1/sqrt(q1 + eps), and likewise z2: the cosine stays."""
    s1, s2 = pair.q1 + eps, pair.q2 + eps
    return Pair(pair.q1 / s1, pair.q2 / s2, pair.k / (jnp.sqrt(s1) * jnp.sqrt(s2)), pair.near, pair.far)


def affine(pair: Pair, C_W: Any, C_b: Any) -> Pair:
    """The pair after z -> b + W z: q' = C_b + C_W q, k' = C_b + C_W k, and with r = sqrt(q), r' = sqrt(q'),

    1 - c' = [C_W r1 r2 (1 - c) + C_b C_W (r1 - r2)^2/(r1' r2' + C_b + C_W r1 r2)] / (r1' r2'),
    1 + c' = [C_W r1 r2 (1 + c) + C_b + C_b (C_b + C_W (q1 + q2))/(r1' r2' + C_W r1 r2)] / (r1' r2').
    """
    q1, q2 = C_b + C_W * pair.q1, C_b + C_W * pair.q2
    k = C_b + C_W * pair.k
    w, b, s1, s2 = jax.lax.stop_gradient((C_W, C_b, pair.q1, pair.q2))
    r1, r2 = jnp.sqrt(s1), jnp.sqrt(s2)
    before = w * r1 * r2
    after = jnp.sqrt(jax.lax.stop_gradient(q1)) * jnp.sqrt(jax.lax.stop_gradient(q2))
    difference = safe_divide(s1 - s2, r1 + r2)
    near = before * pair.near + safe_divide(b * w * difference**2, after + b + before)
    far = before * pair.far + b + safe_divide(b * (b + w * (s1 + s2)), after + before)
    near, far = safe_divide(near, after, 1.0), safe_divide(far, after, 1.0)
    return Pair(q1, q2, k, near, far)
