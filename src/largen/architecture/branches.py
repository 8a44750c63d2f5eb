"""Nodes with branches (sums, products, concatenations), the identity, dropout, repetition."""

import copy
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar, Self

from jax.core import Tracer

from largen import door, memory
from largen.architecture.nodes import GAUSSIAN, INPUTS, MOMENTS, Composite, Node, Serial, network, node
from largen.errors import InputError, shown


@node
class Identity(Node):
    """Passes its input on unchanged: the skip connection of a `Sum`.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(64))
    lg.Sum(lg.Identity(), lg.Act('relu') >> lg.Dense(64))
    """

    passes: ClassVar[bool] = True


@node
class Sized(Node):
    """Passes on its input, which has `width` units: where a branch ends whose width only the inputs decide."""

    width: int
    passes: ClassVar[bool] = True
    written: ClassVar[bool] = False  # stands in settled networks only

    def units(self, before: int | None) -> int | None:
        return self.width


@node
class Dropout(Node):
    """Every unit is set to zero with probability `rate`, the others divided by 1 - rate; masks are drawn anew for every point.

    Theory is that of networks with masks: a point with itself is one pass, with one mask; two points (and the same point in `X2`) have
    masks of their own. `lg.apply` draws masks if it gets a key, else units pass unchanged, as after training;
    `lg.train` and `lg.empirical_ntk` draw none.

    Parameters
    ----------
    rate : float
        In [0, 1).

    Raises
    ------
    InputError
        For a rate outside.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Dense(64) >> lg.Act("relu") >> lg.Dropout(0.1) >> lg.Dense(1)
    lg.Dense(64) >> lg.Act('relu') >> lg.Dropout(0.1) >> lg.Dense(1)
    """

    rate: float
    takes: ClassVar[tuple[str, ...]] = (GAUSSIAN, MOMENTS)

    def __post_init__(self) -> None:
        rate = door.real(self.rate, "rate", low=0.0)
        if rate >= 1:
            raise InputError("rate", shown(self.rate), "a number in [0, 1)")
        object.__setattr__(self, "rate", rate)

    def kind(self, before: str) -> str:
        return MOMENTS


DEEPEST = 50  # branches inside branches: every walk recurses into them


def depth(part: Node) -> int:
    """How deep branches stand inside branches: 0 for a node without."""
    if isinstance(part, Serial):
        return max(map(depth, {id(inner): inner for inner in part.nodes}.values()))
    return 1 + max(map(depth, part.children())) if isinstance(part, Composite) else 0


ADDED, MULTIPLIED, ASIDE = "added", "multiplied", "side by side"  # what is done with the units of different branches


