"""A node and theories of one's own: one file adds them, and touches nothing else."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.architecture.arrays import size
from largen.architecture.branches import Branching
from largen.architecture.nodes import NODES, Composite, Node, network, node
from largen.architecture.paths import everything
from largen.architecture.walk import Theory, walk
from largen.errors import InputError, UnsupportedError
from largen.gaussian import pair as pairs
from largen.networks.outputs import FORWARD
from largen.theory.rules import KERNELS


@node
class Scale(Node):
    """z -> factor z."""

    factor: float


del NODES["Scale"]  # the text form knows it inside the tests only

X = np.array([[1.0, 0.2, -1.0], [0.5, 1.5, 0.3], [-1.0, 1.0, 1.0]])


@pytest.fixture
def applied() -> Iterator[None]:
    """Real networks know the node."""
    FORWARD.rule(Scale)(lambda node, x, extra, need: jnp.asarray(node.factor, x.dtype) * x)
    yield
    del FORWARD.rules[Scale]


@pytest.fixture
def known(applied: None) -> Iterator[None]:
    """So do kernels and the text form."""

    @KERNELS.rule(Scale)
    def step(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
        square = node.factor**2
        return carrier.moved(lambda pair: pairs.scaled(pair, square), square * carrier.theta)

    NODES["Scale"] = Scale
    yield
    del KERNELS.rules[Scale], NODES["Scale"]


def scaled(*factors: float) -> tuple[Any, Any]:
    """A network with scalings after its layers, and the same function of parameters times these factors."""
    parts, same = [], []
    for factor in factors:
        parts += [lg.Dense(16, 1.5, 0.2), Scale(factor), lg.Act("tanh")]
        same += [lg.Dense(16, 1.5 * factor**2, 0.2 * factor**2), lg.Act("tanh")]
    return lg.Serial((*parts, lg.Dense(2))), lg.Serial((*same, lg.Dense(2)))


def test_a_new_node_prints_and_is_written(known: None) -> None:
    net = lg.Dense(4) >> lg.Sum(Scale(0.5), lg.Act("relu") >> lg.Dense(4))
    assert repr(net) == "lg.Dense(4) >> lg.Sum(Scale(0.5), lg.Act('relu') >> lg.Dense(4))" and eval(repr(net)) == net
    assert lg.loads(lg.dumps(net)) == net and lg.loads(lg.dumps(net, "toml")) == net


def test_a_new_node_is_not_read_without_being_registered() -> None:
    with pytest.raises(InputError, match="whose `node` is one of"):
        lg.loads('{"format": "largen-network", "version": 1, "nodes": [{"node": "Scale", "factor": 2.0}]}')


def test_real_networks_with_a_new_node(applied: None) -> None:
    net, same = scaled(0.5, 3.0)
    params = lg.init(net, 3, jax.random.key(0), dtype=np.float64)
    assert {path: entry["W"].shape for path, entry in params.items()} == {"dense1": (3, 16), "dense2": (16, 16), "dense3": (16, 2)}
    times = {"dense1": 0.5, "dense2": 3.0, "dense3": 1.0}
    moved: Any = {path: {name: times[path] * np.asarray(value) for name, value in entry.items()} for path, entry in params.items()}
    np.testing.assert_allclose(lg.apply(net, params, X), lg.apply(same, moved, X), rtol=1e-12)
    np.testing.assert_allclose(lg.empirical_ntk(net, params, X), lg.empirical_ntk(same, moved, X), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factors", [(0.5, 3.0), (2.0, 2.0, 2.0, 2.0), (1.0, 2.0, 1.0, 2.0, 3.0)])
def test_kernels_of_a_new_node(known: None, factors: tuple[float, ...]) -> None:
    net, same = scaled(*factors)  # repeated blocks are scanned, those of other factors are not taken for them
    found, expected = lg.kernel(net, X, layer="all"), lg.kernel(same, X, layer="all")
    scales = np.array([f**2 for f in factors] + [1.0])[:, None, None]  # levels end at the affine layers, before the scaling
    np.testing.assert_allclose(found.nngp * scales, expected.nngp, rtol=1e-12)
    np.testing.assert_allclose(found.ntk * scales, expected.ntk, rtol=1e-12)


def test_a_new_node_is_refused_where_it_has_no_rule(applied: None) -> None:
    net = scaled(2.0)[0]
    for theory, refused in (("kernel", lambda: lg.kernel(net, X)), ("chain", lambda: lg.corrections(net, X))):
        with pytest.raises(UnsupportedError, match=rf"{theory}.* does not support Scale\(2.0\) at scale1"):
            refused()


def test_a_new_node_is_refused_by_real_networks_without_a_rule() -> None:
    net = scaled(2.0)[0]
    params = lg.init(net, 3, jax.random.key(0))  # what it has is said by the node itself
    with pytest.raises(UnsupportedError, match=r"lg.apply does not support Scale\(2.0\) at scale1"):
        lg.apply(net, params, X)


def test_a_new_theory_of_all_nodes_from_their_facts() -> None:
    def counted(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
        shape, many = carrier
        own = sum(int(np.prod(blank.shape)) for blank in node.parameters(shape).values())
        return node.shape(shape), many + own

    counting = Theory("counting parameters", default=counted, covers=lambda kind: not issubclass(kind, Composite))

    def inside(node: Branching, carrier: Any, through: Any, need: Any) -> Any:
        shape, many = carrier
        return node.shape(shape), many + sum(send((shape, 0))[1] for send in through)

    for kind in (lg.Sum, lg.Product, lg.Concat):
        counting.rule(kind)(inside)
    for net, shape in ((lg.resnet_mlp(8, 2), (3,)), (scaled(2.0)[0], (3,)), (lg.resnet([4, 8], 1), (8, 8, 3))):
        assert walk(network(net), counting, (shape, 0))[0][1] == size(network(net), shape) > 0
    with pytest.raises(UnsupportedError, match=r"counting parameters does not support lg\.Attention"):
        walk(lg.Dense(4) >> lg.Attention(), counting, ((5, 3), 0))


def test_a_new_theory_with_rules_of_its_own(known: None) -> None:
    energy = Theory("the mean square of values", lambda node: node.signature())
    energy.rule(lg.Dense)(lambda node, q, extra, need: node.C_b + node.C_W * q)
    energy.rule(Scale)(lambda node, q, extra, need: node.factor**2 * q)
    energy.rule(lg.Act)(lambda node, q, extra, need: q / 2)  # of a ReLU
    block = lg.Dense(8, 1.7, 0.1) >> Scale(1.5) >> lg.Identity() >> lg.Act("relu")
    net = lg.Repeat(block, 3) >> lg.Dense(1)
    found = walk(net, energy, jnp.asarray((X**2).mean(1)))[0]
    np.testing.assert_allclose(found, np.diag(lg.kernel(net, X).nngp), rtol=1e-6)
    with pytest.raises(UnsupportedError, match=r"the mean square of values does not support lg.LayerNorm\(\) at layernorm1"):
        walk(lg.Dense(8) >> lg.LayerNorm(), energy, jnp.ones(3))


def test_facts_hold_together() -> None:
    for name, kind in NODES.items():
        assert not (kind.passes and (kind.mixes or kind.bends or kind.normalises or kind.tunable)), name
        assert set(kind.counts).isdisjoint(kind.leaves), name
    aside = lg.Concat(lg.Identity(), lg.Dense(3))
    net = lg.Dense(4) >> lg.Attention() >> aside >> lg.Flatten()
    inner = {"attention1/1/dense1", "attention1/4/dense1", "concat1/1/identity1", "concat1/2/dense1"}
    assert inner < {path for path, _ in everything(net)}
    assert aside.widths == (None, 3) and aside.settled((5, 4)).widths == (4, 3)
    assert repr(aside.settled((5, 4))) == repr(aside)
