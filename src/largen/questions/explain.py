"""What a kernel costs, before it is computed: what every node tracks, operations, memory, time, and what does the work."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door, exits
from largen.activations.assumed import assuming
from largen.architecture.nodes import Serial, network
from largen.display import Columns, Record, aligned, stacked
from largen.errors import InputError
from largen.grams.plan import Plan, plan
from largen.parametrizations.rates import resolve
from largen.questions.cost import Cost, costs
from largen.questions.forecast import forecast
from largen.theory.gaussian_units import check_gaussian
from largen.theory.positions import PAIRS, PIXELS

MANY = 1000  # points among which the work on single points is shared where n is not given
DTYPES = ("float32", "float64")
LAYOUTS = {None: "", PIXELS: "pixels", PAIRS: "pairs of pixels"}
PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
UNITS = (
    ("years", 31557600.0),
    ("days", 86400.0),
    ("hours", 3600.0),
    ("minutes", 60.0),
    ("s", 1.0),
    ("ms", 1e-3),
    ("us", 1e-6),
    ("ns", 1e-9),
)
NODE = 36  # characters of a node that are printed


@dataclass(frozen=True, repr=False, kw_only=True)
class Tracked(Record):
    """A row of `Explanation`: what the theory holds after a node, for every pair of points.

    `path`; `node` as code, "" for the inputs; `positions` there, () for plain units; `layout`: "" without positions, "pixels" (both points
    at the same position), "pairs of pixels" (at every two positions); `asked_by`: the path of the pooling, or other node further on,
    that needs pairs of pixels; `operations` of the node itself and `bytes` held after it, a pair; `least`: there are more operations
    than that, in a series that runs until it converges (one round is counted).
    """

    path: str
    node: str
    positions: tuple[int, ...]
    layout: str
    asked_by: str | None
    operations: float
    bytes: float
    least: bool

    _table = ("", "path node positions layout asked_by operations bytes least")


@dataclass(frozen=True, repr=False, kw_only=True)
class Explanation(Record):
    """What `lg.explain` returns; it prints as a table.

    Attributes
    ----------
    rows : tuple of records
        One for the inputs and for every node, with `path`, `node`, `positions`, `layout` ("", "pixels", "pairs of pixels"), `asked_by` (the
        path of what needs pairs of pixels), `operations` and `bytes` a pair of points, `least` (there are more operations, uncounted).
    shape : tuple or None
        Of a point, None if not given.
    n : int or None
        Points; None: all is for one pair of many.
    dtype : str
        As given.
    pairs : int
        That `lg.gram` computes (those on and above the diagonal).
    operations : float
        Of the recursion for them.
    result : float
        Bytes of K and Theta.
    work : float
        Bytes held beside them.
    seconds : float
        About, of processor time: a call after the first. Several processors share it, so that the clock says less.
    first : float or None
        About, likewise: the first call in a process, which traces and compiles; None without n.
    engine : str
        What computes them, in words.
    cosine : str
        Whether kernels are functions of one number, the cosine of two points: "always", "at equal norms" or "never".
    why : str
        The reason of that.
    """

    rows: tuple[Tracked, ...]
    shape: tuple[int, ...] | None
    n: int | None
    dtype: str
    pairs: int
    operations: float
    result: float
    work: float
    seconds: float
    first: float | None
    engine: str
    cosine: str
    why: str

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        reasons = {"n": "not given", "shape": "not given", "first": "n was not given"}
        return {name: why for name, why in reasons.items() if getattr(self, name) is None}

    def _columns(self) -> Columns:
        return stacked(self.rows)

    def __repr__(self) -> str:
        rows = [("path", "node", "positions", "tracked", "asked by", "operations", "bytes")]
        for r in self.rows:
            code = " ".join(r.node.split())
            node = code if len(code) <= NODE else code[: NODE - 3] + "..."
            place = " x ".join(map(str, r.positions)) or "-"
            count = f"{'> ' if r.least else ''}{short(r.operations)}"
            rows.append((r.path, node, place, r.layout or "numbers", r.asked_by or "", count, short(r.bytes)))
        points = "points of any shape" if self.shape is None else f"points of shape {self.shape}"
        head = f"Kernels (NNGP and NTK) for {points}, {self.dtype}; operations and bytes a pair of points:"
        return "\n".join([head, "", *aligned(rows, right=2), "", *self._totals()])

    def _totals(self) -> list[str]:
        least = "more than " if any(r.least for r in self.rows) else ""
        memory = f"result {short(self.result, 'B')}, in work {short(self.work, 'B')}"
        cost = f"{least}{short(self.operations)} operations, {memory}, about {_time(self.seconds)}"
        cost += "" if self.first is None else f" (first {_time(self.first)})"
        one = {"always": "yes", "never": "no"}.get(self.cosine, self.cosine)
        return [
            f"One pair of many: {cost}."
            if self.n is None
            else f"{self.n:,} points, {self.pairs:,} pairs on and above the diagonal: {cost}.",
            f"lg.gram computes them by {self.engine}.",
            f"A function of one cosine: {one}; {self.why}.",
        ]


@exits.finite()
def explain(net: Any, shape: Any = None, n: int | None = None, dtype: str = "float32") -> Explanation:
    """What the kernels of a network cost, said before any is computed: what is tracked at every node and why, operations, bytes, time.

    Without positions a few numbers a pair of points go from node to node. With them (images, sequences) it is as many for every
    position, P, where convolutions end in `lg.Flatten`, and P^2, every position of one point with every position of the other, before
    a pooling or attention: the variance of a mean depends on all covariances.

    Operations are counted in the programs of the rules that `lg.kernel` runs (sums, products, comparisons and functions count one each), so
    that every node is counted that has a rule. Time and memory are those of `lg.gram`, which computes pairs on and above the diagonal.
    `.seconds`, of a later call, and `.first`, of the first one in a process, are processor time in units of this machine, which are
    measured in some milliseconds: a function of an array, a product of matrices, lines of Python. They were within a factor of 2 of what
    20 networks took (benchmarks/forecast.py).

    Parameters
    ----------
    net : architecture
        Any network with a kernel.
    shape : tuple or int, optional
        Of one point, (features,) or (*positions, channels) or a number of features; None for networks that do not look at positions (the
        features' own sum is then counted for one feature).
    n : int, optional
        Points with themselves; None for one pair of many.
    dtype : str
        "float32" or "float64".

    Returns
    -------
    Explanation
        Prints as a table.

    Raises
    ------
    InputError
        For a shape that does not fit the network or is missing, n < 1, another dtype.
    UnsupportedError
        As `lg.kernel` does.

    Examples
    --------
    >>> import largen as lg
    >>> found = lg.explain(lg.Conv(16, 3) >> lg.Act("relu") >> lg.GlobalAvgPool() >> lg.Dense(10), shape=(8, 8, 3), n=1000)
    >>> for row in found.rows:
    ...     print(row.path, row.positions, row.layout, row.asked_by)
    inputs (8, 8) pairs of pixels globalavgpool1
    conv1 (8, 8) pairs of pixels globalavgpool1
    act1 (8, 8) pairs of pixels globalavgpool1
    globalavgpool1 ()  None
    dense1 ()  None
    >>> found.pairs, found.result, found.cosine
    (500500, 8000000.0, 'never')
    """
    whole = network(net)
    door.concrete(whole, "net")
    given = None if shape is None else _shape(shape)
    points = None if n is None else door.count(n, "n")
    door.choice(dtype, "dtype", DTYPES)
    check_gaussian(whole)
    _check_fits(whole, given)
    many = MANY if points is None else points
    found = costs(whole, given or (1,), many, None, dtype)
    how = plan(whole, resolve(whole), given or (1,), many, many, dtype)
    rows = tuple(_tracked(cost, many) for cost in found)
    tile = min(how.tile, many)
    with assuming(sizes=True, angles=given is None or len(given) == 1):  # as the programs are that run
        programs = costs(whole, given or (1,), tile, None, dtype)
    return _explained(rows, how, given, points, dtype, forecast(programs, how.otherwise, many, tile, dtype))


def _shape(shape: Any) -> tuple[int, ...]:
    """The shape of one point."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not sizes:
        raise InputError("shape", "()", "the shape of one point, (features,) or (*positions, channels)")
    return tuple(door.count(size, "shape") for size in sizes)


def _check_fits(net: Serial, shape: tuple[int, ...] | None) -> None:
    """Refuse a shape that the network cannot take, and none for a network that looks at positions."""
    try:
        *places, out = net.shape(shape or (1,))
    except InputError as error:
        if shape is None:
            need = "the shape of one point, such as shape=(32, 32, 3)"
            raise InputError("shape", "None, for a network that looks at positions", need) from error
        raise InputError("shape", f"{shape}, {error.got}", error.need, error.fix) from error
    if places:
        got = f"{shape}, for which the outputs have positions, shape {(*places, out)}"
        fix = "End the network with >> lg.Flatten() >> lg.Dense(...), or give the number of features of flattened points."
        raise InputError("shape", got, "one vector of outputs per point", fix)


def _tracked(cost: Cost, many: int) -> Tracked:
    """The row of a node, a pair of points."""
    code = "" if cost.node is None else repr(cost.node)
    return Tracked(
        path=cost.path,
        node=code,
        positions=cost.space,
        layout=LAYOUTS[cost.layout],
        asked_by=cost.asked_by,
        operations=cost.operations / many**2,
        bytes=cost.bytes / many**2,
        least=cost.least,
    )


def _explained(
    rows: tuple[Tracked, ...], how: Plan, shape: tuple[int, ...] | None, n: int | None, dtype: str, seconds: tuple[float, float]
) -> Explanation:
    """Totals for n points, or for one pair of many."""
    pairs, whole = (1, 1) if n is None else (n * (n + 1) // 2, n * n)
    held = max(before.bytes + after.bytes for before, after in itertools.pairwise(rows))
    words = how.otherwise + (f"; by {how.engine} where all have equal norms" if how.otherwise != how.engine else "")
    return Explanation(
        rows=rows,
        shape=shape,
        n=n,
        dtype=dtype,
        pairs=pairs,
        operations=pairs * sum(row.operations for row in rows),
        result=2.0 * np.dtype(dtype).itemsize * whole,
        work=held if n is None else how.held,
        seconds=seconds[1] / (MANY * (MANY + 1) / 2 if n is None else 1),
        first=None if n is None else seconds[0],
        engine=words,
        cosine=how.cosine,
        why=how.why,
    )


def short(number: float, unit: str = "") -> str:
    """Three digits and a prefix of thousands: 16, 3.52 k, 921 MB."""
    power = min(max(int(math.log10(number)) // 3, 0), len(PREFIXES) - 1) if number > 0 else 0
    return f"{number / 1000**power:.3g} {PREFIXES[power]}{unit}".rstrip()


def _time(seconds: float) -> str:
    """Two digits and a unit."""
    unit, size = next(((unit, size) for unit, size in UNITS if seconds >= size), UNITS[-1])
    return f"{float(f'{seconds / size:.2g}'):g} {unit}"
