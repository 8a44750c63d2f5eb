"""JAX models: what feeds each layer is said, not traced; names of JAX's own functions; drawing new values."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from largen import door
from largen.activations.critical import critical
from largen.adapters.initialisation import INPUTS, Feed, Found, Initialisation, planned, said, unsaid
from largen.errors import InputError
from largen.types import hand_back, island

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


class Size(NamedTuple):
    """A layer of a JAX model that can be set."""

    name: str
    fan_in: int
    bias: bool


def named(value: Any) -> Any:
    """JAX's own functions by largen's name, everything else as it came."""
    if isinstance(value, Mapping):
        return {key: named(one) for key, one in value.items()}
    if isinstance(value, partial) and value.func is jax.nn.gelu and not value.args and set(value.keywords) == {"approximate"}:
        return "gelu_tanh" if value.keywords["approximate"] else "gelu"
    return next((name for name, functions in NAMES.items() if any(value is fn for fn in functions)), value)


def table_of(sizes: Sequence[Size], left: Mapping[str, str], activation: Any, input_scale: Any, first: str | None) -> Initialisation:
    """The table by what was said; `first` is the layer that the inputs feed, None where the order of layers is not known."""
    names = [size.name for size in sizes]
    everywhere, feeds = said(named(activation), names)
    notes = []
    if everywhere is not None:
        if first is None and critical(everywhere).K_star:
            template = {name: INPUTS if i == 0 else everywhere.name for i, name in enumerate(names)}
            need = f"the layer that the inputs feed, which starts {everywhere.name} at its K*"
            raise InputError("activation", f"{everywhere.name!r} for layers of unknown order", need, f"Say it: activation={template}.")
        if first is None:
            notes.append(f"Which layer the inputs feed is not known; for {everywhere.name} it makes no difference.")
        feeds = {name: INPUTS if name == first else everywhere for name in names}
    elif activation is None:
        raise unsaid(dict.fromkeys(names, "JAX models are not traced"))
    return planned(_found(sizes, feeds), {**{n: "not said" for n in names if n not in feeds}, **left}, input_scale, notes)


def _found(sizes: Sequence[Size], feeds: Mapping[str, Feed]) -> list[Found]:
    inputs = tuple(name for name, feed in feeds.items() if feed == INPUTS)
    return [Found(*size, feed=feeds[size.name], sources=inputs) for size in sizes if size.name in feeds]


def draw(table: Initialisation, key: Any, arrays: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """New (weight, bias) per layer of the table, in the shapes and dtypes of the given ones; a bias may be None."""
    new = {}
    for i, layer in enumerate(table.layers):
        keys = jax.random.split(jax.random.fold_in(key, i))
        stds = (layer.std, layer.C_b**0.5)
        new[layer.name] = tuple(None if a is None else _normal(k, s, a) for k, s, a in zip(keys, stds, arrays[layer.name], strict=True))
    return new


def _normal(key: Any, std: float, like: Any) -> Any:
    like = door.plain(like, "variables")
    with island(like):
        return hand_back((std * jax.random.normal(key, like.shape, like.dtype)).astype(like.dtype), like)
