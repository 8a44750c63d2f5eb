"""How wide is wide enough, and what a report says of it."""

from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import LEVEL
from largen.agreement.study import plan
from largen.agreement.study.finite import finite, trained
from largen.cli import main
from largen.data.task import Task
from largen.errors import InputError, UnsupportedError
from largen.report.words import far

X = np.array([[1.0, -0.5, 0.8], [0.3, 0.9, -0.7]])


def test_relu_needs_five_layers_over_the_tolerance() -> None:
    """V/(n K^2) = 5 (L - 1)/n decides (5.120); twice the tolerance, half the width; the own width does not matter."""
    for width in (64, 256):
        for depth in (2, 5):
            net = lg.mlp(widths=[width] * depth, activation="relu", C_W=2.0)
            assert abs(lg.width(net, X, 0.05).width - 100 * depth) <= 1 and abs(lg.width(net, X, 0.1).width - 50 * depth) <= 1
            found = lg.width(net, X)
            assert found.relative["variance of the kernel"] == pytest.approx(5 * depth / width) and found.L_over_n == (depth + 1) / width


@pytest.mark.slow
def test_at_that_width_the_largest_correction_is_the_tolerance() -> None:
    net = lg.mlp(widths=[32, 64], activation="gelu", C_W=1.9, C_b=0.1)
    found = lg.width(net, X, 0.03)
    wide = lg.mlp(widths=[found.width, 2 * found.width], activation="gelu", C_W=1.9, C_b=0.1)
    assert max(lg.width(wide, X, 0.03).relative.values()) == pytest.approx(0.03, rel=0.02)
    t, n = found.corrections, found.corrections.width
    assert t.A is not None and t.B is not None and t.Theta is not None
    scatter = max((t.A[i, i, i, i] + 2 * t.B[i, i, i, i]) / t.Theta[i, i] ** 2 / n for i in range(2))
    assert found.single == pytest.approx(32 * scatter / 0.03**2, abs=1)
    assert list(found.needed.values()) == sorted(found.needed.values(), reverse=True) and f"{found.width}" in found.sentences[0]


@pytest.mark.filterwarnings("ignore:.*n_0")
def test_bad_input() -> None:
    net = lg.mlp(widths=[8], activation="relu")
    for call, words in (
        (lambda: lg.width(net, X, 0), "tolerance"),
        (lambda: lg.width(lg.Dense(1), X), "hidden layer"),
        (lambda: lg.width(net, 0 * X), "the network sees"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    with pytest.raises(UnsupportedError, match="skip connection"):
        lg.width(lg.resnet_mlp(8, blocks=1, activation="tanh"), X)


def test_the_command(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "net.toml"
    config.write_text('[mlp]\nwidths = [32, 32]\nactivation = "relu"\n', "utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["width", "--tolerance", "0.1", "--config", str(config)])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and int(text.split()[0]) == 100 and "variance of the kernel" in text
    assert "31 % off at the network's own width" in text and "from width 1 on" in text and "width 0" not in text
    with pytest.raises(SystemExit) as stop:
        main(["width", "--tolerance", "-1"])
    assert stop.value.code == 2 and "tolerance" in capsys.readouterr().err


def task() -> Task:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(16, 5))
    Z /= np.sqrt((Z**2).mean(1, keepdims=True))
    y = np.sin(Z[:, :1])
    return Task("made up", "regression", Z[:8], y[:8], Z[8:], y[8:], (), (1.0,), ())


@pytest.mark.slow
def test_what_a_report_says_of_width() -> None:
    """Real networks lie within 5 standard errors and second orders of the prediction; training is predicted for smooth activations."""
    net = lg.mlp(widths=[32], out=1, activation="tanh", C_W=1.3)
    found = finite(plan(net, seed=1), task())
    assert found.points == 6 and found.widths == (4, 8, 16, 32)
    for one in found.claims:
        assert one.networks == (512, 256, 128, 64) and abs(one.z) < LEVEL
        for n, m, se in zip(one.widths, one.means, one.errors, strict=True):
            assert abs(m - one.theory) < 5 * se + abs(one.theory) * 8 / n
    assert found.bias is not None and found.variance is not None and not found.missing
    assert found.variance[0] > 0 and found.bias[0] != found.bias[1] and "by bias" in far(found)[-1]
    kinked = finite(plan(lg.mlp(widths=[32], out=1, activation="elu")), task())
    assert kinked.width is not None and kinked.claims and kinked.variance is None
    assert any("third derivative of elu" in sentence for sentence in far(kinked))
    few = Task("made up", "regression", task().X[:3], task().y[:3], task().X_test, task().y_test, (), (1.0,), ())
    assert "only 3 points" in trained(plan(net), few, few.X)[2]
