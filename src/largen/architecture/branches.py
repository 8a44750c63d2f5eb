"""Nodes with branches (sums, products, concatenations), the identity, normalisations, repetition."""

import copy
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

from jax.core import Tracer

from largen import door, memory
from largen.architecture.nodes import Node, Serial, network, node
from largen.errors import InputError, shown


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

    Without gain and bias: the next affine layer has them. `axes`: -1, the features, at every position of an image by
    themselves; `eps` > 0. Raises `InputError` for other axes and for eps <= 0.

    >>> import largen as lg
    >>> lg.LayerNorm() >> lg.Act("gelu") >> lg.Dense(64)
    lg.LayerNorm() >> lg.Act('gelu') >> lg.Dense(64)
    """

    axes: Any = -1
    eps: float = 1e-12

    def __post_init__(self) -> None:
        axes = self.axes[0] if isinstance(self.axes, (tuple, list)) and len(self.axes) == 1 else self.axes
        if not isinstance(axes, Integral) or axes != -1:
            raise InputError("axes", shown(self.axes), "-1, the features")
        object.__setattr__(self, "axes", -1)
        object.__setattr__(self, "eps", door.real(self.eps, "eps", low=0.0, strict=True))


@node
class RMSNorm(Node):
    """Root-mean-square normalisation, z_i -> z_i/sqrt(m + eps), with m the mean of z_j^2 over the units of one point (and position).

    Without gain. `eps` > 0. Unlike `lg.LayerNorm` it may follow an activation or the inputs. Raises `InputError` for eps <= 0.

    >>> import largen as lg
    >>> lg.Act("relu") >> lg.RMSNorm() >> lg.Dense(64)
    lg.Act('relu') >> lg.RMSNorm() >> lg.Dense(64)
    """

    eps: float = 1e-12

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", door.real(self.eps, "eps", low=0.0, strict=True))


@node
class Dropout(Node):
    """Every unit is set to zero with probability `rate`, the others divided by 1 - rate; masks are drawn anew for every point.

    Theory is that of networks with masks: a point with itself is one pass, with one mask; two points (and the same point in `X2`) have
    masks of their own. `lg.apply` draws masks if it gets a key, else units pass unchanged, as after training;
    `lg.train` and `lg.empirical_ntk` draw none.

    Raises `InputError` for a rate outside [0, 1).

    >>> import largen as lg
    >>> lg.Dense(64) >> lg.Act("relu") >> lg.Dropout(0.1) >> lg.Dense(1)
    lg.Dense(64) >> lg.Act('relu') >> lg.Dropout(0.1) >> lg.Dense(1)
    """

    rate: float

    def __post_init__(self) -> None:
        rate = door.real(self.rate, "rate", low=0.0)
        if rate >= 1:
            raise InputError("rate", shown(self.rate), "a number in [0, 1)")
        object.__setattr__(self, "rate", rate)


DEEPEST = 50  # branches inside branches: every walk recurses into them


def depth(part: Node) -> int:
    """How deep branches stand inside branches: 0 for a node without."""
    if isinstance(part, Serial):
        return max(map(depth, {id(inner): inner for inner in part.nodes}.values()))
    return 1 + max(map(depth, part.branches)) if isinstance(part, Branching) else 0


class Branching(Node):
    """A node with branches that all see the same input. Nodes inside have the path of the node, the number of the branch and their
    own: `sum1/2/dense1`."""

    branches: tuple[Serial, ...]
    leaves: ClassVar[tuple[str, ...]] = ("branches",)

    def __init__(self, *branches: Node) -> None:
        if not branches:
            raise InputError("branches", "no branch", "at least one, such as lg.Identity()")
        object.__setattr__(self, "branches", tuple(network(branch, "branches") for branch in branches))
        if (deep := depth(self)) > DEEPEST:
            raise InputError("branches", f"branches inside branches, {deep} deep", f"at most {DEEPEST} levels of them")
        self.units(None)

    def with_branches(self, branches: Iterable[Serial]) -> Self:
        """The node with other branches."""
        new = copy.copy(self)
        object.__setattr__(new, "branches", tuple(branches))
        return new

    def entering(self, before: Any) -> tuple[Any, ...]:
        """What enters every branch (shapes, or numbers of units), given what enters the node."""
        return (before,) * len(self.branches)

    def settled(self, before: tuple[int, ...]) -> Self:
        """The node with all that depends on the shape of its inputs filled in."""
        return self.with_branches(settled(branch, shape) for branch, shape in zip(self.branches, self.entering(before), strict=True))

    def units(self, before: int | None) -> int | None:
        known = {width for branch in self.branches if (width := branch.units(before)) is not None}
        if len(known) > 1:
            got = " and ".join(map(str, sorted(known)))
            raise InputError("branches", f"widths {got} in {self!r}", "branches of equal widths")
        return next(iter(known), None)

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        shapes = sorted({branch.shape(before) for branch in self.branches})
        if len(shapes) > 1:
            got = " and ".join(map(str, shapes))
            raise InputError("branches", f"values of shapes {got} in {self!r}", "branches of equal shapes")
        return shapes[0]


@node
class Sum(Branching):
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
        given = (1.0,) * len(branches) if weights is None else weights
        need = f"one number per branch ({len(branches)})"
        given = door.sequence(given, "weights", need)
        if len(given) != len(branches):
            raise InputError("weights", shown(weights), need)
        object.__setattr__(self, "weights", tuple(_weight(w) for w in given))
        super().__init__(*branches)


@node
class Product(Branching):
    """Branches that all see the same input, multiplied unit by unit, as gates do.

    Raises `InputError` for no branch, for what is no node, and for branches of different widths.

    >>> import largen as lg
    >>> lg.Dense(8) >> lg.Product(lg.Dense(8), lg.Act("gelu")) >> lg.Dense(1)
    lg.Dense(8) >> lg.Product(lg.Dense(8), lg.Act('gelu')) >> lg.Dense(1)
    """

    branches: tuple[Serial, ...]

    def __init__(self, *branches: Node) -> None:
        super().__init__(*branches)


@node
class Concat(Branching):
    """Branches that all see the same input, their units side by side (channels of images). The widths of the branches must be known.

    Raises `InputError` for no branch and for what is no node.

    >>> import largen as lg
    >>> (lg.Dense(8) >> lg.Concat(lg.Identity(), lg.Act("tanh") >> lg.Dense(4))).units(None)
    12
    """

    branches: tuple[Serial, ...]
    widths: tuple[int | None, ...] = ()  # of the branches, where known; `settled` fills in the rest

    def __init__(self, *branches: Node) -> None:
        super().__init__(*branches)
        object.__setattr__(self, "widths", tuple(branch.units(None) for branch in self.branches))

    def with_branches(self, branches: Iterable[Serial]) -> Self:
        return type(self)(*branches)

    def settled(self, before: tuple[int, ...]) -> Self:
        new = super().settled(before)
        object.__setattr__(new, "widths", tuple(branch.shape(before)[-1] for branch in self.branches))
        return new

    def units(self, before: int | None) -> int | None:
        found = [branch.units(before) for branch in self.branches]
        return None if None in found else sum(width for width in found if width is not None)

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        shapes = [branch.shape(before) for branch in self.branches]
        if len({shape[:-1] for shape in shapes}) > 1:
            got = " and ".join(str(shape) for shape in shapes)
            raise InputError("branches", f"values of shapes {got} in {self!r}", "branches of equal positions (all but the last axis)")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def settled(net: Serial, shape: tuple[int, ...]) -> Serial:
    """The network with all filled in that depends on the shape of one input: the widths by which a `Concat` weighs moments, the
    outputs of an attention."""
    nodes: list[Node] = []
    for part in net.nodes:
        nodes.append(part.settled(shape) if isinstance(part, Branching) else part)
        shape = part.shape(shape)
    return Serial(tuple(nodes))


def Repeat(block: Node, times: int) -> Serial:
    """A block `times` times in a row, each with parameters of its own: `block >> block >> ...`. Theories scan over equal blocks,
    so that compiling does not grow with `times`. Raises `InputError` for what is no node and for times < 1.

    >>> import largen as lg
    >>> len(lg.Repeat(lg.Act("relu") >> lg.Dense(64), 3).nodes)
    6
    """
    many = door.count(times, "times")
    memory.require_few(many, "times", "blocks")
    return Serial((network(block, "block"),) * many)


def _weight(value: Any) -> Any:
    checked = door.number(value, "weights")
    return checked if isinstance(checked, Tracer) else float(checked)
