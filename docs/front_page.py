"""The picture of the first page: what theory says of trained networks and of their first step, with real networks beside it.

Left: networks of width 512 trained on six points of a circle, one line each, and the band of two standard deviations in which 95.4 %
of all outputs lie at infinite width (`lg.predict`). Right: the size of a signal through 50 layers of GELU, width 1000, started as
PyTorch starts them and at the critical point (`lg.signal`), and one real network of each kind.

    python docs/front_page.py       # no data needed; half a minute of one core

Writes `front-page.svg` in the folder --out. Exit code 1 if the claim fails: the part of the real outputs inside the band is within 2
points of 95.4 %; after ten layers PyTorch's start has lost 99 % of the signal's size, after fifty the critical one is within a factor
of 4 of it. (At width 300 a draw ended at a fifth: the scatter of single networks has the variance 4.9 L/n.) Exit code 2 without
matplotlib, which draws it (pip install ".[docs]").
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

import largen as lg

NETWORKS, SHOWN, WIDTH, STEPS = 200, 12, 512, 200
LAYERS, DEEP, INPUTS = 50, 1000, 784
PYTORCH = 1 / 3  # of nn.Linear: C_W, and C_b times fan_in
BLUE, RED, GREY = "#0072B2", "#D55E00", "#555555"


@dataclass(frozen=True)
class Trained:
    """Angles of the test points; theory's mean and std there; real outputs (networks, test); the train points."""

    angle: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    real: np.ndarray
    points: tuple[np.ndarray, np.ndarray]

    @property
    def inside(self) -> float:
        """The part of the real outputs within two standard deviations."""
        return float((np.abs(self.real - self.mean) < 2 * self.std).mean())


def on_circle(angle: np.ndarray) -> np.ndarray:
    """Points of mean square 1."""
    return np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], 1)


def trained() -> Trained:
    """Six train points, theory after STEPS steps, and NETWORKS real networks after as many."""
    at, y = np.array([-2.4, -1.7, -0.6, 0.3, 1.1, 2.3]), np.array([0.8, -0.4, -0.9, 0.5, 1.2, -0.2])
    angle = np.linspace(-np.pi, np.pi, 121)
    X, T = on_circle(at), on_circle(angle)
    net = lg.mlp(widths=[WIDTH, WIDTH], activation="tanh", C_W=[4.0, 2.5, 1.0], C_b=0.05)
    eta = float(lg.max_learning_rate(lg.kernel(net, X).ntk)) / 2
    theory = lg.predict(net, X, y, T, how="descent", eta=eta, steps=STEPS)
    X, T, y32 = (v.astype(np.float32) for v in (X, T, y))
    params = lg.init(net, 2, jax.random.key(0), networks=NETWORKS)
    params, _ = lg.each(lg.train, net, params, X, y32, eta, STEPS)
    real = np.asarray(lg.each(lg.apply, net, params, T), float)[..., 0]
    return Trained(angle, np.asarray(theory.mean), np.asarray(theory.std), real, (at, y))


def signals() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{start: (theory's mean square of a layer, that of one real network)}."""
    deep = {"widths": [DEEP] * (LAYERS - 1), "out": DEEP, "activation": "gelu"}
    starts = {
        "PyTorch's default": lg.mlp(**deep, C_W=PYTORCH, C_b=[PYTORCH / INPUTS] + [PYTORCH / DEEP] * (LAYERS - 1)),
        "critical": lg.mlp(**deep, C="critical"),
    }
    x = np.ones((1, INPUTS), np.float32)
    found = {}
    for name, net in starts.items():
        K = lg.kernel(net, x, layer="all").nngp[:, 0, 0]
        z = lg.measure.preactivations(net, lg.init(net, INPUTS, jax.random.key(1)), x)
        found[name] = K, np.array([float(np.mean(np.square(v))) for v in z.values()])
    return found


def draw(left: Trained, right: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Both panels, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "front-page"  # the same bytes each time
    import matplotlib.pyplot as plt

    fig, (a, b) = plt.subplots(1, 2, figsize=(10, 4))
    for i, one in enumerate(left.real[:SHOWN]):
        a.plot(left.angle, one, color=GREY, lw=0.7, alpha=0.7, label=None if i else f"real networks, width {WIDTH}")
    band = left.mean - 2 * left.std, left.mean + 2 * left.std
    a.fill_between(left.angle, *band, color=BLUE, alpha=0.2, lw=0, label="theory, ± 2 standard deviations")
    a.plot(left.angle, left.mean, color=BLUE, lw=2, label="theory, mean")
    a.plot(*left.points, "o", color="#1a1a1a", label="train points")
    title = f"Trained: {left.inside:.1%} of real outputs are in the band (95.4 %)"
    a.set(xlabel="input (angle on a circle)", ylabel="output of the trained network", title=title)
    layer = np.arange(1, LAYERS + 1)
    for (name, (K, q)), colour in zip(right.items(), (RED, BLUE), strict=True):
        b.plot(layer, K, color=colour, lw=2, label=f"{name}: theory")
        b.plot(layer[::2], q[::2], "o", color=colour, ms=4, label=f"{name}: one real network")
    b.set(xlabel="layer", ylabel="mean square of the signal", yscale="log", title=f"Before training: {LAYERS} layers of GELU, width {DEEP}")
    for axis in (a, b):
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
        axis.title.set_fontsize(10)
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures" / "pages", help="folder of the figure")
    arguments = parser.parse_args()
    left, right = trained(), signals()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        draw(left, right, arguments.out / "front-page.svg")
    except ModuleNotFoundError as missing:
        print(f'{missing.name} is not installed, which draws the figure: pip install ".[docs]".', file=sys.stderr)
        return 2
    (_, lost), (_, kept) = right.values()
    holds = abs(left.inside - 0.954) < 0.02 and lost[9] < lost[0] / 100 and 1 / 4 < kept[-1] / kept[0] < 4
    print(f"{left.inside:.3f} inside; sizes {lost[0]:.3g} -> {lost[9]:.2g}, {kept[0]:.3g} -> {kept[-1]:.3g}.")
    print("The claim holds." if holds else "THE CLAIM FAILS.")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
