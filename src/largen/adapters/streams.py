"""Streams of a graph of roles: sums that add branches to what they read, and the part of C_W that the end of each branch gets.

All sums that are linked by their skips are one stream, which B branches are summed into. With K the size of the stream each branch adds
C_W <phi phi>/B: K grows by at most (1 + 1/B)^B < e from start to end, and so does the gradient. With a skip of weight g < 1 the share is
1 - g^2 instead of 1/B, the rule of `lg.resnet_mlp`, which keeps K. A constant factor a of a branch is undone: share / a^2.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from largen.activations.activation import activation as as_activation
from largen.adapters.roles import CLEAR, Node


@dataclass
class _Sum:
    """One sum: the term that is its skip (None: terms of equal standing), what the skip starts from, and the others, its branches."""

    skip: int | None = None
    base: Node | None = None
    gamma: float = 1.0
    before: float = 1.0  # factors of the stream between its last sum and the point that the branch reads
    bent: bool = False  # an activation lies on the stream
    fault: str = ""


@dataclass
class _End:
    """What decides the size of a branch: a layer or a normalisation, the factors and activations behind it."""

    node: Node
    factor: float = 1.0
    tail: tuple[str, ...] = ()
    fault: str = ""


@dataclass
class Streams:
    """The sums of a graph (nodes in order): `shares`, node -> (part of C_W and C_b, reasons), after `share`; `open`, what is not read."""

    nodes: tuple[Node, ...]
    shares: dict[Node, tuple[float, list[str]]] = field(default_factory=dict)
    open: dict[Node, str] = field(default_factory=dict)

    @cached_property
    def place(self) -> dict[Node, int]:
        return {node: i for i, node in enumerate(self.nodes)}

    @cached_property
    def past(self) -> list[int]:
        """Of each node, the set of all before it and itself, as bits."""
        sets: list[int] = []
        for i, node in enumerate(self.nodes):
            bits = 1 << i
            for one in node.before:
                bits |= sets[self.place[one]]
            sets.append(bits)
        return sets

    @cached_property
    def users(self) -> dict[Node, list[Node]]:
        users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for one in node.before:
                users[one].append(node)
        return users

    def reads(self, node: Node, what: Node) -> bool:
        return bool(self.past[self.place[node]] >> self.place[what] & 1)

    @cached_property
    def sums(self) -> dict[Node, _Sum]:
        sums: dict[Node, _Sum] = {}
        for node in self.nodes:
            if node.kind == "sum":
                sums[node] = self.one_sum(node, sums)
        return sums

    def one_sum(self, node: Node, sums: dict[Node, _Sum]) -> _Sum:
        skips = [i for i in range(len(node.before)) if self.is_skip(node, i, sums)]
        if len(skips) > 1 or len({id(_base(term)) for term in node.before}) < len(node.before):
            return _Sum(fault="a sum of terms that share their way (a stream added to itself)")
        if skips:
            return self.from_skip(node, skips[0], sums)
        if len(node.before) == 2:
            depths = [self.depth(node.before[i], node.before[1 - i]) for i in (0, 1)]
            if depths[0] != depths[1]:  # a projected skip: the shorter way; it starts a new stream
                return _Sum(skip=0 if depths[0] < depths[1] else 1)
        return _Sum()

    def is_skip(self, node: Node, i: int, sums: dict[Node, _Sum]) -> bool:
        """Whether term i, or what its stream was before, is read by all other terms."""
        others = [term for j, term in enumerate(node.before) if j != i]
        base: Node | None = _base(node.before[i])
        while base is not None:
            if base.kind != "parameter" and all(self.reads(other, base) for other in others):
                return True
            base = sums[base].base if base in sums else None
        return False

    def from_skip(self, node: Node, i: int, sums: dict[Node, _Sum]) -> _Sum:
        others = [term for j, term in enumerate(node.before) if j != i]
        found = _Sum(skip=i, gamma=node.weights[i])
        at, forked = node.before[i], False
        while True:
            forked = forked or all(self.reads(other, at) for other in others)
            if at.kind not in CLEAR:
                break
            if at.kind == "scale" and not forked:
                found.gamma *= at.weights[0]
            elif at.kind == "scale":
                found.before *= at.weights[0]
            elif at.kind == "norm":
                found.before = 1.0
            found.bent |= at.kind == "activation"
            at = at.before[0]
        found.base = at
        found.bent |= at in sums and sums[at].bent
        return found

    def depth(self, term: Node, other: Node) -> tuple[int, bool]:
        """The most affine layers on the way back from a term to what the other term reads too; and whether an activation is among it."""
        shared = self.past[self.place[other]]
        best: dict[Node, tuple[int, bool]] = {}

        def of(node: Node) -> tuple[int, bool]:
            if shared >> self.place[node] & 1:
                return 0, False
            ways = [best.get(one, (0, False)) for one in node.before]
            most, bent = max((way[0] for way in ways), default=0), any(way[1] for way in ways)
            return most + (node.kind in ("affine", "foreign")), bent or node.kind == "activation"

        for node in self.nodes[: self.place[term] + 1]:
            if self.past[self.place[term]] >> self.place[node] & 1:
                best[node] = of(node)
        return best[term]

    def factor_after(self, node: Node) -> float:
        """The constant that a sum is multiplied by before anything else reads it."""
        factor = 1.0
        while len(self.users[node]) == 1 and self.users[node][0].kind in ("through", "scale"):
            node = self.users[node][0]
            factor *= node.weights[0] if node.kind == "scale" else 1.0
        return factor

    def share(self) -> None:
        """Find the shares of all that ends a branch."""
        totals = self.totals()
        for node in self.sums:
            self.share_out(node, max(1, totals[node]))

    def totals(self) -> dict[Node, int]:
        """Of each sum with a skip of weight 1: how many branches its stream has from start to end, on the longest way."""
        so_far: dict[Node, int] = {}
        for node, one in self.sums.items():
            kept = one.skip is not None and abs(abs(one.gamma * self.factor_after(node)) - 1) < 1e-6
            more = len(node.before) - 1 if kept else 0
            so_far[node] = more + (so_far.get(one.base, 0) if one.base is not None else 0)
        totals = dict(so_far)
        for node in reversed(self.sums):
            base = self.sums[node].base
            if base is not None and base in totals:
                totals[base] = max(totals[base], totals[node])
        return totals

    def share_out(self, node: Node, B: int) -> None:
        one, after = self.sums[node], self.factor_after(node)
        gamma = abs(one.gamma * after)
        if one.base is not None and one.base in self.sums and abs(abs(one.before) - abs(self.factor_after(one.base))) > 1e-6:
            one.fault = "a stream multiplied by a constant that not all of its readers see"
        if one.skip is not None and gamma > 1 + 1e-6:
            one.fault = f"a skip of weight {gamma:.4g}, which makes the stream grow with every block"
        even = one.skip is None
        for i, (term, weight) in enumerate(zip(node.before, node.weights, strict=True)):
            if i == one.skip:
                continue
            ends = self.ends(term, one.base)
            if not ends and _base(term).kind == "unknown":  # nothing to set in it: noise, an embedding
                one.fault = one.fault or f"a sum with {_base(term).label}"
            for end in ends:
                factor = abs(end.factor * weight * after)
                drift = any(_has_mean(name) for name in end.tail)
                if even:
                    part, why = 1 / len(node.before), f"one of {len(node.before)} terms of a sum"
                elif gamma < 1 - 1e-6:
                    part = (1 - gamma) ** 2 if drift else 1 - gamma**2
                    why = f"ends a branch beside a skip of weight {gamma:.4g}"
                else:
                    part = 1 / B**2 if drift else 1 / B
                    why = f"ends one of {B} branches of a stream" if B > 1 else "ends the only branch of a stream"
                fault = one.fault or end.fault or ("a branch multiplied by 0" if factor == 0 else "")
                if fault and end.node.kind in ("affine", "foreign"):
                    self.open[end.node] = fault
                if factor and not (fault and end.node.kind == "norm"):
                    share, reasons = self.shares.get(end.node, (1.0, []))
                    self.shares[end.node] = (share * part / factor**2, [*reasons, why])

    def ends(self, term: Node, base: Node | None) -> list[_End]:
        """What decides the size of a term of a sum; faults where that is not read."""
        found: dict[Node, _End] = {}
        again = ""
        todo: list[tuple[Node, float, tuple[str, ...], str]] = [(term, 1.0, (), "")]
        while todo:
            node, factor, tail, fault = todo.pop()
            if node in found or node.kind == "parameter":
                continue
            if node is base:
                again = "a stream added to itself"
                continue
            if node.kind in ("affine", "foreign") or (node.kind == "norm" and node.weight):
                found[node] = _End(node, factor, tail, fault)
                continue
            if node.kind == "scale":
                factor *= node.weights[0]
            elif node.kind == "activation":
                tail = (*tail, node.label)
            elif node.kind == "norm":
                fault = f"a branch that ends in a normalisation without a weight of its own ({node.label})"
            elif node.kind == "unknown":
                fault = f"a branch that ends in {node.label}"
            weights = node.weights if node.kind == "sum" else (1.0,) * len(node.before)
            todo += [(one, factor * weight, tail, fault) for one, weight in zip(node.before, weights, strict=True)]
        return [replace(end, fault=end.fault or again) for end in found.values()]


def _base(node: Node) -> Node:
    while node.kind in CLEAR:
        node = node.before[0]
    return node


def _has_mean(name: str) -> bool:
    """Whether an activation has a mean, which branches add up coherently: whether it is not odd."""
    phi, z = as_activation(name), np.linspace(0.1, 3, 30)
    return bool(np.abs(np.asarray(phi(z)) + np.asarray(phi(-z))).max() > 1e-6)
