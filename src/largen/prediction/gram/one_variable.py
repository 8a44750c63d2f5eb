"""Whether a Gram matrix is a function of cosines alone, up to powers of norms, and that function."""

from typing import Any

import numpy as np

from largen.architecture.nodes import Serial
from largen.architecture.walk import everything
from largen.prediction.gram.angles import Angles, Rows
from largen.prediction.gram.ask import moments
from largen.prediction.gram.curve import ACCEPTED, Curve, build, evaluate
from largen.prediction.gram.powers import POWERS, Powers, powers, same_everywhere, split

EQUAL = 16  # units of rounding that variances |x|^2/n_0 may differ by and count as equal


def one_variable(net: Serial, rates: dict[str, Any], X: np.ndarray, X2: np.ndarray | None, work: str) -> Angles | None:
    """What evaluates the tiles, or None where the kernels depend on more than a cosine, or on it too wildly for a table."""
    if not all(type(node) in POWERS.rules for _, node in everything(net)):
        return None
    q = np.concatenate([np.einsum("ij,ij->i", Z, Z, dtype=np.float64) / Z.shape[1] for Z in (X, X2) if Z is not None])
    low, high = float(q.min()), float(q.max())
    equal = high - low <= EQUAL * np.finfo(work).eps * high
    found = powers(net, rates)
    if found.K is None:
        if not equal:
            return None
        found = same_everywhere(rates)
    middle = float(np.sqrt(low) * np.sqrt(high)) or high or 1.0
    sets = split(rates, found)
    exponents = [_known(found), *sets]
    if low == 0 and min(exponents) <= 0:  # a zero vector has no angle at any layer, which is no power of its norm
        return None
    curve = _curve(net, list(sets.values()), exponents, middle, work)
    if curve is None or (found.K == 0 and not equal and not _scales(net, list(sets.values()), exponents, (low, high), curve, work)):
        return None
    first = Rows(X, exponents, work)
    return Angles(first, first if X2 is None else Rows(X2, exponents, work), curve, work, X2 is None)


def _known(found: Powers) -> int:
    assert found.K is not None
    return found.K


def _curve(net: Serial, sets: list[Any], exponents: list[int], q: float, work: str) -> Curve | None:
    """K and the shares of Theta over the powers of the variance q, as functions of the cosine."""
    scale = np.array([q**p for p in exponents])[:, None]

    def ask(v: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, float]:
        K, Theta, error = moments(net, sets, q, q, v, sign)
        return np.concatenate([K[None], Theta])[:, : len(v)] / scale, error

    return build(ask, work)


def _scales(net: Serial, sets: list[Any], exponents: list[int], ends: tuple[float, float], curve: Curve, work: str) -> bool:
    """Whether the powers hold for the smallest and the largest points: the eps of a normalisation is no power."""
    v = np.concatenate([[0.0], np.geomspace(1e-6, 1, 31)])
    v, sign = np.concatenate([v, v]), np.repeat([1.0, -1.0], len(v))
    found = np.stack(evaluate(curve, v, sign > 0, np))
    for q1, q2 in ((ends[0], ends[0]), ends, (ends[1], ends[1])):
        K, Theta, _ = moments(net, sets, q1, q2, v, sign)
        scale = np.array([(np.sqrt(q1) * np.sqrt(q2)) ** p for p in exponents])[:, None]
        wanted = np.concatenate([K[None], Theta])[:, : len(v)] / scale
        if not np.abs(wanted - found).max() <= ACCEPTED[work] * np.abs(found).max():
            return False
    return True
