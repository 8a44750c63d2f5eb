"""How fast real networks learned each eigenmode of theory's NTK."""

import numpy as np

from largen.agreement.study.believed import Belief
from largen.agreement.study.compared import compare, concluded
from largen.agreement.study.measured import Run
from largen.agreement.study.plan import Plan
from largen.agreement.study.records import Modes

REACH = 0.3  # modes with eigenvalue x time above this decay enough to be measured
BINS = 3


def modes(plan: Plan, belief: Belief, runs: list[Run]) -> Modes:
    """Rates by mode at the narrowest and the widest networks; verdicts by thirds of the modes, extrapolated in width.

    The residual of mode k, r = u_k.(z - y), is left at a fraction (1 - eta lambda_k)^s after s steps. The fraction measured
    is sum r(s) r(0) / sum r(0)^2 over networks and outputs, at the recorded s where about 1/e should be left.
    """
    rate = belief.eta * belief.values
    count = max(int(np.sum(rate * belief.at[-1] >= REACH)), min(BINS, len(rate)))
    at = np.asarray(belief.at)
    place = np.array([1 + int(np.argmin(np.abs(np.log(at[1:] * max(r, 1e-300))))) for r in rate[:count]])
    steps = at[place]
    left = (1 - rate[:count]) ** steps
    pairs = [(r.overlap[:, np.arange(count), place], r.overlap[:, :count, 0]) for r in runs]
    claims = []
    for which in np.array_split(np.arange(count), min(BINS, count)):
        # zero in the limit and linear in what is measured, so that no noisy denominator biases it
        samples = [np.mean((now - left * was)[:, which] / was.mean(0)[which], axis=1) for now, was in pairs]
        share = float(np.mean(left[which]))
        some, scale = (int(which[0]) + 1, int(which[-1]) + 1), max(share, 0.1)
        claims.append(compare("modes", "residual", share, plan.widths, [share + s for s in samples], scale, modes=some))
    shown = [0, len(runs) - 1]
    measured = [_rates(*pairs[i], steps, belief.eta) for i in shown]
    return Modes(
        tuple(map(float, belief.values[:count])),
        tuple(map(int, steps)),
        tuple(plan.widths[i] for i in shown),
        tuple(tuple(map(float, m[0])) for m in measured),
        tuple(tuple(map(float, m[1])) for m in measured),
        tuple(claims),
        concluded(claims),
    )


def _rates(now: np.ndarray, was: np.ndarray, steps: np.ndarray, eta: float) -> tuple[np.ndarray, np.ndarray]:
    """Rates (1 - fraction^(1/s))/eta of the pooled fractions, and their jackknife errors over networks; NaN-free."""

    def rates(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        fraction = top / bottom
        root = np.where(steps == 1, fraction, np.maximum(fraction, 1e-12) ** (1 / steps))
        return (1 - root) / eta

    total, base, r = now.sum(0), was.sum(0), len(now)
    without = rates(total - now, base - was)
    return rates(total, base), np.sqrt((r - 1) / r * np.sum((without - without.mean(0)) ** 2, 0))
