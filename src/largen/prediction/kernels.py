"""The kernels that predictions are made of, fetched from theory."""

from typing import Any

from largen.architecture.nodes import Serial
from largen.types import Array, is_traced


def kernels(net: Serial, X: Array, rates: Any = "ntk") -> Any:
    """The kernels of all points: whole, or, of points with positions, whose recursions hold much more than the result, by blocks.
    Derivatives need them whole."""
    from largen.grams.gram import gram
    from largen.theory.kernels import kernel

    return kernel(net, X, rates=rates) if X.ndim == 2 or is_traced((net, X, rates)) else gram(net, X, rates=rates)
