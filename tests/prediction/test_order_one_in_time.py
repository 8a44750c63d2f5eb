"""Training at order 1/n stopped early: sums over ordered times, the difference equations, real networks, every derivative."""

from typing import Any

import jax
import mpmath as mp
import numpy as np
import pytest
from ensembles import random_tensors
from jax import numpy as jnp
from scipy.integrate import solve_ivp

import largen as lg
from largen.errors import InputError, SingularKernelError
from largen.prediction.first_order.ensemble import trained_ensemble
from largen.prediction.first_order.network import trained_network
from largen.prediction.first_order.ordered import Ordered, ordered
from largen.prediction.first_order.projectors import projectors

NAMES = ("A", "B", "IA", "IB", "IIA", "IIB")


def summed(step: float, until: int, rates: tuple[float, ...]) -> float:
    """W by its definition, one loop per sum."""

    def inner(s: int, first: float, *rest: float) -> float:
        q = 1 - step * first
        return step * sum(q ** (s - 1 - k) * inner(k, *rest) for k in range(s)) if rest else q**s

    return step * sum(inner(s, *rates) for s in range(until))


@pytest.mark.parametrize("rates", [(0.7,), (0.0, 1.1), (1.1, 1.1), (0.3, 0.0, 2.0), (0.4, 0.4 + 1e-9, 0.4, 1.7)])
def test_ordered_sums(rates):
    """As defined: any number of steps, and flow as the limit of small ones."""
    arrays = [np.array([rate]) for rate in rates]
    for step, until in ((0.3, 0), (0.3, 1), (0.3, 7), (0.9, 6)):
        np.testing.assert_allclose(Ordered(step, until)(*arrays)[0], summed(step, until, rates), rtol=1e-12, atol=1e-15)
    coarse, fine = (summed(1.4 / k, k, rates) for k in (20, 40))
    np.testing.assert_allclose(Ordered(0.0, 1.4)(*arrays)[0], 2 * fine - coarse, rtol=2e-2)


def test_ordered_sums_over_many_scales():
    """Precision at any product of rate and time, and at rates that nearly coincide, against divided differences in 60 digits."""
    rates = [np.array([1e-9, 0.3, 2.0, 5.0])[:, None, None], np.array([2e-9, 0.3 + 1e-13, 4.0])[:, None], np.array([0.7, 1e3])]
    for until in (1e-6, 0.1, 30.0, 1e7):
        W = Ordered(0.0, until)(*rates)
        for at in np.ndindex(W.shape):
            with mp.workdps(90):
                x = [mp.mpf(0), *(mp.mpf(float(np.broadcast_to(rate, W.shape)[at])) for rate in rates)]
                exact = -sum(mp.exp(-a * until) / mp.fprod(a - b for b in x if b is not a) for a in x)
            assert W[at] == pytest.approx(float(exact), rel=1e-13)


def test_end_and_start():
    """At long times the numbers of the end, to 1e-10; at time zero nothing; B and IB are products of those of order one."""
    h = np.array([0.4, 0.4, 1.3, 2.1])
    for how, eta, until in (("flow", None, 200.0), ("descent", 0.4, 600)):
        end, late, early = (projectors(h, how, eta, t) for t in (np.inf, until, 0))
        some, w = projectors(h, how, eta, 3), ordered(h, how, eta, 3)(h)
        for name in NAMES:
            np.testing.assert_allclose(getattr(late, name), getattr(end, name), rtol=1e-10)
            assert not getattr(early, name).any()
        np.testing.assert_allclose(some.B, np.multiply.outer(w, w) / 2, rtol=1e-12)
        np.testing.assert_allclose(some.IB, -np.einsum("a,b,c->abc", w, w, w) / 6, rtol=1e-12)


