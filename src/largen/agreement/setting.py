"""What every check is given, checked; and what it hands back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from largen.agreement.claims import Claim
from largen.agreement.records import Entries
from largen.architecture.nodes import Serial


@dataclass(frozen=True)
class Setting:
    """Theory of `asked`, or what the callable `told` says in its place, against `real`, networks by the width of their first layer,
    narrowest first, `networks` of each, with random `keys`, at the points `X` in float64. `tell(width)` hears of every width done."""

    net: Serial
    asked: Serial
    told: Callable[..., Any] | None
    real: Mapping[int, Serial]
    networks: tuple[int, ...]
    keys: tuple[Any, ...]
    X: np.ndarray
    rates: Any
    tell: Callable[[int], None]

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the first layer, in increasing order."""
        return tuple(self.real)

    def answer(self, theory: Callable[[Serial], Any]) -> Any:
        """`theory(asked)`, or what was told in its place."""
        return theory(self.asked) if self.told is None else self.told(self.asked, self.X)


@dataclass(frozen=True)
class Found:
    """What a check found: the fields of a `Check` that depend on what was checked."""

    claims: tuple[Claim, ...]
    unjudged: Mapping[str, str] = field(default_factory=dict)
    time: float | None = None
    eta: float | None = None
    steps: int | None = None
    test: int | None = None
    theory: Any = None
    entries: Mapping[str, Entries] = field(default_factory=dict)
