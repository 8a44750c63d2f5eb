"""Functions drawn from the prior of wide networks, from the posterior, and from any prediction."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from largen import door, exits
from largen.architecture.nodes import network
from largen.border import bordered
from largen.errors import InputError
from largen.prediction import memory
from largen.prediction.kernels import kernels
from largen.prediction.predict import predict
from largen.prediction.record import Prediction
from largen.types import Array, is_traced, island, namespace


def root(cov: Array, scale: Any = None) -> Array:
    """The symmetric square root of covariances (..., m, m), robust to rank deficiency.

    Eigenvalues below 0 by at most sqrt(eps) x m x `scale` (default: the largest diagonal entry) are rounding and count as
    0; `InputError` if one is further below.
    """
    xp = namespace(cov)
    values, vectors = xp.linalg.eigh(cov)
    if not is_traced(values):
        scale = float(cov.diagonal(axis1=-2, axis2=-1).max()) if scale is None else float(scale)
        lowest = float(values.min())
        if lowest < -(float(jnp.finfo(cov.dtype).eps) ** 0.5) * cov.shape[-1] * abs(scale):
            raise InputError("cov", f"a matrix with eigenvalue {lowest:.3g}", "a positive semidefinite covariance")
    return (vectors * xp.maximum(values, 0)[..., None, :] ** 0.5) @ vectors.mT


def draw(prediction: Prediction, key: Any, draws: int = 1) -> Array:
    """Functions N(mean, cov) of a prediction, outputs independent: (draws, *mean.shape). At order=1 that leaves out how outputs of one
    network are correlated, and that they are not quite Gaussian.

    With an array of times each time has the right distribution; the same noise is used at all of them, so that draws vary
    smoothly in time, which says nothing about how real networks at two times are correlated. `InputError` if there is no cov.
    """
    draws = door.count(draws, "draws")
    if prediction.cov is None or prediction.initial_variance is None:
        need = 'a prediction with .cov, by covariance="full"'
        raise InputError("prediction", "one without a covariance", need, prediction.missing.get("cov", ""))
    if prediction.apart:
        p, each = prediction, []
        for i, k in enumerate(jax.random.split(key, p.mean.shape[-1])):
            alone = replace(p, mean=p.mean[..., i], cov=p.cov[..., i, :, :], variance=p.variance[..., i, :])
            each.append(draw(alone, k, draws))
        return namespace(prediction.mean).stack(each, axis=-1)
    mean, times = prediction.mean, prediction.cov.ndim - 2
    tail = mean.shape[times:]  # (m,) or (m, o)
    with island(mean):
        half = root(prediction.cov, None if is_traced(prediction.cov) else prediction.initial_variance.max())
        noise = _normal(key, (draws, *(1,) * times, tail[0], tail[1] if len(tail) == 2 else 1), mean)
        return mean + (half @ noise).reshape(draws, *mean.shape)


def _normal(key: Any, shape: tuple[int, ...], like: Array) -> Array:
    """Standard normal numbers of the dtype and family (numpy or JAX) of `like`."""
    return namespace(like).asarray(jax.random.normal(door.key(key), shape, like.dtype))


@exits.finite()
@bordered("X")
def sample(net: Any, X: Any, key: Any, draws: int = 1, given: Any = None, ridge: Any = 0.0) -> Array:
    """Functions of an infinitely wide network, at the m points X: drawn from the prior, or from the posterior `given` data.

    - Prior: N(0, K) for each output, K the NNGP covariance (PDLT 6.32).
    - Posterior: N(K_BA (K_AA + R)^{-1} y, K_BB - K_BA (K_AA + R)^{-1} K_AB) with R = diag(ridge) (6.57, 6.64).

    Noiseless functions, order n^0 in the widths; `draws` and `key` fix the numbers.

    Parameters
    ----------
    net : architecture
        Any network with a kernel.
    X : array (m, features) or (m, *positions, channels)
        Points; the result has their dtype (float32 at least).
    key : JAX random key
        What the draws are made from.
    draws : int
        How many functions.
    given : tuple (X_train, y), optional
        Data: X_train (n, ...) and y (n,) or (n, o). None for the prior.
    ridge : float or array (n,)
        The noise variance of the data.

    Returns
    -------
    array (draws, m, o) or (draws, m)
        o the network's outputs, of the posterior those of y; (draws, m) for y (n,).

    Raises
    ------
    InputError
        For bad arrays, keys and counts.
    SingularKernelError
        For a singular train kernel with ridge 0.

    References
    ----------
    PDLT 6.32, 6.57, 6.64.

    Examples
    --------
    >>> import jax, largen as lg, numpy as np
    >>> net = lg.mlp(widths=[512], out=3, activation="tanh")
    >>> lg.sample(net, np.eye(4), jax.random.key(0), draws=5).shape
    (5, 4, 3)
    >>> lg.sample(net, np.eye(4), jax.random.key(0), draws=5, given=(np.eye(4)[:2], np.array([1.0, -1.0])))[:, :2].round(6)[0]
    array([ 1., -1.])
    """
    net, X, draws = network(net), door.inputs(X), door.count(draws, "draws")
    if given is not None:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise InputError("given", f"a {type(given).__name__}", "a pair (X_train, y)")
        train = door.inputs(given[0], "given[0] (X_train)", X.shape[1:], "X")
        with island(X):
            train = namespace(X, train).asarray(train, dtype=X.dtype)
        return draw(predict(net, train, given[1], X, how="bayes", ridge=ridge, covariance="full"), key, draws)
    outputs = net.units(None) or 1
    needed = memory.kernel_prediction(net, X.shape[1:], 0, len(X), 1, X.dtype.itemsize)
    needed += (1 + memory.NORMAL) * draws * len(X) * outputs * X.dtype.itemsize
    memory.require(needed, "X, draws", f"{len(X)} points and {draws} draws of {outputs} outputs", "Ask for fewer points or draws.")
    with island(X):
        K = kernels(net, X.astype(jnp.promote_types(X.dtype, jnp.float32)), which="nngp").nngp
        return root(K) @ _normal(key, (draws, len(X), outputs), K)
