"""A deep kernel is good where signals are critical: NNGP regression on MNIST over (C_W, C_b), after Lee et al. (2018).

Tanh, 50 hidden layers, infinite width: `lg.kernel`'s NNGP, ridge regression on centred one-hot labels, 1,000 train and 1,000 test
images. In the ordered phase all images become one, in the chaotic phase no two have anything in common; only near the line chi_perp = 1
(`lg.phase_diagram`, computed without any data) does the kernel still see which images are alike.

Images are centred and scaled to |x|^2 = n_0 one by one, so that the kernel of two of them is a function of their cosine c alone. It is
asked of `lg.kernel` at 48 Chebyshev nodes in t = log(1 - c), on a circle in two dimensions, and interpolated: layers multiply 1 - c
near c = 1, and in t that is a shift. In every cell 50 pairs of images go through `lg.kernel` directly, and bound the error.

The ridge is 1e-6 of the kernel's diagonal in every cell; it, the grid and the claim were written down before the first run.

    python gallery/nngp_phase_map.py           # data: MNIST, see common.py
    python gallery/nngp_phase_map.py --digits  # scikit-learn's digits instead, 1,000 train and 797 test images: nothing to fetch

About two minutes on one core. The claim holds on digits too: the best cell has 0.974 right, the rank correlation is -0.79.

Prints the map of test accuracies and writes `nngp_phase_map.html` in the folder --out. Exit code 1 if the claim fails: the best cell
lies within one cell of the critical line; over all cells accuracy falls with the distance from it (Spearman <= -0.5); no kernel
entry is off by more than 1e-8 of the diagonal. Exit code 2 without data.
"""

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from common import digits, mnist, rank_correlation, run
from numpy.polynomial import chebyshev
from plotly.subplots import make_subplots
from scipy.linalg import solve

import largen as lg

NODES, RIDGE = 48, 1e-6
PAIRS = (10, 5)  # train and test images of the direct check


@dataclass(frozen=True)
class Outcome:
    """Test accuracy (C_W, C_b); the phase diagram; how far each cell is from its line, in cells; `best` (C_W, C_b), its accuracy and
    distance; `rank` correlation of distance and accuracy; the part of the cells within one of the line; the worst kernel `error`."""

    accuracy: np.ndarray
    diagram: lg.records.PhaseDiagram
    distance: np.ndarray
    best: tuple[float, float]
    best_accuracy: float
    best_distance: float
    rank: float
    near: float
    error: float
    holds: bool


def images(train: int, test: int, load: Any = mnist) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train images and labels, test images and labels; images centred and each of |x|^2 = n_0."""
    X, labels, T, answers = load(train, test)
    X, T = (v - X.mean(0) for v in (X, T))
    X, T = (v / np.sqrt((v**2).mean(1, keepdims=True)) for v in (X, T))
    return X, labels, T, answers


def nodes(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes (NODES,) in t = log(1 - c) from low to high, on [-1, 1]; and (1 + NODES, 2): points on a circle, the first
    at those cosines from the others."""
    u = chebyshev.chebpts1(NODES)
    angle = 2 * np.arcsin(np.sqrt(np.exp(low + (high - low) * (u + 1) / 2) / 2))
    return u, np.sqrt(2) * np.stack([np.cos([0.0, *angle]), np.sin([0.0, *angle])], 1)


