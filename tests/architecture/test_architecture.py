"""Networks as values: composition, equality, pytrees, text, presets, the walk, the chain."""

import json
import pickle
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import largen as lg
from largen.architecture.nodes import Dense
from largen.architecture.paths import paths
from largen.architecture.walk import Theory, walk
from largen.errors import InputError, UnsupportedError

nodes = st.one_of(
    st.builds(lg.Dense, st.integers(1, 2000), C_W=st.floats(0, 1e6), C_b=st.floats(0, 10)),
    st.builds(lg.Act, st.sampled_from(["relu", "tanh", "leaky_relu(0.3)", "polynomial(0, 1, -0.5)", "silu"])),
)
networks = st.lists(nodes, min_size=1, max_size=6).map(lambda parts: lg.Serial(tuple(parts)))


@given(networks)
def test_law_text_round_trips(net):
    """eval(repr(net)) == net, JSON, TOML, pickle and pytree give the equal value with the equal hash."""
    copies = [eval(repr(net)), lg.loads(lg.dumps(net)), lg.loads(lg.dumps(net, "toml")), pickle.loads(pickle.dumps(net))]
    copies.append(jax.tree_util.tree_map(lambda a: a, net))
    for copy in copies:
        assert copy == net and hash(copy) == hash(net)


@given(networks, networks, networks)
def test_law_composition_is_associative(a, b, c):
    assert (a >> b) >> c == a >> (b >> c)


def test_hyperparameters_are_leaves_and_structure_is_static():
    net = lg.mlp(widths=[8, 4], out=1, activation="tanh", C_W=[1, 2, 3], C_b=0.5)
    assert jax.tree_util.tree_leaves(net) == [1.0, 0.5, 2.0, 0.5, 3.0, 0.5]
    other = lg.mlp(widths=[8, 4], out=1, activation="tanh", C_W=9.0)
    assert jax.tree_util.tree_structure(net) == jax.tree_util.tree_structure(other) and net != other
    slope = jax.grad(lambda n: n.nodes[0].C_W * n.nodes[2].C_b)(net)
    assert slope.nodes[0].C_W == 0.5
    batched = jax.vmap(lambda w: lg.Dense(3, C_W=w))(jnp.arange(3.0))
    assert batched.C_W.shape == (3,)


def test_mlp():
    net = lg.mlp(widths=[8], out=2, activation="relu")
    assert net == lg.Dense(8) >> lg.Act("relu") >> lg.Dense(2)
    assert lg.mlp(widths=[], out=3) == lg.Serial((lg.Dense(3),))
    assert lg.mlp(widths=[8], out=2, C="critical") == lg.Dense(8, C_W=2.0) >> lg.Act("relu") >> lg.Dense(2, C_W=2.0)


def test_a_critical_convolution_keeps_the_sizes_that_a_dense_layer_keeps():
    X = np.sign(np.random.default_rng(0).normal(size=(2, 4, 4, 1)))  # every pixel of mean square 1
    assert lg.cnn([8], out=2, C="critical") == lg.cnn([8], out=2, C_W=2.0) and lg.cnn([8]) == lg.cnn([8], C_W=1.0, C_b=0.0)
    for scale in (1.0, 4.0):
        net = lg.cnn([8] * 3, activation="gelu", padding="CIRCULAR", C="critical", input_scale=scale)
        assert lg.kernel(net, X * scale**0.5).nngp.diagonal() == pytest.approx(lg.critical("gelu").K_star, rel=1e-6)


def test_widen():
    net = lg.mlp(widths=[8, 4], out=3)
    assert lg.widen(net, 2) == lg.mlp(widths=[16, 8], out=3)
    with pytest.raises(InputError, match="whole number"):
        lg.widen(net, 0.3)


def test_chain():
    net = lg.Dense(8) >> lg.Dense(4) >> lg.Act("relu") >> lg.Dense(1, C_W=2.0)
    layers = lg.analysis.chain(net)
    assert [layer.path for layer in layers] == ["dense1", "dense2", "dense3"]
    assert [layer.activation and layer.activation.name for layer in layers] == [None, "linear", "relu"]
    assert layers[2].C_W == 2.0 and layers[2].skip == 0.0
    for bad in (
        lg.Act("relu") >> lg.Dense(1),
        lg.Dense(1) >> lg.Act("relu"),
        lg.Dense(2) >> lg.Act("relu") >> lg.Act("relu") >> lg.Dense(1),
    ):
        with pytest.raises(UnsupportedError, match="the chain normal form"):
            lg.analysis.chain(bad)


def test_walk_scans_equal_blocks_and_keeps_layers():
    """The scanned walk visits every node in order with its own leaves and extras; unrolled gives the same."""
    theory = Theory("sums", lambda node: node.activation if isinstance(node, lg.Act) else None)
    traced = []

    @theory.rule(Dense)
    def dense(node, carrier, extra, need):
        traced.append(1)
        return 2 * carrier + node.C_W * extra

    @theory.rule(lg.Act)
    def act(node, carrier, extra, need):
        return carrier + 1

    net = lg.mlp(widths=[3] * 9, out=2, C_W=list(range(1, 11)))
    extras = {path: 10.0 * i for i, (path, node) in enumerate(paths(net), 1) if isinstance(node, Dense)}
    expected, values = 0.0, []
    for i, node in enumerate(net.nodes, 1):
        expected = 2 * expected + node.C_W * 10.0 * i if isinstance(node, Dense) else expected + 1
        values += [expected] * isinstance(node, Dense)
    for scan in (True, False):
        traced.clear()
        last, kept = walk(net, theory, jnp.zeros(()), extras, keep=extras, scan=scan)
        assert float(last) == expected
        assert jnp.concatenate(kept).tolist() == values
        assert (len(traced) < 5) == scan


