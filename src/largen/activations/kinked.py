"""The dual maps of activations with kinks: by Hermite series, and for points that nearly coincide by rules split at the kinks."""

from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.assumed import summed
from largen.activations.cusp import cosine_tangent, inverse_sine, once
from largen.activations.mesh import judged
from largen.activations.reach import reach
from largen.activations.smooth import Moments, close_to_others, cosines, flat, graded, joined, own_slopes, parted, shared, split
from largen.gaussian import hermite, piecewise
from largen.gaussian.pair import safe_divide


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def kinked(phi: Activation, q1: Any, q2: Any, k: Any, near: Any, far: Any) -> Moments:
    """By Hermite series, which fall slowly; for points that nearly coincide, where that is not enough, by quadrature split at the kinks;
    graded where sizes are large."""
    every, end, both = joined(q1, q2), reach(phi), (phi.fn, phi.derivative())
    squares = partial(piecewise.graded_mean, lambda z: jnp.stack([f(z) ** 2 for f in both]), every, phi.kinks)
    square = squares(end)
    unseen, share, carried = judged(phi, every, square, close_to_others(q1, q2, near, far), q1.size)
    cut = safe_divide(jnp.abs(square - squares(end - piecewise.SHORT, piecewise.ROUGH)), square).max(1)
    (size1, size2), same = parted(jnp.sqrt(square), q1, q2), (near == 0) & (q1 == q2)
    versine, large = jnp.minimum(near, far), jnp.maximum(q1, q2) > piecewise.LARGE**2
    close = (versine < hermite.APART) & ~same & ~large
    largest = jnp.where(same | large | close, 0, 1 - versine).max()
    usual = jnp.minimum(every, piecewise.LARGE**2)
    A, terms, rest, _ = hermite.coefficients(both, usual, hermite.tolerance(q1.dtype), phi.kinks, end, largest)
    A1, A2 = (safe_divide(a, size) for a, size in zip(parted(A, q1, q2), (size1, size2), strict=True))
    found = jnp.where(same, 1, hermite.products(A1[:, summed()], A2[:, summed()], terms, near, far))
    c, slope = found[0], found[-1]
    pairs = flat(near, q1, q2, near, far, size1[0], size2[0], size1[1], size2[1])
    series = [v.reshape(-1) for v in (c, slope, jnp.where(same, 0, 1 - c), 1 + c)]
    apart, off = split(phi, close.reshape(-1), pairs, series, end)
    out, changes = graded(phi, (large & ~same).reshape(-1), pairs, apart, end)
    error = reduce(jnp.maximum, [unseen, *(v for errors in (cut, rest.max(1), off, changes) for v in shared(share, errors))])
    c, kdot, near_out, far_out = (v.reshape(near.shape) for v in (*cosines(phi, out[:2]), *out[2:]))
    return size1[0] ** 2, size2[0] ** 2, size1[0] * size2[0] * c, size1[1] * size2[1] * kdot, near_out, far_out, error, carried


@kinked.defjvp
def _kinked_jvp(phi: Activation, primals: Any, tangents: Any) -> Any:
    """Price for f = phi and f = phi', with the jumps J of f at the kinks x: D f = f' + sum J delta_x. The part of
    E[D f D f] dk with two deltas is kept apart, as it multiplies dc and diverges at coincidence; the dq parts go by
    Stein, q1 E[D^2 f f] = E[z1 D f f] - k E[D f D f]."""
    q1, q2, k, near, far = primals
    d1, d2, dk, _, _ = tangents
    out = kinked(phi, *primals)
    r1, r2 = jnp.sqrt(q1), jnp.sqrt(q2)
    c, width = jnp.where(near <= far, 1 - near, far - 1), jnp.sqrt(near * far)
    dc = cosine_tangent(q1, q2, k, d1, d2, dk)
    rates = []
    for order in (0, 1):
        f, slope = phi.derivative(order), phi.derivative(order + 1)

        def integrand(z1: Any, z2: Any, f: Any = f, slope: Any = slope) -> tuple[Any, ...]:
            s1, s2 = slope(z1), slope(z2)
            return s1 * s2, z1 * s1 * f(z2), z2 * s2 * f(z1)

        both, first, second = piecewise.pair_mean(integrand, q1, q2, near, far, phi.kinks, reach=reach(phi))
        cross = jnp.zeros_like(both)
        jumps = [(x, J) for x, J in zip(phi.kinks, phi.jumps(order), strict=True) if J]
        for x, J in jumps:
            p1, p2 = (J * jnp.exp(-x * x / (2 * q)) / jnp.sqrt(2 * np.pi * q) for q in (q1, q2))
            on1, on2 = (c * r2 * x / r1, r2 * width), (c * r1 * x / r2, r1 * width)  # the other z given that one is x
            given = partial(piecewise.conditional_mean, kinks=phi.kinks, reach=reach(phi))
            both = both + p1 * given(slope, *on1) + p2 * given(slope, *on2)
            first = first + x * p1 * given(f, *on1)
            second = second + x * p2 * given(f, *on2)
            for y, Jy in jumps:
                u, v, s = x / r1, y / r2, jnp.minimum(near, far)
                square = jnp.where(near <= far, (u - v) ** 2 + 2 * u * v * s, (u + v) ** 2 - 2 * u * v * s)
                density = jnp.exp(-0.5 * safe_divide(square, width**2, jnp.inf)) * inverse_sine(near, far) / (2 * np.pi)
                cross = cross + J * Jy * density
        both, first, second, cross = (once(v, q1, q2, k) for v in (both, first, second, cross))
        tangent = both * dk + 0.5 * safe_divide(first - k * both, q1) * d1 + 0.5 * safe_divide(second - k * both, q2) * d2
        rates.append(tangent + cross * dc)
    return out, (*own_slopes(phi, primals, tangents), *rates, *(jnp.zeros_like(v) for v in out[4:]))
