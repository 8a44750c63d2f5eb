"""How deep can a tanh network be and still train? As deep as its correlations live (Schoenholz et al., 2017), on MNIST.

At infinite width the correlation of two inputs settles as exp(-l/xi_c): beyond several xi_c layers the outputs no longer know which
image came in, or (chaos) make unrelated images of neighbours. `lg.fixed_points` gives xi_c from C_W and C_b alone; Schoenholz et
al. found that networks train up to about 6 xi_c.

A grid of C_W (C_b = 0.05, theirs) and depths, width 200, 2,000 standardised images, plain SGD on the mean cross-entropy, 200 steps of
minibatches of 50, and one rule for the rate in every cell: 0.3/depth, since near criticality the NTK grows with depth.

The thresholds below were written down after a look at 6 variances, 3 depths and 4 rates (width 100), before any grid. A first grid,
width 100 with the rate 0.01 in every cell, failed in one cell: 96 layers at C_W = 1.82, where 3 xi_c = 264, got 32 % right. Not for
want of xi_c: with the rate 0.003 the same cell had 46 %, at width 300 72 %; the rate was too large for so deep a network, the width too
small. Hence the rule for the rate and the width of this grid. Thresholds, variances and depths are as they were.

    python gallery/trainable_depth.py          # data: MNIST, see common.py

About a quarter of an hour on one core, by its count of operations.

Prints the map of train accuracies and writes `trainable_depth.html` in the folder --out. Exit code 1 if the claim fails:
the depth at which accuracy falls through one half ranks across C_W as xi_c does (Spearman >= 0.8, both cut off at the deepest network);
where it was seen, it is c xi_c with a geometric mean c between 3 and 12; every network of less than 3 xi_c layers is right on over
half of its train images, and every one of more than 12 xi_c on less than a quarter. Exit code 2 without data.
"""

import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go
from common import mnist, rank_correlation, run

import largen as lg

C_B, RATE, BATCH, HALF = 0.05, 0.3, 50, 0.5  # RATE: times depth
C_WS = tuple(np.linspace(1.0, 4.0, 12).round(3).tolist())
DEPTHS = (4, 8, 16, 24, 32, 48, 64, 96)


@dataclass(frozen=True)
class Outcome:
    """Train accuracy (C_W, depth), the mean over seeds; `xi` = xi_c and the depth `crossing` one half, each (C_W,), infinite where not
    seen; their `rank` correlation; `c`: the geometric mean of crossing/xi; least accuracy below 3 xi_c, largest above 12 xi_c."""

    C_W: tuple[float, ...]
    depths: tuple[int, ...]
    accuracy: np.ndarray
    xi: np.ndarray
    crossing: np.ndarray
    rank: float
    c: float
    shallow: float
    deep: float
    holds: bool


def draws(depth: int, width: int, seed: int) -> Any:
    """Weights and biases of C_W = C_b = 1 as (first layer, hidden layers stacked, readout): `depth` hidden layers."""
    net = lg.mlp(widths=[width] * depth, out=10, activation="tanh", C_W=1.0, C_b=1.0)
    params = lg.init(net, 784, jax.random.fold_in(jax.random.key(seed), depth))
    layers = [params[f"dense{l + 1}"] for l in range(depth + 1)]
    return layers[0], {name: jnp.stack([layer[name] for layer in layers[1:-1]]) for name in ("W", "b")}, layers[-1]


def outputs(params: Any, X: jax.Array) -> jax.Array:
    first, hidden, readout = params
    z, _ = jax.lax.scan(lambda z, layer: (jnp.tanh(z) @ layer["W"] + layer["b"], None), X @ first["W"] + first["b"], hidden)
    return jnp.tanh(z) @ readout["W"] + readout["b"]


@jax.jit
@partial(jax.vmap, in_axes=(0, None, None, None, None, None))
def trained(C_W: Any, unit: Any, rate: Any, X: jax.Array, labels: jax.Array, order: jax.Array) -> jax.Array:
    """Train accuracy after SGD at `rate` over the minibatches `order` (steps, batch), from the same draws `unit` for every C_W."""
    scale = {"W": jnp.sqrt(C_W), "b": jnp.sqrt(C_B)}
    start = tuple({name: scale[name] * layer[name] for name in scale} for layer in unit)

    def loss(params: Any, batch: jax.Array) -> jax.Array:
        return -jnp.take_along_axis(jax.nn.log_softmax(outputs(params, X[batch])), labels[batch][:, None], 1).mean()

    def step(params: Any, batch: jax.Array) -> tuple[Any, None]:
        return jax.tree_util.tree_map(lambda p, g: p - rate * g, params, jax.grad(loss)(params, batch)), None

    params, _ = jax.lax.scan(step, start, order)
    return (outputs(params, X).argmax(-1) == labels).mean()


