r"""How large signals are in a finite network with scale-invariant activations: exact in the width, one input, C_b = 0.

    Ghat^(l) = K^(l) prod_{l'<l} X_{l'},      X independent, the factors of theory/exact/factors.py,      z^(l)_i = Ghat^(1/2) N(0, 1),

the law behind PDLT 3.44-3.57 (linear) and 5.113-5.120, for any widths. So E[Ghat^m] = K^m prod E[X^m].
"""

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from largen import door, exits
from largen.display import Record
from largen.errors import InputError, UnsupportedError
from largen.theory.exact.factors import DIGITS, concrete_chain, excess, factor, powers, second_moment, slopes_of

OFF = 0.10  # how wrong the first order may be before it counts as no good
MOST = 100  # order
NAME = "the exact law of sizes"


@dataclass(frozen=True, repr=False, kw_only=True)
class SizeMoments(Record):
    """What `lg.exact.size_moments` returns: exact at any width, arrays over layers l = 1..L and powers m = 1..order.

    Attributes
    ----------
    K : array (L,)
        E[Ghat] = E[z^2].
    moments : array (L, order)
        E[Ghat^m]; E[z_i^(2m)] = (2m-1)!! times it.
    cumulants : array (L, order)
        Of Ghat; the second is V/n.
    kurtosis : array (L,)
        Excess kurtosis of one unit, 3 Var[Ghat]/K^2.
    norm_variance : array (L,)
        Variance of (1/n_l) |z^(l)|^2 over networks.
    dead : array (L,)
        Probability that the signal is exactly 0.
    log_mean, log_variance : array (L,)
        Of log Ghat where it is not 0; exp(log_mean) is the typical size.
    ratio : array (L,)
        V/(n K^2) to first order, sum_{l'<l} c/n_{l'}.
    series : array (L, order)
        E[Ghat^m] to first order in `ratio`, K^m (1 + m(m-1) ratio/2).
    double_scaled : array (L, order)
        Its limit at L, n -> infinity with L/n fixed, K^m exp(m(m-1) ratio/2).
    cutoff : array (order,)
        The ratio at which the first order of E[Ghat^m] is 10 % too small (infinite for m = 1, exact).
    """

    K: np.ndarray
    moments: np.ndarray
    cumulants: np.ndarray
    kurtosis: np.ndarray
    norm_variance: np.ndarray
    dead: np.ndarray
    log_mean: np.ndarray
    log_variance: np.ndarray
    ratio: np.ndarray
    series: np.ndarray
    double_scaled: np.ndarray
    cutoff: np.ndarray

    _table = ("layer", "K kurtosis norm_variance dead log_mean log_variance ratio")


