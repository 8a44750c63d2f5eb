"""Real residual and normalised networks: values by hand, three witnesses of the NTK, training, ensembles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from witnesses import forward_equation, jacobian_ntk

import largen as lg
from largen.errors import InputError

pytestmark = pytest.mark.slow

KEY = jax.random.key(3)
RNG = np.random.default_rng(3)
X, X2 = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3))
X2[0], X2[1] = 2 * X[0], X[1]
NETS = {
    "residual": lg.resnet_mlp(6, blocks=2, out=3, activation="tanh", skip=0.7, C_W=1.5, C_b=0.2),
    "normalised": lg.resnet_mlp(6, blocks=1, out=3, activation="tanh", C_b=0.2, norm=True),
    "nested": lg.Dense(5, C_b=0.3)
    >> lg.Sum(
        lg.Act("relu") >> lg.Dense(4),
        lg.Sum(lg.Identity(), lg.LayerNorm(eps=0.1) >> lg.Dense(5), weights=(0.5, -1)) >> lg.Dense(4, C_b=0.1),
        weights=(1, -2),
    )
    >> lg.Dense(3),
}


def same(got: Any, want: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max(), rtol=0)


def test_values_by_hand() -> None:
    net = NETS["normalised"]
    params: Any = jax.tree_util.tree_map(np.asarray, lg.init(net, 3, KEY, dtype=np.float64))
    assert set(params) == {"dense1", "sum1/2/dense1", "dense2"}
    z = lg.measure.preactivations(net, params, X)
    assert list(z) == ["dense1", "sum1", "dense2"]

    def bent(v: Any) -> Any:
        u = (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-12)
        return np.tanh(u)

    same(z["sum1"], z["dense1"] + bent(z["dense1"]) @ params["sum1/2/dense1"]["W"] + params["sum1/2/dense1"]["b"])
    same(z["dense2"], bent(z["sum1"]) @ params["dense2"]["W"] + params["dense2"]["b"])
    same(lg.apply(net, params, X), z["dense2"])


def test_layers_come_first_to_last_at_any_depth() -> None:
    net = lg.mlp(widths=[3] * 11)
    names = [f"dense{i}" for i in range(1, 13)]
    assert list(lg.measure.preactivations(net, lg.init(net, 3, KEY), X)) == names
    assert list(lg.each(lg.measure.preactivations, net, lg.init(net, 3, KEY, networks=2), X)) == names
    assert list(forward_equation(net, lg.init(net, 3, KEY), X)) == names


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("second", [None, X2], ids=["X", "X2"])
def test_three_witnesses_agree(name: str, second: Any) -> None:
    net = NETS[name]
    params = lg.init(net, 3, KEY, dtype=np.float64)
    layers = len(params)
    for rates in ("ntk", (list(np.linspace(0, 1, layers)), list(np.linspace(2, 0.5, layers)))):  # traced: compiled once
        theta = lg.empirical_ntk(net, params, X, second, rates=rates)
        same(theta, jacobian_ntk(net, params, X, second, rates=rates))
        *_, last = forward_equation(net, params, X, second, rates=rates).values()
        same(theta, last)


def test_every_level_of_the_forward_equation_is_the_ntk_of_the_network_cut_there() -> None:
    net = NETS["residual"]
    params = lg.init(net, 3, KEY, dtype=np.float64)
    cut = lg.Serial(net.nodes[:2])
    some = {path: params[path] for path in ("dense1", "sum1/2/dense1")}
    same(forward_equation(net, params, X)["sum1"], lg.empirical_ntk(cut, some, X))


@pytest.mark.parametrize("name", NETS)
def test_one_step_of_training_moves_outputs_by_the_ntk(name: str) -> None:
    net = NETS[name]
    params, y, eta = lg.init(net, 3, KEY, dtype=np.float64), RNG.normal(size=(4, 3)), 1e-6
    trained, _ = lg.train(net, params, X, y, eta, 1)
    z = np.asarray(lg.apply(net, params, X))
    moved = (np.asarray(lg.apply(net, trained, X)) - z) / eta
    same(moved, -np.einsum("acij,cj->ai", lg.empirical_ntk(net, params, X), z - y), 1e-4)


def test_ensembles_and_transforms() -> None:
    net = NETS["normalised"]
    params = lg.init(net, 3, KEY, networks=3)
    one = jax.tree_util.tree_map(lambda p: p[1], params)
    x = X.astype(np.float32)
    np.testing.assert_allclose(lg.each(lg.apply, net, params, x)[1], lg.apply(net, one, x), rtol=1e-5, atol=1e-5)
    theta = lg.empirical_ntk(net, one, x)
    assert theta.dtype == np.float32
    np.testing.assert_allclose(lg.each(lg.empirical_ntk, net, params, x, chunk=2)[1], theta, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.jit(lambda p: lg.empirical_ntk(net, p, jnp.asarray(x)))(one), theta, rtol=1e-4, atol=1e-4)


def test_layer_norm_of_equal_units_is_zero() -> None:
    net = lg.Dense(4, C_W=0.0) >> lg.LayerNorm() >> lg.Dense(2)
    assert not np.asarray(lg.apply(net, lg.init(net, 3, KEY), X)).any()


def test_a_sum_whose_widths_clash_with_the_inputs() -> None:
    net = lg.Sum(lg.Identity(), lg.Dense(5)) >> lg.Dense(1)
    assert lg.apply(net, lg.init(net, 5, KEY), np.ones((2, 5))).shape == (2, 1)
    with pytest.raises(InputError, match=r"shapes \(3,\) and \(5,\)"):
        lg.init(net, 3, KEY)
