"""Weights of unit variance explode; weights of variance 1/fan_in do not: the size of a signal, layer by layer.

"If you initialize a neural network's weight parameters with unit variance, W_ij ~ N(0, 1), then your preactivations tend to blow up.
If instead variance 1/fan_in (LeCun), they are better controlled." How much is how much? q_l = |z^(l)|/sqrt(n) at width n, no
biases, input of size 1 and n features; unit variance is C_W = n here, LeCun C_W = 1. Theory (`lg.signal`) says

    linear   unit: times sqrt(n) per layer                       LeCun: 1 for ever
    relu     unit: times sqrt(n/2) per layer                     LeCun: times 1/sqrt(2) per layer
    tanh     unit: saturates below sqrt(n): all neurons +-1      LeCun: falls as l^-1/2 (critical)

Real networks of four widths, the very same weights divided by sqrt(fan_in) for LeCun, are held against it: <q_l^2> over networks,
in units of theory's, is 1 + O(1/n); the fit in 1/n takes the rest off. (Linear and ReLU networks are homogeneous: there the two
schemes are the same networks in other units, and agree alike.)

    python gallery/unit_variance.py            # no data needed; one to four minutes on one core

Prints a table and writes `unit_variance.html` in the folder --out. Exit code 1 if the claim fails: in all six cases and 8 layers,
<q_l^2> at n = inf is theory's within 4 standard errors, none above 5 %; in each case C_W + 10 %, the control, is refused at 6.
"""

import math
import sys
import time
from dataclasses import dataclass

import jax
import numpy as np
import plotly.graph_objects as go
from common import at_infinity, run
from plotly.subplots import make_subplots

import largen as lg

ACTIVATIONS, SCHEMES = ("linear", "relu", "tanh"), ("unit", "lecun")
WIDTHS, NETWORKS = (64, 128, 256, 512), (2500, 1200, 500, 220)
ENTRIES = 2**24  # weights alive at once
COLOURS = {"linear": "#0072B2", "relu": "#D55E00", "tanh": "#009E73"}


@dataclass(frozen=True)
class Row:
    """One activation and scheme. At the largest width: sizes q_l by `theory` and `real` (layers,), with standard errors
    `real_error`. `ratio` +- `error`: <q_l^2> over theory's at n = inf; the largest |z| of a layer, and against the control."""

    activation: str
    scheme: str
    theory: np.ndarray
    real: np.ndarray
    real_error: np.ndarray
    ratio: np.ndarray
    error: np.ndarray
    worst: float
    control: float

    def growth(self) -> tuple[float, float, float]:
        """The factor per layer from layer 1 to the last: theory, measured, and its standard error as if the two sizes were independent
        (they rise together, so that this is too large rather than too small)."""
        steps = len(self.theory) - 1
        theory, real = ((q[-1] / q[0]) ** (1 / steps) for q in (self.theory, self.real))
        return float(theory), float(real), float(real * np.hypot(*(self.real_error / self.real)[[0, -1]]) / steps)


@dataclass(frozen=True)
class Outcome:
    """The rows, the largest width, and whether the claim holds."""

    rows: tuple[Row, ...]
    width: int
    holds: bool


def network(activation: str, layers: int, width: int, C_W: float) -> lg.Serial:
    """`layers` affine layers of one width."""
    return lg.mlp(widths=[width] * (layers - 1), out=width, activation=activation, C_W=C_W)


