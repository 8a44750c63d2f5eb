"""Kernels as functions of one number, the cosine c of two points, tabulated and certified.

Two forms, each on both halves c >= 0 and c < 0, where the versine v = 1 - |c| measures the distance from c = +-1:

- `angle`: one polynomial a half in u = sqrt(v/2), the sine of half the angle. Kinks make kernels analytic in u, smooth activations
  in u^2; a deep ReLU network takes degree 12 to 32.
- `octave`: piecewise polynomials on cells of v, a few to each factor of 2, found from the bits of v. Deep chaotic networks vary over
  many decades of v, where no polynomial follows; in log v they vary slowly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

NODES, DEGREES = 80, {"float32": (8, 12, 16, 20, 24, 28, 32, 40, 48), "float64": (8, 16, 24, 32, 40, 48, 56, 64)}
TAIL = {"float32": 5e-8, "float64": 1e-12}  # of the Chebyshev coefficients left out, relative to the largest value
ACCEPTED = {"float32": 5e-7, "float64": 1e-9}  # certified error, relative to the largest value
CELLS, LOWEST, STRIDE = 2, 120, 8  # octaves are cut in 2^CELLS; none below 2^-LOWEST; their number is a multiple of STRIDE
CELL_DEGREE = {"float32": 5, "float64": 9}
CHECKS = 44  # points a half between the nodes
MANTISSA = {"float32": (23, np.int32), "float64": (52, np.int64)}

Ask = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]  # versines and signs of c -> (functions, points), error


@partial(jax.tree_util.register_dataclass, data_fields=("table", "ends", "error"), meta_fields=("kind", "octaves"))
@dataclass(frozen=True)
class Curve:
    """Functions of the cosine. `table`: coefficients, (2, functions, degree + 1) of Chebyshev polynomials in 2 sqrt(2) u - 1 for
    "angle", (2 * cells, functions, degree + 1) of monomials over a cell for "octave"; the half c >= 0 first. `ends`: (2, functions),
    the values at c = 1, -1. `error`: at points between the nodes and from the expectations, relative to the largest value."""

    table: Any
    ends: Any
    error: Any
    kind: Literal["angle", "octave"]
    octaves: int = 0


def build(ask: Ask, dtype: str) -> Curve | None:
    """The curve good enough for results of this dtype, or None if neither form is."""
    half = (chebyshev.chebpts1(NODES) + 1) / 2 * np.sqrt(0.5)
    between = np.concatenate([[0.0, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3], np.linspace(0.003, np.sqrt(0.5), CHECKS - 6)])
    u = np.concatenate([half, between])
    probes = 2.0 ** -np.arange(LOWEST + 1)
    v = np.concatenate([2 * u * u, probes])
    values, error = ask(*_both(v))
    values = values.reshape(-1, 2, len(v)).swapaxes(0, 1)  # (half, function, point)
    scale = np.abs(values).max((0, 2))
    if not np.isfinite(scale).all():
        return None
    scale = np.where(scale > 0, scale, 1.0)
    ends = values[..., NODES]
    angle = _angle(values[..., :NODES], values[..., NODES : len(u)], between, scale, dtype)
    if angle is not None:
        return Curve(angle[0], ends, max(angle[1], error), "angle")
    flat = np.abs(values[..., len(u) :] - ends[..., None]).max(0) <= 0.1 * TAIL[dtype] * scale[:, None]
    varied = np.flatnonzero(~flat.all(0))
    octaves = min(LOWEST, STRIDE * (1 + (varied[-1] if varied.size else 0) // STRIDE))
    return _octave(ask, ends, scale, octaves, dtype)


def _both(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The versines for c >= 0, then for c < 0, and the signs of c."""
    return np.concatenate([v, v]), np.repeat([1.0, -1.0], len(v))


def _angle(nodes: np.ndarray, checks: np.ndarray, between: np.ndarray, scale: np.ndarray, dtype: str) -> tuple[np.ndarray, float] | None:
    """Coefficients and certified error, or None: as many terms as the tail of the coefficients asks for."""
    x = chebyshev.chebpts1(NODES)
    basis = chebyshev.chebvander(x, NODES - 1)
    series = 2 / NODES * nodes @ basis
    series[..., 0] /= 2
    tail = (np.abs(series) / scale[:, None])[..., ::-1].cumsum(-1)[..., ::-1].max((0, 1))  # from each term on
    degree = next((d for d in DEGREES[dtype] if tail[d + 1] <= TAIL[dtype]), DEGREES[dtype][-1])
    table = series[..., : degree + 1]
    found = np.einsum("hfd,pd->hfp", table, chebyshev.chebvander(2 * np.sqrt(2) * between - 1, degree))
    error = float((np.abs(found - checks) / scale[:, None]).max())
    return (table, error) if error <= ACCEPTED[dtype] else None


