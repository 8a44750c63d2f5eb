"""The levels of a network: where its values are Gaussian preactivations at infinite width; and its affine layers."""

from collections.abc import Iterator
from typing import Any

from largen.architecture.branches import Sum
from largen.architecture.nodes import Act, Dense, Node, Serial, network
from largen.architecture.walk import branch_paths, paths

# What the values are at a place of a network: the inputs; independent Gaussian units of mean zero, at infinite width; or something
# else, of which only second moments are known (activations, sums of different kinds).
INPUTS, GAUSSIAN, MOMENTS = "inputs", "gaussian", "moments"


def kind_after(part: Node, before: str) -> str:
    """What the values are after a node, given what they are before it."""
    if isinstance(part, Dense):
        return GAUSSIAN
    if isinstance(part, Act):
        return MOMENTS
    if isinstance(part, Sum):
        kinds = {kind_after(branch, before) for branch in part.branches}
        return kinds.pop() if len(kinds) == 1 else MOMENTS
    if isinstance(part, Serial):
        for inner in part.nodes:
            before = kind_after(inner, before)
    return before  # Identity, LayerNorm: as it came


def levels(net: Any) -> tuple[tuple[str, tuple[Node, ...]], ...]:
    """The levels of a network, first to last: (path of the node that ends it, the nodes since the level before, that one included).

    A level ends at a node of the top level after which the values are Gaussian preactivations: an affine layer, or a sum of
    Gaussian branches; the last node, if its values are Gaussian, always ends one. A plain network has one per affine layer.

    >>> import largen as lg
    >>> from largen.architecture.levels import levels
    >>> [path for path, stage in levels(lg.resnet_mlp(64, blocks=2))]
    ['dense1', 'sum1', 'sum2', 'dense2']
    """
    whole, kind = network(net), INPUTS
    found: list[tuple[str, tuple[Node, ...]]] = []
    stage: list[Node] = []
    for i, (path, part) in enumerate(paths(whole), 1):
        stage.append(part)
        kind = kind_after(part, kind)
        if kind == GAUSSIAN and (isinstance(part, (Dense, Sum)) or i == len(whole.nodes)):
            found.append((path, tuple(stage)))
            stage = []
    return tuple(found)


def affine(net: Serial, n_in: int | None = None, prefix: str = "") -> Iterator[tuple[str, Dense, int | None]]:
    """(path, node, fan-in) of every affine layer, in order, those of branches too, branch after branch. A fan-in that depends
    on the number of input features is None if that is not given."""
    units = n_in
    for path, part in paths(net, prefix):
        if isinstance(part, Dense):
            yield path, part, units
        elif isinstance(part, Sum):
            for inside, branch in branch_paths(part, path):
                yield from affine(branch, units, inside)
        units = part.units(units)


def last_affine(part: Node, path: str) -> tuple[str, Any] | None:
    """(path, weight) of an affine layer whose bias, times `weight`, is added to the values after a node; None if there is none.

    So a derivative with respect to that bias is `weight` times the one with respect to those values. In a sum it is that of the
    branch of largest weight which ends in one.
    """
    if isinstance(part, Dense):
        return path, 1.0
    if not isinstance(part, Sum):
        return None
    ends = []
    for (prefix, branch), w in zip(branch_paths(part, path), part.weights, strict=True):
        *_, (inner, node) = paths(branch, prefix)
        if (found := last_affine(node, inner)) is not None and w != 0:
            ends.append((found[0], w * found[1]))
    return max(ends, key=lambda end: abs(end[1]), default=None)
