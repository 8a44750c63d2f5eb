r"""Kernels of smooth networks on a grid of sizes and cosines, in numpy, by Hermite coefficients at the sizes.

    E[phi(z1) phi(z2)] = sum_m c^m A_m(q1) A_m(q2),    E[phi'(z1) phi'(z2)] likewise,    A_m(q) = E[phi(sqrt(q) u) h_m(u)]

(see `largen.gaussian.hermite`): coefficients belong to one size each, so that all pairs of sizes and all cosines of a pair cost one
product and one sum a term. The rules are those of `largen.theory.kernels`, without derivatives, for moments away from coincidence.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.architecture.branches import Concat, Product, Sum
from largen.architecture.nodes import Act, Dense, Serial
from largen.architecture.norms import LayerNorm, RMSNorm
from largen.architecture.walk import Theory, walk
from largen.gaussian import hermite
from largen.running.jitted import jitted
from largen.types import island

REST = 1e-10  # what Parseval may leave of a series, relative to the largest E[phi^2]
BATCH = 16  # sizes in one call, so that all calls share one compiled program
TERMS = (256, 2048)  # of a series, at first and at most


@dataclass(frozen=True)
class Moments:
    """`q` (sizes,); `k`, `theta` (pairs, cosines) of the pairs i <= j of sizes, in the order of `np.triu_indices`; `error` of the worst
    series, relative to the variance."""

    q: np.ndarray
    k: np.ndarray
    theta: np.ndarray
    error: float


FEATURES = Theory("the infinite-width kernel of smooth networks by Hermite coefficients")


@FEATURES.rule(Dense)
def _dense(node: Dense, at: Moments, rates: tuple[Any, Any], need: Any) -> Moments:
    theta = rates[0] + rates[1] * at.k + node.C_W * at.theta
    return Moments(node.C_b + node.C_W * at.q, node.C_b + node.C_W * at.k, theta, at.error)


@FEATURES.rule(Act)
def _act(node: Act, at: Moments, extra: Any, need: Any) -> Moments:
    phi, slope, rest = coefficients(node.activation, at.q)
    i, j = np.triu_indices(len(at.q))
    size = np.sqrt(at.q[i] * at.q[j])[:, None]
    c = np.clip(np.divide(at.k, size, out=np.zeros_like(at.k), where=size > 0), -1, 1)
    k, kdot = (_series(A[i] * A[j], c) for A in (phi, slope))
    return Moments((phi**2).sum(1), k, kdot * at.theta, max(at.error, rest))


@FEATURES.rule(LayerNorm)
@FEATURES.rule(RMSNorm)
def _norm(node: Any, at: Moments, extra: Any, need: Any) -> Moments:
    i, j = np.triu_indices(len(at.q))
    size = np.sqrt((at.q[i] + node.eps) * (at.q[j] + node.eps))[:, None]
    return replace(at, q=at.q / (at.q + node.eps), k=at.k / size, theta=at.theta / size)


@FEATURES.rule(Sum)
def _sum(node: Sum, at: Moments, through: Any, need: Any) -> Moments:
    return _added([send(at) for send in through], [w**2 for w in node.weights])


@FEATURES.rule(Concat)
def _concat(node: Concat, at: Moments, through: Any, need: Any) -> Moments:
    widths: Any = node.widths
    return _added([send(at) for send in through], [width / sum(widths) for width in widths])


def _added(ends: list[Moments], weights: list[float]) -> Moments:
    total = [sum(w * getattr(end, name) for w, end in zip(weights, ends, strict=True)) for name in ("q", "k", "theta")]
    return Moments(*total, max(end.error for end in ends))  # type: ignore[arg-type]


@FEATURES.rule(Product)
def _product(node: Product, at: Moments, through: Any, need: Any) -> Moments:
    first, *others = (send(at) for send in through)
    for end in others:
        theta = first.theta * end.k + first.k * end.theta
        first = Moments(first.q * end.q, first.k * end.k, theta, max(first.error, end.error))
    return first


def grid(net: Serial, rates: dict[str, Any], q: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, float]:
    """(K and Theta (2, sizes, sizes, cosines), error) for every two points of sizes q and every cosine c."""
    i, j = np.triu_indices(len(q))
    k = np.sqrt(q[i] * q[j])[:, None] * c
    last, _ = walk(net, FEATURES, Moments(q, k, np.zeros_like(k), 0.0), rates)
    out = np.empty((2, len(q), len(q), len(c)))
    out[:, i, j] = out[:, j, i] = last.k, last.theta
    return out, last.error


def coefficients(phi: Activation, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(A of phi, A of phi', rest): (sizes, terms) each, and the largest share of E[phi^2] or E[phi'^2] that the terms leave."""
    u, w = hermite.nodes(np.float64)
    r = np.resize(np.sqrt(q), -(-len(q) // BATCH) * BATCH)
    with island():
        values = np.concatenate([np.asarray(_values(phi, part[:, None] * u)) for part in r.reshape(-1, BATCH)], 1)[:, : len(q)]
        totals = values**2 @ w
        for most in TERMS:
            found = np.asarray(jnp.matmul(values, _polynomials(most)))
            left = np.abs(totals[..., None] - (found * found).cumsum(2)).max(1) / totals.max(1)[:, None]
            rest = left.max(0)
            if rest.min() <= REST:
                break
    terms = int(np.argmax(rest <= max(REST, rest.min()))) + 1
    return found[0, :, :terms], found[1, :, :terms], float(rest[terms - 1])


@jitted(static=(0,))
def _values(phi: Activation, z: Any) -> Any:
    """phi and phi', stacked."""
    return jnp.stack([phi(z), phi.derivative()(z)])


@lru_cache(maxsize=len(TERMS))
def _polynomials(terms: int) -> Any:
    """Weights times the first normalised Hermite polynomials at the nodes, (nodes, terms)."""
    u, w = hermite.nodes(np.float64)
    half = np.exp(-u * u / 4)  # Hermite functions stay bounded
    out = np.empty((terms, len(u)))
    out[0], out[1] = half, u * half
    for m in range(1, terms - 1):
        out[m + 1] = (u * out[m] - np.sqrt(m) * out[m - 1]) / np.sqrt(m + 1)
    return jnp.asarray((out * (w / half)).T)


def _series(a: np.ndarray, c: np.ndarray) -> np.ndarray:
    """sum_m a_m c^m for every pair: a (pairs, terms), c (pairs, cosines)."""
    total = np.zeros_like(c)
    for column in a.T[::-1, :, None]:
        total *= c
        total += column
    return total
