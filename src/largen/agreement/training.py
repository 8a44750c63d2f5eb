"""`lg.check(..., what="training")`: kernels at initialisation, trained outputs. Batches of bounded size; scalars are kept.

Variance is taken out where the mean of what is subtracted is known, or is cheap to measure by itself; nothing gets biased by
it, even if theory is wrong. With z the outputs before training, z_B(t) after it, R theory's response, P = (-R, 1):

- Trained mean, less theory's R y: e = z_B(t) - R y. Two levels with independent networks: d = P z has mean exactly 0; and
  c = Phat z + (Rhat - R) y, the same network linearised with its own NTK (mean over outputs), costs no training. So
  E e = E[c - d] over many untrained networks + E[e - c] over the trained ones, where e - c is of order 1/n only (for one output).
- Trained covariance: E e e^T = E[c c^T - d d^T + P Khat P^T] + E[e e^T - c c^T], since E d d^T = P E[Khat] P^T exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from largen import door
from largen.agreement.batches import batches
from largen.agreement.claims import KINKED, SMOOTH, Series, claim
from largen.agreement.contrasts import Contrast, contrast
from largen.agreement.controls import BAYES, EXCHANGED, HEAVIER, exchanged, heavier
from largen.agreement.kernels import Key, Look, contrasts, labels, look, series
from largen.agreement.setting import Setting
from largen.agreement.widths import require_room
from largen.architecture.mapping import with_outputs
from largen.architecture.nodes import Serial
from largen.architecture.spatial import outputs_of
from largen.errors import InputError, SingularKernelError
from largen.networks.ensemble import each
from largen.networks.training import train
from largen.prediction import flow
from largen.prediction.predict import predict
from largen.prediction.record import Prediction
from largen.prediction.spectrum import Factorization
from largen.theory.given import activations
from largen.theory.kernels import kernel

INITIAL = 32  # networks looked at untrained, for each one trained: they cost almost nothing
STEPS, LAST = 400, 20_000  # most steps of training at the default time, and at any time
FEW = 16  # most train points at infinite time
REMAINING = 0.05  # part of the loss that is left at the default time
MEAN, COVARIANCE = ("trained mean", None), ("trained covariance", None)


@dataclass(frozen=True)
class Question:
    """What is asked: theory of `net` at `rates`, trained on (X, y) for `steps` of `eta`, on the points X_test. y is (n, o)."""

    net: Serial
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    rates: Any
    eta: float = 0.0
    steps: int = 0

    @property
    def points(self) -> np.ndarray:
        """Train points, then test points."""
        return np.concatenate([self.X, self.X_test])


def check_training(s: Setting, y: Any, time: Any, X_test: Any) -> dict[str, Any]:
    """Kernels of untrained networks, mean and covariance of trained ones, at the same finite time."""
    q, time = question(s.net, s.asked, s.X, y, X_test, s.rates), a_time(time, s.X, X_test)
    require_room(s.real.values(), q.X.shape[1:], INITIAL * sum(s.networks), 8.0 * (len(labels(s.net)) + 2))
    runs = [(net, jax.random.split(key), many) for net, key, many in zip(s.real.values(), s.keys, s.networks, strict=True)]
    q = plan(q, max(largest_eigenvalue(net, keys[1], q, many) for net, keys, many in runs), time)
    by, response = forecast(q)
    found = []
    for n, run in zip(s.real, runs, strict=True):
        found.append(everything(*run, q, by, response))
        s.tell(n)
    bent = any(phi.kinks for phi in activations(s.net))
    powers = {name: KINKED if bent and name in (MEAN, COVARIANCE) else SMOOTH for name in by}
    claims = tuple(claim("training", *name, s.widths, [at[name] for at in found], by[name], powers[name]) for name in by)
    trained = {"time": q.eta * q.steps, "eta": q.eta, "steps": q.steps, "points": len(q.X), "test": len(q.X_test)}
    return {"claims": claims, "networks": claims[-1].networks, **trained}


def question(net: Serial, asked: Serial, X: np.ndarray, y: Any, X_test: Any, rates: Any) -> Question:
    """Checked data in float64, and the test points; without steps yet."""
    if y is None:
        raise InputError("y", "nothing", 'the targets of training, with what="training"', 'what="kernels" needs none.')
    aims, out = door.host(door.targets(y, len(X)), "y"), outputs_of(net, X.shape[1:], "X")
    columns = aims[:, None] if aims.ndim == 1 else aims
    if columns.shape[1] != out:
        raise InputError("y", f"shape {aims.shape}", f"one column per output of the network ({out})")
    if X_test is None:
        held = len(X) // 4
        X, points, columns = (X[:-held], X[-held:], columns[:-held]) if held else (X, X, columns)
    else:
        points = door.host(door.inputs(X_test, "X_test", X.shape[1:], "X"), "X_test")
    if not columns.any():
        raise InputError(
            "y", f"targets that are 0 at all {len(X)} train points", "targets to learn: what is learned is measured relative to it"
        )
    return Question(asked, X, columns, points, rates)


def a_time(time: Any, X: np.ndarray, X_test: Any) -> float | None:
    """The checked time; infinity on few points only, since NTKs of real data have condition numbers of 1e3 to 1e4."""
    if time is None:
        return None
    time, points = door.real(time, "time", low=0.0, strict=True, finite=False), len(X) - (len(X) // 4 if X_test is None else 0)
    if np.isinf(time) and points > FEW:
        raise InputError("time", f"infinity with {points} train points", f"a finite time, or at most {FEW} train points")
    return time


def plan(q: Question, largest: float, time: float | None) -> Question:
    """The step size and number of steps: eta is a quarter of the stable limit 2/largest of the real networks."""
    if not largest > 0:
        raise InputError("C_W", "a network whose NTK is 0 on the train points", "one that can learn: C_W above 0 in every layer")
    eta = 0.5 / largest
    values, vectors = np.linalg.eigh(np.asarray(kernel(q.net, q.X, rates=q.rates).ntk))
    if time is None:
        power = ((vectors.T @ q.y) ** 2).sum(1)
        left = ((1 - np.clip(eta * values, 0, 1))[:, None] ** (2 * np.arange(STEPS + 1)) * power[:, None]).sum(0) / power.sum()
        return replace(q, eta=eta, steps=max(1, int(np.argmax(left <= REMAINING)) or STEPS))
    if np.isinf(time):
        time = 10 / max(float(values[0]), 1e-300)
    steps = int(np.ceil(time / eta))
    if steps > LAST:
        got = f"{time:.3g}, which takes {steps} steps (the largest NTK eigenvalue of the real networks is {largest:.3g})"
        raise InputError("time", got, f"a time that takes at most {LAST} steps, {LAST * eta:.3g}")
    return replace(q, eta=time / steps, steps=steps)


def forecast(q: Question) -> tuple[dict[Key, Contrast], np.ndarray]:
    """The directions of every quantity, with controls; and the response R (m, n), with which an infinitely wide network trains from
    outputs z to z_B - R (z_A - y)."""
    one, out = with_outputs(q.net, 1), q.y.shape[1]
    trained = predict(
        one, q.X, np.hstack([q.y, np.eye(len(q.X))]), q.X_test, q.rates, "descent", eta=q.eta, steps=q.steps, covariance="full"
    )

    def flowed(net: Serial, rates: Any) -> Prediction:
        """A control at the same time: by flow, since eta may be too large for the control's own kernel."""
        return predict(net, q.X, q.y, q.X_test, rates, time=q.eta * q.steps, covariance="full")

    rivals: dict[str, Any] = {HEAVIER: flowed(heavier(one), q.rates), EXCHANGED: flowed(one, exchanged(q.net, q.rates))}
    try:
        rivals[BAYES] = predict(one, q.X, q.y, q.X_test, how="bayes", covariance="full")
    except SingularKernelError:
        rivals[BAYES] = "the posterior needs a kernel that is not singular"
    means, covs = ({k: p if isinstance(p, str) else np.asarray(getattr(p, part)) for k, p in rivals.items()} for part in ("mean", "cov"))
    by = contrasts(q.net, q.points, q.rates)
    by[MEAN] = contrast(np.asarray(trained.mean)[:, :out], means, False)
    by[COVARIANCE] = contrast(np.asarray(trained.cov), covs, True)
    return by, np.asarray(trained.mean)[:, out:]


