"""What records of several claims have in common: a table, a frame, how many networks would decide."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from largen.agreement.claims import VERDICTS, Claim


class Judged:
    """A record with `claims` and a `verdict`."""

    claims: tuple[Claim, ...]
    verdict: str

    @property
    def needed(self) -> int | None:
        """Networks per width that would decide every undecided claim, as far as more networks can; None if none is needed."""
        return max((c.needed for c in self.claims if c.needed), default=None)

    def to_frame(self) -> list[dict[str, Any]]:
        """One dictionary per claim, ready for `pandas.DataFrame` or JSON."""
        frame = []
        for c in self.claims:
            row = {f.name: getattr(c, f.name) for f in fields(c) if f.name not in ("tests", "controls", "missing")}
            row["tests"] = {t.name: {"value": t.value, "error": t.error, "z": t.z} for t in c.tests}
            row["controls"] = {k.name: k.z for k in c.controls}
            frame.append({**row, "missing": dict(c.missing)})
        return frame

    def table(self, head: Sequence[str], notes: Sequence[str] = ()) -> str:
        """The lines of `head`, a row per claim, the sentences of claims that do not agree, `notes`, the verdict."""
        rows = [("claim", "at n = inf", "s.e.", "worst |z|", "power of 1/n", "controls refused at", "verdict")]
        for c in self.claims:
            span = "-" if c.exponent is None or c.interval is None else f"{c.exponent:.2f} [{c.interval[0]:.2f}, {c.interval[1]:.2f}]"
            refused = ", ".join(f"{abs(k.z):.1f}" for k in c.controls if k.z is not None) or "-"
            name = f"{c.name}{f' {c.layer}' if c.layer else ''}"
            value = f"{c.intercept:.4f}{'' if c.theory == 1 else f' ({c.theory:.4f})'}"
            rows.append((name, value, f"{c.error:.4f}", f"{abs(c.worst):.1f}", span, refused, c.verdict))
        size = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, size, strict=True)).rstrip() for row in rows]
        why = [c.sentence for c in self.claims if c.verdict != "agrees"]
        more = f" About {self.needed} networks per width would decide." if self.verdict == "undecided" and self.needed else ""
        return "\n".join([*head, "", *lines, "", *why, *notes, f"Verdict: {self.verdict}.{more}"])


def verdict_of(claims: Sequence[Claim]) -> str:
    """The worst verdict among claims: "disagrees", "undecided" or "agrees"."""
    return max((c.verdict for c in claims), key=VERDICTS.index)
