"""Sums, identities and normalisations as values: equality, text, pytrees, widths, levels, the chain, the walk."""

import json
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, strategies as st

import largen as lg
from largen.architecture.levels import affine, levels
from largen.architecture.nodes import Affine, Dense, Parametric
from largen.architecture.paths import everything
from largen.architecture.walk import Theory, walk
from largen.errors import InputError, UnsupportedError

WIDTH = 8
leaves = st.one_of(
    st.builds(lg.Dense, st.just(WIDTH), C_W=st.floats(0, 1e6), C_b=st.floats(0, 10)),
    st.builds(lg.Act, st.sampled_from(["relu", "tanh", "leaky_relu(0.3)", "polynomial(0, 1, -0.5)"])),
    st.builds(lg.Identity),
    st.builds(lg.LayerNorm, eps=st.floats(1e-300, 10)),
    st.builds(lg.RMSNorm, eps=st.floats(1e-300, 10)),
)
spatial = st.one_of(
    st.builds(lg.Conv, st.just(WIDTH), st.integers(1, 5) | st.tuples(st.integers(1, 5), st.integers(1, 5)), strides=st.integers(1, 3)),
    st.builds(lg.Conv, st.just(WIDTH), st.integers(1, 5), padding=st.sampled_from(["SAME", "VALID", "CIRCULAR"]), C_W=st.floats(0, 9)),
    st.builds(lg.AvgPool, st.integers(1, 3), strides=st.none() | st.tuples(st.integers(1, 3))),
    st.builds(lg.SumPool, st.tuples(st.integers(1, 3)), padding=st.sampled_from(["SAME", "VALID"])),
    st.builds(lg.GlobalAvgPool),
    st.builds(lg.Flatten),
    st.builds(lg.ConvLocal, st.just(WIDTH), st.integers(1, 5), dilation=st.integers(1, 3)),
    st.builds(lg.ConvTranspose, st.just(WIDTH), st.integers(1, 5), strides=st.integers(1, 3), padding=st.sampled_from(["SAME", "VALID"])),
    st.builds(lg.MaxPool, st.integers(1, 3)),
    st.builds(lg.Aggregate, st.lists(st.lists(st.floats(-9, 9), min_size=2, max_size=2), min_size=1, max_size=3)),
    st.builds(lg.Dropout, st.floats(0, 0.99)),
    st.builds(lg.PositionalEmbedding, st.floats(0, 9)),
    st.builds(lg.Attention, st.sampled_from(["identity", "softmax"]), st.sampled_from(["1/d", "1/sqrt(d)"]), st.none() | st.floats(0, 9)),
)


@st.composite
def sums(draw: Any, inside: Any) -> lg.Sum | lg.Product | lg.Serial:
    branches = draw(st.lists(inside, min_size=1, max_size=3))
    kind = draw(st.sampled_from([lg.Sum, lg.Product, lg.Concat]))
    if kind is lg.Concat:
        return lg.Concat(*branches) >> lg.Dense(WIDTH)
    if kind is lg.Product:
        return lg.Product(*branches)
    weights = draw(st.none() | st.lists(st.floats(-1e3, 1e3), min_size=len(branches), max_size=len(branches)))
    return lg.Sum(*branches, weights=weights)


serials = st.recursive(
    st.lists(leaves | spatial, min_size=1, max_size=3).map(lambda parts: lg.Serial(tuple(parts))),
    lambda inside: st.lists(leaves | sums(inside), min_size=1, max_size=3).map(lambda parts: lg.Serial(tuple(parts))),
    max_leaves=6,
)


@given(serials)
def test_law_text_round_trips(net: lg.Serial) -> None:
    copies = [eval(repr(net)), lg.loads(lg.dumps(net)), lg.loads(lg.dumps(net, "toml")), pickle.loads(pickle.dumps(net))]
    copies.append(jax.tree_util.tree_map(lambda a: a, net))
    for copy in copies:
        assert copy == net and hash(copy) == hash(net)


@given(serials)
def test_law_paths_are_distinct_and_name_every_affine_layer(net: lg.Serial) -> None:
    named = dict(everything(net))
    assert len(named) == len(list(everything(net)))
    assert [(path, layer) for path, layer, _ in affine(net)] == [
        (path, part) for path, part in named.items() if isinstance(part, Parametric)
    ]


def test_sums_are_pytrees_with_weights_as_leaves() -> None:
    block = lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(8, C_W=2.0, C_b=0.5), weights=(0.7, 3))
    assert jax.tree_util.tree_leaves(block) == [2.0, 0.5, 0.7, 3.0]
    slope = jax.grad(lambda b: b.weights[0] * b.branches[1].nodes[1].C_W)(block)
    assert slope.weights[0] == 2.0 and slope.branches[1].nodes[1].C_W == pytest.approx(0.7)
    assert lg.Sum(lg.Dense(3), lg.Dense(3)) == lg.Sum(lg.Serial((lg.Dense(3),)), lg.Dense(3), weights=[1, 1])
    assert lg.Sum(lg.Dense(3), weights=[2]) != lg.Sum(lg.Dense(3))


