"""`lg.predict(order=1)` for training: tensors of the ensemble from theory, or of one network from networks."""

from dataclasses import replace
from typing import Any

import numpy as np

from largen.errors import InputError
from largen.prediction import flow, memory
from largen.prediction.first_order.ensemble import NEEDED, trained_ensemble
from largen.prediction.first_order.network import trained_network
from largen.prediction.posterior.observed import groups
from largen.prediction.record import LONELY, ONE, WIRED, Prediction, amplified, first_order, said_noise
from largen.prediction.spectrum import Condition, Factorization, condition
from largen.types import Array, is_traced, island, namespace

LARGE = 0.5  # relative size of a correction above which first order is called poor


def stops(plan: flow.Schedule) -> list[float]:
    """Until when to train: times, or numbers of steps. `InputError` for traced ones."""
    name = "time" if plan.steps is None else "steps"
    until = getattr(plan, name)
    if is_traced(until):
        raise InputError(name, "a traced value", f"{name} as numbers with order=1", f"order=0 can be differentiated in {name}.")
    return np.ravel(until).tolist()


def ensemble(net: Any, X: Array, y: Array, X_test: Array, rates: Any, plan: flow.Schedule, ridge: Any) -> Prediction:
    """The ensemble to order 1/n from `lg.corrections` of train and test points together, y (n, o)."""
    from largen.theory.corrections.corrections import corrections

    ends, n, m, xp = stops(plan), len(X), len(X_test), namespace(X, y, X_test)
    memory.require(memory.finite_ensemble(n, m), "X, X_test", f"{n} train and {m} test points at order=1", "Take fewer points, or order=0.")
    with island():
        t = corrections(net, np.concatenate([np.asarray(X, np.float64), np.asarray(X_test)]), rates=rates, tensors=NEEDED)
    parts = groups(net, y)
    found = [[trained_ensemble(t, np.asarray(columns), plan.how, plan.eta, ridge, until) for columns in parts] for until in ends]
    mean = [np.concatenate([one.mean for one in at], axis=1) for at in found]
    cov = [np.concatenate([np.einsum("beii->ibe", one.cov) for one in at]) for at in found]
    first, size = found[0][0], max(one.size for at in found for one in at)
    trusted = _trusted(first.factorization, plan, 1, size, f"too narrow or too deep for first order in 1/{t.width}")
    whole, broken = first_order(_timed([c[0] if len(c) == 1 else c for c in cov], plan), first.prior, amplified(trusted, t.error))
    noise, unsaid = said_noise(plan.how, ridge)
    return Prediction(
        mean=xp.asarray(_timed(mean, plan), dtype=X.dtype),
        cov=xp.asarray(whole, dtype=X.dtype),
        variance=xp.asarray(whole.diagonal(axis1=-2, axis2=-1), dtype=X.dtype),
        initial_variance=xp.asarray(first.prior, dtype=X.dtype),
        time=plan.time,
        how=plan.how,
        source="ensemble of networks to order 1/n (PDLT inf.81-83 solved, at the end inf.155 corrected; covariance by Wick contraction)",
        condition=trusted,
        order=1,
        error=xp.asarray(t.error, dtype=X.dtype),
        noise=noise,
        missing=({"across": WIRED} if parts[0].shape[1] > 1 else {}) | unsaid | broken,
    )


def single(net: Any, params: Any, X: Array, y: Array, X_test: Array, rates: Any, plan: flow.Schedule, ridge: Any) -> Prediction:
    """One given network from its own outputs, NTK, dNTK and ddNTKs."""
    from largen.networks.empirical import empirical_ntk
    from largen.networks.higher import ddntk, dntk
    from largen.networks.outputs import apply

    ends, n, both = stops(plan), len(X), namespace(X).concatenate([X, X_test])
    z = apply(net, params, both)
    second = ddntk(net, params, both, rates=rates)  # first: it refuses kinks
    tensors = empirical_ntk(net, params, both, X, rates=rates), dntk(net, params, both, rates=rates), second.first, second.second
    xp = namespace(z, *tensors)
    found = [trained_network(z, *tensors, xp.asarray(y, dtype=z.dtype), plan.how, plan.eta, ridge, until) for until in ends]
    size: Any = 0.0
    if not is_traced(found[0].linear):
        size = max(_norm(out.dntk + out.ddntk) / max(_norm(out.linear - z[n:]), float(np.finfo(z.dtype).tiny)) for out in found)
    return Prediction(
        mean=_timed([out.outputs for out in found], plan),
        cov=None,
        variance=None,
        initial_variance=None,
        time=plan.time,
        how=plan.how,
        source="one network with its own NTK, dNTK and ddNTKs, error of order 1/n^2 (PDLT inf.81-83 solved, at the end inf.141)",
        condition=_trusted(found[0].factorization, plan, y.shape[1], size, "this network moves too far for second order in its curvature"),
        order=1,
        noise=None,
        missing=dict.fromkeys(LONELY, ONE),
    )


def _norm(values: Any) -> float:
    return float(np.linalg.norm(np.asarray(values)))


def _timed(values: list[Any], plan: flow.Schedule) -> Any:
    """One array, with an axis of times in front if an array of them was asked for."""
    return namespace(*values).stack(values) if np.ndim(plan.time) else values[0]


def _trusted(f: Factorization, plan: flow.Schedule, outputs: int, size: float, why: str) -> Condition:
    """What to trust: rounding, and how large the correction is beside what it corrects."""
    rounding = condition(f, flow.weights(f, plan, outputs))
    if rounding.trust != "good" or is_traced(size) or size <= LARGE:
        return rounding
    return replace(rounding, trust=f"poor: the correction is {size:.2g} times what it corrects: {why}")