def test_bad_input():
    h = np.ones(2)
    bad: list[tuple[Any, str]] = [
        ((h, "flow", None, -1.0), "`until`: got -1"),
        ((h, "descent", 0.1, 2.5), "`until`: got 2.5; needed a whole number of steps"),
        ((h, "newton", None, 3), "`until`: got 3; needed infinity"),
        ((-h, "flow", None, 3), "`values`: got a smallest one of -1; needed non-negative"),
        ((0 * h, "flow"), "`values`: got a smallest one of 0; needed positive"),
    ]
    for arguments, told in bad:
        with pytest.raises(InputError, match=told):
            ordered(*arguments)
    with pytest.raises(InputError, match=r'`time`: got 3.0 with traced arrays.*how="descent"'):
        jax.grad(lambda h: projectors(h, until=3.0).A.sum())(jnp.ones(2))
    slope = jax.grad(lambda h: projectors(h, "descent", 0.1, 3).A.sum())(jnp.ones(2))
    steep = [projectors(h * (1 + s), "descent", 0.1, 3).A.sum() for s in (1e-5, -1e-5)]
    assert slope.sum() == pytest.approx((steep[0] - steep[1]) / 2e-5, rel=1e-3)
    net, X = lg.mlp(widths=[8], out=1, activation="tanh"), np.eye(2)
    with pytest.raises(InputError, match="`time`: got a traced value; needed time as numbers with order=1"):
        jax.grad(lambda t: lg.predict(net, X[:1], np.ones(1), X[1:], time=t, order=1).mean.sum())(1.0)


# ------------------------------------------------------------------------------------------------- the difference equations


def tensors(rng: Any, D: int, size: float) -> tuple[np.ndarray, ...]:
    """An NTK, dNTK, ddNTK I and II of D points with their symmetries, of sizes 1, size, size, size."""
    root = rng.normal(size=(D, D))
    d, dd1, dd2 = (size * rng.normal(size=(D,) * k) for k in (3, 4, 4))
    orders = [(0, 1, 2, 3), (0, 1, 3, 2), (0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 3, 2, 1)]
    dd1 = np.mean([dd1.transpose(order) for order in orders], 0)
    return root @ root.T / D + np.eye(D) / 2, (d + d.transpose(0, 2, 1)) / 2, dd1, (dd2 + dd2.transpose(1, 0, 3, 2)) / 2


def slopes(state: Any, dd: Any, y: Any) -> Any:
    """Derivatives in time of outputs, NTK and dNTK under gradient flow (PDLT inf.4, 6, 9 at first order in eta)."""
    (z, H, d), (dd1, dd2), N = state, dd, len(y)
    e = z[:N] - y
    drift = (dd1 + dd2 + dd2.transpose(0, 2, 1, 3))[..., :N] @ e
    return -H[:, :N] @ e, -(d + d.transpose(1, 0, 2))[..., :N] @ e, -drift


def stepped(state: Any, dd: Any, y: Any, eta: float) -> Any:
    """One step of the coupled difference equations (PDLT inf.81-83)."""
    (z, H, d), (dd1, dd2), N = state, dd, len(y)
    e = z[:N] - y
    dz, dH, drift = slopes(state, dd, y)
    bend = (dd1 + dd1.transpose(1, 0, 2, 3) + 2 * dd2)[..., :N, :N] @ e @ e
    curve = eta**2 / 2 * d[:, :N, :N] @ e @ e - eta**3 / 6 * dd1[:, :N, :N, :N] @ e @ e @ e
    return z + eta * dz + curve, H + eta * dH + eta**2 / 2 * bend, d + eta * drift


def apart(tensor: Any) -> Any:
    """A tensor of pairs (point, one output) as the solver takes it."""
    return tensor.reshape(*tensor.shape, *(1,) * tensor.ndim)


def followed(how: str, eta: Any, until: Any, z: Any, H: Any, d: Any, dd1: Any, dd2: Any, y: Any) -> np.ndarray:
    """All outputs by iteration (descent) or by an integrator (flow)."""
    if how == "descent":
        for _ in range(until):
            z, H, d = stepped((z, H, d), (dd1, dd2), y, eta)
        return z
    D = len(z)

    def motion(_: float, state: np.ndarray) -> np.ndarray:
        now = state[:D], state[D : D + D * D].reshape(D, D), state[D + D * D :].reshape(D, D, D)
        return np.concatenate([part.ravel() for part in slopes(now, (dd1, dd2), y)])

    start = np.concatenate([z, H.ravel(), d.ravel()])
    return solve_ivp(motion, (0, until), start, method="DOP853", rtol=1e-13, atol=1e-14).y[:D, -1]


