"""One way to change all layers: variances and widths of every kind of layer, inside branches too."""

import jax
import numpy as np
import pytest

import largen as lg
from largen.architecture.mapping import heavier, map_affine, with_outputs
from largen.architecture.nodes import Parametric

MIX = lg.Attention("softmax", "1/d", 0.5, C_key=1.2, C_query=0.8, C_value=0.7, C_out=1.4, C_b=0.1, heads=2, width=3)
BRANCHES = lg.Concat(lg.Conv(3, 2), lg.Act("tanh") >> lg.ConvLocal(4, 1, C_W=2.0))
NETS = {
    "dense": lg.mlp(widths=[4, 6], out=2, C_W=[1.0, 1.5, 2.0], C_b=0.1),
    "residual": lg.resnet_mlp(4, blocks=2, out=2, C_W=1.2),
    "images": lg.ConvTranspose(4, 2) >> BRANCHES >> lg.Flatten() >> lg.Dense(2, C_W=1.1),
    "attention": lg.Dense(4) >> lg.PositionalEmbedding(0.3) >> lg.Sum(lg.Identity(), MIX) >> lg.GlobalAvgPool() >> lg.Dense(2),
}


def variances(net: lg.Serial) -> np.ndarray:
    """The variances of all weights, in order."""
    return np.array([leaf for name, leaf in named(net) if name in ("C_W", "C_key", "C_query", "C_value", "C_out")])


def named(net: lg.Serial) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []

    def change(layer: Parametric, last: bool) -> Parametric:
        found.extend((name, getattr(layer, name)) for name in layer.leaves)
        return layer

    assert map_affine(net, change) == net
    return found


@pytest.mark.parametrize("name", NETS)
def test_every_variance_of_weights_is_larger_and_nothing_else(name: str) -> None:
    net = NETS[name]
    louder = heavier(net, 1.1)
    assert len(variances(net)) and np.allclose(variances(louder), 1.1 * variances(net))
    others = [[value for field, value in named(one) if field in ("C_b", "positions")] for one in (net, louder)]
    assert others[0] == others[1] and len(jax.tree_util.tree_leaves(louder)) == len(jax.tree_util.tree_leaves(net))


@pytest.mark.parametrize("name", NETS)
def test_wider_networks_keep_their_outputs(name: str) -> None:
    shape = {"images": (3, 3, 2), "attention": (3, 2)}.get(name, (5,))
    wide = lg.widen(NETS[name], 2)
    assert wide.shape(shape) == NETS[name].shape(shape) and wide != NETS[name]
    assert with_outputs(NETS[name], 7).shape(shape) == (7,)


def test_layers_are_changed_in_order_and_the_last_are_known() -> None:
    seen: list[tuple[int, bool]] = []

    def note(layer: lg.Dense, last: bool) -> lg.Dense:
        seen.append((layer.width, last))
        return layer

    ends = lg.Sum(lg.Dense(3), lg.Act("relu") >> lg.Dense(5) >> lg.Dense(3), lg.Identity())
    map_affine(lg.Dense(3) >> ends, note)
    assert seen == [(3, True), (3, True), (5, False), (3, True)]
