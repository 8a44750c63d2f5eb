"""The gallery's studies, at sizes that a test can afford."""

import importlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import largen as lg

SCRIPT = Path(__file__).resolve().parents[2] / "gallery" / "deep_mlps.py"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("deep_mlps", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["deep_mlps"] = module  # its frozen records look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.data
def test_deep_networks_train_from_the_critical_start_only(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LARGEN_DATA", str(data))
    deep = script()
    images = deep.mnist(deep.QUICK.images)
    made = deep.case("mish", deep.QUICK, replace(images, T=images.T[:2000], answers=images.answers[:2000]))
    assert made.holds, made
    # nn.Linear's start: squared gradients 22 orders below 1. Between networks their logarithms vary by 0.5 at this depth and width.
    default = made.halves["default"]
    assert 1e-25 < default.theory < 1e-20
    assert all(1 / 5 < g / default.theory < 5 for g in default.gradients), default
    page = tmp_path / "figure.html"
    deep.figure([made]).write_html(page, include_plotlyjs=True)
    assert "25 layers" in page.read_text(encoding="utf-8")


def test_stacked_layers_are_the_network() -> None:
    deep = script()
    net = deep.networks("gelu", layers=12, width=16)["critical"]
    X = np.random.default_rng(0).normal(size=(5, deep.PIXELS)).astype(np.float32)
    wanted = lg.apply(net, lg.init(net, deep.PIXELS, jax.random.key(3)), X)
    got = deep.outputs(lg.activation("gelu"), deep.start(net, "critical", seed=3), X)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_the_default_start_is_that_of_linear() -> None:
    torch = pytest.importorskip("torch")
    deep = script()
    net = deep.networks("tanh", layers=4, width=200)["default"]
    _, hidden, _ = deep.start(net, "default", seed=1)
    torch.manual_seed(0)
    layer = torch.nn.Linear(200, 200)
    for ours, theirs in ((hidden["W"][0], layer.weight), (hidden["b"], layer.bias)):
        real = theirs.detach().numpy()
        assert abs(np.abs(np.asarray(ours)).max() - 200**-0.5) < 0.002 and abs(np.abs(real).max() - 200**-0.5) < 0.002
        assert abs(np.std(ours) / np.std(real) - 1) < 0.15  # 200 biases: 3 s.e. are 0.1 for a uniform law
    assert [float(node.C_b) for node in net.nodes[::2]] == pytest.approx([1 / (3 * 784)] + [1 / 600] * 3)
    assert [float(node.C_W) for node in net.nodes[::2]] == pytest.approx([1 / 3] * 4)


def test_no_data_is_said(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"], env={**os.environ, "LARGEN_DATA": str(tmp_path)}, capture_output=True, text=True
    )
    assert run.returncode == 2 and "LARGEN_DATA" in run.stderr, run


def study(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of a script that imports `common`, which lies beside it."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module(name)


def written(page: Path, made: Any) -> str:
    made.write_html(page, include_plotlyjs=True)
    return page.read_text(encoding="utf-8")


def test_the_fit_in_widths_finds_the_limit_and_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    common = study("common", monkeypatch)
    widths, noise = (8, 16, 32, 64), np.random.default_rng(0)
    n, errors = np.array(widths)[:, None, None], np.full((4, 2, 2000), 0.01) * np.array([[1.0], [3.0]])
    exact = np.array([[0.5], [-2.0]]) + 3 / n - 20 / n**2 + 0 * errors
    found, error = common.at_infinity(widths, exact, errors)
    np.testing.assert_allclose(found, [[0.5] * 2000, [-2.0] * 2000], atol=1e-9)
    scattered, _ = common.at_infinity(widths, exact + errors * noise.normal(size=errors.shape), errors)
    np.testing.assert_allclose(scattered.std(1) / error[:, 0], 1, atol=0.07)  # 4 s.e. of a spread of 2000
    assert common.rank_correlation(np.array([1.0, 2, 2, 5]), np.array([3.0, 4, 4, 9])) == pytest.approx(1)


@pytest.mark.slow
def test_correlations_of_real_networks_are_those_of_poole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    poole = study("poole_correlations", monkeypatch)
    made = poole.study(C_Ws=(2.3,), starts=(0.0, 0.6), layers=10, widths=(32, 64, 128, 256), networks=(1200, 800, 500, 300))
    assert made.holds, made
    (row,) = made.rows
    np.testing.assert_allclose(row.theory[0], made.starts, atol=1e-9)
    assert abs(row.theory[-1] - row.c_star).max() < 0.6 * abs(row.theory[0] - row.c_star).max()
    assert "chaos" in written(tmp_path / "figure.html", poole.figure(made))


@pytest.mark.slow
def test_unit_variance_explodes_as_theory_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unit = study("unit_variance", monkeypatch)
    made = unit.study(layers=5, widths=(16, 32, 64, 128), networks=(1500, 750, 400, 200))
    assert made.holds, made
    growth = {(row.activation, row.scheme): row.growth()[0] for row in made.rows}
    assert growth["linear", "unit"] == pytest.approx(128**0.5) and growth["relu", "unit"] == pytest.approx(8)
    assert growth["linear", "lecun"] == pytest.approx(1) and growth["relu", "lecun"] == pytest.approx(0.5**0.5)
    assert "fan_in" in written(tmp_path / "figure.html", unit.figure(made))


@pytest.mark.slow
@pytest.mark.data
def test_networks_train_as_deep_as_correlations_live(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LARGEN_DATA", str(data))
    depth = study("trainable_depth", monkeypatch)
    made = depth.study(C_Ws=(1.0, 1.3, 1.6, 3.0), depths=(4, 12, 24, 48), width=64, images=500, steps=150, seeds=1)
    assert made.holds, made
    assert "xi_c" in written(tmp_path / "figure.html", depth.figure(made))


def test_stacked_draws_are_the_network_and_crossings_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = study("trainable_depth", monkeypatch)
    net = lg.mlp(widths=[16] * 6, out=10, activation="tanh", C_W=1.0, C_b=1.0)
    X = np.random.default_rng(0).normal(size=(5, 784)).astype(np.float32)
    wanted = lg.apply(net, lg.init(net, 784, jax.random.fold_in(jax.random.key(3), 6)), X)
    np.testing.assert_allclose(depth.outputs(depth.draws(6, 16, seed=3), X), wanted, rtol=1e-4, atol=1e-5)
    found = depth.crossings((4, 16, 64), np.array([[0.9, 0.8, 0.7], [0.9, 0.7, 0.3], [0.4, 0.9, 0.9]]))
    np.testing.assert_allclose(found, [np.inf, 32.0, 4.0])  # half way in log depth


@pytest.mark.slow
@pytest.mark.data
def test_the_best_deep_kernel_is_critical(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LARGEN_DATA", str(data))
    phase = study("nngp_phase_map", monkeypatch)
    made = phase.study(train=100, test=150, cells=5)
    assert made.holds, made
    # one cell again, the long way: the kernel of every pair, and largen's own regression
    X, labels, T, answers = phase.images(100, 150)
    i, j = 1, 1
    net = lg.mlp(widths=[1] * 50, out=1, activation="tanh", C_W=made.diagram.C_W[i], C_b=made.diagram.C_b[j])
    ridge = phase.RIDGE * float(lg.kernel(net, X[:1]).nngp[0, 0])
    mean = np.asarray(lg.predict(net, X, lg.one_hot(labels, 10), T, how="bayes", ridge=ridge).mean)
    assert (mean.argmax(1) == answers).mean() == pytest.approx(made.accuracy[i, j], abs=1.5 / 150)
    assert "chi_perp" in written(tmp_path / "figure.html", phase.figure(made))


def test_digits_stand_in_for_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    phase, asked = study("nngp_phase_map", monkeypatch), []
    X, labels, T, answers = phase.images(30, 20, phase.digits)
    assert X.shape == (30, 64) and T.shape == (20, 64) and len(labels) == 30 and len(answers) == 20
    np.testing.assert_allclose((X**2).mean(1), 1)

    class Made:
        holds = True

    monkeypatch.setattr(phase, "study", lambda **given: asked.append(given) or Made())
    monkeypatch.setattr(phase, "figure", lambda made: phase.go.Figure())
    monkeypatch.setattr(sys, "argv", ["nngp_phase_map.py", "--digits", "--out", str(tmp_path)])
    assert phase.main() == 0 and asked == [{"test": 797, "load": phase.digits}]
    assert (tmp_path / "nngp_phase_map.html").exists()
