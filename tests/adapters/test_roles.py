"""The graph of roles: what feeds a layer, and the parts of C_W of branches that are summed into a stream."""

from collections.abc import Callable

import pytest

from largen.adapters.feeds import roles
from largen.adapters.roles import Node, Roles, softmax_of, summed


class Graph:
    """A graph under construction: nodes in order."""

    def __init__(self) -> None:
        self.nodes = [Node("inputs")]

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def dense(self, name: str, x: Node) -> Node:
        return self.add(Node("affine", name, (x,)))

    def act(self, name: str, x: Node) -> Node:
        return self.add(Node("activation", name, (x,)))

    def norm(self, x: Node, weight: str = "") -> Node:
        return self.add(Node("norm", "norm", (x,), weight=weight))

    def scale(self, c: float, x: Node) -> Node:
        return self.add(Node("scale", "", (x,), (c,)))

    def plus(self, a: Node, b: Node, weights: tuple[float, float] = (1, 1)) -> Node:
        return self.add(summed(zip((a, b), weights, strict=True)))

    def branch(self, name: str, x: Node, phi: str = "relu") -> Node:
        return self.dense(f"{name}2", self.act(phi, self.dense(f"{name}1", self.act(phi, x))))


def shares(build: Callable[[Graph, Node], Node]) -> dict[str, float]:
    """The parts that are not 1 of a graph that is built on a stem, and ends in a readout."""
    read = reading(build)
    return {name: role.share for name, role in read.layers.items() if abs(role.share - 1) > 1e-12}


def reading(build: Callable[[Graph, Node], Node]) -> Roles:
    g = Graph()
    g.dense("head", build(g, g.dense("stem", g.nodes[0])))
    return roles(g.nodes)


def test_all_branches_of_a_stream_are_counted() -> None:
    def stack(g: Graph, z: Node) -> Node:
        for i in range(5):
            z = g.plus(z, g.branch(f"{i}", z))
        return g.act("relu", z)

    assert shares(stack) == pytest.approx({f"{i}2": 1 / 5 for i in range(5)})
    feeds = {name: getattr(role.feed, "name", role.feed) for name, role in reading(stack).layers.items()}
    assert feeds["stem"] == "inputs" and {feed for name, feed in feeds.items() if name != "stem"} == {"relu"}
    assert all("one of 5 branches" in role.note for name, role in reading(stack).layers.items() if name[-1] == "2")


def test_a_stream_ends_at_a_projection_a_stride_or_a_join() -> None:
    def projected(g: Graph, z: Node) -> Node:
        z = g.plus(z, g.branch("a", z))
        h = g.act("relu", z)
        z = g.plus(g.branch("b", h), g.dense("skip", h))  # the shorter way is the skip, whatever the order
        return g.plus(z, g.branch("c", z))

    def strided(g: Graph, z: Node) -> Node:
        z = g.plus(z, g.branch("a", z))
        z = g.plus(g.add(Node("pool", "pool", (z,))), g.branch("b", z))
        return g.plus(z, g.branch("c", z))

    for build in (projected, strided):
        assert shares(build) == pytest.approx({"b2": 1 / 2, "c2": 1 / 2})

    def joined(g: Graph, z: Node) -> Node:
        z = g.plus(z, g.branch("a", z))
        z = g.add(Node("join", "cat", (z, z)))
        return g.plus(z, g.branch("b", z))

    assert shares(joined) == {}  # two streams of one branch


def test_two_branches_of_one_block_count_as_two_however_they_are_written() -> None:
    def after(g: Graph, z: Node) -> Node:
        z = g.plus(z, g.branch("a", z))
        return g.plus(z, g.branch("b", z))

    def beside(g: Graph, z: Node) -> Node:
        h = g.norm(z)
        return g.plus(g.plus(z, g.branch("a", h)), g.branch("b", h))

    def bracketed(g: Graph, z: Node) -> Node:
        return g.plus(z, g.plus(g.branch("a", z), g.branch("b", z)))

    for build in (after, beside, bracketed):
        assert shares(build) == pytest.approx({"a2": 1 / 2, "b2": 1 / 2})


def test_weights_of_skips_and_branches() -> None:
    def weighted(skip: float, branch: float, outer: float = 1.0) -> dict[str, float]:
        def build(g: Graph, z: Node) -> Node:
            for name in "abcd":
                z = g.plus(g.scale(skip, z), g.scale(branch, g.branch(name, z)))
                z = g.scale(outer, z) if outer != 1 else z
            return z

        found = shares(build)
        assert len(set(found.values())) <= 1
        return {"share": next(iter(found.values()), 1.0), "layers": len(found)}

    assert weighted(1, 0.1)["share"] == pytest.approx(100 / 4)  # constants of branches are undone
    assert weighted(0.5, 1)["share"] == pytest.approx(1 - 0.25)  # the rule of resnet_mlp: skip^2 K + (1 - skip^2) K
    assert weighted(0.6, 0.8)["layers"] == 0  # 0.36 + 0.64 = 1 already
    assert weighted(1, 1, 0.5**0.5)["layers"] == 0  # (z + f(z))/sqrt(2): the same
    assert weighted(-1, 1)["share"] == pytest.approx(1 / 4)


