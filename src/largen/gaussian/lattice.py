r"""Smooth functions of a few jointly Gaussian numbers, all moments on one shared grid.

For d = 1 to 4 points with covariance K = U diag(lambda) U^T, z = U diag(sqrt(lambda)) u with u ~ N(0, 1): a trapezoid rule
in u, with a step of its own along every principal axis, cut to a ball. For analytic functions its error falls
exponentially in 1/step, at a rate set by the poles nearest the real axis and by the spread of z along that axis; the steps are
found from the functions themselves, in one dimension. A singular K (coincident points) has null axes, with one node.

All products of features at one set of points are one matrix product over the nodes.
"""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from math import gamma
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen.running.jitted import jitted
from largen.types import float64

Elementwise = Callable[[Any], Any]
Features = Callable[[Any], tuple[Any, Any]]

TOLERANCE = 1e-9  # aimed at, relative to the moments of every function by itself
WIDEST, SHRINK, STEPS = 0.9, 0.9, 40  # candidate steps WIDEST SHRINK^k; the widest integrates exp(-u^2/2) itself to 5e-11
REACH, TAIL = 14.0, 1e-2  # calibration interval; share of the tolerance left to what lies outside the ball
EVEN = np.linspace(-REACH, REACH, 1401)
NULL = 1e-14  # axes of less than this share of the variance have one node
MOST = 8_000_000  # nodes for one set of points; beyond, steps are widened and the error estimate says so
LOST, FEW = 1e-3, 1_000_000  # where the finest step leaves as much along an axis, more than so many nodes say no more
CHUNK = 1 << 14  # nodes at a time


def gram(
    features: Features,
    functions: tuple[Elementwise, ...],
    factors: int,
    K: np.ndarray,
    shifted: bool = False,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """E[left_i(z) right_j(z)], z ~ N(0, K), with (left, right) = `features(z)`, z (d, nodes), left (m, nodes), right (m', nodes).

    The grid is chosen for products, left times right, of `factors` of the elementwise `functions`. `shifted` moves it by half a
    step along every axis, which turns the sign of the leading error: half the change is an estimate of it.
    """
    z, weights = _nodes(functions, factors, np.asarray(K, np.float64), 0.5 if shifted else 0.0, tolerance)
    total = 0.0
    for start in range(0, z.shape[1], CHUNK):
        part, w = z[:, start : start + CHUNK], weights[start : start + CHUNK]
        short = CHUNK - part.shape[1]
        if short:  # nodes of weight 0, so that one shape is compiled
            part, w = np.pad(part, ((0, 0), (0, short))), np.pad(w, (0, short))
        total = total + np.asarray(_product(features, part, w))
    return np.asarray(total)


@jitted(static=(0,))
def _product(features: Features, z: Any, weights: Any) -> Any:
    left, right = features(z)
    return (left * weights) @ right.T


def _nodes(
    functions: tuple[Elementwise, ...], factors: int, K: np.ndarray, shift: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z (d, nodes) and weights (nodes,) of the rule, whose grid is shifted by so many steps."""
    values, axes = np.linalg.eigh(K)
    live = values > NULL * max(values.sum(), 1e-300)
    axes = axes[:, live] * np.sqrt(values[live])  # (d, rank)
    spread, size = np.abs(axes).max(0, initial=0.0), np.sqrt(max(K.diagonal().max(), 0.0))
    rules = [_rule(functions, factors, _bucket(s), _bucket(size), tolerance) for s in spread]
    radius, rank = max((r for _, r, _ in rules), default=0.0), len(rules)
    steps, most = np.array([h for h, _, _ in rules]), FEW if any(left > LOST for _, _, left in rules) else MOST
    ball = np.pi ** (rank / 2) * radius**rank / gamma(rank / 2 + 1)
    steps = steps * max(1.0, ball / np.prod(steps) / most) ** (1 / max(rank, 1))
    u = _ball(steps, radius, shift)
    weights = np.prod(steps) / (2 * np.pi) ** (rank / 2) * np.exp(-(u**2).sum(1) / 2)
    return axes @ u.T, weights


def _ball(steps: np.ndarray, radius: float, shift: float) -> np.ndarray:
    """All points (h_1 (k_1 + shift), h_2 (k_2 + shift), ...), k integer, within the radius: (nodes, len(steps))."""
    points, square = np.zeros((1, 0)), np.zeros(1)
    for h in steps:
        reach = np.sqrt(np.maximum(radius**2 - square, 0)) / h
        low, high = np.ceil(-reach - shift).astype(int), np.floor(reach - shift).astype(int)
        many = high - low + 1
        row = np.repeat(np.arange(len(many)), many)
        k = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many - low, many)
        u = h * (k + shift)
        points = np.column_stack([points[row], u])
        square = square[row] + u**2
    return points


def _bucket(scale: float) -> float:
    """The scale rounded up by at most a tenth, so that calibrations are shared."""
    return float(1.1 ** np.ceil(np.log(scale) / np.log(1.1))) if scale > 0 else 0.0


@cache
@float64
def _rule(functions: tuple[Elementwise, ...], factors: int, spread: float, size: float, tolerance: float) -> tuple[float, float, float]:
    """(step, radius, left) in u for products of so many functions of c + spread u, over c ~ N(0, size^2): the widest step at
    which the rule and the one shifted by half a step agree, the radius beyond which little is left, and by how much the rules differ."""
    steps = WIDEST * SHRINK ** np.arange(STEPS)

    def left(k: int) -> float:
        plain, shifted = (np.asarray(v) for v in _trapezoids(functions, factors, spread, size, steps[k]))
        return float((np.abs(plain - shifted).max(1) / np.maximum(2 * np.abs(plain).max(1), 1e-300)).max())

    widest = min(bisect_left(range(STEPS), True, key=lambda k: left(k) <= tolerance), STEPS - 1)
    u, mass = EVEN, np.asarray(_powers(functions, factors, spread, size, EVEN)).max(2) * np.exp(-(EVEN**2) / 2)
    inside = np.cumsum((mass + mass[:, ::-1])[:, u >= 0][:, ::-1], 1)[:, ::-1] / np.maximum(2 * mass.sum(1)[:, None], 1e-300)
    radius = float(u[u >= 0][np.flatnonzero((inside > TAIL * tolerance).any(0))[-1]])
    return float(steps[widest]), radius, left(widest)


@jitted(static=(0, 1))
def _powers(functions: tuple[Elementwise, ...], factors: int, spread: Any, size: Any, u: Any) -> Any:
    """|f(c + spread u)|^factors with the density of c, for every function, u and c."""
    c = np.linspace(-3, 3, 13)
    values = jnp.stack([f(spread * u[:, None] + size * c) for f in functions])
    return jnp.nan_to_num(values**factors * np.exp(-(c**2) / 2))


@jitted(static=(0, 1))
def _trapezoids(functions: tuple[Elementwise, ...], factors: int, spread: Any, size: Any, step: Any) -> tuple[Any, Any]:
    most = int(REACH / (WIDEST * SHRINK ** (STEPS - 1)))

    def rule(shift: float) -> Any:
        u = step * (np.arange(-most, most + 1) + shift)
        weights = step / np.sqrt(2 * np.pi) * jnp.exp(-(u**2) / 2) * (jnp.abs(u) <= REACH)
        return (_powers(functions, factors, spread, size, u) * weights[:, None]).sum(1)

    return rule(0.0), rule(0.5)
