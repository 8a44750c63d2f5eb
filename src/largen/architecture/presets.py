"""Networks by one call, and the same network wider."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from largen import door, memory
from largen.activations.activation import activation as as_activation
from largen.architecture.attention import Attention, PositionalEmbedding
from largen.architecture.branches import Identity, Repeat, Sum
from largen.architecture.mapping import map_affine
from largen.architecture.nodes import Act, Dense, Node, Serial, network
from largen.architecture.norms import LayerNorm
from largen.architecture.pools import GlobalAvgPool
from largen.errors import InputError, shown
from largen.types import is_traced


def mlp(
    widths: Sequence[int],
    out: int = 1,
    activation: Any = "relu",
    C_W: Any = None,
    C_b: Any = None,
    C: str | None = None,
    input_scale: float = 1.0,
) -> Serial:
    """A fully-connected network: one hidden layer per entry of `widths`, then the readout, L = len(widths) + 1 affine layers.

    Parameters
    ----------
    widths : sequence of int
        Of the hidden layers.
    out : int
        Outputs of the network.
    activation : str, callable or Activation
        After every hidden layer.
    C_W, C_b : float or sequence of float, optional
        A number or one per affine layer; default 1 and 0.
    C : str, optional
        "critical" sets C_W and C_b such that signals neither explode nor vanish with depth (chi_par = chi_perp = 1); for activations with a
        critical kernel K* > 0 the first layer's C_W makes K^(1) = K*.
    input_scale : float
        |x|^2/n_0 of the inputs (see `lg.standardize`), for C="critical".

    Returns
    -------
    Serial
        The network.

    Raises
    ------
    InputError
        For widths < 1, wrong-length or negative C_W, C_b, an unknown activation, `C` together with C_W or C_b.
    UnsupportedError
        For C="critical" with an activation that has no critical point (its reason is `lg.critical(...).reason`).

    References
    ----------
    PDLT 5.55-5.56.

    Examples
    --------
    >>> import largen as lg
    >>> lg.mlp(widths=[64, 64], out=1, activation="tanh", C="critical")
    lg.Dense(64) >> lg.Act('tanh') >> lg.Dense(64) >> lg.Act('tanh') >> lg.Dense(1)
    >>> lg.mlp(widths=[512], out=10, C_W=[1.0, 2.0]).nodes[0].C_W
    1.0
    """
    sizes = [*door.counts(widths, "widths", "the hidden widths as a list, such as [512, 512]"), door.count(out, "out")]
    memory.require_few(2 * len(sizes), "widths", "nodes of one network")
    phi = as_activation(activation)
    L = len(sizes)
    weights, biases = starting_values(phi, L, C_W, C_b, C, input_scale)
    nodes: list[Node] = []
    for size, w, b in zip(sizes, weights, biases, strict=True):
        nodes += [Dense(size, C_W=w, C_b=b), Act(phi)]
    return Serial(tuple(nodes[:-1]))


def starting_values(phi: Any, L: int, C_W: Any, C_b: Any, C: str | None, input_scale: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """(C_W, C_b) per affine layer: as given, default 1 and 0, or critical."""
    if C is None:
        return door.per_layer(1.0 if C_W is None else C_W, L, "C_W"), door.per_layer(0.0 if C_b is None else C_b, L, "C_b")
    door.choice(C, "C", ("critical",))
    if C_W is not None or C_b is not None:
        raise InputError("C", "'critical' together with C_W or C_b", "one or the other")
    return critical_values(phi, L, input_scale)


def critical_values(activation: Any, L: int, input_scale: Any = 1.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(C_W, C_b) per affine layer at criticality, given `input_scale` = |x|^2/n_0. Raises `UnsupportedError` if there is none."""
    from largen.activations.start import variances  # needed by few networks, and slow to import

    phi = as_activation(activation)
    scale = door.number(input_scale, "input_scale", low=0.0, strict=True)
    (first, _), (C_W, C_b) = variances(phi, scale), variances(phi)
    if not is_traced(scale) and not math.isfinite(first):
        raise InputError("input_scale", f"{scale:g}", "|x|^2/n_0 of the inputs", "lg.standardize makes it 1.")
    return (first, *(C_W,) * (L - 1)), (C_b,) * L


