"""How fast is `lg.gram` on images? Time per pair, all n^2 pairs of X with itself counted, NNGP and NTK both; compilation apart.

Fresh images every time, in float32. neural-tangents does the same beside it where a Python that has it is named:
python -P benchmarks/convolutions.py --opponent /path/to/python. Some entries are checked against `lg.kernel` in float64.
Run it on an idle machine; seconds of CPU are printed too, which other work disturbs less.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

import largen as lg

ROUNDS, ERROR = 5, 1e-5
C_W, C_B = 2.0, 0.01
# points, points of neural-tangents, times faster claimed, rows and columns checked
ROWS = {"flatten": (192, 64, 8, 10, 20), "average": (16, 3, 60, 2, 3), "myrtle": (16, 3, 16, 2, 3)}
NAMES = {"flatten": "3 convolutions, flattened", "average": "3 convolutions, global average", "myrtle": "Myrtle-5"}

OPPONENT = """
import json, sys, time, jax, numpy as np
from neural_tangents import stax
name, n, rounds, C_W, C_b = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:])
scale = dict(W_std=C_W**0.5, b_std=C_b**0.5 if name != "myrtle" else None)
conv = lambda: [stax.Conv(1, (3, 3), (1, 1), "SAME", **scale), stax.Relu()]
pool = lambda: [stax.AvgPool((2, 2), (2, 2), "VALID")]
layers = {"flatten": lambda: conv() + conv() + conv() + [stax.Flatten()],
          "average": lambda: conv() + conv() + conv() + [stax.GlobalAvgPool()],
          "myrtle": lambda: conv() + conv() + pool() + conv() + pool() + conv() + pool() + pool() + pool() + [stax.Flatten()]}[name]()
kernel = jax.jit(stax.serial(*layers, stax.Dense(1, **scale))[2], static_argnames="get")
wall, cpu = [], []
for seed in range(rounds + 1):
    X = np.random.default_rng(seed).normal(size=(n, 32, 32, 3)).astype(np.float32)
    began, used = time.perf_counter(), time.process_time()
    out = jax.block_until_ready(kernel(X, None, get=("nngp", "ntk")))
    wall.append(time.perf_counter() - began)
    cpu.append(time.process_time() - used)
    if seed == 0:
        first = [np.asarray(out.nngp).tolist(), np.asarray(out.ntk).tolist()]
print(json.dumps({"wall": min(wall[1:]), "cpu": min(cpu[1:]), "first": wall[0], "values": first}))
"""


def net(name: str) -> Any:
    if name == "myrtle":
        return lg.myrtle(5, C_W=C_W)
    return lg.cnn([16, 16, 16], pool=name == "average", C_W=C_W, C_b=C_B)


def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 32, 32, 3)).astype(np.float32)


def ours(name: str, n: int) -> tuple[float, float, float]:
    """Seconds: the least of wall time and of CPU time, and those of the first call."""
    wall, cpu = [], []
    for seed in range(ROUNDS + 1):
        X = images(n, seed)
        began, used = time.perf_counter(), time.process_time()
        lg.gram(net(name), X)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return min(wall[1:]), min(cpu[1:]), wall[0]


def theirs(python: str, name: str, n: int) -> dict[str, Any]:
    command = [python, "-c", OPPONENT, name, str(n), str(2 if n < 10 else ROUNDS), str(C_W), str(C_B)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def error(name: str, n: int, rows: int, columns: int) -> float:
    """Of random entries of K and Theta against float64, relative to the largest of all."""
    X, rng = images(n, 0), np.random.default_rng(1)
    i, j = rng.permutation(n)[:rows], rng.permutation(n)[:columns]
    out, wanted = lg.gram(net(name), X), lg.kernel(net(name), X[i].astype(np.float64), X[j].astype(np.float64))
    both = ((out.nngp, wanted.nngp), (out.ntk, wanted.ntk))
    return max(float(np.abs(got[np.ix_(i, j)] - true).max() / np.abs(got).max()) for got, true in both)


def main() -> int:
    """Print all rows and verdicts; 0 if all claims hold."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--opponent", help="a Python with neural-tangents 0.6.5")
    ask.add_argument("--only", choices=ROWS, help="one row")
    given, good = ask.parse_args(), True
    if given.opponent is None:
        print("neural-tangents does not run beside: no Python with it was named (--opponent).")
    for name in [given.only] if given.only else ROWS:
        n, others, times, rows, columns = ROWS[name]
        wall, cpu, first = ours(name, n)
        off = error(name, n, rows, columns)
        good = good and off <= ERROR
        per = 1e6 / n**2
        print(f"{NAMES[name]}, 32 x 32 x 3, n={n}: {wall * per:.1f} us a pair, {cpu * per:.1f} us of CPU; first call {first:.1f} s")
        print(f"  off by {off:.0e} in {rows * columns} entries, at most {ERROR:g} claimed: {'holds' if off <= ERROR else 'FAILS'}")
        if given.opponent is not None:
            them = theirs(given.opponent, name, others)
            apart = lg.gram(net(name), images(others, 0))
            values = zip((apart.nngp, apart.ntk), them["values"], strict=True)
            differ = max(float(np.abs(a - np.array(b)).max() / np.abs(a).max()) for a, b in values)
            ratio, share = them["wall"] / others**2 / wall * n**2, them["cpu"] / others**2 / cpu * n**2
            good = good and ratio >= times
            print(f"  neural-tangents, n={others}: {them['wall'] * 1e6 / others**2:.1f} us, {them['cpu'] * 1e6 / others**2:.1f} us of CPU")
            verdict = f"{times} claimed: {'holds' if ratio >= times else 'FAILS'}"
            print(f"  values differ by {differ:.0e}; {ratio:.0f} times faster ({share:.0f} in CPU), {verdict}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
