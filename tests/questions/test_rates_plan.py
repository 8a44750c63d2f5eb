"""Learning rates by layer and what layers contribute to the NTK, against printed numbers, closed forms and the kernel itself."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen as lg
from largen.errors import InputError
from largen.questions.contributions import contributions
from largen.questions.criticality import critical_point_of
from largen.questions.rates import plan_rates

PICKED = [0, 9, 24, 49]  # layers 1, 10, 25, 50


def tanh(L, width=100):
    return lg.mlp(widths=[width] * (L - 1), out=1, activation="tanh", C="critical")


def test_printed_contributions_at_uniform_rates():
    """Section 7 [V]: tanh, C_W = 1, K^(1) = 1, L = 50, lambda_b = lambda_W = 1."""
    found = contributions(tanh(50), rates=(1, 1))
    assert found.total[0] == pytest.approx(25.553, abs=5e-4)
    assert found.bias.sum() == pytest.approx(25.018, abs=5e-4) and found.weight.sum() == pytest.approx(0.5356, abs=5e-5)
    assert found.bias[PICKED, 0] == pytest.approx([0.01463, 0.18506, 0.48803, 1.0], abs=5e-6)
    assert found.spread > 60


def test_printed_contributions_of_the_plan():
    """Section 7 [V]: the same with (9.96)."""
    plan = plan_rates(tanh(50))
    found = plan.contributions
    assert plan.universality == "K*=0" and plan.p_perp == pytest.approx(1) and plan.powers == pytest.approx((-1, 0))
    assert found.total[0] == pytest.approx(1.49050, abs=5e-6)
    assert found.bias.sum() == pytest.approx(0.95490, abs=5e-6) and found.weight.sum() == pytest.approx(0.53560, abs=5e-6)
    assert found.bias[PICKED, 0] == pytest.approx([0.01463, 0.01851, 0.01952, 0.02], abs=5e-6)
    assert found.weight[PICKED, 0] == pytest.approx([0.01463, 0.01074, 0.01050, 0.01043], abs=5e-6)
    assert found.spread < 1.5
    assert found.shares.sum() == pytest.approx(1)


def test_the_ntk_does_not_change_with_depth():
    """With the plan, Theta -> bias + weight sigma_1^2/(-a1) = 1.5 for tanh; uniform rates grow with L."""
    assert plan_rates(tanh(100)).contributions.total[0] == pytest.approx(1.5, rel=0.01)
    assert contributions(tanh(100), rates=(1, 1)).total[0] > 1.9 * 25.553


def test_off_critical_closed_form():
    """8.8: Theta = lb (1 - chi^L)/(1 - chi) + lw q L chi^(L-1), bias share chi^(L-l); chi = .9, q = .8, L = 20."""
    net = lg.mlp(widths=[9] * 19, activation="relu", C_W=1.8)
    found = contributions(net, np.full((1, 4), 0.8**0.5), rates=(0.7, 1.2))
    assert found.total[0] == pytest.approx(8.742598715798, rel=1e-12)
    assert found.bias[:, 0] == pytest.approx(0.7 * 0.9 ** np.arange(19, -1, -1))
    assert found.weight[:, 0] == pytest.approx(1.2 * 0.8 * 0.9**19)


def test_relu_plan_is_even_to_rounding():
    """Scale-invariant (9.94): every layer's biases add lb/L and its weights lw A2 K*/L, whatever the input's size."""
    net = lg.mlp(widths=[16, 32, 8], activation="relu", C="critical")
    X = np.random.default_rng(0).normal(size=(3, 5))
    plan = plan_rates(net, X, bias=0.5, weight=2.0)
    q = (X**2).mean(1)
    assert plan.rates == ((0.125,) * 4, (0.5,) * 4) and plan.universality == "scale-invariant"
    assert plan.contributions.bias == pytest.approx(np.full((4, 3), 0.125))
    assert plan.contributions.weight == pytest.approx(np.broadcast_to(0.5 * q, (4, 3)))
    assert plan.sgd == {"dense1": (0.125, 0.1), "dense2": (0.125, 0.5 / 16), "dense3": (0.125, 0.5 / 32), "dense4": (0.125, 0.5 / 8)}
    assert lg.kernel(net, X, rates=plan.rates).ntk.diagonal() == pytest.approx(plan.contributions.total)
    assert [*plan.contributions.to_frame()["lambda_W"]] == [0.5] * 4


def test_p_perp_other_than_one():
    """A shifted tanh: p_perp = 0.9313535 (8.4); (9.95) with the factor L^(p-1), so that Theta -> c = lb + lw s1^2/(-a1)."""
    shift = math.tanh(0.3)
    phi = lg.activation(lambda z: _tanh(z + 0.3) - shift)
    point = lg.critical(phi)
    assert point.C_W is not None
    s1 = 1 / point.C_W**0.5
    L = 200
    plan = plan_rates(lg.mlp(widths=[8] * (L - 1), activation=phi, C="critical"))
    assert plan.p_perp == pytest.approx(0.9313535, abs=1e-6)
    p = 0.9313535
    assert plan.rates[0][:3] == pytest.approx([L ** (p - 1) * l**-p for l in (1, 2, 3)])
    assert plan.rates[1][:3] == pytest.approx([(L / l) ** (p - 1) for l in (1, 2, 3)])
    assert plan.contributions.total[0] == pytest.approx(1 + s1**2 / 1.2362327, rel=0.02)


def _tanh(z):
    import jax.numpy as jnp

    return jnp.tanh(z)


def test_half_stable_is_even_at_its_size():
    """GELU at K*: chi_perp = 1, so that biases contribute alike; weights too, but the first layer's, of another input size."""
    plan = plan_rates(lg.mlp(widths=[8] * 9, activation="gelu", C="critical"))
    found = plan.contributions
    assert plan.universality == "half-stable" and plan.rates[0] == pytest.approx([0.1] * 10)
    assert found.bias == pytest.approx(np.full((10, 1), 0.1), rel=1e-6)
    assert np.ptp(found.weight[1:]) < 1e-6
    assert "K* = 3.562" in plan.sentences[0]