def test_resnet_mlp() -> None:
    net = lg.resnet_mlp(16, blocks=2, out=3, activation="gelu", skip=0.5, C_W=[1, 2, 3, 4], C_b=0.1)
    assert [layer.C_W for _, layer, _ in affine(net)] == [1, 2, 3, 4]
    block = lg.Sum(lg.Identity(), lg.Act("gelu") >> lg.Dense(16, 2.0, 0.1), weights=(0.5, 1))
    assert net.nodes[:2] == (lg.Dense(16, 1.0, 0.1), block) and net.nodes[3:] == (lg.Act("gelu"), lg.Dense(3, 4.0, 0.1))
    normal = lg.resnet_mlp(16, blocks=1, activation="gelu", norm=True)
    bend = lg.LayerNorm() >> lg.Act("gelu")
    assert normal == lg.Dense(16) >> lg.Sum(lg.Identity(), bend >> lg.Dense(16)) >> bend >> lg.Dense(1)


def test_widen_reaches_into_branches_and_keeps_the_outputs() -> None:
    assert lg.widen(lg.resnet_mlp(16, 2, out=3, norm=True), 2) == lg.resnet_mlp(32, 2, out=3, norm=True)
    last = lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(5) >> lg.Act("relu") >> lg.Dense(2))
    wide = lg.widen(lg.Dense(4) >> lg.Act("relu") >> lg.Dense(2) >> last, 3)
    assert wide.units(None) == 2 and [layer.fan_out for _, layer, _ in affine(wide) if isinstance(layer, Affine)] == [12, 2, 15, 2]
    with pytest.raises(InputError, match="whole number"):
        lg.widen(lg.resnet_mlp(5, 1), 0.5)


def test_levels() -> None:
    assert [(path, len(stage)) for path, stage in levels(lg.mlp(widths=[4, 4]))] == [("dense1", 1), ("dense2", 2), ("dense3", 2)]
    found = levels(lg.resnet_mlp(4, blocks=2, norm=True))
    assert [(path, len(stage)) for path, stage in found] == [("dense1", 1), ("sum1", 1), ("sum2", 1), ("dense2", 3)]
    mixed = lg.Dense(4) >> lg.Sum(lg.Act("relu"), lg.Act("relu") >> lg.Dense(4)) >> lg.Dense(1) >> lg.Identity()
    assert [path for path, _ in levels(mixed)] == ["dense1", "dense2", "identity1"]


def test_rates_of_branches() -> None:
    net = lg.resnet_mlp(6, blocks=1)
    assert lg.rates_of_sgd(net, lr=0.5, n_in=4) == ((0.5, 0.5, 0.5), (2.0, 3.0, 3.0))
    wide = lg.Dense(6) >> lg.Sum(lg.Identity(), lg.Dense(9) >> lg.Act("relu") >> lg.Dense(6)) >> lg.Dense(2)
    assert lg.rates_of_sgd(wide, lr=1.0, n_in=4)[1] == (4.0, 6.0, 9.0, 6.0)


def test_rates_of_image_networks() -> None:
    """Fan-in by the shape of one input: window positions x channels, 5 x 4 positions x 8 after flattening, heads side by side."""
    net = lg.cnn([8, 8], out=3)
    assert lg.rates_of_sgd(net, 1.0, n_in=(5, 4, 2)) == ((1.0,) * 3, (18.0, 72.0, 160.0))
    attends = lg.Dense(6) >> lg.Attention(heads=2, width=5) >> lg.GlobalAvgPool() >> lg.Dense(1)
    assert lg.rates_of_sgd(attends, 0.5, n_in=(4, 3))[1] == (1.5, 3.0, 3.0, 3.0, 5.0, 3.0)
    for wrong in (2, (5,), (0, 4, 2), "5", (), None):
        with pytest.raises(InputError, match="`n_in`"):
            lg.rates_of_sgd(net, 1.0, n_in=wrong)  # type: ignore[arg-type]


def test_chain_of_residual_blocks() -> None:
    branch = lg.Act("tanh") >> lg.Dense(4, C_W=2.0, C_b=0.5)
    ends = lg.Dense(4), lg.Act("tanh") >> lg.Dense(1)
    for block, path in ((lg.Sum(lg.Identity(), branch, weights=(0.3, 2)), 2), (lg.Sum(branch, lg.Identity(), weights=(2, 0.3)), 1)):
        layer = lg.analysis.chain(ends[0] >> block >> ends[1])[1]
        assert (layer.path, layer.width, layer.C_W, layer.C_b) == (f"sum1/{path}/dense1", 4, 8.0, 2.0)
        assert (layer.skip, layer.weight) == (0.3, 2.0) and layer.activation == lg.activation("tanh")
    linear = lg.analysis.chain(ends[0] >> lg.Sum(lg.Identity(), lg.Dense(4)) >> ends[1])[1]
    assert linear.activation == lg.activation("linear")
    for bad in (
        lg.Sum(lg.Identity(), lg.Dense(4)) >> ends[1],
        ends[0] >> lg.Act("tanh") >> lg.Sum(lg.Identity(), branch) >> ends[1],
        ends[0] >> lg.Sum(branch, branch) >> ends[1],
        ends[0] >> lg.Sum(lg.Identity(), branch >> branch) >> ends[1],
        ends[0] >> lg.Sum(lg.Identity(), lg.LayerNorm() >> branch) >> ends[1],
        ends[0] >> lg.LayerNorm() >> ends[1],
        ends[0] >> lg.Sum(lg.Identity(), lg.Act("tanh")) >> ends[1],
    ):
        with pytest.raises(UnsupportedError, match="the chain normal form"):
            lg.analysis.chain(bad)


