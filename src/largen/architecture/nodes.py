"""Nodes: what a network is made of. Frozen values and pytrees, which know the facts about themselves and no theory.

C_W and C_b are pytree leaves (floats, or traced values inside `grad` and `vmap`); widths and activations are static.
Values are checked when they are concrete. `>>` composes and is associative.
"""

import dataclasses
import math
from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

import jax
from jax.core import Tracer

from largen import door, memory
from largen.activations.activation import Activation, activation
from largen.architecture.paths import everything
from largen.display import brief, table
from largen.errors import InputError

NODES: dict[str, type["Node"]] = {}  # by name, for the text form
N = TypeVar("N", bound="type[Node]")

# What the values are at a place of a network: the inputs; independent Gaussian units of mean zero, at infinite width; or something
# else, of which only second moments are known (activations, sums of different kinds, units of unlike variances side by side).
INPUTS, GAUSSIAN, MOMENTS = "inputs", "gaussian", "moments"


@dataclass(frozen=True)
class Blank:
    """One parameter array before it is drawn: its shape, C and the fan-in (see `parametrizations/table.py`)."""

    shape: tuple[int, ...]
    C: Any
    fan_in: int = 1


class Node:
    """A part of a network. `a >> b` feeds a into b. What is said here holds for a node that leaves values as they came; one that does
    not says so."""

    __dataclass_fields__: ClassVar[dict[str, Any]]  # every node is a dataclass
    leaves: ClassVar[tuple[str, ...]] = ()  # fields that are pytree children; the others are static
    counts: ClassVar[tuple[str, ...]] = ()  # static fields that are numbers of units: at infinite width they do not matter
    written: ClassVar[bool] = True  # whether it stands, by its name, in the code and the text of a network
    passes: ClassVar[bool] = False  # whether it leaves values unchanged: no theory needs a rule for it
    mixes: ClassVar[bool] = False  # whether its units are sums over those before with Gaussian weights of its own
    bends: ClassVar[bool] = False  # whether it changes each unit by a function that need not be odd
    normalises: ClassVar[bool] = False  # whether it divides by a mean over the units
    ends_level: ClassVar[bool] = False  # whether Gaussian values after it are a level of the network
    tunable: ClassVar[bool] = False  # whether it has variances of its own, set as one
    takes: ClassVar[tuple[str, ...]] = (INPUTS, GAUSSIAN, MOMENTS)  # the values whose second moments give those after it
    called: ClassVar[str] = "it"  # in sentences

    def __rshift__(self, other: "Node") -> "Serial":
        if not isinstance(other, Node):
            raise InputError(">>", f"a {type(other).__name__} ({other!r})", "a node, such as lg.Dense(10) or lg.Act('relu')")
        return Serial((self, other))

    def units(self, before: int | None) -> int | None:
        """The number of units after the node, given that before it; None: not known. Raises `InputError` where widths clash."""
        return before

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one point after the node, (*positions, units), given that before it. Raises `InputError` where it does not fit."""
        return before

    def kind(self, before: str) -> str:
        """What the values are after the node (INPUTS, GAUSSIAN or MOMENTS), given what they are before it."""
        return GAUSSIAN if self.mixes else MOMENTS if self.bends else before

    def unlike(self, before: bool) -> bool:
        """Whether units differ in variance after the node (side by side, or of different positions), given whether they do before it."""
        return before and not self.mixes

    def keeps(self) -> bool:
        """Whether the positions surely stay what they are, whatever the input."""
        return True

    def sets_units(self) -> bool:
        """Whether a number of its own says how many units there are after the node."""
        return False

    def signature(self) -> Hashable:
        """Equal for nodes that differ in leaves and numbers of units only: blocks of such nodes may be scanned as one."""
        static = (f.name for f in dataclasses.fields(self) if f.name not in self.leaves and f.name not in self.counts)
        return tuple(getattr(self, name) for name in static)

    def parameters(self, before: tuple[int, ...]) -> dict[str, Blank]:
        """The parameter arrays of the node itself, by name, given the shape of one point before it."""
        return {}

    def settled(self, before: tuple[int, ...]) -> Self:
        """The node with all filled in that depends on the shape of one point before it."""
        return self

    def arguments(self) -> list[str]:
        """The arguments by which the node is made, as code."""
        made = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.default is dataclasses.MISSING:
                made.append(_code(value))
            elif isinstance(value, Tracer) or value != f.default:
                made.append(f"{f.name}={_code(value)}")
        return made

    def __repr__(self) -> str:
        """The code that builds the node (with `import largen as lg`)."""
        home = "lg." if type(self).__module__.partition(".")[0] == __name__.partition(".")[0] else ""
        return f"{home}{type(self).__name__}({', '.join(self.arguments())})"

    def children(self) -> tuple["Serial", ...]:
        """The networks inside, in the order of their numbers."""
        return ()

    def title(self) -> str:
        """What a table of nodes calls it."""
        return repr(self)

    def _repr_html_(self) -> str:
        """One row a node, for notebooks."""
        facts = ("fan_out", "C_W", "C_b")
        rows = [(path, part.title(), *(brief(getattr(part, name, "")) for name in facts)) for path, part in everything(network(self))]
        return table(("path", "node", "width", "C_W", "C_b"), rows)


def _code(value: Any) -> str:
    return repr(value.name) if isinstance(value, Activation) and value.registered else repr(value)


@dataclass_transform(frozen_default=True)
def node(cls: N) -> N:
    """Class decorator: a frozen dataclass, a pytree with the leaves it names, and an entry of the text form."""
    made: Any = dataclass(frozen=True, repr=False)(cls)
    fields = tuple(f.name for f in dataclasses.fields(made))
    static = tuple(f for f in fields if f not in made.leaves)

    def flatten(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(value, f) for f in made.leaves), tuple(getattr(value, f) for f in static)

    def unflatten(aux: tuple[Any, ...], children: Any) -> Any:
        value = object.__new__(made)  # past __post_init__: JAX puts tracers and placeholders here
        for names, values in ((made.leaves, children), (static, aux)):
            for name, entry in zip(names, values, strict=True):
                object.__setattr__(value, name, entry)
        return value

    jax.tree_util.register_pytree_node(made, flatten, unflatten)
    if made.written:
        NODES[made.__name__] = made
    return made


def variance(value: Any, name: str) -> Any:
    """A checked hyperparameter: a float when concrete (so that equal networks are equal), else as it came."""
    checked = door.number(value, name, low=0.0)
    return checked if isinstance(checked, Tracer) else float(checked)


class Parametric(Node):
    """A node with parameters of its own: biases b ~ N(0, C_b), weights W ~ N(0, C_W/fan_in)."""

    C_W: Any
    C_b: Any
    leaves: ClassVar[tuple[str, ...]] = ("C_W", "C_b")
    variances: ClassVar[tuple[str, ...]] = ("C_W",)  # the fields that are variances of weights
    tunable: ClassVar[bool] = True

    def fan_in(self, before: tuple[int, ...]) -> int:
        """The number of inputs that one unit sums over."""
        raise NotImplementedError

    def wider(self, factor: Fraction, last: bool) -> Self:
        """With `factor` times as many units; `last`: its outputs are those of the network, and stay as many. Raises `InputError`."""
        return self


class Affine(Parametric):
    """A node z = b + W x."""

    counts: ClassVar[tuple[str, ...]] = ("width",)
    mixes: ClassVar[bool] = True
    ends_level: ClassVar[bool] = True

    @property
    def fan_out(self) -> int:
        """The number of outputs (at every position)."""
        return getattr(self, self.counts[0])

    def sets_units(self) -> bool:
        return True

    def weights(self, before: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of W."""
        return (before[-1], self.fan_out)

    def biases(self, before: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of b."""
        return (self.fan_out,)

    def parameters(self, before: tuple[int, ...]) -> dict[str, Blank]:
        return {"W": Blank(self.weights(before), self.C_W, self.fan_in(before)), "b": Blank(self.biases(before), self.C_b)}

    def wider(self, factor: Fraction, last: bool) -> Self:
        width = self.fan_out if last else self.fan_out * factor
        if width != int(width) or width < 1:
            raise InputError("factor", str(factor), f"a factor that makes the width {self.fan_out} a whole number >= 1")
        return dataclasses.replace(self, **{self.counts[0]: int(width)})


@node
class Dense(Affine):
    """An affine layer z = b + W x, b ~ N(0, C_b), W ~ N(0, C_W/fan_in).

    On images and sequences it acts on the last axis, at every position with the same weights.

    Parameters
    ----------
    width : int
        How many outputs.
    C_W : float
        Variance of a weight times fan_in.
    C_b : float
        Variance of a bias.

    Raises
    ------
    InputError
        For a width < 1 and for negative, infinite or non-numeric C_W, C_b.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Dense(512, C_W=2.0) >> lg.Act("relu") >> lg.Dense(10)
    lg.Dense(512, C_W=2.0) >> lg.Act('relu') >> lg.Dense(10)
    """

    width: int
    C_W: Any = 1.0
    C_b: Any = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", door.count(self.width, "width"))
        object.__setattr__(self, "C_W", variance(self.C_W, "C_W"))
        object.__setattr__(self, "C_b", variance(self.C_b, "C_b"))

    def units(self, before: int | None) -> int | None:
        return self.width

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return (*before[:-1], self.width)

    def fan_in(self, before: tuple[int, ...]) -> int:
        return before[-1]


@node
class Act(Node):
    """An activation applied to every unit.

    Parameters
    ----------
    activation : str, Activation or callable
        A name, an `Activation`, or an elementwise JAX function without kinks.

    Raises
    ------
    InputError
        For an unknown name, suggesting the nearest.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Act("silu") == lg.Act("swish")
    True
    """

    activation: Any  # given as a name, an Activation or a callable; held as an Activation
    bends: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = (GAUSSIAN,)
    called: ClassVar[str] = "an activation"

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", activation(self.activation))


@node
class Serial(Node):
    """Nodes one after the other; what `>>` makes. Nested ones are flattened, so that `>>` is associative.

    Parameters
    ----------
    nodes : tuple of node
        First to last.

    Raises
    ------
    InputError
        For no node and for what is no node.

    Examples
    --------
    >>> import largen as lg
    >>> a, b, c = lg.Dense(8), lg.Act("tanh"), lg.Dense(1)
    >>> (a >> b) >> c == a >> (b >> c)
    True
    """

    nodes: tuple[Node, ...]
    leaves: ClassVar[tuple[str, ...]] = ("nodes",)
    written: ClassVar[bool] = False  # as a list of nodes

    def __post_init__(self) -> None:
        flat: list[Node] = []
        for part in door.sequence(self.nodes, "nodes", "nodes, such as (lg.Dense(10), lg.Act('relu'))"):
            if not isinstance(part, Node):
                raise InputError("nodes", f"a {type(part).__name__}", "nodes, such as lg.Dense(10) or lg.Act('relu')")
            flat.extend(part.nodes if isinstance(part, Serial) else (part,))
        if not flat:
            raise InputError("nodes", "no node", "at least one node")
        object.__setattr__(self, "nodes", tuple(flat))
        memory.require_few(sum(1 for _ in everything(self)), "nodes", "nodes of one network, those of branches counted")
        self.units(None)  # refuses branches of different widths

    def units(self, before: int | None) -> int | None:
        return reduce(lambda at, part: part.units(at), self.nodes, before)

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return reduce(lambda at, part: part.shape(at), self.nodes, before)

    def kind(self, before: str) -> str:
        return reduce(lambda at, part: part.kind(at), self.nodes, before)

    def unlike(self, before: bool) -> bool:
        return reduce(lambda at, part: part.unlike(at), self.nodes, before)

    def sets_units(self) -> bool:
        return any(part.sets_units() for part in self.nodes)

    def settled(self, before: tuple[int, ...]) -> "Serial":
        nodes = []
        for part in self.nodes:
            nodes.append(part.settled(before))
            before = part.shape(before)
        return Serial(tuple(nodes))

    def __repr__(self) -> str:
        """Broken into lines beyond 100 characters."""
        parts = [repr(part) for part in self.nodes if part.written]
        if len(parts) == 1:
            return f"lg.Serial(({parts[0]},))"
        line = " >> ".join(parts)
        return line if len(line) <= 100 else "(" + "\n >> ".join(parts) + ")"


class Composite(Node):
    """A node made of networks, its children."""

    def entering(self, before: Any) -> tuple[Any, ...]:
        """What enters every child (shapes, or numbers of units), given what enters the node."""
        return (before,) * len(self.children())


def network(net: Any, name: str = "net") -> Serial:
    """The argument as a `Serial`, or `InputError` if it is no network."""
    if not isinstance(net, Node):
        got = f"the class {net.__name__}" if isinstance(net, type) else f"a {type(net).__name__}"
        raise InputError(name, got, "a network, such as lg.mlp(widths=[512], out=1)")
    for leaf in jax.tree_util.tree_leaves(net):  # nodes check what they are given; tree_map can put anything in its place
        if isinstance(leaf, Node):
            need = "nodes of classes with the decorator `node` of largen.architecture.nodes"
            raise InputError(name, f"a {type(leaf).__name__}, whose class is no pytree", need)
        if not ((isinstance(leaf, float) and math.isfinite(leaf)) or isinstance(leaf, Tracer)):
            door.number(leaf, f"{name} (its variances and weights)")
    return net if isinstance(net, Serial) else Serial((net,))
