"""A traced program of JAX (a jaxpr) as steps of NumPy: straight lines, loops and branches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from largen.running.indexing import INDEXED
from largen.running.primitives import PLAIN, SHAPED, Unknown
from largen.types import is_traced

TABLE = {name: ((), lambda operation=operation: operation) for name, operation in PLAIN.items()} | SHAPED | INDEXED
# parameters that do not change a value: how it is to be computed, or promises about what is given
HARMLESS = {
    "accuracy",
    "dimensions",
    "indices_are_sorted",
    "is_stable",
    "out_sharding",
    "precision",
    "sharding",
    "unique_indices",
    "weak_type",
}
HARMLESS |= {"axis_size", "update_consts", "update_jaxpr"}
STEP = 2000  # numbers that take as long as calling NumPy once
TURNS = 2  # of loops, at least: work beyond is found out when it is done
CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}
CALLS |= {"custom_vjp_call": "call_jaxpr", "remat": "jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr"}


class TooMuch(Exception):
    """More work than was allowed."""


@dataclass
class Meter:
    """Numbers computed so far, and how many may be."""

    most: float
    spent: float = 0.0

    def add(self, amount: float) -> None:
        """Count; raises `TooMuch` beyond the allowance."""
        self.spent += amount
        if self.spent > self.most:
            raise TooMuch


Run = Callable[[Meter, Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Form:
    """A program in NumPy: `run`; `costs`, the numbers that it computes (of loops whose end is not known, `TURNS` turns); `equations`,
    how many there are to compile."""

    run: Run
    costs: float
    equations: int


@dataclass(frozen=True)
class _Step:
    """One equation: reads places, writes places, and then forgets those that nothing reads any more. `costs` its own, without those of
    programs inside."""

    form: Form
    costs: float
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    forgets: tuple[int, ...] = ()


def evaluated(program: ClosedJaxpr) -> Form:
    """The program as a function of NumPy arrays. Raises `Unknown` for what has no form in NumPy."""
    made = _Builder()
    inputs = [made.place() for _ in program.jaxpr.invars]
    ends = made.add(program.jaxpr, program.consts, inputs)
    start, steps = made.start, _lean(made.steps, ends)

    def run(meter: Meter, arguments: Sequence[Any]) -> list[Any]:
        values = list(start)
        values[: len(inputs)] = arguments
        for step in steps:
            meter.add(step.costs)
            found = step.form.run(meter, [values[i] for i in step.reads])
            for place, value in zip(step.writes, found, strict=True):
                values[place] = value
            for place in step.forgets:
                values[place] = None
        return [values[i] for i in ends]

    return Form(run, sum(step.costs + step.form.costs for step in steps), made.equations)


class _Builder:
    """Equations as steps, those of functions that are called among them, each different one once."""

    def __init__(self) -> None:
        self.start: list[Any] = []  # what stands at every place before the first step
        self.steps: list[_Step] = []
        self.equations = 0
        self.known: dict[Any, tuple[int, ...]] = {}  # the places of what has been computed already

    def place(self, value: Any = None) -> int:
        """A new place."""
        self.start.append(value)
        return len(self.start) - 1

    def add(self, jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[int]) -> list[int]:
        """The steps of a program, with its arguments at places: the places of its results."""
        if is_traced(consts):
            raise Unknown("a function that holds values being traced")
        places = dict(zip(jaxpr.invars, arguments, strict=True))
        places |= {variable: self.place(np.asarray(value)) for variable, value in zip(jaxpr.constvars, consts, strict=True)}

        def read(atom: Any) -> int:
            if not isinstance(atom, Literal):
                return places[atom]
            kind: Any = atom.aval
            return self._literal(np.asarray(atom.val, kind.dtype))

        for equation in jaxpr.eqns:
            self.equations += 1
            reads, inner = tuple(read(atom) for atom in equation.invars), CALLS.get(equation.primitive.name)
            if inner is None:
                writes = self._step(equation, reads)
            else:
                called = equation.params[inner]
                writes = self.add(*((called.jaxpr, called.consts) if isinstance(called, ClosedJaxpr) else (called, ())), reads)
            places |= zip(equation.outvars, writes, strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def _literal(self, value: Any) -> int:
        key = value.dtype, value.tobytes()
        if key not in self.known:
            self.known[key] = (self.place(value),)
        return self.known[key][0]

    def _step(self, equation: Any, reads: tuple[int, ...]) -> tuple[int, ...]:
        key = equation.primitive.name, reads, tuple(equation.params.items())
        try:
            if key in self.known:
                return self.known[key]
        except TypeError:  # parameters that cannot be compared
            key = object()
        form, writes = _form(equation), tuple(self.place() for _ in equation.outvars)
        self.equations += form.equations
        size = sum(math.prod(getattr(v.aval, "shape", ())) for v in equation.outvars)
        self.steps.append(_Step(form, size + STEP, reads, writes))
        self.known[key] = writes
        return writes


def _lean(steps: Sequence[_Step], ends: Sequence[int]) -> list[_Step]:
    """The steps of which results are made, each forgetting what is not read after it."""
    wanted, kept = set(ends), []
    for step in reversed(steps):
        if not wanted.isdisjoint(step.writes):
            last = {*step.reads, *step.writes} - wanted
            kept.append((step, last))
            wanted.update(step.reads)
    written = {place for step, _ in kept for place in step.writes}
    return [replace(step, forgets=tuple(last & written)) for step, last in reversed(kept)]


def _form(equation: Any) -> Form:
    """What one equation does."""
    name, params = equation.primitive.name, equation.params
    if name in LOOPS:
        return LOOPS[name](equation)
    wanted, make = TABLE.get(name, ((), None))
    said = {key for key, value in params.items() if not (key in HARMLESS or value is None or value is False)}
    if make is None or not said <= set(wanted):
        raise Unknown(name)
    operation, several = make(**{key: params[key] for key in wanted}), equation.primitive.multiple_results

    def run(meter: Meter, values: Sequence[Any]) -> Sequence[Any]:
        found = operation(*values)
        return found if several else (found,)

    return Form(run, 0, 0)


def _scan(equation: Any) -> Form:
    params, inner = equation.params, equation.params["jaxpr"].jaxpr
    body, length, reverse = evaluated(params["jaxpr"]), params["length"], params["reverse"]
    # what is carried has one shape inside and outside, rows have one axis more outside: so no version of JAX has to say how many are which
    carried, given = (
        sum(out.aval.ndim == own.aval.ndim for out, own in zip(outside, inside, strict=True))
        for outside, inside in ((equation.outvars, inner.outvars), (equation.invars, inner.invars))
    )
    consts = given - carried
    shapes = [(v.aval.shape, v.aval.dtype) for v in inner.outvars[carried:]]

    def run(meter: Meter, values: Sequence[Any]) -> Sequence[Any]:
        fixed, carry, rows = values[:consts], list(values[consts : consts + carried]), values[consts + carried :]
        stacked = [np.empty((length, *shape), dtype) for shape, dtype in shapes]
        for i in reversed(range(length)) if reverse else range(length):
            found = body.run(meter, [*fixed, *carry, *(row[i] for row in rows)])
            carry = found[:carried]
            for out, value in zip(stacked, found[carried:], strict=True):
                out[i] = value
        return [*carry, *stacked]

    return Form(run, length * body.costs, body.equations)


def _while(equation: Any) -> Form:
    params = equation.params
    condition, body = evaluated(params["cond_jaxpr"]), evaluated(params["body_jaxpr"])
    asked, used = params["cond_nconsts"], params["body_nconsts"]

    def run(meter: Meter, values: Sequence[Any]) -> Sequence[Any]:
        before, fixed, state = values[:asked], values[asked : asked + used], values[asked + used :]
        while np.any(go := condition.run(meter, [*before, *state])[0]):
            after = body.run(meter, [*fixed, *state])
            if np.ndim(go):  # one for every loop of a batch
                shapes = [(*go.shape, *(1,) * (np.ndim(new) - go.ndim)) for new in after]
                after = [np.where(go.reshape(shape), new, old) for shape, new, old in zip(shapes, after, state, strict=True)]
            state = after
        return state

    return Form(run, TURNS * (condition.costs + body.costs), condition.equations + body.equations)


def _cond(equation: Any) -> Form:
    branches = [evaluated(branch) for branch in equation.params["branches"]]

    def run(meter: Meter, values: Sequence[Any]) -> Sequence[Any]:
        which = min(max(int(values[0]), 0), len(branches) - 1)
        return branches[which].run(meter, values[1:])

    return Form(run, min(branch.costs for branch in branches), sum(branch.equations for branch in branches))


LOOPS: dict[str, Callable[[Any], Form]] = {"scan": _scan, "while": _while, "cond": _cond}
