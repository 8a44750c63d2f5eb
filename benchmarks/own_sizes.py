"""The error that kernels of users' own callables say they have, beside the one that they have, at every size.

    python benchmarks/own_sizes.py [tanh late ...] [--sizes 1 1e3] [--versines 0 1e-6]

For each callable of `tests/activations/own.py`, whose truth by an independent rule is frozen there: one and three hidden layers, variances
1e-12 to 1e12, 1 - c from 0 to 2, equal sizes and 1 : 1e3. A cell is within if `.error` lies between a third and 100 times the true error,
relative to sqrt(K_ii K_jj) and sqrt(Theta_ii Theta_jj), or both are below 1e-8, and a warning says so where it is above 1e-6.
"""

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import largen as lg
from largen.errors import AccuracyWarning, InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "activations"))
import own
import panels

NAMES = ["tanh", "far", "steep", "late", "late, declared", "clipped", "jump", "exponential", "ninth", "narrow", "bump", "gate", "sawtooth"]
SMALL, WARNED = 1e-8, 1e-6


def verdict(phi: Any, X: np.ndarray, hidden: int, right: np.ndarray) -> tuple[str, float, float]:
    """(what became of a cell, the error that is said, the true one), for two points and their (K, Theta) x (12, 11, 22)."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            out = lg.kernel(lg.mlp(widths=[1] * hidden, out=1, activation=phi, C_W=1.0), X)
        except InputError:
            return "refused", np.nan, np.nan
    off = 0.0
    for found, (cross, one, two) in zip((out.nngp, out.ntk), right, strict=True):
        size = np.sqrt([one, two])
        off = max(off, float((np.abs(found - np.array([[one, cross], [cross, two]])) / size / size[:, None]).max()))
    error, warned = float(out.error), any(issubclass(w.category, AccuracyWarning) for w in said)
    if warned != (error > WARNED):
        return "unsaid", error, off
    honest = off / 3 <= error <= 100 * off or max(off, error) < SMALL
    return "within" if honest else "too small" if error < off else "too large", error, off


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", default=NAMES)
    asked.add_argument("--sizes", nargs="*", type=float, default=panels.SIZES)
    asked.add_argument("--versines", nargs="*", type=float, default=panels.VERSINES)
    asked.add_argument("--hidden", nargs="*", type=int, default=(1, 3))
    given, X, frozen, total = asked.parse_args(), panels.points().astype(float), np.load(own.FROZEN), Counter()
    for name in given.names:
        phi, counts = lg.activation(own.OWN[name].fn, kinks=own.OWN[name].kinks), Counter()
        for hidden in given.hidden:
            for i, j in np.ndindex(len(panels.SIZES), len(panels.RATIOS) * len(panels.VERSINES)):
                ratio, versine = panels.RATIOS[j // len(panels.VERSINES)], panels.VERSINES[j % len(panels.VERSINES)]
                right = frozen[name][i, j, hidden - 1]
                if panels.SIZES[i] not in given.sizes or versine not in given.versines or not np.isfinite(right).all():
                    continue
                what, error, off = verdict(phi, X[i][[0, 1 + j]], hidden, right)
                counts[what] += 1
                if what not in ("within", "refused"):
                    cell = f"{name}, {hidden} hidden, K {panels.SIZES[i]:g}, ratio {ratio:g}, 1 - c {versine:g}"
                    print(f"  {cell}: {what}, {error:.1e}, true {off:.1e}")
        print(f"{name}: {dict(counts)}", flush=True)
        total += counts
    print(f"all: {dict(total)}")


if __name__ == "__main__":
    main()
