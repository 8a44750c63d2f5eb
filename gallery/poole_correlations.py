"""Correlations of two inputs through a deep tanh network: the curves of Poole et al. (2016), with a z-score for every dot.

Two inputs enter with correlation c_0 and leave layer l with c_l = <z.z'>/(|z||z'|): drawn together below the critical weight
variance (order), driven to a c* < 1 above it (chaos), whatever c_0 was. C_W = sigma_w^2 in 1.3, 2.3, 4.0; the bias variance is
C_b = sigma_b^2 = 0.3^2, theirs. Inputs are built so that layer 1 has their correlation and the size K* at which deep layers settle.

Lines: `lg.signal`, infinite width. Dots: real networks. <z.z'>/n, <z.z>/n and <z'.z'>/n are averages over networks first, divided
after: their ratio differs from theory by terms in 1/n and 1/n^2, which four widths fit and take off.

    python gallery/poole_correlations.py       # no data needed; some minutes on one core, by its count of operations

Prints a table and writes `poole_correlations.html` in the folder --out. Exit code 1 if the claim fails: every dot (3 weight variances,
6 correlations, 20 layers) is within 4 standard errors of its line, none of which is above 0.03; and for each weight variance the
lines of one larger by 10 %, the control, are refused at 6. (Half as many networks had every dot in place, to |z| = 3.02, but refused
the control of C_W = 4 at 5.6 only.)
"""

import sys
import time
from dataclasses import dataclass

import jax
import numpy as np
import plotly.graph_objects as go
from common import at_infinity, run
from plotly.subplots import make_subplots

import largen as lg

C_WS, C_B = (1.3, 2.3, 4.0), 0.09
STARTS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
WIDTHS, NETWORKS = (64, 128, 256, 512), (1500, 800, 500, 240)
ENTRIES = 2**24  # weights alive at once
COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True)
class Row:
    """One weight variance: `theory` c_l (layers, starts), `measured` at n = inf with its standard `error`, K* and c*, the largest
    |z| of a dot, and the largest |z| against the control."""

    C_W: float
    K_star: float
    c_star: float
    theory: np.ndarray
    measured: np.ndarray
    error: np.ndarray
    worst: float
    control: float


@dataclass(frozen=True)
class Outcome:
    """The rows, and whether the claim holds."""

    starts: tuple[float, ...]
    rows: tuple[Row, ...]
    holds: bool


def inputs(C_W: float, K: float, starts: tuple[float, ...]) -> np.ndarray:
    """(1 + starts, 2): a first input, and others whose correlation with it in layer 1 is c_0; all of size K there.

    K^(1) = C_b + C_W x.x'/n_0, so x.x'/n_0 = (c_0 K - C_b)/C_W.
    """
    size = (K - C_B) / C_W
    angle = np.arccos((np.array([1.0, *starts]) * K - C_B) / C_W / size)
    return np.sqrt(2 * size) * np.stack([np.cos(angle), np.sin(angle)], 1)


