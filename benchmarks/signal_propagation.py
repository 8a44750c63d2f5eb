"""What signal propagation costs: `lg.critical` of smooth activations, and a 200 x 200 phase diagram.

Opponents, in the same run: a critical point against one evaluation of its moments at as many variances, written plainly with numpy's
Gauss-Hermite rule; the diagram against `lg.fixed_points` cell by cell (a sample, scaled up). Absolute claims: 1 s and 5 s on two cores.

    python benchmarks/signal_propagation.py
"""

import sys
import time

import numpy as np

import largen as lg

CELLS, SAMPLE = 200, 40
POINT_CLAIM, DIAGRAM_CLAIM = 1.0, 5.0


def seconds(call: object, repeat: int = 3) -> float:
    """The least time of several calls."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        call()  # type: ignore[operator]
        times.append(time.perf_counter() - began)
    return min(times)


def hermite(K: np.ndarray, nodes: int = 200) -> np.ndarray:
    """<tanh^2>_K, <tanh'^2>_K and <z tanh tanh'>_K/K by Gauss-Hermite: the floor in work, without kinks or error estimates."""
    u, w = np.polynomial.hermite_e.hermegauss(nodes)
    z = np.sqrt(K)[:, None] * u
    s = np.tanh(z)
    d = 1 - s * s
    return np.stack([s * s, d * d, z * s * d / K[:, None]]) @ (w / w.sum())


def main() -> int:
    """Print times and ratios; 0 if all claims hold."""
    good = True
    floor = seconds(lambda: hermite(np.geomspace(1e-8, 1e3, 1000)))
    lg.critical("sin")  # starts JAX
    for name in ("tanh", "gelu", "swish", "mish", "softplus", "gelu_tanh"):
        compiling, took = (min(v) for v in zip(*(anew(name) for _ in range(3)), strict=True))
        good = good and took <= POINT_CLAIM
        print(f"critical {name:10s} {took:.3f} s after compiling and tabulating ({compiling:.3f} s): {took / floor:.1f} x the floor")
    grid = {"C_W": np.linspace(0.5, 4, CELLS), "C_b": np.linspace(0, 0.5, CELLS)}
    rng = np.random.default_rng(0)
    for name in ("tanh", "gelu", "erf", "hardtanh"):
        lg.phase_diagram(name, **grid)
        took = seconds(lambda name=name: lg.phase_diagram(name, **grid))
        cells = rng.integers(0, CELLS, (SAMPLE, 2))
        lg.fixed_points(name, 2.5, 0.1)
        one = seconds(lambda name=name, cells=cells: [lg.fixed_points(name, grid["C_W"][i], grid["C_b"][j]) for i, j in cells], 1) / SAMPLE
        good, whole = good and took <= DIAGRAM_CLAIM, one * CELLS**2
        print(f"phase diagram {name:9s} {took:.2f} s for {CELLS} x {CELLS}; cell by cell {whole:.0f} s: {whole / took:.0f} x faster")
    return 0 if good else 1


def anew(name: str) -> tuple[float, float]:
    """Seconds to compile and tabulate a function never seen before, equal to a named one, and to find its critical points."""
    phi = lg.activation(name)
    fresh = lg.activation(lambda z: phi(z), kinks=phi.kinks)
    began = time.perf_counter()
    lg.gain(fresh)
    known = time.perf_counter()
    lg.critical(fresh)
    return known - began, time.perf_counter() - known


if __name__ == "__main__":
    sys.exit(main())
