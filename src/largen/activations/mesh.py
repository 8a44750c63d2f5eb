r"""One-variable Gaussian expectations of phi^2 and phi'^2 of a user's own callable, for every variance, by panels found by looking at it.

Panels double away from 0, from 2^-170 to 2^170, so that one of them is as long as any Gaussian is wide, and are halved until phi and phi'
are polynomials on each. So narrow panels show where phi bends, jumps, is singular, or varies far from 0, whatever a rule at one variance
sees of it; and what a rule makes of E[phi^2], E[phi'^2] is held against what the panels say. Values are kept as logarithms: whether an
expectation is finite is seen beyond the floats. What lies between the nodes of a panel, a narrow bump or window, is found by a second look,
dense where preactivations mostly are.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.gaussian.pair import safe_divide
from largen.running.jitted import jitted
from largen.types import float64

ORDER = 12  # nodes a panel
OCTAVES, SHIFT = 170, 1.37  # panels [SHIFT 2^k, SHIFT 2^(k+1)], whose ends are no numbers that people choose
ALLOWED = 1e-8  # of the root mean square up to a panel, what the polynomial on it may be off
DEEPEST, BROAD, MOST = 46, 16, 200  # halvings; those of both halves of a panel; panels that are halved at a time
DEEP = 12  # halvings of a panel from which phi may bend there
ROUNDING, HEARD = 1e-15, 100  # relative, of phi; times as much, from which a change of phi is one
CHUNK = 256  # panels evaluated at a time
SHARE, UNSEEN = 1e-9, 0.1  # of an expectation, of places where phi is not finite, and where it is not resolved, from which that is infinite
SAMPLE = 16  # variances looked at
DENSE, NEAREST, FARTHEST = 4096, 2.0**-14, 256.0  # points an octave of the second look, and how far it goes
SLACK, LOUD, GAP, SPOTS, TURNS = 100, 1e-2, 32, 16, 3  # more than panels may be off; of the largest miss, what belongs to a spot; points
# between two; how many; looks at most


def _rule() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]; (half, node, node of the whole), which takes values at these to those at the nodes of
    either half."""
    x, w = np.polynomial.legendre.leggauss(ORDER)
    return (x + 1) / 2, w / 2, np.stack([_interpolation((x + 1) / 4), _interpolation((x + 3) / 4)])


def _interpolation(at: np.ndarray) -> np.ndarray:
    """(points, ORDER), which takes values at the nodes to those `at` points of [0, 1]."""
    x, _ = np.polynomial.legendre.leggauss(ORDER)
    legendre = partial(np.polynomial.legendre.legvander, deg=ORDER - 1)
    return legendre(2 * at - 1) @ np.linalg.inv(legendre(x))


*NODES, FIT = _rule()


@dataclass(frozen=True)
class Mesh:
    """`z` (nodes,); `sizes` (3, nodes): logarithms of the weights and of phi^2 and phi'^2 times these; of these two (2, nodes) `lost`,
    the part where phi is not finite, and `loose`, what is not known; `edges` (panels + 1,); `depth` (panels,), how often each is halved;
    `narrow` (spots, 2), from where to where phi varies between the nodes of panels."""

    z: np.ndarray
    sizes: np.ndarray
    lost: np.ndarray
    loose: np.ndarray
    edges: np.ndarray
    depth: np.ndarray
    narrow: np.ndarray


@dataclass(frozen=True)
class Panels:
    """`left`, `right`, `depth` (panels,); `values` (panels, 2, ORDER) of phi and phi'; `loose` (panels, 2), logarithms of what is not
    known; `inner`, of distances, the integrals of phi^2 and phi'^2 over what is nearer to 0."""

    left: np.ndarray
    right: np.ndarray
    depth: np.ndarray
    values: np.ndarray
    loose: np.ndarray
    inner: Any


