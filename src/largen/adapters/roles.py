"""What every layer of a model is for: a graph of roles that each library's reader draws, and the one rule that is read off it.

A node is a value of the model's forward pass. What feeds an affine layer is found by walking back from it to an activation, another
affine layer, the inputs or a sum. A sum that adds branches to what they read (a skip) is a point of a *stream*; all sums that are
linked by their skips are one stream, which B branches are summed into. With K the size of the stream, each branch adds C_W <phi phi>/B:
K grows by at most (1 + 1/B)^B < e from start to end, and so does the gradient. With a skip of weight g < 1 the share is 1 - g^2
instead of 1/B, the rule of `lg.resnet_mlp`, which keeps K. A constant factor a of a branch is undone: share / a^2.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from largen.activations.activation import Activation, activation as as_activation
from largen.activations.critical import critical

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
    nearest layers before it (`sources`); what to `note`; and what of the sum behind it could not be read (`open`)."""

    feed: Feed | None
    unread: str = ""
    share: float = 1.0
    sources: tuple[str, ...] = ()
    note: str = ""
    open: str = ""


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


def roles(nodes: Sequence[Node], outputs: Iterable[Node] | None = None) -> Roles:
    """The roles in a graph; `nodes` in an order in which each comes after those before it. What no layer and none of the `outputs`
    (None: the last node) depends on, such as the scores of an attention, is not looked at."""
    ends = list(nodes[-1:] if outputs is None else outputs)
    live: set[Node] = set()
    todo = ends + [node for node in nodes if node.kind in ("affine", "foreign")]
    while todo:
        node = todo.pop()
        if node not in live:
            live.add(node)
            todo += node.before
    return _Reader(tuple(node for node in nodes if node in live)).read()


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
class _Reader:
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

    def read(self) -> Roles:
        totals = self.totals()
        for node in self.sums:
            self.share_out(node, max(1, totals[node]))
        calls: dict[tuple[str, str], list[Node]] = {}
        scales: dict[str, tuple[float, str]] = {}
        for node in self.nodes:
            if node.kind in ("affine", "foreign"):
                calls.setdefault((node.kind, node.label), []).append(node)
            if node.kind == "norm" and node in self.shares:
                share, why = self.shares[node]
                scales[node.weight] = (share**0.5, "; ".join(why))
        made = {key: self.role(several) for key, several in calls.items()}
        return Roles(
            {name: role for (kind, name), role in made.items() if kind == "affine"},
            {name: role for (kind, name), role in made.items() if kind == "foreign"},
            scales,
        )

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
        if one.base is not None and one.base in self.sums and abs(one.before) - abs(self.factor_after(one.base)) > 1e-6:
            one.fault = "a stream multiplied by a constant that not all of its readers see"
        if one.skip is not None and gamma > 1 + 1e-6:
            one.fault = f"a skip of weight {gamma:.4g}, which makes the stream grow with every block"
        even = one.skip is None
        for i, (term, weight) in enumerate(zip(node.before, node.weights, strict=True)):
            if i == one.skip:
                continue
            for end in self.ends(term, one.base):
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

    def role(self, calls: list[Node]) -> Role:
        if any(self.reads(a.before[0], b) for a in calls for b in calls if a is not b and a.before):
            why = "called several times, one call after the other; theory takes the weights of all layers as independent"
            return Role(None, why, sources=tuple(self.sources(calls)), open=why)
        walks = [_Walk(self) for _ in calls]
        fed = {
            (walk.back(node.before[0]) if node.before else INPUTS, round(walk.share, 9)) for walk, node in zip(walks, calls, strict=True)
        }
        parts = {self.shares.get(node, (1.0, []))[0] for node in calls}
        sources = tuple(self.sources(calls))
        if len(fed) > 1 or len(parts) > 1:
            return Role(None, "called several times, fed by different things", sources=sources)
        feed, factor = fed.pop()
        share = parts.pop() * factor
        notes = dict.fromkeys(note for walk in walks for note in walk.notes)
        reasons = dict.fromkeys(why for node in calls for why in self.shares.get(node, (1.0, []))[1])
        if share != 1:
            notes |= {f"{_part(share)} of C_W and C_b" + (f": {'; '.join(reasons)}" if reasons else ""): None}
        opened = next((self.open[node] for node in calls if node in self.open), "")
        unread = "" if not isinstance(feed, str) or feed == INPUTS else feed
        if unread and unread in {one.fault for one in self.sums.values()}:
            opened = unread
        return Role(None if unread else feed, unread, share, sources, "; ".join(notes), opened)

    def sources(self, calls: list[Node]) -> Iterable[str]:
        """The nearest affine layers whose sizes a layer sees: those behind a normalisation only where an activation comes between."""
        todo, seen = [(one, False) for node in calls for one in node.before], set()
        while todo:
            node, bent = todo.pop()
            if (node, bent) in seen:
                continue
            seen.add((node, bent))
            if node.kind == "affine":
                yield node.label
            elif node.kind != "foreign" and (bent or node.kind != "norm"):
                todo += [(one, bent or node.kind == "activation") for one in node.before]


