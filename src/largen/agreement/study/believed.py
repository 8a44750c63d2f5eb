"""What theory says: everything of a study that comes from `theory` and `prediction`, never from a real network."""

from dataclasses import dataclass

import jax
import numpy as np

from largen.agreement.study.plan import Plan
from largen.architecture.chain import chain
from largen.architecture.nodes import Serial
from largen.data.task import Task
from largen.prediction import draw, factor, flow, predict
from largen.theory.kernels import kernel
from largen.types import Array

JITTER = 1e-4  # ridge of the kernel machines, relative to the mean diagonal: duplicate points would make them singular
DRAWS = 512
MOST_STEPS = 256  # training stops here even if more steps would pay
PAYS = 1.1  # more steps pay as long as theory expects them to take more than a tenth off the error on new points


@dataclass(frozen=True, kw_only=True)
class Belief:
    """Theory's answers. Kernels per layer on the first `points` train points; NTK eigenmodes of the train points; descent at the
    recorded steps on train and test points together; kernel machines on the test points."""

    layers: tuple[str, ...]
    K: np.ndarray  # (L, points, points)
    Theta: np.ndarray  # (points, points), output layer
    values: np.ndarray  # (n,) descending
    modes: np.ndarray  # (n, n) columns
    eta: float
    at: tuple[int, ...]  # recorded steps, 0 first
    train: tuple[np.ndarray, np.ndarray]  # mean and standard deviation over networks of the loss per point, (k,)
    test: tuple[np.ndarray, np.ndarray]
    last: np.ndarray  # (m, o) mean at the end, test points
    last_variance: np.ndarray  # (m,)
    samples: np.ndarray  # (DRAWS, m, o) networks drawn from it
    nngp: np.ndarray  # (m, o)
    ntk_end: np.ndarray
    initial_share: float


def believe(plan: Plan, task: Task, net: Serial) -> Belief:
    """All of theory for a study, of the network `net`."""
    X, n = task.X, len(task.X)
    both = np.concatenate([X, task.X_test])
    some = kernel(net, X[: plan.points], layer="all")
    whole = kernel(net, both)
    K, theta = np.asarray(whole.nngp)[:n, :n], np.asarray(whole.ntk)[:n, :n]
    f = factor(theta)
    values, modes = np.asarray(f.values), np.asarray(f.vectors)
    eta = plan.pace / float(values[-1])
    steps = plan.steps or _steps(plan.share, eta * values, modes, K, task.y)
    at = sorted({0, *(int(s) for s in np.round(np.geomspace(1, steps, 14)))})
    joint = (np.asarray(whole.ntk)[:, :n], K, np.asarray(whole.nngp)[:, :n], np.asarray(whole.nngp))
    losses = []
    for step in at:  # one time after the other: a covariance of all points each
        w = flow.weights(f, flow.schedule("descent", eta=eta, steps=step))
        mean, cov = flow.mean(f, w, joint[0], task.y), flow.covariance(f, w, *joint)
        losses.append((*loss(mean[:n], cov[:n, :n], task.y), *loss(mean[n:], cov[n:, n:], task.y_test)))
    train, train_sd, test, test_sd = (np.array(part) for part in zip(*losses, strict=True))
    last = predict(net, X, task.y, task.X_test, how="descent", eta=eta, steps=at[-1], covariance="full")
    samples = draw(last, jax.random.key(plan.seed + 1), DRAWS)
    ridges = [JITTER * float(np.mean(np.diag(k))) for k in (K, theta)]
    bayes = predict(net, X, task.y, task.X_test, how="bayes", ridge=ridges[0], covariance=None)
    end = predict(net, X, task.y, task.X_test, how="flow", ridge=ridges[1], covariance=None)
    noise, bias = float(np.mean(last.variance)) * task.y.shape[1], float(np.mean(np.sum((last.mean - task.y_test) ** 2, 1)))
    return Belief(
        layers=tuple(layer.path for layer in chain(net)),
        K=np.asarray(some.nngp),
        Theta=np.asarray(some.ntk[-1]),
        values=np.asarray(values[::-1]),
        modes=np.asarray(modes[:, ::-1]),
        eta=eta,
        at=tuple(at),
        train=(train, train_sd),
        test=(test, test_sd),
        last=np.asarray(last.mean),
        last_variance=np.asarray(last.variance),
        samples=np.asarray(samples),
        nngp=np.asarray(bayes.mean),
        ntk_end=np.asarray(end.mean),
        initial_share=noise / (noise + bias),
    )


def _steps(share: float | None, rates: np.ndarray, modes: np.ndarray, K: np.ndarray, y: np.ndarray) -> int:
    """The first step at which the expected train loss, sum_k (1 - rate_k)^2s (|y_k|^2 + o K_kk), is at `share` of its start; None: at which
    the error on new points is as good as at its least.

    That error is what generalised cross-validation expects from the train points alone: the loss over the square of the mean of
    (1 - rate_k)^s, the part of a point's residual that its own target left there.
    """
    start = np.sum((modes.T @ y) ** 2, 1) + y.shape[1] * np.einsum("ak,ab,bk->k", modes, K, modes, optimize=True)
    steps = np.arange(8, MOST_STEPS + 1)
    left = (1 - rates) ** steps[:, None]
    losses = left**2 @ start
    new = losses / left.mean(1) ** 2
    enough = losses <= share * start.sum() if share is not None else new <= PAYS * new.min()
    return int(steps[np.argmax(enough)]) if enough.any() else MOST_STEPS


def loss(mean: Array, cov: Array, y: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of (1/2n) sum (z - y)^2 for z ~ N(mean, cov) per output.

    With d = mean - y and o outputs: (sum d^2 + o tr C)/2n, and variance (sum_i d_i^T C d_i + (o/2) tr C^2)/n^2.
    """
    d, (n, o) = np.asarray(mean) - y, y.shape
    spread = np.sum(d * (cov @ d)) + o / 2 * np.sum(np.square(cov))
    return float(np.sum(d**2) + o * np.trace(cov)) / (2 * n), float(np.sqrt(max(spread, 0.0))) / n


def correlation(K: np.ndarray) -> np.ndarray:
    """Cosines (..., n, n) of covariances (..., n, n)."""
    size = np.sqrt(np.einsum("...aa->...a", K))
    return K / np.maximum(size[..., :, None] * size[..., None, :], 1e-300)


def between(matrix: np.ndarray) -> np.ndarray:
    """The mean over pairs of different points of (..., n, n) matrices."""
    n = matrix.shape[-1]
    return (matrix.sum((-1, -2)) - np.einsum("...aa->...", matrix)) / (n * (n - 1))
