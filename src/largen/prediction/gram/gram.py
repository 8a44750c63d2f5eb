r"""Kernels at scale: the record of `lg.kernel`, computed by tables, tile by tile.

At equal norms the kernels of a fully-connected network are functions of one number, the cosine of two rows, at any depth; so they
are for any norms, up to powers of them, without biases and with homogeneous activations or normalisation. That function is
tabulated once, and evaluated behind one matrix product, so that the cost does not grow with depth.
"""

import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.architecture.nodes import Act, Serial, network
from largen.architecture.walk import everything
from largen.data import warn_if_unscaled
from largen.errors import InputError
from largen.memory import require
from largen.prediction.gram.one_variable import one_variable
from largen.prediction.gram.separable import separable
from largen.prediction.gram.tiles import Stretch, Values, fill
from largen.scaling.rates import resolve
from largen.theory.gaussian_units import check_gaussian
from largen.theory.kernels import Kernel, kernel, warn_if_inaccurate
from largen.types import Array, is_traced, island

SMALL = 128**2  # pairs that the recursion does sooner than a table is made
LARGE, DEEP = 700**2, 10  # pairs, and activations in closed form, from which a table in two norms and a cosine pays
TILE, PARTS = 500, 3  # rows of a tile; a matrix with fewer rows than a few tiles is cut in so many
HELD = 64  # arrays of the size of a tile in work at the peak


def gram(net: Any, X: Any, X2: Any = None, rates: Any = "ntk", dtype: Any = None, progress: bool = False) -> Kernel:
    r"""NNGP and NTK of a fully-connected network on many points: the record of `lg.kernel`, computed faster and in less memory.

        K = (r1 r2)^p f(c),      Theta = sum_p (r1 r2)^p g_p(c),      r = sqrt(|x|^2/n_0),   c the cosine of two rows,

    where all rows have equal norms (p = 0; to 16 units of rounding in |x|^2, in the dtype of the result), for any norms where C_b = 0
    in every layer and all activations are of the ReLU family (linear, relu, leaky_relu, abs; p = 1, bias rates 0), and where layers
    are normalised before anything depends on norms. f and g are tabulated from the recursion in float64, checked between the
    nodes, and evaluated behind the matrix product, at a cost that does not grow with depth. Pairs with c near +-1 are recomputed
    from differences of the rows, so that near-duplicates and antipodes are right in float32 too. Smooth activations on many points
    of unlike norms have a table in (log q, log q', c) in float32, q = r^2, accurate to 2e-6, where the recursion
    is slow (quadrature, depth). All else, and tables that do not reach their accuracy, go through the recursion of `lg.kernel`, tile
    by tile.

    Parameters: `net`, fully connected; `X` (n1, features), `X2` (n2, features) or None for X with itself; `rates` as in `lg.kernel`;
    `dtype` of the result, None for that of X; `progress` counts tiles on stderr. The peak of memory is the two results and little
    more; it is known, and refused if not free, before any work.

    Returns `Kernel` with `.nngp`, `.ntk` of shape (n1, n2), exactly symmetric for X2=None, and `.error`, the worst of tables and
    expectations relative to the largest entry (rounding not included). numpy in, numpy out.

    Raises `InputError` for arrays of wrong rank or columns, NaN, wrong-length rates, a dtype that is no floating one, traced
    arguments (under jit, grad or vmap: use `lg.kernel`), and what does not fit into memory; `UnsupportedError` as `lg.kernel`.

    Source: PDLT eqs. 4.118, 8.63; Cho and Saul.

    >>> import largen as lg, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(300, 20))
    >>> net = lg.mlp(widths=[512] * 9, out=1, activation="relu", C_W=2.0)
    >>> out, slow = lg.gram(net, X), lg.kernel(net, X)
    >>> out.ntk.shape, bool(abs(out.ntk - slow.ntk).max() < 1e-9 * slow.ntk.max())
    ((300, 300), True)
    """
    if is_traced(net, X, X2, rates):
        fix = "lg.kernel(net, X, X2) works under jit, grad and vmap."
        raise InputError("X", "traced values (under jit, grad or vmap)", "concrete arrays and hyperparameters", fix)
    whole = network(net)
    points = door.points(X, "X")
    others = None if X2 is None else door.points(X2, "X2", points.shape[1], "X")
    extras = resolve(whole, rates)
    check_gaussian(whole)
    jaxed = any(isinstance(Z, jax.Array) for Z in (points, others))
    kind = _dtype(dtype, points, others, jaxed)
    n1, n2 = len(points), len(points if others is None else others)
    work = np.promote_types(kind, np.float32)
    _fits(n1, n2, points.shape[1], kind.itemsize, work.itemsize)
    warn_if_unscaled(points)
    given = np.asarray(points), None if others is None else np.asarray(others)
    K, Theta, error = _values(whole, extras, rates, given, kind, work.name, progress)
    warn_if_inaccurate(error, work)
    out = Kernel(K, Theta, np.asarray(error, kind))
    if not jaxed:
        return out
    with island(out):
        return jax.tree_util.tree_map(jax.device_put, out)  # takes the arrays over without a copy


