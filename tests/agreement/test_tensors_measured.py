"""Every 1/n tensor of real networks, extrapolated to infinite width, against theory; wrong theories refused on the same networks."""

from functools import cache

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


@cache
def smooth() -> lg.records.CorrectionsCheck:
    return lg.check_corrections(net(), X, jax.random.key(2), (8000, 4000, 2000, 1000), rates=RATES, tensors=PATTERNS)


def judged(out: lg.records.CorrectionsCheck, names: tuple[str, ...], activation: str = "tanh") -> None:
    """Theory within 4 standard errors at every entry, known to 3 % of the tensor; falling as 1/n; C_W + 10 %, swapped rates refused."""
    assert out.widths == (12, 24, 48, 96)
    assert max(out.worst().values()) < LEVEL, out.worst()
    assert all(out.tensors[name].error.max() < PRECISION * np.abs(out.tensors[name].theory).max() for name in names)
    laws = [out.tensors[name].power for name in names]
    assert all(law.contains(1) and not law.contains(0) and not law.contains(2) for law in laws), laws
    louder, swapped = (
        out.worst(lg.corrections(net(activation, scale), X, rates, tensors=tuple(out.tensors)))
        for scale, rates in ((1.1, RATES), (1.0, SWAPPED))
    )
    assert min(louder[name] for name in names) > REJECT, louder
    assert min(swapped[name] for name in names if name != "V") > REJECT, swapped  # V knows no rates


@pytest.mark.slow
def test_patterns_of_outputs() -> None:
    judged(smooth(), PATTERNS)


@pytest.mark.slow
def test_patterns_with_a_kink() -> None:
    """With phi'' = 0 at the kink P is zero to this order, and Q what F gives."""
    out = lg.check_corrections(net("relu"), X, jax.random.key(2), (16000, 8000, 4000, 2000), rates=RATES, tensors=("F", "B", "P", "Q"))
    judged(out, ("F", "B", "Q"), "relu")
    assert not out.tensors["P"].theory.any() and out.tensors["P"].power.missing == "theory is 0"


@pytest.mark.slow
def test_fluctuations_of_metric_and_ntk() -> None:
    out = lg.check_corrections(net(), X, jax.random.key(2), (40000, 30000, 20000, 10000), rates=RATES, tensors=FLUCTUATIONS)
    judged(out, FLUCTUATIONS)


@pytest.mark.slow
def test_means_of_metric_and_ntk() -> None:
    """Hidden widths n and 4n, where corrections to means are four times larger than at equal ones."""
    wide, both = net("relu", first=4, second=16), ("K1", "Theta1")
    out = lg.check_corrections(wide, X, jax.random.key(2), (30000, 20000, 10000, 5000), rates=RATES, tensors=both)
    assert max(out.worst().values()) < LEVEL, out.worst()
    assert out.tensors["K1"].error.max() < PRECISION * np.abs(out.tensors["K1"].theory).max()
    assert out.worst(lg.corrections(net("relu", 1.1, 4, 16), X, RATES, tensors=both))["K1"] > REJECT
    assert out.worst(lg.corrections(wide, X, SWAPPED, tensors=both))["Theta1"] > REJECT
    ratio = out.worst(lg.corrections(net("relu", first=4, second=4), X, RATES, tensors=both))  # no factor n_l/n_{l-1}
    assert min(ratio.values()) > REJECT
