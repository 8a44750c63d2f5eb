"""Normalisations."""

from numbers import Integral
from typing import Any, ClassVar

from largen import door
from largen.architecture.nodes import GAUSSIAN, Node, node
from largen.errors import InputError, shown


@node
class LayerNorm(Node):
    """Layer normalisation, z_i -> (z_i - m)/sqrt(v + eps), with m and v the mean and variance over the units of one point.

    Without gain and bias: the next affine layer has them.

    Parameters
    ----------
    axes : int
        -1, the features, at every position of an image by themselves.
    eps : float
        Above 0.

    Raises
    ------
    InputError
        For other axes and for eps <= 0.

    Examples
    --------
    >>> import largen as lg
    >>> lg.LayerNorm() >> lg.Act("gelu") >> lg.Dense(64)
    lg.LayerNorm() >> lg.Act('gelu') >> lg.Dense(64)
    """

    axes: Any = -1
    eps: float = 1e-12
    normalises: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = (GAUSSIAN,)
    called: ClassVar[str] = "layer normalisation"

    def __post_init__(self) -> None:
        axes = self.axes[0] if isinstance(self.axes, (tuple, list)) and len(self.axes) == 1 else self.axes
        if not isinstance(axes, Integral) or axes != -1:
            raise InputError("axes", shown(self.axes), "-1, the features")
        object.__setattr__(self, "axes", -1)
        object.__setattr__(self, "eps", door.real(self.eps, "eps", low=0.0, strict=True))


@node
class RMSNorm(Node):
    """Root-mean-square normalisation, z_i -> z_i/sqrt(m + eps), with m the mean of z_j^2 over the units of one point (and position).

    Without gain. Unlike `lg.LayerNorm` it may follow an activation or the inputs.

    Parameters
    ----------
    eps : float
        Above 0.

    Raises
    ------
    InputError
        For eps <= 0.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Act("relu") >> lg.RMSNorm() >> lg.Dense(64)
    lg.Act('relu') >> lg.RMSNorm() >> lg.Dense(64)
    """

    eps: float = 1e-12
    normalises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", door.real(self.eps, "eps", low=0.0, strict=True))
