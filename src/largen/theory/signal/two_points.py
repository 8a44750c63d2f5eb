r"""Two nearby points: how their mean, their difference of size and their distance travel (PDLT 5.1).

In the basis K_[0] = (K++ + K-- + 2 K+-)/4 (the square of the midpoint), K_[1] = (K++ - K--)/2, K_[2] = (K++ + K-- - 2 K+-)/4 (a
quarter of the squared distance, per unit), and to leading order in the difference of the points (PDLT 5.46-5.48),

    K00' = C_b + C_W g(K00),   dK1' = chi_par dK1,   ddK2' = chi_perp ddK2 + h dK1^2,   h = (1/2) dchi_perp/dK.
"""

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door, exits, memory
from largen.activations.activation import activation as as_activation
from largen.activations.statistics import statistics
from largen.architecture.nodes import Act
from largen.architecture.paths import everything
from largen.display import Columns, Record, grid
from largen.errors import InputError, UnsupportedError
from largen.theory.given import given
from largen.theory.signal.signal import at_levels, susceptibilities
from largen.types import float64


@dataclass(frozen=True, repr=False, kw_only=True)
class TwoPoints(Record):
    """What `lg.exact.two_points` returns; L levels, float64.

    Attributes
    ----------
    K0, K1, K2 : array (L,)
        Square of the midpoint, difference of sizes, a quarter of the squared distance, exact at infinite width, `K2` without cancellation.
    K00, dK1, ddK2 : array (L,) or None
        The expansion of these, of relative error of the order of the distance over sqrt(K); None for kinked activations.
    chi_par, chi_perp : array (L - 1,)
        Its coefficients, at the midpoint.
    h : array (L - 1,) or None
        (1/2) dchi_perp/dK, at the midpoint.
    missing : dict
        Why a field is None.
    """

    K0: np.ndarray
    K1: np.ndarray
    K2: np.ndarray
    K00: np.ndarray | None
    dK1: np.ndarray | None
    ddK2: np.ndarray | None
    chi_par: np.ndarray
    chi_perp: np.ndarray
    h: np.ndarray | None
    missing: dict[str, str] = field(default_factory=dict)

    _table = ("level", "K0 K1 K2 K00 dK1 ddK2 chi_par chi_perp h")


@exits.finite()
@float64
def two_points(net: Any, x_plus: Any, x_minus: Any) -> TwoPoints:
    """Midpoint, size difference and distance of two points at every level, exact and to leading order in their difference.

        K_[0] = (K++ + K-- + 2 K+-)/4,      K_[1] = (K++ - K--)/2,      K_[2] = (K++ + K-- - 2 K+-)/4

    The distance K_[2] follows chi_perp^l, the difference of sizes K_[1] chi_par^l, and where sizes differ h turns that into distance.

    Parameters
    ----------
    net : architecture
        As for `lg.kernel`.
    x_plus, x_minus : array (features,)
        The two points.

    Returns
    -------
    TwoPoints
        Arrays over levels.

    Raises
    ------
    InputError
        For points of other shapes; else as `lg.kernel`.
    UnsupportedError
        As `lg.kernel`.

    References
    ----------
    PDLT 5.13-5.24, 5.46-5.52.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> out = lg.exact.two_points(lg.mlp(widths=[64] * 2, out=1, activation="tanh"), np.array([1.0, 1.0]), np.array([1.01, 0.99]))
    >>> bool(abs(out.ddK2[-1] / out.K2[-1] - 1) < 1e-3)
    True
    """
    points = [door.values(x, name) for x, name in ((x_plus, "x_plus"), (x_minus, "x_minus"))]
    if points[0].ndim != 1 or points[0].shape != points[1].shape or not points[0].size:
        raise InputError("x_plus, x_minus", f"shapes {points[0].shape} and {points[1].shape}", "two points of equal length (features,)")
    asked = given(net, *(p[None] for p in points), names=("x_plus", "x_minus"))
    whole, rates = asked.numbers()
    pair = at_levels(whole, asked.X, asked.X2, rates).pair
    a, b, near, far = (v.reshape(-1) for v in (pair.q1, pair.q2, pair.near, pair.far))
    product, apart = jnp.sqrt(a * b), (jnp.sqrt(a) - jnp.sqrt(b)) ** 2
    K0, K1, K2 = (apart + 2 * product * far) / 4, (a - b) / 2, (apart + 2 * product * near) / 4
    middle = at_levels(whole, (points[0] + points[1])[None] / 2, None, rates).pair.q1.reshape(-1, 1)
    if any(node.activation.kinks for _, node in everything(whole) if isinstance(node, Act)):
        par, perp = (v[:, 0] for v in susceptibilities(whole, middle))
        reason = "a kink makes the distance non-analytic in the difference (PDLT 5.171): use K1, K2, which are exact, or lg.exact.angles"
        missing = {name: reason for name in ("K00", "dK1", "ddK2", "h")}
        K0, K1, K2, par, perp = (np.asarray(v) for v in (K0, K1, K2, par, perp))
        return TwoPoints(K0=K0, K1=K1, K2=K2, K00=None, dK1=None, ddK2=None, chi_par=par, chi_perp=perp, h=None, missing=missing)
    par, perp, h = (v[:, 0] for v in susceptibilities(whole, middle, h=True))
    d1, d2 = [K1[0]], [K2[0]]
    for p, s, c in zip(par, perp, h, strict=True):
        d1.append(p * d1[-1])
        d2.append(s * d2[-1] + c * d1[-2] ** 2)
    K0, K1, K2, K00, dK1, ddK2, par, perp, h = (np.asarray(v) for v in (K0, K1, K2, middle[:, 0], d1, d2, par, perp, h))
    return TwoPoints(K0=K0, K1=K1, K2=K2, K00=K00, dK1=dK1, ddK2=ddK2, chi_par=par, chi_perp=perp, h=h)


