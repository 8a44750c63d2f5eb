"""All offsets of the stages of a convolutional network, for some pairs of points side by side: their kernels, and the standard
deviations in front of every activation, at every pixel of every point, which all pairs share."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.grams.images.maps import TERMS, own_moments, series_of
from largen.grams.images.offsets import C_B, C_W, RATE_B, RATE_W, Lanes, Steps, frame, through, window
from largen.grams.images.stages import Layer, Offsets, Program, Stage, collecting, live_weights, shifts, window_weights


@dataclass(frozen=True)
class Place:
    """One of the offsets of a stage: its number, and along each axis its number and itself. Numbers, or traced."""

    number: Any
    each: tuple[Any, ...]
    offset: tuple[Any, ...]


SHORT = 64  # a sum that is spelled out

Source = Callable[[Place], list[Any]]  # the images K and, if there is one, S, of what a stage starts from


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Points:
    """Points side by side in lanes, arrays of `rows`: inputs (channels, *rows), and in front of the activations of every stage r, 1/r
    and, if it needs them, the coefficients (terms, *rows) of its series. With a number in front of the axes if `number` says which is
    meant, so that it is looked up where it is used."""

    X: Any
    sizes: list[list[tuple[Any, ...]]]
    number: Any = None

    def inputs(self) -> list[Lanes]:
        """Channel by channel."""
        channels = self.X.shape[0 if self.number is None else 1]
        return [self._here(self.X, channel) for channel in range(channels)]

    def before(self, stage: int) -> list[list[Lanes]]:
        """What is known in front of the activations of one stage."""
        return [[self._here(a) for a in some] for some in self.sizes[stage]]

    def _here(self, a: Any, *channel: int) -> Lanes:
        return lambda: a[(*(() if self.number is None else (self.number,)), *channel)]


class Sweep:
    """One stage at given offsets; `wanted`: those of the next stage that its end collects for."""

    def __init__(self, stage: Stage, offsets: Offsets, wanted: Offsets | None, lanes: int, one: Any) -> None:
        self.stage, self.offsets, self.wanted, self.lanes = stage, offsets, wanted, lanes
        self.steps = Steps(frame(stage, lanes), one)
        self.counts = tuple(map(len, offsets))
        self.single = offsets == ((0,),) * len(offsets)

    def place(self, number: Any) -> Place:
        each, left = [], number
        for count in reversed(self.counts):
            each.insert(0, left % count)
            left = left // count
        return Place(number, tuple(each), tuple(_entry(np.asarray(d, np.int32), i) for d, i in zip(self.offsets, each, strict=True)))

    def run(self, images: Callable[[Place], list[Any]], many: int) -> list[Any]:
        """What the end of the stage makes of the images (K, or K and S: `many`) of all offsets: moments (lanes,), or the images of the
        next stage, (offsets, positions and lanes)."""
        total = math.prod(self.counts)
        if self.wanted is None:

            def value(number: Any) -> list[Any]:
                place = self.place(number)
                return [self.total(place, image) for image in images(place)]

            if total == 1:
                return value(0)
            _, values = jax.lax.scan(lambda _, number: (None, value(number)), None, jnp.arange(total, dtype=jnp.int32))
            return [v.reshape(*self.counts, self.lanes).sum(-2).reshape(-1, self.lanes).sum(0) for v in values]
        shape = math.prod(map(len, self.wanted)), math.prod(axis.size for axis in self.stage.axes) * self.lanes

        def collect(number: Any, sums: Any) -> Any:
            place = self.place(number)
            return self.collected(place, images(place), sums)

        zeros = jnp.zeros((shape[0], many, shape[1]), jnp.float32)
        sums = collect(0, zeros) if total == 1 else jax.lax.fori_loop(0, total, collect, zeros)
        return [sums[:, i] for i in range(many)]

    def pairs(self, source: Source, first: Any, second: Any, hyper: Any, asked: bool, lone: bool) -> list[Any]:
        """`run` for pairs of points with sizes `first` and `second`; S if `asked`; `lone`: there is none yet, as Theta is 0."""
        doubled = [[self.doubled(a) for a in some] for some in second]

        def images(place: Place) -> list[Any]:
            K, *rest = source(place)
            S = (K if lone else rest[0]) if asked else None
            sizes = iter(zip(first, doubled, strict=True))
            for number, layer in enumerate(self.stage.layers):
                here = None
                if layer.phi is not None:
                    here = [(a, self.rolled(b, place)) for a, b in zip(*next(sizes), strict=True)]
                K, S = through(self.steps, layer, self.weights(layer, place), hyper, K, S, here, lone and number == 0)
            return [K, S][:many]

        many = 2 if asked and not (lone and not self.stage.layers) else 1
        return self.run(images, many)

    def doubled(self, a: Lanes) -> Lanes:
        """An array repeated along all positions, so that its rotations are slices; itself if d is 0 only."""
        if self.single:
            return a
        whole, rank = a(), len(self.counts)
        whole = jnp.tile(whole, (1,) * (whole.ndim - rank) + (2,) * rank)
        return lambda: whole

    def rolled(self, a: Lanes, place: Place) -> Lanes:
        """What a doubled array has at p + d, at every p."""

        def there() -> Any:
            whole, rows = a(), self.steps.frame.rows
            lead = whole.ndim - len(rows)
            start = (0,) * lead + (*place.offset[:-1], place.offset[-1] * self.lanes)
            return jax.lax.dynamic_slice(whole, start, (*whole.shape[:lead], *rows))

        return a if self.single else there

    def weights(self, layer: Layer, place: Place) -> list[list[Callable[[], Any] | None]]:
        """For every axis and tap of a window what it is multiplied with; None: nothing, as the margins hold zeros."""
        out = []
        rows = zip(layer.axes or (), layer.before, self.stage.grid, self.offsets, place.each, strict=layer.axes is not None)
        for i, (axis, before, n, offsets, number) in enumerate(rows):
            table, p = window_weights(axis, before, n, offsets), np.arange(n)
            here = self.wide(table, number, i)
            taps: list[Callable[[], Any] | None] = []
            for tap, s in enumerate(shifts(axis)):
                inside = (p + s >= 0) & (p + s < n) if i == 0 else p >= 0
                taps.append(None if table[:, tap, inside].all() else lambda here=here, tap=tap: here[tap])
            out.append(taps)
        return out

    def wide(self, table: np.ndarray, number: Any, axis: int) -> Any:
        """A row of a table (offsets, ..., positions along an axis) that multiplies images."""
        rank = len(self.counts)
        here = _entry(np.repeat(table, self.lanes if axis == rank - 1 else 1, -1), number)
        return here.reshape(*here.shape[:-1], *(here.shape[-1] if i == axis else 1 for i in range(rank)))

    def total(self, place: Place, image: Any) -> Any:
        """The sum over the pixels inside, times the share: (lanes,)."""
        grid = self.stage.grid
        masks = []
        for i, (n, live, offsets, number) in enumerate(zip(grid, self.stage.live, self.offsets, place.each, strict=True)):
            if live < n:
                masks.append(self.wide(live_weights(n, live, offsets), number, i))

        def rows(image: Any) -> Any:
            a = self.steps.frame.body(image)
            for mask in masks:
                a = a * mask
            return _sum(a.reshape(grid[0], -1))

        return self.steps.array(lambda a: jnp.float32(self.stage.share) * _sum(a.reshape(-1, self.lanes)), self.steps.array(rows, image))

    def collected(self, place: Place, images: list[Any], sums: Any) -> Any:
        """The sums (offsets, K and S, positions and lanes) of the next stage's images with what these images add."""
        assert self.wanted is not None
        stage, rank = self.stage, len(self.counts)
        rows = list(zip(stage.axes, stage.live, stage.grid, self.offsets, self.wanted, place.each, strict=True))
        tables = [collecting(axis, live, n, stage.end == "pool", offsets, wanted) for axis, live, n, offsets, wanted, _ in rows]
        weights = [_entry(table[2], row[-1]) for table, row in zip(tables, rows, strict=True)]  # (slots, window, size)

        def slots(image: Any) -> Any:
            a = self.steps.frame.body(image).reshape(*stage.grid, self.lanes) * jnp.float32(stage.share)
            for done, i in enumerate(reversed(range(rank))):
                axis, at, weight = stage.axes[i], done + i, weights[i]
                a = jax.lax.slice_in_dim(a, 0, stage.live[i], axis=at)
                pads = [(0, 0)] * a.ndim
                pads[at] = (axis.low, axis.high)
                a = jnp.pad(a, pads, mode="wrap" if axis.wrap else "constant")
                reach = (axis.size - 1) * axis.stride + 1
                parts = [jax.lax.slice_in_dim(a, d * axis.dilation, d * axis.dilation + reach, axis.stride, at) for d in range(axis.window)]
                wide = (axis.size, *(1,) * (a.ndim - at - 1))
                sums = [sum(part * w[tap].reshape(wide) for tap, part in enumerate(parts)) for w in weight]
                a = jnp.stack(sums)
            return a

        count, used, numbers = (_entry(table, place.number) for table in _targets(tables, self.wanted))
        shape = math.prod(table[1].shape[1] for table in tables), -1
        found = self.steps.array(lambda *images: jnp.stack([slots(a).reshape(shape) for a in images], 1), *images)

        def added(step: Any, sums: Any) -> Any:
            slot, number = jnp.asarray(used)[step], jnp.asarray(numbers)[step]
            row = jax.lax.dynamic_slice_in_dim(sums, number, 1) + jax.lax.dynamic_slice_in_dim(found, slot, 1)
            return jax.lax.dynamic_update_slice_in_dim(sums, row, number, 0)

        return jax.lax.fori_loop(0, count, added, sums)


