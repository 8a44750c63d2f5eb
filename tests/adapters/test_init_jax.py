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


def test_linen_names_say_nothing_of_the_order(variables: Any) -> None:
    class Compact(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(10)(nn.gelu(nn.Dense(64)(x)))  # the readout is Dense_0: it is made first

    x = jnp.ones((1, 5))
    compact = jax.eval_shape(lambda: Compact().init(jax.random.key(0), x))
    table = lg.flax.table(Compact(), compact, example=x)
    assert [(layer.name, layer.activation, layer.fan_in) for layer in table.layers] == [
        ("Dense_0", "gelu_tanh", 64),
        ("Dense_1", "inputs", 5),
    ]
    for said in (None, "gelu", "relu"):
        with pytest.raises(InputError, match=r"Dense_0, Dense_1: the names.*example="):
            lg.flax.init(Compact(), compact, KEY, activation=said)
    table = lg.flax.table(Net(), variables, example=jnp.ones((1, 6, 6, 4)), input_scale=3.0)
    assert [layer.activation for layer in table.layers] == ["inputs", "gelu_tanh", "gelu_tanh"]
    assert [layer.C_W for layer in table.layers] == [
        layer.C_W for layer in lg.flax.table(Net(), variables, activation=SAID, input_scale=3.0).layers
    ]


def test_a_linen_sequence_is_read_in_order() -> None:
    module = nn.Sequential([nn.Dense(8), nn.MultiHeadDotProductAttention(num_heads=2), nn.relu, nn.Conv(4, (3,))])
    x = jnp.ones((1, 5, 8))
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), x))
    with pytest.raises(InputError, match=r"layers_3: the module layers_1 \(MultiHeadDotProductAttention\)"):
        lg.flax.table(module, variables)
    table = lg.flax.table(module, variables, activation={"layers_3": "relu"})
    assert [(layer.name, layer.activation, layer.fan_in) for layer in table.layers] == [("layers_0", "inputs", 8), ("layers_3", "relu", 24)]
    assert "not reached" in table.left["layers_1/query"]
    table = lg.flax.table(module, variables, example=x)
    assert {layer.name: (layer.activation, layer.fan_in) for layer in table.layers} == {
        "layers_0": ("inputs", 8),
        "layers_1/query": ("linear", 8),
        "layers_1/key": ("linear", 8),
        "layers_1/value": ("linear", 8),
        "layers_1/out": ("linear", 8),
        "layers_3": ("relu", 24),
    }


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda z: jnp.where(z > 0, z, 0.2 * z), ("leaky_relu(0.2)", 2 / 1.04)),
        (lambda z: nn.relu(z / 2) * 3, ("relu", 2 * 4 / 9)),  # factors are undone
        (lambda z: z * jax.nn.sigmoid(z), ("swish", None)),
        (lambda z: 2 * jnp.tanh(z), ("tanh", 1 / 4)),
        (jax.nn.relu6, "none of those with a name"),
        (lambda z: z * jax.nn.sigmoid(1.702 * z), "factor 1.702 before swish"),
        (nn.glu, "mul of two values"),
        (lambda z: z[:, ::-1] * jax.nn.sigmoid(z), "mul of two values"),
        (lambda z: z / jnp.sqrt((z**2).mean(-1, keepdims=True)), ("linear", 1)),
    ],
)
def test_functions_are_known_by_what_they_do(function: Any, wanted: Any) -> None:
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(3, name="head")(function(nn.Dense(8)(x)))

    x = jnp.ones((2, 5))
    variables = jax.eval_shape(lambda: Model().init(jax.random.key(0), x))
    if isinstance(wanted, str):
        with pytest.raises(InputError, match=f"head: .*{wanted}"):
            lg.flax.table(Model(), variables, example=x)
        return
    head = next(layer for layer in lg.flax.table(Model(), variables, example=x).layers if layer.name == "head")
    assert head.activation == wanted[0]
    assert head.C_W == pytest.approx(wanted[1] if wanted[1] is not None else lg.critical(wanted[0]).C_W, rel=1e-5)


