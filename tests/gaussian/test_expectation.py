"""The general expectation of one and two functions: closed values, batches, errors, bad input."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from largen.errors import InputError, UnsupportedError
from largen.gaussian.expectation import expectation


@pytest.mark.slow
def test_two_different_functions():
    """E sin(z1) z2 = k exp(-q1/2) (Stein) and E[relu(z1) sign(z2)] for a batch; duplicates included."""
    K = np.array([[[1.0, 0.3], [0.3, 2.0]], [[4.0, -1.0], [-1.0, 0.5]], [[1.0, 1.0], [1.0, 1.0]]])
    q1, q2, k = K[:, 0, 0], K[:, 1, 1], K[:, 0, 1]
    smooth = expectation([jnp.sin, lambda z: z], K)
    np.testing.assert_allclose(smooth.value, k * np.exp(-q1 / 2), atol=1e-12)
    assert smooth.error < 1e-10 and smooth.value.dtype == np.float64
    kinked = expectation([lambda z: jnp.maximum(z, 0), jnp.sign], K, kinks=(0.0,))
    np.testing.assert_allclose(kinked.value, k / np.sqrt(2 * np.pi * q2), atol=1e-10)  # E z1 sign(z2)/2; |z1| sign(z2) averages to 0
    assert kinked.error < 1e-7


def test_one_function():
    K = np.array([[[0.5]], [[3.0]]])
    np.testing.assert_allclose(expectation([jnp.cos], K).value, np.exp(-K[:, 0, 0] / 2), rtol=1e-13)
    np.testing.assert_allclose(expectation([jnp.abs], K, kinks=[0.0]).value, np.sqrt(2 * K[:, 0, 0] / np.pi), rtol=1e-11)
    assert expectation([jnp.abs], K).error > 1e-6  # the undeclared kink shows
    assert expectation([jnp.cos], jnp.asarray(K, jnp.float32)).value.dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize("p", [10, 20, 30])
def test_steep_functions_keep_their_mass(p):
    """E max(z, 0)^p = (p - 1)!!/2 for even p at variance 1, by a rule that reaches as far as that; of independent ones the product."""

    def f(z):
        return jnp.maximum(z, 0) ** p

    right = math.prod(range(1, p, 2)) / 2
    for functions, K, want in (([f], np.eye(1), right), ([f, f], np.eye(2), right**2)):
        found = expectation(functions, K, kinks=(0.0,))
        error = abs(found.value - want)
        assert error < 1e-9 * want and error / 3 <= found.error < 1e-7 * want


def test_mass_that_a_rule_does_not_reach_is_in_its_error():
    """exp(13 z) has its mass at z = 13, within 16, and exp(17 z) has not."""
    for rate, kept in ((5.0, True), (13.0, False), (17.0, False)):
        found, right = expectation([lambda z, rate=rate: jnp.exp(rate * z)], np.eye(1)), math.exp(rate * rate / 2)
        error = abs(found.value - right)
        assert error / 3 <= found.error and (found.error < 1e-9 * right) == kept
    assert found.error == np.inf


def test_bad_input():
    with pytest.raises(UnsupportedError, match="only one and two inputs"):
        expectation([jnp.sin] * 3, np.eye(3))
    for K, message in (
        ([[1.0, 2.0], [2.0, 1.0]], "eigenvalue -1"),
        (np.eye(3), r"shape \(3, 3\)"),
        ([[1.0, 0.5], [0.0, 1.0]], "symmetric"),
    ):
        with pytest.raises(InputError, match=message):
            expectation([jnp.sin, jnp.sin], K)