@dataclass
class _Walk:
    """The way back from a layer to what feeds it."""

    reader: _Reader
    notes: dict[str, None] = field(default_factory=dict)
    share: float = 1.0

    def back(self, node: Node, after: Activation | None = None, inner: float = 1.0, outer: float = 1.0, normed: bool = False) -> Feed:
        """`after`: the activation passed so far; `inner`, `outer`: constant factors before and behind it."""
        while True:
            if node.kind in ("through", "norm", "pool"):
                if node.label:
                    self.notes[node.label] = None
                normed = normed or node.kind == "norm"
            elif node.kind == "scale":
                c = 1.0 if normed else node.weights[0]
                inner, outer = (inner * c, outer) if after else (inner, outer * c)
            elif node.kind == "activation" and after is not None:
                return after if normed else f"two activations in a row, {node.label} and {after.name}"
            elif node.kind == "activation":
                after = as_activation(node.label)
            else:
                break
            node = node.before[0]
        return self.at(node, after, inner, outer, normed)

    def at(self, node: Node, after: Activation | None, inner: float, outer: float, normed: bool) -> Feed:
        here = after or as_activation("linear")
        if node.kind == "sum" and not normed:
            one, c = self.reader.sums[node], self.reader.factor_after(node)
            inner, outer = (inner / c, outer) if after else (inner, outer / c)
            if one.fault:
                return one.fault
            if one.skip is None and after is None:
                feeds = {_Walk(self.reader).back(term) for term in node.before}
                alike = feeds.pop() if len(feeds) == 1 else None
                here = alike if isinstance(alike, Activation) else here
            if one.bent and after is not None and _scale_invariant(after):
                self.notes[f"{after.name} of a stream that is positive already"] = None
                here = as_activation("linear")
        elif node.kind == "join":
            feeds = {(walk := _Walk(self.reader)).back(one, after, inner, outer, normed) for one in node.before}
            self.notes |= walk.notes
            self.share *= walk.share
            return feeds.pop() if len(feeds) == 1 else f"a concatenation ({node.label}) of different things"
        elif node.kind == "inputs":
            if outer * inner not in (1.0, -1.0):
                return f"the inputs multiplied by {outer * inner:.4g}: give the data in the scale that the first layer sees"
            return INPUTS if after is None else f"{after.name} of the inputs themselves"
        elif node.kind in ("unknown", "parameter") and not normed:
            return node.label
        if abs(inner) != 1 and not _scale_invariant(here):
            return f"a factor {inner:.4g} before {here.name}"
        if abs(inner * outer) != 1:
            self.share /= (inner * outer) ** 2
        return here


def _base(node: Node) -> Node:
    while node.kind in CLEAR:
        node = node.before[0]
    return node


def _scale_invariant(phi: Activation) -> bool:
    return critical(phi).universality == "scale-invariant"


def _has_mean(name: str) -> bool:
    """Whether an activation has a mean, which branches add up coherently: whether it is not odd."""
    phi, z = as_activation(name), np.linspace(0.1, 3, 30)
    return bool(np.abs(np.asarray(phi(z)) + np.asarray(phi(-z))).max() > 1e-6)


def _part(share: float) -> str:
    return f"1/{round(1 / share)}" if share < 1 and abs(1 / share - round(1 / share)) < 1e-6 else f"{share:.4g}"
