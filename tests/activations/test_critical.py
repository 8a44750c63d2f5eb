"""Critical points: the numbers of the theory page (PDLT digest, sections 6, 8.4, 9: T3-T5, traps 9-12), laws, and bad input."""

import math
import re
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import brentq

import largen
from largen.activations.dual import moment
from largen.activations.root import root
from largen.activations.statistics import statistics
from largen.errors import InputError
from largen.theory.signal.fixed_points import cosine_map, kernels
from largen.types import float64

lg: Any = largen  # records have optional fields; here their values are known


def known(name):
    return statistics(lg.activation(name))


# ---------------------------------------------------------------- moments (T3, T4, T5)

T3 = {
    ("tanh", 1.0): (0.3942944904, 0.1817976881, 0.4644029024, -0.0891481374, -0.0856467242),
    ("tanh", 0.1): (0.0842139284, 0.7160490621, 0.8492070684, -0.5781076894, -1.0182740062),
}


@pytest.mark.parametrize(("name", "K"), T3)
def test_T3_moments_of_tanh(name, K):
    m = known(name).moments(K)
    np.testing.assert_allclose([m.g, m.dg, m.slope, m.dslope / 2, m.d2g / 2], T3[name, K], atol=6e-11)


def test_T3_T4_moments():
    m = known("tanh").moments(2.0)
    np.testing.assert_allclose([m.g, m.dg, m.slope], (0.5199757457, 0.0884763846, 0.3495082977), atol=6e-11)
    m = known("swish").moments(1.0)
    np.testing.assert_allclose([m.g, m.dg, m.slope], (0.3557755198, 0.4171802591, 0.3794823516), atol=6e-11)
    m = known("gelu").moments(1.0)
    np.testing.assert_allclose([m.g, m.dg, m.slope], (0.4252214826, 0.4864802487, 0.4558508656), atol=6e-11)


T5 = {
    "tanh": {0.1: 1.18596, 0.5: 1.82493, 1: 2.55450, 10: 14.7178},
    "sigmoid": {1: 1.43714, 2: 1.82493},  # sigmoid at K = 2 is tanh at K = 1/2
    "softplus": {1: 0.64720},
    "swish": {1: 0.90964, 10: 0.98950, 30: 1.01184},
    "gelu": {1: 0.93704, 5: 1.00962, 100: 1.01062},
    "erf": {1: 3.0, 10: 21.0},  # 1 + 2K exactly
}


@pytest.mark.parametrize("name", T5)
def test_T5_left_side_of_the_condition(name):
    K = np.array(list(T5[name]), dtype=float)
    m = known(name).moments(K)
    np.testing.assert_allclose(m.slope / m.dg, list(T5[name].values()), rtol=3e-6, atol=5e-6)  # as printed


@pytest.mark.parametrize("K", [1e-6, 0.01, 1.0, 30.0])
def test_moments_of_sin_in_closed_form(K):
    m = known("sin").moments(K)
    expected = [
        -math.expm1(-2 * K) / 2, math.exp(-2 * K), -2 * math.exp(-2 * K), (1 + math.exp(-2 * K)) / 2, -math.exp(-2 * K),
        3 / 8 - math.exp(-2 * K) / 2 + math.exp(-8 * K) / 8, 0.0,
    ]  # fmt: skip
    got = [m.g, m.dg, m.d2g, m.slope, m.dslope, m.fourth, m.skew]
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-14 / K)


@given(K=st.floats(1e-3, 500), a=st.sampled_from([0.0, 0.3, -0.7, -1.0]))
def test_moments_of_the_relu_family(K, a):
    """Homogeneous functions: g = A2 K, and nothing else moves."""
    m, A2 = known(f"leaky_relu({a})").moments(K), (1 + a * a) / 2
    np.testing.assert_allclose([m.g / K, m.dg, m.slope, m.fourth / K**2], [A2, A2, A2, 3 * (1 + a**4) / 2], rtol=1e-11)
    np.testing.assert_allclose([m.d2g * K, m.dslope * K], 0, atol=1e-11)
    np.testing.assert_allclose(m.skew / K**1.5, (1 - a * a) * math.sqrt(2 / math.pi), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["tanh", "gelu", "mish", "elu", "softsign", "hardtanh", "selu"])
