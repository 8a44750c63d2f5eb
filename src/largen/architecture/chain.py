"""The chain normal form: a network as a tuple of affine layers, each after its activation."""

from dataclasses import dataclass
from typing import Any

from largen.activations.activation import Activation, activation
from largen.architecture.branches import Identity, Sum
from largen.architecture.nodes import Act, Dense, network
from largen.architecture.paths import branch_paths, paths
from largen.errors import UnsupportedError

NAME = "the chain normal form"
KNOWN = ["Dense", "Act", "Sum"]
REASON = "a chain has affine layers, activations and residual blocks only"


@dataclass(frozen=True)
class Layer:
    """One level z^(l) = skip z^(l-1) + weight (b + W phi(z^(l-1))): `path` of the affine node, the `activation` before it (None: the
    inputs), its `width`, `C_W` and `C_b`, both already times weight^2, the `skip` weight of an identity branch around it and the
    `weight` of its own branch (0 and 1 in a plain chain). Learning rates at `path` have to be multiplied by weight^2 too."""

    path: str
    activation: Activation | None
    width: int
    C_W: Any
    C_b: Any
    skip: Any = 0.0
    weight: Any = 1.0


def chain(net: Any) -> tuple[Layer, ...]:
    """The affine layers of a chain, first to last: z^(l) = skip z^(l-1) + weight (b + W phi(z^(l-1))).

    Two affine layers in a row have the activation `linear` between. A residual block, a sum of `lg.Identity()` and one activation and
    affine layer, is one layer with `skip`.

    Parameters
    ----------
    net : architecture
        A chain.

    Returns
    -------
    tuple of Layer
        Each with `.path` of the affine node, the `.activation` before it (None: the inputs), `.width`, `.C_W` and `.C_b`, both already
        times weight^2, `.skip` and `.weight` (0 and 1 in a plain chain). Learning rates at `.path` have to be multiplied by weight^2 too.

    Raises
    ------
    UnsupportedError
        For everything that is not a chain: an activation first, last, or after another one, any other sum, a layer normalisation.

    Examples
    --------
    >>> import largen as lg
    >>> [(layer.path, layer.width) for layer in lg.analysis.chain(lg.mlp(widths=[64, 32], out=1))]
    [('dense1', 64), ('dense2', 32), ('dense3', 1)]
    >>> [(layer.path, layer.skip) for layer in lg.analysis.chain(lg.resnet_mlp(64, blocks=1, skip=0.5))]
    [('dense1', 0.0), ('sum1/2/dense1', 0.5), ('dense2', 0.0)]
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
            raise UnsupportedError(repr(node), path, NAME, reason)
        elif isinstance(node, Sum) and layers and pending is None:
            layers.append(_residual(node, path))
        elif isinstance(node, Sum):
            raise UnsupportedError(repr(node), path, NAME, "a residual block needs an affine layer before it")
        else:
            raise UnsupportedError(repr(node), path, NAME, REASON, KNOWN)
    if pending is not None:
        reason = "outputs are preactivations: end with an affine layer, `>> lg.Dense(...)`"
        raise UnsupportedError(repr(Act(pending)), "the end", NAME, reason)
    return tuple(layers)


def _residual(node: Sum, path: str) -> Layer:
    """The layer of a residual block, its two branches in either order."""
    reason = "a residual block of a chain is lg.Sum(lg.Identity(), lg.Act(...) >> lg.Dense(...))"
    skips = [w for branch, w in zip(node.branches, node.weights, strict=True) if _is_identity(branch)]
    inner = [
        (prefix, branch, w) for (prefix, branch), w in zip(branch_paths(node, path), node.weights, strict=True) if not _is_identity(branch)
    ]
    if len(skips) != 1 or len(inner) != 1:
        raise UnsupportedError(repr(node), path, NAME, reason)
    prefix, branch, w = inner[0]
    affine_path, layer = list(paths(branch, prefix))[-1]
    bends = branch.nodes[:-1]
    if not isinstance(layer, Dense) or len(bends) > 1 or not all(isinstance(bend, Act) for bend in bends):
        raise UnsupportedError(repr(node), path, NAME, reason)
    phi = bends[0].activation if bends and isinstance(bends[0], Act) else activation("linear")
    return Layer(affine_path, phi, layer.width, w**2 * layer.C_W, w**2 * layer.C_b, skips[0], w)


def _is_identity(branch: Any) -> bool:
    return all(isinstance(part, Identity) for part in branch.nodes)


def plain(net: Any, theory: str) -> tuple[Layer, ...]:
    """The chain, or `UnsupportedError` in the name of a theory that knows no residual blocks."""
    layers = chain(net)
    for path, node in paths(network(net)):
        if isinstance(node, Sum):
            raise UnsupportedError(repr(node), path, theory, "it knows plain chains only, without residual blocks", ["Dense", "Act"])
    return layers


def is_plain(net: Any) -> bool:
    """Whether a network is a chain without residual blocks."""
    try:
        plain(net, NAME)
    except UnsupportedError:
        return False
    return True
