"""Convolutional networks as stages of equal grids, for kernels computed offset by offset.

Fix the offset d between two pixels, q = p + d modulo the grid: the moments of all pairs (p, p + d) are an image indexed by p, in which
pairs with q inside and those wrapped around stand side by side. Pixel-wise layers and convolutions of stride 1 act on every such
image by itself, with weights 0 where either pixel leaves the image. Poolings and strides lead to a coarser grid, whose images collect
from images of several offsets: they end a stage. A stage needs only the offsets that what follows needs: one, d = 0, for flattening.
"""

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from largen.activations.activation import Activation
from largen.architecture.nodes import Act, Dense, Serial
from largen.architecture.pools import AvgPool, GlobalAvgPool, SumPool
from largen.architecture.spatial import Axis, Conv, Flatten, Windowed

Offsets = tuple[tuple[int, ...], ...]  # along each axis
End = Literal["patch", "pool", "flat", "mean"]


@dataclass(frozen=True)
class Layer:
    """b + W x, over a window of stride 1 or (`axes` None) position by position, then an activation or none. `affine`: its place among
    the affine layers; `before`: the sizes it sees."""

    axes: tuple[Axis, ...] | None
    affine: int
    before: tuple[int, ...]
    phi: Activation | None = None


@dataclass(frozen=True)
class Stage:
    """Layers on one grid, then its end: a window that changes the grid, of both pixels together ("patch") or each by itself ("pool"), or
    the mean over all pixels, of both together ("flat") or each by itself ("mean"). `grid`: the modulus of the offsets; `live`: the
    sizes at the end, smaller after convolutions without padding, whose other positions hold zeros. `share` multiplies the sum."""

    grid: tuple[int, ...]
    layers: tuple[Layer, ...]
    live: tuple[int, ...]
    end: End
    axes: tuple[Axis, ...] = ()
    share: float = 1.0

    @property
    def acts(self) -> list[Activation]:
        return [layer.phi for layer in self.layers if layer.phi is not None]

    def all_offsets(self) -> Offsets:
        """The offsets that the end needs, if what follows needs all of its own."""
        if self.end == "flat":
            return ((0,),) * len(self.grid)
        return tuple(tuple(d for d in range(n) if _inside(n, live, d).any()) for n, live in zip(self.grid, self.live, strict=True))


@dataclass(frozen=True)
class Program:
    """The stages of a network, how many affine layers they have, and where its remaining nodes begin."""

    stages: tuple[Stage, ...]
    affine: int
    rest: int

    @cached_property
    def needs(self) -> tuple[Offsets, ...]:
        """The offsets of every stage."""
        found = [self.stages[-1].all_offsets()]
        for stage in reversed(self.stages[:-1]):
            found.append(_before(stage, found[-1]))
        return tuple(reversed(found))

    @cached_property
    def flat(self) -> bool:
        """Whether pixels meet only at equal positions."""
        return all(offsets == ((0,),) * len(offsets) for offsets in self.needs)

    @cached_property
    def own(self) -> tuple[Offsets, ...]:
        """Those that the variances at all activations need, of the stages down to the last activation (of all if flat)."""
        last = len(self.stages) - 1 if self.flat else max((i for i, stage in enumerate(self.stages) if stage.acts), default=-1)
        found: list[Offsets] = []
        for stage in reversed(self.stages[: last + 1]):
            further = _before(stage, found[-1]) if found else ((),) * len(stage.grid)
            found.append(tuple(tuple(sorted({0, *some})) for some in further))
        return tuple(reversed(found))


def program(net: Serial, space: tuple[int, ...]) -> Program | None:
    """The stages of a network on images of given sizes, or None where a node before the positions are gone has none. A single axis of
    positions is followed by one of size 1."""
    single = len(space) == 1
    stages: list[Stage] = []
    layers: list[Layer] = []
    grid = live = (*space, 1) if single else space
    affine = 0

    def windows(node: Windowed) -> tuple[Axis, ...]:
        axes = node.axes(live[:1] if single else live)
        return (*axes, Axis(1, 1, 1, 1, 0, 0, axes[0].wrap)) if single else axes

    def close(end: End, axes: tuple[Axis, ...] = (), share: float = 1.0) -> None:
        nonlocal grid, live
        stages.append(Stage(grid, tuple(layers), live, end, axes, share))
        layers.clear()
        grid = live = tuple(axis.size for axis in axes)

    for at, node in enumerate(net.nodes):
        if isinstance(node, Flatten):
            close("flat", (), 1 / math.prod(live))
            return Program(tuple(stages), affine, at + 1)
        if isinstance(node, GlobalAvgPool):
            close("mean", (), 1 / math.prod(live) ** 2)
            return Program(tuple(stages), affine, at + 1)
        if type(node) is Conv:
            axes = windows(node)
            if all(axis.stride == 1 and not (axis.wrap and live != grid) for axis in axes):
                layers.append(Layer(axes, affine, live))
                live = tuple(axis.size for axis in axes)
            else:
                close("patch", axes, 1 / math.prod(axis.window for axis in axes))
                layers.append(Layer(None, affine, live))
            affine += 1
        elif type(node) is Dense:
            layers.append(Layer(None, affine, live))
            affine += 1
        elif isinstance(node, Act) and layers and layers[-1].phi is None:
            layers[-1] = replace(layers[-1], phi=node.activation)
        elif isinstance(node, (AvgPool, SumPool)):
            axes = windows(node)
            close("pool", axes, 1 / math.prod(axis.window for axis in axes) ** 2 if node.mean else 1.0)
        elif not node.passes:
            return None
    return None


