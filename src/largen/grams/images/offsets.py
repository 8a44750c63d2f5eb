"""One layer of a convolutional network at one offset between two pixels, for some pairs of points side by side.

An image has the pairs of points ("lanes") in its last axis, at every position, and margins of zeros before and after along its first, so
that what a window sees are slices of the image as one long row. XLA on CPUs would compute producers anew in every consumer; so each step
stands in a conditional that always takes the same branch, which makes its result an array in cache. Results are written into zeros by
`dynamic_update_slice`, which XLA leaves to one thread: the cores work on different tiles.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp

from largen.activations.closed import Homogeneous
from largen.architecture.spatial import Axis
from largen.grams.images.maps import closed_moments, homogeneous_mean, homogeneous_slope, summed_series
from largen.grams.images.stages import Layer, Stage, shifts

TAPS = 9  # positions of a window that are seen at once; larger ones axis by axis
C_W, C_B, RATE_B, RATE_W = range(4)  # columns of the hyperparameters, a row per affine layer

Lanes = Callable[[], Any]  # an array that is made where it is used
Sizes = list[tuple[Lanes, Lanes]]  # of first and second points in front of an activation: r, 1/r, and the coefficients of a series


@dataclass(frozen=True)
class Frame:
    """The images of one stage: its grid, lanes, and margins along the first axis."""

    grid: tuple[int, ...]
    lanes: int
    low: int = 0
    high: int = 0

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape of an image without margins: the lanes are in the last axis of positions."""
        return (*self.grid[:-1], self.grid[-1] * self.lanes)

    @property
    def whole(self) -> tuple[int, ...]:
        """The shape with margins."""
        return (self.low + self.grid[0] + self.high, *self.rows[1:])

    @property
    def steps(self) -> tuple[int, ...]:
        """How many positions a move by one along each axis is."""
        return tuple(math.prod(self.grid[i + 1 :]) for i in range(len(self.grid)))

    def body(self, image: Any, shift: int = 0) -> Any:
        start = (self.low * self.steps[0] + shift) * self.lanes
        return image.reshape(-1)[start : start + math.prod(self.rows)].reshape(self.rows)


def frame(stage: Stage, lanes: int) -> Frame:
    """The frame with the margins that the windows of a stage reach into."""
    reach, steps = [0], Frame(stage.grid, 1).steps
    for layer in stage.layers:
        moves = [shifts(axis) for axis in layer.axes or () if not axis.wrap]
        if moves:
            reach += [sum(f(move) * step for move, step in zip(moves, steps, strict=True)) for f in (min, max)]
    return Frame(stage.grid, lanes, max(0, math.ceil(-min(reach) / steps[0])), max(0, math.ceil(max(reach) / steps[0])))


class Steps:
    """How arrays are made to be. `one` is a traced 1: XLA does not know which branch is taken."""

    def __init__(self, frame: Frame, one: Any) -> None:
        self.frame, self.one = frame, one
        self.zeros = jnp.zeros(frame.whole, jnp.float32)

    def array(self, f: Callable[..., Any], *arrays: Any) -> Any:
        """What f gives, in an array of its own."""
        return self._made(f, jax.eval_shape(f, *arrays).shape, arrays)

    def image(self, f: Callable[..., Any], *arrays: Any) -> Any:
        """The image of what f gives, of shape `rows`."""

        def written(*arrays: Any) -> Any:
            start = self.frame.low + self.one - 1
            return jax.lax.dynamic_update_slice(self.zeros, f(*arrays), (start, *(0,) * (len(self.frame.grid) - 1)))

        return self._made(written, self.frame.whole, arrays)

    def _made(self, f: Callable[..., Any], shape: tuple[int, ...], arrays: tuple[Any, ...]) -> Any:
        return jax.lax.cond(self.one > 0, f, lambda *_: jnp.zeros(shape, jnp.float32), *arrays)


