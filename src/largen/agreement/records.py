"""What `lg.check` returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from largen.agreement import words
from largen.agreement.claim import Claim
from largen.agreement.claims import verdict_of
from largen.display import Columns, Record, stacked

BELOW = 0.05  # entries of less than this share of the largest are judged absolutely


@dataclass(frozen=True, repr=False, kw_only=True)
class Entries(Record):
    """One tensor of `lg.check(..., what="tensors")`, entry by entry.

    Attributes
    ----------
    theory : array
        Of `lg.corrections`.
    value, error : array like `theory`
        Measured networks extrapolated to infinite width, and the standard error.
    means, errors : array (widths, ...)
        n times the measured cumulant at each width, and its standard errors.
    """

    theory: np.ndarray
    value: np.ndarray
    error: np.ndarray
    means: np.ndarray
    errors: np.ndarray

    _table = ("i j k l", "theory value error")

    def z(self, theory: Any = None) -> np.ndarray:
        """Standard errors between the measurement and a theory (default: this one), 0 where both are exact and equal."""
        gap = self.value - (self.theory if theory is None else np.asarray(theory, float))
        return np.where(gap == 0, 0.0, gap / np.where(self.error > 0, self.error, np.finfo(float).tiny))

    def precision(self) -> np.ndarray:
        """The errors relative to the entries of theory; entries below 5 % of the largest count as that much."""
        size = np.abs(self.theory)
        return self.error / np.maximum(size, BELOW * size.max())


@dataclass(frozen=True, repr=False, kw_only=True)
class Check(Record):
    """What `lg.check` returns; it prints as a table. What there is not is None or empty, and `missing` says why.

    Attributes
    ----------
    what : str
        What was checked.
    claims : tuple of Claim
        One per quantity.
    widths : tuple of int
        Of the first hidden layer.
    networks : tuple of int
        Per width (trained, if any were).
    points : int
        Looked at (of "training": trained on).
    net : str
        The network as code, at the smallest width.
    seconds : float
        Taken.
    unjudged : dict
        Quantities that could not be judged, with the reason.
    time, eta, steps : number or None
        Of "training": `time` = `eta` x `steps`.
    test : int or None
        Of "training": number of points compared on.
    theory : Signal, Corrections or None
        What was held against networks.
    entries : dict
        Of "tensors": `Entries` by name.
    missing : dict
        Why a field is None.
    verdict : str
        "disagrees" if a claim does, else "undecided" if one is, else "agrees".
    needed : int or None
        Networks per width that would decide every undecided claim, as far as more networks can; None if none is needed.
    """

    what: str
    claims: tuple[Claim, ...]
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    points: int
    net: str
    seconds: float
    unjudged: Mapping[str, str] = field(default_factory=dict)
    time: float | None = None
    eta: float | None = None
    steps: int | None = None
    test: int | None = None
    theory: Any = None
    entries: Mapping[str, Entries] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def _columns(self) -> Columns:
        return stacked(self.claims)

    @property
    def verdict(self) -> str:
        """The verdict of all claims together."""
        return verdict_of(self.claims)

    @property
    def needed(self) -> int | None:
        """Networks per width that would decide every undecided claim, as far as more networks can; None if none is needed."""
        return max((c.needed for c in self.claims if c.needed), default=None)

    def __repr__(self) -> str:
        head = f"Theory against real networks of widths {', '.join(map(str, self.widths))}: {' '.join(self.net.split())}"
        many = " to ".join(f"{n:,}" for n in sorted(set(self.networks))[:: max(1, len(set(self.networks)) - 1)])
        setting = f"{self.what}: {many} networks per width, {self.points} points"
        if self.time is not None:
            setting += f", trained on to time {self.time:.4g} ({self.steps} steps of {self.eta:.3g}), compared on {self.test}"
        why = [c.sentence for c in self.claims if c.verdict != "agrees"]
        why += [f"{name} was not judged: {reason}." for name, reason in self.unjudged.items()]
        more = f" About {self.needed:,} networks per width would decide." if self.verdict == "undecided" and self.needed else ""
        return "\n".join([head, setting, "", *words.table(self.claims), "", *why, f"Verdict: {self.verdict}.{more}"])