def _octave(ask: Ask, ends: np.ndarray, scale: np.ndarray, octaves: int, dtype: str) -> Curve | None:
    """Cells of [2^-octaves, 1] with Chebyshev nodes in each."""
    degree, parts = CELL_DEGREE[dtype], 2**CELLS
    edges = (2.0 ** np.arange(-octaves, 0)[:, None] * (1 + np.arange(parts) / parts)).reshape(-1)
    width = np.repeat(2.0 ** np.arange(-octaves, 0) / parts, parts)
    x = chebyshev.chebpts1(degree + 1)
    v = edges[:, None] + width[:, None] * (x + 1) / 2
    noise = np.random.default_rng(0).uniform(-1, 1, (len(edges), 1))  # one point a cell where the polynomials are held against the truth
    check = edges[:, None] + width[:, None] * (noise + 1) / 2
    values, error = ask(*_both(np.concatenate([v, check], 1).reshape(-1)))
    values = values.reshape(len(scale), 2 * len(edges), degree + 2).swapaxes(0, 1)
    table = values[..., :-1] @ np.linalg.inv(np.vander(x, degree + 1, increasing=True)).T
    found = np.einsum("cfd,cd->cf", table, np.vander(np.tile(noise[:, 0], 2), degree + 1, increasing=True))
    error = max(error, float((np.abs(found - values[..., -1]) / scale).max()))
    return Curve(table, ends, error, "octave", octaves) if error <= ACCEPTED[dtype] else None


def evaluate(curve: Curve, v: Any, positive: Any, xp: Any = jnp) -> list[Any]:
    """The functions at versines v = 1 - |c| and the sign of c (`positive`: c >= 0), each the shape of v; `xp` is jax.numpy or numpy."""
    return (_at_angle if curve.kind == "angle" else _at_octave)(curve, v, positive, xp)


def _at_angle(curve: Curve, v: Any, positive: Any, xp: Any) -> list[Any]:
    """Clenshaw's recursion, the coefficients chosen by the sign of c."""
    s = 2 * xp.sqrt(xp.maximum(v, 0)) - 1  # 2 sqrt(2) u - 1
    out = []
    for f in range(curve.table.shape[1]):
        a, b = curve.table[0, f], curve.table[1, f]
        here = above = xp.zeros_like(s)
        for d in range(curve.table.shape[2] - 1, 0, -1):
            here, above = xp.where(positive, a[d], b[d]) + 2 * s * here - above, here
        value = xp.where(positive, a[0], b[0]) + s * here - above
        out.append(xp.where(v <= 0, xp.where(positive, curve.ends[0, f], curve.ends[1, f]), value))
    return out


def _at_octave(curve: Curve, v: Any, positive: Any, xp: Any) -> list[Any]:
    """Horner's rule over the cell that the leading bits of v name; the other bits are the place in it."""
    bits, integer = MANTISSA[str(v.dtype)]
    lowest = np.asarray(2.0**-curve.octaves, v.dtype)
    inside = xp.clip(v, lowest, np.nextafter(np.asarray(1, v.dtype), np.asarray(0, v.dtype)))
    word = inside.view(integer) - lowest.view(integer)
    rest = bits - CELLS
    cell = (word >> rest) + xp.where(positive, 0, curve.octaves * 2**CELLS).astype(integer)
    s = (word & ((1 << rest) - 1)).astype(v.dtype) * np.asarray(2.0 ** (1 - rest), v.dtype) - 1
    out = []
    for f in range(curve.table.shape[1]):
        value = xp.zeros_like(s)
        for d in range(curve.table.shape[2] - 1, -1, -1):
            value = value * s + curve.table[:, f, d][cell]
        out.append(xp.where(v <= 0, xp.where(positive, curve.ends[0, f], curve.ends[1, f]), value))
    return out
