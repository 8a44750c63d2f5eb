r"""The stochastic metric of real networks: second and fourth moments of one layer's units, given the weights of the layers before.

Given the preactivations z of the layer before, with n units, those of a layer z' = b + W s(z) + gamma z are independent Gaussians
around gamma z_i with covariance Ghat = C_b + (C_W/n) sum_j s(z_j) s(z_j)^T (PDLT 4.70; gamma = 0 in a plain chain). So averages over
the last weights need no drawing of them (Rao-Blackwell):

    metric_12     = mean_i   E[z'_i1 z'_i2 | z]           = Ghat_12 + gamma^2 mean z z,
    quartic_1234  = mean_i!=j E[z'_i1 z'_i2 z'_j3 z'_j4 | z].

Some numbers have mean exactly 0 whatever the widths, and take most of the noise out of a mean over networks: mean z' z' - metric;
likewise fourth moments less Wick's; and the change of the next metric when the weights into z' change sign, as they might.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.architecture.chain import Layer, chain
from largen.architecture.nodes import Serial, network
from largen.display import Record
from largen.errors import UnsupportedError
from largen.networks.outputs import layers
from largen.networks.work import Work, measured
from largen.types import Array, Params


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, kw_only=True)
class Metric(Record):
    """What `lg.measure.metric` returns; means over networks are E[z_i1 z_i2] and E[z_i1 z_i2 z_j3 z_j4], i != j.

    Attributes
    ----------
    metric : array (n, n)
        The covariance of one unit of the last layer over its weights.
    quartic : array (n, n, n, n)
        The same of two different units.
    controls : array (k,)
        Numbers with mean exactly 0, correlated with `metric`.
    """

    metric: Array
    quartic: Array
    controls: Array

    _table = ("i j", "metric")


def metric_of(net: Serial, params: Params, X: Any) -> Metric:
    """The pure core of `metric`, for one network."""
    levels = chain(net)
    if len(levels) < 2:
        raise UnsupportedError(repr(net), "", "lg.measure.metric", "one affine layer has no layer before it")
    known, before = levels[0].C_b + levels[0].C_W * (X @ X.T) / X.shape[1], None
    z, last, controls = X, levels[-1], []
    two, four = (np.array(list(combinations_with_replacement(range(len(X)), k))).T for k in (2, 4))
    for level, following, z in zip(levels, levels[1:], layers(net, params, X).values(), strict=False):
        carried = level.skip * before if before is not None and before.shape == z.shape else jnp.zeros_like(z)  # unequal widths: no skip
        g, G = z - carried, known - carried @ carried.T / z.shape[1]  # Gaussian of covariance G, given the layers before
        a, b, c, d = four
        wick = G[a, b] * G[c, d] + G[a, c] * G[b, d] + G[a, d] * G[b, c]
        change = _metric(following, z) - _metric(following, carried - g)
        controls += [(z @ z.T / z.shape[1] - known)[*two], change[*two] / 2, (g[a] * g[b] * g[c] * g[d]).mean(1) - wick]
        known, before = _metric(following, z), z
    n, gamma, second = z.shape[1], jnp.asarray(last.skip, z.dtype), z @ z.T / z.shape[1]
    quartic = known[:, :, None, None] * known
    if n > 1:  # pairs of different units: sums over all pairs less those of a unit with itself
        pairs = (z[:, None] * z).reshape(-1, n)
        quartic = quartic + gamma**4 * (second[:, :, None, None] * second - (pairs @ pairs.T / n).reshape(quartic.shape)) / (n - 1)
    return Metric(metric=known, quartic=quartic, controls=jnp.concatenate(controls))


def _metric(level: Layer, z: Any) -> Any:
    """C_b + (C_W/n) s s^T + gamma^2 z z^T/n."""
    assert level.activation is not None
    s = level.activation(z)
    return level.C_b + (level.C_W * (s @ s.T) + level.skip**2 * (z @ z.T)) / z.shape[1]


def _needed(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """Numbers of one network, and held besides."""
    return 3.0 * n**4, 8.0 * n**4 + 2.0 * n * total + 2.0 * n * n * largest


@measured
def metric(net: Any, params: Params, X: Any) -> Work[Metric]:
    """The metric of the last layer of a real network, and the moments of two of its units, all given the layers before.

    The covariance of `metric` over networks is V/n of theory in a plain chain, its mean K + K1/n, with n the width of the layer
    before the last (4.76, 4.104); with a skip connection into the last layer V/n is the mean of `quartic` less its factors.

    Parameters
    ----------
    net : architecture
        A chain of two affine layers or more.
    params : dict
        As from `lg.init`, of an ensemble with `lg.each`.
    X : array (n, features)
        Points.

    Returns
    -------
    Metric
        In the dtype of the parameters.

    Raises
    ------
    InputError
        As `lg.apply` does.
    UnsupportedError
        For what is no chain and for one affine layer.

    References
    ----------
    PDLT 4.76, 4.104.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=1, activation="relu", C_W=2.0)
    >>> G = lg.each(lg.measure.metric, net, lg.init(net, 3, jax.random.key(0), networks=7), np.ones((2, 3)))
    >>> G.metric.shape, G.quartic.shape
    ((7, 2, 2), (7, 2, 2, 2, 2))
    """
    whole, x = network(net), door.inputs(X)
    return Work(metric_of, whole, params, x, (x,), _needed)
