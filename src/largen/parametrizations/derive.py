"""Which parametrizations meet which demands on good training: the exponent inequalities, solved."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Any

import numpy as np

from largen import door
from largen.display import Columns, Record
from largen.errors import InputError, shown
from largen.parametrizations.classify import SENTENCES
from largen.parametrizations.exact import CLOSE, Exponent, exponent
from largen.parametrizations.optimizers import HALF, Optimizer, optimizer as read
from largen.parametrizations.parametrization import Parametrization

DEMANDS = tuple(SENTENCES)
Row = tuple[np.ndarray, float]  # row . (start, readout, r_1, ..., r_L) >= or == number


@dataclass(frozen=True, repr=False, kw_only=True)
class Derivation(Record):
    """What `lg.scaling.derive` returns.

    Attributes
    ----------
    hidden : int
        The number of hidden layers.
    optimizer : str
        Its name.
    require : tuple of str
        The demands.
    free : int
        How many exponents stay free, gauge shifts apart.
    bounds : dict
        Of "readout std" (its exponent a + b), "rate 1", "rate 2", ... (effective ones, by affine layer), "r 1", ... (by which each hidden
        layer's own update moves it): (least, largest), None where there is no bound.
    """

    hidden: int
    optimizer: str
    require: tuple[str, ...]
    free: int
    bounds: dict[str, tuple[Exponent | None, Exponent | None]]

    def family(self, richness: Any) -> Parametrization:
        """The member of a richness between 0 (NTK) and 1/2 (muP), where all four demands leave this one number free."""
        if self.free != 1:
            left = [name for name in DEMANDS if name not in self.require]
            raise InputError("require", shown(self.require), "all four demands: a family of one number", f"Add {', '.join(left)}.")
        return Parametrization.richness(self.hidden, richness, optimizer=self.optimizer)

    @property
    def maximal(self) -> Parametrization:
        """The only member whose hidden layers move by order one: muP."""
        return self.family(HALF)

    def _columns(self) -> Columns:
        lows, highs = ([None if end is None else float(end) for end in ends] for ends in zip(*self.bounds.values(), strict=True))
        return {"exponent": [*self.bounds], "least": lows, "largest": highs}

    def __repr__(self) -> str:
        lines = [f"{SENTENCES[name]} ({name})" for name in self.require]
        rows = [f"  {_said(low)} <= {name} <= {_said(high)}" for name, (low, high) in self.bounds.items()]
        return "\n".join(
            [
                f"{self.hidden} hidden layer{'s' * (self.hidden != 1)}, {self.optimizer}; required:",
                *lines,
                f"{self.free} exponent{'s' * (self.free != 1)} free:",
                *rows,
            ]
        )


def _said(value: Exponent | None) -> str:
    return "..." if value is None else str(value)


def derive(hidden: int, optimizer: str = "sgd", require: Iterable[str] = DEMANDS) -> Derivation:
    """Solve the exponent inequalities that follow from demands on good training.

    The demands, of the richness scale: "bounded" (hidden representations stay of order one), "nontrivial" (the output moves by
    order one), "useful" (every representation's move lowers the loss by order one), "maximal" (every layer's own update counts). With all
    four one exponent stays free, the richness, in [0, 1/2]; the rest is gauge. The inequalities, a union of polyhedra in the exponents of
    the readout's start, its update and r_1, ..., r_L, are solved by linear programs.

    Parameters
    ----------
    hidden : int
        The number of hidden layers.
    optimizer : str
        "sgd", "momentum", "adam", "adamw", "signsgd" or "muon".
    require : iterable of str
        Which of the demands.

    Returns
    -------
    Derivation
        How many exponents stay free and between which bounds; with all four, `.family(richness)` and `.maximal`.

    Raises
    ------
    InputError
        For unknown demands or optimisers, and no demand.

    References
    ----------
    Karkada, Getting good signal flow in wide neural networks.

    Examples
    --------
    >>> import largen as lg
    >>> found = lg.scaling.derive(hidden=2)
    >>> found.free, found.bounds["r 1"]
    (1, (Fraction(0, 1), Fraction(1, 2)))
    >>> found.maximal.equivalent(lg.Parametrization.mup(2)), found.family(0).equivalent(lg.Parametrization.ntk(2))
    (True, True)
    >>> lg.scaling.derive(hidden=2, require=["bounded", "nontrivial"]).free
    3
    """
    L, by = door.count(hidden, "hidden"), read(optimizer)
    asked = door.names((require,) if isinstance(require, str) else require, "require", DEMANDS, '("bounded", "maximal")')
    if "bounded" not in asked:
        need = '"bounded" among them: exponents of moves mean something where representations keep their size'
        raise InputError("require", shown(tuple(asked)), need)
    named = tuple(name for name in DEMANDS if name in asked)
    parts = [part for part in _parts(L, named) if part.inside()]
    goals = _goals(L, by)
    ranges = {name: [part.range(*goal(part)) for part in parts] for name, goal in goals.items()}
    return Derivation(
        hidden=L,
        optimizer=by.name,
        require=named,
        free=max(part.dimension() for part in parts),
        bounds={name: (_exact(min(low for low, _ in found)), _exact(max(high for _, high in found))) for name, found in ranges.items()},
    )


@dataclass(frozen=True)
class Part:
    """A polyhedron of points (start, readout, r_1, ..., r_L): rows . point >= numbers, equal where `tight`. `small`: the readout learns
    less than it starts with, so that its size is that of its start."""

    rows: np.ndarray
    numbers: np.ndarray
    tight: np.ndarray
    small: bool

    def _solve(self, goal: np.ndarray) -> Any:
        from scipy.optimize import linprog

        free, equal = ~self.tight, self.tight
        return linprog(
            goal,
            A_ub=-self.rows[free],
            b_ub=-self.numbers[free],
            A_eq=self.rows[equal] if equal.any() else None,
            b_eq=self.numbers[equal] if equal.any() else None,
            bounds=(None, None),
        )

    def inside(self) -> bool:
        """Whether it has a point."""
        return self._solve(np.zeros(self.rows.shape[1])).status == 0

    def range(self, goal: np.ndarray, shift: float) -> tuple[float, float]:
        """The least and the largest of goal . point + shift."""
        low, high = self._solve(goal), self._solve(-goal)
        return (low.fun + shift if low.status == 0 else -np.inf), (shift - high.fun if high.status == 0 else np.inf)

    def dimension(self) -> int:
        """How many directions it has."""
        implied = [row for row, number, tight in zip(self.rows, self.numbers, self.tight, strict=True) if tight or self._at(row, number)]
        return self.rows.shape[1] - (int(np.linalg.matrix_rank(np.array(implied))) if implied else 0)

    def _at(self, row: np.ndarray, number: float) -> bool:
        """Whether an inequality holds with equality in every point."""
        most = self._solve(-row)
        return most.status == 0 and -most.fun < number + CLOSE


def _parts(L: int, named: tuple[str, ...]) -> Iterator[Part]:
    """The polyhedra whose union the demands leave."""
    start, readout, *r = np.eye(L + 2)
    at_least = [(one, 0.0) for one in r]
    equal: list[Row] = []
    if "nontrivial" in named:
        at_least += [(start, 0.5), (readout, 0.0), *((start + one, 1.0) for one in r)]
    if "maximal" in named:
        at_least += [(before - after, 0.0) for before, after in pairwise(r)]
        equal += [(readout, 0.0)]
    ways: list[list[Row]] = [[(readout, 0.0)], *([(start + one, 1.0)] for one in r)] if "nontrivial" in named else [[]]
    for small, moved in product((True, False), ways):
        slack = (readout - start, -1.0) if small else (start - readout, 1.0)
        rows, exact = [*at_least, slack], [*equal, *moved]
        if "useful" in named:  # start + r_1 = 1, the others not below r_1
            exact.append((start + r[0], 1.0))
            rows += [(one - r[0], 0.0) for one in r[1:]]
        tight = np.arange(len(rows) + len(exact)) >= len(rows)
        yield Part(np.array([row for row, _ in [*rows, *exact]]), np.array([number for _, number in [*rows, *exact]]), tight, small)


def _goals(L: int, by: Optimizer) -> dict[str, Callable[[Part], tuple[np.ndarray, float]]]:
    """What is bounded, as linear functions of a point: in each part the size of the readout is one."""
    start, readout, *r = np.eye(L + 2)

    def rate(l: int) -> Callable[[Part], tuple[np.ndarray, float]]:
        def goal(part: Part) -> tuple[np.ndarray, float]:
            size, one = (start, 0.0) if part.small else (readout, 1.0)
            return r[l] - by.degree * size, float(by.move(l, L)) - by.degree * one

        return goal

    return {
        "readout std": lambda _: (start, 0.0),
        **{f"rate {l + 1}": rate(l) for l in range(L)},
        f"rate {L + 1}": lambda _: (readout, float(by.move(L, L))),
        **{f"r {l + 1}": partial(lambda one, _: (one, 0.0), r[l]) for l in range(L)},
    }


def _exact(value: float) -> Exponent | None:
    return exponent(value, "bound") if np.isfinite(value) else None
