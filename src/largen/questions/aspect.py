r"""The aspect ratio L/n at which the expansion in 1/n turns, and the skip weight that moves it.

At criticality V/(n K^2) = nu L/n with

    nu(gamma) = f (1 - gamma^2) [(1 - gamma^2) c + 4 gamma^2 + 2 gamma (1 + gamma) s],        c = C_W^2 (<phi^4> - <phi^2>^2)/K^2,
    s = C_W^2 <phi^2 z>^2/K^3,        f = 1/3 at K* = 0, else 1,

C_W that without a skip connection: c = 2, s = 0 at a smooth K* = 0; c = 3 A4/A2^2 - 1, s = (2/pi) (a_+^2 - a_-^2)^2/A2^2 for
scale-invariant activations. The term in s, from the three-point cumulant M, is missing in the book, where it vanishes for odd activations.
At the aspect ratio that is returned sizes of single networks scatter by V/(n K^2) = 4/(20 + 3 n_out): `lg.how_deep` at that tolerance.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from largen import door, exits
from largen.activations.activation import Activation, activation as as_activation
from largen.activations.critical import critical
from largen.activations.statistics import root, statistics
from largen.display import Record
from largen.errors import InputError, UnsupportedError, shown

NAME = "the optimal aspect ratio"
SMALL = 1e-12
TRUNCATION = (
    "the depth at which the series of the mutual information, cut after 1/n^3, is largest: a scale between effectively deep and overly "
    "deep. The information itself goes on growing with depth (lg.analysis.information)."
)
SKEWED = "With a skip connection and an activation that is not odd the series has a further term, of third cumulants, which r leaves out."
SHALLOW = "nu is the growth per layer in deep networks, with corrections log(L)/L: below some tens of layers take lg.corrections."


@dataclass(frozen=True, repr=False, kw_only=True)
class AspectRatio(Record):
    """What `lg.analysis.optimal_aspect_ratio` returns.

    Attributes
    ----------
    r : float
        The ratio L/n of depth and width, r* = 4/((20 + 3 n_out) nu).
    nu : float
        V/(n K^2) per L/n, at the skip weight `residual`.
    universality : str
        Class of the critical point.
    n_out : int
        As given.
    residual : float
        As given.
    information : float or None
        The series at r*, (1/6) (n_out/(20 + 3 n_out))^2 nats between two halves of the outputs, None for an odd number of them.
    C_W, C_b : float
        Critical at this skip weight.
    cautions : tuple of str
        What r is not.
    missing : dict
        Why a field is None.
    """

    r: float
    nu: float
    universality: str
    n_out: int
    residual: float
    information: float | None
    C_W: float
    C_b: float
    cautions: tuple[str, ...]
    missing: dict[str, str] = field(default_factory=dict)


@exits.finite()
def optimal_aspect_ratio(activation: Any, n_out: int = 1, residual: float = 0.0) -> AspectRatio:
    """The aspect ratio r* = L/n up to which a network at criticality is effectively deep and not yet overly so.

        r* = 4/((20 + 3 n_out) nu),      V/(n K^2) = nu L/n:

    where the mutual information of two halves of the outputs, to order 1/n^3, is largest. nu = 2/3 at K* = 0, 3 A4/A2^2 - 1 for
    scale-invariant activations (linear 2, ReLU 5), from the moments at K* for half-stable ones; with a skip connection of weight gamma

        nu(gamma) = f (1 - gamma^2) [(1 - gamma^2) c + 4 gamma^2 + 2 gamma (1 + gamma) s],        c = C_W^2 (<phi^4> - <phi^2>^2)/K^2,
        s = C_W^2 <phi^2 z>^2/K^3,        f = 1/3 at K* = 0, else 1,

    C_W that without a skip connection. Read `.cautions`: r* is where a truncated series turns over, not a maximum of the information.

    Parameters
    ----------
    activation : str, callable or Activation
        A name or an elementwise function.
    n_out : int
        Outputs of the network.
    residual : float
        gamma in (-1, 1), around every hidden layer.

    Returns
    -------
    AspectRatio
        r*, and the C_W, C_b that it is for.

    Raises
    ------
    UnsupportedError
        For an activation without a critical point or, at K* = 0, without a power law.
    InputError
        Otherwise.

    References
    ----------
    PDLT A.72-A.74, B.29, B.35, B.36, with nu corrected for activations that are not odd.

    Examples
    --------
    >>> import largen as lg
    >>> found = lg.analysis.optimal_aspect_ratio("relu", n_out=10)
    >>> round(found.r, 6), found.nu, found.residual
    (0.016, 5.0, 0.0)
    >>> round(lg.analysis.optimal_aspect_ratio("relu", residual=0.5).nu, 3)  # larger than without: small skip weights scatter ReLU more
    6.427
    """
    phi, outputs, gamma = as_activation(activation), door.count(n_out, "n_out"), _skip(residual)
    point = critical(phi)
    nu = _growth(phi, gamma)
    cautions = [f"r is {TRUNCATION}"]
    skewed = gamma != 0 and abs(_coefficients(phi)[1]) > SMALL
    cautions += [SKEWED] if skewed else []
    cautions += [SHALLOW] if point.universality == "K*=0" else []
    missing = {"information": "an odd number of outputs has no two halves"} if outputs % 2 else {}
    best = None if outputs % 2 else (outputs / (20 + 3 * outputs)) ** 2 / 6
    shrink = 1 - gamma**2
    return AspectRatio(
        r=4 / ((20 + 3 * outputs) * nu),
        nu=nu,
        universality=point.universality,
        n_out=outputs,
        residual=gamma,
        information=best,
        C_W=shrink * float(point.C_W or 0.0),
        C_b=shrink * float(point.C_b or 0.0),
        cautions=tuple(cautions),
        missing=missing,
    )


@exits.finite()
def optimal_residual(activation: Any, ratio: float, n_out: int = 1) -> float:
    """The skip weight gamma* in [0, 1) that makes the aspect ratio L/n = `ratio` the optimal one: nu(gamma*) = 4/((20 + 3 n_out) ratio).

    Beyond r* of networks without skip connections, 1 - gamma*^2 ~ 1/ratio, the largest solution where there are more. Set C_W and C_b as
    `lg.analysis.optimal_aspect_ratio(activation, n_out, gamma)` says.

    Parameters
    ----------
    activation : str, callable or Activation
        A name or an elementwise function.
    ratio : float
        L/n, above 0.
    n_out : int
        Outputs of the network.

    Returns
    -------
    float
        gamma*; 0 where the network is not deeper than r* without skip connections: they then help nothing.

    Raises
    ------
    InputError, UnsupportedError
        As `lg.analysis.optimal_aspect_ratio`, and `InputError` for ratio <= 0.

    References
    ----------
    PDLT app. B after B.36, with nu corrected.

    Examples
    --------
    >>> import largen as lg
    >>> lg.analysis.optimal_residual("tanh", ratio=0.1), round(lg.analysis.optimal_residual("tanh", ratio=1.0), 4)
    (0.0, 0.9272)
    """
    phi, outputs = as_activation(activation), door.count(n_out, "n_out")
    target = 4 / ((20 + 3 * outputs) * door.real(ratio, "ratio", low=0.0, strict=True))
    if target >= _growth(phi, 0.0):
        return 0.0
    grid = np.linspace(0.0, 1.0, 257)  # nu rises at most once before it falls to 0
    above = [g for g in grid if _growth(phi, float(g)) > target]
    return root(lambda g: _growth(phi, g) - target, float(above[-1]), 1.0)


def _skip(value: Any) -> float:
    gamma = door.real(value, "residual")
    if not -1 < gamma < 1:
        fix = "With gamma = 1 a critical C_W would be 0: such networks need normalisation."
        raise InputError("residual", shown(value), "a skip weight between -1 and 1", fix)
    return gamma


def _growth(phi: Activation, gamma: float) -> float:
    """nu(gamma)."""
    c, s, f = _coefficients(phi)
    shrink = 1 - gamma**2
    return f * shrink * (shrink * c + 4 * gamma**2 + 2 * gamma * (1 + gamma) * s)


def _coefficients(phi: Activation) -> tuple[float, float, float]:
    """(c, s, f) of nu."""
    point, known = critical(phi), statistics(phi)
    if point.C_W is None:
        raise UnsupportedError(repr(phi), "", NAME, point.reason)
    if point.universality == "half-stable":
        K = float(point.K_star or 0.0)
        m = known.moments(K)
        square = point.C_W**2
        return square * float(m.fourth - m.g**2) / K**2, square * float(m.skew) ** 2 / K**3, 1.0
    if not point.growth:
        raise UnsupportedError(repr(phi), "", NAME, "at its critical point nothing goes as a power of depth")
    # homogeneous, or so to leading order around 0: the slopes on both sides
    squares = np.asarray(known.homogeneous or known.taylor[:, 1], float) ** 2
    A2, A4 = float(squares.mean()), float((squares**2).mean())
    skew = 2 / math.pi * float(np.ptp(squares)) ** 2 / A2**2
    return 3 * A4 / A2**2 - 1, skew, 1.0 if point.universality == "scale-invariant" else 1 / 3
