"""What first order in 1/n costs: all tensors of 8 inputs by lattices, of 24 by quasi-random points, one input at depth 10,000; and
theory against sampling real networks, plainly and averaged over their last weights, at 1 % of every tensor.

    python benchmarks/corrections.py

Absolute claims, for two idle cores: 8 standardised inputs, depth 5, tanh and GELU, at most 30 s after compiling, below 4 GiB, with an
error below 1e-6 of the largest entry (estimated by shifted lattices; tests/theory/test_tangent.py holds four inputs against the printed
recursions); 24 inputs at most 60 s, 1e-3 in the root mean square.
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import largen as lg

TENSORS = ("V", "D", "F", "A", "B", "P", "Q", "R", "S", "T", "U")
LATTICE, SAMPLED, ERROR, SPREAD, MEMORY = 30.0, 60.0, 1e-6, 1e-3, 4.0
NETWORKS, WIDTH = 512, 64


def inputs(n: int) -> np.ndarray:
    """Standardised inputs of 20 features."""
    X = np.random.default_rng(0).normal(size=(n, 20))
    return X / np.sqrt((X**2).mean(1, keepdims=True))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    out = call()
    return out, time.perf_counter() - began


def many(name: str) -> bool:
    """8 inputs, exactly."""
    net, X = lg.mlp(widths=[64] * 4, out=1, activation=name, C_W=1.2), inputs(8)
    _, first = timed(lambda: lg.corrections(net, X))
    out, took = timed(lambda: lg.corrections(net, X))
    print(f"{name}, 8 inputs, depth 5: {took:.1f} s ({first:.1f} s with compiling); estimated error {float(out.error):.1e}")
    return took <= LATTICE and float(out.error) <= ERROR


def sampled(name: str) -> bool:
    """24 inputs, by quasi-random points."""
    out, took = timed(lambda: lg.corrections(lg.mlp(widths=[64] * 4, out=1, activation=name, C_W=1.2), inputs(24)))
    errors = {t: out.standard_errors[t] / np.abs(getattr(out, t)).max() for t in TENSORS}
    spread, worst = (max(float(f(e)) for e in errors.values()) for f in (lambda e: np.sqrt((e**2).mean()), np.max))
    print(f"{name}, 24 inputs, depth 5: {took:.1f} s; standard errors {spread:.1e} in the root mean square, {worst:.1e} at most")
    return took <= SAMPLED and spread <= SPREAD


def deep() -> None:
    net = lg.mlp(widths=[64] * 9_999, activation="tanh")
    _, first = timed(lambda: lg.corrections(net, np.ones((1, 3))))
    print(f"tanh, one input, depth 10,000: {timed(lambda: lg.corrections(net, np.ones((1, 3))))[1]:.1f} s ({first:.1f} s with compiling)")


def plain(net: Any, params: Any, X: np.ndarray) -> dict[str, np.ndarray]:
    """One number a network for every tensor from its outputs alone, by the pattern of output indices that singles it out."""
    n, z = WIDTH, np.asarray(lg.each(lg.apply, net, params, X, chunk=64), float)
    H = np.asarray(lg.each(lg.empirical_ntk, net, params, X, chunk=16), float)
    H = H - H.mean(0)
    squares = np.einsum("kai,kbi->kabi", z, z)
    squares = squares - squares.mean(0)
    out = {"V": np.einsum("kab,kcd->kabcd", squares[..., 0], squares[..., 1])}
    out["D"] = np.einsum("ka,kb,kcd->kabcd", z[..., 0], z[..., 0], H[..., 1, 1])
    out["A"] = np.einsum("kab,kcd->kabcd", H[..., 0, 0], H[..., 1, 1])
    out["F"] = np.einsum("ka,kc,kbd->kabcd", z[..., 0], z[..., 1], H[..., 0, 1])
    out["B"] = np.einsum("kac,kbd->kabcd", H[..., 0, 1], H[..., 0, 1])
    return {name: n * value for name, value in out.items()}


def against_networks(count: int) -> None:
    """Seconds of theory, and of real networks until every tensor is known to 1 % of its largest entry."""
    X, net = inputs(count), lg.mlp(widths=[WIDTH] * 2, out=2, activation="tanh", C_W=1.2)
    lg.corrections(net, X)
    theory, took = timed(lambda: lg.corrections(net, X))
    params = lg.init(net, X.shape[1], jax.random.key(0), networks=NETWORKS, dtype=np.float32)
    points = X.astype(np.float32)
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "averaged over last weights": lambda: vars(lg.each(lg.measure.tensors, net, params, points, chunk=64)),
        "plain outputs and NTKs (V, D, A, F, B)": lambda: plain(net, params, points),
    }
    print(f"{count} input{'s' * (count > 1)}, depth 3: theory {1e3 * took:.0f} ms; to know every tensor to 1 %:")
    for name, way in ways.items():
        way()
        found, spent = timed(way)
        needed = 0.0
        for tensor, values in found.items():
            if values is not None and tensor in TENSORS:
                deviation = float(np.asarray(values, float).std(0).max()) / float(np.abs(getattr(theory, tensor)).max())
                needed = max(needed, (deviation / 0.01) ** 2)
        total = needed * spent / NETWORKS
        print(f"  real networks, {name}: {needed:.1e} networks, {total:.0f} s, {total / took:.0f} x theory")


def main() -> int:
    good = [many("tanh"), many("gelu"), sampled("tanh")]
    deep()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"memory at most {used:.2f} GiB")
    for count in (1, 2):
        against_networks(count)
    return 0 if all(good) and used < MEMORY else 1


if __name__ == "__main__":
    sys.exit(main())
