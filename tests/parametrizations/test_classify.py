"""Classification against an evaluation that knows no theorem, and against the tables of the literature."""

import random
from collections.abc import Iterator
from fractions import Fraction

import pytest

import largen as lg
from tests.parametrizations.propagation import regime, steps

P = lg.Parametrization
HALF = Fraction(1, 2)
TABLE = {  # TP4 Table 1: a, b, c, r
    "standard": ((0, 0, 0, 0), (0, HALF, HALF, HALF), 1, HALF),
    "ntk": ((0, HALF, HALF, HALF), (0, 0, 0, 0), 0, HALF),
    "mup": ((-HALF, 0, 0, HALF), (HALF,) * 4, 0, 0),
}


@pytest.mark.parametrize("name", TABLE)
def test_table_1(name: str) -> None:
    a, b, c, r = TABLE[name]
    printed, draw = P(a=a, b=b, c=c), random.Random(0)
    assert getattr(P, name)(hidden=3) == printed
    for _ in range(20):
        shifted = printed.gauge([Fraction(draw.randint(-8, 8), draw.choice((1, 2, 3, 4))) for _ in a])
        assert shifted.equivalent(printed)
        found = shifted.classify("tanh")
        assert (found.r, found.readout, found.assumptions) == (r, 0, ())
        assert found.readout_starts_maximal
        assert found.regime == ("feature learning" if r == 0 else "kernel")


def test_mean_field_is_that_of_the_table() -> None:
    assert P.mean_field() == P(a=(0, 1), b=(0, 0), c=-1)
    assert P.mean_field().classify().regime == "feature learning"


def test_kernel_of_the_standard_one_has_no_first_layer() -> None:
    assert P.standard(hidden=3).classify().in_kernel == (False, True, True, True)
    assert P.ntk(hidden=3).classify().in_kernel == (True,) * 4
    assert P.mup(hidden=3).classify().in_kernel == ()


def test_footnotes_22_and_23() -> None:
    far = 100 + HALF
    printed = P(a=(-HALF, far, HALF), b=(HALF, HALF, HALF), c=-100).classify()
    assert printed.regime == "unstable"  # as printed: a_2 for a_3
    meant = P(a=(-HALF, 0, far), b=(HALF,) * 3, c=-100)
    meant = P(a=meant.a, b=meant.b, c=-100)
    found = meant.classify()
    assert (found.regime, found.r) == ("trivial", 0)
    one = P(a=(-HALF, 0, far), b=(HALF, HALF, HALF - 100), c=0).classify()
    assert one.regime == "feature learning"
    assert (one.readout_starts_maximal, one.maximal[-1]) == (True, False)


def test_one_layer_trained_alone_by_theta_to_infinity() -> None:
    for theta in (1, 10, 1000):
        found = P(a=(theta, 0, theta), b=(-theta, HALF, HALF - theta), c=1).classify()
        assert (found.regime, found.r) == ("kernel", HALF)
        assert found.in_kernel == (False, True, False)


def points(count: int, sign: bool = False) -> Iterator[tuple[list[Fraction], list[Fraction], list[Fraction]]]:
    """Random exponents on, just off and far from the faces of the stable polyhedron: one rate, or one per layer. What is drawn are the
    numbers that the theorems bound; half of the points are moved along one of them, a few start at wrong sizes."""
    draw = random.Random(1)
    grids = [[Fraction(k, q) for k in range(2 * q + 1)] for q in (3, 4, 10)]
    for i in range(count):
        grid, hidden = draw.choice(grids), draw.choice((1, 2, 3))
        std = [HALF * (l > 0) for l in range(hidden)]
        last = HALF + draw.choice((0, HALF, draw.choice(grid) / 4, draw.choice(grid)))
        readout = draw.choice((0, 0, draw.choice(grid)))  # the readout's own update
        least = max(0, 1 - last)
        r = [least + draw.choice((0, 0, draw.choice(grid))) for _ in range(hidden)]
        step = draw.choice((Fraction(1, 100), -Fraction(1, 100), -draw.choice(grid)))
        match draw.randrange(12):
            case 0:
                std[draw.randrange(hidden)] += step
            case 1:
                last += step
            case 2:
                readout += step
            case 3 | 4 | 5:
                r[draw.randrange(hidden)] += step
        size = 0 if sign else min(last, 1 + readout)
        rate = [*(x + 1 - size - (l == 0) for l, x in enumerate(r)), 1 + readout]
        c = [draw.choice(grid)] * (hidden + 1)
        a = [(e - x) / (1 if sign else 2) for e, x in zip(rate, c, strict=True)]  # one rate for all
        if i % 2:
            a = [draw.choice(grid) for _ in a]
            c = [e - x * (1 if sign else 2) for e, x in zip(rate, a, strict=True)]
        yield a, [s - x for s, x in zip([*std, last], a, strict=True)], c


@pytest.mark.parametrize(("optimizer", "count"), [("sgd", 10_000), ("adam", 2_000)])
def test_random_points_as_counted_power_by_power(optimizer: str, count: int) -> None:
    """Every exponent of three steps, and what they amount to."""
    seen: dict[str, int] = dict.fromkeys(("unstable", "trivial", "kernel", "feature learning"), 0)
    sign = optimizer == "adam"
    for a, b, c in points(count, sign):
        p = P(a=a, b=b, c=c, optimizer=optimizer)
        found = p.classify()
        path = steps(a, b, c, sign=sign)
        assert (found.regime, found.first_unstable) == regime(path), p
        for t, step in enumerate(path):
            ours = p.exponents(t)
            assert ours.output_moves == step.output_moves, (p, t)
            assert list(ours.moves or ()) == step.moves, (p, t)
            assert list(ours.updates or ()) == step.updates, (p, t)
            assert (list(ours.preactivations or ()), ours.output) == (step.preactivations, step.output), (p, t)
        seen[found.regime] += 1
    assert min(seen.values()) > 0.05 * count, seen
