r"""Averages over initialisations of the trained output, one source of order 1/n at a time, by Wick contraction.

With A = train, r = z_A - y, train slots in the eigenbasis of Theta~ (h_a its eigenvalues, repeated indices summed), W the `Ordered`
sums of the algorithm, R_ba = Theta_ba W(h_a) and P = (-R, 1), the trained outputs of one network at test points b are

    f_b = R y + P z + (x_b - Theta_ba x_a),    x_d = -dH_da W(h_a) r_a + dH_da dH_ac W(h_a, h_c) r_c + {dNTK Z r r} + {ddNTK Z r r r},

dH the NTK minus Theta, Z the `projectors` (PDLT inf.154 with corrected signs at the end of training; before it dH acts as in the
derivatives of a matrix function). In x_a all W have the rate h_a before the others, which at the end is a factor 1/h_a. At order 1/n only
these moments count: E[z z] = K + K1/n, E[dH] = Theta1/n, E[dH z z] (D, F), E[dH dH] (A, B), E[dNTK z] (P, Q), E[ddNTK] (R, S, T, U).
So every source is a `Term`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.prediction.first_order.ordered import Ordered
from largen.prediction.first_order.projectors import Projectors, damped
from largen.prediction.spectrum import Factorization


@dataclass(frozen=True)
class Frame:
    """The data in the basis of the train NTK: `test` (D, m) is P^T, `train` (D, N) the eigenvectors, `values` (N,) their h.

    `back` (m, N): Theta_ba. `k` (N, N), `cross` (m, N), `prior` (m, m): K in that basis, `cross` and `prior` of P z. `y` (N, o).
    `square` (N, N): the mean of sum_i r_i r_i, o k + y y^T. An index d is a test point or, after those, a mode a.
    """

    test: np.ndarray
    train: np.ndarray
    values: np.ndarray
    back: np.ndarray
    k: np.ndarray
    cross: np.ndarray
    prior: np.ndarray
    y: np.ndarray

    @property
    def outputs(self) -> int:
        """o, the number of outputs of the network."""
        return self.y.shape[1]

    @property
    def square(self) -> np.ndarray:
        """E[sum_i r_i r_i]."""
        return self.outputs * self.k + self.y @ self.y.T

    def seen(self, tensor: Any, slots: str) -> np.ndarray:
        """A tensor over all points with each slot turned: "b" to P, "a" to the basis of the train points, "d" to test points and modes."""
        untrained = np.eye(len(self.test))[:, -len(self.back) :]
        bases = {"b": self.test, "a": self.train, "d": np.concatenate([untrained, self.train], axis=1)}
        out = np.asarray(tensor)
        for slot in slots:  # the first axis goes out in front and comes back at the end
            out = np.tensordot(out, bases[slot], (0, 0))
        return out

    def weighed(self, x: np.ndarray, weights: Any) -> np.ndarray:
        """x_b weights_0 - Theta_ba x_a weights_1+a, from x (m + N, ...) to (m, ...); weights (1 + N, ...) of the first axes of x."""
        m = len(self.back)
        w = weights.reshape(*weights.shape, *(1,) * (x.ndim - weights.ndim))
        return x[:m] * w[:1] - np.tensordot(self.back, x[m:] * w[1:], 1)


@dataclass(frozen=True)
class Term:
    """What one source adds at order 1/n, times n.

    `response` (m, N): the mean of i is -response y_i. `own` (m, m): of the covariance of equal outputs; `wired` (m, m, N, N):
    of that of outputs i, k, sum_12 wired_12 (delta_ik k_12 + y_i1 y_k2). Both are symmetric under exchange of the two sides.
    """

    response: np.ndarray
    own: np.ndarray
    wired: Any = 0.0


def frame(f: Factorization, W: Ordered, K: Any, theta: Any, y: Any) -> Frame:
    """The `Frame` of n train points, the first of `K`, `theta` (D, D), with targets y (n, o)."""
    n, vectors, values = len(y), np.asarray(f.vectors), np.asarray(f.values)
    train = np.zeros((len(K), n))
    train[:n] = vectors
    back = np.asarray(theta)[n:, :n] @ vectors
    test = np.concatenate([-vectors @ (back * W(values)).T, np.eye(len(back))])
    half = test.T @ K
    return Frame(test, train, values, back, train.T @ K @ train, half @ train, half @ test, vectors.T @ np.asarray(y))


def from_kernels(g: Frame, W: Ordered, K1: Any, Theta1: Any) -> Term:
    """The shifts of the mean kernels: K1 of z, Theta1 of the NTK."""
    response = -g.weighed(g.seen(Theta1, "da"), damped(W, g.values, g.values))
    return Term(response, g.seen(K1, "bb") + _both(response @ g.cross.T))


def from_ntk(g: Frame, W: Ordered, D: Any, F: Any, A: Any, B: Any) -> Term:
    """The fluctuation of the NTK (inf.157, with a minus), and its correlation with the outputs.

    mean: -(A_(d1)(13) + B_d113 + o B_d311) W_13 y_3; covariance: this response to z, dH paired with z (D, F), dH with dH.
    """
    h, o = g.values, g.outputs
    one, two = damped(W, h, h), damped(W, h, h[:, None], h)
    B0 = g.seen(B, "daaa")
    twice = np.einsum("dxxc->dxc", g.seen(A, "daaa") + B0) + o * np.einsum("dcxx->dxc", B0)
    response = g.weighed(twice, two).sum(1)
    paired = np.einsum("exdx->dxe", g.seen(D, "bada")) + np.einsum("exxd->dxe", g.seen(F, "baad"))  # D_(ex)(dx), F_exxd, F_edxx
    z = -g.weighed(paired + o * np.einsum("edxx->dxe", g.seen(F, "bdaa")), one).sum(1)

    def squared(x: np.ndarray) -> np.ndarray:
        """x_(d1)(d'2), axes d, 1, d', 2, weighed on both sides, to axes b, b', 1, 2."""
        half = g.weighed(x, one).transpose(2, 3, 0, 1)
        return g.weighed(half, one).transpose(2, 0, 3, 1)

    own = _both(response @ g.cross.T + z) + np.einsum("bexy,xy->be", squared(g.seen(B, "ddaa").transpose(0, 2, 1, 3)), g.square)
    crossed = squared(g.seen(B, "daad").transpose(0, 2, 3, 1))  # B_d21d' wires the r of each side to the output of the other
    return Term(response, own, squared(g.seen(A, "dada")) + crossed.transpose(0, 1, 3, 2))


def from_dntk(g: Frame, Z: Projectors, P: Any, Q: Any) -> Term:
    """The curvature of the outputs (inf.158, Z_B symmetrised): dH paired with one r, or with the z of the other side (inf.162)."""
    o = g.outputs
    P0, Q0, P1, Q1 = g.seen(P, "daaa"), g.seen(Q, "daaa"), g.seen(P, "adaa"), g.seen(Q, "adaa")
    Q2 = g.seen(Q, "aada")
    ahead = 2 * (np.einsum("dxcx->dxc", P0 + Q0) + o * np.einsum("dcxx->dxc", Q0))
    later = np.einsum("xdcx->dxc", o * P1 + Q1) + np.einsum("xcdx->dxc", Q2)
    sooner = np.einsum("cdxx->dcx", P1 + o * Q1) + np.einsum("cxdx->dcx", Q2)
    response = (g.weighed(ahead, Z.B) + g.weighed(later, Z.A)).sum(1) + g.weighed(sooner, Z.A).sum(2)
    B, A = (lambda x: g.weighed(x, Z.B)), (lambda x: g.weighed(x, Z.A))
    P1, Q1 = g.seen(P, "adab"), g.seen(Q, "adab")
    z = np.einsum("bxye,xy->be", B(g.seen(P, "daab")) + A(g.seen(Q, "aadb").transpose(2, 0, 1, 3)), g.square)
    one = (2 * B(g.seen(Q, "daab")) + A(Q1.transpose(1, 0, 2, 3))).transpose(0, 3, 1, 2)
    one = one + A(P1.transpose(1, 0, 2, 3)).transpose(0, 3, 2, 1)
    return Term(response, _both(response @ g.cross.T + z), one + one.transpose(1, 0, 3, 2))


def from_ddntk(g: Frame, Z: Projectors, R: Any, S: Any, T: Any, U: Any) -> Term:
    """The drift of that curvature (inf.159, inf.160 with T and U exchanged), its mean folded into w_b123 r_i1 (r_2 . r_3)."""
    w = sum(
        np.einsum(f"bxyz->{order}", g.weighed(np.einsum(f"{place}->dxyz", g.seen(tensor, slots)), projector))
        for tensor, projector, slots, place, order in (
            (R, Z.IB, "daaa", "dxyz", "bxyz"), (R, Z.IB, "daaa", "dyzx", "byzx"), (R, Z.IB, "daaa", "dzxy", "bzxy"),
            (R, Z.IA, "adaa", "xdyz", "bxyz"), (R, Z.IA, "aada", "xzdy", "byzx"), (R, Z.IA, "aaad", "xyzd", "bzxy"),
            (T, Z.IIA, "adaa", "xdzy", "bxyz"), (U, Z.IIA, "aaad", "xzyd", "byzx"), (S, Z.IIA, "aada", "xydz", "bzxy"),
            (S, Z.IIB, "daaa", "dxyz", "bxyz"), (T, Z.IIB, "daaa", "dyzx", "byzx"), (U, Z.IIB, "daaa", "dzxy", "bzxy"),
        )
    )  # fmt: skip
    half = np.einsum("bcxy,xy->bc", w, g.square)
    rest = np.einsum("bxyc,xy->bc", w, g.k) + np.einsum("bxcy,xy->bc", w, g.k)
    one = np.einsum("bxzy,ez->bexy", w, g.cross) + np.einsum("bxyz,ez->bexy", w, g.cross)
    return Term(half + rest, _both(half @ g.cross.T), one + one.transpose(1, 0, 3, 2))


def _both(one: np.ndarray) -> np.ndarray:
    """A covariance of one side's correction with the other side, and the reverse."""
    return one + one.T
