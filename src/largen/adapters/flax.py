"""Flax models, linen and nnx: the critical initialisation, as new values."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from largen.adapters.initialisation import Initialisation as Initialisation
from largen.adapters.told import Size, draw, table_of
from largen.errors import InputError
from largen.networks.parameters import a_key

Arrays = dict[str, tuple[Any, Any]]  # layer name -> (kernel, bias or None)


def init(module: Any, variables: Any = None, key: Any = None, activation: Any = None, input_scale: float = 1.0) -> Any:
    """New values for a Flax model: every dense and convolutional layer at the critical point of the activation that feeds it.

    W ~ N(0, C_W/fan_in), b ~ N(0, C_b), with (C_W, C_b) of `lg.critical(activation)`; fan_in of a convolution is channels x
    window. The layer that the inputs feed gets C_W = (K* - C_b)/input_scale if K* > 0, so that K^(1) = K*.

    Parameters: `module`, a linen module with its `variables`, as `module.init(...)` returns them, or an nnx module alone; `key`, a
    JAX random key. `activation`: a name, a function of jax.nn or `lg.activation(...)`, which feeds every layer but the first; or
    {layer name: activation, or "inputs"}, which sets these layers only (names as in the table: "Dense_0", "block/Dense_1").
    `input_scale`, |x|^2/n_0. JAX models are not traced: nothing is guessed. (`jax.nn.gelu` as it comes is "gelu_tanh".)

    The first is that of the attributes in nnx. In linen the numbers of automatic names say it (Dense_0); where they do not and
    K* > 0, say the dictionary. A linen layer is a `kernel` of two axes, or the kernel of a `Conv_0`, `Conv_1`, ...; a
    kernel of more axes under another name is taken as a convolution's where the dictionary names it, and left alone otherwise.

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
    plan = table(module, variables, activation, input_scale)
    new = draw(plan, a_key(key), _arrays(module, variables)[0])
    if variables is None:
        return _new_module(module, new)
    leaves: dict[tuple[str, ...], Any] = {}
    for name, pair in new.items():
        leaves |= {(*name.split("/"), part): value for part, value in zip(("kernel", "bias"), pair, strict=True)}

    def renewed(path: Any, leaf: Any) -> Any:
        keys = _keys(path)
        return leaves.get(keys[1:], leaf) if keys[0] == "params" else leaf

    return jax.tree_util.tree_map_with_path(renewed, variables)


def table(module: Any, variables: Any = None, activation: Any = None, input_scale: float = 1.0) -> Initialisation:
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
    arrays, others = _arrays(module, variables)
    names = [name for name in arrays if name not in others or (isinstance(activation, Mapping) and name in activation)]
    sizes = [Size(name, math.prod(arrays[name][0].shape[:-1]), arrays[name][1] is not None) for name in names]
    left = {name: reason for name, reason in others.items() if name not in names}
    first = next(iter(names), None) if variables is None else _first(names)
    return table_of(sizes, left, activation, input_scale, first)


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
            continue
        arrays[name] = (kernel, leaves.get("bias"))
        if kernel.ndim > 2 and not (parent and re.fullmatch(r"Conv_\d+", parent[-1])):
            others[name] = f"a kernel of {kernel.ndim} axes, which need not be a convolution's"
    return arrays, others


def _of_nnx(module: Any, flax: Any) -> tuple[Arrays, dict[str, str]]:
    nnx = flax.nnx
    arrays, others = {}, {}
    for path, part in sorted(nnx.iter_modules(module), key=lambda pair: tuple(_places(module, pair[0]))):
        name = "/".join(map(str, path))
        if type(part) in (nnx.Linear, nnx.Conv):
            arrays[name] = (part.kernel[...], None if part.bias is None else part.bias[...])
        elif any(isinstance(value, nnx.Param) for value in vars(part).values()):
            others[name] = f"{type(part).__name__} is neither nnx.Linear nor nnx.Conv"
    return arrays, others


def _places(module: Any, path: tuple[Any, ...]) -> Iterator[int]:
    """Where each part of a path stands among the attributes or entries of its owner: attributes are listed by name otherwise."""
    for part in path:
        owned = vars(module)
        if part in owned:
            yield list(owned).index(part)
            module = owned[part]
        else:
            yield part if isinstance(part, int) else list(module).index(part)
            module = module[part]


def _new_module(module: Any, new: Mapping[str, tuple[Any, Any]]) -> Any:
    nnx = _flax().nnx
    copy = nnx.clone(module)
    for path, part in nnx.iter_modules(copy):
        weight, bias = new.get("/".join(map(str, path)), (None, None))
        if weight is not None:
            part.kernel[...] = weight
        if bias is not None:
            part.bias[...] = bias
    return copy


def _first(names: list[str]) -> str | None:
    """The first of linen layers whose names differ by a number at the end only (or that are one); None for others."""
    ends = [re.fullmatch(r"(.*)_(\d+)", name) for name in names]
    if len(names) == 1:
        return names[0]
    if not all(ends) or len({end[1] for end in ends if end}) != 1:
        return None
    return min(names, key=lambda name: int(name.rpartition("_")[2]))


def _keys(path: Any) -> tuple[str, ...]:
    return tuple(str(getattr(part, "key", getattr(part, "name", part))) for part in path)


def _flax() -> Any:
    try:
        import flax.linen
        import flax.nnx
    except ModuleNotFoundError as error:
        raise ImportError('lg.flax needs Flax: pip install "largen[flax]"') from error
    return flax
