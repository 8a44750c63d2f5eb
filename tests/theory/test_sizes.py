"""Exact laws at finite width: layer factors, sizes of signals, deep linear correlators, against printed numbers and other routes."""

import math
from decimal import Decimal
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import special, stats

import largen as lg
from largen.errors import InputError, UnsupportedError
from largen.theory.exact.factors import excess, factor, powers, slopes
from largen.theory.exact.linear import pairings

ONE = np.ones((1, 4))
RELU, LINEAR, ABS = (1.0, 0.0), (1.0, 1.0), (1.0, -1.0)


def net(activation, widths, out=1, **kw):
    return lg.mlp(widths=widths, out=out, activation=activation, **(kw or {"C": "critical"}))


# ---------------------------------------------------------------- factors of a layer


def test_printed_combinatorial_coefficients():
    """T13: c_2 = 1, c_4 = 1 + 2/n, c_6 = 1 + 6/n + 8/n^2, c_8 = c_6 (1 + 6/n)."""
    for n in (1, 7, 100):
        c6 = 1 + Fraction(6, n) + Fraction(8, n * n)
        expected = [1, 1, 1 + Fraction(2, n), c6, c6 * (1 + Fraction(6, n))]
        assert [float(v) for v in powers(LINEAR, n, 4)] == pytest.approx([float(e) for e in expected], rel=1e-15)


def test_relu_moments_of_a_layer():
    """Section 3: E X^2 = 6, E X^3 = 60; the third moment of a mean of n is (n M3 + 3n(n-1) M2 + n(n-1)(n-2))/n^3."""
    n = 11
    found = powers(RELU, n, 3)
    assert float(found[2]) == pytest.approx(1 + 5 / n, rel=1e-15)
    assert float(found[3]) == pytest.approx((n * 60 + 3 * n * (n - 1) * 6 + n * (n - 1) * (n - 2)) / n**3, rel=1e-15)


@given(
    st.tuples(st.floats(0.1, 2), st.floats(-2, 2)),
    st.integers(1, 40),
    st.integers(1, 8),
)
def test_integer_moments_by_counting_the_units_that_are_on(pair, n, m):
    """Given k units above 0, the sum is a+^2 chi2_k + a-^2 chi2_{n-k}: binomial mixture, exact rationals."""
    plus, minus = (Fraction(a) ** 2 for a in pair)

    def chi2(k, p):
        return math.prod((k + 2 * i for i in range(p)), start=1)

    total = sum(
        Fraction(math.comb(n, k), 2**n) * math.comb(m, p) * plus**p * minus ** (m - p) * chi2(k, p) * chi2(n - k, m - p)
        for k in range(n + 1)
        for p in range(m + 1)
    )
    exact = total / (n * (plus + minus) / 2) ** m
    assert abs(powers(pair, n, m)[m] / (Decimal(exact.numerator) / Decimal(exact.denominator)) - 1) < Decimal("1e-25")


@pytest.mark.parametrize("n", [1, 2, 5, 40, 3000])
def test_root_and_logarithm_in_closed_form(n):
    """Linear and abs: X = chi2_n/n. ReLU: a binomial mixture of 2 chi2_k/n, k >= 1 for the logarithm."""
    for pair in (LINEAR, ABS):
        found = factor(pair, n)
        assert found.root == pytest.approx(math.sqrt(2 / n) * math.exp(special.gammaln((n + 1) / 2) - special.gammaln(n / 2)), rel=1e-13)
        assert found.log_mean == pytest.approx(special.digamma(n / 2) + math.log(2 / n), abs=1e-12)
        assert found.log_variance == pytest.approx(special.polygamma(1, n / 2), rel=1e-9)
        assert found.dead == 0
    k = np.arange(1, n + 1)
    weight = stats.binom.pmf(k, n, 0.5)
    found = factor(RELU, n)
    assert found.dead == 2.0**-n
    assert found.root == pytest.approx(
        (weight * np.sqrt(4 / n) * np.exp(special.gammaln((k + 1) / 2) - special.gammaln(k / 2))).sum(), rel=1e-12
    )
    weight = weight / (1 - 2.0**-n)
    logs, spread = special.digamma(k / 2) + np.log(4 / n), special.polygamma(1, k / 2)
    assert found.log_mean == pytest.approx((weight * logs).sum(), abs=1e-11)
    assert found.log_variance == pytest.approx((weight * (spread + logs**2)).sum() - (weight * logs).sum() ** 2, rel=1e-8)


