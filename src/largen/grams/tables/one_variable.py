"""Whether a Gram matrix is a function of cosines alone, up to powers of norms, and that function."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from largen.architecture.nodes import Serial
from largen.grams.tables.angles import Angles, Rows
from largen.grams.tables.ask import moments
from largen.grams.tables.curve import ACCEPTED, CLOSE, Curve, at_end, at_middle, build
from largen.grams.tables.powers import powers, same_everywhere, split

EQUAL = 16  # units of rounding that variances |x|^2/n_0 may differ by and count as equal


def one_variable(net: Serial, rates: dict[str, Any], first: Rows, second: Rows, which: str = "both") -> Angles | None:
    """What evaluates the tiles of the kernels `which`, or None where they depend on more than a cosine, or on it too wildly for a
    table."""
    work = first.unit.dtype.name
    low, high = (float(f([f(rows.q) for rows in (first, second)])) for f in (np.min, np.max))
    equal = high - low <= EQUAL * np.finfo(work).eps * high
    found = powers(net, rates)
    if found.K is None:
        if not equal:
            return None
        found = same_everywhere(rates)
    middle = float(np.sqrt(low) * np.sqrt(high)) or high or 1.0
    sets = split(rates, found)
    exponents = {"both": [found.K or 0, *sets], "nngp": [found.K or 0], "ntk": [*sets]}[which]
    if low == 0 and min(exponents) <= 0:  # a zero vector has no angle at any layer, which is no power of its norm
        return None
    ask = partial(_asked, net, list(sets.values()), exponents, which)
    curve = build(partial(ask, middle, middle), work)
    if curve is None or (found.K == 0 and not equal and not _scales(ask, (low, high), curve, work)):
        return None
    return Angles(first, second, curve, exponents, which)


def _asked(
    net: Serial, sets: list[Any], exponents: list[int], which: str, q1: float, q2: float, v: np.ndarray, sign: np.ndarray
) -> tuple[np.ndarray, float]:
    """(K, if it is asked for, and the shares of Theta, over the powers of the sizes (functions, points), error)."""
    K, Theta, error = moments(net, sets[:1] if which == "nngp" else sets, q1, q2, v, sign)
    scale = np.array([(np.sqrt(q1) * np.sqrt(q2)) ** p for p in exponents])[:, None]
    return {"both": np.concatenate([K[None], Theta]), "nngp": K[None], "ntk": Theta}[which] / scale, error


def _scales(ask: Callable[..., Any], ends: tuple[float, float], curve: Curve, work: str) -> bool:
    """Whether the powers hold for the smallest and the largest points: the eps of a normalisation is no power."""
    v = np.concatenate([[0.0], np.geomspace(1e-6, CLOSE, 16), np.geomspace(CLOSE, 1, 16)])
    v, sign = np.concatenate([v, v]), np.repeat([1.0, -1.0], len(v))
    found = np.where(v <= CLOSE, at_end(curve, v, sign > 0), at_middle(curve, sign * (1 - v)))
    for q1, q2 in ((ends[0], ends[0]), ends, (ends[1], ends[1])):
        wanted, _ = ask(q1, q2, v, sign)
        if not np.abs(wanted - found).max() <= ACCEPTED[work] * np.abs(found).max():
            return False
    return True
