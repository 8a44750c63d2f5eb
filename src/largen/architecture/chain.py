"""The chain normal form: a network as a tuple of affine layers, each after its activation."""

from dataclasses import dataclass
from typing import Any

from largen.activations.activation import Activation, activation
from largen.architecture.nodes import Act, Dense, network
from largen.architecture.walk import paths
from largen.errors import UnsupportedError


@dataclass(frozen=True)
class Layer:
    """One level z^(l) = b + W phi(z^(l-1)): `path` of the affine node, the `activation` before it (None: the inputs),
    its `width`, `C_W`, `C_b`, and the weight `skip` of an identity branch around it (0 in a plain chain)."""

    path: str
    activation: Activation | None
    width: int
    C_W: Any
    C_b: Any
    skip: Any = 0.0


def chain(net: Any) -> tuple[Layer, ...]:
    """The affine layers of a chain, first to last; two affine layers in a row have the activation `linear` between.

    Raises `UnsupportedError` for everything that is not a chain: an activation first, last, or after another one.

    >>> import largen as lg
    >>> [(layer.path, layer.width) for layer in lg.chain(lg.mlp(widths=[64, 32], out=1))]
    [('dense1', 64), ('dense2', 32), ('dense3', 1)]
    """
    layers: list[Layer] = []
    pending: Activation | None = None
    for path, node in paths(network(net)):
        if isinstance(node, Dense):
            before = pending or (activation("linear") if layers else None)
            layers.append(Layer(path, before, node.width, node.C_W, node.C_b))
            pending = None
        elif isinstance(node, Act) and layers and pending is None:
            pending = node.activation
        elif isinstance(node, Act):
            reason = "an activation needs an affine layer before it" if not layers else "two activations in a row"
            raise UnsupportedError(repr(node), path, "the chain normal form", reason)
        else:
            raise UnsupportedError(
                repr(node), path, "the chain normal form", "a chain has affine layers and activations only", ["Dense", "Act"]
            )
    if pending is not None:
        raise UnsupportedError(
            repr(Act(pending)),
            "the end",
            "the chain normal form",
            "outputs are preactivations: end with an affine layer, `>> lg.Dense(...)`",
        )
    return tuple(layers)
