r"""Kernels at scale: the record of `lg.kernel`, computed by tables, tile by tile.

At equal norms the kernels of a fully-connected network are functions of one number, the cosine of two rows, at any depth; so they
are for any norms, up to powers of them, without biases and with homogeneous activations or normalisation. That function is
tabulated once, and evaluated behind one matrix product, so that the cost does not grow with depth.
"""

import os
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.data import warn_if_unscaled
from largen.errors import InputError
from largen.grams.blocks import compute, one_block
from largen.grams.engine import task
from largen.grams.store.store import identity
from largen.grams.store.to_store import memory, to_store
from largen.grams.tiles import WHICH, by_name
from largen.memory import require
from largen.theory.given import Given, given
from largen.theory.kernels import Kernel
from largen.types import is_traced, island


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
    """NNGP and NTK of a network on many points: the record of `lg.kernel`, computed faster and in less memory, or on disk.

        K = (r1 r2)^p f(c),      Theta = sum_p (r1 r2)^p g_p(c),      r = sqrt(|x|^2/n_0),   c the cosine of two rows.

    f and g are tabulated from the recursion in float64, checked between the nodes, and evaluated behind the matrix product, at a cost that
    does not grow with depth. Pairs with c near +-1 are recomputed from differences of the rows, so that near-duplicates and antipodes are
    right in float32 too. Which way a call goes:

    - Rows of equal norms (to 16 units of rounding in |x|^2, in the dtype of the result): the table, p = 0.
    - Any norms, where C_b = 0 in every layer and all activations are of the ReLU family (linear, relu, leaky_relu, abs): p = 1, bias rates
      0. So too where layers are normalised before anything depends on norms.
    - Smooth activations on many points of unlike norms, where the recursion is slow (quadrature, depth): a table in (log q, log q', angle),
      q = r^2, accurate to 2e-6 in float32 and 1e-9 in float64.
    - Images in float32 through convolutions, poolings and activations in closed form or smooth (up to a size): one offset between two
      pixels at a time, accurate to 1e-5 (docs: infinite-width kernels).
    - All else, and tables that do not reach their accuracy: the recursion of `lg.kernel`, tile by tile.

    With `store` the result goes to disk, block by block, and the same call goes on where it was interrupted: blocks that are logged
    as done and have the bytes they were written with are not computed again. A finished store is only read. The JAX devices of this
    process take blocks by turns; after `jax.distributed.initialize` each process takes its share. Whoever computes, the entries are
    those of the matrix in memory. Ctrl-C raises `KeyboardInterrupt`, which says how many blocks are there.

    The peak of memory is the two results (with a store: some blocks) and little more; it is known, and refused if not free, before any
    work.

    Parameters
    ----------
    net : architecture
        Any network with a kernel.
    X : array (n1, features) or (n1, *positions, channels)
        Points; images are NHWC.
    X2 : array (n2, ...) like `X`, optional
        Second points; None for `X` with itself.
    rates : "ntk" or (lambda_b, lambda_W)
        Learning rates inside the NTK, as in `lg.kernel`.
    dtype : dtype, optional
        Of the result; None for that of `X`.
    store : path, optional
        Where a Zarr store is, or is to be.
    progress : bool
        Whether tiles or blocks are counted on stderr.
    cluster : dask.distributed.Client, optional
        Its workers compute the blocks of a store.
    which : "both", "nngp" or "ntk"
        One kernel alone, the other being None: half the memory. "nngp" leaves out all work that Theta alone needs; "ntk" less, as the
        recursion of Theta goes through K.

    Returns
    -------
    Kernel
        With `.nngp`, `.ntk` (n1, n2), exactly symmetric for X2=None, and `.error`, the worst of tables and expectations (relative to the
        largest entry, and as in `lg.kernel`; rounding not included). numpy in, numpy out; with a store `zarr.Array`s that read what is
        asked of them (`out.ntk[:1000]`, `np.asarray(out.ntk)`), and raise `InputError` for a block that has been lost meanwhile.

    Raises
    ------
    InputError
        For arrays of wrong rank or columns, NaN, wrong-length rates, a dtype that is no floating one, traced arguments (under jit, grad or
        vmap: use `lg.kernel`), and what does not fit into memory or on the disk. With a store, for a disk that fills up, a store of another
        network, points, rates, dtype or `which`, one that another process is writing, blocks with entries that are not finite, a path
        that is no store, and what the file system refuses.
    UnsupportedError
        As `lg.kernel`.

    Warns
    -----
    StoreWarning
        Of blocks that are no longer as they were written, which are computed again, and of metadata, which is written again.

    References
    ----------
    PDLT 4.118, 8.63; Cho and Saul.

    Examples
    --------
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
    asked, progress, which = given(net, X, X2, rates), door.flag(progress, "progress"), door.choice(which, "which", tuple(WHICH))
    jaxed = any(isinstance(Z, jax.Array) for Z in (asked.X, asked.X2))
    asked = replace(asked, dtype=_dtype(dtype, asked, jaxed))
    (n1, n2), kind, spatial, job = asked.sizes, asked.dtype, asked.X.ndim > 2, task(asked, rates, which)
    results = float(len(WHICH[which])) * n1 * n2 * kind.itemsize if store is None else memory(n1, n2, kind.itemsize, spatial)
    _fits(n1, n2, results + job.plan().held, kind.itemsize)
    warn_if_unscaled(asked.X)
    if store is not None:
        about = identity(job.net, job.extras, job.X, job.X2, kind, which)
        out = to_store(store, about, job.engine, asked.sizes, spatial, progress, cluster)
        asked.warn(out.error)
        return out
    if cluster is not None:
        raise InputError("cluster", "a cluster without a store", "store=, a path that all workers see")
    engine, size = job.engine()
    found = compute(engine, one_block(n1, n2, asked.X2 is None, size), (0, 0), kind, os.cpu_count() or 1, progress=progress)
    asked.warn(engine.error)
    out = Kernel(**by_name(which, found), error=np.asarray(engine.error, kind))
    if not jaxed:
        return out
    with island(out):
        return jax.tree_util.tree_map(jax.device_put, out)  # takes the arrays over without a copy


def _dtype(dtype: Any, asked: Given, jaxed: bool) -> np.dtype:
    """The dtype of the result."""
    if dtype is None:
        return asked.dtype
    out = np.dtype(door.dtype(dtype))
    if jaxed and out == np.float64 and jnp.result_type(float) != np.float64:
        fix = "Pass np.asarray(X): numpy arrays are float64 whatever the flag."
        raise InputError("dtype", "float64 for JAX arrays with JAX's float64 flag off", "a dtype that JAX can hold", fix)
    return out


def _fits(n1: int, n2: int, need: float, itemsize: int) -> None:
    """Refuse what does not fit: results, tiles in work, copies of the points."""
    fix = f"Take fewer points{' or dtype=' + repr('float32') if itemsize > 4 else ''}, or write the result to a disk: store=PATH."
    require(need, "X", f"{n1} x {n2} pairs of points", fix)
