"""Derivatives of what is computed in the float64 island: reverse, forward and differences agree whatever the flag, at repeated eigenvalues
too, and to second order."""

from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import largen as lg
from largen.errors import InputError
from largen.prediction import divided, flow
from largen.prediction.spectrum import factor

pytestmark = pytest.mark.slow

X, Y = np.random.RandomState(0).randn(3, 3), np.array([1.0, -1.0])
FLAGS = (False, True)
LASTING = 1e-5  # of float32 at the border


def net(C_W: Any, phi: str = "erf") -> Any:
    return lg.mlp(widths=[1], out=1, activation=phi, C_W=C_W)


def predicted(C_W: Any, X: Any = X, phi: str = "erf", **how: Any) -> Any:
    return lg.predict(net(C_W, phi), X[:2], Y, X[2:], **how).mean.sum()


def differences(function: Any, at: Any, step: float = 1e-4) -> Any:
    """Central ones of fourth order: f' of a number, or of the sum over the entries of an array along each."""
    near, far = ((function(at + k * step) - function(at - k * step)) / (2 * k * step) for k in (1, 2))
    return (4 * near - far) / 3


HOWS: dict[str, tuple[dict[str, Any], float | None]] = {
    "flow": ({"time": 1.0, "phi": "tanh"}, 0.130123321),
    "end": ({"phi": "tanh"}, 0.006278686),
    "bayes": ({"how": "bayes", "ridge": 0.1, "phi": "tanh"}, 0.082089671),
    "descent": ({"how": "descent", "eta": 0.1, "steps": 5}, None),
    "times": ({"time": np.array([0.5, np.inf])}, None),
    "newton": ({"how": "newton"}, None),
}


@pytest.mark.parametrize("name", HOWS)
def test_predictions_in_the_weight_variance(name: str) -> None:
    """Reverse and forward, with the flag and without; for float32 points too."""
    how, right = HOWS[name]
    found = differences(lambda c: predicted(c, **how), 1.0)
    assert right is None or abs(found - right) < 1e-9
    for flag in FLAGS:
        with jax.enable_x64(flag):
            for derivative in (jax.grad, jax.jacfwd):
                slope = derivative(lambda c: predicted(c, **how))(1.0)
                assert abs(float(slope) - found) < (1e-8 if flag else LASTING) * max(1.0, abs(found)), (flag, derivative)
    if name in ("descent", "newton"):
        slopes = [derivative(lambda c: predicted(c, X.astype(np.float32), **how))(1.0) for derivative in (jax.grad, jax.jacfwd)]
        np.testing.assert_allclose(slopes, found, rtol=1e-3)


def test_batches_programs_and_second_derivatives_with_the_flag_off() -> None:
    """vmap of the gradient, gradient of vmap, jit of both ways round, and second derivatives of mixed modes."""
    at, end = np.array([1.0, 1.2]), {"how": "bayes", "ridge": 0.1}

    def of(c: Any) -> Any:
        return predicted(c, **end)

    slopes = np.array([differences(of, c) for c in at])
    for found in (jax.jit(jax.vmap(jax.grad(of)))(at), jax.grad(lambda c: jax.jit(jax.vmap(of))(c).sum())(at)):
        np.testing.assert_allclose(found, slopes, atol=LASTING)
    bend = differences(lambda c: differences(of, c), 1.0, 1e-3)
    for outer, inner in ((jax.jacfwd, jax.grad), (jax.grad, jax.grad)):
        assert abs(jax.jit(outer(inner(of)))(1.0) - bend) < 1e-4


