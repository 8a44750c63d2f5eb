"""The 1/n tensors against printed numbers, laws and an independent code path with inverse kernels."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen as lg
from largen.architecture.chain import Layer
from largen.errors import AccuracyWarning, InputError, UnsupportedError
from largen.theory.corrections.recursion import recur
from largen.theory.corrections.single import recur_single


def metric(net, X, **more):
    """The tensors of the metric alone."""
    return lg.corrections(net, X, tensors=("K", "V", "K1", "M"), **more)


K1 = np.array([[1.0, 0.4], [0.4, 0.8]])
ENTRIES = ((0, 0), (1, 1), (0, 1))  # the order in which the theory pages print pairs


def layers(activation: str, C_b: float, C_W: float, widths: list[int], skip: float = 0.0) -> list[Layer]:
    """A chain whose first kernel is given separately."""
    phi = lg.activation(activation)
    rest = [Layer(f"dense{i}", phi, n, C_W, C_b, skip) for i, n in enumerate(widths[1:], 2)]
    return [Layer("dense1", None, widths[0], 1.0, 0.0), *rest]


def table(V: np.ndarray) -> np.ndarray:
    return np.array([[V[a + b] for b in ENTRIES] for a in ENTRIES])


def entries(M: np.ndarray) -> np.ndarray:
    return np.array([M[a] for a in ENTRIES])


# ---------------------------------------------------------------- printed numbers


def test_T1_tanh():
    """theory/pdlt_0_5.md T1: one input, K^(1) = 1, C_W = 1, C_b = 0."""
    out = recur_single(layers("tanh", 0, 1.0, [1] * 1000), 1.0, 1)
    V = {2: 0.0975237381, 3: 0.0678074939, 5: 0.039398443, 10: 0.018588728, 100: 1.6992718e-3}
    shift = {2: 0, 3: -0.03093252, 5: -0.06822537, 10: -0.1071337, 100: -0.1586884, 1000: -0.1658164}
    for layer, value in V.items():
        assert out.V[layer - 1] == pytest.approx(value, abs=5.1e-10)
    for layer, value in shift.items():
        assert out.K1[layer - 1] == pytest.approx(value, abs=6e-8)
    for layer, value in {2: 0.627291, 3: 1.21282, 10: 5.52352, 100: 64.804, 1000: 664.148}.items():
        assert out.V[layer - 1] / out.K[layer - 1] ** 2 == pytest.approx(value, rel=6e-6)


def test_T2_sin():
    out = recur_single(layers("sin", 0, 1.0, [1] * 1000), 1.0, 1)
    assert out.V[[1, 9]] == pytest.approx([0.12046302, 0.050090069], rel=1e-7)
    assert (out.V / out.K**2)[[9, 999]] == pytest.approx([5.89478, 666.689], rel=1e-6)
    assert out.K1[[9, 999]] == pytest.approx([-0.193358, -0.3311409], abs=6e-7)


@pytest.mark.parametrize(
    ("activation", "C_b", "C_W", "K", "V", "shift"),
    [
        (
            "tanh",
            0.05,
            1.3,
            (0.34769837, 0.34252811, 0.2182269),
            [[0.117828, 0.032938, 0.076923], [0.032938, 0.116113, 0.076958], [0.076923, 0.076958, 0.197613]],
            (-0.09714648, -0.09916068, -0.03421728),
        ),
        (
            "sin",
            0.0,
            1.0,
            (0.17779929, 0.17244273, 0.06751837),
            [[0.079774, 0.010965, 0.036529], [0.010965, 0.078298, np.nan], [0.036529, np.nan, 0.111059]],
            (-0.12425533, -0.12578776, -0.05858493),
        ),
    ],
)
def test_T9_two_inputs_unequal_widths(activation, C_b, C_W, K, V, shift):
    """The printed shifts come from finite differences, good to 5e-7."""
    *_, out = recur(layers(activation, C_b, C_W, [64, 48, 80, 64, 1]), K1, 7)
    np.testing.assert_allclose(entries(out.K), K, atol=6e-9)
    found = table(out.V)
    np.testing.assert_allclose(np.where(np.isnan(V), found, V), found, atol=6e-7)
    np.testing.assert_allclose(entries(out.K1), shift, atol=1.5e-6)
    assert out.error < 1e-8


def test_T15_relu_two_inputs():
    *_, out = recur(layers("relu", 0, 2.0, [64] * 5), K1, 7)
    np.testing.assert_allclose(entries(out.K), (1, 0.8, 0.68451472), atol=6e-9)
    expected = [[20, 7.59237, 11.42243], [7.59237, 12.8, 9.13794], [11.42243, 9.13794, 9.27801]]
    np.testing.assert_allclose(table(out.V), expected, atol=6e-6)
    np.testing.assert_allclose(entries(out.K1), (0, 0, -0.478137), atol=6e-7)


@pytest.mark.parametrize(
    ("activation", "skip", "V", "M"), [("relu", 0.5, 26.59, 1.159), ("relu", 0.8, 12.17, None), ("tanh", 0.5, 2.839, 0)]
)
def test_T8_residual(activation, skip, V, M):
    """theory/pdlt_inf_AB.md T8, L = 6: with the three-point cumulant M; the book's (B.24) without it has 17.81 and 7.85 for ReLU."""
    C_W = (1 - skip**2) * (2 if activation == "relu" else 1)
    chain = layers(activation, 0, C_W, [64] * 6, skip)
    *_, many = recur(chain, np.ones((1, 1)), 64)
    one = recur_single(chain, 1.0, 64)
    for K, found, three in ((many.K[0, 0], many.V.item(), many.M.item()), (one.K[-1], one.V[-1], one.M[-1])):
        assert found / K**2 == pytest.approx(V, abs=6e-3)
        assert M is None or three / K**1.5 == pytest.approx(M, abs=6e-4)


