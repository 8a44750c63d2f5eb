"""What work on real networks holds, counted from shapes alone, and refused before it begins where it does not fit."""

from typing import Any

import jax

from largen import memory
from largen.architecture.nodes import Serial
from largen.architecture.sizes import units
from largen.types import Array, Params

FIX = "Take fewer points or networks, or a narrower network."


def working(net: Serial, params: Params, X: Array, needed: Any, networks: int = 1, chunk: int = 1) -> None:
    """Refuse work on points that does not fit. `needed(n, largest, total, o)`, in numbers, one network: what is returned, and what is
    held besides, of n points which become `largest` numbers at most after a node, `total` after all together, `o` outputs."""
    largest, total = units(net, X.shape[1:])
    outputs = net.shape(X.shape[1:])[-1]
    returned, held = needed(len(X), largest, total, outputs)
    itemsize = jax.tree_util.tree_leaves(params)[0].dtype.itemsize
    got = f"{len(X):,} points of shape {X.shape[1:]}" + (f" in {networks:,} networks" if networks > 1 else "")
    memory.require(float(itemsize) * (networks * returned + min(chunk, networks) * held), "X", got, FIX)


def forward(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """Outputs: two nodes at a time."""
    return n * o, 4.0 * n * largest


def everything(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """What every node makes."""
    return n * total, 2.0 * n * largest


def backward(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """The gradient of every output with respect to what every node makes."""
    return n * o, 2.0 * n * o * total


def tangents(n2: int, full: bool) -> Any:
    """The empirical NTK with n2 points, by gradients of what every node makes."""

    def needed(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
        result = float(n) * n2 * (o * o if full else 1)
        return result, 2 * result + 1.5 * (n + n2) * o * total

    return needed


def training(parameters: int, steps: int, recorded: float) -> Any:
    """Descent: parameters, their gradient and what an optimiser keeps, activations; losses and recorded outputs."""

    def needed(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
        return parameters + steps + recorded, 4.0 * parameters + 3.0 * n * total + 2.0 * steps + recorded

    return needed
