"""Why expectations of an activation may be inaccurate or infinite, and what to do about it."""

from collections.abc import Sequence
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.mesh import DEEP, HEARD, ROUNDING, Mesh, mesh
from largen.activations.reach import growth
from largen.gaussian.piecewise import STEEPEST
from largen.types import float64

SEVERAL = 6  # places named
SIDE, WIDE = 1e-30, (1e-9, 1e-6, 1e-4, 1e-2)  # next to 0, nearer than anything smooth varies; distances where derivatives are ordinary
BENT, TURNED = 1e-3, 0.02  # changes of a derivative, relative, that a smooth function does not make across so little
AWAY, FARTHEST, FAINT = 4.0, 1e4, 1e-3  # a place is far from 0, and how far it is looked for; slopes small beside the largest
AROUND = (-1.5, -0.5, 0.0, 0.5, 1.5)  # of the length of a spot where phi varies, where to split rules from its middle
FEW = 2  # spots that are worth that
SMALLER = "lg.standardize(X), or take smaller C_W"


@cache
def doubt(phi: Activation) -> str:
    """A sentence: of a user's own callable, where it bends undeclared, is singular or varies within a narrow spot; else growth; else where
    it varies; else sizes."""
    bends, singular = places(phi) if phi.own else ((), ())
    if singular:
        return (
            f"{phi!r} is singular near {_listed(singular)}, and not only bent: no rule converges fast there, declared or not. "
            "Round it off, as jnp.sqrt(z**2 + 0.01) does jnp.abs(z)."
        )
    if bends:
        many = "has a kink" if len(bends) == 1 else "has kinks"
        known = ", ".join(f"{z:.10g}" for z in sorted({*bends, *phi.kinks})) + ("," if len(bends) + len(phi.kinks) == 1 else "")
        return f"{phi!r} {many} near {_listed(bends)}: declare {'it' if len(bends) == 1 else 'them'}, lg.activation(fn, kinks=({known}))."
    if phi.own and 0 < len(spots := _spots(mesh(phi))) <= FEW:
        wide, at = max(end - start for start, end in spots), [(start + end) / 2 for start, end in spots]
        split = ", ".join(f"{z + share * (end - start):.8g}" for z, (start, end) in zip(at, spots, strict=True) for share in AROUND)
        return (
            f"{phi!r} varies within {wide:.1g} near {_listed(at)}, between the points that rules look at: make it wider, "
            f"or have rules split there, lg.activation(fn, kinks=({split}))."
        )
    if (degree := growth(phi)) > 2 and "which is not" not in infinite(phi):
        how = "exponentially" if degree >= STEEPEST else f"like z^{degree:.3g}"
        return f"{phi!r} grows {how}, and expectations with it: {SMALLER}."
    if phi.own and (place := _away(mesh(phi))):
        shift = f"lambda z: fn(z + {place:.4g})"
        return f"{phi!r} varies near z = {place:.4g} alone, far from 0 where preactivations are: shift it there, {shift}."
    return f"Preactivations are large on the scale on which {phi!r} varies: {SMALLER}."


@cache
def infinite(phi: Activation) -> str:
    """What is wrong about a user's own callable whose expectations are not finite or not known; nothing if nothing may be."""
    if not phi.own:
        return ""
    if not np.isfinite((found := mesh(phi)).lost).any():
        return f"{phi!r}, which varies too fast to be followed as far out as preactivations lie" if np.isfinite(found.loose).any() else ""
    lost = np.abs(found.z[np.isfinite(found.lost).any(0)])
    at, log = float(lost.min()), float((found.sizes[1:] - found.sizes[0])[:, np.abs(found.z) < lost.min()].max())
    if log < 600:
        return f"{phi!r}, which is not finite at |z| = {at:.4g}, where preactivations lie"
    return f"{phi!r}, which grows so fast that E[phi(z)^2] or E[phi'(z)^2] is not finite for variances from {at * at / 2 / log:.3g} on"


def _spots(found: Mesh) -> list[tuple[float, float]]:
    """From where to where phi varies between the points that are looked at first, spots that touch as one."""
    spots: list[tuple[float, float]] = []
    for start, end in sorted(map(tuple, found.narrow)):
        if spots and start <= spots[-1][1] + (end - start):
            start, end = spots[-1][0], max(end, spots.pop()[1])
        spots.append((start, end))
    return spots


def _shortest(left: float, right: float) -> float:
    """The number of fewest decimals between two."""
    middle = (left + right) / 2
    return next((z for digits in range(17) if left <= (z := round(middle, digits)) <= right), middle)


def _listed(places: Sequence[float]) -> str:
    return "z = " + ", ".join(f"{z:.4g}" for z in places[:SEVERAL]) + (", ..." if len(places) > SEVERAL else "")


@cache
@float64
def places(phi: Activation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(where phi bends or jumps undeclared, where it is singular): at 0, and where panels are narrow beside their distance from 0."""
    found = mesh(phi)
    deep = np.concatenate([[False], found.depth >= DEEP, [False]])
    starts, ends = np.flatnonzero(deep[1:] & ~deep[:-1]), np.flatnonzero(deep[:-1] & ~deep[1:])
    spots = [(0.0, SIDE), *((z, SIDE if z == 0 else 1e-12 * abs(z)) for z in phi.kinks)]
    for start, end in zip(starts, ends, strict=True):
        i = start + int(found.depth[start:end].argmax())
        left, right = map(float, found.edges[i : i + 2])
        spots.append((_shortest(left, right), 4 * (right - left)))
    spots = sorted(set(spots), key=lambda spot: abs(spot[0]))[: 2 * SEVERAL]
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        ordinary = [sign * distance for distance in WIDE for sign in (-1, 1)]
        sides = np.array([[z + s * side for s in (-3, -1, 1, 3)] + [z + s * (1 + abs(z)) for s in ordinary] for z, side in spots])
        f = np.stack([np.asarray(phi.derivative(order)(jnp.asarray(sides))) for order in range(3)], -1)  # (places, sides, orders)
        size, level = np.abs(f[:, :4]).max(1), np.abs(f[:, 4:]).max(1)
        across, along = np.abs(f[:, 2] - f[:, 1]), np.maximum(np.abs(f[:, 3] - f[:, 2]), np.abs(f[:, 1] - f[:, 0]))
        singular = ((along > TURNED * size) & (size > level))[:, 1:].any(1)
        around = np.abs(f[:, 4:6, 0] - f[:, 1:3, 0]).max(1)  # phi at the nearest of ordinary distances
        singular &= ~(around < HEARD * ROUNDING * size[:, 0])  # of sin(z)/z next to 0 derivatives are rounding
        bent = ((across > BENT * size) & (across > 10 * along) & (size > FAINT * level)).any(1)
    at = [z for z, _ in spots]
    cusps = tuple(z for z, turned in zip(at, singular, strict=True) if turned)
    return tuple(z for z, turned in zip(at, bent, strict=True) if turned and z not in phi.kinks and z not in cusps), cusps


def _away(found: Mesh) -> float:
    """Where phi varies most, if that is far from 0 and it hardly varies near 0; else 0."""
    outside = np.isfinite(found.lost[1]) | (np.abs(found.z) > FARTHEST)
    slopes = np.where(outside, -np.inf, found.sizes[2] - found.sizes[0])
    near = slopes[np.abs(found.z) < AWAY].max()
    place = float(found.z[int(slopes.argmax())])
    alone = near < slopes.max() + 2 * np.log(FAINT) and abs(place) < FARTHEST / 2  # not ever faster outwards
    return place if alone else 0.0
