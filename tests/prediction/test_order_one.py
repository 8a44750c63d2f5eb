"""The ensemble at order=1: Wick contraction with every output index written out, limits, and real networks."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from ensembles import FOURS, random_tensors

import largen as lg
from largen import memory
from largen.errors import InputError, SingularKernelError, UnsupportedError
from largen.prediction.first_order.ensemble import trained_ensemble
from largen.prediction.first_order.projectors import projectors
from largen.prediction.sample import draw


def wick(t: Any, y: np.ndarray, how: str, eta: Any) -> tuple[np.ndarray, np.ndarray]:
    """n times the mean and covariance at order 1/n, with pairs (point, output) as one index and every pairing written out."""
    (n, o), D = y.shape, len(t.K)
    one, N = np.eye(o), n * o

    def joined(tensor: np.ndarray, *wires: tuple[str, str]) -> np.ndarray:
        """Sum of tensor[places] delta(wires) as a tensor of pairs; `wires` are (places, outputs), such as ("1324", "1324")."""
        total: Any = 0
        for places, outputs in wires:
            points = "".join("abcd"[int(i)] for i in places)
            w = ["wxyz"[int(i)] for i in outputs]
            total = total + np.einsum(f"{points},{w[0]}{w[1]},{w[2]}{w[3]}->awbxcydz", tensor, one, one)
        return total.reshape((D * o,) * 4)

    def wide(kernel: np.ndarray) -> np.ndarray:
        return np.kron(kernel, one)

    zzH = joined(t.D, ("0123", "0123")) + joined(t.F, ("0213", "0213"), ("0312", "0312"))
    HH = joined(t.A, ("0123", "0123")) + joined(t.B, ("0213", "0213"), ("0312", "0312"))
    dz = joined(t.P, ("0123", "0312")) + joined(t.Q, ("0123", "0123"), ("0213", "0213"))
    dd1 = joined(t.R, ("0123", "0123"), ("0231", "0231"), ("0312", "0312"))
    dd2 = joined(t.S, ("0123", "0123")) + joined(t.T, ("0231", "0231")) + joined(t.U, ("0312", "0312"))
    values, vectors = np.linalg.eigh(wide(t.Theta[:n, :n]))
    Z, H = projectors(values, how, eta), (vectors / values) @ vectors.T
    R = wide(t.Theta)[N:, :N] @ H
    P = np.concatenate([-R, np.eye(len(R))], 1)
    K, Y = wide(t.K), y.reshape(-1)
    k, C, K1, Theta1 = K[:N, :N], P @ K[:, :N], wide(t.K1), wide(t.Theta1)  # r = z_A - y; C: P z with r
    M = k + np.outer(Y, Y)  # E[r r]
    A, B = (np.einsum("ij,ai,bj,ci,dj->abcd", z, *(vectors,) * 4) for z in (Z.A, Z.B))  # Z^{1234}
    I = [np.einsum("ijk,ai,bj,ck,di,ej,fk->abcdef", z, *(vectors,) * 6, optimize=True) for z in (Z.IA, Z.IB, Z.IIA, Z.IIB)]
    a = slice(0, N)

    mean = -(P @ Theta1[:, a] @ H) @ -Y
    mean += np.einsum("bp,pqrs,qr,st,t->b", P, HH[:, a, a, a], H, H, -Y, optimize=True)
    J = -(P @ Theta1[:, a] @ H) @ C.T
    J -= np.einsum("ep,pqrs,br,st,tq->be", P, zzH[:, a, :, a], P, H, np.eye(N), optimize=True)
    J += np.einsum("bp,pqrs,qr,st,et->be", P, HH[:, a, a, a], H, H, C, optimize=True)
    cov = P @ K1 @ P.T
    cov += np.einsum("bp,pqrs,er,qt,su,tu->be", P, HH[:, a, :, a], P, H, H, M, optimize=True)
    for projector, tensor in ((A, dz.transpose(1, 0, 2, 3)), (B, dz)):  # the test slot in front, then two train slots
        d = np.einsum("bp,pqrs->bqrs", P, tensor)[:, a, a]
        mean += np.einsum("bqrs,qrst,t->b", d[..., a], projector, -Y, optimize=True)
        mean += np.einsum("bqrs,qrts,t->b", d[..., a], projector, -Y, optimize=True)
        J += np.einsum("bqrs,es,qrtu,tu->be", d, P, projector, M, optimize=True)
        J += np.einsum("bqrs,qrst,et->be", d[..., a], projector, C, optimize=True)
        J += np.einsum("bqrs,qrts,et->be", d[..., a], projector, C, optimize=True)
    slots = [(1, 0, 2, 3), (0, 1, 2, 3), (2, 0, 1, 3), (0, 1, 2, 3)]
    for projector, tensor, slot in zip(I, (dd1, dd1, dd2, dd2), slots, strict=True):
        w = np.einsum("bp,pqrs,qrsxyz->bxyz", P, tensor.transpose(slot)[:, a, a, a], projector, optimize=True)
        three = np.einsum("x,yz->xyz", Y, M) + np.einsum("y,xz->xyz", Y, k) + np.einsum("z,xy->xyz", Y, k)
        mean -= np.einsum("bxyz,xyz->b", w, three)
        J += np.einsum("bxyz,ex,yz->be", w, C, M) + np.einsum("bxyz,ey,xz->be", w, C, M) + np.einsum("bxyz,ez,xy->be", w, C, M)
    m = D - n
    return mean.reshape(m, o), (cov + J + J.T).reshape(m, o, m, o).transpose(0, 2, 1, 3)


@pytest.mark.parametrize("how, eta", [("flow", None), ("descent", 0.4), ("newton", None)])
@pytest.mark.parametrize("outputs", [1, 2])
def test_every_pairing(how, eta, outputs):
    """Symmetries of the exact tensors are used (P, B, ...), so the random ones have them; R is symmetric in all that it meets."""
    t, y = random_tensors(4), np.random.default_rng(5).normal(size=(2, outputs))
    out = trained_ensemble(t, y, how, eta)
    mean, cov = wick(t, y, how, eta)
    np.testing.assert_allclose(t.width * (out.mean - out.infinite_mean), mean, rtol=1e-9, atol=1e-9)
    own = out.infinite_cov[:, :, None, None] * np.eye(outputs)
    np.testing.assert_allclose(t.width * (out.cov - own), cov, rtol=1e-9, atol=1e-9)


def two_points(**fours: tuple[float, float]) -> Any:
    """Tensors of a train point 0 and a test point 1 from their entries 0000 and 0001 (fully symmetric), theory/pdlt_inf_AB.md T1."""
    K, Theta = np.array([[0.857701, 0.476843], [0.476843, 0.883015]]), np.array([[1.830780, 0.992333], [0.992333, 1.875403]])
    t: dict[str, np.ndarray] = {name: np.zeros((2,) * 4) for name in FOURS}
    for name, (same, one) in fours.items():
        tensor = np.zeros((2,) * 4)
        for where in np.ndindex(2, 2, 2, 2):
            tensor[where] = (same, one, 0, 0, 0)[sum(where)]
        t[name] = tensor
    return SimpleNamespace(K=K, Theta=Theta, K1=0 * K, Theta1=0 * K, width=1.0, **t)


def test_fluctuation_of_the_ntk_has_the_corrected_sign():
    """theory/pdlt_inf_AB.md T3: n (E[H_10/H_00] - E H_10/E H_00) is +0.2835, not -0.2835 as (inf.157) has it."""
    out = trained_ensemble(two_points(A=(0.34025, 0.08925), B=(1.92971, 0.61842)), np.ones((1, 1)))
    assert out.means["NTK"].item() == pytest.approx(0.2835, abs=1e-4)
    assert out.means["dNTK"] == out.means["ddNTK"] == out.means["kernels"] == 0


def test_one_train_point():
    """(inf.155-160) for one train point, where all projectors are numbers (inf.163), by hand."""
    t, y = random_tensors(2, seed=3), np.array([[0.7, -0.4]])
    H, k = t.Theta[0, 0], t.K[0, 0]
    R, o = t.Theta[1, 0] / H, 2

    def seen(tensor: np.ndarray, slot: int) -> float:
        at = [0, 0, 0, 0]
        at[slot] = 1
        return tensor[tuple(at)] - R * tensor[0, 0, 0, 0]

    out = trained_ensemble(t, y)
    ntk = -(seen(t.A, 0) + (1 + o) * seen(t.B, 0)) / H**2
    d = 2 * (seen(t.P, 0) + (1 + o) * seen(t.Q, 0)) + (1 + o) * seen(t.P, 1) + (1 + o) * seen(t.Q, 1) + 2 * seen(t.Q, 2)
    np.testing.assert_allclose(t.width * out.means["NTK"], ntk * y, rtol=1e-12)
    np.testing.assert_allclose(t.width * out.means["dNTK"], -d / (2 * H**2) * y, rtol=1e-12)
    one = 3 * seen(t.R, 0) + seen(t.R, 1) + seen(t.R, 2) + seen(t.R, 3) + 3 * (seen(t.S, 0) + seen(t.T, 0) + seen(t.U, 0))
    one += seen(t.S, 2) + seen(t.T, 1) + seen(t.U, 3)
    np.testing.assert_allclose(t.width * out.means["ddNTK"], one / (6 * H**3) * y * ((y**2).sum() + (o + 2) * k), rtol=1e-12)


def test_laws():
    t, y = random_tensors(5), np.random.default_rng(2).normal(size=(3, 2))
    out = trained_ensemble(t, y, "descent", 0.3)
    assert np.allclose(out.cov, out.cov.transpose(1, 0, 3, 2), atol=1e-12)
    back = [1, 2, 0, 3, 4]  # the order of the train points does not matter
    moved = SimpleNamespace(**{name: v[np.ix_(*[back] * v.ndim)] if np.ndim(v) else v for name, v in vars(t).items()})
    again = trained_ensemble(moved, y[back[:3]], "descent", 0.3)
    assert np.allclose(again.mean, out.mean, atol=1e-9) and np.allclose(again.cov, out.cov, atol=1e-9)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(2, 2)))[0]  # nor does the basis of the outputs
    turned = trained_ensemble(t, y @ turn, "descent", 0.3)
    assert np.allclose(turned.mean, out.mean @ turn, atol=1e-9)
    assert np.allclose(turned.cov, np.einsum("beij,ik,jl->bekl", out.cov, turn, turn), atol=1e-9)
    seen = [0, 1, 2, 1, 2]  # train points as test points: their targets, without spread
    same = SimpleNamespace(**{name: v[np.ix_(*[seen] * v.ndim)] if np.ndim(v) else v for name, v in vars(t).items()})
    known = trained_ensemble(same, y)
    assert np.allclose(known.mean, y[1:], atol=1e-9) and np.allclose(known.cov, 0, atol=1e-9)
    slow = trained_ensemble(t, y, "descent", 1e-9)
    assert np.allclose(slow.cov, trained_ensemble(t, y).cov, rtol=1e-6)
    offset = SimpleNamespace(**{**vars(t), "Theta": t.Theta + np.diag([0.2, 0.1, 0.3, 0, 0])})  # an offset moves the train block only
    ridge = trained_ensemble(t, y, ridge=np.array([0.2, 0.1, 0.3]))
    assert np.allclose(trained_ensemble(offset, y).cov, ridge.cov, atol=1e-9) and ridge.size > 0


def test_bad_input():
    t, y = random_tensors(3), np.ones((2, 1))
    for changes, told in (({"A": t.A[0]}, r"`A`: got shape \(3, 3, 3\)"), ({"K1": t.A}, r"`K1`: got shape \(3, 3, 3, 3\)")):
        with pytest.raises(InputError, match=told):
            trained_ensemble(SimpleNamespace(**{**vars(t), **changes}), y)
    for targets in (np.ones(2), np.ones((3, 1)), np.ones((2, 0))):
        with pytest.raises(InputError, match="`y`: got shape"):
            trained_ensemble(t, targets)
    with pytest.raises(UnsupportedError, match="the tensor S: it has a kink"):
        trained_ensemble(SimpleNamespace(**{**vars(t), "S": None}, missing={"S": "it has a kink"}), y)
    with pytest.raises(SingularKernelError):
        trained_ensemble(SimpleNamespace(**{**vars(t), "Theta": np.ones((3, 3))}), y)
    with pytest.raises(InputError, match="`eta`"):
        trained_ensemble(t, y, "descent", 2 / np.linalg.eigvalsh(t.Theta[:2, :2])[-1])


TANH = lg.mlp(widths=[64], out=1, activation="tanh", C_W=1.5, C_b=0.3)
POINTS = np.array([[1.0, -0.5, 0.3], [0.7, 0.6, 0.4]])
RATES = (0.5, 0.8)


def test_the_door(monkeypatch):
    case: Any = {"net": TANH, "X": POINTS[:1], "y": np.ones(1), "X_test": POINTS[1:], "order": 1}
    for changes, told in (
        ({"time": -3.0}, "`time`: got -3.0"),
        ({"how": "newton", "time": 3.0}, "`time`: got 3.0; needed no time"),
        ({"order": 2}, "`order`"),
    ):
        with pytest.raises(InputError, match=told):
            lg.predict(**{**case, **changes})
    for net in (lg.mlp(widths=[8], out=1), lg.Dense(8) >> lg.Sum(lg.Act("tanh") >> lg.Dense(8), lg.Identity()) >> lg.Dense(1)):
        with pytest.raises(UnsupportedError):
            lg.predict(**{**case, "net": net})
    many = np.random.default_rng(0).normal(size=(40, POINTS.shape[1]))
    monkeypatch.setattr(memory, "available", lambda: 1e8)  # enough for kernels, not for tensors of four points each
    with pytest.raises(InputError, match="40 train and 1 test points at order=1"):
        lg.predict(**{**case, "X": many, "y": np.ones(40)})


@pytest.mark.slow
def test_predict_asks_theory():
    y = np.array([[0.8, 0.3]])
    net = lg.widen(TANH, 2)
    t = lg.corrections(net, POINTS, rates=RATES)
    out = trained_ensemble(t, y[:, :1])
    p = lg.predict(net, POINTS[:1], y[:, 0], POINTS[1:], rates=RATES, order=1, covariance="full")
    assert p.order == 1 and p.time == np.inf and p.condition.trust == "good" and p.missing == {}
    assert np.allclose(p.mean, out.mean[:, 0], atol=1e-14) and np.allclose(p.cov, out.cov[:, :, 0, 0], atol=1e-14)
    assert p.initial_variance[0] == pytest.approx(t.K[1, 1] + t.K1[1, 1] / 128)
    columns = lg.predict(net, POINTS[:1], y, POINTS[1:], rates=RATES, order=1, covariance="full")  # each its own network
    assert columns.mean.shape == (1, 2) and columns.cov.shape == (2, 1, 1) and columns.mean[0, 0] == p.mean[0]
    wired = lg.mlp(widths=[128], out=2, activation="tanh", C_W=1.5, C_b=0.3)
    both = lg.predict(wired, POINTS[:1], y, POINTS[1:], rates=RATES, order=1, covariance="full")
    known = trained_ensemble(t, y)
    assert np.allclose(both.mean, known.mean) and both.cov[1, 0, 0] == pytest.approx(known.cov[0, 0, 1, 1])
    assert "two different outputs" in both.missing["across"]
    assert both.error == p.error == t.error and np.allclose(both.std[0] ** 2, both.cov[:, 0, 0]) and np.allclose(p.std**2, p.cov[0])
    assert draw(both, jax.random.key(0), 500).std(0) == pytest.approx(np.sqrt(both.cov[:, 0, 0])[None], rel=0.2)
    narrow = lg.predict(lg.widen(TANH, 1 / 32), POINTS[:1], 30 * y[:, 0], POINTS[1:], rates=RATES, order=1, covariance="full")
    assert narrow.condition.trust.startswith("poor: the correction is")


def squares(rest: np.ndarray, base: np.ndarray) -> np.ndarray:
    """(N, o, o), whose mean is what `rest`, of mean zero, adds to the covariance of `base`."""
    cross = np.einsum("ni,nj->nij", rest, base)
    return cross + cross.transpose(0, 2, 1) + np.einsum("ni,nj->nij", rest, rest)


def linearised(net: Any, params: Any, y: np.ndarray, R: float) -> tuple[np.ndarray, ...]:
    """Per network: g = P z, its own linearisation beyond R y + g, and the part of that which stays when z changes sign; (N, o) each."""
    single = POINTS.astype(np.float32)
    z = np.asarray(lg.each(lg.apply, net, params, single, chunk=500), float)
    H = np.asarray(lg.each(lg.empirical_ntk, net, params, single, single[:1], rates=RATES, chunk=500), float)[:, :, 0]
    A = np.linalg.solve(H[:, 0], H[:, 1].transpose(0, 2, 1)).transpose(0, 2, 1)  # H_10 H_00^{-1}; H_00 is symmetric
    g, even = z[:, 1] - R * z[:, 0], A @ y[0] - R * y[0]
    return g, z[:, 1] - np.einsum("nij,nj->ni", A, z[:, 0] - y[0]) - R * y[0] - g, even


def measured(net: Any, y: np.ndarray, R: float, eta: float, untrained: int, trained: int) -> list[np.ndarray]:
    """What adds to R y + P z, to mean and covariance, (N, o + o o): the linearisation of untrained networks, the training of others.

    Networks come in pairs, the readout with both signs. The linearisation is the control variate of the trained network.
    """
    g, beyond, even = linearised(net, lg.init(net, 3, jax.random.key(0), networks=untrained, dtype=np.float32), y, R)
    odd, centred = beyond - even, even - even.mean(0)
    first = np.concatenate([even, (squares(odd, g) + squares(centred, 0 * g)).reshape(untrained, -1)], 1)
    params = lg.init(net, 3, jax.random.key(1), networks=trained, dtype=np.float32)
    last, single, signs = list(params)[-1], POINTS.astype(np.float32), []
    for sign in (1, -1):
        signed = {**params, last: {name: sign * value for name, value in params[last].items()}}
        g, beyond, _ = linearised(net, signed, y, R)
        record = (single[1:], [24])
        _, history = lg.each(lg.train, net, signed, single[:1], y.astype(np.float32), eta, 24, rates=RATES, record=record, chunk=500)
        signs.append((np.asarray(history.outputs, float)[:, 0, 0] - R * y[0] - g - beyond, g + beyond))
    mean = (signs[0][0] + signs[1][0]) / 2
    base = np.mean([own for _, own in signs], (0, 1))
    both = [squares(rest - mean.mean(0), own - base).reshape(trained, -1) for rest, own in signs]
    return [first, np.concatenate([mean, (both[0] + both[1]) / 2], 1)]


@pytest.mark.slow
def test_real_networks():
    """Two outputs, one train and one test point: n times what is beyond R y + P z, at n = infinity, against theory by sources.

    Means, and the covariance of outputs 11, 12, 22 beyond P (K + K1/n) P^T. Controls: the sign of (inf.157) as printed, no ddNTKs, no dNTK.
    """
    y, widths, o = np.array([[1.2, 0.45]]), (8, 16, 32), 2
    t = lg.corrections(TANH, POINTS, rates=RATES)
    eta, R = 0.8 / t.Theta[0, 0], t.Theta[1, 0] / t.Theta[0, 0]
    out = trained_ensemble(t, y, "descent", eta)
    P = np.array([-R, 1.0])

    def theory(*sources: str) -> np.ndarray:
        parts = [(out.means[s][0], out.owns[s][0, 0] * np.eye(o) + out.wireds[s][0, 0]) for s in sources]
        own = 64 * sum(cov for _, cov in parts) - ("kernels" in sources) * (P @ t.K1 @ P) * np.eye(o)
        return np.concatenate([64 * sum(mean for mean, _ in parts), own.ravel()])

    found = [measured(lg.mlp(widths=[n], out=o, activation="tanh", C_W=1.5, C_b=0.3), y, R, eta, 20000, 6000) for n in widths]
    fits = [
        (theory("kernels", "NTK"), [theory("kernels") - theory("NTK")]),
        (theory("dNTK", "ddNTK"), [theory("dNTK"), theory("ddNTK")]),
    ]
    for kind, (expected, controls) in enumerate(fits):
        values = np.array([n * f[kind].mean(0) for n, f in zip(widths, found, strict=True)])
        errors = np.array([n * f[kind].std(0) / len(f[kind]) ** 0.5 for n, f in zip(widths, found, strict=True)])
        powers = (8 / np.array(widths)[:, None]) ** np.arange(3)
        solve = np.linalg.pinv(powers / errors.T[:, :, None])
        limit, error = np.einsum("kw,wk->k", solve[:, 0], values / errors), np.linalg.norm(solve[:, 0], axis=1)
        assert np.abs((limit - expected) / error).max() < 4
        for control in controls:
            assert np.abs((limit - control) / error).max() > 6
