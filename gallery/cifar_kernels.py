"""CIFAR-10 by kernels of infinitely wide networks: fully connected, convolutional without pooling, and Myrtle-5 with pooling.

Regression on centred one-hot labels with `lg.gram`'s NNGP and NTK. 1,000 train and 500 test images for the first two, ReLU networks
with three hidden layers; 200 and 100 for Myrtle-5 (Shankar et al. 2020), whose kernel tracks every pixel of one image with every
pixel of the other, a million numbers a pair; the first two are fitted to those 200 as well, beside it. `lg.explain` says so before.
At infinite width channels do not matter.

Every channel is centred and divided by its spread over the train images; the ridge is 1e-3 of the mean of the kernel's diagonal. This,
the networks and the images were written down before the first run, and so was the claim that convolutions without pooling are ahead of
the fully-connected network. That claim failed: of 500 images 168 and 193 (NNGP, NTK) were right with convolutions, 187 and 193 without.
At infinite width and without pooling nothing is left of weight sharing (Novak et al. 2019), and with 1,000 images locality alone does not
help: on 800 and 600 other images convolutions were 0 to 3 points behind, with either kernel, at every ridge from 1e-5 to 1. So the
claim is now that the two are alike. The claim on Myrtle-5 was written down before its first run.

    python gallery/cifar_kernels.py            # data: CIFAR-10, see common.py

Prints the table of test accuracies and writes `cifar_kernels.html` in the folder --out. Exit code 1 if the claim fails, for either kernel:
the convolutional network without pooling and the fully-connected one are alike on the same 500 images, within 3 standard errors;
Myrtle-5 is right more often than both on the same 100 images; answers that ignore the images, right for 1 in 10 of CIFAR-10 whatever
they are, would be as good as any row with less than 1 chance in 1,000 (binomial). Exit code 2 without data. On two cores the
first two networks take a minute, Myrtle-5 about half an hour.
"""

import sys
import time
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from common import CIFAR10, cifar10, run
from scipy.linalg import solve
from scipy.stats import binom

import largen as lg

RIDGE, CHANCE, CLASSES = 1e-3, 1e-3, 10
FIRST_TEST = 1000  # the train images end before
COLOURS = {"NNGP": "#0072B2", "NTK": "#D55E00"}


@dataclass(frozen=True)
class Row:
    """One kernel of one network: `right` for every test image, `needed` for more than chance, `seconds` of both kernels of the network,
    compiling included."""

    network: str
    kernel: str
    train: int
    right: np.ndarray
    needed: float
    seconds: float

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


@dataclass(frozen=True)
class Outcome:
    """`rows`; `z`: by kernel, standard errors by which convolutions without pooling are ahead of the fully-connected network on many
    images; `pooled`: by kernel, test images that Myrtle-5 has right more than the best of the other two."""

    rows: tuple[Row, ...]
    z: dict[str, float]
    pooled: dict[str, int]
    holds: bool


FEW = {
    "fully connected": lg.mlp(widths=[1] * 3, out=1, activation="relu", C_W=2.0),
    "convolutions, flattened": lg.cnn([1] * 3, out=1, activation="relu", C_W=2.0),
}
ALL = {**FEW, "Myrtle-5": lg.myrtle(5, channels=1, out=1)}


def fitted(name: str, net: lg.Serial, X: np.ndarray, labels: np.ndarray, T: np.ndarray, answers: np.ndarray) -> list[Row]:
    """Both kernels of a network: regression on X, and which of the test images T it has right."""
    if name == "fully connected":
        X, T = (Z.reshape(len(Z), -1) for Z in (X, T))
    began = time.perf_counter()
    train, test = (lg.gram(net, *points, progress=True) for points in ((X,), (T, X)))
    seconds = time.perf_counter() - began
    needed = (binom.isf(CHANCE, len(answers), 1 / CLASSES) + 1) / len(answers)
    rows = []
    for kernel in COLOURS:
        K, k = (np.asarray(getattr(part, "nngp" if kernel == "NNGP" else "ntk"), float) for part in (train, test))
        weights = solve(K + RIDGE * K.diagonal().mean() * np.eye(len(K)), lg.one_hot(labels, CLASSES), assume_a="pos")
        rows.append(Row(name, kernel, len(X), (k @ weights).argmax(1) == answers, needed, seconds))
        r = rows[-1]
        print(f"{name:24s} {kernel:5s} {r.train:6d} {len(T):6d} {r.accuracy:9.3f} {needed:11.3f} {seconds:9.0f}", flush=True)
    return rows


def study(many: tuple[int, int] = (1000, 500), few: tuple[int, int] = (200, 100)) -> Outcome:
    """Both sizes (train, test): all rows, and the verdict."""
    images, labels = cifar10()
    rows: list[Row] = []
    print(lg.explain(ALL["Myrtle-5"], images.shape[1:], few[0]), end="\n\n")
    print(f"{'network':24s} {'':5s} {'train':>6s} {'test':>6s} {'accuracy':>9s} {'chance is <':>11s} {'seconds':>9s}")
    for nets, (train, test) in ((FEW, many), (ALL, few)):
        own = images[:train]
        scaled = ((images - own.mean((0, 1, 2))) / own.std((0, 1, 2))).astype(np.float32)
        X, T = scaled[:train], scaled[FIRST_TEST : FIRST_TEST + test]
        for name, net in nets.items():
            rows += fitted(name, net, X, labels[:train], T, labels[FIRST_TEST : FIRST_TEST + test])
    z, pooled = {}, {}
    for kernel in COLOURS:
        dense, conv, *others, best = (r.right for r in rows if r.kernel == kernel)
        only = int((conv & ~dense).sum()), int((dense & ~conv).sum())
        z[kernel] = (only[0] - only[1]) / max(1.0, float(np.sqrt(sum(only))))  # of images that just one has right, half are each's
        pooled[kernel] = int(best.sum() - max(other.sum() for other in others))
        print(
            f"{kernel}: {only[0]} of many images are right with convolutions only, {only[1]} without only ({z[kernel]:+.1f} s.e.);",
            f"Myrtle-5 is ahead by {pooled[kernel]} of {len(best)} images.",
        )
    alike, ahead = all(abs(v) <= 3 for v in z.values()), all(v > 0 for v in pooled.values())
    return Outcome(tuple(rows), z, pooled, alike and ahead and all(r.accuracy >= r.needed for r in rows))


def figure(out: Outcome) -> go.Figure:
    """Accuracies as bars, with what chance does not reach."""
    fig = go.Figure()
    for kernel, colour in COLOURS.items():
        rows = [r for r in out.rows if r.kernel == kernel]
        names = [f"{r.network}<br>{r.train} train images" for r in rows]
        spread = [100 * float(np.sqrt(r.accuracy * (1 - r.accuracy) / len(r.right))) for r in rows]
        bars = {"array": spread, "color": "#444444"}
        fig.add_bar(x=names, y=[100 * r.accuracy for r in rows], error_y=bars, name=kernel, marker_color=colour)
        if kernel == "NTK":
            line = {"mode": "markers", "marker": {"symbol": "line-ew-open", "size": 60, "color": "#444444"}}
            fig.add_scatter(x=names, y=[100 * r.needed for r in rows], name="1 chance in 1,000", **line)
    fig.update_yaxes(title_text="test images right (%)", rangemode="tozero")
    return fig.update_layout(template="plotly_white", barmode="group", height=480)


def main() -> int:
    return run(__doc__, "cifar_kernels", study, figure, CIFAR10)


if __name__ == "__main__":
    sys.exit(main())
