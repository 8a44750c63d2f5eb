"""JAX models: names of JAX's own functions, sequences in order, the table, and drawing new values."""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from largen import door
from largen.adapters.feeds import roles
from largen.adapters.initialisation import Initialisation, Size, foreign_numbers, planned, said, settled, stds, unsaid
from largen.adapters.roles import INPUTS, Kind, Node, Role, Roles
from largen.errors import InputError
from largen.types import hand_back, island

HINT = "Give example=, an input as the model takes it (a tuple for several arguments): the data flow of the call is read. "
# jax.nn.gelu is the tanh approximation unless told otherwise
NAMES = {
    "relu": (jax.nn.relu,),
    "tanh": (jnp.tanh, jax.lax.tanh, jax.nn.tanh),
    "gelu_tanh": (jax.nn.gelu,),
    "swish": (jax.nn.silu, jax.nn.swish),
    "leaky_relu(0.01)": (jax.nn.leaky_relu,),
    "elu": (jax.nn.elu,),
    "selu": (jax.nn.selu,),
    "mish": (jax.nn.mish,),
    "softplus": (jax.nn.softplus,),
    "sigmoid": (jax.nn.sigmoid, jax.lax.logistic),
    "softsign": (jax.nn.soft_sign,),
    "hardtanh": (jax.nn.hard_tanh,),
    "linear": (jax.nn.identity,),
    "sin": (jnp.sin, jax.lax.sin),
    "cos": (jnp.cos, jax.lax.cos),
    "abs": (jnp.abs, jax.lax.abs),
    "arctan": (jnp.arctan, jax.lax.atan),
    "erf": (jax.scipy.special.erf, jax.lax.erf),
}


def named(value: Any) -> Any:
    """JAX's own functions by largen's name, everything else as it came."""
    if isinstance(value, Mapping):
        return {key: named(one) for key, one in value.items()}
    if isinstance(value, partial) and value.func is jax.nn.gelu and not value.args and set(value.keywords) == {"approximate"}:
        return "gelu_tanh" if value.keywords["approximate"] else "gelu"
    return next((name for name, functions in NAMES.items() if any(value is fn for fn in functions)), value)


def in_order(parts: Sequence[tuple[Kind, Any]]) -> Roles:
    """The roles in a sequence: pairs of "affine" and a layer's name, "activation" and a function, or "unknown" and a description."""
    nodes = [Node("inputs")]
    for kind, what in parts:
        phi = named(what) if kind == "activation" else what
        if not isinstance(phi, str):
            kind, phi = "unknown", f"the function {getattr(what, '__name__', type(what).__name__)}"
        nodes.append(Node(kind, phi, (nodes[-1],)))
    return roles(nodes)


def traced(
    call: Any, parameters: Any, example: Any, name_of: Callable[[Any], str], layers: Mapping[str, str], normed: Container[str]
) -> tuple[Roles, dict[str, float]]:
    """The roles in the data flow of `call(parameters, *example)`, and the fan_in of what was found; see `jaxpr.graph`."""
    from largen.adapters import jaxpr

    args = example if isinstance(example, tuple) else (example,)
    try:
        (nodes, outputs), fan_in = jaxpr.graph(call, parameters, args, name_of, layers, normed)
    except jaxpr.CallError as error:
        got = f"an example that the model does not take ({error})"
        raise InputError("example", got, "an input as the model takes it, a tuple for several arguments") from error
    return roles(nodes, outputs), fan_in


def table_of(
    sizes: Sequence[Size],
    left: Mapping[str, str],
    activation: Any,
    input_scale: Any,
    read: Roles | None,
    sizes_of_weights: Mapping[str, float],
    argument: str,
) -> Initialisation:
    """The table by the roles that were read and what was said; `read` is None where nothing shows the order of the layers. `argument`: the
    one that the model is."""
    names = [size.name for size in sizes]
    phi = named(activation)
    if read is None:
        _, feeds = said(phi, names)
        if not isinstance(phi, Mapping):
            raise unsaid({}, dict.fromkeys(names, "the names and fields of a model do not say what feeds what"), HINT)
        sources = tuple(name for name, feed in feeds.items() if feed == INPUTS)
        read = Roles({name: Role(None, sources=sources) for name in feeds}, {}, {})
        left = {**{name: "not said" for name in names if name not in feeds}, **left}
        sizes = [size for size in sizes if size.name in feeds]
    found, more = settled(sizes, read, phi)
    foreign = {name: foreign_numbers(role, sizes_of_weights.get(name)) for name, role in read.foreign.items()}
    scales = {name: value for name, (value, _) in read.scales.items()}
    return planned(found, {**left, **more, **foreign}, input_scale, argument, scales)


def draw(table: Initialisation, key: Any, arrays: Mapping[str, tuple[Any, Any]], argument: str) -> dict[str, tuple[Any, Any]]:
    """New (weight, bias) per layer of the table, in the shapes and dtypes of the given ones, which came in an argument; a bias may be
    None."""
    new = {}
    for i, layer in enumerate(table.layers):
        keys = jax.random.split(jax.random.fold_in(key, i))
        given = zip(keys, stds(layer), arrays[layer.name], strict=True)
        new[layer.name] = tuple(None if a is None else _normal(k, s, a, argument) for k, s, a in given)
    return new


def _normal(key: Any, std: float, like: Any, argument: str) -> Any:
    like = door.plain(like, argument)
    if not jnp.issubdtype(like.dtype, jnp.floating):
        raise InputError(argument, f"a weight of type {like.dtype}", "floating weights")
    with island(like):
        return hand_back((std * jax.random.normal(key, like.shape, like.dtype)).astype(like.dtype), like)
