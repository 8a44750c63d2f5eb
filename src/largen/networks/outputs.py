"""What a real network computes: its outputs, and the preactivations of every layer."""

from typing import Any

import jax
import jax.numpy as jnp

from largen import door
from largen.architecture.branches import Identity, LayerNorm, Sum
from largen.architecture.levels import levels
from largen.architecture.nodes import Act, Dense, Serial, network
from largen.architecture.walk import Theory, walk
from largen.networks.parameters import dtype_of, fitting
from largen.types import Array, Params, hand_back, island

# The carrier is the array (n, features) after the node; the extra of a node is its parameters.
FORWARD = Theory("lg.apply")


@FORWARD.rule(Dense)
def _dense(node: Any, x: Any, extra: Any, need: Any) -> Any:
    return x @ extra["W"] + extra["b"]


@FORWARD.rule(Act)
def _act(node: Any, x: Any, extra: Any, need: Any) -> Any:
    return node.activation(x)


@FORWARD.rule(Identity)
def _identity(node: Any, x: Any, extra: Any, need: Any) -> Any:
    return x


@FORWARD.rule(LayerNorm)
def _layer_norm(node: Any, x: Any, extra: Any, need: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + node.eps)


@FORWARD.rule(Sum)
def _sum(node: Any, x: Any, through: Any, need: Any) -> Any:
    return sum(jnp.asarray(w, x.dtype) * send(x) for w, send in zip(node.weights, through, strict=True))


def outputs(net: Serial, params: Params, X: Any) -> jax.Array:
    """The pure core of `apply`: (n, features) to (n, out), for jit, grad and vmap."""
    return walk(net, FORWARD, X, params)[0]


def carriers(net: Serial, params: Params, X: Any) -> tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]:
    """The outputs, and {path: (what went into the node, what came out)} of every node, those of branches too: pure."""
    seen: dict[str, tuple[jax.Array, jax.Array]] = {}

    def observe(path: str, before: Any, after: Any) -> None:
        seen[path] = (before, after)

    return walk(net, FORWARD, X, params, observe=observe)[0], seen


def layers(net: Serial, params: Params, X: Any) -> dict[str, jax.Array]:
    """The pure core of `preactivations`."""
    seen = carriers(net, params, X)[1]
    return {path: seen[path][1] for path, _ in levels(net)}


def in_order(net: Serial, found: dict[str, Any]) -> dict[str, Any]:
    """A dictionary with an entry per level, first level first: JAX sorts dictionaries by name."""
    return {path: found[path] for path, _ in levels(net)}


_outputs = jax.jit(outputs)
_layers = jax.jit(layers)


def apply(net: Any, params: Params, X: Any) -> Array:
    """The outputs of a real network, z^(1) = b + x W, z^(l+1) = b + phi(z^(l)) W, no final activation (PDLT 2.5).

    Parameters: `params` as from `lg.init`; `X` (n, features). Returns (n, out) in the dtype of the parameters, numpy for
    numpy X. May be jitted, differentiated and vmapped in `params` and `X`; compiled once per architecture and shape.

    Raises `InputError` for parameters that do not fit the network and X (naming path and shapes), and for X that is not
    a finite real array of rank 2.

    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> lg.apply(net, lg.init(net, jax.random.key(0), n_in=3), np.ones((5, 3))).shape
    (5, 2)
    """
    whole, x = network(net), door.points(X)
    fit = fitting(whole, params, x)
    with island(fit):
        return hand_back(_outputs(whole, fit, jnp.asarray(x, dtype_of(fit))), X)


def preactivations(net: Any, params: Params, X: Any) -> dict[str, Array]:
    """The preactivations z^(l) of every level, {path: (n, width)}; the last is the output (PDLT 2.5). Levels are the affine
    layers of a plain network, and the sums of a residual one, as in `lg.kernel(layer="all")`.

    Parameters, dtype and errors as in `lg.apply`.

    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> z = lg.preactivations(net, lg.init(net, jax.random.key(0), n_in=3), np.ones((5, 3)))
    >>> {path: values.shape for path, values in z.items()}
    {'dense1': (5, 64), 'dense2': (5, 2)}
    """
    whole, x = network(net), door.points(X)
    fit = fitting(whole, params, x)
    with island(fit):
        return in_order(whole, hand_back(_layers(whole, fit, jnp.asarray(x, dtype_of(fit))), X))
