r"""Piecewise-analytic functions of a Gaussian pair by Gauss-Legendre rules that split at kinks wherever they lie.

Half-angle coordinates: z1 = r1 (C a + S b), z2 = s r2 (C a - S b), with a, b independent N(0, 1), s = sign(c),
C^2 = (1 + |c|)/2 >= 1/2 and S^2 = (1 - |c|)/2. A kink of one function at x and of the other at y are two lines in the
(a, b) plane of slope at most one; they cross at b = (x/r1 - s y/r2)/(2S). So b is split at the crossings and a, for each b,
at the lines: inside a piece everything is analytic, however close the two points are.

On which scale, in units of the standard deviation r: one where r is of order one; where r is large, also that of the functions themselves,
1/r, next to a kink (or to 0, for functions without). There (r > LARGE) pieces are graded: they grow geometrically away from the kinks,
from START/r to the scale of the Gaussian, so that the cost does not depend on r.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.gaussian.pair import safe_divide
from largen.running.jitted import jitted
from largen.types import float64

REACH = 7.5  # N(0, 1) beyond is 6e-14
STEEPEST = 40  # powers of z that rules are prepared for
TAIL = 4e-12  # of the integrand beyond the reach of a function that grows
NOTHING = 1e-12  # a piece that is shorter
LONG = 7.75  # a reach that pieces are halved for
SHORT = 0.5  # by how much the coarse rule's reach is shorter, so that the error estimate sees the cut
FINE, COARSE = 36, 32  # nodes a piece; their difference is the error estimate
GRADE = 0.5
BATCH = 16  # pairs at a time
LARGE = 5.0  # standard deviations from which pieces are graded
START, GRADES = 2.0, 10  # the first pieces, in z; pieces to either side of the kinks
BELL, CUTS = 2.5117, 6  # further cuts in u = z/r, at its multiples, for the Gaussian. No round number: where a cut meets a piece that moves
# with r, nothing is left between them, and the derivative of that nothing is lost
GRADED = {FINE: 13, COARSE: 11}  # nodes of a graded piece
SINGLE, ROUGH = 16, 13  # and in one dimension
GROUP = 4  # of some pairs at a time
SAMPLE = 8  # of some pairs, of which the error is estimated


def _rule(order: int, dtype: Any, grade: float = GRADE) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre on [0, 1], moved towards the ends by t -> t + (3t^2 - 2t^3 - t)/2: the singularities of phi lie
    just beyond a kink (softsign at K = 20: 0.2), and this takes its error with 36 nodes from 8e-8 to 2e-13."""
    x, w = np.polynomial.legendre.leggauss(order)
    t, w = (x + 1) / 2, w / 2
    return (t + grade * (t * t * (3 - 2 * t) - t)).astype(dtype), (w * (1 + grade * (6 * t * (1 - t) - 1))).astype(dtype)


def padded(order: int, nodes: int = FINE, grade: float = GRADE) -> tuple[np.ndarray, np.ndarray]:
    """A rule as an array argument, in place of an `order`: so many nodes, those beyond `order` of weight 0, that one shape is compiled."""
    x, w = _rule(order, np.float64, grade)
    return np.pad(x, (0, nodes - order), constant_values=0.5), np.pad(w, (0, nodes - order))


@float64
def growth(f: Callable[[Any], Any]) -> float:
    """The power of z that f grows like, STEEPEST at most."""
    z = 2.0 ** np.arange(4, 12)
    with np.errstate(all="ignore"):
        sizes = np.abs(np.asarray(jitted()(f)(np.stack([z, -z]))))
        degrees = np.log2(sizes[:, 1:] / sizes[:, :-1])
    return float(np.where(np.isnan(degrees), 0, degrees).clip(0, STEEPEST).max())


def reach(degree: float) -> float:
    """In units of r: where |z|^degree squared, times the density of z, has all its mass but TAIL."""
    if degree <= 0:
        return REACH
    from scipy.special import chdtri  # slow to import

    return max(REACH, float(np.sqrt(chdtri(2 * degree + 1, TAIL))))


