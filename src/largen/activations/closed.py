"""Closed forms of E[phi(z1) phi(z2)] for a Gaussian pair with variances q1, q2 and covariance k.

Three kinds. `Analytic`: an analytic function of (q1, q2, k), so that everything else follows by differentiation.
`Homogeneous`: the ReLU family a+ z above 0, a- z below, a function of the angle. `Step`: the sign.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

Parity = Literal["odd", "even", "none"]


@dataclass(frozen=True)
class Analytic:
    """E[phi(z1) phi(z2)] = `expectation`(q1, q2, k), analytic; `parity` of phi."""

    expectation: Callable[[Any, Any, Any], Any]
    parity: Parity = "none"


@dataclass(frozen=True)
class Homogeneous:
    """phi(z) = a_plus z for z >= 0, a_minus z for z < 0 (Cho and Saul; PDLT 5.159, 5.161)."""

    a_plus: float
    a_minus: float


@dataclass(frozen=True)
class Step:
    """phi(z) = sign(z), whose derivative is 0 almost everywhere."""


ClosedForm = Analytic | Homogeneous | Step


def erf(q1: Any, q2: Any, k: Any) -> Any:
    """(2/pi) asin(2k / sqrt((1 + 2 q1)(1 + 2 q2))) (Williams)."""
    return (2 / math.pi) * jnp.arcsin(2 * k / jnp.sqrt((1 + 2 * q1) * (1 + 2 * q2)))


def gelu(q1: Any, q2: Any, k: Any) -> Any:
    """E of z1 Phi(z1) z2 Phi(z2): with D = (1+q1)(1+q2) - k^2, by Stein's lemma twice on P(g1 < z1, g2 < z2)."""
    D = (1 + q1) * (1 + q2) - k * k
    angle = jnp.arctan2(k, jnp.sqrt(D))
    boundary = q1 * q2 + k * k - k * k * (q1 / (1 + q1) + q2 / (1 + q2))
    return k * (0.25 + angle / (2 * math.pi)) + boundary / (2 * math.pi * jnp.sqrt(D))


def sin(q1: Any, q2: Any, k: Any) -> Any:
    """exp(-(q1+q2)/2) sinh k, written so that it cannot overflow."""
    return 0.5 * (jnp.exp(k - (q1 + q2) / 2) - jnp.exp(-k - (q1 + q2) / 2))


def cos(q1: Any, q2: Any, k: Any) -> Any:
    """exp(-(q1+q2)/2) cosh k."""
    return 0.5 * (jnp.exp(k - (q1 + q2) / 2) + jnp.exp(-k - (q1 + q2) / 2))


def exp(q1: Any, q2: Any, k: Any) -> Any:
    """exp((q1+q2)/2 + k)."""
    return jnp.exp((q1 + q2) / 2 + k)


def gaussian(q1: Any, q2: Any, k: Any) -> Any:
    """E of exp(-z1^2 - z2^2) = det(1 + 2K)^(-1/2)."""
    return ((1 + 2 * q1) * (1 + 2 * q2) - 4 * k * k) ** -0.5


def polynomial(coefficients: tuple[float, ...]) -> Analytic:
    """sum_m k^m/m! E[phi^(m)(z1)] E[phi^(m)(z2)]: the Hermite series, finite here."""
    terms: list[tuple[float, list[float]]] = []
    c = [float(v) for v in coefficients]
    for m in range(len(c)):
        even = [c[2 * j] * math.prod(range(1, 2 * j, 2)) for j in range((len(c) + 1) // 2)]  # E z^2j = q^j (2j-1)!!
        terms.append((1 / math.factorial(m), even))
        c = [i * v for i, v in enumerate(c)][1:]

    def mean(even: list[float], q: Any) -> Any:
        total = jnp.zeros_like(q)
        for v in reversed(even):
            total = total * q + v
        return total

    def expectation(q1: Any, q2: Any, k: Any) -> Any:
        total = jnp.zeros_like(q1 * q2 * k)
        for weight, even in reversed(terms):
            total = total * k + weight * mean(even, q1) * mean(even, q2)
        return total

    odd, even = any(coefficients[1::2]), any(coefficients[0::2])
    return Analytic(expectation, "none" if odd and even else "odd" if odd else "even")