@pytest.mark.slow
def test_the_tuned_shift_refutes_the_printed_coefficient():
    """(5.143): with C_W = (1 + 2/(3n))/s1^2 the shift falls as c/l; printed c = 13/12 (tanh), 2/3 (sin); right 89/72, 20/9."""
    L = 20_000
    for activation, right, printed in (("tanh", 89 / 72, 13 / 12), ("sin", 20 / 9, 2 / 3)):
        out = recur_single(layers(activation, 0, 1.0, [1] * L), 1.0, 1, tuned=(0.0, 2 / 3))
        found = L * out.K1[-1]
        assert found == pytest.approx(right, rel=2e-3)
        assert abs(found - printed) > 0.1
        if activation == "tanh":
            assert out.K1[[1, 9, 99, 999]] == pytest.approx([0.262863, 0.09499139, 0.01170978, 0.001225044], rel=1e-6)  # T1


# ---------------------------------------------------------------- an independent path


def printed_step(K, V, G, phi, C_W, r):
    """(R2), (R3) of PDLT 4.119 and 4.115, with the inverse kernel, for two inputs, by Gauss-Legendre quadrature in the plane."""
    x, w = np.polynomial.legendre.leggauss(240)
    x, w = 9 * x, 9 * w * np.exp(-((9 * x) ** 2) / 2) / np.sqrt(2 * np.pi)
    u = np.stack(np.meshgrid(x, x, indexing="ij")).reshape(2, -1)
    weights = np.outer(w, w).ravel()
    z = np.linalg.cholesky(K) @ u
    s, inverse = phi(z), np.linalg.inv(K)
    two = np.einsum("ap,bp->abp", s, s)
    gap = np.einsum("ap,bp->abp", z, z) - K[:, :, None]
    mean = two @ weights
    four = np.einsum("abp,cdp,p->abcd", two, two, weights)
    J = np.einsum("abp,cdp,p->abcd", two, gap, weights)
    upper = np.einsum("ai,bj,ck,dl,ijkl->abcd", inverse, inverse, inverse, inverse, V)
    V_next = C_W**2 * (four - mean[:, :, None, None] * mean) + C_W**2 / 4 * r * np.einsum("abij,ijkl,cdkl->abcd", J, upper, J)
    raised = inverse @ G @ inverse
    first = 0.5 * np.einsum("ij,abij->ab", raised, J)
    second = np.einsum("ijkl,abp,ijp,klp,p->ab", upper, two, gap, gap, weights, optimize=True) / 8
    bent = -2 * J - K[None, None] * mean[:, :, None, None]  # <s s (K - 2 z z)>
    third = np.einsum("ikjl,kl,abij->ab", upper, K, bent) / 4
    return V_next, C_W * r * (first + second + third)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "function"), [("tanh", np.tanh), ("sin", np.sin), ("softplus", lambda z: np.logaddexp(z, 0))])
