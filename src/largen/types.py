"""Array types, and the float64 island: computing in float64 whatever JAX's global flag says.

The rule for every function that takes arrays: numpy in, numpy out; JAX in, JAX out; the dtype given is the dtype returned.
A float64 numpy array therefore stays float64 with JAX's x64 flag off: the work is done inside `island` and the result handed
back as numpy, because arithmetic on a float64 JAX array outside the island would silently fall back to float32.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Array = jax.Array | np.ndarray
Params = dict[str, dict[str, jax.Array]]  # {path: {"W": (fan_in, fan_out), "b": (fan_out,)}}
P = ParamSpec("P")
T = TypeVar("T")


def leaves(values: Any) -> list[Any]:
    """The leaves of a pytree; none of what has no end, such as a list that holds itself."""
    try:
        return jax.tree_util.tree_leaves(values)
    except (RecursionError, SystemError):  # JAX's flattening reports it as either
        return []


def is_traced(*values: Any) -> bool:
    """Whether any leaf of the values is a JAX tracer (so that its entries cannot be looked at)."""
    return any(isinstance(leaf, Tracer) for leaf in leaves(values))


def namespace(*arrays: Any) -> Any:
    """`jax.numpy` if any of the arrays is a JAX array (or traced), else `numpy`: numpy in, numpy out."""
    return jnp if any(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(arrays)) else np


def numbers(values: T, dtype: Any) -> T:
    """The pytree with leaves that are arrays of a dtype, of JAX where they are so already (or traced), else of NumPy."""
    return jax.tree_util.tree_map(lambda leaf: namespace(leaf).asarray(leaf, dtype), values)


def wants_float64(*values: Any) -> bool:
    """Whether any leaf of the values is an array of dtype float64."""
    return any(getattr(leaf, "dtype", None) == np.float64 for leaf in leaves(values))


def island(*values: Any) -> AbstractContextManager[Any]:
    """A context in which JAX computes in float64 if any of the values is float64 (or when called without values), and in float32 if none
    is, whatever the flag: so Python's numbers, of no type of their own, never decide."""
    return jax.enable_x64(not values or wants_float64(*values))


def hand_back(result: T, *inputs: Any) -> T:
    """The pytree `result` with NumPy leaves if no input is a JAX array (numpy in, numpy out), with JAX arrays otherwise."""
    if is_traced(result):
        return result
    given = any(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(inputs))
    return jax.tree_util.tree_map(jnp.asarray if given else np.asarray, result)


def float64(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: the whole function runs in the float64 island."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with island():
            return function(*args, **kwargs)

    return inside