def seen(frame: Frame, axes: list[tuple[int, Axis]], weights: list[Any], image: Any) -> Any:
    """The sum over the window along some axes (with their numbers), weighted where a pixel may be outside."""

    def rolled(a: Any, left: list[tuple[int, Axis]]) -> Any:
        if not left:
            return a
        (i, axis), *rest = left
        unit = frame.lanes if i == len(frame.grid) - 1 else 1
        return reduce(add, [rolled(jnp.roll(a, -s * unit, i), rest) for s in shifts(axis)])

    def summed(shift: int, left: list[tuple[int, Axis]], weights: list[Any]) -> Any:
        if not left:
            return frame.body(image, shift)
        (i, axis), *rest = left
        terms = []
        for s, weight in zip(shifts(axis), weights[0], strict=True):
            term = summed(shift + s * frame.steps[i], rest, weights[1:])
            terms.append(term if weight is None else term * weight())
        return reduce(add, terms)

    return rolled(frame.body(image), axes) if axes[0][1].wrap else summed(0, axes, weights)


def window(steps: Steps, layer: Layer, weights: list[Any], image: Any) -> tuple[Callable[[Any], Any], Any]:
    """A function and an image, such that the function gives the mean over the window; large windows are summed axis by axis before."""
    if layer.axes is None:
        return steps.frame.body, image
    axes, count = list(enumerate(layer.axes)), math.prod(axis.window for axis in layer.axes)
    while count > TAPS and len(axes) > 1:
        some, weight = [axes.pop()], [weights[-1]]
        weights = weights[:-1]
        image = steps.image(lambda a, some=some, weight=weight: seen(steps.frame, some, weight, a), image)
    return lambda a: jnp.float32(1 / count) * seen(steps.frame, axes, weights, a), image


def through(steps: Steps, layer: Layer, weights: list[Any], hyper: Any, K: Any, S: Any, sizes: Sizes | None, lone: bool) -> tuple[Any, Any]:
    """The images (K, S) after a layer. K: second moments of its inputs. S = lambda_W K + C_W Theta, with the rates of the affine layer
    that comes next; None if not asked; in front of the first (`lone`), where Theta is 0, it is not there: any image stands for it."""
    here, after, body = hyper[layer.affine], hyper[layer.affine + 1], steps.frame.body
    asked = S is not None
    mean, K = window(steps, layer, weights, K)
    mean_S, S = window(steps, layer, weights, S) if asked and not lone else (lambda a: here[RATE_W] * mean(a), K)

    def k_of(K: Any) -> Any:
        return here[C_B] + here[C_W] * mean(K)

    def mixed(K: Any, S: Any, slope: Any) -> Any:
        return after[RATE_W] * body(K) + after[C_W] * slope * (here[RATE_B] + mean_S(S))

    if layer.phi is None:
        K = steps.image(k_of, K)
        return K, steps.image(lambda K, S: mixed(K, S, 1), K, S) if asked else None
    assert sizes is not None
    phi, form, (r1, r2), (inverse1, inverse2) = layer.phi, layer.phi.closed, *sizes[:2]
    if form is None:
        A1, A2 = sizes[2]
        c = steps.image(lambda K: jnp.clip(k_of(K) * inverse1() * inverse2(), -1, 1), K)
        K = steps.image(lambda c: summed_series(phi, A1(), A2(), body(c), False), c)

        def slope(c: Any) -> Any:
            return summed_series(phi, A1(), A2(), body(c), True) * inverse1() * inverse2()

        return K, steps.image(lambda K, S, c: mixed(K, S, slope(c)), K, S, c) if asked else None
    if isinstance(form, Homogeneous):
        c = steps.image(lambda K: k_of(K) * inverse1() * inverse2(), K)
        K = steps.image(lambda c: homogeneous_mean(form, body(c)) * r1() * r2(), c)
        return K, steps.image(lambda K, S, c: mixed(K, S, homogeneous_slope(form, body(c))), K, S, c) if asked else None
    k = steps.image(k_of, K)
    K = steps.image(lambda k: closed_moments(phi, r1(), r2(), body(k))[0], k)
    return K, steps.image(lambda K, S, k: mixed(K, S, closed_moments(phi, r1(), r2(), body(k))[1]), K, S, k) if asked else None
