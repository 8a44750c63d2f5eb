"""One way to change all layers of a network: their variances, their widths."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from largen.architecture.branches import Branching
from largen.architecture.nodes import Affine, Node, Serial


def map_affine(net: Serial, change: Callable[[Any, bool], Any]) -> Serial:
    """The network with `change(layer, last)` in place of every layer with parameters (attention counts as one), in order, those of
    branches too, branch after branch. `last`: whether the layer's outputs are those of the network."""
    return _mapped(net, change, True)


def heavier(net: Serial, factor: float) -> Serial:
    """The network with the variances of all weights multiplied by `factor`."""

    def change(layer: Any, last: bool) -> Any:
        return replace(layer, **{name: factor * getattr(layer, name) for name in layer.variances})

    return map_affine(net, change)


def with_outputs(net: Serial, outputs: int) -> Serial:
    """The network with so many outputs: at infinite width one stands for any number of them."""
    return map_affine(
        net, lambda layer, last: replace(layer, **{layer.counts[0]: outputs}) if last and isinstance(layer, Affine) else layer
    )


def _mapped(net: Serial, change: Callable[[Any, bool], Any], last: bool) -> Serial:
    ends = []
    for part in reversed(net.nodes):
        ends.append(last)
        last = last and not part.sets_units()
    return Serial(tuple(_changed(part, change, end) for part, end in zip(net.nodes, reversed(ends), strict=True)))


def _changed(part: Node, change: Callable[[Any, bool], Any], last: bool) -> Node:
    if part.tunable:
        return change(part, last)
    return part.with_children(_mapped(branch, change, last) for branch in part.branches) if isinstance(part, Branching) else part
