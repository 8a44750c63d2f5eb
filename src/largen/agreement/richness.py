"""From lazy to rich: how far training moves real networks, by the prefactor gamma of their outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from largen import door, exits
from largen.architecture.arrays import blanks
from largen.architecture.nodes import network
from largen.display import Record
from largen.errors import InputError
from largen.networks.empirical import empirical_ntk
from largen.networks.ensemble import each
from largen.networks.outputs import preactivations
from largen.networks.parameters import init
from largen.networks.training import train
from largen.parametrizations.parametrization import Parametrization
from largen.prediction.spectrum import max_learning_rate

SAFE = 0.25  # of the largest stable step: a rich kernel grows
PREDICTED = {"moves": 1.0, "kernels": 2.0}


@dataclass(frozen=True, repr=False, kw_only=True)
class RichnessSweep(Record):
    """What `lg.scaling.richness_sweep` returns, one entry per gamma.

    Attributes
    ----------
    gammas : array (k,)
        The prefactors, ascending.
    moves, moves_se : array (k,)
        By how much training moved the preactivations of the last hidden layer, root mean square relative to that at the start.
    kernels, kernels_se : array (k,)
        By how much it moved the mean tangent kernel of the networks, in the Frobenius norm, relative to that at the start.
    loss : array (k,)
        The train loss at the end relative to that at the start, mean over networks.
    powers, powers_se : dict
        "moves", "kernels" -> (k - 1,), the power of gamma from each to the next; NaN where a kernel's move is within its error.
    predicted : dict
        Those of an infinitely wide network for small gamma: 1 and 2.
    eta, steps, networks : float, int, int
        How they were trained.
    """

    gammas: np.ndarray
    moves: np.ndarray
    moves_se: np.ndarray
    kernels: np.ndarray
    kernels_se: np.ndarray
    loss: np.ndarray
    powers: Mapping[str, np.ndarray]
    powers_se: Mapping[str, np.ndarray]
    predicted: Mapping[str, float]
    eta: float
    steps: int
    networks: int

    _table = ("gamma", "gammas moves moves_se kernels kernels_se loss")


@exits.finite(unseen=("powers", "powers_se"))
def richness_sweep(
    net: Any, X: Any, y: Any, gammas: Any, key: Any = None, networks: int = 16, steps: int = 200, eta: float | None = None
) -> RichnessSweep:
    """Train real networks from lazy to rich: in muP with outputs over gamma, rates times gamma^2, all else equal.

    The outputs learn at the same pace for every gamma; hidden layers move by about gamma, their kernels by gamma^2 as long as that is
    small: so an infinitely wide network is a kernel machine as gamma goes to 0. Outputs are taken less those at the start, which at finite
    width are of size 1/(gamma sqrt n). Rates are those of plain descent.

    Parameters
    ----------
    net : architecture
        A plain network, wide: at width n the kernel of a single network also moves by about gamma/sqrt(n), with random signs.
    X : array (n, features) or (n, *positions, channels)
        Train points.
    y : array (n,) or (n, out)
        Targets.
    gammas : sequence of numbers
        Above 0, such as (0.125, 0.25, 0.5, 1, 2).
    key : JAX random key, optional
        By default `jax.random.key(0)`. All gammas share the draws.
    networks : int
        How many are trained for each gamma.
    steps : int
        How many steps each is trained.
    eta : float, optional
        The global step; default a quarter of what is stable at the start.

    Returns
    -------
    RichnessSweep
        Moves, kernels' moves and losses with standard errors over networks, and the powers of gamma fitted to them.

    Raises
    ------
    InputError
        For arguments that do not fit, and where training diverges.

    References
    ----------
    Bordelon and Pehlevan (2022); Chizat, Oyallon and Bach (2019).

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> X, y = np.eye(4), np.array([1.0, -1.0, 1.0, -1.0])
    >>> found = lg.scaling.richness_sweep(lg.mlp([64, 64], 1, "tanh"), X, y, [0.1, 1.0], networks=4, steps=50)
    >>> bool(found.kernels[1] > 10 * found.kernels[0]), found.predicted["kernels"]
    (True, 2.0)
    """
    whole, points = network(net), door.inputs(X)
    g = np.sort(door.values(gammas, "gammas", "numbers above 0, such as (0.25, 0.5, 1)").astype(float).ravel())
    if not g.size or g[0] <= 0 or len({*g.tolist()}) < len(g):
        raise InputError("gammas", str(g.tolist()), "different numbers above 0, such as (0.25, 0.5, 1)")
    door.concrete((points, y), "X, y")
    many, rounds = door.count(networks, "networks", low=2), door.count(steps, "steps")
    one = door.key(key) if key is not None else jax.random.key(0)
    weights = [entry for entry in blanks(whole, points.shape[1:])[1].values() if "W" in entry]
    hidden = max(len(weights) - 1, 1)
    rows, pace = [], eta
    for gamma in g:
        p = Parametrization.richness(hidden, "1/2", gamma=float(gamma))
        start = init(whole, points.shape[1:], one, networks=many, parametrization=p)
        before = _looked_at(whole, start, points, p)
        if pace is None:
            pace = SAFE * max_learning_rate(before[1].mean(0))
        end, history = each(train, whole, start, points, y, pace, rounds, parametrization=p, centred=True)
        after = _looked_at(whole, end, points, p)
        losses = np.asarray(history.loss, float)
        rows.append((*_moved(before, after), float((losses[:, -1] / losses[:, 0]).mean())))
    moves, kernels, each_move, each_kernel, loss = map(np.array, zip(*rows, strict=True))
    errors = [found.std(1, ddof=1) / many**0.5 for found in (each_move, each_kernel)]
    powers = {"moves": _powers(g, moves, each_move), "kernels": _powers(g, kernels, each_kernel)}
    return RichnessSweep(
        gammas=g,
        moves=moves,
        moves_se=errors[0],
        kernels=kernels,
        kernels_se=errors[1],
        loss=loss,
        powers={name: found[0] for name, found in powers.items()},
        powers_se={name: found[1] for name, found in powers.items()},
        predicted=PREDICTED,
        eta=float(pace or 0.0),
        steps=rounds,
        networks=many,
    )


def _looked_at(net: Any, params: Any, X: Any, p: Parametrization) -> tuple[np.ndarray, np.ndarray]:
    """(networks, ...): preactivations of the last hidden layer, and tangent kernels."""
    *_, last, _ = each(preactivations, net, params, X, parametrization=p).values()
    kernels = each(empirical_ntk, net, params, X, full=False, parametrization=p)
    return np.asarray(last, float), np.asarray(kernels, float)


def _moved(before: Any, after: Any) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Relative moves of preactivations and of the mean kernel, and those of each network, which scatter about them. The square of the
    kernel's is unbiased: less what the scatter of the networks adds to it."""
    (z0, K0), (z, K) = before, after
    many, change = len(z0), (K - K0).reshape(len(z0), -1) / np.linalg.norm(K0.mean(0))
    ratios = np.sqrt(((z - z0) ** 2).reshape(many, -1).mean(1) / (z0**2).mean())
    mean = change.mean(0)
    shift = np.sqrt(max((mean**2).sum() - change.var(0, ddof=1).sum() / many, 0.0))
    return float(ratios.mean()), float(shift), ratios, change @ mean / np.linalg.norm(mean)


def _powers(x: np.ndarray, y: np.ndarray, each_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The power of x in y from each point to the next, with standard errors: all points are of the same networks. NaN where y is not above
    its error."""
    many, gaps = each_y.shape[1], np.diff(np.log(x))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(y > each_y.std(1, ddof=1) / many**0.5, np.log(y), np.nan)
        changes = np.diff(each_y / y[:, None], axis=0)
    return np.diff(logs) / gaps, changes.std(1, ddof=1) / many**0.5 / gaps
