"""The NNGP alone: of pairs of points, and of every point with itself, which takes no matrix of all pairs."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen.activations.assumed import as_assumed, assuming
from largen.architecture.nodes import Serial
from largen.architecture.walk import walk
from largen.parametrizations.rates import resolve
from largen.running.jitted import jitted
from largen.theory import positions
from largen.theory.given import Given
from largen.theory.positions import Carrier
from largen.theory.rules import KERNELS
from largen.types import Array, hand_back, namespace

NUMBERS = 2**22  # in one array of a batch of points with positions


def covariances(net: Serial, X1: Array, X2: Array | None) -> tuple[Array, Any]:
    """(K, estimated error) of concrete points, X1 with X2 or with themselves: `lg.kernel(net, X1, X2).nngp` without the work of an NTK."""
    dtype = np.dtype(X1.dtype if X2 is None else jnp.promote_types(X1.dtype, X2.dtype))
    asked = Given(net=net, X=X1, X2=X2, rates=resolve(net), dtype=dtype)
    with asked.island():
        K, error = _carried(*asked.numbers(), positions.begin(X1, X2, asked.layout, asked.work), False)
        return hand_back((K.astype(dtype), error.astype(dtype)), X1, X2)


def variances(net: Serial, X: Array) -> tuple[Array, Any]:
    """(K(x, x), estimated error) of the m points X, (m,) and a number: the diagonal of `lg.kernel(net, X).nngp`, in its dtype. They
    are what a pair of two points carries of its first one. Of concrete points: derivatives are those of `lg.kernel`."""
    asked = Given(net=net, X=X, X2=None, rates=resolve(net), dtype=X.dtype)
    size = math.prod(X.shape[1:-1]) ** (2 if asked.layout == positions.PAIRS else 1)
    rows = len(X) if X.ndim == 2 else max(1, NUMBERS // size)
    with asked.island():
        fixed = asked.numbers()
        batches = (positions.begin(X[at : at + rows], X[:1], asked.layout, asked.work) for at in range(0, len(X), rows))
        parts = [_carried(*fixed, first, True) for first in batches]
        xp = namespace(*parts)
        K, error = xp.concatenate([part[0] for part in parts]), xp.stack([part[1] for part in parts]).max()
        return hand_back((K.astype(X.dtype), error.astype(X.dtype)), X)


def _carried(net: Serial, rates: Any, first: Carrier, own: bool) -> tuple[Any, Any]:
    """K of pairs, or of the first points with themselves if `own`, and the error."""
    return as_assumed(lambda usual: _walked(net, rates, first, own, usual), lambda out: out[1], net, rates, first)[0]


@jitted(static=(3, 4))
def _walked(net: Serial, rates: Any, first: Carrier, own: bool, usual: bool) -> tuple[Any, Any]:
    with assuming(sizes=usual, angles=usual and not first.space, alone=True):
        last, _ = walk(net, KERNELS, first, rates)
    return last.pair.q1.reshape(-1) if own else last.pair.k, last.error
