"""E[phi phi], E[phi' phi'] of Gaussian pairs of any size by panels in NumPy, an independent path: z1 first, then z2 given z1, both in
panels that double away from the kinks. `python -P tests/activations/panels.py` writes the frozen values that the tests read.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

FROZEN = Path(__file__).with_name("panels.npz")
REACH, FIRST = 9.5, 1.0
SIZES = (1e-12, 1e-6, 1.0, 1e3, 1e6, 1e9, 1e12)
VERSINES = (0.0, 1e-12, 1e-6, 0.5, 1.0, 2 - 1e-6, 2.0)
RATIOS = (1.0, 1e3)
S, A = 1.0507009873554805, 1.6732632423543772
ROOT, CUBE = np.sqrt(2 / np.pi), 0.044715

Function = Callable[[Any], Any]


def points() -> np.ndarray:
    """(sizes, 1 + pairs, 2) in float32: for each size one point, then those it is paired with."""
    rows = []
    for K in SIZES:
        rows.append([(np.sqrt(2 * K), 0.0)])
        for ratio in RATIOS:
            r = np.sqrt(2 * K * ratio)
            rows[-1] += [(r * (1 - v), r * np.sqrt(v * (2 - v))) for v in VERSINES]
    return np.array(rows, np.float32)


def exact(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    """(q1, q2, 1 - c, 1 + c) of two points, by exact arithmetic."""
    a, b = ([Fraction(float(v)) for v in row] for row in (x, y))
    q1, q2, k = (Fraction(sum(i * j for i, j in zip(u, w, strict=True))) / 2 for u, w in ((a, a), (b, b), (a, b)))
    with mp.workdps(60):
        c = _mp(k) / mp.sqrt(_mp(q1) * _mp(q2))
        return float(q1), float(q2), float(1 - c), float(1 + c)


def _mp(q: Fraction) -> Any:
    return mp.mpf(q.numerator) / q.denominator


def _sigmoid(z: Any) -> Any:
    return np.where(z > 0, 1 / (1 + np.exp(-np.abs(z))), np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))))


def _softplus(z: Any) -> Any:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _sech2(z: Any) -> Any:
    e = np.exp(-2 * np.abs(z))
    return 4 * e / (1 + e) ** 2


def _below(z: Any) -> Any:
    return np.minimum(z, 0)


FUNCTIONS: dict[str, tuple[Function, Function, tuple[float, ...]]] = {
    "tanh": (np.tanh, _sech2, ()),
    "sigmoid": (_sigmoid, lambda z: _sech2(z / 2) / 4, ()),
    "arctan": (np.arctan, lambda z: 1 / (1 + z * z), ()),
    "swish": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) + z * _sech2(z / 2) / 4, ()),
    "softplus": (_softplus, _sigmoid, ()),
    "mish": (
        lambda z: z * np.tanh(_softplus(z)),
        lambda z: np.tanh(_softplus(z)) + z * _sech2(_softplus(z)) * _sigmoid(z),
        (),
    ),
    "gelu_tanh": (
        lambda z: z * _sigmoid(2 * ROOT * (z + CUBE * z**3)),
        lambda z: _sigmoid(2 * ROOT * (z + CUBE * z**3)) + 0.5 * z * ROOT * (1 + 3 * CUBE * z * z) * _sech2(ROOT * (z + CUBE * z**3)),
        (),
    ),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(_below(z))), lambda z: np.where(z > 0, 1, np.exp(_below(z))), (0.0,)),
    "selu": (lambda z: S * np.where(z > 0, z, A * np.expm1(_below(z))), lambda z: S * np.where(z > 0, 1, A * np.exp(_below(z))), (0.0,)),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2, (0.0,)),
    "hardtanh": (lambda z: np.clip(z, -1, 1), lambda z: 1.0 * (np.abs(z) < 1), (-1.0, 1.0)),
}


def panels(kinks: Any, first: float, scale: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and weights of N(0, scale^2), panels doubling away from the kinks from a first one on."""
    halves = first * 2.0 ** np.arange(0, max(1, np.log2(REACH * scale / first) + 1))
    halves = np.concatenate([[0], halves[halves < REACH * scale]])
    cuts = [np.asarray(kinks)[:, None] + sign * halves for sign in (-1, 1)]
    edges = np.concatenate([*(c.ravel() for c in cuts), scale * np.arange(-REACH, REACH + 1)])
    edges = np.unique(np.clip(edges, -REACH * scale, REACH * scale))
    x, w = np.polynomial.legendre.leggauss(order)
    half = np.diff(edges)[:, None] / 2
    z = (edges[:-1, None] + half * (1 + x)).ravel()
    return z, (half * w).ravel() * np.exp(-((z / scale) ** 2) / 2) / np.sqrt(2 * np.pi) / scale


