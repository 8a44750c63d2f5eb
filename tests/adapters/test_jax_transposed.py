"""lg.flax.init and lg.equinox.init of transposed convolutions and of layers under a weight normalisation."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import largen as lg
from largen.errors import InputError

pytestmark = pytest.mark.slow

KEY = jax.random.key(5)


def linen(kernel: int, stride: int) -> tuple[Any, Callable[[float], Any]]:
    """The table of a layer of 6 to 4 channels, and what it makes of ones with all weights equal to a number."""
    layer, x = nn.ConvTranspose(4, (kernel,), (stride,)), jnp.ones((1, 16, 6))
    variables = layer.init(KEY, x)

    def filled(value: float) -> Any:
        return layer.apply({"params": {"kernel": jnp.full((kernel, 6, 4), value), "bias": jnp.zeros(4)}}, x)

    return lg.flax.table(layer, variables, example=x), filled


def modules(kernel: int, stride: int) -> tuple[Any, Callable[[float], Any]]:
    layer, x = nnx.ConvTranspose(6, 4, (kernel,), stride, transpose_kernel=True, rngs=nnx.Rngs(0)), jnp.ones((1, 16, 6))

    def filled(value: float) -> Any:
        layer.kernel[...] = jnp.full((kernel, 4, 6), value)
        return layer(x)

    return lg.flax.table(layer, example=x), filled


def equinox(kernel: int, stride: int) -> tuple[Any, Callable[[float], Any]]:
    layer, x = eqx.nn.ConvTranspose1d(6, 4, kernel, stride, use_bias=False, key=KEY), jnp.ones((6, 16))

    def filled(value: float) -> Any:
        return eqx.tree_at(lambda layer: layer.weight, layer, jnp.full((4, 6, kernel), value))(x).T[None]

    return lg.equinox.table(layer, example=x), filled


@pytest.mark.parametrize("make", [linen, modules, equinox])
@pytest.mark.parametrize("kernel", [1, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_mean_variance_over_outputs_is_that_of_the_inputs(make: Any, kernel: int, stride: int) -> None:
    """Of inputs of mean square 1 the variance at a position is the sum of the variances of the weights that reach it. Channels x window
    would be off by the stride."""
    table, filled = make(kernel, stride)
    (layer,) = table.layers
    inner = filled(layer.std**2)[0, 6 : 6 + 4 * stride, 0]  # whole periods, away from the border
    assert layer.C_W == 1 and float(inner.mean()) == pytest.approx(1, rel=1e-6)


def test_strides_are_seen_or_asked_for() -> None:
    x = jnp.ones((1, 5, 5, 6))
    sequence = nn.Sequential([nn.ConvTranspose(4, (3, 4), (2, 1)), nn.relu, nn.ConvTranspose(2, (2, 2), (2, 2), transpose_kernel=True)])
    variables = sequence.init(KEY, x)
    for table in (lg.flax.table(sequence, variables), lg.flax.table(sequence, variables, example=x)):
        assert [layer.fan_in for layer in table.layers] == [6 * 12 / 2, 4]

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(2)(nn.relu(nn.ConvTranspose(4, (3, 4), (2, 1))(x)))

    variables = Model().init(KEY, x)
    with pytest.raises(InputError, match=r"`example`: got nothing, for the transposed convolution ConvTranspose_0"):
        lg.flax.table(Model(), variables, activation={"ConvTranspose_0": "inputs", "Dense_0": "relu"})
    assert lg.flax.table(Model(), variables, example=x).layers[0].fan_in == 36

    class Module(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.a = nnx.ConvTranspose(6, 4, (3, 4), (2, 1), rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.a(x)

    module = Module(nnx.Rngs(0))
    for table in (lg.flax.table(module, activation={"a": "inputs"}), lg.flax.table(module, example=x)):
        assert [layer.fan_in for layer in table.layers] == [36]
    grouped = eqx.nn.ConvTranspose2d(6, 4, (3, 4), (2, 1), groups=2, key=KEY)
    for table in (lg.equinox.table(grouped), lg.equinox.table(grouped, example=jnp.ones((6, 5, 5)))):
        assert [layer.fan_in for layer in table.layers] == [18]


def same(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_weight_normalised_layers_of_linen_are_as_drawn() -> None:
    class Block(nn.Module):
        normed: bool

        @nn.compact
        def __call__(self, x: Any) -> Any:
            wrap = (lambda layer: nn.WeightNorm(layer, variable_filter=None)) if self.normed else (lambda layer: layer)
            z = wrap(nn.ConvTranspose(8, (3,), (2,)))(x)
            for _ in range(2):
                z = z + wrap(nn.Dense(8))(nn.gelu(z))
            return nn.Dense(1)(nn.gelu(z))

    x = jax.random.normal(KEY, (2, 5, 4))
    both = []
    for normed in (True, False):
        variables = Block(normed).init(KEY, x)
        table = lg.flax.table(Block(normed), variables, example=x)
        assert not table.left
        both.append((str(table), Block(normed).apply(lg.flax.init(Block(normed), variables, KEY, example=x), x)))
    assert both[0][0] == both[1][0]
    same(both[0][1], both[1][1])

    sequence = nn.Sequential([nn.WeightNorm(nn.Dense(8)), nn.relu, nn.WeightNorm(nn.Dense(3))])
    plain = nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(3)])
    x = jax.random.normal(KEY, (2, 4))
    values = [module.apply(lg.flax.init(module, module.init(KEY, x), KEY), x) for module in (sequence, plain)]
    same(*values)

    fixed = nn.WeightNorm(nn.Dense(8), use_scale=False)
    table = lg.flax.table(plain_then(fixed), plain_then(fixed).init(KEY, x), example=x)
    assert "wants the std 0.5" in str(table.left["layers_2/layer_instance/kernel"])


def plain_then(layer: Any) -> Any:
    return nn.Sequential([nn.Dense(8), nn.relu, layer])


def test_weight_normalised_layers_of_nnx_are_as_drawn() -> None:
    class Module(nnx.Module):
        def __init__(self, normed: bool, rngs: nnx.Rngs) -> None:
            a, b = nnx.ConvTranspose(4, 8, (3,), (2,), rngs=rngs), nnx.Linear(8, 8, rngs=rngs)
            self.a, self.b = (nnx.WeightNorm(a, rngs=rngs), nnx.WeightNorm(b, feature_axes=0, rngs=rngs)) if normed else (a, b)

        def __call__(self, x: Any) -> Any:
            z = self.a(x)
            return z + self.b(jax.nn.relu(z))

    x, values = jax.random.normal(KEY, (2, 5, 4)), []
    for normed in (True, False):
        module = Module(normed, nnx.Rngs(0))
        table = lg.flax.table(module, example=x)
        assert [layer.C_W for layer in table.layers] == [2, 2] and not table.left
        values.append(lg.flax.init(module, key=KEY, example=x)(x))
    same(*values)


def test_weight_normalised_layers_of_equinox_are_as_drawn() -> None:
    keys = jax.random.split(KEY, 3)
    a, b, c = eqx.nn.ConvTranspose1d(4, 8, 3, 2, key=keys[0]), eqx.nn.Conv1d(8, 6, 3, key=keys[1]), eqx.nn.Conv1d(6, 2, 1, key=keys[2])
    relu = eqx.nn.Lambda(jax.nn.relu)
    plain = eqx.nn.Sequential([a, relu, b, relu, c])
    normed = eqx.nn.Sequential([eqx.nn.WeightNorm(a), relu, eqx.nn.WeightNorm(b, axis=1), relu, eqx.nn.WeightNorm(c, axis=None)])
    x = jax.random.normal(KEY, (4, 5))
    for example in (None, x):
        tables = [lg.equinox.table(model, example=example) for model in (plain, normed)]
        assert not tables[1].left and [layer.C_W for layer in tables[0].layers] == [layer.C_W for layer in tables[1].layers] == [2, 2, 2]
        same(*(lg.equinox.init(model, KEY, example=example)(x) for model in (plain, normed)))
    spectral = eqx.nn.Sequential([eqx.nn.SpectralNorm(b, "weight", key=KEY), relu, c])
    with pytest.raises(InputError, match=r"names of layers: \.layers\[2\]"):
        lg.equinox.table(spectral, activation={".layers[0].layer": "inputs"})