def crossings(depths: tuple[int, ...], accuracy: np.ndarray) -> np.ndarray:
    """The depth at which accuracy first falls through one half, between depths by a straight line in log depth; inf if it does not."""
    found = []
    for row in accuracy:
        below = np.nonzero(row < HALF)[0]
        if not len(below):
            found.append(np.inf)
        elif below[0] == 0:
            found.append(float(depths[0]))
        else:
            j = below[0]
            part = (row[j - 1] - HALF) / (row[j - 1] - row[j])
            found.append(depths[j - 1] * (depths[j] / depths[j - 1]) ** part)
    return np.array(found)


def study(
    C_Ws: tuple[float, ...] = C_WS, depths: tuple[int, ...] = DEPTHS, width: int = 200,
    images: int = 2000, steps: int = 200, seeds: int = 2,
) -> Outcome:  # fmt: skip
    """Train the grid, compare with xi_c."""
    X, labels, _, _ = mnist(images, 1)
    X = np.asarray(lg.standardize(X), dtype=np.float32)
    xi = np.array([lg.fixed_points("tanh", C_W, C_B).xi_c[0] for C_W in C_Ws])
    print(f"{'C_W':>18s}{' '.join(f'{C:6.2f}' for C in C_Ws)}", f"{'6 xi_c':>18s}{' '.join(f'{6 * v:6.1f}' for v in xi)}", sep="\n")
    columns = []
    for depth in depths:
        began, got = time.perf_counter(), []
        for seed in range(seeds):
            noise, each = np.random.default_rng(seed), images // BATCH
            epochs = [noise.permutation(images)[: each * BATCH].reshape(each, BATCH) for _ in range(-(-steps // each))]
            got.append(
                np.asarray(
                    trained(np.array(C_Ws, np.float32), draws(depth, width, seed), RATE / depth, X, labels, np.concatenate(epochs)[:steps])
                )
            )
        columns.append(np.mean(got, axis=0))
        print(f"depth {depth:3d} ({time.perf_counter() - began:3.0f} s): {' '.join(f'{v:6.2f}' for v in columns[-1])}", flush=True)
    accuracy = np.array(columns).T
    crossing = crossings(depths, accuracy)
    seen = np.isfinite(crossing)
    c = float(np.exp(np.log(crossing[seen] / xi[seen]).mean())) if seen.any() else float("nan")
    rank = rank_correlation(np.minimum(crossing, depths[-1]), np.minimum(6 * xi, depths[-1]))
    lengths = np.array(depths) / xi[:, None]
    shallow, deep = float(accuracy[lengths < 3].min(initial=1)), float(accuracy[lengths > 12].max(initial=0))
    print(f"{'half right to':>18s}{' '.join(f'{v:6.1f}' for v in crossing)}")
    print(
        f"Rank correlation with xi_c {rank:.3f}; half right to {c:.2f} xi_c; least accuracy below 3 xi_c {shallow:.3f}",
        f"({(lengths < 3).sum()} cells), largest above 12 xi_c {deep:.3f} ({(lengths > 12).sum()} cells).",
    )
    holds = rank >= 0.8 and 3 <= c <= 12 and shallow > HALF and deep < HALF / 2
    return Outcome(C_Ws, depths, accuracy, xi, crossing, rank, c, shallow, deep, holds)


def figure(out: Outcome) -> go.Figure:
    """The map of train accuracies; lines at 6 xi_c and where half of the images are right."""
    fig = go.Figure(
        go.Heatmap(x=out.C_W, y=out.depths, z=100 * out.accuracy.T, zmin=0, zmax=100, colorscale="Viridis", colorbar_title="right (%)")
    )
    fine = np.linspace(out.C_W[0], out.C_W[-1], 61)
    xi = lg.phase_diagram("tanh", fine, [C_B]).xi_c[:, 0]
    fig.add_scatter(x=fine, y=6 * xi, mode="lines", line={"color": "white", "width": 3}, name="6 xi_c (theory)")
    half = np.where(np.isfinite(out.crossing), out.crossing, np.nan)
    fig.add_scatter(x=out.C_W, y=half, mode="markers", marker={"color": "#D55E00", "size": 9}, name="half of the train images right")
    fig.update_xaxes(title_text="weight variance C_W")
    fig.update_yaxes(title_text="hidden layers", type="log", range=np.log10([out.depths[0], 1.2 * out.depths[-1]]).tolist())
    return fig.update_layout(template="plotly_white", height=480, legend={"orientation": "h", "y": -0.18, "bgcolor": "#bbbbbb"})


def main() -> int:
    return run(__doc__, "trainable_depth", study, figure)


if __name__ == "__main__":
    sys.exit(main())
