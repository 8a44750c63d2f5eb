r"""Kernels at scale: the record of `lg.kernel`, computed by tables, tile by tile.

At equal norms the kernels of a fully-connected network are functions of one number, the cosine of two rows, at any depth; so they
are for any norms, up to powers of them, without biases and with homogeneous activations or normalisation. That function is
tabulated once, and evaluated behind one matrix product, so that the cost does not grow with depth.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.architecture.nodes import network
from largen.data import warn_if_unscaled
from largen.errors import InputError
from largen.grams.blocks import compute, one_block
from largen.grams.engine import task
from largen.grams.store.store import identity
from largen.grams.store.to_store import memory, to_store
from largen.grams.tiles import WHICH, by_name
from largen.memory import require
from largen.theory.kernels import Kernel, activations, warn_if_inaccurate
from largen.types import Array, is_traced, island


@exits.finite(unseen=("nngp", "ntk"))  # every tile is looked at where it is made
def gram(
    net: Any,
    X: Any,
    X2: Any = None,
    rates: Any = "ntk",
    dtype: Any = None,
    store: Any = None,
    progress: bool = False,
    cluster: Any = None,
    which: str = "both",
) -> Kernel:
    r"""NNGP and NTK of a network on many points: the record of `lg.kernel`, computed faster and in less memory, or on disk.

        K = (r1 r2)^p f(c),      Theta = sum_p (r1 r2)^p g_p(c),      r = sqrt(|x|^2/n_0),   c the cosine of two rows,

    where all rows have equal norms (p = 0; to 16 units of rounding in |x|^2, in the dtype of the result), for any norms where C_b = 0
    in every layer and all activations are of the ReLU family (linear, relu, leaky_relu, abs; p = 1, bias rates 0), and where layers
    are normalised before anything depends on norms. f and g are tabulated from the recursion in float64, checked between the
    nodes, and evaluated behind the matrix product, at a cost that does not grow with depth. Pairs with c near +-1 are recomputed
    from differences of the rows, so that near-duplicates and antipodes are right in float32 too. Smooth activations on many points
    of unlike norms have a table in (log q, log q', angle), q = r^2, accurate to 2e-6 in float32 and 1e-9 in float64, where the
    recursion is slow (quadrature, depth). Images in float32 go through networks of convolutions, poolings and activations in closed
    form or smooth (up to a size) one offset between two pixels at a time, accurate to 1e-5 (docs: infinite-width kernels). All else,
    and tables that do not reach their accuracy, go through the recursion of `lg.kernel`, tile by tile.

    Parameters: `net`; `X` (n1, features) or (n1, *positions, channels), `X2` likewise or None for X with itself; `rates` as in
    `lg.kernel`; `dtype` of the result, None for that of X; `store`, None or the path of a Zarr store; `progress` counts tiles or
    blocks on stderr; `cluster`, None or a `dask.distributed.Client` whose workers compute the blocks of a store; `which`, "both", or
    "nngp" or "ntk" for one kernel alone, the other being None: half the memory, and "nngp" leaves out all work that Theta alone needs
    ("ntk" less: the recursion of Theta goes through K). The peak of memory is the results (with a store: some blocks) and little
    more; it is known, and refused if not free, before any work.

    With `store` the result goes to disk, block by block, and the same call goes on where it was interrupted: blocks that are logged
    as done and have the bytes they were written with are not computed again. A finished store is only read. The JAX devices of this
    process take blocks by turns; after `jax.distributed.initialize` each process takes its share. Whoever computes, the entries are
    those of the matrix in memory. Ctrl-C raises `KeyboardInterrupt`, which says how many blocks are there.

    Returns `Kernel` with `.nngp`, `.ntk` of shape (n1, n2), exactly symmetric for X2=None, and `.error`, the worst of tables and
    expectations (relative to the largest entry, and as in `lg.kernel`; rounding not included). numpy in, numpy out; with a store
    `zarr.Array`s that read what is asked of them (`out.ntk[:1000]`, `np.asarray(out.ntk)`), and raise `InputError` for a block that
    has been lost meanwhile.

    Raises `InputError` for arrays of wrong rank or columns, NaN, wrong-length rates, a dtype that is no floating one, traced
    arguments (under jit, grad or vmap: use `lg.kernel`), what does not fit into memory or on the disk, a disk that fills up, a store
    of another network, points, rates, dtype or `which`, one that another process is writing, blocks with entries that are not finite, a
    path that is no store, and what the file system refuses; `UnsupportedError` as `lg.kernel`. Warns (`StoreWarning`) of blocks that are no
    longer as they were written, and computes them again, and of metadata, which it writes again.

    Source: PDLT eqs. 4.118, 8.63; Cho and Saul.

    >>> import largen as lg, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(300, 20))
    >>> net = lg.mlp(widths=[512] * 9, out=1, activation="relu", C_W=2.0)
    >>> out, slow = lg.gram(net, X), lg.kernel(net, X)
    >>> out.ntk.shape, bool(abs(out.ntk - slow.ntk).max() < 1e-9 * slow.ntk.max())
    ((300, 300), True)

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = lg.gram(net, X, store=f"{folder}/kernel.zarr")
    ...     bool((kept.ntk[:10] == out.ntk[:10]).all())
    True
    """
    if is_traced(net, X, X2, rates):
        fix = "lg.kernel(net, X, X2) works under jit, grad and vmap."
        raise InputError("X", "traced values (under jit, grad or vmap)", "concrete arrays and hyperparameters", fix)
    whole = network(net)
    points, progress, which = door.inputs(X, "X"), door.flag(progress, "progress"), door.choice(which, "which", tuple(WHICH))
    others = None if X2 is None else door.inputs(X2, "X2", points.shape[1:], "X")
    jaxed = any(isinstance(Z, jax.Array) for Z in (points, others))
    kind = _dtype(dtype, points, others, jaxed)
    asked = task(whole, points, others, rates, kind, which)
    (n1, n2), spatial = asked.shape, points.ndim > 2
    results = float(len(WHICH[which])) * n1 * n2 * kind.itemsize if store is None else memory(n1, n2, kind.itemsize, spatial)
    _fits(n1, n2, results + asked.plan().held, kind.itemsize)
    warn_if_unscaled(points)
    if store is not None:
        about = identity(whole, asked.extras, asked.X, asked.X2, kind, which)
        out = to_store(store, about, asked.engine, asked.shape, spatial, progress, cluster)
        warn_if_inaccurate(out.error, asked.work, activations(whole))
        return out
    if cluster is not None:
        raise InputError("cluster", "a cluster without a store", "store=, a path that all workers see")
    engine, size = asked.engine()
    found = compute(engine, one_block(n1, n2, others is None, size), (0, 0), kind, os.cpu_count() or 1, progress=progress)
    warn_if_inaccurate(engine.error, asked.work, activations(whole))
    out = Kernel(**by_name(which, found), error=np.asarray(engine.error, kind))
    if not jaxed:
        return out
    with island(out):
        return jax.tree_util.tree_map(jax.device_put, out)  # takes the arrays over without a copy


def _dtype(dtype: Any, X: Array, X2: Array | None, jaxed: bool) -> np.dtype:
    """The dtype of the result."""
    if dtype is None:
        return np.dtype(X.dtype if X2 is None else jnp.promote_types(X.dtype, X2.dtype))
    out = np.dtype(door.dtype(dtype))
    if jaxed and out == np.float64 and jnp.result_type(float) != np.float64:
        fix = "Pass np.asarray(X): numpy arrays are float64 whatever the flag."
        raise InputError("dtype", "float64 for JAX arrays with JAX's float64 flag off", "a dtype that JAX can hold", fix)
    return out


def _fits(n1: int, n2: int, need: float, itemsize: int) -> None:
    """Refuse what does not fit: results, tiles in work, copies of the points."""
    fix = f"Take fewer points{' or dtype=' + repr('float32') if itemsize > 4 else ''}, or write the result to a disk: store=PATH."
    require(need, "X", f"{n1} x {n2} pairs of points", fix)
