r"""Where the kernel and the correlation settle with depth, and how fast (Poole et al.; Schoenholz et al.; PDLT ch. 5).

    K -> C_b + C_W <phi^2>_K,        c -> (C_b + C_W <phi(z1) phi(z2)>)/K*  with Cov(z) = K* [[1, c], [c, 1]].

A fixed point K* attracts as chi_par^l = exp(-l/xi_q), the correlation as chi_c^l = exp(-l/xi_c), chi_c = C_W <phi'(z1) phi'(z2)> at c*.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.activations.activation import Activation, activation as as_activation
from largen.activations.dual import dual
from largen.activations.statistics import Statistics, root, statistics
from largen.display import Record
from largen.gaussian.line import K_MIN
from largen.gaussian.pair import Pair
from largen.running.jitted import jitted
from largen.theory.given import warn_if_inaccurate
from largen.types import float64

SEARCH = 1000
TOUCH = 1e-12  # a double root: |C_b + C_W g - K| below this part of K where the slope is 0
SMALL = 1e-9  # |phi(0)| that is 0: beside a kink it is extrapolated
MARGINAL = 1e-9  # |chi - 1| below which a scale is infinite
LINE = "every size is a fixed point: {} is homogeneous, C_b = 0 and C_W is critical, so that each keeps the size it has"


@dataclass(frozen=True, repr=False, kw_only=True)
class FixedPoints(Record):
    """What `lg.fixed_points` returns, arrays of shape (m,), one entry a fixed point of the kernel, stable ones first, then by size.

    On a line of fixed points (a scale-invariant activation at its critical point: every size is kept) there is one entry for the line.

    Attributes
    ----------
    activation : Activation
        As given.
    C_W, C_b : float
        As given.
    K : array (m,) or None
        K*; None on a line of fixed points, and `missing` says so.
    stable : array (m,)
        Whether it attracts kernels from both sides (|chi_par| < 1; at a critical point False, see `lg.critical`).
    chi_par, chi_perp : array (m,)
        The susceptibilities there.
    c : array (m,)
        The correlation that attracts those of distinct points, 1 where chi_perp <= 1 (order), below 1 (chaos); where `xi_c` is infinite
        more slowly than any exponential (linear: never).
    xi_q, xi_c : array (m,)
        The depth scales of K and c in layers, infinite at criticality.
    phase : str
        Of the first: "ordered", "chaotic", "critical", or "divergent" (none that attracts or is marginal).
    searched : tuple
        The range of K looked at; a fixed point beyond is not found.
    error : float
        Of the Gaussian expectations at the fixed points, relative; of a user's own callable with what is not declared of it.
    missing : dict
        Why a field is None.
    """

    activation: Activation
    C_W: float
    C_b: float
    K: Any
    stable: np.ndarray
    chi_par: np.ndarray
    chi_perp: np.ndarray
    c: np.ndarray
    xi_q: np.ndarray
    xi_c: np.ndarray
    phase: str
    searched: tuple[float, float]
    error: float
    missing: Mapping[str, str] = field(default_factory=dict)

    _table = ("point", "K stable chi_par chi_perp c xi_q xi_c")


@exits.finite("xi_q", "xi_c")
def fixed_points(activation: str | Callable[[Any], Any] | Activation, C_W: float, C_b: float) -> FixedPoints:
    """All fixed points of kernel and correlation at (C_W, C_b), and their depth scales, at infinite width.

        xi_q = -1/log |chi_par|,      xi_c = -1/log chi_c:

    deviations of K and of c from their fixed points fall as exp(-l/xi). A network is trainable to a depth of about 6 xi_c (Schoenholz et
    al.); `lg.signal(...).gradient` grows or falls as chi_perp^l. K* is searched in [0, `searched[1]`]; none found gives empty arrays and
    the phase "divergent".

    Parameters
    ----------
    activation : str, callable or Activation
        A name or an elementwise function.
    C_W : float
        Variance of a weight times fan_in.
    C_b : float
        Variance of a bias.

    Returns
    -------
    FixedPoints
        One entry a fixed point; where every size is fixed (ReLU at C_W = 2, C_b = 0) `.K` is None.

    Raises
    ------
    InputError
        For negative or non-finite C_W, C_b and for the activations that `lg.critical` refuses.

    References
    ----------
    Poole et al. 3-8; Schoenholz et al. 7, 9; PDLT 5.50-5.56.

    Examples
    --------
    >>> import largen as lg
    >>> point = lg.fixed_points("tanh", C_W=1.3, C_b=0.05)
    >>> point.K.round(8), point.phase, point.xi_c.round(3)
    (array([0.31531648]), 'ordered', array([7.834]))
    >>> lg.fixed_points("tanh", C_W=2.0, C_b=0.0).c.round(6)  # chaos: the stable K* first, then K* = 0
    array([0., 1.])
    >>> line = lg.fixed_points("relu", C_W=2.0, C_b=0.0)
    >>> line.K, line.c, line.xi_c, line.missing["K"].partition(":")[0]
    (None, array([1.]), array([inf]), 'every size is a fixed point')
    """
    phi = as_activation(activation)
    known = statistics(phi)
    w, b = door.real(C_W, "C_W", low=0.0), door.real(C_b, "C_b", low=0.0)
    line = on_a_line(known, w, b)
    found = [1.0] if line else kernels(known, w, b)  # chi and c are the same all along a line
    entries = sorted((_describe(known, w, b, K) for K in found), key=lambda e: (not e["stable"], e["K"]))
    columns: dict[str, Any] = {name: np.array([e[name] for e in entries]) for name in ("K", "chi_par", "chi_perp", "c", "xi_q", "xi_c")}
    stable = np.array([e["stable"] for e in entries], dtype=bool)
    settles = bool(entries) and abs(entries[0]["chi_par"]) < 1 + MARGINAL
    phase = phase_of(entries[0]["chi_perp"]) if settles else "divergent"
    error = max((known.error(max(K, K_MIN)) for K in found), default=0.0)
    warn_if_inaccurate(error, np.float64, [phi])
    missing = {"K": LINE.format(phi.name)} if line else {}
    columns |= dict.fromkeys(missing) | {"searched": (0.0, known.K_max), "error": error}
    return FixedPoints(activation=phi, C_W=w, C_b=b, stable=stable, phase=phase, missing=missing, **columns)


def on_a_line(known: Statistics, C_W: Any, C_b: Any) -> Any:
    """Whether every K is a fixed point: phi homogeneous, C_b = 0 and C_W <phi^2>_K = K, to rounding; for arrays too."""
    if known.homogeneous is None:
        return np.zeros(np.broadcast_shapes(np.shape(C_W), np.shape(C_b)), dtype=bool)
    A2 = (known.homogeneous[0] ** 2 + known.homogeneous[1] ** 2) / 2
    return (np.asarray(C_b) == 0) & (np.abs(np.asarray(C_W) * A2 - 1) < MARGINAL)


def phase_of(chi_perp: float) -> str:
    """Order and chaos by how a small difference fares at the fixed point."""
    return "critical" if abs(chi_perp - 1) < MARGINAL else "ordered" if chi_perp < 1 else "chaotic"


def kernels(known: Statistics, C_W: float, C_b: float) -> list[float]:
    """Every K* of K = C_b + C_W <phi^2>_K on [0, K_max], where they are no line: simple roots by sign, double ones where the slope is 0."""
    if known.homogeneous is not None:
        chi = C_W * (known.homogeneous[0] ** 2 + known.homogeneous[1] ** 2) / 2
        return [C_b / (1 - chi)] if chi < 1 else [0.0] if C_b == 0 else []

    def excess(K: Any) -> Any:
        return C_b + C_W * known.moments(K).g - K

    def slope(K: Any) -> Any:
        return C_W * known.moments(K).dg - 1

    K = np.geomspace(K_MIN, known.K_max, SEARCH)
    m = known.moments(K)
    value, rise = C_b + C_W * m.g - K, C_W * m.dg - 1
    found = [0.0] if C_b == 0 and np.abs(known.taylor[:, 0]).max() < SMALL else []
    touch = TOUCH * K
    clear, turns = np.abs(value) > touch, np.abs(rise) > TOUCH  # the sign is none of rounding
    at_zero = C_b + C_W * float(known.series(of_slope=False)[0])
    if not found and at_zero > 0 and value[0] <= 0:  # below the grid the map is linear
        found.append(at_zero / (1 - C_W * float(known.series(of_slope=False)[2])))
    seen = np.nonzero(clear)[0]
    for i, j in pairwise(seen):
        if value[i] * value[j] < 0:
            found.append(root(excess, K[i], K[j]))
    for i in np.nonzero((rise[:-1] * rise[1:] < 0) & turns[:-1] & turns[1:] & (value[:-1] * value[1:] >= 0))[0]:
        if min(abs(value[i] / K[i]), abs(value[i + 1] / K[i + 1])) > 1e-3:
            continue
        at = root(slope, K[i], K[i + 1])
        if abs(float(excess(at))) < touch[i]:
            found.append(at)
        elif float(excess(at)) * value[i] < 0 and clear[i] and clear[i + 1]:  # two simple roots between neighbours
            found += [root(excess, *ends) for ends in ((K[i], at), (at, K[i + 1]))]
    return found


def _describe(known: Statistics, C_W: float, C_b: float, K: float) -> dict[str, Any]:
    if K > 0:
        m = known.moments(max(K, K_MIN))
        par, perp = C_W * float(m.dg), C_W * float(m.slope)
    else:  # the limit K -> 0
        par, perp = C_W * float(known.series(of_slope=False)[2]), C_W * float(known.series(of_slope=True)[0])
    c, chi = correlation(known.phi, C_W, C_b, K, perp)
    return {"K": K, "stable": abs(par) < 1 - MARGINAL, "chi_par": par, "chi_perp": perp, "c": c, "xi_q": scale(par), "xi_c": scale(chi)}


def scale(chi: float) -> float:
    """-1/log |chi|, positive for decay and for growth, infinite at |chi| = 1, 0 at chi = 0."""
    size = abs(chi)
    if size == 0:
        return 0.0
    return float("inf") if abs(size - 1) < MARGINAL else float(abs(1 / np.log(size)))


def correlation(phi: Activation, C_W: float, C_b: float, K: float, chi_perp: float) -> tuple[float, float]:
    """(c*, chi_c). The map of c is convex on [0, 1] with c = 1 fixed (Hermite: its coefficients are squares), so that it has
    a second fixed point, which then attracts, exactly if its slope at 1, chi_perp, is above 1."""
    if chi_perp <= 1 + MARGINAL or K == 0:
        return 1.0, chi_perp

    def gap(near: float) -> float:  # 1 - c' over 1 - c, less one: falls from chi_perp - 1
        return C_W * float(cosine_map(phi, K, near)[0]) / K / near - 1

    if gap(1.0) >= 0:  # c = 0 maps to 0 (or below rounding)
        near = 1.0
    else:
        near = root(gap, 1e-12, 1.0)
    return 1 - near, C_W * float(cosine_map(phi, K, near)[1])


@float64
def cosine_map(phi: Activation, K: Any, near: Any) -> tuple[np.ndarray, np.ndarray]:
    """(<phi^2> - <phi(z1) phi(z2)>, <phi'(z1) phi'(z2)>) for two points of variance K and cosine 1 - near, arrays that broadcast."""
    q, n = np.broadcast_arrays(np.asarray(K, float), np.asarray(near, float))
    lost, slope = _cosine_map(phi, jnp.asarray(q.ravel()), jnp.asarray(n.ravel()))
    return np.asarray(lost).reshape(q.shape), np.asarray(slope).reshape(q.shape)


@jitted(static=(0,))
def _cosine_map(phi: Activation, q: Any, near: Any) -> tuple[Any, Any]:
    out = dual(phi, Pair(q, q, q * (1 - near), near, 2 - near))
    return out.phi.q1 * out.phi.near, out.kdot
