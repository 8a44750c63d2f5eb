r"""The phase diagram of an activation over (C_W, C_b): where signals are ordered, chaotic or divergent, and the depth scales.

Moments on one grid of variances serve every cell: K* is where C_b + C_W g(K) - K first changes sign on the way from K = 1, and
c* solves C_W = K* (1 - c)/(<phi^2> - <phi phi'>_c) =: Psi(K*, c), which does not know C_b.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door, exits, memory
from largen.activations.activation import Activation, activation as as_activation
from largen.activations.statistics import Statistics, statistics
from largen.display import Columns, Record, grid
from largen.errors import InputError
from largen.gaussian.line import K_MIN
from largen.theory.signal.fixed_points import MARGINAL, cosine_map, on_a_line

GRID = 1000  # variances between K_MIN and the largest
BISECTIONS = 50
CELL = 400.0  # bytes for every (C_W, C_b)
TABLE, KINKED = (96, 64), (64, 48)  # size of the table of Psi, in log K and sqrt(1 - c); kinks cost more a pair


@dataclass(frozen=True, repr=False, kw_only=True)
class PhaseDiagram(Record):
    """What `lg.phase_diagram` returns. Arrays of shape (a, b), entry [i, j] at `C_W[i]`, `C_b[j]`.

    Order n^0; relative error of K, chi and xi_q below 1e-7, of c and xi_c below 1e-4 (K* above `searched[1]` counts as divergent). All but
    `K` are NaN in the divergent phase.

    Attributes
    ----------
    activation : Activation
        As given.
    C_W : array (a,)
        As given.
    C_b : array (b,)
        As given.
    K : array (a, b)
        The kernel that deep layers settle at from K = 1 (infinite in the divergent phase; 1 where every size is fixed).
    chi_par, chi_perp : array (a, b)
        The susceptibilities there.
    c : array (a, b)
        The correlation that distinct points settle at.
    xi_q, xi_c : array (a, b)
        Depth scales in layers, infinite at criticality.
    phase : array (a, b)
        "ordered", "chaotic", "critical", "divergent".
    edge : array (2, m)
        (C_W, C_b) along the line chi_perp = 1 between order and chaos, one point per K* in `edge_K`.
    edge_K : array (m,)
        K* along that line.
    searched : tuple
        The range of K looked at.
    """

    activation: Activation
    C_W: np.ndarray
    C_b: np.ndarray
    K: np.ndarray
    chi_par: np.ndarray
    chi_perp: np.ndarray
    c: np.ndarray
    xi_q: np.ndarray
    xi_c: np.ndarray
    phase: np.ndarray
    edge: np.ndarray
    edge_K: np.ndarray
    searched: tuple[float, float]

    def _columns(self) -> Columns:
        names = ("K", "chi_par", "chi_perp", "c", "xi_q", "xi_c", "phase")
        C_W, C_b = np.meshgrid(self.C_W, self.C_b, indexing="ij")
        return grid((), C_W=C_W, C_b=C_b, **{name: getattr(self, name) for name in names})


@exits.finite("K", unseen=("chi_par", "chi_perp", "c", "xi_q", "xi_c"))
def phase_diagram(activation: str | Callable[[Any], Any] | Activation, C_W: Any, C_b: Any) -> PhaseDiagram:
    """Order, chaos and depth scales over a grid of (C_W, C_b) at infinite width; `lg.figure` draws it.

    As `lg.fixed_points` for each cell (which is exact, and finds all fixed points), at a fraction of the cost.

    Parameters
    ----------
    activation : str, callable or Activation
        A name or an elementwise function.
    C_W : array (a,)
        Numbers >= 0.
    C_b : array (b,)
        Numbers >= 0.

    Returns
    -------
    PhaseDiagram
        Arrays (a, b).

    Raises
    ------
    InputError
        For arrays that are empty, negative or not finite, and for the activations that `lg.critical` refuses.

    References
    ----------
    Poole et al.; Schoenholz et al.; PDLT 5.55, 5.71-5.72.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> diagram = lg.phase_diagram("tanh", C_W=np.array([0.9, 1.3, 2.5]), C_b=np.array([0.0, 0.05]))
    >>> print(diagram.phase)
    [['ordered' 'ordered']
     ['chaotic' 'ordered']
     ['chaotic' 'chaotic']]
    >>> round(float(diagram.K[1, 1]), 6)
    0.315316
    """
    phi = as_activation(activation)
    known = statistics(phi)
    w, b = _axis(C_W, "C_W"), _axis(C_b, "C_b")
    memory.require(CELL * len(w) * len(b), "C_W, C_b", f"{len(w):,} x {len(b):,} values", "Take fewer.")
    cells_w, cells_b = (v.ravel() for v in np.meshgrid(w, b, indexing="ij"))
    table = _Table(known)
    K = np.where(on_a_line(known, cells_w, cells_b), 1.0, table.settled(cells_w, cells_b))
    finite = np.isfinite(K)
    inside = np.where(finite, K, 1.0)
    par, perp = cells_w * table.dg(inside), cells_w * table.slope(inside)
    c, chi = np.ones_like(K), perp.copy()
    chaos = np.nonzero(finite & (perp > 1 + MARGINAL) & (K > 0))[0]
    if len(chaos):
        c[chaos], chi[chaos] = _correlations(known, cells_w[chaos], K[chaos])
    phase = np.select([~finite, np.abs(perp - 1) < MARGINAL, perp < 1], ["divergent", "critical", "ordered"], "chaotic")
    with np.errstate(divide="ignore"):
        xi_q, xi_c = (np.where(np.abs(v - 1) < MARGINAL, np.inf, np.abs(1 / np.log(np.abs(v)))) for v in (par, chi))
    blank = np.where(finite, 1.0, np.nan)
    found = {"chi_par": par, "chi_perp": perp, "c": c, "xi_q": xi_q, "xi_c": xi_c}
    cells = {"K": K, **{name: value * blank for name, value in found.items()}, "phase": phase}
    values: dict[str, Any] = {name: value.reshape(len(w), len(b)) for name, value in cells.items()}
    edge, edge_K = table.edge()
    return PhaseDiagram(activation=phi, C_W=w, C_b=b, **values, edge=edge, edge_K=edge_K, searched=(0.0, known.K_max))


def _axis(value: Any, name: str) -> np.ndarray:
    out = np.atleast_1d(door.values(value, name))
    if out.ndim != 1 or not out.size or (out < 0).any():
        raise InputError(name, f"shape {out.shape}, least value {out.min() if out.size else 'none'}", "a row of numbers >= 0")
    return out


class _Table:
    """Moments as functions of any variance: splines in log K through exact values and derivatives; below the grid, the series."""

    def __init__(self, known: Statistics):
        from scipy.interpolate import BPoly, CubicHermiteSpline  # slow to import

        self.known, self.K = known, np.geomspace(K_MIN, known.K_max, GRID)
        self.m = m = known.moments(self.K)
        x, K = np.log(self.K), self.K
        self._g = BPoly.from_derivatives(x, np.stack([m.g, K * m.dg, K * m.dg + K * K * m.d2g], 1))
        self._dg = CubicHermiteSpline(x, m.dg, K * m.d2g)
        self._slope = CubicHermiteSpline(x, m.slope, K * m.dslope)
        self.zero = [float(v) for v in (known.series(of_slope=False)[0], known.series(of_slope=False)[2], known.series(of_slope=True)[0])]

    def _at(self, spline: Any, K: np.ndarray, below: np.ndarray | float) -> np.ndarray:
        return np.where(K >= self.K[0], spline(np.log(np.maximum(K, self.K[0]))), below)

    def g(self, K: np.ndarray) -> np.ndarray:
        return self._at(self._g, K, self.zero[0] + self.zero[1] * K)

    def dg(self, K: np.ndarray) -> np.ndarray:
        return self._at(self._dg, K, self.zero[1])

    def slope(self, K: np.ndarray) -> np.ndarray:
        return self._at(self._slope, K, self.zero[2])

    def settled(self, C_W: np.ndarray, C_b: np.ndarray) -> np.ndarray:
        """K* on the way from K = 1; infinite if there is none."""
        start = int(np.searchsorted(self.K, 1.0))
        out = np.empty_like(C_W)
        for rows in np.array_split(np.arange(len(C_W)), max(1, len(C_W) // 2000)):  # bounded memory
            value = C_b[rows, None] + C_W[rows, None] * self.m.g - self.K
            growing = value[:, start] > 0
            up, down = value[:, start:] <= 0, value[:, start::-1] >= 0
            first = np.where(growing, start + up.argmax(1), start - down.argmax(1) + 1)
            none = np.where(growing, ~up.any(1), ~down.any(1))
            low, high = np.log(self.K[np.clip(first - 1, 0, GRID - 1)]), np.log(self.K[np.clip(first, 0, GRID - 1)])
            for _ in range(BISECTIONS):
                middle = (low + high) / 2
                above = C_b[rows] + C_W[rows] * self._g(middle) > np.exp(middle)
                low, high = np.where(above, middle, low), np.where(above, high, middle)
            # below the grid C_W g = C_W (g0 + A2 K): K* = C_b/(1 - chi), 0 without a bias
            rest = 1 - C_W[rows] * self.zero[1]
            tiny = np.where(rest > 0, (C_b[rows] + C_W[rows] * self.zero[0]) / np.where(rest > 0, rest, 1), 0.0)
            out[rows] = np.where(none, np.where(growing, np.inf, tiny), np.exp((low + high) / 2))
        return out

    def edge(self) -> tuple[np.ndarray, np.ndarray]:
        """(C_W, C_b) with chi_perp = 1 at K* = K (PDLT 5.71-5.72), where C_b >= 0 and K attracts."""
        C_W = 1 / self.m.slope
        C_b = self.K - C_W * self.m.g
        good = (C_b >= -1e-12 * self.K) & (np.abs(C_W * self.m.dg) < 1 + 1e-9)
        return np.stack([C_W[good], np.maximum(C_b[good], 0)]), self.K[good]


def _correlations(known: Statistics, C_W: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(c*, chi_c) of chaotic cells from a table of Psi and of <phi'(z1) phi'(z2)> over (log K, sqrt(1 - c))."""
    pad, (many, columns) = 1e-6, KINKED if known.phi.kinks else TABLE
    rows = np.exp(np.linspace(np.log(K.min()) - pad, np.log(K.max()) + pad, many))
    s = (1 - np.cos(np.pi * np.arange(columns) / (columns - 1))) / 2  # sqrt(1 - c), dense at both ends
    lost, slope = cosine_map(known.phi, rows[:, None], s[None, 1:] ** 2)
    diagonal = known.moments(rows).slope[:, None]
    psi = np.concatenate([1 / diagonal, rows[:, None] * s[None, 1:] ** 2 / lost], 1)
    by_K = (np.log(rows), s)
    from scipy.interpolate import RectBivariateSpline

    psi_of, slope_of = RectBivariateSpline(*by_K, psi), RectBivariateSpline(*by_K, np.concatenate([diagonal, slope], 1))
    x, low, high = np.log(K), np.zeros_like(K), np.ones_like(K)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = psi_of.ev(x, middle) < C_W  # Psi grows with 1 - c
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    root = np.where(psi_of.ev(x, np.ones_like(x)) <= C_W, 1.0, (low + high) / 2)
    return 1 - root**2, C_W * slope_of.ev(x, root)
