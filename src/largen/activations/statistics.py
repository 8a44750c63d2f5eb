r"""What signal propagation needs of an activation, as functions of the variance K: the one-variable moments

    g = <phi^2>,   g' = <z phi phi'>/K,   g'' = <phi phi' z (z^2 - 3K)>/(2 K^3),   <phi'^2>,   d<phi'^2>/dK = <phi'^2 (z^2 - K)>/(2 K^2),
    <phi^4>,   <phi^2 z>,

from phi and its almost-everywhere derivative alone, so that they hold for kinked phi (continuous; PDLT 5.50-5.53), and the series
around K = 0 from one-sided Taylor coefficients, in powers of sqrt(K) where phi has a kink at 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.mesh import means
from largen.errors import InputError
from largen.gaussian import line
from largen.running.jitted import jitted
from largen.types import float64

PROBE = (0.25, 1.0, 8.0)  # variances at which the two rules are compared
ACCURACY = 1e-7  # their largest relative difference; without undeclared kinks it is 1e-13
ORDERS = 6  # Taylor coefficients phi_0 .. phi_5 at 0


@dataclass(frozen=True)
class Moments:
    """The moments above at the variances asked for, arrays of one shape."""

    g: np.ndarray
    dg: np.ndarray
    d2g: np.ndarray
    slope: np.ndarray
    dslope: np.ndarray
    fourth: np.ndarray
    skew: np.ndarray


@dataclass(frozen=True)
class Statistics:
    """Values of phi and phi' on the grid; `taylor`: phi_p = phi^(p)(0) from the left and the right, (2, ORDERS); `K_max`: the
    largest variance for which all moments exist and are resolved; `coarse`, phi at the nodes of the coarse rule."""

    phi: Activation
    grid: line.Grid
    value: np.ndarray
    slope: np.ndarray
    taylor: np.ndarray
    K_max: float
    coarse: np.ndarray

    def moments(self, K: Any) -> Moments:
        """The moments at variances K in [K_MIN, K_max]."""
        K, z = np.asarray(K, dtype=float), self.grid.z
        f, s = self.value, self.slope
        with np.errstate(over="ignore", invalid="ignore"):
            functions = np.stack([f * f, z * f * s, z**3 * f * s, s * s, s * s * z * z, f**4, f * f * z])
        g, zfs, z3fs, ss, sszz, f4, ffz = line.mean(functions, K, z, self.grid.w)
        return Moments(g, zfs / K, (z3fs - 3 * K * zfs) / (2 * K**3), ss, (sszz - K * ss) / (2 * K * K), f4, ffz)

    def error(self, K: float) -> float:
        """Of these moments, relative: two rules for <phi^2>; and of a user's own callable <phi^2>, K <phi'^2> and K d<phi^2>/dK beside what
        panels say that are found by looking at it, relative to the larger of the first two."""
        with np.errstate(over="ignore", invalid="ignore"):
            off, _ = line.disagreement(self.value**2, self.coarse**2, self.grid, K)
            if self.phi.own:
                m, right = self.moments([K]), means(self.phi, [K])[:, 0]
                found = np.array([m.g[0], K * m.slope[0], K * m.dg[0]])
                right *= [1, K, K]
                off = max(off, float(np.abs(found - right).max() / max(right[:2].max(), np.finfo(float).tiny)))
        return off

    @cached_property
    def homogeneous(self) -> tuple[float, float] | None:
        """(a_plus, a_minus) if phi(z) = a_plus z above 0 and a_minus z below, to rounding; None otherwise."""
        ratio, z = self.value / self.grid.z, self.grid.z
        up, down = ratio[z > 0], ratio[z < 0]
        scale = max(np.abs(ratio).max(), np.finfo(float).tiny) if np.isfinite(ratio).all() else np.inf
        same = np.isfinite(scale) and max(np.ptp(up), np.ptp(down)) < 1e-9 * scale
        return (float(np.median(up)), float(np.median(down))) if same else None

    def series(self, of_slope: bool) -> np.ndarray:
        """c with <phi^2>_K = sum_k c_k K^(k/2) (or <phi'^2>_K), for k = 0..6 (0..4), asymptotic at K -> 0."""
        total = np.zeros(2 * ORDERS)
        for sign, coefficients in zip((-1.0, 1.0), self.taylor, strict=True):
            f = coefficients / [math.factorial(p) for p in range(ORDERS)]
            f = np.polynomial.polynomial.polyder(f) if of_slope else f
            square = np.convolve(f, f)
            total[: len(square)] += 0.5 * square * sign ** np.arange(len(square))
        k = np.arange(len(total))
        absolute = [2 ** (j / 2) * math.gamma((j + 1) / 2) / math.sqrt(math.pi) for j in k]  # E|g|^k
        return (total * absolute)[: 5 if of_slope else 7]


@lru_cache(maxsize=64)
@float64
def statistics(phi: Activation) -> Statistics:
    """The statistics of an activation. Raises `InputError` for one that is constant, returns NaN in range, jumps, or has
    undeclared kinks."""
    grid = line.grid(phi.kinks)
    need = "an elementwise function, finite and not constant, with its kinks declared"
    sample = jitted()(lambda z: (phi(z), phi.derivative()(z)))
    value, slope = (np.asarray(v) for v in sample(grid.z))
    rough = np.asarray(sample(grid.coarse_z)[0])
    taylor = _taylor(phi)
    if np.isnan(value).any():
        raise InputError("activation", f"{phi!r}, which returns NaN at z = {grid.z[np.isnan(value)][0]:.3g}", need)
    if not np.abs(np.where(np.abs(grid.z) < 10, slope, 0)).max() > 0:
        reason = "which is piecewise constant" if np.ptp(value[np.abs(grid.z) < 10]) > 0 else "which is constant"
        raise InputError("activation", f"{phi!r}, {reason}: no signal and no gradient passes", need)
    jump = max((abs(j) for j in phi.jumps(0)), default=0.0)
    if jump:
        raise InputError("activation", f"{phi!r}, which jumps by {jump:.3g}: small differences are not carried on smoothly", need)
    bounded = np.abs(grid.z) <= line.TAIL * math.sqrt(PROBE[-1])
    for K in PROBE:
        fine, coarse = (np.where(np.isfinite(v), v, 0.0) ** 2 for v in (value, rough))
        error, place = line.disagreement(fine, coarse, grid, K)
        if error > ACCURACY:
            got = f"{phi!r}, whose expectations by two rules differ by {error:.1e}, most of all near z = {kink(phi, place, grid):.4g}"
            raise InputError("activation", got, need, "Declare it: lg.activation(fn, kinks=(...)).")
    if not np.isfinite(slope[bounded]).all():
        raise InputError(
            "activation", f"{phi!r}, whose derivative is not finite near z = {grid.z[bounded & ~np.isfinite(slope)][0]:.3g}", need
        )
    return Statistics(phi, grid, value, slope, taylor, _largest(grid, value, slope), rough)


def root(f: Callable[[float], Any], low: float, high: float) -> float:
    """The root of f between two points of opposite sign, to rounding (Brent)."""
    from scipy.optimize import brentq  # slow to import

    found: Any = brentq(lambda x: float(f(x)), low, high, xtol=1e-300, rtol=1e-14)  # type: ignore[arg-type]
    return float(found)


def _taylor(phi: Activation) -> np.ndarray:
    """phi^(p)(0) from the left and from the right: at 0 itself for smooth phi, else extrapolated from eps and 2 eps."""
    derivatives = jitted()(lambda z: jnp.stack(phi.derivatives(ORDERS - 1)(z)))
    if 0.0 not in phi.kinks:
        return np.broadcast_to(np.asarray(derivatives(np.zeros(1)))[:, 0], (2, ORDERS))
    eps = 1e-6
    at = np.asarray(derivatives(np.array([-eps, eps, -2 * eps, 2 * eps]))).T
    return 2 * at[:2] - at[2:]


def _largest(grid: line.Grid, value: np.ndarray, slope: np.ndarray) -> float:
    """The largest variance whose fourth moment the grid still holds: the integrand has died at its end, all is finite."""
    K = np.geomspace(line.K_MAX, line.K_MIN, 64)
    with np.errstate(over="ignore", invalid="ignore"):
        log = 4 * np.log(np.maximum(np.abs(value), 1e-300)) - grid.z**2 / (2 * K[:, None])
    held = log[:, [0, -1]].max(1) < log.max(1) - 30
    finite = np.array([np.isfinite(np.stack([value, slope])[:, np.abs(grid.z) < line.TAIL * math.sqrt(k)]).all() for k in K])
    good = held & finite & (log.max(1) < 600)
    return float(K[good].max()) if good.any() else line.K_MIN


def kink(phi: Activation, place: float, grid: line.Grid) -> float:
    """The undeclared kink in the panel around `place`: where the second difference of phi is largest."""
    i = int(np.searchsorted(grid.edges, place))
    left, right = grid.edges[i - 1], grid.edges[i]
    for _ in range(8):
        z = np.linspace(left, right, 65)
        bend = np.abs(np.diff(np.asarray(phi(jnp.asarray(z))), 2))
        at = int(bend.argmax()) + 1
        left, right = z[max(at - 2, 0)], z[min(at + 2, 64)]
    return float((left + right) / 2)
