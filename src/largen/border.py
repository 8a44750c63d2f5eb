"""The border of the float64 island for JAX's transformations, where the x64 flag is off.

Outside of the island JAX has no float64, and what a derivative does after a function has returned (its backward pass) is done outside.
So a function that enters the island with traced arguments is handed to JAX as one operation, whose value, tangents, cotangents and
batches are each computed by a call of the function inside the island. What crosses the border is of the outer world's dtype, float32.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray, Tracer
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from largen.types import is_traced, island

P = ParamSpec("P")
T = TypeVar("T")
Function = Callable[..., Sequence[Any]]
Kinds = tuple[tuple[tuple[int, ...], np.dtype], ...] | None  # shapes and types of results, where they are known without tracing


def bordered(*deciding: str, points: Sequence[str] = ()) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator of a function that works in the island where one of the `deciding` arguments is float64: its derivatives are computed
    there too, in both modes and to any order that it has, and it may be vmapped and jitted, whatever the flag.

    `points` (default: all that decide) are inputs of one network. JAX rounds those that it traces to float32, so the others are rounded
    too, or equal points would not be equal any more, and a derivative at the cusp between them would be that of one side.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        names = tuple(inspect.signature(function).parameters)

        @wraps(function)
        def crossing(*args: P.args, **kwargs: P.kwargs) -> T:
            if jnp.result_type(float) == np.float64 or not is_traced(args, kwargs) or len(args) > len(names):
                return function(*args, **kwargs)
            given: dict[str, Any] = dict(zip(names, args, strict=False)) | kwargs
            if not any(_is_float64(given.get(name)) for name in deciding):
                return function(*args, **kwargs)
            same = {name: given[name] for name in points or deciding if name in given and not isinstance(given[name], dict)}
            if is_traced(same):
                given |= {name: _rounded(value) for name, value in same.items() if not is_traced(value) and _is_float64(value)}
            return _Crossing(function, given).result()

        return crossing

    return decorate


def _is_float64(value: Any) -> bool:
    """Whether an argument holds float64 arrays, or will as NumPy's (a list of floats)."""
    if value is None or isinstance(value, dict):
        return any(_is_float64(part) for part in (value or {}).values())
    kind = getattr(value, "dtype", None)
    if kind is None:
        return not is_traced(value) and np.asarray(value).dtype == np.float64
    return str(kind).endswith("float64")


def _rounded(value: Any) -> np.ndarray:
    """A float64 array with float32 numbers."""
    return np.asarray(value, np.float32).astype(np.float64)


class _Crossing:
    """One call with traced arguments. `run` is the pure function of their values, to arrays of the outer world's dtype; the rest of the
    result is kept from the first run. Every run sees its values traced, so that all take the same way through the function."""

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any]):
        self.function = function
        self.given, self.tree = jax.tree_util.tree_flatten(arguments)
        self.traced = [i for i, leaf in enumerate(self.given) if isinstance(leaf, Tracer)]
        self.kept: Any = None  # after the first run: the result's leaves, its structure, and which of them are arrays of `run`

    def result(self) -> Any:
        """The function's own, its arrays those of the operation."""
        arrays = _island.bind(*(self.given[i] for i in self.traced), function=self.run, pull=None, linear=0, known=None)
        leaves, tree, places = self.kept
        return _closed(jax.tree_util.tree_unflatten(tree, _put(leaves, places, arrays)))

    def run(self, *values: Any) -> list[Any]:
        numbers = [i for i, v in enumerate(values) if jnp.issubdtype(jnp.result_type(v), jnp.inexact)]  # not random keys
        if numbers and not is_traced(values):
            return jax.vjp(lambda *some: self.run(*_put(values, numbers, some)), *(values[i] for i in numbers))[0]
        arguments = jax.tree_util.tree_unflatten(self.tree, _put(self.given, self.traced, values))
        leaves, tree = jax.tree_util.tree_flatten(_opened(self.function(**arguments)))
        if self.kept is None:
            places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tracer)]
            self.kept = [None if i in places else leaf for i, leaf in enumerate(leaves)], tree, places
        arrays = [jnp.asarray(leaves[i]) for i in self.kept[2]]
        return [a.astype(jnp.float32) if a.dtype == jnp.float64 else a for a in arrays]


def _put(leaves: Sequence[Any], places: list[int], values: Sequence[Any]) -> list[Any]:
    out = list(leaves)
    for i, value in zip(places, values, strict=True):
        out[i] = value
    return out


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Record:
    """A result record as a pytree: its fields by name, and one like it."""

    parts: dict[str, Any]
    kind: type


def _opened(value: Any) -> Any:
    """The value with records that are no pytrees made some."""

    def leaf(part: Any) -> Any:
        if not is_dataclass(part) or isinstance(part, type):
            return part
        return _Record({f.name: _opened(getattr(part, f.name)) for f in fields(part)}, type(part))

    return jax.tree_util.tree_map(leaf, value)


def _closed(value: Any) -> Any:
    """The inverse of `_opened`."""

    def leaf(part: Any) -> Any:
        return part.kind(**{name: _closed(inner) for name, inner in part.parts.items()}) if isinstance(part, _Record) else part

    return jax.tree_util.tree_map(leaf, value, is_leaf=lambda part: isinstance(part, _Record))


# The operation: `function` of all arguments, linear in the last `linear` of them, with `pull(known, cotangents)` its transpose in those.
_island = Primitive("float64_island")
_island.multiple_results = True


