"""Nodes that know positions: convolutions, graphs, flattening. Values are (n, *positions, channels): images are NHWC, and any number
of spatial axes will do."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from largen import door
from largen.architecture.nodes import INPUTS, MOMENTS, Affine, Node, node, variance
from largen.errors import InputError, shown

PADDINGS = ("SAME", "VALID", "CIRCULAR")


@dataclass(frozen=True)
class Axis:
    """A window that slides along one spatial axis: output j sees the inputs j stride + d dilation - low, d = 0..window-1."""

    size: int  # of the output
    window: int
    stride: int
    dilation: int
    low: int  # padding before and after, with zeros or, if `wrap`, periodic
    high: int
    wrap: bool
    spread: int = 1  # the inputs stand `spread` apart, zeros between them (transposed convolutions)


def window_sizes(value: Any, name: str) -> Any:
    """An integer >= 1, or a tuple of them, one per spatial axis."""
    if isinstance(value, (tuple, list)):
        if not value:
            raise InputError(name, shown(value), "an integer >= 1, or one per spatial axis")
        return tuple(door.count(v, name) for v in value)
    return door.count(value, name)


def _per_axis(value: Any, rank: int, name: str, part: Node) -> tuple[int, ...]:
    values = value if isinstance(value, tuple) else (value,) * rank
    if len(values) != rank:
        raise InputError(
            name, f"{value!r} in {part!r}, for inputs with {rank} spatial axes", f"an integer, or one per spatial axis ({rank})"
        )
    return values


def space_of(before: tuple[int, ...], part: Node) -> tuple[int, ...]:
    """The spatial axes of a shape (*positions, channels), or `InputError` if there is none."""
    if len(before) < 2:
        got = f"inputs of shape {before} for {part!r}"
        raise InputError(
            "X", got, "images or sequences, (*positions, channels) for each point, such as X of shape (n, height, width, channels)"
        )
    return before[:-1]


def outputs_of(net: Node, shape: tuple[int, ...], name: str) -> int:
    """The number of outputs for points of a shape. Raises `InputError`, naming the argument, if outputs have positions of their own."""
    *places, out = net.shape(shape)
    if places:
        got = f"points of shape {shape}, for which the outputs have positions, shape {(*places, out)}"
        fix = f"Flatten images with `{name}.reshape(len({name}), -1)`, or end the network with >> lg.Flatten() >> lg.Dense(...)."
        raise InputError(name, got, "one vector of outputs per point", fix)
    return out


class Windowed(Node):
    """A node with a sliding window."""

    window: Any
    strides: Any
    padding: str

    def axes(self, space: tuple[int, ...]) -> tuple[Axis, ...]:
        """The window along every spatial axis. Raises `InputError` for a wrong number of axes, and where nothing is left."""
        rank = len(space)
        dilation = getattr(self, "dilation", 1)
        strides = self.window if self.strides is None else self.strides
        found = [_per_axis(v, rank, name, self) for name, v in (("window", self.window), ("strides", strides), ("dilation", dilation))]
        made = []
        for n, window, stride, step in zip(space, *found, strict=True):
            reach = (window - 1) * step + 1
            if self.padding == "VALID":
                size, low, high = (n - reach) // stride + 1, 0, 0
                if size < 1:
                    got = f"a window that spans {reach} of {n} positions in {self!r}"
                    raise InputError("net", got, "something left of the image", 'Use padding="SAME", a smaller window, or fewer poolings.')
            else:
                size = -(-n // stride)
                pad = max((size - 1) * stride + reach - n, 0)
                low, high = pad // 2, pad - pad // 2
            made.append(Axis(size, window, stride, step, low, high, self.padding == "CIRCULAR"))
        return tuple(made)

    def keeps(self) -> bool:
        """Whether the positions stay what they are, whatever the input."""
        strides = self.window if self.strides is None else self.strides
        plain = (1, (1,) * len(strides)) if isinstance(strides, tuple) else (1,)
        ones = all(v == 1 for v in (self.window if isinstance(self.window, tuple) else (self.window,)))
        return strides in plain and (self.padding != "VALID" or ones)


@dataclass(frozen=True, repr=False)
class Convolution(Affine, Windowed):
    """What convolutions share: their fields, and the checks of these."""

    channels: int
    window: Any
    strides: Any = 1
    padding: str = "SAME"
    dilation: Any = 1
    C_W: Any = 1.0
    C_b: Any = 0.0
    counts: ClassVar[tuple[str, ...]] = ("channels",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", door.count(self.channels, "channels"))
        for name in ("window", "strides", "dilation"):
            object.__setattr__(self, name, window_sizes(getattr(self, name), name))
        door.choice(self.padding, "padding", PADDINGS)
        object.__setattr__(self, "C_W", variance(self.C_W, "C_W"))
        object.__setattr__(self, "C_b", variance(self.C_b, "C_b"))

    def units(self, before: int | None) -> int | None:
        return self.channels

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return (*(axis.size for axis in self.axes(space_of(before, self))), self.channels)

    def fan_in(self, before: tuple[int, ...]) -> int:
        return math.prod(axis.window for axis in self.axes(space_of(before, self))) * before[-1]

    def weights(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return (*(axis.window for axis in self.axes(before[:-1])), before[-1], self.channels)


@node
class Conv(Convolution):
    """A convolution with `channels` outputs and a window, any number of spatial axes: z_s = b + sum_d W_d x_{s + d}.

    b ~ N(0, C_b), one per channel; W ~ N(0, C_W/fan_in), fan_in = window positions x input channels.

    Parameters
    ----------
    channels : int
        Outputs at every position.
    window : int or tuple of int
        One number or one per spatial axis.
    strides : int or tuple of int
        Steps of the window, likewise.
    padding : str
        "SAME" (zeros, output of size ceil(n/stride)), "VALID" (none), "CIRCULAR" (periodic).
    dilation : int or tuple of int
        Distance of the window's positions, likewise.
    C_W : float
        Variance of a weight times fan_in.
    C_b : float
        Variance of a bias.

    Raises
    ------
    InputError
        For sizes < 1, an unknown padding, negative C_W, C_b; and, given inputs, where their rank does not fit the window or nothing is left
        of them.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Conv(16, 3, C_W=2.0).shape((32, 32, 3))
    (32, 32, 16)
    """


@node
class ConvLocal(Convolution):
    """A locally connected layer: a convolution whose weights and biases are drawn anew at every position.

    Its values at different positions are uncorrelated.

    Parameters
    ----------
    channels, window, strides, padding, dilation, C_W, C_b
        As of `lg.Conv`, whose errors it raises.

    Examples
    --------
    >>> import largen as lg
    >>> lg.ConvLocal(16, 3).shape((32, 32, 3))
    (32, 32, 16)
    """

    def weights(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return (*self.shape(before)[:-1], *super().weights(before))

    def biases(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return self.shape(before)


@node
class ConvTranspose(Convolution):
    """A transposed convolution: a convolution with stride 1 over the inputs `strides` apart, zeros between them.

    Along an axis of n positions "SAME" and "CIRCULAR" give n x stride, "VALID" (n - 1) stride + max(span, stride), span the reach of
    the window. W ~ N(0, C_W/fan_in) with fan_in = window positions x input channels, as in `lg.Conv`: an output sees only every
    stride-th input of its window, so at stride s its variance is C_b + about C_W/s per axis.

    Parameters
    ----------
    channels, window, strides, padding, dilation, C_W, C_b
        As of `lg.Conv`, whose errors it raises.

    Examples
    --------
    >>> import largen as lg
    >>> lg.ConvTranspose(16, 4, strides=2).shape((8, 8, 3))
    (16, 16, 16)
    """

    def axes(self, space: tuple[int, ...]) -> tuple[Axis, ...]:
        given = [_per_axis(getattr(self, name), len(space), name, self) for name in ("window", "strides", "dilation")]
        made = []
        for n, window, stride, step in zip(space, *given, strict=True):
            reach = (window - 1) * step + 1
            pads = reach + stride - 2 + (max(reach - stride, 0) if self.padding == "VALID" else 0)
            low = reach - 1 if self.padding == "VALID" or stride > reach - 1 else -(-pads // 2)
            wrap = self.padding == "CIRCULAR"
            size = (n - 1) * stride + pads + 2 - reach
            made.append(Axis(size, window, 1, step, low, (reach - 1 if wrap else pads) - low, wrap, stride))
        return tuple(made)


@node
class Aggregate(Node):
    """Values summed over a graph, z_s = sum_t A_st x_t, the same matrix for all points and channels.

    For inputs with one axis of positions, (nodes, channels).

    Parameters
    ----------
    adjacency : array (positions out, positions in)
        A, real numbers.

    Raises
    ------
    InputError
        For what is no finite matrix and, given inputs, where the number of nodes does not fit.

    Examples
    --------
    >>> import largen as lg
    >>> ring = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
    >>> (lg.Dense(8) >> lg.Aggregate(ring)).shape((3, 2))
    (3, 8)
    """

    adjacency: Any  # held as a tuple of rows, so that equal nodes are equal

    def __post_init__(self) -> None:
        need = "a matrix of finite real numbers (positions out, positions in)"
        A = door.values(self.adjacency, "adjacency", need)
        if A.ndim != 2 or 0 in A.shape:
            raise InputError("adjacency", f"an array of shape {A.shape}", need)
        object.__setattr__(self, "adjacency", tuple(map(tuple, A.tolist())))

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        if len(before) != 2 or before[0] != len(self.adjacency[0]):
            need = f"({len(self.adjacency[0])} nodes, channels) for each point, by the columns of the adjacency matrix"
            raise InputError("X", f"inputs of shape {before} for lg.Aggregate", need)
        return (len(self.adjacency), before[1])

    def keeps(self) -> bool:
        return False


@node
class Flatten(Node):
    """All positions and channels as one vector of features.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Flatten().shape((32, 32, 3))
    (3072,)
    """

    def units(self, before: int | None) -> int | None:
        return None

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return (int(np.prod(before)),)

    def kind(self, before: str) -> str:
        return INPUTS if before == INPUTS else MOMENTS  # units of different positions have different variances

    def unlike(self, before: bool) -> bool:
        return True

    def keeps(self) -> bool:
        return False
