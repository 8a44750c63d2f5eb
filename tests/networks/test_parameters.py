"""Initialisation: what is drawn has the stated law, shapes, dtype; what does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.errors import InputError

KEY = jax.random.key(0)


def variance_z(values: np.ndarray, variance: float) -> float:
    """How many standard errors the mean square lies from the variance of a centred Gaussian."""
    return float((np.mean(values.astype(float) ** 2) / variance - 1) * np.sqrt(values.size / 2))


def test_statistics() -> None:
    net = lg.mlp(widths=[300, 200], out=100, C_W=[1.5, 2.0, 0.5], C_b=[0.1, 0.2, 0.3])
    params = lg.init(net, 50, KEY)
    for layer, fan_in in zip(lg.analysis.chain(net), (50, 300, 200), strict=True):
        W, b = np.asarray(params[layer.path]["W"]), np.asarray(params[layer.path]["b"])
        assert W.shape == (fan_in, layer.width) and b.shape == (layer.width,)
        assert abs(variance_z(W, layer.C_W / fan_in)) < 4
        assert abs(variance_z(b, layer.C_b)) < 4
        assert abs(W.mean()) * np.sqrt(W.size * fan_in / layer.C_W) < 4
        kurtosis = np.mean(W**4) / np.mean(W**2) ** 2
        assert abs(kurtosis - 3) * np.sqrt(W.size / 24) < 4
    assert not np.allclose(params["dense2"]["W"][0, :100], params["dense3"]["W"][0])


def test_same_key_same_parameters_and_keys_matter() -> None:
    net = lg.mlp(widths=[8], out=2, C_b=1.0)
    one, again, other = lg.init(net, 3, KEY), lg.init(net, 3, jax.random.key(0)), lg.init(net, 3, jax.random.key(1))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, again))
    assert not jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))
    older = lg.init(net, 3, jax.random.PRNGKey(0))
    assert bool((older["dense1"]["W"] == one["dense1"]["W"]).all())


def test_float64_with_the_flag_off() -> None:
    params = lg.init(lg.mlp(widths=[8], out=2), 3, KEY, dtype=np.float64)
    assert not jax.config.read("jax_enable_x64")
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float64)}
    assert lg.init(lg.Dense(2), 3, KEY)["dense1"]["W"].dtype == np.float32


def test_differentiable_in_hyperparameters_and_vmaps_over_keys() -> None:
    def size(C_W: float) -> jax.Array:
        return jnp.sum(lg.init(lg.Dense(5, C_W=C_W), 3, KEY)["dense1"]["W"] ** 2)

    assert np.isclose(jax.grad(size)(2.0), size(2.0) / 2.0, rtol=1e-5)
    many = jax.vmap(lambda k: lg.init(lg.Dense(5), 3, k))(jax.random.split(KEY, 4))
    assert many["dense1"]["W"].shape == (4, 3, 5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"key": 0}, "jax.random.key(0)"),
        ({"key": None}, "jax.random.key(0)"),
        ({"key": jax.random.split(KEY, 3)}, "shape (3,)"),
        ({"key": jnp.zeros(2)}, "one JAX random key"),
        ({"n_in": 0}, "`n_in`"),
        ({"n_in": 2.5}, "`n_in`"),
        ({"dtype": "nonsense"}, "`dtype`"),
        ({"dtype": int}, "a real floating dtype"),
        ({"net": "relu"}, "a network"),
    ],
)
def test_bad_input(arguments: dict, words: str) -> None:
    with pytest.raises(InputError) as error:
        lg.init(**{"net": lg.mlp(widths=[8], out=2), "key": KEY, "n_in": 3, **arguments})
    assert words in str(error.value)


def test_a_node_of_a_class_without_the_decorator_is_named() -> None:
    from largen.architecture.nodes import Node

    class Strange(Node):
        pass

    with pytest.raises(InputError, match="Strange, whose class is no pytree"):
        lg.init(lg.Dense(3) >> Strange(), 3, KEY)
