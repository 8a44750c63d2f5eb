"""The judge as a study asks it: few networks of each width, no controls."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from largen.agreement.claim import Claim
from largen.agreement.claims import Rule, Series, claim, verdict_of
from largen.agreement.contrasts import number
from largen.agreement.statistics import LEVEL

NOTICE = 0.2  # a claim is decided if it would have noticed a difference of a fifth, as 4 standard errors
DECIDED = 0.5  # of the claims of a section, for it to agree
STUDIED = Rule(precision=NOTICE / LEVEL, controls=False, power=False, smooth=True)


def concluded(claims: Sequence[Claim]) -> str:
    """The verdict of a section: half of its claims have to agree, and what would typically have been noticed is a fifth or less."""
    found = verdict_of(claims, DECIDED)
    return "undecided" if found == "agrees" and noticed(claims) > NOTICE else found


def noticed(claims: Sequence[Claim]) -> float:
    """The relative difference that would typically have been noticed: the median of 4 standard errors."""
    return LEVEL * float(np.median([c.precision for c in claims if c.precision is not None]))


def compare(
    section: str,
    quantity: str,
    theory: float,
    widths: Sequence[int],
    samples: Sequence[np.ndarray],
    scale: float | None = None,
    **more: Any,
) -> Claim:
    """Theory's number against networks, samples (networks,) at every width. `scale`, default |theory|: what differences are relative to."""
    by = number(float(theory), scale)
    found = [Series((by.values(np.asarray(one, float)[:, None]),)) for one in samples]
    return claim(section, quantity, more.pop("layer", None), widths, found, by, rule=STUDIED, **more)
