"""Training of a linearised network in closed form: gradient flow, descent, the giant leap, and the Bayesian posterior.

Arrays in, arrays out; A = train, B = test, R = diag(ridge), z outputs, loss (1/2) sum over samples and outputs. With
z_B = z_B(0) + Theta_BA a, training moves one coefficient per sample and output,

    da/dt = -(z_A + R a - y),   a(0) = 0,   so   a(t) = -(Theta~ + R)^{-1} (1 - exp(-(Theta~ + R) t)) (z_A(0) - y).

What the ridge is: with one ridge r for all samples, this is gradient flow (in the metric of the learning-rate tensor) on the
loss + (r/2) |theta - theta(0)|^2 in that metric: weight decay towards the initial parameters. With one per sample, it is
plain flow of a network in which each train sample has an offset of its own, trained at rate r_i from 0, that takes up its
noise: z_i + s_i is fitted to y_i, z is reported. At infinite time both are kernel ridge regression.
Descent with step eta replaces exp(-lambda t) by (1 - eta lambda)^steps. Every method is a weight per eigenvalue, w(lambda).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.errors import InputError, shown
from largen.prediction.divided import rotated
from largen.prediction.factored import ridged
from largen.prediction.spectrum import Factorization, refuse_singular
from largen.types import Array, is_traced, island, namespace

HOWS = ("flow", "bayes", "descent", "newton")


@dataclass(frozen=True)
class Schedule:
    """How to train and for how long. `time` is a number or (T,), in units of eta x steps; `eta`, `steps` only for descent."""

    how: str
    time: Any
    eta: Any = None
    steps: Any = None


def schedule(how: str = "flow", time: Any = np.inf, eta: Any = None, steps: Any = None) -> Schedule:
    """The checked `Schedule`. Raises `InputError` for a time < 0 or NaN, and for arguments that the method has no use for."""
    door.choice(how, "how", HOWS)
    if how == "descent":
        if eta is None or steps is None:
            raise InputError("eta" if eta is None else "steps", "None", 'a step size and a number of steps with how="descent"')
        if not _at_end(time):
            raise InputError("time", shown(time), 'no time with how="descent"', "Its time is eta * steps.")
        eta = door.number(eta, "eta", low=0.0, strict=True)
        steps = _axis(steps, "steps", "an integer >= 0 (inf for the end), or an array of them", whole=True)
        return Schedule(how, steps * eta, eta, steps)
    for name, value in (("eta", eta), ("steps", steps)):
        if value is not None:
            fix = "Flow takes time=eta * steps." if how == "flow" else ""
            raise InputError(name, shown(value), f'no {name} with how="{how}" (only how="descent" takes it)', fix)
    time = _axis(time, "time", "a number >= 0 (inf allowed), or an array of them")
    if how != "flow" and not is_traced(time) and not _at_end(time):
        raise InputError("time", shown(time), f'no time with how="{how}": it is at its end at once')
    return Schedule(how, time)


def _at_end(time: Any) -> bool:
    """Whether a time is the number infinity."""
    return isinstance(time, (float, np.floating)) and time == np.inf


def _axis(value: Any, name: str, need: str, whole: bool = False) -> Any:
    """A number or an array (T,) of numbers >= 0, infinity allowed; `whole`: no fractions."""
    if is_traced(value):
        return value
    out = door.plain(value, name, need)
    if out.dtype == np.bool_ or out.ndim > 1 or out.size == 0:
        raise InputError(name, shown(value), need)
    out = np.asarray(out, dtype=float)
    if np.isnan(out).any() or (out < 0).any() or (whole and not (out == np.round(out)).all()):
        raise InputError(name, shown(value), need)
    return out if out.ndim else float(out)


def weights(f: Factorization, plan: Schedule, outputs: int = 1) -> Array:
    """w(lambda) per eigenvalue, (n,) or (T, n): (1 - exp(-lambda t))/lambda, (1 - (1 - eta lambda)^steps)/lambda or 1/lambda; of a traced
    kernel on the diagonal of matrices, (n, n) or (T, n, n).

    Exact to rounding at any lambda, 0 included (where w = t). Raises `SingularKernelError` where infinite time is not defined
    and `InputError` for a step size above 2/lambda_max, with which descent diverges.
    """
    if not is_traced(plan.time, f.values):
        refuse_singular(f, float(np.max(plan.time)), outputs=outputs)
    endless = not is_traced(plan.time) and np.isinf(np.max(plan.time))
    most = 2 * (1 - 4 * f.eps) if endless else 2 * (1 + 4 * f.eps)  # at the edge itself the last mode swings for ever
    if plan.eta is not None and not is_traced(plan.eta, f.largest) and plan.eta * f.largest > most:
        fix = "lg.max_learning_rate(theta) gives the bound (with a ridge: of theta + ridge)."
        raise InputError("eta", f"{plan.eta:g}, with which descent diverges", f"at most 2/lambda_max = {2 / f.largest:.6g}", fix)
    if f.matrix is not None:
        return _differentiable(f, plan)
    w = decayed(f.values, plan)
    if not is_traced(w, plan.time):
        refuse_singular(f, float(np.max(plan.time)), w, outputs)
    return w


def decayed(eigenvalues: Array, plan: Schedule) -> Array:
    """w(lambda) of eigenvalues >= 0 (..., n), with the times before the last axis, unchecked; t at 0."""
    xp = namespace(eigenvalues, plan.time, plan.eta)
    with island(eigenvalues):
        values, dtype = xp.asarray(eigenvalues), eigenvalues.dtype
        time = xp.asarray(plan.time, dtype=dtype)[..., None]
        positive = values > 0
        safe = xp.where(positive, values, 1)
        if plan.steps is None:
            done = -xp.expm1(-safe * time)
        else:
            rate, steps = safe * plan.eta, xp.asarray(plan.steps, dtype=dtype)[..., None]
            small = rate < 0.5
            done = xp.where(small, -xp.expm1(steps * xp.log1p(-xp.where(small, rate, 0.5))), 1 - (1 - rate) ** steps)
        return xp.where(positive, done / safe, time)


def _differentiable(f: Factorization, plan: Schedule) -> Array:
    """The weights of a traced kernel in the basis of its eigenvectors, with their derivatives in the kernel."""
    dtype = f.values.dtype
    time, steps = (None if v is None else jnp.asarray(v, dtype)[..., None, None] for v in (plan.time, plan.steps))
    eta = None if plan.eta is None else jnp.asarray(plan.eta, dtype)
    return rotated(f.matrix, f.basis, jax.lax.stop_gradient(f.values), (time, eta, steps))


def mean(f: Factorization, w: Array, theta_BA: Any, residual: Array) -> Array:
    """Theta_BA w(Theta~ + R) residual, (m, o) or (T, m, o), for residual (n, o): y for the ensemble, y - z_A(0) for one network. Of
    Theta_BA, an array or any operator, no more is asked than a product."""
    return theta_BA @ f.applied(w, residual)


def stepped(theta: np.ndarray, residual: np.ndarray, eta: float, at: Sequence[int]) -> np.ndarray:
    """Theta w(Theta_AA) residual, (k, m), of one network after the steps `at`, in increasing order: as `mean`, by steps of one
    coefficient per train row, da = -eta (z - y), which for few steps of many rows takes a fifth of an eigendecomposition. `theta`
    (m, n), the train rows first; residual (n,) = y - z_A(0)."""
    inside, kept = np.ascontiguousarray(theta[: len(residual)]), []
    a = np.zeros_like(residual)
    for step in range(at[-1] + 1):
        if step in at:
            kept.append(a)
        a = a + np.asarray(eta, a.dtype) * (residual - inside @ a)
    return np.stack(kept) @ theta.T


def covariance(f: Factorization, w: Array, theta_BA: Array, K_AA: Array, K_BA: Array, K_BB: Array, error: Any = 0.0) -> Array:
    """Covariance of the trained outputs over initialisations, (m, m) or (T, m, m), the same for each output (PDLT 10.41); for a K_BB that
    is its diagonal alone, (m,), the variances, (m,) or (T, m).

    K_BB - R_t K_AB - K_BA R_t^T + R_t K_AA R_t^T with R_t = Theta_BA w(Theta~ + R), K the prior covariance of the outputs: that of
    z_B - R_t z_A, which is none the less positive semidefinite for an R_t that is not exact. `error`: relative error of K.
    """
    R = f.applied(w, theta_BA.mT).mT
    prior = K_BB if K_BB.ndim == 1 else K_BB.diagonal()
    size = namespace(prior).maximum(prior, 0) ** 0.5 + abs(R) @ K_AA.diagonal() ** 0.5
    slack = (4 * (len(K_AA) + 1) * f.eps + error) * size**2
    if K_BB.ndim == 1:
        return nonnegative(K_BB - 2 * (R * K_BA).sum(-1) + ((R @ K_AA) * R).sum(-1), slack)
    cross = R @ K_BA.T
    out = K_BB - cross - cross.mT + R @ K_AA @ R.mT
    return lifted((out + out.mT) / 2, slack)


def posterior_covariance(f: Factorization, w: Array, K_AA: Array, ridge: Any, K_BA: Array, K_BB: Array, error: Any = 0.0) -> Array:
    """K_BB - K_BA (K_AA + R)^{-1} K_AB, (m, m), of the noiseless function (PDLT 6.57); f is that of K_AA + R, w = 1/lambda. For a K_BB
    (m,), its diagonal alone, (m,).

    As the covariance of z_B - R_inf (z_A + noise), whose rounding is not amplified by the condition of K_AA + R.
    """
    return covariance(f, w, K_BA, ridged(K_AA, ridge), K_BA, K_BB, error)


def nonnegative(variance: Array, slack: Any) -> Array:
    """Variances (..., m), of which those below 0 by up to `slack` (..., m), which is rounding, are 0. `InputError` for others."""
    if not is_traced(variance, slack) and (variance < -slack).any():
        lowest = float((variance + slack).min())
        got = f"points for which a variance comes out as {float(variance.min()):.3g}, below 0 by {-lowest:.2g} more than rounding"
        raise InputError(
            "X, X_test", got, "a kernel that is a covariance", "Take float64 arrays; if the activation has kinks, declare them."
        )
    return namespace(variance).maximum(variance, 0)


def lifted(cov: Array, slack: Any) -> Array:
    """Covariances (..., m, m) with `nonnegative` variances."""
    variance = cov.diagonal(axis1=-2, axis2=-1)
    lift = nonnegative(variance, slack) - variance
    return cov + lift[..., None] * namespace(cov).eye(cov.shape[-1], dtype=cov.dtype)
