"""The root of a function of one number. `scipy.optimize`, which has the same, takes longer to import than most questions take."""

import math
from collections.abc import Callable
from typing import Any

ROUNDING = 1e-14  # relative width of the bracket at the end
MOST = 100  # steps; halving alone takes some 50


def root(f: Callable[[float], Any], low: float, high: float) -> float:
    """The root of f between two points of opposite sign, to rounding (Brent: the secant or an inverse parabola where they gain more than
    halving). Raises `ValueError` if the signs are equal."""
    before, now = float(low), float(high)
    f_before, f_now = float(f(before)), float(f(now))
    if f_before == 0 or f_now == 0:
        return before if f_before == 0 else now
    if (f_before < 0) == (f_now < 0):
        raise ValueError(f"a function of one sign at {low} and {high}")
    other, f_other, last, step = before, f_before, now - before, now - before
    for _ in range(MOST):
        if (f_before < 0) != (f_now < 0):
            other, f_other = before, f_before
            last = step = now - before
        if abs(f_other) < abs(f_now):
            before, now, other = now, other, now
            f_before, f_now, f_other = f_now, f_other, f_now
        least, half = ROUNDING * abs(now) / 2, (other - now) / 2
        if f_now == 0 or abs(half) < least or half == 0:
            break
        last, step, chance = step, half, math.inf
        if abs(last) > least and abs(f_now) < abs(f_before):
            chance = _guess(before, now, other, f_before, f_now, f_other)
        if 2 * abs(chance) < min(abs(last), 3 * abs(half) - least):
            step = chance
        else:
            last = half
        before, f_before = now, f_now
        now += step if abs(step) > least else math.copysign(least, half)
        f_now = float(f(now))
    return now


def _guess(a: float, b: float, c: float, fa: float, fb: float, fc: float) -> float:
    """How far from b the root is, by the line through a and b, or, if c is a third point, the parabola of the inverse through all."""
    if a == c:
        return -fb * (b - a) / (fb - fa)
    to_a, to_c = (fa - fb) / (a - b), (fc - fb) / (c - b)
    below = to_c * to_a * (fc - fa)
    return -fb * (fc * to_c - fa * to_a) / below if below else math.inf  # 0 where it is too small a number
