"""What feeds every layer of a graph of roles, and with which part of C_W: the one rule of the adapters of all libraries.

What feeds an affine layer is found by walking back from it to an activation, another affine layer, the inputs or a sum. What a sum is,
and the parts of the branches that it adds, is found by `adapters/streams.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from largen.activations.activation import Activation, activation as as_activation
from largen.activations.critical import critical
from largen.adapters.roles import INPUTS, Feed, Node, Role, Roles
from largen.adapters.streams import Streams


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


class _Reader(Streams):
    """Roles, of the streams and the walks back from every layer."""

    def read(self) -> Roles:
        self.share()
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
        if abs(share - 1) > 1e-6:
            notes |= {f"{_part(share)} of C_W and C_b" + (f": {'; '.join(reasons)}" if reasons else ""): None}
        opened = next((self.open[node] for node in calls if node in self.open), "")
        unread = "" if not isinstance(feed, str) or feed == INPUTS else feed
        if unread and unread in {one.fault for one in self.sums.values()}:
            opened = unread
        return Role(None if unread else feed, unread, share, sources, "; ".join(notes), opened, any(walk.unit for walk in walks))

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
    unit: bool = False  # it ends at the inputs, normalised

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
            elif node.kind == "activation" and after is None and normed:
                pass  # behind a normalisation that nothing follows: the size is 1, whatever it was
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
            self.unit = normed
            return INPUTS if after is None else f"{after.name} of the inputs themselves"
        elif node.kind in ("unknown", "parameter") and not normed:
            return node.label
        if abs(inner) != 1 and not _scale_invariant(here):
            return f"a factor {inner:.4g} before {here.name}"
        if abs(inner * outer) != 1:
            self.share /= (inner * outer) ** 2
        return here


def _scale_invariant(phi: Activation) -> bool:
    return critical(phi).universality == "scale-invariant"


def _part(share: float) -> str:
    return f"1/{round(1 / share)}" if share < 1 and abs(1 / share - round(1 / share)) < 1e-6 else f"{share:.4g}"
