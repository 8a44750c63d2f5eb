"""What a real network computes: its outputs, and the preactivations of every layer."""

import math
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.architecture.attention import MECHANISMS, Attention, PositionalEmbedding
from largen.architecture.branches import Concat, Dropout, Product, Sum
from largen.architecture.levels import levels
from largen.architecture.nodes import Act, Dense, Serial, network
from largen.architecture.norms import LayerNorm, RMSNorm
from largen.architecture.paths import everything
from largen.architecture.pools import AvgPool, GlobalAvgPool, MaxPool, SumPool
from largen.architecture.spatial import Aggregate, Axis, Conv, ConvLocal, Convolution, ConvTranspose, Flatten
from largen.architecture.walk import Theory, walk
from largen.networks import room
from largen.networks.parameters import a_table, column, multiplied
from largen.networks.work import Work, measured
from largen.types import Array, Params, hand_back

# The carrier is the array (n, features) or (n, *positions, channels) after the node; the extra of a node is its parameters.
FORWARD = Theory("lg.apply")


@FORWARD.rule(Dense)
def _dense(node: Any, x: Any, extra: Any, need: Any) -> Any:
    return x @ extra["W"] + extra["b"]


@FORWARD.rule(Conv)
@FORWARD.rule(ConvTranspose)
def _conv(node: Convolution, x: Any, extra: Any, need: Any) -> Any:
    axes = node.axes(x.shape[1:-1])
    strides, dilations = [a.stride for a in axes], [a.dilation for a in axes]
    z = jax.lax.conv_general_dilated(
        padded(x, axes), extra["W"], strides, "VALID", rhs_dilation=dilations, dimension_numbers=layout(len(axes))
    )
    return z + extra["b"]


def layout(rank: int) -> tuple[str, str, str]:
    """Points first, channels last, for JAX's convolutions in any number of spatial axes."""
    letters = "abcdefgh"[:rank]
    return f"N{letters}C", f"{letters}IO", f"N{letters}C"


@FORWARD.rule(ConvLocal)
def _local(node: ConvLocal, x: Any, extra: Any, need: Any) -> Any:
    seen, W, d = patches(node, x), extra["W"], x.ndim - 2
    W = jnp.moveaxis(W, 2 * d, d).reshape(-1, seen.shape[-1], node.channels)  # the order of patches
    z = jnp.einsum("npf,pfc->npc", seen.reshape(len(x), -1, seen.shape[-1]), W)
    return z.reshape(*seen.shape[:-1], node.channels) + extra["b"]


@FORWARD.rule(PositionalEmbedding)
def _embedding(node: PositionalEmbedding, x: Any, extra: Any, need: Any) -> Any:
    return x + extra["b"]


def patches(node: Convolution, x: Any) -> Any:
    """What every output position of a convolution sees: (n, *positions, channels x window)."""
    axes = node.axes(x.shape[1:-1])
    windows, strides, dilations = ([getattr(a, name) for a in axes] for name in ("window", "stride", "dilation"))
    return jax.lax.conv_general_dilated_patches(
        padded(x, axes), windows, strides, "VALID", rhs_dilation=dilations, dimension_numbers=layout(len(axes))
    )


def padded(x: Any, axes: tuple[Axis, ...]) -> Any:
    """(n, *positions, channels) with the gaps and the padding of every axis."""
    for i, axis in enumerate(axes, 1):
        if axis.spread > 1:
            gaps: list[Any] = [(0, 0, 0)] * x.ndim
            gaps[i] = (0, axis.spread - 1 if axis.wrap else 0, axis.spread - 1)
            x = jax.lax.pad(x, jnp.zeros((), x.dtype), gaps)
        pads = [(0, 0)] * x.ndim
        pads[i] = (axis.low, axis.high)
        x = jnp.pad(x, pads, mode="wrap") if axis.wrap else jnp.pad(x, pads)
    return x


