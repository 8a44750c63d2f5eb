"""The vectorised arctangent against that of the C library in extended precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from largen.gaussian.angle import arctan2
from largen.types import island


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_angles_are_right_to_their_last_digits(dtype: str) -> None:
    draws = np.random.RandomState(0)
    sizes = [np.concatenate([draws.rand(50_000), 10.0 ** draws.uniform(-30, 0, 50_000)]).astype(dtype) for _ in range(2)]
    signs = draws.choice([-1, 1], len(sizes[0])).astype(dtype)
    with island(np.zeros((), dtype)):
        got = np.asarray(jax.jit(arctan2)(signs * sizes[0], sizes[1]))
    want = np.arctan2((signs * sizes[0]).astype(np.longdouble), sizes[1].astype(np.longdouble))
    assert got.dtype == dtype
    assert np.abs(got / want - 1).max() < 2 * np.finfo(dtype).eps


def test_edges() -> None:
    with island():
        y, x = jnp.array([0.0, 1.0, -1.0, 0.0, 1.0]), jnp.array([0.0, 0.0, 0.0, 2.0, 1.0])
        np.testing.assert_array_equal(arctan2(y, x), np.arctan2(y, x))


@pytest.mark.parametrize("at", [0, 1])
def test_derivatives(at: int) -> None:
    with island():
        y, x = jnp.array([0.3, -2.0, 1e-9]), jnp.array([1.1, 0.7, 3.0])
        first, second = (jax.grad(f, at) for f in (arctan2, jnp.arctan2))
        np.testing.assert_allclose(jax.vmap(first)(y, x), jax.vmap(second)(y, x), rtol=1e-14)
        np.testing.assert_allclose(jax.vmap(jax.grad(first, at))(y, x), jax.vmap(jax.grad(second, at))(y, x), rtol=1e-14)
