"""Equinox models: the critical initialisation, as a new model."""

import math
from collections.abc import Iterator
from typing import Any

import jax

from largen.adapters.initialisation import Initialisation as Initialisation
from largen.adapters.told import Size, draw, table_of
from largen.errors import InputError
from largen.networks.parameters import a_key


def init(model: Any, key: Any, activation: Any = None, input_scale: float = 1.0) -> Any:
    """A new Equinox model with every `eqx.nn.Linear` and `eqx.nn.Conv` at the critical point of the activation that feeds it.

    W ~ N(0, C_W/fan_in), b ~ N(0, C_b), with (C_W, C_b) of `lg.critical(activation)`; fan_in of a convolution is channels x
    window. The layer that the inputs feed gets C_W = (K* - C_b)/input_scale if K* > 0, so that K^(1) = K*.

    Parameters: `key`, a JAX random key. `activation`: None for an `eqx.nn.MLP`, which knows its own; a name, a function of
    jax.nn or `lg.activation(...)`, which feeds every layer but the first in the order of the model's fields; or {layer name:
    activation, or "inputs"}, which sets these layers only (names as in the table, such as ".layers[0]"). `input_scale`,
    |x|^2/n_0. JAX models are not traced: nothing is guessed. (`jax.nn.gelu` as it comes is "gelu_tanh".)

    Returns a new model; the one given is untouched, and everything else with parameters is as it was. `lg.equinox.table` shows
    what is set. Raises `InputError` where no activation is known, for unknown names, and for no biases where C_b > 0;
    `UnsupportedError` for an activation without critical point.

    Source: PDLT 5.1-5.3.

    >>> import largen as lg, jax
    >>> import equinox as eqx
    >>> model = eqx.nn.MLP(8, 1, width_size=64, depth=2, activation=jax.nn.gelu, key=jax.random.key(0))
    >>> model = lg.equinox.init(model, jax.random.key(1))
    """
    plan = table(model, activation, input_scale)
    here = dict(_layers(model))
    new = draw(plan, a_key(key), {name: (layer.weight, layer.bias) for name, layer in here.items()})
    eqx = _equinox()

    def renewed(path: Any, leaf: Any) -> Any:
        weight, bias = new.get(jax.tree_util.keystr(path), (None, None)) if _settable(leaf) else (None, None)
        if weight is None:
            return leaf
        leaf = eqx.tree_at(lambda layer: layer.weight, leaf, weight)
        return leaf if bias is None else eqx.tree_at(lambda layer: layer.bias, leaf, bias)

    return jax.tree_util.tree_map_with_path(renewed, model, is_leaf=_closed)


def table(model: Any, activation: Any = None, input_scale: float = 1.0) -> Initialisation:
    """What `lg.equinox.init` sets, as an `Initialisation`; arguments and errors as there.

    >>> import largen as lg, jax
    >>> import equinox as eqx
    >>> model = eqx.nn.MLP(8, 1, width_size=64, depth=1, activation=jax.nn.tanh, key=jax.random.key(0))
    >>> print(lg.equinox.table(model))
    layer       fed by  fan_in  C_W  C_b  std
    .layers[0]  inputs  8       1    0    0.3536
    .layers[1]  tanh    64      1    0    0.125
    """
    eqx = _equinox()
    if not isinstance(model, eqx.Module):
        raise InputError("model", f"a {type(model).__name__}", "an equinox.Module")
    if activation is None and isinstance(model, eqx.nn.MLP):
        activation = model.activation
    layers = dict(_layers(model))
    sizes = [Size(name, _fan_in(layer), layer.bias is not None) for name, layer in layers.items()]
    left = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(model, is_leaf=_closed)[0]:
        if jax.tree_util.keystr(path) not in layers and any(map(eqx.is_inexact_array, jax.tree_util.tree_leaves(leaf))):
            left[jax.tree_util.keystr(path)] = "not among eqx.nn.Linear and eqx.nn.Conv"
    return table_of(sizes, left, activation, input_scale, next(iter(layers), None))


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    """(name, layer) of what can be set, in the order of fields."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(model, is_leaf=_closed)[0]:
        if _settable(leaf):
            yield jax.tree_util.keystr(path), leaf


def _settable(leaf: Any) -> bool:
    eqx = _equinox()
    return isinstance(leaf, (eqx.nn.Linear, eqx.nn.Conv))


def _closed(leaf: Any) -> bool:
    """Layers and attention are not looked into: the linear maps of attention are fed by no activation."""
    return _settable(leaf) or isinstance(leaf, _equinox().nn.MultiheadAttention)


def _fan_in(layer: Any) -> int:
    if isinstance(layer, _equinox().nn.Conv):
        return layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    return layer.weight.shape[-1]


def _equinox() -> Any:
    try:
        import equinox
    except ModuleNotFoundError as error:
        raise ImportError('lg.equinox needs Equinox: pip install "largen[equinox]"') from error
    return equinox