def test_derivatives_of_moments_against_differences(name):
    K, step = np.array([0.05, 0.7, 3.0, 40.0]), 3e-4
    at = known(name).moments
    low, mid, high = at(K * (1 - step)), at(K), at(K * (1 + step))
    np.testing.assert_allclose(mid.dg, (high.g - low.g) / (2 * K * step), rtol=3e-6)
    np.testing.assert_allclose(mid.d2g, (high.dg - low.dg) / (2 * K * step), rtol=3e-6, atol=1e-10)
    np.testing.assert_allclose(mid.dslope, (high.slope - low.slope) / (2 * K * step), rtol=3e-6, atol=1e-10)


# ---------------------------------------------------------------- classes (section 6)


@pytest.mark.parametrize(
    ("name", "C_W", "a1", "a2", "b1"),
    [
        ("tanh", 1, -2, 17 / 3, -2),
        ("sin", 1, -1, 2 / 3, -1),
        ("erf", math.pi / 4, -2, 14 / 3, -2),
        ("arctan", 1, -2, 23 / 3, -2),
    ],
)
def test_K_star_0_class(name, C_W, a1, a2, b1):
    point = lg.critical(name)
    assert (point.universality, point.C_b, point.K_star, point.stable_from) == ("K*=0", 0, 0, "above")
    assert point.C_W == pytest.approx(C_W, rel=1e-14)
    np.testing.assert_allclose(tuple(point.coefficients), (a1, a2, b1), rtol=1e-12)
    assert point.exponents == pytest.approx({"K": 1, "parallel": 2, "perpendicular": 1, "V": 1, "K1": 0})
    assert point.growth["K"].coefficient == pytest.approx(-1 / a1)
    assert point.growth["V"].coefficient == pytest.approx(2 / (3 * a1**2))  # (5.127)
    assert point.growth["K1"].coefficient == pytest.approx(1 / (3 * a1))  # (5.134)
    assert point.growth["V/(n K^2)"].coefficient == pytest.approx(2 / 3)  # (5.131)


def test_coefficients_of_any_smooth_activation_follow_the_printed_formulas():
    """(5.86)-(5.88) from the Taylor coefficients, for an activation that is neither odd nor named."""
    point = lg.critical(lambda z: jnp.tanh(z) + 0.3 * z**2 * jnp.exp(-z * z))
    np.testing.assert_allclose(tuple(point.coefficients), (-1.73, 2.9667, -1.64), atol=5e-5)  # section 9, T14
    s = [0, 1, 0.6, -2, -7.2, 16]
    a1 = s[3] / s[1] + 0.75 * (s[2] / s[1]) ** 2
    a2 = 0.25 * s[5] / s[1] + 5 / 8 * s[4] * s[2] / s[1] ** 2 + 5 / 12 * (s[3] / s[1]) ** 2
    np.testing.assert_allclose(tuple(point.coefficients), (a1, a2, s[3] / s[1] + (s[2] / s[1]) ** 2), rtol=1e-10)
    assert point.exponents["perpendicular"] == pytest.approx(1.64 / 1.73)


HALF_STABLE = {
    "swish": (14.32017362, 0.55514317, 1.98800468, 2.84979e-6, "below", 4.9232),
    "gelu": ((3 + math.sqrt(17)) / 2, 0.17292239, 1.98305826, -1.43626419e-4, "above", 4.9042),
    "gelu_tanh": (3.55677284, 0.17289520, 1.98288824, -1.61819e-4, "above", None),
}


@pytest.mark.parametrize("name", HALF_STABLE)
def test_half_stable_class(name):
    K, C_b, C_W, slope, side, growth = HALF_STABLE[name]
    point = lg.critical(name)
    assert (point.universality, point.stable_from) == ("half-stable", side)
    np.testing.assert_allclose((point.K_star, point.C_b, point.C_W), (K, C_b, C_W), rtol=2e-8)
    assert point.coefficients.slope == pytest.approx(slope, rel=5e-6)
    if growth:
        assert point.growth["V/(n K^2)"].coefficient == pytest.approx(growth, abs=6e-5)
    other = point.candidates[1]  # K* = 0 is critical too, but unstable
    assert (other.universality, other.stable_from, other.C_W) == ("K*=0", None, pytest.approx(4.0))


def test_unstable_point_at_zero_of_swish_and_gelu():
    assert tuple(lg.critical("swish").candidates[1].coefficients) == pytest.approx((3 / 4, -5 / 8, 1))
    assert tuple(lg.critical("gelu").candidates[1].coefficients) == pytest.approx((6 / math.pi, -10 / math.pi, 8 / math.pi))


