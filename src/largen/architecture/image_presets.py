"""Convolutional networks by one call."""

from collections.abc import Sequence
from typing import Any

from largen import door, memory
from largen.activations.activation import activation as as_activation
from largen.architecture.branches import Identity, Sum
from largen.architecture.nodes import Act, Dense, Node, Serial
from largen.architecture.pools import AvgPool, GlobalAvgPool
from largen.architecture.presets import starting_values
from largen.architecture.spatial import Conv, Flatten
from largen.errors import InputError, shown

MYRTLE = {5: (2, 1, 1), 7: (2, 2, 2), 10: (3, 3, 3)}  # convolutions between the poolings


def _channels(channels: Any, of: str, example: str) -> tuple[int, ...]:
    need = f"the channels of every {of} as a list, such as {example}"
    if not (sizes := door.counts(channels, "channels", need)):
        raise InputError("channels", shown(channels), need)
    return sizes


def cnn(
    channels: Sequence[int],
    out: int = 1,
    activation: Any = "relu",
    window: Any = 3,
    padding: str = "SAME",
    pool: bool = False,
    C_W: Any = None,
    C_b: Any = None,
    C: str | None = None,
    input_scale: float = 1.0,
) -> Serial:
    """A convolutional network: one convolution and activation per entry of `channels`, then an affine readout of all positions.

    Parameters
    ----------
    channels : sequence of int
        Output channels of every convolution.
    out : int
        Outputs of the network.
    activation : str, callable or Activation
        After every convolution.
    window : int or tuple of int
        Of every convolution, as in `lg.Conv`.
    padding : str
        As in `lg.Conv`.
    pool : bool
        Whether all positions are averaged before the readout; else they are flattened.
    C_W, C_b : float or sequence of float, optional
        A number or one per affine layer, the readout included; default 1 and 0.
    C : str, optional
        "critical" sets C_W and C_b as in `lg.mlp`: at positions whose window is whole, a convolution's sizes go from layer to layer as a
        dense layer's. Beside the zeros that padding="SAME" adds they are smaller.
    input_scale : float
        Mean square of the channels of a pixel (see `lg.standardize`), for C="critical".

    Returns
    -------
    Serial
        The network.

    Raises
    ------
    InputError
        For no channels, sizes < 1, an unknown activation or padding, wrong-length or negative C_W, C_b, `C` together with C_W or C_b.
    UnsupportedError
        For C="critical" with an activation that has no critical point.

    Examples
    --------
    >>> import largen as lg
    >>> lg.cnn([16, 16], out=10, pool=True, C_W=2.0)  # doctest: +NORMALIZE_WHITESPACE
    (lg.Conv(16, 3, C_W=2.0)
      >> lg.Act('relu')
      >> lg.Conv(16, 3, C_W=2.0)
      >> lg.Act('relu')
      >> lg.GlobalAvgPool()
      >> lg.Dense(10, C_W=2.0))
    """
    channels = _channels(channels, "convolution", "[64, 64]")
    memory.require_few(2 * len(channels), "channels", "nodes of one network")
    phi = Act(as_activation(activation))
    weights, biases = starting_values(phi.activation, len(channels) + 1, C_W, C_b, C, input_scale)
    nodes: list[Node] = []
    for size, w, b in zip(channels, weights, biases, strict=False):
        nodes += [Conv(size, window, padding=padding, C_W=w, C_b=b), phi]
    return Serial((*nodes, GlobalAvgPool() if door.flag(pool, "pool") else Flatten(), Dense(out, weights[-1], biases[-1])))


def myrtle(depth: int, channels: int = 64, out: int = 10, activation: Any = "relu", C_W: Any = 2.0, C_b: Any = 0.0) -> Serial:
    """The Myrtle networks of depth 5, 7 and 10, for images of 32 x 32.

    3 x 3 convolutions in three groups, a 2 x 2 average pooling after each, two more poolings and a readout.

    Parameters
    ----------
    depth : int
        5, 7 or 10.
    channels : int
        Of every convolution.
    out : int
        Outputs of the network.
    activation : str, callable or Activation
        After every convolution.
    C_W, C_b : float
        The same in every layer.

    Returns
    -------
    Serial
        The network.

    Raises
    ------
    InputError
        For another depth and as `lg.cnn` does.

    References
    ----------
    Shankar et al. 2020.

    Examples
    --------
    >>> import largen as lg
    >>> lg.myrtle(5).shape((32, 32, 3))
    (10,)
    """
    if (depth := door.count(depth, "depth")) not in MYRTLE:
        raise InputError("depth", shown(depth), "5, 7 or 10")
    phi = Act(as_activation(activation))
    nodes: list[Node] = []
    for many in MYRTLE[depth]:
        nodes += [Conv(channels, 3, C_W=C_W, C_b=C_b), phi] * many + [AvgPool(2)]
    return Serial((*nodes, AvgPool(2), AvgPool(2), Flatten(), Dense(out, C_W, C_b)))


def resnet(channels: Sequence[int], blocks: int, out: int = 10, activation: Any = "relu", C_W: Any = 1.0, C_b: Any = 0.0) -> Serial:
    """A pre-activation residual network of images: a 3 x 3 convolution, groups of blocks, activation, mean over positions, readout.

    A block adds [activation, convolution, activation, convolution] to its input; the first block of every group but the first has stride 2,
    and the first block of every group a 1 x 1 convolution in place of the identity.

    Parameters
    ----------
    channels : sequence of int
        Of every group.
    blocks : int
        How many of them a group has.
    out : int
        Outputs of the network.
    activation : str, callable or Activation
        The same everywhere.
    C_W, C_b : float
        The same in every layer.

    Returns
    -------
    Serial
        The network.

    Raises
    ------
    InputError
        For no channels, sizes < 1, an unknown activation, negative C_W, C_b.

    Examples
    --------
    >>> import largen as lg
    >>> lg.resnet([16, 32, 64], blocks=2).shape((32, 32, 3))
    (10,)
    """
    channels, many = _channels(channels, "group", "[16, 32, 64]"), door.count(blocks, "blocks")
    memory.require_few(6 * many * len(channels), "blocks", "nodes of one network")
    phi = Act(as_activation(activation))
    made: list[Node] = [Conv(channels[0], 3, C_W=C_W, C_b=C_b)]
    for group, size in enumerate(channels):
        for block in range(many):
            stride = 2 if group and not block else 1
            inner = phi >> Conv(size, 3, stride, C_W=C_W, C_b=C_b) >> phi >> Conv(size, 3, C_W=C_W, C_b=C_b)
            made.append(Sum(Identity() if block else Conv(size, 1, stride, C_W=C_W, C_b=C_b), inner))
    return Serial((*made, phi, GlobalAvgPool(), Dense(out, C_W, C_b)))
