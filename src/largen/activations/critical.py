"""The universality class and the critical point of one activation, with the reasons in words (PDLT ch. 5)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from largen import exits
from largen.activations.activation import Activation, activation as as_activation
from largen.activations.critical_points import SEARCH, SMALL, Coefficients, CriticalPoint, Growth, candidates, condition, excess, neighbour
from largen.activations.statistics import Statistics, statistics
from largen.display import Columns, Record, stacked
from largen.gaussian.line import K_MIN

OFF = 0.1  # how far from K* a size is whose pace is told


@dataclass(frozen=True, repr=False, kw_only=True)
class Critical(Record):
    """What `lg.critical` returns: the recommended critical point, or None in its fields and the reason.

    Attributes
    ----------
    activation : Activation
        As given.
    universality : str
        "scale-invariant", "K*=0", "half-stable" or "none".
    C_b, C_W, K_star, stable_from, exponents, coefficients, growth
        Those of `candidates[0]`, a `CriticalPoint`.
    reason : str
        Why this one, or why none.
    candidates : tuple of CriticalPoint
        All critical points, in the order scale-invariant, K*=0 stable, half-stable, K*=0 unstable.
    searched : tuple
        The variances K that were searched for half-stable points.
    missing : dict
        Why a field is None.
    """

    activation: Activation
    universality: str
    C_b: float | None = None
    C_W: float | None = None
    K_star: float | None = None
    stable_from: str | None = None
    exponents: dict[str, float] | None = None
    coefficients: Coefficients | None = None
    growth: dict[str, Growth] | None = None
    reason: str
    candidates: tuple[CriticalPoint, ...] = ()
    searched: tuple[float, float]

    def _columns(self) -> Columns:
        return stacked(self.candidates)

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        if not self.candidates:
            names = ("C_b", "C_W", "K_star", "stable_from", "exponents", "coefficients", "growth")
            return dict.fromkeys(names, f"no critical point: {self.reason}")
        return {name: why for name, why in self.candidates[0].missing.items() if name != "neighbour"}

    def __repr__(self) -> str:
        if self.C_W is None:
            return f"<critical {self.activation.name}: none. {self.reason}>"
        where = "any K" if self.K_star is None else f"K* = {self.K_star:.6g}"
        return f"<critical {self.activation.name}: {self.universality}, C_b = {self.C_b:.8g}, C_W = {self.C_W:.8g}, {where}. {self.reason}>"


@exits.finite("neighbour", "onset")
def critical(activation: str | Callable[[Any], Any] | Activation) -> Critical:
    """The critical initialisation of any activation, its universality class and its depth exponents.

    Every K* > 0 up to 1000 (or as far as <phi^4> exists) is found, K* = 0 by Taylor coefficients at 0. Deterministic, in float64; values
    are cached.

    Parameters
    ----------
    activation : str, callable or Activation
        A name or any elementwise function.

    Returns
    -------
    Critical
        With `.universality`, `.C_b`, `.C_W`, `.K_star`, `.stable_from`, `.exponents`, `.coefficients`, `.growth` (a `Growth` per
        observable), `.candidates` (a `CriticalPoint` each) and `.reason`. An activation without a critical point gives universality "none"
        and None, not an exception.

    Raises
    ------
    InputError
        For a callable that is not elementwise, is constant, jumps, returns NaN in range, or has undeclared kinks (found by the error
        estimate, which also says where).

    References
    ----------
    PDLT ch. 5: 5.71-5.73, 5.83-5.90, 5.104, 5.121-5.136; leading order in 1/n.

    Examples
    --------
    >>> import largen as lg
    >>> point = lg.critical("gelu")
    >>> point.universality, round(point.C_W, 6), round(point.C_b, 6), round(point.K_star, 6), point.stable_from
    ('half-stable', 1.983058, 0.172922, 3.561553, 'above')
    >>> lg.critical("tanh").growth["K"]  # K of layer l
    Growth(power=-1.0, coefficient=0.5)
    >>> lg.critical("softplus").C_W is None
    True
    """
    return _critical(as_activation(activation))


@lru_cache(maxsize=64)
def _critical(phi: Activation) -> Critical:
    known = statistics(phi)
    found = candidates(known)
    searched = (0.0, known.K_max)
    if not found:
        return Critical(activation=phi, universality="none", reason=_why_none(known), searched=searched)
    best = found[0]
    return Critical(
        activation=phi,
        universality=best.universality,
        C_b=best.C_b,
        C_W=best.C_W,
        K_star=best.K_star,
        stable_from=best.stable_from,
        exponents=best.exponents,
        coefficients=best.coefficients,
        growth=best.growth,
        reason=_why(best, known),
        candidates=found,
        searched=searched,
    )


# ---------------------------------------------------------------- in words


def _why(point: CriticalPoint, known: Statistics) -> str:
    name = known.phi.name
    if point.universality == "scale-invariant":
        return f"{name} is homogeneous: with C_W = 1/<phi'^2> every size is kept, whatever it is."
    if point.universality == "half-stable":
        return _half_stable_words(point, known)
    if point.stable_from and not point.growth:
        return "Sizes fall more slowly than any power of depth: near 0 the activation is linear."
    if point.stable_from:
        return f"Sizes fall as {point.growth['K']}, a power of the layer number l instead of an exponential{_angles(point)}."
    return "The only critical point is K* = 0 and it is unstable: sizes grow away from it as a power of depth and then explode."


def _half_stable_words(point: CriticalPoint, known: Statistics) -> str:
    """Which side is attracted, where the other goes, and how slowly."""
    K, above = float(point.K_star or 0.0), point.stable_from == "above"
    fates = {0.0: "fall towards 0", math.inf: "grow without end"}
    fate = fates.get(point.neighbour or 0.0, f"settle at K = {point.neighbour:.4g}")
    end = neighbour(known, point.C_W, point.C_b, K, above)
    held = f"{'Larger' if above else 'Smaller'} sizes" + (
        "" if end in fates else f", up to K = {end:.4g}," if above else f", down to K = {end:.4g},"
    )
    start = K * (1 + OFF if above else 1 - OFF)
    layers = 0.1 * OFF * K / abs(float(excess(known, point.C_W, point.C_b, start)))
    return (
        f"Sizes are kept at K* = {K:.4g}: set the first layer so that K^(1) = K*. {held} {'come down' if above else 'rise'} to it; "
        f"{'smaller' if above else 'larger'} ones do not reach it but {fate}. All that is slow: {100 * OFF:.0f} % {point.stable_from} "
        f"K*, a size needs some {float(f'{layers:.2g}'):,.0f} layers to move by {10 * OFF:.0f} % of it."
    )


def _angles(point: CriticalPoint) -> str:
    """What becomes of small angles between inputs: squared distances over sizes."""
    if "perpendicular" not in point.exponents:
        return ""
    power = (point.exponents["perpendicular"] - point.exponents["K"]) / 2
    if abs(power) < SMALL:
        return ", and small angles between inputs are kept"
    return f", and small angles between inputs {'close' if power > 0 else 'open'} as l^{-power:.3g}"


def _why_none(known: Statistics) -> str:
    at, slope = known.taylor[:, 0].mean(), (known.taylor[:, 1] ** 2).mean()
    if slope <= SMALL**2:
        zero = "phi'(0) = 0 rules out K* = 0"
    else:
        zero = f"phi(0) = {at:.4g} is not 0, so K* = 0 would need C_b = -(phi(0)/phi'(0))^2 = {-(at**2) / slope:.4g} < 0"
    K = np.geomspace(K_MIN, known.K_max, SEARCH)
    value = condition(known, K)
    seen = value[np.isfinite(value)]
    if not len(seen):
        rest = "chi_par is never above 0: sizes do not grow with K"
    elif (seen > 0).all() or (seen < 0).all():
        ratio = np.exp([seen.min(), seen.max()])
        one = (
            f"chi_perp/chi_par is {ratio[0]:.3g}" if np.ptp(ratio) < 1e-6 else f"chi_perp is {'above' if ratio[0] > 1 else 'below'} chi_par"
        )
        rest = f"{one} for every K up to {known.K_max:.3g}"
    else:
        rest = "that holds only where it would take C_b < 0"
    return f"{zero}; K* > 0 needs chi_perp = chi_par, but {rest} (PDLT 5.73)."
