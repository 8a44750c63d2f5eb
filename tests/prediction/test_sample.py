"""Functions from the prior, the posterior and any prediction."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen as lg
from largen.errors import InputError
from largen.prediction import draw
from largen.prediction.sample import root

NET = lg.mlp(widths=[64], out=2, activation="relu", C_W=1.5, C_b=0.1)
X = np.random.default_rng(0).normal(size=(5, 3))
KEY = jax.random.key(7)


def moments(draws):
    """Mean and covariance over draws, and their standard errors' scale."""
    centred = draws - draws.mean(0)
    return draws.mean(0), np.einsum("dm,dk->mk", centred, centred) / (len(draws) - 1)


def test_prior_draws_have_the_covariance_of_the_kernel():
    K, count = lg.kernel(NET, X).nngp, 20000
    draws = lg.sample(NET, X, KEY, draws=count)
    assert draws.shape == (count, 5, 2) and draws.dtype == np.float64 and isinstance(draws, np.ndarray)
    spread = np.sqrt((np.outer(K.diagonal(), K.diagonal()) + K**2) / count)
    for output in range(2):
        mean, cov = moments(draws[..., output])
        assert (np.abs(mean) < 5 * np.sqrt(K.diagonal() / count)).all() and (np.abs(cov - K) < 5 * spread).all()
    assert np.abs(np.einsum("dm,dk->mk", draws[..., 0], draws[..., 1]) / count).max() < 5 * spread.max()


def test_posterior_draws_have_the_moments_of_the_prediction():
    y, ridge, count = np.array([1.0, -1.0, 0.5]), np.array([0.1, 0.2, 0.3]), 20000
    p = lg.predict(NET, X[:3], y, X, how="bayes", ridge=ridge, covariance="full")
    draws = lg.sample(NET, X, KEY, draws=count, given=(X[:3], y), ridge=ridge)
    assert draws.shape == (count, 5)
    mean, cov = moments(draws)
    assert (np.abs(mean - p.mean) < 5 * np.sqrt(p.cov.diagonal() / count)).all()
    assert (np.abs(cov - p.cov) < 5 * np.sqrt((np.outer(p.cov.diagonal(), p.cov.diagonal()) + p.cov**2) / count)).all()


def test_posterior_draws_pass_through_the_data_and_keep_the_columns_of_y():
    y = np.random.default_rng(1).normal(size=(3, 2))
    draws = lg.sample(NET, X, KEY, draws=4, given=(X[:3], y))
    assert draws.shape == (4, 5, 2) and np.allclose(draws[:, :3], y, atol=1e-6) and draws[:, 3:].std(0).min() > 1e-3


def test_draws_of_a_prediction_at_many_times():
    p = lg.predict(NET, X[:3], np.ones(3), X, time=[0.0, 1.0, np.inf], covariance="full")
    draws = draw(p, KEY, 6)
    assert draws.shape == (6, 3, 5) and np.allclose(draws[:, 2, :3], 1, atol=1e-6)
    assert np.array_equal(draws, draw(p, KEY, 6)) and not np.allclose(draws, draw(p, jax.random.key(8), 6))


def test_repeated_points_get_one_value():
    """A kernel of deficient rank has a root all the same."""
    draws = lg.sample(NET, np.concatenate([X, X]), KEY, draws=3)
    assert np.allclose(draws[:, :5], draws[:, 5:], atol=1e-6)


@pytest.mark.slow
def test_float32_and_jax_stay_what_they_are():
    assert lg.sample(NET, X.astype(np.float32), KEY).dtype == lg.sample(NET, X.astype(np.float16), KEY).dtype == np.float32
    assert isinstance(lg.sample(NET, jax.numpy.asarray(X[:3]), KEY, given=(X[3:], np.ones(2))), jax.Array)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(0, 8))
def test_the_root_squares_to_the_covariance_and_permutes_with_the_points(seed, size, rank):
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(size, rank))
    cov, order = phi @ phi.T, rng.permutation(size)
    half = root(cov)
    assert np.allclose(half @ half, cov, atol=1e-10 * max(1, rank)) and np.allclose(half, half.T, atol=1e-10)
    assert np.allclose(root(cov[np.ix_(order, order)]), half[np.ix_(order, order)], atol=1e-5)


def test_bad_input():
    for arguments, told in (
        ({"key": 3}, r"`key`: got 3; needed one JAX random key. Call jax.random.key\(0\)"),
        ({"draws": 0}, "`draws`: got 0; needed an integer >= 1"),
        ({"X": X[0]}, "`X`"),
        ({"given": X}, r"`given`: got a ndarray; needed a pair \(X_train, y\)"),
        ({"given": (X[:, :2], np.ones(5))}, r"`given\[0\] \(X_train\)`: got 2 columns; needed 3"),
        ({"given": (X, [1, 0, 1, 0, 1])}, "integer labels"),
    ):
        with pytest.raises(InputError, match=told):
            lg.sample(**{"net": NET, "key": KEY, "X": X, **arguments})
    with pytest.raises(InputError, match=r"`cov`: got a matrix with eigenvalue -1"):
        root(np.diag([1.0, -1.0]))
