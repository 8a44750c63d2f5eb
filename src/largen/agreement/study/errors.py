"""Test errors of kernel machines and of real networks, against what theory says of one network at the same flow time."""

import numpy as np

from largen.agreement.study.believed import DRAWS, Belief
from largen.agreement.study.compared import compare, concluded
from largen.agreement.study.measured import Run
from largen.agreement.study.plan import Plan
from largen.agreement.study.records import Errors
from largen.data.task import Task


def error_of(task: Task, outputs: np.ndarray) -> np.ndarray:
    """Errors (...) of outputs (..., m, o) on the test points: wrong classes, or the root mean square in units of the target."""
    if task.kind == "classification":
        return np.mean(outputs.argmax(-1) != task.y_test.argmax(-1), axis=-1)
    return np.sqrt(np.mean(((outputs - task.y_test) * np.asarray(task.unit)) ** 2, axis=(-1, -2)))


def errors(plan: Plan, task: Task, belief: Belief, runs: list[Run]) -> Errors:
    """Test errors of one network, of the average of several, and of the kernel machines."""
    theory = error_of(task, belief.samples)
    real = [error_of(task, r.outputs) for r in runs]
    several = plan.networks[-1]
    averages = belief.samples[: DRAWS // several * several].reshape(-1, several, *belief.samples.shape[1:]).mean(1)
    constant = error_of(task, np.broadcast_to(task.y.mean(0), task.y_test.shape))
    unit = "fraction wrong" if task.kind == "classification" else "root mean square"
    sampled = float(theory.std(ddof=1) / np.sqrt(DRAWS))
    single = compare("errors", "test error", float(theory.mean()), plan.widths, real, theory_error=sampled)
    # E |z - mean|^2 is the covariance that theory gives trained networks, whatever their mean does to the error
    spread, centre = float(np.mean(belief.last_variance)), belief.last
    away = [np.mean((r.outputs - centre) ** 2, axis=(1, 2)) for r in runs]
    claims = (single, compare("errors", "spread", spread, plan.widths, away))
    return Errors(
        measure=unit,
        nngp=float(error_of(task, belief.nngp)),
        ntk=float(error_of(task, belief.last)),
        ntk_end=float(error_of(task, belief.ntk_end)),
        chance=float(constant),
        draws=DRAWS,
        single=float(theory.mean()),
        single_sd=float(theory.std(ddof=1)),
        ensemble_size=several,
        ensemble=float(error_of(task, averages).mean()),
        ensemble_measured=float(error_of(task, runs[-1].outputs.mean(0))),
        initial_share=belief.initial_share,
        widths=plan.widths,
        networks=plan.networks,
        measured=tuple(float(e.mean()) for e in real),
        measured_se=tuple(float(e.std(ddof=1) / np.sqrt(len(e))) for e in real),
        claims=claims,
        verdict=concluded(claims),
    )
