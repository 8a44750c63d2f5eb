"""The widths at which real networks are measured."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from largen import door, memory
from largen.architecture.levels import affine
from largen.architecture.nodes import Affine, Serial
from largen.architecture.presets import widen
from largen.errors import InputError, shown
from largen.networks import parameters

WIDTHS = (8, 16, 32, 64)  # where nobody says others


def widened(net: Serial, widths: Any) -> dict[int, Serial]:
    """{width of the first layer: the network at that width, the other hidden widths in proportion}, narrowest first.

    Raises `InputError` for fewer than four widths or less than a factor of 8 between them, for widths that are not in proportion,
    and for a network without a hidden layer."""
    layers = [layer for _, layer, _ in affine(net) if isinstance(layer, Affine)]
    if len(layers) < 2 or _first(widen(net, 2)) == _first(net):
        raise InputError("net", shown(net), "a network with at least one hidden layer")
    need = "at least four widths over a factor of 8 or more, such as (8, 16, 32, 64)"
    sizes = tuple(sorted(set(door.counts(widths, "widths", need))))
    if len(sizes) < 4 or sizes[-1] < 8 * sizes[0]:
        raise InputError("widths", shown(widths), need)
    return {n: at_width(net, n) for n in sizes}


def at_width(net: Serial, n: int) -> Serial:
    """The network with that width of its first layer, the other hidden widths in proportion. Raises `InputError` for what is not whole."""
    try:
        return widen(net, Fraction(n, _first(net)))
    except InputError as error:
        one = _unit(net)
        fix = f"Take multiples of {one}, such as {nearest(net, WIDTHS)}."
        raise InputError("widths", f"{n}", f"whole numbers for all hidden widths, which are as {_hidden(net)}", fix) from error


def nearest(net: Serial, widths: Iterable[int]) -> tuple[int, ...]:
    """The widths of the first layer nearest to these at which all hidden widths are whole; in proportion as they are, as far as can be."""
    wanted, one = tuple(widths), _unit(net)
    least = max(1, round(wanted[0] / one))
    return tuple(dict.fromkeys(one * max(1, round(least * width / wanted[0])) for width in wanted))


def _unit(net: Serial) -> int:
    """The least width of the first layer at which all hidden widths are whole."""
    return _first(net) // math.gcd(*_hidden(net))


def _hidden(net: Serial) -> list[int]:
    return [layer.fan_out for _, layer, _ in affine(net) if isinstance(layer, Affine)][:-1] or [_first(net)]


def require_room(nets: Iterable[Serial], shape: tuple[int, ...], networks: int, kept: float) -> None:
    """Refuse widths of which not even one network fits, and more networks than there is room for what is `kept` of each, in numbers."""
    for net in nets:
        parameters.require_room(net, shape, np.float32)
    memory.require(8.0 * networks * kept, "networks", f"{networks:,} networks", "Ask for fewer networks.")


def _first(net: Serial) -> int:
    return next(layer for _, layer, _ in affine(net) if isinstance(layer, Affine)).fan_out
