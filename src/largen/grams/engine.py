"""What computes the tiles of a Gram matrix: the first engine of the plan that is accurate on the points."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.architecture.branches import settled
from largen.architecture.nodes import Serial
from largen.grams.blocks import Engine
from largen.grams.images.images import images
from largen.grams.plan import COSINE, IMAGES, NORMS, Plan, plan
from largen.grams.tables.angles import Rows
from largen.grams.tables.one_variable import one_variable
from largen.grams.tables.separable import separable
from largen.grams.tiles import WHICH, Once, Stretch, Values, symmetric
from largen.memory import require
from largen.theory.given import Given
from largen.theory.kernels import kernel
from largen.theory.variances import covariances


@dataclass(frozen=True)
class Task:
    """A Gram matrix to compute, its arguments checked: the kernels `which` of points X with X2 (None: with themselves), computed in
    `work`; `rates` as given, `extras` by layer."""

    net: Serial
    extras: Any
    rates: Any
    X: np.ndarray
    X2: np.ndarray | None
    work: np.dtype
    which: str

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.X), len(self.X if self.X2 is None else self.X2)

    def plan(self) -> Plan:
        return plan(self.net, self.extras, self.X.shape[1:], *self.shape, self.work.name)

    def engine(self) -> tuple[Engine, int]:
        """What evaluates tiles, and their rows."""
        how = self.plan()
        require(how.held, "X", f"pairs of points of shape {self.X.shape[1:]}", "Take smaller points.")  # on the machine that computes
        tables = {COSINE: one_variable, NORMS: separable}
        if how.engine in tables:
            first = Rows(self.X, self.work.name)
            second = first if self.X2 is None else Rows(self.X2, self.work.name)
            whole = settled(self.net, self.X.shape[1:])
            for table in (tables[name] for name in how.engines if name in tables):
                found = table(whole, self.extras, first, second, self.which)
                if found is not None:
                    return found, how.tile
        if how.engine == IMAGES and (swept := images(self.net, self.extras, self.X, self.X2, self.which)) is not None:
            return swept, swept.size()
        return _Plain(self), how.tile


def task(asked: Given, rates: Any = "ntk", which: str = "both") -> Task:
    """The task for what is given; `rates` as they were."""
    X, X2 = np.asarray(asked.X), None if asked.X2 is None else np.asarray(asked.X2)
    return Task(asked.net, asked.rates, rates, X, X2, asked.work, which)


class _Plain:
    """Tiles of the recursion; `error` is the worst so far."""

    def __init__(self, task: Task) -> None:
        self.net, self.rates, self.same, self.which = task.net, task.rates, task.X2 is None, task.which
        points = (task.X, task.X if task.X2 is None else task.X2)
        self.X, self.X2 = (Z.astype(np.promote_types(Z.dtype, task.work), copy=False) for Z in points)
        self.error, self.lock, self.once = 0.0, threading.Lock(), Once()

    def tile(self, rows: Stretch, columns: Stretch) -> Values:
        own = self.same and rows == columns
        first, second = self.X[rows.start : rows.stop], None if own else self.X2[columns.start : columns.stop]
        *found, error = self.once.run((own, first.shape), lambda: self.recursion(first, second))
        with self.lock:
            self.error = max(self.error, float(error))
        return tuple(symmetric(np.asarray(part)) if own else np.asarray(part) for part in found)

    def recursion(self, first: np.ndarray, second: np.ndarray | None) -> tuple[Any, ...]:
        """The kernels, and their error."""
        if self.which == "nngp":
            return covariances(self.net, first, second)
        out = kernel(self.net, first, second, self.rates)
        return *(getattr(out, name) for name in WHICH[self.which]), out.error