def test_gates_and_loops_are_said_by_name() -> None:
    class Recurrent(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(3)(nn.RNN(nn.LSTMCell(4))(x))

    class Cell(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            cell = nn.LSTMCell(4)
            return nn.Dense(3)(cell(cell.initialize_carry(jax.random.key(0), x.shape), x)[1])

    x = jnp.ones((2, 5, 8))
    variables = jax.eval_shape(lambda: Recurrent().init(jax.random.key(0), x))
    with pytest.raises(InputError, match=r"Dense_0: a scan"):
        lg.flax.table(Recurrent(), variables, example=x)
    table = lg.flax.table(Recurrent(), variables, example=x, activation={"Dense_0": "tanh"})
    assert [layer.name for layer in table.layers] == ["Dense_0"] and "LSTMCell_0/hf" in table.left
    variables = jax.eval_shape(lambda: Cell().init(jax.random.key(0), x[0]))
    for said in (None, "relu"):
        with pytest.raises((InputError, UnsupportedError), match=r"LSTMCell_0/"):
            lg.flax.table(Cell(), variables, example=x[0], activation=said)


def test_a_stream_that_is_divided_after_every_sum_keeps_its_size() -> None:
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            z = nn.Dense(8)(x)
            for _ in range(3):
                z = (z + nn.Dense(8)(nn.relu(z))) / jnp.sqrt(2.0)
            return nn.Dense(8)(nn.relu(z))

    x = jnp.ones((2, 5))
    table = lg.flax.table(Model(), jax.eval_shape(lambda: Model().init(jax.random.key(0), x)), example=x)
    assert [layer.C_W for layer in table.layers] == pytest.approx([2] * 5)


class ResNet(nn.Module):
    """Post-activation blocks whose branches end in a batch normalisation; a projected skip half-way."""

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        z = nn.relu(nn.Conv(8, (3, 3))(x))
        for channels, stride in ((8, 1), (8, 1), (16, 2)):
            h = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(channels, (3, 3), strides=stride)(z)))
            h = nn.BatchNorm(use_running_average=not train)(nn.Conv(channels, (3, 3))(h))
            z = nn.relu(h + (z if stride == 1 else nn.Conv(channels, (1, 1), strides=stride, name="skip")(z)))
        return nn.Dense(3, name="head")(nn.Dropout(0.1, deterministic=not train)(z.mean((1, 2))))


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        z = nn.Dense(16)(x) + self.param("positions", nn.initializers.normal(), (5, 16))
        for _ in range(2):
            z = z + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(z))
            z = z + nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(z))))
        return nn.Dense(3, name="head")(nn.RMSNorm()(z))


def test_streams_of_linen_models() -> None:
    x = jnp.ones((2, 8, 8, 3))
    shapes = jax.eval_shape(lambda: ResNet().init(jax.random.key(0), x, False))
    for train in (False, True):
        table = lg.flax.table(ResNet(), shapes, example=(x, train))
        assert dict(table.scales) == pytest.approx({"BatchNorm_1/scale": 0.5**0.5, "BatchNorm_3/scale": 0.5**0.5, "BatchNorm_5/scale": 1})
        assert {layer.C_W for layer in table.layers} == {1, 2}  # no layer has to be smaller: the normalisations are
    ones = jax.tree_util.tree_map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    new = lg.flax.init(ResNet(), ones, KEY, example=(x, True))
    assert np.all(new["params"]["BatchNorm_1"]["scale"] == np.float32(0.5**0.5)) and np.all(new["params"]["BatchNorm_0"]["scale"] == 1)
    x = jnp.ones((2, 5, 8))
    table = lg.flax.table(Transformer(), jax.eval_shape(lambda: Transformer().init(jax.random.key(0), x)), example=x)
    C_W = lg.critical("gelu_tanh").C_W
    assert C_W is not None
    wanted = dict.fromkeys((layer.name for layer in table.layers), 1.0)
    wanted |= {"Dense_1": C_W / 4, "Dense_3": C_W / 4}  # made before those that they are fed by
    wanted |= {f"MultiHeadDotProductAttention_{i}/out": 1 / 4 for i in (0, 1)}
    assert {layer.name: layer.C_W for layer in table.layers} == pytest.approx(wanted)
    assert all("one of 4 branches" in layer.note for layer in table.layers if layer.C_W < 1)


