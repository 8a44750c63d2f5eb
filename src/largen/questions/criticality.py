"""Is this network at a critical point? The one place that decides, with one tolerance."""

from collections.abc import Sequence

from largen.activations.critical import critical
from largen.activations.critical_points import CriticalPoint
from largen.architecture.chain import Layer

SAME = 1e-6  # relative difference of hyperparameters that counts as critical: no length below a million layers shows it


def critical_point_of(layers: Sequence[Layer]) -> CriticalPoint | None:
    """The critical point that the hidden layers of a chain are at, None if there is none or activations differ.

    Judged are the layers between the first, which only sets K^(1), and the readout, which nothing comes after; where there are none,
    the readout. A skip weight gamma multiplies critical C_W and C_b by 1 - gamma^2 (PDLT app. B).
    """
    kinds = {layer.activation for layer in layers[1:]}
    if len(kinds) != 1:
        return None
    phi = next(iter(kinds))
    assert phi is not None
    for point in critical(phi).candidates:
        targets = [(layer, point.C_W * (1 - layer.skip**2), point.C_b * (1 - layer.skip**2)) for layer in layers[1:-1] or layers[1:]]
        if all(w > 0 and abs(at.C_W - w) <= SAME * w and abs(at.C_b - b) <= SAME * max(b, SAME) for at, w, b in targets):
            return point
    return None


def is_critical(layers: Sequence[Layer]) -> bool | None:
    """Whether a chain starts at criticality: at a critical point from which sizes do not explode. None where there is none to be at: no
    hidden layer, several activations, or one without a critical point."""
    kinds = {layer.activation for layer in layers[1:]}
    phi = next(iter(kinds), None)
    if len(kinds) != 1 or phi is None or critical(phi).C_W is None:
        return None
    point = critical_point_of(layers)
    return point is not None and (point.universality != "K*=0" or point.stable_from is not None)
