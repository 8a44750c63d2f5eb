"""What follows from which demand; gauges; presets; and what is refused."""

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.errors import InputError

P = lg.Parametrization
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "signsgd", "muon")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_four_demands_leave_one_exponent(optimizer: str) -> None:
    found = lg.scaling.derive(hidden=2, optimizer=optimizer)
    assert found.free == 1
    assert found.bounds["r 1"] == found.bounds["r 2"] == (0, HALF)
    assert found.bounds["readout std"] == (HALF, 1)
    ends = [found.family(0), found.maximal]
    for name, (low, high) in found.bounds.items():
        if name.startswith("rate"):
            assert {low, high} == {p.effective().rate[int(name[5:]) - 1] for p in ends}, name
    for richness in (0, Fraction(1, 10), QUARTER, HALF):
        p = found.family(richness)
        assert all(demand.met for demand in p.desiderata())
        assert p.classify().regime == ("feature learning" if richness == HALF else "kernel")
        assert p.classify().r == HALF - richness


def test_every_point_that_meets_the_demands_is_of_the_family() -> None:
    """Random points of the stable polyhedron: the demands are met exactly on the line."""
    draw, met = random.Random(0), 0
    for _ in range(3000):
        s = Fraction(draw.randint(0, 4), 8)
        moved = [s + draw.choice((0, 0, 0, QUARTER)) for _ in range(2)]
        start, readout = 1 - s + draw.choice((0, 0, 0, QUARTER, -QUARTER)), draw.choice((0, 0, 0, QUARTER))
        size = min(start, 1 + readout)
        rate = (moved[0] - size, moved[1] - size + 1, 1 + readout)
        p = P(a=[0, 0, 0], b=[0, HALF, start], c=rate)
        good = all(demand.met for demand in p.desiderata())
        assert good == (moved == [1 - start] * 2 and readout == 0 and HALF <= start <= 1), p
        met += good
        if good:
            assert p.equivalent(P.uniform(2, 1 - start))
    assert met > 100


