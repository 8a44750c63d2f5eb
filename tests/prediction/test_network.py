"""lg.predict with params=: one given network, against explicit training of its linearisation and of the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import largen as lg
from largen.errors import InputError, SingularKernelError
from largen.networks.empirical import empirical_ntk
from largen.networks.outputs import apply
from largen.networks.parameters import init
from largen.networks.training import train
from largen.prediction import draw

NET = lg.mlp(widths=[40, 30], out=2, activation="tanh", C_W=1.5, C_b=0.1)
RATES = ((0.3, 0.2, 0.1), (1.0, 0.8, 0.6))
FAN_IN = (3, 40, 30)
rng = np.random.default_rng(0)
X, X_TEST, Y = rng.normal(size=(4, 3)), rng.normal(size=(3, 3)), rng.normal(size=(4, 2))
PARAMS = init(NET, 3, jax.random.key(0), dtype=np.float64)


def linearised():
    """z(0) and the Jacobian of all outputs by plain automatic differentiation, and the learning rate of every parameter."""
    rates = {
        path: {"W": np.full(p["W"].shape, lw / fan), "b": np.full(p["b"].shape, lb)}
        for (path, p), lb, lw, fan in zip(PARAMS.items(), *RATES, FAN_IN, strict=True)
    }
    both = np.concatenate([X, X_TEST])
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(PARAMS)
        jacobian = jax.jacrev(lambda p: jnp.ravel(apply(NET, unravel(p), both)))(flat)
        return np.asarray(apply(NET, PARAMS, both)), np.asarray(jacobian), np.asarray(ravel_pytree(rates)[0])


def loop(eta, steps, ridge=0.0):
    """Outputs on the test points after descent in parameters, each train sample with an offset at rate ridge."""
    z0, J, rates = linearised()
    A, start = J[:8], z0[:4].ravel()
    spread = np.repeat(np.broadcast_to(ridge, (4,)), 2)
    moved, offset = np.zeros(len(rates)), np.zeros(8)
    for _ in range(steps):
        residual = start + A @ moved + offset - Y.ravel()
        moved, offset = moved - eta * rates * (A.T @ residual), offset - eta * spread * residual
    return (z0[4:].ravel() + J[8:] @ moved).reshape(3, 2)


@pytest.mark.slow
@pytest.mark.parametrize("ridge", [0.0, np.array([0.1, 0.0, 0.4, 0.2])], ids=["none", "per-sample"])
def test_one_network_is_its_linearisation_trained_by_descent(ridge):
    p = lg.predict(NET, X, Y, X_TEST, rates=RATES, how="descent", eta=0.05, steps=[0, 3, 200], ridge=ridge, params=PARAMS)
    assert p.mean.shape == (3, 3, 2) and p.mean.dtype == np.float64 and isinstance(p.mean, np.ndarray)
    assert np.allclose(p.mean[0], apply(NET, PARAMS, X_TEST), atol=1e-14)
    assert np.allclose(p.mean[1], loop(0.05, 3, ridge), atol=1e-12)
    assert np.allclose(p.mean[2], loop(0.05, 200, ridge), atol=1e-12)


def test_flow_is_descent_by_small_steps():
    p = lg.predict(NET, X, Y, X_TEST, rates=RATES, time=2.0, params=PARAMS)
    coarse, fine = loop(2e-3, 1000), loop(1e-3, 2000)
    assert np.allclose(p.mean, 2 * fine - coarse, atol=1e-5)  # Richardson: the error of one step is of first order


def test_it_has_no_covariance_and_never_asks_theory(monkeypatch):
    monkeypatch.setattr("largen.theory.kernels.kernel", None)
    p = lg.predict(NET, X, Y, X, params=PARAMS)
    assert np.allclose(p.mean, Y, atol=1e-10) and p.cov is None and p.initial_variance is None
    assert "one network has no spread" in p.missing["cov"]
    with pytest.raises(InputError, match="one network has no spread over initialisations"):
        draw(p, jax.random.key(0))


@pytest.mark.slow
def test_descent_diverges_where_max_learning_rate_says():
    edge = lg.max_learning_rate(empirical_ntk(NET, PARAMS, X, rates=RATES))
    assert np.abs(loop(0.99 * edge, 2000)).max() < 1e2 < 1e6 < np.abs(loop(1.05 * edge, 2000)).max()
    with pytest.raises(InputError, match=r"`eta`"):
        lg.predict(NET, X, Y, X_TEST, rates=RATES, how="descent", eta=1.05 * edge, steps=3, params=PARAMS)


@pytest.mark.slow
def test_a_wide_network_in_training_stays_close():
    """The real network leaves its linearisation at order 1/sqrt(width) for one network: the gap falls with the width."""
    gaps = []
    for width in (64, 1024):
        net = lg.mlp(widths=[width], out=1, activation="tanh", C_W=1.5, C_b=0.1)
        params = init(net, 3, jax.random.key(1), dtype=np.float64)
        p = lg.predict(net, X, Y[:, 0], X_TEST, how="descent", eta=0.1, steps=30, params=params)
        real = np.asarray(apply(net, train(net, params, X, Y[:, :1], eta=0.1, steps=30)[0], X_TEST))[:, 0]
        gaps.append(np.abs(real - p.mean).max() / np.abs(p.mean - np.asarray(apply(net, params, X_TEST))[:, 0]).max())
    assert gaps[1] < 0.03 and gaps[1] < gaps[0] / 2


@pytest.mark.slow
def test_singular_and_bad_input():
    again = np.concatenate([X, X[1:2]])
    with pytest.raises(SingularKernelError, match="Points 1 and 4 are the same"):
        lg.predict(NET, again, np.ones((5, 2)), X_TEST, params=PARAMS)
    with pytest.raises(InputError, match=r"`y`: got shape \(4,\); needed one column per output of the network \(2\)"):
        lg.predict(NET, X, Y[:, 0], X_TEST, params=PARAMS)
    with pytest.raises(InputError, match="params"):
        lg.predict(NET, X, Y, X_TEST, params={"dense1": 3})
    single = jax.tree_util.tree_map(lambda a: np.asarray(a, np.float32), PARAMS)
    assert lg.predict(NET, X, Y, X_TEST, time=1.0, params=single).mean.dtype == np.float32
