"""The parameter arrays of a network, before they are drawn."""

import math
from collections.abc import Iterator

from largen.architecture.branches import settled
from largen.architecture.nodes import Blank, Composite, Serial
from largen.architecture.paths import branch_paths, paths
from largen.architecture.spatial import outputs_of


def blanks(net: Serial, shape: tuple[int, ...]) -> tuple[int, dict[str, dict[str, Blank]]]:
    """The number of outputs, and {path: {"W": blank, "b": blank}}, for points of a shape."""
    out = outputs_of(net, shape, "X")  # errors name the node at fault before anything is made
    return out, dict(_blanks(settled(net, shape), shape, ""))


def _blanks(net: Serial, shape: tuple[int, ...], prefix: str) -> Iterator[tuple[str, dict[str, Blank]]]:
    for path, part in paths(net, prefix):
        if entries := part.parameters(shape):
            yield path, entries
        if isinstance(part, Composite):
            for (inside, child), at in zip(branch_paths(part, path), part.entering(shape), strict=True):
                yield from _blanks(child, at, inside)
        shape = part.shape(shape)


def size(net: Serial, shape: tuple[int, ...]) -> int:
    """The number of parameters."""
    return sum(math.prod(blank.shape) for entry in blanks(net, shape)[1].values() for blank in entry.values())