def test_residual_chains():
    """The residual critical C_W = (1 - gamma^2) C_W* is seen; a branch of weight w needs 1/w^2 the rate."""
    net = lg.resnet_mlp(8, 6, skip=0.5, activation="tanh", C_W=[1.0] + [0.75] * 6 + [1.0])
    plan = plan_rates(net)
    assert plan.universality == "K*=0" and plan.rates[0] == pytest.approx([1 / l for l in range(1, 9)])
    block = lg.Sum(lg.Identity(), lg.Act("tanh") >> lg.Dense(8, C_W=3.0), weights=(0.5, 0.5))
    other = lg.Dense(8) >> block >> lg.Act("tanh") >> lg.Dense(1)
    weighted = plan_rates(other)
    assert weighted.universality == "K*=0" and weighted.rates[0] == pytest.approx([1, 4 / 2, 1 / 3])
    assert critical_point_of(lg.analysis.chain(lg.resnet_mlp(8, 6, skip=0.5, activation="tanh"))) is None


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (lg.mlp(widths=[8] * 3, activation="tanh", C_W=1.5), 'C="critical" sets'),
        (lg.mlp(widths=[8] * 3, activation="softplus"), "phi\\(0\\) = 0.6931 is not 0"),
        pytest.param(lg.resnet_mlp(8, 1, activation="relu", norm=True), "No chain", marks=pytest.mark.slow),
        (lg.Dense(8) >> lg.Act("tanh") >> lg.Dense(8) >> lg.Act("relu") >> lg.Dense(1), "several activations"),
    ],
)
def test_no_criticality_is_said_in_words(net, says):
    plan = plan_rates(net)
    assert plan.universality is None and plan.p_perp is None and plan.missing["p_perp"]
    assert set(plan.rates[0]) == {1 / len(plan.rates[0])}
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(plan.sentences[0])


def test_no_rate_no_ntk():
    found = plan_rates(lg.mlp(widths=[8], activation="relu", C="critical"), bias=0, weight=0).contributions
    assert found.total[0] == 0 and not found.shares.any() and found.spread == 1


def test_what_is_not_known():
    plan = plan_rates(lg.mlp(widths=[8], activation="relu", C="critical"))
    assert plan.sgd["dense1"] == (0.5, None) and plan.sgd["dense2"] == (0.5, 0.0625) and "n_in" in plan.missing["sgd"]
    assert "sgd" not in plan_rates(lg.mlp(widths=[8], activation="relu", C="critical"), n_in=3).missing
    assert plan_rates(lg.Dense(2)).sentences[0].startswith("One layer")


@pytest.mark.slow
def test_images():
    net = lg.Conv(4, 3, C_W=2.0) >> lg.Act("relu") >> lg.GlobalAvgPool() >> lg.Dense(2)
    X = np.random.default_rng(1).normal(size=(2, 4, 4, 3))
    found = contributions(net, X)
    assert found.total == pytest.approx(lg.kernel(net, X).ntk.diagonal())
    assert found.bias.sum(0) + found.weight.sum(0) == pytest.approx(found.total)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: contributions(lg.Conv(4, 3) >> lg.Flatten() >> lg.Dense(1)), "looks at positions"),
        (lambda: contributions(tanh(3), rates=(1, [1, 2])), "2 values"),
        (lambda: contributions(tanh(3), np.ones(3)), "X"),
        (lambda: plan_rates(tanh(3), bias=-1), "bias"),
        (lambda: plan_rates(tanh(3), n_in=0), "n_in"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()


NET = lg.mlp(widths=[4] * 3, activation="erf", C_W=[1.0, 1.5, 0.8, 1.1], C_b=[0.1, 0.0, 0.3, 0.2])


@settings(max_examples=10)
@given(st.lists(st.floats(0, 3), min_size=8, max_size=8), st.floats(0.1, 3))
def test_contributions_add_up_and_are_linear_in_rates(values, scale):
    rates = (values[:4], values[4:])
    X = np.array([[1.0, 0.2, -0.7], [0.3, 1.1, 0.6]])
    found = contributions(NET, X, rates)
    assert found.bias.sum(0) + found.weight.sum(0) == pytest.approx(found.total, rel=1e-12, abs=1e-13)
    assert found.total == pytest.approx(lg.kernel(NET, X, rates=rates).ntk.diagonal(), rel=1e-12, abs=1e-13)
    more = contributions(NET, X, tuple([scale * v for v in part] for part in rates))
    assert more.bias == pytest.approx(scale * found.bias) and more.weight == pytest.approx(scale * found.weight)