# ---------------------------------------------------------------- tables, one axis at a time


def _inside(n: int, live: int, d: int) -> np.ndarray:
    """Which p of an image of offset d have both pixels inside."""
    p = np.arange(n)
    return (p < live) & ((p + d) % n < live)


@lru_cache(256)
def window_weights(axis: Axis, before: int, n: int, offsets: tuple[int, ...]) -> np.ndarray:
    """(offsets, window, n): whether position p of the output sees position p + tap dilation - low of the image, at both pixels."""
    if axis.wrap:
        return np.ones((len(offsets), axis.window, n), np.float32)
    out = np.zeros((len(offsets), axis.window, n), np.float32)
    p = np.arange(n)
    for i, d in enumerate(offsets):
        q = (p + d) % n
        for tap in range(axis.window):
            shift = tap * axis.dilation - axis.low
            seen = (p + shift >= 0) & (p + shift < before) & (q + shift >= 0) & (q + shift < before)
            out[i, tap] = seen & (p < axis.size) & (q < axis.size)
    return out


def shifts(axis: Axis) -> list[int]:
    return [tap * axis.dilation - axis.low for tap in range(axis.window)]


@lru_cache(256)
def _meetings(axis: Axis, before: int, n: int, pool: bool) -> np.ndarray:
    """Rows (d, D, P, tap, count): the image of offset d at the place that `tap` of P sees enters the coarse image of offset D at P."""
    found: dict[tuple[int, int, int, int], int] = {}
    taps = list(enumerate(shifts(axis)))
    for P, Q in itertools.product(range(axis.size), repeat=2):
        for (a, s), (_, t) in itertools.product(taps, taps) if pool else zip(taps, taps, strict=True):
            p, q = P * axis.stride + s, Q * axis.stride + t
            if axis.wrap:
                p, q = p % before, q % before
            if 0 <= p < before and 0 <= q < before:
                key = ((q - p) % n, (Q - P) % axis.size, P, a)
                found[key] = found.get(key, 0) + 1
    return np.array([(*key, count) for key, count in sorted(found.items())], np.int32).reshape(-1, 5)


def _before(stage: Stage, wanted: Offsets) -> Offsets:
    """The offsets of a stage that coarse images of the wanted ones collect from."""
    out = []
    for axis, n, live, coarse in zip(stage.axes, stage.grid, stage.live, wanted, strict=True):
        rows = _meetings(axis, live, n, stage.end == "pool")
        out.append(tuple(int(d) for d in np.unique(rows[np.isin(rows[:, 1], coarse), 0])) or (0,))
    return tuple(out)


@lru_cache(256)
def collecting(
    axis: Axis, before: int, n: int, pool: bool, offsets: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where images of given offsets go: how many slots are used (offsets,), places (offsets, slots) among the wanted coarse offsets,
    weights (offsets, slots, window, size)."""
    rows = _meetings(axis, before, n, pool)
    rows = rows[np.isin(rows[:, 1], wanted) & np.isin(rows[:, 0], offsets)]
    targets = [sorted(set(rows[rows[:, 0] == d, 1].tolist())) for d in offsets]
    slots = max(map(len, targets), default=1) or 1
    places = np.zeros((len(offsets), slots), np.int32)
    weights = np.zeros((len(offsets), slots, axis.window, axis.size), np.float32)
    for i, (d, coarse) in enumerate(zip(offsets, targets, strict=True)):
        for slot, D in enumerate(coarse):
            places[i, slot] = wanted.index(D)
            some = rows[(rows[:, 0] == d) & (rows[:, 1] == D)]
            weights[i, slot, some[:, 3], some[:, 2]] = some[:, 4]
    return np.array([max(1, len(some)) for some in targets], np.int32), places, weights


@lru_cache(256)
def live_weights(n: int, live: int, offsets: tuple[int, ...]) -> np.ndarray:
    """(offsets, n): whether both pixels are inside."""
    return np.stack([_inside(n, live, d) for d in offsets]).astype(np.float32)
