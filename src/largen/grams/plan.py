"""How `lg.gram` computes, as far as network, shape and number of points say; the norms of the points decide the rest."""

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from largen.architecture.nodes import Act, Serial
from largen.architecture.paths import everything
from largen.architecture.walk import needed
from largen.gaussian.hermite import MOST
from largen.grams.images.images import sweeping
from largen.grams.images.maps import supported
from largen.grams.images.stages import program
from largen.grams.tables.features import FEATURES
from largen.grams.tables.powers import POWERS, powers
from largen.theory.held import COMPILED, numbers
from largen.theory.positions import PAIRS
from largen.theory.rules import KERNELS

RECURSION, IMAGES = "the recursion of lg.kernel, tile by tile", "sweeps over the offsets between pixels"
COSINE, NORMS = "a table of the cosine", "a table of two norms and the cosine"
SMALL = 128**2  # pairs that the recursion does sooner than a table is made
LARGE = 700**2  # pairs from which a table in two norms and a cosine pays
DEEP = {"float32": 3, "float64": 10}  # and so many activations in closed form
TILE, PARTS = 500, 4  # rows of a tile; a matrix with fewer rows than a few tiles is cut in so many
HELD = 8  # arrays of the size of a tile in work by every thread, where tables are evaluated
NUMBERS = 2**22  # in one array of a tile of the recursion, where a pair of points has many
SHARE = 48  # of as many as that, where a series holds all its coefficients


@dataclass(frozen=True)
class Plan:
    """`engines` in the order in which they are tried: the first whose tables reach their accuracy on the points computes. `cosine`:
    whether kernels are functions of one number, the cosine of two rows: "always" (up to powers of norms), "at equal norms" or "never";
    `why`. `tile`: rows of a tile (sweeps choose their own); `held`: bytes in work beside the results, what is compiled included."""

    engines: tuple[str, ...]
    cosine: str
    why: str
    tile: int
    held: float

    @property
    def engine(self) -> str:
        """What computes if all rows have equal norms, provided that tables reach their accuracy."""
        return self.engines[0]

    @property
    def otherwise(self) -> str:
        """What does if they have not."""
        return self.engines[1] if self.engine == COSINE and self.cosine != "always" else self.engine


def plan(net: Serial, rates: dict[str, Any], shape: tuple[int, ...], n1: int, n2: int, work: str) -> Plan:
    """The plan for n1 x n2 pairs of points of a shape in the dtype `work`."""
    cosine, why = one_cosine(net, rates)
    size, copies = np.dtype(work).itemsize, 3.0 * (n1 + n2) * math.prod(shape)
    if len(shape) > 1:
        rows = max(1, min(TILE, math.isqrt(int(NUMBERS / _numbers(net, shape[:-1])))))
        held = size * copies + COMPILED
        stages = program(net, shape[:-1]) if work == "float32" and swept(net, shape[:-1]) else None
        if stages is not None:
            return Plan((IMAGES, RECURSION), cosine, why, rows, held + sweeping(stages, shape[-1]))
        return Plan((RECURSION,), cosine, why, rows, held + _in_recursion(net, shape, rows, n1, n2, size))
    tables = {COSINE: cosine != "never", NORMS: n1 * n2 >= LARGE and _costly(net, work) and smooth(net)}
    engines = (*(name for name, possible in tables.items() if possible and n1 * n2 > SMALL), RECURSION)
    tile = max(n1, n2) if n1 * n2 <= SMALL else min(TILE, -(-max(n1, n2) // PARTS))
    made = Plan(engines, cosine, why, tile, size * copies + COMPILED)
    if made.otherwise == RECURSION:
        return replace(made, held=made.held + _in_recursion(net, shape, tile, n1, n2, size))
    return replace(made, held=made.held + size * float(HELD * _threads(tile, n1, n2) * tile**2))


def _in_recursion(net: Serial, shape: tuple[int, ...], tile: int, n1: int, n2: int, itemsize: int) -> float:
    """Bytes of the tiles that threads have in work."""
    paired = needed(net, KERNELS) == PAIRS
    return itemsize * _threads(tile, n1, n2) * numbers(net, shape, min(tile, n1), min(tile, n2), paired)


def _threads(tile: int, n1: int, n2: int) -> int:
    return min(os.cpu_count() or 1, -(-n1 // tile) * -(-n2 // tile))


def one_cosine(net: Serial, rates: dict[str, Any]) -> tuple[str, str]:
    """Whether the kernels of a network are functions of the cosine of two rows, up to powers of norms, and why."""
    for path, node in everything(net):
        if not POWERS.supports(type(node)):
            return "never", f"{path}, {type(node).__name__}, looks at more of two points than their cosine"
    if powers(net, rates).K is not None:
        return "always", "norms enter as powers only"
    return "at equal norms", "norms matter by themselves: biases, or activations that are not of the ReLU family"


def smooth(net: Serial) -> bool:
    """Whether kernels are smooth functions of two norms and a cosine."""
    nodes = [node for _, node in everything(net)]
    return all(FEATURES.supports(type(node)) and not (isinstance(node, Act) and node.activation.kinks) for node in nodes)


def swept(net: Serial, space: tuple[int, ...]) -> bool:
    """Whether a network is stages of convolutions and poolings, with activations that are cheap at every pair of pixels."""
    stages = program(net, space)
    return stages is not None and all(layer.phi is None or supported(layer.phi) for stage in stages.stages for layer in stage.layers)


def _numbers(net: Serial, space: tuple[int, ...]) -> float:
    """Numbers in one array for a pair of points, times more where a Hermite series holds all its coefficients for each."""
    acts = [node.activation for _, node in everything(net) if isinstance(node, Act)]
    series = any(phi.closed is None and not phi.kinks for phi in acts)
    return math.prod(space) ** (2 if needed(net, KERNELS) == PAIRS else 1) * (8 * MOST / SHARE if series else 1)


def _costly(net: Serial, work: str) -> bool:
    """Whether the recursion takes longer than a table in two norms and a cosine: quadrature, or depth."""
    acts = [node.activation for _, node in everything(net) if isinstance(node, Act)]
    return len(acts) >= DEEP[work] or any(phi.closed is None for phi in acts)
