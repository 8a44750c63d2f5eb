"""What of an optimiser matters to scaling with width: how its update of an array scales with the gradient, and how large it is.

An update of W^l by an array of entries of size n^-E moves W^l x by n^(1-E) in a hidden layer or a readout (n terms that add up) and by
n^-E in the first layer (a fixed number of terms). With SGD the entries are the gradient's, with Adam and sign descent they are of order
one, and Muon's update has singular values of order one.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from largen import door

HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Optimizer:
    """`degree`: the power of the gradient's size in the update, 1 or 0. `moves`: what a rate exponent of 0 leaves of the updates of the
    first, hidden and last layer, as exponents of n. `epsilon`: whether it has one, which has to scale with the gradient."""

    name: str
    degree: int
    moves: tuple[Fraction, Fraction, Fraction]
    epsilon: bool = False

    @property
    def gauge(self) -> int:
        """How many powers of a layer's multiplier its effective rate has: c moves by this times -theta under a gauge shift."""
        return 1 + self.degree

    def move(self, layer: int, readout: int) -> Fraction:
        """That of a layer, counted from 0."""
        return self.moves[0 if layer == 0 else 2 if layer == readout else 1]


ENTRYWISE = (Fraction(0), Fraction(1), Fraction(1))
OPTIMIZERS = {
    "sgd": Optimizer("sgd", 1, ENTRYWISE),
    "momentum": Optimizer("momentum", 1, ENTRYWISE),
    "adam": Optimizer("adam", 0, ENTRYWISE, epsilon=True),
    "adamw": Optimizer("adamw", 0, ENTRYWISE, epsilon=True),
    "signsgd": Optimizer("signsgd", 0, ENTRYWISE, epsilon=True),
    "muon": Optimizer("muon", 0, (-HALF, Fraction(0), HALF)),
}


def optimizer(name: Any) -> Optimizer:
    """The optimiser of a name; raises `InputError` for others."""
    return OPTIMIZERS[door.choice(name, "optimizer", tuple(OPTIMIZERS))]