@pytest.mark.parametrize(
    "how, eta, until",
    [("flow", None, 0.7), ("flow", None, 6.0), ("descent", 0.2, 2), ("descent", 0.7, 3), ("descent", 0.4, 12)],
)
def test_difference_equations(how, eta, until):
    """The rest is of second order in the tensors: it falls by 100 when they fall by 10. Train points are test points too.

    Control: the formula of the end, at this time, is wrong by an amount that falls only by 10 (or not at all).
    """
    rest, control = [], []
    for size in (1e-4, 1e-5):
        rng = np.random.default_rng(1)
        H, d, dd1, dd2 = tensors(rng, 5, size)
        z, y, seen = rng.normal(size=5), rng.normal(size=3), [0, 1, 2, 3, 4, 0, 1, 2]
        actual = followed(how, eta, until, z, H, d, dd1, dd2, y)[seen[3:]]
        given: Any = [z[seen][:, None], *(apart(t[np.ix_(*[seen] * t.ndim)]) for t in (H, d, dd1, dd2)), y[:, None]]
        early, end = (trained_network(*given, how=how, eta=eta, until=time) for time in (until, np.inf))
        rest.append(np.abs(actual - early.outputs[:, 0]).max())
        control.append(np.abs(actual - early.linear[:, 0] - (end.dntk + end.ddntk)[:, 0]).max())
    assert rest[1] < rest[0] / 80 and rest[1] < control[1] / 30
    assert control[1] > control[0] / 20


def test_singular_kernels_have_finite_times():
    """Two equal train points, and a ridge that is the rate of offsets: as trained, and refused at the end only."""
    rng = np.random.default_rng(2)
    H, d, dd1, dd2 = tensors(rng, 4, 1e-4)
    z, y, seen = rng.normal(size=4), rng.normal(size=2), [0, 1, 1, 2]
    y = np.array([y[0], y[1], -y[1]])
    given: Any = [z[seen], *(t[np.ix_(*[seen] * t.ndim)] for t in (H, d, dd1, dd2))]
    wide: Any = [given[0][:, None], *map(apart, given[1:]), y[:, None]]
    for how, eta, until in (("flow", None, 2.0), ("descent", 0.2, 9)):
        out = trained_network(*wide, how=how, eta=eta, until=until)
        assert np.abs(followed(how, eta, until, *given, y=y)[3] - out.outputs).max() < 1e-6 < np.abs(out.dntk).max()
        with pytest.raises(SingularKernelError):
            trained_network(*wide, how=how, eta=eta)
    offsets = np.diag([0.3, 0.2, 0.1, 0.0])  # a network whose train outputs have offsets: one more NTK on the train block
    lifted: Any = [given[0], given[1] + offsets, *given[2:]]
    out = trained_network(*wide, how="descent", eta=0.2, ridge=np.array([0.3, 0.2, 0.1]), until=9)
    assert np.abs(followed("descent", 0.2, 9, *lifted, y=y)[3] - out.outputs).max() < 1e-6


# ------------------------------------------------------------------------------------------------------------- real networks


RATES = (0.3, 0.6)
X, X_TEST = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]]), np.array([[0.7, 0.6, 0.4]])