def test_printed_recursions_with_inverse_kernels(activation, function):
    """Three layers of unequal widths: both ways of writing the recursions agree to quadrature error."""
    widths = [64, 48, 80, 64]
    found = list(recur(layers(activation, 0.05, 1.3, widths), K1, 7))
    V, G = np.zeros((2,) * 4), np.zeros((2, 2))
    for level, after, r in zip(found, found[1:], (64 / 7, 48 / 64, 80 / 48), strict=False):
        V, G = printed_step(level.K, V, G, function, 1.3, r)
        np.testing.assert_allclose(after.V, V, atol=2e-8 * np.abs(V).max())
        np.testing.assert_allclose(after.K1, G, atol=2e-7 * max(np.abs(G).max(), 1e-6))


@pytest.mark.slow
def test_declared_kinks_agree_with_the_closed_form():
    """Differentiated quadrature of ReLU, declared as a function with a kink, against the closed forms."""
    plain = lg.activation(lambda z: np.maximum(z, 0) if isinstance(z, np.ndarray) else z * (z > 0), kinks=(0.0,))
    chain = layers("relu", 0.1, 1.5, [10, 20, 15, 5], 0.0)
    *_, closed = recur(chain, K1, 3)
    *_, quadrature = recur([replace(layer, activation=layer.activation and plain) for layer in chain], K1, 3)
    for name in ("K", "V", "K1"):
        np.testing.assert_allclose(getattr(quadrature, name), getattr(closed, name), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("skip", [0.0, 0.7])
@pytest.mark.parametrize("activation", ["gelu", "leaky_relu(0.2)", "elu"])
def test_one_input_of_many_is_one_input_alone(activation, skip):
    """Marginals: entries of one input do not know the others; the scan and the recursion over many agree."""
    chain = layers(activation, 0.05, 1.1, [30, 20, 20, 20] if skip else [30, 20, 40, 10], skip)
    *_, both = recur(chain, K1, 5)
    for a in (0, 1):
        alone = recur_single(chain, K1[a, a], 5)
        assert both.K[a, a] == pytest.approx(alone.K[-1], rel=1e-7)
        assert both.V[a, a, a, a] == pytest.approx(alone.V[-1], rel=1e-7)
        assert both.K1[a, a] == pytest.approx(alone.K1[-1], rel=1e-6, abs=1e-8)
        assert both.M[a, a, a] == pytest.approx(alone.M[-1], rel=1e-7, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_pairs_of_five_inputs_are_pairs_alone(activation):
    """Marginals again, with grids (or formulas) over four inputs on one side and two on the other."""
    X = np.random.default_rng(1).normal(size=(5, 4))
    net = lg.mlp(widths=[12, 9, 15], out=2, activation=activation, C_W=1.4, C_b=0.1)
    five = metric(net, X)
    assert five.V is not None and five.K1 is not None
    for at in ((0, 1), (2, 4)):
        two = metric(net, X[list(at)])
        np.testing.assert_allclose(five.V[np.ix_(*[at] * 4)], two.V, atol=1e-7)
        np.testing.assert_allclose(five.K1[np.ix_(at, at)], two.K1, atol=1e-7)


def test_the_moments_of_four_inputs_by_sampling():
    """<s1 s2 s3 s4> enters V of the second layer; a million Gaussian draws know it to a few 1e-3."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 6))
    for activation, function in (("relu", lambda z: np.maximum(z, 0)), ("tanh", np.tanh), ("abs", np.abs)):
        V = metric(lg.mlp(widths=[3], activation=activation, C_W=1.3), X).V
        assert V is not None
        s = function(rng.multivariate_normal(np.zeros(4), 1.3 * X @ X.T / 6, size=1_000_000, method="cholesky"))
        for at in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 0, 1, 2), (3, 3, 3, 1)):
            first, second = s[:, at[0]] * s[:, at[1]], s[:, at[2]] * s[:, at[3]]
            samples = 1.3**2 * (first - first.mean()) * (second - second.mean())
            assert abs(samples.mean() - V[at]) < 4.5 * samples.std() / 1000


# ---------------------------------------------------------------- laws

NETS = st.tuples(st.sampled_from(["relu", "tanh", "leaky_relu(0.3)", "abs"]), st.floats(0.5, 2.0), st.floats(0.0, 0.5))


@settings(max_examples=12)
@given(NETS, st.integers(0, 10_000))
def test_symmetries_of_V(choice, seed):
    """1 <-> 2, 3 <-> 4, (12) <-> (34); relabelled inputs relabel the tensors; V_(12)(12) and the matrix of pairs are positive."""
    activation, C_W, C_b = choice
    net = lg.mlp(widths=[8, 6], out=1, activation=activation, C_W=C_W, C_b=C_b)
    X = np.random.default_rng(seed).normal(size=(3, 4))
    out = metric(net, X)
    V, shift = np.asarray(out.V), np.asarray(out.K1)
    scale = np.abs(V).max()
    for order in ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        np.testing.assert_allclose(V, V.transpose(order), atol=1e-12 * scale)
    assert np.linalg.eigvalsh(V.reshape(9, 9)).min() > -1e-7 * scale
    np.testing.assert_allclose(shift, shift.T, atol=1e-9)
    turn = [2, 0, 1]
    again = metric(net, X[turn])
    np.testing.assert_allclose(again.V, V[np.ix_(turn, turn, turn, turn)], atol=1e-8 * scale)


def test_V_is_not_totally_symmetric():
    V = np.asarray(metric(lg.mlp(widths=[8, 6], activation="tanh", C_W=1.5), np.eye(2) * 1.5).V)
    assert abs(V[0, 0, 1, 1] - V[0, 1, 0, 1]) > 0.05 * V[0, 0, 0, 0]


@settings(max_examples=10)
@given(st.floats(0.1, 10.0), st.sampled_from(["relu", "abs", "leaky_relu(0.2)", "linear"]), st.floats(0.0, 0.9))
def test_homogeneity(scale, activation, skip):
    """K^(1) -> lam K^(1) without biases: K and K{1} scale by lam, V by lam^2, M by lam^(3/2)."""
    chain = layers(activation, 0.0, 1.2, [20, 20, 20, 20], skip)
    *_, one = recur(chain, K1, 3)
    *_, other = recur(chain, scale * K1, 3)
    for name, power in (("K", 1), ("K1", 1), ("V", 2), ("M", 1.5)):
        expected = scale**power * np.asarray(getattr(one, name))
        np.testing.assert_allclose(getattr(other, name), expected, atol=1e-7 * max(np.abs(expected).max(), 1e-3))


def test_widths_enter_through_ratios_only():
    X = np.array([[1.0, 0.3, -0.5], [0.2, -0.8, 1.1]])
    nets = [lg.mlp(widths=[4 * f, 6 * f, 3 * f], out=out, activation="gelu", C_W=1.7, C_b=0.1) for f, out in ((1, 1), (16, 5))]
    one, other = (metric(net, X) for net in nets)
    for name in ("K", "V", "K1"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-12)
    assert (one.width, other.width) == (3, 48)
    bent = metric(lg.mlp(widths=[4, 4, 4], activation="gelu", C_W=1.7, C_b=0.1), X)
    assert not np.allclose(bent.V, one.V, rtol=1e-2)


@pytest.mark.parametrize("widths", [[10, 10, 10], [30, 10, 20]])
def test_linear_networks_exactly(widths):
    """V_(12)(34) = (K13 K24 + K14 K23) n_{L-1} sum 1/n_l and K{1} = 0 (PDLT 3.28)."""
    X = np.random.default_rng(3).normal(size=(3, 4))
    out = metric(lg.mlp(widths=widths, activation="linear"), X)
    K = X @ X.T / 4
    wick = np.einsum("ac,bd->abcd", K, K)
    expected = (wick + wick.swapaxes(2, 3)) * widths[-1] * sum(1 / n for n in widths)
    np.testing.assert_allclose(out.V, expected, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_allclose(out.K1, 0, atol=1e-7)


def test_relu_diagonal_is_five_a_layer_and_the_shift_is_off_the_diagonal():
    """(5.120); footnote 24 of chapter 5 says K{1} = 0 for all entries, which holds on the diagonal only."""
    out = metric(lg.mlp(widths=[20] * 9, activation="relu", C_W=2.0), np.eye(3) * 3**0.5 / 2**0.5, layer="all")
    assert out.V is not None and out.K1 is not None
    for l in range(10):
        np.testing.assert_allclose(np.einsum("aaaa->a", out.V[l]), 5 * l, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.diagonal(out.K1, axis1=1, axis2=2), 0, atol=1e-10)
    assert out.K1[-1, 0, 1] < -0.5


# ---------------------------------------------------------------- singular inputs


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "gelu", "relu", "leaky_relu(0.3)"])
def test_duplicates_and_antipodes(activation):
    """Equal inputs have equal entries; the limit of nearly equal and nearly opposite inputs is reached."""
    net = lg.mlp(widths=[12, 9, 15], out=2, activation=activation, C_W=1.4, C_b=0.1)
    x, y = np.array([1.0, -0.4, 0.7]), np.array([0.1, 0.9, -0.8])
    exact = metric(net, np.stack([x, y, x, -x]))
    near = metric(net, np.stack([x, y, x + 1e-7, -x + 1e-7]))
    V, shift = np.asarray(exact.V), np.asarray(exact.K1)
    np.testing.assert_array_equal(V[0], V[2])
    np.testing.assert_array_equal(V[:, :, 1, 0], V[:, :, 1, 2])
    np.testing.assert_array_equal(shift[0], shift[2])
    np.testing.assert_allclose(near.V, V, atol=2e-5 * np.abs(V).max())
    np.testing.assert_allclose(near.K1, shift, atol=2e-5 * np.abs(V).max())


def test_antipodes_of_odd_and_even_activations():
    """Odd: tensors change sign with the input; even (abs): opposite inputs become equal after one layer."""
    x, y = np.array([1.0, -0.4, 0.7]), np.array([0.1, 0.9, -0.8])
    odd = np.asarray(metric(lg.mlp(widths=[6, 6], activation="tanh", C_W=1.4), np.stack([x, y, -x])).V)
    np.testing.assert_allclose(odd[0, 1, 0, 1], -odd[2, 1, 0, 1], atol=1e-9)
    np.testing.assert_allclose(odd[0, 1, 0, 1], odd[2, 1, 2, 1], atol=1e-9)
    even = metric(lg.mlp(widths=[6, 6, 6], activation="abs", C_W=1.4), np.stack([x, y, -x]))
    np.testing.assert_allclose(np.asarray(even.V)[0, 1], np.asarray(even.V)[2, 1], atol=1e-7)
    np.testing.assert_allclose(np.asarray(even.K1)[0], np.asarray(even.K1)[2], atol=1e-7)


def test_a_zero_input_and_tiny_kernels():
    out = metric(lg.mlp(widths=[6, 6], activation="relu", C_W=2.0), np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert out.V is not None and np.isfinite(out.V).all() and (out.V[0] == 0).all() and out.V[1, 1, 1, 1] > 0
    deep = recur_single(layers("tanh", 0, 1.0, [1] * 10_000), 1.0, 1)
    assert deep.K[-1] == pytest.approx(5e-5, rel=2e-2) and deep.V[-1] / deep.K[-1] ** 2 / 10_000 == pytest.approx(2 / 3, rel=1e-3)


# ---------------------------------------------------------------- the public face


def test_layers_dtypes_and_missing():
    net = lg.mlp(widths=[8, 6], out=3, activation="relu", C_W=2.0)
    X = np.array([[1.0, 0.5], [-0.2, 1.3]], dtype=np.float32)
    every = lg.corrections(net, X, layer="all")
    assert every.V is not None and every.V.shape == (3, 2, 2, 2, 2) and every.V.dtype == np.float32 and every.width == (2, 8, 6)
    assert (every.V[0] == 0).all()
    for name, l in (("dense2", 1), (2, 1), (None, 2), (3, 2)):
        out = lg.corrections(net, X, layer=name)
        np.testing.assert_array_equal(out.V, every.V[l])
        np.testing.assert_array_equal(out.K1, np.asarray(every.K1)[l])
    assert out.M is None and "skip" in out.missing["M"] and out.R is None and "across its kink" in out.missing["R"]
    np.testing.assert_allclose(out.K, lg.kernel(net, X).nngp, rtol=1e-6)
    only = lg.corrections(net, X, tensors=["K"])
    assert only.V is None and only.missing["V"] == "not asked for" and only.fluctuation is None and "K and V" in only.missing["fluctuation"]
    residual = lg.corrections(lg.resnet_mlp(8, blocks=2, activation="relu", skip=0.5, C_W=1.5), X, layer="sum2")
    assert residual.M is not None and residual.M.shape == (2, 2, 2) and (residual.M[0, 0, 0] > 0)


def test_refusals():
    X = np.random.default_rng(0).normal(size=(3, 4))
    net = lg.mlp(widths=[8], activation="elu")
    with pytest.raises(UnsupportedError, match="across its kink"):
        lg.corrections(lg.mlp(widths=[8], activation="relu"), X, tensors=("R",))
    with pytest.raises(UnsupportedError, match="skip connection"):
        lg.corrections(lg.resnet_mlp(8, blocks=1, activation="tanh"), X, tensors=("D",))
    with pytest.raises(InputError, match="tensors"):
        lg.corrections(net, X, tensors="V")
    with pytest.raises(UnsupportedError, match="jumps"):
        lg.corrections(lg.mlp(widths=[8], activation="sign"), X)
    with pytest.raises(InputError, match="entries of a tensor"):
        lg.corrections(lg.mlp(widths=[8]), np.random.default_rng(0).normal(size=(1000, 3)))
    with pytest.raises(UnsupportedError, match="chain"):
        lg.corrections(lg.Dense(8) >> lg.LayerNorm() >> lg.Act("tanh") >> lg.Dense(1), X)


@pytest.mark.slow
def test_undeclared_kinks_are_noticed():
    """Without its kink second derivatives miss a delta function, which no finer grid would show; Stein's lemma does."""
    hidden = lg.activation(lambda z: z * (z > 0))
    X = np.array([[1.0, 0.5], [-0.2, 1.3]])
    for points in (X, X[:1]):
        with pytest.warns(AccuracyWarning, match="declare"):
            metric(lg.Dense(8) >> lg.Act(hidden) >> lg.Dense(1), points)


def test_all_four_index_orders_are_filled():
    """V of three inputs has no entry that was never written: against one 3-D grid for every index."""
    X = np.random.default_rng(2).normal(size=(3, 3))
    V = np.asarray(metric(lg.mlp(widths=[4], activation="sin"), X).V)
    K = X @ X.T / 3

    def mean(c):  # E cos(c.z) = exp(-c K c/2); products of sines are sums of cosines
        return np.exp(-0.5 * c @ K @ c)

    def sines(at):
        total = 0.0
        for signs in product((1, -1), repeat=len(at)):
            c = np.zeros(3)
            for a, s in zip(at, signs, strict=True):
                c[a] += s
            total += np.prod(signs) * mean(c)
        return total * (-1) ** (len(at) // 2) / 2 ** len(at)

    for at in product(range(3), repeat=4):
        assert V[at] == pytest.approx(sines(at) - sines(at[:2]) * sines(at[2:]), abs=2e-9)
    assert len({V[p] for p in permutations((0, 1, 2, 2))}) >= 2
