"""What theory says of the quantities that `lg.check` measures, and what wrong theories say of them: the controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.agreement.contrasts import Contrast, contrast
from largen.architecture.mapping import heavier, with_outputs
from largen.architecture.nodes import Serial
from largen.errors import SingularKernelError
from largen.prediction.predict import Prediction, predict
from largen.scaling.rates import resolve
from largen.theory.kernels import kernel

SWAPPED, HEAVIER, BAYES = "lambda_b and lambda_W swapped", "C_W + 10 %", "the Bayesian posterior"


@dataclass(frozen=True)
class Question:
    """What is asked: theory of `net` at `rates`, trained on (X, y) for `steps` of `eta`, on the points X_test. y is (n, o)."""

    net: Serial
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    rates: Any
    eta: float
    steps: int

    @property
    def points(self) -> np.ndarray:
        """Train points, then test points."""
        return np.concatenate([self.X, self.X_test])


@dataclass(frozen=True)
class Forecast:
    """Theory's answer: `contrasts` by (name, layer), of the kernel of each layer, the NTK, the trained mean and covariance, and
    the `response` R (m, n), with which an infinitely wide network trains from outputs z to z_B - R (z_A - y)."""

    contrasts: Mapping[tuple[str, int | None], Contrast]
    response: np.ndarray


def swapped(net: Serial, rates: Any) -> tuple[list[float], list[float]]:
    """The rates with lambda_b and lambda_W exchanged in every layer."""
    pairs = list(resolve(net, rates).values())
    return [w for _, w in pairs], [b for b, _ in pairs]


def forecast(q: Question) -> Forecast:
    """Theory's answer to a question, with its controls."""
    points, other, exchanged = q.points, heavier(q.net, 1.1), swapped(q.net, q.rates)
    right, wrong = (kernel(net, points, rates=q.rates, layer="all") for net in (q.net, other))
    found: dict[tuple[str, int | None], Contrast] = {}
    for l, (K, other_K) in enumerate(zip(np.asarray(right.nngp), np.asarray(wrong.nngp), strict=True), 1):
        found["kernel", l] = contrast(K, {HEAVIER: other_K}, True)
    theta = {HEAVIER: np.asarray(wrong.ntk)[-1], SWAPPED: np.asarray(kernel(q.net, points, rates=exchanged).ntk)}
    trained = predict(
        with_outputs(q.net, 1), q.X, np.hstack([q.y, np.eye(len(q.X))]), q.X_test, q.rates, "descent", eta=q.eta, steps=q.steps
    )
    out = q.y.shape[1]
    rivals: dict[str, Prediction | str] = {
        HEAVIER: _flow(q, other, q.rates),
        SWAPPED: _flow(q, q.net, exchanged),
        BAYES: _posterior(q),
    }
    means = {name: p if isinstance(p, str) else np.asarray(p.mean) for name, p in rivals.items()}
    covs = {name: p if isinstance(p, str) else np.asarray(p.cov) for name, p in rivals.items()}
    found["NTK", None] = contrast(np.asarray(right.ntk)[-1], theta, True)
    found["trained mean", None] = contrast(np.asarray(trained.mean)[:, :out], means, False)
    found["trained covariance", None] = contrast(np.asarray(trained.cov), covs, True)
    return Forecast(found, np.asarray(trained.mean)[:, out:])


def _flow(q: Question, net: Serial, rates: Any) -> Prediction:
    """A control at the same time: by flow, since eta may be too large for the control's own kernel."""
    return predict(with_outputs(net, 1), q.X, q.y, q.X_test, rates, time=q.eta * q.steps)


def _posterior(q: Question) -> Prediction | str:
    try:
        return predict(with_outputs(q.net, 1), q.X, q.y, q.X_test, how="bayes")
    except SingularKernelError:
        return "the posterior needs a kernel that is not singular"
