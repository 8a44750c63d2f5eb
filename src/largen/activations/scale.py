"""On which scale a user's own smooth callable varies, and the same callable over that scale, which is what rules are made for."""

from functools import lru_cache

import jax
import numpy as np

from largen.activations.activation import Activation
from largen.activations.mesh import resolved
from largen.types import float64

USUAL = 0.25  # how far from 0 tanh, arctan and their kin are polynomials to what panels allow
HALVINGS = 60


@lru_cache(maxsize=64)
@float64
def natural(phi: Activation) -> tuple[float, Activation]:
    """(u, psi) with phi(z) = psi(z/u), u a power of two and 1 at most, so that psi varies no faster near 0 than usual. u = 1 where phi
    bends at 0 undeclared or is singular there, and no scale is small enough, and for callables with kinks, next to which rules split."""
    if phi.kinks:
        return 1.0, phi
    reach = USUAL * 2.0 ** -np.arange(HALVINGS)
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        fine = resolved(phi, -reach, reach)
    u = float(2.0 ** -fine.argmax())  # 1 if nowhere
    return u, phi if u == 1 else Activation(phi.name, lambda z: phi.fn(u * z), registered=False, own=True)
