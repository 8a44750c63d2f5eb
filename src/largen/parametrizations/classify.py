"""What an infinitely wide network does under a parametrization, by the theorems of TP4 (SGD) and TP-IVb (Adam and its kin)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from largen.activations.activation import activation as as_activation
from largen.display import Columns, Record
from largen.parametrizations.effective import Effective
from largen.parametrizations.exact import Exponent, power
from largen.parametrizations.optimizers import HALF

PROVED = ("tanh", "gelu", "gelu_tanh")  # smooth versions of ReLU stand for sigma-gelu


@dataclass(frozen=True, repr=False, kw_only=True)
class Moves:
    """The exponents that the theorems speak of: `r_l` by hidden layer, their least `r`; `start`, a_{L+1} + b_{L+1}; and `readout`, that of
    the output's change by the readout's own update (2 a_{L+1} + c - 1 with SGD). The layers below see a readout of the size that it
    started with or has learned."""

    r_l: tuple[Exponent, ...]
    start: Exponent
    readout: Exponent

    @property
    def r(self) -> Exponent:
        return min(self.r_l)

    @property
    def output(self) -> Exponent:
        """That of the output's change by moved features, read by the readout as it started."""
        return self.start + self.r


def moves(e: Effective, first: bool = False) -> Moves:
    """Delta W^l x^{l-1} = Theta(n^-r_l) (TP4 Proposition 5.3, TP-IVb 2.9): the update's size n^-rate, times the gradient's with SGD, times
    the terms that add up. `first`: in the first step, when the readout has learned nothing yet."""
    by, L = e.by, e.hidden
    start = e.std[L]
    readout = e.rate[L] - by.move(L, L)
    size = start if first else min(start, 1 + readout)
    r_l = tuple(e.rate[l] - by.move(l, L) + by.degree * size if e.rate[l] != float("inf") else e.rate[l] for l in range(L))
    return Moves(r_l=r_l, start=start, readout=readout)


@dataclass(frozen=True, repr=False, kw_only=True)
class Condition(Record):
    """One (in)equality of a theorem, as in `Classification.violated`; prints as a sentence.

    Attributes
    ----------
    name : str
        What is bounded.
    found : exponent
        What it is.
    needed : str
        What it has to be.
    holds : bool
        Whether it is.
    otherwise : str
        What breaks else.
    """

    name: str
    found: Exponent
    needed: str
    holds: bool
    otherwise: str

    def _columns(self) -> Columns:
        return {"name": [self.name], "found": [float(self.found)], "needed": [self.needed], "holds": [self.holds]}

    def __str__(self) -> str:
        return f"{self.name} = {self.found}, needed {self.needed}: {self.otherwise}"


def at_start(e: Effective) -> Iterator[Condition]:
    """TP4 (6): sizes of signals at the start."""
    for l, std in enumerate(e.std[:-1]):
        needed = HALF if l else Fraction(0)
        way = "vanishes" if std > needed else "blows up"
        yield Condition(
            name=f"a_{l + 1} + b_{l + 1}",
            found=std,
            needed=f"{needed}",
            holds=std == needed,
            otherwise=f"at the start the preactivation of layer {l + 1} {way} as {power(std - needed)}",
        )
    last = len(e.std)
    yield Condition(
        name=f"a_{last} + b_{last}",
        found=e.std[-1],
        needed="at least 1/2",
        holds=e.std[-1] >= HALF,
        otherwise=f"at the start the output blows up as {power(e.std[-1] - HALF)}",
    )


def in_training(e: Effective, at: Moves) -> Iterator[Condition]:
    """TP4 (7), (8): features and outputs do not blow up in training."""
    last = len(e.std)
    for l, r in enumerate(at.r_l, 1):
        yield Condition(name=f"r_{l}", found=r, needed="at least 0", holds=r >= 0, otherwise=f"layer {l} moves its features by {power(r)}")
    yield Condition(
        name=f"r_{last}",
        found=at.readout,
        needed="at least 0",
        holds=at.readout >= 0,
        otherwise=f"the readout's update moves the output by {power(at.readout)}",
    )
    yield Condition(
        name=f"a_{last} + b_{last} + r",
        found=at.output,
        needed="at least 1",
        holds=at.output >= 1,
        otherwise=f"moved features, read by the readout as it started, move the output by {power(at.output - 1)}",
    )


