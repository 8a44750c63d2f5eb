"""From samples of networks at several widths to a number at infinite width with its z, and to a verdict."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from largen.agreement import statistics
from largen.agreement.statistics import LEVEL
from largen.agreement.study.records import AGREES, DISAGREES, UNDECIDED, Comparison, FallOff, Judgement

NOTICE = 0.2  # a comparison decides if it would have noticed a difference of a fifth, as 4 standard errors

Samples = Sequence[np.ndarray]  # one array per width, one number per network


def smooth_errors(widths: Sequence[int], samples: Samples) -> np.ndarray:
    """Standard errors of the means, from variances smoothed over the widths (a power of n): few networks have unsure variances."""
    n, many = np.log(np.asarray(widths, dtype=float)), np.array([len(s) for s in samples], dtype=float)
    variances = np.array([np.var(s, ddof=1) for s in samples])
    floor = max(1e-6 * variances.max(), 1e-24 * max(np.mean(np.square(s)) for s in samples), 1e-300)
    (slope, level) = np.polyfit(n, np.log(np.maximum(variances, floor)), 1, w=np.sqrt(many - 1))
    return np.sqrt(np.exp(level + slope * n) / many)


def truncation(widths: Sequence[int], means: Sequence[float], errors: np.ndarray) -> float:
    """How far the extrapolation may be off because the series in 1/n is cut: what one order less, without the narrowest
    width, would have changed, as far as that is more than the errors explain."""
    weights = []
    for drop in (0, 1):
        n, e = np.asarray(widths, dtype=float)[drop:], errors[drop:]
        solve = np.linalg.pinv((n[0] / n[:, None]) ** np.arange(3 - drop) / e[:, None])[0] / e
        weights.append(np.concatenate([np.zeros(drop), solve]))
    change = weights[0] - weights[1]
    return float(np.sqrt(max((change @ np.asarray(means)) ** 2 - np.sum((change * errors) ** 2), 0.0)))


def normal_score(difference: float, se: float, dof: float) -> float:
    """The z of a normal variable with the tail probability that difference/se has under Student's t."""
    if se == 0:
        return 0.0 if difference == 0 else float(np.sign(difference)) * 1e3
    t = abs(difference) / se
    z = min(float(stats.norm.isf(stats.t.sf(t, dof))), t)
    return float(np.sign(difference)) * (z if np.isfinite(z) else t)


def compare(
    quantity: str,
    unit: str,
    theory: float,
    widths: Sequence[int],
    samples: Sequence[np.ndarray],
    theory_se: float = 0.0,
    scale: float | None = None,
    shift: float = 0.0,
) -> Comparison:
    """Theory's number against networks (one sample array per width). `scale`, default |theory|: what differences are
    relative to; `shift` is added to the samples (for differences measured against a known number)."""
    errors = smooth_errors(widths, samples)
    raw = [float(np.mean(s)) for s in samples]
    end, cut = statistics.extrapolate(widths, raw, errors), truncation(widths, raw, errors)
    value, se = end.intercept + shift, float(np.sqrt(end.error**2 + cut**2 + theory_se**2))
    z = normal_score(value - theory, se, sum(len(s) - 1 for s in samples))
    size = abs(theory) if scale is None else scale
    notices = LEVEL * se / size if size > 0 else float("inf")
    verdict = DISAGREES if abs(z) >= LEVEL else AGREES if notices <= NOTICE else UNDECIDED
    return Comparison(
        quantity=quantity,
        unit=unit,
        theory=float(theory),
        theory_se=float(theory_se),
        limit=value,
        se=end.error,
        truncation=cut,
        z=z,
        scale=float(size),
        notices=notices,
        verdict=verdict,
        widths=tuple(widths),
        networks=tuple(len(s) for s in samples),
        means=tuple(m + shift for m in raw),
        ses=tuple(map(float, errors)),
    )


def fall_off(quantity: str, unit: str, widths: Sequence[int], samples: Samples, predicted: tuple[float, float] = (0.5, 1.0)) -> FallOff:
    """Fit mean ~ n^-power (times a correction of the next order) and hold the power against the predicted interval.

    Disagreement: the interval of the power at 4 standard errors misses the predicted one, or is 0 or less throughout.
    """
    errors, means = smooth_errors(widths, samples), [float(np.mean(s)) for s in samples]
    law = statistics.power(widths, means, errors)
    counts = tuple(len(s) for s in samples)
    fixed = (tuple(widths), counts, tuple(means), tuple(map(float, errors)))
    if law.exponent is None or law.low is None or law.high is None or law.error is None:
        return FallOff(quantity, unit, None, None, None, predicted, 0.0, UNDECIDED, *fixed)
    away = max(predicted[0] - law.exponent, law.exponent - predicted[1], 0.0)
    verdict = DISAGREES if law.high < predicted[0] or law.low > predicted[1] else AGREES if law.low > 0 else UNDECIDED
    z = away / law.error if law.error > 0 else 0.0
    return FallOff(quantity, unit, law.exponent, law.low, law.high, predicted, z, verdict, *fixed)


def judge(entries: Sequence[Comparison | FallOff]) -> Judgement:
    """One verdict of many: "disagrees" if any does, "agrees" if none does and at least half of them were decided."""
    worst = max(entries, key=lambda e: abs(e.z))
    decided = sum(e.verdict != UNDECIDED for e in entries)
    verdict = DISAGREES if any(e.verdict == DISAGREES for e in entries) else AGREES if 2 * decided >= len(entries) else UNDECIDED
    sharp = [e.notices for e in entries if isinstance(e, Comparison)]
    return Judgement(verdict, worst.z, worst.quantity, len(entries), decided, float(np.median(sharp)) if sharp else float("inf"))


def judge_all(parts: Sequence[Judgement]) -> Judgement:
    """The verdict of all sections: "disagrees" if any does, "agrees" if all do."""
    worst = max(parts, key=lambda p: abs(p.worst_z))
    verdicts = {p.verdict for p in parts}
    verdict = DISAGREES if DISAGREES in verdicts else UNDECIDED if UNDECIDED in verdicts else AGREES
    counts = (sum(p.comparisons for p in parts), sum(p.decided for p in parts))
    return Judgement(verdict, worst.worst_z, worst.worst, *counts, float(np.median([p.notices for p in parts])))