def squares(layers: int, width: int, networks: int, key: jax.Array) -> dict[tuple[str, str], np.ndarray]:
    """q_l^2 of every network, (layers, networks), by activation and scheme; the same weights for all."""
    most = max(1, ENTRIES // (layers * width**2))
    sizes = [min(most, networks - first) for first in range(0, networks, most)]
    x = np.ones((1, width), np.float32)
    found: dict[tuple[str, str], list[np.ndarray]] = {(a, s): [] for a in ACTIVATIONS for s in SCHEMES}
    for one, count in zip(jax.random.split(key, len(sizes)), sizes, strict=True):
        unit = lg.init(network("linear", layers, width, width), width, one, networks=count)
        params = {"unit": unit, "lecun": jax.tree_util.tree_map(lambda W: W / math.sqrt(width), unit)}
        for (activation, scheme), parts in found.items():
            z = lg.each(
                lg.measure.preactivations, network(activation, layers, width, 1.0), params[scheme], x
            )  # C_W: not asked, params are given
            parts.append(np.stack([(np.asarray(v, dtype=float) ** 2).mean((1, 2)) for v in z.values()]))
    return {case: np.concatenate(parts, axis=1) for case, parts in found.items()}


def study(layers: int = 8, widths: tuple[int, ...] = WIDTHS, networks: tuple[int, ...] = NETWORKS) -> Outcome:
    """Measure, extrapolate, judge."""
    real = []
    for n, count, key in zip(widths, networks, jax.random.split(jax.random.key(0), len(widths)), strict=True):
        began = time.perf_counter()
        real.append(squares(layers, n, count, key))
        print(f"width {n}: {count} networks, {time.perf_counter() - began:.0f} s", flush=True)
    rows = []
    for activation, scheme in real[0]:

        def line(C_W: float, activation: str = activation) -> np.ndarray:  # of any width: only C_W counts
            return np.asarray(lg.signal(network(activation, layers, widths[0], C_W), np.ones((1, widths[0]))).q)[:, 0]

        C_Ws = [float(n) if scheme == "unit" else 1.0 for n in widths]
        theory = [line(C_W) for C_W in C_Ws]
        parts = [q2[activation, scheme] / q[:, None] ** 2 for q2, q in zip(real, theory, strict=True)]
        means = np.array([p.mean(1) for p in parts])
        errors = np.array([p.std(1, ddof=1) / math.sqrt(p.shape[1]) for p in parts])
        ratio, error = at_infinity(widths, means, errors)
        wrong = (line(1.1 * C_Ws[-1]) / theory[-1]) ** 2
        worst, refused = (float(np.abs((ratio - one) / error).max()) for one in (np.ones(layers), wrong))
        sizes = theory[-1] * np.sqrt(means[-1])
        row = Row(activation, scheme, theory[-1], sizes, sizes * errors[-1] / means[-1] / 2, ratio, error, worst, refused)
        rows.append(row)
        says, is_, off = row.growth()
        print(
            f"{activation:6s} {scheme:5s} at width {widths[-1]}: q_1 {row.real[0]:.4g},",
            f"q_{layers} {row.real[-1]:.4g} (theory {row.theory[-1]:.4g}), per layer x {is_:.4f} +- {off:.4f} (theory {says:.4f});",
            f"n = inf: largest |z| {worst:.2f}, errors to {error.max():.4f}, C_W + 10 % refused at {refused:.1f}",
            flush=True,
        )
    holds = all(row.worst <= 4 and row.error.max() <= 0.05 and row.control > 6 for row in rows)
    return Outcome(tuple(rows), widths[-1], holds)


def figure(out: Outcome) -> go.Figure:
    """q_l against l: lines theory, dots real networks of the largest width."""
    titles = [f"W ~ N(0, 1), width {out.width}", "W ~ N(0, 1/fan_in)"]
    fig = make_subplots(1, 2, subplot_titles=titles)
    for row in out.rows:
        column, layer = 1 + SCHEMES.index(row.scheme), np.arange(1, len(row.theory) + 1)
        look = {"legendgroup": row.activation, "row": 1, "col": column}
        line = {"color": COLOURS[row.activation], "width": 2}
        fig.add_scatter(x=layer, y=row.theory, mode="lines", line=line, name=row.activation, showlegend=column == 1, **look)
        bars = {"type": "data", "array": row.real_error, "thickness": 1}
        fig.add_scatter(x=layer, y=row.real, error_y=bars, mode="markers", marker={"color": line["color"]}, showlegend=False, **look)
    fig.update_xaxes(title_text="layer", dtick=1)
    fig.update_yaxes(type="log", title_text="size q of the preactivations", row=1, col=1)
    fig.update_yaxes(range=[0, 1.2], row=1, col=2)
    return fig.update_layout(template="plotly_white", height=440, legend={"orientation": "h", "y": -0.22})


def main() -> int:
    return run(__doc__, "unit_variance", study, figure)


if __name__ == "__main__":
    sys.exit(main())
