"""Both factorisations of a kernel answer alike, and as the dense formulas do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from largen.prediction.factored import Factored, ridged, root
from largen.prediction.spectrum import factor
from largen.types import island

FACTORS: dict[str, Any] = {"eigenvectors": factor, "Cholesky": root}


@pytest.mark.parametrize("name", FACTORS)
@given(n=st.integers(1, 8), k=st.integers(1, 3), each=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_both_are_the_dense_formulas(name: str, n: int, k: int, each: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    half, B = rng.normal(size=(n, n)), rng.normal(size=(n, k))
    K, ridge = half @ half.T, rng.uniform(0.5, 1, n) if each else 0.7
    A = K + np.diag(np.broadcast_to(ridge, (n,)))
    np.testing.assert_array_equal(ridged(K, ridge), A)
    with island():
        f: Factored = FACTORS[name](K, ridge)
        found = [np.asarray(v) for v in (f.solve(B), f.inverse(), f.quadratic(B), f.logdet())]
    wanted = np.linalg.solve(A, B), np.linalg.inv(A), (B * np.linalg.solve(A, B)).sum(), np.linalg.slogdet(A)[1]
    for got, true in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, true, rtol=1e-9, atol=1e-9 * max(1, np.abs(true).max()))


def test_derivatives_of_the_cholesky_factor_exist_at_repeated_eigenvalues() -> None:
    def log_density(K: Any) -> Any:
        f = root(K, 0.5)
        return f.quadratic(jnp.ones((3, 1))) + f.logdet()

    with island():
        slope = jax.grad(log_density)(jnp.eye(3))
    inverse = np.eye(3) / 1.5
    np.testing.assert_allclose(slope, inverse - inverse @ np.ones((3, 3)) @ inverse, atol=1e-12)
