"""Real networks, many of each width, drawn and looked at in batches of bounded size: the one batcher of the room."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from largen.architecture.arrays import size
from largen.architecture.levels import affine
from largen.architecture.nodes import Affine, Serial
from largen.architecture.sizes import units
from largen.networks.ensemble import each
from largen.networks.parameters import init
from largen.types import Params

BYTES = 2.0**28  # of one batch of networks, with what is made of each
TOGETHER = 4096  # units of the widest layers of networks that are worked on at once


def chunk_of(net: Serial, networks: int) -> int:
    """How many of so many networks to work on at once: many narrow ones, few wide ones."""
    widest = max(layer.fan_out for _, layer, _ in affine(net) if isinstance(layer, Affine))
    return max(1, min(networks, TOGETHER // widest, 256))


def batches(net: Serial, X: Any, key: Any, networks: int, wanted: int | None = None) -> Iterator[tuple[Params, int]]:
    """(parameters, how many networks at once) of at least `wanted` (default `networks`) independent networks in float32, batch by batch,
    for points X. The size of a batch depends on `networks` only and is a multiple of those at once, so that everything is
    compiled once for each width."""
    points, shape = len(X), np.shape(X)[1:]
    made = 4 * size(net, shape) + 6 * points * units(net, shape)[1] + 2 * points**2 * len(net.nodes)  # numbers of one network
    fit = max(1, int(BYTES / (4.0 * made)))
    chunk = min(fit, chunk_of(net, networks))
    most = fit // chunk * chunk
    many = chunk * -(-networks // (chunk * -(-networks // most)))
    for k in jax.random.split(key, -(-(wanted or networks) // many)):
        yield init(net, shape, k, networks=many, dtype=np.float32), chunk


def measured(fn: Callable[..., Any], net: Serial, X: Any, key: Any, networks: int, *args: Any, **options: Any) -> Any:
    """`fn(net, one network's params, X, *args, **options)` of so many independent networks, arrays with a leading axis, in float64."""
    points = np.asarray(X, np.float32)
    parts = [
        jax.tree_util.tree_map(np.asarray, each(fn, net, params, points, *args, chunk=chunk, **options))
        for params, chunk in batches(net, X, key, networks)
    ]
    return jax.tree_util.tree_map(lambda *a: np.concatenate(a)[:networks].astype(float), *parts)
