"""Where theory holds: activations and normalisations act on Gaussian units, branches that are added or multiplied are uncorrelated."""

from largen.architecture.attention import Attention, PositionalEmbedding
from largen.architecture.branches import Branching, Concat, Dropout, Identity, LayerNorm, Product, RMSNorm
from largen.architecture.levels import GAUSSIAN, INPUTS, MOMENTS, kind_after
from largen.architecture.nodes import Act, Affine, Node, Serial
from largen.architecture.walk import branch_paths, paths
from largen.errors import UnsupportedError

NAME = "the infinite-width kernel"


def check_gaussian(net: Serial) -> None:
    """Raise `UnsupportedError` where kernels would not be those of the network: see the reasons."""
    kind = _checked(net, INPUTS, "")
    path, node = next((p for p in reversed(list(paths(net))) if not isinstance(p[1], Identity)), ("", net))
    if isinstance(node, (LayerNorm, RMSNorm)):
        raise UnsupportedError(repr(node), path, NAME, "it normalises over the outputs, whose number stays finite")
    if kind != GAUSSIAN:
        raise UnsupportedError(repr(node), path, NAME, "outputs must be preactivations: end with >> lg.Dense(...)")


def _checked(net: Serial, kind: str, prefix: str) -> str:
    """What the values are after a network or branch, each of its nodes checked on the way."""
    for path, node in paths(net, prefix):
        if isinstance(node, (Act, LayerNorm)) and kind != GAUSSIAN:
            what = "an activation" if isinstance(node, Act) else "layer normalisation"
            reason = f"{what} needs Gaussian preactivations: put an affine node, lg.Dense(...), before it"
            raise UnsupportedError(repr(node), path, NAME, reason)
        if isinstance(node, (Attention, PositionalEmbedding, Dropout)) and kind == INPUTS:
            reason = "it acts on the inputs, whose number of features stays finite: put an affine node, lg.Dense(...), before it"
            raise UnsupportedError(repr(node), path, NAME, reason)
        if isinstance(node, Attention) and node.scaling == "1/sqrt(d)" and node.mechanism != "identity":
            reason = f"scores scaled by 1/sqrt(d) stay random, and no closed form is known for {node.mechanism} of them"
            raise UnsupportedError(repr(node), path, NAME, reason, ['scaling="1/d"', 'mechanism="identity"'])
        if isinstance(node, Branching):
            inside = list(branch_paths(node, path))
            for start, branch in inside:
                _checked(branch, kind, start)
            if not isinstance(node, Concat):  # units of different branches never meet in second moments
                _uncorrelated(node, path, [start.rstrip("/") for start, _ in inside])
            if kind == INPUTS and kind_after(node, kind) == MOMENTS:
                reason = "a branch passes the inputs on, whose number stays finite: put an affine node, lg.Dense(...), before the sum"
                raise UnsupportedError(repr(node), path, NAME, reason)
        kind = kind_after(node, kind)
    return kind


def _uncorrelated(node: Branching, path: str, names: list[str]) -> None:
    """Branches add as kernels only if all but one are odd in weights of their own."""
    shared = [name for name, branch in zip(names, node.branches, strict=True) if not _fresh(branch)]
    if len(shared) > 1:
        reason = f"branches {' and '.join(shared)} are correlated: all but one have to end in an affine node, lg.Dense(...)"
        raise UnsupportedError(repr(node), path, NAME, reason)


def _fresh(part: Node, before: bool = False) -> bool:
    """Whether the values after a node are odd in weights that no other branch has."""
    if isinstance(part, Serial):
        for inner in part.nodes:
            before = _fresh(inner, before)
        return before
    if isinstance(part, Branching) and not isinstance(part, Attention):
        fresh = [_fresh(branch, before) for branch in part.branches]
        return any(fresh) if isinstance(part, Product) else all(fresh)
    return isinstance(part, (Affine, Attention)) or (before and not isinstance(part, Act))