@pytest.mark.parametrize(("name", "C_W", "c"), [("relu", 2, 5), ("linear", 1, 2), ("abs", 1, 2), ("leaky_relu(0.1)", 2 / 1.01, 4.882)])
def test_scale_invariant_class(name, C_W, c):
    point = lg.critical(name)
    assert (point.universality, point.C_b, point.K_star) == ("scale-invariant", 0, None)
    assert point.C_W == pytest.approx(C_W, rel=1e-12) and point.growth["V/(n K^2)"].coefficient == pytest.approx(c, abs=5e-4)
    assert point.exponents["perpendicular"] == (0 if name == "linear" else 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sigmoid", r"K\* = 0 would need C_b = .* = -4 < 0"),
        ("softplus", "chi_perp is below chi_par for every K"),
        ("monomial(3)", "phi'\\(0\\) = 0"),
        ("exp", "is 0.5 for every K"),
        ("cos", "do not grow"),
    ],
)
def test_no_criticality_is_said_in_words(name, words):
    point = lg.critical(name)
    assert point.universality == "none" and point.C_W is None and point.C_b is None and point.candidates == ()
    assert pytest.importorskip("re").search(words, point.reason), point.reason


def test_monomials_miss_the_condition_by_a_constant():
    """(5.78): chi_perp/chi_par = p/(2p - 1)."""
    for p in (2, 3, 4):
        m = known(f"monomial({p})").moments(np.array([0.1, 2.0]))
        np.testing.assert_allclose(m.slope / m.dg, p / (2 * p - 1), rtol=1e-11)


def test_softplus_shifted_is_not_saved_and_sigmoid_shifted_is():
    shifted = lg.critical(lambda z: jnp.logaddexp(z, 0.0) - jnp.log(2.0))
    assert shifted.stable_from is None and shifted.coefficients.a1 == pytest.approx(3 / 16, rel=1e-6)
    half = lg.critical(lambda z: jnp.tanh(z / 2) / 2)
    assert half.C_W == pytest.approx(16) and tuple(half.coefficients)[::2] == pytest.approx((-0.5, -0.5))


# ---------------------------------------------------------------- what follows must hold


@pytest.mark.parametrize("name", ["tanh", "sin", "erf", "softsign", "elu", "selu", "relu", "leaky_relu(0.3)", "gelu", "swish", "mish"])
def test_a_critical_point_is_one(name):
    """chi_par = chi_perp = 1 and K* = C_b + C_W <phi^2>, at K* or in the limit K -> 0."""
    for point in lg.critical(name).candidates:
        K = 1e-6 if point.K_star == 0 else point.K_star or 1.7
        m = known(name).moments(K)
        np.testing.assert_allclose([point.C_W * m.dg, point.C_W * m.slope], 1, atol=1e-2 if point.K_star == 0 else 1e-9)
        assert point.C_b + point.C_W * m.g == pytest.approx(K, rel=1e-2 if point.K_star == 0 else 1e-12)