def split(breaks: Any, order: Any, reach: Any = REACH) -> tuple[Any, Any]:
    """Nodes and N(0, 1)-weights on [-reach, reach] split at `breaks` (..., m), flattened to (..., (m+1) order)."""
    x, w = _rule(order, breaks.dtype) if isinstance(order, int) else order
    inner = jnp.sort(jnp.clip(breaks, -reach, reach), axis=-1)
    end = jnp.broadcast_to(jnp.asarray(reach, breaks.dtype), (*inner.shape[:-1], 1))
    edges = jnp.concatenate([-end, inner, end], -1)
    left, length = edges[..., :-1, None], jnp.diff(edges)[..., None]
    nodes = jnp.where(length > NOTHING, left + length * x, end[..., None])  # an empty piece has no nodes on a kink
    weights = length * w * jnp.exp(-nodes * nodes / 2) / np.sqrt(2 * np.pi)
    flat = (*nodes.shape[:-2], -1)
    return nodes.reshape(flat), weights.reshape(flat)


def nodes(q: Any, kinks: Any, order: Any = FINE, reach: float = REACH) -> tuple[Any, Any]:
    """Nodes and weights (..., nodes) of z ~ N(0, q), split at the kinks; they move with q."""
    r = jnp.sqrt(q)[..., None]
    u, weights = split(safe_divide(jnp.asarray(kinks, q.dtype), r, 0.0) + 0 * r, order, reach)
    return r * u, weights


def mean(f: Callable[[Any], Any], q: Any, kinks: Any, order: Any = FINE, reach: float = REACH) -> Any:
    """E[f(z)], z ~ N(0, q); the shape of q. Differentiable in q: the pieces move with it."""
    z, weights = nodes(q, kinks, order, reach)
    return (f(z) * weights).sum(-1)


def graded_mean(f: Callable[[Any], Any], q: Any, kinks: Any, reach: float = REACH, order: int = SINGLE) -> Any:
    """E[f(z)], z ~ N(0, q) of any size; the shape of q. Differentiable in q."""
    r = jnp.sqrt(q)[..., None]
    breaks = safe_divide(jnp.asarray(_filled(kinks), q.dtype), r, 0.0) + 0 * r
    u, weights = split(_with_bell(_graded(breaks, safe_divide(1.0, r, jnp.inf))), _rule(order, q.dtype, 0.0), reach)
    return (f(r * u) * weights).sum(-1)


def _filled(kinks: Sequence[float]) -> tuple[float, ...]:
    """The kinks (0 if there are none), and between distant ones points at distances that double from START on to either side."""
    points = list(kinks) or [0.0]
    for left, right in pairwise(kinks):
        steps = START * 2.0 ** np.arange(60)
        steps = steps[steps < (right - left) / 2]
        points += [*(left + steps), *(right - steps)]
    return tuple(sorted(points))


def _graded(breaks: Any, scale: Any) -> Any:
    """Breaks (..., m), and such that grow geometrically away from the outermost ones, from START times the scale (..., 1) to that of
    the Gaussian."""
    wide = BELL
    first = jnp.minimum(START * scale, wide)
    steps = first * (wide / first) ** (np.arange(GRADES) / GRADES).astype(breaks.dtype)
    return jnp.concatenate([breaks, breaks.max(-1, keepdims=True) + steps, breaks.min(-1, keepdims=True) - steps], -1)


def _with_bell(breaks: Any) -> Any:
    """Breaks (..., m), and such as the Gaussian needs."""
    cuts = (BELL * np.arange(-CUTS, CUTS + 1)).astype(breaks.dtype)
    return jnp.concatenate([breaks, jnp.broadcast_to(cuts, (*breaks.shape[:-1], len(cuts)))], -1)


