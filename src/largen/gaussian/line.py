r"""One-variable Gaussian expectations of a function known on a fixed grid, for every variance at once.

    <F>_K = int F(z) exp(-z^2/(2K)) / sqrt(2 pi K) dz  by Gauss-Legendre panels in z that do not depend on K.

Function values are computed once and serve every K, so that a search over K costs one matrix product. Panels halve
towards 0, where small K lives, and split at the kinks; two rules on the same panels give the error, and the panel in
which they differ most says where an undeclared kink lies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.running.jitted import ONE_THREAD

ORDER, COARSE = 32, 24  # nodes a panel; their difference is the error estimate
FINEST = -18  # the panel next to 0 ends at 2^-18
WIDEST = 4.0  # no panel is wider: sin and its kin oscillate on scale 1
TAIL = 9.0  # N(0, 1) beyond is 2e-19
K_MIN, K_MAX = 1e-8, 1e3  # variances that the grid serves

Elementwise = Callable[[Any], Any]


@dataclass(frozen=True)
class Grid:
    """Panel edges, and the nodes with their weights (without a Gaussian) of the two rules."""

    edges: np.ndarray
    z: np.ndarray
    w: np.ndarray
    coarse_z: np.ndarray
    coarse_w: np.ndarray


def grid(kinks: Sequence[float] = ()) -> Grid:
    """Panels on |z| <= 9 sqrt(K_MAX), split at the kinks."""
    reach = TAIL * np.sqrt(K_MAX)
    halves = 2.0 ** np.arange(FINEST, int(np.log2(WIDEST)) + 1)
    right = np.concatenate([halves, np.arange(2 * WIDEST, reach + WIDEST, WIDEST)])
    edges = np.union1d(np.concatenate([-right, [0.0], right]), [k for k in kinks if abs(k) < reach])
    return Grid(edges, *_rule(edges, ORDER), *_rule(edges, COARSE))


def _rule(edges: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(order)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + x)).ravel(), (half * w).ravel()


def mean(values: np.ndarray, K: Any, z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """<F>_K for F given as `values` (..., nodes) and variances K (...,) > 0: the shape of K after that of F."""
    q = np.asarray(K, dtype=float)[..., None]
    density = w * np.exp(-z * z / (2 * q)) / np.sqrt(2 * np.pi * q)
    with np.errstate(invalid="ignore", over="ignore"), ONE_THREAD:  # infinite values under a vanishing density
        return np.tensordot(np.where(np.isfinite(values), values, 0.0), density, axes=(-1, -1))


def disagreement(fine: np.ndarray, coarse: np.ndarray, grid: Grid, K: float) -> tuple[float, float]:
    """(error, place): the difference of the two rules for <F>_K summed over panels, relative to <|F|>_K, and the middle of
    the panel where it is largest. `fine`, `coarse` are the values of F at the nodes of the two rules."""
    sums = []
    for values, z, w, order in ((fine, grid.z, grid.w, ORDER), (coarse, grid.coarse_z, grid.coarse_w, COARSE)):
        sums.append((values * w * np.exp(-z * z / (2 * K))).reshape(-1, order).sum(1))
    gap, scale = np.abs(sums[0] - sums[1]), (np.abs(fine) * grid.w * np.exp(-(grid.z**2) / (2 * K))).sum()
    worst = int(gap.argmax())
    return float(gap.sum() / max(scale, np.finfo(float).tiny)), float((grid.edges[worst] + grid.edges[worst + 1]) / 2)