@pytest.mark.parametrize(
    "make", [lambda: "tanh", lambda: "softsign", lambda: "elu", lambda: lambda z: z - 0.02 * z**5], ids=["r=1", "r=1/2", "elu", "r=2"]
)
def test_powers_of_depth_against_the_recursion(make):
    """Iterate K, V (5.108, 5.109) and K1 (5.110) exactly, and compare with the announced powers and coefficients: corrections are of
    relative order log(l)/l, under 3 % here."""
    phi = lg.activation(make())
    point, at = lg.critical(phi), statistics(phi)
    C_W, depth = point.C_W, 3000 if point.exponents["K"] == 2 else 20000  # so that K stays on the grid
    grid = np.geomspace(1e-8, 0.5, 4000)
    m = at.moments(grid)
    x = np.log(grid)
    ratio, par, perp, source, bend = (
        np.asarray(v) for v in (m.g / grid, C_W * m.dg, C_W * m.slope, m.fourth / grid**2, C_W * m.d2g * grid)
    )
    K, V, K1, difference, trace = 0.3, 0.0, 0.0, 1.0, {}
    for l in range(1, depth + 1):
        if l in (depth // 2, depth):
            trace[l] = np.array([K, difference, V, abs(K1)])
        at_x = math.log(K)
        g, p, s, f, b = (float(np.interp(at_x, x, v)) for v in (ratio, par, perp, source, bend))
        K1 = p * K1 + 0.5 * b / K * V
        V = p * p * V + C_W**2 * (f - g * g) * K * K
        difference *= s
        K = C_W * g * K
    local = -np.log(trace[depth] / trace[depth // 2]) / math.log(2)
    expected = [point.exponents[name] for name in ("K", "perpendicular", "V", "K1")]
    np.testing.assert_allclose(local, expected, atol=0.03)
    coefficients = [point.growth[name].coefficient for name in ("K", "V", "K1")]
    got = trace[depth][[0, 2, 3]] * depth ** np.array([expected[0], expected[2], expected[3]])
    np.testing.assert_allclose(got, np.abs(coefficients), rtol=0.03)


@pytest.mark.slow
@settings(max_examples=4)  # each compiles two activations
@given(scale=st.floats(0.2, 5), stretch=st.floats(0.3, 3))
def test_gauge_of_the_critical_point(scale, stretch):
    """phi(z) -> s phi(z/t): the class stays, C_W -> C_W t^2/s^2, C_b -> C_b t^2, K* -> K* t^2."""
    s, t = round(scale, 3), round(stretch, 3)
    for name in ("tanh", "gelu"):
        base = lg.critical(name)
        moved = lg.critical(lambda z, name=name: s * lg.activation(name)(z / t))
        assert moved.universality == base.universality and moved.stable_from == base.stable_from
        np.testing.assert_allclose(
            [moved.C_W, moved.C_b, moved.K_star], [base.C_W * (t / s) ** 2, base.C_b * t**2, base.K_star * t**2], rtol=1e-7, atol=1e-12
        )


def test_printed_eight_digits_lose_the_half_stable_point():
    """Trap 9: with the book's digits SWISH keeps one root, 14.607, and GELU has 3.0350, 3.5565, 3.5666."""
    swish, gelu = known("swish"), known("gelu")
    assert min(abs(K - 14.607) for K in kernels(swish, 1.98800468, 0.55514317)) < 1e-3
    np.testing.assert_allclose(kernels(gelu, 1.98305826, 0.17292239), [3.0350, 3.5565, 3.5666], atol=1e-4)


@pytest.mark.slow
def test_mlp_at_criticality_starts_at_K_star():
    X = np.ones((1, 7))
    for name in ("gelu", "swish", "mish"):
        point = lg.critical(name)
        K = lg.kernel(lg.mlp([64] * 3, activation=name, C="critical"), X, layer="all").nngp[:, 0, 0]
        np.testing.assert_allclose(K, point.K_star, rtol=1e-11)
        K = lg.kernel(lg.mlp([64] * 3, activation=name, C="critical", input_scale=4.0), 2 * X, layer="all").nngp[:, 0, 0]
        np.testing.assert_allclose(K, point.K_star, rtol=1e-11)
    with pytest.raises(NotImplementedError, match=r"C_b = .* = -4 < 0"):
        lg.mlp([8], activation="sigmoid", C="critical")


# ---------------------------------------------------------------- gain


@pytest.mark.parametrize(
    ("name", "gain"), [("relu", 1.4142), ("tanh", 1.5925), ("selu", 1.0), ("gelu", 1.5335), ("swish", 1.6765), ("sigmoid", 1.8462)]
)
def test_gain_of_the_table(name, gain):
    assert lg.gain(name) == pytest.approx(gain, abs=6e-5)
    assert lg.gain(name, q=2.3) == pytest.approx(math.sqrt(2.3 / float(known(name).moments(2.3).g)), rel=1e-12)


def test_gain_is_not_critical():
    assert lg.gain("gelu") ** 2 == pytest.approx(2.352, abs=5e-4) and lg.critical("gelu").C_W == pytest.approx(1.983, abs=5e-4)
    assert lg.fixed_points("tanh", C_W=(5 / 3) ** 2, C_b=0.0).phase == "chaotic"


# ---------------------------------------------------------------- bad input

BAD = [
    (lambda z: jnp.maximum(z, 0.37), "most of all near z = 0.37"),
    (lambda z: 0 * z + 1.5, "which is constant"),
    (jnp.sign, "piecewise constant"),
    (lambda z: jnp.where(z > 20, jnp.nan, z), "NaN at z = 20"),
    (lambda z: z - z.mean(), "depends on the others"),
    (jnp.sum, "maps shape"),
    ("geluu", "Did you mean 'gelu'"),
    (lg.activation(lambda z: jnp.where(z > 0, 1.0 + z, z), kinks=(0.0,)), "jumps by 1"),
]


@pytest.mark.parametrize(("activation", "words"), BAD)
@pytest.mark.parametrize("call", [lg.critical, lg.gain])
def test_bad_activations_get_a_sentence(call, activation, words):
    with pytest.raises(InputError, match=words):
        call(activation)


def test_a_declared_kink_is_fine():
    late = lg.activation(lambda z: jnp.maximum(z, 0.37) - 0.37, kinks=(0.37,))
    assert lg.critical(late).universality in ("none", "half-stable")


@pytest.mark.parametrize("q", [0, -1, np.nan, "a", 1e9])
def test_bad_sizes_for_gain(q):
    with pytest.raises(InputError, match="`q`"):
        lg.gain("tanh", q=q)


@pytest.mark.parametrize("name", ["gelu", "swish", "mish"])
def test_half_stable_words_are_what_the_map_of_sizes_does(name):
    """Which side comes to K*, where the other settles, and the pace: one layer at 40 sizes, by the quadrature of the kernels."""
    point, phi = lg.critical(name), lg.activation(name)
    K_star, near, above = point.K_star, point.candidates[0].neighbour, point.stable_from == "above"
    K = K_star * np.geomspace(0.05, 20, 40)
    K = np.append(K[(abs(K / K_star - 1) > 0.01) & (abs(K / near - 1) > 0.01)], K_star * (1.1 if above else 0.9))
    moved = point.C_b + point.C_W * float64(lambda: np.asarray(moment(phi, jnp.asarray(K))))() - K
    K = K[:-1]
    goal = np.where((K > K_star) == above, K_star, near)
    assert (np.sign(moved[:-1]) == np.sign(goal - K)).all()
    held, other = ("Larger sizes come down to it", "smaller ones") if above else ("Smaller sizes rise to it", "larger ones")
    fate = "grow without end" if np.isinf(near) else f"settle at K = {near:.4g}"
    assert f"{held}; {other} do not reach it but {fate}." in point.reason
    layers = 0.01 * K_star / abs(moved[-1])
    told = float(re.findall(r"some ([\d,]+) layers", point.reason)[0].replace(",", ""))
    assert told == pytest.approx(layers, rel=0.06)
    assert {"gelu": near == pytest.approx(3.0350, abs=6e-5), "swish": near == pytest.approx(14.5931, abs=6e-5), "mish": np.isinf(near)}[
        name
    ]


def test_angles_at_criticality_are_what_the_sentence_says():
    """At K* = 0 small angles are kept: 1 - c of close inputs stays between layers 80 and 160 of tanh and elu, layer by layer."""
    for name in ("tanh", "elu"):
        point, of, K, near, seen = lg.critical(name), known(name), 1.0, 0.005, []
        assert "small angles between inputs are kept" in point.reason
        for _ in range(160):
            after = point.C_W * float(of.moments(K).g)
            near = point.C_W * float(cosine_map(of.phi, K, near)[0]) / after
            K = after
            seen.append(near)
        assert seen[159] / seen[79] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("f", "low", "high"),
    [
        (lambda x: math.cos(x) - x, 0.0, 1.0),
        (lambda x: x**9 - 1e-9, -1.0, 1.3),  # flat, where the secant is slow
        (lambda x: math.copysign(1.0, x - 0.3), -4.0, 5.0),  # a jump
        (lambda x: math.exp(x) - 1e-200, -700.0, 700.0),
        (lambda x: 2.0 - x, 1.0, 2.0),  # at an end
        (lambda x: 1e-30 * (x - 1e-5), 1e-9, 1e3),
    ],
)
def test_roots_are_those_of_scipy(f: Any, low: float, high: float) -> None:
    wanted: Any = brentq(f, low, high, xtol=1e-300, rtol=1e-14)  # type: ignore[arg-type]
    for ends in ((low, high), (high, low)):
        assert root(f, *ends) == pytest.approx(wanted, rel=3e-14, abs=1e-30)
    with pytest.raises(ValueError, match="one sign"):
        root(f, high + 1, high + 2)


def test_no_parts_of_scipy_that_are_slow_to_import() -> None:
    code = "import sys, largen as lg; lg.critical('gelu'); print({'scipy.optimize', 'scipy.special'} & set(sys.modules) or 'none')"
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "none"
