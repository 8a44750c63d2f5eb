"""The kernels that predictions are made of, fetched from theory."""

from typing import Any

from largen.architecture.nodes import Serial
from largen.types import Array, is_traced


def kernels(net: Serial, X: Array, X2: Array | None = None, rates: Any = "ntk") -> Any:
    """The kernels of all points, or of X with X2: whole, or, of points with positions, whose recursions hold much more than the result,
    by blocks. Derivatives need them whole."""
    from largen.grams.gram import gram
    from largen.theory.kernels import kernel

    whole = X.ndim == 2 or is_traced((net, X, X2, rates))
    return kernel(net, X, X2, rates) if whole else gram(net, X, X2, rates)


def variances(net: Serial, X: Array) -> tuple[Array, Any]:
    """(K(x, x), its error) of the m points, (m,) and a number, without a matrix of all pairs unless they are traced."""
    from largen.theory import variances as theory

    if is_traced((net, X)):
        record = kernels(net, X)
        return record.nngp.diagonal(), record.error
    return theory.variances(net, X)
