"""How `lg.gram` will compute, as far as network, shape and number of points say; the norms of the points decide the rest."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.architecture.nodes import Act, Serial
from largen.architecture.walk import everything
from largen.prediction.gram.features import FEATURES
from largen.prediction.gram.gram import HELD, LARGE, SMALL, TILE, _costly, _rows
from largen.prediction.gram.maps import supported
from largen.prediction.gram.powers import POWERS, powers
from largen.prediction.gram.stages import program

RECURSION, IMAGES = "the recursion of lg.kernel, tile by tile", "sweeps over the offsets between pixels"
COSINE, NORMS = "a table of the cosine", "a table of two norms and the cosine"


@dataclass(frozen=True)
class Plan:
    """`engine`: what computes if all rows have equal norms; `otherwise`: what does if not. `cosine`: whether kernels are functions of one
    number, the cosine of two rows: "always" (up to powers of norms), "at equal norms" or "never"; `why`. `tile`: rows of a tile; `held`:
    bytes in work beside the results, None for tiles of points with positions."""

    engine: str
    otherwise: str
    cosine: str
    why: str
    tile: int
    held: float | None


def plan(net: Serial, rates: dict[str, Any], shape: tuple[int, ...], n1: int, n2: int, work: str) -> Plan:
    """The plan for n1 x n2 pairs of points of a shape in the dtype `work`, provided that tables reach their accuracy."""
    cosine, why = one_cosine(net, rates)
    if len(shape) > 1:
        engine = IMAGES if work == "float32" and swept(net, shape[:-1]) else RECURSION
        return Plan(engine, engine, cosine, why, _rows(net, shape[:-1]), None)
    held = np.dtype(work).itemsize * float(HELD * min(TILE, n1) * min(TILE, n2) + 3 * (n1 + n2) * math.prod(shape))
    if n1 * n2 <= SMALL:
        return Plan(RECURSION, RECURSION, cosine, why, max(n1, n2), held)
    rest = NORMS if n1 * n2 >= LARGE and _costly(net, work) and smooth(net) else RECURSION
    return Plan(rest if cosine == "never" else COSINE, COSINE if cosine == "always" else rest, cosine, why, TILE, held)


def one_cosine(net: Serial, rates: dict[str, Any]) -> tuple[str, str]:
    """Whether the kernels of a network are functions of the cosine of two rows, up to powers of norms, and why."""
    for path, node in everything(net):
        if type(node) not in POWERS.rules:
            return "never", f"{path}, {type(node).__name__}, looks at more of two points than their cosine"
    if powers(net, rates).K is not None:
        return "always", "norms enter as powers only"
    return "at equal norms", "norms matter by themselves: biases, or activations that are not of the ReLU family"


def smooth(net: Serial) -> bool:
    """Whether kernels are smooth functions of two norms and a cosine."""
    nodes = [node for _, node in everything(net)]
    return all(type(node) in FEATURES.rules and not (isinstance(node, Act) and node.activation.kinks) for node in nodes)


def swept(net: Serial, space: tuple[int, ...]) -> bool:
    """Whether a network is stages of convolutions and poolings, with activations that are cheap at every pair of pixels."""
    stages = program(net, space)
    return stages is not None and all(layer.phi is None or supported(layer.phi) for stage in stages.stages for layer in stage.layers)
