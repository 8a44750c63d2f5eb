"""A model's forward pass as a graph of roles: what each library's reader draws, and what is read off it (`adapters/feeds.py`)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from largen.activations.activation import Activation

Kind: TypeAlias = Literal[
    "inputs", "affine", "foreign", "activation", "norm", "through", "scale", "pool", "sum", "join", "parameter", "unknown"
]
INPUTS = "inputs"
Feed: TypeAlias = Activation | str  # what comes in: an activation, or INPUTS
SOFTMAX = "the operation softmax"
PRODUCT = "a product with the parameter "
CLEAR = ("through", "scale", "norm", "activation")  # what a skip may pass and stay a skip


@dataclass(frozen=True, eq=False)
class Node:
    """A value of the forward pass, by how it came about.

    `label` is the name of an affine layer, or of one that cannot be set (foreign) or of a parameter; of an activation largen's name; a
    note for what is passed (through, norm, pool), a description of what is unknown. `before`: what it was made of, in order.
    `weights`: the factor of a scale, those of the terms of a sum. `weight`: the name of a normalisation's own factor, if it has one."""

    kind: Kind
    label: str = ""
    before: tuple["Node", ...] = ()
    weights: tuple[float, ...] = ()
    weight: str = ""


@dataclass(frozen=True)
class Role:
    """Of a layer: what feeds it, or a description of what was in the way (`unread`); the part of C_W and C_b that is its `share`; the
    nearest layers before it (`sources`); what to `note`; what of the sum behind it could not be read (`open`); whether a normalisation
    stands between it and the inputs (`normed`)."""

    feed: Feed | None
    unread: str = ""
    share: float = 1.0
    sources: tuple[str, ...] = ()
    note: str = ""
    open: str = ""
    normed: bool = False


@dataclass(frozen=True)
class Roles:
    """Roles of the layers that can be set and of those that cannot (`foreign`); and the factors of normalisations that end a branch."""

    layers: dict[str, Role]
    foreign: dict[str, Role]
    scales: dict[str, tuple[float, str]]


def softmax_of(node: Node) -> Node:
    """Numbers that add up to 1, made of a value: the weights of an attention."""
    return Node("unknown", SOFTMAX, (node,))


def is_softmax(node: Node) -> bool:
    """Whether a value is a softmax, reshaped or dropped out perhaps."""
    while node.kind == "through" and node.before:
        node = node.before[0]
    return node.kind == "unknown" and node.label == SOFTMAX


def summed(terms: Iterable[tuple[Node, float]]) -> Node:
    """The sum of terms with weights; parameters (biases, embeddings of positions) are no branches, and what is centred is not a sum."""
    pairs = [(node, weight) for node, weight in terms if node.kind != "parameter"]
    if len(pairs) == 1 and pairs[0][1] == 1:
        return Node("through", "", (pairs[0][0],))
    if len(pairs) == 1:
        return Node("scale", "", (pairs[0][0],), (pairs[0][1],))
    if len(pairs) == 2 and pairs[0][0] in pairs[1][0].before and pairs[1][0].kind == "pool":  # x - mean(x)
        return Node("through", "", (pairs[0][0],))
    return Node("sum", "a sum", tuple(node for node, _ in pairs), tuple(weight for _, weight in pairs))