def test_fewer_demands_leave_more() -> None:
    wanted = (("bounded",), ("bounded", "nontrivial"), ("bounded", "nontrivial", "useful"), lg.scaling.derive(2).require)
    free = [lg.scaling.derive(2, require=names).free for names in wanted]
    assert free == sorted(free, reverse=True) and free[0] == 4 and free[-1] == 1
    with pytest.raises(InputError, match="Add useful, maximal"):
        lg.scaling.derive(2, require=wanted[1]).family(0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("gauge", ["layer rates", "unit readout", "rescaling", "one rate"])
def test_gauges_are_the_same_dynamics(optimizer: str, gauge: str) -> None:
    """Prefactors move with the gauge too."""
    base = P.richness(3, QUARTER, gamma=3.0, optimizer=optimizer)
    other = P.richness(3, QUARTER, gamma=3.0, optimizer=optimizer, gauge=gauge)
    assert other.equivalent(base) and base.equivalent(other.gauge([1, "1/3", -2, 0.25]))
    assert not base.equivalent(P.richness(3, QUARTER, gamma=2.0, optimizer=optimizer, gauge=gauge))
    if gauge in ("one rate", "rescaling"):
        assert optimizer in ("adam", "adamw", "signsgd", "muon") or len({*other.c}) == 1
    if gauge == "rescaling":
        assert other.b == (0,) * 4
        assert all(std == pytest.approx(1) for _, std, _ in other.prefactors)
    assert (other.a == (0,) * 4) == (gauge == "layer rates")


def test_the_blogs_table() -> None:
    """S1 of the digest, 2.1: every gauge at richness 1/4, SGD; the rescaling gauge has one global rate."""
    q = QUARTER
    layer, one, rescaling = (P.richness(2, q, gamma=2.0, gauge=g) for g in ("layer rates", "one rate", "rescaling"))
    assert (layer.b, layer.c) == ((0, HALF, HALF + q), (-2 * q, 1 - 2 * q, 1))
    assert (one.a, one.b, one.c) == ((-q, HALF - q, HALF), (q, q, q), (0, 0, 0))
    assert (rescaling.a, rescaling.c) == ((0, HALF, HALF + q), (-2 * q,) * 3)
    assert rescaling.prefactors == ((1.0, 1.0, 4.0), (1.0, 1.0, 4.0), (0.5, 1.0, 4.0))


def test_abcd_of_the_adam_table() -> None:
    """TP-IVb's SP, NTP and muP, a, b, c, d by layer."""
    rows = {
        "standard": [(0, 0, 0), (0, HALF, HALF), (0, 0, 0), (0, 0, 0)],
        "ntk": [(0, HALF, HALF), (0, 0, 0), (HALF, 1, HALF), (HALF, 1, HALF)],
        "mup": [(0, 0, 1), (0, HALF, 0), (0, 1, 0), (1, 1, 1)],
    }
    printed = {name: P(a=a, b=b, c=c, d=d, optimizer="adam") for name, (a, b, c, d) in rows.items()}
    assert printed["ntk"] == P.ntk(2, optimizer="adam")
    assert printed["mup"] == P.mup(2, optimizer="adam", gauge="unit readout")
    assert not any("epsilon" in one for name in ("ntk", "mup") for one in printed[name].classify().assumptions)
    assert printed["standard"].classify().regime == "unstable"
    blind = P(a=[0, 0, 1], b=[0, HALF, 0], c=[0, 1, 0], d=0, optimizer="adam").classify()
    assert sum("epsilon swamps the gradient" in one for one in blind.assumptions) == 3


def test_standard_with_adam_at_rate_one_over_n() -> None:
    """TP-IVb Remark 2.2.7 calls it stable; the output blows up as n^1/2."""
    found = P.standard(2, c=1, optimizer="adam").classify()
    assert (found.regime, found.first_unstable, found.r) == ("unstable", 1, 0)
    assert [str(one.found) for one in found.violated] == ["1/2"]
    assert "n^1/2" in found.why
    assert P.standard(2, c=1, optimizer="adam", rates="embedding x width").equivalent(P.standard(2, optimizer="adam", rates="per layer"))


def test_logits_of_the_standard_one_after_a_step() -> None:
    """TP4 (13): f_1 - f_0 grows as n^(1-c)."""
    for c in (0, HALF, 1):
        assert P.standard(2, c=c).exponents(1).output_moves == 1 - c
    frozen = P(a=(0, 0, HALF), b=(0, HALF, HALF), c=0)  # logits/sqrt(n)
    assert frozen.classify().r_l == (1, 0)
    assert frozen.exponents(1).moves == (-1, 0)


def test_readouts_that_start_at_zero() -> None:
    p = P(a=[-HALF, 0, HALF], b=[HALF, HALF, float("inf")], c=0)
    found = p.classify()
    assert found.regime == "feature learning" and "starts at 0" in found.assumptions[0]
    assert p.exponents(0).output == -float("inf") and p.exponents(1).moves == (-float("inf"),) * 2
    assert p.exponents(2).moves == (0, 0)


def test_named_failures() -> None:
    assert "layer 1 vanishes as n^-1/2" in P.glorot(3).classify().why
    assert "layer 2 vanishes as n^-1/2" in P.deep_mean_field(3).classify().why


def test_muon_is_said_to_have_no_theorem() -> None:
    found = P.mup(3, optimizer="muon").classify()
    assert found.regime == "feature learning" and "power counting" in found.theorem
    assert P.mup(3, optimizer="muon", gauge="layer rates").c == (-HALF, 0, 0, HALF)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: P.richness(2, 0.6), "richness.*bounded"),
        (lambda: P.richness(2, -0.1), "richness.*nontrivial"),
        (lambda: P.uniform(2, 0.7), "s`: .*nontrivial"),
        (lambda: P(a=[0, 0], b=[0], c=0), "b`: got 1 exponent; .*: 2"),
        (lambda: P(a=[0], b=[0], c=0), "at least two layers"),
        (lambda: P(a=[0, "x"], b=[0, 0], c=0), r"a\[1\]"),
        (lambda: P(a=[0, float("nan")], b=[0, 0], c=0), r"a\[1\]"),
        (lambda: P(a=[0, float("inf")], b=[0, 0], c=0), r"a\[1\]"),
        (lambda: P(a=[0, 0], b=[0, 0], c=0, optimizer="lion"), "optimizer"),
        (lambda: P(a=[0, 0], b=[0, 0], c=0, prefactors=[(1, 1, 0)] * 2), "prefactors"),
        (lambda: P(a=[0, 0], b=[0, 0], c=0, depth=[1, 2, 3]), "depth"),
        (lambda: P.mean_field(2), "rescaling"),
        (lambda: P.mup(2, gauge="stp"), "gauge"),
        (lambda: P.mup(2).gauge([1, 2]), "theta"),
        (lambda: P.mup(2).exponents(-1), "step"),
        (lambda: P.mup(2).classify("swoosh"), "swoosh"),
        (lambda: P.standard(2, c=1, rates="per layer"), "rates"),
        (lambda: P.spectral([]), "widths"),
        (lambda: P.mup(2).equivalent("muP"), "Parametrization"),
        (lambda: lg.scaling.derive(2, require=["useful"]), "bounded"),
        (lambda: lg.scaling.derive(2, require=["bounded", "rich"]), "rich"),
    ],
)
def test_what_is_refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_pictures_have_their_marks_at_their_places(optimizer: str) -> None:
    """Gauge shifts change no colour; feature learning is the edge at muP; off the scale nothing is stable."""
    rich = lg.scaling.picture("richness", 2, optimizer)
    assert (rich.regimes == rich.regimes[:, :1]).all()
    at = {name: int(np.argmin(np.abs(rich.places[0] - place[0]))) for name, place in rich.marks.items()}
    middle = len(rich.places[2]) // 2
    line = rich.regimes[:, 1, middle]
    assert line[at["muP"]] == "feature learning" and {*line[at["NTK"] : at["muP"]]} == {"kernel"}
    assert {*line[: at["NTK"]], *line[at["muP"] + 1 :]} == {"unstable"}
    stable = lg.scaling.picture("stable", 2, optimizer)
    shape = stable.regimes.shape
    for name, place in stable.marks.items():
        i, j = (int(np.argmin(np.abs(axis - x))) for axis, x in zip(stable.places, place, strict=True))
        p = stable.points[i * shape[1] + j]
        assert p.equivalent({"NTK": P.ntk, "muP": P.mup, "standard": P.standard}[name](2, optimizer=optimizer)), name
    fig = lg.figure(stable)
    assert {trace.name for trace in fig.data if trace.showlegend is not False} == {*stable.regimes.ravel().tolist()}