def study(train: int = 1000, test: int = 1000, depth: int = 50, cells: int = 12, load: Any = mnist) -> Outcome:
    """The map, the line, the verdict."""
    X, labels, T, answers = images(train, test, load)
    y = lg.one_hot(labels, 10)
    with np.errstate(divide="ignore"):
        t = np.log(np.maximum(1 - np.concatenate([X, T]) @ X.T / X.shape[1], 0))
    t[np.diag_indices(train)] = np.nan  # c = 1: K of one image
    low, high = np.nanmin(t), np.nanmax(t)
    u, circle = nodes(low, high)
    scaled = np.nan_to_num(2 * (t - low) / (high - low) - 1, nan=-1.0)
    noise = np.random.default_rng(0)
    some = [noise.choice(size, few, replace=False) for size, few in zip((train, test), PAIRS, strict=True)]
    C_W, C_b = np.linspace(0.3, 4.5, cells), np.linspace(0.0, 2.0, cells)
    accuracy, error = np.empty((cells, cells)), 0.0
    print(f"cosines from {1 - np.exp(high):.3f} to {1 - np.exp(low):.4f}", f"{'C_b':>10s} {' '.join(f'{b:5.2f}' for b in C_b)}", sep="\n")
    for i, w in enumerate(C_W):
        began = time.perf_counter()
        for j, b in enumerate(C_b):
            net = lg.mlp(widths=[1] * depth, out=1, activation="tanh", C_W=w, C_b=b)
            K = lg.kernel(net, circle[:1], circle).nngp[0]
            series = chebyshev.chebfit(u, K[1:] / K[0], NODES - 1)
            G = chebyshev.chebval(scaled, series)
            G[np.diag_indices(train)] = 1.0
            direct = lg.kernel(net, X[some[0]], T[some[1]]).nngp / K[0]
            error = max(error, float(np.abs(G[train + some[1]][:, some[0]].T - direct).max()))
            weights = solve(G[:train] + RIDGE * np.eye(train), y, assume_a="pos")
            accuracy[i, j] = ((G[train:] @ weights).argmax(1) == answers).mean()
        row = " ".join(f"{v:5.3f}" for v in accuracy[i])
        print(f"C_W {w:5.2f}: {row}  ({time.perf_counter() - began:.0f} s)", flush=True)
    diagram = lg.phase_diagram("tanh", C_W, C_b)
    steps = [C_W[1] - C_W[0], C_b[1] - C_b[0]]
    gaps = [np.abs(axis[:, None] - line) / step for axis, line, step in zip((C_W, C_b), diagram.edge, steps, strict=True)]
    distance = np.maximum(gaps[0][:, None], gaps[1][None]).min(-1)
    i, j = np.unravel_index(accuracy.argmax(), accuracy.shape)
    rank, near = rank_correlation(distance.ravel(), accuracy.ravel()), float((distance <= 1).mean())
    print(
        f"Best: {accuracy[i, j]:.3f} at C_W {C_W[i]:.2f}, C_b {C_b[j]:.2f}, {distance[i, j]:.2f} cells from the line",
        f"({near:.0%} of the cells are within 1).",
    )
    print(
        f"Mean accuracy within one cell {accuracy[distance <= 1].mean():.3f}, elsewhere {accuracy[distance > 1].mean():.3f};",
        f"rank correlation with the distance {rank:.2f}; kernels known to {error:.1e}.",
    )
    holds = bool(distance[i, j] <= 1 and rank <= -0.5 and error <= 1e-8)
    return Outcome(
        accuracy, diagram, distance, (float(C_W[i]), float(C_b[j])), float(accuracy[i, j]), float(distance[i, j]), rank, near, error, holds
    )


def figure(out: Outcome) -> go.Figure:
    """Accuracy beside the depth scale of correlations, the critical line in both."""
    d = out.diagram
    fig = make_subplots(1, 2, subplot_titles=["test images right (%)", "depth scale of correlations, log10 xi_c"], shared_yaxes=True)
    inside = (d.edge[0] <= d.C_W[-1]) & (d.edge[1] <= d.C_b[-1])
    for column, (z, bar) in enumerate(((100 * out.accuracy, 0.44), (np.log10(d.xi_c), 1.0)), 1):
        fig.add_heatmap(x=d.C_W, y=d.C_b, z=z.T, colorscale="Viridis", colorbar={"x": bar, "thickness": 12}, row=1, col=column)
        line = {"x": d.edge[0][inside], "y": d.edge[1][inside], "mode": "lines", "line": {"color": "white", "width": 3}}
        fig.add_scatter(**line, name="chi_perp = 1", showlegend=False, row=1, col=column)
    best = {"color": "#D55E00", "size": 12, "symbol": "star"}
    fig.add_scatter(x=out.best[:1], y=out.best[1:], mode="markers", marker=best, name="best cell", showlegend=False, row=1, col=1)
    fig.update_xaxes(title_text="weight variance C_W")
    fig.update_yaxes(title_text="bias variance C_b", row=1, col=1)
    return fig.update_layout(template="plotly_white", height=480)


def main() -> int:
    return run(__doc__, "nngp_phase_map", study, figure, bundled=lambda: study(test=797, load=digits))


if __name__ == "__main__":
    sys.exit(main())
