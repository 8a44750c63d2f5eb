"""What the recursion of kernels holds and computes, node by node: its rules run on shapes alone, and the operations in them counted.

No node has an entry of its own here: whatever has a rule in `KERNELS` is counted from that rule.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from largen.architecture.branches import settled
from largen.architecture.nodes import Composite, Node, Serial
from largen.architecture.paths import branch_paths, everything, paths
from largen.architecture.walk import Theory, needed, walk
from largen.parametrizations.rates import resolve
from largen.running.evaluate import evaluated
from largen.running.primitives import Unknown
from largen.theory.positions import PAIRS, PIXELS, start
from largen.theory.rules import KERNELS
from largen.types import island

# How the names of primitives begin that move numbers, or make none.
SHAPED = ("broadcast", "reshape", "transpose", "squeeze", "slice", "dynamic_", "concatenate", "pad", "gather", "scatter", "split", "rev")
MOVES = (*SHAPED, "iota", "copy", "convert", "bitcast", "stop_gradient")


@dataclass(frozen=True)
class Cost:
    """A node, for all pairs of points: `space` the positions after it, `layout` None, PIXELS or PAIRS (what asks for it), the node's own
    operations (`least`: at least so many), bytes of what goes on; of its program the equations, none if it is that of another node, and
    the numbers that they make, one by one (as `running` counts them)."""

    path: str
    node: Node | None
    space: tuple[int, ...]
    layout: str | None
    asked_by: str | None
    operations: float
    least: bool
    bytes: float
    equations: int
    numbers: float


@dataclass(frozen=True)
class _Priced:
    """A carrier of shapes, and the operations of the node before it."""

    carrier: Any
    operations: float = 0.0
    least: bool = False
    equations: int = 0
    numbers: float = 0.0


def costs(net: Serial, shape: tuple[int, ...], n1: int, n2: int | None, dtype: str) -> list[Cost]:
    """The cost of the inputs and of every node for n1 x n2 pairs of points (None: n1 points with themselves) of one shape. A node with
    branches comes before those inside, and counts what it does itself. Raises as `lg.kernel` where a node has no rule."""
    with island(jax.ShapeDtypeStruct((), jnp.dtype(dtype))):
        X1, X2 = (None if n is None else jax.ShapeDtypeStruct((n, *shape), jnp.dtype(dtype)) for n in (n1, n2))
        layout, found = needed(net, KERNELS), {}
        first = _priced(lambda X1, X2: start(X1, X2, layout), X1, X2)

        def look(path: str, before: _Priced, after: _Priced) -> None:
            found[path] = after

        walk(settled(net, shape), _pricing(), first, resolve(net), scan=False, observe=look)
    asked, above = _asked(net)
    rows = [("inputs", None, first, above)]
    rows += [(path, node, found[path], asked[path]) for path, node in everything(net)]
    return [_row(*row) for row in rows]


def _row(path: str, node: Node | None, priced: _Priced, asked: str | None) -> Cost:
    carrier = priced.carrier
    layout = None if not carrier.space else PIXELS if carrier.own is None else PAIRS
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree_util.tree_leaves(carrier))
    by = asked if layout == PAIRS else None
    return Cost(path, node, carrier.space, layout, by, priced.operations, priced.least, size, priced.equations, priced.numbers)


def _priced(function: Callable[..., Any], *args: Any) -> _Priced:
    made, out = jax.make_jaxpr(function, return_shape=True)(*args)
    try:
        form = evaluated(made)
        equations, numbers = form.equations, form.costs
    except (Unknown, KeyError):
        equations, numbers = len(made.jaxpr.eqns), operations(made.jaxpr)
    return _Priced(out, operations(made.jaxpr), endless(made.jaxpr), equations, numbers)


def _pricing() -> Theory:
    """The theory of kernels with carriers of shapes for those of numbers, each rule counted. Like nodes are counted once."""
    known: dict[Any, _Priced] = {}

    def priced(step: Callable[..., Any]) -> Callable[..., _Priced]:
        def counted(node: Node, before: _Priced, extra: Any, need: Any) -> _Priced:
            if isinstance(node, Composite):
                through = tuple(_blank(send) for send in extra)
                return _priced(lambda node, carrier: step(node, carrier, through, need), node, before.carrier)
            signature = KERNELS.signature(node) if KERNELS.signature else object()
            key = (type(node), signature, need, str(jax.tree_util.tree_flatten(before.carrier)))
            if key in known:
                return replace(known[key], equations=0)
            known[key] = _priced(lambda node, carrier, extra: step(node, carrier, extra, need), node, before.carrier, extra)
            return known[key]

        return counted

    rules = {kind: (needs, priced(step)) for kind, (needs, step) in KERNELS.rules.items()}
    return Theory(KERNELS.name, None, KERNELS.join, priced(KERNELS.default), KERNELS.covers, rules)


def _blank(send: Callable[[_Priced], _Priced]) -> Callable[[Any], Any]:
    """A branch in the program of its node: counted by itself, and what comes out made of nothing."""

    def through(carrier: Any) -> Any:
        shapes = jax.tree_util.tree_map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), carrier)
        return jax.tree_util.tree_map(lambda a: jnp.zeros(a.shape, a.dtype), send(_Priced(shapes)).carrier)

    return through


def _asked(net: Serial, prefix: str = "", after: str | None = None) -> tuple[dict[str, str | None], str | None]:
    """By path, the nearest node further on that wants pairs of positions of what comes out there, None where none does; and the same of
    what goes in."""
    asked: dict[str, str | None] = {}
    for path, part in reversed(list(paths(net, prefix))):
        asked[path] = after
        needs, _ = KERNELS.of(part, path)
        itself = needs(part, None) == PAIRS
        before = path if itself else after if needs(part, PAIRS) == PAIRS else None
        if isinstance(part, Composite):
            inner = [_asked(branch, inside, before) for inside, branch in branch_paths(part, path)]
            before = next((first for _, first in inner if first is not None), None)
            for names, _ in inner:  # one that pools makes the others carry pairs too, up to their own end
                asked |= {name: by if by is not None else before for name, by in names.items()}
        after = before
    return asked, after


def operations(jaxpr: Any) -> float:
    """Operations on numbers in a program: sums, products, comparisons and functions count one each, moving numbers none. Of branches that
    depend on values the cheapest counts, of loops without a known end one round."""
    total = 0.0
    for equation in jaxpr.eqns:
        inside = [operations(inner) for inner in _inner(equation.params)]
        sizes = [math.prod(v.aval.shape) for v in equation.outvars]
        name = equation.primitive.name
        if inside:
            total += min(inside) if name == "cond" else sum(inside) * equation.params.get("length", 1)
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2.0 * sizes[0] * math.prod(equation.invars[0].aval.shape[i] for i in contracted)
        elif name.startswith(("reduce_", "arg", "cum")):
            total += math.prod(equation.invars[0].aval.shape)
        elif not name.startswith(MOVES):
            total += max(sizes, default=0)
    return total


def endless(jaxpr: Any) -> bool:
    """Whether there is a loop without a known end in a program."""
    return any(e.primitive.name == "while" or any(map(endless, _inner(e.params))) for e in jaxpr.eqns)


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """The programs inside an equation."""
    for value in params.values():
        for one in value if isinstance(value, (tuple, list)) else (value,):
            one = getattr(one, "jaxpr", one)
            if hasattr(one, "eqns"):
                yield one
