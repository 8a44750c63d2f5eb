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

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.errors import InputError
from largen.prediction.divided import rotated
from largen.prediction.spectrum import Factorization, namespace, refuse_singular
from largen.types import Array, is_traced, island

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
        if is_traced(time) or np.ndim(time) or time != np.inf:
            raise InputError("time", repr(time), 'no time with how="descent"', "Its time is eta * steps.")
        eta = door.number(eta, "eta", low=0.0, strict=True)
        steps = _axis(steps, "steps", "an integer >= 0 (inf for the end), or an array of them", whole=True)
        return Schedule(how, steps * eta, eta, steps)
    for name, value in (("eta", eta), ("steps", steps)):
        if value is not None:
            fix = "Flow takes time=eta * steps." if how == "flow" else ""
            raise InputError(name, repr(value), f'no {name} with how="{how}" (only how="descent" takes it)', fix)
    time = _axis(time, "time", "a number >= 0 (inf allowed), or an array of them")
    if how != "flow" and not is_traced(time) and (np.ndim(time) or time != np.inf):
        raise InputError("time", repr(time), f'no time with how="{how}": it is at its end at once')
    return Schedule(how, time)


def _axis(value: Any, name: str, need: str, whole: bool = False) -> Any:
    """A number or an array (T,) of numbers >= 0, infinity allowed; `whole`: no fractions."""
    if is_traced(value):
        return value
    try:
        out = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(name, repr(value), need) from error
    if isinstance(value, (bool, str)) or value is None or out.ndim > 1 or out.size == 0 or np.isnan(out).any() or (out < 0).any():
        raise InputError(name, repr(value), need)
    if whole and not (out == np.round(out)).all():
        raise InputError(name, repr(value), need)
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
    xp = namespace(f.values, plan.time, plan.eta)
    with island(f.values):
        values, dtype = xp.asarray(f.values), f.values.dtype
        time = xp.asarray(plan.time, dtype=dtype)[..., None]
        positive = values > 0
        safe = xp.where(positive, values, 1)
        if plan.steps is None:
            done = -xp.expm1(-safe * time)
        else:
            rate, steps = safe * plan.eta, xp.asarray(plan.steps, dtype=dtype)[..., None]
            small = rate < 0.5
            done = xp.where(small, -xp.expm1(steps * xp.log1p(-xp.where(small, rate, 0.5))), 1 - (1 - rate) ** steps)
        w = xp.where(positive, done / safe, time)
        if not is_traced(w, plan.time):
            refuse_singular(f, float(np.max(plan.time)), w, outputs)
        return w


def _differentiable(f: Factorization, plan: Schedule) -> Array:
    """The weights of a traced kernel in the basis of its eigenvectors, with their derivatives in the kernel."""
    dtype = f.values.dtype
    time, steps = (None if v is None else jnp.asarray(v, dtype)[..., None, None] for v in (plan.time, plan.steps))
    eta = None if plan.eta is None else jnp.asarray(plan.eta, dtype)
    return rotated(f.matrix, _vectors(f), jax.lax.stop_gradient(f.values), (time, eta, steps))


def _vectors(f: Factorization) -> Array:
    """The eigenvectors: of a traced kernel fixed, as derivatives are those of the weights."""
    return f.vectors if f.matrix is None else jax.lax.stop_gradient(f.vectors)


def _weighed(f: Factorization, rows: Array, w: Array) -> Array:
    """Rows (m, n) in the basis of eigenvectors, times the weights: (m, n) or (T, m, n)."""
    return rows * w[..., None, :] if f.matrix is None else rows @ w


def mean(f: Factorization, w: Array, theta_BA: Array, residual: Array) -> Array:
    """Theta_BA w(Theta~ + R) residual, (m, o) or (T, m, o), for residual (n, o): y for the ensemble, y - z_A(0) for one network."""
    along = _vectors(f).T @ residual
    return (theta_BA @ _vectors(f)) @ (w[..., None] * along if f.matrix is None else w @ along)


def covariance(f: Factorization, w: Array, theta_BA: Array, K_AA: Array, K_BA: Array, K_BB: Array) -> Array:
    """Covariance of the trained outputs over initialisations, (m, m) or (T, m, m), the same for each output (PDLT 10.41).

    K_BB - R_t K_AB - K_BA R_t^T + R_t K_AA R_t^T with R_t = Theta_BA w(Theta~ + R), K the prior covariance of the outputs.
    """
    vectors = _vectors(f)
    moved = _weighed(f, theta_BA @ vectors, w)
    cross = moved @ (vectors.T @ K_BA.T)
    out = K_BB - cross - cross.mT + moved @ (vectors.T @ K_AA @ vectors) @ moved.mT
    return (out + out.mT) / 2


def posterior_covariance(f: Factorization, w: Array, K_BA: Array, K_BB: Array) -> Array:
    """K_BB - K_BA (K_AA + R)^{-1} K_AB, (m, m), of the noiseless function (PDLT 6.57); f is that of K_AA + R, w = 1/lambda."""
    half = K_BA @ _vectors(f)
    out = K_BB - _weighed(f, half, w) @ half.T
    return (out + out.T) / 2
