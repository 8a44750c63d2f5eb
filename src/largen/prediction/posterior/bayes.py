r"""The Bayesian posterior of a wide network to first order in 1/n, from arrays.

Given all layers but the last, outputs are Gaussian with the network's own covariance Ghat: mean G = K + K{1}/n, Cov[Ghat, Ghat] = V/n
(PDLT 4.76). So the posterior is exactly the average over Ghat, each weighted by its likelihood w = N(y; 0, Ghat~),

    E[z_B | y] = E[w m]/E[w],   Cov[z_iB, z_jB | y] = delta_ij E[w C]/E[w] + Cov_w[m_i, m_j],

m = Ghat_BA Ghat~^{-1} y and C the infinite-width posterior at Ghat. For any f: E[w f]/E[w] = f(G) + (1/n) V (f''/2 + f' M) + O(1/n^2),
f', f'' derivatives by the metric and M of `observed`. No inverse kernel of test points is needed: with R = G_BA G~^{-1}, P = (-R, 1),
dGt = P dG the part of a fluctuation that the data do not see, the derivatives are

    m' = dGt_bA y',   m'' = -2 dGt_bA G~^{-1} dG_AA y',   C' = P dG P^T,   C'' = -2 dGt_bA G~^{-1} dGt_b'A^T.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.prediction.posterior.observed import Observed, arrays, observe
from largen.prediction.spectrum import ridges
from largen.types import namespace


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Posterior of o outputs at m test points to order 1/n, float64.

    `mean` (m, o). `own` (m, m): the covariance that every output has; `across` (m, m, o, o), of order 1/n: the covariance of
    m_i and m_j over networks, so that outputs i, j have the covariance `cov` (m, m, o, o) = delta_ij own + across. `shift` (m, o): the
    part of the mean that comes from fluctuations between networks. `prior` (m, m): the covariance before the data. `spread`: variance
    of log w over networks, (1/n) M V M; the expansion is in its powers among others, so trust it where that is well below 1.
    `observed`: the likelihood.
    """

    mean: np.ndarray
    own: np.ndarray
    across: np.ndarray
    shift: np.ndarray
    prior: np.ndarray
    spread: float
    observed: Observed

    @property
    def cov(self) -> np.ndarray:
        """Cov[z_i(x_b), z_j(x_b')] at [b, b', i, j]."""
        return self.own[:, :, None, None] * np.eye(self.across.shape[-1]) + self.across


def bayes(K: Any, K1: Any, V: Any, n: int, y: Any, ridge: Any = 0.0) -> Posterior:
    """The posterior at the last m points of K, given the outputs y (n_A, o) at the first n_A, to order 1/n.

    mean  = R y + (1/n) sum {U_(ba)(cd) y'_a M_cd - U_(ba)(cd) G~^{-1}_ac y'_d}
    own   = G_BB - R G_AB + (1/n) sum {W_(bb')(cd) M_cd - T_(ba)(b'c) G~^{-1}_ac}
    across = (1/n) sum T_(ba)(b'c) y'_ai y'_cj

    with U/n, W/n, T/n the covariances over networks of dGt_bA with dG_AA, of P dG P^T with dG_AA, of dGt_bA with dGt_b'A; a, c, d are
    train points. The mean is (6.88) of PDLT without inverses at test points; the covariance is not in the book.

    Parameters: `K`, `K1` (N, N), `V` (N, N, N, N) of all N = n_A + m points, as of `lg.corrections`; `n`, its width; `y`, outputs of one
    network, all that are observed; `ridge`, noise variance on the diagonal of the train block, a number or one per sample.

    Raises `InputError` for shapes that do not fit and where K + K1/n is no covariance, `SingularKernelError` for a singular train block.

    >>> import numpy as np
    >>> V = 0.2 * np.ones((2, 2, 2, 2))
    >>> p = bayes(np.array([[1.0, 0.5], [0.5, 1.0]]), np.zeros((2, 2)), V, n=10, y=np.array([[2.0]]))
    >>> p.mean.round(4), p.own.round(4), round(p.spread, 4)
    (array([[1.01]]), array([[0.7525]]), 0.045)
    """
    K, K1, V, n, y = arrays(K, K1, V, n, y)
    a, G = len(y), K + K1 / n
    seen = observe(G[:a, :a], y, ridges(ridge, a), shifted=True)
    inverse, pull, M = seen.inverse, seen.pull, seen.tilt
    R = G[a:, :a] @ inverse
    P = np.concatenate([-R, np.eye(len(R))], axis=1)
    unseen = np.einsum("bp,pqcd->bqcd", P, V, optimize=True)  # Cov(dGt_bq, dG_cd), q, c, d over all points
    U = unseen[:, :a, :a, :a]
    shift = (np.einsum("bacd,ai,cd->bi", U, pull, M, optimize=True) - np.einsum("bacd,ac,di->bi", U, inverse, pull, optimize=True)) / n
    W = np.einsum("bqcd,eq->becd", unseen[:, :, :a, :a], P, optimize=True)
    T = np.einsum("bapc,ep->baec", unseen[:, :a, :, :a], P, optimize=True)
    own = G[a:, a:] - R @ G[:a, a:] + (np.einsum("becd,cd->be", W, M) - np.einsum("baec,ac->be", T, inverse)) / n
    across = np.einsum("baec,ai,cj->beij", T, pull, pull, optimize=True) / n
    spread = float(np.einsum("ab,abcd,cd->", M, V[:a, :a, :a, :a], M, optimize=True)) / n
    return Posterior(mean=R @ y + shift, own=(own + own.T) / 2, across=across, shift=shift, prior=G[a:, a:], spread=spread, observed=seen)


def evidence_shift(V: Any, n: int, seen: Observed) -> Any:
    """log E[w] - log N(y; 0, G~) to order 1/n: what fluctuations between networks add to the log evidence.

    (1/n) sum V_(ab)(cd) [(1/2) M_ab M_cd - (1/2) G~^{-1}_bc S_ad + (o/4) G~^{-1}_bc G~^{-1}_da],  S = y' y'^T, over train points.
    """
    inverse, M, o = seen.inverse, seen.tilt, seen.pull.shape[1]
    inner, xp = o / 4 * inverse - seen.pull @ seen.pull.T / 2, namespace(V, inverse)
    out = xp.einsum("abcd,ab,cd->", V, M, M, optimize=True) / 2 + xp.einsum("abcd,bc,ad->", V, inverse, inner, optimize=True)
    return out / n
