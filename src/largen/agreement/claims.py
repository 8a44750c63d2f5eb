"""Claims: one quantity of theory held against real networks of several widths, and judged. The one judge of the room."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import exits
from largen.agreement.claim import Claim, Control, Reading, Reason
from largen.agreement.contrasts import Contrast
from largen.agreement.statistics import LEVEL, PRECISION, REJECT, Power, extrapolate, limit, mean_and_error, power, smoothed, z_score

ROUNDING = 1e-6  # float32 networks: no mean is known better than this

# Powers of 1/n in which quantities approach the limit, and are fitted. KINKED: trained with a kink. EITHER: of two orders that which knows
# the limit better, for tensors, whose noise is large beside what their second order is.
SMOOTH, KINKED, EITHER = ((1.0, 2.0),), ((0.5, 1.0),), ((1.0,), (1.0, 2.0))
WRONG = ("off", "power")  # reasons to disagree; all others leave a claim undecided
MIXED = "with a kink it falls by a mixture of n^-1/2 and 1/n; judged at infinite width only"


@dataclass(frozen=True)
class Rule:
    """What is asked of a claim: the standard error allowed, relative to its scale; whether a control has to be refused; whether the power
    of its deviation is read; whether errors are smoothed over the widths, for few networks."""

    precision: float = PRECISION
    controls: bool = True
    power: bool = True
    smooth: bool = False


CHECKED = Rule()


@dataclass(frozen=True)
class Series:
    """What was measured of one quantity at one width: the scalars of a contrast; and numbers (networks,) whose mean has to vanish as
    1/n, or None. `rounding`: no scalar is known better.

    `levels`: arrays (networks, k) over independent sets of networks, whose means add up to the quantity.
    """

    levels: tuple[np.ndarray, ...]
    vanishing: np.ndarray | None = None
    rounding: float = ROUNDING

    def summary(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error of the scalars, (k,) each."""
        means, errors = (np.stack(a) for a in zip(*(mean_and_error(level) for level in self.levels), strict=True))
        return means.sum(0), np.sqrt((errors**2).sum(0))


def claim(
    kind: str,
    quantity: str,
    layer: int | str | None,
    widths: Sequence[int],
    found: Sequence[Series],
    by: Contrast,
    orders: Sequence[tuple[float, ...]] = SMOOTH,
    rule: Rule = CHECKED,
    falling: str = "square",
    step: int | None = None,
    modes: tuple[int, int] | None = None,
    theory_error: float = 0.0,
) -> Claim:
    """Judge one quantity measured at several widths, in increasing order. The first direction is that along theory;
    the `orders` of powers of 1/n are fitted; `falling`: what it is that vanishes, where something does.

    "disagrees": a scalar at infinite width is 4 or more standard errors from theory, or the deviation falls with a power whose
    interval misses 1. "undecided": a standard error above the precision, a power that cannot be told from 0 or 2 where there must be one,
    no control, or a control not refused by more than 6 standard errors. Else "agrees".
    """
    counts = tuple(len(series.levels[-1]) for series in found)
    dof, own = sum(n - 1 for n in counts), theory_error / by.scale
    means, errors = (np.stack(a) for a in zip(*(series.summary() for series in found), strict=True))
    if rule.smooth:
        errors = smoothed(widths, [series.levels[-1][:, 0] for series in found])[:, None]
    errors = np.hypot(errors, np.array([series.rounding for series in found])[:, None])
    for values in (means, errors):
        exits.require(values.astype(np.float32), "what networks in float32 measured", wider=False)
    # The largest deviation at the smallest width, relative to the norm of theory's array, and that norm in the unit of every scalar: narrow
    # networks far from theory cannot be extrapolated as well as their standard errors pretend.
    norms = np.linalg.norm(by.rows, axis=1) / np.linalg.norm(by.rows[0])
    s = float((np.abs(means[0]) / norms).max())
    fits = [limit(widths, m, e, orders, s, unit) for m, e, unit in zip(means.T, errors.T, norms, strict=True)]
    tests = [
        Reading(n, f.intercept, f.error, f.truncation, z_score(f.intercept, float(np.hypot(f.error, own)), dof=dof), n in by.controls)
        for n, f in zip(by.names, fits, strict=True)
    ]
    law = Power(None, None, None, None, MIXED if orders == KINKED else "not asked for: judged at infinite width only")
    vanishes = found[0].vanishing is not None
    if vanishes:
        spread, noise = (np.stack(a) for a in zip(*(mean_and_error(s.vanishing) for s in found), strict=True))
        noise = np.hypot(noise, ROUNDING)
        bend = 0.5 if orders == KINKED else 1.0  # between the terms of the expansion; the first is 1/n, with a kink or without
        law = power(widths, spread, noise, bend=bend)
        fit = extrapolate(widths, spread, noise, (1.0, 1.0 + bend), neglected=float(abs(spread[0]) ** (1 + 2 * bend)))
        tests.append(Reading("falling", fit.intercept, fit.error, fit.truncation, z_score(fit.intercept, fit.error, dof=dof)))
    elif rule.power and orders == SMOOTH:
        law = power(widths, means[:, 0], errors[:, 0])
    controls = [Control(n, z_score(fits[i].intercept, fits[i].error, 1.0, dof)) for n, i in by.controls.items()]
    controls += [Control(n, None, {"z": reason}) for n, reason in by.missing.items()]
    reasons, factor = _judge(tests, law, (1.0, 1.0), controls, vanishes, rule)
    return Claim(
        kind=kind,
        quantity=quantity,
        layer=layer,
        step=step,
        modes=modes,
        means=tuple(map(float, by.scale * (by.value + means[:, 0]))),
        errors=tuple(map(float, by.scale * errors[:, 0])),
        theory=by.scale * by.value,
        theory_error=theory_error,
        intercept=by.scale * (by.value + tests[0].value),
        error=by.scale * tests[0].error,
        truncation=by.scale * tests[0].truncation,
        scale=by.scale,
        precision=float(np.hypot(tests[0].error, own)),
        z=tests[0].z,
        worst=max(tests, key=lambda t: abs(t.z)).z,
        falling=falling if vanishes else "mean",
        tests=tuple(tests),
        controls=tuple(controls),
        **_concluded(widths, counts, law, reasons, factor),
    )


