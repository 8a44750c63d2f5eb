"""Nodes of residual networks: branches that are added, the identity, layer normalisation."""

from collections.abc import Sequence
from typing import Any, ClassVar

from jax.core import Tracer

from largen import door
from largen.architecture.nodes import Node, Serial, network, node
from largen.errors import InputError


@node
class Identity(Node):
    """Passes its input on unchanged: the skip connection of a `Sum`.

    >>> import largen as lg
    >>> lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(64))
    lg.Sum(lg.Identity(), lg.Act('relu') >> lg.Dense(64))
    """


@node
class LayerNorm(Node):
    """Layer normalisation, z_i -> (z_i - m)/sqrt(v + eps), with m and v the mean and variance over the units of one point.

    Without gain and bias: the next affine layer has them. `axes`: -1, the features; `eps` > 0.
    Raises `InputError` for other axes and for eps <= 0.

    >>> import largen as lg
    >>> lg.LayerNorm() >> lg.Act("gelu") >> lg.Dense(64)
    lg.LayerNorm() >> lg.Act('gelu') >> lg.Dense(64)
    """

    axes: Any = -1
    eps: float = 1e-12

    def __post_init__(self) -> None:
        if isinstance(self.axes, bool) or self.axes not in (-1, (-1,), [-1]):
            raise InputError("axes", repr(self.axes), "-1, the features of a fully-connected network")
        object.__setattr__(self, "axes", -1)
        object.__setattr__(self, "eps", door.number(self.eps, "eps", low=0.0, strict=True))


@node
class Sum(Node):
    """Branches that all see the same input, added: sum_i w_i branch_i(z). `weights` w_i, real numbers, default 1 each.

    A residual block z + W phi(z) + b is `lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(n))` (PDLT B.3, the weight of the
    identity is gamma). Weights are pytree leaves, like C_W. Nodes inside have the path of the sum, the number of the branch and
    their own: `sum1/2/dense1`.

    Raises `InputError` for no branch, for what is no node, for weights that are not one finite number per branch, and for
    branches of different widths.

    >>> import largen as lg
    >>> block = lg.Sum(lg.Identity(), lg.Act("tanh") >> lg.Dense(8), weights=(0.5, 1.0))
    >>> lg.Dense(8) >> block
    lg.Dense(8) >> lg.Sum(lg.Identity(), lg.Act('tanh') >> lg.Dense(8), weights=(0.5, 1.0))
    """

    branches: tuple[Serial, ...]
    weights: Any = None  # given as None or one per branch; held as a tuple
    leaves: ClassVar[tuple[str, ...]] = ("branches", "weights")

    def __init__(self, *branches: Node, weights: Sequence[Any] | None = None) -> None:
        if not branches:
            raise InputError("branches", "no branch", "at least one, such as lg.Identity()")
        given = (1.0,) * len(branches) if weights is None else weights
        if isinstance(given, str) or not hasattr(given, "__len__") or len(given) != len(branches):
            raise InputError("weights", repr(weights), f"one number per branch ({len(branches)})")
        object.__setattr__(self, "branches", tuple(network(branch, "branches") for branch in branches))
        object.__setattr__(self, "weights", tuple(_weight(w) for w in given))
        self.units(None)

    def units(self, before: int | None) -> int | None:
        known = {width for branch in self.branches if (width := branch.units(before)) is not None}
        if len(known) > 1:
            got = " and ".join(map(str, sorted(known)))
            raise InputError("branches", f"widths {got} in {self!r}", "branches of equal widths")
        return next(iter(known), None)


def _weight(value: Any) -> Any:
    checked = door.number(value, "weights")
    return checked if isinstance(checked, Tracer) else float(checked)
