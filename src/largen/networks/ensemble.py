"""Many networks of one architecture: everything of this room over a leading axis of networks, in bounded memory.

Parameters of an ensemble are those of one network with a leading axis: {path: {"W": (networks, fan_in, fan_out), "b":
(networks, fan_out)}}. `chunk` networks are worked on at once by vmap, one chunk after the other. The default 1 is the
fastest on a CPU from width 64 on (one network already fills the cores and stays in cache); on a GPU take as many as fit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from largen import door, exits
from largen.architecture.nodes import Serial, network
from largen.border import bordered
from largen.errors import InputError
from largen.networks import room
from largen.networks.empirical import tangent_kernel
from largen.networks.outputs import in_order, layers, outputs
from largen.networks.parameters import dtype_of, fitting, pair
from largen.networks.training import History, descend, finite, prepare
from largen.scaling.rates import resolve
from largen.types import Array, Params, hand_back, island


@partial(jax.jit, static_argnames=("core", "chunk", "static"))
def each(core: Callable[..., Any], net: Serial, params: Params, operands: Any, *, chunk: int = 1, static: tuple[Any, ...] = ()) -> Any:
    """`core(net, one network's params, *operands, **static)` for every network, `chunk` at a time, results stacked."""

    def one(p: Any) -> Any:
        return core(net, p, *operands, **dict(static))

    return jax.lax.map(one, params, batch_size=None if chunk == 1 else chunk)


def _stacked(net: Serial, params: Any, X: Array) -> Params:
    """The parameters of an ensemble, checked."""
    entries = [entry for entry in params.values() if isinstance(entry, dict)] if isinstance(params, dict) else []
    sizes = [shape[0] for entry in entries for value in entry.values() if (shape := getattr(value, "shape", ()))]
    if not sizes or sizes[0] < 1:
        raise InputError("params", "no networks", "the parameters of an ensemble, as lg.init(net, n_in, key, networks=...) returns")
    return fitting(net, params, X, lead=(sizes[0],))


def _many(params: Params, chunk: int) -> tuple[int, int]:
    """How many networks there are, and are worked on at once."""
    networks = len(jax.tree_util.tree_leaves(params)[0])
    return networks, min(chunk, networks)


@exits.finite()
@bordered("params")
def apply_ensemble(net: Any, params: Params, X: Any, chunk: int = 1) -> Array:
    """The outputs of every network, (networks, n, out). Parameters and errors as in `lg.apply`; `chunk` networks at a time.

    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> lg.apply_ensemble(net, lg.init(net, 3, jax.random.key(0), networks=5), np.eye(3)).shape
    (5, 3, 2)
    """
    return over(outputs, net, params, X, chunk)


@exits.finite()
@bordered("params")
def preactivations_ensemble(net: Any, params: Params, X: Any, chunk: int = 1) -> dict[str, Array]:
    """The preactivations of every network and level, {path: (networks, n, width)}. Parameters and errors as in `lg.measure.preactivations`.

    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> z = lg.measure.preactivations_ensemble(net, lg.init(net, 3, jax.random.key(0), networks=5), np.eye(3))
    >>> z["dense1"].shape
    (5, 3, 64)
    """
    return in_order(network(net), over(layers, net, params, X, chunk, needed=room.everything))


def over(core: Callable[..., Any], net: Any, params: Params, X: Any, chunk: int, *more: Any, needed: Any = room.forward) -> Any:
    """`core(net, params, X, *more)` of every network of an ensemble: what `apply_ensemble` and its like share. `needed`: see `room`."""
    whole, x = network(net), door.inputs(X)
    fit, chunk = _stacked(whole, params, x), door.count(chunk, "chunk")
    room.working(whole, fit, x, needed, *_many(fit, chunk))
    with island(fit):
        return hand_back(each(core, whole, fit, (jnp.asarray(x, dtype_of(fit)), *more), chunk=chunk), X)


@exits.finite()
def train_ensemble(
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
    chunk: int = 1,
) -> tuple[Params, History]:
    """`lg.train` for every network on the same data, `chunk` networks at a time.

    Returns the trained parameters (leading axis: networks) and a `History` with `.loss` (networks, steps + 1), `.time`
    (steps + 1,) and `.outputs` (networks, k, m, out). Everything else as in `lg.train`; one diverging network raises.

    >>> import largen as lg, jax, numpy as np
    >>> net, X, y = lg.mlp(widths=[64], out=1), np.eye(3), np.array([1.0, -1.0, 0.5])
    >>> params = lg.init(net, 3, jax.random.key(0), networks=5)
    >>> params, history = lg.train_ensemble(net, params, X, y, eta=0.5, steps=20, record=(X, [0, 10, 20]))
    >>> history.loss.shape, history.outputs.shape
    ((5, 21), (5, 3, 3, 1))
    """
    whole, x = network(net), door.inputs(X)
    fit = _stacked(whole, params, x)
    with island(fit):
        job = prepare(whole, fit, x, y, eta, steps, rates, loss, optimizer, record, _many(fit, door.count(chunk, "chunk")))
        static = tuple(job.static.items())
        final, losses, seen = each(descend, whole, fit, job.operands, chunk=door.count(chunk, "chunk"), static=static)
        history = History(losses, job.time, seen)
    finite(losses, eta, optimizer)
    return final, hand_back(history, X)


@exits.finite()
@bordered("params")
def empirical_ntk_ensemble(
    net: Any, params: Params, X1: Any, X2: Any = None, rates: Any = "ntk", full: bool = True, chunk: int = 1
) -> Array:
    """`lg.empirical_ntk` of every network, (networks, n1, n2, o, o), or (networks, n1, n2) with `full=False`; errors as there.

    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> params = lg.init(net, 3, jax.random.key(0), networks=5)
    >>> lg.empirical_ntk_ensemble(net, params, np.eye(3), full=False).shape
    (5, 3, 3)
    """
    whole, (x1, x2), full = network(net), pair(X1, X2), door.flag(full, "full")
    fit = _stacked(whole, params, x1)
    room.working(whole, fit, x1, room.tangents(len(x1 if x2 is None else x2), bool(full)), *_many(fit, door.count(chunk, "chunk")))
    with island(fit):
        kind = dtype_of(fit)
        second = None if x2 is None else jnp.asarray(x2, kind)
        operands = (jnp.asarray(x1, kind), second, resolve(whole, rates))
        return hand_back(each(tangent_kernel, whole, fit, operands, chunk=door.count(chunk, "chunk"), static=(("full", full),)), X1)
