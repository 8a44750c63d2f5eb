"""What a function of one network is made of, so that the function itself and `lg.each` of it are one thing.

A public function decorated with `measured` checks its arguments and says what is to be done: a pure core, what it is given, the memory it
takes, and how its result is finished. All else stands here once: parameters that fit, room, the float64 island, dtypes, compilation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Generic, ParamSpec, TypeVar, get_args

import jax
import jax.numpy as jnp

from largen import door, exits
from largen.architecture.nodes import Serial
from largen.border import bordered
from largen.errors import InputError
from largen.networks import room
from largen.networks.parameters import dtype_of, fitting, lead
from largen.running.jitted import jitted
from largen.types import Array, hand_back, island, namespace

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Work(Generic[T]):
    """What is to be done for one network: `core(net, params, *operands, **static)`, a pure function, and what goes with it.

    All arguments are checked but for `params`, which are to fit the points `X` (None: any arrays of real floats). Real operands take the
    dtype of the parameters; `static` ones are compiled for. `needed`: see `room`. `finish` makes the result of what the core returned,
    of an ensemble with a leading axis of networks; default: as it is, in NumPy for points in NumPy.
    """

    core: Callable[..., Any]
    net: Serial
    params: Any
    X: Array | None
    operands: tuple[Any, ...]
    needed: room.Needed | None = None
    static: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[Any], T] | None = None


def measured(function: Callable[P, Work[T]]) -> Callable[P, T]:
    """Decorator of a public function of one network, (net, params, ...), that returns its `Work`: it returns the result."""
    function.__annotations__["return"] = get_args(function.__annotations__["return"])[0]  # what help() shows
    public = exits.finite()(doing(function))
    KNOWN[public] = function
    return public


KNOWN: dict[Any, Callable[..., Work[Any]]] = {}  # the public functions of one network, and what says their work


def doing(function: Callable[P, Work[T]], ensemble: bool = False, chunk: int | None = None) -> Callable[P, T]:
    """The function of the same arguments that does the work, in one network or in every one of an `ensemble`, `chunk` at a time."""

    @bordered("params")
    @wraps(function)
    def do(*args: P.args, **kwargs: P.kwargs) -> T:
        return _done(function(*args, **kwargs), ensemble, chunk)

    return do


def _done(work: Work[T], ensemble: bool, chunk: int | None) -> T:
    networks = lead(work.params) if ensemble else 1
    fit = _fit(work, (networks,) if ensemble else ())
    chunk = None if chunk is None else door.count(chunk, "chunk")
    if work.needed is not None and work.X is not None:
        chunk = room.working(work.net, fit, work.X, work.needed, networks, chunk)
    with island(fit):
        operands = jax.tree_util.tree_map(partial(_like, dtype_of(fit)), work.operands)
        given, static = (work.core, work.net, fit, operands), tuple(work.static.items())
        found = _mapped(*given, min(chunk or 1, networks), static) if ensemble else _once(*given, static)
        found = jax.tree_util.tree_map(jnp.asarray, found)
        return hand_back(found, work.X) if work.finish is None else work.finish(found)


def _fit(work: Work[Any], axes: tuple[int, ...]) -> Any:
    if work.X is not None:
        return fitting(work.net, work.params, work.X, axes)
    need = f"arrays of finite real floats, the first axis of each {axes}"

    def checked(leaf: Any) -> Array:
        value = door.plain(leaf, "params", need)
        if value.shape[: len(axes)] != axes or not jnp.issubdtype(value.dtype, jnp.floating):
            raise InputError("params", f"{value.dtype} of shape {value.shape}", need)
        door.finite(value, "params", need)
        return value

    plain = jax.tree_util.tree_map(checked, work.params)
    with island(plain):
        return jax.tree_util.tree_map(jnp.asarray, plain)


def _like(kind: Any, operand: Any) -> Any:
    """A real operand in the dtype of the parameters; whole numbers and random keys as they are."""
    real = jnp.issubdtype(jnp.result_type(operand), jnp.floating)
    return namespace(operand).asarray(operand, kind) if real else operand


@jitted(static=(0, 4))
def _once(core: Callable[..., Any], net: Serial, params: Any, operands: Any, static: tuple[Any, ...]) -> Any:
    return core(net, params, *operands, **dict(static))


@jitted(static=(0, 4, 5))
def _mapped(core: Callable[..., Any], net: Serial, params: Any, operands: Any, chunk: int, static: tuple[Any, ...]) -> Any:
    """The core of every network, `chunk` at a time by vmap, one chunk after the other, results stacked."""

    def one(p: Any) -> Any:
        return core(net, p, *operands, **dict(static))

    return jax.lax.map(one, params, batch_size=None if chunk == 1 else chunk)