@FORWARD.rule(AvgPool)
@FORWARD.rule(SumPool)
def _pool(node: Any, x: Any, extra: Any, need: Any) -> Any:
    axes = node.axes(x.shape[1:-1])
    windows, strides = ((1, *(getattr(a, name) for a in axes), 1) for name in ("window", "stride"))
    zero = np.zeros((), x.dtype)  # a constant, by which JAX knows the sum and its derivative
    total = jax.lax.reduce_window(padded(x, axes), zero, jax.lax.add, windows, strides, "VALID")
    return total / math.prod(windows) if node.mean else total


@FORWARD.rule(MaxPool)
def _max(node: MaxPool, x: Any, extra: Any, need: Any) -> Any:
    axes, least = node.axes(x.shape[1:-1]), np.array(-np.inf, x.dtype)
    wrapped = padded(x, axes) if axes[0].wrap else x
    pads = [(0, 0) if a.wrap else (a.low, a.high) for a in axes]
    windows, strides = ((1, *(getattr(a, name) for a in axes), 1) for name in ("window", "stride"))
    return jax.lax.reduce_window(wrapped, least, jax.lax.max, windows, strides, [(0, 0), *pads, (0, 0)])


@FORWARD.rule(Aggregate)
def _aggregate(node: Aggregate, x: Any, extra: Any, need: Any) -> Any:
    return jnp.einsum("st,ntc->nsc", jnp.asarray(node.adjacency, x.dtype), x)


@FORWARD.rule(Attention)
def _attention(node: Attention, x: Any, through: Any, need: Any) -> Any:
    *scores, values, out = through

    def heads(send: Any) -> Any:
        return send(x).reshape(len(x), -1, node.heads, node.width)  # positions of every axis in a row

    keys = heads(scores[-1])
    queries = jnp.asarray(node.ratio, x.dtype) * keys if node.tied else heads(scores[0])
    G = jnp.einsum("nshd,nthd->nhst", queries, keys) / (node.width if node.tied else math.sqrt(node.width))
    seen = jnp.einsum("nhst,nthd->nshd", MECHANISMS[node.mechanism](G), heads(values))
    return out(seen.reshape(*x.shape[:-1], -1))


@FORWARD.rule(GlobalAvgPool)
def _global(node: Any, x: Any, extra: Any, need: Any) -> Any:
    return x.mean(tuple(range(1, x.ndim - 1)))


@FORWARD.rule(Flatten)
def _flatten(node: Any, x: Any, extra: Any, need: Any) -> Any:
    return x.reshape(len(x), -1)


@FORWARD.rule(Act)
def _act(node: Any, x: Any, extra: Any, need: Any) -> Any:
    return node.activation(x)


@FORWARD.rule(Dropout)
def _dropout(node: Dropout, x: Any, key: Any, need: Any) -> Any:
    if key is None or node.rate == 0:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - node.rate, x.shape), x / (1 - node.rate), 0)


@FORWARD.rule(LayerNorm)
def _layer_norm(node: Any, x: Any, extra: Any, need: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + node.eps)


@FORWARD.rule(RMSNorm)
def _rms_norm(node: Any, x: Any, extra: Any, need: Any) -> Any:
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + node.eps)


@FORWARD.rule(Product)
def _product(node: Any, x: Any, through: Any, need: Any) -> Any:
    return reduce(jnp.multiply, [send(x) for send in through])


@FORWARD.rule(Concat)
def _concat(node: Any, x: Any, through: Any, need: Any) -> Any:
    return jnp.concatenate([send(x) for send in through], -1)


@FORWARD.rule(Sum)
def _sum(node: Any, x: Any, through: Any, need: Any) -> Any:
    return sum(jnp.asarray(w, x.dtype) * send(x) for w, send in zip(node.weights, through, strict=True))


