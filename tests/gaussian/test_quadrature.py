"""Hermite series and split quadrature: accuracy, error estimates, laws."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.integrate import IntegrationWarning, quad

import largen as lg
from largen.activations.dual import dual, moment
from largen.gaussian import hermite, piecewise
from largen.gaussian.pair import Pair
from largen.running.jitted import jitted
from largen.types import island

# ---- oracle
REACH = 9.5


def integral(f: Callable[[float], float], cuts: Sequence[float], error: float) -> float:
    edges = [-REACH, *sorted(c for c in cuts if abs(c) < REACH), REACH]
    return sum(quad(f, a, b, epsabs=error, epsrel=100 * error)[0] for a, b in pairwise(edges))


def pair_mean(
    f: Callable[[float], float],
    g: Callable[[float], float],
    q1: float,
    q2: float,
    near: float,
    far: float,
    kinks: Sequence[float] = (),
) -> float:
    """An independent path to E[f(z1) g(z2)], 1 - c = near, 1 + c = far: nested adaptive quadrature over z1 and z2 given z1."""
    c = 1 - near if near <= far else far - 1
    s = math.sqrt(near * far)
    r1, r2 = math.sqrt(q1), math.sqrt(q2)

    def density(u: float) -> float:
        return math.exp(-u * u / 2) / math.sqrt(2 * math.pi)

    def inner(u: float) -> float:
        cuts = [(x / r2 - c * u) / s for x in kinks]
        return integral(lambda v: g(r2 * (c * u + s * v)) * density(v), cuts, 1e-14)

    outer = [x / r1 for x in kinks] + [x / (r2 * c) + d * s for x in kinks for d in (-8, -2, 0, 2, 8) if c]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrationWarning)  # roundoff at 1e-14 is what is asked for
        return integral(lambda u: f(r1 * u) * density(u) * inner(u), outer, 1e-13)


# ---- tests
dual_of = jitted(static=(0,))(dual)  # as kernels have it: few pairs need no compiler
SIZES = [0.05, 0.3, 1.0, 4.0, 20.0]
VERSINES = [0.0, 1e-30, 1e-16, 1e-12, 1e-8, 1e-4, 0.01, 0.3, 1.0, 1.7]


def grid() -> Pair:
    """Pairs of K from 0.05 to 20: equal, nearly equal and unequal norms; duplicates, near-duplicates, antipodes."""
    rows = []
    for q in SIZES:
        for other in (q, q * (1 + 1e-9), q * 1.01, 1.0, 7.0):
            for v in VERSINES:
                rows += [(q, other, v, 2 - v), (q, other, 2 - v, v)]
    q1, q2, near, far = (jnp.asarray(column, jnp.float64) for column in zip(*rows, strict=True))
    return Pair(q1, q2, jnp.sqrt(q1 * q2) * jnp.where(near < far, 1 - near, far - 1), near, far)


def angles(out) -> np.ndarray:
    return np.sqrt(np.minimum(out.phi.near, out.phi.far))


CLOSED = ["linear", "relu", "leaky_relu(0.3)", "abs", "erf", "gelu", "sin", "cos", "gaussian", "polynomial(1, 0.5, -2, 0.3)", "rbf(0.7)"]
CLOSED += ["exp"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_equals_quadrature(name):
    """Two code paths over the whole grid: moments to 1e-10 (smooth) or 1e-9 (kinked) of the scale, and the angle of the
    output, which decides what a kinked layer makes of it."""
    closed = lg.activation(name)
    bare = replace(closed, closed=None, registered=False)
    with island():
        pair = grid()
        a, b = dual_of(closed, pair), dual_of(bare, pair)
        scale = jnp.sqrt(a.phi.q1 * a.phi.q2)
        slope_scale = jnp.sqrt(moment(closed, pair.q1, 1) * moment(closed, pair.q2, 1))
        tolerance = 1e-9 if closed.kinks else 1e-10
        assert jnp.abs(b.phi.q1 / a.phi.q1 - 1).max() < tolerance
        assert (jnp.abs(a.phi.k - b.phi.k) / scale).max() < tolerance
        assert (jnp.abs(a.kdot - b.kdot) / slope_scale).max() < tolerance
        if name != "exp":  # at K = 20 its second moment is 1e17 and its angle is lost, in both
            assert np.abs(angles(a) - angles(b)).max() < 1e-10
        assert b.error < 1e-8


SMOOTH = ["tanh", "swish", "softplus", "mish", "arctan", "gabor"]
KINKED = ["elu", "selu", "softsign", "rectified_monomial(2)"]
CASES = [(0.05, 20.0, 0.3), (20.0, 20.0, 1e-6), (1.0, 1.3, 0.02), (4.0, 4.0, 1.9999)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH + KINKED)
def test_against_adaptive_quadrature(name):
    """Every activation without a closed form, against scipy's nested adaptive quadrature."""
    phi = lg.activation(name)
    with island():
        q1, q2, near = (jnp.asarray(v, jnp.float64) for v in zip(*CASES, strict=True))
        out = dual_of(phi, Pair(q1, q2, (1 - near) * jnp.sqrt(q1 * q2), near, 2 - near))
        scale = np.sqrt(np.asarray(out.phi.q1 * out.phi.q2))
        slope_scale = np.sqrt(np.asarray(moment(phi, q1, 1) * moment(phi, q2, 1)))
        k, kdot = np.asarray(out.phi.k), np.asarray(out.kdot)
    plain, plain_slope = NUMPY[name]
    for i, (a, b, v) in enumerate(CASES):
        tolerance = 1e-9 if phi.kinks else 1e-10
        assert abs(k[i] - pair_mean(plain, plain, a, b, v, 2 - v, phi.kinks)) < tolerance * scale[i]
        assert abs(kdot[i] - pair_mean(plain_slope, plain_slope, a, b, v, 2 - v, phi.kinks)) < tolerance * slope_scale[i]