def falls(kind: str, quantity: str, widths: Sequence[int], samples: Sequence[np.ndarray], predicted: tuple[float, float]) -> Claim:
    """Judge a size of single networks, samples (networks,) at each width, that theory says vanishes as a power of n `predicted` to lie
    in an interval: by that power alone, whose interval has to meet it and to exclude 0 and 2."""
    errors, means = smoothed(widths, samples), np.array([np.mean(s) for s in samples])
    law = power(widths, means, errors)
    reasons, factor = _judge([], law, predicted, [], True, Rule(controls=False))
    away = 0.0 if law.exponent is None else max(predicted[0] - law.exponent, law.exponent - predicted[1], 0.0)
    z = away / law.error if law.error else 0.0
    made = _concluded(widths, tuple(map(len, samples)), law, reasons, factor)
    made["missing"] |= dict.fromkeys(("intercept", "error", "truncation", "precision"), "judged by its power of n")
    return Claim(
        kind=kind,
        quantity=quantity,
        means=tuple(map(float, means)),
        errors=tuple(map(float, errors)),
        theory=0.0,
        intercept=None,
        error=None,
        truncation=None,
        precision=None,
        z=z,
        worst=z,
        predicted=predicted,
        falling="size",
        **made,
    )


def verdict_of(claims: Sequence[Any], decided: float = 1.0) -> str:
    """The verdict of many claims, or sections: "disagrees" if one does, "agrees" if at least the part `decided` does, else "undecided"."""
    verdicts = [c.verdict for c in claims]
    if "disagrees" in verdicts:
        return "disagrees"
    return "agrees" if verdicts.count("agrees") >= decided * len(verdicts) else "undecided"


def _concluded(widths: Sequence[int], counts: tuple[int, ...], law: Power, reasons: list[Reason], factor: float) -> dict[str, Any]:
    """The fields that follow from the power and the reasons."""
    verdict = "agrees" if not reasons else "disagrees" if any(r.kind in WRONG for r in reasons) else "undecided"
    needed = int(np.ceil(max(counts) * factor)) if verdict == "undecided" and np.isfinite(factor) else None
    missing: dict[str, str] = {"exponent": law.missing, "interval": law.missing} if law.missing else {}
    if needed is None:
        missing["needed"] = "no number of networks would decide it" if verdict == "undecided" else "it is decided"
    interval = None if law.low is None or law.high is None else (law.low, law.high)
    return {
        "widths": tuple(widths),
        "networks": counts,
        "exponent": law.exponent,
        "interval": interval,
        "verdict": verdict,
        "reasons": tuple(reasons),
        "needed": needed,
        "missing": missing,
    }


def _judge(
    tests: list[Reading], law: Power, predicted: tuple[float, float], controls: list[Control], must_fall: bool, rule: Rule
) -> tuple[list[Reason], float]:
    """(why it does not agree, how many times as many networks would decide it)."""
    reasons = [Reason("off", t.name, t.value, t.error, t.z) for t in tests if abs(t.z) >= LEVEL]
    if law.low is not None and law.high is not None and (law.high < predicted[0] or law.low > predicted[1]):
        reasons.append(Reason("power"))
    if reasons:
        return reasons, 1.0
    factors = [1.0]
    for t in tests:
        if not t.control and t.name != "falling" and t.error > rule.precision:  # those are held to a control, and to a power
            factors.append(_more(t, rule.precision))
            reasons.append(Reason("coarse" if np.isfinite(factors[-1]) else "cut", t.name, t.value, t.error, t.z))
    if law.exponent is None and must_fall:
        reasons.append(Reason("no power"))
        factors.append(4.0)
    if law.error is not None and (law.contains(0) or law.contains(2)):
        reasons.append(Reason("neighbours"))
        factors.append((law.error * LEVEL) ** 2 * 1.2)
    there, by_name = [c for c in controls if c.z is not None], {t.name: t for t in tests}
    for c in there:
        if c.z is not None and abs(c.z) <= REJECT:
            reasons.append(Reason("control", c.name, z=c.z))
            t = by_name[c.name]
            factors.append(_more(t, t.error * max(abs(c.z), 1.0) / (1.2 * REJECT)))
    if rule.controls and not there:
        reasons.append(Reason("no control"))
        factors.append(np.inf)
    return reasons, max(factors)


def _more(reading: Reading, wanted: float) -> float:
    """How many times as many networks bring the error down to the one wanted; infinity where it is that of the powers left out."""
    noise = np.sqrt(reading.error**2 - reading.truncation**2)
    return np.inf if reading.truncation > max(wanted, 2 * noise) else (reading.error / wanted) ** 2
