"""The rule of critical initialisation: from what feeds a layer to the variances that it starts with.

A layer z = b + W phi(u) that an activation phi feeds gets W ~ N(0, C_W/fan_in), b ~ N(0, C_b) at the critical point of phi. A layer that
the inputs feed gets the C_W that makes K^(1) = C_b + C_W |x|^2/n_0 the critical kernel K* of the activation after it, if K* > 0, and that
activation's critical C_W otherwise.
"""

from typing import Any

from largen.activations.activation import Activation
from largen.activations.critical import critical
from largen.errors import UnsupportedError


def variances(phi: Activation, inputs: Any = None, path: str = "") -> tuple[Any, Any]:
    """(C_W, C_b) of a layer, at a path, that `phi` feeds; with `inputs`, a size |x|^2/n_0, of one that such inputs feed and `phi` follows.
    Raises `UnsupportedError` for an activation without critical point."""
    point = critical(phi)
    if point.C_W is None or point.C_b is None:
        reason = f"{point.reason.rstrip('.')}; use an activation that has a critical point (relu, tanh, gelu, swish) instead"
        raise UnsupportedError(repr(phi), path, "the critical initialisation", reason)
    C_W = (point.K_star - point.C_b) / inputs if inputs is not None and point.K_star else point.C_W
    return C_W, point.C_b