def test_other_functions_and_arguments_with_the_flag_off() -> None:
    """Signals, evidence, the largest learning rate; the ridge, the time, the targets, the points; records come back whole."""
    one = net(1.0)
    cases = [
        (lambda c: lg.signal(net(c), X).q.sum(), 1.0),
        (lambda c: lg.bayes.evidence(net(c), X[:2], Y, 0.1).log, 1.0),
        (lambda c: lg.max_learning_rate(lg.kernel(net(c), X).ntk), 1.0),
        (lambda r: lg.predict(one, X[:2], Y, X[2:], ridge=r).mean.sum(), 0.1),
        (lambda t: lg.predict(one, X[:2], Y, X[2:], time=t, covariance="full").cov.sum(), 1.0),
        (lambda c: lg.predict(net(c), X[:2].tolist(), Y, X[2:], time=1.0).mean.sum(), 1.0),
    ]
    for of, at in cases:
        assert abs(float(jax.grad(of)(at)) - differences(of, at)) < 1e-4 * max(1.0, abs(differences(of, at)))
    slope = jax.grad(lambda y: lg.predict(one, X[:2], y, X[2:]).mean.sum())(Y)
    np.testing.assert_allclose(slope, np.linalg.solve(lg.kernel(one, X[:2]).ntk, lg.kernel(one, X[:2], X[2:]).ntk)[:, 0], rtol=1e-5)

    def whole(c: Any) -> Any:
        out = lg.predict(net(c), X[:2], Y, X[2:], time=1.0)
        assert isinstance(out, lg.records.Prediction) and out.mean.dtype == np.float32 and out.how == "flow"
        return out.mean.sum(), out.condition.number

    assert np.isfinite(jax.grad(whole, has_aux=True)(1.0)[1])


@pytest.mark.parametrize("flag, kind", [(False, np.float64), (True, np.float64), (False, np.float32)])
def test_at_the_cusp_of_a_kinked_kernel(flag: bool, kind: Any) -> None:
    """X2 = X1: half of the derivative of the diagonal, which is smooth, in both modes and whichever argument is differentiated."""
    points = X.astype(kind)
    relu = lg.mlp([8], 1, "relu", C_W=2.0)

    def at(A: Any, B: Any) -> Any:
        return lg.kernel(relu, A, B).ntk.sum()

    e = np.zeros_like(X)
    e[0, 0] = 1.0
    with jax.enable_x64(flag):
        found = differences(lambda h: at(X + h * e, X), 0.0)
        for derivative, of in (
            (jax.grad, lambda Z: at(Z, points)),
            (jax.jacfwd, lambda Z: at(Z, points)),
            (jax.grad, lambda Z: at(points, Z)),
        ):
            assert abs(float(derivative(of)(points)[0, 0]) - found) < 1e-5 * found
        assert abs(float(jax.grad(lambda Z: at(Z, Z))(points)[0, 0]) - 2 * found) < 1e-5 * found


def weighted(c: Any, plan: flow.Schedule, xp: Any, kind: Any) -> Any:
    """Outputs of a flow whose matrix has a threefold eigenvalue at c = 1, where all three part with c."""
    rng = np.random.RandomState(1)
    Q, C, r, L = rng.randn(4, 4), rng.randn(4, 4), rng.randn(4, 2), rng.randn(3, 4)
    A = xp.asarray(np.diag([1.0, 1.0, 1.0, 3.0]), kind)
    A = A + (c - 1) * xp.asarray(Q @ Q.T / 4, kind) + (c - 1) ** 2 * xp.asarray((C + C.T) / 4, kind)
    f = factor(A)
    return (flow.mean(f, flow.weights(f, plan), xp.asarray(L, kind), xp.asarray(r, kind)) * xp.asarray([1.0, 2.0], kind)).sum()


PLANS = [flow.schedule(time=np.array([1.0, np.inf])), flow.schedule("descent", eta=0.3, steps=4)]


