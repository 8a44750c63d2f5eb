r"""Averages over initialisations of the trained output, one source of order 1/n at a time, by Wick contraction.

With A = train, r = z_A - y, R = Theta_BA Theta~^{-1} and P = (-R, 1), the trained outputs of one network at test points b are

    f = R y + P z - [P dH]_bA Theta~^{-1} r + [P dH]_bA Theta~^{-1} dH_AA Theta~^{-1} r + P {dNTK Z r r} + P {ddNTK Z r r r},

dH the NTK minus Theta, Z the `projectors` (PDLT inf.154 with corrected signs). At order 1/n only these moments count: E[z z] = K + K1/n,
E[dH] = Theta1/n, E[dH z z] (D, F), E[dH dH] (A, B), E[dNTK z] (P, Q), E[ddNTK] (R, S, T, U). So every source is a `Term`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.prediction.finite.projectors import Projectors
from largen.prediction.spectrum import Factorization


@dataclass(frozen=True)
class Frame:
    """The data in the basis of the train NTK: `test` (D, m) is P^T, `train` (D, N) the eigenvectors, `inverse` (N,) 1/h.

    `k` (N, N), `cross` (m, N), `prior` (m, m): K in that basis, `cross` and `prior` of P z. `y` (N, o). `square` (N, N): the
    mean of sum_i r_i r_i, o k + y y^T.
    """

    test: np.ndarray
    train: np.ndarray
    inverse: np.ndarray
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
        """A tensor over all points with each slot turned: "b" to test points (P), "a" to the basis of the train points."""
        out = np.asarray(tensor)
        for slot in slots:  # the first axis goes out in front and comes back at the end
            out = np.tensordot(out, self.test if slot == "b" else self.train, (0, 0))
        return out


@dataclass(frozen=True)
class Term:
    """What one source adds at order 1/n, times n.

    `response` (m, N): the mean of i is -response y_i. `own` (m, m): of the covariance of equal outputs; `wired` (m, m, N, N):
    of that of outputs i, k, sum_12 wired_12 (delta_ik k_12 + y_i1 y_k2). Both are symmetric under exchange of the two sides.
    """

    response: np.ndarray
    own: np.ndarray
    wired: Any = 0.0


def frame(f: Factorization, K: Any, theta: Any, y: Any) -> Frame:
    """The `Frame` of n train points, the first of `K`, `theta` (D, D), with targets y (n, o)."""
    n, vectors, values = len(y), np.asarray(f.vectors), np.asarray(f.values)
    train = np.zeros((len(K), n))
    train[:n] = vectors
    R = np.asarray(theta)[n:, :n] @ (vectors / values) @ vectors.T
    test = np.concatenate([-R.T, np.eye(len(R))])
    half = test.T @ K
    return Frame(test, train, 1 / values, train.T @ K @ train, half @ train, half @ test, vectors.T @ np.asarray(y))


def from_kernels(g: Frame, K1: Any, Theta1: Any) -> Term:
    """The shifts of the mean kernels: K1 of z, Theta1 of the NTK."""
    response = -g.seen(Theta1, "ba") * g.inverse
    return Term(response, g.seen(K1, "bb") + _both(response @ g.cross.T))


def from_ntk(g: Frame, D: Any, F: Any, A: Any, B: Any) -> Term:
    """The fluctuation of the NTK (inf.157, with a minus), and its correlation with the outputs.

    mean: -(A_(d1)(23) + B_d213 + o B_d312) H^12 H^34 y_4; covariance: this response to z, dH paired with z (D, F), dH with dH.
    """
    inv, o = g.inverse, g.outputs
    response = np.einsum("bxxc,x->bc", g.seen(A, "baaa") + g.seen(B, "baaa"), inv) + o * np.einsum("bcxx,x->bc", g.seen(B, "baaa"), inv)
    response = response * inv
    D, F = g.seen(D, "baba"), (g.seen(F, "bbaa"), g.seen(F, "baab"))  # D_(b'x)(bx), F_b'bxx, F_b'xxb
    z = -np.einsum("exbx,x->be", D, inv) - o * np.einsum("ebxx,x->be", F[0], inv) - np.einsum("exxb,x->be", F[1], inv)
    pair = np.multiply.outer(inv, inv)
    own = _both(response @ g.cross.T + z) + np.einsum("bexy,xy->be", g.seen(B, "bbaa"), pair * g.square)
    wired = g.seen(A, "baba").transpose(0, 2, 1, 3) + g.seen(B, "baab").transpose(0, 3, 1, 2)
    return Term(response, own, wired * pair)


def from_dntk(g: Frame, Z: Projectors, P: Any, Q: Any) -> Term:
    """The curvature of the outputs (inf.158, Z_B symmetrised): dH paired with one r, or with the z of the other side (inf.162)."""
    o = g.outputs
    P0, Q0, P1, Q1 = g.seen(P, "baaa"), g.seen(Q, "baaa"), g.seen(P, "abaa"), g.seen(Q, "abaa")
    Q2 = g.seen(Q, "aaba")
    response = 2 * (np.einsum("bxcx,xc->bc", P0 + Q0, Z.B) + o * np.einsum("bcxx,xc->bc", Q0, Z.B))
    response += np.einsum("xbcx,xc->bc", o * P1 + Q1, Z.A) + np.einsum("xcbx,xc->bc", Q2, Z.A)
    response += np.einsum("cbxx,cx->bc", P1 + o * Q1, Z.A) + np.einsum("cxbx,cx->bc", Q2, Z.A)
    P1, Q1 = g.seen(P, "abab"), g.seen(Q, "abab")
    z = np.einsum("bxye,xy->be", g.seen(P, "baab"), Z.B * g.square) + np.einsum("xybe,xy->be", g.seen(Q, "aabb"), Z.A * g.square)
    one = 2 * np.einsum("bxye,xy->bexy", g.seen(Q, "baab"), Z.B) + np.einsum("xbye,xy->bexy", Q1, Z.A)
    one += np.einsum("ybxe,yx->bexy", P1, Z.A)
    return Term(response, _both(response @ g.cross.T + z), one + one.transpose(1, 0, 3, 2))


def from_ddntk(g: Frame, Z: Projectors, R: Any, S: Any, T: Any, U: Any) -> Term:
    """The drift of that curvature (inf.159, inf.160 with T and U exchanged), its mean folded into w_b123 r_i1 (r_2 . r_3)."""
    w = sum(
        np.einsum(f"{place},xyz->{order}", g.seen(tensor, slots), projector)
        for tensor, projector, slots, place, order in (
            (R, Z.IB, "baaa", "bxyz", "bxyz"), (R, Z.IB, "baaa", "byzx", "byzx"), (R, Z.IB, "baaa", "bzxy", "bzxy"),
            (R, Z.IA, "abaa", "xbyz", "bxyz"), (R, Z.IA, "aaba", "xzby", "byzx"), (R, Z.IA, "aaab", "xyzb", "bzxy"),
            (T, Z.IIA, "abaa", "xbzy", "bxyz"), (U, Z.IIA, "aaab", "xzyb", "byzx"), (S, Z.IIA, "aaba", "xybz", "bzxy"),
            (S, Z.IIB, "baaa", "bxyz", "bxyz"), (T, Z.IIB, "baaa", "byzx", "byzx"), (U, Z.IIB, "baaa", "bzxy", "bzxy"),
        )
    )  # fmt: skip
    half = np.einsum("bcxy,xy->bc", w, g.square)
    rest = np.einsum("bxyc,xy->bc", w, g.k) + np.einsum("bxcy,xy->bc", w, g.k)
    one = np.einsum("bxzy,ez->bexy", w, g.cross) + np.einsum("bxyz,ez->bexy", w, g.cross)
    return Term(half + rest, _both(half @ g.cross.T), one + one.transpose(1, 0, 3, 2))


def _both(one: np.ndarray) -> np.ndarray:
    """A covariance of one side's correction with the other side, and the reverse."""
    return one + one.T