def moments(name: str, q1: float, q2: float, near: float, far: float, order: int) -> tuple[float, ...]:
    """(E phi^2, E phi'^2 of the first, of the second, E[phi phi], E[phi' phi'], near', far') at a pair."""
    if q2 > q1:  # the larger one first: then phi(z2) varies no faster in z1 than phi(z1)
        m1, t1, m2, t2, *rest = moments(name, q2, q1, near, far, order)
        return m2, t2, m1, t1, *rest
    f, slope, kinks = FUNCTIONS[name]
    own = []
    for q in (q1, q2):
        z, w = panels(kinks or (0.0,), min(FIRST, np.sqrt(q)), np.sqrt(q), order)
        own += [w @ f(z) ** 2, w @ slope(z) ** 2]
    r1, r2 = np.sqrt(q1), np.sqrt(q2)
    c, s = 1 - near if near <= far else far - 1, np.sqrt(near * far)
    n1, n2 = (np.sqrt(v) or 1.0 for v in (own[0], own[2]))
    width = r2 * s
    centers = [*(kinks or (0.0,)), *((k * r1 / (r2 * c) for k in kinks) if abs(c) > 1e-3 else ())]
    z1, w1 = panels(centers, min(FIRST, r1, r1 * s or np.inf) / (4 if kinks else 1), r1, order)
    total = np.zeros(4)
    x, w = np.polynomial.legendre.leggauss(order)
    if width == 0:
        inner = [(np.zeros(1), np.ones(1))] * len(z1)
    for i, (z, v) in enumerate(zip(z1, w1, strict=True)):
        m = r2 / r1 * c * z
        if width == 0:
            y, u = inner[i]
        else:
            halves = 2.0 ** np.arange(-2, max(1, np.log2(2 * REACH * width)) + 1)
            halves = np.concatenate([[0], halves])
            cuts = [(np.asarray(kinks or (0.0,))[:, None] + sign * halves).ravel() for sign in (-1, 1)]
            edges = np.concatenate([(np.concatenate(cuts) - m) / width, np.arange(-REACH, REACH + 1)])
            edges = np.unique(np.clip(edges, -REACH, REACH))
            half = np.diff(edges)[:, None] / 2
            y = (edges[:-1, None] + half * (1 + x)).ravel()
            u = (half * w).ravel() * np.exp(-y * y / 2) / np.sqrt(2 * np.pi)
        other = m + width * y
        a, b = f(z) / n1, f(other) / n2
        total += v * np.array([u @ (a * b), slope(z) * (u @ slope(other)), u @ (a - b) ** 2 / 2, u @ (a + b) ** 2 / 2])
    return own[0], own[1], own[2], own[3], n1 * n2 * total[0], total[1], total[2], total[3]


def kernels(name: str, pair: tuple[float, float, float, float], order: int, layers: int = 3) -> np.ndarray:
    """(layers, (K, Theta), (12, 11, 22)): NNGP and NTK after one hidden layer and more, C_W = 1, C_b = 0, rates of the same."""
    q1, q2, near, far = pair
    k = np.sqrt(q1) * np.sqrt(q2) * (1 - near if near <= far else far - 1)
    theta, out = np.array([k, q1, q2]), []
    for _ in range(layers):
        m1, t1, m2, t2, k, kdot, near, far = moments(name, q1, q2, near, far, order)
        K = np.array([k, m1, m2])
        theta = K + np.array([kdot, t1, t2]) * theta
        q1, q2 = m1, m2
        out.append([K, theta])
    return np.array(out)


def freeze(name: str) -> np.ndarray:
    """(sizes, pairs, (1, 3 hidden layers), (K, Theta), (12, 11, 22)), and what doubling the order changes."""
    X, worst = points(), 0.0
    out = np.zeros((len(SIZES), X.shape[1] - 1, 2, 2, 3))
    for i, row in enumerate(X):
        for j, y in enumerate(row[1:]):
            pair = exact(row[0], y)
            rough, fine = (kernels(name, pair, order) for order in (9, 16))
            scale = np.sqrt(fine[..., 1:2] * fine[..., 2:])
            worst = max(worst, float(np.nanmax(np.abs(fine - rough)[..., :1] / scale)))
            out[i, j] = fine[[0, 2]]
    print(name, f"{worst:.1e}", flush=True)
    return out


if __name__ == "__main__":
    np.savez_compressed(FROZEN, **{name: freeze(name) for name in FUNCTIONS})  # pyright: ignore[reportArgumentType]
