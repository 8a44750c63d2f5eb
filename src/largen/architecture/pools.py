"""Nodes that take positions together."""

from dataclasses import dataclass
from typing import Any, ClassVar

from largen import door
from largen.architecture.nodes import Node, node
from largen.architecture.spatial import PADDINGS, Windowed, space_of, window_sizes


@dataclass(frozen=True, repr=False)
class _Pool(Windowed):
    window: Any
    strides: Any = None
    padding: str = "VALID"
    mean: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", window_sizes(self.window, "window"))
        if self.strides is not None:
            object.__setattr__(self, "strides", window_sizes(self.strides, "strides"))
        door.choice(self.padding, "padding", PADDINGS)

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return (*(axis.size for axis in self.axes(space_of(before, self))), before[-1])

    def keeps(self) -> bool:
        return False


@node
class AvgPool(_Pool):
    """The mean over a window of positions, channel by channel. Padding counts as zeros.

    Parameters
    ----------
    window : int or tuple of int
        Positions that are averaged, one number or one per spatial axis.
    strides : int or tuple of int, optional
        Steps of the window; default its size.
    padding : str
        "VALID", "SAME" or "CIRCULAR", as in `lg.Conv`.

    Raises
    ------
    InputError
        As `lg.Conv` does.

    Examples
    --------
    >>> import largen as lg
    >>> lg.AvgPool(2).shape((32, 32, 3))
    (16, 16, 3)
    """

    mean: ClassVar[bool] = True


@node
class SumPool(_Pool):
    """The sum over a window of positions, channel by channel.

    Parameters
    ----------
    window, strides, padding
        As of `lg.AvgPool`, whose errors it raises.

    Examples
    --------
    >>> import largen as lg
    >>> lg.SumPool((2, 1)).shape((4, 4, 3))
    (2, 4, 3)
    """


@node
class MaxPool(_Pool):
    """The maximum over a window of positions, channel by channel. Padding counts as -infinity.

    Real networks only: a maximum of correlated units has no closed form at infinite width.

    Parameters
    ----------
    window, strides, padding
        As of `lg.AvgPool`, whose errors it raises.

    Examples
    --------
    >>> import largen as lg
    >>> lg.MaxPool(2).shape((32, 32, 3))
    (16, 16, 3)
    """


@node
class GlobalAvgPool(Node):
    """The mean over all positions, channel by channel.

    Raises
    ------
    InputError
        Given inputs, if they have no positions.

    Examples
    --------
    >>> import largen as lg
    >>> lg.GlobalAvgPool().shape((32, 32, 3))
    (3,)
    """

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        space_of(before, self)
        return before[-1:]

    def keeps(self) -> bool:
        return False
