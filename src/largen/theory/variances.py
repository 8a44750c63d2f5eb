"""The NNGP alone: of pairs of points, and of every point with itself, which takes no matrix of all pairs."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen.activations.assumed import as_assumed, assuming
from largen.architecture.branches import settled
from largen.architecture.nodes import Serial
from largen.architecture.walk import needed, walk
from largen.running.jitted import jitted
from largen.scaling.rates import resolve
from largen.theory import positions
from largen.theory.kernels import KERNELS, precision
from largen.theory.positions import Carrier
from largen.types import Array, hand_back, island, namespace, numbers

NUMBERS = 2**22  # in one array of a batch of points with positions


def covariances(net: Serial, X1: Array, X2: Array | None) -> tuple[Array, Any]:
    """(K, estimated error) of concrete points, X1 with X2 or with themselves: `lg.kernel(net, X1, X2).nngp` without the work of an NTK."""
    whole, layout = settled(net, X1.shape[1:]), needed(net, KERNELS)
    rates, dtype = resolve(whole, "ntk"), np.dtype(X1.dtype if X2 is None else jnp.promote_types(X1.dtype, X2.dtype))
    work = precision(dtype, X1, X2, whole, rates)
    with island(np.zeros((), work)):
        K, error = _carried(*numbers((whole, rates), work), positions.begin(X1, X2, layout, work), False)
        return hand_back((K.astype(dtype), error.astype(dtype)), X1, X2)


def variances(net: Serial, X: Array) -> tuple[Array, Any]:
    """(K(x, x), estimated error) of the m points X, (m,) and a number: the diagonal of `lg.kernel(net, X).nngp`, in its dtype. They
    are what a pair of two points carries of its first one. Of concrete points: derivatives are those of `lg.kernel`."""
    whole, layout = settled(net, X.shape[1:]), needed(net, KERNELS)
    rates = resolve(whole, "ntk")
    work = precision(X.dtype, X, None, whole, rates)
    size = math.prod(X.shape[1:-1]) ** (2 if layout == positions.PAIRS else 1)
    rows = len(X) if X.ndim == 2 else max(1, NUMBERS // size)
    with island(np.zeros((), work)):
        fixed = numbers((whole, rates), work)
        parts = [_carried(*fixed, positions.begin(X[at : at + rows], X[:1], layout, work), True) for at in range(0, len(X), rows)]
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
