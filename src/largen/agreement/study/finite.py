"""How far from infinite a network is: theory's first order in 1/n on a few points, and real networks of the study's widths."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from largen.agreement.claim import Claim
from largen.agreement.study.compared import compare
from largen.agreement.study.measured import key
from largen.agreement.study.plan import Plan
from largen.agreement.tensors import samples as scaled, seen
from largen.agreement.widths import at_width
from largen.architecture.chain import chain
from largen.architecture.nodes import Serial
from largen.data.task import Task
from largen.errors import InputError, UnsupportedError
from largen.questions.generalization import generalization
from largen.questions.width import width
from largen.theory.corrections.corrections import Corrections

POINTS, TRAIN = 6, 4  # points looked at; of which trained on, the others being test points
NARROWER, LEAST = 4, 8
MANY, STAGE = 64, 7  # networks at the widest, as many times more as they are cheaper, up to 8 times; stage of the random keys
TENSORS = ("V", "A", "B", "P", "Q")


@dataclass(frozen=True)
class Finite:
    """What a report says about width, on so many `points`. `L_over_n`; `claims`: what is of order 1/n, relative to infinite width and times
    n, by width; `width`: from which on theory's leading order is good to `tolerance`, `single` from which one network's NTK is. `bias`,
    `variance`: of networks trained on four points and asked at two, (infinite width, to first order in 1/n). What there is not is None
    or empty, and `missing` says why. `sentences`: those of `lg.width`."""

    points: int
    widths: tuple[int, ...]
    L_over_n: float | None
    claims: tuple[Claim, ...]
    width: int | None
    single: int | None
    tolerance: float
    bias: tuple[float, float] | None
    variance: tuple[float, float] | None
    missing: str
    sentences: tuple[str, ...]


def finite(plan: Plan, task: Task, tell: Callable[[float], None] = lambda share: None, tolerance: float = 0.05) -> Finite:
    """Relative fluctuations of kernel, NTK and dNTK, predicted and measured; bias and variance after training, predicted."""
    points = task.X[:POINTS]
    try:
        need = width(plan.net, points, tolerance)
    except UnsupportedError as error:
        return Finite(len(points), plan.widths, None, (), None, None, tolerance, None, None, str(error), ())
    found = need.corrections
    ratio = chain(plan.net)[0].width / found.width  # of the first hidden layer to the last, whose 1/n the tensors multiply
    widths, nets = _narrow(plan)
    counts = tuple(MANY * min(8, widths[-1] // n) for n in widths)
    samples = []
    for place, (net, count) in enumerate(zip(nets, counts, strict=True)):
        _, here = seen(net, points, key(plan, STAGE, place), count, "ntk", TENSORS)
        values = scaled(None, here, found, chain(net)[-2].width, TENSORS)
        samples.append({name: ratio * one for name, one in _relative(values, found).items()})
        tell((place + 1) / len(nets))
    predicted = _relative({name: np.asarray(getattr(found, name))[None] for name in TENSORS}, found)
    claims = tuple(compare("finite", name, ratio * float(c[0]), widths, [one[name] for one in samples]) for name, c in predicted.items())
    bias, variance, missing = trained(plan, task, points)
    known = need.L_over_n, claims, need.width, need.single, tolerance
    return Finite(len(points), widths, *known, bias, variance, missing, need.sentences)


def _narrow(plan: Plan) -> tuple[tuple[int, ...], tuple[Serial, ...]]:
    """The study's widths divided by `NARROWER`, if whole and not below `LEAST`: 1/n is large there, and networks are cheap."""
    widths = tuple(width // NARROWER for width in plan.widths)
    if widths[0] < LEAST:
        return plan.widths, plan.nets
    try:
        return widths, tuple(at_width(plan.net, width) for width in widths)
    except InputError:
        return plan.widths, plan.nets


def _relative(tensors: dict[str, np.ndarray], found: Corrections) -> dict[str, np.ndarray]:
    """Of every network, averages over inputs: the variance of one unit's kernel, of the NTK, and the dNTK, times n, over their scales."""
    K, theta = (np.diagonal(np.asarray(v, float)) for v in (found.K, found.Theta))
    own = {name: np.einsum("kaaaa->ka", values) for name, values in tensors.items()}
    return {
        "variance of the kernel": (own["V"] / K**2).mean(1),
        "variance of the NTK": ((own["A"] + 2 * own["B"]) / theta**2).mean(1),
        "dNTK with the output": ((own["P"] + 2 * own["Q"]) / theta**2).mean(1),
    }


def trained(plan: Plan, task: Task, points: np.ndarray) -> tuple[tuple[float, float] | None, tuple[float, float] | None, str]:
    """Bias and variance of the expected test loss on a few points, at infinite width and to first order in 1/n."""
    inside = slice(TRAIN, len(points))
    if len(points) <= TRAIN:
        return None, None, f"there are only {len(points)} points"
    given = points[:TRAIN], task.y[:TRAIN], points[inside], task.y[: len(points)][inside]
    try:
        found = [generalization(plan.net, *given, order=order) for order in (0, 1)]
    except UnsupportedError as error:
        return None, None, error.reason
    return (found[0].bias, found[1].bias), (found[0].variance, found[1].variance), ""
