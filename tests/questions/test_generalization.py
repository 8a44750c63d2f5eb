"""Bias, variance, robustness and curvature: numbers of the theory pages, expansions in the distance, corrected formulas."""

import numpy as np
import pytest

import largen as lg
from largen.errors import InputError


def circle(*t: float) -> np.ndarray:
    return 1.2 * np.stack([np.cos(t), np.sin(t)], 1)


TEST = (0.6, 1.9, -1.0)


@pytest.mark.parametrize(("activation", "C_W", "C_b", "loss"), [("tanh", 1.5, 0.1, 0.604913), ("relu", 2.0, 0.0, 0.738446)])
def test_expected_test_loss(activation: str, C_W: float, C_b: float, loss: float) -> None:
    """pdlt_10_11, 1.4: theory's loss per output, which trained networks of width 2048 were measured to have within 1 %."""
    net = lg.mlp(widths=[512], out=4, activation=activation, C_W=C_W, C_b=C_b)
    y, truth = np.array([0.8, -0.5, 0.3]), np.cos(TEST)
    four = (np.repeat(v[:, None], 4, 1) for v in (y, truth))
    out = lg.analysis.generalization(net, circle(0, 1.2, 2.5), next(four), circle(*TEST), next(four), rates=(0.3, 1.0))
    assert out.loss / 4 == pytest.approx(loss, abs=5e-6)  # the digits of the page's quadrature
    assert out.loss == pytest.approx(out.bias + out.variance) and out.bias_at.sum() == pytest.approx(out.bias)
    one = lg.analysis.generalization(
        lg.mlp(widths=[512], activation=activation, C_W=C_W, C_b=C_b), circle(0, 1.2, 2.5), y, circle(*TEST), truth, rates=(0.3, 1.0)
    )
    assert one.loss == pytest.approx(out.loss / 4)


def test_depth_and_rates_of_robustness() -> None:
    """ReLU: -3/4 and 9/16 K at any distance (10.94, 10.95), like log(L)/L; tanh with rates (9.96): -4/3 d^2 (10.78)."""
    x, z = np.array([1.0, 0.0]), np.array([np.cos(1.0), np.sin(1.0)])
    for L, cosine, spread in ((100, 0.27998, 0.52038),):
        out = lg.analysis.robustness(lg.mlp(widths=[8] * (L - 1), activation="relu", C_W=2.0), x, z, rates=(1.0, 1.0))
        K = 2 * 0.5  # C_W |x|^2/n_0
        assert float(out.cosine) == pytest.approx(cosine, abs=2e-5) and float(out.robustness) == pytest.approx(cosine - 1, abs=2e-5)
        assert float(out.variance) == pytest.approx(spread * K, abs=5e-5)


def near(L: int, rates: object) -> float:
    """Rb L / d^2 of tanh at depth L, with d^2 = L ddK_2, half the K of the difference of two points of equal norm."""
    net = lg.mlp(widths=[8] * (L - 1), activation="tanh")
    t = 1e-3
    x, z = np.array([1.0, 0.0]), np.array([np.cos(t), np.sin(t)])
    K = np.asarray(lg.kernel(net, np.stack([x, z])).nngp)
    return float(lg.analysis.robustness(net, x, z, rates).robustness) / float(K[0, 0] + K[1, 1] - 2 * K[0, 1]) * 4


@pytest.mark.slow
def test_uniform_rates_lose_robustness_faster_than_printed() -> None:
    """(10.80-81), uniform rates (1, 1): Rb -> -8 d^2/L, not -4; with rates lb/l Rb stays, at -4/3 d^2."""
    L = 200
    assert near(L, (1.0, 1.0)) == pytest.approx(-8, rel=0.05)
    L = 100
    assert near(L, (1 / np.arange(1, L + 1), np.ones(L))) / L == pytest.approx(-1.4754, rel=1e-3)  # to -4/3 like log(L)/L


def test_between_two_points() -> None:
    """*-polation: straight for linear networks (10.104); bent by -s (1 - s) curvature (y1 + y2), a quarter of the printed (10.113)."""
    s, y = 0.3, 0.65
    straight = lg.mlp(widths=[32, 32], activation="linear", C_W=1.2, C_b=0.1)
    net = lg.mlp(widths=[32, 32], activation="tanh", C_W=1.5, C_b=0.1)
    for d in (0.1, 0.05):
        x0, step = np.array([1.0, 0.5]), d * np.array([-0.5, 1.0])
        x1, x2 = x0 + step / 2, x0 - step / 2
        targets = np.array([y + d / 4, y - d / 4])
        between, line = s * x1 + (1 - s) * x2, s * targets[0] + (1 - s) * targets[1]
        for what, bend in ((straight, 0.0), (net, float(lg.analysis.robustness(net, x1, x2, (0.3, 1.0)).curvature))):
            got = float(lg.predict(what, np.stack([x1, x2]), targets, between[None], rates=(0.3, 1.0)).mean[0]) - line
            wanted = -s * (1 - s) * bend * targets.sum()
            assert got == pytest.approx(wanted, rel=0.06, abs=1e-6)
            assert not bend or abs(got - 4 * wanted) > 2 * abs(wanted)


def test_bad_input() -> None:
    net, X, y = lg.mlp(widths=[8]), circle(0, 1), [1.0, 2.0]
    with pytest.raises(InputError, match="y_test"):
        lg.analysis.generalization(net, X, y, X[:1], [[1.0, 2.0]])
    with pytest.raises(InputError, match="one time"):
        lg.analysis.generalization(net, X, y, X, y, time=[1.0, 2.0])
    with pytest.raises(InputError, match="the shape of x1"):
        lg.analysis.robustness(net, X[0], X)
    with pytest.raises(InputError, match="training can change"):
        lg.analysis.robustness(net, np.zeros(2), X[0])
