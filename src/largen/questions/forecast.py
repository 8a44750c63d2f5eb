"""Seconds that `lg.gram` takes, the first call in a process and later ones apart, from the programs that it runs and from how fast this
machine is.

The units are measured when they are first asked for, in some milliseconds: an entry of exp(-x^2) of an array in the cache, a sum and
a product in a product of matrices, a line of Python. All else are counts of these, which are of the code and not of a machine: what a
number costs in a program of NumPy or in a compiled one, an equation that is traced or compiled, an entry of a table.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from largen.architecture.nodes import Act
from largen.grams.plan import COSINE, IMAGES, NORMS, RECURSION
from largen.questions.cost import Cost
from largen.running.jitted import SHARE
from largen.theory.positions import PAIRS, PIXELS

# in entries of exp(-x^2)
NUMBER, COMPILED = 0.83, 0.2  # of a program in NumPy, of a compiled one
SERIES = 2.3  # times more where a Hermite series decides as it runs how many terms it takes
ENTRY = {COSINE: {"float32": 130.0, "float64": 480.0}, NORMS: {"float32": 25.0, "float64": 250.0}}  # a pair, both kernels
SWEPT = {PIXELS: 0.3, PAIRS: 0.03}  # an operation of the recursion where sweeps take its place: of pairs of pixels they do far less
SHORT = {"float32": 0.7, "float64": 1.0}  # what a number of so many bytes takes
# in lines of Python
START, TABLE, SWEEPS = 8e5, 1.8e6, 7e6  # what a first call imports and sets up; the programs of a table, of sweeps
TRACED, BUILT = 1900, 4400  # an equation, to trace it and to compile it
ROUNDS, LINES = 5, 5000


@dataclass(frozen=True)
class Units:
    """Seconds on this machine: of an `entry` of exp(-x^2), of a `product` (and sum) in one of matrices, of a `line` of Python."""

    entry: float
    product: float
    line: float


@cache
def units() -> Units:
    """The least of a few counts each."""
    x = np.linspace(-3, 3, 2**14)
    square = x[: 2**12].reshape(64, 64)  # no larger, so that one thread does it

    def lines() -> None:
        seen: dict[int, tuple[int, str]] = {}
        for i in range(LINES):
            seen[i & 63] = (len(seen), str(i))

    entry, product = _least(lambda: np.exp(-x * x)), _least(lambda: square @ square)
    return Units(entry / x.size, product / 64**3, _least(lines) / LINES)


def _least(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(ROUNDS):
        began, turns = time.process_time(), 0
        while (now := time.process_time()) - began < 1e-3:
            work()
            turns += 1
        taken.append((now - began) / turns)
    return min(taken)


def forecast(found: Sequence[Cost], engine: str, n: int, tile: int, dtype: str) -> tuple[float, float]:
    """CPU seconds of (the first call, a later one) for n points with themselves, by an engine, in tiles of so many rows; `found` for
    one tile, the inputs first."""
    u, across = units(), -(-n // tile)
    tiles, programs = across * (across + 1) // 2, min(across, 2) if engine == RECURSION else 1
    entry = u.entry * SHORT[dtype]
    equations = sum(cost.equations for cost in found)
    start = u.line * (START + TRACED * equations * programs)
    later = tiles * found[0].operations / 2 * u.product * SHORT[dtype]
    if engine == RECURSION:
        for part in (found[:1], found[1:]):
            size, many = sum(cost.numbers for cost in part), sum(cost.equations for cost in part)
            if tiles * size <= SHARE * many:
                later += tiles * entry * NUMBER * sum(cost.numbers * _turns(cost) for cost in part)
            else:
                later += tiles * entry * COMPILED * size
                start += u.line * BUILT * many * programs
    elif engine == IMAGES:
        work = sum(cost.operations * _turns(cost) for cost in found)
        later += n * (n + 1) / 2 / tile**2 * entry * SWEPT[found[0].layout or PIXELS] * work
        start = u.line * (START + SWEEPS)
    else:
        later += tiles * tile**2 * u.entry * ENTRY[engine][dtype]
        start += u.line * TABLE
    return start + later, later


def _turns(cost: Cost) -> float:
    """By how much more there is to do than was counted."""
    series = isinstance(cost.node, Act) and cost.node.activation.closed is None and not cost.node.activation.kinks
    return SERIES if series else 1.0