def _dtype(dtype: Any, X: Array, X2: Array | None, jaxed: bool) -> np.dtype:
    """The dtype of the result."""
    if dtype is None:
        return np.dtype(X.dtype if X2 is None else jnp.promote_types(X.dtype, X2.dtype))
    need = 'None or a floating dtype, such as "float32" or "float64"'
    try:
        out = np.dtype(dtype)
    except TypeError as error:
        raise InputError("dtype", repr(dtype), need) from error
    if not jnp.issubdtype(out, jnp.floating) or out.itemsize > 8:
        raise InputError("dtype", repr(dtype), need)
    if jaxed and out == np.float64 and jnp.result_type(float) != np.float64:
        fix = "Pass np.asarray(X): numpy arrays are float64 whatever the flag."
        raise InputError("dtype", "float64 for JAX arrays with JAX's float64 flag off", "a dtype that JAX can hold", fix)
    return out


def _fits(n1: int, n2: int, features: int, itemsize: int, work: int) -> None:
    """Refuse what does not fit: two results, tiles in work, copies of the points."""
    need = 2.0 * n1 * n2 * itemsize + work * (HELD * min(TILE, n1) * min(TILE, n2) + 3 * (n1 + n2) * features)
    fix = f"Take fewer points{' or dtype=' + repr('float32') if itemsize > 4 else ''}, or rows of the matrix: lg.gram(net, X[:1000], X)."
    require(need, "X", f"{n1} x {n2} pairs of points", fix)


def _values(
    net: Serial, extras: Any, rates: Any, given: tuple[np.ndarray, np.ndarray | None], kind: np.dtype, work: str, progress: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """K, Theta and the error: by the recursion for few points, by a table, by tiles of the recursion."""
    X, X2 = given
    same = X2 is None
    n1, n2 = len(X), len(X if X2 is None else X2)
    plain = _Plain(net, rates, X, X2, work)
    if n1 * n2 <= SMALL:
        K, Theta = plain.tile(Stretch(0, 0, n1), Stretch(0, 0, n2))
        return K.astype(kind), Theta.astype(kind), plain.error
    size = min(TILE, -(-max(n1, n2) // PARTS))
    angles = one_variable(net, extras, X, X2, work)
    if angles is not None:
        return *fill(n1, n2, size, same, kind, angles.tile, progress), float(angles.curve.error)
    sums = separable(net, extras, X, X2) if work == "float32" and n1 * n2 >= LARGE and _costly(net) else None
    if sums is not None:
        return *fill(n1, n2, size, same, kind, sums.tile, progress), sums.error
    return *fill(n1, n2, size, same, kind, plain.tile, progress), plain.error


def _costly(net: Serial) -> bool:
    """Whether the recursion takes longer than a table in two norms and a cosine: quadrature, or depth."""
    acts = [node.activation for _, node in everything(net) if isinstance(node, Act)]
    return len(acts) >= DEEP or any(phi.closed is None for phi in acts)


class _Plain:
    """Tiles of the recursion; `error` is the worst so far."""

    def __init__(self, net: Serial, rates: Any, X: np.ndarray, X2: np.ndarray | None, work: str) -> None:
        self.net, self.rates, self.same = net, rates, X2 is None
        self.X, self.X2 = (Z.astype(np.promote_types(Z.dtype, work), copy=False) for Z in (X, X if X2 is None else X2))
        self.error, self.lock = 0.0, threading.Lock()

    def tile(self, rows: Stretch, columns: Stretch) -> Values:
        own = self.same and rows == columns
        first, second = self.X[rows.start : rows.stop], None if own else self.X2[columns.start : columns.stop]
        out = kernel(self.net, first, second, self.rates)
        with self.lock:
            self.error = max(self.error, float(out.error))
        K, Theta = np.asarray(out.nngp), np.asarray(out.ntk)
        return (_symmetric(K), _symmetric(Theta)) if own else (K, Theta)


def _symmetric(a: np.ndarray) -> np.ndarray:
    """The upper half written to the lower."""
    return np.triu(a) + np.triu(a, 1).T
