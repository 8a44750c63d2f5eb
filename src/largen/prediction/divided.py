r"""The weight of training as a function of a matrix, w(A), with derivatives that hold for repeated eigenvalues too.

w(x) = (1 - p(x))/x, with p(x) = exp(-x t), or (1 - eta x)^s for descent. With A = U diag(x) U^T and U held fixed, U^T w(A) U is
diag(w(x)), and its derivatives along E and E' are (Daleckii and Krein), with E standing for U^T E U,

    w[x_i, x_j] E_ij        and        sum_j w[x_i, x_j, x_k] (E_ij E'_jk + E'_ij E_jk),

where w[., .] are divided differences: (w(x) - w(y))/(x - y), w'(x) at equal x and y. They are computed without a difference of
eigenvalues in a denominator where that would cancel: x w(x) = 1 - p(x) gives, for a <= b <= c,

    c w[a, c] = -p[a, c] - w(a),        c w[a, b, c] = -p[a, b, c] - w[a, b],

and for c t < 1/2 the power series of w is summed. At infinite time p = 0, and w is the inverse.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from largen.border import linear
from largen.errors import InputError
from largen.running.jitted import jitted

TERMS = 18  # of power series in numbers up to 1, the k-th at most 1/k!


How = tuple[Any, Any, Any]  # (time, eta, steps): time and steps with two axes of length 1 at the end; eta and steps None for flow


@jax.custom_jvp
def rotated(A: Any, U: Any, x: Any, how: How) -> Any:
    """U^T w(A) U, (n, n) or (T, n, n), for the eigenvectors U and eigenvalues x of A, which count as fixed. Derivatives in A up to the
    second, in `how` where w has them."""
    return _diagonal(x, how)


@partial(rotated.defjvp, symbolic_zeros=True)
def _rotated_jvp(primals: Any, tangents: Any) -> Any:
    (A, U, x, how), (dA, _, _, dhow) = primals, tangents
    out = rotated(A, U, x, how)
    return out, _total(out, _along(lambda h: _diagonal(x, h), how, dhow), _linear(_slope, _slope_pull, primals, dA))


@jax.custom_jvp
def _slope(at: Any, E: Any) -> Any:
    """The derivative of `rotated` along E."""
    return _first(at[1:], E)


@partial(_slope.defjvp, symbolic_zeros=True)
def _slope_jvp(primals: Any, tangents: Any) -> Any:
    (at, E), ((dA, _, _, dhow), dE) = primals, tangents
    out, (U, x, how) = _slope(at, E), at[1:]
    turned = _linear(lambda known, F: _bend(*known, F), _bend_pull, primals, dA)
    return out, _total(out, _along(lambda h: _first((U, x, h), E), how, dhow), _linear(_slope, _slope_pull, at, dE), turned)


def _along(function: Any, how: How, tangents: Any) -> Any:
    """The derivative in `how`, None if that does not move."""
    if all(isinstance(t, SymbolicZero) for t in jax.tree_util.tree_leaves(tangents)):
        return None
    ways = jax.tree_util.tree_map(lambda t, v: jnp.zeros_like(v) if isinstance(t, SymbolicZero) else t, tangents, how)
    return jax.jvp(function, (how,), (ways,))[1]


def _linear(function: Any, pull: Any, known: Any, way: Any) -> Any:
    if isinstance(way, SymbolicZero):
        return None
    return linear(lambda at, v: [function(at, v)], lambda at, v: [pull(at, v)], known, way)[0]


def _total(like: Any, *parts: Any) -> Any:
    """The sum of the parts that there are."""
    return sum([part for part in parts if part is not None], jnp.zeros_like(like))


def _slope_pull(at: Any, C: Any) -> Any:
    """The transpose of `_slope` in E: a derivative of a function of a matrix is self-adjoint."""
    U = at[1]
    return U @ _slope(at, U @ C @ U.T) @ U.T


@jax.custom_jvp
def _bend(at: Any, E: Any, F: Any) -> Any:
    """The second derivative along E and F."""
    return _second(at[1:], E, F)


def _bend_pull(known: Any, C: Any) -> Any:
    """The transpose of `_bend` in F."""
    at, E = known
    U = at[1]
    return U @ _bend(at, E, U @ C @ U.T) @ U.T


@_bend.defjvp
def _bend_jvp(primals: Any, tangents: Any) -> Any:
    raise InputError("net, X", "third derivatives of trained networks", "first or second ones", "Take differences of second derivatives.")


@jitted()
def _diagonal(x: Any, how: How) -> Any:
    """diag(w(x))."""
    return _one(x, how) * jnp.eye(len(x), dtype=x.dtype)


@jitted()
def _first(at: Any, E: Any) -> Any:
    U, x, how = at
    return _two(x[:, None], x, how) * (U.T @ E @ U)


@jitted()
def _second(at: Any, E: Any, F: Any) -> Any:
    U, x, how = at
    E, F = U.T @ E @ U, U.T @ F @ U

    def through(j: Any) -> Any:
        here, there = E[..., :, j, None] * F[..., None, j, :], F[..., :, j, None] * E[..., None, j, :]
        return _three(x[:, None], x[j], x, how) * (here + there)

    return jax.lax.map(through, jnp.arange(len(x))).sum(0)


def _series(how: Any) -> list[Any]:
    """c_j of w(x) = sum_j c_j x^j: c_0 = t, c_j = -c_(j-1) (t - j eta)/(j + 1)."""
    time, eta, _ = how
    found = [time]
    for j in range(1, TERMS):
        found.append(-found[-1] * (time - (0.0 if eta is None else j * eta)) / (j + 1))
    return found


def _split(how: Any, largest: Any) -> tuple[Any, Any, Any, Any]:
    """(how with a number for an infinite time, whether the time is infinite, where the series is summed, 1/largest elsewhere)."""
    time, eta, steps = how
    endless = jnp.isinf(time)
    how = (jnp.where(endless, 1.0, time), eta, None if steps is None else jnp.where(endless, 1.0, steps))
    near = ~endless & (largest * how[0] < 0.5)
    return how, endless, near, 1 / jnp.where(near, 1.0, largest)


def _left(x: Any, how: Any) -> Any:
    """p(x), what is left to learn."""
    time, eta, steps = how
    return jnp.exp(-x * time) if eta is None else (1 - eta * x) ** steps


def _fall(x: Any, y: Any, how: Any) -> Any:
    """-p[x, y] = (p(x) - p(y))/(y - x), for x <= y."""
    time, eta, steps = how
    if eta is None:
        return _left(x, how) * time * _one_over((y - x) * time)
    r, q = 1 - eta * x, 1 - eta * y  # r >= q
    apart = (r * q <= 0) | (jnp.abs(r - q) > 0.5 * jnp.maximum(jnp.abs(r), jnp.abs(q)))
    quotient = (r**steps - q**steps) / jnp.where(r > q, r - q, 1.0)
    quotient = jnp.where(r > q, quotient, steps * r ** (steps - 1))
    large, small = jnp.where(jnp.abs(r) >= jnp.abs(q), r, q), jnp.where(jnp.abs(r) >= jnp.abs(q), q, r)
    base = jnp.where(apart, 1.0, large)
    step = jnp.where(apart, 0.0, (large - small) / base)  # small = large (1 - step), 0 <= step <= 1/2
    logarithm = -jnp.log1p(-step)
    ratio = jnp.where(step > 0, logarithm / jnp.where(step > 0, step, 1.0), 1.0)
    close = base ** (steps - 1) * steps * ratio * _one_over(steps * logarithm)
    return eta * jnp.where(apart, quotient, close)


def _one_over(u: Any) -> Any:
    """(1 - exp(-u))/u for u >= 0."""
    small = u < 1e-5
    safe = jnp.where(small, 1.0, u)
    return jnp.where(small, 1 - u / 2 + u**2 / 6, -jnp.expm1(-safe) / safe)


def _one(x: Any, how: Any) -> Any:
    """w(x)."""
    how, endless, near, inverse = _split(how, x)
    series = sum(c * x**j for j, c in enumerate(_series(how)))
    return jnp.where(near, series, jnp.where(endless, 1.0, 1 - _left(x, how)) * inverse)


def _two(x: Any, y: Any, how: Any) -> Any:
    """w[x, y]."""
    low, high = jnp.minimum(x, y), jnp.maximum(x, y)
    far, (how, endless, near, inverse) = how, _split(how, high)
    series, power, mean = 0.0, jnp.ones_like(low), jnp.ones_like(low)  # the homogeneous polynomials of low and high
    for c in _series(how)[1:]:
        series, power = series + c * mean, power * low
        mean = mean * high + power
    return jnp.where(near, series, (jnp.where(endless, 0.0, _fall(low, high, how)) - _one(low, far)) * inverse)


def _three(x: Any, y: Any, z: Any, how: Any) -> Any:
    """w[x, y, z]."""
    low, high = jnp.minimum(jnp.minimum(x, y), z), jnp.maximum(jnp.maximum(x, y), z)
    middle = jnp.maximum(jnp.minimum(x, y), jnp.minimum(jnp.maximum(x, y), z))
    far, (how, endless, near, inverse) = how, _split(how, high)
    series, power, pair, three = 0.0, jnp.ones_like(low), jnp.ones_like(low), jnp.ones_like(low)
    for c in _series(how)[2:]:
        series, power = series + c * three, power * low
        pair = pair * middle + power
        three = three * high + pair
    left = jnp.where(endless, 0.0, _curve(low, middle, high, how))
    return jnp.where(near, series, -(left + _two(low, middle, far)) * inverse)


def _curve(low: Any, middle: Any, high: Any, how: Any) -> Any:
    """p[low, middle, high]."""
    time, eta, steps = how
    apart = (high - low) * time > 1
    quotient = (_fall(low, middle, how) - _fall(middle, high, how)) / jnp.where(apart, high - low, 1.0)
    down, up = (jnp.where(apart, 0.0, v - middle) for v in (low, high))
    series, power, mean, scale = 0.0, jnp.ones_like(down), jnp.ones_like(down), jnp.ones_like(down)
    for k in range(1, TERMS):  # scale: the k-th derivative of p at the middle over k!, without its power of p
        if eta is None:
            scale = -scale * time / k
            term = scale * _left(middle, how)
        else:
            scale = -scale * eta * (steps - k + 1) / k
            term = jnp.where(steps >= k, scale * (1 - eta * middle) ** jnp.maximum(steps - k, 0.0), 0.0)
        if k >= 2:
            series, power = series + term * mean, power * down
            mean = mean * up + power
    return jnp.where(apart, quotient, series)