def linear(function: Callable[..., Any], pull: Callable[..., Any], known: Any, *ways: Any, like: Sequence[Any] | None = None) -> list[Any]:
    """The arrays function(known, *ways), of shapes and types as those `like` them (default: found by tracing).

    The function is linear in the arrays `ways`, with the transpose in those pull(known, *cotangents), each to be summed over leading axes
    that its way has not; `known` is a pytree of arrays.

    For the tangents of a `jax.custom_jvp` function whose own derivatives are custom: where JAX keeps a linear operation for a backward
    pass it looks through `jax.custom_jvp`, and forgets the rule by which the operation depends on what is known. And for tangents that
    are computed where numbers are known, not in a program of JAX.
    """
    leaves, tree = jax.tree_util.tree_flatten(known)
    n, sizes = len(leaves), [np.ndim(way) for way in ways]

    def push(*values: Any) -> list[Any]:
        with island(*values):
            return list(function(jax.tree_util.tree_unflatten(tree, values[:n]), *values[n:]))

    def back(point: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        with island(point, cotangents):
            out = pull(jax.tree_util.tree_unflatten(tree, list(point)), *cotangents)
        return [v.sum(tuple(range(v.ndim - size))) for v, size in zip(out, sizes, strict=True)]

    kinds = None if like is None else _kinds(like)
    return _island.bind(*leaves, *ways, function=push, pull=back, linear=len(ways), known=kinds)


def _kinds(arrays: Sequence[Any]) -> Kinds:
    return tuple((tuple(a.shape), np.dtype(a.dtype)) for a in arrays)


def _run(*args: Any, function: Function, pull: Any, linear: int, known: Kinds) -> list[Any]:
    values = [_outer(a) for a in args]
    with island():
        return list(function(*values))


def _outer(value: Any) -> Any:
    """Numbers of NumPy and Python in the dtype that JAX says they have here."""
    return value if isinstance(value, (jax.Array, Tracer)) else jnp.asarray(value)


def _shapes(*args: Any, function: Function, pull: Any, linear: int, known: Kinds) -> list[Any]:
    if known is not None:
        return [ShapedArray(shape, dtype) for shape, dtype in known]
    with island():
        out = jax.eval_shape(function, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in args))
    return [ShapedArray(a.shape, a.dtype) for a in out]


def _tangents(primals: Any, tangents: Any, *, function: Function, pull: Any, linear: int, known: Kinds) -> Any:
    n, live = len(primals), [i for i, t in enumerate(tangents) if not isinstance(t, ad.Zero)]
    outer = [jnp.result_type(tangents[i]) for i in live]
    primals = [_outer(p) for p in primals]

    def push(*args: Any) -> Sequence[Any]:
        point, ways = args[:n], dict(zip(live, args[n:], strict=True))
        full = [_tangent(p, ways.get(i)) for i, p in enumerate(point)]
        return jax.jvp(function, tuple(point), tuple(full))[1]

    def back(point: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
        some = jax.vjp(lambda *values: function(*_put(list(point), live, values)), *(point[i] for i in live))[1](list(cotangents))
        return [s.astype(kind) for s, kind in zip(some, outer, strict=True)]

    out = _island.bind(*primals, function=function, pull=pull, linear=linear, known=known)
    return out, _island.bind(*primals, *(tangents[i] for i in live), function=push, pull=back, linear=len(live), known=_kinds(out))


def _tangent(primal: Any, given: Any) -> Any:
    if not jnp.issubdtype(primal.dtype, jnp.inexact):
        return np.zeros(primal.shape, jax.dtypes.float0)
    return jnp.zeros(primal.shape, primal.dtype) if given is None else given.astype(primal.dtype)


def _cotangents(cotangents: Any, *args: Any, function: Function, pull: Any, linear: int, known: Kinds) -> list[Any]:
    point, cotangents = args[: len(args) - linear], [ad.instantiate_zeros(c) for c in cotangents]
    n = len(point)
    out = _island.bind(
        *point,
        *cotangents,
        function=lambda *values: pull(values[:n], values[n:]),
        pull=lambda point, ways: function(*point, *ways),
        linear=len(cotangents),
        known=_kinds([way.aval for way in args[n:]]),
    )
    return [None] * n + list(out)


def _batched(args: Any, axes: Any, *, function: Function, pull: Any, linear: int, known: Kinds) -> Any:
    args = [_outer(a) for a in args]
    places, n = list(zip(args, axes, strict=True)), len(args) - linear
    size = next(a.shape[at] for a, at in places if at is not None)
    ways = [jnp.broadcast_to(a, (size, *a.shape)) if at is None else jnp.moveaxis(a, at, 0) for a, at in places[n:]]
    axes = (*axes[:n], *(0,) * linear)

    def batched_pull(point: Sequence[Any], given: Sequence[Any]) -> Sequence[Any]:
        return jax.vmap(pull, (list(axes[:n]), 0))(list(point), list(given))

    out = _island.bind(*args[:n], *ways, function=jax.vmap(function, axes), pull=batched_pull, linear=linear, known=None)
    return out, [0] * len(out)


_island.def_impl(_run)
_island.def_abstract_eval(_shapes)
ad.primitive_jvps[_island] = _tangents
ad.primitive_transposes[_island] = _cotangents
batching.primitive_batchers[_island] = _batched
mlir.register_lowering(_island, mlir.lower_fun(_run, multiple_results=True))
