"""lg.flax.init and lg.equinox.init: new values by what was said, everything else as it was."""

import functools
import math
import subprocess
import sys
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import largen as lg
from largen.errors import InputError, UnsupportedError

pytestmark = pytest.mark.slow

KEY = jax.random.key(5)


def check_variance(values: Any, variance: float) -> None:
    sample = np.asarray(values, float).ravel()
    spread = math.sqrt(2 / sample.size)
    assert abs(np.mean(sample**2) / variance - 1) < 4 * spread < 0.4


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(jax.tree_util.tree_leaves(a), jax.tree_util.tree_leaves(b), strict=True))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.gelu(nn.Conv(40, (3, 3))(x)).mean((1, 2))
        x = nn.LayerNorm()(nn.Dense(300)(x))
        return nn.Dense(200, name="head")(nn.gelu(x))


@pytest.fixture(scope="module")
def variables() -> Any:
    return Net().init(jax.random.key(0), jnp.ones((1, 6, 6, 4)))


SAID = {"Conv_0": "inputs", "Dense_0": "gelu_tanh", "head": nn.gelu}


def test_linen_values_have_the_variances_of_the_table(variables: Any) -> None:
    before = jax.tree_util.tree_map(jnp.copy, variables)
    new = lg.flax.init(Net(), variables, KEY, activation=SAID, input_scale=3.0)
    table = lg.flax.table(Net(), variables, activation=SAID, input_scale=3.0)
    point = lg.critical("gelu_tanh")
    assert point.C_b is not None and point.C_W is not None and point.K_star is not None
    assert [(layer.name, layer.activation, layer.fan_in) for layer in table.layers] == [
        ("Conv_0", "inputs", 36),
        ("Dense_0", "gelu_tanh", 40),
        ("head", "gelu_tanh", 300),
    ]
    assert [layer.C_W for layer in table.layers] == pytest.approx([(point.K_star - point.C_b) / 3, point.C_W, point.C_W])
    for layer in table.layers:
        check_variance(new["params"][layer.name]["kernel"], layer.C_W / layer.fan_in)
    check_variance(new["params"]["Dense_0"]["bias"], point.C_b)
    assert same(variables, before) and same(new["params"]["LayerNorm_0"], variables["params"]["LayerNorm_0"])
    assert set(table.left) == {"LayerNorm_0"}
    assert jax.tree_util.tree_structure(new) == jax.tree_util.tree_structure(variables)
    assert same(new, lg.flax.init(Net(), variables, KEY, activation=SAID, input_scale=3.0))
    assert not same(new, lg.flax.init(Net(), variables, jax.random.key(6), activation=SAID, input_scale=3.0))


def test_linen_layers_that_are_not_said_stay(variables: Any) -> None:
    new = lg.flax.init(Net(), variables, KEY, activation={"head": "relu"})
    assert same(new["params"]["Conv_0"], variables["params"]["Conv_0"]) and same(new["params"]["Dense_0"], variables["params"]["Dense_0"])
    check_variance(new["params"]["head"]["kernel"], 2 / 300)
    assert lg.flax.table(Net(), variables, activation={"head": "relu"}).left["Dense_0"] == "not said"


def test_linen_order_is_known_by_numbers_or_asked_for(variables: Any) -> None:
    class Deep(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for _ in range(11):
                x = nn.Dense(5)(x)
            return x

    deep = jax.jit(Deep().init)(jax.random.key(0), jnp.ones((1, 5)))  # jit sorts the names: Dense_10 before Dense_2
    table = lg.flax.table(Deep(), deep, activation="gelu")
    assert [layer.name for layer in table.layers if layer.activation == "inputs"] == ["Dense_0"]
    with pytest.raises(InputError, match=r"unknown order.*\{'Conv_0': 'inputs', 'Dense_0': 'gelu', 'head': 'gelu'\}"):
        lg.flax.init(Net(), variables, KEY, activation="gelu")
    table = lg.flax.table(Net(), variables, activation="relu")  # every layer the same, whatever the order
    assert {layer.C_W for layer in table.layers} == {2.0} and "no difference" in table.notes[0]


def test_linen_kernels_of_unknown_kind_are_left_alone_unless_said() -> None:
    module = nn.Sequential([nn.Dense(8), nn.MultiHeadDotProductAttention(num_heads=2), nn.relu, nn.Conv(4, (3,))])
    variables = module.init(jax.random.key(0), jnp.ones((1, 5, 8)))
    table = lg.flax.table(module, variables, activation="relu")
    assert [layer.name for layer in table.layers] == ["layers_0"]
    assert "3 axes" in table.left["layers_1/query"] and "3 axes" in table.left["layers_3"]
    said = lg.flax.table(module, variables, activation={"layers_0": "inputs", "layers_3": "relu"})
    assert [layer.fan_in for layer in said.layers] == [8, 24]


def test_nnx_gives_a_new_module() -> None:
    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.stem = nnx.Linear(30, 40, rngs=rngs)
            self.blocks = nnx.List([nnx.Linear(40, 40, rngs=rngs) for _ in range(11)])
            self.attention = nnx.MultiHeadAttention(num_heads=2, in_features=40, rngs=rngs, decode=False)
            self.norm = nnx.LayerNorm(40, rngs=rngs)

    model = Model(nnx.Rngs(0))
    before = jax.tree_util.tree_map(jnp.copy, nnx.state(model))
    table = lg.flax.table(model, activation="gelu")
    assert [layer.name for layer in table.layers] == ["stem", *(f"blocks/{i}" for i in range(11))]
    assert [layer.activation for layer in table.layers] == ["inputs"] + ["gelu"] * 11
    assert {"norm", "attention/query"} <= set(table.left)
    new = lg.flax.init(model, key=KEY, activation="gelu")
    assert (
        same(nnx.state(model), before)
        and same(nnx.state(new)["norm"], before["norm"])
        and same(nnx.state(new)["attention"], before["attention"])
    )
    check_variance(new.stem.kernel[...], table.layers[0].C_W / 30)
    check_variance(new.blocks[10].kernel[...], table.layers[-1].C_W / 40)
    check_variance(jnp.stack([block.bias[...] for block in new.blocks]), table.layers[-1].C_b)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (jax.nn.gelu, "gelu_tanh"),
        (functools.partial(jax.nn.gelu, approximate=False), "gelu"),
        (jax.nn.relu, "relu"),
        (jnp.tanh, "tanh"),
        (jax.nn.silu, "swish"),
    ],
)
def test_an_equinox_mlp_knows_its_activation(function: Any, name: str) -> None:
    z = jnp.linspace(-3, 3, 31)
    np.testing.assert_allclose(lg.activation(name)(z), function(z), atol=1e-6)
    model = eqx.nn.MLP(30, 250, width_size=250, depth=2, activation=function, key=jax.random.key(0))
    before = jax.tree_util.tree_map(jnp.copy, eqx.filter(model, eqx.is_array))
    new = lg.equinox.init(model, KEY)
    table = lg.equinox.table(model)
    wanted = lg.chain(lg.mlp([250, 250], out=250, activation=name, C="critical"))
    assert [(layer.C_W, layer.C_b) for layer in table.layers] == [(layer.C_W, layer.C_b) for layer in wanted]
    assert [layer.activation for layer in table.layers] == ["inputs", name, name]
    for row, layer in zip(table.layers, new.layers, strict=True):
        check_variance(layer.weight, row.C_W / row.fan_in)
        if row.C_b:
            check_variance(layer.bias, row.C_b)
        else:
            assert not np.any(layer.bias)
    assert same(eqx.filter(model, eqx.is_array), before) and new.activation is model.activation
    assert jax.tree_util.tree_structure(new) == jax.tree_util.tree_structure(model)