def _sigmoid(z: float) -> float:
    return 1 / (1 + np.exp(-z)) if z > 0 else np.exp(z) / (1 + np.exp(z))


def _softplus(z: float) -> float:
    return max(z, 0) + np.log1p(np.exp(-abs(z)))


def _mish_slope(z: float) -> float:
    t = np.tanh(_softplus(z))
    return t + z * (1 - t * t) * _sigmoid(z)


def _gelu_tanh_slope(z: float) -> float:
    t = np.tanh(_A * (z + _B * z**3))
    return 0.5 * (1 + t) + 0.5 * z * _A * (1 + 3 * _B * z * z) * (1 - t * t)


_A, _B = np.sqrt(2 / np.pi), 0.044715
S, A = 1.0507009873554805, 1.6732632423543772
NUMPY = {
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "swish": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * (1 - _sigmoid(z)))),
    "softplus": (_softplus, _sigmoid),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "mish": (lambda z: z * np.tanh(_softplus(z)), _mish_slope),
    "arctan": (np.arctan, lambda z: 1 / (1 + z * z)),
    "gelu_tanh": (
        lambda z: 0.5 * z * (1 + np.tanh(_A * (z + _B * z**3))),
        _gelu_tanh_slope,
    ),
    "gabor": (lambda z: np.exp(-z * z) * np.sin(z), lambda z: np.exp(-z * z) * (np.cos(z) - 2 * z * np.sin(z))),
    "elu": (lambda z: z if z > 0 else np.expm1(z), lambda z: 1.0 if z > 0 else np.exp(z)),
    "selu": (lambda z: S * (z if z > 0 else A * np.expm1(z)), lambda z: S * (1.0 if z > 0 else A * np.exp(z))),
    "softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
    "hardtanh": (lambda z: min(max(z, -1.0), 1.0), lambda z: float(-1 < z < 1)),
    "rectified_monomial(2)": (lambda z: max(z, 0.0) ** 2, lambda z: 2 * max(z, 0.0)),
}


