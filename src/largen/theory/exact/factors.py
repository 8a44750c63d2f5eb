r"""One layer of a scale-invariant network multiplies sizes by an independent random factor,

    X = (1/n) sum_{j<=n} phi(g_j)^2 / A2,     g_j independent N(0, 1),     A2 = E phi(g)^2,

phi(z) = a+ z above 0, a- z below. E X = 1, Var X = c/n with c = 3 A4/A2^2 - 1 (linear 2, ReLU 5), A4 = (a+^4 + a-^4)/2.
Integer powers by repeated squaring of the binomial convolution (all terms positive: no cancellation). The root and the
logarithm from M(t) = E exp(-t X) = [(1 + 2 a+^2 t/(n A2))^(-1/2)/2 + (1 + 2 a-^2 t/(n A2))^(-1/2)/2]^n:

    E X^(1/2) = (4 pi)^(-1/2) int t^(-3/2) (1 - M) dt,      E X^(-s) = int t^(s-1) M dt / Gamma(s), expanded at s = 0,

by the trapezoid rule in log t, whose error is below rounding.
"""

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

import numpy as np

from largen.activations.activation import Activation
from largen.activations.closed import Homogeneous
from largen.architecture.chain import Layer, plain
from largen.errors import InputError, UnsupportedError
from largen.types import is_traced

Slopes = tuple[float, float]  # (a+, a-)
LINEAR = ("linear", "monomial(1)", "hermite(1)")
DIGITS = 120  # cumulants are small differences of moments
LOG_T = np.arange(-800, 801) * 0.1  # the integrands are analytic for |Im log t| < pi/2: error exp(-98)


@dataclass(frozen=True)
class Factor:
    """Moments of X that are no integer powers: E X^(1/2), P(X = 0), and mean and variance of log X given X > 0."""

    root: float
    dead: float
    log_mean: float
    log_variance: float


def slopes(phi: Activation | None) -> Slopes | None:
    """(a+, a-) of a scale-invariant activation that is not zero, else None."""
    if phi is not None and phi.name in LINEAR:
        return 1.0, 1.0
    if phi is not None and isinstance(phi.closed, Homogeneous) and (phi.closed.a_plus or phi.closed.a_minus):
        return phi.closed.a_plus, phi.closed.a_minus
    return None


def second_moment(pair: Slopes) -> float:
    """A2 = E phi(g)^2."""
    return (pair[0] ** 2 + pair[1] ** 2) / 2


def excess(pair: Slopes) -> float:
    """c = 3 A4/A2^2 - 1, n times the variance of X: linear 2, ReLU 5."""
    return 1.5 * (pair[0] ** 4 + pair[1] ** 4) / second_moment(pair) ** 2 - 1


def concrete_chain(net: object, theory: str) -> tuple[Layer, ...]:
    """The plain chain of a network whose hyperparameters are numbers: exact laws are computed outside JAX."""
    if is_traced(net):
        raise InputError("net", "traced C_W or C_b", "numbers", "Call this outside jit, grad and vmap.")
    layers = plain(net, theory)
    zero = next((layer for layer in layers if layer.C_W == 0), None)
    if zero is not None:
        raise InputError("net", f"C_W = 0 at {zero.path}", "C_W > 0 in every layer", "Without weights nothing is passed on.")
    return layers


def slopes_of(layers: tuple[Layer, ...], theory: str) -> list[Slopes]:
    """(a+, a-) of the activation before each layer from the second on, or `UnsupportedError`."""
    found = [(layer, slopes(layer.activation)) for layer in layers[1:]]
    for layer, pair in found:
        if pair is None:
            reason = "the exact law holds for scale-invariant activations; lg.exact.metric_chain samples every other one"
            raise UnsupportedError(
                repr(layer.activation), f"before {layer.path}", theory, reason, ["linear", "relu", "leaky_relu(a)", "abs"]
            )
    return [pair for _, pair in found if pair is not None]


@cache
def powers(pair: Slopes, n: int, order: int) -> tuple[Decimal, ...]:
    """E X^m for m = 0..order, to `DIGITS` decimal digits."""
    with localcontext() as context:
        context.prec = DIGITS
        plus, minus = (Decimal(a) ** 2 for a in pair)
        one = [Decimal(1), *(math.prod(range(1, 2 * m, 2)) * (plus**m + minus**m) / 2 for m in range(1, order + 1))]
        total, square, left = [Decimal(1), *[Decimal(0)] * order], one, n
        while left:
            total, square, left = (_add(total, square) if left & 1 else total), _add(square, square), left >> 1
        scale = n * (plus + minus) / 2
        return tuple(value / scale**m for m, value in enumerate(total))


def _add(a: list[Decimal], b: list[Decimal]) -> list[Decimal]:
    """Moments of a sum of two independent variables."""
    return [sum((math.comb(m, k) * a[k] * b[m - k] for k in range(m + 1)), Decimal(0)) for m in range(len(a))]


@cache
def factor(pair: Slopes, n: int) -> Factor:
    """The `Factor` of a layer of n units."""
    t, step, kinked = np.exp(LOG_T), LOG_T[1] - LOG_T[0], 0.0 in pair
    above, below = (-0.5 * np.log1p(2 * a * a / (n * second_moment(pair)) * t) for a in pair)  # logarithms of the roots in M
    log_M = n * ((above + below) / 2 + np.log1p(2 * np.sinh((above - below) / 4) ** 2))  # of their mean, exact at both ends
    root = step * float((np.exp(-LOG_T / 2) * -np.expm1(log_M)).sum()) / (2 * math.sqrt(math.pi))
    alive, dead = np.exp(log_M), 0.0
    if kinked:  # all units off: M tends to 2^-n, which is taken out before it can cancel
        alive, dead = alive * -np.expm1(-n * np.log1p(np.exp(np.minimum(above, below)))), 2.0**-n
    gap = alive / (1 - dead) - np.exp(-t)
    first, second = step * float(gap.sum()), step * float((LOG_T * gap).sum())
    return Factor(root, dead, -first, 2 * (np.euler_gamma * first + second) - first**2)