def outputs(net: Serial, params: Params, X: Any, key: Any = None, multipliers: Any = None) -> jax.Array:
    """The pure core of `apply`: (n, features) to (n, out), for jit, grad and vmap."""
    params, masks = multiplied(params, multipliers), dict[str, Any]()
    if key is not None:
        dropped = [path for path, part in everything(net) if isinstance(part, Dropout)]
        masks = {path: jax.random.fold_in(key, i) for i, path in enumerate(dropped)}
    return walk(net, FORWARD, X, {**params, **masks})[0]


def carriers(net: Serial, params: Params, X: Any) -> tuple[jax.Array, dict[str, tuple[jax.Array, jax.Array]]]:
    """The outputs, and {path: (what went into the node, what came out)} of every node, those of branches too: pure."""
    seen: dict[str, tuple[jax.Array, jax.Array]] = {}

    def observe(path: str, before: Any, after: Any) -> None:
        seen[path] = (before, after)

    return walk(net, FORWARD, X, params, observe=observe)[0], seen


def layers(net: Serial, params: Params, X: Any, multipliers: Any = None) -> dict[str, jax.Array]:
    """The pure core of `preactivations`."""
    seen = carriers(net, multiplied(params, multipliers), X)[1]
    return {path: seen[path][1] for path, _ in levels(net)}


def in_order(net: Serial, found: dict[str, Any]) -> dict[str, Any]:
    """A dictionary with an entry per level, first level first: JAX sorts dictionaries by name."""
    return {path: found[path] for path, _ in levels(net)}


@measured
def apply(net: Any, params: Params, X: Any, key: Any = None, parametrization: Any = None) -> Work[Array]:
    """The outputs of a real network, z^(1) = b + x W, z^(l+1) = b + phi(z^(l)) W, no final activation.

    May be jitted, differentiated and vmapped in `params` and `X`; compiled once per architecture and shape.

    Parameters
    ----------
    net : architecture
        Any network.
    params : dict
        As from `lg.init`.
    X : array (n, features) or (n, *positions, channels)
        Points.
    key : JAX random key, optional
        For the masks of `lg.Dropout`; None for none.
    parametrization : Parametrization, optional
        That of `lg.init`, by which parameters become weights.

    Returns
    -------
    array (n, out)
        In the dtype of the parameters, numpy for numpy X.

    Raises
    ------
    InputError
        For parameters that do not fit the network and X (naming path and shapes), and for X that is not a finite real array of these
        shapes.

    References
    ----------
    PDLT 2.5.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> lg.apply(net, lg.init(net, 3, jax.random.key(0)), np.ones((5, 3))).shape
    (5, 2)
    """
    whole, x = network(net), door.inputs(X)
    multipliers = column(a_table(parametrization, whole, x.shape[1:]), "multiplier")
    return Work(outputs, whole, params, x, (x, None if key is None else door.key(key), multipliers), room.forward)


@measured
def preactivations(net: Any, params: Params, X: Any, parametrization: Any = None) -> Work[dict[str, Array]]:
    """The preactivations z^(l) of every level; the last is the output.

    Levels are the affine layers of a plain network, and the sums of a residual one, as in `lg.kernel(layer="all")`.

    Parameters
    ----------
    net, params, X, parametrization
        As of `lg.apply`.

    Returns
    -------
    dict
        {path: (n, width)}, dtype as of `lg.apply`.

    Raises
    ------
    InputError
        As `lg.apply` does.

    References
    ----------
    PDLT 2.5.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> z = lg.measure.preactivations(net, lg.init(net, 3, jax.random.key(0)), np.ones((5, 3)))
    >>> {path: values.shape for path, values in z.items()}
    {'dense1': (5, 64), 'dense2': (5, 2)}
    """
    whole, x = network(net), door.inputs(X)
    multipliers = column(a_table(parametrization, whole, x.shape[1:]), "multiplier")
    return Work(layers, whole, params, x, (x, multipliers), room.everything, finish=lambda z: in_order(whole, hand_back(z, x)))
