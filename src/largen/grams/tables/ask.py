"""The kernel recursion asked at chosen cosines: pairs of points of given sizes, in float64.

One call goes through the same walk and the same rules as `lg.kernel`, with a carrier whose cosines are exact instead of points.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.assumed import as_assumed, assuming
from largen.architecture.nodes import Serial
from largen.architecture.walk import walk
from largen.gaussian.pair import Pair
from largen.running.jitted import jitted, repeated
from largen.theory.positions import Carrier
from largen.theory.rules import KERNELS
from largen.types import island

BATCH = 192  # pairs in one call, so that all calls share one compiled program


@jitted(static=(6,))
def _walk(net: Serial, rates: Any, q1: Any, q2: Any, near: Any, far: Any, ordinary: bool) -> tuple[Any, Any, Any]:
    k = jnp.sqrt(q1) * jnp.sqrt(q2) * jnp.where(near <= far, 1 - near, far - 1)
    pair = Pair(q1.reshape(1, 1), q2.reshape(1, 1), k[None], near[None], far[None])
    with assuming(sizes=ordinary, angles=False):
        last, _ = walk(net, KERNELS, Carrier(pair, jnp.zeros_like(pair.k), jnp.zeros((), k.dtype)), rates)
    return last.pair.k[0], last.theta[0], last.error


def moments(
    net: Serial, rates: list[dict[str, Any]], q1: float, q2: float, v: np.ndarray, sign: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """(K, Theta of each set of rates, error): K (points,), Theta (sets, points) at c = sign (1 - v), for points of |x|^2/n_0 = q1, q2."""
    points, count = len(v), -(-len(v) // BATCH) * BATCH
    v, sign = np.resize(v, count).astype(np.float64), np.resize(sign, count)
    near, far = np.where(sign > 0, v, 2 - v), np.where(sign > 0, 2 - v, v)
    K, Theta, worst = np.empty(count), np.empty((len(rates), count)), 0.0
    with island():
        net, rates = jax.tree_util.tree_map(np.float64, (net, rates))
        for at in range(0, count, BATCH):
            some = slice(at, at + BATCH)
            for i, one in enumerate(rates):
                asked = net, one, np.float64(q1), np.float64(q2), near[some], far[some]
                with repeated(math.inf):  # at every call of `lg.gram` anew
                    out, _ = as_assumed(lambda ordinary, asked=asked: _walk(*asked, ordinary), lambda out: out[2])
                K[some], Theta[i, some], error = (np.asarray(part) for part in out)
                worst = max(worst, float(error))
    return K[:points], Theta[:, :points], worst
