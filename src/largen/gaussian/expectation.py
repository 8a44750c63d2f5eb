"""E[f1(z1) f2(z2) ...] for a Gaussian of given covariance, with its error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.border import bordered
from largen.errors import InputError, UnsupportedError
from largen.gaussian import hermite, pair as pairs, piecewise
from largen.types import Array, hand_back, is_traced, island

COARSE = 12  # nodes of a piece in one dimension by which the error is estimated

Elementwise = Callable[[Any], Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Expectation:
    """`value` and the estimated absolute `error` of the rule, the largest over a batch."""

    value: Array
    error: Array


@bordered("K")
def expectation(functions: Sequence[Elementwise], K: Any, kinks: Sequence[float] = ()) -> Expectation:
    """E[f1(z1) ... fm(zm)], z ~ N(0, K), for m = 1 or 2 elementwise functions; K is (..., m, m), a batch of covariances.

    Without `kinks` the functions are taken as analytic: a trapezoid rule for one, Hermite series for two, whose error is a
    rigorous bound. With kinks, points where any of them or of their derivatives jumps: Gauss-Legendre split there, as far out
    as the functions grow, whose error is the change from a coarser rule of shorter reach. The error is infinite where one
    smooth function has its mass beyond 16 standard deviations. Three and four functions raise `UnsupportedError`; matrices
    that are not symmetric positive semi-definite `InputError`.

    >>> import numpy as np, jax.numpy as jnp
    >>> K = np.array([[1.0, 0.5], [0.5, 2.0]])
    >>> round(float(expectation([jnp.sin, lambda z: z], K).value), 9)  # k exp(-q1/2)
    0.30326533
    """
    K = door.array(K, "K", "covariance matrices of shape (..., m, m)")
    m = len(functions)
    if K.ndim < 2 or K.shape[-2:] != (m, m):
        raise InputError("K", f"shape {K.shape}", f"covariance matrices of shape (..., {m}, {m}), one row a function")
    if m not in (1, 2):
        raise UnsupportedError(
            f"a product of {m} functions", "", "the Gaussian expectation", "only one and two inputs have rules", ["1", "2"]
        )
    if not is_traced(K):
        concrete = np.asarray(K, np.float64)
        lowest = np.linalg.eigvalsh((concrete + np.swapaxes(concrete, -1, -2)) / 2).min()
        scale = max(np.abs(concrete).max(), 1e-300)
        if lowest < -1e-6 * scale or np.abs(concrete - np.swapaxes(concrete, -1, -2)).max() > 1e-6 * scale:
            raise InputError("K", f"a matrix with eigenvalue {lowest:.3g}", "symmetric positive semi-definite matrices")
    with island(K):
        return hand_back(_rules(tuple(functions), jnp.asarray(K), tuple(float(x) for x in kinks)), K)


def _rules(functions: tuple[Elementwise, ...], K: Any, kinks: tuple[float, ...]) -> Expectation:
    q = jnp.diagonal(K, axis1=-2, axis2=-1)
    reach = piecewise.reach(max(map(piecewise.growth, functions)))
    short = reach - piecewise.SHORT
    if len(functions) == 1:
        f, q1 = functions[0], q[..., 0]
        if not kinks:
            fine, change = hermite.mean(f, q1), hermite.mean(f, q1, every=2)
            return Expectation(fine, jnp.maximum(jnp.abs(fine - change), hermite.ends(f, q1, fine)).max())
        fine = piecewise.graded_mean(f, q1, kinks, reach)
        return Expectation(fine, jnp.abs(fine - piecewise.graded_mean(f, q1, kinks, short, COARSE)).max())
    f, g = functions
    point = pairs.from_moments(q[..., 0], q[..., 1], K[..., 0, 1])
    if kinks:

        def product(z1: Any, z2: Any) -> tuple[Any, ...]:
            return (f(z1) * g(z2),)

        at = point.q1, point.q2, point.near, point.far
        (fine,) = piecewise.pair_mean(product, *at, kinks, reach=reach)
        (coarse,) = piecewise.pair_mean(product, *at, kinks, piecewise.COARSE, short)
        return Expectation(fine, jnp.abs(fine - coarse).max())
    tolerance = hermite.tolerance(K.dtype)
    A1, n1, rest1, square1 = hermite.coefficients((f,), point.q1, tolerance)
    A2, n2, rest2, square2 = hermite.coefficients((g,), point.q2, tolerance)
    value = hermite.products(A1, A2, jnp.maximum(n1, n2), point.near, point.far)[0]
    bound = jnp.sqrt((rest1 * square1).max() * (rest2 * square2).max())
    return Expectation(value, bound)
