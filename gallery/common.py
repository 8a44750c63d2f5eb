"""What several scripts of the gallery share: MNIST, digits, CIFAR-10, fits in 1/n, ranks, and how a run ends.

Data are sought in the folder LARGEN_DATA, or shared/data beside the repository:

- MNIST: mnist/mnist.npz with x_train (60000, 28, 28) and x_test (10000, 28, 28), uint8, y_train and y_test; the file mnist.npz that
  Keras loads (`keras.datasets.mnist`) is of this form.
- CIFAR-10: cifar10/cifar10_lossless_first4k.npz with x_train (4000, 32, 32, 3), uint8, and y_train (4000,): the first 4,000 train
  images of CIFAR-10 (Krizhevsky 2009), in its order. `keras.datasets.cifar10` loads them; `numpy.savez` writes the file.
- Digits come with scikit-learn.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import plotly.graph_objects as go
from scipy.stats import rankdata
from sklearn.datasets import load_digits


class Judged(Protocol):
    """What a study returns: a record that says whether its claim holds."""

    @property
    def holds(self) -> bool: ...


MNIST, CIFAR10 = "mnist/mnist.npz", "cifar10/cifar10_lossless_first4k.npz"


def data_folder() -> Path:
    """Where the data lie: LARGEN_DATA, or shared/data beside the repository."""
    return Path(os.environ.get("LARGEN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def mnist(train: int, test: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The first train and test images of MNIST as they are, (points, 784) in [0, 1], float64, each with its labels."""
    file = np.load(data_folder() / MNIST)
    images = [file[f"x_{part}"][:most].reshape(most, -1) / 255.0 for part, most in (("train", train), ("test", test))]
    return images[0], file["y_train"][:train].astype(np.int32), images[1], file["y_test"][:test].astype(np.int32)


def digits(train: int, test: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of scikit-learn's 1,797 digits the first for training and the next for the test, in the form of `mnist` with 8 x 8 pixels."""
    X, labels = load_digits(return_X_y=True)
    return X[:train] / 16, labels[:train], X[train : train + test] / 16, labels[train : train + test]


def cifar10() -> tuple[np.ndarray, np.ndarray]:
    """The first 4,000 train images of CIFAR-10 as they are, (4000, 32, 32, 3) in [0, 1], float64, and their labels."""
    file = np.load(data_folder() / CIFAR10)
    return file["x_train"] / 255.0, file["y_train"].astype(np.int32)


def at_infinity(widths: tuple[int, ...], means: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a and its standard error from the weighted fit a + b/n + c/n^2, for each column of means and errors (widths, ...)."""
    shape = means.shape[1:]
    y, e = (np.moveaxis(v.reshape(len(widths), -1), 0, 1) for v in (means, errors))  # (columns, widths)
    powers = (widths[0] / np.array(widths)[:, None]) ** np.arange(3)
    solve = np.linalg.pinv(powers / e[:, :, None])  # (columns, 3, widths), for values divided by their errors
    intercept = np.einsum("kw,kw->k", solve[:, 0], y / e)
    return intercept.reshape(shape), np.linalg.norm(solve[:, 0], axis=1).reshape(shape)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's, equal values sharing their rank."""
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def run(
    doc: str | None, name: str, study: Callable[[], Any], figure: Callable[[Any], go.Figure], data: str = MNIST,
    bundled: Callable[[], Any] | None = None,
) -> int:  # fmt: skip
    """The main() of a script: study, draw into --out, say the verdict. Exit code 0, 1 (the claim fails) or 2 (no data). `bundled` is the
    study on scikit-learn's digits, where there is one."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder of the figure")
    if bundled:
        parser.add_argument("--digits", action="store_true", help="scikit-learn's digits in place of MNIST: nothing to fetch")
    arguments = parser.parse_args()
    began = time.perf_counter()
    try:
        out: Judged = bundled() if bundled and arguments.digits else study()
    except FileNotFoundError as missing:
        print(f"No data: {missing.filename} is not there. Set LARGEN_DATA to the folder that holds {data}.", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure(out).write_html(arguments.out / f"{name}.html", include_plotlyjs=True)
    print(f"{'The claim holds' if out.holds else 'THE CLAIM FAILS'}; {time.perf_counter() - began:.0f} s.")
    return 0 if out.holds else 1
