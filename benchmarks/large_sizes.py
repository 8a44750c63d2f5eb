"""`lg.gram` of points of large variance, K about 1e4, beside `lg.kernel`: agreement, and CPU time a pair.

    python benchmarks/large_sizes.py [tanh elu ...]

Activations without closed form go by graded quadrature there, pair by pair: milliseconds each, whatever the size.
"""

import sys
import time
import warnings

import numpy as np

import largen as lg


def main() -> None:
    warnings.filterwarnings("ignore", message=r"\|x\|")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(140, 3))
    X = (X * 170 / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    for name in sys.argv[1:] or ["erf", "gelu", "tanh", "elu"]:
        net = lg.mlp(widths=[1], out=1, activation=name, C_W=1.0)
        start = time.process_time()
        table = lg.gram(net, X)
        spent = time.process_time() - start
        some = lg.kernel(net, X[:3], X[:8])
        off = max(np.abs(a[:3, :8].astype(float) - b).max() / np.abs(b).max() for a, b in ((table.nngp, some.nngp), (table.ntk, some.ntk)))
        pairs = len(X) * (len(X) + 1) // 2
        print(f"{name:6s} largest difference {off:.1e}, {1e3 * spent / pairs:.2f} ms of CPU a pair ({spent:.1f} s, compiling included)")


if __name__ == "__main__":
    main()
