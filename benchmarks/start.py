"""What waiting costs: largen and the first name that is asked of it beyond importing JAX, and the first call at depth 50 against depth 3.

Every measurement is a new process, opponents in turn; the claims are about differences and ratios of the least CPU seconds:
python benchmarks/start.py
"""

import subprocess
import sys

ROUNDS = 3
IMPORT_CLAIM, DEPTH_CLAIM = 0.15, 2.0  # seconds beyond JAX; times

IMPORT = "import time; t = time.process_time(); import jax; {then}; print(time.process_time() - t)"
USES = {
    "import largen": "import largen",
    **{f"lg.{name}": f"import largen as lg; lg.{name}" for name in ("mlp", "kernel", "predict", "init")},
}
FIRST_CALL = """
import time, numpy as np, largen as lg
X = np.random.default_rng(0).normal(size=(8, 30)).astype(np.float32)
net = lg.mlp(widths=[100] * {hidden}, out=1, activation={activation!r}, C_W=1.5, C_b=0.01)
lg.standardize(X), lg.kernel
t = time.process_time()
np.asarray(lg.kernel(net, X).ntk)
print(time.process_time() - t)
"""


def fastest(programs: dict[str, str]) -> dict[str, float]:
    """CPU seconds that each program prints, the least of several processes, all taking turns."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
            times[name].append(float(out.stdout))
    return {name: min(t) for name, t in times.items()}


def main() -> int:
    """Print the ratios; 0 if all claims hold."""
    times = fastest({"": IMPORT.format(then="pass"), **{name: IMPORT.format(then=then) for name, then in USES.items()}})
    jax = times.pop("")
    for name, seconds in times.items():
        print(f"{name} {seconds - jax:.2f} s beyond import jax, {jax:.2f} s (claim: at most {IMPORT_CLAIM} s)")
    good = max(times.values()) - jax <= IMPORT_CLAIM
    for activation in ("relu", "gelu", "tanh", "elu"):
        times = fastest({f"{hidden}": FIRST_CALL.format(hidden=hidden, activation=activation) for hidden in (2, 49)})
        ratio = times["49"] / times["2"]
        seconds = f"depth 50 {times['49']:.2f} s, depth 3 {times['2']:.2f} s"
        print(f"first {activation} kernel, {seconds}: {ratio:.2f} x (claim: at most {DEPTH_CLAIM} x)")
        good = good and ratio <= DEPTH_CLAIM
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
