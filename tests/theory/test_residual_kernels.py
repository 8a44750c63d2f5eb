"""Kernels of residual and normalised networks: printed recursion, laws, near-duplicates, derivatives, refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen as lg
from largen.activations.dual import dual
from largen.errors import InputError, UnsupportedError
from largen.gaussian import pair as pairs
from largen.types import island

pytestmark = pytest.mark.slow

X = np.random.default_rng(1).normal(size=(5, 4))
FIELDS = ("nngp", "ntk")
block = lg.Act("erf") >> lg.Dense(4, C_W=1.3, C_b=0.2)
first, last = lg.Dense(4, C_b=0.1), lg.Act("erf") >> lg.Dense(1, C_W=1.1)


def close(a: Any, b: Any, tolerance: float = 1e-13) -> None:
    for field in FIELDS:
        found, expected = (np.asarray(getattr(out, field)) for out in (a, b))
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [False, True])
def test_recursion_by_hand(norm: bool) -> None:
    """PDLT B.11 with biases and rates of their own, and the same with every phi(z) normalised before."""
    rates = ((0.3, 0.2, 0.7, 0.4), (1.1, 0.9, 0.8, 0.6))
    net = lg.resnet_mlp(4, blocks=2, activation="gelu", skip=0.6, C_W=[1.0, 1.2, 1.4, 0.9], C_b=[0.1, 0.2, 0.3, 0.4], norm=norm)
    out = lg.kernel(net, X, rates=rates, layer="all")
    with island():
        k = jnp.asarray(X @ X.T / 4)
        K, Theta = 0.1 + k, 0.3 + 1.1 * k
        for l, (C_W, C_b) in enumerate([(1.2, 0.2), (1.4, 0.3), (0.9, 0.4)], 1):
            np.testing.assert_allclose(out.nngp[l - 1], K, rtol=1e-12)
            np.testing.assert_allclose(out.ntk[l - 1], Theta, rtol=1e-11)
            q = jnp.diag(K)
            s = jnp.sqrt(q + 1e-12) if norm else jnp.ones_like(q)
            seen = dual(lg.activation("gelu"), pairs.from_moments((q / s**2)[:, None], (q / s**2)[None], K / jnp.outer(s, s)))
            gamma = 0.6 if l < 3 else 0.0
            K_next = C_b + C_W * seen.phi.k + gamma**2 * K
            own = rates[0][l] + rates[1][l] * seen.phi.k
            Theta = own + C_W * seen.kdot * Theta / jnp.outer(s, s) + gamma**2 * Theta
            K = K_next
        np.testing.assert_allclose(out.nngp[3], K, rtol=1e-11)
        np.testing.assert_allclose(out.ntk[3], Theta, rtol=1e-10)


@pytest.mark.slow
def test_printed_critical_residual_networks() -> None:
    """PDLT B.15: with C_W = (1 - gamma^2)/A_2 and C_b = 0 a ReLU network keeps K; tanh with C_W = 1 - gamma^2 decays as
    K ~ 1/(2 (1 - gamma^2) l) (B.32, a_1 = -2)."""
    net = lg.resnet_mlp(4, blocks=40, skip=0.8, C_W=[1.0, *[2 * 0.36] * 41])
    K = np.asarray(lg.kernel(net, X, layer="all").nngp)[:-1]
    np.testing.assert_allclose(K[-1].diagonal(), K[0].diagonal(), rtol=1e-12)
    deep = lg.resnet_mlp(4, blocks=400, activation="tanh", skip=0.8, C_W=[1.0, *[0.36] * 401])
    K = np.asarray(lg.kernel(deep, X[:1], layer="all").nngp)[:-1, 0, 0]
    slopes = [(1 / K[2 * l] - 1 / K[l]) / l for l in (100, 200)]  # off by 2.1 % and 1.0 %: of order 1/l
    assert 2 * slopes[1] - slopes[0] == pytest.approx(2 * 0.36, rel=1e-3)


@pytest.mark.slow
def test_identities_and_zero_weights_change_nothing() -> None:
    plain = lg.kernel(first >> block >> last, X)
    zero = lg.Sum(lg.Identity(), block, weights=(0, 1))
    for net in (
        first >> lg.Identity() >> block >> last,
        lg.Identity() >> first >> block >> last >> lg.Identity(),
        first >> lg.Sum(block) >> last,
        first >> zero >> last,
        first >> lg.Sum(block, block, weights=(0.6, -0.8)) >> last,
        first >> lg.Sum(lg.Sum(lg.Sum(block), weights=(-1,))) >> last,
    ):
        close(lg.kernel(net, X), plain)


def test_weights_are_scales_of_the_branch() -> None:
    """w (b + W phi) is an affine node of variances w^2 C_W, w^2 C_b, its rates too; branches add in any order."""
    heavy = lg.Act("erf") >> lg.Dense(4, C_W=4 * 1.3, C_b=4 * 0.2)
    one = lg.kernel(first >> lg.Sum(lg.Identity(), block, weights=(0.5, 2)) >> last, X)
    close(one, lg.kernel(first >> lg.Sum(heavy, lg.Identity(), weights=(1, -0.5)) >> last, X))
    nested = lg.Sum(lg.Sum(lg.Identity(), weights=(0.5,)), lg.Sum(block, weights=(2,)))
    close(one, lg.kernel(first >> nested >> last, X))


def test_layer_norm_is_idempotent_and_blind_to_scale() -> None:
    bare = lg.Dense(4)
    once, twice = bare >> lg.LayerNorm() >> last, bare >> lg.LayerNorm() >> lg.LayerNorm() >> last
    close(lg.kernel(once, X), lg.kernel(twice, X), 1e-11)
    scales = np.array([1.0, 0.1, 3.0, 20.0, 0.5])[:, None]
    np.testing.assert_allclose(lg.kernel(once, X * scales).nngp, lg.kernel(once, X).nngp, atol=1e-9)
    np.testing.assert_allclose(lg.kernel(once, X, layer=1).nngp, X @ X.T / 4, rtol=1e-12)


BLOCKS = [
    lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(4, C_W=1.5, C_b=0.1), weights=(0.8, 1)),
    lg.Sum(lg.Identity(), lg.LayerNorm() >> lg.Act("gelu") >> lg.Dense(4, C_b=0.1)),
    lg.Sum(lg.Act("abs") >> lg.Dense(4), lg.Dense(4) >> lg.Act("erf") >> lg.Dense(4), weights=(-1, 0.5)),
    lg.Sum(lg.Act("relu"), lg.Dense(4)) >> lg.Dense(4, C_b=0.2) >> lg.LayerNorm(),
]
some_nets = st.sampled_from([first >> BLOCKS[0] >> BLOCKS[1] >> last, first >> BLOCKS[2] >> BLOCKS[3] >> last])


@pytest.mark.slow
@settings(max_examples=10)
@given(some_nets, st.integers(0, 99))
def test_law_symmetric_positive_and_consistent_blocks(net: lg.Serial, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(6, 3))
    out, cross = lg.kernel(net, points), lg.kernel(net, points[:2], points)
    for field in FIELDS:
        full, part = getattr(out, field), getattr(cross, field)
        np.testing.assert_allclose(full, full.T, rtol=1e-11)
        assert np.linalg.eigvalsh(full)[0] > -1e-12 * np.abs(full).max()
        np.testing.assert_allclose(part, full[:2], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("norm, activation", [(False, "relu"), (True, "relu"), (True, "gelu")])
def test_float32_near_duplicates_at_depth_50(norm: bool, activation: str) -> None:
    """Duplicates, near-duplicates, antipodes and parallel points: cosines in float32 against float64. What is lost is half an ulp a
    layer: the NTK keeps the rounding of phi and phi' in all 50 layers, plain networks forget it (measured: ReLU 1.5e-7, GELU 1.4e-6)."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(8, 20))
    for i, distance in enumerate((0, 1e-12, 1e-8, 1e-5, 1e-3)):
        points[i + 1] = points[0] + distance * rng.normal(size=20)
    points[6], points[7] = -points[0] * (1 + 1e-7), 3 * points[0]
    points = points.astype(np.float32)
    net = lg.resnet_mlp(4, blocks=48, activation=activation, skip=0.9, C_W=0.4, C_b=0.01, norm=norm)
    low, high = lg.kernel(net, points), lg.kernel(net, points.astype(np.float64))
    for field in FIELDS:
        a, b = (np.asarray(getattr(out, field), np.float64) for out in (low, high))
        size_a, size_b = np.sqrt(np.diag(a)), np.sqrt(np.diag(b))
        assert np.abs(a / np.outer(size_a, size_a) - b / np.outer(size_b, size_b)).max() < 50 * np.finfo(np.float32).eps / 2
        assert np.abs(np.diag(a) / np.diag(b) - 1).max() < 50 * 4 * np.finfo(np.float32).eps
    assert low.ntk[0, 1] == low.ntk[0, 0]


