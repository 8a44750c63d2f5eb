"""Paths: every node of a network by its type and its place among its kind, `dense1`, `act1`, `dense2`, ...; inside a node made of networks
they go on with the number of the network: `sum1/2/dense1`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largen.architecture.nodes import Node, Serial


def paths(net: Serial, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """(path, node) of every node of the top level, in order."""
    seen: dict[str, int] = {}
    for part in net.nodes:
        kind = type(part).__name__.lower()
        seen[kind] = seen.get(kind, 0) + 1
        yield f"{prefix}{kind}{seen[kind]}", part


def branch_paths(part: Node, path: str) -> Iterator[tuple[str, Serial]]:
    """(prefix of the paths inside, network) of every network inside a node at `path`."""
    for number, branch in enumerate(part.children(), 1):
        yield f"{path}/{number}/", branch


def everything(net: Serial, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """(path, node) of every node, in order; a node with branches comes before those inside."""
    for path, part in paths(net, prefix):
        yield path, part
        for inside, branch in branch_paths(part, path):
            yield from everything(branch, inside)
