"""How fast is `lg.gram`? Against neural-tangents, and against the matrix product that any Gram matrix costs, on fresh points every time.

Every case runs in a fresh process, then the opponent on the same points in its own environment: --opponent /path/to/python with
neural-tangents 0.6.5 and jax 0.4.25 (without it the figures are ours alone). The first call counts all tracing and compiling. Of each
case 200 entries are held against `lg.kernel` in float64. Run it on an idle machine: python -P benchmarks/gram.py
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import largen as lg

FEATURES, ROUNDS, SHORT = 784, 5, 12  # calls, and where they take milliseconds
MEMORY, ERROR = 2.5, 1e-5  # claims: arrays of n^2, relative to the largest entry
THEIRS = Path(__file__).with_name("gram_opponent.py")


@dataclass(frozen=True)
class Case:
    """`norms`: "equal", or |x|^2/n_0 over a "factor 16" or from "0.05 to 20". Claims: `times` faster than the opponent's `forms` (the
    fastest of them), `first` call in seconds, `ratio` to X @ X.T, `like` another case."""

    activation: str
    depth: int
    n: int
    norms: str
    C_W: float
    C_b: float
    forms: tuple[str, ...] = ()
    times: float | None = None
    first: float | None = None
    ratio: float | None = None
    like: tuple[str, float] | None = None

    @property
    def name(self) -> str:
        return f"{self.activation} depth {self.depth}, n={self.n}"


HARD = "0.05 to 20"
CASES = (
    Case("relu", 50, 1000, "equal", 2.0, 0.01, ("repeat", "repeat+jit"), 15, 1.0),
    Case("erf", 50, 1000, "equal", 2.0, 0.01, ("repeat", "repeat+jit"), 8, 1.0),
    Case("gelu", 50, 1000, "equal", 2.0, 0.01, ("repeat", "repeat+jit"), 8, 1.0),
    Case("gelu", 5, 4000, HARD, 1.96, 0.1, ("serial+jit", "repeat+jit"), 4, 3.0),
    Case("tanh", 5, 4000, HARD, 1.96, 0.1, first=3.0, like=("gelu depth 5, n=4000", 1.3)),
    Case("relu", 10, 4000, "factor 16", 2.0, 0.0, ("serial+jit",), 15),
    Case("relu", 10, 8000, "factor 16", 2.0, 0.0, ratio=1.65),
    Case("relu", 50, 8000, "factor 16", 2.0, 0.0, ratio=1.65),
)


def points(n: int, seed: int, norms: str) -> np.ndarray:
    """Standard normal rows of the norms asked for; the second nearly the first."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, FEATURES))
    X[1] = X[0] + 1e-3 * X[1]
    X /= np.sqrt((X**2).mean(1, keepdims=True))
    q = {"equal": np.ones(n), "factor 16": rng.uniform(0.5, 2, n) ** 2, HARD: 0.05 * 400 ** rng.uniform(size=n)}[norms]
    return (X * np.sqrt(q)[:, None]).astype(np.float32)


def net(case: Case) -> Any:
    return lg.mlp(widths=[512] * (case.depth - 1), out=1, activation=case.activation, C_W=case.C_W, C_b=case.C_b)


def clock(call: Callable[[Any], Any], inputs: Any) -> dict[str, float]:
    """Wall seconds of the first call; the least of the others, and of their CPU seconds."""
    times = []
    for X in inputs:
        began, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(call(X))
        times.append((time.perf_counter() - began, time.process_time() - cpu))
    wall, cpu = zip(*times, strict=True)
    return {"first": wall[0], "again": min(wall[1:]), "cpu": min(cpu[1:])}


def error(what: Any, X: np.ndarray, out: Any) -> float:
    """Of 200 entries of K and Theta, relative to the largest of all."""
    rows, columns = np.r_[0, 7:16], np.r_[0, 1, len(X) - 18 : len(X)]
    wanted = lg.kernel(what, X[rows].astype(np.float64), X[columns].astype(np.float64))
    both = ((out.nngp, wanted.nngp), (out.ntk, wanted.ntk))
    return max(float(np.abs(got[np.ix_(rows, columns)] - true).max() / np.abs(got).max()) for got, true in both)


