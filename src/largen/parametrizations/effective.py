"""What of a parametrization no gauge shift changes: how large the entries of every weight matrix start, and how fast it moves."""

import math
from dataclasses import dataclass
from typing import Protocol

from largen.display import Columns, Record, aligned
from largen.parametrizations.exact import CLOSE, Exponent, power
from largen.parametrizations.optimizers import Optimizer, optimizer


class Scales(Protocol):
    """The fields of a parametrization that are read here."""

    @property
    def a(self) -> tuple[Exponent, ...]: ...
    @property
    def b(self) -> tuple[Exponent, ...]: ...
    @property
    def c(self) -> tuple[Exponent, ...]: ...
    @property
    def d(self) -> tuple[Exponent, ...]: ...
    @property
    def prefactors(self) -> tuple[tuple[float, float, float], ...]: ...
    @property
    def depth(self) -> tuple[Exponent, Exponent] | None: ...
    @property
    def optimizer(self) -> str: ...


@dataclass(frozen=True, repr=False, kw_only=True)
class Effective(Record):
    """Of every layer, as exponents of 1/n.

    Attributes
    ----------
    layers : tuple of str
        "first", "hidden", ..., "readout".
    std : tuple
        Entries of W^l start with standard deviation n^-std: a + b.
    rate : tuple
        W^l moves by n^-rate times the gradient with SGD (c + 2a - d), times a number of order one with Adam and its kin (c + a).
    epsilon : tuple
        The gradient by W^l reaches an adaptive optimiser times n^epsilon (d - a), beside its epsilon of order one.
    factors : tuple of (float, float)
        Prefactors of standard deviation and rate.
    depth : (branch, rate), optional
        Exponents of the depth.
    optimizer : str
        Its name.
    """

    layers: tuple[str, ...]
    std: tuple[Exponent, ...]
    rate: tuple[Exponent, ...]
    epsilon: tuple[Exponent, ...]
    factors: tuple[tuple[float, float], ...]
    depth: tuple[Exponent, Exponent] | None
    optimizer: str

    @property
    def by(self) -> Optimizer:
        """The optimiser's facts."""
        return optimizer(self.optimizer)

    @property
    def hidden(self) -> int:
        """The number of hidden layers."""
        return len(self.std) - 1

    def like(self, other: "Effective") -> bool:
        """Whether both are the same dynamics."""
        mine, theirs = ((e.std, e.rate, e.epsilon if e.by.epsilon else (), e.depth, e.optimizer) for e in (self, other))
        numbers = [
            math.isclose(x, y, rel_tol=CLOSE)
            for one, two in zip(self.factors, other.factors, strict=False)
            for x, y in zip(one, two, strict=True)
        ]
        return mine == theirs and all(numbers)

    def _columns(self) -> Columns:
        return {"layer": list(self.layers), "std": list(self.std), "rate": list(self.rate)}

    def __repr__(self) -> str:
        rows = [(name, power(std), power(rate)) for name, std, rate in zip(self.layers, self.std, self.rate, strict=True)]
        return "\n".join(aligned([("layer", "std", "rate"), *rows]))


def effective(scales: Scales) -> Effective:
    """Of the exponents of a parametrization."""
    by, L = optimizer(scales.optimizer), len(scales.a) - 1
    return Effective(
        layers=("first", *("hidden",) * (L - 1), "readout"),
        std=tuple(a + b for a, b in zip(scales.a, scales.b, strict=True)),
        rate=tuple(c - by.degree * d + by.gauge * a for a, c, d in zip(scales.a, scales.c, scales.d, strict=True)),
        epsilon=tuple(d - a for a, d in zip(scales.a, scales.d, strict=True)),
        factors=tuple((m * s, r * m**by.gauge) for m, s, r in scales.prefactors),
        depth=scales.depth,
        optimizer=by.name,
    )
