"""The critical point of one activation, where it is known in closed form."""

import math
from dataclasses import dataclass

from largen.activations.activation import Activation
from largen.activations.closed import Homogeneous
from largen.errors import UnsupportedError


@dataclass(frozen=True)
class CriticalPoint:
    """(C_b, C_W) with chi_par = chi_perp = 1 at the fixed point K* (None: a line of fixed points, any K)."""

    C_b: float
    C_W: float
    K_star: float | None


# K* = 0 class: C_b = 0, C_W = 1/phi'(0)^2 (PDLT 5.90)
_SLOPES = {"tanh": 1.0, "sin": 1.0, "erf": 2 / math.sqrt(math.pi)}


def critical_point(phi: Activation) -> CriticalPoint:
    """The critical initialisation of the ReLU family, linear, tanh, sin and erf (PDLT 5.2, 5.3).

    Raises `UnsupportedError` for every other activation.

    >>> import largen as lg
    >>> critical_point(lg.activation("relu"))
    CriticalPoint(C_b=0.0, C_W=2.0, K_star=None)
    """
    if isinstance(phi.closed, Homogeneous):
        second_moment = (phi.closed.a_plus**2 + phi.closed.a_minus**2) / 2
        return CriticalPoint(0.0, 1 / second_moment, None)
    if phi.name == "linear":
        return CriticalPoint(0.0, 1.0, None)
    if phi.name in _SLOPES:
        return CriticalPoint(0.0, 1 / _SLOPES[phi.name] ** 2, 0.0)
    known = ["relu", "leaky_relu(a)", "abs", "linear", *_SLOPES]
    raise UnsupportedError(
        repr(phi), "", "the critical initialisation", "its critical point is not known in closed form; give C_W and C_b", known
    )
