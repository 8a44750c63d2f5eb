"""The walk: one recursion over a network for every theory, with one rule per node and theory.

A theory registers for each node type a pair: `needs(node, need)`, backward and static, says what the node wants from
the one before it given what is wanted of its output; `step(node, carrier, extra, need)`, forward, gives the next carrier.
The walk owns order, recursion into branches, `lax.scan` over repeated blocks (so that tracing and compiling do not
grow with depth), and `UnsupportedError` for a node without a rule. Adding a node edits no theory; adding a theory edits no node.

The rule of a node with branches gets for `extra` a tuple of functions, one per branch, that send a carrier through the branch. A node
that passes values on needs no rule: the default rule of the theory serves it.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from largen.architecture.nodes import NODES, Composite, Node, Serial
from largen.architecture.paths import branch_paths, paths
from largen.errors import UnsupportedError

Step = Callable[[Any, Any, Any, Any], Any]
Needs = Callable[[Any, Any], Any]
Observer = Callable[[str, Any, Any], None]


def _unchanged(node: Any, need: Any) -> Any:
    return need


@dataclass(frozen=True)
class Theory:
    """A named registry of rules. `signature(node)` is what the rules read of a node besides its leaves: consecutive
    blocks with equal signatures are scanned. None means never scan (blocks may change the carrier's shape). `join`: what branches that
    want different things of their common input get; without it they are refused. `default`: the step of kinds of nodes without a rule for
    which `covers` holds, those that pass values on unless a theory says otherwise."""

    name: str
    signature: Callable[[Any], Hashable] | None = None
    join: Callable[[list[Any]], Any] | None = field(default=None, compare=False)
    default: Step = field(default=lambda node, carrier, extra, need: carrier, compare=False)
    covers: Callable[[type[Node]], bool] = field(default=lambda kind: kind.passes, compare=False)
    rules: dict[type, tuple[Needs, Step]] = field(default_factory=dict, hash=False, compare=False)
    reasons: dict[type, str] = field(default_factory=dict, hash=False, compare=False)  # why a node has no rule

    def supports(self, kind: type[Node]) -> bool:
        """Whether there is a rule for nodes of a kind."""
        return kind in self.rules or self.covers(kind)

    def reason(self, kind: type[Node]) -> str:
        """Why a kind of node without a rule has none."""
        return self.reasons.get(kind, "it has no rule for this node")

    def rule(self, kind: type[Node], needs: Needs = _unchanged) -> Callable[[Step], Step]:
        """Decorator: register `step` (and `needs`) for a node type."""

        def register(step: Step) -> Step:
            self.rules[kind] = (needs, step)
            return step

        return register

    def of(self, node: Node, path: str) -> tuple[Needs, Step]:
        """The pair of rules of a node, or `UnsupportedError`."""
        found = self.rules.get(type(node), (_unchanged, self.default) if self.covers(type(node)) else None)
        if found is None:
            known = sorted({kind.__name__ for kind in self.rules} | {name for name, kind in NODES.items() if kind.passes})
            raise UnsupportedError(repr(node), path, self.name, self.reason(type(node)), known)
        return found


@dataclass(frozen=True)
class Job:
    """One node's work: `part` and `extra` are pytrees, which a scan replaces by slices; the rest is static. The extra of a
    sum is that of its branches, one tuple each, and `branches` are their jobs."""

    path: str
    part: Node
    extra: Any
    need: Any
    step: Step
    mark: Hashable  # equal for nodes that may share one scan
    branches: tuple[tuple["Job", ...], ...] = ()

    def run(self, part: Any, carrier: Any, extra: Any, observe: Observer | None = None) -> Any:
        """The next carrier, with the node and the extra given."""
        if isinstance(part, Composite):
            rows = zip(self.branches, part.children(), extra, strict=True)
            extra = tuple(_through(jobs, branch, slices, observe) for jobs, branch, slices in rows)
        after = self.step(part, carrier, extra, self.need)
        if observe is not None and self.part.written:
            observe(self.path, carrier, after)
        return after


def _through(jobs: tuple[Job, ...], branch: Serial, extras: Any, observe: Observer | None) -> Callable[[Any], Any]:
    def send(carrier: Any) -> Any:
        for job, part, extra in zip(jobs, branch.nodes, extras, strict=True):
            carrier = job.run(part, carrier, extra, observe)
        return carrier

    return send


def _jobs(net: Serial, theory: Theory, extras: Mapping[str, Any], need: Any, keep: Collection[str], prefix: str = "") -> Any:
    """The jobs of a network in order, and what it needs of its input."""
    jobs: list[Job] = []
    for path, part in reversed(list(paths(net, prefix))):
        needs, step = theory.of(part, path)
        extra, before, branches = extras.get(path), needs(part, need), ()
        mark = (type(part), theory.signature(part) if theory.signature else None, need, path in keep)
        if isinstance(part, Composite):
            made = [_jobs(branch, theory, extras, before, keep, inside) for inside, branch in branch_paths(part, path)]
            branches, wanted = tuple(row for row, _ in made), [want for _, want in made]
            before = wanted[0]
            if any(want != before for want in wanted):
                if theory.join is None:
                    raise UnsupportedError(repr(part), path, theory.name, "its branches need different things of their common input")
                before = theory.join(wanted)
            extra = tuple(tuple(job.extra for job in row) for row in branches)
            mark = (*mark, tuple(tuple(job.mark for job in row) for row in branches))
        jobs.append(Job(path, part, extra, need, step, mark, branches))
        need = before
    return tuple(reversed(jobs)), need


def needed(net: Serial, theory: Theory, need: Any = None) -> Any:
    """What a theory needs of the inputs of a network, given what is wanted of its output."""
    return _jobs(net, theory, {}, need, ())[1]


def walk(
    net: Serial,
    theory: Theory,
    carrier: Any,
    extras: Mapping[str, Any] | None = None,
    need: Any = None,
    keep: Collection[str] = (),
    scan: bool = True,
    observe: Observer | None = None,
) -> tuple[Any, list[Any]]:
    """Send a carrier through the network.

    `extras[path]` is a pytree handed to the step at that path (parameters, learning rates). `need` is what is wanted of
    the output. Returns the last carrier and the carriers after the nodes of the top level whose paths are in `keep`, in order,
    as a list of stacked pytrees: one per stretch, leading axis the nodes of the stretch. `scan=False` unrolls every block.
    `observe(path, before, after)` is called with the carriers around every written node, those of branches too; nothing is scanned then.
    """
    jobs, _ = _jobs(net, theory, extras or {}, need, keep)
    kept: list[Any] = []
    for start, period, times in _blocks(jobs, scan and observe is None and theory.signature is not None):
        block = jobs[start : start + period]
        if times == 1:
            for job in block:
                carrier = job.run(job.part, carrier, job.extra, observe)
                if job.path in keep:
                    kept.append(jax.tree_util.tree_map(lambda a: jnp.asarray(a)[None], carrier))
        else:
            repeats = [jobs[start + r * period : start + (r + 1) * period] for r in range(times)]
            slices = [[(like(j.part, model.part), j.extra) for j, model in zip(r, block, strict=True)] for r in repeats]
            stacked = jax.tree_util.tree_map(lambda *leaves: jnp.stack([jnp.asarray(v) for v in leaves]), *slices)

            def body(c: Any, one: Any, block: Any = block) -> tuple[Any, Any]:
                outputs = []
                for (part, extra), job in zip(one, block, strict=True):
                    c = job.run(part, c, extra)
                    if job.path in keep:
                        outputs.append(c)
                return c, outputs

            carrier, outputs = jax.lax.scan(body, carrier, stacked, length=times)
            if outputs:  # interleave the kept nodes of one block in order
                kept.append(jax.tree_util.tree_map(lambda *a: jnp.stack(a, 1).reshape(-1, *a[0].shape[1:]), *outputs))
    return carrier, kept


def marks(net: Serial, theory: Theory) -> Hashable:
    """Equal for networks that a theory treats alike but for the values of their leaves: see `like`."""
    return tuple(job.mark for job in _jobs(net, theory, {}, None, ())[0])


def like(part: Any, model: Any) -> Any:
    """The node or network with the static fields of another of equal signature, so that both stack as pytrees."""
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(model), jax.tree_util.tree_leaves(part))


def _blocks(jobs: tuple[Job, ...], scan: bool) -> Iterator[tuple[int, int, int]]:
    """(start, period, times) of stretches: greedily the repetition that covers most nodes, else single nodes."""
    if not scan:
        yield from ((i, 1, 1) for i in range(len(jobs)))
        return
    marks = [job.mark for job in jobs]
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
