"""The table of which theory supports which node, on the reference page of architectures: made from the registries of rules."""

from typing import Any

from largen.architecture import chain
from largen.architecture.nodes import GAUSSIAN, MOMENTS, NODES, Node
from largen.architecture.walk import Theory
from largen.networks.empirical import EMPIRICAL
from largen.networks.outputs import FORWARD
from largen.theory.rules import KERNELS
from largen.theory.signal.signal import SIGNAL

PLACE = "<!-- coverage -->"
THEORIES = {"apply": FORWARD, "empirical_ntk": EMPIRICAL, "kernel": KERNELS, "signal": SIGNAL}
BEFORE = {(GAUSSIAN,): "Gaussian preactivations", (GAUSSIAN, MOMENTS): "an affine layer, anywhere before"}


def table(nodes: dict[str, type[Node]] = NODES, theories: dict[str, Theory] = THEORIES) -> str:
    """Node against theory in Markdown, with the reasons of refusals below."""
    notes: list[str] = []

    def cell(reason: str | None) -> str:
        if reason is None:
            return "yes"
        if reason not in notes:
            notes.append(reason)
        return f"no ({notes.index(reason) + 1})"

    heads = ["node", *(f"`lg.{name}`" for name in theories), "`lg.corrections`", "kernels need before it"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, kind in sorted(nodes.items()):
        found = [None if theory.supports(kind) else theory.reason(kind) for theory in theories.values()]
        cells = [*map(cell, found), cell(None if name in chain.KNOWN else chain.REASON), BEFORE.get(kind.takes, "")]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*rows, "", *(f"{i}. {note}" for i, note in enumerate(notes, 1))])


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Called by MkDocs for every page."""
    return markdown.replace(PLACE, table()) if PLACE in markdown else markdown
