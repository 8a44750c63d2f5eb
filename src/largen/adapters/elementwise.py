"""Elementwise functions of JAX programs: evaluated as functions of a number, and named by what they do."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import activation as as_activation

Step: TypeAlias = tuple[Any, str, float]  # kind, label and factor of a node
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
GRID = np.concatenate([np.linspace(-4, 4, 41), [-0.01, 0.013, -12, -8, 8, 12]])
_NAMED: dict[int, tuple[Step, ...]] = {}


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


def named(apply: Callable[[Any], Any], key: int, inner: Sequence[float], tolerance: float) -> tuple[Step, ...]:
    """An elementwise function as what it does one after the other: nothing at all, factors, one activation, or unknown. `key` is the same
    for the same function, which is evaluated once; `inner`: the factors that its argument may have."""
    if key not in _NAMED:
        _NAMED[key] = _steps(apply, inner, tolerance)
    return _NAMED[key]


def _steps(apply: Callable[[Any], Any], inner: Sequence[float], tolerance: float) -> tuple[Step, ...]:
    with jax.enable_x64(True):
        got, *stretched = np.asarray(jax.jit(lambda z: jnp.asarray(apply(z), jnp.float64))(np.stack([GRID, *(GRID / c for c in inner)])))
    if np.array_equal(got, GRID):
        return ()
    size, factor = float(np.abs(got).max()), float(got[-1] / GRID[-1])
    if size and np.allclose(got, factor * GRID, atol=1e-6 * size, rtol=0):
        return (("scale", "", float(np.round(factor, 6)) if abs(abs(factor) - 1) < 1e-6 else factor),)
    ways = [((), got), *(((("scale", "", c),), values) for c, values in zip(inner, stretched, strict=True))]
    for before, values in ways:
        name = _name(values, tolerance)
        if name:
            return (*before, ("activation", name, 1.0))
    for before, values in ways:  # a factor behind: every name's own, at z = 1.4
        for outer in dict.fromkeys(float(f"{values[27] / known[27]:.6g}") for known in _known().values()):
            name = _name(values / outer, tolerance) if outer else ""
            if name:
                return (*before, ("activation", name, 1.0), ("scale", "", outer))
    return (("unknown", BENT, 1.0),)


def _name(values: np.ndarray, tolerance: float) -> str:
    errors = {name: float((np.abs(values - known) / (1 + np.abs(known))).max()) for name, known in _known().items()}
    name = min(errors, key=errors.__getitem__)
    if errors[name] < tolerance:
        return name
    slope = float(values[0] / GRID[0])
    leaky = np.allclose(values, np.where(GRID > 0, GRID, slope * GRID), atol=1e-5, rtol=0)
    return f"leaky_relu({float(f'{slope:.6g}')!r})" if leaky else ""


@cache
def _known() -> dict[str, np.ndarray]:
    with jax.enable_x64(True):
        return {name: np.asarray(one) for name, one in jax.jit(lambda z: {name: as_activation(name)(z) for name in NAMES})(GRID).items()}