@pytest.mark.slow
def test_one_real_network():
    """As trained for 3 and 8 steps: first order misses at most a tenth of what the linearisation misses. Control: the end."""
    net, y, steps = lg.mlp(widths=[256], out=1, activation="tanh"), np.array([0.8, -0.6]), [0, 3, 8]
    params = lg.init(net, 3, jax.random.key(0), dtype=np.float64)
    _, history = lg.train(net, params, X, y[:, None], 0.5, 8, rates=RATES, record=(X_TEST, steps))
    case: dict[str, Any] = {"net": net, "X": X, "y": y, "X_test": X_TEST, "rates": RATES, "how": "descent", "eta": 0.5, "params": params}
    actual = np.asarray(history.outputs)[:, 0, 0]
    first, linear = (lg.predict(**case, steps=steps, order=order) for order in (1, 0))
    assert first.mean.shape == (3, 1) and first.condition.trust == "good" and list(first.time) == [0.0, 1.5, 4.0]
    rest, missed = np.abs(first.mean[:, 0] - actual), np.abs(linear.mean[:, 0] - actual)
    assert rest[0] < 1e-12 and (rest[1:] < 0.1 * missed[1:]).all()
    end = lg.predict(**case, steps=np.inf, order=1).mean[0] - lg.predict(**case, steps=np.inf).mean[0]
    assert (np.abs(linear.mean[1:, 0] + end - actual[1:]) > 0.3 * missed[1:]).all()


# -------------------------------------------------------------------------------------------------------------- the ensemble


def joined(tensor: np.ndarray, o: int, *wires: tuple[str, str]) -> np.ndarray:
    """Sum of tensor[places] delta(wires) as a tensor of pairs; `wires` are (places, outputs), such as ("0213", "0213")."""
    total: Any = 0
    for places, outputs in wires:
        w = ["wxyz"[int(i)] for i in outputs]
        spec = "".join("abcd"[int(i)] for i in places) + f",{w[0]}{w[1]},{w[2]}{w[3]}->awbxcydz"
        total = total + np.einsum(spec, tensor, np.eye(o), np.eye(o))
    return total.reshape((len(tensor) * o,) * 4)