def _targets(tables: list[Any], wanted: Offsets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all offsets, from those along each axis: how many slots are used (offsets,), which, and where they go (offsets, slots)."""
    widths, sizes = [places.shape[1] for _, places, _ in tables], list(map(len, wanted))
    rows = []
    for each in itertools.product(*(range(len(counts)) for counts, _, _ in tables)):
        some = itertools.product(*(range(table[0][i]) for table, i in zip(tables, each, strict=True)))
        rows.append([(k, [table[1][i, j] for table, i, j in zip(tables, each, k, strict=True)]) for k in some])
    used, numbers = np.zeros((2, len(rows), math.prod(widths)), np.int32)
    for t, row in enumerate(rows):
        for s, (k, coarse) in enumerate(row):
            used[t, s], numbers[t, s] = np.ravel_multi_index(k, widths), np.ravel_multi_index(coarse, sizes)
    return np.array(list(map(len, rows)), np.int32), used, numbers


def _entry(table: np.ndarray, number: Any) -> Any:
    """A row of a table of constants."""
    return table[number] if isinstance(number, int) else jnp.asarray(table)[number]


def _sum(a: Any) -> Any:
    """The sum along the first axis, spelled out where it is short: so it is one loop along the others."""
    return reduce(add, list(a)) if len(a) <= SHORT else a.sum(0)


# ---------------------------------------------------------------- all stages


def _sources(sweep: Sweep, images: list[Any]) -> Source:
    """The images that the stage before collected."""
    return lambda place: [sweep.steps.image(lambda a=a: a[place.number].reshape(sweep.steps.frame.rows)) for a in images]


def _inputs(sweep: Sweep, first: Points, second: Points) -> Source:
    """Second moments of the inputs."""
    one, other = first.inputs(), second.inputs()
    others = [sweep.doubled(a) for a in other]

    def source(place: Place) -> list[Any]:
        factors = [(a, sweep.rolled(b, place)) for a, b in zip(one, others, strict=True)]
        return [sweep.steps.image(lambda: jnp.float32(1 / len(factors)) * reduce(add, [a() * b() for a, b in factors]))]

    return source


def moments(program: Program, first: Points, second: Points, hyper: Any, one: Any, lanes: int, asked: bool) -> list[Any]:
    """K, and Theta if `asked`, (lanes,) where the positions are gone, of pairs of points."""
    found: list[Any] = []
    lone = True
    wanted = (*program.needs[1:], None)
    for number, stage in enumerate(program.stages):
        sweep = Sweep(stage, program.needs[number], wanted[number], lanes, one)
        source = _sources(sweep, found) if number else _inputs(sweep, first, second)
        found = sweep.pairs(source, first.before(number), second.before(number), hyper, asked, lone)
        lone = lone and not stage.layers
    return [found[0], jnp.zeros_like(found[0])] if asked and lone else found


def deviations(program: Program, X: Any, hyper: Any, one: Any, lanes: int) -> tuple[list[list[Any]], tuple[Any, Any] | None]:
    """Standard deviations in front of every activation of every stage, arrays of `rows`, of points (channels, *rows) in lanes; and where
    one offset is enough, K and Theta (lanes,) of every point with itself."""
    flat, points = program.flat, Points(X, [])
    sizes: list[list[Any]] = [[] for _ in program.stages]
    found: list[Any] = []
    lone = True
    for number, offsets in enumerate(program.own):
        stage = program.stages[number]
        wanted = program.own[number + 1] if number + 1 < len(program.own) else None
        sweep = Sweep(stage, offsets, wanted, lanes, one)
        source = _sources(sweep, found) if number else _inputs(sweep, points, points)
        images = _diagonal(sweep, source(sweep.place(0)), hyper, lone, sizes[number])
        if flat:
            found = sweep.run(lambda place, images=images: images, len(images))
        elif wanted is not None:
            known = [
                (r, inverse(r), *([] if phi.closed else [series_of(phi, r, TERMS)]))
                for phi, r in zip(stage.acts, sizes[number], strict=True)
            ]
            own = Points(X, [*([] for _ in range(number)), known]).before(number)
            found = sweep.pairs(source, own, own, hyper, False, lone)
        lone = lone and not stage.layers
    return sizes, (found[0], jnp.zeros_like(found[0]) if lone else found[1]) if flat else None


def _diagonal(sweep: Sweep, images: list[Any], hyper: Any, lone: bool, sizes: list[Any]) -> list[Any]:
    """The images K and S of every point with itself at equal pixels; appends what the standard deviations are."""
    steps, stage, place = sweep.steps, sweep.stage, sweep.place(0)
    body = steps.frame.body
    K, S = images[0], images[-1]
    for number, layer in enumerate(stage.layers):
        here, after, weights = hyper[layer.affine], hyper[layer.affine + 1], sweep.weights(layer, place)
        mean, K = window(steps, layer, weights, K)
        mean_S, S = window(steps, layer, weights, S)
        factor = here[RATE_W] if lone and number == 0 else 1
        q = steps.array(lambda K, here=here, mean=mean: jnp.maximum(here[C_B] + here[C_W] * mean(K), 0), K)
        theta = here[RATE_B] + factor * mean_S(S)
        slope: Any = 1
        if layer.phi is not None:
            for i, (n, size) in enumerate(zip(stage.grid, (axis.size for axis in layer.axes) if layer.axes else layer.before, strict=True)):
                q = q * sweep.wide(live_weights(n, size, (0,)), 0, i)
            sizes.append(jnp.sqrt(q))
            q, slope = own_moments(layer.phi, q)
        K = steps.image(lambda q: q, q)
        S = steps.image(lambda a: a, after[RATE_W] * body(K) + after[C_W] * slope * theta)
    return [K] if lone and not stage.layers else [K, S]


def inverse(r: Any) -> Any:
    """1/r, and 0 for 0."""
    return jnp.where(r > 0, 1 / jnp.where(r > 0, r, 1), 0)
