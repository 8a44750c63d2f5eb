"""From lazy to rich: real networks move by the powers of gamma that theory says."""

from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 6)).astype(np.float32)
X /= np.sqrt((X**2).mean(1, keepdims=True))
Y = np.sign(X[:, 0])
NET = lg.mlp([128, 128], 1, "tanh", C_W=1.2)


def test_lazy_networks_move_as_gamma_and_their_kernels_as_its_square() -> None:
    found = lg.scaling.richness_sweep(NET, X, Y, (2.0, 1 / 16, 1 / 32), networks=96, steps=60)
    assert found.gammas.tolist() == [1 / 32, 1 / 16, 2.0]
    for name, wrong in (("moves", 2.0), ("kernels", 1.0)):
        power, se = found.powers[name][0], found.powers_se[name][0]
        assert abs(power - found.predicted[name]) < max(4 * se, 0.05), name
        assert abs(power - wrong) > 4 * se, name
    assert found.kernels[-1] > 0.5 > 0.01 > found.kernels[0]
    assert (found.loss < 0.1).all()


def test_centred_outputs_start_at_zero_and_follow_the_kernel_of_the_start() -> None:
    """The lazy network is its own linearisation: f_t - f_0 = (1 - exp) y by its kernel, however large f_0 is."""
    p = lg.Parametrization.richness(2, 0.5, gamma=1e-3)
    x = X.astype(np.float64)
    params = lg.init(NET, 6, jax.random.key(1), dtype=np.float64, parametrization=p)
    theta = lg.empirical_ntk(NET, params, x, full=False, parametrization=p)
    eta = 0.5 * lg.max_learning_rate(theta)
    assert np.abs(lg.apply(NET, params, x, parametrization=p)).max() > 10
    _, history = lg.train(NET, params, x, Y, eta, 30, parametrization=p, centred=True, record=(x, [0, 30]))
    start, end = np.asarray(history.outputs)[..., 0]
    assert not start.any()
    lazy = Y - np.linalg.matrix_power(np.eye(8) - eta * theta, 30) @ Y
    assert np.abs(end - lazy).max() < 5e-3 * np.abs(lazy).max()


def test_the_kernel_under_a_parametrization_is_that_of_its_steps() -> None:
    """f_1 - f_0 = -eta Theta (f_0 - y) to first order."""
    p, x, eta = lg.Parametrization.mup(2, gauge="unit readout"), X.astype(np.float64), 1e-6
    params = lg.init(NET, 6, jax.random.key(2), dtype=np.float64, parametrization=p)
    theta = np.asarray(lg.empirical_ntk(NET, params, x, full=False, parametrization=p))
    _, history = lg.train(NET, params, x, Y, eta, 1, parametrization=p, record=(x, [0, 1]))
    before, after = np.asarray(history.outputs)[..., 0]
    assert after - before == pytest.approx(-eta * theta @ (before - Y), rel=1e-4)
    with pytest.raises(InputError, match="sgd or momentum"):
        lg.empirical_ntk(NET, params, x, parametrization=lg.Parametrization.mup(2, optimizer="adam"))
    with pytest.raises(InputError, match="one of them"):
        lg.empirical_ntk(NET, params, x, rates=(1.0, 1.0), parametrization=p)


@pytest.mark.parametrize("gammas", [[], [0.0, 1.0], [-1.0], [1.0, 1.0], [float("nan")], "rich", [[0.1, None]]])
def test_gammas_that_are_none(gammas: Any) -> None:
    with pytest.raises(InputError, match="gammas"):
        lg.scaling.richness_sweep(NET, X, Y, gammas)
