"""What work on real networks holds, counted from shapes alone, and refused before it begins where it does not fit."""

from collections.abc import Callable

import jax

from largen import memory
from largen.architecture.nodes import Serial
from largen.architecture.sizes import units
from largen.types import Array, Params

Needed = Callable[[int, int, int, int], tuple[float, float]]
FIX = "Take fewer points or networks, or a narrower network."


def working(net: Serial, params: Params, X: Array, needed: Needed, networks: int, chunk: int | None) -> int:
    """Refuse work on points that does not fit; returns how many networks to work on at once: `chunk`, or for None one on a CPU, all that
    fit elsewhere. `needed(n, largest, total, o)`, in numbers, one network: what is returned, and what is held besides, of n points which
    become `largest` numbers at most after a node, `total` after all together, `o` outputs."""
    largest, total = units(net, X.shape[1:])
    returned, held = needed(len(X), largest, total, net.shape(X.shape[1:])[-1])
    itemsize = float(jax.tree_util.tree_leaves(params)[0].dtype.itemsize)
    if chunk is None:
        chunk = 1 if jax.default_backend() == "cpu" else max(1, int((_free() / itemsize - networks * returned) / held))
    got = f"{len(X):,} points of shape {X.shape[1:]}" + (f" in {networks:,} networks" if networks > 1 else "")
    memory.require(itemsize * (networks * returned + min(chunk, networks) * held), "X", got, FIX)
    return chunk


def _free() -> float:
    """Bytes free for a computation, on the device too where it says so."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return min(memory.available(), stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else memory.LARGE)


def forward(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """Outputs: two nodes at a time."""
    return n * o, 4.0 * n * largest


def everything(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """What every node makes."""
    return n * total, 2.0 * n * largest


def backward(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """The gradient of every output with respect to what every node makes."""
    return n * o, 2.0 * n * o * total


def tangents(n2: int, full: bool) -> Needed:
    """The empirical NTK with n2 points, by gradients of what every node makes."""

    def needed(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
        result = float(n) * n2 * (o * o if full else 1)
        return result, 2 * result + 1.5 * (n + n2) * o * total

    return needed


def differentials(parameters: int, order: int) -> Needed:
    """dNTK (order 3) and ddNTKs (order 4): derivatives along the gradients of every output, nested."""

    def needed(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
        N = float(n) * o
        return N**order, N ** (order - 2) * (3.0 * parameters + 2.0**order * n * total) + 2 * N**order

    return needed


def training(parameters: int, steps: int, recorded: float) -> Needed:
    """Descent: parameters, their gradient and what an optimiser keeps, activations; losses and recorded outputs."""

    def needed(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
        return parameters + steps + recorded, 4.0 * parameters + 3.0 * n * total + 2.0 * steps + recorded

    return needed