@pytest.mark.slow
def test_kinks_anywhere():
    """Declared kinks away from 0, two of them and unequal norms; the same function in pieces of relus."""
    phi = lg.activation(lambda z: jnp.clip(z, -0.4, 1.3), kinks=(1.3, -0.4))

    def plain(z: float) -> float:
        return min(max(z, -0.4), 1.3)

    with island():
        q1, q2, near = (jnp.asarray([v], jnp.float64) for v in (0.7, 2.0, 1e-3))
        out = dual_of(phi, Pair(q1, q2, (1 - near) * jnp.sqrt(q1 * q2), near, 2 - near))
    assert abs(float(out.phi.k[0]) - pair_mean(plain, plain, 0.7, 2.0, 1e-3, 2 - 1e-3, phi.kinks)) < 1e-10


@pytest.mark.slow
def test_error_estimates_hold():
    """The reported error bounds the true one, and tells an undeclared kink."""
    with island():
        pair = grid()
        for name in ("erf", "relu"):
            closed = lg.activation(name)
            bare = replace(closed, closed=None, registered=False)
            a, b = dual_of(closed, pair), dual_of(bare, pair)
            assert (jnp.abs(a.phi.k - b.phi.k) / jnp.sqrt(a.phi.q1 * a.phi.q2)).max() < b.error + 1e-11
        undeclared = replace(lg.activation("relu"), closed=None, kinks=(), registered=False)
        a, b = dual_of(lg.activation("relu"), pair), dual_of(undeclared, pair)
        assert b.error > 1e-6
        assert (jnp.abs(a.phi.k - b.phi.k) / jnp.sqrt(a.phi.q1 * a.phi.q2)).max() < b.error


@pytest.mark.slow
def test_single_input_rules():
    """One-input expectations against closed moments: E z^4 = 3 q^2, P(z > x), and derivatives by moving pieces."""
    with island():
        q = jnp.asarray([0.05, 1.0, 20.0])
        np.testing.assert_allclose(hermite.mean(lambda z: z**4, q), 3 * q**2, rtol=1e-13)
        above = piecewise.mean(lambda z: jnp.where(z > 0.7, 1.0, 0.0), q, (0.7,))
        np.testing.assert_allclose(above, 1 - jax.scipy.stats.norm.cdf(0.7 / jnp.sqrt(q)), rtol=1e-11, atol=1e-13)
        slope = jax.grad(lambda v: piecewise.mean(lambda z: jnp.where(z > 0.7, 1.0, 0.0), v, (0.7,)))(jnp.asarray(1.0))
        density = float(jax.scipy.stats.norm.pdf(0.7)) * 0.7 / 2
        np.testing.assert_allclose(slope, density, rtol=1e-10)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.sampled_from(["relu", "gelu", "tanh", "sign", "elu"]), st.floats(0.05, 20), st.floats(0.05, 20), st.floats(-1, 1))
def test_laws_of_the_dual(name, q1, q2, c):
    """Cauchy-Schwarz, symmetry in the two points, 1 - c' and 1 + c' consistent with k'."""
    phi = lg.activation(name)
    with island():
        a, b, v = (jnp.asarray([x], jnp.float64) for x in (q1, q2, c))
        pair = Pair(a, b, v * jnp.sqrt(a * b), 1 - v, 1 + v)
        out, swapped = dual_of(phi, pair), dual_of(phi, Pair(b, a, pair.k, 1 - v, 1 + v))
        size = jnp.sqrt(out.phi.q1 * out.phi.q2)
        assert abs(float(out.phi.k[0])) <= float(size[0]) * (1 + 1e-10)
        np.testing.assert_allclose(swapped.phi.k, out.phi.k, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(swapped.kdot, out.kdot, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(size * (1 - out.phi.near), out.phi.k, atol=1e-9 * float(size[0]))
        np.testing.assert_allclose(out.phi.near + out.phi.far, 2, atol=1e-9)