@dataclass(frozen=True, repr=False, kw_only=True)
class Classification(Record):
    """What `Parametrization.classify` returns.

    Attributes
    ----------
    regime : str
        "unstable": signals or outputs leave order one; "trivial": the output never moves; "kernel": it moves as gradient descent on a
        fixed kernel; "feature learning": hidden layers move by order one.
    why : str
        The (in)equality that decides, with its numbers.
    r : exponent
        The features of the last hidden layer move by n^-r in a step (TP4 Definition 3.2); 0 is feature learning.
    r_l : tuple
        Of each hidden layer, by its own weights' update (Proposition 5.3); r is the least.
    readout : exponent
        n^-readout is how the output moves by the readout's own update.
    maximal : tuple of bool
        By affine layer: whether its update moves what it feeds by order one (Definition 5.2).
    readout_starts_maximal : bool
        Whether features that moved change the output by order one through the readout as it started.
    in_kernel : tuple of bool
        In the kernel regime, by affine layer: whether it has a part in the kernel. Empty elsewhere.
    first_unstable : int, optional
        The first step after which signals are not of order one; 0 is the start.
    violated : tuple of Condition
        The (in)equalities of stability that do not hold then.
    theorem : str
        What decides.
    assumptions : tuple of str
        What of the theorem's assumptions is not met.
    missing : dict
        Why a field is None.
    """

    _table = ("", "regime r readout readout_starts_maximal first_unstable theorem")

    regime: str
    why: str
    r: Exponent
    r_l: tuple[Exponent, ...]
    readout: Exponent
    maximal: tuple[bool, ...]
    readout_starts_maximal: bool
    in_kernel: tuple[bool, ...]
    theorem: str
    assumptions: tuple[str, ...]
    first_unstable: int | None
    violated: tuple[Condition, ...] = field(default=())
    missing: dict[str, str] = field(default_factory=dict)


def classified(e: Effective, activation: Any = None) -> Classification:
    """By the effective exponents alone."""
    at, (step, violated) = moves(e), broken(e)
    moved = at.output == 1 or at.readout == 0
    regime = "unstable" if violated else "trivial" if not moved else "feature learning" if at.r == 0 else "kernel"
    kernel = (*(at.start + r == 1 for r in at.r_l), at.readout == 0) if regime == "kernel" else ()
    return Classification(
        regime=regime,
        why=_why(regime, at, violated, step, len(e.std)),
        r=at.r,
        r_l=at.r_l,
        readout=at.readout,
        maximal=(*(r == 0 for r in at.r_l), at.readout == 0),
        readout_starts_maximal=at.output == 1,
        in_kernel=kernel,
        theorem=_theorem(e, regime),
        assumptions=tuple(_unmet(e, at, activation)),
        first_unstable=step,
        violated=violated,
        missing={} if violated else {"first_unstable": "signals are of order one at every step"},
    )


@lru_cache(maxsize=256)
def broken(e: Effective) -> tuple[int | None, tuple[Condition, ...]]:
    """The first step after which signals are not of order one, and why; (None, ()) for stable parametrizations.

    After the second step nothing new can happen: by then the layers below see a readout that has learned.
    """
    stages = (at_start(e), in_training(e, moves(e, first=True)), in_training(e, moves(e)))
    for step, conditions in enumerate(stages):
        if violated := tuple(one for one in conditions if not one.holds):
            return step, violated
    return None, ()


def _why(regime: str, at: Moves, violated: tuple[Condition, ...], step: int | None, last: int) -> str:
    if violated:
        when = "at the start" if step == 0 else f"in step {step}"
        return f"not stable {when}: " + "; ".join(map(str, violated))
    if regime == "trivial":
        return f"the output stands still: a_{last} + b_{last} + r = {at.output} is above 1 and r_{last} = {at.readout} above 0"
    if regime == "kernel":
        return f"features move by n^-{at.r}, which vanishes: r = {at.r} > 0"
    return "features move by order one: r = 0"


def _theorem(e: Effective, regime: str) -> str:
    stable, nontrivial, last = ("3.3", "3.4", {"feature learning": "3.6", "kernel": "3.8"}.get(regime))
    if e.optimizer == "muon":
        return "none is proved: power counting for updates with singular values of order one"
    if not e.by.degree:
        return "TP-IVb, the dynamical dichotomy for entrywise updates (section 2.9)"
    names = [stable] if regime == "unstable" else [stable, nontrivial, *([last] if last else [])]
    return "TP4, Theorem" + "s" * (len(names) > 1) + " " + ", ".join(names)


