"""Formulas of PDLT, chapter infinity, on training at finite width that are wrong: evidence that `errata.py` runs beside the rest."""

import numpy as np
from common import at_infinity
from erratum import Erratum, mean_and_error, weighed
from trained_at_finite_width import Limit, measured, network as critical_tanh, theory

import largen as lg


def sign_of_inf157(trained: int = 4000, untrained: int = 20_000, widths: tuple[int, ...] = (16, 32, 64, 128)) -> Erratum:
    """(inf.79), (inf.154), (inf.157): the fluctuation of the NTK with a plus. n times the mean of trained tanh networks beyond infinite
    width, two train points; the study of `trained_at_finite_width.py` on other data."""
    X = np.array([[1.0, 0.6], [-0.3, 1.2], [1.0, -0.4], [0.8, 1.0], [-1.0, 0.5]])
    y = np.array([1.0, -0.8])
    kernel = np.asarray(lg.kernel(critical_tanh(8), X).ntk)
    h = np.linalg.eigvalsh(kernel[:2, :2])
    R = np.linalg.solve(kernel[:2, :2], kernel[:2, 2:]).T
    limit = Limit(R, y, X.astype(np.float32), 1 / h[-1], int(10 * h[-1] / h[0]))
    t = lg.corrections(critical_tanh(8), X, tensors=("Theta", "K1", "A", "B"))
    right, slip = theory(t, X, y, limit.eta)
    rows = [measured(limit, n, trained, untrained, i) for i, n in enumerate(widths)]
    found = at_infinity(widths, np.stack([total[0] for total, _, _ in rows]), np.sqrt(np.stack([noise[0] for *_, noise in rows])))
    printed = right[0] + slip
    curves = {"trained networks, n → ∞": found, "printed, plus": (printed, None), "minus": (right[0], None)}
    axes = ("test point", "n (mean - infinite width)")
    return weighed("eq-inf-157", "PDLT (∞.157)", axes, [1, 2, 3], curves, found, right[0], printed)


def projectors_of_training(draws: int) -> tuple[Erratum, Erratum]:
    """(inf.158) with Z_B as printed, and (inf.160) with T and U exchanged: both averages of (inf.154) over Gaussian outputs z by Monte
    Carlo, every output index written out. Two train points and a test point, two outputs; the tensors are those of tanh networks."""
    X, y = np.array([[1.5, 0.5], [0.2, 1.5], [1.2, -0.9]]), np.array([[1.0, 0.4], [-1.2, 0.7]])
    t = lg.corrections(lg.mlp(widths=[64, 64], out=2, activation="tanh"), X, tensors=("K", "Theta", "P", "Q", "S", "T", "U"))
    h, vectors = np.linalg.eigh(t.Theta[:2, :2])
    y, one, turn = vectors.T @ y, np.eye(2), np.eye(3)
    turn[:2, :2] = vectors  # the eigenbasis of the train NTK, where projectors are diagonal
    K = turn.T @ t.K @ turn
    P, Q, S, T, U = (np.einsum("bcd,bw,cx,dy->wxy", a[2], turn, turn, turn) for a in (t.P, t.Q, t.S, t.T, t.U))  # asked at the test point
    P, Q, S, T, U = P[:2, :2], Q[:2, :2], S[:2, :2, :2], T[:2, :2, :2], U[:2, :2, :2]

    z = np.random.default_rng(0).normal(size=(draws, 2, 3)) @ np.linalg.cholesky(K).T
    r, score = z[:, :, :2] - y.T, z @ np.linalg.inv(K)  # (draws, outputs, points)
    # output 0 of dH given z, which is what (11.45) says they have in common, and of the mean ddH (inf.12); then the sums over outputs
    dH = np.einsum("xyc,nc,jk->njkxy", P, score[:, 0], one) + np.einsum("xyc,nkc,j->njkxy", Q, score, one[0])
    dH = dH + np.einsum("yxc,njc,k->njkxy", Q, score, one[0])
    ddH = np.einsum("xyz,j,kl->jklxyz", S, one[0], one) + np.einsum("yzx,k,jl->jklxyz", T, one[0], one)
    ddH = ddH + np.einsum("zxy,l,jk->jklxyz", U, one[0], one)
    bent = np.einsum("njkxy,njx,nky->nxy", dH, r, r, optimize=True).reshape(draws, -1)
    drifted = np.einsum("jklxyz,njx,nky,nlz->nxyz", ddH, r, r, r, optimize=True).reshape(draws, -1)

    k = K[:2, :2]
    square, own = y @ y.T + 2 * k, y[:, 0]
    bracket = np.einsum("x,yz->xyz", own, square) + np.einsum("y,zx->xyz", own, k) + np.einsum("z,xy->xyz", own, k)
    first, wired = (P + Q)[..., :2], Q[..., :2]
    steps, rows = np.linspace(0.1, 1.7, 9), []
    for step in steps:
        Z_B, Z_IIB = projectors(h, step / h[-1])
        turned = Z_IIB.transpose(1, 2, 0), Z_IIB.transpose(2, 0, 1)
        both = [-2 * (np.einsum("xyx,xy->y", first, Z) + 2 * np.einsum("yxx,xy->y", wired, Z)) @ own for Z in ((Z_B + Z_B.T) / 2, Z_B)]
        exchanged = [-((S * Z_IIB + T * one_ + U * two_) * bracket).sum() for one_, two_ in (turned, turned[::-1])]
        rows.append([(*mean_and_error(f @ Z.ravel()), *pair) for f, Z, pair in ((bent, Z_B, both), (drifted, Z_IIB, exchanged))])
    made = []
    for columns, name, title, labels in zip(
        np.array(rows).transpose(1, 2, 0),
        ("eq-inf-158", "eq-inf-160"),
        ("PDLT (∞.158)", "PDLT (∞.160)"),
        (("printed, Z_B as it is", "Z_B symmetrised"), ("printed", "T and U exchanged")),
        strict=True,
    ):
        value, error, right, printed = columns
        curves = {"Monte Carlo of (∞.154)": (value, error), labels[0]: (printed, None), labels[1]: (right, None)}
        axes = ("η times the largest eigenvalue", "part of the mean")
        made.append(weighed(name, title, axes, steps, curves, (value, error), right, printed))
    return made[0], made[1]


def projectors(h: np.ndarray, eta: float) -> tuple[np.ndarray, np.ndarray]:
    """Z_B as (inf.143) prints it, and Z_IIB (inf.147), for eigenvalues h of the train NTK."""
    a, b, c = h[:, None, None], h[None, :, None], h[None, None, :]
    two, three = 1 / (a + b - eta * a * b), eta / (1 - (1 - eta * a) * (1 - eta * b) * (1 - eta * c))
    first, second = (1 - eta * a) / a, (1 - eta * a) * (1 - eta * b) * two
    Y3 = first * second * three
    Z_IIB = -Y3 - Y3.transpose(1, 0, 2) - Y3.transpose(0, 2, 1) - eta * three * (first + second)
    return ((1 - eta * a / 2) / a * two)[:, :, 0], Z_IIB


def symmetrised_of_inf158(draws: int = 100_000) -> Erratum:
    """(inf.158): the factor 2 of Z_B, which holds once Z_B is symmetrised."""
    return projectors_of_training(draws)[0]


def exchanged_of_inf160(draws: int = 100_000) -> Erratum:
    """(inf.160): T and U with each other's projector."""
    return projectors_of_training(draws)[1]
