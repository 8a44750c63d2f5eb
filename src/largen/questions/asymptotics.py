r"""How the 1/n tensors of one input grow with depth at the critical point: powers and coefficients by universality class.

Every tensor is measured in the units of what it corrects, X/(n K^2) for V, X/(n Theta^2) for A, B, P, Q, X/(n K Theta) for D, F and
X K/(n Theta^3) for R, S, T, U. In the two classes of the book all of these grow as the aspect ratio l/n, but U at K* = 0, as 1/(l n).

Rates: scale-invariant and half-stable, the same in every layer (dividing all by L changes no ratio); K* = 0, lambda_b^(l) = bias l^-p,
lambda_W^(l) = weight l^(1-p) (PDLT 9.70). Notation: r = A4/A2^2, a = r - 1, w = weight A2 K, th = bias + w; c = bias + w', w' = weight
phi'(0)^2/(-a1), e = p bias + (p - 1) w'.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from largen import door, exits
from largen.activations.activation import Activation, activation as as_activation
from largen.activations.critical import critical
from largen.activations.critical_points import SMALL, CriticalPoint, Growth
from largen.activations.statistics import Statistics, statistics
from largen.display import Columns, Record
from largen.errors import InputError, UnsupportedError, shown
from largen.gaussian import line
from largen.types import float64

LARGEST = 1e75  # fourth powers are floats
NAMES = ("V", "D", "F", "A", "B", "P", "Q", "R", "S", "T", "U")
UNITS = {name: (2, 0) for name in "V"} | {name: (1, 1) for name in "DF"} | {name: (0, 2) for name in "ABPQ"}
UNITS |= {name: (-1, 3) for name in "RSTU"}  # powers of K and of Theta
KINKED = "the activation has kinks: <phi'' phi''> diverges, and the NTK changes by 1/sqrt(n), not by 1/n"
NAME = "exact tensors of one input"


@dataclass(frozen=True, repr=False, kw_only=True)
class Asymptotics(Record):
    """What `lg.analysis.asymptotics` returns, leading order in 1/n and in 1/l.

    Attributes
    ----------
    activation : Activation
        As given.
    universality : str
        Class of the critical point.
    rates : tuple (bias, weight)
        As given.
    schedule : str
        How they go with the layer, in words.
    ratios : dict
        {name: Growth}, the normalised tensor at depth l, times n. `Growth` has `.coefficient` and `.power` of l; a coefficient that is not
        known is None.
    tensors : dict
        {name: Growth}, the tensor itself, K and Theta too.
    missing : dict
        Why a tensor or coefficient is not there.
    """

    activation: Activation
    universality: str
    rates: tuple[float, float]
    schedule: str
    ratios: dict[str, Growth]
    tensors: dict[str, Growth]
    missing: dict[str, str] = field(default_factory=dict)

    def _columns(self) -> Columns:
        rows = [(kind, name, g.power, g.coefficient) for kind in ("ratios", "tensors") for name, g in getattr(self, kind).items()]
        return dict(zip(("of", "name", "power", "coefficient"), map(list, zip(*rows, strict=True)), strict=True))


def _scales(bias: Any, weight: Any, K: Any) -> tuple[float, float, float]:
    """Both rates and the kernel, whose squares and products are floats too."""
    b, w, size = (door.real(v, name, low=0.0) for v, name in ((bias, "bias"), (weight, "weight"), (K, "K")))
    for name, value in (("bias", b), ("weight", w), ("K", size)):
        if value > LARGEST:
            raise InputError(name, shown(value), f"a number up to {LARGEST:g}", "Tensors are homogeneous in it: scale the result.")
    return b, w, size


@dataclass(frozen=True, repr=False, kw_only=True)
class ScaleInvariantTensors(Record):
    """What `lg.analysis.scale_invariant_tensors` returns: exact values at one layer for one input, uniform rates and equal hidden widths.

    Attributes
    ----------
    K, Theta : float
        Kernel and NTK.
    V, D, F, A, B, P, Q : float
        The tensors.
    R, S, T, U : float or None
        Those of ddNTKs, which exist for linear activations.
    missing : dict
        Why a field is None.
    """

    K: float
    Theta: float
    V: float
    D: float
    F: float
    A: float
    B: float
    P: float
    Q: float
    R: float | None
    S: float | None
    T: float | None
    U: float | None
    missing: dict[str, str] = field(default_factory=dict)


@exits.finite()
def asymptotics(activation: Any, bias: float = 1.0, weight: float = 1.0, K: float = 1.0) -> Asymptotics:
    """Powers of depth and their coefficients for every 1/n tensor of one input, at the critical point of an activation.

    Every tensor is measured in the units of what it corrects, X/(n K^2) for V, X/(n Theta^2) for A, B, P, Q, X/(n K Theta) for D, F and
    X K/(n Theta^3) for R, S, T, U. At K* = 0 corrections are of relative order log(l)/l; at a half-stable point sizes are taken to stay at
    K*, where D, Q, R, S grow as l^2/n and A, T as l^3/n, with corrections of order 1/l that are large (GELU, A: 1.9 times the leading term
    at l = 100, 1.07 times at 1000).

    Parameters
    ----------
    activation : str, callable or Activation
        A name or an elementwise function.
    bias, weight : float
        The rates: in scale-invariant and half-stable classes the same in every layer (dividing all by L changes no ratio); at K* = 0
        lambda_b^(l) = bias l^-p, lambda_W^(l) = weight l^(1-p), p = p_perp.
    K : float
        The size of the signal, which scale-invariant activations keep.

    Returns
    -------
    Asymptotics
        A `Growth` a tensor.

    Raises
    ------
    UnsupportedError
        For an activation without a critical point.
    InputError
        For rates < 0, K <= 0.

    References
    ----------
    PDLT 9.42-9.52, 9.70-9.86, 11.81, 11.100-11.102, inf.30-33, inf.47-48; half-stable points: summed from the recursions.

    Examples
    --------
    >>> import largen as lg
    >>> found = lg.analysis.asymptotics("tanh")
    >>> print(found.ratios["V"], "|", found.ratios["B"], "|", found.ratios["P"], "|", found.ratios["U"])
    0.6667 l^1 | 0.3333 l^1 | -0.08333 l^1 | 0.5 l^-1
    >>> lg.analysis.asymptotics("relu").missing["R"]
    "the activation has kinks: <phi'' phi''> diverges, and the NTK changes by 1/sqrt(n), not by 1/n"
    """
    phi = as_activation(activation)
    b, w, size = _scales(bias, weight, K)
    if not size:
        raise InputError("K", shown(K), "a number > 0")
    found = critical(phi)
    if found.C_W is None:
        raise UnsupportedError(repr(phi), "", "depth asymptotics", found.reason)
    point, known = found.candidates[0], statistics(phi)
    rule = {"scale-invariant": _scale_invariant, "K*=0": _zero, "half-stable": _half_stable}[point.universality]
    scales, ratios, missing, schedule = rule(point, known, b, w, size)
    if phi.kinks:
        missing |= {name: KINKED for name in "RSTU"}
        ratios = {name: growth for name, growth in ratios.items() if name not in "RSTU"}
    tensors = scales | {name: _times(ratios[name], scales, *UNITS[name]) for name in ratios if len(scales) == 2}
    return Asymptotics(
        activation=phi, universality=point.universality, rates=(b, w), schedule=schedule, ratios=ratios, tensors=tensors, missing=missing
    )


@exits.finite()
def scale_invariant_tensors(activation: Any, layer: int, bias: float = 1.0, weight: float = 1.0, K: float = 1.0) -> ScaleInvariantTensors:
    """The 1/n tensors of one input in closed form, for scale-invariant activations at criticality: exact at every layer.

        V = (l-1)(3r-1) K^2,  Theta = th l,  F = l(l-1)/2 r th K,  B = l(l-1)(2l-1)/6 r th^2,  D = l(l-1)/2 [a bias + (4r-2) w] K,
        A = l(l-1)/2 a w th + l(l-1)(2l-1)/6 [a bias^2 + 3a bias w + (5a+2) w^2],  Q = l(l^2-1)/6 r th w,  P = 0, and for linear ones
        S = l^2(l^2-1)/12 th^2 weight A2,  T = l^2(l^2-1)/12 th (weight A2)^2 K,  R = U = 0

    with r = A4/A2^2, a = r - 1, w = weight A2 K, th = bias + w. Each multiplies 1/n.

    Parameters
    ----------
    activation : str, callable or Activation
        A scale-invariant one.
    layer : int
        l, at least 1.
    bias, weight : float
        The rates, the same in every layer (of the equivalence principle: already divided by L).
    K : float
        Of the signal.

    Returns
    -------
    ScaleInvariantTensors
        A number a tensor.

    Raises
    ------
    UnsupportedError
        For an activation that is not scale-invariant.
    InputError
        For layer < 1.

    References
    ----------
    PDLT 9.42-9.52, 11.79, inf.47-48; A exactly is ours.

    Examples
    --------
    >>> import largen as lg
    >>> out = lg.analysis.scale_invariant_tensors("relu", layer=4, bias=0.7, weight=1.2, K=1.6)
    >>> round(out.A, 4), round(out.D, 3), round(out.F, 3), round(out.B, 4)
    (134.9624, 62.016, 31.872, 77.1568)
    """
    phi, l = as_activation(activation), door.count(layer, "layer")
    b, w0, size = _scales(bias, weight, K)
    slopes = statistics(phi).homogeneous
    if slopes is None:
        raise UnsupportedError(repr(phi), "", NAME, "it is not scale-invariant", ["relu", "leaky_relu(a)", "linear", "abs"])
    A2, r = _slope_moments(slopes)
    a, w = r - 1, w0 * A2 * size
    th, two, three = b + w, l * (l - 1) / 2, l * (l - 1) * (2 * l - 1) / 6
    four = l**2 * (l**2 - 1) / 12
    straight = not phi.kinks
    return ScaleInvariantTensors(
        K=size,
        Theta=th * l,
        V=(l - 1) * (3 * r - 1) * size**2,
        D=two * (a * b + (4 * r - 2) * w) * size,
        F=two * r * th * size,
        A=two * a * w * th + three * (a * b**2 + 3 * a * b * w + (5 * a + 2) * w**2),
        B=three * r * th**2,
        P=0.0,
        Q=l * (l**2 - 1) / 6 * r * th * w,
        R=0.0 if straight else None,
        S=four * th**2 * w0 * A2 if straight else None,
        T=four * th * w0 * A2 * w if straight else None,
        U=0.0 if straight else None,
        missing={} if straight else dict.fromkeys("RSTU", KINKED),
    )


def _slope_moments(slopes: Any) -> tuple[float, float]:
    """A2 and A4/A2^2 of the slopes on the two sides of 0."""
    squares = np.asarray(slopes, float) ** 2
    return float(squares.mean()), float((squares**2).mean() / squares.mean() ** 2)


def _times(ratio: Growth, scales: dict[str, Growth], of_K: int, of_Theta: int) -> Growth:
    K, Theta = scales["K"], scales["Theta"]
    parts = (ratio.coefficient, K.coefficient, Theta.coefficient)
    known = None if any(part is None for part in parts) else parts[0] * parts[1] ** of_K * parts[2] ** of_Theta  # type: ignore[operator]
    return Growth(power=ratio.power + of_K * K.power + of_Theta * Theta.power, coefficient=known)


Found = tuple[dict[str, Growth], dict[str, Growth], dict[str, str], str]
UNIFORM = "lambda_b = bias and lambda_W = weight in every layer"


def _scale_invariant(point: CriticalPoint, known: Statistics, b: float, w0: float, K: float) -> Found:
    """The leading power of l of the closed forms."""
    A2, r = _slope_moments(known.homogeneous)
    a, w = r - 1, w0 * A2 * K
    th = b + w
    linear = {"V": 3 * r - 1, "F": r / 2, "B": r / 3, "P": 0.0}
    scales = {"K": Growth(power=0.0, coefficient=K), "Theta": Growth(power=1.0, coefficient=th)}
    if th == 0:
        return scales, {"V": Growth(power=1.0, coefficient=linear["V"])}, dict.fromkeys(NAMES[1:], "no rate, no NTK"), UNIFORM
    linear |= {"D": (a * b + (4 * r - 2) * w) / (2 * th), "A": (a * b**2 + 3 * a * b * w + (5 * a + 2) * w**2) / (3 * th**2)}
    linear |= {"Q": r * w / (6 * th), "R": 0.0, "S": w / (12 * th), "T": (w / th) ** 2 / 12, "U": 0.0}
    return scales, {name: Growth(power=1.0 if linear[name] else 0.0, coefficient=linear[name]) for name in NAMES}, {}, UNIFORM


def _zero(point: CriticalPoint, known: Statistics, b: float, w0: float, K: float) -> Found:
    schedule = "lambda_b = bias l^-p and lambda_W = weight l^(1-p) in layer l"
    if not point.growth:
        why = "the critical point is unstable, or sizes fall more slowly than any power of depth"
        return {}, {}, dict.fromkeys(NAMES, why), schedule
    a1, _, b1 = point.coefficients
    if a1 is None or b1 is None or a1 >= 0 or known.phi.kinks:
        why = "known for activations that are smooth at 0 with a1 < 0; iterate the recursions: lg.corrections"
        return {}, {"V": point.growth["V/(n K^2)"]}, dict.fromkeys(NAMES[1:], why), schedule
    p, prime = b1 / a1, w0 / point.C_W / -a1
    c, e = b + prime, b1 / a1 * b + (b1 / a1 - 1) * prime
    scales = {"K": Growth(power=-1.0, coefficient=-1 / a1), "Theta": Growth(power=1 - p, coefficient=c)}
    if c == 0:
        return scales, {"V": Growth(power=1.0, coefficient=2 / 3)}, dict.fromkeys(NAMES[1:], "no rate, no NTK"), schedule
    linear = {"V": 2 / 3, "D": -2 * e / (9 * c), "F": 1 / (5 - p), "A": 4 * (e / c) ** 2 / 27, "B": 1 / 3}
    linear |= {"P": -(2 - p) / (3 * (5 - p)), "Q": (1 - p - b / c) / (5 - p) ** 2}
    ratios = {name: Growth(power=1.0, coefficient=value) for name, value in linear.items()}
    if abs(known.taylor[:, 2]).max() > SMALL * abs(known.taylor[:, 1]).max():
        why = "coefficients of R, S, T, U are known for odd activations (phi''(0) = 0); the powers are these"
        return scales, ratios | {name: Growth(power=0.0 if name == "U" else 1.0) for name in "RSTU"}, dict.fromkeys("RSTU", why), schedule
    ratios |= {"R": Growth(power=1.0, coefficient=-(3 * b + 4 * prime) / (48 * c)), "S": Growth(power=1.0, coefficient=prime / (12 * c))}
    ratios |= {"T": Growth(power=1.0, coefficient=(b / c) ** 2 / 32), "U": Growth(power=-1.0, coefficient=0.5)}
    return scales, ratios, {}, schedule


@float64
def _half_stable(point: CriticalPoint, known: Statistics, b: float, w0: float, K: float) -> Found:
    """chi_par = chi_perp = 1, hence <phi phi''> = 0, and h = (1/2) dchi_perp/dK is not 0: the leading powers of the recursions
    summed. V, F, B, P, U grow as in the other classes, what h multiplies grows faster."""
    q, C = float(point.K_star or 0.0), point.C_W
    orders = 2 if known.phi.kinks else 4
    s = [np.asarray(known.phi.derivative(order)(known.grid.z)) for order in range(orders)]
    m = known.moments(q)
    th, h, v = b + w0 * float(m.g), C * float(m.dslope) / 2, point.growth["V"].coefficient or 0.0

    def mean(*powers: int) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.prod([f**power for f, power in zip(s, powers, strict=False)], axis=0)
        return C ** (sum(powers) // 2) * float(line.mean(values, q, known.grid.z, known.grid.w))

    F, B = mean(2, 2), mean(0, 4)
    scales = {"K": Growth(power=0.0, coefficient=q), "Theta": Growth(power=1.0, coefficient=th)}
    ratios = {
        "V": Growth(power=1.0, coefficient=v / q**2),
        "F": Growth(power=1.0, coefficient=F / (2 * q)),
        "B": Growth(power=1.0, coefficient=B / 3),
    }
    ratios |= {"D": Growth(power=2.0, coefficient=2 * h * v / (3 * q)), "A": Growth(power=3.0, coefficient=8 * h**2 * v / 15)}
    if th == 0:
        return scales, {"V": ratios["V"]}, dict.fromkeys(NAMES[1:], "no rate, no NTK"), UNIFORM
    if known.phi.kinks:
        return scales, ratios, dict.fromkeys("PQ", "not known for kinked half-stable activations"), UNIFORM
    P, twice, far = mean(1, 2, 1) / 3, mean(0, 0, 2), mean(0, 1, 0, 1)
    ratios |= {
        "P": Growth(power=1.0, coefficient=P),
        "Q": Growth(power=2.0, coefficient=h * F / 4),
        "R": Growth(power=2.0, coefficient=q * (far * (B / 3 + P) + twice * P) / 5),
    }
    ratios |= {
        "S": Growth(power=2.0, coefficient=q * twice * B / 15),
        "T": Growth(power=3.0, coefficient=q * h**2 * F / 6),
        "U": Growth(power=1.0, coefficient=q * mean(0, 2, 2) / 4),
    }
    return scales, ratios, {}, UNIFORM