def _unmet(e: Effective, at: Moves, activation: Any) -> Iterator[str]:
    """What the theorems assume and is not so, sentence by sentence."""
    if activation is not None:
        name = as_activation(activation).name
        if name == "linear":
            yield "phi is linear: features can move while the output follows a fixed kernel, so that the two regimes are no alternative"
        elif name not in PROVED:
            yield f"phi = {name}: proved for tanh and smooth versions of ReLU"
    if e.std[-1] == float("inf"):
        yield "the readout starts at 0 (b = inf): in the first step only the readout moves, and exponents are those from the second step on"
    if e.optimizer == "muon":
        yield "Muon's update is not entrywise: neither TP4 nor TP-IVb covers it"
    if e.by.epsilon:
        faithful = (*(e.std[-1],) * e.hidden, Fraction(0))
        for l, (found, needed) in enumerate(zip(e.epsilon, faithful, strict=True), 1):
            if found != needed and needed != float("inf"):
                way = "epsilon swamps the gradient" if found < needed else "epsilon is without effect"
                yield f"d_{l} - a_{l} = {found}, faithful is {needed}: as n grows, {way} in layer {l}, unless epsilon is 0"
        if e.rate[-1] < e.std[-1] != float("inf"):
            yield "the readout's update is larger than its start, so that gradients grow in training: epsilon, if not 0, loses its effect"


@dataclass(frozen=True, repr=False, kw_only=True)
class Demand(Record):
    """One of the four demands on good training, as `Parametrization.desiderata` lists them; prints as a sentence.

    Attributes
    ----------
    name : str
        "bounded", "nontrivial", "useful" or "maximal".
    sentence : str
        What is demanded.
    met : bool
        Whether it is met.
    fails : tuple of Condition
        The (in)equalities it consists of that do not hold.
    """

    name: str
    sentence: str
    met: bool
    fails: tuple[Condition, ...]

    def __str__(self) -> str:
        return f"{self.sentence}: {'met' if self.met else 'not met, ' + '; '.join(map(str, self.fails))}"


SENTENCES = {
    "bounded": "entries of every hidden representation are of order one",
    "nontrivial": "the output moves by order one in a step",
    "useful": "the move of every representation lowers the loss by order one",
    "maximal": "every layer's own update has its part in the move of what follows it",
}


def demands(e: Effective) -> tuple[Demand, ...]:
    """The four of the richness scale (Karkada), in order."""
    at, L = moves(e), e.hidden
    last = L + 1
    start, training = list(at_start(e)), list(in_training(e, at))
    moved = min(at.output - 1, at.readout)
    parts = {
        "bounded": [*start[:L], *training[:L]],
        "nontrivial": [
            start[L],
            Condition(
                name=f"min(a_{last} + b_{last} + r - 1, r_{last})",
                found=moved,
                needed="0",
                holds=moved == 0,
                otherwise=f"the output moves by {power(moved)}",
            ),
        ],
        "useful": [_useful(at, l) for l in range(L)],
        "maximal": [*(_maximal(at, l) for l in range(L)), _maximal_readout(at, last)],
    }
    out = []
    for name, conditions in parts.items():
        fails = tuple(one for one in conditions if not one.holds)
        out.append(Demand(name=name, sentence=SENTENCES[name], met=not fails, fails=fails))
    return tuple(out)


def _useful(at: Moves, l: int) -> Condition:
    last = len(at.r_l) + 1
    found = at.start + min(at.r_l[: l + 1])
    return Condition(
        name=f"a_{last} + b_{last} + min(r_1 .. r_{l + 1})",
        found=found,
        needed="1",
        holds=found == 1,
        otherwise=f"the move of representation {l + 1} changes the output by {power(found - 1)}",
    )


def _maximal(at: Moves, l: int) -> Condition:
    below = min(at.r_l[: l + 1])
    return Condition(
        name=f"r_{l + 1}",
        found=at.r_l[l],
        needed=f"{below}",
        holds=at.r_l[l] == below,
        otherwise=f"the move of representation {l + 1} comes from layers below alone",
    )


def _maximal_readout(at: Moves, last: int) -> Condition:
    return Condition(
        name=f"r_{last}",
        found=at.readout,
        needed="0",
        holds=at.readout == 0,
        otherwise=f"the readout's own update moves the output by {power(at.readout)}",
    )
