"""Covariances are positive semidefinite to rounding, variances never below 0, and what is made of them."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import largen as lg
from largen.errors import AccuracyWarning, InputError, SingularKernelError
from largen.prediction.flow import lifted, nonnegative
from largen.prediction.record import first_order
from largen.prediction.sample import draw

X, X_test, y = np.random.RandomState(0).randn(4, 3), np.random.RandomState(1).randn(5, 3), np.array([1.0, -1.0, 0.5, 0.2])
NET, PAIR = lg.mlp(widths=[8], activation="relu", C_W=2.0), lg.mlp(widths=[8], out=2, activation="erf", C_W=1.5, C_b=0.1)
WAYS = [{"how": "flow"}, {"how": "flow", "time": 0.3}, {"how": "flow", "time": [0.0, 2.0, 1e3]}, {"how": "newton"}, {"how": "bayes"}]
WAYS += [{"how": "descent", "eta": 0.05, "steps": [0, 3, 200]}]


def diabetes():
    from sklearn.datasets import load_diabetes

    rows, target = load_diabetes(return_X_y=True)
    points, aims = lg.standardize(rows[:170]), np.asarray(target)[:150]
    return points, (aims - aims.mean()) / aims.std()


@pytest.mark.parametrize("how", ["flow", "newton", "bayes"])
def test_train_points_have_no_variance_at_the_end(how):
    points, aims = diabetes()
    net = lg.mlp(widths=[64, 64], activation="relu", C_W=2.0, C_b=0.0)
    p = lg.predict(net, points[:150], aims, points, how=how, covariance="full")
    assert np.isfinite(p.std).all() and p.condition.trust == "good"
    assert p.std[:150].max() < 1e-6 and p.std[150:].min() > 0.05
    assert np.linalg.eigvalsh(p.cov).min() > -1e-13
    at_train = np.concatenate([points[:150], points[:150]])  # nothing but train points, twice
    assert lg.predict(net, points[:150], aims, at_train, how=how).std.max() < 1e-6
    drawn = lg.sample(net, points, jax.random.key(0), draws=3, given=(points[:150], aims))  # of a singular posterior
    assert np.isfinite(drawn).all() and abs(drawn[:, :150] - aims).max() < 1e-5


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    way=st.sampled_from(WAYS),
    ridge=st.sampled_from([0.0, 1e-12, 1e-3, 1.0, 1e3, "each"]),
    weights=st.floats(1e-3, 20),
    bias=st.sampled_from([0.0, 1e-3, 1.0]),
    gap=st.sampled_from([1.0, 1e-2, 1e-5]),
    kind=st.sampled_from([np.float64, np.float32]),
    net=st.sampled_from(["relu", "erf"]),
)
def test_covariances_are_positive(seed, way, ridge, weights, bias, gap, kind, net):
    rng = np.random.default_rng(seed)
    train = rng.normal(size=(4, 3)).astype(kind)
    train[3] = train[2] + gap * train[3]
    test = np.concatenate([train, rng.normal(size=(1, 3)).astype(kind)])
    noise = 10.0 ** rng.uniform(-6, 2, size=4) if ridge == "each" else ridge
    try:
        p = lg.predict(lg.mlp(widths=[8], activation=net, C_W=weights, C_b=bias), train, y, test, ridge=noise, covariance="full", **way)
    except SingularKernelError:
        assume(False)
    except InputError as error:
        assert "eta" in str(error)
        assume(False)
    variance = p.cov.diagonal(axis1=-2, axis2=-1)
    assert (variance >= 0).all() and p.std.shape == p.mean.shape and np.isfinite(p.std).all()
    scale = p.initial_variance.max() * (1 if p.condition.trust == "good" else max(1.0, p.condition.error))
    assert np.linalg.eigvalsh(p.cov).min() > -100 * np.finfo(kind).eps * scale


def test_the_posterior_is_that_of_the_plain_formula():
    K = lg.kernel(NET, np.concatenate([X, X_test])).nngp
    for ridge in (0.0, 0.3, np.array([0.1, 0.2, 0.3, 0.4])):
        p = lg.predict(NET, X, y, X_test, how="bayes", ridge=ridge, covariance="full")
        assert np.allclose(p.cov, K[4:, 4:] - K[4:, :4] @ np.linalg.solve(K[:4, :4] + np.diag(ridge * np.ones(4)), K[:4, 4:]), atol=1e-12)


def test_deviations_have_the_shape_of_the_mean():
    two = np.stack([y, -y], 1)
    for net, aims in ((NET, y), (NET, two), (PAIR, two)):
        for way in WAYS:
            p = lg.predict(net, X, aims, X_test, **way)
            assert p.std.shape == p.mean.shape and np.allclose(p.std_observed, p.std)
    column = lg.predict(NET, X, two, X_test).std
    assert (column[:, 0] == column[:, 1]).all() and np.allclose(column[:, 0] ** 2, lg.predict(NET, X, y, X_test).variance)


def test_at_order_one_every_output_has_its_own():
    two = np.stack([y, 0.1 * y], 1)
    p = lg.predict(
        lg.mlp(widths=[512], out=2, activation="relu", C_W=2.0), X, two, X_test, how="bayes", ridge=0.1, order=1, covariance="full"
    )
    assert p.std.shape == p.mean.shape and p.apart and 0 <= p.error < 1e-6
    assert np.allclose(p.std[:, 1] ** 2, p.cov[1].diagonal()) and not np.allclose(p.std[:, 0], p.std[:, 1])
    assert draw(p, jax.random.key(0), 2).shape == (2, *p.mean.shape)
    many = replace(p, mean=np.stack([p.mean] * 3), cov=np.stack([p.cov] * 3), variance=np.stack([p.variance] * 3), time=np.arange(3.0))
    assert many.std.shape == (3, 5, 2) and (many.std[2] == p.std).all()
    assert draw(many, jax.random.key(0), 2).shape == (2, 3, 5, 2)
    one = replace(p, mean=many.mean[..., 0], cov=many.cov[:, 0], variance=many.variance[:, 0], time=many.time)  # one column at three times
    assert not one.apart and (one.std == many.std[..., 0]).all() and draw(one, jax.random.key(0), 2).shape == (2, 3, 5)


def test_noise_is_that_which_was_said():
    p = lg.predict(NET, X, y, X_test, how="bayes", ridge=0.25)
    assert p.noise == 0.25 and np.allclose(p.std_observed**2, p.std**2 + 0.25)
    first = lg.predict(NET, X, y, X_test, how="bayes", ridge=0.25, order=1)
    assert np.allclose(first.std_observed**2, first.std**2 + 0.25)
    for how, ridge, why in (("bayes", np.full(4, 0.1), "each train sample"), ("flow", 0.1, "decay")):
        p = lg.predict(NET, X, y, X_test, how=how, ridge=ridge)
        assert p.noise is None and p.std_observed is None and why in p.missing["std_observed"] and p.std is not None
    one = lg.predict(NET, X, y, X_test, params=lg.init(NET, 3, jax.random.key(0), dtype="float64"), time=1.0)
    assert one.std is None and one.std_observed is None and {"cov", "std", "std_observed", "noise"} <= set(one.missing)


def test_the_kernels_error_is_carried_and_trusted_no_further_than_it_goes():
    assert lg.predict(NET, X, y, X_test).error == 0
    rough = lg.activation(lambda z: abs(z) ** 1.5)  # a kink that is not declared
    net = lg.mlp(widths=[8], activation=rough)
    near = np.concatenate([X, X[:1] + 1e-2])
    with pytest.warns(AccuracyWarning):
        found = lg.kernel(net, np.concatenate([near, X_test]))
        p = lg.predict(net, near, np.append(y, 1.0), X_test, how="bayes")
    assert 1e-6 < p.error <= (1 + 1e-9) * found.error and p.condition.error < 1e-3
    assert "the kernel's own error" in p.condition.trust and "kinks" in p.condition.trust


def test_variances_below_zero():
    cov = np.array([[1.0, 0.0], [0.0, -1e-15]])
    assert lifted(cov, 1e-12).diagonal().tolist() == [1, 0] == nonnegative(cov.diagonal(), 1e-12).tolist()
    with pytest.raises(InputError, match="covariance"):
        nonnegative(cov.diagonal() - 1e-3, 1e-12)
    kept, missing = first_order(cov - np.eye(2) * 1e-3, np.ones(2), 1e-12)  # an expansion may be negative: it says so
    assert np.array_equal(kept, cov - np.eye(2) * 1e-3) and "broken down" in missing["std"]
    assert first_order(cov, np.ones(2), 1e-12)[1] == {}


@pytest.mark.parametrize("way", WAYS)
def test_the_diagonal_alone_is_that_of_the_whole(way: dict) -> None:
    two = np.stack([y, -y], 1)
    for net, aims in ((NET, y), (PAIR, two)):
        full, diagonal, mean = (lg.predict(net, X, aims, X_test, covariance=c, **way) for c in ("full", "diagonal", None))
        assert np.allclose(full.cov.diagonal(axis1=-2, axis2=-1), diagonal.variance, rtol=0, atol=1e-14) and (diagonal.variance >= 0).all()
        assert np.array_equal(diagonal.mean, full.mean) and np.array_equal(mean.mean, full.mean)
        assert np.allclose(diagonal.initial_variance, full.initial_variance, rtol=0, atol=1e-14)
        assert diagonal.cov is None and "full" in diagonal.missing["cov"]
        assert mean.std is None and mean.std_observed is None and {"cov", "variance", "initial_variance", "std"} <= set(mean.missing)


def test_a_point_without_variance_has_none() -> None:
    net = lg.mlp(widths=[8], activation="tanh")  # no biases
    for way in WAYS:
        p = lg.predict(net, X, y, np.zeros((1, X.shape[1])), **way)
        assert p.variance.ravel().tolist() == [0.0] * p.variance.size and not p.mean.any()


def test_no_matrix_of_test_points_is_made() -> None:
    many = np.random.default_rng(0).normal(size=(100_000, X.shape[1]))  # of which a covariance would take 80 GB
    p = lg.predict(lg.mlp(widths=[8], activation="relu", C_W=2.0), X, y, many)
    assert p.std.shape == (100_000,) and np.isfinite(p.std).all()
    with pytest.raises(InputError, match="covariance"):
        lg.predict(NET, X, y, X_test, covariance="all")


def test_variances_of_pooled_images() -> None:
    images = np.random.default_rng(0).normal(size=(7, 4, 4, 2))
    net = lg.cnn([4, 4], out=1, activation="relu", C_W=2.0, pool=True)
    full, diagonal = (lg.predict(net, images[:4], y, images[4:], covariance=c) for c in ("full", "diagonal"))
    assert np.allclose(full.variance, diagonal.variance, rtol=0, atol=1e-12) and diagonal.variance.min() > 1e-3
