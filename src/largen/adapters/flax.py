"""Flax models, linen and nnx: the critical initialisation, as new values."""

import math
from collections.abc import Mapping
from typing import Any

import jax

from largen import door
from largen.adapters.flax_layers import Arrays, arrays_of, flax_of, keys_of, length, lengths, normed, transposed
from largen.adapters.initialisation import Initialisation, Size
from largen.adapters.roles import Kind, Roles
from largen.adapters.told import draw, in_order, table_of, traced


def init(module: Any, variables: Any = None, key: Any = None, activation: Any = None, example: Any = None, input_scale: float = 1.0) -> Any:
    """New values for a Flax model: every dense and convolutional layer at the critical point of the activation that feeds it.

    W ~ N(0, C_W/fan_in), b ~ N(0, C_b), with (C_W, C_b) of `lg.critical(activation)`. A layer is a `kernel` with its `bias`; without
    example, one of more than two axes is a convolution's.

    - fan_in of a convolution is channels x window, of a transposed one channels x window/stride, the mean over its outputs.
    - The layer that the inputs feed gets C_W = (K* - C_b)/input_scale if K* > 0, so that K^(1) = K*.
    - Under a `WeightNorm` with scale (in linen, of the last axis) the scale is set such that W is as drawn.
    - Of B branches that are summed into one stream (residual connections; two in a transformer block) the last layer of each gets C_W/B
      and C_b/B, or a normalisation that ends it the weight 1/sqrt(B); beside a skip of weight g < 1 the share is 1 - g^2.

    `lg.flax.table` shows what is set.

    Parameters
    ----------
    module : linen or nnx module
        The model; an nnx module is given alone.
    variables : dict, optional
        Of a linen module, as `module.init(...)` returns them.
    key : JAX random key
        What the parameters are drawn from.
    activation : str, callable, Activation or dict, optional
        What cannot be seen: a name, a function of jax.nn or `lg.activation(...)`, which feeds every layer of which nothing is seen; or
        {layer name: activation, or "inputs"}, names as in the table ("Dense_0", "block/Dense_1"). (`jax.nn.gelu` as it comes is
        "gelu_tanh".)
    example : array or tuple, optional
        An input, or a tuple of the arguments of the call: its data flow (jaxpr) is read. Without it an `nn.Sequential` or `nnx.Sequential`
        is read in order, and of other models everything has to be said: names and attributes do not tell what feeds what.
    input_scale : float
        |x|^2/n_0 of the inputs, 1 for `lg.standardize`d ones.

    Returns
    -------
    variables or module
        New variables (linen; all else in them as it was) or a new module (nnx); what was given is untouched.

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
    >>> import flax.linen as nn
    >>> module = nn.Sequential([nn.Dense(64), nn.tanh, nn.Dense(1)])
    >>> variables = module.init(jax.random.key(0), jax.numpy.ones((1, 8)))
    >>> variables = lg.flax.init(module, variables, jax.random.key(1), activation="tanh")
    """
    plan = table(module, variables, activation, example, input_scale)
    new = draw(plan, door.key(key), arrays_of(module, variables)[0], "module" if variables is None else "variables")
    if variables is None:
        return _new_module(module, new, plan.scales)
    leaves: dict[tuple[str, ...], Any] = {}
    for name, pair in new.items():
        leaves |= {(*filter(None, name.split("/")), part): value for part, value in zip(("kernel", "bias"), pair, strict=True)}
    for path, target in lengths(variables["params"]).items():
        if leaves.get(target) is not None:
            leaves[path] = length(leaves[target])

    def renewed(path: Any, leaf: Any) -> Any:
        keys = keys_of(path)
        if keys[0] != "params":
            return leaf
        scale = plan.scales.get("/".join(keys[1:]))
        return leaves.get(keys[1:], leaf) if scale is None else leaf * 0 + leaf.dtype.type(scale)

    return jax.tree_util.tree_map_with_path(renewed, variables)