def test_who_knows_plain_chains_only_says_so() -> None:
    with pytest.raises(UnsupportedError, match=r"does not support lg\.Sum.* at sum1"):
        lg.exact.gradient_law(lg.resnet_mlp(8, blocks=1), jnp.eye(4))


def test_walk_scans_repeated_blocks_with_branches() -> None:
    """Scanned and unrolled walks agree, each node with its own leaves and extras; tracing does not grow with depth."""
    theory = Theory("sums", lambda node: None)
    traced = []

    @theory.rule(Dense)
    def dense(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
        traced.append(1)
        return 0.5 * carrier + node.C_W * extra

    @theory.rule(lg.Act)
    @theory.rule(lg.Identity)
    def same(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
        return carrier

    @theory.rule(lg.Sum)
    def add(node: Any, carrier: Any, through: Any, need: Any) -> Any:
        return sum(w * send(carrier) for w, send in zip(node.weights, through, strict=True))

    net = lg.resnet_mlp(3, blocks=9, skip=0.25, C_W=list(range(1, 12)))
    extras = {path: float(i) for i, (path, _, _) in enumerate(affine(net), 1)}
    value, expected = 1.0, []
    for i in range(1, 12):
        value = 0.5 * value + i * i + (0.25 * value if 1 < i < 11 else 0)
        expected.append(value)
    keep = [path for path, _ in levels(net)]
    for scan in (True, False):
        traced.clear()
        last, kept = walk(net, theory, jnp.ones(()), extras, keep=keep, scan=scan)
        assert float(last) == pytest.approx(value) and jnp.concatenate(kept).tolist() == pytest.approx(expected, rel=1e-6)
        assert (len(traced) < 6) == scan
    seen = []
    walk(net, theory, jnp.ones(()), extras, observe=lambda path, before, after: seen.append(path))
    assert sorted(seen) == sorted(path for path, _ in everything(net))


def test_branches_have_to_need_the_same_of_their_input() -> None:
    theory = Theory("needy")
    for kind in (Dense, lg.Identity, lg.Sum):
        theory.rule(kind, (lambda node, need: "all") if kind is Dense else lambda node, need: need)(lambda *_: 0)
    net = lg.Serial((lg.Sum(lg.Identity(), lg.Dense(3)),))
    walk(net, theory, 0, need="all")
    with pytest.raises(UnsupportedError, match="different things"):
        walk(net, theory, 0, need="some")


def text(**entry: Any) -> str:
    return json.dumps({"format": "largen-network", "version": 1, "nodes": [entry]})


wrong: Any = {"int": 4}  # of a type that the annotations would refuse
BAD = [
    (lambda: lg.Sum(), "branches"),
    (lambda: lg.Sum(wrong["int"]), "branches"),
    (lambda: lg.Sum(lg.Dense(3), lg.Dense(4)), "branches"),
    (lambda: lg.Dense(3) >> lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(4)), "branches"),
    (lambda: lg.Sum(lg.Dense(3), weights=(1, 2)), "weights"),
    (lambda: lg.Sum(lg.Dense(3), weights=wrong["int"]), "weights"),
    (lambda: lg.Sum(lg.Dense(3), weights=(float("nan"),)), "weights"),
    (lambda: lg.LayerNorm(axes=1), "axes"),
    (lambda: lg.LayerNorm(eps=0.0), "eps"),
    (lambda: lg.resnet_mlp(8, blocks=0), "blocks"),
    (lambda: lg.resnet_mlp(0, blocks=1), "width"),
    (lambda: lg.resnet_mlp(8, blocks=1, skip=float("inf")), "skip"),
    (lambda: lg.resnet_mlp(8, blocks=1, C_W=[1.0, 2.0]), "C_W"),
    (lambda: lg.loads(text(node="Sum")), "nodes, entry 1"),
    (lambda: lg.loads(text(node="Sum", branches=3)), "nodes, entry 1"),
    (lambda: lg.loads(text(node="Sum", branches=[{"node": "Identity"}])), "nodes, entry 1, branch 1"),
    (lambda: lg.loads(text(node="Sum", branches=[[{"node": "Conv"}]])), "nodes, entry 1, branch 1, entry 1"),
    (lambda: lg.loads(text(node="Identity", width=3)), "nodes, entry 1"),
]


@pytest.mark.parametrize("call, argument", BAD)
def test_bad_input(call: Any, argument: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument
