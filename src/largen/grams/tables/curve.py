"""Kernels as functions of one number, the angle of two points, tabulated and certified.

In angles kernels are analytic, whatever the activation: kinks leave powers of the angle at c = +-1, not of the cosine c. So there are

- `middle`, for |c| <= 1 - CLOSE: one series of Chebyshev polynomials in x = asin(c)/asin(1 - CLOSE), evaluated behind a matrix product.
  A ReLU network takes degree 10 to 32, at depth 50 as well;
- `ends`, for the others, each end by itself: series in y = log(1 + u/u0), u = sqrt(v/2) the sine of half the angle, v = 1 - |c|. The
  kernels of deep chaotic networks vary over many decades of u down to u0, and slowly in its logarithm; all others take u0 = 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

CLOSE = 1e-2  # 1 - |c| below which a pair is evaluated by itself, in float64
DEGREES = {"float32": (8, 12, 16, 20, 24, 28, 32, 40, 48, 64), "float64": (16, 24, 32, 40, 48, 56, 64, 72, 80, 96)}
TAIL = {"float32": 5e-8, "float64": 1e-12}  # of the Chebyshev coefficients left out, relative to the largest value
ACCEPTED = {"float32": 5e-7, "float64": 1e-9}  # certified error, relative to the largest value
NODES, CHECKS = 100, 37  # in the middle, and between them
PLAIN, WIDE = 24, {"float32": 64, "float64": 128}  # nodes at an end, for u0 = 1 and below
PROBES, VARIED = 2.0 ** -np.linspace(0, 120, 96), 1e-3  # versines; variation of a function beyond u0, relative to its largest value
WHOLE = np.pi / 2
WINDOW = float(np.arcsin(1 - CLOSE))
ARC = {"float32": 9, "float64": 21}  # terms of arccos(a)/sqrt(1 - a), analytic but for a = -1: each is a factor of 5.8

Ask = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]  # versines and signs of c -> (functions, points), error


@dataclass(frozen=True)
class Curve:
    """Functions of the cosine in float64. `middle`: coefficients (functions, degree + 1); `ends`: (2, functions, degree + 1), c = 1
    first; `values`: (2, functions), at c = 1, -1. `error`: between the nodes and of the expectations, relative to the largest value."""

    middle: np.ndarray
    ends: np.ndarray
    values: np.ndarray
    u0: float
    error: float


def build(ask: Ask, dtype: str) -> Curve | None:
    """The curve good enough for results of this dtype, or None if there is none."""
    x = np.concatenate([chebyshev.chebpts1(NODES), np.linspace(-1, 1, CHECKS)])
    c = np.sin(WINDOW * x)
    at = np.concatenate([_nodes(PLAIN, 1.0), [0.0]])
    errors: list[float] = []

    def values_at(v: np.ndarray, sign: np.ndarray) -> np.ndarray:
        out, error = ask(v, sign)
        errors.append(error)
        return out

    values = values_at(np.concatenate([1 - np.abs(c), at, at]), np.concatenate([np.sign(c), np.ones(len(at)), -np.ones(len(at))]))
    middle, ends = values[:, : len(x)], values[:, len(x) :].reshape(len(values), 2, -1).swapaxes(0, 1)
    scale = np.abs(values).max(1)
    if not np.isfinite(scale).all():
        return None
    scale = np.where(scale > 0, scale, 1.0)
    series, off = _fit(middle, NODES, scale)
    tail = (np.abs(series) / scale[:, None])[:, ::-1].cumsum(1)[:, ::-1].max(0)  # from each term on
    degree = next((d for d in DEGREES[dtype] if tail[d + 1] <= TAIL[dtype]), DEGREES[dtype][-1])
    close, u0, off_close = _ends(values_at, ends, scale, dtype)
    error = max(*errors, off, off_close, float(tail[degree + 1]))
    return Curve(series[:, : degree + 1], close, ends[..., -1], u0, error) if error <= ACCEPTED[dtype] else None


def _nodes(count: int, u0: float) -> np.ndarray:
    """Versines of the nodes in y, then of points between them."""
    y = np.concatenate([chebyshev.chebpts1(count), np.linspace(-1, 1, count // 2)])
    return 2 * (u0 * np.expm1((y + 1) / 2 * _length(u0))) ** 2


def _length(u0: float) -> float:
    """The largest y."""
    return float(np.log1p(np.sqrt(CLOSE / 2) / u0))


def _fit(values: np.ndarray, nodes: int, scale: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients from the values at Chebyshev nodes, and the error at the evenly spaced points that follow them."""
    transform, between = _matrices(nodes, values.shape[-1] - nodes)
    series = values[..., :nodes] @ transform
    return series, float((np.abs(series @ between - values[..., nodes:]) / scale[:, None]).max())


@lru_cache(maxsize=4)
def _matrices(nodes: int, checks: int) -> tuple[np.ndarray, np.ndarray]:
    """Values at Chebyshev nodes to coefficients, coefficients to values at evenly spaced points."""
    transform = 2 / nodes * chebyshev.chebvander(chebyshev.chebpts1(nodes), nodes - 1)
    transform[:, 0] /= 2
    return transform, chebyshev.chebvander(np.linspace(-1, 1, checks), nodes - 1).T


def _ends(values_at: Callable[..., np.ndarray], plain: np.ndarray, scale: np.ndarray, dtype: str) -> tuple[np.ndarray, float, float]:
    """(coefficients, u0, error): of the values at u0 = 1 if they do, else with the u0 beyond which little happens."""

    def both(v: np.ndarray) -> np.ndarray:
        return values_at(np.concatenate([v, v]), np.repeat([1.0, -1.0], len(v))).reshape(len(scale), 2, len(v)).swapaxes(0, 1)

    series, off = _fit(plain[..., :-1], PLAIN, scale)
    if off <= ACCEPTED[dtype]:
        return series, 1.0, off
    varied = np.flatnonzero((np.abs(both(PROBES) - plain[..., -1:]) > VARIED * scale[:, None]).any((0, 1)))
    u0 = float(np.sqrt(PROBES[varied[-1] if varied.size else 0] / 2))
    series, off = _fit(both(_nodes(WIDE[dtype], u0)), WIDE[dtype], scale)
    return series, u0, off


def _arc(terms: int) -> np.ndarray:
    """Coefficients in t = 2a - 1 of arccos(a)/sqrt(1 - a), 0 <= a <= 1, the last power first."""
    u = np.sqrt((1 - chebyshev.chebpts1(terms)) / 4)  # the sine of half the angle
    return chebyshev.cheb2poly(np.sqrt(2) * np.arcsin(u) / u @ _matrices(terms, 1)[0])[::-1]


ARCS = {dtype: _arc(terms) for dtype, terms in ARC.items()}


def arcsine(c: Any) -> Any:
    """asin(c) to rounding, -1 <= c <= 1, in a few products and a root."""
    a = jnp.abs(c)
    ratio = jnp.zeros_like(a)
    for coefficient in ARCS[str(c.dtype)].astype(c.dtype):
        ratio = ratio * (2 * a - 1) + coefficient
    out = np.asarray(WHOLE, c.dtype) - jnp.sqrt(jnp.maximum(1 - a, 0)) * ratio
    return jnp.where(c < 0, -out, out)


def clenshaw(x: Any, coefficient: Callable[[int], Any], degree: int) -> Any:
    """sum_d coefficient(d) T_d(x), for a degree >= 1; numpy or JAX."""
    here, above, twice = coefficient(degree) + 0 * x, 0 * x, 2 * x
    for d in range(degree - 1, 0, -1):
        here, above = (coefficient(d) - above) + twice * here, here
    return (coefficient(0) - above) + x * here


def at_end(curve: Curve, v: np.ndarray, positive: np.ndarray) -> list[np.ndarray]:
    """The functions at versines v = 1 - |c| <= CLOSE and the sign of c (`positive`: c >= 0), each the shape of v."""
    y = 2 * np.log1p(np.sqrt(v / 2) / curve.u0) / _length(curve.u0) - 1
    out = []
    for f in range(curve.ends.shape[1]):
        plus, minus = curve.ends[:, f]
        value = clenshaw(y, lambda d, a=plus, b=minus: np.where(positive, a[d], b[d]), len(plus) - 1)
        out.append(np.where(v <= 0, np.where(positive, curve.values[0, f], curve.values[1, f]), value))
    return out


def at_middle(curve: Curve, c: np.ndarray) -> list[np.ndarray]:
    """The functions at cosines |c| <= 1 - CLOSE, in float64."""
    x = np.arcsin(c) / WINDOW
    return [chebyshev.chebval(x, series) for series in curve.middle]
