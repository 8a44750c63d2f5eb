"""What `lg.explain` says a first and a later `lg.gram` take, held against what they took: CPU seconds of a process of its own.

    python benchmarks/forecast.py [name ...]

Later calls are on fresh points; the shorter of two counts. A machine that does something else meanwhile is no hindrance.
"""

# ruff: noqa: E501

import json
import subprocess
import sys

NETWORKS = {  # name: (network, shape of a point, points, dtype)
    "relu, 100 points": ("lg.mlp(widths=[64] * 3, activation='relu', C_W=2.0)", (50,), 100, "float64"),
    "tanh, 100 points": ("lg.mlp(widths=[64] * 2, activation='tanh', C_W=1.5)", (20,), 100, "float64"),
    "gelu, 4 layers": ("lg.mlp(widths=[64] * 4, activation='gelu', C_W=1.98)", (20,), 60, "float32"),
    "elu": ("lg.mlp(widths=[64] * 2, activation='elu', C_W=1.5)", (20,), 100, "float64"),
    "residual, normalised": ("lg.resnet_mlp(64, blocks=3, activation='gelu', norm=True)", (20,), 100, "float64"),
    "product": ("lg.Dense(8) >> lg.Product(lg.Act('relu') >> lg.Dense(8), lg.Act('tanh') >> lg.Dense(8)) >> lg.Dense(1)", (20,), 100, "float64"),
    "relu, 3 layers": ("lg.mlp(widths=[64] * 3, activation='relu', C_W=2.0)", (50,), 4000, "float32"),
    "relu, 9 layers": ("lg.mlp(widths=[64] * 9, activation='relu', C_W=2.0)", (50,), 1500, "float64"),
    "relu with biases": ("lg.mlp(widths=[64] * 2, activation='relu', C_W=2.0, C_b=0.1)", (30,), 2000, "float32"),
    "erf": ("lg.mlp(widths=[64], activation='erf', C_W=1.5)", (20,), 2000, "float64"),
    "sin": ("lg.mlp(widths=[64], activation='sin', C_W=1.5)", (20,), 800, "float64"),
    "residual": ("lg.resnet_mlp(64, blocks=4, activation='relu', C_W=1.0)", (20,), 1000, "float64"),
    "layer norm": ("lg.Dense(64) >> lg.LayerNorm() >> lg.Act('gelu') >> lg.Dense(1)", (20,), 1000, "float64"),
    "tanh, many points": ("lg.mlp(widths=[64] * 2, activation='tanh', C_W=1.5)", (20,), 1000, "float32"),
    "tanh, some points": ("lg.mlp(widths=[64] * 2, activation='tanh', C_W=1.5)", (20,), 400, "float64"),
    "flattened images": ("lg.cnn([16] * 2, activation='relu', C_W=2.0)", (16, 16, 3), 100, "float32"),
    "flattened images, double": ("lg.cnn([16] * 2, activation='relu', C_W=2.0)", (12, 12, 3), 40, "float64"),
    "pooled images": ("lg.Conv(16, 3) >> lg.Act('relu') >> lg.GlobalAvgPool() >> lg.Dense(1)", (8, 8, 3), 40, "float32"),
    "pooled images, double": ("lg.Conv(16, 3) >> lg.Act('relu') >> lg.GlobalAvgPool() >> lg.Dense(1)", (8, 8, 3), 16, "float64"),
    "attention": ("lg.transformer(width=16, blocks=1, heads=2)", (8, 4), 20, "float64"),
}  # fmt: skip

MEASURE = """
import time
import numpy as np, largen as lg
net, shape, n, dtype = {network}, {shape}, {n}, {dtype!r}
points = [np.random.default_rng(seed).normal(size=(n, *shape)).astype(dtype) for seed in range(3)]
for X in points:
    began = time.process_time()
    lg.gram(net, X)
    print(time.process_time() - began)
"""


def taken(name: str) -> tuple[float, float]:
    """CPU seconds of the first call in a process, and of the shorter of two on other points."""
    network, shape, n, dtype = NETWORKS[name]
    code = MEASURE.format(network=network, shape=shape, n=n, dtype=dtype)
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    first, *later = map(float, ran.stdout.split())
    return first, min(later)


def said(name: str) -> tuple[float, float]:
    """The same, as forecast."""
    import largen as lg

    network, shape, n, dtype = NETWORKS[name]
    found = lg.explain(eval(network, {"lg": lg}), shape, n, dtype)
    return found.first or 0.0, found.seconds


def main() -> int:
    """A line for every network; 0 if all are within a factor of 2."""
    far = []
    for name in sys.argv[1:] or NETWORKS:
        forecast, measured = said(name), taken(name)
        ratios = [round(a / b, 2) for a, b in zip(forecast, measured, strict=True)]
        row = {"network": name, "first": round(measured[0], 3), "later": round(measured[1], 4), "said/taken": ratios}
        print(json.dumps(row), flush=True)
        far += [name] * (min(ratios) < 0.5 or max(ratios) > 2)
    print(f"off by more than a factor of 2: {', '.join(far) or 'none'}")
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
