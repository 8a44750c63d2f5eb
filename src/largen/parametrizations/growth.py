"""How signals scale with the width after each of the first steps of training."""

from dataclasses import dataclass, field
from fractions import Fraction

from largen import door
from largen.display import Columns, Record
from largen.parametrizations.classify import broken, moves
from largen.parametrizations.effective import Effective
from largen.parametrizations.exact import Exponent
from largen.parametrizations.optimizers import HALF

ZERO = Fraction(0)


@dataclass(frozen=True, repr=False, kw_only=True)
class Sizes(Record):
    """What `Parametrization.exponents` returns: quantities scale as n to the power of these exponents; -inf is what is exactly 0.

    Attributes
    ----------
    step : int
        How many steps were made; 0 is the start.
    preactivations : tuple
        Entries of h^l, by hidden layer.
    updates : tuple
        Entries of (W^l - W^l_0) x^{l-1}: what a layer's own update does to its preactivation.
    moves : tuple
        Entries of h^l - h^l_0; that of the layers below included.
    output : exponent
        f.
    output_moves : exponent
        f - f_0.
    missing : dict
        Why a field is None.
    """

    step: int
    preactivations: tuple[Exponent, ...] | None
    updates: tuple[Exponent, ...] | None
    moves: tuple[Exponent, ...] | None
    output: Exponent | None
    output_moves: Exponent | None
    missing: dict[str, str] = field(default_factory=dict)

    def _columns(self) -> Columns:
        if self.preactivations is None or self.updates is None or self.moves is None:
            return {}
        layers = list(range(1, len(self.preactivations) + 1))
        return {"layer": layers, "preactivation": [*self.preactivations], "update": [*self.updates], "move": [*self.moves]}


def sizes(e: Effective, step: int) -> Sizes:
    """Of stable steps and the first that is not; what comes after it is None, with the reason. A bounded phi is assumed."""
    step, (first, violated) = door.count(step, "step", low=0), broken(e)
    if first is not None and step > first:
        why = f"not stable from step {first} on: " + "; ".join(map(str, violated))
        names = ("preactivations", "updates", "moves", "output", "output_moves")
        return Sizes(step=step, missing=dict.fromkeys(names, why), **dict.fromkeys(names))
    start, output = _at_start(e)
    nothing = -float("inf")
    if step == 0:
        still = (nothing,) * e.hidden
        return Sizes(step=0, preactivations=start, updates=still, moves=still, output=output, output_moves=nothing)
    at = moves(e, first=step == 1)
    if e.std[-1] == float("inf") and step == 1:  # no gradient has come through the readout yet
        updates: tuple[Exponent, ...] = (nothing,) * e.hidden
    else:
        updates = tuple(-r for r in at.r_l)
    moved: list[Exponent] = []
    for update in updates:  # a bounded phi hands on at most order one
        moved.append(max(update, min(ZERO, moved[-1])) if moved else update)
    change = max(1 - at.start + min(ZERO, moved[-1]), -at.readout)
    whole = tuple(max(a, b) for a, b in zip(start, moved, strict=True))
    return Sizes(step=step, preactivations=whole, updates=updates, moves=tuple(moved), output=max(output, change), output_moves=change)


def _at_start(e: Effective) -> tuple[tuple[Exponent, ...], Exponent]:
    """Entries of every preactivation, and the output, by the central limit theorem; what saturates is taken as of order one."""
    found: list[Exponent] = []
    size: Exponent = ZERO
    for l, std in enumerate(e.std[:-1]):
        found.append(size + (HALF if l else ZERO) - std)
        size = min(ZERO, found[-1])
    return tuple(found), size + HALF - e.std[-1]
