"""Callables as users bring them, and the truth of their kernels by the rule of `panels.py`, told where each one varies.

`python -P tests/activations/own.py` writes the frozen values that `test_own.py` reads.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import panels

FROZEN = Path(__file__).with_name("own.npz")
LAYERS = 3


@dataclass(frozen=True)
class Own:
    """A callable `fn`, the `kinks` declared of it, and for the truth alone: phi and phi' in NumPy, `places` where it varies or bends, the
    `scale` on which it does, the `reach` in standard deviations of what matters, and the variance from which there is no truth."""

    fn: Any
    phi: Any
    slope: Any
    places: tuple[float, ...] = (0.0,)
    scale: float = 1.0
    kinks: tuple[float, ...] = ()
    reach: float = 14.0
    limit: float = np.inf


def panels_of(own: Own, centers: np.ndarray, first: float, scale: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z and weights of N(0, scale^2), in panels that double away from the centers."""
    halves = first * 2.0 ** np.arange(0, max(1, np.log2(2 * own.reach * scale / first)) + 1)
    edges = centers[:, None] + np.concatenate([-halves, [0], halves])
    edges = np.concatenate([edges.ravel() / scale, np.arange(-own.reach, own.reach + 1)])
    u, w = nodes(np.unique(np.clip(edges, -own.reach, own.reach)), order)
    return scale * u, w


def _sech2(z: Any) -> Any:
    e = np.exp(-2 * np.abs(z))
    return 4 * e / (1 + e) ** 2


def _apart(fn: Any) -> Any:
    """fn away from 0, 0 at 0."""
    return lambda z: jnp.where(z == 0, 0.0, fn(jnp.where(z == 0, 1.0, z)))


def _nonzero(z: Any) -> Any:
    return np.where(z == 0, 1.0, np.abs(z))


def _sigmoid(z: Any) -> Any:
    return 0.5 * (1 + np.tanh(z / 2))


ROOT, LOG = _apart(lambda z: jnp.abs(z) ** 0.75), _apart(lambda z: z * jnp.log(jnp.abs(z)))
ROOTS = (lambda z: np.abs(z) ** 0.75, lambda z: 0.75 * np.sign(z) * _nonzero(z) ** -0.25)
LOGS = (lambda z: z * np.log(_nonzero(z)), lambda z: np.log(_nonzero(z)) + 1)
OWN: dict[str, Own] = {
    "tanh": Own(jnp.tanh, np.tanh, _sech2),
    "far": Own(lambda z: jnp.tanh(z - 20), lambda z: np.tanh(z - 20), lambda z: _sech2(z - 20), (20.0,)),
    "steep": Own(lambda z: jnp.tanh(5 * z), lambda z: np.tanh(5 * z), lambda z: 5 * _sech2(5 * z), scale=0.2),
    "late": Own(lambda z: jnp.maximum(z - 0.7, 0), lambda z: np.maximum(z - 0.7, 0), lambda z: 1.0 * (z > 0.7), (0.7,)),
    "late, declared": Own(
        lambda z: jnp.maximum(z - 0.7, 0), lambda z: np.maximum(z - 0.7, 0), lambda z: 1.0 * (z > 0.7), (0.7,), kinks=(0.7,)
    ),
    "clipped": Own(lambda z: jnp.clip(z, -1, 1), lambda z: np.clip(z, -1, 1), lambda z: 1.0 * (np.abs(z) < 1), (-1.0, 1.0)),
    "step": Own(lambda z: jnp.where(z > 3.7, 1.0, 0.0), lambda z: 1.0 * (z > 3.7), lambda z: 0 * z, (3.7,)),
    "jump": Own(lambda z: jnp.where(z > 1, z, -1.0), lambda z: np.where(z > 1, z, -1.0), lambda z: 1.0 * (z > 1), (1.0,)),
    "abs": Own(jnp.abs, np.abs, np.sign),
    "elu": Own(jax.nn.elu, lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda z: np.exp(np.minimum(z, 0))),
    "root": Own(ROOT, *ROOTS, scale=1e-14),
    "log": Own(LOG, *LOGS, scale=1e-10),
    "log, declared": Own(LOG, *LOGS, scale=1e-10, kinks=(0.0,)),
    "explosive": Own(lambda z: jnp.exp(z * z), lambda z: np.exp(z * z), lambda z: 2 * z * np.exp(z * z), limit=0.25),
    "exponential": Own(lambda z: jnp.exp(0.4 * z), lambda z: np.exp(0.4 * z), lambda z: 0.4 * np.exp(0.4 * z), reach=45.0),
    "power": Own(lambda z: z**10, lambda z: z**10, lambda z: 10 * z**9, limit=1e30),
    "ninth": Own(lambda z: z**9 - z, lambda z: z**9 - z, lambda z: 9 * z**8 - 1, limit=1e30),
    "narrow": Own(
        lambda z: jnp.exp(-((z / 1e-3) ** 2)),
        lambda z: np.exp(-((z / 1e-3) ** 2)),
        lambda z: -2e6 * z * np.exp(-((z / 1e-3) ** 2)),
        scale=1e-3,
    ),
    "bump": Own(
        lambda z: jnp.exp(-50 * (z - 5) ** 2),
        lambda z: np.exp(-50 * (z - 5) ** 2),
        lambda z: -100 * (z - 5) * np.exp(-50 * (z - 5) ** 2),
        (5.0,),
        0.1,
    ),
    "dead": Own(lambda z: jnp.where(z > 30, z - 30, 0.0), lambda z: np.maximum(z - 30, 0), lambda z: 1.0 * (z > 30), (30.0,), reach=45.0),
    "peak": Own(
        lambda z: 1 / (1 + (10 * z) ** 2), lambda z: 1 / (1 + (10 * z) ** 2), lambda z: -200 * z / (1 + (10 * z) ** 2) ** 2, scale=0.1
    ),
    "round": Own(lambda z: jnp.sqrt(z * z + 1e-8), lambda z: np.sqrt(z * z + 1e-8), lambda z: z / np.sqrt(z * z + 1e-8), scale=1e-4),
    "gate": Own(
        lambda z: z * jax.nn.sigmoid(10 * z),
        lambda z: z * _sigmoid(10 * z),
        lambda z: _sigmoid(10 * z) + 2.5 * z * _sech2(5 * z),
        scale=0.1,
    ),
    "quiet": Own(lambda z: jnp.cosh(z) - 1, lambda z: 2 * np.sinh(z / 2) ** 2, np.sinh),
    "rising": Own(lambda z: jnp.log(1 + jnp.exp(z)), lambda z: np.logaddexp(z, 0), _sigmoid),
    "sawtooth": Own(
        lambda z: jnp.abs(z - 6 * jnp.round(z / 6)),
        lambda z: np.abs(z - 6 * np.round(z / 6)),
        lambda z: np.sign(z - 6 * np.round(z / 6)),
        tuple(3.0 * np.arange(-60, 61)),
        limit=100.0,
    ),
}