@exits.finite("moments", "cumulants", "kurtosis", "norm_variance", "series", "double_scaled", "cutoff")
def size_moments(net: Any, X: Any, order: int = 4) -> SizeMoments:
    """Exact moments of the size of signals at finite width, for scale-invariant activations, C_b = 0 and one input.

        E[Ghat^m] = K^m prod_{l'<l} E[X_{l'}^m],      E[X^2] = 1 + c/n,      c = 3 A4/A2^2 - 1 (linear 2, ReLU 5)

    For linear networks E[X^m] = c_2m(n) = prod_{k<m} (1 + 2k/n) (PDLT 3.46). Any widths, activations and C_W by layer.

    Parameters
    ----------
    net : architecture
        A plain chain of scale-invariant activations with C_b = 0.
    X : array (1, features)
        One input, not 0.
    order : int
        The highest power m, at least 2.

    Returns
    -------
    SizeMoments
        float64 arrays; a moment beyond the range of floats is infinite.

    Raises
    ------
    UnsupportedError
        For other networks and activations and for C_b > 0.
    InputError
        For several inputs, the zero input, order < 2.

    References
    ----------
    PDLT 3.44-3.57, 5.113-5.120; extended to every scale-invariant activation.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> out = lg.exact.size_moments(lg.mlp(widths=[100] * 9, out=1, activation="relu", C="critical"), np.full((1, 4), 0.5**0.5))
    >>> float(out.moments[9, 1]), float(out.ratio[9])  # (1 + 5/100)^9, and 5 x 9/100
    (1.551328, 0.45)
    >>> out.cutoff.round(3)
    array([ inf, 0.532, 0.177, 0.089])
    """
    layers, x, order = concrete_chain(net, NAME), door.host(door.points(X), "X"), door.count(order, "order", 2)
    if order > MOST:
        raise InputError("order", str(order), f"at most {MOST}", "The work grows as order^2.")
    pairs = slopes_of(layers, NAME)
    biased = next((layer for layer in layers if layer.C_b), None)
    if biased is not None:
        reason = f"C_b = {biased.C_b:g}; sizes multiply only without biases. lg.exact.metric_chain samples them"
        raise UnsupportedError("a bias", biased.path, NAME, reason)
    if x.shape[0] != 1 or not np.any(x):
        raise InputError(
            "X", "the zero input" if x.shape[0] == 1 else f"{x.shape[0]} inputs", "one input that is not 0, shape (1, features)"
        )
    widths = [layer.width for layer in layers]
    gains = [layer.C_W * second_moment(p) for layer, p in zip(layers[1:], pairs, strict=True)]
    K = float(np.square(np.asarray(x, float)).mean()) * layers[0].C_W * np.cumprod([1.0, *gains])
    m = np.arange(1, order + 1)
    with localcontext() as context:
        context.prec = DIGITS
        relative = [[Decimal(1)] * (order + 1)]
        for p, n in zip(pairs, widths, strict=False):
            relative.append([a * b for a, b in zip(relative[-1], powers(p, n, order), strict=True)])
        joined = np.array([[float(v) for v in row[1:]] for row in relative])
        cumulants = np.array([_cumulants(row) for row in relative])
    found = [factor(p, n) for p, n in zip(pairs, widths, strict=False)]
    ratio = np.cumsum([0.0, *(excess(p) / n for p, n in zip(pairs, widths, strict=False))])
    scale, growth = K[:, None] ** m, ratio[:, None] * (m * (m - 1) / 2)
    variance = cumulants[:, 1] * K**2
    with np.errstate(divide="ignore", over="ignore"):
        return SizeMoments(
            K=K,
            moments=scale * joined,
            cumulants=scale * cumulants,
            kurtosis=3 * cumulants[:, 1],
            norm_variance=2 / np.array(widths) * joined[:, 1] * K**2 + variance,
            dead=0.0 - np.expm1(np.cumsum([0.0, *(np.log1p(-f.dead) for f in found)])),
            log_mean=np.log(K) + np.cumsum([0.0, *(f.log_mean for f in found)]),
            log_variance=np.cumsum([0.0, *(f.log_variance for f in found)]),
            ratio=ratio,
            series=scale * (1 + growth),
            double_scaled=scale * np.exp(growth),
            cutoff=_cutoff() / (m * (m - 1) / 2),
        )


def _cumulants(moments: list[Decimal]) -> list[float]:
    """Cumulants 1.. of a variable of moments 0..: kappa_m = mu_m - sum_k binom(m-1, k-1) kappa_k mu_{m-k}."""
    kappa: list[Decimal] = [Decimal(0)]
    for m in range(1, len(moments)):
        kappa.append(moments[m] - sum((math.comb(m - 1, k - 1) * kappa[k] * moments[m - k] for k in range(1, m)), Decimal(0)))
    return [float(v) for v in kappa[1:]]


def _cutoff() -> float:
    """u with (1 + u) exp(-u) = 1 - OFF, by Newton's method."""
    u = math.sqrt(2 * OFF)
    for _ in range(50):
        u += ((1 + u) * math.exp(-u) - 1 + OFF) / (u * math.exp(-u))
    return u
