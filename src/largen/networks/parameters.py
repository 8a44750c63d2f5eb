"""Parameters of real networks: drawing them, and checking that given ones fit a network and its inputs."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.architecture.nodes import Act, Dense, Serial, network
from largen.architecture.walk import Theory, paths, walk
from largen.errors import InputError
from largen.types import Array, Params, island

# The carrier is (features, {path: parameters so far}); the extra of a node is (path, draw), where draw(name, shape, variance)
# makes one parameter. Drawing and checking differ in `draw` only, so one rule per node serves both.
PARAMETERS = Theory("lg.init")
Draw = Callable[[str, tuple[int, ...], Any], Any]


@PARAMETERS.rule(Dense)
def _dense(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
    (fan_in, found), (path, draw) = carrier, extra
    weights, biases = draw("W", (fan_in, node.width), node.C_W / fan_in), draw("b", (node.width,), node.C_b)
    return node.width, {**found, path: {"W": weights, "b": biases}}


@PARAMETERS.rule(Act)
def _act(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
    return carrier


def _collect(net: Serial, n_in: int, draw: Callable[[int], Draw]) -> tuple[int, dict[str, Any]]:
    """(out, {path: parameters}) with `draw(place)` the drawing function of the node at that place of the network."""
    extras = {path: (path, draw(place)) for place, (path, _) in enumerate(paths(net))}
    return walk(net, PARAMETERS, (n_in, {}), extras)[0]


def shapes(net: Serial, n_in: int) -> tuple[int, dict[str, dict[str, tuple[int, ...]]]]:
    """The number of outputs, and {path: {"W": shape, "b": shape}}."""
    return _collect(net, n_in, lambda place: lambda name, shape, variance: shape)


def draw_parameters(net: Serial, key: Any, n_in: int, dtype: Any) -> Params:
    """The pure core of `init`: may be jitted and vmapped over keys. The key of a node depends on its place only."""

    def at(place: int) -> Draw:
        weights, biases = jax.random.split(jax.random.fold_in(key, place))
        keys = {"W": weights, "b": biases}

        def draw(name: str, shape: tuple[int, ...], variance: Any) -> jax.Array:
            return jnp.sqrt(jnp.asarray(variance, dtype)) * jax.random.normal(keys[name], shape, dtype)

        return draw

    return _collect(net, n_in, at)[1]


def init(net: Any, key: Any, n_in: int, dtype: Any = None) -> Params:
    """Parameters of a network at initialisation, W ~ N(0, C_W/fan_in), b ~ N(0, C_b), the first layer too (PDLT 2.19-2.20).

    Parameters: `key`, a JAX random key, `jax.random.key(0)`; `n_in`, the number of input features; `dtype`, float32 or
    float64 (default: JAX's default float). float64 is honoured with JAX's 64-bit flag off too; then use the result in
    largen's functions, since plain JAX arithmetic would fall back to float32.

    Returns {path: {"W": (fan_in, fan_out), "b": (fan_out,)}}, one entry per affine layer, keyed by its path. The same key
    gives the same parameters. May be jitted and vmapped over `key`, and differentiated in C_W and C_b.

    Raises `InputError` for anything but one JAX key (an integer seed too), n_in < 1, a dtype that is not a real float.

    >>> import largen as lg, jax
    >>> params = lg.init(lg.mlp(widths=[64], out=2), jax.random.key(0), n_in=3)
    >>> {path: (p["W"].shape, p["b"].shape) for path, p in params.items()}
    {'dense1': ((3, 64), (64,)), 'dense2': ((64, 2), (2,))}
    """
    whole, one, kind = network(net), a_key(key), a_dtype(dtype)
    features = door.count(n_in, "n_in")
    with island(np.empty(0, kind)):
        return draw_parameters(whole, one, features, kind)


def a_key(key: Any) -> Any:
    """One JAX random key: typed, or the older array of uint32."""
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    raw = isinstance(key, (jax.Array, np.ndarray)) and key.dtype == np.uint32
    need, fix = "one JAX random key", "Call jax.random.key(0) for a key from a seed; jax.random.split for several."
    if not (typed or raw):
        raise InputError("key", repr(key) if isinstance(key, (int, str, type(None))) else f"a {type(key).__name__}", need, fix)
    if key.ndim != (0 if typed else 1):
        raise InputError("key", f"an array of keys of shape {key.shape if typed else key.shape[:-1]}", need, fix)
    return key


def a_dtype(dtype: Any) -> Any:
    """A real floating dtype; None is JAX's default float."""
    if dtype is None:
        return jnp.result_type(float)
    try:
        kind = jnp.dtype(dtype)
    except TypeError as error:
        raise InputError("dtype", repr(dtype), "a real floating dtype, such as float32") from error
    if not jnp.issubdtype(kind, jnp.floating):
        raise InputError("dtype", str(kind), "a real floating dtype, such as float32")
    return kind


def fitting(net: Serial, params: Any, X: Array, lead: tuple[int, ...] = ()) -> Params:
    """The parameters as JAX arrays, checked to fit the network and X; `lead` are leading axes, such as (networks,).

    Shapes and dtypes only, so traced parameters pass. Raises `InputError` naming the path and both shapes.
    """
    wanted = shapes(net, X.shape[1])[1]
    if not isinstance(params, dict):
        raise InputError("params", f"a {type(params).__name__}", 'a dictionary {path: {"W": ..., "b": ...}}, as lg.init returns')
    if set(params) != set(wanted):
        raise InputError("params", f"the paths {_listed(params)}", f"the affine layers of the network, {_listed(wanted)}")
    kinds: set[Any] = set()
    for path, entries in wanted.items():
        if not isinstance(params[path], dict) or set(params[path]) != set(entries):
            raise InputError(f"params[{path!r}]", _listed(params[path]), f"a dictionary with the entries {_listed(entries)}")
        for name, shape in entries.items():
            value, where = params[path][name], f"params[{path!r}][{name!r}]"
            kind = getattr(value, "dtype", None)
            if kind is None or not jnp.issubdtype(kind, jnp.floating):
                got = f"a {type(value).__name__}" if kind is None else f"entries of type {kind}"
                raise InputError(where, got, "an array of real floats")
            if value.shape != lead + shape:
                need = f"shape {lead + shape}, by the network and the {X.shape[1]} columns of X"
                raise InputError(where, f"shape {value.shape}", need)
            kinds.add(kind)
    if len(kinds) > 1:
        raise InputError("params", f"mixed dtypes, {' and '.join(sorted(map(str, kinds)))}", "one dtype throughout")
    with island(params):
        return jax.tree_util.tree_map(jnp.asarray, params)


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, dict) and names else f"a {type(names).__name__}" if names else "none"


def pair(X1: Any, X2: Any) -> tuple[Array, Array | None]:
    """Two sets of points with equally many columns; the second may be None (the first again)."""
    one = door.points(X1, "X1")
    return one, None if X2 is None else door.points(X2, "X2", columns=one.shape[1], other="X1")


def dtype_of(params: Params) -> Any:
    """The one dtype of checked parameters."""
    return jax.tree_util.tree_leaves(params)[0].dtype


def rate_tensor(net: Serial, n_in: int, rates: dict[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    """The learning-rate tensor, one number per parameter array: lambda_b for b, lambda_W/fan_in for W (PDLT 8.6)."""
    entries = shapes(net, n_in)[1]
    return {path: {"W": weight / math.prod(entries[path]["W"][:-1]), "b": bias} for path, (bias, weight) in rates.items()}
