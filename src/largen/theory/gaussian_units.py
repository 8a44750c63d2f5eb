"""Where theory holds: activations and normalisations act on Gaussian units, branches that are added or multiplied are uncorrelated."""

from largen.architecture.attention import Attention
from largen.architecture.branches import ASIDE, MULTIPLIED, Branching
from largen.architecture.nodes import GAUSSIAN, INPUTS, MOMENTS, Composite, Node, Serial
from largen.architecture.paths import branch_paths, paths
from largen.errors import UnsupportedError

NAME = "the infinite-width kernel"


def check_gaussian(net: Serial) -> None:
    """Raise `UnsupportedError` where kernels would not be those of the network: see the reasons."""
    kind = _checked(net, INPUTS, True, "")
    path, node = next((p for p in reversed(list(paths(net))) if not p[1].passes), ("", net))
    if node.normalises:
        raise UnsupportedError(repr(node), path, NAME, "it normalises over the outputs, whose number stays finite")
    if kind != GAUSSIAN:
        raise UnsupportedError(repr(node), path, NAME, "outputs must be preactivations: end with >> lg.Dense(...)")


def _checked(net: Serial, kind: str, unlike: bool, prefix: str) -> str:
    """What the values are after a network or branch, each of its nodes checked on the way; `unlike`: see `Node.unlike`."""
    for path, node in paths(net, prefix):
        if kind not in node.takes and MOMENTS not in node.takes:
            reason = f"{node.called} needs Gaussian preactivations: put an affine node, lg.Dense(...), before it"
            raise UnsupportedError(repr(node), path, NAME, reason)
        if kind not in node.takes:
            reason = "it acts on the inputs, whose number of features stays finite: put an affine node, lg.Dense(...), before it"
            raise UnsupportedError(repr(node), path, NAME, reason)
        if isinstance(node, Attention) and node.scaling == "1/sqrt(d)" and node.mechanism != "identity":
            reason = f"scores scaled by 1/sqrt(d) stay random, and no closed form is known for {node.mechanism} of them"
            raise UnsupportedError(repr(node), path, NAME, reason, ['scaling="1/d"', 'mechanism="identity"'])
        if isinstance(node, Composite):
            for start, branch in branch_paths(node, path):
                _checked(branch, kind, unlike, start)
        if isinstance(node, Branching):
            if node.joins != ASIDE:  # units of branches side by side never meet in second moments
                _apart(node, path, [start.rstrip("/") for start, _ in branch_paths(node, path)], unlike)
            if kind == INPUTS and len({branch.kind(kind) == INPUTS for branch in node.branches}) == 2:
                reason = (
                    "a branch passes the inputs on, whose number stays finite: put an affine node, lg.Dense(...), in it or before the node"
                )
                raise UnsupportedError(repr(node), path, NAME, reason)
        kind, unlike = node.kind(kind), node.unlike(unlike)
    return kind


def _apart(node: Branching, path: str, names: list[str], unlike: bool) -> None:
    """Branches add as kernels only if all but one are odd in weights of their own, and multiply if all but one are functions of those."""
    test, need = (_own, "go through") if node.joins == MULTIPLIED else (_fresh, "end in")
    shared = [name for name, branch in zip(names, node.branches, strict=True) if not test(branch)]
    if len(shared) > 1:
        what = "are correlated" if node.joins == MULTIPLIED else "are correlated, or not known to average to zero"
        reason = f"branches {' and '.join(shared)} {what}: all but one have to {need} an affine node, lg.Dense(...)"
        raise UnsupportedError(repr(node), path, NAME, reason)
    mixed = [name for name, branch in zip(names, node.branches, strict=True) if branch.unlike(unlike)]
    if node.joins == MULTIPLIED and len(mixed) > 1:
        reason = (
            f"units differ in variance in branches {' and '.join(mixed)}, and a mean of products is not that of means: all but one have "
        )
        reason += "to end in an affine node, lg.Dense(...), after lg.Concat and lg.Flatten"
        raise UnsupportedError(repr(node), path, NAME, reason)


def _fresh(part: Node, before: bool = False) -> bool:
    """Whether the values after a node are odd in weights that no other branch has."""
    if isinstance(part, Serial):
        for inner in part.nodes:
            before = _fresh(inner, before)
        return before
    if isinstance(part, Branching):
        fresh = [_fresh(branch, before) for branch in part.branches]
        return any(fresh) if part.joins == MULTIPLIED else all(fresh)
    return part.mixes or (before and not part.bends)


def _own(part: Node) -> bool:
    """Whether the values after a node depend on those before only through weights that no other branch has: they are then independent
    of what other branches make of the same values."""
    if isinstance(part, Serial):
        return any(_own(inner) for inner in part.nodes)
    return all(_own(branch) for branch in part.branches) if isinstance(part, Branching) else part.mixes
