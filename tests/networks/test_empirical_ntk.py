"""The empirical NTK: backward factors against the forward equation and against Jacobians; its laws."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from witnesses import forward_equation, jacobian_ntk

import largen as lg
from largen.errors import InputError

KEY = jax.random.key(7)
RNG = np.random.default_rng(3)
X, X2 = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3))
WIDTHS: dict[int, list[int]] = {1: [], 2: [7], 3: [7, 4], 4: [4, 6, 5]}


def same(got: Any, want: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max(), rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "activation"), [(1, "relu"), (2, "sign"), (3, "gelu"), (4, "leaky_relu(0.1)")])
@pytest.mark.parametrize("second", [None, X2], ids=["X", "X2"])
def test_three_witnesses_agree(depth: int, activation: str, second: Any) -> None:
    net = lg.mlp(widths=WIDTHS[depth], out=3, activation=activation, C_W=1.7, C_b=list(np.linspace(0.1, 0.5, depth)))
    params = lg.init(net, 3, KEY, dtype=np.float64)
    for rates in ("ntk", (0.5, 2.0), (list(np.linspace(0, 1, depth)), list(np.linspace(2, 0.5, depth)))):
        theta = lg.empirical_ntk(net, params, X, second, rates=rates)
        assert isinstance(theta, np.ndarray) and theta.dtype == np.float64
        assert theta.shape == (4, 4 if second is None else 5, 3, 3)
        same(theta, jacobian_ntk(net, params, X, second, rates=rates))
        layers = forward_equation(net, params, X, second, rates=rates)
        assert list(layers) == [layer.path for layer in lg.analysis.chain(net)]
        same(theta, layers[f"dense{depth}"])
        if second is None:
            mean = lg.empirical_ntk(net, params, X, rates=rates, full=False)
            same(mean, np.trace(theta, axis1=2, axis2=3) / 3)


def test_every_layer_of_the_forward_equation_is_the_ntk_of_the_network_cut_there() -> None:
    net = lg.mlp(widths=[6, 5], out=2, activation="tanh", C_W=1.5, C_b=0.2)
    params = lg.init(net, 3, KEY, dtype=np.float64)
    layers = forward_equation(net, params, X)
    cut = lg.Serial(net.nodes[:3])
    same(layers["dense2"], lg.empirical_ntk(cut, {path: params[path] for path in ("dense1", "dense2")}, X))
    first = (0.2 + 1.5 * X @ X.T / 3)[:, :, None, None] * np.eye(6)
    same(layers["dense1"], first)


def test_deep_linear_network_by_hand() -> None:
    net = lg.mlp(widths=[5], out=2, activation="linear", C_W=[1.0, 2.0], C_b=[0.3, 0.4])
    params = lg.init(net, 3, KEY, dtype=np.float64)
    (W1, b1), (W2, _) = ((np.asarray(p["W"]), np.asarray(p["b"])) for p in params.values())
    h = X @ W1 + b1
    expected = np.einsum("ac,ij->acij", 0.4 + 2.0 * h @ h.T / 5, np.eye(2)) + np.einsum("ac,ij->acij", 0.3 + X @ X.T / 3, W2.T @ W2)
    same(lg.empirical_ntk(net, params, X), expected)


@st.composite
def cases(draw: Any) -> tuple[lg.Serial, dict, np.ndarray, Any]:
    widths, phi = draw(st.sampled_from([([5], "relu"), ([5, 2], "tanh"), ([2, 5], "softplus")]))
    net = lg.mlp(widths=widths, out=2, activation=phi, C_W=1.5, C_b=0.2)
    rates = (draw(st.floats(0, 2)), draw(st.floats(0.1, 2)))
    seed = draw(st.integers(0, 1000))
    return net, lg.init(net, 3, jax.random.key(seed), dtype=np.float64), np.random.default_rng(seed).normal(size=(3, 3)), rates


@given(cases())
def test_symmetric_and_positive_semidefinite(case: Any) -> None:
    net, params, points, rates = case
    theta = lg.empirical_ntk(net, params, points, rates=rates)
    same(theta, theta.transpose(1, 0, 3, 2))
    eigenvalues = np.linalg.eigvalsh(theta.transpose(0, 2, 1, 3).reshape(6, 6))
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


@given(cases(), st.randoms(use_true_random=False))
def test_blind_to_the_order_of_hidden_units(case: Any, random: Any) -> None:
    net, params, points, rates = case
    order = list(range(params["dense1"]["b"].shape[0]))
    random.shuffle(order)
    first, second = ({name: np.asarray(value) for name, value in params[path].items()} for path in ("dense1", "dense2"))
    shuffled = {"dense1": {"W": first["W"][:, order], "b": first["b"][order]}, "dense2": {**second, "W": second["W"][order]}}
    same(lg.empirical_ntk(net, {**params, **shuffled}, points, rates=rates), lg.empirical_ntk(net, params, points, rates=rates))


@given(cases(), st.floats(0.1, 5))
def test_linear_in_the_rates(case: Any, scale: float) -> None:
    net, params, points, (bias, weight) = case
    parts = [lg.empirical_ntk(net, params, points, rates=r) for r in ((bias, 0.0), (0.0, weight))]
    same(lg.empirical_ntk(net, params, points, rates=(scale * bias, scale * weight)), scale * (parts[0] + parts[1]))


def test_dtype_and_transforms() -> None:
    net = lg.mlp(widths=[6], out=2, activation="tanh", C_b=0.1)
    params, x = lg.init(net, 3, KEY), jnp.asarray(X, np.float32)
    assert lg.empirical_ntk(net, params, X).dtype == np.float32
    theta = lg.empirical_ntk(net, params, x)
    np.testing.assert_allclose(jax.jit(lambda p: lg.empirical_ntk(net, p, x))(params), theta, rtol=1e-4, atol=1e-6)
    scaled = jax.grad(lambda w: lg.empirical_ntk(net, params, x, rates=(0.0, w)).sum())(1.0)
    np.testing.assert_allclose(scaled, lg.empirical_ntk(net, params, x, rates=(0.0, 1.0)).sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"X1": X[:, :2]}, "params['dense1']['W']"),
        ({"X2": X[:, :2]}, "`X2`: got 2 columns; needed 3 columns, as in X1"),
        ({"X1": X[0]}, "`X1`"),
        ({"rates": (1.0,)}, "`rates`"),
        ({"rates": (-1.0, 1.0)}, "lambda_b"),
        ({"net": 3}, "a network"),
    ],
)
def test_bad_input(arguments: dict, words: str) -> None:
    net = lg.mlp(widths=[6], out=2)
    given = {"net": net, "params": lg.init(net, 3, KEY), "X1": X, **arguments}
    for function in (lg.empirical_ntk, forward_equation, jacobian_ntk):
        with pytest.raises(InputError) as error:
            function(**given)
        assert words in str(error.value)