def table(module: Any, variables: Any = None, activation: Any = None, example: Any = None, input_scale: float = 1.0) -> Initialisation:
    """What `lg.flax.init` sets, without setting it.

    Parameters
    ----------
    module, variables, activation, example, input_scale
        As of `lg.flax.init`, whose errors it raises.

    Returns
    -------
    Initialisation
        Prints as a table, a row a layer.

    Examples
    --------
    >>> import largen as lg, jax
    >>> import flax.linen as nn
    >>> module = nn.Sequential([nn.Dense(64), nn.tanh, nn.Dense(1)])
    >>> variables = module.init(jax.random.key(0), jax.numpy.ones((1, 8)))
    >>> print(lg.flax.table(module, variables, activation="tanh"))
    layer     fed by  fan_in  C_W  C_b  std
    layers_0  inputs  8       1    0    0.3536
    layers_2  tanh    64      1    0    0.125
    """
    arrays, left = arrays_of(module, variables)
    read, fan_in = _read(module, variables, arrays, example)
    fan_in = transposed(module, variables, example is None) | fan_in
    sizes = [
        Size(name, fan_in.get(name, math.prod(weight.shape[:-1])), bias is not None)
        for name, (weight, bias) in arrays.items()
        if read is None or weight.ndim == 2 or name in read.layers or isinstance(activation, Mapping)
    ]
    names = {size.name for size in sizes}
    left |= {name: "not reached by tracing forward" for name in arrays if name not in names}
    return table_of(sizes, left, activation, input_scale, read, fan_in, "module")


def _read(module: Any, variables: Any, arrays: Arrays, example: Any) -> tuple[Roles | None, dict[str, float]]:
    """The roles of the layers and the fan_in of each, by the data flow of the example or a sequence; None if nothing shows them."""
    flax = flax_of()
    if example is None:
        kinds = {
            "linen": (flax.linen.Dense, flax.linen.Conv, flax.linen.ConvTranspose),
            "nnx": (flax.nnx.Linear, flax.nnx.Conv, flax.nnx.ConvTranspose),
        }
        if type(module) in (flax.linen.Sequential, flax.nnx.Sequential):
            linen = type(module) is flax.linen.Sequential
            parts = [
                _part(f"layers_{i}" if linen else f"layers/{i}", one, kinds["linen" if linen else "nnx"])
                for i, one in enumerate(module.layers)
            ]
            return in_order(parts), {}
        if list(arrays) == [""] or type(module) in (*kinds["linen"], *kinds["nnx"]):
            return in_order([("affine", "")]), {}
        return None, {}
    layers = {f"{name}/kernel".lstrip("/"): name for name in arrays}
    under = normed(module, variables)
    if variables is None:
        definition, state = flax.nnx.split(module)

        def call(state: Any, *args: Any) -> Any:
            return flax.nnx.merge(definition, state)(*args)

        return traced(call, state, example, lambda path: "/".join(keys_of(path)).removesuffix("/value"), layers, under)
    rngs = {name: jax.random.key(0) for name in ("params", "dropout")}
    changing = [name for name in variables if name != "params"]

    def apply(variables: Any, *args: Any) -> Any:
        return module.apply(variables, *args, rngs=rngs, mutable=changing or False)

    def name_of(path: Any) -> str:
        keys = keys_of(path)
        return "/".join(keys[1:]) if keys[0] == "params" else "~" + "/".join(keys)

    return traced(apply, variables, example, name_of, layers, under)


def _part(name: str, part: Any, kinds: tuple[type, ...]) -> tuple[Kind, Any]:
    if isinstance(part, (flax_of().linen.WeightNorm, flax_of().nnx.WeightNorm)):
        return _part(f"{name}/layer_instance", part.layer_instance, kinds)
    if type(part) in kinds:
        return "affine", getattr(part, "name", None) or name
    modules = (flax_of().linen.Module, flax_of().nnx.Module)
    return ("unknown", f"the module {name} ({type(part).__name__})") if isinstance(part, modules) else ("activation", part)


def _new_module(module: Any, new: Mapping[str, tuple[Any, Any]], scales: Mapping[str, float]) -> Any:
    nnx = flax_of().nnx
    copy = nnx.clone(module)
    for path, part in nnx.iter_modules(copy):
        scale = scales.get("/".join((*map(str, path), "scale")).lstrip("/"))
        if scale is not None:
            part.scale[...] = jax.numpy.full_like(part.scale[...], scale)
        weight, bias = new.get("/".join(map(str, path)), (None, None))
        if weight is not None:
            part.kernel[...] = weight
        if bias is not None:
            part.bias[...] = bias
    for path, part in nnx.iter_modules(copy):
        for inside in part.scales or () if isinstance(part, nnx.WeightNorm) else ():
            name = "/".join(map(str, (*path, "layer_instance", *inside)))
            owner, _, kind = name.rpartition("/")
            value = new.get(owner, (None, None))[kind == "bias"]
            if value is not None:
                part.scales[inside] = length(value, part.feature_axes)
    return copy
