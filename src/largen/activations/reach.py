"""How far out an activation is looked at: as far as it grows."""

from functools import cache

from largen.activations.activation import Activation
from largen.gaussian import piecewise


@cache
def growth(phi: Activation) -> float:
    """The power of z that phi grows like."""
    return piecewise.growth(phi.fn)


def reach(phi: Activation) -> float:
    """Where expectations are cut, in standard deviations: as far out as phi grows."""
    return piecewise.reach(growth(phi))


def far(phi: Activation) -> float:
    """The same for products of four factors."""
    degree = growth(phi)
    return piecewise.REACH if degree <= 1 else piecewise.reach(2 * degree)
