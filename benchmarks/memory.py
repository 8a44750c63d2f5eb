"""What `lg.explain` says a kernel takes in memory, held against what `lg.gram` took: growth of the process at its peak.

    python benchmarks/memory.py [name ...]

Every network runs in a process of its own, on Linux (the peak is that of /proc/self/status, set back before the call).
"""

# ruff: noqa: E501

import json
import subprocess
import sys

NETWORKS = {  # name: (network, shape of a point, points, dtype)
    "relu, 3 layers": ("lg.mlp(widths=[64] * 3, activation='relu', C_W=2.0)", (50,), 4000, "float32"),
    "relu, 3 layers, double": ("lg.mlp(widths=[64] * 3, activation='relu', C_W=2.0)", (50,), 3000, "float64"),
    "relu, few points": ("lg.mlp(widths=[64] * 3, activation='relu', C_W=2.0)", (50,), 100, "float64"),
    "relu with biases": ("lg.mlp(widths=[64] * 2, activation='relu', C_W=2.0, C_b=0.1)", (30,), 3000, "float32"),
    "many features": ("lg.mlp(widths=[64], activation='relu', C_W=2.0)", (20000,), 1500, "float32"),
    "tanh, 2 layers": ("lg.mlp(widths=[64] * 2, activation='tanh', C_W=1.5)", (20,), 600, "float64"),
    "tanh on many points": ("lg.mlp(widths=[64] * 2, activation='tanh', C_W=1.5)", (20,), 2500, "float32"),
    "gelu, 4 layers": ("lg.mlp(widths=[64] * 4, activation='gelu', C_W=1.98)", (20,), 1500, "float64"),
    "erf, 1 layer": ("lg.mlp(widths=[64], activation='erf', C_W=1.5)", (20,), 3000, "float64"),
    "sin": ("lg.mlp(widths=[64], activation='sin', C_W=1.5)", (20,), 1200, "float64"),
    "residual": ("lg.resnet_mlp(64, blocks=4, activation='relu', C_W=1.0)", (20,), 1500, "float64"),
    "layer norm": ("lg.Dense(64) >> lg.LayerNorm() >> lg.Act('gelu') >> lg.Dense(1)", (20,), 1500, "float64"),
    "product": ("lg.Dense(8) >> lg.Product(lg.Act('relu') >> lg.Dense(8), lg.Act('tanh') >> lg.Dense(8)) >> lg.Dense(1)", (20,), 800, "float64"),
    "flattened images": ("lg.cnn([16] * 2, activation='relu', C_W=2.0)", (16, 16, 3), 400, "float32"),
    "flattened images, double": ("lg.cnn([16] * 2, activation='relu', C_W=2.0)", (12, 12, 3), 150, "float64"),
    "pooled images": ("lg.Conv(16, 3) >> lg.Act('relu') >> lg.GlobalAvgPool() >> lg.Dense(1)", (8, 8, 3), 150, "float32"),
    "pooled images, double": ("lg.Conv(16, 3) >> lg.Act('relu') >> lg.GlobalAvgPool() >> lg.Dense(1)", (8, 8, 3), 60, "float64"),
    "pooled images, tanh": ("lg.Conv(16, 3) >> lg.Act('tanh') >> lg.GlobalAvgPool() >> lg.Dense(1)", (4, 4, 3), 8, "float64"),
    "larger pooled images": ("lg.Conv(16, 3) >> lg.Act('relu') >> lg.AvgPool(2) >> lg.Flatten() >> lg.Dense(1)", (16, 16, 3), 24, "float64"),
    "attention": ("lg.transformer(width=16, blocks=1, heads=2)", (8, 4), 40, "float64"),
}  # fmt: skip

MEASURE = """
import sys
import numpy as np, largen as lg
net, shape, n, dtype = {network}, {shape}, {n}, {dtype!r}
X = np.random.default_rng(0).normal(size=(n, *shape)).astype(dtype)
lg.kernel(lg.mlp(widths=[2], activation="linear"), X[:2].reshape(2, -1)[:, :3])
def held(name):
    return 1024 * int(open("/proc/self/status").read().split(name + ":")[1].split()[0])
open("/proc/self/clear_refs", "w").write("5")
before = held("VmRSS")
out = lg.gram(net, X)
print(held("VmHWM") - before)
"""

# ruff: noqa: E501


def taken(name: str) -> float:
    """Bytes by which a process grew at the peak of the call."""
    network, shape, n, dtype = NETWORKS[name]
    code = MEASURE.format(network=network, shape=shape, n=n, dtype=dtype)
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{name}: {ran.stderr[-2000:]}")
    return float(ran.stdout)


def said(name: str) -> tuple[float, float]:
    """Bytes of the result, and in work."""
    import largen as lg

    network, shape, n, dtype = NETWORKS[name]
    found = lg.explain(eval(network, {"lg": lg}), shape, n, dtype)
    return found.result, found.work


def main() -> None:
    for name in sys.argv[1:] or NETWORKS:
        result, work = said(name)
        grown = taken(name)
        row = {"network": name, "result": result, "work": work, "taken": grown, "said/taken": round((result + work) / grown, 2)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
