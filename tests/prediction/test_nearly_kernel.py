"""Nearly-kernel methods against the quadratic model itself: exact fits by Newton's method, and gradient descent step by step."""

from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.errors import InputError, SingularKernelError

N, M, F, ETA = 3, 2, 14, 0.04
EPS = (0.04, 0.02, 0.01)


def model(eps: float) -> lg.analysis.QuadraticModel:
    rng = np.random.default_rng(3)
    return lg.analysis.QuadraticModel(rng.normal(size=(N + M, F)), rng.normal(size=(N + M, F, F)), eps)


Y = np.random.default_rng(4).normal(size=(N, 2))


def exact(m: lg.analysis.QuadraticModel, optimum: str) -> np.ndarray:
    """W of the exact optimum, one output at a time: Newton on the constraints in the span, or on those and the Lagrange conditions."""
    out = np.empty((F, Y.shape[1]))
    phi, psi = m.phi[:N], m.eps * m.psi[:N]
    for o, y in enumerate(Y.T):
        W, lam = m.fit(Y, "minimum norm" if optimum == "minimum norm" else "span")[:, o], np.linalg.solve(phi @ phi.T, y)
        for _ in range(30):
            slope = phi + psi @ W
            gap = phi @ W + (psi @ W) @ W / 2 - y
            if optimum == "span":
                W = W - phi.T @ np.linalg.solve(slope @ phi.T, gap)
            else:
                pull = W - slope.T @ lam
                hessian = np.eye(F) - np.einsum("d,djk->jk", lam, psi)
                system = np.block([[hessian, -slope.T], [slope, np.zeros((N, N))]])
                step = np.linalg.solve(system, np.concatenate([-pull, -gap]))
                W, lam = W + step[:F], lam + step[F:]
        assert np.abs(phi @ W + (psi @ W) @ W / 2 - y).max() < 1e-10
        out[:, o] = W
    return out


def descended(m: lg.analysis.QuadraticModel, eta: float) -> np.ndarray:
    W = np.zeros((F, Y.shape[1]))
    for _ in range(200_000):
        gap = m.outputs(W)[:N] - Y
        if np.abs(gap).max() < 1e-12:
            break
        W = W - eta * np.einsum("odj,do->jo", m.effective_features(W)[:, :N], gap)
    return W


def found(m: lg.analysis.QuadraticModel, optimum: str) -> Any:
    return lg.analysis.nearly_kernel(m.kernel(), m.meta_kernel(), Y, optimum, ETA if optimum == "descent" else None)


@pytest.mark.parametrize("optimum", ["span", "minimum norm", "descent"])
def test_each_optimum_to_first_order(optimum: str) -> None:
    """What is left falls as eps^2; the other optima are wrong at order eps."""
    left, wrong = [], []
    for eps in EPS:
        m = model(eps)
        W = descended(m, ETA) if optimum == "descent" else exact(m, optimum)
        true = m.outputs(W)[N:]
        left.append(np.abs(found(m, optimum).mean - true).max())
        wrong.append(min(np.abs(found(m, other).mean - true).max() for other in ("span", "minimum norm", "descent") if other != optimum))
    assert left[0] / left[2] == pytest.approx(16, rel=0.35)
    assert wrong[0] / wrong[2] == pytest.approx(4, rel=0.5) and wrong[2] > 3 * left[2]


@pytest.mark.parametrize("optimum", ["span", "minimum norm"])
def test_parameters_and_predictors_agree(optimum: str) -> None:
    """First-order parameters, and regression with the predictor, give the mean up to eps^2; the printed (11.142) does not."""
    gaps, regressed, printed = [], [], []
    for eps in EPS:
        m = model(eps)
        out = found(m, optimum)
        gaps.append(np.abs(m.outputs(m.fit(Y, optimum))[N:] - out.mean).max())
        for kernels, gap in ((out.predictor, regressed), (out.trained, printed)):
            values = np.stack([k[N:, :N] @ np.linalg.solve(k[:N, :N], y) for k, y in zip(kernels, Y.T, strict=True)], 1)
            gap.append(np.abs(values - out.mean).max())
    assert gaps[0] / gaps[2] == pytest.approx(16, rel=0.35) and regressed[0] / regressed[2] == pytest.approx(16, rel=0.35)
    assert printed[0] / printed[2] == pytest.approx(4, rel=0.35)


def test_effective_features_are_the_kernel_after_training() -> None:
    gaps = []
    for eps in EPS:
        m = model(eps)
        gaps.append(np.abs(m.kernel(m.fit(Y, "span")) - found(m, "span").effective).max())
    assert gaps[0] / gaps[2] == pytest.approx(16, rel=0.35)


def test_flow_is_descent_with_small_steps_and_without_curvature_all_agree() -> None:
    m = model(0.01)
    flow = found(m, "flow").mean
    small = lg.analysis.nearly_kernel(m.kernel(), m.meta_kernel(), Y, "descent", 1e-9).mean
    np.testing.assert_allclose(small, flow, atol=1e-9)
    plain = model(0.0)
    for optimum in ("span", "minimum norm", "flow"):
        np.testing.assert_allclose(found(plain, optimum).mean, found(plain, optimum).linear)
    one = lg.analysis.nearly_kernel(m.kernel(), m.meta_kernel(), Y[:, 0], "span")
    np.testing.assert_allclose(one.mean, found(m, "span").mean[:, 0])


def test_bad_input() -> None:
    m = model(0.01)
    k, mu = m.kernel(), m.meta_kernel()
    with pytest.raises(InputError, match="k, mu"):
        lg.analysis.nearly_kernel(k, mu[:2], Y)
    with pytest.raises(InputError, match="optimum"):
        lg.analysis.nearly_kernel(k, mu, Y, "best")
    with pytest.raises(InputError, match="no eta"):
        lg.analysis.nearly_kernel(k, mu, Y, "span", eta=0.1)
    with pytest.raises(InputError, match="2/lambda_max"):
        lg.analysis.nearly_kernel(k, mu, Y, "descent", eta=10.0)
    with pytest.raises(InputError, match="targets of the train points"):
        lg.analysis.nearly_kernel(k, mu, np.ones(9))
    twice = lg.analysis.QuadraticModel(m.phi[[0, 0, 1]], m.psi[[0, 0, 1]], 0.01)
    with pytest.raises(SingularKernelError, match="the same"):
        lg.analysis.nearly_kernel(twice.kernel(), twice.meta_kernel(), [1.0, 2.0], "span")
    with pytest.raises(InputError, match="phi, psi"):
        lg.analysis.QuadraticModel(m.phi, m.psi[:, 1:], 0.01)