class Branching(Composite):
    """A node given as branches that all see the same input."""

    branches: tuple[Serial, ...]
    leaves: ClassVar[tuple[str, ...]] = ("branches",)
    joins: ClassVar[str]  # ADDED, MULTIPLIED or ASIDE

    def __init__(self, *branches: Node) -> None:
        if not branches:
            raise InputError("branches", "no branch", "at least one, such as lg.Identity()")
        object.__setattr__(self, "branches", tuple(network(branch, "branches") for branch in branches))
        if (deep := depth(self)) > DEEPEST:
            raise InputError("branches", f"branches inside branches, {deep} deep", f"at most {DEEPEST} levels of them")
        self.units(None)

    def children(self) -> tuple[Serial, ...]:
        return self.branches

    def title(self) -> str:
        return type(self).__name__

    def with_children(self, children: Iterable[Serial]) -> Self:
        """The node with others in place of its branches."""
        new = copy.copy(self)
        object.__setattr__(new, "branches", tuple(children))
        return new

    def settled(self, before: tuple[int, ...]) -> Self:
        return self.with_children(branch.settled(before) for branch in self.branches)

    def kind(self, before: str) -> str:
        kinds = {branch.kind(before) for branch in self.branches}
        alike = self.joins == ADDED or len(self.branches) == 1 or kinds == {INPUTS}  # of Gaussian branches a sum alone is Gaussian
        return kinds.pop() if alike and len(kinds) == 1 else MOMENTS

    def unlike(self, before: bool) -> bool:
        return any(branch.unlike(before) for branch in self.branches)

    def sets_units(self) -> bool:
        return all(branch.sets_units() for branch in self.branches)

    def arguments(self) -> list[str]:
        written = [[part for part in branch.nodes if part.written] for branch in self.branches]
        return [repr(parts[0] if len(parts) == 1 else branch) for parts, branch in zip(written, self.branches, strict=True)]

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
    """Branches that all see the same input, added: sum_i w_i branch_i(z).

    A residual block z + W phi(z) + b is `lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(n))` (PDLT B.3, the weight of the
    identity is gamma). Nodes inside have the path of the sum, the number of the branch and their own: `sum1/2/dense1`.

    Parameters
    ----------
    *branches : node
        One or more, of equal widths.
    weights : sequence of float, optional
        w_i, real numbers, default 1 each. Pytree leaves, like C_W.

    Raises
    ------
    InputError
        For no branch, for what is no node, for weights that are not one finite number per branch, and for branches of different widths.

    References
    ----------
    PDLT B.3.

    Examples
    --------
    >>> import largen as lg
    >>> block = lg.Sum(lg.Identity(), lg.Act("tanh") >> lg.Dense(8), weights=(0.5, 1.0))
    >>> lg.Dense(8) >> block
    lg.Dense(8) >> lg.Sum(lg.Identity(), lg.Act('tanh') >> lg.Dense(8), weights=(0.5, 1.0))
    """

    branches: tuple[Serial, ...]
    weights: Any = None  # given as None or one per branch; held as a tuple
    leaves: ClassVar[tuple[str, ...]] = ("branches", "weights")
    joins: ClassVar[str] = ADDED
    ends_level: ClassVar[bool] = True

    def __init__(self, *branches: Node, weights: Sequence[Any] | None = None) -> None:
        given = (1.0,) * len(branches) if weights is None else weights
        need = f"one number per branch ({len(branches)})"
        given = door.sequence(given, "weights", need)
        if len(given) != len(branches):
            raise InputError("weights", shown(weights), need)
        object.__setattr__(self, "weights", tuple(_weight(w) for w in given))
        super().__init__(*branches)

    def arguments(self) -> list[str]:
        plain = all(not isinstance(w, Tracer) and w == 1 for w in self.weights)
        return super().arguments() + ([] if plain else [f"weights={self.weights!r}"])


@node
class Product(Branching):
    """Branches that all see the same input, multiplied unit by unit, as gates do.

    Parameters
    ----------
    *branches : node
        One or more, of equal widths.

    Raises
    ------
    InputError
        For no branch, for what is no node, and for branches of different widths.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Dense(8) >> lg.Product(lg.Dense(8), lg.Act("gelu")) >> lg.Dense(1)
    lg.Dense(8) >> lg.Product(lg.Dense(8), lg.Act('gelu')) >> lg.Dense(1)
    """

    branches: tuple[Serial, ...]
    joins: ClassVar[str] = MULTIPLIED

    def __init__(self, *branches: Node) -> None:
        super().__init__(*branches)


@node
class Concat(Branching):
    """Branches that all see the same input, their units side by side (channels of images).

    Parameters
    ----------
    *branches : node
        One or more, whose widths must be known.

    Raises
    ------
    InputError
        For no branch and for what is no node.

    Examples
    --------
    >>> import largen as lg
    >>> (lg.Dense(8) >> lg.Concat(lg.Identity(), lg.Act("tanh") >> lg.Dense(4))).units(None)
    12
    """

    branches: tuple[Serial, ...]
    joins: ClassVar[str] = ASIDE

    def __init__(self, *branches: Node) -> None:
        super().__init__(*branches)

    @property
    def widths(self) -> tuple[int | None, ...]:
        """The units of every branch, None where only the inputs decide: of a settled network all are known."""
        return tuple(branch.units(None) for branch in self.branches)

    def signature(self) -> Hashable:
        return self.widths

    def settled(self, before: tuple[int, ...]) -> Self:
        new = super().settled(before)
        ends = [Sized(branch.shape(before)[-1]) for branch in self.branches]
        known = zip(new.branches, new.widths, ends, strict=True)
        return new.with_children(branch if width is not None else Serial((branch, end)) for branch, width, end in known)

    def unlike(self, before: bool) -> bool:
        return len(self.branches) > 1 or super().unlike(before)

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
    return net.settled(shape)


def Repeat(block: Node, times: int) -> Serial:
    """A block `times` times in a row, each with parameters of its own: `block >> block >> ...`.

    Theories scan over equal blocks, so that compiling does not grow with `times`.

    Parameters
    ----------
    block : node
        What is repeated.
    times : int
        At least 1.

    Returns
    -------
    Serial
        The network.

    Raises
    ------
    InputError
        For what is no node and for times < 1.

    Examples
    --------
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
