"""The study behind the report: honest theory agrees, corrupted theory is found out, and its parts are right."""

import dataclasses

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import REJECT
from largen.agreement.study import believed, plan, study
from largen.agreement.study.compared import compare, concluded, noticed
from largen.agreement.study.finite import Finite
from largen.agreement.study.measured import descent
from largen.agreement.study.records import Study
from largen.architecture.mapping import heavier
from largen.data.files import load
from largen.data.task import Task, make
from largen.errors import InputError
from largen.report import words

SECTIONS = ("signals", "tangent", "curves", "modes", "errors")


NET = lg.mlp(widths=[128, 128], out=10, activation="tanh", C="critical")


def of_digits(seed: int, theory: lg.Serial | None = None) -> Study:
    """A study of a small tanh network on a few digits, all seeds with the same shapes."""
    task = make(load("digits"), 24, 48, seed)
    return study(plan(NET, networks=40, draws=128, seed=seed, points=16), task, theory=theory)


@pytest.mark.slow
def test_honest_theory_agrees() -> None:
    found = of_digits(0)
    assert {name: getattr(found, name).verdict for name in SECTIONS} == dict.fromkeys(SECTIONS, "agrees")
    assert found.verdict == "agrees"


@pytest.mark.slow
def test_corrupted_theory_disagrees() -> None:
    """C_W 20 % too large."""
    found = of_digits(0, heavier(NET, 1.2))
    assert {name: getattr(found, name).verdict for name in SECTIONS} == dict.fromkeys(SECTIONS, "disagrees")
    assert max(abs(c.z) for c in found.claims) > REJECT
    assert {word for word, _ in words.verdicts(found).values()} == {"disagrees"}
    assert all(sentence.startswith("Theory and real networks disagree") for _, sentence in words.verdicts(found).values())
    assert words.headline(found).startswith("Theory and real networks disagree on")


def test_theory_of_losses_is_that_of_gaussian_outputs() -> None:
    rng = np.random.default_rng(0)
    root, mean, y = rng.normal(size=(3, 3)) / 2, rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    average, spread = believed.loss(mean, root @ root.T, y)
    draws = mean + np.einsum("ab,sbi->sai", root, rng.normal(size=(200_000, 3, 2)))
    losses = 0.5 * np.sum((draws - y) ** 2, (1, 2)) / 3
    assert abs(losses.mean() - average) < 4 * losses.std() / np.sqrt(len(losses))
    assert abs(losses.std() / spread - 1) < 0.02


def test_scores_of_true_theories_are_normal() -> None:
    rng = np.random.default_rng(0)
    widths, many = (16, 32, 64, 128), (24, 24, 12, 6)
    z = []
    for _ in range(400):
        samples = [1 + 3 / n - 20 / n**2 + rng.normal(size=r) * n**-0.5 for n, r in zip(widths, many, strict=True)]
        z.append(compare("signals", "size", 1.0, widths, samples).z)
    assert max(map(abs, z)) < 4
    assert 0.6 < np.std(z) < 1.15  # the extrapolation widens its error where the fit is poor: not above normal
    wrong = [1.2 + rng.normal(size=r) * 0.1 * n**-0.5 for n, r in zip(widths, many, strict=True)]
    assert compare("signals", "size", 1.0, widths, wrong).verdict == "disagrees"


def test_a_section_that_would_notice_only_huge_differences_is_undecided() -> None:
    rng, widths = np.random.default_rng(0), (16, 32, 64, 128)
    fine, coarse = (compare("errors", "spread", 1.0, widths, [1 + sd * rng.normal(size=40) for _ in widths]) for sd in (0.01, 5.0))
    assert (fine.verdict, coarse.verdict) == ("agrees", "undecided")
    assert noticed((fine, coarse)) > 1 and concluded((fine, coarse)) == "undecided"
    assert concluded((fine, fine, coarse)) == "agrees"


def left_out(phi: np.ndarray, y: np.ndarray, eta: float, steps: int) -> float:
    """The squared error at every point of linear networks started at 0 that were trained on all the others, by the rule that replaces a
    point's target by what the others say of it."""
    S = np.eye(len(y)) - np.linalg.matrix_power(np.eye(len(y)) - eta * phi, steps)
    return float(np.mean(((y - S @ y) / (1 - np.diag(S))) ** 2))


def test_training_goes_on_as_long_as_it_pays() -> None:
    """Points on a circle, of which each sees the same: generalised cross-validation is cross-validation. A readout so small that nothing is
    there at the start, a target of one frequency, and noise."""
    at = 2 * np.pi * np.arange(24) / 24
    X = np.sqrt(2) * np.stack([np.cos(at), np.sin(at)], 1)
    net = lg.mlp(widths=[64, 64], out=1, activation="relu", C_W=[2.0, 2.0, 1e-9])
    for noise in (0.0, 0.3, 3.0):
        y = (np.cos(3 * at) + noise * np.random.default_rng(0).normal(size=24))[:, None]
        task = Task("circle", "regression", X, y, X[:4] + 0.01, y[:4], (), (1.0,), ())
        found = believed.believe(plan(net, points=8), task, net)
        theta = np.asarray(lg.kernel(net, X).ntk)
        errors = [left_out(theta, y[:, 0], found.eta, steps) for steps in range(8, 257)]
        assert found.at[-1] == 8 + next(s for s, e in enumerate(errors) if e <= 1.1 * min(errors))
        assert (found.at[-1] > 30) == (noise < 1)


def test_a_network_that_diverges_names_the_pace() -> None:
    net, X = lg.mlp([6], out=1, activation="linear"), np.eye(3, dtype=np.float32)
    with pytest.raises(InputError, match="`pace`: got 3, at which a real network diverged"):
        descent(net, lg.init(net, 3, jax.random.key(0)), X, X[:, :1], 50.0, (0, 200), X, 3.0)
    with pytest.raises(InputError, match="`y`"):
        descent(net, lg.init(net, 3, jax.random.key(0)), X, X, 0.1, (0, 2), X, 3.0)


def test_how_far_from_infinite_is_said_of_the_fields() -> None:
    known = Finite(6, (8, 16), 0.25, (), 40, 80, 0.05, (0.5, 0.625), (0.25, 0.375), "", ("From width 40 on.",))
    said = " ".join(words.far(known))
    assert all(word in said for word in ("0.25", "From width 40 on.", "0.5 by bias", "0.625 and 0.375"))
    assert "nothing is predicted to order 1/n: too few." in words.far(dataclasses.replace(known, bias=None, missing="too few."))[-1]
    nothing = dataclasses.replace(known, L_over_n=None, bias=None, missing="no chain")
    assert words.far(nothing) == ("Nothing is said of it: no chain",)