@dataclass(frozen=True, repr=False, kw_only=True)
class Angles(Record):
    """What `lg.exact.angles` returns.

    Attributes
    ----------
    psi : array (layers, ...)
        The angles, first the given ones.
    rho : float
        Of the recursion (PDLT 5.163).
    crossover : array (...)
        The depth 3/(rho psi) from which an angle falls as 3/(rho l) (5.166, 5.169), infinite without a kink.
    """

    psi: np.ndarray
    rho: float
    crossover: np.ndarray

    def _columns(self) -> Columns:
        return grid(("layer", "angle"), psi=self.psi)


@exits.finite("crossover")
def angles(activation: Any, psi: Any, layers: int) -> Angles:
    """The angle between two points, layer by layer, for a scale-invariant activation at criticality, at any angle.

        cos psi' = cos psi + rho (sin psi - psi cos psi),   rho = (a_plus - a_minus)^2/(pi (a_plus^2 + a_minus^2))

    Unlike the expansion in small differences this sees the kink: all angles close as 3/(rho l).

    Parameters
    ----------
    activation : str, callable or Activation
        A scale-invariant one.
    psi : float or array
        Angles in [0, pi], any shape, of layer 1.
    layers : int
        At least 1, the first included.

    Returns
    -------
    Angles
        The angle of every layer.

    Raises
    ------
    InputError
        For angles outside and layers < 1.
    UnsupportedError
        For an activation that is not scale-invariant (use `lg.signal`).

    References
    ----------
    PDLT 5.162.

    Examples
    --------
    >>> import largen as lg, math
    >>> lg.exact.angles("relu", math.pi / 2, layers=3).psi.round(8)
    array([1.57079633, 1.24685022, 1.05442126])
    """
    phi = as_activation(activation)
    slope = statistics(phi).homogeneous
    if slope is None:
        reason = "the angle follows a closed recursion for scale-invariant activations only; lg.signal(net, X).c gives correlations for any"
        raise UnsupportedError(repr(phi), "", "lg.exact.angles", reason, ["relu", "leaky_relu(a)", "abs", "linear"])
    start = door.values(psi, "psi")
    if not start.size or (start < 0).any() or (start > np.pi).any():
        raise InputError("psi", f"angles from {start.min():.3g} to {start.max():.3g}" if start.size else "no angles", "angles from 0 to pi")
    up, down = slope
    rho = (up - down) ** 2 / (np.pi * (up**2 + down**2))
    many = door.count(layers, "layers")
    memory.require_few(many, "layers", "layers")
    memory.require(24.0 * many * start.size, "psi, layers", f"{start.size:,} angles in {many:,} layers", "Take fewer.")
    found = [start]
    for _ in range(many - 1):
        found.append(_next(found[-1], rho))
    with np.errstate(divide="ignore"):
        return Angles(psi=np.stack(found), rho=float(rho), crossover=3 / (rho * start) if rho > 0 else np.full_like(start, np.inf))


def _next(psi: np.ndarray, rho: float) -> np.ndarray:
    """The next angle from 1 - cos psi' = (1 - cos psi) - rho (sin psi - psi cos psi), both terms exact for small angles."""
    t = psi * psi
    small = psi * t * (1 / 3 - t * (1 / 30 - t * (1 / 840 - t * (1 / 45360 - t / 3991680))))
    bend = np.where(psi < 0.7, small, np.sin(psi) - psi * np.cos(psi))
    versine = np.clip(2 * np.sin(psi / 2) ** 2 - rho * bend, 0, 2)
    return 2 * np.arcsin(np.sqrt(versine / 2))
