"""Attention: values at every position are averages of those at all positions, weighted by scores of queries and keys."""

from dataclasses import replace
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp

from largen import door
from largen.architecture.nodes import GAUSSIAN, MOMENTS, Blank, Composite, Dense, Node, Parametric, Serial, node, variance
from largen.architecture.spatial import space_of
from largen.errors import InputError

# zeta, on scores whose last axis is the positions attended to
MECHANISMS = {"identity": lambda g: g, "softmax": lambda g: jax.nn.softmax(g, axis=-1), "relu": jax.nn.relu, "abs": jnp.abs}
SCALINGS = ("1/sqrt(d)", "1/d")


@node
class PositionalEmbedding(Parametric):
    """A random vector of its own added at every position: z_s -> z_s + p_s, p_s ~ N(0, C_b), trained as biases are.

    For sequences and images, after an affine layer.

    Parameters
    ----------
    C_b : float
        Variance of an entry.

    Raises
    ------
    InputError
        For a negative C_b and, given inputs, if they have no positions.

    Examples
    --------
    >>> import largen as lg
    >>> lg.Dense(64) >> lg.PositionalEmbedding(0.5)
    lg.Dense(64) >> lg.PositionalEmbedding(C_b=0.5)
    """

    C_b: Any = 1.0
    C_W: ClassVar[Any] = 0.0  # no weights
    leaves: ClassVar[tuple[str, ...]] = ("C_b",)
    variances: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = (GAUSSIAN, MOMENTS)

    def __post_init__(self) -> None:
        object.__setattr__(self, "C_b", variance(self.C_b, "C_b"))

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        space_of(before, self)
        return before

    def fan_in(self, before: tuple[int, ...]) -> int:
        return 1

    def parameters(self, before: tuple[int, ...]) -> dict[str, Blank]:
        return {"b": Blank(before, self.C_b)}


@node
class Attention(Composite):
    """Multi-head self-attention over all positions: with q = W_query x, k = W_key x, v = W_value x for every head,

        scores G_st = q_s.k_t / sqrt(d) or / d,    head_s = sum_t zeta(G)_st v_t,    z_s = b + W_out (heads side by side).

    All weights have variance C/fan_in; b ~ N(0, C_b), one per channel. Infinite width is infinitely many heads (for "1/d" also
    d -> infinity). Inside, the layers have the paths `attention1/1/dense1` (queries; left out for "1/d"), keys, values, and output last.

    Parameters
    ----------
    mechanism : str
        zeta: "identity", "relu", "abs" of every score, or "softmax" over t.
    scaling : str
        "1/sqrt(d)", scores that stay random at infinite width, or "1/d" with tied weights W_query = sqrt(C_query/C_key) W_key, scores that
        become deterministic (d, the width of a head).
    positions : float or None
        The variance of a `lg.PositionalEmbedding` added to what queries and keys see; None for none.
    C_key, C_query, C_value, C_out : float
        Variances of the weights, times fan_in.
    C_b : float
        Variance of the output's bias.
    heads : int
        How many heads a real network has.
    width : int
        d, the units of a head of a real network.
    channels : int, optional
        Output channels; None for as many as came in.

    Raises
    ------
    InputError
        For an unknown mechanism or scaling, negative variances, sizes < 1; given inputs, if they have no positions.

    References
    ----------
    Hron et al. 2020 (arXiv:2006.10540).

    Examples
    --------
    >>> import largen as lg
    >>> lg.Dense(64) >> lg.Attention("softmax", "1/d") >> lg.GlobalAvgPool() >> lg.Dense(1)
    (lg.Dense(64)
     >> lg.Attention(mechanism='softmax', scaling='1/d')
     >> lg.GlobalAvgPool()
     >> lg.Dense(1))
    """

    mechanism: str = "identity"
    scaling: str = "1/sqrt(d)"
    positions: Any = None
    C_key: Any = 1.0
    C_query: Any = 1.0
    C_value: Any = 1.0
    C_out: Any = 1.0
    C_b: Any = 0.0
    heads: int = 8
    width: int = 64
    channels: int | None = None
    leaves: ClassVar[tuple[str, ...]] = ("positions", "C_key", "C_query", "C_value", "C_out", "C_b")
    counts: ClassVar[tuple[str, ...]] = ("heads", "width", "channels")
    variances: ClassVar[tuple[str, ...]] = ("C_key", "C_query", "C_value", "C_out")
    mixes: ClassVar[bool] = True
    ends_level: ClassVar[bool] = True
    tunable: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = (GAUSSIAN, MOMENTS)

    def __post_init__(self) -> None:
        door.choice(self.mechanism, "mechanism", tuple(MECHANISMS))
        door.choice(self.scaling, "scaling", SCALINGS)
        for name in self.leaves:
            if name != "positions" or self.positions is not None:
                object.__setattr__(self, name, variance(getattr(self, name), name))
        for name in ("heads", "width", "channels"):
            if name != "channels" or self.channels is not None:
                object.__setattr__(self, name, door.count(getattr(self, name), name))

    @property
    def tied(self) -> bool:
        """Whether queries are keys times a number."""
        return self.scaling == "1/d"

    def children(self) -> tuple[Serial, ...]:
        """Queries (unless tied), keys, values, which see the input, and the output layer, which sees the heads side by side."""
        inner = self.heads * self.width
        embed: tuple[Node, ...] = () if self.positions is None else (PositionalEmbedding(self.positions),)
        scores = [Serial((*embed, Dense(inner, C))) for C in ((self.C_key,) if self.tied else (self.C_query, self.C_key))]
        out = Dense(self.channels or inner, self.C_out, self.C_b)
        return (*scores, Serial((Dense(inner, self.C_value),)), Serial((out,)))

    @property
    def ratio(self) -> Any:
        """Queries over keys where they are tied, sqrt(C_query/C_key)."""
        none = self.C_key == 0  # no keys: no scores
        return jnp.sqrt(jnp.where(none, 0.0, self.C_query / jnp.where(none, 1.0, self.C_key)))

    def entering(self, before: Any) -> tuple[Any, ...]:
        inner = self.heads * self.width
        heads = inner if before is None or isinstance(before, int) else (*before[:-1], inner)
        return (before,) * (len(self.children()) - 1) + (heads,)

    def settled(self, before: tuple[int, ...]) -> Self:
        return replace(self, channels=self.channels or before[-1])

    def wider(self, factor: Any, last: bool) -> Self:
        """With heads, their width and (unless its outputs are those of the network) the channels times `factor`."""
        names = ["heads", "width", *(["channels"] if self.channels and not last else [])]
        sizes = {name: getattr(self, name) * factor for name in names}
        if any(size != int(size) or size < 1 for size in sizes.values()):
            raise InputError("factor", str(factor), f"a factor that makes {' and '.join(names)} of {self!r} whole numbers >= 1")
        return replace(self, **{name: int(size) for name, size in sizes.items()})

    def sets_units(self) -> bool:
        return self.channels is not None

    def units(self, before: int | None) -> int | None:
        return self.channels or before

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        return (*space_of(before, self), self.channels or before[-1])
