"""The walk: one recursion over a network for every theory, with one rule per node and theory.

A theory registers for each node type a pair: `needs(node, need)`, backward and static, says what the node wants from
the one before it given what is wanted of its output; `step(node, carrier, extra, need)`, forward, gives the next carrier.
The walk owns order, paths, `lax.scan` over repeated blocks (so that tracing and compiling do not grow with depth), and
`UnsupportedError` for a node without a rule. Adding a node edits no theory; adding a theory edits no node.

Paths name a node by its type and its place among its kind: `dense1`, `act1`, `dense2`, ...; nested ones join with `/`.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from largen.architecture.nodes import Node, Serial
from largen.errors import UnsupportedError

Step = Callable[[Any, Any, Any, Any], Any]
Needs = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Theory:
    """A named registry of rules. `signature(node)` is what the rules read of a node besides its leaves: consecutive
    blocks with equal signatures are scanned. None means never scan (blocks may change the carrier's shape)."""

    name: str
    signature: Callable[[Any], Hashable] | None = None
    rules: dict[type, tuple[Needs, Step]] = field(default_factory=dict, hash=False, compare=False)

    def rule(self, kind: type[Node], needs: Needs = lambda node, need: need) -> Callable[[Step], Step]:
        """Decorator: register `step` (and `needs`) for a node type."""

        def register(step: Step) -> Step:
            self.rules[kind] = (needs, step)
            return step

        return register

    def of(self, node: Node, path: str) -> tuple[Needs, Step]:
        """The pair of rules of a node, or `UnsupportedError`."""
        found = self.rules.get(type(node))
        if found is None:
            known = sorted(kind.__name__ for kind in self.rules)
            raise UnsupportedError(repr(node), path, self.name, "it has no rule for this node", known)
        return found


def paths(net: Serial, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """(path, node) of every node of the top level, in order."""
    seen: dict[str, int] = {}
    for part in net.nodes:
        kind = type(part).__name__.lower()
        seen[kind] = seen.get(kind, 0) + 1
        yield f"{prefix}{kind}{seen[kind]}", part


def walk(
    net: Serial,
    theory: Theory,
    carrier: Any,
    extras: Mapping[str, Any] | None = None,
    need: Any = None,
    keep: type[Node] | None = None,
    scan: bool = True,
) -> tuple[Any, list[Any]]:
    """Send a carrier through the network.

    `extras[path]` is a pytree handed to the step at that path (parameters, learning rates). `need` is what is wanted of
    the output. Returns the last carrier and the carriers after each node of type `keep`, in order, as a list of
    stacked pytrees: one per stretch, leading axis the nodes of the stretch. `scan=False` unrolls every block.
    """
    named = list(paths(net))
    needs = [need]
    for path, part in reversed(named[1:]):
        needs.append(theory.of(part, path)[0](part, needs[-1]))
    needs.reverse()
    jobs = [(part, (extras or {}).get(path), n, theory.of(part, path)[1]) for (path, part), n in zip(named, needs, strict=True)]
    kept: list[Any] = []
    for start, period, times in _blocks(jobs, theory.signature if scan else None):
        block = jobs[start : start + period]
        if times == 1:
            for part, extra, n, step in block:
                carrier = step(part, carrier, extra, n)
                if keep is not None and isinstance(part, keep):
                    kept.append(jax.tree_util.tree_map(lambda a: jnp.asarray(a)[None], carrier))
        else:
            repeats = [[(j[0], j[1]) for j in jobs[start + r * period : start + (r + 1) * period]] for r in range(times)]
            repeats = [[(_strip(part, block[i][0]), extra) for i, (part, extra) in enumerate(r)] for r in repeats]
            stacked = jax.tree_util.tree_map(lambda *leaves: jnp.stack([jnp.asarray(v) for v in leaves]), *repeats)

            def body(c: Any, slices: Any, block: Any = block) -> tuple[Any, Any]:
                outputs = []
                for (part, extra), (_, _, n, step) in zip(slices, block, strict=True):
                    c = step(part, c, extra, n)
                    if keep is not None and isinstance(part, keep):
                        outputs.append(c)
                return c, outputs

            carrier, outputs = jax.lax.scan(body, carrier, stacked)
            if outputs:  # interleave the kept nodes of one block in order
                kept.append(jax.tree_util.tree_map(lambda *a: jnp.stack(a, 1).reshape(-1, *a[0].shape[1:]), *outputs))
    return carrier, kept


def _strip(part: Node, model: Node) -> Node:
    """The node with the static fields of another of equal signature, so that both stack as pytrees."""
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(model), jax.tree_util.tree_leaves(part))


def _blocks(jobs: list[Any], signature: Callable[[Any], Hashable] | None) -> Iterator[tuple[int, int, int]]:
    """(start, period, times) of stretches: greedily the repetition that covers most nodes, else single nodes."""
    if signature is None:
        yield from ((i, 1, 1) for i in range(len(jobs)))
        return
    marks = [(type(part), signature(part), n) for part, _, n, _ in jobs]
    at = 0
    while at < len(marks):
        best = (1, 1)
        for period in range(1, min(8, (len(marks) - at) // 2) + 1):
            times = 1
            while marks[at + times * period : at + (times + 1) * period] == marks[at : at + period]:
                times += 1
            if times > 1 and period * times > best[0] * best[1]:
                best = (period, times)
        period, times = best
        yield at, period, times
        at += period * times