@pytest.mark.slow
def test_gradients_through_weights_and_hyperparameters() -> None:
    """Against central differences, at coincident and parallel points too."""
    with jax.enable_x64(True):
        points = np.array(X)
        points[1], points[2] = points[0], 2 * points[0]
        net = first >> BLOCKS[0] >> BLOCKS[1] >> last
        values, tree = jax.tree_util.tree_flatten(net)

        def both(leaves: Any) -> Any:
            out = lg.kernel(jax.tree_util.tree_unflatten(tree, list(leaves)), jnp.asarray(points))
            return jnp.stack([out.nngp, out.ntk])

        at = jnp.asarray(values)
        slopes, value = np.asarray(jax.jit(jax.jacfwd(both))(at)), jax.jit(both)
        for i, step in enumerate(1e-5 * jnp.eye(len(at))):
            expected = np.asarray((value(at + step) - value(at - step)) / 2e-5)
            np.testing.assert_allclose(slopes[..., i], expected, atol=2e-8 * max(1, np.abs(expected).max()))
        slope = jax.grad(lambda n: lg.kernel(n, jnp.asarray(points)).ntk.sum())(net)
        assert isinstance(slope.nodes[1], lg.Sum)
        np.testing.assert_allclose(jax.tree_util.tree_leaves(slope), slopes[1].sum((0, 1)), rtol=1e-9)


