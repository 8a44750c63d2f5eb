"""Every 1/n tensor of real networks, extrapolated to infinite width, against theory; wrong theories refused on the same networks."""

from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import LEVEL, PRECISION, REJECT

X = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]])
RATES, SWAPPED = (0.5, 0.8), (0.8, 0.5)
PATTERNS, FLUCTUATIONS = ("F", "B", "P", "Q", "R", "S", "T", "U"), ("V", "D", "A")
SCALES = {"tanh": (1.5, 0.3), "relu": (1.8, 0.1)}  # C_W, C_b


def net(activation: str = "tanh", scale: float = 1.0, first: int = 12, second: int = 12) -> lg.Serial:
    C_W, C_b = SCALES[activation]
    return lg.mlp(widths=[first, second], out=1, activation=activation, C_W=scale * C_W, C_b=C_b)


def measured(wide: lg.Serial, names: tuple[str, ...], networks: tuple[int, ...]) -> lg.records.Check:
    widths = tuple(wide.nodes[0].width * k for k in (1, 2, 4, 8))  # type: ignore[attr-defined]
    return lg.check(wide, X, what="tensors", widths=widths, networks=networks, key=jax.random.key(2), rates=RATES, tensors=names)


def worst(out: lg.records.Check, theory: lg.records.Corrections | None = None) -> dict[str, float]:
    """The largest |z| of the entries of every tensor."""
    return {name: float(np.abs(e.z(None if theory is None else getattr(theory, name))).max()) for name, e in out.entries.items()}


def judged(out: lg.records.Check, names: tuple[str, ...]) -> None:
    """Every claim agrees (known to 3 %; falling as 1/n; C_W + 10 % and swapped rates refused); theory within 4 standard errors at every
    entry, known to 3 % of the tensor."""
    assert [(c.quantity, c.verdict) for c in out.claims] == [(name, "agrees") for name in names] and out.verdict == "agrees", out
    for c in out.claims:
        assert c.interval is not None and c.interval[0] <= 1 <= c.interval[1] and c.interval[0] > 0 and c.interval[1] < 2
        refused = {k.name: abs(k.z) for k in c.controls if k.z is not None}
        assert len(refused) == (1 if c.quantity == "V" else 2) and min(refused.values()) > REJECT, out  # V knows no rates
        entry = out.entries[c.quantity]
        assert entry.error.max() < PRECISION * np.abs(entry.theory).max()
    assert max(worst(out).values()) < LEVEL, worst(out)


@pytest.mark.slow
def test_patterns_of_outputs() -> None:
    judged(measured(net(), PATTERNS, (4000, 2000, 1000, 500)), PATTERNS)


@pytest.mark.slow
def test_patterns_with_a_kink() -> None:
    """With phi'' = 0 at the kink P is zero to this order, and Q what F gives."""
    out = measured(net("relu"), ("F", "B", "P", "Q"), (8000, 4000, 2000, 1000))
    judged(out, ("F", "B", "Q"))
    assert not out.entries["P"].theory.any() and "0 in theory" in out.unjudged["P"]


@pytest.mark.slow
def test_fluctuations_of_metric_and_ntk() -> None:
    judged(measured(net(), FLUCTUATIONS, (40000, 30000, 20000, 10000)), FLUCTUATIONS)


@pytest.mark.slow
def test_means_of_metric_and_ntk() -> None:
    """Hidden widths n and 4n, where corrections to means are four times larger than at equal ones."""
    wide, both = net("relu", first=4, second=16), ("K1", "Theta1")
    out = measured(wide, both, (30000, 20000, 10000, 5000))
    assert max(worst(out).values()) < LEVEL, worst(out)
    controls = {(c.quantity, k.name): abs(k.z or 0) for c in out.claims for k in c.controls}
    assert controls["K1", "C_W + 10 %"] > REJECT and controls["Theta1", "lambda_b and lambda_W swapped"] > REJECT, out
    assert (
        min(worst(out, lg.corrections(net("relu", first=4, second=4), X, RATES, tensors=both)).values()) > REJECT
    )  # no factor n_l/n_{l-1}
    assert out.entries["K1"].error.max() < PRECISION * np.abs(out.entries["K1"].theory).max()


@pytest.mark.slow
def test_a_wrong_theory_disagrees() -> None:
    """C_W + 10 %, as a network; tensors of other rates, as a function of the network."""

    def exchanged(asked: lg.Serial, points: np.ndarray) -> lg.records.Corrections:
        return lg.corrections(asked, points, SWAPPED, tensors=("K", "F", "V"))

    options: dict[str, Any] = {"widths": (12, 24, 48, 96), "networks": 500, "rates": RATES, "tensors": ("F", "V")}
    louder, other = (lg.check(net(), X, what="tensors", theory=theory, **options) for theory in (net(scale=1.1), exchanged))
    assert louder.claims[0].verdict == "disagrees" and louder.claims[0].z < -REJECT
    assert other.claims[0].verdict == "disagrees" and abs(other.claims[1].worst) < LEVEL  # V knows no rates