def nodes(edges: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes of N(0, 1) between sorted edges (..., m), and their weights."""
    x, w = np.polynomial.legendre.leggauss(order)
    half = np.diff(edges)[..., None] / 2
    u = edges[..., :-1, None] + half * (1 + x)
    weights = half * w * np.exp(-u * u / 2) / np.sqrt(2 * np.pi)
    return u.reshape(*edges.shape[:-1], -1), weights.reshape(*edges.shape[:-1], -1)


def moments(own: Own, q1: float, q2: float, near: float, far: float, order: int) -> tuple[float, ...]:
    """As `panels.moments`."""
    if q2 > q1:
        m1, t1, m2, t2, *rest = moments(own, q2, q1, near, far, order)
        return m2, t2, m1, t1, *rest
    places, squares = np.array(own.places), []
    for q in (q1, q2):
        z, w = panels_of(own, places, min(own.scale, np.sqrt(q)), np.sqrt(q), order)
        squares += [w @ own.phi(z) ** 2, w @ own.slope(z) ** 2]
    r1, r2 = np.sqrt(q1), np.sqrt(q2)
    c, s = 1 - near if near <= far else far - 1, np.sqrt(near * far)
    n1, n2 = (np.sqrt(v) or 1.0 for v in (squares[0], squares[2]))
    width = r2 * s
    centers = np.concatenate([places, places * r1 / (r2 * c) if abs(c) > 1e-3 else places])
    z1, w1 = panels_of(own, centers, min(own.scale, r1, r1 * s or np.inf) / 4, r1, order)
    total = np.zeros(4)
    for z, v in zip(*(np.array_split(a, max(1, len(z1) // 200)) for a in (z1, w1)), strict=True):
        m = (r2 / r1 * c * z)[:, None]
        if width == 0:
            y, u = np.zeros((1, 1)), np.ones((1, 1))
        else:
            start = min(own.scale, width) / 4
            halves = start * 2.0 ** np.arange(0, max(1, np.log2(4 * own.reach * width / start)) + 1)
            cuts = places[:, None] + np.concatenate([-halves, [0], halves])
            bell = np.broadcast_to(np.arange(-own.reach, own.reach + 1), (len(z), round(2 * own.reach) + 1))
            edges = np.concatenate([(cuts.ravel() - m) / width, bell], 1)
            y, u = nodes(np.sort(np.clip(edges, -own.reach, own.reach), axis=1), order)
        other = m + width * y
        a, b, d1, d2 = own.phi(z)[:, None] / n1, own.phi(other) / n2, own.slope(z), own.slope(other)
        total += [v @ (part * u).sum(1) for part in (a * b, d1[:, None] * d2, (a - b) ** 2 / 2, (a + b) ** 2 / 2)]
    return *squares, n1 * n2 * total[0], total[1], total[2], total[3]


def kernels(own: Own, pair: tuple[float, float, float, float], order: int) -> np.ndarray:
    """(LAYERS, (K, Theta), (12, 11, 22)), infinite from the layer on that leaves the floats."""
    q1, q2, near, far = pair
    k = np.sqrt(q1) * np.sqrt(q2) * (1 - near if near <= far else far - 1)
    theta, out = np.array([k, q1, q2]), np.full((LAYERS, 2, 3), np.inf)
    for layer in range(LAYERS):
        if max(q1, q2) >= own.limit:
            break
        with np.errstate(all="ignore"):
            m1, t1, m2, t2, k, kdot, near, far = moments(own, q1, q2, near, far, order)
        theta = (K := np.array([k, m1, m2])) + np.array([kdot, t1, t2]) * theta
        if not (np.isfinite(theta).all() and np.isfinite(K).all() and min(m1, m2) > 0):
            break
        q1, q2, out[layer] = m1, m2, [K, theta]
    return out


def truth(own: Own, order: int = 10) -> np.ndarray:
    """(sizes, pairs, LAYERS, (K, Theta), (12, 11, 22))."""
    return np.array([[kernels(own, panels.exact(row[0], y), order) for y in row[1:]] for row in panels.points()])


if __name__ == "__main__":
    values: Any = {name: truth(given) for name, given in OWN.items()}
    np.savez_compressed(FROZEN, **values)