def test_growing_skips_and_streams_added_to_themselves_are_not_read() -> None:
    def grows(g: Graph, z: Node) -> Node:
        return g.plus(g.scale(1.5, z), g.branch("a", z))

    def twice(g: Graph, z: Node) -> Node:
        return g.plus(z, g.plus(z, g.branch("a", z)))

    def gated(g: Graph, z: Node) -> Node:
        return g.plus(z, g.add(Node("unknown", "the operation mul", (g.dense("a2", z), g.dense("b2", z)))))

    for build, reason in ((grows, "weight 1.5"), (twice, "added to itself"), (gated, "ends in the operation mul")):
        read = reading(build)
        assert reason in read.layers["a2"].open


def test_what_ends_a_branch_after_its_last_layer() -> None:
    def normed(weight: str) -> Roles:
        def build(g: Graph, z: Node) -> Node:
            for name in "ab":
                z = g.plus(z, g.norm(g.branch(name, z), weight and f"{name}.{weight}"))
            return z

        return reading(build)

    assert {name: value for name, (value, _) in normed("weight").scales.items()} == pytest.approx(
        {"a.weight": 0.5**0.5, "b.weight": 0.5**0.5}
    )
    assert normed("weight").layers["a2"].share == 1
    assert "without a weight" in normed("").layers["a2"].open

    def bent(phi: str) -> dict[str, float]:
        def build(g: Graph, z: Node) -> Node:
            for name in "ab":
                z = g.plus(z, g.act(phi, g.dense(name, z)))
            return z

        return shares(build)

    assert bent("tanh") == pytest.approx({"a": 1 / 2, "b": 1 / 2})
    assert bent("relu") == pytest.approx({"a": 1 / 4, "b": 1 / 4})  # means add up coherently: 1/B in size, not in variance


def test_a_stream_that_relu_left_positive_is_not_halved_again() -> None:
    def post_activation(g: Graph, z: Node) -> Node:
        z = g.act("relu", z)
        for name in "ab":
            z = g.act("relu", g.plus(z, g.dense(f"{name}2", g.act("relu", g.dense(f"{name}1", z)))))
        return z

    read = reading(post_activation)
    feeds = {name: getattr(role.feed, "name", role.feed) for name, role in read.layers.items()}
    assert feeds == {"stem": "inputs", "a1": "relu", "a2": "relu", "b1": "linear", "b2": "relu", "head": "linear"}
    assert read.layers["b2"].share == 1 / 2


def test_terms_of_equal_standing_share_alike() -> None:
    def towers(g: Graph, z: Node) -> Node:
        return g.plus(g.dense("a", g.act("relu", z)), g.dense("b", g.act("relu", z)))

    assert shares(towers) == pytest.approx({"a": 1 / 2, "b": 1 / 2})
    assert shares(lambda g, z: g.plus(z, g.add(Node("parameter", "positions")))) == {}
    noisy = reading(lambda g, z: g.plus(z, g.add(Node("unknown", "the operation randn_like", (z,)))))
    assert noisy.layers["head"].open == "a sum with the operation randn_like"
    assert not reading(lambda g, z: g.norm(g.plus(z, g.add(Node("unknown", "an embedding"))))).layers["head"].unread


def test_constant_factors_between_layers() -> None:
    def before(phi: str) -> Roles:
        return reading(lambda g, z: g.act(phi, g.scale(0.1, z)))

    assert before("relu").layers["head"].share == pytest.approx(100)
    assert "a factor 0.1 before tanh" in before("tanh").layers["head"].unread
    assert reading(lambda g, z: g.scale(0.1, g.act("tanh", z))).layers["head"].share == pytest.approx(100)
    assert reading(lambda g, z: g.act("tanh", g.scale(-1, z))).layers["head"].share == 1
    assert reading(lambda g, z: g.norm(g.scale(0.1, z))).layers["head"].share == 1
    g = Graph()
    g.dense("first", g.scale(1 / 255, g.nodes[0]))
    assert "inputs multiplied by 0.003922" in roles(g.nodes).layers["first"].unread


def test_layers_called_in_series_are_not_read_and_scores_are_no_branches() -> None:
    assert "one call after the other" in reading(lambda g, z: g.dense("a", g.act("relu", g.dense("a", z)))).layers["a"].open

    def attention(g: Graph, z: Node) -> Node:
        q, k, v = (g.dense(name, g.norm(z)) for name in "qkv")
        scores = g.plus(g.add(Node("unknown", "the operation matmul", (q, k))), g.add(Node("unknown", "a mask")))
        weights = g.add(softmax_of(scores))
        assert weights.before == (scores,)
        return g.plus(z, g.dense("out", g.add(Node("through", "", (v,)))))

    read = reading(attention)
    assert {name: (role.share, role.open, role.unread) for name, role in read.layers.items() if name in "qkv"} == dict.fromkeys(
        "qkv", (1, "", "")
    )


def test_reading_is_quick_for_deep_models() -> None:
    def deep(g: Graph, z: Node) -> Node:
        for i in range(300):
            z = g.plus(z, g.branch(f"{i}", z))
        return z

    assert set(shares(deep).values()) == {1 / 300}
