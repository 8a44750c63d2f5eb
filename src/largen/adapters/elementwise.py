"""Elementwise functions of JAX programs: evaluated as functions of a number, and named by what they do."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import activation as as_activation

NAMES = (
    "linear",
    "relu",
    "tanh",
    "gelu",
    "gelu_tanh",
    "swish",
    "sigmoid",
    "softplus",
    "elu",
    "selu",
    "mish",
    "softsign",
    "hardtanh",
    "sin",
    "cos",
)
NAMES += ("abs", "arctan", "erf", "exp", "sign", "quadratic")
BENT = "an elementwise function that is none of those with a name"
GRID = np.concatenate([np.linspace(-4, 4, 41), [-0.01, 0.013]])
_NAMED: dict[int, tuple[Any, str, float]] = {}


def evaluated(equation: Any, values: Sequence[Any]) -> Any:
    """An elementwise operation on numbers, whatever shapes and precision the program has."""
    name, params = equation.primitive.name, equation.params
    with jax.enable_x64(True):
        logical = name in ("and", "or", "not", "xor")
        floats = [jnp.asarray(value, jnp.bool_ if logical else jnp.float64) for value in values]
        if name == "select_n":
            which, *cases = floats
            return jnp.where(which.astype(bool), cases[1], cases[0])
        shape = np.broadcast_shapes(*(value.shape for value in floats))
        return equation.primitive.bind(*(jnp.broadcast_to(value, shape) for value in floats), **params)


def named(apply: Callable[[Any], Any], key: int, tolerance: float) -> tuple[Any, str, float]:
    """An elementwise function as (kind, label, factor) of a node: nothing at all, a factor, an activation, or unknown. `key` is the same
    for the same function, which is evaluated once."""
    if key not in _NAMED:
        _NAMED[key] = _function(apply, tolerance)
    return _NAMED[key]


def _function(apply: Callable[[Any], Any], tolerance: float) -> tuple[Any, str, float]:
    """An elementwise function as (kind, label, factor): nothing at all, a factor, an activation, or unknown."""
    with jax.enable_x64(True):
        got = np.asarray(jax.jit(lambda z: jnp.asarray(apply(z), jnp.float64))(GRID))
    if np.array_equal(got, GRID):
        return "same", "", 1.0
    size = float(np.abs(got).max())
    factor = float(got[-1] / GRID[-1])
    if size and np.allclose(got, factor * GRID, atol=1e-6 * size, rtol=0):
        return "scale", "", float(np.round(factor, 6)) if abs(abs(factor) - 1) < 1e-6 else factor
    errors = {name: float(np.abs(got - known).max()) for name, known in _known().items()}
    name = min(errors, key=errors.__getitem__)
    if errors[name] < tolerance * max(1.0, size):
        return "activation", name, 1.0
    slope = float(got[0] / GRID[0])
    if np.allclose(got, np.where(GRID > 0, GRID, slope * GRID), atol=1e-6, rtol=0):
        return "activation", f"leaky_relu({float(f'{slope:.6g}')!r})", 1.0
    return "unknown", BENT, 1.0


@cache
def _known() -> dict[str, np.ndarray]:
    with jax.enable_x64(True):
        return {name: np.asarray(one) for name, one in jax.jit(lambda z: {name: as_activation(name)(z) for name in NAMES})(GRID).items()}
