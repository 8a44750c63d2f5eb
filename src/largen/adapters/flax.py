"""Flax models, linen and nnx: the critical initialisation, as new values."""

import math
from collections.abc import Mapping
from typing import Any

import jax

from largen.adapters.initialisation import Initialisation, Size
from largen.adapters.roles import Kind, Roles
from largen.adapters.told import draw, in_order, table_of, traced
from largen.errors import InputError
from largen.networks.parameters import a_key

Arrays = dict[str, tuple[Any, Any]]  # layer name -> (kernel, bias or None)


def init(module: Any, variables: Any = None, key: Any = None, activation: Any = None, example: Any = None, input_scale: float = 1.0) -> Any:
    """New values for a Flax model: every dense and convolutional layer at the critical point of the activation that feeds it.

    W ~ N(0, C_W/fan_in), b ~ N(0, C_b), with (C_W, C_b) of `lg.critical(activation)`; fan_in of a convolution is channels x
    window. The layer that the inputs feed gets C_W = (K* - C_b)/input_scale if K* > 0, so that K^(1) = K*.

    Of B branches that are summed into one stream (residual connections; two in a transformer block) the last layer of each gets C_W/B
    and C_b/B, or a normalisation that ends it the weight 1/sqrt(B); beside a skip of weight g < 1 the share is 1 - g^2.

    Parameters: `module`, a linen module with its `variables`, as `module.init(...)` returns them, or an nnx module alone; `key`, a
    JAX random key. `example`, an input, or a tuple of the arguments of the call: its data flow (jaxpr) is read. Without it an
    `nn.Sequential` or `nnx.Sequential` is read in order, and of other models everything has to be said: names and attributes do not
    tell what feeds what. `activation`, what cannot be seen: a name, a function of jax.nn or `lg.activation(...)`, which feeds every
    layer of which nothing is seen; or {layer name: activation, or "inputs"}, names as in the table ("Dense_0", "block/Dense_1").
    `input_scale`, |x|^2/n_0. (`jax.nn.gelu` as it comes is "gelu_tanh".)

    A layer is a `kernel` with its `bias`; without example, one of more than two axes is a convolution's.

    Returns new variables (linen; all else in them as it was) or a new module (nnx); what was given is untouched.
    `lg.flax.table` shows what is set. Raises `InputError` where no activation is known, for unknown names, and for no biases
    where C_b > 0; `UnsupportedError` for an activation without critical point.

    Source: PDLT 5.1-5.3.

    >>> import largen as lg, jax
    >>> import flax.linen as nn
    >>> module = nn.Sequential([nn.Dense(64), nn.tanh, nn.Dense(1)])
    >>> variables = module.init(jax.random.key(0), jax.numpy.ones((1, 8)))
    >>> variables = lg.flax.init(module, variables, jax.random.key(1), activation="tanh")
    """
    plan = table(module, variables, activation, example, input_scale)
    new = draw(plan, a_key(key), _arrays(module, variables)[0])
    if variables is None:
        return _new_module(module, new, plan.scales)
    leaves: dict[tuple[str, ...], Any] = {}
    for name, pair in new.items():
        leaves |= {(*name.split("/"), part): value for part, value in zip(("kernel", "bias"), pair, strict=True)}

    def renewed(path: Any, leaf: Any) -> Any:
        keys = _keys(path)
        if keys[0] != "params":
            return leaf
        scale = plan.scales.get("/".join(keys[1:]))
        return leaves.get(keys[1:], leaf) if scale is None else leaf * 0 + leaf.dtype.type(scale)

    return jax.tree_util.tree_map_with_path(renewed, variables)


def table(module: Any, variables: Any = None, activation: Any = None, example: Any = None, input_scale: float = 1.0) -> Initialisation:
    """What `lg.flax.init` sets, as an `Initialisation`; arguments and errors as there.

    >>> import largen as lg, jax
    >>> import flax.linen as nn
    >>> module = nn.Sequential([nn.Dense(64), nn.tanh, nn.Dense(1)])
    >>> variables = module.init(jax.random.key(0), jax.numpy.ones((1, 8)))
    >>> print(lg.flax.table(module, variables, activation="tanh"))
    layer     fed by  fan_in  C_W  C_b  std
    layers_0  inputs  8       1    0    0.3536
    layers_2  tanh    64      1    0    0.125
    """
    arrays, left = _arrays(module, variables)
    read, fan_in = _read(module, variables, arrays, example)
    sizes = [
        Size(name, fan_in.get(name, math.prod(weight.shape[:-1])), bias is not None)
        for name, (weight, bias) in arrays.items()
        if read is None or weight.ndim == 2 or name in read.layers or isinstance(activation, Mapping)
    ]
    names = {size.name for size in sizes}
    left |= {name: "not reached by tracing forward" for name in arrays if name not in names}
    return table_of(sizes, left, activation, input_scale, read, fan_in)


