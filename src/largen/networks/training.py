"""Training real networks: full-batch descent with the learning-rate tensor, or any optax optimiser."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.architecture.arrays import blanks, size
from largen.architecture.nodes import Serial, network
from largen.display import Record
from largen.errors import InputError, shown
from largen.networks import room
from largen.networks.outputs import outputs
from largen.networks.parameters import a_table, column, dtype_of
from largen.networks.work import Work, measured
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor
from largen.types import Array, Params, hand_back, is_traced


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, kw_only=True)
class History(Record):
    """What happened in training. A pytree; from `lg.each`, `loss` and `outputs` have the networks as their first axis.

    Attributes
    ----------
    loss : array (steps + 1,)
        The loss before each step, last the final one.
    time : array (steps + 1,) or None
        eta x steps, the time of gradient flow; None with an optimizer.
    outputs : array (k, m, out) or None
        The outputs on the m recorded points after each of the k recorded numbers of steps; None if nothing was recorded.
    missing : dict
        Why a field is None.
    """

    loss: Array
    time: Array | None
    outputs: Array | None

    _table = ("step", "loss time")

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        reasons = {"time": "an optimizer has no time eta x steps", "outputs": "no points were given to be recorded: record=(points, steps)"}
        return {name: why for name, why in reasons.items() if getattr(self, name) is None}


class Diverged(InputError):
    """A step at which training diverges."""


def mse(z: Any, y: Any) -> Any:
    """(1/2) sum over samples and outputs of (z - y)^2."""
    return 0.5 * jnp.sum((z - y) ** 2)


def cross_entropy(z: Any, y: Any) -> Any:
    """Sum over samples of -sum_i y_i log softmax(z)_i."""
    return -jnp.sum(y * jax.nn.log_softmax(z, axis=-1))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {"mse": mse, "cross_entropy": cross_entropy}


def descend(
    net: Serial,
    params: Params,
    X: Any,
    y: Any,
    how: Any,
    record: Any,
    *,
    steps: int,
    loss: str,
    optimizer: Any = None,
    centred: bool = False,
) -> tuple[Params, jax.Array, Any]:
    """The pure core of `train`: (params, losses (steps + 1,), recorded outputs or None). May be jitted and vmapped.

    `how` says by what of every parameter array its gradient is multiplied ("gradient"), then its move ("pace", eta x rate), what the
    network sees of it ("multiplier"), each None for 1, and what every parameter loses of itself in a step ("lost"). `record` is None or
    (X_record, at), `at` an increasing integer array. The loop runs from one recorded step to the next, so that recording costs nothing in
    between and compile time does not grow with the number of records.
    """

    def moved(here: Params, points: Any) -> Any:
        """The outputs; less those at the start if `centred`."""
        z, start = (outputs(net, p, points, None, how["multiplier"]) for p in (here, params))
        return z - start if centred else z

    def times(factors: Any, tree: Any) -> Any:
        return tree if factors is None else jax.tree_util.tree_map(lambda factor, g: factor * g, factors, tree)

    def step(s: Any, state: Any) -> Any:
        here, memory, losses = state
        value, slope = jax.value_and_grad(lambda p: LOSSES[loss](moved(p, X), y))(here)
        moves = times(how["gradient"], slope)
        if optimizer is not None:
            moves, memory = optimizer.update(moves, memory, here)
        sign = 1 if how["pace"] is None else -1  # an optimizer with a rate of its own goes down by itself
        moves = times(how["pace"], moves)
        there = jax.tree_util.tree_map(lambda p, move: (p - how["lost"] * p + sign * move).astype(p.dtype), here, moves)
        return there, memory, losses.at[s].set(value)

    def until(state: Any, ends: Any) -> Any:
        state = jax.lax.fori_loop(ends[0], ends[1], step, state)
        return state, moved(state[0], record[0])

    memory = None if optimizer is None else optimizer.init(params)
    state = (params, memory, jnp.zeros(steps + 1, dtype_of(params)))
    seen, begin = None, 0
    if record is not None:
        at = record[1]
        state, seen = jax.lax.scan(until, state, (jnp.concatenate([jnp.zeros_like(at[:1]), at[:-1]]), at))
        begin = at[-1]
    last, _, losses = jax.lax.fori_loop(begin, steps, step, state)
    return last, losses.at[steps].set(LOSSES[loss](moved(last, X), y)), seen


@cache
def by_name(name: str) -> Any:
    """What an optimiser makes of gradients before the rate, as an optax transformation; None of plain descent. Muon's is for matrices,
    biases move by Adam."""
    import optax

    adam = optax.scale_by_adam()
    if name == "muon":
        shapes = partial(jax.tree_util.tree_map, lambda W: optax.contrib.MuonDimensionNumbers(tuple(range(W.ndim - 1)), W.ndim - 1))
        return _apart({"W": optax.contrib.scale_by_muon(weight_dimension_numbers=shapes), "b": adam})
    return {"momentum": optax.trace(0.9), "adam": adam, "adamw": adam, "signsgd": optax.scale_by_sign()}.get(name)


def _apart(kinds: dict[str, Any]) -> Any:
    """One transformation of all weights, another of all biases."""
    import optax

    def part(tree: Any, kind: str) -> Any:
        return {path: entry[kind] for path, entry in tree.items() if kind in entry}

    def init(params: Any) -> Any:
        return {kind: one.init(part(params, kind)) for kind, one in kinds.items()}

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        done = {kind: one.update(part(updates, kind), state[kind], part(params, kind)) for kind, one in kinds.items()}
        moves = {path: {kind: done[kind][0][path] for kind in entry} for path, entry in updates.items()}
        return moves, {kind: after for kind, (_, after) in done.items()}

    return optax.GradientTransformation(init, update)


@measured
def train(
    net: Any,
    params: Params,
    X: Any,
    y: Any,
    eta: Any,
    steps: int,
    rates: Any = "ntk",
    loss: str = "mse",
    optimizer: Any = None,
    record: Any = None,
    parametrization: Any = None,
    decay: float = 0.0,
    centred: bool = False,
) -> Work[tuple[Params, History]]:
    """Full-batch gradient descent: biases move at eta lambda_b, weights at eta lambda_W/fan_in.

    Everything is compiled once per architecture, shapes and number of steps; eta, rates and recorded steps may vary freely. vmap over
    `params` works.

    Parameters
    ----------
    net : architecture
        Any network.
    params : dict
        As from `lg.init`.
    X : array (n, features) or (n, *positions, channels)
        Train points.
    y : array (n,) or (n, out)
        Targets; for "cross_entropy" integer labels (n,) or probabilities (n, out).
    eta : float or None
        The global step; None with an optimizer.
    steps : int
        How many.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.kernel`; left at its default with an optimizer.
    loss : str
        "mse", (1/2) sum over samples and outputs, or "cross_entropy", the sum over samples of softmax cross-entropy.
    optimizer : optax transformation, optional
        Such as `optax.adam(1e-3)`. It gets the plain gradients and has learning rates of its own. Make it once and reuse it: each new one
        compiles. With a parametrization it makes moves of the gradients, which are then multiplied by -eta n^-c_l: a transformation
        without a rate, such as `optax.scale_by_adam(eps=1e-3)`; default that of the parametrization's name.
    record : tuple (X_record, at), optional
        Outputs on the points X_record after each of the increasing numbers of steps `at`, each between 0 and `steps`.

    parametrization : Parametrization, optional
        In place of rates: that of `lg.init`. Parameters w^l move at eta n^-c_l.
    decay : float
        With a parametrization: weight decay, decoupled and independent of the rates: in a step every parameter loses eta x decay of itself,
        in every gauge and at every width.
    centred : bool
        Whether the network is its outputs less those at the start, z - z_0, in the loss and in what is recorded: so that a lazy network,
        whose outputs are large beside what it learns, does not first have to unlearn its start.

    Returns
    -------
    params : dict
        The trained parameters.
    history : History
        With `.loss`, `.time`, `.outputs`.

    Raises
    ------
    InputError
        For arguments that do not fit, and when the loss stops being finite: then eta is above the stable limit, which
        `lg.max_learning_rate(theta)` gives from the NTK on the training points.

    References
    ----------
    PDLT 8.6.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net, X, y = lg.mlp(widths=[64], out=1), np.eye(3), np.array([1.0, -1.0, 0.5])
    >>> params, history = lg.train(net, lg.init(net, 3, jax.random.key(0)), X, y, eta=0.5, steps=100)
    >>> bool(history.loss[-1] < 1e-3 * history.loss[0]), float(history.time[-1])
    (True, 50.0)
    """
    whole, x = network(net), door.inputs(X)
    shape = x.shape[1:]
    out, steps = blanks(whole, shape)[0], door.count(steps, "steps", low=0)
    aims = _aims(y, len(x), out, door.choice(loss, "loss", tuple(LOSSES)))
    seen = _record(record, steps, shape)
    recorded = 0.0 if seen is None else float(len(seen[0])) * len(seen[1]) * out
    table = a_table(parametrization, whole, shape)
    step, lost = _step(eta, rates, optimizer, table is not None), door.number(decay, "decay", low=0.0)
    if table is None:
        if not is_traced(lost) and lost > 0:
            raise InputError("decay", shown(decay), "a parametrization beside it", "Or give optimizer=optax.adamw(rate, weight_decay=...).")
        pace = None if step is None else rate_tensor(whole, shape, resolve(whole, rates))
    else:
        pace, optimizer = column(table, "rate"), by_name(parametrization.optimizer) if optimizer is None else optimizer
    how = {name: column(table, name) for name in ("multiplier", "gradient")}
    how |= {"pace": jax.tree_util.tree_map(lambda rate: step * rate, pace), "lost": 0.0 if step is None else step * lost}

    def finish(found: tuple[Params, jax.Array, Any]) -> tuple[Params, History]:
        final, losses, outputs = found
        finite(losses, eta, optimizer)
        time = None if step is None else jnp.asarray(step, losses.dtype) * jnp.arange(steps + 1, dtype=losses.dtype)
        return final, hand_back(History(loss=losses, time=time, outputs=outputs), x)

    static = {"steps": steps, "loss": loss, "optimizer": optimizer, "centred": door.flag(centred, "centred")}
    needed = room.training(size(whole, shape), steps, recorded)
    return Work(descend, whole, params, x, (x, aims, how, seen), needed, static, finish)


def _step(eta: Any, rates: Any, optimizer: Any, parametrized: bool) -> Any:
    """The global step; None with an optimizer that has its own."""
    plain = isinstance(rates, str) and rates == "ntk"
    if parametrized and not plain:
        raise InputError("rates", f"{shown(rates)} together with a parametrization", "one of them: a parametrization says its rates")
    if optimizer is not None:
        if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
            raise InputError("optimizer", f"a {type(optimizer).__name__}", "an optax transformation, such as optax.adam(1e-3)")
        if not parametrized:
            if eta is not None:
                raise InputError("eta", f"{shown(eta)} together with an optimizer", "None: the optimizer has a learning rate of its own")
            if not plain:
                raise InputError("rates", f"{shown(rates)} together with an optimizer", "the default: the optimizer gets plain gradients")
            return None
    if eta is None:
        raise InputError("eta", "None", "a number > 0", "lg.max_learning_rate(theta) says the largest stable one.")
    return door.number(eta, "eta", low=0.0, strict=True)


def _aims(y: Any, n: int, out: int, loss: str) -> Array:
    """Targets of shape (n, out) for the loss."""
    if loss == "mse":
        aims = door.targets(y, n)
        aims = aims[:, None] if aims.ndim == 1 else aims
        if aims.shape[1] != out:
            raise InputError("y", f"{aims.shape[1]} columns (shape {np.shape(y)})", f"{out} columns, one per output of the network")
        return aims
    need = f"integer labels of shape ({n},) in 0 ... {out - 1}, or probabilities of shape ({n}, {out})"
    if out < 2:
        raise InputError("loss", '"cross_entropy" with one output', "a network with an output per class (two or more)")
    labels = door.held(y, "y", need)
    if labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer) and labels.shape == (n,):
        if not is_traced(labels) and not (np.asarray(labels).min() >= 0 and np.asarray(labels).max() < out):
            raise InputError("y", f"labels from {np.asarray(labels).min()} to {np.asarray(labels).max()}", need)
        return jax.nn.one_hot(labels, out)
    aims = door.array(y, "y", need)
    if aims.shape != (n, out):
        raise InputError("y", f"{aims.dtype} of shape {aims.shape}", need)
    if not is_traced(aims) and not (np.asarray(aims).min() >= 0 and np.allclose(np.asarray(aims).sum(1), 1, atol=1e-4)):
        raise InputError("y", "rows that are no probabilities (negative, or not summing to 1)", need)
    return aims


def _record(record: Any, steps: int, shape: tuple[int, ...]) -> Any:
    """(points, steps) to record at, as arrays."""
    if record is None:
        return None
    if not isinstance(record, (tuple, list)) or len(record) != 2:
        raise InputError("record", f"a {type(record).__name__}", "a pair (X_record, at): points, and the numbers of steps to record after")
    where, at = door.inputs(record[0], "record[0]", shape, "X"), door.plain(record[1], "record[1]", "whole numbers")
    door.concrete(at, "record[1]")
    at = np.asarray(at)
    whole = at.ndim == 1 and at.size > 0 and np.issubdtype(at.dtype, np.integer)
    if not whole or at[0] < 0 or at[-1] > steps or (np.diff(at) <= 0).any():
        raise InputError("record[1]", shown(record[1]), f"increasing whole numbers of steps between 0 and {steps}")
    return where, jnp.asarray(at, jnp.int32)


def finite(losses: Any, eta: Any, optimizer: Any) -> None:
    """Refuse a run whose loss, (steps + 1,) or (networks, steps + 1), stopped being finite."""
    if is_traced(losses):
        return
    good = np.isfinite(np.asarray(losses))
    if good.all():
        return
    exits.require(np.asarray(losses)[..., 0], "the loss before training")
    first = int(np.argmin(good.reshape(-1, good.shape[-1]).all(0)))
    many = f" in {int((~good.all(1)).sum())} of {len(good)} networks" if good.ndim == 2 else ""
    got = f"a loss that is not finite from step {first} on{many}"
    if optimizer is not None:
        raise Diverged("optimizer", got, "steps that do not diverge", "Lower the optimizer's learning rate.")
    fix = "Lower eta: lg.max_learning_rate(theta), with theta the NTK on the training points, says the largest stable one."
    raise Diverged("eta", f"{eta}, and {got}", "a step at which training does not diverge", fix)
