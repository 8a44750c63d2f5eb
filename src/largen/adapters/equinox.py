"""Equinox models: the critical initialisation, as a new model."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from largen import door
from largen.activations.activation import activation as as_activation
from largen.adapters.initialisation import Initialisation, Size
from largen.adapters.roles import INPUTS, Kind, Role, Roles
from largen.adapters.told import draw, in_order, named, table_of, traced
from largen.errors import InputError


def init(model: Any, key: Any, activation: Any = None, example: Any = None, input_scale: float = 1.0) -> Any:
    """A new Equinox model with every linear and convolutional layer at the critical point of the activation that feeds it.

    Set are `eqx.nn.Linear`, `eqx.nn.Conv` and `eqx.nn.ConvTranspose`: W ~ N(0, C_W/fan_in), b ~ N(0, C_b), with (C_W, C_b) of
    `lg.critical(activation)`.

    - fan_in of a convolution is channels x window, of a transposed one channels x window/stride, the mean over its outputs.
    - Under `eqx.nn.WeightNorm` the lengths g are set such that W is as drawn.
    - The layer that the inputs feed gets C_W = (K* - C_b)/input_scale if K* > 0, so that K^(1) = K*.
    - Of B branches that are summed into one stream (residual connections; two in a transformer block) the last layer of each gets C_W/B
      and C_b/B, or a normalisation that ends it the weight 1/sqrt(B); beside a skip of weight g < 1 the share is 1 - g^2.

    `lg.equinox.table` shows what is set.

    Parameters
    ----------
    model : equinox.Module
        The model.
    key : JAX random key
        What the parameters are drawn from.
    activation : str, callable, Activation or dict, optional
        What cannot be seen: a name, a function of jax.nn or `lg.activation(...)`, which feeds every layer of which nothing is seen; or
        {layer name: activation, or "inputs"}, names as in the table, such as ".layers[0]". (`jax.nn.gelu` as it comes is "gelu_tanh".)
    example : array or tuple, optional
        One input as `model(x)` takes it, without a batch, or a tuple of the arguments: the data flow of the call (jaxpr; dropout off) is
        read. Without it an `eqx.nn.MLP`, which knows its activation, and an `eqx.nn.Sequential` are read in order, and of other models
        everything has to be said: fields do not tell what feeds what.
    input_scale : float
        |x|^2/n_0 of the inputs, 1 for `lg.standardize`d ones.

    Returns
    -------
    equinox.Module
        A new model; the one given is untouched, and everything else with parameters is as it was.

    Raises
    ------
    InputError
        Where no activation is known, for unknown names, and for no biases where C_b > 0.
    UnsupportedError
        For an activation without critical point.

    References
    ----------
    PDLT 5.1-5.3.

    Examples
    --------
    >>> import largen as lg, jax
    >>> import equinox as eqx
    >>> model = eqx.nn.MLP(8, 1, width_size=64, depth=2, activation=jax.nn.gelu, key=jax.random.key(0))
    >>> model = lg.equinox.init(model, jax.random.key(1))
    """
    plan = table(model, activation, example, input_scale)
    eqx = _equinox()
    here = dict(_layers(model))
    new = draw(plan, door.key(key), {name: (layer.weight, layer.bias) for name, layer in here.items()}, "model")

    def renewed(path: Any, leaf: Any) -> Any:
        weight, bias = new.get(jax.tree_util.keystr(path), (None, None)) if _settable(leaf) else (None, None)
        if weight is None:
            return leaf
        leaf = eqx.tree_at(lambda layer: layer.weight, leaf, weight)
        return leaf if bias is None else eqx.tree_at(lambda layer: layer.bias, leaf, bias)

    model = jax.tree_util.tree_map_with_path(renewed, model, is_leaf=_settable)

    def measured(path: Any, leaf: Any) -> Any:
        if isinstance(leaf, eqx.nn.WeightNorm) and f"{jax.tree_util.keystr(path)}.layer" in new:
            return eqx.nn.WeightNorm(leaf.layer, leaf.weight_name, leaf.axis)
        return leaf

    model = jax.tree_util.tree_map_with_path(measured, model, is_leaf=lambda leaf: isinstance(leaf, eqx.nn.WeightNorm))

    def scaled(path: Any, leaf: Any) -> Any:
        scale = plan.scales.get(jax.tree_util.keystr(path))
        return leaf if scale is None else jax.numpy.full_like(leaf, scale)

    return jax.tree_util.tree_map_with_path(scaled, model)


def table(model: Any, activation: Any = None, example: Any = None, input_scale: float = 1.0) -> Initialisation:
    """What `lg.equinox.init` sets, without setting it.

    Parameters
    ----------
    model, activation, example, input_scale
        As of `lg.equinox.init`, whose errors it raises.

    Returns
    -------
    Initialisation
        Prints as a table, a row a layer.

    Examples
    --------
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
    layers = dict(_layers(model))
    read, fan_in = _read(model, layers, activation, example)
    sizes = [Size(name, _fan_in(layer), layer.bias is not None) for name, layer in layers.items()]
    left, lengths = {}, {f"{name}.g" for name in _normed(model)}
    for path, leaf in jax.tree_util.tree_flatten_with_path(model, is_leaf=_settable)[0]:
        name = jax.tree_util.keystr(path)
        if name not in layers and name not in lengths and any(map(eqx.is_inexact_array, jax.tree_util.tree_leaves(leaf))):
            left[name] = "not among eqx.nn.Linear, eqx.nn.Conv and eqx.nn.ConvTranspose"
    return table_of(sizes, left, activation, input_scale, read, fan_in, "model")


