"""Pictures of the space of parametrizations: grids of them, each classified by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from largen import door
from largen.display import Columns, Record
from largen.parametrizations.effective import Effective
from largen.parametrizations.exact import Exponent
from largen.parametrizations.optimizers import HALF, Optimizer, optimizer as read
from largen.parametrizations.parametrization import Parametrization

P = Parametrization
GRID = 12  # steps of a unit
QUARTER = HALF / 2


@dataclass(frozen=True, repr=False, kw_only=True)
class Picture(Record):
    """What `lg.scaling.picture` returns; `lg.figure` draws it.

    Attributes
    ----------
    kind : str
        "richness" or "stable".
    axes : tuple of str
        What varies along each.
    places : tuple of arrays
        The values along each axis.
    points : tuple of Parametrization
        One for every place, the last axis fastest.
    regimes : array of str
        `.classify().regime` of every point.
    marks : dict
        Name -> place of a parametrization of the literature.
    """

    kind: str
    axes: tuple[str, ...]
    places: tuple[np.ndarray, ...]
    points: tuple[Parametrization, ...]
    regimes: np.ndarray
    marks: Mapping[str, tuple[float, ...]]

    def _columns(self) -> Columns:
        grids = np.meshgrid(*self.places, indexing="ij")
        return {name: grid.ravel() for name, grid in zip("xyz", grids, strict=False)} | {"regime": self.regimes.ravel()}


def picture(kind: str, hidden: int = 2, optimizer: str = "sgd") -> Picture:
    """The space of parametrizations around those of the literature, every point classified.

    Parameters
    ----------
    kind : str
        - "richness": the richness scale and beyond its ends, a gauge direction, in which nothing changes, and a forbidden one, rates of the
          hidden layers times n^x;
        - "stable": the slice of TP4's stable polyhedron through the standard one, the tangent kernel's and muP, by effective exponents.
    hidden : int
        The number of hidden layers.
    optimizer : str
        Whose updates.

    Returns
    -------
    Picture
        `lg.figure` draws it.

    Raises
    ------
    InputError
        For another kind, no hidden layer, unknown optimisers.

    Examples
    --------
    >>> import largen as lg
    >>> found = lg.scaling.picture("stable")
    >>> found.marks["muP"], sorted({*found.regimes.ravel().tolist()})
    ((1.0, 0.0), ['feature learning', 'kernel', 'unstable'])
    """
    door.choice(kind, "kind", ("richness", "stable"))
    L, by = door.count(hidden, "hidden"), read(optimizer)
    ntk, mup, standard = (make(L, optimizer=by.name).effective() for make in (P.ntk, P.mup, P.standard))
    if kind == "richness":
        axes = ("richness", "gauge shift θ", "power of n in the rates of hidden layers")
        steps = (_steps(-QUARTER, 3 * QUARTER), (-HALF, Fraction(0), HALF), _steps(-QUARTER, QUARTER))
        marks = {"NTK": (0.0, 0.0, 0.0), "muP": (0.5, 0.0, 0.0)}
        return _grid(kind, axes, steps, marks, lambda x, theta, faster: _mixed(by, (ntk, mup), (2 * x,), faster).gauge(theta))
    steps = (_steps(-HALF, 3 * HALF), _steps(-HALF, 3 * HALF))
    marks = {"NTK": (0.0, 0.0), "muP": (1.0, 0.0), "standard": (0.0, 1.0)}
    axes = ("share of the way from NTK to muP", "share of the way from NTK to the standard")
    return _grid(kind, axes, steps, marks, lambda u, v: _mixed(by, (ntk, mup, standard), (u, v)))


def _steps(low: Fraction, high: Fraction) -> tuple[Fraction, ...]:
    return tuple(low + Fraction(k, GRID) for k in range(int((high - low) * GRID) + 1))


def _grid(
    kind: str, axes: tuple[str, ...], steps: tuple[tuple[Fraction, ...], ...], marks: Any, make: Callable[..., Parametrization]
) -> Picture:
    points = tuple(make(*place) for place in product(*steps))
    regimes = np.array([p.classify().regime for p in points]).reshape([len(one) for one in steps])
    places = tuple(np.array(one, float) for one in steps)
    return Picture(kind=kind, axes=axes, places=places, points=points, regimes=regimes, marks=marks)


def _mixed(by: Optimizer, ends: tuple[Effective, ...], shares: tuple[Fraction, ...], faster: Fraction = Fraction(0)) -> Parametrization:
    """Without multipliers: the first of `ends`, plus shares of the way to the others; rates of hidden layers times n^faster."""

    def along(name: str) -> list[Exponent]:
        start, *others = (getattr(e, name) for e in ends)
        return [x + sum(share * (other[l] - x) for share, other in zip(shares, others, strict=True)) for l, x in enumerate(start)]

    (*rates, last), std = along("rate"), along("std")
    d = [*(std[-1] for _ in rates), 0] if by.epsilon else 0  # epsilon follows the gradient
    return Parametrization(a=[0] * len(std), b=std, c=[*(x - faster for x in rates), last], d=d, optimizer=by.name)
