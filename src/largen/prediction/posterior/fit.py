"""`lg.bayes.fit`: the hyperparameters of a network by maximising its evidence."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door, exits
from largen.architecture.nodes import Serial, network
from largen.display import Columns, Record
from largen.errors import InputError, SingularKernelError
from largen.prediction.posterior.evidence import evidence
from largen.prediction.posterior.search import START, Search, Undefined
from largen.prediction.spectrum import ridges
from largen.types import island

NAMES = ("C_W", "C_b", "ridge")
BOUNDS = (1e-8, 1e4)  # of every hyperparameter; one at the lower bound is 0 for all that the data say
EDGE = 1e-6  # how near its bound, in the logarithm, a hyperparameter counts as at it
CLOSE = 1e-3  # a gradient up to this is that of a maximum


@dataclass(frozen=True, repr=False, kw_only=True)
class Fit(Record):
    """What `lg.bayes.fit` returns.

    Attributes
    ----------
    net : architecture
        With its hyperparameters set.
    ridge : float or array (n,)
        The ridge found.
    evidence : float
        The log evidence there.
    start : float
        The log evidence where the search starts.
    values : dict
        Name -> (k,), k = 1 if shared, else one per affine layer.
    bounded : tuple of str
        The names of those of which a value ended on a bound of the search, 1e-8 or 1e4: the data ask for less or more, and 1e-8 is 0 for
        all that they say.
    errors : dict
        Name -> (k,), standard errors of the *logarithms* of the values, from the curvature of the evidence; NaN where it has none (at a
        bound, or for combinations that the data do not tell, such as C_W of two layers of a ReLU network).
    gradient : float
        The largest derivative left over, in a log hyperparameter away from its bounds.
    converged : bool
        Whether that is below 1e-3.
    steps : int
        The optimiser's.
    message : str
        The optimiser's.
    order : int
        Of the evidence, in 1/n.
    """

    net: Serial
    ridge: Any
    evidence: float
    start: float
    values: dict[str, np.ndarray]
    bounded: tuple[str, ...]
    errors: dict[str, np.ndarray]
    gradient: float
    converged: bool
    steps: int
    message: str
    order: int

    def _columns(self) -> Columns:
        rows = [(name, k, *row) for name in self.values for k, row in enumerate(zip(self.values[name], self.errors[name], strict=True))]
        return dict(zip(("name", "place", "value", "error"), map(list, zip(*rows, strict=True)), strict=True))

    def __repr__(self) -> str:
        end = "converged" if self.converged else f"not converged, a derivative of {self.gradient:.2g} is left ({self.message})"
        head = f"log evidence {self.start:.6g} -> {self.evidence:.6g} in {self.steps} steps, {end}"
        return "\n".join([head, *(f"{name} = {self._said(name)}" for name in self.values)])

    def _said(self, name: str) -> str:
        """The values of a name, each with its factor of error or the bound that it is at."""
        said = []
        for value, error in zip(self.values[name], self.errors[name], strict=True):
            edge = "" if name not in self.bounded else "lower" if _at_bound(value) < 0 else "upper" if _at_bound(value) > 0 else ""
            doubt = (
                f" (at the {edge} bound of the search)" if edge else f" (times or over {np.exp(error):.3g})" if np.isfinite(error) else ""
            )
            said.append(f"{value:.4g}{doubt}")
        return ", ".join(said)


def _at_bound(value: Any) -> Any:
    """-1 at the lower bound, 1 at the upper one, 0 between them."""
    logs = np.log(value)
    return (logs > np.log(BOUNDS[1]) - EDGE) * 1 - (logs < np.log(BOUNDS[0]) + EDGE) * 1


@exits.finite(unseen=("errors",))
def fit(
    net: Any,
    X: Any,
    y: Any,
    ridge: Any = 0.0,
    vary: Iterable[str] | None = None,
    shared: bool = True,
    order: int = 0,
    max_steps: int = 100,
) -> Fit:
    """The hyperparameters that make the data most probable: a (local) maximum of `lg.bayes.evidence` over C_W, C_b and the ridge.

    L-BFGS-B over their logarithms, from the values given (a C_b of 0 from 0.01, a ridge of 0 from 0.01 times the mean square of y),
    between 1e-8 and 1e4 (`.bounded` names those that end there); where a trial has a singular kernel its evidence counts as -inf, and
    steps shrink. The gradient at order 0 is sum_ab M_ab dK_ab, M = (1/2) (y' y'^T - o K~^{-1}) exact, dK by central differences, which
    agrees with `jax.grad` of the evidence to about 1e-7 and has nothing to compile; at order 1 it is central differences of the evidence,
    for k values 2 k times the work of `lg.corrections` a step. In float64 whatever the data.

    Parameters
    ----------
    net, X, y, ridge
        As of `lg.bayes.evidence`; the search starts at the C_W, C_b of `net` and at `ridge`.
    vary : iterable of str, optional
        Which of "C_W", "C_b", "ridge" to fit; default all. A ridge per sample is scaled as a whole.
    shared : bool
        One value for all affine layers (started at their geometric mean, biases at the mean), or one each. Attention keeps its own.
    order : int
        0 or 1, the order of the evidence in 1/n.
    max_steps : int
        Of the optimiser.

    Returns
    -------
    Fit
        The network with the values found, and their standard errors.

    Raises
    ------
    InputError
        As `lg.bayes.evidence` does, for unknown names, traced values, and a C_W of 0 to be fitted.
    SingularKernelError
        For a kernel that is singular where the search starts.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> X = np.linspace(-1, 1, 8)[:, None]
    >>> out = lg.bayes.fit(lg.mlp(widths=[100], activation="erf"), X, np.sin(2 * X[:, 0]), ridge=1e-3, vary="C_W")
    >>> out.evidence > out.start, out.converged, float(out.values["C_W"][0].round(2))
    (True, True, 2.73)
    """
    net, X = network(net), door.inputs(X)
    y, ridge = door.targets(y, len(X)), ridges(ridge, len(X))
    door.concrete((net, X, y, ridge), "net, X, y, ridge")
    names, y, ridge = _names(vary), np.asarray(y, np.float64), np.asarray(ridge, np.float64)[()]
    if "ridge" in names and np.max(ridge) == 0:
        ridge = ridge + START * float(np.mean(y**2) or 1.0)
    problem = Search(net, np.asarray(X, np.float64), y, ridge, names, door.flag(shared, "shared"), order)
    with island():
        return _maximum(problem, door.count(max_steps, "max_steps"))


def _maximum(problem: Search, max_steps: int) -> Fit:
    """The search from its start: L-BFGS-B within a distance `reach`, first none, that is halved from where a trial is undefined."""
    from scipy.optimize import minimize

    low, high = np.log(BOUNDS)
    at = np.clip(problem.start(), low, high)
    net, ridge = problem.place(at)
    before = float(evidence(net, problem.X, problem.y, ridge, problem.order).log)  # says why, if there is none
    try:
        value, slope = problem.both(at)
    except Undefined as start:
        raise SingularKernelError("the evidence has no derivatives where the search starts: give a larger ridge, or another C_W") from start
    reach, steps, message = np.inf, 0, "ABNORMAL: no evidence beyond"
    while reach > EDGE and steps < max_steps:
        trials = [(value, slope, at)]

        def loss(x: np.ndarray, trials: Any = trials) -> tuple[float, np.ndarray]:
            found = problem.both(x)
            trials.append((*found, x.copy()))
            return -found[0], -found[1]

        box = np.stack([np.maximum(at - reach, low), np.minimum(at + reach, high)], 1)
        options = {"maxiter": max_steps - steps, "ftol": 1e-12, "gtol": 1e-6}
        try:
            found = minimize(loss, at, jac=True, method="L-BFGS-B", bounds=box, options=options)
            steps, message = steps + int(found.nit), str(found.message)
            done = not ((np.abs(found.x - at) > reach - EDGE) & (found.x > low + EDGE) & (found.x < high - EDGE)).any()
        except Undefined as trial:
            steps, done = steps + 1, False
            reach = float(np.abs(trial.logs - at).max()) / 2
        value, slope, at = max(trials, key=lambda trial: trial[0])
        if done:
            break
    free = _at_bound(np.exp(at)) == 0
    net, ridge = problem.place(at)
    spread, left = problem.errors(at, free), float(np.abs(slope[free]).max(initial=0.0))
    return Fit(
        net=net,
        ridge=ridge,
        evidence=value,
        start=before,
        values=problem.split(at),
        bounded=tuple(name for name, values in problem.split(at).items() if _at_bound(values).any()),
        errors={name: np.log(v) for name, v in problem.split(spread).items()},
        gradient=left,
        converged=left < CLOSE,
        steps=steps,
        message=message,
        order=problem.order,
    )


def _names(vary: Iterable[str] | None) -> tuple[str, ...]:
    """What to fit, in the order of `NAMES`."""
    if vary is None:
        return NAMES
    asked = door.names((vary,) if isinstance(vary, str) else vary, "vary", NAMES, '("C_W", "ridge")')
    if not asked:
        raise InputError("vary", "no names", "at least one of " + ", ".join(NAMES))
    return tuple(name for name in NAMES if name in asked)