def _read(model: Any, layers: dict[str, Any], activation: Any, example: Any) -> tuple[Roles | None, dict[str, float]]:
    """The roles of the layers, by the data flow of the example or a sequence; None if nothing shows them."""
    eqx = _equinox()
    if example is not None:
        arrays, rest = eqx.partition(eqx.nn.inference_mode(model), eqx.is_inexact_array)

        def call(arrays: Any, *args: Any) -> Any:
            return eqx.combine(arrays, rest)(*args)

        weights = {f"{name}.weight": name for name in layers}
        return traced(call, arrays, example, jax.tree_util.keystr, weights, {f"{name}.layer.weight" for name in _normed(model)})
    if isinstance(model, eqx.nn.MLP) and type(model).__call__ is eqx.nn.MLP.__call__:
        phi = as_activation(named(model.activation if activation is None or isinstance(activation, Mapping) else activation))
        return Roles({name: Role(phi if i else INPUTS, sources=tuple(layers)) for i, name in enumerate(layers)}, {}, {}), {}
    if type(model) is eqx.nn.Sequential:
        return in_order([_part(f".layers[{i}]", part) for i, part in enumerate(model.layers)]), {}
    return (in_order([("affine", "")]), {}) if _settable(model) else (None, {})


def _part(name: str, part: Any) -> tuple[Kind, Any]:
    if isinstance(part, _equinox().nn.WeightNorm):
        return _part(f"{name}.layer", part.layer)
    if _settable(part):
        return "affine", name
    if isinstance(part, _equinox().nn.Lambda):
        return "activation", part.fn
    return "unknown", f"the module {name} ({type(part).__name__})"


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    """(name, layer) of what can be set, in the order of fields."""
    spectral = _equinox().nn.SpectralNorm  # fixes the size of its weight
    for path, leaf in jax.tree_util.tree_flatten_with_path(model, is_leaf=lambda leaf: _settable(leaf) or isinstance(leaf, spectral))[0]:
        if _settable(leaf):
            yield jax.tree_util.keystr(path), leaf


def _normed(model: Any) -> list[str]:
    """The names of layers under a weight normalisation of their weight."""
    norm = _equinox().nn.WeightNorm
    parts = jax.tree_util.tree_flatten_with_path(model, is_leaf=lambda leaf: isinstance(leaf, norm))[0]
    return [jax.tree_util.keystr(path) for path, leaf in parts if isinstance(leaf, norm) and leaf.weight_name == "weight"]


def _settable(leaf: Any) -> bool:
    eqx = _equinox()
    return isinstance(leaf, (eqx.nn.Linear, eqx.nn.Conv, eqx.nn.ConvTranspose))


def _fan_in(layer: Any) -> float:
    eqx = _equinox()
    if isinstance(layer, eqx.nn.Linear):
        return layer.weight.shape[-1]
    apart = math.prod(layer.stride) if isinstance(layer, eqx.nn.ConvTranspose) else 1
    return layer.in_channels // layer.groups * math.prod(layer.kernel_size) / apart


def _equinox() -> Any:
    try:
        import equinox
    except ModuleNotFoundError as error:
        raise ImportError('lg.equinox needs Equinox: pip install "largen[equinox]"') from error
    return equinox
