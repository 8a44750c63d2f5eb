"""MNIST, 50 and 100 layers, no normalisation: PyTorch's default initialisation against the critical one.

nn.Linear draws weights and biases uniformly from +-1/sqrt(fan_in): variance 1/(3 fan_in) for both. Signals then lose their
differences at every layer: the squared gradient of the outputs in the first layer's preactivations is multiplied by
chi_perp = C_W <phi'^2>, about 1/3 (tanh) or 1/12 (GELU), so that after 100 or 50 layers it is 1e-47 or 1e-53: nothing of the image
reaches the outputs, whatever the learning rate. `lg.mlp(..., C="critical")` sets other variances, with chi_perp = 1 where sizes
settle, and changes nothing else. `lg.signal` gives that gradient at infinite width; it stands beside the measured one.

Both initialisations get the same networks, images, minibatches, plain SGD and cross-entropy, and the same sweep: each of three seeds
trains shortly at six learning rates, and the rate whose worst seed has the lowest training loss wins (test images choose nothing).
A sweep on one other seed was not enough: at 100 layers of width 256, L/n = 0.4, networks at criticality differ so much that tanh got
the rate 0.016, good for that seed, while seeds 1 to 3 became unstable and ended at 18, 19 and 43 %. At infinite width all are alike.

    python gallery/deep_mlps.py                # data: MNIST, see common.py
    python gallery/deep_mlps.py --quick        # fewer layers and images

About an hour on two cores, by its count of operations.

Prints a table and writes the training curves to `deep_mlps.html` in the folder --out. Exit code 1 if the claim fails: in every seed
the critical network's test accuracy is at least 60 points higher, and the default one stays at chance (no more often right than the
best constant answer, within 3 standard errors). Exit code 2 without data.
"""

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

import largen as lg

RATES = tuple(0.001 * 4.0**k for k in range(6))
PIXELS, SEEDS = 784, (1, 2, 3)
MARGIN = 0.60
COLOURS = {"default": "#0072B2", "critical": "#D55E00"}


@dataclass(frozen=True)
class Size:
    """How large the study is: `depths` by activation, hidden width, train images, minibatch, epochs of a run
    of the sweep and of a full run."""

    depths: dict[str, int]
    width: int
    images: int
    batch: int
    short: int
    full: int


FULL = Size({"tanh": 100, "gelu": 50, "mish": 50}, width=256, images=10_000, batch=64, short=1, full=4)
QUICK = Size({"mish": 25}, width=128, images=2_000, batch=32, short=1, full=5)


@dataclass(frozen=True)
class Data:
    """Standardised train and test images (points, pixels), float32, and their labels."""

    X: np.ndarray
    labels: np.ndarray
    T: np.ndarray
    answers: np.ndarray


