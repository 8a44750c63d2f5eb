"""Claims: one quantity of theory held against real networks of several widths, judged, and said in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from largen.agreement.contrasts import Contrast
from largen.agreement.statistics import LEVEL, PRECISION, REJECT, Power, extrapolate, mean_and_error, power, z_score

ROUNDING = 1e-6  # float32 networks: no mean is known better than this
VERDICTS = ("agrees", "undecided", "disagrees")


@dataclass(frozen=True)
class Reading:
    """One scalar at infinite width: `value` +- `error` where theory says 0, in units of the quantity; `z` = value/error."""

    name: str
    value: float
    error: float
    z: float


@dataclass(frozen=True)
class Control:
    """A wrong theory on the same data. `z`: how many standard errors the measurement is from it; None with the reason in
    `missing` where the control is no different from theory."""

    name: str
    z: float | None
    missing: str = ""


@dataclass(frozen=True)
class Claim:
    """One quantity against theory, in units in which theory is 1 (or `theory`, where it may be near 0).

    `name`, `layer` (None for the output); `widths`, `networks` per width, `means` and `errors` of the projection onto theory per
    width; `intercept` +- `error` at infinite width, `z` = (intercept - theory)/error. `tests`: every scalar that was tested, `worst`
    the largest |z| of them. `exponent` with `interval` (4 standard errors): the power of 1/n with which `falling` falls; None
    with the reason in `missing`. `controls`: what was refused. `verdict`: "agrees", "disagrees" or "undecided"; `sentence` says why;
    `needed`: networks per width that would decide it, None if decided.
    """

    name: str
    layer: int | None
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    means: tuple[float, ...]
    errors: tuple[float, ...]
    intercept: float
    error: float
    z: float
    worst: float
    exponent: float | None
    interval: tuple[float, float] | None
    falling: str
    tests: tuple[Reading, ...]
    controls: tuple[Control, ...]
    verdict: str
    sentence: str
    needed: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    theory: float = 1.0


@dataclass(frozen=True)
class Series:
    """What was measured of one quantity at one width: the scalars of a contrast, and squared distances (networks,) or None.

    `levels`: arrays (networks, k) over independent sets of networks, whose means add up to the quantity.
    """

    levels: tuple[np.ndarray, ...]
    distances: np.ndarray | None = None

    def summary(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error of the scalars, (k,) each."""
        means, errors = (np.stack(a) for a in zip(*(mean_and_error(level) for level in self.levels), strict=True))
        return means.sum(0), np.sqrt((errors**2).sum(0))


SMOOTH, KINKED = (1.0, 2.0), (0.5, 1.0)  # powers of 1/n in which quantities approach the limit; KINKED: trained with a kink


def claim(
    name: str, layer: int | None, widths: Sequence[int], found: Sequence[Series], by: Contrast, powers: tuple[float, float] = SMOOTH
) -> Claim:
    """Judge one quantity measured at several widths, in increasing order. The first direction is that along theory;
    `powers` of 1/n are fitted.

    "disagrees": a scalar at infinite width is 4 or more standard errors from theory, or the deviation falls with a power whose
    interval misses 1. "undecided": a standard error above 3 %, a power that cannot be told from 0 or 2 where there must be one,
    no control, or a control not refused by more than 6 standard errors. Else "agrees".
    """
    counts = tuple(len(series.levels[-1]) for series in found)
    means, errors = (np.stack(a) for a in zip(*(series.summary() for series in found), strict=True))
    errors = np.hypot(errors, ROUNDING)
    fits = [extrapolate(widths, m, e, powers, c) for m, e, c in zip(means.T, errors.T, _neglected(means, by, powers), strict=True)]
    tests = [Reading(n, fit.intercept, fit.error, z_score(fit.intercept, fit.error)) for n, fit in zip(by.names, fits, strict=True)]
    mixed = Power(None, None, None, None, "with a kink it falls by a mixture of n^-1/2 and 1/n; judged at infinite width only")
    law = power(widths, means[:, 0], errors[:, 0]) if powers == SMOOTH else mixed
    falling = "the mean's deviation"
    if found[0].distances is not None:
        falling = "the mean squared deviation of one network"
        spread, noise = (np.stack(a) for a in zip(*(mean_and_error(s.distances) for s in found), strict=True))
        noise = np.hypot(noise, ROUNDING)
        step = powers[1] - powers[0]  # between the terms of the expansion; the first is 1/n, with a kink or without
        law = power(widths, spread, noise, bend=step)
        fit = extrapolate(widths, spread, noise, (1.0, 1.0 + step), neglected=float(spread[0] ** (1 + 2 * step)))
        tests.append(Reading("squared distance", fit.intercept, fit.error, z_score(fit.intercept, fit.error)))
    controls = [Control(n, z_score(fits[i].intercept, fits[i].error, 1.0)) for n, i in by.controls.items()]
    controls += [Control(n, None, reason) for n, reason in by.missing.items()]
    verdict, why, needed = _judge(tests, law, controls, found[0].distances is not None, max(counts))
    worst = max(tests, key=lambda t: abs(t.z))
    held = "of theory at infinite width" if by.value == 1 else f"at infinite width, {by.value:.4f} in theory"
    head = f"{name}{f' of layer {layer}' if layer else ''}: {by.value + tests[0].value:.4f} +- {tests[0].error:.4f} {held}"
    return Claim(
        name=name,
        layer=layer,
        widths=tuple(widths),
        networks=counts,
        means=tuple(map(float, by.value + means[:, 0])),
        errors=tuple(map(float, errors[:, 0])),
        intercept=by.value + tests[0].value,
        error=tests[0].error,
        z=tests[0].z,
        worst=worst.z,
        exponent=law.exponent,
        interval=None if law.low is None or law.high is None else (law.low, law.high),
        falling=falling,
        tests=tuple(tests),
        controls=tuple(controls),
        verdict=verdict,
        sentence=f"{head} (z = {tests[0].z:.1f}); {why}: {verdict}.",
        needed=needed,
        missing=(dict.fromkeys(("exponent", "interval"), law.missing) if law.missing else {})
        | ({"needed": "it is decided, or no number of networks would"} if needed is None else {}),
        theory=by.value,
    )


