"""Why expectations of an activation may be inaccurate, and what to do about it."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.dual import STEEPEST, growth
from largen.activations.statistics import ACCURACY, PROBE, kink
from largen.gaussian import line
from largen.types import float64


@cache
@float64
def doubt(phi: Activation) -> str:
    """A sentence: an undeclared kink, if two rules differ at ordinary sizes; else growth; else sizes."""
    grid = line.grid(phi.kinks)
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        fine, coarse = (np.nan_to_num(np.asarray(phi(jnp.asarray(z))) ** 2, posinf=0.0) for z in (grid.z, grid.coarse_z))
        error, place = max(line.disagreement(fine, coarse, grid, K) for K in PROBE)
        if error > ACCURACY:
            return f"{phi!r} has a kink near z = {kink(phi, place, grid):.4g}: declare it, lg.activation(fn, kinks=(...))."
    if (degree := growth(phi)) > 2:
        how = "exponentially" if degree >= STEEPEST else f"like z^{degree:.3g}"
        return f"{phi!r} grows {how}, and expectations with it: lg.standardize(X), or take smaller C_W."
    return f"Preactivations are large on the scale on which {phi!r} varies: lg.standardize(X), or take smaller C_W."