@lru_cache(maxsize=64)
@float64
def mesh(phi: Activation) -> Mesh:
    """The panels of an activation."""
    halves = SHIFT * 2.0 ** np.arange(-OCTAVES, OCTAVES + 1)
    edges, narrow = np.union1d(np.concatenate([-halves, [0.0], halves]), phi.kinks), np.zeros((0, 2))
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        found = _panels(phi, edges)
        for _ in range(TURNS):
            spots = _unseen(phi, found)
            if not len(spots):
                break
            narrow = np.concatenate([narrow, spots])
            found = _panels(phi, np.union1d(edges, narrow))
    left, width = found.left[:, None], (found.right - found.left)[:, None]
    with np.errstate(all="ignore"):
        _hush(found)
        weight, z = np.log(width * NODES[1]).ravel(), (left + width * NODES[0]).ravel()
        squares = 2 * np.log(np.abs(np.moveaxis(found.values, 1, 0).reshape(2, -1)))
        lost = ~(squares < np.inf)
        sizes = np.stack([weight, *(weight + _continued(z, row) for row in squares)])
        loose = np.repeat(found.loose.T - np.log(ORDER), ORDER, 1)
    return Mesh(z, sizes, np.where(lost, sizes[1:], -np.inf), loose, np.append(found.left, found.right[-1]), found.depth, narrow)