def test_missing_rule():
    empty = Theory("nothing")
    with pytest.raises(UnsupportedError, match=r"nothing does not support lg\.Dense\(3\) at dense1"):
        walk(lg.Serial((lg.Dense(3),)), empty, 0.0)


wrong: Any = {"int": 4, "float": 2.5, "text": "1"}  # of a type that the annotations would refuse
BAD = [
    (lambda: lg.Dense(0), "width"),
    (lambda: lg.Dense(wrong["float"]), "width"),
    (lambda: lg.Dense(True), "width"),
    (lambda: lg.Dense(3, C_W=-1.0), "C_W"),
    (lambda: lg.Dense(3, C_W=float("nan")), "C_W"),
    (lambda: lg.Dense(3, C_b="1"), "C_b"),
    (lambda: lg.Dense(3, C_b=float("inf")), "C_b"),
    (lambda: lg.Dense(3) >> wrong["int"], ">>"),
    (lambda: lg.Serial(()), "nodes"),
    (lambda: lg.mlp(widths=[4, 0]), "widths"),
    (lambda: lg.mlp(widths=wrong["int"]), "widths"),
    (lambda: lg.mlp(widths=[4], out=0), "out"),
    (lambda: lg.mlp(widths=[4], C_W=[1.0, 2.0, 3.0]), "C_W"),
    (lambda: lg.mlp(widths=[4], C="critical", C_W=1.0), "C"),
    (lambda: lg.cnn([4], C="critical", C_b=0.0), "C"),
    (lambda: lg.mlp(widths=[4], C="chaos"), "C"),
    (lambda: lg.mlp(widths=[4], C="critical", input_scale=0), "input_scale"),
    (lambda: lg.dumps(lg.Dense(3), format="yaml"), "format"),
    (lambda: lg.dumps(lg.Dense(3) >> lg.Act(lg.activation(lambda z: z * z))), "net"),
    (lambda: lg.dumps("net"), "net"),
    (lambda: lg.loads("{broken"), "text"),
    (lambda: lg.loads("a = = 1"), "text"),
    (lambda: lg.loads(wrong["int"]), "text"),
    (lambda: lg.loads("{}"), "text"),
    (lambda: lg.loads(json.dumps({"format": "largen-network", "version": 2, "nodes": []})), "text"),
    (lambda: lg.loads(json.dumps({"format": "largen-network", "version": 1, "nodes": [{"node": "Conv"}]})), "nodes, entry 1"),
    (lambda: lg.loads(json.dumps({"format": "largen-network", "version": 1, "nodes": [{"node": "Dense", "size": 3}]})), "nodes, entry 1"),
    (lambda: lg.rates_of_sgd(lg.Dense(3), lr=0.1), "n_in"),
    (lambda: lg.rates_of_sgd(lg.Dense(3), lr=0.0, n_in=3), "lr"),
    (lambda: lg.one_hot([0.5, 1.0]), "y"),
    (lambda: lg.one_hot([0, 3], classes=2), "y"),
    (lambda: lg.standardize([[1.0, 1.0], [1.0, 1.0]]), "X"),
]


@pytest.mark.parametrize("call, argument", BAD)
def test_bad_input(call, argument):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument
    assert "needed" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_text_never_imports_code():
    text = json.dumps({"format": "largen-network", "version": 1, "nodes": [{"node": "Act", "activation": "__import__('os')"}]})
    with pytest.raises(InputError, match="activation"):
        lg.loads(text)


def test_a_new_process_reads_every_node() -> None:
    """Nodes are known by name once their modules are imported, which nothing but reading a text has asked for."""
    nets = [
        lg.Dense(4) >> lg.LayerNorm() >> lg.RMSNorm() >> lg.Act("relu") >> lg.Dropout(0.5) >> lg.Dense(1),
        lg.Conv(4, 3)
        >> lg.AvgPool(2)
        >> lg.SumPool(1)
        >> lg.MaxPool(1)
        >> lg.ConvLocal(4, 1)
        >> lg.ConvTranspose(4, 1)
        >> lg.GlobalAvgPool(),
        lg.transformer(8, 1, heads=2) >> lg.Aggregate([[1.0]]) >> lg.Flatten() >> lg.Dense(1),
        lg.Dense(4) >> lg.Concat(lg.Identity(), lg.Act("relu")) >> lg.Product(lg.Identity(), lg.Act("tanh")) >> lg.Dense(1),
    ]
    for net in nets:
        code = f"import largen as lg; print(lg.loads({lg.dumps(net)!r}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == f"{net!r}\n"
