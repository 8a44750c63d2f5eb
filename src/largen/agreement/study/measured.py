"""What real networks did: everything of a study that comes from `networks`, never from theory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from largen.agreement.study.plan import GROUP, Plan
from largen.architecture.nodes import Serial
from largen.data.task import Task
from largen.errors import InputError
from largen.networks.empirical import empirical_ntk
from largen.networks.ensemble import empirical_ntk_ensemble, preactivations_ensemble
from largen.networks.parameters import init
from largen.networks.training import train as fit
from largen.prediction.predict import predict
from largen.types import Array, Params

Tell = Callable[[str, float], None]  # what is being done, and its share of the whole work that is now done
CONTROL_TEST = 64  # test points of the linearised control
CONTROL_BYTES = 2**30  # no control above this size of one network's NTK


@dataclass(frozen=True)
class Start:
    """Untrained networks of one width: per network, layer by layer, mean second moment and mean cosine of the preactivations
    on the chosen points, (r, L), and the NTK's mean diagonal and mean off-diagonal entry, (r,); the mean NTK (p, p), its se."""

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


def start(plan: Plan, place: int, X: np.ndarray, tell: Callable[[float], None]) -> Start:
    """Look at untrained networks of one width, in groups."""
    net, many, points = plan.nets[place], plan.draws[place], np.asarray(X[: plan.points], np.float32)
    group = min(GROUP, many)
    rows: list[tuple[np.ndarray, ...]] = []
    total = squares = np.zeros((len(points), len(points)))
    for begin in range(0, many, group):
        params = init(net, points.shape[1], jax.random.fold_in(key(plan, 0, place), begin), networks=group, dtype=np.float32)
        size, cosine = _moments(preactivations_ensemble(net, params, points))
        theta = np.asarray(empirical_ntk_ensemble(net, params, points, full=False), np.float64)[: many - begin]
        total, squares = total + theta.sum(0), squares + (theta**2).sum(0)
        diagonal = np.einsum("raa->ra", theta).mean(1)
        rows.append((size[: many - begin], cosine[: many - begin], diagonal, _between(theta)))
        tell(min(begin + group, many) / many)
    size, cosine, diagonal, between = (np.concatenate(part) for part in zip(*rows, strict=True))
    mean = total / many
    return Start(size, cosine, diagonal, between, mean, np.sqrt(np.maximum(squares / many - mean**2, 0) / (many - 1)))


def _between(matrices: np.ndarray) -> np.ndarray:
    n = matrices.shape[-1]
    return (matrices.sum((1, 2)) - np.einsum("raa->r", matrices)) / (n * (n - 1))


def _moments(z: Mapping[str, Array]) -> tuple[np.ndarray, np.ndarray]:
    """Mean second moment and mean cosine between different points, (networks, L) each."""
    sizes, cosines = [], []
    for layer in z.values():
        values = np.asarray(layer, np.float64)
        second = np.einsum("rni,rni->rn", values, values)
        sizes.append(second.mean(1) / values.shape[2])
        unit = values / np.sqrt(np.maximum(second, 1e-300))[:, :, None]
        n = unit.shape[1]
        cosines.append((np.sum(unit.sum(1) ** 2, 1) - np.sum(unit**2, (1, 2))) / (n * (n - 1)))
    return np.stack(sizes, 1), np.stack(cosines, 1)


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
            lines = predict(net, X, y, both[: n + m], how="descent", eta=eta, steps=np.array(at), params=params).mean
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
    except InputError as error:
        if error.argument != "eta":
            raise
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