@pytest.mark.parametrize("plan", PLANS, ids=["flow", "descent"])
def test_repeated_eigenvalues(plan: flow.Schedule) -> None:
    """First and second derivatives exist there, and are those of differences; a third is refused."""

    def concrete(c: float) -> Any:
        return weighted(c, plan, np, np.float64)

    with jax.enable_x64(True):

        def of(c: Any) -> Any:
            return weighted(c, plan, jnp, jnp.float64)

        first, second = differences(concrete, 1.0, 1e-3), differences(lambda c: differences(concrete, c, 1e-3), 1.0, 1e-3)
        slopes = jax.jit(lambda c: (jax.grad(of)(c), jax.jacfwd(of)(c)))(1.0)
        bends = jax.jit(lambda c: (jax.jacfwd(jax.grad(of))(c), jax.grad(jax.grad(of))(c)))(1.0)
        np.testing.assert_allclose(slopes, first, rtol=1e-7)
        np.testing.assert_allclose(bends, second, rtol=1e-5)
        with pytest.raises(InputError, match="third derivatives"):
            jax.eval_shape(jax.jacfwd(jax.jacfwd(jax.grad(of))), 1.0)


def test_equal_points_of_a_symmetric_kernel() -> None:
    """np.eye: all off-diagonal entries are equal, so that an eigenvalue of the train kernel repeats whatever C_W."""

    def of(c: Any) -> Any:
        return lg.predict(net(c), np.eye(3), np.array([1.0, -1.0, 0.5]), X[:1], time=2.0).mean.sum()

    assert abs(float(jax.grad(of)(1.0)) - differences(of, 1.0)) < LASTING


DISTANCES = [0.0, 1e-9, 0.1, 0.1 + 1e-9, 0.3, 0.3 + 1e-6, 1.0, 3.0, 3.0 + 1e-4, 40.0, 1e5]
TIMES = [(1.0, None, None), (30.0, None, None), (np.inf, None, None), (5.28, 0.66, 8.0), (15.0, 0.3, 50.0)]


@pytest.mark.parametrize("how", TIMES)
def test_divided_differences(how: Any) -> None:
    """Of first and second order, at equal, close and distant eigenvalues, against 150 digits."""
    time, eta, steps = how
    x = np.array([v for v in DISTANCES if (v > 0 or time < np.inf) and (eta is None or eta * v < 2)])

    def w(v: Any) -> Any:
        left = 0 if time == np.inf else mp.exp(-v * mp.mpf(time)) if eta is None else (1 - mp.mpf(eta) * v) ** int(steps)
        return (1 - left) / v

    def divided_difference(*values: float) -> float:
        a, *rest = (mp.mpf(v) + mp.mpf(10) ** -25 * (i + 1) * (1 + v) for i, v in enumerate(values))
        table = [a, *rest]
        columns = [w(v) for v in table]
        for k in range(1, len(table)):
            columns = [(columns[i + 1] - columns[i]) / (table[i + k] - table[i]) for i in range(len(columns) - 1)]
        return float(columns[0])

    with jax.enable_x64(True), mp.workdps(150):
        given = tuple(None if v is None else jnp.asarray(v) for v in how)
        two, three = jax.jit(lambda v, h: (divided._two(v[:, None], v, h), divided._three(v[:, None, None], v[:, None], v, h)))(x, given)
        for i in range(len(x)):
            for j in range(len(x)):
                assert abs(two[i, j] / divided_difference(x[i], x[j]) - 1) < 1e-12
                k = (i + j) % len(x)
                assert abs(three[i, j, k] / divided_difference(x[i], x[j], x[k]) - 1) < 1e-11


def test_plain_calls_stay_plain() -> None:
    """Without tracers nothing crosses a border; with float64 parameters the derivatives of a real network do."""
    assert isinstance(predicted(1.0), np.floating) and predicted(1.0).dtype == np.float64
    params = lg.init(net(1.0), 3, jax.random.key(0), dtype="float64")
    wide: Any = {path: {name: np.asarray(v) for name, v in part.items()} for path, part in params.items()}
    slope = jax.grad(lambda x: lg.apply(net(1.0), wide, x).sum())(X)
    e = np.zeros_like(X)
    e[1, 2] = 1.0
    assert abs(slope[1, 2] - differences(lambda h: lg.apply(net(1.0), wide, X + h * e).sum(), 0.0)) < LASTING
