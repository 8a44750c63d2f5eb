"""How sizes scale with the width through steps of training, by counting powers: an evaluation that knows no theorem.

A vector of n entries is a few parts, each with the exponent of the size of its entries: "start" (as drawn), "readout" (along what the
readout's starting weights send back) and "features" (along what its learned weights send back). Sums take the largest exponent. A product
with a matrix as drawn adds n terms of random signs, n^(1/2); a product of two vectors that have a part in common adds n terms of one sign,
n. phi is odd, smooth and bounded, so that entries keep their size, to order one.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

HALF = Fraction(1, 2)
NOTHING = -float("inf")
Number = Any  # a fraction, or -inf
Parts = dict[str, Number]
Seen = list[tuple[list[Parts], list[Parts]]]


def largest(*exponents: Number) -> Number:
    return max(exponents, default=NOTHING)


def plus(one: Parts, two: Parts) -> Parts:
    return {kind: largest(one.get(kind, NOTHING), two.get(kind, NOTHING)) for kind in one | two}


def times(parts: Parts, power: Number) -> Parts:
    return {kind: size + power if power != NOTHING else NOTHING for kind, size in parts.items()}


def size(parts: Parts) -> Number:
    return largest(*parts.values())


@dataclass
class Step:
    """Exponents after a step: changes of every preactivation, of what its own update adds, and of the output."""

    preactivations: list[Number]
    moves: list[Number]
    updates: list[Number]
    output: Number
    output_moves: Number


def steps(a: list[Fraction], b: list[Fraction], c: list[Fraction], count: int = 3, sign: bool = False) -> list[Step]:
    """Of a network with one first, some hidden and one readout layer, through `count` steps; stops after the first that is not stable.

    `sign`: updates are signs of the gradient (their outer products have the same signs, so that they add up alike).
    """
    L = len(a) - 1
    std = [x + y for x, y in zip(a, b, strict=True)]
    seen: Seen = []  # of each step: (delta by layer, x by layer), where x[0] are the inputs
    out: list[Step] = []
    for _ in range(count + 1):
        x: list[Parts] = [{"start": Fraction(0)}]
        own, moved, whole = list[Number](), list[Number](), list[Number]()
        for l in range(L):
            width = HALF if l else Fraction(0)
            fixed = {"start": width - std[l] + x[l]["start"]}
            below = {kind: width - std[l] + e for kind, e in x[l].items() if kind != "start"} if l else {}
            mine: Parts = {}
            for delta, xs in seen:
                overlap = (1 + size(xs[l]) + size(x[l])) if l else Fraction(0)
                mine = plus(mine, times(update(delta[l], size(xs[l]), sign, -c[l] - a[l] * (1 if sign else 2), l == 0, overlap), 0))
            change = plus(below, mine)
            own.append(size(mine))
            moved.append(size(change))
            h = plus(fixed, change)
            whole.append(size(h))
            x.append({kind: e if size(h) <= 0 else e - size(h) for kind, e in h.items()})
        drawn = HALF - std[L] + x[L]["start"]
        change = largest(
            *(1 - std[L] + e if kind == "readout" else HALF - std[L] + e for kind, e in x[L].items() if kind != "start"),
            *(1 + readout_entry(xs[L], sign, a[L], c[L]) + size(x[L]) for _, xs in seen),
        )
        out.append(Step(whole, moved, own, largest(drawn, change), change))
        if any(e > 0 for e in whole) or largest(drawn, change) > 0 or any(e < 0 for e in whole):
            return out
        back = {"readout": -std[L], "features": largest(*(readout_entry(xs[L], sign, a[L], c[L]) for _, xs in seen))}
        deltas = [back]
        for l in range(L - 1, 0, -1):
            through = times(back, HALF - std[l])
            for delta, xs in seen:
                entry = -c[l] - a[l] + (0 if sign else -a[l] + size(delta[l]) + size(xs[l]))
                through = plus(through, {"features": entry + 1 + size(back) if size(delta[l]) != NOTHING else NOTHING})
            back = through
            deltas.insert(0, back)
        seen.append((deltas, x))
    return out


def update(delta: Parts, x_size: Number, sign: bool, rate: Number, first: bool, overlap: Number) -> Parts:
    """What one update of a layer adds to its preactivation, by parts of the gradient that came back."""
    if size(delta) == NOTHING:
        return {}
    if sign:  # entries of order one along the largest part
        terms = Fraction(0) if first else 1 + (overlap - 1 - x_size)
        return {kind: rate + terms + (e - size(delta)) for kind, e in delta.items()}
    return {kind: rate + e + (Fraction(0) if first else overlap) for kind, e in delta.items()}


def readout_entry(x: Parts, sign: bool, a: Number, c: Number) -> Number:
    """The size of the readout's entries that one step adds."""
    return -c - a + (0 if sign else -a + size(x))


def regime(path: list[Step]) -> tuple[str, int | None]:
    """By the sizes alone: (regime, first unstable step or None)."""
    for t, step in enumerate(path):
        vanish = any(e < 0 for e in step.preactivations)
        if vanish or any(e > 0 for e in step.preactivations) or step.output > 0:
            return "unstable", t
    if all(step.output_moves < 0 for step in path[1:]):
        return "trivial", None
    return ("feature learning" if any(step.moves[-1] == 0 for step in path[1:]) else "kernel"), None
