"""Why expectations of an activation may be inaccurate, and what to do about it."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.reach import growth
from largen.activations.statistics import ACCURACY, PROBE, kink
from largen.gaussian import line
from largen.gaussian.piecewise import STEEPEST
from largen.types import float64

SIDE, JUMP = 1e-7, 1e-3  # next to 0; what a smooth function does not change by within twice as much


@cache
@float64
def doubt(phi: Activation) -> str:
    """A sentence: an undeclared kink, if two rules differ at ordinary sizes; else growth; else sizes."""
    grid = line.grid(phi.kinks)
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        fine, coarse = (np.nan_to_num(np.asarray(phi(jnp.asarray(z))) ** 2, posinf=0.0) for z in (grid.z, grid.coarse_z))
        error, place = max(line.disagreement(fine, coarse, grid, K) for K in PROBE)
        at = kink(phi, place, grid) if error > ACCURACY else 0.0  # where panels of both rules end
        if error > ACCURACY or (0.0 not in phi.kinks and _bends_at_zero(phi)):
            return f"{phi!r} has a kink near z = {at:.4g}: declare it, lg.activation(fn, kinks=(...))."
    if (degree := growth(phi)) > 2:
        how = "exponentially" if degree >= STEEPEST else f"like z^{degree:.3g}"
        return f"{phi!r} grows {how}, and expectations with it: lg.standardize(X), or take smaller C_W."
    return f"Preactivations are large on the scale on which {phi!r} varies: lg.standardize(X), or take smaller C_W."


def _bends_at_zero(phi: Activation) -> bool:
    """Whether phi or one of its first two derivatives differs on both sides of 0."""
    sides = jnp.array([-SIDE, SIDE])
    values = np.array([np.asarray(phi.derivative(order)(sides)) for order in range(3)])
    return bool((np.abs(np.diff(values)[:, 0]) > JUMP * (1 + np.abs(values).max(1))).any())
