"""Every 1/n tensor of theory against real networks: tanh, GELU, sin and ReLU, hidden widths 12 to 96, two inputs, all index combinations.

For each tensor n times its cumulant is measured at four widths and followed to n = infinity, where it has to be theory's, entry by
entry; the cumulant itself has to fall as 1/n. ReLU has no ddNTKs (R, S, T, U), and its P is 0 where phi'' counts as 0.

    python gallery/tensors_at_finite_width.py            # no data needed

Made for a GPU (with JAX_DEFAULT_MATMUL_PRECISION=highest): up to 4,000,000 networks a width. Writes `tensors_at_finite_width.html` in the
folder --out.

Exit code 1 if the claim fails: an entry 4 or more standard errors from theory; a tensor known to worse than 3 % of its largest entry,
or whose root mean square distance from theory is more than 3 % of it; a power of n whose interval misses 1, or holds 0 or 2; or a
control (C_W + 10 %; the two rates swapped) not refused at 6 standard errors.
"""

import sys
from dataclasses import dataclass

import jax
import numpy as np
import plotly.graph_objects as go
from common import run

import largen as lg

X = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]])
RATES = (0.5, 0.8)
SCALES = {"tanh": (1.5, 0.3), "gelu": (1.5, 0.3), "sin": (1.5, 0.3), "relu": (1.8, 0.1)}  # C_W, C_b
# Tensors, and how many networks at each width. The corrections to means are small beside their noise; with a second hidden layer
# four times wider than the first, of 4 units, they are four times larger. GELU needs 8: at 4 the series in 1/n has not set in.
PATTERNS = (("F", "B", "P", "Q", "R", "S", "T", "U"), (160_000, 80_000, 40_000, 20_000))
FLUCTUATIONS = (("V", "D", "A"), (400_000, 300_000, 200_000, 100_000))
MEANS = (("K1", "Theta1"), (4_000_000, 4_000_000, 2_000_000, 1_000_000))
WIDTHS, NARROW = (12, 12), {"gelu": (8, 32)}


def network(activation: str, widths: tuple[int, ...]) -> lg.Serial:
    """Three affine layers, one output."""
    C_W, C_b = SCALES[activation]
    return lg.mlp(widths=list(widths), out=1, activation=activation, C_W=C_W, C_b=C_b)


@dataclass(frozen=True)
class Row:
    """One tensor of one activation: `strength` (widths,), what was measured along theory, 1 at infinite width; the largest |z| of an
    entry; root mean square gap and largest error, relative to the largest entry; power of n with its interval; weakest control."""

    activation: str
    tensor: str
    widths: tuple[int, ...]
    strength: np.ndarray
    z: float
    gap: float
    error: float
    power: tuple[float, float, float]
    control: float

    @property
    def holds(self) -> bool:
        _, low, high = self.power
        return self.z < 4 and max(self.gap, self.error) < 0.03 and 0 < low < 1 < high < 2 and self.control > 6


@dataclass(frozen=True)
class Outcome:
    """All rows, and whether all hold."""

    rows: tuple[Row, ...]

    @property
    def holds(self) -> bool:
        return all(row.holds for row in self.rows)


def measured(activation: str, names: tuple[str, ...], widths: tuple[int, ...], networks: tuple[int, ...], key: jax.Array) -> list[Row]:
    """The rows of one group of tensors, measured on the same networks."""
    net, options = network(activation, widths), {"what": "tensors", "rates": RATES, "tensors": names, "key": key}
    out = lg.check(net, X, widths=tuple(widths[0] * k for k in (1, 2, 4, 8)), networks=networks, **options)
    claims, last, rows = {c.quantity: c for c in out.claims}, tuple(widths[1] * k for k in (1, 2, 4, 8)), []
    for name, t in out.entries.items():
        size, worst = np.abs(t.theory).max(), float(np.abs(t.z()).max())
        if size == 0:
            print(f"{activation:>5} {name:>6}: 0 in theory; largest |z| {worst:.1f}", flush=True)
            continue
        claim = claims[name]
        gap, error = np.sqrt(((t.value - t.theory) ** 2).mean()) / size, t.error.max() / size
        low, high = claim.interval or (np.nan, np.nan)
        power = (np.nan if claim.exponent is None else claim.exponent, low, high)
        control = min(abs(k.z) for k in claim.controls if k.z is not None)
        rows.append(Row(activation, name, last, np.array(claim.means), worst, float(gap), float(error), power, control))
        print(
            f"{activation:>5} {name:>6}: |z| <= {worst:.1f}, rms gap {gap:.2%}, errors <= {error:.2%}, "
            f"falls as n^-{power[0]:.2f} ({power[1]:.2f} to {power[2]:.2f}), controls refused at {control:.0f}",
            flush=True,
        )
    return rows


def study() -> Outcome:
    """All activations, all tensors they have."""
    rows: list[Row] = []
    for i, activation in enumerate(SCALES):
        for j, group in enumerate((PATTERNS, FLUCTUATIONS, MEANS)):
            names = tuple(name for name in group[0] if activation != "relu" or name not in "RSTU")
            widths = NARROW.get(activation, (4, 16)) if group is MEANS else WIDTHS
            rows += measured(activation, names, widths, group[1], jax.random.fold_in(jax.random.key(2), 10 * i + j))
    return Outcome(tuple(rows))


def figure(out: Outcome) -> go.Figure:
    """What was measured along theory against 1/n: a line per tensor, a colour per activation, 1 at n = infinity."""
    fig, colours = go.Figure(), dict(zip(SCALES, ("#1f77b4", "#d62728", "#2ca02c", "#9467bd"), strict=True))
    for row in out.rows:
        name = f"{row.activation}, {row.tensor}"
        fig.add_scatter(x=[1 / n for n in row.widths], y=row.strength, name=name, mode="lines+markers", line_color=colours[row.activation])
    fig.add_hline(y=1, line_dash="dash", line_color="#444444")
    fig.update_xaxes(title_text="1/n", rangemode="tozero")
    fig.update_yaxes(title_text="n times the measured cumulant, along theory")
    return fig.update_layout(template="plotly_white", height=560)


def main() -> int:
    return run(__doc__, "tensors_at_finite_width", study, figure)


if __name__ == "__main__":
    sys.exit(main())