def by_derivatives(t: Any, y: np.ndarray, how: str, eta: Any, until: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance at order 1/n from derivatives of the difference equations, iterated, and the moments of what they start from.

    Means over z are sums over three Hermite nodes per component, exact for these polynomials; where z pairs with something else,
    Stein's identity stands for the derivative. Nothing here knows of eigenbases, projectors or pairings of r.
    """
    (n, o), D = y.shape, len(t.K)
    N, size = n * o, D * o
    K, H, K1, Theta1 = (np.kron(kernel, np.eye(o)) for kernel in (t.K, t.Theta, t.K1, t.Theta1))
    zzH = joined(t.D, o, ("0123", "0123")) + joined(t.F, o, ("0213", "0213"), ("0312", "0312"))
    HH = joined(t.A, o, ("0123", "0123")) + joined(t.B, o, ("0213", "0213"), ("0312", "0312"))
    dz = joined(t.P, o, ("0123", "0312")) + joined(t.Q, o, ("0123", "0123"), ("0213", "0213"))
    dd1 = joined(t.R, o, ("0123", "0123"), ("0231", "0231"), ("0312", "0312"))
    dd2 = joined(t.S, o, ("0123", "0123")) + joined(t.T, o, ("0231", "0231")) + joined(t.U, o, ("0312", "0312"))
    targets, none = y.reshape(-1), jnp.zeros((size,) * 4)

    def trained(z: Any, H: Any, d: Any, dd1: Any = none, dd2: Any = none) -> Any:
        if how == "descent":
            for _ in range(until):
                z, H, d = stepped((z, H, d), (dd1, dd2), targets, eta)
            return z[N:]
        state: Any = (z, H, d)
        small = until / 40

        def moved(state: Any, slope: Any, time: float) -> Any:
            return tuple(a + time * b for a, b in zip(state, slope, strict=True))

        def runge_kutta(_: int, state: Any) -> Any:
            k1 = slopes(state, (dd1, dd2), targets)
            k2 = slopes(moved(state, k1, small / 2), (dd1, dd2), targets)
            k3 = slopes(moved(state, k2, small / 2), (dd1, dd2), targets)
            k4 = slopes(moved(state, k3, small), (dd1, dd2), targets)
            return tuple(a + small / 6 * (p + 2 * q + 2 * r + s) for a, p, q, r, s in zip(state, k1, k2, k3, k4, strict=True))

        return jax.lax.fori_loop(0, 40, runge_kutta, state)[0][N:]

    d0 = jnp.zeros((size,) * 3)
    scales, modes = np.linalg.eigh(HH.reshape(size**2, size**2))

    def directional(function: Any) -> Any:
        return jax.jvp(function, (0.0,), (1.0,))[1]

    def shift(z: Any) -> Any:
        """(b,): what does not pair with z: the mean NTK, the square of its fluctuation, the ddNTKs."""
        twice = jax.vmap(lambda v: directional(lambda s: directional(lambda u: trained(z, H + (s + u) * v, d0))))
        drift = directional(lambda s: trained(z, H, d0, s * dd1, s * dd2))
        moved = directional(lambda s: trained(z, H + s * Theta1, d0))
        return moved + drift + scales @ twice(modes.T.reshape(-1, size, size)) / 2

    def by_kernel(z: Any) -> Any:
        """(b, p, q): how the outputs follow the NTK."""
        return jax.jacfwd(lambda h: trained(z, h, d0))(jnp.asarray(H))

    def by_dntk(z: Any) -> Any:
        """(s, b): how the outputs follow the mean of dNTK times z_s."""
        return jax.vmap(lambda d: directional(lambda s: trained(z, H, s * d)))(np.moveaxis(dz, 3, 0))

    nodes, share = np.array([-(3**0.5), 0, 3**0.5]), np.array([1, 4, 1]) / 6
    grid = np.stack(np.meshgrid(*[np.arange(3)] * size), -1).reshape(-1, size)
    z, w = nodes[grid] @ np.linalg.cholesky(K).T, share[grid].prod(1)
    plain, still, kernels, curves = (
        np.asarray(jax.jit(jax.vmap(f))(z)) for f in (lambda z: trained(z, jnp.asarray(H), d0), shift, by_kernel, by_dntk)
    )
    pulled = np.linalg.solve(K, z.T).T  # K^{-1} z: its mean with a polynomial is the mean of the derivative
    g = np.einsum("n,nb,ns->bs", w, plain, pulled)
    mean = w @ still + np.einsum("n,nsb,ns->b", w, curves, pulled)
    half = np.einsum("n,nb,nt->bt", w, still, z)
    half += np.einsum("n,nbpq,ns,tspq->bt", w, kernels, pulled, zzH, optimize=True)
    half += np.einsum("n,nsb,ns,nt->bt", w, curves, pulled, z)  # the dNTK with z_t, and with a z while another one meets z_t
    both = np.einsum("n,nbpq,ners,pqrs->be", w, kernels, kernels, HH, optimize=True)
    cross = half @ g.T
    return mean, g @ K1 @ g.T + cross + cross.T + both


@pytest.mark.slow
@pytest.mark.parametrize("how, eta, until, outputs", [("descent", 0.3, 3, 2), ("descent", 0.5, 1, 1), ("flow", None, 1.3, 1)])
def test_every_derivative(how, eta, until, outputs):
    """Mean and covariance, all four sources, against derivatives of the difference equations; the end of training as the control."""
    t, y = random_tensors(3, width=1.0), np.random.default_rng(5).normal(size=(2, outputs))
    with jax.enable_x64(True):
        mean, cov = by_derivatives(t, y, how, eta, until)
    out, end = trained_ensemble(t, y, how, eta, until=until), trained_ensemble(t, y, how, eta)

    def found(record: Any) -> list[np.ndarray]:
        own = record.infinite_cov[:, :, None, None] * np.eye(outputs)
        return [(record.mean - record.infinite_mean).ravel(), (record.cov - own).transpose(0, 2, 1, 3).reshape(cov.shape)]

    for ours, theirs, control in zip(found(out), (mean, cov), found(end), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6 if how == "flow" else 1e-9, atol=1e-8)
        assert np.abs(control - theirs).max() > 0.1 * np.abs(theirs).max()