def _halved(reach: float, middle: bool, breaks: Any) -> Any:
    """Breaks (..., m), and 0 where it may be missing (no break in the `middle`); its halves where the reach is long: one piece does not
    hold a whole Gaussian to all digits."""
    cuts = np.array([-reach / 2, 0.0, reach / 2] if reach > LONG else [] if middle else [0.0]).astype(breaks.dtype)
    return jnp.concatenate([breaks, jnp.broadcast_to(cuts, (*breaks.shape[:-1], len(cuts)))], -1)


def conditional_mean(f: Callable[[Any], Any], center: Any, deviation: Any, kinks: Sequence[float], reach: float = REACH) -> Any:
    """E[f(z)], z ~ N(center, deviation^2); at deviation 0 on a kink, the average of both sides."""
    floor = jnp.asarray(1e-8 if center.dtype == jnp.float64 else 1e-4, center.dtype)
    deviation = jnp.maximum(deviation, floor)[..., None]
    nodes, weights = split((jnp.asarray(kinks, center.dtype) - center[..., None]) / deviation, FINE, reach)
    return (f(center[..., None] + deviation * nodes) * weights).sum(-1)


def pair_mean(
    integrand: Callable[..., tuple[Any, ...]],
    q1: Any,
    q2: Any,
    near: Any,
    far: Any,
    kinks: Sequence[float],
    order: int = FINE,
    reach: float = REACH,
) -> tuple[Any, ...]:
    """E of each function in `integrand(z1, z2)`, for arrays of pairs that broadcast; the broadcast shape. Pairs with a standard
    deviation above LARGE by graded pieces."""
    shape = jnp.broadcast_shapes(q1.shape, q2.shape, near.shape)
    flat = [jnp.broadcast_to(v, shape).reshape(-1) for v in (q1, q2, near, far)]
    out = plain_pairs(integrand, flat, kinks, reach, order)
    need = jnp.maximum(flat[0], flat[1]) > LARGE**2
    return tuple(v.reshape(shape) for v in some_pairs(integrand, need, flat, kinks, out, reach, graded=True)[0])


def plain_pairs(
    integrand: Callable[..., tuple[Any, ...]], pairs: Sequence[Any], kinks: Sequence[float], reach: float = REACH, order: int = FINE
) -> tuple[Any, ...]:
    """E of each function in `integrand(z1, z2, *parameters)` for `pairs` (q1, q2, near, far, *parameters), arrays (n,), whose standard
    deviations are of order one."""

    def one(args: Any) -> tuple[Any, ...]:
        v1, v2, n, f, *rest = args
        z1, z2, weights = pair_nodes(v1, v2, n, f, kinks, order, reach)
        return tuple((value * weights).sum() for value in integrand(z1, z2, *rest))

    return jax.lax.map(one, tuple(pairs), batch_size=BATCH)


