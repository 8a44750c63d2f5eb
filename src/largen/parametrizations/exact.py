"""Exponents of the width as exact numbers: fractions, and infinity for what is 0 at every width."""

import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

from largen.errors import InputError, shown

Exponent = Fraction | float  # a float is infinity
CLOSE, DENOMINATOR = 1e-9, 1000  # a float this near a fraction of small denominator is that fraction
NEED = "a number or a fraction, such as 0.5, Fraction(1, 3) or '1/3'"


def exponent(value: Any, name: str, infinite: bool = False) -> Exponent:
    """One exponent; infinity where `infinite` allows it.

    >>> exponent(0.5, "a"), exponent("1/3", "a"), exponent(1 / 3, "a")
    (Fraction(1, 2), Fraction(1, 3), Fraction(1, 3))
    """
    try:
        if isinstance(value, (str, Rational)) and not isinstance(value, bool):
            return Fraction(value)
        if isinstance(value, Real) or (getattr(value, "ndim", None) == 0 and not isinstance(value, bool)):
            number = float(value)
            if infinite and number == math.inf:
                return number
            near = Fraction(number).limit_denominator(DENOMINATOR)
            return near if abs(near - Fraction(number)) <= CLOSE else Fraction(number)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        pass
    raise InputError(name, shown(value), NEED + (", or inf" if infinite else ""))


def exponents(value: Any, layers: int, name: str, infinite: bool = False) -> tuple[Exponent, ...]:
    """One exponent per layer, from one for all or a sequence."""
    if isinstance(value, (str, Real)) or getattr(value, "ndim", None) == 0:
        return (exponent(value, name, infinite),) * layers
    given = sequence(value, name)
    if len(given) != layers:
        raise InputError(
            name, f"{len(given)} exponent{'s' * (len(given) != 1)}", f"one, or one per layer: {layers}, as many as a and b have"
        )
    return tuple(exponent(one, f"{name}[{i}]", infinite) for i, one in enumerate(given))


def sequence(value: Any, name: str) -> list[Any]:
    """The entries of what is no single value."""
    if not isinstance(value, Sequence) and not hasattr(value, "tolist"):
        raise InputError(name, shown(value), "a list with one exponent per affine layer, the readout last")
    return list(value)


def power(value: Exponent) -> str:
    """n^-value in words.

    >>> power(Fraction(1, 2)), power(Fraction(0)), power(Fraction(-1)), power(math.inf)
    ('n^-1/2', '1', 'n', '0')
    """
    if value == math.inf:
        return "0"
    return "1" if value == 0 else "n" if value == -1 else f"n^{-value}"
