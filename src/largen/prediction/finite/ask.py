"""`lg.predict(order=1)` for training: tensors of the ensemble from theory, or of one network from networks."""

from dataclasses import replace
from typing import Any

import numpy as np

from largen.errors import InputError
from largen.prediction import flow, memory
from largen.prediction.finite.ensemble import NEEDED, trained_ensemble
from largen.prediction.finite.network import trained_network
from largen.prediction.posterior.observed import groups
from largen.prediction.predict import ONE, WIRED, Prediction
from largen.prediction.spectrum import Condition, Factorization, condition, namespace
from largen.types import Array, is_traced, island

LARGE = 0.5  # relative size of a correction above which first order is called poor


def at_its_end(plan: flow.Schedule) -> flow.Schedule:
    """The plan, if it trains to the end. `InputError` for a finite time or number of steps."""
    if is_traced(plan.time) or np.ndim(plan.time) or plan.time != np.inf:
        name = "time" if plan.steps is None else "steps"
        got = "a traced value" if is_traced(plan.time) else f"{getattr(plan, name)}"
        need = f"{name}=inf with order=1: corrections of order 1/n are those of training to the end"
        raise InputError(name, got, need, f"Leave out time (flow, newton) or say steps=np.inf (descent); order=0 takes any {name}.")
    return plan


def ensemble(net: Any, X: Array, y: Array, X_test: Array, rates: Any, plan: flow.Schedule, ridge: Any) -> Prediction:
    """The ensemble to order 1/n from `lg.corrections` of train and test points together, y (n, o)."""
    from largen.theory.corrections.corrections import corrections

    at_its_end(plan)
    n, m, xp = len(X), len(X_test), namespace(X, y, X_test)
    memory.require(memory.finite_ensemble(n, m), "X, X_test", f"{n} train and {m} test points at order=1", "Take fewer points, or order=0.")
    with island():
        t = corrections(net, np.concatenate([np.asarray(X, np.float64), np.asarray(X_test)]), rates=rates, tensors=NEEDED)
    parts = groups(net, y)
    found = [trained_ensemble(t, np.asarray(columns), plan.how, plan.eta, ridge) for columns in parts]
    cov = np.concatenate([np.einsum("beii->ibe", one.cov) for one in found])
    prior, f = found[0].prior, found[0].factorization
    return Prediction(
        mean=xp.asarray(np.concatenate([one.mean for one in found], axis=1), dtype=X.dtype),
        cov=xp.asarray(cov[0] if len(cov) == 1 else cov, dtype=X.dtype),
        initial_variance=xp.asarray(prior, dtype=X.dtype),
        time=plan.time,
        how=plan.how,
        source="ensemble of networks to order 1/n (PDLT inf.155 corrected; covariance by Wick contraction of inf.154)",
        condition=_trusted(f, max(one.size for one in found), f"too narrow or too deep for first order in 1/{t.width}"),
        order=1,
        missing={"across": WIRED} if parts[0].shape[1] > 1 else {},
    )


def single(net: Any, params: Any, X: Array, y: Array, X_test: Array, rates: Any, plan: flow.Schedule, ridge: Any) -> Prediction:
    """One given network from its own outputs, NTK, dNTK and ddNTKs."""
    from largen.networks.empirical import empirical_ntk
    from largen.networks.higher import empirical_ddntk, empirical_dntk
    from largen.networks.outputs import apply

    at_its_end(plan)
    n, both = len(X), namespace(X).concatenate([X, X_test])
    z = apply(net, params, both)
    second = empirical_ddntk(net, params, both, rates=rates)  # first: it refuses kinks
    tensors = empirical_ntk(net, params, both, X, rates=rates), empirical_dntk(net, params, both, rates=rates), second.first, second.second
    xp = namespace(z, *tensors)
    out = trained_network(z, *tensors, xp.asarray(y, dtype=z.dtype), plan.how, plan.eta, ridge)
    size: Any = 0.0
    if not is_traced(out.linear):
        size = float(_norm(out.dntk + out.ddntk) / max(_norm(out.linear - z[n:]), np.finfo(z.dtype).tiny))
    return Prediction(
        mean=out.outputs,
        cov=None,
        initial_variance=None,
        time=plan.time,
        how=plan.how,
        source="one network with its own NTK, dNTK and ddNTKs, error of order 1/n^2 (PDLT inf.154)",
        condition=_trusted(out.factorization, size, "this network moves too far for second order in its curvature"),
        order=1,
        missing={"cov": ONE, "initial_variance": ONE},
    )


def _norm(values: Any) -> float:
    return float(np.linalg.norm(np.asarray(values)))


def _trusted(f: Factorization, size: float, why: str) -> Condition:
    """What to trust: rounding, and how large the correction is beside what it corrects."""
    rounding = condition(f, 1 / f.values)
    if rounding.trust != "good" or is_traced(size) or size <= LARGE:
        return rounding
    return replace(rounding, trust=f"poor: the correction is {size:.2g} times what it corrects: {why}")
