"""The study: run theory and networks on one task and hold one against the other, section by section."""

import itertools
from collections.abc import Callable

import numpy as np

from largen.agreement.claims import falls, verdict_of
from largen.agreement.study import believed, measured
from largen.agreement.study.believed import Belief
from largen.agreement.study.compared import compare, concluded
from largen.agreement.study.errors import errors
from largen.agreement.study.measured import Run, Start, Tell
from largen.agreement.study.modes import modes
from largen.agreement.study.plan import Plan
from largen.agreement.study.records import Control, Curves, Signals, Study, Tangent
from largen.architecture.nodes import Serial
from largen.data.task import Task

CONTROLS = 3  # networks of each width that are trained in their linearisation too
LAZY = (0.5, 1.0)  # powers of 1/n with which what is not kernel training vanishes
ENTRIES = 300  # pairs of points shown in the figure of the NTK


def study(plan: Plan, task: Task, tell: Tell = lambda stage, share: None, theory: Serial | None = None) -> Study:
    """Theory against real networks. `tell(stage, share)` hears what is being done and how much of all work is done. `theory`: a network
    to ask theory about instead, to see a wrong one refused."""
    tell("theory", 0.0)
    belief = believed.believe(plan, task, plan.net if theory is None else theory)
    fits = measured.control_fits(task)
    begun = _costs([d * w for d, w in zip(plan.draws, plan.widths, strict=True)], 0.05, 0.2)
    trained = _costs([r * (w**2 + 64 * w) for r, w in zip(plan.networks, plan.widths, strict=True)], 0.2, 0.97)
    starts, runs = [], []
    for place, width in enumerate(plan.widths):
        tell(f"untrained networks of width {width}", begun[place][0])
        starts.append(measured.start(plan, place, task.X))
    for place, width in enumerate(plan.widths):
        say = _part(tell, f"training networks of width {width}", trained[place])
        runs.append(measured.run(plan, place, task, belief.eta, belief.at, belief.modes, CONTROLS if fits else 0, say))
    tell("verdicts", 0.97)
    sizes, ntk = signals(plan, belief, starts), tangent(plan, belief, starts, runs)
    losses, rates, tests = curves(plan, belief, runs), modes(plan, belief, runs), errors(plan, task, belief, runs)
    return Study(sizes, ntk, losses, rates, tests, verdict_of((sizes, ntk, losses, rates, tests)))


def _costs(costs: list[int], begin: float, end: float) -> list[tuple[float, float]]:
    """Stretches of the progress bar, in proportion to costs."""
    edges = begin + (end - begin) * np.cumsum([0, *costs]) / sum(costs)
    return [(float(a), float(b)) for a, b in itertools.pairwise(edges)]


def _part(tell: Tell, stage: str, stretch: tuple[float, float]) -> Callable[[float], None]:
    tell(stage, stretch[0])
    return lambda share: tell(stage, stretch[0] + share * (stretch[1] - stretch[0]))


def numbers(values: np.ndarray) -> tuple[float, ...]:
    """A vector as plain floats."""
    return tuple(float(v) for v in values)


def rows(parts: list[np.ndarray]) -> tuple[tuple[float, ...], ...]:
    """Vectors as plain floats, one a width."""
    return tuple(numbers(part) for part in parts)


def error(samples: np.ndarray) -> np.ndarray:
    """Standard error of the mean over networks, the first axis."""
    return np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))


def signals(plan: Plan, belief: Belief, starts: list[Start]) -> Signals:
    """Sizes of all layers, correlations of the hidden ones."""
    size = np.einsum("laa->la", belief.K).mean(1)
    cosine = believed.between(believed.correlation(belief.K))
    claims = []
    for l, layer in enumerate(belief.layers):
        claims.append(compare("signals", "size", size[l], plan.widths, [s.size[:, l] for s in starts], layer=layer))
        if l < len(belief.layers) - 1:
            samples, scale = [s.cosine[:, l] for s in starts], max(abs(float(cosine[l])), 0.1)
            claims.append(compare("signals", "correlation", cosine[l], plan.widths, samples, scale, layer=layer))
    return Signals(
        belief.layers,
        plan.points,
        numbers(size),
        numbers(cosine),
        plan.widths,
        plan.draws,
        rows([s.size.mean(0) for s in starts]),
        rows([error(s.size) for s in starts]),
        rows([s.cosine.mean(0)[:-1] for s in starts]),
        rows([error(s.cosine)[:-1] for s in starts]),
        tuple(claims),
        concluded(claims),
    )


def tangent(plan: Plan, belief: Belief, starts: list[Start], runs: list[Run]) -> Tangent:
    """The NTK at initialisation, and how far it moved."""
    diagonal, off = float(np.mean(np.diag(belief.Theta))), float(believed.between(belief.Theta))
    scale, moved = max(abs(off), 0.1 * diagonal), [r.movement for r in runs]
    claims = (
        compare("tangent", "diagonal", diagonal, plan.widths, [s.diagonal for s in starts]),
        compare("tangent", "off-diagonal", off, plan.widths, [s.between for s in starts], scale),
        falls("tangent", "movement", plan.widths, moved, LAZY),
    )
    upper = np.stack(np.triu_indices(plan.points), 1)
    chosen = upper[np.random.default_rng(0).permutation(len(upper))[:ENTRIES]].T
    theory, real, se = (numbers(m[chosen[0], chosen[1]]) for m in (belief.Theta, starts[-1].ntk, starts[-1].ntk_se))
    return Tangent(plan.points, theory, real, se, claims, concluded(claims))


def curves(plan: Plan, belief: Belief, runs: list[Run]) -> Curves:
    """Learning curves inside theory's band, and one network against its own linearisation."""
    k, claims = len(belief.at), []
    for name, theory, samples in (
        ("train loss", belief.train, [r.train for r in runs]),
        ("test loss", belief.test, [r.test for r in runs]),
    ):
        for t in sorted({k // 3, (2 * k) // 3, k - 1}):
            claims.append(compare("curves", name, theory[0][t], plan.widths, [s[:, t] for s in samples], step=belief.at[t]))
    control, missing = None, "one network's NTK with all pairs of outputs would take over 1 GiB"
    if runs[-1].control:
        claims.append(falls("curves", "distance", plan.widths, [r.distance for r in runs], LAZY))
        m = min(measured.CONTROL_TEST, runs[-1].outputs.shape[1])
        train, test, control_train, control_test = (numbers(v) for v in runs[-1].control)
        control, missing = Control(plan.widths[-1], m, train, test, control_train, control_test), ""
    widest = runs[-1]
    away = [np.abs(s - mean) <= 2 * sd for s, (mean, sd) in ((widest.train, belief.train), (widest.test, belief.test))]
    return Curves(
        eta=belief.eta,
        steps=belief.at,
        time=tuple(belief.eta * s for s in belief.at),
        theory_train=numbers(belief.train[0]),
        theory_train_sd=numbers(belief.train[1]),
        theory_test=numbers(belief.test[0]),
        theory_test_sd=numbers(belief.test[1]),
        widths=plan.widths,
        networks=plan.networks,
        train=rows([r.train.mean(0) for r in runs]),
        train_se=rows([error(r.train) for r in runs]),
        test=rows([r.test.mean(0) for r in runs]),
        test_se=rows([error(r.test) for r in runs]),
        train_networks=rows(list(widest.train)),
        test_networks=rows(list(widest.test)),
        inside=float(np.mean(away)),
        claims=tuple(claims),
        control=control,
        missing=missing,
        verdict=concluded(claims),
    )