def test_leaky_one_unit_and_many():
    a = 0.3
    found, A2 = factor((1.0, a), 1), (1 + a * a) / 2
    assert found.root == pytest.approx((1 + a) / 2 * math.sqrt(2 / math.pi / A2), rel=1e-13)
    assert found.log_mean == pytest.approx(-np.euler_gamma - math.log(2) + math.log(a) - math.log(A2), abs=1e-12)
    assert found.log_variance == pytest.approx(math.pi**2 / 2 + math.log(a) ** 2, rel=1e-12)
    for pair in (LINEAR, RELU, (1.0, a)):
        c, n = excess(pair), 100_000
        found = factor(pair, n)
        assert n * (1 - found.root) == pytest.approx(c / 8, rel=1e-3)
        assert -n * found.log_mean == pytest.approx(c / 2, rel=1e-3)
        assert n * found.log_variance == pytest.approx(c, rel=1e-3)


def test_which_activations_are_scale_invariant():
    assert slopes(lg.activation("relu")) == RELU and slopes(lg.activation("linear")) == LINEAR
    assert slopes(lg.activation("monomial(1)")) == LINEAR and slopes(lg.activation("leaky_relu(0.2)")) == (1.0, 0.2)
    assert slopes(lg.activation("tanh")) is None and slopes(lg.activation("sign")) is None
    assert excess(LINEAR) == 2 and excess(RELU) == 5


# ---------------------------------------------------------------- sizes of signals


def test_printed_exact_law():
    """T10, n = 100, K = 1: ReLU l = 5, 10; linear G4, G6 at l = 10."""
    relu = lg.exact.size_moments(net("relu", [100] * 9), ONE * 0.5**0.5, order=3)
    assert relu.K == pytest.approx(np.ones(10), rel=1e-15)
    assert relu.moments[4, 1] == pytest.approx(1.21551, abs=5e-6) and relu.moments[9, 1] == pytest.approx(1.55133, abs=5e-6)
    linear = lg.exact.size_moments(net("linear", [100] * 9), ONE, order=3)
    assert linear.moments[9, 1] == pytest.approx(1.19509, abs=5e-6) and linear.moments[9, 2] == pytest.approx(1.70099, abs=5e-6)


def test_variance_of_the_norm_and_connected_correlator():
    """(3.28): G4 - G2^2 = [(1 + 2/n)^(l-1) - 1] G2^2; (3.33): Var |z|^2/n = [(1 + 2/n)^l - 1] G2^2. Unequal widths: products."""
    n, l = 20, np.arange(1, 7)
    out = lg.exact.size_moments(lg.mlp(widths=[n] * 5, out=n, activation="linear", C_W=1.1), 2 * ONE)
    assert out.K == pytest.approx(4 * 1.1**l)
    assert out.cumulants[:, 1] == pytest.approx(((1 + 2 / n) ** (l - 1) - 1) * out.K**2)
    assert out.norm_variance == pytest.approx(((1 + 2 / n) ** l - 1) * out.K**2)
    assert out.kurtosis == pytest.approx(3 * ((1 + 2 / n) ** (l - 1) - 1))
    mixed = lg.Dense(8) >> lg.Act("relu") >> lg.Dense(3, C_W=2.0) >> lg.Act("leaky_relu(0.5)") >> lg.Dense(5, C_W=1.6)
    out = lg.exact.size_moments(mixed, ONE)
    assert out.K == pytest.approx([1, 1, 1])
    c = excess((1.0, 0.5))
    assert out.cumulants[:, 1] == pytest.approx([0, 5 / 8, (1 + 5 / 8) * (1 + c / 3) - 1], abs=1e-15)
    assert out.norm_variance[2] == pytest.approx((1 + 5 / 8) * (1 + c / 3) * (1 + 2 / 5) - 1)
    assert out.ratio == pytest.approx([0, 5 / 8, 5 / 8 + c / 3])


def test_cumulants_do_not_cancel():
    """Layer 2, ReLU: kappa_m of a mean of n is kappa_m(2 relu^2)/n^(m-1), here 44 and 558, at n = 10^6 (4.59)."""
    n = 10**6
    out = lg.exact.size_moments(net("relu", [n]), ONE * 0.5**0.5)
    assert out.cumulants[1] == pytest.approx([1, 5 / n, 44 / n**2, 558 / n**3], rel=1e-13)


