"""Infinite-width kernels against references, printed numbers, laws and derivatives."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen as lg
from largen.data import scaling
from largen.errors import AccuracyWarning, InputError, UnsupportedError

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "nt_kernels.npz"
NAMES = sorted({key.split("/")[0] for key in np.load(REFERENCE).files if key.startswith("mlp-") and "-L" in key})


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-5)])
@pytest.mark.parametrize("name", NAMES)
def test_reference_kernels(name, dtype, tolerance):
    """14 kernels of an independent implementation: max |difference| / max |reference|."""
    data = np.load(REFERENCE)
    activation, depth = name.removeprefix("mlp-").rsplit("-L", 1)
    net = lg.mlp(widths=[32] * (int(depth) - 1), out=1, activation=activation, C_W=1.69, C_b=0.04)
    out = lg.kernel(net, data[f"{name}/x1"].astype(dtype), data[f"{name}/x2"].astype(dtype))
    for found, expected in ((out.nngp, data[f"{name}/nngp"]), (out.ntk, data[f"{name}/ntk"])):
        assert found.dtype == dtype and isinstance(found, np.ndarray)
        assert np.abs(found - expected).max() / np.abs(expected).max() <= tolerance


def test_fourteen_references():
    assert len(NAMES) == 14


def single(activation: str, C_W: float, C_b: float, K1: float, L: int) -> np.ndarray:
    """K of every layer for one input with K^(1) given."""
    net = lg.mlp(widths=[1] * (L - 1), out=1, activation=activation, C_W=[1.0, *[C_W] * (L - 1)], C_b=[0.0, *[C_b] * (L - 1)])
    return np.asarray(lg.kernel(net, np.full((1, 4), K1**0.5), layer="all").nngp)[:, 0, 0]


def test_printed_tanh_and_sin_kernels():
    """theory/pdlt_0_5.md section 9, T1 and T2: K^(l), C_W = 1, C_b = 0, K^(1) = 1."""
    K = single("tanh", 1.0, 0.0, 1.0, 100)
    expected = {2: 0.3942944904, 3: 0.2364504105, 5: 0.1279047353, 10: 0.05801184784, 100: 0.005120715666}
    for layer, value in expected.items():
        assert K[layer - 1] == pytest.approx(value, abs=6e-11)
    K = single("sin", 1.0, 0.0, 1.0, 10)
    assert K[1] == pytest.approx((1 - np.exp(-2)) / 2, abs=1e-15) and K[9] == pytest.approx(0.09218113873, abs=1e-11)


def test_printed_relu_angles():
    """T7: angles of critical ReLU (and leaky 0.1) networks from psi^(1) = pi/2 and pi."""
    cases = [("relu", 2.0, [0, 1], {2: 1.24685022, 3: 1.05442126, 10: 0.5456132, 100: 0.08538223})]
    cases += [("relu", 2.0, [-1, 0], {2: np.pi / 2}), ("leaky_relu(0.1)", 2 / 1.01, [0, 1], {2: 1.31266087, 3: 1.14114225, 10: 0.63196444})]
    for activation, C_W, other, angles in cases:
        net = lg.mlp(widths=[1] * 99, out=1, activation=activation, C_W=C_W)
        K = lg.kernel(net, np.array([[1.0, 0.0], other], dtype=np.float64), layer="all").nngp
        for layer, angle in angles.items():
            cosine = K[layer - 1, 0, 1] / np.sqrt(K[layer - 1, 0, 0] * K[layer - 1, 1, 1])
            assert np.arccos(cosine) == pytest.approx(angle, abs=6e-9)


def test_printed_two_point_kernels_with_rates_per_layer():
    """theory/pdlt_6_9.md section 8.1 (set M): K and Theta at layer 4, rates that differ by layer."""
    X = np.array([[1.0, 0.6, -0.5], [0.4, -0.9, 0.8]])
    rates = ((0.7, 0.4, 0.9, 0.6), (1.2, 0.8, 1.1, 0.5))
    cases = [
        ("relu", 1.8, 0.1, (1.048114, 0.695590), (3.846928, 1.706902)),
        ("tanh", 1.3, 0.05, (0.361949, 0.059677), (2.707595, 1.572544)),
    ]
    for activation, C_W, C_b, K, Theta in cases:
        out = lg.kernel(lg.mlp(widths=[32, 48, 64], out=10, activation=activation, C_W=C_W, C_b=C_b), X, rates=rates)
        np.testing.assert_allclose([out.nngp[0, 0], out.nngp[0, 1]], K, atol=6e-7)
        np.testing.assert_allclose([out.ntk[0, 0], out.ntk[0, 1]], Theta, atol=2e-6)


@pytest.mark.slow
def test_layers_and_paths():
    net = lg.mlp(widths=[4, 4], out=1, activation="tanh", C_W=[1.0, 1.2, 1.4], C_b=0.1)
    X = np.random.default_rng(0).normal(size=(3, 5))
    every = lg.kernel(net, X, layer="all")
    assert every.nngp.shape == every.ntk.shape == (3, 3, 3)
    for i in range(3):
        for layer in (i + 1, f"dense{i + 1}"):
            one = lg.kernel(net, X, layer=layer)
            np.testing.assert_allclose(one.nngp, every.nngp[i], rtol=1e-14)  # compiled apart, so rounded apart
            np.testing.assert_allclose(one.ntk, every.ntk[i], rtol=1e-14)
    np.testing.assert_allclose(lg.kernel(net, X).ntk, every.ntk[2], rtol=1e-14)
    np.testing.assert_allclose(every.nngp[0], 0.1 + X @ X.T / 5, rtol=1e-13)


def test_last_layer_training_is_the_posterior_kernel():
    """GD = Bayes (PDLT 10.46): only the readout trained, at its prior rates, gives Theta = K."""
    net = lg.mlp(widths=[4, 4], out=1, activation="gelu", C_W=1.7, C_b=0.1)
    out = lg.kernel(net, np.random.default_rng(0).normal(size=(4, 3)), rates=((0, 0, 0.1), (0, 0, 1.7)))
    np.testing.assert_allclose(out.ntk, out.nngp, rtol=1e-13)


NEAR = {"relu": (2.0, 1e-6), "gelu": (2.0, 1e-6), "tanh": (1.5, 2e-5)}


@pytest.mark.slow
@pytest.mark.parametrize("activation", NEAR)
def test_float32_near_duplicates_at_depth_50(activation):
    """Duplicates, near-duplicates at 1e-12 to 1e-3, antipodes and parallel points: cosines in float32 against float64. Sizes
    drift further, with the rounding of phi, which is systematic: up to 4 ulp a layer."""
    C_W, tolerance = NEAR[activation]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8, 20))
    for i, distance in enumerate((0, 1e-12, 1e-8, 1e-5, 1e-3)):
        X[i + 1] = X[0] + distance * rng.normal(size=20)
    X[6], X[7] = -X[0] * (1 + 1e-7), 3 * X[0]
    X = X.astype(np.float32)
    net = lg.mlp(widths=[4] * 49, out=1, activation=activation, C_W=C_W, C_b=0.01)
    low, high = lg.kernel(net, X), lg.kernel(net, X.astype(np.float64))
    for a, b in ((low.nngp, high.nngp), (low.ntk, high.ntk)):
        a, b = np.asarray(a, np.float64), np.asarray(b)
        size_a, size_b = np.sqrt(np.diag(a)), np.sqrt(np.diag(b))
        assert np.abs(a / np.outer(size_a, size_a) - b / np.outer(size_b, size_b)).max() < tolerance
        assert np.abs(np.diag(a) / np.diag(b) - 1).max() < 50 * 4 * np.finfo(np.float32).eps
    assert low.ntk[0, 1] == low.ntk[0, 0]


ACTIVATIONS = ["relu", "abs", "gelu", "tanh", "elu", "sign", "polynomial(0, 1, 0.3)"]


@pytest.mark.parametrize("activation", [pytest.param(a, marks=pytest.mark.slow) if a in ("tanh", "elu") else a for a in ACTIVATIONS])
def test_first_derivatives(activation):
    """d/dC_W, d/dC_b, d(scale of the inputs) at coincident, opposite and parallel points, and d/dx at distinct points,
    against central differences."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(5, 3))
        X[1], X[2], X[3] = X[0], -X[0], 3 * X[0]
        D = np.zeros_like(X)
        D[[0, 4]] = rng.normal(size=(2, 3))
        widths = [5] if activation in ("tanh", "elu") else [5, 5]  # by quadrature: programs that take long to compile
        net = lg.mlp(widths=widths, out=1, activation=activation, C_W=[1.2, 1.5, 1.1][: len(widths) + 1], C_b=0.1)

        def both(v):
            """NNGP and NTK for (scale of the inputs, factor of C_W, factor of C_b, shift along D)."""
            leaves, tree = jax.tree_util.tree_flatten(net)
            moved = jax.tree_util.tree_unflatten(tree, [leaf * v[1 + i % 2] for i, leaf in enumerate(leaves)])
            out = lg.kernel(moved, jnp.asarray(X) * v[0] + v[3] * D)
            kernels = jnp.stack([out.nngp, out.ntk])
            return kernels, kernels

        at, e = np.array([1.0, 1.0, 1.0, 0.0]), 1e-5
        program = jax.jit(jax.jacfwd(both, has_aux=True))  # one for slopes and values
        slopes = np.asarray(program(at)[0])
        for i, step in enumerate(e * np.eye(4)):
            found, expected = slopes[..., i], np.asarray((program(at + step)[1] - program(at - step)[1]) / (2 * e))
            if i == 3:  # off the coincident points, where the NTK has a cusp
                found, expected = found[:, [0, 0, 4], [0, 4, 4]], expected[:, [0, 0, 4], [0, 4, 4]]
            np.testing.assert_allclose(found, expected, atol=2e-8 * np.abs(expected).max())


