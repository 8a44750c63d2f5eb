"""Depth asymptotics of the 1/n tensors of one input against the recursions iterated here, and against printed numbers."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from single_input_recursions import iterate, table

import largen as lg
from largen.errors import InputError, UnsupportedError
from largen.questions.asymptotics import NAMES, UNITS, asymptotics, scale_invariant_tensors


def ratios(K, Th, X):
    return {name: X[name] / (K ** UNITS[name][0] * Th ** UNITS[name][1]) for name in NAMES}


def at_zero(phi, depth, bias, weight, start=1.0, reach=20.0):
    """From K^(1) with the schedule (9.70)."""
    point = lg.critical(phi).candidates[0]
    p = point.exponents["perpendicular"]
    return iterate(table(phi, reach), start, depth, 0.0, point.C_W, lambda l: bias * l**-p, lambda l: weight * l ** (1 - p))


# ---------------------------------------------------------------- scale-invariant


def test_printed_closed_forms():
    """8.3 (Set R)."""
    printed = {2: (10.5508, 10.336, 5.312, 5.5112), 4: (134.9624, 62.016, 31.872, 77.1568), 12: (4637.5208, 682.176, 350.592, 2788.6672)}
    for layer, values in printed.items():
        out = scale_invariant_tensors("relu", layer, 0.7, 1.2, 1.6)
        assert (out.A, out.D, out.F, out.B) == pytest.approx(values, rel=1e-12)
    leading = asymptotics("relu", 0.7, 1.2, 1.6).tensors["A"]
    assert (leading.coefficient or 0.0) * 12**leading.power == pytest.approx(5159.35, abs=0.01)


def test_printed_set_S():
    """8.2: ReLU, |x|^2/3 = 0.8366667, so K* = 1.673333; L = 4."""
    out = scale_invariant_tensors("relu", 4, 0.7, 1.2, 2 * 2.51 / 3)
    assert (out.Theta, out.V, out.D, out.F) == pytest.approx((6.816, 42.000667, 67.508960, 34.216320), rel=1e-7)
    assert (out.B, out.A) == pytest.approx((81.301248, 145.428064), rel=1e-7)


def test_printed_Q():
    """2.5 (11.79): ReLU, K* = 1.26, lb~ = .5, lw~ = 1 over L."""
    for L, printed in {2: 0.35595, 3: 0.6328, 4: 0.889875}.items():
        out = scale_invariant_tensors("relu", L, 0.5 / L, 1 / L, 1.26)
        assert out.Q == pytest.approx(printed, rel=1e-5) and out.P == 0
        assert out.Q == pytest.approx(L * (L**2 - 1) / (6 * L**2) * (0.5 / 0.5) * 1.13 * 1.26, rel=1e-12)


def test_printed_linear():
    """T2: L = 6, lb = .7, lw = 1.3 over L, K = 2.41/3."""
    out = scale_invariant_tensors("linear", 6, 0.7 / 6, 1.3 / 6, 2.41 / 3)
    assert (out.S, out.T, out.Q) == pytest.approx((1.922817, 1.151191, 1.771064), abs=1e-6)
    assert out.R == out.U == 0 and not out.missing


def test_linear_closed_forms_are_the_recursion():
    K, Th, X = iterate(table(lambda z: 1.7 * z, 20.0), 0.9, 7, 0.0, 1.7**-2, lambda l: 0.4, lambda l: 0.3)
    out = scale_invariant_tensors(lg.activation(lambda z: 1.7 * z), 7, 0.4, 0.3, 0.9)
    assert (K, Th) == pytest.approx((out.K, out.Theta), rel=1e-9)
    for name in NAMES:
        assert X[name] == pytest.approx(getattr(out, name), rel=1e-8, abs=1e-8), name


def test_relu_coefficients():
    """6.1: V -> 5, B -> 2/3, F -> 1, D -> (lb + 6w)/(2 th), A -> (lb^2 + 3 lb w + 7 w^2)/(3 th^2); (11.81)."""
    lb, lw, K = 0.7, 1.2, 1.6
    found, w = asymptotics("relu", lb, lw, K), 1.2 / 2 * 1.6
    th = lb + w
    expected = {"V": 5, "B": 2 / 3, "F": 1, "D": (lb + 6 * w) / (2 * th), "A": (lb**2 + 3 * lb * w + 7 * w * w) / (3 * th**2)}
    expected |= {"P": 0, "Q": 0.5 / (6 * 0.5) * lw * K / th}
    assert {name: g.coefficient for name, g in found.ratios.items()} == pytest.approx(expected)
    assert {g.power for name, g in found.ratios.items() if name != "P"} == {1.0}
    assert set(found.missing) == set("RSTU") and "kinks" in found.missing["R"]
    assert {name: found.tensors[name].power for name in ("K", "Theta", "V", "D", "F", "A", "B", "Q")} == dict(
        K=0, Theta=1, V=1, D=2, F=2, A=3, B=3, Q=3
    )


@given(st.floats(-2, 2), st.floats(0.05, 3), st.floats(0, 3), st.floats(0.1, 5))
def test_closed_forms_approach_the_asymptotes(slope, bias, weight, K):
    if abs(slope) < 0.05:
        slope = 0.05
    phi = lg.activation(f"leaky_relu({round(slope, 2)})")
    found, l = asymptotics(phi, bias, weight, K), 10**6
    out = scale_invariant_tensors(phi, l, bias, weight, K)
    for name, growth in found.tensors.items():
        assert getattr(out, name) == pytest.approx((growth.coefficient or 0.0) * float(l) ** growth.power, rel=1e-4, abs=1e-9), name


# ---------------------------------------------------------------- K* = 0


@pytest.mark.slow
def test_printed_ratios_to_the_asymptote():
    """8.4: recursion over asymptote, lb = 1, lw = 0.5, K^(1) = 1, l = 100 and 1000."""
    shifted = lg.activation(lambda z: jnp.tanh(z + 0.3) - math.tanh(0.3))
    names = ("K", "V", "Theta", "F", "B", "D", "A")
    printed = {
        ("tanh", 100): (1.0241, 1.0196, 0.9821, 0.9694, 0.9336, 0.9661, 0.8921),
        ("tanh", 1000): (1.0033, 1.0029, 0.9947, 0.9926, 0.9830, 0.9908, 0.9744),
        ("sin", 100): (0.9843, 0.9621, 1.0259, 1.0037, 1.0644, 1.0229, 1.0766),
        (shifted, 1000): (0.9992, 1.0001, 0.9998, 0.9995, 0.9996, 0.9974, 1.0041),
    }
    for (phi, depth), values in printed.items():
        K, Th, X = at_zero(phi, depth, 1.0, 0.5)
        found, exact = asymptotics(phi, 1.0, 0.5), {"K": K, "Theta": Th, **X}
        over = [exact[name] / (found.tensors[name].coefficient * depth ** found.tensors[name].power) for name in names]
        assert over == pytest.approx(values, abs=2e-4), (phi, depth)


@pytest.mark.slow
def test_printed_ratios_of_all_tensors():
    """T5: tanh, lb = .6, lw = 1.1, l = 3000: iterated, and what is predicted."""
    found = {name: growth.coefficient for name, growth in asymptotics("tanh", 0.6, 1.1).ratios.items()}
    predicted = {"R": -0.07246, "S": 0.03986, "T": 0.008507, "P": -1 / 12, "Q": -0.03261, "B": 1 / 3, "A": 0.04033, "V": 2 / 3, "U": 0.5}
    for name, value in predicted.items():
        assert found[name] == pytest.approx(value, abs=6e-6), name
    at = ratios(*at_zero("tanh", 3000, 0.6, 1.1, start=0.5))
    printed = {"R": -0.07247, "S": 0.03991, "T": 0.008486, "P": -0.08334, "Q": -0.03256, "B": 0.3330, "A": 0.04022, "V": 0.6659}
    for name, value in printed.items():
        assert at[name] / 3000 == pytest.approx(value, rel=1e-3), name
    assert at["U"] * 3000 == pytest.approx(0.4994, abs=3e-4)


def test_deep_tanh_is_near_its_asymptotes():
    """A quicker look: every tensor within a few per cent at l = 300."""
    found, at = asymptotics("tanh", 0.6, 1.1).ratios, ratios(*at_zero("tanh", 300, 0.6, 1.1))
    for name in NAMES:
        assert at[name] == pytest.approx(found[name].coefficient * 300.0 ** found[name].power, rel=0.06), name


def test_printed_P_and_Q():
    """pdlt_10_11 2.4: limits for tanh with lb~ = lw~ = 1, and for tanh + 0.3 tanh^2."""
    tanh = asymptotics("tanh").ratios
    assert tanh["P"].coefficient == pytest.approx(-1 / 12) and tanh["Q"].coefficient == pytest.approx(-1 / 24)
    assert tanh["F"].coefficient == pytest.approx(1 / 4) and tanh["B"].coefficient == pytest.approx(1 / 3)
    other = asymptotics(lg.activation(lambda z: jnp.tanh(z) + 0.3 * jnp.tanh(z) ** 2))
    assert other.ratios["P"].coefficient == pytest.approx(-0.086543, abs=1e-6)
    assert other.ratios["Q"].coefficient == pytest.approx(-0.0354273, abs=1e-7)
    assert other.ratios["F"].coefficient == pytest.approx(0.24679, abs=6e-6)
    assert other.tensors["Theta"].coefficient == pytest.approx(1.578035, abs=1e-6)
    assert other.ratios["R"].coefficient is None and other.ratios["U"].power == 0 and "odd" in other.missing["R"]


def test_p_perp_of_a_shifted_tanh():
    found = asymptotics(lg.activation(lambda z: jnp.tanh(z + 0.3) - math.tanh(0.3)), 1.0, 0.5)
    assert found.tensors["Theta"].power == pytest.approx(1 - 0.9313535, abs=1e-6)
    assert found.tensors["A"].power == pytest.approx(3 - 2 * 0.9313535, abs=1e-6)


# ---------------------------------------------------------------- half-stable


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_half_stable_recursions_approach_the_asymptotes(name):
    """Kept at K*: leading powers of l up to 1/l, by Richardson extrapolation from two depths."""
    point = lg.critical(name).candidates[0]
    jets, found = table(name, 40.0), asymptotics(name, 0.7, 0.4)
    K = point.K_star or 0.0

    def run(depth):
        size, Th, X = iterate(jets, K, depth, point.C_b, point.C_W, lambda l: 0.7, lambda l: 0.4)
        assert size == pytest.approx(K, rel=1e-6)
        at = ratios(size, Th, X)
        return np.array([at[n] / (found.ratios[n].coefficient * depth ** found.ratios[n].power) for n in NAMES])

    one, two = run(400), run(800)
    assert 2 * two - one == pytest.approx(np.ones(len(NAMES)), abs=0.02)


# ---------------------------------------------------------------- the rest


def test_what_is_not_known_has_a_reason():
    assert "no rate" in asymptotics("relu", 0, 0).missing["A"]
    elu = asymptotics("elu")
    assert set(elu.ratios) == {"V"} and "smooth at 0" in elu.missing["B"]
    with pytest.raises(UnsupportedError, match="softplus"):
        asymptotics("softplus")
    with pytest.raises(UnsupportedError, match="not scale-invariant"):
        scale_invariant_tensors("tanh", 3)
    with pytest.raises(InputError, match="bias"):
        asymptotics("relu", bias=-1)
    with pytest.raises(InputError, match="layer"):
        scale_invariant_tensors("relu", 0)
