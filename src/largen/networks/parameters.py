"""Parameters of real networks: drawing them, and checking that given ones fit a network and its inputs."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits, memory
from largen.architecture.arrays import blanks, size
from largen.architecture.levels import a_shape
from largen.architecture.nodes import Serial, network
from largen.errors import InputError, shown
from largen.parametrizations.parametrization import Parametrization
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import Parameter, scaled, table
from largen.running.jitted import jitted
from largen.types import Array, Params, island, leaves


def draw_parameters(net: Serial, key: Any, shape: tuple[int, ...], dtype: Any, stds: Any = None) -> Params:
    """The pure core of `init`: may be jitted and vmapped over keys.

    `stds`: of every array, in place of those of C_W, C_b. All layers are cut from one vector of standard normals whose length is a power
    of two: compiling a generator is what takes time in a first call, and networks of similar size then share one.
    """
    drawn = jax.random.normal(key, (1 << max(size(net, shape) - 1, 0).bit_length(),), dtype)
    return jax.tree_util.tree_map(jnp.asarray, _cut(net, drawn, shape, stds))


@jitted(static=(2,))
def _cut(net: Serial, normals: jax.Array, shape: tuple[int, ...], stds: Any) -> Params:
    drawn: Params = {}
    exact = jax.tree_util.tree_map(lambda C: jnp.asarray(C, normals.dtype), net)
    at, stds = 0, column(table(exact, shape, resolve(exact)), "std") if stds is None else stds
    for path, entry in blanks(net, shape)[1].items():
        drawn[path] = {}
        for name, blank in entry.items():
            many = math.prod(blank.shape)
            drawn[path][name] = jnp.asarray(stds[path][name], normals.dtype) * normals[at : at + many].reshape(blank.shape)
            at += many
    return drawn


@exits.finite()
def init(
    net: Any, n_in: int | tuple[int, ...], key: Any, networks: int | None = None, dtype: Any = None, parametrization: Any = None
) -> Params:
    """Parameters of a network at initialisation, W ~ N(0, C_W/fan_in), b ~ N(0, C_b), the first layer too.

    The same key gives the same parameters. May be jitted and vmapped over `key`, and differentiated in C_W and C_b.

    Parameters
    ----------
    net : architecture
        Any network.
    n_in : int or (*positions, channels)
        The number of input features, or the shape of one input.
    key : JAX random key
        `jax.random.key(0)`.
    networks : int, optional
        How many independent ones to draw, an ensemble: number k is the one of `jax.random.split(key, networks)[k]`. None for one network.
    dtype : dtype, optional
        float32 or float64 (default: JAX's default float). float64 is honoured with JAX's 64-bit flag off too; then use the result in
        largen's functions, since plain JAX arithmetic would fall back to float32.
    parametrization : Parametrization, optional
        Then what is drawn are the w^l ~ N(0, n^-2b_l), biases ~ N(0, 1), that `lg.apply` and `lg.train` take with the same one: W^l =
        sqrt(C_W) n^-a_l w^l, in the first layer over sqrt(fan_in); n is a layer's fan-in, of the first layer its units.

    Returns
    -------
    dict
        {path: {"W": (fan_in, fan_out), "b": (fan_out,)}}, one entry per affine layer, keyed by its path; W of a convolution is
        `(*window, channels in, channels out)`, of a locally connected layer `(*positions, *window, channels in, channels out)`. Those of an
        ensemble have a leading axis of networks, for `lg.each`.

    Raises
    ------
    InputError
        For anything but one JAX key (an integer seed too), n_in < 1, a dtype that is not a real float, networks < 1, and for more numbers
        than fit into memory; for a parametrization of another number of layers.

    References
    ----------
    PDLT 2.19-2.20.

    Examples
    --------
    >>> import largen as lg, jax
    >>> params = lg.init(lg.mlp(widths=[64], out=2), 3, jax.random.key(0))
    >>> {path: (p["W"].shape, p["b"].shape) for path, p in params.items()}
    {'dense1': ((3, 64), (64,)), 'dense2': ((64, 2), (2,))}
    >>> lg.init(lg.mlp(widths=[64], out=2), 3, jax.random.key(0), networks=5)["dense1"]["W"].shape
    (5, 3, 64)
    """
    whole, one, kind = network(net), door.key(key), a_dtype(dtype)
    shape, many = a_shape(n_in), None if networks is None else door.count(networks, "networks")
    stds = column(a_table(parametrization, whole, shape), "std")
    require_room(whole, shape, kind, many or 1)
    with island(np.empty(0, kind)):
        if many is None:
            return draw_parameters(whole, one, shape, kind, stds)
        return jax.vmap(lambda k: draw_parameters(whole, k, shape, kind, stds))(jax.random.split(one, many))


def require_room(net: Serial, shape: tuple[int, ...], kind: Any, networks: int = 1) -> None:
    """Refuse parameters that do not fit: those of all networks, drawn in vectors of a power of two."""
    many = size(net, shape)
    needed = np.dtype(kind).itemsize * networks * (memory.NORMAL * (1 << max(many - 1, 0).bit_length()) + many)
    got = f"{f'{memory.many(networks)} networks' if networks > 1 else 'a network'} of {memory.many(many)} parameters"
    memory.require(needed, "networks" if networks > 1 else "net", got, "Take fewer networks, or narrower ones.")


def a_table(value: Any, net: Serial, shape: tuple[int, ...]) -> dict[str, dict[str, Parameter]] | None:
    """The table of a network under a parametrization, None under none; checked to fit."""
    if value is None:
        return None
    if not isinstance(value, Parametrization):
        raise InputError("parametrization", shown(value), "an lg.Parametrization, such as lg.Parametrization.mup(hidden=2)")
    return scaled(net, shape, value)


def column(table: dict[str, dict[str, Parameter]] | None, name: str) -> Any:
    """One number of every parameter array, as a pytree like the parameters; None of no table."""
    return table and {path: {array: getattr(one, name) for array, one in entry.items()} for path, entry in table.items()}


def multiplied(params: Params, multipliers: Any) -> Params:
    """The weights and biases of the network, from its parameters under a parametrization; None: they are the same."""
    return params if multipliers is None else jax.tree_util.tree_map(lambda m, w: m * w, multipliers, params)


def a_dtype(dtype: Any) -> Any:
    """A real floating dtype; None is JAX's default float."""
    return jnp.result_type(float) if dtype is None else door.dtype(dtype)


def lead(params: Any) -> int:
    """How many networks the parameters of an ensemble are of."""
    sizes = [shape[0] for leaf in leaves(params) if (shape := getattr(leaf, "shape", ()))]
    if not sizes or sizes[0] < 1:
        raise InputError("params", "no networks", "the parameters of an ensemble, as lg.init(net, n_in, key, networks=...) returns")
    return sizes[0]


def fitting(net: Serial, params: Any, X: Array, lead: tuple[int, ...] = ()) -> Params:
    """The parameters as JAX arrays, checked to fit the network and X; `lead` are leading axes, such as (networks,).

    Shapes and dtypes only, so traced parameters pass. Raises `InputError` naming the path and both shapes.
    """
    wanted = blanks(net, X.shape[1:])[1]
    if not wanted:
        raise InputError("net", "a network without an affine layer", "at least one, such as lg.Dense(10)")
    if not isinstance(params, dict):
        raise InputError("params", f"a {type(params).__name__}", 'a dictionary {path: {"W": ..., "b": ...}}, as lg.init returns')
    if set(params) != set(wanted):
        raise InputError("params", f"the paths {_listed(params)}", f"the affine layers of the network, {_listed(wanted)}")
    kinds: set[Any] = set()
    fit: dict[str, dict[str, Array]] = {path: {} for path in wanted}
    for path, entries in wanted.items():
        if not isinstance(params[path], dict) or set(params[path]) != set(entries):
            raise InputError(f"params[{path!r}]", _listed(params[path]), f"a dictionary with the entries {_listed(entries)}")
        for name, blank in entries.items():
            value, where = params[path][name], f"params[{path!r}][{name!r}]"
            if not hasattr(value, "dtype"):
                raise InputError(where, f"a {type(value).__name__}", "an array of real floats")
            value = door.plain(value, where, "an array of real floats")
            kind = value.dtype
            if not jnp.issubdtype(kind, jnp.floating):
                raise InputError(where, f"entries of type {kind}", "an array of real floats")
            door.finite(value, where, "an array of finite real floats")
            if value.shape != lead + blank.shape:
                need = f"shape {lead + blank.shape}, by the network and {'the' if X.ndim == 2 else 'points of shape'} {_size(X)} of X"
                raise InputError(where, f"shape {value.shape}", need)
            kinds.add(kind)
            fit[path][name] = value
    if len(kinds) > 1:
        raise InputError("params", f"mixed dtypes, {' and '.join(sorted(map(str, kinds)))}", "one dtype throughout")
    with island(fit):
        return jax.tree_util.tree_map(jnp.asarray, fit)


def _size(X: Array) -> str:
    return f"{X.shape[1]} columns" if X.ndim == 2 else str(X.shape[1:])


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, dict) and names else f"a {type(names).__name__}" if names else "none"


def pair(X1: Any, X2: Any) -> tuple[Array, Array | None]:
    """Two sets of points of one shape; the second may be None (the first again)."""
    one = door.inputs(X1, "X1")
    return one, None if X2 is None else door.inputs(X2, "X2", one.shape[1:], "X1")


def dtype_of(params: Params) -> Any:
    """The one dtype of checked parameters."""
    return jax.tree_util.tree_leaves(params)[0].dtype
