"""Aspect ratios and skip weights against printed numbers and iterated recursions."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import largen as lg
from largen.errors import InputError, UnsupportedError
from largen.questions.aspect import optimal_aspect_ratio, optimal_residual

PRINTED = {  # T7
    "tanh": {1: 0.26087, 2: 0.23077, 10: 0.12, 100: 0.01875},
    "linear": {1: 0.08696, 2: 0.07692, 10: 0.04, 100: 0.00625},
    "relu": {1: 0.03478, 2: 0.03077, 10: 0.016, 100: 0.0025},
}


@pytest.mark.parametrize("name", PRINTED)
def test_printed_ratios(name):
    for n_out, r in PRINTED[name].items():
        assert optimal_aspect_ratio(name, n_out).r == pytest.approx(r, abs=6e-6)


def test_printed_information():
    found = {n: optimal_aspect_ratio("tanh", n).information for n in (2, 10, 100)}
    assert found == pytest.approx({2: 9.862e-4, 10: 6.667e-3, 100: 1.628e-2}, rel=5e-4)
    odd = optimal_aspect_ratio("tanh", 3)
    assert odd.information is None and "halves" in odd.missing["information"]


def test_printed_nu():
    assert optimal_aspect_ratio("leaky_relu(0.1)").nu == pytest.approx(4.882, abs=5e-4)
    assert optimal_aspect_ratio("sin").nu == pytest.approx(2 / 3)
    assert optimal_aspect_ratio("gelu").nu == pytest.approx(4.9, abs=0.02)  # docs/criticality.md
    assert optimal_aspect_ratio("elu").nu == pytest.approx(2 / 3, rel=1e-6)


def test_printed_residual_values():
    """Section 6: ReLU corrected, 6.121, 6.427, 4.210, 1.319 and the maximum 6.478 at .438; tanh (2/3)(1 - g^4)."""
    for gamma, nu in {0.25: 6.121, 0.5: 6.427, 0.8: 4.210, 0.95: 1.319, 0.438: 6.478}.items():
        assert optimal_aspect_ratio("relu", residual=gamma).nu == pytest.approx(nu, abs=6e-4)
        assert optimal_aspect_ratio("tanh", residual=gamma).nu == pytest.approx(2 / 3 * (1 - gamma**4))
    assert optimal_aspect_ratio("relu", residual=0.737).nu > 5 > optimal_aspect_ratio("relu", residual=0.739).nu
    book = {0.5: 3.5625, 0.8: 1.5696}  # T8: (B.29), the part without skew, as for an odd activation of the same c
    for gamma, nu in book.items():
        skew = 16 / np.pi * gamma * (1 + gamma) * (1 - gamma**2)
        assert optimal_aspect_ratio("relu", residual=gamma).nu - skew == pytest.approx(nu, abs=1e-9)


@pytest.mark.parametrize(("name", "gamma"), [("relu", 0.5), ("relu", -0.4), ("gelu", 0.6), ("leaky_relu(0.3)", 0.8)])
def test_nu_is_the_slope_of_the_recursions(name, gamma):
    """V/K^2 of a deep residual chain, by lg.corrections at its critical point."""
    found = optimal_aspect_ratio(name, residual=gamma)
    K = lg.critical(name).K_star or 1.3
    net = lg.resnet_mlp(16, 60, activation=name, skip=gamma, C_W=[1.0, *[found.C_W] * 61], C_b=[0.0, *[found.C_b] * 61])
    out = lg.corrections(net, np.full((1, 4), K**0.5), layer="all")
    slope = np.diff(out.V[:-1, 0, 0, 0, 0] / out.K[:-1, 0, 0] ** 2)
    assert slope[-1] == pytest.approx(found.nu, rel=1e-5)


@pytest.mark.slow
def test_deep_residual_tanh():
    """T8: tanh at L = 20001, slope .6247 (.625) and .3931 (.3936)."""
    for gamma, printed in {0.5: 0.6247, 0.8: 0.3931}.items():
        z = np.linspace(-9.5, 9.5, 200)
        w = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
        K, V, C = 1.0, 0.0, 1 - gamma**2
        for _ in range(20000):
            s = np.tanh(z * K**0.5)
            g, f4, zss = (s * s) @ w, (s**4) @ w, (z * s * (1 - s * s)) @ w * K**0.5
            par = gamma**2 + C * zss / K
            V = C * C * (f4 - g * g) + par**2 * V + 4 * gamma**2 * (par - gamma**2) * K * K
            K = C * g + gamma**2 * K
        assert V / K**2 / 20001 == pytest.approx(printed, abs=2e-4)
        assert optimal_aspect_ratio("tanh", residual=gamma).nu == pytest.approx(printed, abs=6e-4)


@pytest.mark.slow
@given(st.sampled_from(["tanh", "relu", "linear", "gelu"]), st.floats(1e-3, 50), st.integers(1, 20))
def test_the_optimal_residual_makes_the_ratio_optimal(name, ratio, n_out):
    gamma = optimal_residual(name, ratio, n_out)
    found = optimal_aspect_ratio(name, n_out, gamma)
    if gamma == 0:
        assert ratio <= found.r * (1 + 1e-9)
    else:
        assert found.r == pytest.approx(ratio, rel=1e-6)
        assert optimal_aspect_ratio(name, n_out).r < ratio


def test_deep_networks_want_gamma_near_one():
    """1 - gamma*^2 ~ 1/r."""
    one, two = (1 - optimal_residual("tanh", r) ** 2 for r in (100.0, 200.0))
    assert one / two == pytest.approx(2, rel=2e-2)


def test_cautions():
    assert "goes on growing" in optimal_aspect_ratio("relu").cautions[0]
    assert any("third cumulants" in c for c in optimal_aspect_ratio("relu", residual=0.5).cautions)
    assert not any("third cumulants" in c for c in optimal_aspect_ratio("tanh", residual=0.5).cautions)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: optimal_aspect_ratio("relu", residual=1.0), InputError, "normalisation"),
        (lambda: optimal_aspect_ratio("relu", n_out=0), InputError, "n_out"),
        (lambda: optimal_aspect_ratio("softplus"), UnsupportedError, "critical|optimal"),
        (lambda: optimal_residual("relu", -1), InputError, "ratio"),
    ],
)
def test_bad_input(call, error, says):
    with pytest.raises(error, match=says):
        call()