def test_gradient_at_coincident_points_is_the_symmetric_subgradient():
    """Moving one of two equal points: the mean of the two one-sided derivatives of a ReLU NTK."""
    with jax.enable_x64(True):
        net = lg.mlp(widths=[4, 4], out=1, activation="relu", C_W=2.0)
        x, d = np.array([[1.0, 0.5]]), np.array([[0.3, -0.8]])

        def value(s):
            return lg.kernel(net, jnp.asarray(x) + s * d, jnp.asarray(x)).ntk[0, 0]

        e = 1e-6
        one_sided = [float((value(s * e) - value(0.0)) / (s * e)) for s in (1, -1)]
        assert abs(one_sided[0] - one_sided[1]) > 0.1
        assert float(jax.grad(value)(0.0)) == pytest.approx(np.mean(one_sided), abs=1e-5)


@pytest.mark.slow
def test_second_derivatives():
    """Exact for smooth activations (against differences of gradients), refused for kinked ones."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        X, D = jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(rng.normal(size=(3, 2)))
        net = lg.mlp(widths=[5], out=1, activation="tanh", C_W=1.5, C_b=0.1)
        slope = jax.grad(lambda X: lg.kernel(net, X).ntk.sum())
        both = jax.jit(lambda X: jax.jvp(slope, (X,), (D,)))  # one program: the slope, and the curvature along D
        (above, _), (_, curvature), (below, _) = (both(X + e * D) for e in (1e-5, 0.0, -1e-5))
        assert np.abs(curvature).max() > 0.1
        np.testing.assert_allclose(curvature, (above - below) / 2e-5, atol=1e-7)
        for activation in ("relu", "hardtanh"):
            net = lg.mlp(widths=[5], out=1, activation=activation)
            with pytest.raises(UnsupportedError, match="cusp"):
                jax.eval_shape(jax.hessian(lambda X, net=net: lg.kernel(net, X).ntk.sum()), X)


def test_jit_vmap_and_gradient_of_hyperparameters():
    net = lg.mlp(widths=[4], out=1, activation="erf", C_W=1.5, C_b=0.1)
    X = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)

    def scaled(w):
        return lg.kernel(jax.tree_util.tree_map(lambda a: a * w, net), X).ntk

    batch = jax.jit(jax.vmap(scaled))(jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(batch[1], lg.kernel(net, X).ntk, rtol=2e-6)
    slope = jax.grad(lambda n: lg.kernel(n, X).nngp.sum())(net)
    assert isinstance(slope, lg.Serial) and lg.analysis.chain(slope)[1].C_b == pytest.approx(9.0)


def test_dtypes_and_kinds_of_arrays():
    net = lg.mlp(widths=[4], out=1)
    X = np.eye(3)
    assert lg.kernel(net, X).ntk.dtype == np.float64 and isinstance(lg.kernel(net, X).ntk, np.ndarray)
    assert lg.kernel(net, jnp.eye(3)).ntk.dtype == jnp.float32 and isinstance(lg.kernel(net, jnp.eye(3)).ntk, jax.Array)
    assert lg.kernel(net, X.astype(np.float16)).ntk.dtype == np.float16
    assert lg.kernel(net, X, np.eye(3, dtype=np.float32)).ntk.dtype == np.float64
    assert lg.kernel(net, [[1, 0], [0, 1]]).ntk.shape == (2, 2)


laws = settings(max_examples=15)
some_nets = st.builds(
    lambda activation, depth, C_W, C_b: lg.mlp(widths=[4] * depth, out=1, activation=activation, C_W=C_W, C_b=C_b),
    st.sampled_from(["relu", "gelu", "tanh"]),
    st.just(2),
    st.sampled_from([0.7, 1.0, 2.1]),
    st.sampled_from([0.0, 0.2]),
)


@pytest.mark.slow
@laws
@given(some_nets, st.integers(0, 99))
def test_law_symmetric_positive_and_consistent_blocks(net, seed):
    X = np.random.default_rng(seed).normal(size=(6, 3))
    out, cross = lg.kernel(net, X), lg.kernel(net, X[:2], X)
    for full, block in ((out.nngp, cross.nngp), (out.ntk, cross.ntk)):
        np.testing.assert_allclose(full, full.T, rtol=1e-12)
        assert np.linalg.eigvalsh(full)[0] > -1e-12 * np.abs(full).max()
        np.testing.assert_allclose(block, full[:2], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@laws
@given(some_nets, st.integers(0, 99))
def test_law_rotation_invariance(net, seed):
    rng = np.random.default_rng(seed)
    X, rotation = rng.normal(size=(4, 3)), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    a, b = lg.kernel(net, X), lg.kernel(net, X @ rotation)
    np.testing.assert_allclose(a.nngp, b.nngp, atol=1e-12 * np.abs(a.nngp).max())
    np.testing.assert_allclose(a.ntk, b.ntk, atol=1e-10 * np.abs(a.ntk).max())


@laws
@given(st.sampled_from(["relu", "abs", "leaky_relu(0.3)", "linear"]), st.floats(0.2, 5), st.floats(0.3, 3), st.integers(0, 99))
def test_law_homogeneity_and_gauge(activation, scale, C_W, seed):
    """phi(a z) = a phi(z), C_b = 0: K(a x, a x') = a^2 K; C_W in every layer multiplies K and Theta by C_W^L."""
    X = np.random.default_rng(seed).normal(size=(4, 3))
    unit = lg.kernel(lg.mlp(widths=[4, 4], out=1, activation=activation), X)
    scaled = lg.kernel(lg.mlp(widths=[4, 4], out=1, activation=activation), X * scale)
    heavy = lg.kernel(lg.mlp(widths=[4, 4], out=1, activation=activation, C_W=C_W), X)
    for field in ("nngp", "ntk"):
        a = getattr(unit, field)
        np.testing.assert_allclose(getattr(scaled, field), scale**2 * a, rtol=1e-9, atol=1e-10 * scale**2 * np.abs(a).max())
        np.testing.assert_allclose(getattr(heavy, field), C_W**3 * a, rtol=1e-9, atol=1e-12 * C_W**3 * np.abs(a).max())


def test_undeclared_kink_warns():
    net = lg.Dense(4) >> lg.Act(lg.activation(lambda z: jnp.maximum(z, 0.3))) >> lg.Dense(1)
    X = np.random.default_rng(0).normal(size=(3, 2))
    with pytest.warns(AccuracyWarning, match=r"has a kink near z = 0\.3: declare it, lg\.activation\(fn, kinks="):
        lg.kernel(net, X)


BAD = [
    (dict(X1=[1.0, 2.0]), "X1", r"shape \(2,\)"),
    (dict(X1=np.ones((2, 3, 4))), "X1", "Flatten"),
    (dict(X1=np.ones((0, 3))), "X1", "empty"),
    (dict(X1=[[np.nan, 1.0]]), "X1", "1 entries that are NaN"),
    (dict(X1=[[np.inf, 1.0]]), "X1", "infinite"),
    (dict(X1=[[1j, 1.0]]), "X1", "complex"),
    (dict(X1=[["a", "b"]]), "X1", "not numbers"),
    (dict(X1=[[1.0], [1.0, 2.0]]), "X1", "rectangular"),
    (dict(X1=np.ones((2, 3)), X2=np.ones((2, 4))), "X2", "3 columns, as in X1"),
    (dict(X1=np.ones((2, 3)), rates="sgd"), "rates", "'ntk'"),
    (dict(X1=np.ones((2, 3)), rates=((1, 1, 1), 1)), r"rates\[0\]", "one per affine layer"),
    (dict(X1=np.ones((2, 3)), rates=(1, -1)), r"rates\[1\]", "-1"),
    (dict(X1=np.ones((2, 3)), layer=5), "layer", "from 1 to 2"),
    (dict(X1=np.ones((2, 3)), layer="act1"), "layer", "dense1, dense2"),
]


@pytest.mark.parametrize("arguments, name, message", BAD)
def test_bad_input(arguments, name, message):
    with pytest.raises(InputError, match=message) as caught:
        lg.kernel(lg.mlp(widths=[4], out=1), **arguments)
    assert name.replace("\\", "") in caught.value.argument


def test_unsupported_places_of_activations():
    X = np.ones((2, 3))
    for net in (
        lg.Act("relu") >> lg.Dense(1),
        lg.Dense(4) >> lg.Act("relu"),
        lg.Dense(4) >> lg.Act("relu") >> lg.Act("tanh") >> lg.Dense(1),
    ):
        with pytest.raises(UnsupportedError, match=r"lg\.Dense"):
            lg.kernel(net, X)
    with pytest.raises(InputError, match="a network"):
        lg.kernel("relu", X)


def test_raw_pixels_are_mentioned_once():
    """A warning, once a process, when |x|^2/n_0 is far from 1."""
    scaling._warned = False
    with pytest.warns(UserWarning, match=r"lg\.standardize"):
        lg.kernel(lg.mlp(widths=[4], out=1), np.full((2, 3), 255.0))
    lg.kernel(lg.mlp(widths=[4], out=1), np.full((2, 3), 255.0))


@pytest.mark.parametrize("activation", ["erf", "tanh", "gelu", "relu", "softsign"])
def test_derivatives_of_float32_do_not_depend_on_the_flag(activation: str) -> None:
    X = np.random.default_rng(4).normal(size=(3, 3)).astype(np.float32)

    def both(c: jax.Array, x: jax.Array) -> jax.Array:
        return lg.kernel(lg.mlp(widths=[4], out=1, activation=activation, C_W=c), x).ntk.sum()

    found = []
    for flag in (False, True):
        with jax.enable_x64(flag):
            found.append(jax.grad(both, (0, 1))(jnp.float32(1.5), jnp.asarray(X)))
    for off, on in zip(*found, strict=True):
        assert off.dtype == on.dtype == np.float32
        np.testing.assert_array_equal(off, on)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_small_programs_of_numpy_are_the_compiled_ones(part: int) -> None:
    """Every named activation, and every node that has a kernel: what NumPy computes for few points, and the compiler for the same."""
    names = ["tanh", "gelu", "elu", "softsign", "hardtanh", "erf", "sin", "gelu_tanh", "swish", "sigmoid", "softplus", "mish"]
    names += ["selu", "arctan", "exp_normalized", "gaussian", "gabor", "rbf", "leaky_relu(0.1)", "abs", "sign", "cos", "quadratic"]
    names += ["rectified_monomial(2)", "polynomial(0, 1, 0.3)", "hermite(3)"]
    flat: Any = lg.Identity()
    for name in names[part::4]:
        flat = flat >> lg.Dense(4, C_W=1.3, C_b=0.2) >> lg.LayerNorm() >> lg.Act(name)
    flat = flat >> lg.Dense(1)
    wide = lg.Concat(lg.Dense(4) >> lg.Act("relu"), lg.Dense(8) >> lg.Act("erf")) >> lg.Dense(3)
    block = lg.Sum(lg.Identity(), lg.Conv(4, 3, C_W=0.5) >> lg.Act("relu") >> lg.Conv(4, 3, strides=1, C_b=0.1))
    image: Any = [
        lg.Conv(4, 3) >> lg.Act("relu") >> block >> lg.AvgPool(2) >> lg.Conv(4, 1) >> lg.Act("tanh") >> lg.GlobalAvgPool() >> lg.Dense(1),
        lg.Conv(4, 3) >> lg.Attention() >> lg.Flatten() >> lg.Dense(1),
        lg.Conv(4, 3, strides=2) >> lg.Act("erf") >> lg.ConvLocal(4, 3) >> lg.Dropout(0.2) >> lg.RMSNorm() >> lg.Flatten() >> lg.Dense(1),
        lg.ConvTranspose(4, 3, strides=2) >> lg.Act("relu") >> lg.Conv(4, 1) >> lg.SumPool(2) >> lg.Flatten() >> wide,
    ][part]
    rng = np.random.default_rng(part)
    points = rng.normal(size=(4, 3))
    points[3] = points[0] + 1e-5
    for net, X in ((flat, points), (image, rng.normal(size=(2, 4, 4, 2)))):
        small, large = lg.kernel(net, X), jax.jit(lambda x, net=net: lg.kernel(net, x))
        with jax.enable_x64(True):
            compiled = large(jnp.asarray(X))
        for a, b in ((small.nngp, compiled.nngp), (small.ntk, compiled.ntk)):
            size = np.sqrt(np.outer(np.diagonal(b), np.diagonal(b)))
            np.testing.assert_allclose(a / size, np.asarray(b) / size, rtol=0, atol=1e-12)