def ours(case: Case, inputs: np.ndarray) -> dict[str, float]:
    """The figures of one case, in this process."""
    what = net(case)
    jax.block_until_ready(jnp.ones(3) + 1)  # starts JAX
    out = clock(lambda X: lg.gram(what, X), inputs)
    product = jax.jit(lambda X: X @ X.T)
    out["product"] = clock(product, [jnp.asarray(X) for X in inputs])["again"]
    return {**out, "error": error(what, inputs[0], lg.gram(what, inputs[0]))}


def arrays() -> float:
    """How many float32 arrays of n^2 the resident memory grows by, at its peak, over one call."""
    case, n = CASES[-2], 8000
    what, X = net(case), points(n, 1, case.norms)
    lg.gram(what, X[:1600])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lg.gram(what, X)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (4 * n * n)


def fresh(*command: Any) -> Any:
    """What a process prints as JSON on its last line."""
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Print all rows and verdicts; 0 if all claims that were measured hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--opponent", help="a Python that has neural-tangents")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)  # this process is the fresh one
    given = parser.parse_args()
    if given.inside:
        which, inputs = given.inside
        print(json.dumps(arrays() if which == "memory" else ours(CASES[int(which)], np.load(inputs))))
        return 0
    if not given.opponent:
        print("No --opponent: figures of largen alone.")
    good, again = True, {}

    def verdict(text: str, holds: bool) -> None:
        nonlocal good
        good = good and holds
        print(f"  claim: {text}: {'holds' if holds else 'FAILS'}", flush=True)

    here = (sys.executable, "-P", __file__, "--inside")
    for i, case in enumerate(CASES):
        if given.only not in case.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder) / "inputs.npy"
            np.save(inputs, np.stack([points(case.n, seed, case.norms) for seed in range(SHORT if case.n <= 1000 else ROUNDS)]))
            mine = fresh(*here, i, inputs)
            setting = (case.activation, case.depth, case.C_W, case.C_b)
            theirs = {form: fresh(given.opponent, THEIRS, inputs, *setting, form) for form in case.forms} if given.opponent else {}
        again[case.name] = mine["again"]
        print(
            f"{case.name}, norms {case.norms}: {mine['again']:.4f} s ({mine['cpu']:.4f} CPU s), {mine['again'] / mine['product']:.2f} x "
            f"X @ X.T ({mine['product']:.4f} s); first call {mine['first']:.2f} s; off by {mine['error']:.0e}"
        )
        for form, other in theirs.items():
            print(f"  neural-tangents, {form}: {other['again']:.3f} s ({other['cpu']:.3f} CPU s); first call {other['first']:.2f} s")
        verdict(f"entries right to {ERROR:g}", mine["error"] <= ERROR)
        if theirs and case.times:
            wall, cpu = (min(other[key] for other in theirs.values()) / mine[key] for key in ("again", "cpu"))
            verdict(f"{case.times:g} x faster than neural-tangents; measured {wall:.1f} ({cpu:.1f} in CPU s)", wall >= case.times)
        if case.first:
            verdict(f"first call at most {case.first:g} s", mine["first"] <= case.first)
        if case.ratio:
            verdict(f"at most {case.ratio:g} x the product", mine["again"] <= case.ratio * mine["product"])
        if case.like and case.like[0] in again:
            verdict(f"at most {case.like[1]:g} x {case.like[0]}", mine["again"] <= case.like[1] * again[case.like[0]])
    if given.only in "memory":
        grown = fresh(*here, "memory", "-")
        verdict(f"memory of n=8000 grows by at most {MEMORY:g} n^2 arrays; measured {grown:.2f}", grown <= MEMORY)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