def measured(net: lg.Serial, n: int, key: jax.Array, X: np.ndarray, networks: int) -> tuple[np.ndarray, np.ndarray]:
    """c of the first input with each other, layer by layer (layers, starts), with standard errors (delta method)."""
    most = max(1, ENTRIES // (len(net.nodes) // 2 * n * n))
    sizes = [min(most, networks - first) for first in range(0, networks, most)]
    dots = []
    for one, count in zip(jax.random.split(key, len(sizes)), sizes, strict=True):
        z = lg.each(lg.measure.preactivations, net, lg.init(net, X.shape[1], one, networks=count), X.astype(np.float32))
        dots.append([np.einsum("kan,kbn->kab", v, v, dtype=float) / n for v in map(np.asarray, z.values())])
    zz = np.concatenate(dots, axis=1)  # (layers, networks, inputs, inputs)
    mean = zz.mean(1)
    root = np.sqrt(np.diagonal(mean, axis1=1, axis2=2))
    c = mean / (root[:, :, None] * root[:, None])
    part = zz / (root[:, :, None] * root[:, None])[:, None]
    own = np.diagonal(part, axis1=2, axis2=3)
    moved = part - c[:, None] * (own[..., :, None] + own[..., None, :]) / 2  # what each network moves c by
    return c[:, 0, 1:], moved.std(1, ddof=1)[:, 0, 1:] / np.sqrt(networks)


def study(
    C_Ws: tuple[float, ...] = C_WS, starts: tuple[float, ...] = STARTS, layers: int = 20,
    widths: tuple[int, ...] = WIDTHS, networks: tuple[int, ...] = NETWORKS,
) -> Outcome:  # fmt: skip
    """Measure, extrapolate, judge."""
    rows = []
    for C_W, key in zip(C_Ws, jax.random.split(jax.random.key(0), len(C_Ws)), strict=True):
        began, point = time.perf_counter(), lg.fixed_points("tanh", C_W, C_B)
        K = float(point.K[0])
        X = inputs(C_W, K, starts)

        def network(width: int, C_W: float) -> lg.Serial:
            return lg.mlp(widths=[width] * (layers - 1), out=width, activation="tanh", C_W=C_W, C_b=C_B)

        theory, control = (np.asarray(lg.signal(network(widths[0], C), X).c)[:, 0, 1:] for C in (C_W, 1.1 * C_W))
        found = [
            measured(network(n, C_W), n, k, X, N) for n, k, N in zip(widths, jax.random.split(key, len(widths)), networks, strict=True)
        ]
        c, error = at_infinity(widths, *(np.array(v) for v in zip(*found, strict=True)))
        worst, refused = (float(np.abs((c - line) / error).max()) for line in (theory, control))
        rows.append(Row(C_W, K, float(point.c[0]), theory, c, error, worst, refused))
        print(
            f"C_W {C_W}: K* {K:.4f}, {point.phase}, c* {point.c[0]:.4f}; {c.size} dots, standard errors to {error.max():.4f},",
            f"largest |z| {worst:.2f}, RMS {np.sqrt((((c - theory) / error) ** 2).mean()):.2f};",
            f"C_W + 10 % refused at {refused:.1f}; {time.perf_counter() - began:.0f} s",
            flush=True,
        )
    holds = all(row.worst <= 4 and row.error.max() <= 0.03 and row.control > 6 for row in rows)
    return Outcome(starts, tuple(rows), holds)


def figure(out: Outcome) -> go.Figure:
    """c_l against l: lines theory, dots real networks at n = inf with their standard errors."""
    titles = [f"C_W = {row.C_W}: {'order' if row.c_star == 1 else f'chaos, c* = {row.c_star:.2f}'}" for row in out.rows]
    fig = make_subplots(1, len(out.rows), subplot_titles=titles, shared_yaxes=True)
    for column, row in enumerate(out.rows, 1):
        layer = np.arange(1, len(row.theory) + 1)
        for i, (start, colour) in enumerate(zip(out.starts, COLOURS, strict=False)):
            group = {"legendgroup": f"{start}", "showlegend": False}
            line = {"x": layer, "y": row.theory[:, i], "mode": "lines", "line": {"color": colour, "width": 2}}
            fig.add_scatter(**line, name=f"c = {start} in layer 1", **{**group, "showlegend": column == 1}, row=1, col=column)
            bars = {"type": "data", "array": row.error[:, i], "thickness": 1}
            fig.add_scatter(
                x=layer, y=row.measured[:, i], error_y=bars, mode="markers", marker={"color": colour, "size": 5}, **group, row=1, col=column
            )
    fig.update_xaxes(title_text="layer")
    fig.update_yaxes(title_text="correlation of two inputs", row=1, col=1)
    return fig.update_layout(template="plotly_white", height=460, legend={"orientation": "h", "y": -0.22})


def main() -> int:
    return run(__doc__, "poole_correlations", study, figure)


if __name__ == "__main__":
    sys.exit(main())
