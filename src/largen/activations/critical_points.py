r"""The critical points of one activation and how everything grows with depth there (PDLT ch. 5).

At criticality sizes and small differences keep their scale from layer to layer (PDLT 5.55, 5.56):

    chi_par = C_W d<phi^2>/dK = 1,   chi_perp = C_W <phi'^2> = 1,   K* = C_b + C_W <phi^2>_{K*}.

Hence C_W = 1/<phi'^2>, C_b = K* - <phi^2>/<phi'^2>, and K* solves <phi'^2> = d<phi^2>/dK (PDLT 5.71-5.73), a simple root, where
the fixed point itself is a double one that no iteration finds. K* = 0 is treated by the series around it,

    C_W <phi^2> = K + a K^(1+r) + ...,   chi_perp = 1 + b K^r + ...,

r = 1 for smooth phi (a = a1, b = b1), r = 1/2 where phi has a kink at 0, r = 2 where a1 = 0.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.activations.statistics import Statistics, root
from largen.display import Record
from largen.gaussian.line import K_MIN

SEARCH = 1000  # variances at which the condition is looked at for a change of sign
SMALL = 1e-9  # a coefficient below this part of its scale is zero
NEAR = 1e-3  # where the search for the neighbour of a half-stable K* begins, relative to it


@dataclass(frozen=True, kw_only=True)
class Growth(Record):
    """One observable at depth l: `coefficient` l^`power` as l -> infinity.

    Attributes
    ----------
    power : float
        Of l.
    coefficient : float or None
        None where it depends on the start.
    missing : dict
        Why a field is None.
    """

    power: float
    coefficient: float | None = None

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        return {"coefficient": "it depends on where the first layer starts"} if self.coefficient is None else {}

    def __str__(self) -> str:
        if self.power == 0:
            return "constant" if self.coefficient is None else f"{self.coefficient:.4g}"
        return f"l^{self.power:g}" if self.coefficient is None else f"{self.coefficient:.4g} l^{self.power:g}"


@dataclass(frozen=True, repr=False, kw_only=True)
class Coefficients(Record):
    """`a1`, `a2`, `b1` of the series at K* = 0 (PDLT 5.83-5.88; None in other classes, and where a kink at 0 makes it a series in
    sqrt(K)); `leading` (a, r, b) of that series; `slope` = C_W g''(K*)/2 at a half-stable point, the book's a_1 there (5.104).
    `missing` says why one is None."""

    a1: float | None = None
    a2: float | None = None
    b1: float | None = None
    leading: tuple[float, float, float] | None = None
    slope: float | None = None

    def __iter__(self) -> Any:
        return iter((self.a1, self.a2, self.b1))

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        series = "a coefficient of the series in K at K* = 0, which this point has not"
        reasons = dict.fromkeys(("a1", "a2", "b1", "leading"), series) | {"slope": "a coefficient of half-stable points"}
        return {name: why for name, why in reasons.items() if getattr(self, name) is None}


@dataclass(frozen=True, repr=False, kw_only=True)
class CriticalPoint(Record):
    """One critical point of an activation.

    Attributes
    ----------
    universality : str
        The class.
    C_b, C_W : float
        The point.
    K_star : float or None
        The kernel there; None: a line of fixed points, every K.
    stable_from : str or None
        The side from which K is attracted, "above" or "below", None where there is neither (any K stays, or all flee).
    exponents : dict
        p of observable ~ l^-p (PDLT table of 5.4): "K" (of K - K* at half-stable points: "K - K*"), "parallel", "perpendicular", "V", "K1".
    coefficients : Coefficients
        `a1`, `a2`, `b1` of the series at K* = 0, `slope` at a half-stable point.
    growth : dict
        As `exponents`, with coefficients, a `Growth` each; "V/(n K^2)" is per l/n.
    onset : float
        The depth beyond which these powers hold, 1/(r |a|) layers from K^(1) = 1 at K* = 0, 1/(|s| K*) at half-stable points (before it, K
        stays where the first layer puts it).
    neighbour : float or None
        The size at which those settle that start on the side of a half-stable K* that it does not attract, 0 or infinity if nothing holds
        them; None at other points.
    missing : dict
        Why a field is None.
    """

    universality: str
    C_b: float
    C_W: float
    K_star: float | None
    stable_from: str | None
    exponents: dict[str, float]
    coefficients: Coefficients
    growth: dict[str, Growth]
    onset: float
    neighbour: float | None = None

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        side = "sizes flee it on both sides" if self.K_star == 0 else "every size stays where it is"
        reasons = {"K_star": "a line of fixed points: every size is kept", "stable_from": side, "neighbour": "not half-stable"}
        return {name: why for name, why in reasons.items() if getattr(self, name) is None}


def candidates(known: Statistics) -> tuple[CriticalPoint, ...]:
    if known.homogeneous is not None:
        return (_scale_invariant(*known.homogeneous),)
    at_zero = _zero(known)
    stable = [at_zero] if at_zero is not None and at_zero.stable_from else []
    unstable = [at_zero] if at_zero is not None and not at_zero.stable_from else []
    return tuple(stable + [_half_stable(known, K) for K in _roots(known)] + unstable)


# ---------------------------------------------------------------- the three classes


def _scale_invariant(up: float, down: float) -> CriticalPoint:
    """phi = a_plus z, a_minus z: C_W = 1/A2, any K (PDLT 5.2); V/(n K^2) = (3 A4/A2^2 - 1) (l - 1)/n (5.120); for a kinked phi
    all angles close, K_[2] ~ K 9/(4 rho^2 l^2) (5.168), which the expansion in small differences does not see."""
    A2, A4 = (up**2 + down**2) / 2, (up**4 + down**4) / 2
    c, rho = 3 * A4 / A2**2 - 1, (up - down) ** 2 / (2 * math.pi * A2)
    bent = rho > SMALL
    growth = {
        "K": Growth(power=0.0),
        "parallel": Growth(power=0.0),
        "perpendicular": Growth(power=-2.0, coefficient=9 / (4 * rho**2)) if bent else Growth(power=0.0),
        "V": Growth(power=1.0),
        "V/(n K^2)": Growth(power=1.0, coefficient=c),
    }
    exponents = {"K": 0.0, "parallel": 0.0, "perpendicular": 2.0 if bent else 0.0, "V": -1.0}
    return CriticalPoint(
        universality="scale-invariant",
        C_b=0.0,
        C_W=1 / A2,
        K_star=None,
        stable_from=None,
        exponents=exponents,
        coefficients=Coefficients(),
        growth=growth,
        onset=1.0,
    )


def _zero(known: Statistics) -> CriticalPoint | None:
    """K* = 0: needs phi(0) = 0 and a slope there. With C_W g = K + a K^(1+r), chi_perp = 1 + b K^r and a < 0:

    K ~ (r |a| l)^(-1/r), p_par = (1+r)/r, p_perp = b/(r a), V ~ (c/3) l K^2 with c = 3 A4/A2^2 - 1, K{1} -> -(1+r) (c/12) l K
    (r = 1, c = 2: PDLT 5.94-5.99, 5.127, 5.134)."""
    slopes = known.taylor[:, 1]
    A2 = float((slopes**2).mean())
    if np.abs(known.taylor[:, 0]).max() > SMALL or A2 <= SMALL**2:
        return None
    sizes, perpendicular = known.series(of_slope=False) / A2, known.series(of_slope=True) / A2
    scale = max(1.0, np.abs(known.taylor[:, 2:]).max() / math.sqrt(A2))
    power = next((k for k in (3, 4, 5, 6) if abs(sizes[k]) > 1e3 * SMALL * scale), None)
    smooth = abs(sizes[3]) <= 1e3 * SMALL * scale
    a1, a2, b1 = (float(sizes[4]), float(sizes[6]), float(perpendicular[2])) if smooth else (None, None, None)
    c = 3 * float((slopes**4).mean()) / A2**2 - 1
    if power is None:  # C_W g = K to all orders (hardtanh): the first visible deviation decides, slower than any power
        K = np.geomspace(K_MIN, known.K_max, SEARCH)
        off = known.moments(K).g / A2 / K - 1
        side = "above" if (off[np.abs(off) > SMALL][:1] < 0).any() else None
        return CriticalPoint(
            universality="K*=0",
            C_b=0.0,
            C_W=1 / A2,
            K_star=0.0,
            stable_from=side,
            exponents={},
            coefficients=Coefficients(a1=a1, a2=a2, b1=b1),
            growth={},
            onset=math.inf,
        )
    r, a, b = (power - 2) / 2, float(sizes[power]), float(perpendicular[power - 2])
    coefficients = Coefficients(a1=a1, a2=a2, b1=b1, leading=(a, r, b))
    if a > 0:
        return CriticalPoint(
            universality="K*=0",
            C_b=0.0,
            C_W=1 / A2,
            K_star=0.0,
            stable_from=None,
            exponents={},
            coefficients=coefficients,
            growth={},
            onset=1 / (r * a),
        )
    size = (r * -a) ** (-1 / r)
    lower = np.abs(perpendicular[1 : power - 2]).max(initial=0.0) > 1e3 * SMALL * scale  # chi_perp - 1 falls more slowly than K^r
    exponents = {"K": 1 / r, "parallel": (1 + r) / r, "V": 2 / r - 1, "K1": 1 / r - 1}
    if not lower:
        exponents["perpendicular"] = b / (r * a)
    growth = {name: Growth(power=-p + 0.0) for name, p in exponents.items()}
    growth |= {
        "K": Growth(power=-1 / r, coefficient=size),
        "V": Growth(power=1 - 2 / r, coefficient=c / 3 * size**2),
        "V/(n K^2)": Growth(power=1.0, coefficient=c / 3),
        "K1": Growth(power=1 - 1 / r + 0.0, coefficient=-(1 + r) * c / 12 * size),
    }
    return CriticalPoint(
        universality="K*=0",
        C_b=0.0,
        C_W=1 / A2,
        K_star=0.0,
        stable_from="above",
        exponents=exponents,
        coefficients=coefficients,
        growth=growth,
        onset=1 / (r * -a),
    )


def _half_stable(known: Statistics, K: float) -> CriticalPoint:
    """K* > 0: d' = d + s d^2 for d = K - K*, s = C_W g''/2 (PDLT 5.103-5.104), so d ~ 1/(-s l); p_par = 2, p_perp =
    (d chi_perp/dK)/s, V ~ C_W^2 (<phi^4> - <phi^2>^2) l (chi_par = 1)."""
    m = known.moments(K)
    C_W = 1 / float(m.slope)
    C_b = max(K - C_W * float(m.g), 0.0)
    s = C_W * float(m.d2g) / 2
    source = C_W**2 * float(m.fourth - m.g**2)
    perpendicular = C_W * float(m.dslope) / s
    exponents = {"K": 0.0, "K - K*": 1.0, "parallel": 2.0, "perpendicular": perpendicular, "V": -1.0}
    growth = {name: Growth(power=-p + 0.0) for name, p in exponents.items()}
    growth |= {
        "K": Growth(power=0.0, coefficient=K),
        "K - K*": Growth(power=-1.0, coefficient=-1 / s),
        "V": Growth(power=1.0, coefficient=source),
        "V/(n K^2)": Growth(power=1.0, coefficient=source / K**2),
    }
    side = "above" if s < 0 else "below"
    place = neighbour(known, C_W, C_b, K, above=side == "below")
    return CriticalPoint(
        universality="half-stable",
        C_b=C_b,
        C_W=C_W,
        K_star=K,
        stable_from=side,
        exponents=exponents,
        coefficients=Coefficients(slope=s),
        growth=growth,
        onset=1 / (abs(s) * K),
        neighbour=place,
    )


def neighbour(known: Statistics, C_W: float, C_b: float, K: float, above: bool) -> float:
    """The next fixed point above or below a half-stable K*, infinity or 0 if there is none."""
    near = np.geomspace(NEAR, 1, SEARCH // 8)
    sizes = np.concatenate([K * (1 + near), np.geomspace(2.1 * K, max(known.K_max, 2.2 * K), SEARCH // 8)]) if above else K * (1 - near)
    sizes = sizes[(sizes > K_MIN) & (sizes <= known.K_max)]
    if not len(sizes):
        return math.inf if above else 0.0
    off = excess(known, C_W, C_b, sizes)
    turns = np.nonzero(off[:-1] * off[1:] < 0)[0]
    if not len(turns):
        return math.inf if above else 0.0
    return root(lambda q: excess(known, C_W, C_b, q), float(sizes[turns[0]]), float(sizes[turns[0] + 1]))


def excess(known: Statistics, C_W: float, C_b: float, K: Any) -> np.ndarray:
    """By how much a layer changes a size K."""
    return C_b + C_W * known.moments(K).g - K


def condition(known: Statistics, K: Any) -> np.ndarray:
    """log of chi_perp/chi_par (PDLT 5.73); where d<phi^2>/dK <= 0 to rounding, chi_par cannot be 1: infinite."""
    m = known.moments(K)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(m.dg > 1e-12 * m.slope, np.log(m.slope / m.dg), np.inf)


def _roots(known: Statistics) -> list[float]:
    """Every K* > 0 with C_b >= 0."""
    K = np.geomspace(K_MIN, known.K_max, SEARCH)
    value = condition(known, K)
    # near K* = 0 the condition holds up to rounding: no root, the point at 0 seen from afar
    seen = np.isfinite(value) & (np.abs(value) > SMALL)
    crossings = np.nonzero(seen[:-1] & seen[1:] & (value[:-1] * value[1:] < 0))[0]
    found = []
    for i in crossings:
        at = root(lambda k: condition(known, k), K[i], K[i + 1])
        m = known.moments(at)
        if at - m.g / m.slope >= -1e-12 * at:
            found.append(at)
    return found
