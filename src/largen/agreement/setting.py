"""What every check is given, checked. It hands back the fields of a `Check` that depend on what was checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.architecture.nodes import Serial
from largen.errors import InputError


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

    def answer(self, theory: Callable[[Serial], Any], kind: type) -> Any:
        """`theory(asked)`, or the record of that kind that was told in its place."""
        found = theory(self.asked) if self.told is None else self.told(self.net, self.X)
        if not isinstance(found, kind):
            raise InputError("theory", f"a function that returns a {type(found).__name__}", f"one that returns a {kind.__name__}")
        return found
