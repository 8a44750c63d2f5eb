"""The table: numbers of every parameter array by hand, and that drawing, training and other people's models take theirs from it."""

import math

import jax
import numpy as np
import pytest

import largen as lg
from largen.adapters.initialisation import stds
from largen.architecture.nodes import network
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import parameter, rate_tensor, table

NET = lg.Conv(6, 3, C_W=1.5, C_b=0.25) >> lg.PositionalEmbedding(0.36) >> lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(6, C_W=0.5))
NET = network(NET >> lg.Flatten() >> lg.Dense(2, C_W=2.0))
SHAPE = (5, 4)  # positions, channels
FANS = {"conv1": 12, "positionalembedding1": None, "sum1/2/dense1": 6, "dense1": 30}
SPREADS = {"conv1": (1.5, 0.25), "positionalembedding1": (0.0, 0.36), "sum1/2/dense1": (0.5, 0.0), "dense1": (2.0, 0.0)}


def test_every_array_has_its_numbers() -> None:
    """std = sqrt(C/fan_in), rate = lambda/fan_in, the fan_in of a bias 1."""
    found = table(NET, SHAPE, resolve(NET, ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])))
    assert list(found) == list(FANS)
    for place, (path, fan) in enumerate(FANS.items()):
        assert set(found[path]) == ({"b"} if fan is None else {"W", "b"})
        b = found[path]["b"]
        assert (b.std, b.rate) == pytest.approx((math.sqrt(SPREADS[path][1]), place + 1))
        if fan is not None:
            W = found[path]["W"]
            assert (W.std, W.rate) == pytest.approx((math.sqrt(SPREADS[path][0] / fan), (place + 5) / fan))


def test_the_rates_of_the_table_are_those_of_the_ntk_by_default() -> None:
    one, same = parameter(1.5, 12), rate_tensor(NET, SHAPE, resolve(NET))["conv1"]
    assert (one.rate, parameter(0.25).rate) == (same["W"], same["b"]) == (0.125, 0.25)


def test_draws_have_the_spread_of_the_table() -> None:
    wide = lg.mlp([1000], out=1, activation="tanh", C_W=[1.7, 0.4], C_b=0.09)
    how, drawn = table(wide, (300,), resolve(wide)), lg.init(wide, 300, jax.random.key(0))
    for path, name in (("dense1", "W"), ("dense1", "b"), ("dense2", "W")):
        values = np.asarray(drawn[path][name])
        assert abs(values.std() / how[path][name].std - 1) < 4 / math.sqrt(2 * values.size)


def test_a_step_of_training_is_the_rate_times_the_gradient() -> None:
    net, X, y = lg.mlp([5], out=1, activation="tanh", C_W=1.3, C_b=0.2), np.ones((2, 3)), np.zeros(2)
    params, rates = lg.init(net, 3, jax.random.key(1), dtype=np.float64), ([0.3, 0.7], [1.1, 1.9])
    moved, _ = lg.train(net, params, X, y, eta=0.01, steps=1, rates=rates)
    with jax.enable_x64(True):
        slope = jax.grad(lambda p: 0.5 * (lg.apply(net, p, X) ** 2).sum())(params)
    tensor = rate_tensor(net, (3,), resolve(net, rates))
    for path, entry in params.items():
        for name, value in entry.items():
            step = (np.asarray(value) - np.asarray(moved[path][name])) / 0.01
            np.testing.assert_allclose(step, tensor[path][name] * np.asarray(slope[path][name]), rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_networks_and_models_start_by_one_rule(scale: float) -> None:
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(8, 1, width_size=64, depth=2, activation=jax.nn.silu, key=jax.random.key(0))
    net = lg.mlp([64, 64], out=1, activation="swish", C="critical", input_scale=scale)
    layers, how = lg.equinox.table(model, input_scale=scale).layers, table(net, (8,), resolve(net))
    assert [stds(layer) for layer in layers] == [(entry["W"].std, entry["b"].std) for entry in how.values()]
    assert layers[0].C_W != layers[1].C_W
