"""The levels of a network: where its values are Gaussian preactivations at infinite width; and its affine layers."""

from collections.abc import Iterator
from typing import Any

from largen import door
from largen.architecture.branches import Sum
from largen.architecture.nodes import GAUSSIAN, INPUTS, Affine, Composite, Dense, Node, Parametric, Serial, network
from largen.architecture.paths import branch_paths, paths


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
        kind = part.kind(kind)
        if kind == GAUSSIAN and (part.ends_level or i == len(whole.nodes)):
            found.append((path, tuple(stage)))
            stage = []
    return tuple(found)


def a_shape(n_in: Any) -> tuple[int, ...]:
    """The shape of one input, given it or the number of its features."""
    if isinstance(n_in, (tuple, list)) and n_in:
        return tuple(door.count(n, "n_in") for n in n_in)
    return (door.count(n_in, "n_in"),)


def affine(net: Serial, n_in: int | tuple[int, ...] | None = None) -> Iterator[tuple[str, Parametric, int | None]]:
    """(path, node, fan-in) of every layer with parameters, in order, those of branches too, branch after branch. `n_in`: the number
    of input features, or the shape of one input; fan-ins that depend on it are None without."""
    shape = n_in if isinstance(n_in, tuple) or n_in is None else (n_in,)
    yield from _affine(net, shape, None, "")


def _affine(net: Serial, shape: tuple[int, ...] | None, units: int | None, prefix: str) -> Iterator[tuple[str, Parametric, int | None]]:
    """As `affine`, with the units of the last axis where the whole shape is not known."""
    for path, part in paths(net, prefix):
        if isinstance(part, Parametric):
            at = shape if shape is not None else (units,) if isinstance(part, Dense) and units is not None else None
            yield path, part, None if at is None else part.fan_in(at)
        elif isinstance(part, Composite):
            shapes = part.entering(shape) if shape is not None else (None,) * len(part.children())
            for (inside, branch), at, many in zip(branch_paths(part, path), shapes, part.entering(units), strict=True):
                yield from _affine(branch, at, many, inside)
        units = part.units(units)
        shape = None if shape is None else part.shape(shape)


def last_affine(part: Node, path: str) -> tuple[str, Any] | None:
    """(path, weight) of an affine layer whose bias, times `weight`, is added to the values after a node; None if there is none.

    So a derivative with respect to that bias is `weight` times the one with respect to those values. In a sum it is that of the
    branch of largest weight which ends in one.
    """
    if isinstance(part, Affine):
        return path, 1.0
    if not isinstance(part, Sum):
        return None
    ends = []
    for (prefix, branch), w in zip(branch_paths(part, path), part.weights, strict=True):
        *_, (inner, node) = paths(branch, prefix)
        if (found := last_affine(node, inner)) is not None and w != 0:
            ends.append((found[0], w * found[1]))
    return max(ends, key=lambda end: abs(end[1]), default=None)