def some_pairs(
    integrand: Callable[..., tuple[Any, ...]],
    need: Any,
    pairs: Sequence[Any],
    kinks: Sequence[float],
    otherwise: Sequence[Any],
    reach: float,
    graded: bool,
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """E of each function as in `plain_pairs`, by graded pieces or by plain ones, for those of the `pairs` (q1, q2, near, far,
    *parameters), arrays (n,), that `need` it, elsewhere the values of `otherwise`; and the largest change of each by the coarse rule, of
    shorter reach, on the first few of them.

    A loop over those in need alone, so that it costs nothing where there are none, under `vmap` as well.
    """
    count = need.size
    total, few = need.sum(), min(SAMPLE, count)
    (where,) = jnp.nonzero(need, size=count, fill_value=count)
    where = jnp.concatenate([where, jnp.full(GROUP, count)])
    rounds = (total + GROUP - 1) // GROUP
    checks = (jnp.minimum(total, few) + GROUP - 1) // GROUP
    orders, grade = ([GRADED[o] for o in (FINE, COARSE)], 0.0) if graded else ([FINE, COARSE], GRADE)
    rules = [
        jnp.stack([jnp.asarray(v, pairs[0].dtype) for v in both])
        for both in zip(*(padded(order, orders[0], grade) for order in orders), strict=True)
    ]

    def one(coarse: Any, args: Any) -> tuple[Any, ...]:
        v1, v2, n, f, *rest = args
        rule = rules[0][coarse], rules[1][coarse]
        z1, z2, weights = pair_nodes(v1, v2, n, f, kinks or (0.0,), rule, reach, graded, SHORT * coarse)
        return tuple((value * weights).sum() for value in integrand(z1, z2, *rest))

    def more(state: Any) -> Any:
        return state[0] < rounds + checks

    def some(state: Any) -> Any:
        turn, values, changes = state
        coarse = (turn >= rounds).astype(jnp.int32)
        at = jax.lax.dynamic_slice_in_dim(where, GROUP * jnp.where(coarse, turn - rounds, turn), GROUP)
        picked = jnp.minimum(at, count - 1)
        new = jax.vmap(partial(one, coarse))(tuple(v[picked] for v in pairs))
        off = [jnp.where(at < count, jnp.abs(n - v[picked]), 0).max() for v, n in zip(values, new, strict=True)]
        changes = tuple(jnp.where(coarse, jnp.maximum(c, o), c) for c, o in zip(changes, off, strict=True))
        values = tuple(v.at[jnp.where(coarse, count, at)].set(n, mode="drop") for v, n in zip(values, new, strict=True))
        return turn + 1, values, changes

    start = jnp.zeros((), rounds.dtype), tuple(otherwise), tuple(jnp.zeros((), v.dtype) for v in otherwise)
    return jax.lax.while_loop(more, some, start)[1:]


def pair_nodes(
    q1: Any,
    q2: Any,
    near: Any,
    far: Any,
    kinks: Sequence[float],
    order: Any = FINE,
    reach: float = REACH,
    graded: bool = False,
    less: Any = 0.0,
) -> tuple[Any, Any, Any]:
    """Nodes z1, z2 and weights of one pair, (nodes b, nodes a) each; the reach may be `less` than what pieces are made for, and graded
    pieces as much shorter: kinks that nobody declared lie elsewhere in them."""
    shorter = 1 - jnp.asarray(less, near.dtype)
    r1, r2 = jnp.sqrt(q1), jnp.sqrt(q2)
    close = near <= far
    sign = jnp.where(close, 1, -1).astype(near.dtype)
    # not minimum and maximum, whose derivatives at a tie, orthogonal points, are means of two
    S, C = jnp.sqrt(jnp.where(close, near, far) / 2), jnp.sqrt(jnp.where(close, far, near) / 2)
    x = safe_divide(jnp.asarray(kinks, near.dtype), r1)
    y = sign * safe_divide(jnp.asarray(kinks, near.dtype), r2)
    crossings = safe_divide(x[:, None] - y[None, :], 2 * S, 0.0).reshape(-1)
    if graded:
        scale1, scale2 = safe_divide(shorter, r1, jnp.inf), safe_divide(shorter, r2, jnp.inf)
        scale = safe_divide(jnp.minimum(scale1, scale2), 2 * S, jnp.inf)
        crossings = _graded(crossings, scale[None])
        filled = jnp.asarray(_filled(kinks), near.dtype)
        x, y = _graded(safe_divide(filled, r1), scale1[None]), _graded(sign * safe_divide(filled, r2), scale2[None])
    cut = _with_bell if graded else partial(_halved, reach, 0.0 in kinks)
    b, b_weights = split(cut(crossings), order, reach - less)
    lines = jnp.concatenate([(x - S * b[:, None]) / C, (y + S * b[:, None]) / C], -1)
    a, a_weights = split(cut(lines), order, reach - less)
    z1 = r1 * (C * a + S * b[:, None])
    z2 = sign * r2 * (C * a - S * b[:, None])
    return z1, z2, b_weights[:, None] * a_weights