def test_nnx_gives_a_new_module() -> None:
    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.blocks = nnx.List([nnx.Linear(40, 40, rngs=rngs) for _ in range(11)])  # before the stem: attributes are no order
            self.stem = nnx.Linear(30, 40, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(num_heads=2, in_features=40, rngs=rngs, decode=False)
            self.norm = nnx.LayerNorm(40, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            x = self.norm(self.stem(x))
            for block in self.blocks:
                x = block(jax.nn.gelu(x, approximate=False))
            return x + self.attention(x)

    model = Model(nnx.Rngs(0))
    before = jax.tree_util.tree_map(jnp.copy, nnx.state(model))
    with pytest.raises(InputError, match="example="):
        lg.flax.table(model, activation="gelu")
    x = jnp.ones((2, 30))
    table = lg.flax.table(model, example=x)
    fed = {layer.name: layer.activation for layer in table.layers}
    assert fed == {"stem": "inputs"} | {f"blocks/{i}": "gelu" for i in range(11)}
    assert {"norm", "attention/query"} <= set(table.left) and "std" in table.left["attention/out/kernel"]
    new = lg.flax.init(model, key=KEY, example=x)
    assert (
        same(nnx.state(model), before)
        and same(nnx.state(new)["norm"], before["norm"])
        and same(nnx.state(new)["attention"], before["attention"])
    )
    check_variance(new.stem.kernel[...], next(layer.C_W for layer in table.layers if layer.name == "stem") / 30)
    point = lg.critical("gelu")
    assert point.C_W is not None and point.C_b is not None
    check_variance(new.blocks[10].kernel[...], point.C_W / 40)
    check_variance(jnp.stack([block.bias[...] for block in new.blocks]), point.C_b)


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
    wanted = lg.analysis.chain(lg.mlp([250, 250], out=250, activation=name, C="critical"))
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
    for said in (None, "tanh"):
        with pytest.raises(InputError, match=r"fields of a model do not say.*example="):
            lg.equinox.init(model, KEY, activation=said)
    with pytest.raises(InputError, match=r"\.head without biases"):
        lg.equinox.init(model, KEY, activation={".conv": "inputs", ".head": "gelu"})
    said = {".conv": "inputs", ".head": "tanh"}
    table = lg.equinox.table(model, activation=said)
    assert [(layer.name, layer.activation, layer.fan_in) for layer in table.layers] == [(".conv", "inputs", 18), (".head", "tanh", 60)]
    assert {".norm.weight", ".norm.bias", ".attention.query_proj"} <= set(table.left)
    new = lg.equinox.init(model, KEY, activation=said)
    check_variance(new.conv.weight, 1 / 18)
    check_variance(new.head.weight, 1 / 60)
    assert new.head.bias is None and not np.any(new.conv.bias)
    assert same(eqx.filter(new.attention, eqx.is_array), eqx.filter(model.attention, eqx.is_array))
    only = lg.equinox.init(model, KEY, activation={".head": "relu"})
    assert same(only.conv.weight, model.conv.weight)
    check_variance(only.head.weight, 2 / 60)


class Blocks(eqx.Module):
    """Fields in another order than the call; attention and an MLP in one stream, a normalisation that ends a branch."""

    head: eqx.nn.Linear
    stem: eqx.nn.Conv1d
    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP
    last: eqx.nn.LayerNorm

    def __call__(self, x: Any) -> Any:
        z = self.stem(x).T
        h = jax.vmap(self.norm)(z)
        z = z + self.attention(h, h, h)
        z = z + jax.vmap(self.last)(jax.vmap(self.mlp)(z))
        return self.head(jnp.tanh(z).mean(0))


def test_the_call_of_an_equinox_model_is_read() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    stem = eqx.nn.Conv1d(4, 16, 3, padding=1, key=keys[0])
    attention, mlp = eqx.nn.MultiheadAttention(2, 16, key=keys[1]), eqx.nn.MLP(16, 16, 32, 1, activation=jax.nn.tanh, key=keys[2])
    model = Blocks(eqx.nn.Linear(16, 3, key=keys[3]), stem, eqx.nn.LayerNorm(16), attention, mlp, eqx.nn.LayerNorm(16))
    with pytest.raises(InputError, match=r"does not take"):
        lg.equinox.table(model, example=jnp.ones((4, 7, 2)))
    table = lg.equinox.table(model, example=jnp.ones((4, 7)))
    assert {layer.name: (layer.activation, layer.C_W) for layer in table.layers} == {
        ".head": ("tanh", 1),
        ".stem": ("inputs", 1),
        ".attention.query_proj": ("linear", 1),
        ".attention.key_proj": ("linear", 1),
        ".attention.value_proj": ("linear", 1),
        ".attention.output_proj": ("linear", 0.5),
        ".mlp.layers[0]": ("linear", 1),
        ".mlp.layers[1]": ("tanh", 1),
    }
    assert dict(table.scales) == pytest.approx({".last.weight": 0.5**0.5})
    new = lg.equinox.init(model, KEY, example=jnp.ones((4, 7)))
    assert np.all(new.last.weight == np.float32(0.5**0.5)) and np.all(new.norm.weight == 1)


@pytest.mark.slow
def test_dtypes_stay(variables: Any) -> None:
    half = jax.tree_util.tree_map(lambda a: a.astype(jnp.bfloat16), variables)
    assert {a.dtype for a in jax.tree_util.tree_leaves(lg.flax.init(Net(), half, KEY, activation=SAID))} == {jnp.dtype(jnp.bfloat16)}
    double = jax.tree_util.tree_map(lambda a: np.asarray(a, np.float64), variables)
    new = lg.flax.init(Net(), double, KEY, activation=SAID)
    assert new["params"]["head"]["kernel"].dtype == np.float64
    table = lg.flax.table(Net(), half, example=jnp.ones((1, 6, 6, 4), jnp.bfloat16))
    assert [layer.activation for layer in table.layers] == ["inputs", "gelu_tanh", "gelu_tanh"]
    check_variance(new["params"]["head"]["kernel"], table.layers[2].C_W / 300)


def test_errors_read_well(variables: Any) -> None:
    with pytest.raises(InputError, match=r"names.*activation="):
        lg.flax.init(Net(), variables, KEY)
    with pytest.raises(InputError, match=r"jax.random.key"):
        lg.flax.init(Net(), variables, activation=SAID)
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


def test_errors_name_the_argument_that_the_library_has(variables: Any) -> None:
    whole = jax.tree_util.tree_map(lambda leaf: leaf.astype(jnp.int32), variables)
    with pytest.raises(InputError, match=r"`variables`: got a weight of type int32"):
        lg.flax.init(Net(), whole, KEY, activation=SAID)
    module, layer = nnx.Linear(3, 3, rngs=nnx.Rngs(0)), eqx.nn.Linear(3, 3, use_bias=False, key=KEY)
    module.kernel = nnx.Param(jnp.ones((3, 3), jnp.int32))
    with pytest.raises(InputError, match=r"`module`: got a weight of type int32"):
        lg.flax.init(module, key=KEY)
    with pytest.raises(InputError, match=r"`module`: got a model without a layer"):
        lg.flax.table(nnx.LayerNorm(3, rngs=nnx.Rngs(0)), activation={})
    with pytest.raises(InputError, match=r"`model`: got a weight of type int32"):
        lg.equinox.init(eqx.tree_at(lambda layer: layer.weight, layer, jnp.ones((3, 3), jnp.int32)), KEY)
    with pytest.raises(InputError, match=r"`model`: got the layer \(model\) without biases"):
        lg.equinox.init(layer, KEY, activation={"": "gelu"})


def test_no_library_is_imported_before_it_is_used() -> None:
    code = "import sys, largen as lg; lg.torch, lg.flax, lg.equinox; print(sorted({'torch', 'flax', 'equinox'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