def largest_eigenvalue(net: Serial, key: Any, q: Question, networks: int) -> float:
    """The largest eigenvalue of the NTK (mean over outputs) on the train points, among the networks that will be trained."""
    n, drawn = len(q.X), batches(net, q.points, key, networks)
    return max(float(np.linalg.eigvalsh(look(net, p, q.points, q.rates, chunk).ntk[:, :n, :n]).max()) for p, chunk in drawn)


def linearised(at: Look, q: Question) -> np.ndarray:
    """The outputs on the test points of every network after training, linearised about its start with its own NTK."""
    n = len(q.X)
    values, vectors = np.linalg.eigh(at.ntk[:, :n, :n])
    f = Factorization(vectors, np.maximum(values, 0), values.min(), values.max())
    w = flow.decayed(f.values, flow.schedule("descent", eta=q.eta, steps=q.steps))
    return at.outputs[:, n:] + flow.mean(f, w, at.ntk[:, n:, :n], q.y - at.outputs[:, :n])


def squares(e: np.ndarray) -> np.ndarray:
    """e e^T, mean over outputs: (networks, points, o) to (networks, points, points)."""
    return e @ e.swapaxes(1, 2) / e.shape[2]


def everything(net: Serial, keys: Any, trained: int, q: Question, by: Mapping[Key, Contrast], response: np.ndarray) -> dict[Key, Series]:
    """Every quantity at one width, over so many `trained` networks and others that are not (rounded up to whole batches)."""
    n, mean, cov, target = len(q.X), by[MEAN], by[COVARIANCE], response @ q.y
    P = np.hstack([-response, np.eye(len(response))])
    parts: dict[Key, list[Series]] = {name: [] for name in by}
    gaps: list[list[np.ndarray]] = [[], []]
    for params, chunk in batches(net, q.points, keys[0], trained, INITIAL * trained):
        at = look(net, params, q.points, q.rates, chunk)
        c, d = linearised(at, q) - target, P @ at.outputs
        for name, one in series(at, by).items():
            parts[name].append(one)
        gaps[0].append(c - d)
        parts[MEAN].append(Series((mean.linear(c - d),)))
        parts[COVARIANCE].append(Series((cov.values(squares(c) - squares(d) + P @ at.kernels[-1] @ P.T),)))
    means, covs, distances = [], [], []
    points, scale = q.points.astype(np.float32), (target**2).sum() + target.shape[1] * np.trace(cov.theory)
    for params, chunk in batches(net, q.points, keys[1], trained):
        at = look(net, params, q.points, q.rates, chunk)
        record = (points[n:], [q.steps])
        _, history = each(train, net, params, points[:n], q.y.astype(np.float32), q.eta, q.steps, q.rates, record=record, chunk=chunk)
        e, c, d = np.asarray(history.outputs, dtype=float)[:, 0] - target, linearised(at, q) - target, P @ at.outputs
        gaps[1].append(e - c)
        means.append(mean.linear(e - c))
        covs.append(cov.linear(squares(e) - squares(c)))
        distances.append(((e - d) ** 2).sum((1, 2)) / scale)
    bias = sum(np.concatenate(g).mean(0) for g in gaps)  # O(1/n): its square is what the covariance is less than the second moment
    out = {name: joined(some) for name, some in parts.items()}
    out[MEAN] = Series((*out[MEAN].levels, np.concatenate(means)), np.concatenate(distances))
    shift = cov.linear(squares(np.asarray(bias)[None]))
    out[COVARIANCE] = Series((out[COVARIANCE].levels[0] - shift, np.concatenate(covs)))
    return out


def joined(parts: Sequence[Series]) -> Series:
    """Series of several batches as one."""
    vanishing = [p.vanishing for p in parts if p.vanishing is not None]
    levels = tuple(np.concatenate(level) for level in zip(*(p.levels for p in parts), strict=True))
    return Series(levels, np.concatenate(vanishing) if vanishing else None)
