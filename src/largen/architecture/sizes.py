"""How large what a network makes of a point is, node by node."""

import math
from collections.abc import Iterator

from largen.architecture.nodes import Composite, Node, Serial


def shapes(net: Serial, shape: tuple[int, ...]) -> Iterator[tuple[Node, tuple[int, ...]]]:
    """Every node, those inside others too, with the shape of one point after it."""
    for part in net.nodes:
        if isinstance(part, Composite):
            for child, inside in zip(part.children(), part.entering(shape), strict=True):
                yield from shapes(child, inside)
        shape = part.shape(shape)
        yield part, shape


def positions(net: Serial, shape: tuple[int, ...]) -> int:
    """The most positions that a point has anywhere."""
    return max([math.prod(shape[:-1]), *(math.prod(after[:-1]) for _, after in shapes(net, shape))])


def units(net: Serial, shape: tuple[int, ...]) -> tuple[int, int]:
    """Numbers that a point becomes: the most after any node, and those after all nodes together."""
    sizes = [math.prod(shape), *(math.prod(after) for _, after in shapes(net, shape))]
    return max(sizes), sum(sizes)
