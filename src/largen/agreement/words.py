"""Claims in words, each composed from the fields of the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from largen.display import aligned

if TYPE_CHECKING:
    from largen.agreement.claim import Claim, Reading, Reason

FALLING = {
    "mean": "deviation",
    "square": "mean squared deviation of one network",
    "cumulant": "cumulant",
    "size": "size",
}


def name(c: Claim) -> str:
    """The quantity and where it is."""
    place = "" if c.layer is None else f" {c.layer}"
    when = "" if c.step is None else f" after {c.step} steps"
    which = "" if c.modes is None else f" {'-'.join(map(str, sorted(set(c.modes))))}"
    return f"{c.quantity}{place}{which}{when}"


def direction(reading: Reading) -> str:
    """Along what a scalar was measured."""
    if reading.control:
        return f"towards {reading.name}"
    return {"theory": "along theory", "falling": "what has to vanish"}.get(reading.name, reading.name)


def sentence(c: Claim) -> str:
    """The claim, its verdict and why."""
    if c.intercept is None or c.error is None:
        head = f"{c.name}: {c.means[-1]:.3g} at width {c.widths[-1]}"
    else:
        held = "of theory at infinite width" if c.theory == 1 else f"at infinite width, {c.theory:.4f} in theory"
        head = f"{c.name}: {c.intercept:.4f} +- {c.error:.4f} {held} (z = {c.z:.1f})"
    why = "; ".join(reason(c, r) for r in c.reasons) or "; ".join(part for part in (power(c), refused(c)) if part)
    return f"{head}; {why}: {c.verdict}."


def power(c: Claim) -> str:
    """With which power of n it falls."""
    if c.exponent is None or c.interval is None:
        return c.missing["exponent"]
    return f"{FALLING[c.falling]} falls as n^-{c.exponent:.2f} [{c.interval[0]:.2f}, {c.interval[1]:.2f}]"


def refused(c: Claim) -> str:
    """The controls, and at how many standard errors."""
    there = ", ".join(f"{k.name} refused at {abs(k.z):.0f}" for k in c.controls if k.z is not None)
    return f"{there} standard errors" if there else ""


def reason(c: Claim, why: Reason) -> str:
    """Why the claim does not agree."""
    about = next((direction(t) for t in c.tests if t.name == why.about), why.about)
    low, high = c.predicted
    return {
        "off": f"{about} is {why.value:+.3g} +- {why.error:.2g} off (z = {why.z:.1f})",
        "power": f"{power(c)}, not as {'1/n' if low == high == 1 else f'n^-{low:g} to n^-{high:g}'}",
        "coarse": f"{about} known to {why.error:.1%} only",
        "cut": f"{about} known to {why.error:.1%} only, because of the powers of 1/n left out: wider networks would tell",
        "no power": "no power of n could be read off",
        "neighbours": f"the power of n is not told from its neighbours ({power(c)})",
        "control": f"the control {why.about} is refused at {abs(why.z):.1f} standard errors only",
        "no control": "no control differs from theory here",
    }[why.kind]


def table(claims: Sequence[Claim]) -> list[str]:
    """A head and a row per claim."""
    rows = [("claim", "at n = inf", "s.e.", "worst |z|", "power of 1/n", "controls refused at", "verdict")]
    for c in claims:
        span = "-" if c.exponent is None or c.interval is None else f"{c.exponent:.2f} [{c.interval[0]:.2f}, {c.interval[1]:.2f}]"
        controls = ", ".join(f"{abs(k.z):.1f}" for k in c.controls if k.z is not None) or "-"
        value = f"{c.intercept:.4f}{'' if c.theory == 1 else f' ({c.theory:.4f})'}"
        rows.append((c.name, value, f"{c.error:.4f}", f"{abs(c.worst):.1f}", span, controls, c.verdict))
    return aligned(rows)