def mnist(images: int) -> Data:
    """The first `images` train images and all 10,000 test images."""
    folder = Path(os.environ.get("LARGEN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    file = np.load(folder / "mnist" / "mnist.npz")
    parts = [file[name][:most].reshape(-1, PIXELS) / 255.0 for name, most in (("x_train", images), ("x_test", None))]
    X = np.asarray(lg.standardize(np.concatenate(parts)), dtype=np.float32)
    return Data(X[:images], file["y_train"][:images].astype(np.int32), X[images:], file["y_test"].astype(np.int32))


def networks(activation: str, layers: int, width: int) -> dict[str, lg.Serial]:
    """The network with either initialisation's variances, {"default": ..., "critical": ...}."""
    shape = {"widths": [width] * (layers - 1), "out": 10, "activation": activation}
    biases = [1 / (3 * fan_in) for fan_in in (PIXELS, *shape["widths"])]
    return {"default": lg.mlp(**shape, C_W=1 / 3, C_b=biases), "critical": lg.mlp(**shape, C="critical")}


def start(net: lg.Serial, init: str, seed: int) -> Any:
    """Parameters as (first layer, hidden layers stacked, readout), so that one compiled layer serves all hidden ones."""
    key = jax.random.key(seed)
    params = lg.init(net, PIXELS, key)
    layers = [params[f"dense{l + 1}"] for l in range(len(params))]
    if init == "default":  # nn.Linear: all entries U(+-1/sqrt(fan_in))
        layers = [_uniform(layer, one) for layer, one in zip(layers, jax.random.split(key, len(layers)), strict=True)]
    hidden = {name: jnp.stack([layer[name] for layer in layers[1:-1]]) for name in ("W", "b")}
    return layers[0], hidden, layers[-1]


def _uniform(layer: dict[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
    bound = 1 / math.sqrt(layer["W"].shape[0])
    keys = jax.random.split(key)
    return {n: jax.random.uniform(k, layer[n].shape, minval=-bound, maxval=bound) for n, k in zip(("W", "b"), keys, strict=True)}


def after_first(phi: lg.Activation, params: Any, z: jax.Array) -> jax.Array:
    """Outputs (points, 10) from the first layer's preactivations z (points, width)."""
    _, hidden, readout = params
    z, _ = jax.lax.scan(lambda z, layer: (phi(z) @ layer["W"] + layer["b"], None), z, hidden)
    return phi(z) @ readout["W"] + readout["b"]


def outputs(phi: lg.Activation, params: Any, X: jax.Array) -> jax.Array:
    return after_first(phi, params, X @ params[0]["W"] + params[0]["b"])


@partial(jax.jit, static_argnames="phi")
def right(phi: lg.Activation, params: Any, X: jax.Array, labels: jax.Array) -> jax.Array:
    """The part of the images on which the largest output is the label's."""
    return (outputs(phi, params, X).argmax(-1) == labels).mean()


@partial(jax.jit, static_argnames="phi", donate_argnames="params")
def epoch(phi: lg.Activation, params: Any, rate: Any, X: jax.Array, labels: jax.Array, order: jax.Array) -> tuple[Any, jax.Array]:
    """Plain SGD over the minibatches `order` (steps, batch); the mean cross-entropy of each before its step."""

    def loss(params: Any, batch: jax.Array) -> jax.Array:
        logs = jax.nn.log_softmax(outputs(phi, params, X[batch]))
        return -jnp.take_along_axis(logs, labels[batch][:, None], 1).mean()

    def step(params: Any, batch: jax.Array) -> tuple[Any, jax.Array]:
        value, slope = jax.value_and_grad(loss)(params, batch)
        return jax.tree_util.tree_map(lambda p, g: p - rate * g, params, slope), value

    return jax.lax.scan(step, params, order)


@partial(jax.jit, static_argnames="phi")
def _slopes(phi: lg.Activation, params: Any, X: jax.Array) -> jax.Array:
    z = X @ params[0]["W"] + params[0]["b"]
    return jax.vmap(jax.jacrev(lambda one: after_first(phi, params, one[None])[0]))(z)


def gradient(phi: lg.Activation, params: Any, X: np.ndarray) -> float:
    """sum_j (dz^(L)_i/dz^(1)_j)^2, the mean over images and outputs i. Squared in float64: float32 would underflow."""
    return float((np.asarray(_slopes(phi, params, X), dtype=float) ** 2).sum(-1).mean())


@dataclass(frozen=True)
class Run:
    """One training: the mean training `loss` of the last quarter epoch (inf: diverged), `curve` = (steps, test accuracy) pairs."""

    loss: float
    curve: tuple[tuple[int, float], ...]

    @property
    def accuracy(self) -> float:
        return self.curve[-1][1]


def train(phi: lg.Activation, params: Any, rate: float, seed: int, data: Data, size: Size, epochs: int, watch: bool) -> Run:
    """Epochs of SGD, ended early if the loss is not finite; with `watch` test accuracy before the first and after each."""
    noise, steps = np.random.default_rng(seed), size.images // size.batch
    curve = [(0, float(right(phi, params, data.T, data.answers)))] if watch else []
    loss = math.inf
    for e in range(1, epochs + 1):
        order = noise.permutation(size.images)[: steps * size.batch].reshape(steps, size.batch)
        params, losses = epoch(phi, params, rate, data.X, data.labels, order)
        loss = float(losses[-(steps // 4) :].mean())
        if watch:
            curve.append((e * steps, float(right(phi, params, data.T, data.answers))))
        if not math.isfinite(loss):
            return Run(math.inf, tuple(curve))
    return Run(loss, tuple(curve))


@dataclass(frozen=True)
class Half:
    """One initialisation of one activation: the squared gradient through the network by `theory` (n = inf) and the measured
    `gradients` at the start of each seed; the `losses` of the sweep, the worst seed's, the `rate` chosen, and the runs."""

    theory: float
    gradients: tuple[float, ...]
    losses: tuple[float, ...]
    rate: float
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Case:
    """One activation. `gaps`: test accuracy, critical less default, by seed; `chance`: the most a constant answer can have."""

    activation: str
    layers: int
    halves: dict[str, Half]
    gaps: tuple[float, ...]
    chance: float
    holds: bool


def case(activation: str, size: Size, data: Data) -> Case:
    """Sweep, train, judge."""
    L, phi = size.depths[activation], lg.activation(activation)
    halves = {init: half(phi, net, init, size, data) for init, net in networks(activation, L, size.width).items()}
    pairs = zip(halves["critical"].runs, halves["default"].runs, strict=True)
    gaps = tuple(good.accuracy - bad.accuracy for good, bad in pairs)
    share = np.bincount(data.answers).max() / len(data.answers)
    chance = float(share + 3 * math.sqrt(share * (1 - share) / len(data.answers)))
    stuck = all(run.accuracy <= chance for run in halves["default"].runs)
    return Case(activation, L, halves, gaps, chance, min(gaps) >= MARGIN and stuck)


def half(phi: lg.Activation, net: lg.Serial, init: str, size: Size, data: Data) -> Half:
    """One initialisation: the sweep, then every seed at the best rate."""
    few = data.T[:50]

    def short(rate: float, seed: int) -> float:
        return train(phi, start(net, init, seed), rate, seed, data, size, size.short, watch=False).loss

    losses = tuple(max(short(rate, seed) for seed in SEEDS) for rate in RATES)
    rate = RATES[int(np.argmin(losses))]
    theory = float(np.mean(lg.signal(net, few.astype(float)).gradient[0]))
    gradients, runs = [], []
    for seed in SEEDS:
        params = start(net, init, seed)
        gradients.append(gradient(phi, params, few))
        runs.append(train(phi, params, rate, seed, data, size, size.full, watch=True))
    print(
        f"{phi.name:5s} {init:8s} gradient by theory {theory:.2g}, measured {' '.join(f'{g:.2g}' for g in gradients)};",
        f"sweep loss {' '.join(f'{loss:.3f}' for loss in losses)}, rate {rate:.3g};",
        f"accuracy {' '.join(f'{run.accuracy:.4f}' for run in runs)}",
        flush=True,
    )
    return Half(theory, tuple(gradients), losses, rate, tuple(runs))


def study(size: Size = FULL) -> list[Case]:
    """All activations of a size."""
    data = mnist(size.images)
    return [case(activation, size, data) for activation in size.depths]


def figure(cases: list[Case]) -> go.Figure:
    """Test accuracy against steps, both initialisations, every seed."""
    fig = make_subplots(1, len(cases), subplot_titles=[f"{c.activation}, {c.layers} layers" for c in cases], shared_yaxes=True)
    for column, c in enumerate(cases, 1):
        for init, one in c.halves.items():
            for i, run in enumerate(one.runs):
                x, y = zip(*run.curve, strict=True)
                look = {"line": {"color": COLOURS[init], "width": 2}, "legendgroup": init, "showlegend": column == 1 and i == 0}
                fig.add_scatter(x=x, y=[100 * v for v in y], mode="lines+markers", name=f"{init} initialisation", **look, row=1, col=column)
    fig.update_xaxes(title_text="steps of SGD")
    fig.update_yaxes(title_text="test images right (%)", range=[0, 100], row=1, col=1)
    return fig.update_layout(template="plotly_white", height=440, legend={"orientation": "h", "y": -0.22})


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer layers and images")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder of the figure")
    arguments = parser.parse_args()
    began, size = time.perf_counter(), QUICK if arguments.quick else FULL
    try:
        cases = study(size)
    except FileNotFoundError as missing:
        print(f"No data: {missing.filename} is not there. Set LARGEN_DATA to the folder that holds mnist/mnist.npz.", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure(cases).write_html(arguments.out / "deep_mlps.html", include_plotlyjs=True)
    for c in cases:
        gaps = ", ".join(f"{100 * gap:.1f}" for gap in c.gaps)
        print(
            f"{c.activation}, {c.layers} layers: ahead by {gaps} points; {'holds' if c.holds else 'FAILS'} (chance: below {c.chance:.3f})."
        )
    holds = all(c.holds for c in cases)
    print(f"{'The claim holds' if holds else 'THE CLAIM FAILS'}; {time.perf_counter() - began:.0f} s.")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
