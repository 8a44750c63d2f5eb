"""What the recursion of kernels holds at its peak: one count for the refusals of `lg.kernel` and `lg.gram`, and for what `lg.explain` says.

Measured (benchmarks/memory.py): XLA keeps about so many arrays of all pairs of points, and of positions where there are some. Smooth
activations without closed form go by Hermite series: coefficients of every point, or, with positions, of every pair.
"""

from largen import memory
from largen.architecture.nodes import Act, Serial
from largen.architecture.paths import everything
from largen.architecture.sizes import positions
from largen.gaussian.hermite import MOST

ARRAYS, SPATIAL = 13, 18  # of all pairs, and where there are positions
SERIES, EVERY = 8 * MOST, 6 * MOST  # numbers for every point whose activation has a series, and for every pair with positions
COMPILED = 4e7  # bytes of what a first call compiles


def numbers(net: Serial, shape: tuple[int, ...], n1: int, n2: int, paired: bool) -> float:
    """Numbers held for n1 x n2 pairs of points of a shape; `paired`: at every two positions."""
    acts = [node.activation for _, node in everything(net) if isinstance(node, Act)]
    series = any(phi.closed is None and not phi.kinks for phi in acts)
    pairs = float(n1) * n2 * positions(net, shape) ** (2 if paired else 1)
    if len(shape) > 1:
        return (SPATIAL + series * EVERY) * pairs
    return ARRAYS * pairs + series * SERIES * (n1 + n2)


def require(
    net: Serial, shape: tuple[int, ...], n1: int, n2: int, itemsize: int, paired: bool, layers: int = 1, argument: str = "X"
) -> None:
    """Refuse kernels that do not fit into memory, those of so many layers, of the points `argument`."""
    needed = itemsize * (numbers(net, shape, n1, n2, paired) + 2.0 * (layers - 1) * n1 * n2)
    got = f"{n1:,} x {n2:,} pairs of points of shape {shape}"
    tiles = "lg.gram(net, X) goes tile by tile, with store=PATH to a disk; or take fewer points."
    memory.require(needed, argument, got, tiles if layers == 1 else "Take fewer points.")
