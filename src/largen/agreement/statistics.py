"""Statistics of real networks against theory: means over networks, extrapolation to infinite width, powers of the width.

The unit is the network: numbers of one network (its neurons, its outputs, its points) are correlated and are averaged first,
then means and standard errors are taken over independent networks. Every test here is of a *scalar* fixed in advance from
theory alone, never of the largest of many entries, so that a z-score needs no correction for looking around. Many claims are
judged together at |z| < 4: by chance a true one fails with probability 6e-5, fifty of them with 0.3 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.errors import InputError, shown

OWN = 1e-6  # part of what is neglected that is each width's own
LEVEL = 4.0  # standard errors of every interval and every acceptance
REJECT = 6.0  # standard errors at which a control counts as rejected
PRECISION = 0.03  # standard error allowed, relative to the scale of the quantity
POWERS, GRID = np.arange(-100, 401) / 100, 0.01  # candidate powers of 1/n, and their distance
BENDS = np.linspace(-1.0, 1.0, 41)  # candidate sizes of the next order at the smallest width


@dataclass(frozen=True)
class Extrapolation:
    """a + b/n + c/n^2 (or other powers) fitted to means at several widths. `intercept` is a, the value at n = infinity, with its `error`.

    `coefficients` (a, b[, c]); `chi2` and `dof` of the fit. `error` is already multiplied by max(1, sqrt(chi2/dof)): at the
    usual widths (factors of 2) a neglected 1/n^3 term alone then moves a by at most 2.4 of these standard errors. `truncation` is the
    part of it that stands for the powers of 1/n left out, which no number of networks makes smaller.
    """

    intercept: float
    error: float
    truncation: float
    coefficients: tuple[float, ...]
    chi2: float
    dof: int


@dataclass(frozen=True)
class Power:
    """|m(n) - theory| ~ n^-`exponent`, with the interval [`low`, `high`] at 4 standard errors.

    Where the deviation is too small for a power, `exponent`, `low` and `high` are None and `missing` says so. `error` is a
    quarter of half the interval's length.
    """

    exponent: float | None
    low: float | None
    high: float | None
    error: float | None
    missing: str = ""

    def contains(self, power: float) -> bool:
        """Whether the power lies in the interval; False if there is none."""
        return self.low is not None and self.high is not None and self.low <= power <= self.high


def mean_and_error(samples: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over the first axis: one row per independent network, at least two.

    >>> mean, error = mean_and_error([[1.0], [3.0]])
    >>> float(mean[0]), float(error[0])
    (2.0, 1.0)
    """
    values = np.asarray(samples, dtype=float)
    if values.ndim == 0 or len(values) < 2:
        raise InputError("samples", f"shape {values.shape}", "at least two networks along the first axis")
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))


def jackknife(function: Callable[..., np.ndarray], *samples: Any) -> np.ndarray:
    """Pseudo-values of a smooth function of means, one row per network, (networks, ...): their mean is its value without the bias of
    order 1/networks, their standard error that of the value. `samples`: arrays (networks, ...), whose means are the arguments.

    >>> values = jackknife(lambda a, b: a / b, np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    >>> values.round(12)
    array([2., 2., 2.])
    """
    rows = [np.asarray(s, dtype=float) for s in samples]
    many = len(rows[0])
    without = function(*((s.sum(0) - s) / (many - 1) for s in rows))
    return many * function(*(s.mean(0) for s in rows)) - (many - 1) * without


def z_score(value: float, error: float, theory: float = 0.0, dof: float = np.inf) -> float:
    """(value - theory)/error; 0 if both vanish, infinite if only the error does. Of errors estimated with `dof` degrees of freedom it is
    Student's t, and what is returned the z of a normal variable with the same tail probability.

    >>> [round(z_score(1.2, 0.1, 1.0, dof), 3) for dof in (np.inf, 5)]
    [2.0, 1.636]
    """
    from scipy.special import ndtri, stdtr  # slow to import

    gap = value - theory
    if error == 0:
        return 0.0 if gap == 0 else float(np.copysign(np.inf, gap))
    t = float(abs(gap) / error)
    z = t if np.isinf(dof) else min(-float(ndtri(stdtr(dof, -t))), t)
    return float(np.copysign(z if np.isfinite(z) else t, gap))


def smoothed(widths: Sequence[int], samples: Sequence[np.ndarray]) -> np.ndarray:
    """Standard errors of the means of samples, (networks,) at each width, from variances smoothed over the widths (a power of n): those
    of few networks are unsure."""
    n, many = np.log(np.asarray(widths, dtype=float)), np.array([len(s) for s in samples], dtype=float)
    variances = np.array([np.var(s, ddof=1) for s in samples])
    floor = max(1e-6 * variances.max(), 1e-24 * max(np.mean(np.square(s)) for s in samples), 1e-300)
    slope, level = np.polyfit(n, np.log(np.maximum(variances, floor)), 1, w=np.sqrt(many - 1))
    return np.sqrt(np.exp(level + slope * n) / many)