class Vision(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    head: eqx.nn.Linear


def test_an_equinox_model_is_said() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    parts = eqx.nn.Conv2d(4, 60, 3, groups=2, key=keys[0]), eqx.nn.LayerNorm(60), eqx.nn.MultiheadAttention(2, 60, key=keys[1])
    model = Vision(*parts, eqx.nn.Linear(60, 90, use_bias=False, key=keys[2]))
    with pytest.raises(InputError, match="not traced"):
        lg.equinox.init(model, KEY)
    with pytest.raises(InputError, match=r"\.head without biases"):
        lg.equinox.init(model, KEY, activation="gelu")
    table = lg.equinox.table(model, activation="tanh")
    assert [(layer.name, layer.activation, layer.fan_in) for layer in table.layers] == [(".conv", "inputs", 18), (".head", "tanh", 60)]
    assert set(table.left) == {".norm.weight", ".norm.bias", ".attention"}
    new = lg.equinox.init(model, KEY, activation="tanh")
    check_variance(new.conv.weight, 1 / 18)
    check_variance(new.head.weight, 1 / 60)
    assert new.head.bias is None and not np.any(new.conv.bias)
    assert same(eqx.filter(new.attention, eqx.is_array), eqx.filter(model.attention, eqx.is_array))
    only = lg.equinox.init(model, KEY, activation={".head": "relu"})
    assert same(only.conv.weight, model.conv.weight)
    check_variance(only.head.weight, 2 / 60)


@pytest.mark.slow
def test_dtypes_stay(variables: Any) -> None:
    half = jax.tree_util.tree_map(lambda a: a.astype(jnp.bfloat16), variables)
    assert {a.dtype for a in jax.tree_util.tree_leaves(lg.flax.init(Net(), half, KEY, activation="relu"))} == {jnp.dtype(jnp.bfloat16)}
    double = jax.tree_util.tree_map(lambda a: np.asarray(a, np.float64), variables)
    new = lg.flax.init(Net(), double, KEY, activation="relu")
    assert new["params"]["head"]["kernel"].dtype == np.float64
    check_variance(new["params"]["head"]["kernel"], 2 / 300)


def test_errors_read_well(variables: Any) -> None:
    with pytest.raises(InputError, match=r"not traced.*activation="):
        lg.flax.init(Net(), variables, KEY)
    with pytest.raises(InputError, match=r"jax.random.key"):
        lg.flax.init(Net(), variables, activation="relu")
    with pytest.raises(InputError, match=r"module.init"):
        lg.flax.init(Net(), None, KEY, activation="relu")
    with pytest.raises(InputError, match=r"'Dense_1'.*Did you mean 'Dense_0'"):
        lg.flax.init(Net(), variables, KEY, activation={"Dense_1": "relu"})
    with pytest.raises(InputError, match="followed by gelu, relu"):
        lg.flax.init(Net(), variables, KEY, activation={"Conv_0": "inputs", "Dense_0": "gelu", "head": "relu"})
    with pytest.raises(UnsupportedError, match=r"softplus.*critical point"):
        lg.flax.init(Net(), variables, KEY, activation={"head": jax.nn.softplus})
    with pytest.raises(InputError, match=r"equinox.Module"):
        lg.equinox.init(Net(), KEY)


def test_no_library_is_imported_before_it_is_used() -> None:
    code = "import sys, largen as lg; lg.torch, lg.flax, lg.equinox; print(sorted({'torch', 'flax', 'equinox'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
