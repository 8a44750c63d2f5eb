"""What real networks did: everything of a study that comes from `networks`, never from theory."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from largen.agreement.batches import measured
from largen.agreement.kernels import Look, before
from largen.agreement.statistics import mean_and_error
from largen.agreement.study.believed import between, correlation
from largen.agreement.study.plan import Plan
from largen.architecture.nodes import Serial
from largen.data.task import Task
from largen.errors import InputError
from largen.networks.empirical import empirical_ntk
from largen.networks.parameters import init
from largen.networks.training import Diverged, train as fit
from largen.parametrizations.rates import resolve
from largen.prediction import flow
from largen.prediction.spectrum import flatten
from largen.types import Params

Tell = Callable[[str, float], None]  # what is being done, and its share of the whole work that is now done
CONTROL_TEST = 64  # test points of the linearised control
CONTROL_BYTES = 2**30  # no control above this size of one network's NTK


@dataclass(frozen=True)
class Start:
    """Untrained networks of one width: per network, layer by layer, mean second moment and mean cosine of the preactivations
    on the chosen points, (r, L), of the outputs given the last hidden layer; the NTK's mean diagonal and mean off-diagonal entry, (r,);
    the mean NTK (p, p), its se."""

    size: np.ndarray
    cosine: np.ndarray
    diagonal: np.ndarray
    between: np.ndarray
    ntk: np.ndarray
    ntk_se: np.ndarray


@dataclass(frozen=True)
class Run:
    """Trained networks of one width: losses per point (r, k), how the residual of each mode overlaps with its start (r, n, k),
    outputs on the test points at the end (r, m, o), relative movement of the NTK (r,); and, of the first few, each against its
    own linearisation: relative distance on test points at the end (c,), and the losses per point of the first one (k,): real on
    train and test, linearised on train and test."""

    train: np.ndarray
    test: np.ndarray
    overlap: np.ndarray
    outputs: np.ndarray
    movement: np.ndarray
    distance: np.ndarray
    control: tuple[np.ndarray, ...]


def key(plan: Plan, stage: int, place: int) -> jax.Array:
    """A key of its own for every stage and width."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(plan.seed), stage), place)


def start(plan: Plan, place: int, X: np.ndarray) -> Start:
    """Look at untrained networks of one width."""
    net, many = plan.nets[place], plan.draws[place]
    at: Look = measured(before, net, X[: plan.points], key(plan, 0, place), many, resolve(net))
    K = np.stack(at.kernels, 1)
    size, cosine = np.einsum("rlaa->rl", K) / K.shape[2], between(correlation(K))
    mean, se = mean_and_error(at.ntk)
    return Start(size, cosine, np.einsum("raa->r", at.ntk) / K.shape[2], between(at.ntk), mean, se)


def run(
    plan: Plan, place: int, task: Task, eta: float, at: tuple[int, ...], modes: np.ndarray, controls: int, tell: Callable[[float], None]
) -> Run:
    """Train the networks of one width, one after the other, the first `controls` in their linearisation too."""
    net, many, n, m = plan.nets[place], plan.networks[place], len(task.X), min(CONTROL_TEST, len(task.X_test))
    X, y, both = (np.asarray(a, np.float32) for a in (task.X, task.y, np.concatenate([task.X, task.X_test])))
    some, rows, distances, control = X[: plan.points], [], [], []
    for k, one in enumerate(jax.random.split(key(plan, 1, place), many)):
        params = init(net, X.shape[1], one, dtype=np.float32)
        trained, outputs = descent(net, params, X, y, eta, at, both, plan.pace)
        before, after = (np.asarray(empirical_ntk(net, p, some, full=False), np.float64) for p in (params, trained))
        left = np.einsum("nk,tno->tko", modes, outputs[:, :n] - task.y, optimize=True)
        overlap = np.einsum("tko,ko->kt", left, left[0])
        movement = np.linalg.norm(after - before) / np.linalg.norm(before)
        rows.append((*_losses(outputs, task, n), overlap, outputs[-1, n:], movement))
        if k < controls:
            seen = outputs[:, : n + m]
            theta = np.asarray(flatten(empirical_ntk(net, params, both[: n + m], X)))
            moved = flow.stepped(theta, (y - seen[0, :n]).astype(np.float32).ravel(), eta, at)
            lines = seen[0] + moved.reshape(seen.shape)
            distances.append(np.linalg.norm(seen[-1, n:] - lines[-1, n:]) / np.linalg.norm(seen[-1, n:] - seen[0, n:]))
            control.append((*_losses(seen, task, n), *_losses(lines, task, n)))
        tell((k + 1) / many)
    first = control[0] if control else ()
    train, test, overlap, ends, movement = (np.array(part) for part in zip(*rows, strict=True))
    return Run(train, test, overlap, ends, movement, np.array(distances), first)


def descent(
    net: Serial, params: Params, X: np.ndarray, y: np.ndarray, eta: float, at: tuple[int, ...], where: np.ndarray, pace: float
) -> tuple[Params, np.ndarray]:
    """Train one network and record it. Raises `InputError` naming the pace if it diverges."""
    try:
        trained, history = fit(net, params, X, y, eta, at[-1], record=(where, at))
    except Diverged as error:
        need = "steps at which the narrowest network does not diverge either"
        raise InputError("pace", f"{pace:g}, at which a real network diverged", need, "Lower pace, or raise the widths.") from error
    return trained, np.asarray(history.outputs, np.float64)


def _losses(outputs: np.ndarray, task: Task, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses per point on train and test rows of recorded outputs (k, n + m, o)."""
    m = outputs.shape[1] - n
    squares = 0.5 * np.sum((outputs - np.concatenate([task.y, task.y_test[:m]])) ** 2, 2)
    return squares[:, :n].mean(1), squares[:, n:].mean(1)


def control_fits(task: Task) -> bool:
    """Whether one network's NTK with all pairs of outputs is small enough for the linearised control."""
    n, o, m = len(task.X), task.y.shape[1], min(CONTROL_TEST, len(task.X_test))
    return 4 * (n + m) * o * n * o <= CONTROL_BYTES
