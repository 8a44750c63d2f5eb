r"""What kernels carry where values have positions (pixels, tokens), and what convolutions, pooling and flattening do to it.

Two layouts. PIXELS: moments of every two points at the same position, arrays (n1, n2, *positions); all that convolutions,
activations and flattening need. PAIRS: at every two positions, (n1, n2, *positions, *positions), and the same of every point with
itself (`own`), which pooling needs: the variance of a mean depends on covariances between positions. Which one is decided by the
backward pass of the walk: PAIRS in front of a pooling only.

A convolution takes means over the window, at both positions together; a pooling at each position by itself.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from largen.architecture.spatial import Axis
from largen.gaussian import pair as pairs
from largen.gaussian.pair import Pair
from largen.running.jitted import jitted
from largen.types import numbers

PIXELS, PAIRS = "pixels", "pairs"
T = TypeVar("T")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Carrier:
    """On the way: second moments of the inputs, preactivations or activations; the NTK; the worst error so far; in the layout PAIRS
    the moments of every first and of every second point with itself, (n1, 1, ...) and (1, n2, ...).

    Static: the positions; whether second points are the first ones.
    """

    pair: Pair
    theta: Any
    error: Any
    own: tuple[Pair, Pair] | None = None
    space: tuple[int, ...] = field(default=(), metadata={"static": True})
    same: bool = field(default=False, metadata={"static": True})

    def moved(self, change: Callable[[Pair], Pair], theta: Any) -> "Carrier":
        """With `change` done to all moments."""
        return replace(self, pair=change(self.pair), theta=theta, own=self.each(change))

    def each(self, change: Callable[[Pair], T]) -> tuple[T, T] | None:
        """`change` of the moments of points with themselves; where second points are the first ones, once for both."""
        if self.own is None:
            return None
        first = change(self.own[0])
        return first, turned(first) if self.same else change(self.own[1])


def turned(values: T) -> T:
    """Those of the first points as those of the second."""
    return jax.tree_util.tree_map(lambda a: jnp.swapaxes(a, 0, 1) if jnp.ndim(a) > 1 else a, values)


def join(wanted: list[Any]) -> Any:
    """What branches that want different layouts get: the richer one."""
    return PAIRS if PAIRS in wanted else PIXELS


def combined(ends: list[Carrier], change: Callable[[list[Pair]], Pair], theta: Any) -> Carrier:
    """Branches put together: `change` makes one pair of theirs."""
    own = None
    if ends[0].own is not None:
        own = tuple(change([end.own[i] for end in ends if end.own is not None]) for i in (0, 1))
    error = reduce(jnp.maximum, [end.error for end in ends])
    return replace(ends[0], pair=change([end.pair for end in ends]), theta=theta, error=error, own=own)


# ---------------------------------------------------------------- the inputs


def begin(X1: Any, X2: Any, layout: Any, dtype: Any) -> Carrier:
    """`start` of points in a dtype."""
    one, two = numbers((X1, X2), dtype)
    return start(one, two, layout)


@jitted(static=(2,))
def start(X1: Any, X2: Any, layout: Any) -> Carrier:
    """The carrier of inputs (n, features) or (n, *positions, channels)."""
    space = X1.shape[1:-1]
    zero, same = jnp.zeros((), X1.dtype), X2 is None
    if not space:
        pair = pairs.from_points(X1, X2)
        return Carrier(pair, jnp.zeros_like(pair.k), zero, None, (), same)
    n1, n2, many, d = len(X1), len(X1 if same else X2), math.prod(space), len(space)
    one = X1.reshape(n1, many, X1.shape[-1])
    two = None if same else X2.reshape(n2, many, X2.shape[-1])
    if layout == PAIRS:
        flat = pairs.from_points(one.reshape(n1 * many, -1), None if two is None else two.reshape(n2 * many, -1))
        back = {"k": (n1, n2), "near": (n1, n2), "far": (n1, n2), "q1": (n1, 1), "q2": (1, n2)}

        def unfold(name: str, value: Any) -> Any:
            rows, columns = back[name]
            p, r = (value.shape[0] // rows, value.shape[1] // columns)
            shaped = value.reshape(rows, p, columns, r).transpose(0, 2, 1, 3)
            return shaped.reshape(rows, columns, *(space if p > 1 or many == 1 else (1,) * d), *(space if r > 1 or many == 1 else (1,) * d))

        pair = Pair(**{name: unfold(name, getattr(flat, name)) for name in back})
        own1 = _itself(pair) if same else _own(one, space, 1)
        own2 = turned(own1) if same else _own(two, space, 0)
        return Carrier(pair, jnp.zeros_like(pair.k), zero, (own1, own2), space, same)
    by_position = jax.vmap(pairs.from_points, in_axes=(1, None if two is None else 1), out_axes=-1)(one, two)
    pair = jax.tree_util.tree_map(lambda a: a.reshape(*a.shape[:2], *space), by_position)
    return Carrier(pair, jnp.zeros_like(pair.k), zero, None, space, same)


def _itself(pair: Pair) -> Pair:
    """Of points with themselves, the moments of every one with itself."""
    k, near, far = (jnp.expand_dims(jnp.moveaxis(jnp.diagonal(a), -1, 0), 1) for a in (pair.k, pair.near, pair.far))
    return Pair(pair.q1, jnp.swapaxes(pair.q2, 0, 1), k, near, far)


def _own(X: Any, space: tuple[int, ...], at: int) -> Pair:
    """The moments of every point with itself at every two positions."""
    d, found = len(space), jax.vmap(lambda x: pairs.from_points(x, None))(X)
    shapes = {"q1": (*space, *(1,) * d), "q2": (*(1,) * d, *space)}
    made = {name: getattr(found, name).reshape(len(X), *shapes.get(name, space * 2)) for name in ("q1", "q2", "k", "near", "far")}
    return Pair(**{name: jnp.expand_dims(value, at) for name, value in made.items()})


# ---------------------------------------------------------------- layouts


def reduced(carrier: Carrier, need: Any, lead: int = 0) -> Carrier:
    """The carrier in the layout PIXELS, unless PAIRS are needed; `lead` more axes stand in front."""
    if carrier.own is None or need == PAIRS:
        return carrier
    d = len(carrier.space)
    many = math.prod(carrier.space)

    def diagonal(a: Any) -> Any:
        head = a.shape[: 2 + lead]
        square = jnp.broadcast_to(a, (*head, *carrier.space, *carrier.space)).reshape(*head, many, many)
        return jnp.diagonal(square, axis1=-2, axis2=-1).reshape(*head, *carrier.space)

    p = carrier.pair
    tail = slice(2 + lead, 2 + lead + d)
    q1 = p.q1.reshape(*p.q1.shape[: 2 + lead], *p.q1.shape[tail])
    q2 = p.q2.reshape(*p.q2.shape[: 2 + lead], *p.q2.shape[2 + lead + d :])
    pair = Pair(q1, q2, diagonal(p.k), diagonal(p.near), diagonal(p.far))
    return replace(carrier, pair=pair, theta=diagonal(carrier.theta), own=None)


# ---------------------------------------------------------------- windows


def _slices(a: Any, at: list[int], axis: Axis, fill: float) -> list[Any]:
    """The array seen through every place of the window, along the array axes `at` together."""
    for i in at:
        if axis.spread > 1:
            gaps: list[Any] = [(0, 0, 0)] * a.ndim
            gaps[i] = (0, axis.spread - 1 if axis.wrap else 0, axis.spread - 1)
            a = jax.lax.pad(a, jnp.asarray(fill, a.dtype), gaps)
        pads = [(0, 0)] * a.ndim
        pads[i] = (axis.low, axis.high)
        a = jnp.pad(a, pads, mode="wrap") if axis.wrap else jnp.pad(a, pads, constant_values=fill)
    reach = (axis.size - 1) * axis.stride + 1
    found = []
    for d in range(axis.window):
        part = a
        for i in at:
            part = jax.lax.slice_in_dim(part, d * axis.dilation, d * axis.dilation + reach, axis.stride, i)
        found.append(part)
    return found


def window_mean(carrier: Carrier, axes: tuple[Axis, ...]) -> Carrier:
    """Moments of patches: means over the window, at both positions together."""
    d, paired = len(axes), carrier.own is not None
    pair, own, theta = carrier.pair, carrier.own, carrier.theta
    for i, axis in enumerate(axes):
        first, second = [2 + i], [2 + i + d] if paired else [2 + i]
        both = first + second if paired else first

        def patch(p: Pair, axis: Axis = axis, first: Any = first, second: Any = second, both: Any = both) -> Pair:
            places = [(p.q1, first, 0.0), (p.q2, second, 0.0), (p.k, both, 0.0), (p.near, both, 1.0), (p.far, both, 1.0)]
            seen = zip(*(_slices(a, at, axis, fill) for a, at, fill in places), strict=True)
            return reduce(pairs.plus, itertools.starmap(Pair, seen))

        pair, theta = patch(pair), sum(_slices(theta, both, axis, 0.0))
        own = replace(carrier, own=own).each(patch)
    share = 1 / math.prod(axis.window for axis in axes)
    after = replace(carrier, pair=pair, own=own, space=tuple(axis.size for axis in axes))
    return after.moved(lambda p: pairs.scaled(p, share), share * theta)


def separate(carrier: Carrier, need: Any) -> Carrier:
    """Values that are uncorrelated at different positions, from the layout PIXELS to the one that is needed."""
    if need != PAIRS or not carrier.space:
        return carrier
    space, d = carrier.space, len(carrier.space)
    many = math.prod(space)
    here = jnp.eye(many, dtype=carrier.theta.dtype).reshape(*space, *space)

    def whole(p: Pair) -> Pair:
        q1 = p.q1.reshape(*p.q1.shape[:2], *space, *(1,) * d)
        q2 = p.q2.reshape(*p.q2.shape[:2], *(1,) * d, *space)
        return Pair(q1, q2, square(p.k), 1 - square(1 - p.near), 1 - square(1 - p.far))

    def square(a: Any) -> Any:
        return a.reshape(*a.shape[:2], *space, *(1,) * d) * here

    def itself(q: Any) -> Pair:
        zero = jnp.where(q == 0, 1.0, 0.0).astype(q.dtype)  # a zero vector has no angle
        return whole(Pair(q, q, q, zero, 2 - zero))

    p = carrier.pair
    return replace(carrier, pair=whole(p), theta=square(carrier.theta), own=(itself(p.q1), itself(p.q2)))


def embedded(carrier: Carrier, C: Any, rate: Any) -> Carrier:
    """Values with a random vector of variance C, learning rate `rate`, added at every position."""
    here = jnp.ones((), carrier.theta.dtype)
    if carrier.own is not None:
        here = jnp.eye(math.prod(carrier.space), dtype=carrier.theta.dtype).reshape(carrier.space * 2)
    noise = Pair(C, C, C * here, 1 - here, 1 + here)
    return carrier.moved(lambda p: pairs.plus(p, noise), carrier.theta + rate * here)


def masked(carrier: Carrier, rate: float) -> Carrier:
    """Values of which a share `rate` is set to zero and the rest divided by keep = 1 - rate, masks anew for every point and position:
    q' = q/keep, and c' = keep c for different ones."""
    keep, d = 1 - rate, len(carrier.space)
    n1, n2 = carrier.theta.shape[:2]
    points = jnp.eye(n1, n2, dtype=bool) if carrier.same else jnp.zeros((n1, n2), bool)
    places = (
        jnp.eye(math.prod(carrier.space), dtype=bool).reshape(carrier.space * 2) if carrier.own is not None else jnp.ones((1,) * d, bool)
    )

    def thinned(p: Pair, itself: Any) -> Pair:
        k = jnp.where(itself, p.k / keep, p.k)
        near, far = (jnp.where(itself, v, rate + keep * v) for v in (p.near, p.far))
        return Pair(p.q1 / keep, p.q2 / keep, k, near, far)

    shared = points.reshape(n1, n2, *(1,) * places.ndim) & places
    theta = jnp.where(shared, carrier.theta / keep, carrier.theta)
    own = None if carrier.own is None else (thinned(carrier.own[0], places), thinned(carrier.own[1], places))
    return replace(carrier, pair=thinned(carrier.pair, shared), theta=theta, own=own)


def aggregated(carrier: Carrier, matrix: Any) -> Carrier:
    """Sums over positions, at each of two by itself."""
    A = jnp.asarray(matrix, carrier.theta.dtype)
    return _from_covariances(carrier, lambda a: jnp.einsum("st,xytu,vu->xysv", A, a, A, precision="highest"), (len(A),))


def pooled(carrier: Carrier, axes: tuple[Axis, ...], mean: bool) -> Carrier:
    """Means (or sums) over the window, at each of two positions by itself."""
    d = len(axes)

    def pool(a: Any) -> Any:
        for i, axis in enumerate(axes):
            for at in (2 + i, 2 + i + d):
                total = reduce(jnp.add, _slices(a, [at], axis, 0.0))
                a = total / axis.window if mean else total
        return a

    return _from_covariances(carrier, pool, tuple(axis.size for axis in axes))


def averaged(carrier: Carrier) -> Carrier:
    """Means over all positions."""
    axes = tuple(range(2, 2 + 2 * len(carrier.space)))
    return _from_covariances(carrier, lambda a: a.mean(axes), ())


def flattened(carrier: Carrier) -> Carrier:
    """Moments of all features together: means over positions."""
    if not carrier.space:
        return carrier
    flat = reduced(carrier, PIXELS)
    axes = tuple(range(2, 2 + len(flat.space)))
    return replace(flat, pair=pairs.mean(flat.pair, axes), theta=flat.theta.mean(axes), space=())


def _from_covariances(carrier: Carrier, change: Callable[[Any], Any], space: tuple[int, ...]) -> Carrier:
    """A linear map of the values over positions, given what it does to covariances."""
    assert carrier.own is not None
    own1, own2, k = change(carrier.own[0].k), change(carrier.own[1].k), change(carrier.pair.k)
    return from_covariances(carrier, own1, own2, k, change(carrier.theta), space)


def from_covariances(carrier: Carrier, own1: Any, own2: Any, k: Any, theta: Any, space: tuple[int, ...]) -> Carrier:
    """The carrier with other covariances, those of points with themselves given. Variances are those of the points' own;
    cosines are only as good as covariances are, but for identical values."""
    d, many = len(space), math.prod(space)

    def variances(own: Any) -> Any:
        head = own.shape[:2]
        return jnp.diagonal(own.reshape(*head, many, many), axis1=2, axis2=3).reshape(*head, *space)

    v1, v2 = variances(own1), variances(own2)
    wide, tall = (*space, *(1,) * d), (*(1,) * d, *space)
    itself = jnp.eye(many, dtype=bool).reshape(1, 1, *space, *space)

    def made(first: Any, second: Any, covariance: Any, identical: Any) -> Pair:
        pair = pairs.from_moments(first.reshape(*first.shape[:2], *wide), second.reshape(*second.shape[:2], *tall), covariance)
        equal = identical & (pair.q1 > 0)
        return replace(pair, near=jnp.where(equal, 0.0, pair.near), far=jnp.where(equal, 2.0, pair.far))

    points = jnp.eye(k.shape[0], k.shape[1], dtype=bool).reshape(*k.shape[:2], *(1,) * (2 * d)) & itself
    pair = made(v1, v2, k, points if carrier.same else jnp.zeros_like(points))
    own = (made(v1, v1, own1, itself), made(v2, v2, own2, itself)) if space else None
    return replace(carrier, pair=pair, theta=theta, own=own, space=space)