def test_layers_by_number_and_path() -> None:
    net = lg.resnet_mlp(4, blocks=2, norm=True)
    every = lg.kernel(net, X, layer="all")
    for i, path in enumerate(("dense1", "sum1", "sum2", "dense2")):
        for layer in (i + 1, path):
            np.testing.assert_allclose(lg.kernel(net, X, layer=layer).ntk, every.ntk[i], rtol=1e-13)
    with pytest.raises(InputError, match="sum1, sum2"):
        lg.kernel(net, X, layer="sum1/2/dense1")


@pytest.mark.parametrize(
    "net, nngp, ntk",
    [
        (lg.Concat(lg.Dense(4), lg.Dense(8, C_W=2.0)) >> lg.Dense(1), 2.34996, 4.69993),
        (lg.Product(lg.Dense(4), lg.Dense(4, C_W=2.0)) >> lg.Dense(1), 3.97608, 11.92823),
    ],
)
def test_affine_branches_on_the_inputs(net: lg.Serial, nngp: float, ntk: float) -> None:
    points = np.random.RandomState(0).randn(3, 3)
    out = lg.kernel(net, points)
    assert abs(out.nngp[0, 0] - nngp) < 5e-6 and abs(out.ntk[0, 0] - ntk) < 5e-6
    close(lg.gram(net, points), out)
    np.testing.assert_allclose(lg.signal(net, points).Theta[-1], out.ntk, rtol=1e-13)