def resnet_mlp(
    width: int, blocks: int, out: int = 1, activation: Any = "relu", skip: Any = 1.0, C_W: Any = 1.0, C_b: Any = 0.0, norm: bool = False
) -> Serial:
    """A residual fully-connected network: an affine layer, `blocks` residual ones, and the readout b + W phi(z).

        z -> skip z + b + W phi(z),      K' = C_b + C_W <phi phi> + skip^2 K without normalisation:

    for activations with phi(0) = 0 signals keep their size for C_b = 0 and C_W = (1 - skip^2)/A_2 (scale-invariant, A_2 = 1/2 for ReLU) or
    (1 - skip^2)/phi'(0)^2 (K* = 0).

    Parameters
    ----------
    width : int
        Of every hidden layer.
    blocks : int
        How many.
    out : int
        Outputs of the network.
    activation : str, callable or Activation
        The same everywhere.
    skip : float
        gamma, a real number.
    C_W, C_b : float or sequence of float
        A number or one per affine layer (blocks + 2).
    norm : bool
        Whether every phi(z) is phi(LayerNorm(z)): pre-activation normalisation, the readout's too.

    Returns
    -------
    Serial
        The network.

    Raises
    ------
    InputError
        For width, blocks or out < 1, an unknown activation, wrong-length or negative C_W, C_b, a skip that is no finite number.

    References
    ----------
    PDLT B.3.

    Examples
    --------
    >>> import largen as lg
    >>> lg.resnet_mlp(64, blocks=1, skip=0.5, C_W=1.5)  # doctest: +NORMALIZE_WHITESPACE
    (lg.Dense(64, C_W=1.5)
      >> lg.Sum(lg.Identity(), lg.Act('relu') >> lg.Dense(64, C_W=1.5), weights=(0.5, 1.0))
      >> lg.Act('relu')
      >> lg.Dense(1, C_W=1.5))
    """
    size, many, phi = door.count(width, "width"), door.count(blocks, "blocks"), Act(as_activation(activation))
    memory.require_few(3 * many, "blocks", "nodes of one network")
    weights, biases = door.per_layer(C_W, many + 2, "C_W"), door.per_layer(C_b, many + 2, "C_b")
    door.number(skip, "skip")
    layers = [Dense(n, w, b) for n, w, b in zip([size] * (many + 1) + [door.count(out, "out")], weights, biases, strict=True)]
    bend = LayerNorm() >> phi if door.flag(norm, "norm") else phi
    middle = [Sum(Identity(), bend >> layer, weights=(skip, 1.0)) for layer in layers[1:-1]]
    return Serial((layers[0], *middle, bend, layers[-1]))


def transformer(
    width: int,
    blocks: int,
    out: int = 1,
    heads: int = 8,
    mechanism: str = "identity",
    scaling: str = "1/sqrt(d)",
    positions: Any = 1.0,
    activation: Any = "gelu",
    C_W: Any = 1.0,
    C_b: Any = 0.0,
) -> Serial:
    """A pre-normalised transformer for sequences (tokens, features).

    A dense layer and a positional embedding, `blocks` times z -> z + Attention(LayerNorm(z)), then z -> z + W' phi(W LayerNorm(z)), W to
    `width` units too, and in the end layer normalisation, the mean over tokens and a readout.

    Parameters
    ----------
    width : int
        Units of every token.
    blocks : int
        How many.
    out : int
        Outputs of the network.
    heads : int
        Of attention, each of width/heads units.
    mechanism, scaling : str
        As in `lg.Attention`.
    positions : float
        The variance of the embedding.
    activation : str, callable or Activation
        Of the hidden layers.
    C_W, C_b : float
        The same in every layer.

    Returns
    -------
    Serial
        The network.

    Raises
    ------
    InputError
        For sizes < 1, heads that do not divide the width, an unknown activation or mechanism, negative variances.

    Examples
    --------
    >>> import largen as lg
    >>> lg.transformer(64, blocks=2, out=10).shape((12, 5))
    (10,)
    """
    size, many, phi = door.count(width, "width"), door.count(heads, "heads"), Act(as_activation(activation))
    if size % many:
        raise InputError("heads", shown(heads), f"a divisor of the width {size}")
    layer = Dense(size, C_W, C_b)
    mix = Attention(mechanism, scaling, None, C_W, C_W, C_W, C_W, C_b, many, size // many)
    block = Sum(Identity(), LayerNorm() >> mix) >> Sum(Identity(), LayerNorm() >> layer >> phi >> layer)
    end = LayerNorm() >> GlobalAvgPool() >> Dense(out, C_W, C_b)
    return layer >> PositionalEmbedding(positions) >> Repeat(block, blocks) >> end


def widen(net: Any, factor: float | Fraction) -> Serial:
    """The network with every hidden width multiplied by `factor`, those inside branches too; the outputs stay.

    Parameters
    ----------
    net : architecture
        Any network.
    factor : float or Fraction
        Above 0.

    Returns
    -------
    Serial
        The wider network.

    Raises
    ------
    InputError
        If a width would not be a whole number >= 1.

    Examples
    --------
    >>> import largen as lg
    >>> lg.widen(lg.mlp(widths=[64, 32], out=1), 2).nodes[0].width
    128
    """
    door.concrete(net, "net")
    exact = Fraction(factor) if isinstance(factor, Fraction) else Fraction(door.real(factor, "factor"))
    return map_affine(network(net), lambda layer, last: layer.wider(exact, last))
