"""Entropies and information of units against printed numbers, closed forms and the series."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

import largen as lg
from largen.errors import InputError, UnsupportedError
from largen.questions.information import information, of_mixture

ONE = np.ones((1, 4))
KEY = jax.random.key(7)


def chi2(n, groups, nodes=400):
    """Amounts of a linear network with one hidden layer: Ghat = chi2_n/n, by Gauss-Legendre over its law."""
    low, high = stats.chi2.ppf([1e-17, 1 - 1e-16], n) / n
    x, w = np.polynomial.legendre.leggauss(nodes)
    G = low + (high - low) * (x + 1) / 2
    w = w * stats.chi2.pdf(G * n, n)
    return of_mixture(G, groups, w / w.sum())


def gaussian(m):
    return m / 2 * math.log(2 * math.pi * math.e)


# ---------------------------------------------------------------- exact, no sampling


def test_printed_entropies():
    """T6: linear, depth 2, n = 80."""
    out = chi2(80, (1, 1))
    assert out.entropy[0] - gaussian(1) == pytest.approx(-1.09425e-4, rel=1e-5)
    assert out.entropy[2] - gaussian(2) == pytest.approx(-2.89774e-4, rel=1e-5)
    assert chi2(80, (2, 2)).entropy[2] - gaussian(4) == pytest.approx(-8.57401e-4, rel=1e-5)


def test_printed_information():
    """T6: I(1,1), I(2,2) and I3 at n = 80; I(1,1) at n = 160."""
    assert chi2(80, (1, 1)).mutual == pytest.approx(7.0923e-5, rel=1e-5)
    assert chi2(80, (2, 2)).mutual == pytest.approx(2.77854e-4, rel=1e-5)
    assert chi2(80, (1, 1, 1)).tripartite == pytest.approx(1.46919e-6, rel=1e-5)
    assert chi2(160, (1, 1)).mutual == pytest.approx(1.85602e-5, rel=1e-5)


def test_printed_series():
    """T6: k = 2/n = .025: leading 7.8125e-5, next 6.9661e-5."""
    out = information(lg.mlp(widths=[80], out=3, activation="linear"), ONE, units=(1, 1, 1))
    assert out.k and out.k == pytest.approx(0.025, abs=1e-15)
    assert out.series is not None and out.series.mutual == pytest.approx(6.9661e-5, rel=1e-5)
    assert out.k**2 / 8 == pytest.approx(7.8125e-5)
    assert out.series.tripartite == pytest.approx(0.025**3 / 8)
    assert out.infinite.mutual == 0 == out.infinite.tripartite
    assert out.infinite.entropy == pytest.approx([gaussian(m) for m in (1, 1, 1, 3)])


@pytest.mark.parametrize(("m", "coefficient"), [(1, 27 / 48), (2, 80 / 48), (4, 288 / 48)])
def test_third_order_coefficient_of_the_entropy(m, coefficient):
    """Section 5: (exact - leading order)/k^3, extrapolated from two widths."""
    found = []
    for n in (400, 800):
        out, k = chi2(n, (m, m)), 2 / n
        found.append((out.entropy[0] - gaussian(m) + (m**2 + 2 * m) / 16 * k**2) / k**3)
    assert 2 * found[1] - found[0] == pytest.approx(coefficient, rel=0.01)


def test_third_order_coefficients_of_information():
    found = []
    for n in (400, 800):
        out, k = chi2(n, (1, 1, 1)), 2 / n
        assert out.tripartite is not None
        found.append([(out.mutual - k**2 / 8) / k**3, out.tripartite / k**3])
    assert 2 * np.array(found[1]) - found[0] == pytest.approx([-26 / 48, 1 / 8], rel=0.02)


def test_a_known_mixture():
    """One unit, variances 1 and 100 equally likely: the entropy by plain quadrature in z."""
    out = of_mixture(np.array([1.0, 100.0]), (1, 1), np.array([0.5, 0.5]))
    z = np.linspace(-150, 150, 600001)
    p = (stats.norm.pdf(z) + stats.norm.pdf(z, scale=10)) / 2
    assert out.entropy[0] == pytest.approx(-np.trapezoid(p * np.log(np.maximum(p, 1e-300)), z), rel=1e-10)


@settings(max_examples=15)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 4), st.floats(1e-4, 1e4))
def test_laws_of_information(G, a, b, scale):
    """Information is >= 0, at most the entropy of the variance, symmetric, and does not change with the scale; entropy shifts."""
    variances, weights = np.array(G), np.full(len(G), 1 / len(G))
    one, other = of_mixture(variances, (a, b), weights), of_mixture(variances, (b, a), weights)
    assert -1e-10 < one.mutual < math.log(len(G)) + 1e-10 and one.mutual == pytest.approx(other.mutual, abs=1e-10)
    scaled = of_mixture(scale * variances, (a, b), weights)
    assert scaled.mutual == pytest.approx(one.mutual, abs=1e-10)
    assert scaled.entropy - one.entropy == pytest.approx(np.array([a, b, a + b]) / 2 * math.log(scale), abs=1e-9)


# ---------------------------------------------------------------- sampled


def test_a_sample_agrees_with_the_law():
    """z-scores below 4 against the exact amounts, and the errors about right: a hundredfold sample is tenfold as exact."""
    rng = np.random.default_rng(3)
    exact = chi2(20, (1, 2, 1))
    scores = []
    for draws in (400, 4000):
        out = of_mixture(rng.chisquare(20, size=draws) / 20, (1, 2, 1))
        assert out.mutual_se and out.tripartite_se and out.entropy_se is not None and out.tripartite and exact.tripartite
        scores += [(out.mutual - exact.mutual) / out.mutual_se, (out.tripartite - exact.tripartite) / out.tripartite_se]
        scores += list((out.entropy - exact.entropy) / out.entropy_se)
    assert np.abs(scores).max() < 4


def test_standard_errors_and_bias_over_many_samples():
    rng, exact = np.random.default_rng(5), chi2(10, (1, 1))
    found = [of_mixture(rng.chisquare(10, size=200) / 10, (1, 1)) for _ in range(150)]
    values, errors = np.array([f.mutual for f in found]), np.array([f.mutual_se for f in found])
    assert values.std() == pytest.approx(np.sqrt((errors**2).mean()), rel=0.25)
    assert abs(values.mean() - exact.mutual) < 4 * values.std() / np.sqrt(len(values))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n", "printed"),
    [
        ("linear", 64, {2: 1.08e-4, 5: 1.39e-3, 10: 5.3e-3, 20: 0.0166, 40: 0.0436}),
        ("relu", 64, {3: 2.03e-3, 5: 6.46e-3, 9: 0.0187, 17: 0.048, 33: 0.106}),
        ("tanh", 32, {7: 1.23e-3, 10: 2.57e-3, 20: 9.4e-3, 40: 0.031}),
    ],
)
def test_information_is_monotone_in_depth(name, n, printed):
    """Section 5: I(1, 1) at printed depths (their samples have errors too), and growing, where the series has turned over."""
    net = lg.mlp(widths=[n] * (max(printed) - 1), out=2, activation=name, C="critical")
    G = lg.exact.metric_chain(net, ONE, KEY, draws=10_000)[:, :, 0, 0]
    found = [of_mixture(np.asarray(G[:, L - 1]), (1, 1)) for L in printed]
    for out, value in zip(found, printed.values(), strict=True):
        assert out.mutual_se is not None and abs(out.mutual - value) < 4 * 1.5 * out.mutual_se + 0.01 * value
    assert (np.diff([out.mutual for out in found]) > 0).all()


def test_whole_call():
    net = lg.mlp(widths=[16] * 3, out=4, activation="relu", C="critical")
    out = information(net, ONE, units=(2, 2), key=KEY, draws=4000)
    assert out.sampled is not None and out.series is not None and out.k == pytest.approx(15 / 16)
    assert out.sampled.mutual > 0 > out.series.mutual  # k is no small number here
    assert out.inputs is None and "one input" in out.missing["inputs"]
    first = information(net, ONE, layer=1)
    assert first.k == 0 and first.series is not None and first.series.mutual == 0 and "key" in first.missing["sampled"]


def test_two_inputs():
    """(A.28), (A.29): (1/2) log((1 + rho)^2/(4 rho)), rho = K_[2]/K_[0]."""
    X = np.array([[1.0, 0.3, -0.5], [0.2, -1.1, 0.2]])
    X *= (3 / (X**2).sum(1, keepdims=True)) ** 0.5
    net = lg.mlp(widths=[8, 8], activation="erf", out=3)
    out, K = information(net, X), lg.kernel(net, X).nngp
    rho = (K[0, 0] - K[0, 1]) / (K[0, 0] + K[0, 1])
    assert out.inputs == pytest.approx(0.5 * math.log((1 + rho) ** 2 / (4 * rho)))
    assert out.infinite.entropy[0] == pytest.approx(0.5 * np.linalg.slogdet(2 * math.pi * math.e * K)[1])
    assert out.series is None and out.sampled is None and "one input" in out.missing["series"]
    assert (information(net, np.stack([X[0], X[0]])).inputs or 0) > 15  # the same input twice: all is shared


def test_a_dead_signal_is_no_density():
    out = information(lg.mlp(widths=[2] * 4, out=2, activation="relu", C="critical"), ONE, key=KEY, draws=200)
    assert out.sampled is None and "exactly 0" in out.missing["sampled"]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: information(lg.mlp(widths=[4], out=1), ONE), InputError, "at most the 1 units"),
        (lambda: information(lg.mlp(widths=[4], out=9), ONE, units=(1,)), InputError, "two or three"),
        (lambda: information(lg.mlp(widths=[4], out=9), ONE, units=()), InputError, "two or three"),
        (lambda: information(lg.mlp(widths=[4], out=9), ONE, layer="all"), InputError, "one layer"),
        (lambda: information(lg.mlp(widths=[4], out=9), ONE, key=3), InputError, "random key"),
        (lambda: information(lg.resnet_mlp(4, 1), ONE), UnsupportedError, "residual"),
    ],
)
def test_bad_input(call, error, says):
    with pytest.raises(error, match=says):
        call()
