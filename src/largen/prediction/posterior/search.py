"""The evidence as a function of the logarithms of hyperparameters, with its gradient and curvature."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from largen import exits
from largen.architecture.levels import affine
from largen.architecture.mapping import map_affine
from largen.architecture.nodes import Affine, Serial
from largen.errors import InputError
from largen.prediction.kernels import kernels
from largen.prediction.posterior.evidence import UNDEFINED, defined_log
from largen.prediction.posterior.observed import observe

START = 1e-2  # where a bias variance of 0 starts; and, times the mean square of the targets, a ridge of 0
STEP = (1e-4, 1e-3)  # of central differences at order 0 and 1: relative errors of about 1e-8 and 1e-6
BEND = 1e-2  # of central differences of the gradient
FLAT = 1e-5  # curvatures below this part of the largest are none


class Undefined(ArithmeticError):
    """A trial of the search, at the logarithms `logs`, where there is no evidence."""

    def __init__(self, logs: np.ndarray):
        super().__init__("no evidence here")
        self.logs = logs.copy()


@dataclass(frozen=True)
class Search:
    """The problem: `net` and `ridge` (a number or (n,)) as given, data X (n, ...), y (n,) or (n, o) in float64, `names` of what varies
    (of "C_W", "C_b", "ridge"), whether layers share values, and the order. Points of the search are logarithms (k,), names in order."""

    net: Serial
    X: np.ndarray
    y: np.ndarray
    ridge: Any
    names: tuple[str, ...]
    shared: bool
    order: int

    @property
    def layers(self) -> list[Affine]:
        """The affine layers, branch after branch."""
        return [layer for _, layer, _ in affine(self.net) if isinstance(layer, Affine)]

    def start(self) -> np.ndarray:
        """The logarithms of the values given: shared ones at their geometric mean (biases at the mean), a C_b of 0 from 0.01."""
        parts = []
        for name in self.names:
            given = np.atleast_1d(np.max(self.ridge)) if name == "ridge" else np.array([float(getattr(a, name)) for a in self.layers])
            if name != "C_b" and not given.min() > 0:
                raise InputError(name, f"a smallest value {given.min():g} to start from", "values > 0")
            if name == "C_b":
                given = np.maximum(given.mean(keepdims=True) if self.shared else given, START)
            logs = np.log(given)
            parts.append(logs.mean(keepdims=True) if self.shared else logs)
        return np.concatenate(parts)

    def split(self, logs: np.ndarray) -> dict[str, np.ndarray]:
        """name -> values, (1,) if shared, else one per affine layer."""
        many = [1 if self.shared or name == "ridge" else len(self.layers) for name in self.names]
        return dict(zip(self.names, np.split(np.exp(logs), np.cumsum(many)[:-1]), strict=True))

    def place(self, logs: np.ndarray) -> tuple[Serial, Any]:
        """The network and the ridge with these values; a ridge per sample is scaled as a whole, its largest entry being the value."""
        values = self.split(logs)
        ridge = self.ridge * (float(values.pop("ridge")[0]) / np.max(self.ridge)) if "ridge" in values else self.ridge
        columns = {name: iter(np.broadcast_to(v, (len(self.layers),)).tolist()) for name, v in values.items()}

        def put(layer: Any, last: bool) -> Any:
            return replace(layer, **{name: next(column) for name, column in columns.items()}) if isinstance(layer, Affine) else layer

        return map_affine(self.net, put), ridge

    def value(self, logs: np.ndarray) -> float:
        """The log evidence, -inf where it is not defined."""
        net, ridge = self.place(logs)
        try:
            return defined_log(net, self.X, self.y, ridge, self.order)
        except exits.NotFinite:  # a step too far
            return -np.inf

    def both(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        """The log evidence and its derivatives. Raises `Undefined` where there are none."""
        value = self.value(logs)
        try:
            slope = self.slope(logs) if np.isfinite(value) else np.array([np.nan])
        except UNDEFINED:
            slope = np.array([np.nan])
        if not np.isfinite(slope).all():
            raise Undefined(logs)
        return value, slope

    def slope(self, logs: np.ndarray) -> np.ndarray:
        """Its derivatives (k,). Order 0: sum_ab M_ab dK_ab, M exact, dK by central differences; order 1: differences of the evidence."""
        if self.order:
            return _central(self.value, logs, STEP[1])
        net, ridge = self.place(logs)
        M = observe(self._kernel(net), self.y.reshape(len(self.X), -1), ridge).tilt
        out = _central(lambda x: float((M * self._kernel(self.place(x)[0])).sum()), logs, STEP[0], len(logs) - ("ridge" in self.names))
        return np.append(out, (M.diagonal() * ridge).sum()) if "ridge" in self.names else out

    def errors(self, logs: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Standard errors (k,) of the logarithms, from the curvature along `free` ones; NaN where there is none."""
        out, at = np.full(len(logs), np.nan), np.flatnonzero(free)
        if not len(at):
            return out

        def inside(x: np.ndarray) -> np.ndarray:
            full = logs.copy()
            full[at] = x
            return self.slope(full)[at]

        try:
            bend = -_central(inside, logs[at], BEND)
        except UNDEFINED:
            return out
        if not np.isfinite(bend).all():
            return out
        values, vectors = np.linalg.eigh((bend + bend.T) / 2)
        told = values > FLAT * max(values.max(), FLAT)
        variance = (vectors[:, told] ** 2 / values[told]).sum(1)
        out[at] = np.where((vectors[:, ~told] ** 2).sum(1) < FLAT, np.sqrt(variance), np.nan)
        return out

    def _kernel(self, net: Serial) -> np.ndarray:
        return np.asarray(kernels(net, self.X, which="nngp").nngp)


def _central(function: Callable[[np.ndarray], Any], x: np.ndarray, step: float, many: int | None = None) -> np.ndarray:
    """(f(x + step e_i) - f(x - step e_i))/(2 step) for the first `many` coordinates, first axis."""
    ways = step * np.eye(len(x))[:many]
    if not len(ways):
        return np.zeros(0)
    return np.stack([np.asarray(function(x + e)) - np.asarray(function(x - e)) for e in ways]) / (2 * step)
