"""The table of activations: values, names, kinks, registration, closed critical points."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.activations.activation import FAMILIES
from largen.activations.dual import moment
from largen.errors import InputError
from largen.types import island

Z = np.linspace(-3, 3, 13)
FORMULAS = {
    "linear": Z,
    "relu": np.maximum(Z, 0),
    "leaky_relu(0.2)": np.where(Z > 0, Z, 0.2 * Z),
    "leaky_relu": np.where(Z > 0, Z, 0.01 * Z),
    "abs": np.abs(Z),
    "sign": np.sign(Z),
    "tanh": np.tanh(Z),
    "sin": np.sin(Z),
    "cos": np.cos(Z),
    "swish": Z / (1 + np.exp(-Z)),
    "silu": Z / (1 + np.exp(-Z)),
    "sigmoid": 1 / (1 + np.exp(-Z)),
    "softplus": np.log1p(np.exp(Z)),
    "elu": np.where(Z > 0, Z, np.expm1(Z)),
    "selu": 1.0507009873554805 * np.where(Z > 0, Z, 1.6732632423543772 * np.expm1(Z)),
    "mish": Z * np.tanh(np.log1p(np.exp(Z))),
    "arctan": np.arctan(Z),
    "softsign": Z / (1 + np.abs(Z)),
    "hardtanh": np.clip(Z, -1, 1),
    "exp": np.exp(Z),
    "gaussian": np.exp(-(Z**2)),
    "gaussian(2, 0.5)": 2 * np.exp(-0.5 * Z**2),
    "gabor": np.exp(-(Z**2)) * np.sin(Z),
    "quadratic": Z**2,
    "monomial(3)": Z**3,
    "polynomial(1, 0, 2)": 1 + 2 * Z**2,
    "rectified_monomial(2)": np.maximum(Z, 0) ** 2,
    "hermite(3)": (Z**3 - 3 * Z) / np.sqrt(6),
    "rbf(0.5)": np.sqrt(2) * np.sin(Z + np.pi / 4),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name):
    with island():
        np.testing.assert_allclose(lg.activation(name)(jnp.asarray(Z)), FORMULAS[name], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("gamma", [0.5, 3.0])
def test_exp_normalized_has_its_kernel_on_units_of_variance_one(gamma):
    X = np.random.default_rng(0).normal(size=(5, 3))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    net = lg.Dense(1) >> lg.RMSNorm() >> lg.Act(f"exp_normalized({gamma})") >> lg.Dense(1)
    np.testing.assert_allclose(lg.kernel(net, X).nngp, np.exp(gamma * (unit @ unit.T - 1)), rtol=1e-8)
    with pytest.raises(InputError, match="exp_normalized"):
        lg.activation("exp_normalized(9)")


def test_scaled_gaussians_have_their_closed_form():
    X = np.random.default_rng(0).normal(size=(4, 3))
    K = X @ X.T / 3
    q = np.diag(K)
    wanted = 4 / np.sqrt((1 + q[:, None]) * (1 + q) - K**2)  # 2 exp(-z^2/2)
    np.testing.assert_allclose(lg.kernel(lg.mlp(widths=[1], activation="gaussian(2, 0.5)"), X).nngp, wanted, rtol=1e-13)
    assert lg.activation("gaussian(1, 1)") == lg.activation("gaussian")


def test_erf_and_gelu_are_exact():
    scipy_special = pytest.importorskip("scipy.special")
    with island():
        np.testing.assert_allclose(lg.activation("erf")(jnp.asarray(Z)), scipy_special.erf(Z), rtol=1e-14)
        np.testing.assert_allclose(lg.activation("gelu")(jnp.asarray(Z)), Z * scipy_special.ndtr(Z), rtol=1e-13)
        np.testing.assert_allclose(lg.activation("gelu_tanh")(jnp.asarray(Z)), jax.nn.gelu(jnp.asarray(Z), approximate=True), rtol=1e-13)


def test_every_family_has_a_default_and_survives_text_and_pickle():
    for name in FAMILIES:
        try:
            phi = lg.activation(name)
        except InputError:
            assert name == "polynomial"  # needs coefficients
            phi = lg.activation("polynomial(1, 2)")
        assert lg.activation(phi.name) is phi
        assert pickle.loads(pickle.dumps(phi)) is phi
        assert eval(repr(phi)) == phi


def test_printed_one_input_moments():
    """theory/pdlt_0_5.md: T3, T4 and the GELU value of section 8.4; <s'^2> too."""
    values = {
        ("tanh", 1.0): (0.3942944904, 0.4644029024),
        ("tanh", 0.1): (0.0842139284, 0.8492070684),
        ("tanh", 2.0): (0.5199757457, 0.3495082977),
        ("swish", 1.0): (0.3557755198, 0.3794823516),
        ("gelu", 1.0): (0.4252214826, 0.4558508656),
    }
    with island():
        for (name, K), (g, slope) in values.items():
            phi = lg.activation(name)
            assert float(moment(phi, jnp.asarray(K))) == pytest.approx(g, abs=6e-11)
            assert float(moment(phi, jnp.asarray(K), 1)) == pytest.approx(slope, abs=6e-11)
        assert float(moment(lg.activation("gelu"), jnp.asarray(1.7))) == pytest.approx(0.7717012125, abs=6e-11)


def test_jumps_at_kinks():
    hardtanh = lg.activation("hardtanh")
    assert hardtanh.jumps(0) == (0.0, 0.0)
    np.testing.assert_allclose(hardtanh.jumps(1), (1, -1), atol=1e-8)
    np.testing.assert_allclose(lg.activation("sign").jumps(0), (2,))


def test_callables():
    def bump(z):
        return jnp.exp(-jnp.abs(z))

    once = lg.activation(bump, kinks=(0.0,))
    assert once == lg.activation(bump, kinks=(0.0,)) and "not registered" in repr(once)
    named = lg.activation(bump, name="bump", kinks=(0,))
    assert lg.activation("bump") is named and lg.activation(bump, name="bump", kinks=(0,)) is named
    assert eval(repr(lg.Act("bump"))) == lg.Act("bump")


BAD = [
    (("geluu",), {}, "Did you mean 'gelu'"),
    (("leaky_relu(0.1",), {}, "numbers in brackets"),
    (("leaky_relu(1, 2)",), {}, "numbers in brackets"),
    (("monomial(1.5)",), {}, "an integer from 0"),
    (("rbf(-1)",), {}, "a number > 0"),
    ((3,), {}, "a name or an elementwise callable"),
    ((jnp.sum,), {}, "maps shape"),
    ((lambda z: z - z.mean(),), {}, "depends on the others"),
    ((lambda z: jnp.sqrt(z),), {}, "NaN or infinity"),
    ((lambda z: z @ z,), {}, "failed on an array"),
    ((jnp.tanh,), {"kinks": ("a",)}, "finite numbers"),
    ((jnp.tanh,), {"kinks": (np.nan,)}, "finite numbers"),
    ((jnp.tanh,), {"name": "relu"}, "not taken"),
    ((jnp.tanh,), {"name": "my act"}, "identifier"),
]


@pytest.mark.parametrize("arguments, options, message", BAD)
def test_bad_input(arguments, options, message):
    with pytest.raises(InputError, match=message):
        lg.activation(*arguments, **options)