def test_double_scaling_limit():
    """(3.55): G_2m -> e^(m(m-1) r) at r = L/n fixed, with error falling as 1/n; (3.57): the connected ones; T13 at r = 0.1."""
    errors = []
    for n in (100, 200, 400):
        out = lg.exact.size_moments(net("linear", [n] * (n // 10)), ONE, order=4)
        errors.append(np.abs(out.moments[-1] / out.double_scaled[-1] - 1)[1:])
        r = 0.1
        assert out.double_scaled[-1] == pytest.approx([math.exp(m * (m - 1) * r) for m in (1, 2, 3, 4)])
        assert out.double_scaled[-1, 1] == pytest.approx(math.exp(0.2))
        connected = math.exp(6 * r) - 3 * math.exp(2 * r) + 2
        assert out.cumulants[-1, 2] == pytest.approx(connected, rel=12 / n)
    assert np.allclose(errors[0] / errors[1], 2, atol=0.05) and np.allclose(errors[1] / errors[2], 2, atol=0.05)
    assert (math.exp(6e-3) - 3 * math.exp(2e-3) + 2) / 1e-6 == pytest.approx(12, rel=0.01)  # 12 r^2 + ...


def test_where_the_first_order_stops_being_good():
    """Up to the cutoff the series is within 10 % of the limit, beyond it is not; the limit depends on L/n only."""
    n = 4000
    out = lg.exact.size_moments(net("relu", [n] * 800), ONE, order=4)
    for m in (2, 3, 4):
        short = 1 - out.series[:, m - 1] / out.double_scaled[:, m - 1]
        good = out.ratio < out.cutoff[m - 1]
        assert (short[good] < 0.1).all() and (short[~good] >= 0.1).all() and not good.all()
        assert out.moments[:, m - 1] == pytest.approx(out.double_scaled[:, m - 1], rel=0.05)
    assert math.isinf(out.cutoff[0])


def test_typical_and_dead_sizes():
    out = lg.exact.size_moments(net("relu", [3, 5]), ONE)
    assert out.dead == pytest.approx([0, 1 / 8, 1 - 7 / 8 * 31 / 32])
    assert out.log_mean[2] - out.log_mean[0] == pytest.approx(factor(RELU, 3).log_mean + factor(RELU, 5).log_mean)
    assert out.log_mean[0] == pytest.approx(math.log(out.K[0]))


def test_huge_moments_are_infinite_not_wrong():
    out = lg.exact.size_moments(net("linear", [1] * 300), ONE, order=4)
    assert np.isinf(out.moments[-1, 3]) and np.isfinite(out.moments[-1, 0])


@given(st.floats(0.2, 5), st.integers(2, 5))
def test_sizes_scale_with_the_input(scale, order):
    one = lg.exact.size_moments(net("leaky_relu(0.2)", [4, 6]), ONE, order)
    other = lg.exact.size_moments(net("leaky_relu(0.2)", [4, 6]), scale * ONE, order)
    assert other.moments == pytest.approx(one.moments * scale ** (2.0 * np.arange(1, order + 1)), rel=1e-12)


# ---------------------------------------------------------------- deep linear networks

X3 = np.array([[1.0, 0.3, -0.5], [0.2, -1.1, 0.4], [0.7, 0.6, 1.2]])


def test_one_input_is_the_product_of_the_coefficients():
    deep = lg.mlp(widths=[3, 7, 4], out=2, activation="linear", C_W=[1.2, 0.7, 1.0, 1.4])
    out, sizes = lg.exact.deep_linear(deep, X3[:1], order=5), lg.exact.size_moments(deep, X3[:1], order=5)
    for m in range(5):
        assert out.moments[m].reshape(4) == pytest.approx(sizes.moments[:, m], rel=1e-13)
        assert out.cumulants[m].reshape(4) == pytest.approx(sizes.cumulants[:, m], rel=1e-10, abs=1e-13)


def test_four_points_in_closed_form():
    """The totally symmetric part grows by 1 + 2/n a layer, the rest shrinks by 1 - 1/n."""
    widths = [5, 9, 6]
    out = lg.exact.deep_linear(lg.mlp(widths=widths, out=1, activation="linear"), X3)
    G = X3 @ X3.T / 3
    T = np.einsum("ab,cd->abcd", G, G)
    symmetric = (T + T.transpose(0, 2, 1, 3) + T.transpose(0, 2, 3, 1)) / 3
    grow, shrink = np.prod([1 + 2 / n for n in widths]), np.prod([1 - 1 / n for n in widths])
    assert out.moments[0] == pytest.approx(np.stack([G] * 4))
    assert out.moments[1][-1] == pytest.approx(symmetric * grow + (T - symmetric) * shrink)
    assert out.cumulants[1][-1] == pytest.approx(out.moments[1][-1] - T)


def test_one_hidden_unit_is_isserlis():
    """n_1 = 1: Ghat^(2) = z z', whose third moments are the sum over all 15 pairings."""
    out = lg.exact.deep_linear(lg.mlp(widths=[1], out=1, activation="linear"), X3, order=3)
    G = X3 @ X3.T / 3
    full = np.zeros((3,) * 6)
    for index in np.ndindex(*full.shape):
        full[index] = sum(math.prod(G[index[a], index[b]] for a, b in pi) for pi in pairings(6))
    assert out.moments[2][1] == pytest.approx(full)


def test_layer_two_third_cumulant():
    """(4.59), linear: (1/n^2) sum of the 8 ways to join three metrics in one loop."""
    n = 6
    out = lg.exact.deep_linear(lg.mlp(widths=[n], out=1, activation="linear"), X3, order=3)
    G = X3 @ X3.T / 3
    assert out.cumulants[2][1] == pytest.approx(_ring(G) / n**2)


def _ring(G):
    """Sum over the 8 one-loop pairings of (ab)(cd)(ef), written out."""
    terms = ["bc,de,fa", "bd,ce,fa", "bc,df,ea", "bd,cf,ea", "ac,de,fb", "ad,ce,fb", "ac,df,eb", "ad,cf,eb"]
    return sum(np.einsum(f"{t}->abcdef", G, G, G) for t in terms)


def test_multi_input_double_scaling():
    """L, n -> infinity at r = L/n: the two parts go as e^(2r) and e^(-r), with error falling as 1/n."""
    G = X3 @ X3.T / 3
    T = np.einsum("ab,cd->abcd", G, G)
    symmetric = (T + T.transpose(0, 2, 1, 3) + T.transpose(0, 2, 3, 1)) / 3
    limit = symmetric * math.exp(0.4) + (T - symmetric) * math.exp(-0.2)
    errors = [
        np.abs(lg.exact.deep_linear(lg.mlp(widths=[n] * (n // 5), out=1, activation="linear"), X3).moments[1][-1] - limit).max()
        for n in (50, 100, 200)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1) and errors[1] / errors[2] == pytest.approx(2, abs=0.1)


@given(st.integers(1, 9), st.integers(1, 9), st.permutations(range(3)))
def test_symmetries(n1, n2, order):
    out = lg.exact.deep_linear(lg.mlp(widths=[n1, n2], out=1, activation="linear"), X3, order=3)
    T = out.moments[2][2]
    pairs = [axis for k in order for axis in (2 * k, 2 * k + 1)]
    assert pytest.approx(T.transpose(pairs)) == T and pytest.approx(T.transpose(1, 0, 2, 3, 4, 5)) == T
    moved = lg.exact.deep_linear(lg.mlp(widths=[n1, n2], out=1, activation="linear"), X3[list(order)], order=2)
    assert moved.moments[1] == pytest.approx(out.moments[1][:, order][:, :, order][:, :, :, order][..., order])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: lg.exact.size_moments(net("tanh", [4], C_W=1.0), ONE), UnsupportedError, "metric_chain"),
        (lambda: lg.exact.size_moments(net("relu", [4], C_W=1.0, C_b=0.1), ONE), UnsupportedError, "C_b = 0.1"),
        (lambda: lg.exact.size_moments(net("relu", [4], C_W=[1.0, 0.0]), ONE), InputError, "C_W = 0 at dense2"),
        (lambda: lg.exact.size_moments(net("relu", [4]), X3), InputError, "3 inputs"),
        (lambda: lg.exact.size_moments(net("relu", [4]), 0 * ONE), InputError, "zero input"),
        (lambda: lg.exact.size_moments(net("relu", [4]), ONE, order=1), InputError, "order"),
        (lambda: lg.exact.size_moments(lg.resnet_mlp(4, blocks=1), ONE), UnsupportedError, "residual"),
        (lambda: lg.exact.deep_linear(net("relu", [4]), X3), UnsupportedError, "not linear"),
        (lambda: lg.exact.deep_linear(net("linear", [4], C_W=1.0, C_b=0.1), X3), UnsupportedError, "C_b = 0.1"),
        (lambda: lg.exact.deep_linear(net("linear", [4]), np.eye(200), order=3), InputError, "GiB"),
    ],
)
def test_what_has_no_exact_law_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_dtypes():
    out = lg.exact.deep_linear(net("linear", [4]), X3.astype(np.float32))
    assert all(a.dtype == np.float32 for a in (*out.moments, *out.cumulants))
    assert lg.exact.size_moments(net("relu", [4]), jnp.ones((1, 3))).moments.dtype == np.float64
