"""Sizes, correlations, chi_par, chi_perp and gradients of real networks, extrapolated to infinite width, against theory."""

from dataclasses import FrozenInstanceError
from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement import signals
from largen.agreement.statistics import LEVEL, PRECISION, REJECT, jackknife, mean_and_error
from largen.errors import InputError

pytestmark = pytest.mark.slow

X = np.array([[1.0, 0.5, -0.3, 0.8], [0.4, -1.2, 0.9, 0.1], [1.2, 0.6, -0.4, 0.6]])
SMALL = lg.mlp(widths=[8], out=1, activation="tanh", C_W=1.6, C_b=0.1)
NETS = {
    "critical relu": lg.mlp(widths=[8, 8], out=1, activation="relu", C="critical"),
    "residual tanh": lg.resnet_mlp(8, blocks=2, out=1, activation="tanh", skip=0.7, C_W=1.2, C_b=0.1),
    "normalised gelu": lg.resnet_mlp(8, blocks=2, out=1, activation="gelu", skip=0.7, C_W=1.5, C_b=0.1, norm=True),
}


WIDTHS = {"normalised gelu": (16, 32, 64, 128)}  # at 8 the gradient of the first level is too far from its limit
NETWORKS = {"critical relu": 3000, "residual tanh": 6000, "normalised gelu": 3000}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_real_networks_have_the_signals_of_theory(name: str) -> None:
    """Every quantity of every level: within 4 standard errors, known to 3 %, every control that differs refused at 6, powers of n
    that can be seen contain 1."""
    result = lg.check(NETS[name], X, what="signal", networks=NETWORKS[name], widths=WIDTHS.get(name, (8, 16, 32, 64)))
    levels, found = len(result.theory.q), [(c.quantity, c.layer) for c in result.claims]
    assert not result.unjudged
    whole, steps = range(1, levels + 1), range(1, levels)
    assert found == [(n, l) for n in ("K", "c") for l in whole] + [(n, l) for n in ("chi_par", "chi_perp", "gradient") for l in steps]
    for c in result.claims:
        assert abs(c.worst) < LEVEL and c.precision is not None and c.precision <= PRECISION, result
        refused = [k.z for k in c.controls if k.z is not None]
        assert refused and min(map(abs, refused)) > REJECT, result
        assert c.interval is None or c.interval[0] <= 1 <= c.interval[1], result
        assert {r.kind for r in c.reasons} <= {"neighbours"}, result  # of a mean's small deviation; its networks need not show a power


def test_the_chi_of_a_normalised_readout_is_measured_absolutely() -> None:
    """LayerNorm forgets sizes, so chi_par = 0 there: judged in units of the largest chi, not relative to itself."""
    net = NETS["normalised gelu"]
    theory = lg.signal(net, X)
    by, missing = signals.forecast(net, theory, theory)
    assert not missing
    contrast, largest = by["chi_par", 3], np.sqrt((theory.chi_perp**2).mean(1)).max()
    assert contrast.value == pytest.approx(0, abs=1e-9) and contrast.names[0] == "mean"
    assert contrast.values(np.full((1, 3), 0.1))[0, 0] == pytest.approx(0.1 / largest)
    assert "C_W + 10 %" in contrast.missing and contrast.controls == {"chi_par and chi_perp swapped": 1}


@pytest.mark.slow
@pytest.mark.parametrize("told", [False, True])
def test_a_wrong_theory_disagrees(told: bool) -> None:
    """Theory of skip 0.6 against networks of skip 0.7: sizes, both susceptibilities and gradients are refused."""
    net, other = (lg.resnet_mlp(8, blocks=1, out=1, activation="tanh", skip=skip, C_W=1.2, C_b=0.1) for skip in (0.7, 0.6))
    theory = (lambda net, points: lg.signal(other, points)) if told else other
    result = lg.check(net, X, what="signal", networks=1500, theory=theory)
    verdicts = {c.name: c.verdict for c in result.claims}
    assert result.verdict == "disagrees" and verdicts["K 1"] == "agrees"
    assert {verdicts[name] for name in ("K 2", "chi_par 1", "chi_perp 1", "gradient 1")} == {"disagrees"}, result


@pytest.mark.slow
def test_the_record_is_frozen_a_table_and_a_frame() -> None:
    result = lg.check(SMALL, X[:1], what="signal", networks=50, key=jax.random.key(2))
    with pytest.raises(FrozenInstanceError):
        result.verdict = "agrees"  # type: ignore[misc]
    assert [c.quantity for c in result.claims] == ["K", "K", "chi_par", "chi_perp", "gradient"]  # one point has no correlations
    text, frame = repr(result), result.to_frame()
    assert all(word in text for word in ("widths 8, 16, 32, 64", "50 networks", "chi_perp 1", "Verdict: undecided", "would decide"))
    assert frame["name"][2] == "chi_par 1"
    assert {control.name: control.z for control in result.claims[2].controls}["chi_par and chi_perp swapped"] is not None
    assert result.needed is not None and result.needed > 50
    assert lg.check(SMALL, X[:1], what="signal", networks=50, key=jax.random.key(2)).claims == result.claims


def test_what_cannot_be_measured_is_said() -> None:
    """A normalised chain forgets sizes: no change of size arrives after its first normalisation."""
    net = lg.Dense(8) >> lg.LayerNorm() >> lg.Act("tanh") >> lg.Dense(8) >> lg.LayerNorm() >> lg.Act("tanh") >> lg.Dense(1)
    theory = lg.signal(net, X)
    by, missing = signals.forecast(net, theory, theory)
    assert list(missing) == ["chi_par 2"] and "next to nothing" in missing["chi_par 2"]
    assert ("chi_par", 1) in by and ("chi_perp", 2) in by


def test_pseudo_values_have_the_mean_and_error_of_a_ratio() -> None:
    """Against many repetitions: no bias of order 1/N, which the plain ratio has, and the right error."""
    rng, many = np.random.default_rng(0), 40
    a, b = rng.normal(2, 1, (4000, many)), rng.normal(1, 0.3, (4000, many))
    found = [mean_and_error(jackknife(np.divide, x, y)) for x, y in zip(a, b, strict=True)]
    values, errors = np.array(found).T
    plain = a.mean(1) / b.mean(1)
    noise = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - 2) < 4 * noise < plain.mean() - 2 + 3 * noise
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"X": np.zeros((1, 4))}, "points that are 0"),
        ({"X": np.ones((1, 1))}, "one feature"),
        ({"widths": (8, 16, 32)}, "four widths"),
        ({"widths": (8, 16, 24, 32)}, "factor of 8"),
        ({"net": lg.resnet_mlp(8, blocks=1), "widths": "8"}, "widths"),
        ({"net": lg.mlp(widths=[8, 12], out=1), "widths": (2, 4, 8, 17)}, "whole numbers"),
        ({"net": lg.Dense(3)}, "hidden layer"),
        ({"net": lg.Dense(3) >> lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(3))}, "hidden layer"),
        ({"networks": 5}, "networks"),
        ({"theory": lg.mlp(widths=[8, 8], out=1)}, "as many as the network has, 2"),
        ({"theory": lambda net, points: 1.0}, "returns a Signal"),
        ({"key": 3}, "key"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        lg.check(**{"net": SMALL, "X": X, "what": "signal", "networks": 20, **arguments})
