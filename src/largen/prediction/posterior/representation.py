"""What observing changes inside a network of finite width: hidden representations, and the units beside an observed one.

Both are one formula: given z_A of one layer, a network's metric is reweighted by the likelihood, so that

    E[Ghat_12 | z_A] - G_12 = (1/n) sum_ab V_(12)(ab) M_ab,     M = (1/2) (z' z'^T - o G~^{-1}),  z' = G~^{-1} z.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door, exits
from largen.architecture.chain import chain
from largen.architecture.nodes import network
from largen.display import Record
from largen.errors import InputError
from largen.prediction.posterior.observed import groups, observe, tensors
from largen.prediction.spectrum import ridges
from largen.types import Array, island, namespace


@dataclass(frozen=True, repr=False, kw_only=True)
class RepresentationUpdate(Record):
    """What `lg.bayes.representation_update` returns, for all N points, those of X first.

    Attributes
    ----------
    change : array (N, N)
        E[(1/n) sum_j s_j(x_1) s_j(x_2) | y] - E[(1/n) sum_j s_j(x_1) s_j(x_2)] over the n units of the last hidden layer, of order 1/n.
    prior : array (N, N)
        The latter, at infinite width.
    width : int
        n.
    spread : float
        Variance over networks of the log likelihood, (1/n) M V M: trust the first order where it is well below 1.
    """

    change: Array
    prior: Array
    width: int
    spread: float

    _table = ("i j", "change prior")


@exits.finite()
def representation_update(net: Any, X: Any, y: Any, ridge: Any = 0.0, X_other: Any = None) -> RepresentationUpdate:
    """How observing (X, y) changes the second moments of the last hidden layer, to order 1/n.

        change_12 = 1/(n C_W) sum_ab V_(12)(ab) M_ab,      M = (1/2) (y' y'^T - o K~^{-1}),   y' = K~^{-1} y,   K~ = K + diag(ridge)

    Representations of points with like outputs move together, of unlike ones apart. At infinite width nothing moves (6.71); in earlier
    layers it is 1/n^2. Time and memory grow as (n_A + m)^4.

    Parameters
    ----------
    net : architecture
        A chain.
    X : array (n_A, features)
        Observed points.
    y : array (n_A,) or (n_A, o)
        Outputs of one network.
    ridge : float or array (n_A,)
        The noise variance.
    X_other : array (m, features), optional
        Further points whose representations are asked for.

    Returns
    -------
    RepresentationUpdate
        Over the N = n_A + m points, those of X first.

    Raises
    ------
    InputError
        For bad arrays, traced values, several columns for a network with one output and a last layer with C_W = 0.
    SingularKernelError
        For a singular K~.
    UnsupportedError
        As `lg.corrections` does.

    References
    ----------
    PDLT 6.71, 6.90, 6.99, 6.104.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[100], activation="relu", C_W=2.0)
    >>> out = lg.bayes.representation_update(net, np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([2.0, 2.0]))
    >>> out.change.round(4), out.prior.round(4)
    (array([[0.0331, 0.032 ],
           [0.032 , 0.0331]]), array([[0.5   , 0.3388],
           [0.3388, 0.5   ]]))
    """
    net, X = network(net), door.points(X)
    y, ridge = door.targets(y, len(X)), ridges(ridge, len(X))
    door.concrete((net, X, y, ridge), "net, X, y, ridge")
    other = X[:0] if X_other is None else door.points(X_other, "X_other", X.shape[1], "X")
    if len(groups(net, columns := y.reshape(len(X), -1))) > 1:
        raise InputError("y", f"shape {y.shape}", "one column: a network with one output has one representation for it")
    known = tensors(net, np.concatenate([np.asarray(X), np.asarray(other)]))
    K, V, n = known.K, known.V, known.width
    last, a = chain(net)[-1], len(X)
    if not float(last.C_W):
        raise InputError("net", "a last layer with C_W = 0", "one that sees the layer before it, C_W > 0")
    M = observe(K[:a, :a], np.asarray(columns, np.float64), ridge).tilt
    moved = np.einsum("abcd,cd->ab", V[:, :, :a, :a], M) / n
    spread = float((M * moved[:a, :a]).sum())
    xp = namespace(X, y)
    with island(X):
        change, prior = (xp.asarray(v, X.dtype) for v in (moved / float(last.C_W), (K - float(last.C_b)) / float(last.C_W)))
    return RepresentationUpdate(change=change, prior=prior, width=n, spread=spread)


@exits.finite()
def conditional_variance(net: Any, X: Any, z: Any, ridge: Any = 0.0) -> Array:
    """Covariance of one output at the points X, given the values z of other outputs there, to order 1/n.

        G + (1/n) sum_ab V_(12)(ab) M_ab,      M = (1/2)(z' z'^T - o G~^{-1}),   z' = G~^{-1} z,   G = K + K{1}/n

    At one point and for one output Var[z_2 | z_1] = G + (z_1^2 - G) V/(2 n G^2): a large unit makes its neighbours larger, the Hebbian bias
    of finite width. At infinite width units are independent. Ask for a hidden layer by the network that ends there.

    Parameters
    ----------
    net : architecture
        A chain.
    X : array (N, features)
        Points.
    z : array (N,) or (N, o)
        Values of one other output, or of several.
    ridge : float or array (N,)
        Variance of a noise in z.

    Returns
    -------
    array (N, N)
        The covariance.

    Raises
    ------
    InputError
        For bad arrays, traced values and where K + K1/n is no covariance.
    SingularKernelError
        For a singular K and ridge 0.
    UnsupportedError
        As `lg.corrections` does.

    References
    ----------
    PDLT 6.78.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[100], out=2, activation="relu", C_W=2.0)
    >>> X, z = np.array([[1.0]]), np.array([0.0, 1.0, 3.0])  # G = 2, V = 20
    >>> [float(lg.bayes.conditional_variance(net, X, one)[0, 0].round(3)) for one in z[:, None]]
    [1.95, 1.975, 2.175]
    """
    net, X = network(net), door.points(X)
    z, ridge = door.targets(z, len(X), "z"), ridges(ridge, len(X))
    door.concrete((net, X, z, ridge), "net, X, z, ridge")
    known = tensors(net, X)
    V, n = known.V, known.width
    G = known.K + known.K1 / n
    M = observe(G, np.asarray(z, np.float64).reshape(len(X), -1), ridge, shifted=True).tilt
    xp = namespace(X, z)
    with island(X):
        return xp.asarray(G + np.einsum("abcd,cd->ab", V, M) / n, X.dtype)
