"""How fast is `lg.gram`? Against the matrix product that any Gram matrix costs, in the same run, on fresh points every time.

neural-tangents' times of a repeated call are figures recorded elsewhere on two cores, printed as what they are. In every row 200
entries are checked against `lg.kernel` in float64. Run it on an idle machine: python -P benchmarks/gram.py
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import largen as lg

FEATURES, ROUNDS = 784, 5
RATIO, FIRST, MEMORY, ERROR = 1.65, 1.0, 2.5, 1e-5  # claims: times X @ X.T, seconds, arrays of n^2, relative to the largest entry
RECORDED = {"relu": (0.307, 15), "erf": (0.259, 8), "gelu": (0.284, 8)}  # neural-tangents, seconds; times faster claimed


def points(n: int, seed: int, equal: bool) -> np.ndarray:
    """Standard normal rows, of equal norms if asked, else of norms over a factor of 4; the second nearly the first."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, FEATURES))
    X[1] = X[0] + 1e-3 * X[1]
    X /= np.sqrt((X**2).mean(1, keepdims=True))
    return (X if equal else X * rng.uniform(0.5, 2, (n, 1))).astype(np.float32)


def net(activation: str, depth: int, C_W: float, C_b: float) -> Any:
    return lg.mlp(widths=[512] * (depth - 1), out=1, activation=activation, C_W=C_W, C_b=C_b)


def seconds(call: Callable[[Any], Any], inputs: list[Any]) -> tuple[float, float]:
    """(of the first call, the least of the others)."""
    times = []
    for X in inputs:
        began = time.perf_counter()
        jax.block_until_ready(call(X))
        times.append(time.perf_counter() - began)
    return times[0], min(times[1:])


def error(what: Any, X: np.ndarray) -> float:
    """Of 200 entries of K and Theta, relative to the largest of all."""
    out, rows, columns = lg.gram(what, X), np.r_[0, 7:16], np.r_[0, 1, len(X) - 18 : len(X)]
    wanted = lg.kernel(what, X[rows].astype(np.float64), X[columns].astype(np.float64))
    places = np.ix_(rows, columns)
    both = ((out.nngp, wanted.nngp), (out.ntk, wanted.ntk))
    return max(float(np.abs(got[places] - true).max() / np.abs(got).max()) for got, true in both)


def row(name: str, what: Any, n: int, equal: bool) -> tuple[float, float, float, bool]:
    """Print one line; (first call, least of the others, times the product, whether the entries are right)."""
    inputs = [points(n, seed, equal) for seed in range(ROUNDS)]
    product = jax.jit(lambda X: X @ X.T)
    floor = seconds(product, [jnp.asarray(X) for X in inputs])[1]
    first, again = seconds(lambda X: lg.gram(what, X), inputs)
    off = error(what, inputs[0])
    print(f"{name:34} n={n}: {again:.4f} s, {again / floor:.2f} x X @ X.T ({floor:.4f} s); first call {first:.2f} s; off by {off:.0e}")
    return first, again, again / floor, off <= ERROR


def peak(n: int) -> float:
    """How many float32 arrays of n^2 the resident memory grows by, at its peak, over one call; before larger ones in this process."""
    what, X = net("relu", 10, 2.0, 0.0), points(n, 1, False)
    lg.gram(what, X[:1600])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lg.gram(what, X)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (4 * n * n)


def main() -> int:
    """Print all rows and verdicts; 0 if all claims hold."""
    jax.block_until_ready(jnp.ones(3) + 1)  # starts JAX
    good = True

    def verdict(text: str, holds: bool) -> None:
        nonlocal good
        good = good and holds
        print(f"  claim: {text}: {'holds' if holds else 'FAILS'}")

    for activation, (recorded, times) in RECORDED.items():
        first, again, _, right = row(f"{activation} depth 50, equal norms", net(activation, 50, 2.0, 0.01), 1000, True)
        verdict(f"{times} x faster than neural-tangents' recorded {recorded} s; measured {recorded / again:.1f}", recorded / again >= times)
        verdict(f"first call at most {FIRST:g} s", first <= FIRST)
        verdict(f"entries right to {ERROR:g}", right)
    arrays = peak(8000)
    print("relu depth 10, any norms, n=8000: memory")
    verdict(f"grows by at most {MEMORY:g} n^2 arrays; measured {arrays:.2f}", arrays <= MEMORY)
    for depth in (10, 50):
        _, _, ratio, right = row(f"relu depth {depth}, any norms", net("relu", depth, 2.0, 0.0), 8000, False)
        verdict(f"at most {RATIO:g} x the product", ratio <= RATIO)
        verdict(f"entries right to {ERROR:g}", right)
    for activation in ("gelu", "tanh"):
        _, _, _, right = row(f"{activation} depth 5, unequal norms", net(activation, 5, 1.96, 0.1), 4000, False)
        verdict(f"entries right to {ERROR:g}", right)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