def _neglected(means: np.ndarray, by: Contrast, powers: tuple[float, float]) -> np.ndarray:
    """The size of the next term, 1/n^p, to expect in every scalar at the smallest width, (k,): s^p, where s is the largest deviation
    there relative to the norm of theory's array, turned into the scalar's own unit. Narrow networks far from theory cannot be
    extrapolated as well as their standard errors pretend."""
    norms = np.linalg.norm(by.rows, axis=1) / np.linalg.norm(by.rows[0])
    return (np.abs(means[0]) / norms).max() ** (2 * powers[1] - powers[0]) * norms


def _judge(tests: list[Reading], law: Power, controls: list[Control], must_fall: bool, networks: int) -> tuple[str, str, int | None]:
    """(verdict, the reasons, networks per width needed to decide)."""
    wrong = [f"{t.name} is {t.value:+.3g} +- {t.error:.2g} off (z = {t.z:.1f})" for t in tests if abs(t.z) >= LEVEL]
    if law.exponent is not None and not law.contains(1):
        wrong.append(f"the deviation falls as n^-{law.exponent:.2f} [{law.low:.2f}, {law.high:.2f}], not as 1/n")
    if wrong:
        return "disagrees", "; ".join(wrong), None
    open_, factors = [], [1.0]
    for t in tests:
        if not t.name.startswith(("towards", "squared")) and t.error > PRECISION:  # those are held to a control, and to a power
            open_.append(f"{t.name} known to {t.error:.1%} only ({PRECISION:.0%} is asked for)")
            factors.append((t.error / PRECISION) ** 2)
    if law.exponent is None and must_fall:
        open_.append("no power of n could be read off")
        factors.append(4.0)
    if law.error is not None and (law.contains(0) or law.contains(2)):
        open_.append(f"the power of n, [{law.low:.2f}, {law.high:.2f}], is not told from its neighbours")
        factors.append((law.error * LEVEL) ** 2 * 1.2)
    there = [c for c in controls if c.z is not None]
    for c in there:
        if c.z is not None and abs(c.z) <= REJECT:
            open_.append(f"the control {c.name} is refused at {abs(c.z):.1f} standard errors only ({REJECT:g} are asked for)")
            factors.append((1.2 * REJECT / max(abs(c.z), 1.0)) ** 2)
    if not there:
        return "undecided", "; ".join([*open_, "no control differs from theory here"]), None
    if open_:
        return "undecided", "; ".join(open_), int(np.ceil(networks * max(factors)))
    falls = f"deviation falls as n^-{law.exponent:.2f} [{law.low:.2f}, {law.high:.2f}]" if law.exponent is not None else law.missing
    refused = ", ".join(f"{c.name} refused at {abs(c.z):.0f}" for c in there if c.z is not None)
    return "agrees", f"{falls}; {refused} standard errors", None