def test_branches_on_the_inputs_against_real_networks() -> None:
    """What was refused and what is new: activations inside branches that are set side by side, multiplied, summed, repeated."""
    n, points = 64, X[:2, :3]
    relu, gelu = lg.Dense(n) >> lg.Act("relu"), lg.Dense(n, C_W=2.0, C_b=0.3) >> lg.Act("gelu")
    nets = [
        lg.Concat(relu, lg.Dense(2 * n, C_W=2.0)) >> lg.RMSNorm() >> lg.Dense(1),
        lg.Product(relu, gelu) >> lg.Dense(1),
        lg.Product(lg.Concat(lg.Dense(n), lg.Dense(n, C_W=3.0)), lg.Dense(2 * n)) >> lg.Dense(1),
        lg.Sum(gelu, lg.Dense(n), weights=(0.5, 1.0)) >> lg.Dense(1),
        lg.Repeat(lg.Concat(lg.Dense(n), lg.Dense(n, C_W=3.0) >> lg.Act("relu")), 2) >> lg.Dense(1),
        lg.Product(lg.Dense(n)) >> lg.Act("relu") >> lg.Dense(1),
    ]
    for net in nets:
        out, many = lg.kernel(net, points), 600
        params = lg.init(net, 3, jax.random.key(2), networks=many)
        tangents = np.asarray(lg.each(lg.empirical_ntk, net, params, points, full=False))
        z = np.asarray(lg.each(lg.apply, net, params, points))[..., 0]
        for found, expected in ((tangents, out.ntk), (z[:, :, None] * z[:, None, :], out.nngp)):
            error = found.std(0) / np.sqrt(many)
            assert (abs(found.mean(0) - expected) < 4 * error + 0.5 / n * np.abs(expected)).all(), net


def test_predictions_and_samples() -> None:
    net = lg.resnet_mlp(4, blocks=1, out=3, norm=True)
    assert lg.sample(net, X, jax.random.key(0), draws=2).shape == (2, 5, 3)
    fitted = lg.predict(net, X[:3], np.eye(3), X)
    np.testing.assert_allclose(np.asarray(fitted.mean)[:3], np.eye(3), atol=1e-8)


apart = lg.Concat(lg.Dense(4), lg.Dense(8, C_W=2.0))
REFUSED = [
    (lg.LayerNorm() >> lg.Dense(1), "layernorm1", "needs Gaussian preactivations"),
    (first >> lg.Act("relu") >> lg.LayerNorm() >> lg.Dense(1), "layernorm1", "needs Gaussian preactivations"),
    (first >> lg.LayerNorm(), "layernorm1", "whose number stays finite"),
    (lg.Sum(lg.Identity(), lg.Dense(4)) >> lg.Dense(1), "sum1", "passes the inputs on"),
    (first >> lg.Sum(lg.Identity(), lg.Act("relu")) >> lg.Dense(1), "sum1", "branches sum1/1 and sum1/2 are correlated"),
    (first >> lg.Sum(lg.Dense(4), lg.Act("relu"), lg.Dense(4) >> lg.Act("relu")) >> lg.Dense(1), "sum1", "sum1/2 and sum1/3"),
    (first >> lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Act("relu") >> lg.Dense(4)) >> last, "sum1/2/act2", "needs Gaussian"),
    (first >> lg.Sum(lg.Act("relu"), lg.Dense(4)) >> last, "act1", "needs Gaussian preactivations"),
    (first >> lg.Sum(lg.Act("relu"), lg.Dense(4)), "sum1", "outputs must be preactivations"),
    (lg.Concat(lg.Identity(), lg.Dense(4)) >> lg.Dense(1), "concat1", "passes the inputs on"),
    (lg.Product(lg.Identity(), lg.Dense(4)) >> lg.Dense(1), "product1", "passes the inputs on"),
    (
        lg.Product(lg.Identity(), lg.RMSNorm()) >> lg.Dense(1),
        "product1",
        "product1/1 and product1/2 are correlated: .* go through an affine",
    ),
    (lg.Sum(lg.Dense(4) >> lg.Act("relu"), lg.Dense(4) >> lg.Act("relu")) >> last, "sum1", "or not known to average to zero"),
    (lg.Product(apart, lg.Concat(lg.Dense(4, C_W=3.0), lg.Dense(8))) >> lg.Dense(1), "product1", "units differ in variance in branches"),
    (apart >> lg.Act("relu") >> lg.Dense(1), "act1", "needs Gaussian preactivations"),
    (lg.Product(lg.Dense(4), lg.Dense(4)), "product1", "outputs must be preactivations"),
]


@pytest.mark.parametrize("net, path, reason", REFUSED)
def test_refused(net: lg.Serial, path: str, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason) as caught:
        lg.kernel(net, X)
    assert caught.value.path == path