def _panels(phi: Activation, edges: np.ndarray) -> Panels:
    """Panels between the edges, halved until phi and phi' are polynomials on each."""
    left, right, kept = edges[:-1], edges[1:], []
    values = _look(phi, left, right)
    inner = _inner(left, right, values)
    for depth in range(DEEPEST + 1):
        middle, near = (left + right) / 2, np.minimum(abs(left), abs(right))
        halved = np.stack([_look(phi, left, middle), _look(phi, middle, right)], 2)  # (panels, 2, half, ORDER)
        loose, rough = _judged(values, halved, right - left, inner(near))
        rough &= left * right != 0  # the innermost panels are narrower than anything
        halve = rough & (depth < DEEPEST) & ((depth < BROAD) | ~np.roll(rough, len(rough) // 2))  # both of a panel's halves: noise
        halve[np.argsort(np.where(halve, near, np.inf))[MOST:]] = False
        loose = np.where(rough[:, None], loose, -np.inf)
        kept.append([v[~halve] for v in (left, right, np.full(len(left), depth), values, loose)])
        if not halve.any():
            break
        left, middle, right, halved = left[halve], middle[halve], right[halve], halved[halve]
        left, right, values = np.append(left, middle), np.append(middle, right), np.concatenate([halved[:, :, 0], halved[:, :, 1]])
    left, right, depths, values, loose = (np.concatenate(v) for v in zip(*kept, strict=True))
    order = np.argsort(left)
    return Panels(left[order], right[order], depths[order], values[order], loose[order], inner)


def _hush(found: Panels) -> None:
    """Slopes that are nothing but rounding of phi, as of sin(z)/z next to 0, and larger than those farther from 0, become as small."""
    width, (value, slope) = found.right - found.left, np.abs(found.values).max(2).T
    silent, near = slope * width < HEARD * ROUNDING * value, np.minimum(np.abs(found.left), np.abs(found.right))
    for side in (found.left < 0, found.left >= 0):
        inwards = np.flatnonzero(side)[np.argsort(-near[side])]
        least = np.minimum.accumulate(np.where(np.isfinite(slope[inwards]), slope[inwards], np.inf))
        loud = silent[inwards] & (slope[inwards] > least)
        found.values[inwards[loud], 1] *= (least[loud] / slope[inwards[loud]])[:, None]
        found.loose[inwards[loud], 1] = -np.inf


def _unseen(phi: Activation, found: Panels) -> np.ndarray:
    """(spots, 2), from where to where phi is not what panels say, at many points between their nodes."""
    left, width, spots = found.left, found.right - found.left, []
    near, far = np.sort(np.abs([found.left, found.right]), 0)
    looked = (near >= NEAREST) & (far <= FARTHEST) & ~np.isfinite(found.loose).any(1)
    for depth in np.unique(found.depth[looked]):
        count = DENSE >> int(depth)
        if count < 2 * ORDER:  # nodes are as dense themselves
            break
        (at,) = np.nonzero(looked & (found.depth == depth))
        points = (np.arange(count) + 0.5) / count
        seen = _look(phi, left[at], found.right[at], points)[:, 0]
        size = np.nan_to_num(np.abs(seen), nan=0.0, posinf=0.0).max(1, initial=1e-300)
        values = np.nan_to_num(found.values[at, 0] / size[:, None], posinf=0.0, neginf=0.0)
        miss = np.abs(np.nan_to_num(seen / size[:, None], nan=1.0, posinf=1.0, neginf=1.0) - values @ _interpolation(points).T)
        allowed = ALLOWED * np.sqrt(found.inner(near[at])[:, 0] / width[at] / size**2 + np.square(values).mean(1)) + ROUNDING
        for i in np.flatnonzero(np.sqrt(np.square(miss).mean(1)) > SLACK * allowed):
            (where,) = np.nonzero(miss[i] > LOUD * miss[i].max())
            for spot in np.split(where, np.flatnonzero(np.diff(where) > GAP) + 1):
                spots.append(left[at[i]] + width[at[i]] * (spot[[0, -1]] + np.array([-0.5, 1.5])) / count)
    spots = np.array(spots).reshape(-1, 2)
    return spots[np.argsort(np.abs(spots).min(1))[:SPOTS]]


def bend(phi: Activation) -> float:
    """How far from 0 the nearest place is where phi may bend, 0 itself not counted; infinite if there is none."""
    found = mesh(phi)
    return float(np.minimum(*np.abs([found.edges[:-1], found.edges[1:]]))[found.depth >= DEEP].min(initial=np.inf))


def means(phi: Activation, K: Any) -> np.ndarray:
    """E[phi^2], E[phi'^2] and dE[phi^2]/dK at variances K (n,), (3, n), by the panels."""
    found, q = mesh(phi), np.asarray(K, float)[:, None]
    square, slope = np.exp(found.sizes[1:, None] - found.z**2 / (2 * q) - np.log(2 * np.pi * q) / 2)
    return np.stack([square.sum(1), slope.sum(1), (square * (found.z**2 / q - 1)).sum(1) / (2 * q[:, 0])])


def resolved(phi: Activation, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """On which panels phi and phi' are polynomials."""
    middle = (left + right) / 2
    halved = np.stack([_look(phi, left, middle), _look(phi, middle, right)], 2)
    return ~_judged(_look(phi, left, right), halved, right - left, np.zeros((len(left), 2)))[1]


def _continued(z: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Logarithms of squares at z, continued to either side as a power of z where they are not finite."""
    logs = logs.copy()
    for side in (z < 0, z > 0):
        away, own = np.abs(z[side]), logs[side]
        lost = ~(own < np.inf)
        if lost.any() and not lost.all():
            end = away[lost].min()
            last, half = (own[~lost][np.abs(away[~lost] - x).argmin()] for x in (end, end / 2))
            power = np.log2(last / half) if min(last, half) > 1 else 0.0
            own[lost] = max(last, 0.0) * (away[lost] / end) ** max(power, 0.0)
            logs[side] = own
    return logs


def _look(phi: Activation, left: np.ndarray, right: np.ndarray, at: np.ndarray = NODES[0]) -> np.ndarray:
    """phi and phi' at points of panels, (panels, 2, points)."""
    z = left[:, None] + (right - left)[:, None] * at
    some = np.concatenate([z.ravel(), np.ones(-z.size % (CHUNK * ORDER))]).reshape(-1, CHUNK, ORDER)  # of one shape
    found = np.concatenate([np.asarray(_sample(phi)(part)).reshape(2, -1) for part in some], 1)
    return np.moveaxis(found[:, : z.size].reshape(2, *z.shape), 0, 1)


@lru_cache(maxsize=64)
def _sample(phi: Activation) -> Any:
    return jitted()(lambda z: jnp.stack([phi(z), phi.derivative()(z)]))


def _judged(values: np.ndarray, halved: np.ndarray, width: np.ndarray, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log of what is not known of the integrals of phi^2 and phi'^2 over panels (panels, 2), which panels are to be halved): by how much
    the values on the halves of a panel differ from the polynomial through those on the whole."""
    size = np.nan_to_num(np.abs(halved), nan=0.0, posinf=0.0).max((2, 3), initial=1e-300)
    each = np.nan_to_num(halved / size[..., None, None], posinf=0.0, neginf=0.0)
    fitted = np.einsum("hij,pfj->pfhi", FIT, np.nan_to_num(values / size[..., None], posinf=0.0, neginf=0.0))
    miss, mass = ((np.square(v) @ NODES[1]).mean(-1) for v in (each - fitted, each))
    noise = ROUNDING * size[:, :1] / size / np.stack([np.ones_like(width), width], 1)  # of phi, and of phi' as differences of phi
    rough = miss > ALLOWED**2 * (inner / width[:, None] / size**2 + mass) + noise**2
    return np.log(miss * np.maximum(mass, miss)) / 2 + 2 * np.log(size) + np.log(width)[:, None], rough.any(1)


def _inner(left: np.ndarray, right: np.ndarray, values: np.ndarray) -> Any:
    """As a function of distances, the integrals of phi^2 and phi'^2 over what is nearer to 0."""
    near = np.minimum(abs(left), abs(right))
    order = np.argsort(near)
    mass = (right - left)[order, None] * np.nan_to_num(np.square(values[order]) @ NODES[1], nan=0.0, posinf=0.0)
    total, near = np.concatenate([np.zeros((1, 2)), np.cumsum(mass, 0)]), near[order]
    return lambda distance: total[np.searchsorted(near, distance * (1 - 1e-12))]


def judged(phi: Activation, q: Any, square: Any, close: Any, first: int) -> tuple[Any, Any, Any]:
    """What a rule that found `square`, E[phi^2] and E[phi'^2] (2, points), at variances q (points,), is off, relative and by their shares,
    infinite where these are not finite or not known; these shares (2,), how much errors relative to what it found matter, as both enter the
    NTK of pairs of one of the `first` points with one of the others (phi' may be nothing but rounding); and what a relative error of q is
    multiplied by. E[phi'^2] of points `close` to others only."""
    if not phi.own:
        return jnp.zeros((), q.dtype), jnp.ones(2, q.dtype), jnp.ones((), q.dtype)
    found = mesh(phi)
    few = jnp.argsort(q)[np.linspace(0, q.size - 1, min(SAMPLE, q.size)).round().astype(int)]
    q, square, close = q[few], square[:, few], close[few]
    far = jnp.exp((2 * np.log(np.abs(found.z))).astype(q.dtype) - jnp.log(2 * q)[:, None])  # z^2/2q, (points, nodes)
    bell = -far - 0.5 * jnp.log(2 * np.pi * q)[:, None]

    def mean(sizes: Any, of: Any = 1.0) -> Any:
        return (jnp.exp(jnp.asarray(sizes, q.dtype) + bell) * of).sum(-1)

    whole, *right = (mean(row) for row in found.sizes)
    beyond = [mean(row) > SHARE * total for row, total in zip(found.lost, right, strict=True)]
    infinite = beyond[0] | beyond[1]
    tilt = jnp.minimum(2 * far, 1e9) - 1
    growth = [0.5 * jnp.abs(safe_divide(mean(row, tilt), total)) for row, total in zip(found.sizes[1:], right, strict=True)]
    unseen = [safe_divide(mean(row), total) for total, row in zip(right, found.loose, strict=True)]
    off = [safe_divide(jnp.abs(s - total), total) + v for s, total, v in zip(square, right, unseen, strict=True)]
    share = safe_divide(q * right[1], right[0] + q * right[1], 1.0)
    infinite |= (jnp.maximum(unseen[0], share * unseen[1]) > UNSEEN) | jnp.isnan(off[0] + off[1])
    error = jnp.where(infinite, jnp.inf, jnp.maximum(off[0], jnp.where(close, share * off[1], 0)))
    from_q = jnp.maximum(
        growth[0], jnp.minimum(1, safe_divide(share, 1 - share, 1.0))
    )  # and from the cosine: its slope at 1, at most 1 on average
    carried = jnp.maximum(from_q, (1 - share) * from_q + share * (1 + growth[1]))
    seen = (q > 0) & (jnp.abs(whole - 1) < 1e-6)  # not beyond the panels
    parts = jnp.stack([safe_divide(square[0], right[0], 1.0), share * safe_divide(square[1], right[1], 1.0)])
    parts = jnp.where(seen & ~infinite, parts, 1.0)
    side = few < first
    ends = [jnp.where(on.any(), jnp.where(on, parts, 0).max(1), parts.max(1)) for on in (side, ~side)]
    return jnp.where(seen, error, 0.0).max(), jnp.sqrt(ends[0] * ends[1]), jnp.where(seen & ~infinite, carried, 1.0).max()
