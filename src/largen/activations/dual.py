r"""The dual of an activation: Gaussian pairs in, second moments of phi and phi' out.

For z ~ N(0, [[q1, k], [k, q2]]): `dual` gives the pair (E phi(z1)^2, E phi(z2)^2, E phi(z1) phi(z2)) as a carrier with its
own `near` and `far`, and kdot = E[phi'(z1) phi'(z2)]. Derivatives follow Price's theorem,

    d E[f(z1) g(z2)] = (1/2) E[f'' g] dq1 + (1/2) E[f g''] dq2 + E[f' g'] dk,

with the jumps of f' as delta functions. Where both points coincide (or oppose) the NTK of a kinked activation has a cusp:
its first derivative there is the symmetric subgradient (the divergent term is odd, and left out); second derivatives of
kinked kernels are refused.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from largen.activations.activation import Activation
from largen.activations.analytic import analytic
from largen.activations.closed import Analytic, Homogeneous, Step, itself
from largen.activations.homogeneous import homogeneous, step
from largen.activations.kinked import kinked
from largen.activations.scale import natural
from largen.activations.smooth import mean_square, smooth
from largen.gaussian.pair import Pair


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dual:
    """`phi`: the second moments of (phi(z1), phi(z2)); `kdot`: E[phi'(z1) phi'(z2)]; `error`: estimated error of the
    two expectations, relative to the root of the product of those of either point with itself (0 for closed forms); `carried`: what
    multiplies a relative error of the pair's own moments."""

    phi: Pair
    kdot: Any
    error: Any
    carried: Any = 1.0


def dual(phi: Activation, pair: Pair) -> Dual:
    """The dual map of an activation on a pair carrier, by closed form, Hermite series or piecewise quadrature."""
    if isinstance(phi.closed, Homogeneous):
        return Dual(*homogeneous(phi.closed, pair), jnp.zeros((), pair.k.dtype))
    if isinstance(phi.closed, Step):
        return Dual(*step(pair), jnp.zeros((), pair.k.dtype))
    if isinstance(phi.closed, Analytic):
        return Dual(*analytic(phi.closed, pair))
    if phi.own:
        u, psi = natural(phi)
        if u != 1:  # psi' = u phi'
            out = dual(psi, Pair(pair.q1 / u**2, pair.q2 / u**2, pair.k / u**2, pair.near, pair.far))
            return replace(out, kdot=out.kdot / u**2)
    rule = kinked if phi.kinks else smooth
    m1, m2, k, kdot, near, far, error, carried = rule(phi, pair.q1, pair.q2, pair.k, pair.near, pair.far)
    return Dual(Pair(m1, m2, k, jnp.clip(near, 0, 2), jnp.clip(far, 0, 2)), kdot, error, carried)


def moment(phi: Activation, q: Any, order: int = 0) -> Any:
    """E[phi^(order)(z)^2], z ~ N(0, q), the shape of q: order 0 gives g(K), order 1 the chi_perp factor."""
    if order == 0 and isinstance(phi.closed, Homogeneous):
        return (phi.closed.a_plus**2 + phi.closed.a_minus**2) / 2 * q
    if order == 0 and isinstance(phi.closed, Analytic):
        return phi.closed.expectation(itself(q))
    if order == 1 and isinstance(phi.closed, Analytic):
        return phi.closed.slope(itself(q))
    if phi.own:
        u, psi = natural(phi)
        return mean_square(psi, q / u**2, order) / u ** (2 * order)
    return mean_square(phi, q, order)
