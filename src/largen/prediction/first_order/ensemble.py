"""The ensemble of trained networks to order 1/n in the widths: mean and covariance over initialisations, from arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.errors import InputError, UnsupportedError
from largen.prediction.first_order.contractions import Frame, Term, frame, from_ddntk, from_dntk, from_kernels, from_ntk
from largen.prediction.first_order.ordered import ordered
from largen.prediction.first_order.projectors import damped_projectors
from largen.prediction.spectrum import Factorization, factor, refuse_singular

NEEDED = ("K", "Theta", "K1", "Theta1", "D", "F", "A", "B", "P", "Q", "R", "S", "T", "U")


@dataclass(frozen=True)
class TrainedEnsemble:
    """Outputs of trained networks at m test points to order 1/n, for o outputs, float64.

    `infinite_mean` (m, o), `infinite_cov` (m, m): order n^0. `means`, `owns`, `wireds`: by source what is added at order 1/n (1/n
    included): (m, o), the covariance (m, m) that every output has, and the further one (m, m, o, o) of outputs i, j. Sources are
    "kernels" (shift of the mean kernels), "NTK" (its fluctuation), "dNTK", "ddNTK". `prior` (m,): the variance before training.
    `factorization`: of the train NTK.
    """

    infinite_mean: np.ndarray
    infinite_cov: np.ndarray
    means: Mapping[str, np.ndarray]
    owns: Mapping[str, np.ndarray]
    wireds: Mapping[str, np.ndarray]
    prior: np.ndarray
    factorization: Factorization

    @property
    def mean(self) -> np.ndarray:
        """(m, o), to order 1/n."""
        return self.infinite_mean + sum(self.means.values())

    @property
    def cov(self) -> np.ndarray:
        """Cov[z_i(x_b), z_j(x_b')] at [b, b', i, j], to order 1/n."""
        own = self.infinite_cov + sum(self.owns.values())
        return own[:, :, None, None] * np.eye(self.infinite_mean.shape[1]) + sum(self.wireds.values())

    @property
    def size(self) -> float:
        """The correction beside what it corrects: of the covariances, or of the means beside mean and spread; the larger."""
        mean, own, o = self.infinite_mean, self.infinite_cov, self.infinite_mean.shape[1]
        spread = np.linalg.norm(own[:, :, None, None] * np.eye(o))
        length = np.sqrt((mean**2).sum() + o * max(np.trace(own), 0.0))
        tiny = np.finfo(float).tiny
        moved = np.linalg.norm(self.cov - own[:, :, None, None] * np.eye(o)) / max(spread, tiny)
        return float(max(np.linalg.norm(self.mean - mean) / max(length, tiny), moved))


def trained_ensemble(t: Any, y: Any, how: str = "flow", eta: Any = None, ridge: Any = 0.0, until: Any = np.inf) -> TrainedEnsemble:
    """Mean and covariance of networks trained on the first n of the D points of the tensors `t`, exactly to order 1/n.

    Each is its value at infinite width plus c/n with n = `t.width`: nothing of order 1/n^2 is kept. The mean is, at the end of training,
    (inf.155) of PDLT with its signs and permutations corrected and the mean NTK expanded, Theta + Theta1/n. The covariance is not in
    the book, nor is either at a finite time: all Wick pairings of the trained output of one network at order 1/n, in closed form, see
    `contractions`; nothing is sampled. With several outputs they are outputs of one network, wired at order 1/n: the count o enters,
    and Cov of two different outputs is of order 1/n.

    Parameters: `t`, a record with the fields K, Theta, K1, Theta1 (D, D) and D, F, A, B, P, Q, R, S, T, U (D, D, D, D), index order
    as in `lg.corrections`, and `width`; `y` (n, o); `how`, "flow", "descent" with `eta`, or "newton" in two steps; `ridge`,
    a number or one per sample, the rate of an offset of each sample's own, as in `trained_network`; `until`, the time (flow) or the
    number of steps (descent), inf for the end.

    Raises `InputError` for shapes that do not fit and a step with which descent has no end; `UnsupportedError` for tensors that
    do not exist (with the record's reason); `SingularKernelError` for a singular train NTK at the end.

    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> K, one = np.array([[1.0, 0.5], [0.5, 1.0]]), np.ones((2,) * 4)
    >>> t = SimpleNamespace(K=K, Theta=2 * K, K1=0 * K, Theta1=0 * K, width=10, **{name: one for name in "DFABPQRSTU"})
    >>> out = trained_ensemble(t, np.array([[1.0]]))
    >>> out.mean.shape, out.cov.shape, sorted(out.means)
    ((1, 1), (1, 1, 1, 1), ['NTK', 'dNTK', 'ddNTK', 'kernels'])
    >>> [trained_ensemble(t, np.array([[1.0]]), until=time).mean.round(4).item() for time in (0.0, 1.0, np.inf)]
    [0.0, 0.3925, 0.4625]
    """
    K, Theta, K1, Theta1, *fours = _arrays(t)
    D, F, A, B, P, Q, R, S, T, U = fours
    targets = np.asarray(y, np.float64)
    if targets.ndim != 2 or not 1 <= len(targets) < len(K) or targets.shape[1] < 1:
        raise InputError("y", f"shape {targets.shape}", f"(n, outputs), with 1 <= n < {len(K)}, for the first n points")
    n = len(targets)
    f = factor(Theta[:n, :n], ridge)
    if until == np.inf:
        refuse_singular(f, float("inf"))
    W = ordered(f.values, how, eta, until)
    Z, g = damped_projectors(W, how, f.values), frame(f, W, K, Theta, targets)
    terms = {
        "kernels": from_kernels(g, W, K1, Theta1),
        "NTK": from_ntk(g, W, D, F, A, B),
        "dNTK": from_dntk(g, Z, P, Q),
        "ddNTK": from_ddntk(g, Z, R, S, T, U),
    }
    mean = (g.back * W(g.values)) @ g.y
    return _collected(f, g, terms, mean, np.diagonal(K + K1 / t.width)[n:], t.width)


def _arrays(t: Any) -> list[np.ndarray]:
    """The tensors in float64, checked."""
    out = []
    for name in NEEDED:
        value = getattr(t, name, None)
        if value is None:
            reason = getattr(t, "missing", {}).get(name, "it is not there")
            raise UnsupportedError(f"the tensor {name}", "", "training at order 1/n", reason)
        array = np.asarray(value, np.float64)
        rank = 2 if name in NEEDED[:4] else 4
        if array.shape != (len(t.K),) * rank:
            raise InputError(name, f"shape {array.shape}", f"shape {(len(t.K),) * rank}, all points along every axis")
        out.append(array)
    return out


def _collected(f: Factorization, g: Frame, terms: Mapping[str, Term], mean: Any, prior: Any, width: Any) -> TrainedEnsemble:
    """The record, each term divided by n."""
    means = {name: -(term.response @ g.y) / width for name, term in terms.items()}
    owns = {name: (term.own + np.einsum("bexy,xy->be", _full(term, g), g.k)) / width for name, term in terms.items()}
    wireds = {name: np.einsum("bexy,xi,yk->beik", _full(term, g), g.y, g.y, optimize=True) / width for name, term in terms.items()}
    return TrainedEnsemble(mean, (g.prior + g.prior.T) / 2, means, owns, wireds, prior, f)


def _full(term: Term, g: Frame) -> np.ndarray:
    """`wired` as an array, zero where there is none."""
    m, n = g.cross.shape
    return np.broadcast_to(term.wired, (m, m, n, n))
