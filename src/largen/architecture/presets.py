"""Networks by one call, and the same network wider."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from largen import door
from largen.activations.activation import activation as as_activation
from largen.activations.critical import critical_point
from largen.architecture.nodes import Act, Dense, Node, Serial, network
from largen.errors import InputError


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

    Parameters: `C_W`, `C_b`, a number or one per affine layer (defaults 1 and 0). `C="critical"` sets them instead so that
    signals neither explode nor vanish with depth (PDLT 5.55-5.56: chi_par = chi_perp = 1); for activations with a critical
    kernel K* > 0 the first layer's C_W makes K^(1) = K*, given `input_scale` = |x|^2/n_0 (see `lg.standardize`).

    Raises `InputError` for widths < 1, wrong-length or negative C_W, C_b, an unknown activation, `C` together with C_W or
    C_b; `UnsupportedError` for C="critical" where no closed value is known.

    >>> import largen as lg
    >>> lg.mlp(widths=[64, 64], out=1, activation="tanh", C="critical")
    lg.Dense(64) >> lg.Act('tanh') >> lg.Dense(64) >> lg.Act('tanh') >> lg.Dense(1)
    >>> lg.mlp(widths=[512], out=10, C_W=[1.0, 2.0]).nodes[0].C_W
    1.0
    """
    if isinstance(widths, (int, str)) or not np.iterable(widths):
        raise InputError("widths", repr(widths), "the hidden widths as a list, such as [512, 512]")
    sizes = [door.count(w, "widths") for w in widths] + [door.count(out, "out")]
    phi = as_activation(activation)
    L = len(sizes)
    if C is None:
        weights = door.per_layer(1.0 if C_W is None else C_W, L, "C_W")
        biases = door.per_layer(0.0 if C_b is None else C_b, L, "C_b")
    else:
        door.choice(C, "C", ("critical",))
        if C_W is not None or C_b is not None:
            raise InputError("C", "'critical' together with C_W or C_b", "one or the other")
        point = critical_point(phi)
        scale = door.number(input_scale, "input_scale", low=0.0, strict=True)
        weights, biases = (point.C_W,) * L, (point.C_b,) * L
        if point.K_star:  # K^(1) = C_b + C_W input_scale = K*
            weights = ((point.K_star - point.C_b) / scale, *weights[1:])
    nodes: list[Node] = []
    for size, w, b in zip(sizes, weights, biases, strict=True):
        nodes += [Dense(size, C_W=w, C_b=b), Act(phi)]
    return Serial(tuple(nodes[:-1]))


def widen(net: Any, factor: float | Fraction) -> Serial:
    """The network with every hidden width multiplied by `factor` (the readout, the last affine layer, stays).

    Raises `InputError` if a width would not be a whole number >= 1.

    >>> import largen as lg
    >>> lg.widen(lg.mlp(widths=[64, 32], out=1), 2).nodes[0].width
    128
    """
    whole = network(net)
    last = max((i for i, node in enumerate(whole.nodes) if isinstance(node, Dense)), default=-1)

    def wider(node: Node) -> Node:
        if not isinstance(node, Dense):
            return node
        width = Fraction(node.width) * Fraction(factor)
        if width.denominator != 1 or width < 1:
            raise InputError("factor", str(factor), f"a factor that makes the width {node.width} a whole number >= 1")
        return Dense(int(width), node.C_W, node.C_b)

    return Serial(tuple(node if i == last else wider(node) for i, node in enumerate(whole.nodes)))
