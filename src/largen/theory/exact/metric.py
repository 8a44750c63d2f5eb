r"""The stochastic metric of a finite network, sampled without its weights.

    Ghat^(1) = C_b + C_W x.x'/n_0,      Ghat^(l+1)_ab = C_b + C_W (1/n_l) sum_{j<=n_l} phi(z_ja) phi(z_jb),   z_j ~ N(0, Ghat^(l)),

independent over j (PDLT 4.69, 4.70). Given the weights of earlier layers, z^(l) is Gaussian of covariance Ghat^(l), so this
Markov chain has exactly the law of a network with Gaussian weights, at n_l N normal numbers a layer in place of n_l n_{l-1}.
"""

from itertools import groupby, pairwise
from typing import Any

import jax
import jax.numpy as jnp

from largen import door, exits, memory
from largen.architecture.chain import plain
from largen.gaussian import pair as pairs
from largen.running.jitted import jitted
from largen.types import Array, hand_back, island

BLOCK = 2**20  # normal numbers drawn at once: one size for all networks, since compiling a generator takes longest


@exits.finite()
def metric_chain(net: Any, X: Any, key: Any, draws: int = 1000) -> Array:
    """Draws of the metric Ghat of every layer of a finite network, exact in law at its own widths, per-layer C_W and C_b.

    Ghat^(l)_ab is the covariance of z^(l)_i(x_a), z^(l)_i(x_b) of one unit given the weights of all earlier layers (4.70). So
    E[z_i z_j] = delta_ij E[Ghat], and every correlator of the network at initialisation is a moment of Ghat (4.71);
    V = n_{l-1} Cov[Ghat, Ghat] (4.76). Equal points stay equal to about 1e-8. Computed in float64; beside the result (8 x draws x L x N^2
    bytes, up to four times) about 50 MB are at work, or 40 bytes for each of the N sum_l n_l normal numbers of one draw if that is more.

    Parameters
    ----------
    net : architecture
        A plain chain.
    X : array (N, features)
        Points.
    key : JAX random key
        Fixes the numbers, together with `draws`.
    draws : int
        How many networks.

    Returns
    -------
    array (draws, L, N, N)
        In the dtype of X.

    Raises
    ------
    InputError
        For points, keys and counts that cannot be used or do not fit.
    UnsupportedError
        For networks that are no plain chain.

    References
    ----------
    PDLT 4.70, 4.71, 4.76.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[50] * 4, out=1, activation="relu", C="critical")
    >>> G = lg.exact.metric_chain(net, np.ones((1, 10)), jax.random.key(0), draws=4000)
    >>> G.shape, float(G[:, 0].std())
    ((4000, 5, 1, 1), 0.0)
    >>> bool(abs(((G[:, 4] / 2) ** 2).mean() - 1.1**4) < 0.2)  # E Ghat^2 = (1 + 5/n)^4 K^2, within five standard errors
    True
    """
    layers, x, count, key = plain(net, "the metric chain"), door.points(X), door.count(draws, "draws"), door.key(key)
    door.concrete((x, key), "X, key")
    N, kinds, values = x.shape[0], [], []
    with island():
        for kind, run in groupby(pairwise(layers), lambda level: (level[1].activation, level[0].width)):
            stretch = [layer for _, layer in run]
            kinds.append((*kind, len(stretch)))
            values.append((jnp.asarray([layer.C_W for layer in stretch], float), jnp.asarray([layer.C_b for layer in stretch], float)))
        bytes_ = 32.0 * count * len(layers) * N * N
        memory.require(bytes_, "X, draws", f"{N} points and {count} draws of {len(layers)} layers", "Ask for fewer points or draws.")
        start = pairs.affine(pairs.from_points(jnp.asarray(x, float), None), layers[0].C_W, layers[0].C_b).k
        needed = sum(n * times for _, n, times in kinds) * N
        block = max(BLOCK, 1 << (needed - 1).bit_length()) if needed else BLOCK
        chunk = max(1, block // max(needed, len(layers) * N * N))
        batches = []
        for k in jax.random.split(key, -(-count // chunk)):
            normals = jax.random.normal(k, (block,), float)[: chunk * needed].reshape(chunk, needed)
            batches.append(_chains(start, tuple(values), normals, tuple(kinds)))
        return hand_back(jnp.concatenate(batches)[:count].astype(x.dtype), X)


@jitted(static=(3,))
def _chains(start: Any, values: Any, normals: Any, kinds: Any) -> Any:
    """One chain for every row of normal numbers; layers of equal activation and width are scanned."""

    def one(row: Any) -> Any:
        G, kept, at = start, [start[None]], 0
        for (phi, n, times), (C_W, C_b) in zip(kinds, values, strict=True):
            size = times * n * len(start)

            def layer(G: Any, inputs: Any, phi: Any = phi, n: int = n) -> Any:
                u, w, b = inputs
                s = phi(u @ _root(G))
                new = b + w * (s.T @ s) / n
                return new, new

            G, seen = jax.lax.scan(layer, G, (row[at : at + size].reshape(times, n, len(start)), C_W, C_b))
            kept.append(seen)
            at += size
        return jnp.concatenate(kept)

    return jax.vmap(one)(normals)


def _root(G: Any) -> Any:
    """A matrix R with R'R = G, for semi-definite G of any rank."""
    if G.shape[0] == 1:
        return jnp.sqrt(G)
    values, vectors = jnp.linalg.eigh(G)
    return jnp.sqrt(jnp.maximum(values, 0))[:, None] * vectors.T
