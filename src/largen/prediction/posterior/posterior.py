"""The posterior of a network at finite width, its tensors fetched from theory."""

from dataclasses import replace
from typing import Any

import numpy as np

from largen.prediction.posterior.bayes import bayes
from largen.prediction.posterior.observed import expansion, groups
from largen.prediction.record import WIRED, Prediction, amplified, first_order, said_noise
from largen.types import Array, island, namespace

SOURCE = "Bayesian posterior to order 1/n (PDLT 6.88 without inverses; covariance by reweighting)"
LARGE = 0.5  # variance of the log likelihood over networks above which the expansion is called poor


def posterior(net: Any, X: Array, columns: Array, X_test: Array, ridge: Any = 0.0) -> Prediction:
    """The Bayesian posterior at `X_test` (m, ...) of a network of finite width given targets `columns` (n, o), to order 1/n.

    `.mean` (m, o). `.cov` (m, m) for one column, (o, m, m) for several: at order 1/n outputs differ, and are correlated.
    `ridge` is the noise variance, a number or one per sample. Time and memory grow as (n + m)^4.

    The columns are outputs of one network, which share its hidden layers; for a network with one output each is a network of its own.
    Raises as `lg.corrections` and `bayes` do; `UnsupportedError` for a last layer with a skip connection.

    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[100], out=1, activation="relu", C_W=2.0)
    >>> X, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0], [-1.0]])
    >>> p = posterior(net, X, y, np.array([[1.0, 0.0], [1.0, 0.5]]))
    >>> p.order, p.mean.shape, p.cov.shape, bool(abs(p.mean[0, 0] - 1) < 1e-9)
    (1, (2, 1), (2, 2), True)
    """
    xp, n, dtype = namespace(X, columns, X_test), len(X), X.dtype
    t = expansion(net, np.concatenate([np.asarray(X), np.asarray(X_test)]))
    K, K1, V, width, error = np.asarray(t.K), np.asarray(t.K1), np.asarray(t.V), t.width, float(t.error)
    parts = [bayes(K, K1, V, width, np.asarray(y, np.float64), ridge) for y in groups(net, columns)]
    covs = [np.einsum("beii->ibe", part.cov) for part in parts]
    cov = np.concatenate(covs)
    seen, spread = parts[0].observed, max(part.spread for part in parts)
    trust = seen.condition.trust
    if spread > LARGE:
        trust = f"poor: the log likelihood varies between networks by {spread:.2g}, too much for first order in 1/{width}"
    whole, broken = first_order(cov[0] if len(cov) == 1 else cov, parts[0].prior.diagonal(), amplified(seen.condition, error))
    noise, unsaid = said_noise("bayes", ridge)
    with island(X):
        return Prediction(
            mean=xp.asarray(np.concatenate([part.mean for part in parts], axis=1), dtype=dtype),
            cov=xp.asarray(whole, dtype=dtype),
            variance=xp.asarray(whole.diagonal(axis1=-2, axis2=-1), dtype=dtype),
            initial_variance=xp.asarray((K + K1 / width).diagonal()[n:], dtype=dtype),
            time=np.inf,
            how="bayes",
            source=SOURCE,
            condition=replace(seen.condition, trust=trust),
            order=1,
            error=xp.asarray(error, dtype=dtype),
            noise=noise,
            missing=({} if cov.shape[0] == 1 else {"across": WIRED}) | unsaid | broken,
        )
