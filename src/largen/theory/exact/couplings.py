r"""The action of one layer to order 1/n, with m of its neurons retained, from its correlators (PDLT 4.4, 4.5):

    S = (1/2) sum_{i<=m} g^{ab} z_ia z_ib - (1/8) sum_{i,j<=m} v^{(ab)(cd)} z_ia z_ib z_jc z_jd.

Integrating neurons out makes g run with m (4.100); v does not, to this order. No observable depends on m: compute them from
(K, V, K1), and use couplings to compare layers.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.activations.activation import activation
from largen.display import Record
from largen.errors import InputError
from largen.gaussian import hermite, piecewise
from largen.types import Array, island

SINGULAR = 1e-12  # smallest eigenvalue of K relative to the largest


@dataclass(frozen=True, repr=False, kw_only=True)
class Couplings(Record):
    """What `lg.exact.couplings` returns, each to first order in 1/n.

    Attributes
    ----------
    quadratic : array (N, N)
        g^{ab}, upper indices.
    covariance : array (N, N)
        g_{ab}, its inverse.
    quartic : array (N, N, N, N)
        v^{(ab)(cd)}, upper indices, of order 1/n.
    """

    quadratic: Array
    covariance: Array
    quartic: Array

    _table = ("i j", "quadratic covariance")


@exits.finite()
def couplings(K: Any, V: Any, K1: Any, n: int, neurons: int = 1) -> Couplings:
    """The quadratic and quartic coupling of a layer's action for `neurons` = m retained neurons.

        g_ab = K_ab + (1/n) [K1_ab - sum_{cd} K^{cd} ((m/2) V_(ab)(cd) + V_(ac)(bd))],      K^{ab} the inverse of K,

    and v = V/n with indices raised by it. For one input: 1/g_m = K + K1/n - (m+2) V/(2 n K), v = V/(n K^4), g_m = g_n - (n-m) v/(2 g).

    Parameters
    ----------
    K : array (N, N)
        The kernel, as of `lg.corrections`.
    V : array (N, N, N, N)
        Its fluctuation, as of `lg.corrections`.
    K1 : array (N, N)
        Its shift, as of `lg.corrections`.
    n : int
        The width of the layer before, by which V and K1 are divided.
    neurons : int
        m, how many neurons of the layer are retained.

    Returns
    -------
    Couplings
        float64 arrays.

    Raises
    ------
    InputError
        For shapes that do not go together and for a singular K (duplicate inputs): an action needs its inverse.

    References
    ----------
    PDLT 4.82, 4.100-4.103, 4.108, 4.109.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> ones = np.ones((1, 1))
    >>> one, all_ = (lg.exact.couplings(ones, 5 * np.ones((1, 1, 1, 1)), 0 * ones, n=100, neurons=m) for m in (1, 100))
    >>> float(one.quadratic[0, 0]), float(all_.quadratic[0, 0]), float(one.quartic[0, 0, 0, 0])  # 1 + (m+2) V/(2n)
    (1.075, 3.55, 0.05)
    """
    k, vertex, k1 = (door.values(a, name) for a, name in ((K, "K"), (V, "V"), (K1, "K1")))
    n, m = door.count(n, "n"), door.count(neurons, "neurons")
    N = len(k) if k.ndim else 0
    if k.shape != (N, N) or k1.shape != (N, N) or vertex.shape != (N,) * 4 or N < 1:
        raise InputError("K, V, K1", f"shapes {k.shape}, {vertex.shape}, {k1.shape}", "(N, N), (N, N, N, N) and (N, N)")
    spectrum = np.linalg.eigvalsh(k)
    if spectrum[0] <= SINGULAR * spectrum[-1]:
        fix = "Drop duplicate inputs; observables need no inverse, see lg.exact.neuron_covariance."
        raise InputError("K", f"a matrix with eigenvalues from {spectrum[0]:.2g} to {spectrum[-1]:.2g}", "a positive definite kernel", fix)
    up = np.linalg.inv(k)
    shift = (k1 - m / 2 * np.einsum("cd,abcd->ab", up, vertex) - np.einsum("cd,acbd->ab", up, vertex)) / n
    raised = np.einsum("abcd,ae,bf,cg,dh->efgh", vertex, up, up, up, up, optimize=True) / n
    return Couplings(quadratic=up - up @ shift @ up, covariance=k + shift, quartic=raised)


@exits.finite()
def neuron_covariance(F: Any, H: Any, K: Any, V: Any, n: int, kinks: tuple[float, ...] = ()) -> Array:
    """Cov[F(z_i(x_a)), H(z_j(x_b))] of two different neurons of one layer, to order 1/n.

        (1/n) (dE[F]/dK_aa) V_(aa)(bb) (dE[H]/dK_bb),      dE[F]/dK = (1/2) E[F'']

    0 at infinite width, where neurons are independent.

    Parameters
    ----------
    F, H : str or callable
        Names of activations or elementwise JAX functions.
    K : array (N, N)
        The kernel, with a positive diagonal.
    V : array (N, N, N, N)
        Its fluctuation, as of `lg.corrections`.
    n : int
        The width of the layer before.
    kinks : tuple of float
        Where a function given as callable, or its derivative, jumps.

    Returns
    -------
    array (N, N)
        For a, b.

    Raises
    ------
    InputError
        For shapes that do not go together, and for variances that are not positive.

    References
    ----------
    PDLT 4.64, inverse-free.

    Examples
    --------
    >>> import largen as lg, jax.numpy as jnp, numpy as np
    >>> cov = lg.exact.neuron_covariance(jnp.square, "relu", np.ones((1, 1)), 5 * np.ones((1, 1, 1, 1)), n=100)
    >>> float(cov[0, 0])  # (V/n) x 1 x 1/(2 sqrt(2 pi))
    0.00997
    """
    k, vertex, n = door.values(K, "K"), door.values(V, "V"), door.count(n, "n")
    if k.ndim != 2 or k.shape[0] != k.shape[1] or vertex.shape != k.shape * 2:
        raise InputError("K, V", f"shapes {k.shape} and {vertex.shape}", "(N, N) and (N, N, N, N)")
    q = np.diag(k)
    if not (q > 0).all():
        raise InputError("K", f"a diagonal with {q.min():.3g}", "positive variances")
    with island():
        slope_F, slope_H = (_slope(f, jnp.asarray(q), kinks) for f in (F, H))
    return slope_F[:, None] * np.einsum("aabb->ab", vertex) * slope_H / n


def _slope(f: Any, q: Any, kinks: tuple[float, ...]) -> np.ndarray:
    """d/dq E[f(z)], z ~ N(0, q), for each q."""
    phi = activation(f, kinks=kinks)

    def mean(v: Any) -> Any:
        return piecewise.mean(phi.fn, v, phi.kinks) if phi.kinks else hermite.mean(phi.fn, v)

    return np.asarray(jax.jvp(mean, (q,), (jnp.ones_like(q),))[1])


@dataclass(frozen=True, kw_only=True)
class Running(Record):
    """What `lg.exact.running` returns: how a coupling changes with depth.

    Attributes
    ----------
    exponent : float
        p of coupling ~ depth^p over the last doubling of the depth.
    kind : str
        "relevant" (grows), "irrelevant" (falls), "marginal" (stays, |p| < 1/2).
    """

    exponent: float
    kind: str


@exits.finite()
def running(coupling: Any) -> Running:
    """Whether a dimensionless coupling is relevant, marginal or irrelevant under the flow with depth.

    V/(n K^2) grows as the depth in every universality class at criticality: relevant, however wide the network.

    Parameters
    ----------
    coupling : array (L,)
        Its value at layers 1..L, L >= 4, such as V/(n K^2).

    Returns
    -------
    Running
        The exponent of the depth, and its kind.

    Raises
    ------
    InputError
        For fewer layers and for values <= 0 where they are used.

    References
    ----------
    PDLT 4.6, 5.129.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> lg.exact.running(5 * np.arange(64) / 100)  # ReLU: V/(n K^2) = 5 (l-1)/n
    Running(exponent=1.02, kind='relevant')
    """
    values = door.values(coupling, "coupling")
    if values.ndim != 1 or len(values) < 4:
        raise InputError("coupling", f"shape {values.shape}", "one value a layer, at least 4 layers")
    last, half = len(values), len(values) // 2
    if not (values[last - 1] > 0 and values[half - 1] > 0):
        raise InputError("coupling", f"{values[half - 1]:.3g} at layer {half}, {values[last - 1]:.3g} at layer {last}", "values > 0")
    p = float(np.log(values[last - 1] / values[half - 1]) / np.log(last / half))
    return Running(exponent=p, kind="marginal" if abs(p) < 0.5 else "relevant" if p > 0 else "irrelevant")
