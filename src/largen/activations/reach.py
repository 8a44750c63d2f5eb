"""How far out an activation is looked at: as far as it grows."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.gaussian import piecewise
from largen.types import float64

STEEPEST = 40  # powers of z that expectations are prepared for


@cache
@float64
def growth(phi: Activation) -> float:
    """The power of z that phi grows like, STEEPEST at most."""
    z = 2.0 ** np.arange(4, 12)
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        sizes = np.abs(np.asarray(phi.fn(jnp.asarray(np.stack([z, -z])))))
        degrees = np.log2(sizes[:, 1:] / sizes[:, :-1])
    return float(np.where(np.isnan(degrees), 0, degrees).clip(0, STEEPEST).max())


def reach(phi: Activation) -> float:
    """Where expectations are cut, in standard deviations: as far out as phi grows."""
    return piecewise.reach(growth(phi))


def far(phi: Activation) -> float:
    """The same for products of four factors."""
    degree = growth(phi)
    return piecewise.REACH if degree <= 1 else piecewise.reach(2 * degree)