def _series(widths: Any, values: Any, errors: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checked widths, values and errors > 0 of equal length."""
    n, v, e = (np.asarray(a, dtype=float) for a in (widths, values, errors))
    if n.ndim != 1 or v.shape != n.shape or e.shape != n.shape or len(n) < 2:
        raise InputError("widths, values, errors", f"shapes {n.shape}, {v.shape}, {e.shape}", "equally many numbers, at least two")
    if not (np.isfinite(n).all() and np.isfinite(v).all() and np.isfinite(e).all() and (n > 0).all() and (e > 0).all()):
        raise InputError("widths, values, errors", "entries that are not finite, or widths or errors <= 0", "finite numbers")
    return n, v, e


def extrapolate(widths: Any, means: Any, errors: Any, powers: tuple[float, ...] | None = None, neglected: float = 0.0) -> Extrapolation:
    """The weighted least-squares fit m(n) = a + b/n (+ c/n^2) and its value at infinite width.

    `widths`, `means`, `errors` (k,): independent means with standard errors. `powers` of 1/n that are fitted: default (1, 2) from
    four widths on, else (1,). What the next power of 1/n, which is not fitted, can do is guessed in two ways, and the larger is
    part of the error: `neglected`, the size to expect of it at the smallest width (its step is that of the last two powers), enters as a
    normal error of that size, common to all widths; and what the fit of one order less, without the narrowest width, would
    have changed, beyond noise. The second is for whole powers: where a + b/sqrt(n) + c/n is fitted, c is known to be there.
    Raises `InputError` for shapes that do not go together and for errors <= 0.

    >>> fit = extrapolate([8, 16, 32, 64], [1.5, 1.25, 1.125, 1.0625], [0.01] * 4)
    >>> round(fit.intercept, 6), [round(c, 6) + 0.0 for c in fit.coefficients]
    (1.0, [1.0, 4.0, 0.0])
    """
    n, m, e = _series(widths, means, errors)
    powers = ((1.0, 2.0) if len(n) >= 4 else (1.0,)) if powers is None else powers
    if len(powers) >= len(n) or min(powers, default=1.0) <= 0:
        raise InputError("powers", shown(powers), f"numbers > 0, fewer than the widths ({len(n)})")
    unit, steps = n.min(), np.array([0.0, *powers])
    design, after = (unit / n[:, None]) ** steps, (unit / n) ** (2 * steps[-1] - steps[-2:][0])
    own = np.hypot(e, OWN * neglected * after)  # where errors are nothing beside it, what is neglected is not quite common to all
    white = np.linalg.inv(np.linalg.cholesky(np.diag(own**2) + neglected**2 * np.outer(after, after)))
    solve = np.linalg.pinv(white @ design) @ white
    found = solve @ m
    chi2, dof = float(((white @ (m - design @ found)) ** 2).sum()), len(n) - len(steps)
    stretch = max(1.0, np.sqrt(chi2 / dof)) if dof else 1.0
    cut = 0.0
    if len(powers) > 1 and not (steps % 1).any():
        wider = np.arange(len(n)) != n.argmin()
        change = solve[0].copy()
        change[wider] -= np.linalg.pinv(design[wider, :-1] / e[wider, None])[0] / e[wider]
        cut = np.sqrt(max((change @ m) ** 2 - ((change * e) ** 2).sum(), 0.0))
    truncation = float(max(stretch * abs(neglected * (solve[0] @ after)), cut))
    error = float(np.hypot(stretch * np.linalg.norm(solve[0] * e), truncation))
    return Extrapolation(float(found[0]), error, truncation, tuple(map(float, found * unit**steps)), chi2, dof)


def limit(widths: Any, means: Any, errors: Any, orders: Sequence[tuple[float, ...]], s: float, unit: float = 1.0) -> Extrapolation:
    """Of the fits of several orders that which knows the intercept best. Of the next power n^-p of each, s^p is expected, in `unit`s: s is
    the relative deviation from the limit at the smallest width."""
    after = [2 * powers[-1] - (0.0, *powers)[-2] for powers in orders]
    fits = [extrapolate(widths, means, errors, powers, unit * s**p) for powers, p in zip(orders, after, strict=True)]
    return min(fits, key=lambda fit: fit.error)


def power(widths: Any, deviations: Any, errors: Any, bend: float = 1.0) -> Power:
    """The power p with which deviations from theory fall, d(n) = A n^-p exp(B/n^bend), and its interval at 4 standard errors.

    The factor exp(B/n^bend), at most e^(+-1) at the smallest width, stands for all higher orders: without it a 1/n law with a
    1/n^2 term would be fitted by a power above 1 with a deceptively small error. The interval is that of the profile of chi^2
    over p (all p with chi^2 <= min + 16 max(1, chi^2_min/dof)): unlike a line through log|d| it is not biased when d is
    comparable with its error, d may have either sign, and it needs no resampling, since each d(n) is a mean over many
    networks and so nearly Gaussian. `deviations`, `errors` (k,), k >= 4.

    Returns a `Power`; without an exponent where the interval is longer than 2 or leaves [-1, 4], that is where the deviation
    is too small to tell 0 and 2, the neighbours of 1, apart. Raises `InputError` as `extrapolate` does.

    >>> law = power([8, 16, 32, 64], [0.5, 0.25, 0.125, 0.0625], [0.001] * 4)
    >>> round(law.exponent, 2), law.contains(1), law.contains(2)
    (1.0, True, False)
    """
    n, d, e = _series(widths, deviations, errors)
    if len(n) < 4:
        raise InputError("widths", f"{len(n)} widths", "at least four for a power with a correction")
    small = n.min() / n
    shape = small ** POWERS[:, None, None] * np.exp(BENDS[None, :, None] * small**bend) / e
    overlap = (shape @ (d / e)) ** 2 / (shape**2).sum(-1)
    chi2 = (((d / e) ** 2).sum() - overlap).min(1)
    best = int(chi2.argmin())
    inside = POWERS[chi2 <= chi2[best] + LEVEL**2 * max(1.0, chi2[best] / (len(n) - 3))]
    low, high = round(float(inside[0]) - GRID / 2, 3), round(float(inside[-1]) + GRID / 2, 3)
    if low <= POWERS[0] or high >= POWERS[-1] or high - low > 2:
        return Power(None, None, None, None, "the deviation is too small for a power of n; judged at infinite width only")
    return Power(float(POWERS[best]), low, high, (high - low) / (2 * LEVEL))