def _read(module: Any, variables: Any, arrays: Arrays, example: Any) -> tuple[Roles | None, dict[str, int]]:
    """The roles of the layers and the fan_in of each, by the data flow of the example or a sequence; None if nothing shows them."""
    flax = _flax()
    if example is None:
        kinds = {"linen": (flax.linen.Dense, flax.linen.Conv), "nnx": (flax.nnx.Linear, flax.nnx.Conv)}
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
    if variables is None:
        definition, state = flax.nnx.split(module)

        def call(state: Any, *args: Any) -> Any:
            return flax.nnx.merge(definition, state)(*args)

        return traced(call, state, example, lambda path: "/".join(_keys(path)).removesuffix("/value"), layers)
    rngs = {name: jax.random.key(0) for name in ("params", "dropout")}
    changing = [name for name in variables if name != "params"]

    def apply(variables: Any, *args: Any) -> Any:
        return module.apply(variables, *args, rngs=rngs, mutable=changing or False)

    def name_of(path: Any) -> str:
        keys = _keys(path)
        return "/".join(keys[1:]) if keys[0] == "params" else "~" + "/".join(keys)

    return traced(apply, variables, example, name_of, layers)


def _part(name: str, part: Any, kinds: tuple[type, ...]) -> tuple[Kind, Any]:
    if type(part) in kinds:
        return "affine", getattr(part, "name", None) or name
    modules = (_flax().linen.Module, _flax().nnx.Module)
    return ("unknown", f"the module {name} ({type(part).__name__})") if isinstance(part, modules) else ("activation", part)


def _arrays(module: Any, variables: Any) -> tuple[Arrays, dict[str, str]]:
    """Every kernel with its bias; and what is not set unless it is said, or has no kernel at all, with the reason."""
    flax = _flax()
    if isinstance(module, flax.nnx.Module) and variables is None:
        return _of_nnx(module, flax)
    if isinstance(module, flax.linen.Module) and isinstance(variables, Mapping) and isinstance(variables.get("params"), Mapping):
        return _of_linen(variables["params"])
    got = f"a {type(module).__name__} with {'nothing' if variables is None else f'a {type(variables).__name__}'}"
    need = 'a linen module with its variables {"params": ...}, or an nnx module alone'
    raise InputError("module, variables", got, need, "variables = module.init(jax.random.key(0), X)")


def _of_linen(params: Any) -> tuple[Arrays, dict[str, str]]:
    parents: dict[tuple[str, ...], dict[str, Any]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        *parent, last = _keys(path)
        parents.setdefault(tuple(parent), {})[last] = leaf
    arrays, others = {}, {}
    for parent, leaves in parents.items():
        name = "/".join(parent)
        kernel = leaves.get("kernel")
        if kernel is None or kernel.ndim < 2:
            others[name] = f"no kernel ({', '.join(leaves)})"
        else:
            arrays[name] = (kernel, leaves.get("bias"))
    return arrays, others


def _of_nnx(module: Any, flax: Any) -> tuple[Arrays, dict[str, str]]:
    nnx = flax.nnx
    arrays, others = {}, {}
    for path, part in nnx.iter_modules(module):
        name = "/".join(map(str, path))
        if type(part) in (nnx.Linear, nnx.Conv):
            arrays[name] = (part.kernel[...], None if part.bias is None else part.bias[...])
        elif any(isinstance(value, nnx.Param) for value in vars(part).values()):
            others[name] = f"{type(part).__name__} is neither nnx.Linear nor nnx.Conv"
    return arrays, others


def _new_module(module: Any, new: Mapping[str, tuple[Any, Any]], scales: Mapping[str, float]) -> Any:
    nnx = _flax().nnx
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
    return copy


def _keys(path: Any) -> tuple[str, ...]:
    return tuple(str(getattr(part, "key", getattr(part, "name", part))) for part in path)


def _flax() -> Any:
    try:
        import flax.linen
        import flax.nnx
    except ModuleNotFoundError as error:
        raise ImportError('lg.flax needs Flax: pip install "largen[flax]"') from error
    return flax
