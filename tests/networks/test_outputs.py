"""The forward pass against plain numpy, and parameters that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.errors import InputError

KEY = jax.random.key(0)
NET = lg.mlp(widths=[7, 5], out=2, activation="tanh", C_W=1.5, C_b=0.3)
X = np.random.default_rng(0).normal(size=(6, 3))
PARAMS = lg.init(NET, 3, KEY, dtype=np.float64)


def by_hand(params: dict, X: np.ndarray) -> list[np.ndarray]:
    z, seen = X, []
    for i, path in enumerate(params):
        z = (np.tanh(z) if i else z) @ np.asarray(params[path]["W"]) + np.asarray(params[path]["b"])
        seen.append(z)
    return seen


def test_apply_and_preactivations_match_numpy() -> None:
    seen = by_hand(PARAMS, X)
    out = lg.apply(NET, PARAMS, X)
    assert isinstance(out, np.ndarray) and out.dtype == np.float64
    np.testing.assert_allclose(out, seen[-1], rtol=1e-13)
    layers = lg.measure.preactivations(NET, PARAMS, X)
    assert list(layers) == ["dense1", "dense2", "dense3"]
    for z, value in zip(seen, layers.values(), strict=True):
        np.testing.assert_allclose(value, z, rtol=1e-13)


def test_dtype_is_that_of_the_parameters_and_jax_stays_jax() -> None:
    single = lg.init(NET, 3, KEY)
    assert lg.apply(NET, single, X).dtype == np.float32
    out = lg.apply(NET, PARAMS, jnp.asarray(X, np.float32))
    assert isinstance(out, jax.Array) and out.dtype == np.float64


def test_any_order_of_nodes() -> None:
    net = lg.Act(lg.activation("relu")) >> lg.Dense(4) >> lg.Dense(3) >> lg.Act(lg.activation("abs"))
    params = lg.init(net, 3, KEY, dtype=np.float64)
    expected = np.abs(np.maximum(X, 0) @ np.asarray(params["dense1"]["W"]) @ np.asarray(params["dense2"]["W"]))
    np.testing.assert_allclose(lg.apply(net, params, X), expected, rtol=1e-12)


def test_transforms() -> None:
    net, single = lg.mlp(widths=[7], out=2), lg.init(lg.mlp(widths=[7], out=2), 3, KEY)
    x = jnp.asarray(X, np.float32)
    grad = jax.grad(lambda p: lg.apply(net, p, x).sum())(single)
    np.testing.assert_allclose(grad["dense2"]["b"], [6.0, 6.0])
    many = jax.vmap(lambda k: lg.init(net, 3, k))(jax.random.split(KEY, 2))
    assert jax.vmap(lambda p: lg.apply(net, p, x))(many).shape == (2, 6, 2)
    np.testing.assert_allclose(jax.jit(lambda p: lg.apply(net, p, x))(single), lg.apply(net, single, x), rtol=1e-5)


def changed(path: str, name: str, value: object) -> dict:
    return {p: {**entry, **({name: value} if p == path else {})} for p, entry in PARAMS.items()}


@pytest.mark.parametrize(
    ("params", "points", "words"),
    [
        (PARAMS, X[:, :2], "params['dense1']['W']`: got shape (3, 7); needed shape (2, 7)"),
        (PARAMS, X[0], "X[None, :]"),
        (PARAMS, X * np.nan, "NaN"),
        (PARAMS, X + 1j, "complex"),
        (PARAMS, X[:0], "empty"),
        (changed("dense2", "b", np.zeros(4)), X, "params['dense2']['b']`: got shape (4,); needed shape (5,)"),
        (changed("dense2", "b", np.zeros(5, np.float32)), X, "mixed dtypes"),
        (changed("dense2", "b", np.zeros(5, int)), X, "entries of type int64"),
        (changed("dense2", "b", None), X, "a NoneType"),
        ({"dense1": PARAMS["dense1"]}, X, "got the paths dense1; needed the affine layers of the network, dense1, dense2, dense3"),
        ({**PARAMS, "dense2": {"W": X}}, X, "got W; needed a dictionary with the entries W, b"),
        ({}, X, "the paths none"),
        ([1.0], X, "lg.init"),
    ],
)
def test_bad_input(params: object, points: np.ndarray, words: str) -> None:
    for function in (lg.apply, lg.measure.preactivations):
        with pytest.raises(InputError) as error:
            function(NET, params, points)  # type: ignore[arg-type]
        assert words in str(error.value)


def test_a_network_without_parameters_is_refused() -> None:
    net = lg.Serial((lg.Act(lg.activation("relu")),))
    with pytest.raises(InputError, match="without an affine layer"):
        lg.apply(net, {}, X)
