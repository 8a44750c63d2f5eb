"""Trained digits at finite width, at a size that a test can afford."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GALLERY = Path(__file__).resolve().parents[2] / "gallery"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GALLERY))
    import trained_at_finite_width  # pyright: ignore[reportMissingImports]

    return trained_at_finite_width


@pytest.mark.slow
@pytest.mark.data
def test_a_small_run(script: Any, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One train digit and two test digits: strengths near 1 within their errors, which are wide here."""
    monkeypatch.setenv("LARGEN_DATA", str(data))
    monkeypatch.setattr(script, "BATCH", 500)
    out = script.study(1, 2, widths=(4, 8, 16), check=16, trained=500, untrained=2000)
    assert [row.width for row in out.rows] == [4, 8, 16, 16] and np.abs((out.strength - 1) / out.error).max() < 4
    assert np.abs(out.ahead).max() < 4 and set(out.controls) == {"no correction", "linearised networks alone", "the printed sign"}
    page = tmp_path / "figure.html"
    script.figure(script.reported(out)).write_html(page, include_plotlyjs=True)
    assert "variance" in page.read_text(encoding="utf-8")


def test_inputs_are_turned_without_loss(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = np.random.default_rng(0).uniform(size=(400, 50)), np.arange(400) % 4
    monkeypatch.setattr(script, "mnist", lambda train, test: (images[:train], labels[:train], images[:test], labels[:test]))
    X, y = script.digits(3, 2)
    chosen = np.asarray(script.lg.standardize(images[:250][labels[:250] < 2][:5]))
    assert X.shape == (5, 5) and list(y) == [-0.5, 0.5, -0.5]
    np.testing.assert_allclose(X @ X.T / 5, chosen @ chosen.T / 50, atol=1e-12)


def test_the_verdict(script: Any) -> None:
    """Exact curves 1 + 2/n - 3/n^2 hold; the same off by a tenth, or with wide errors, do not."""

    def rows(at_infinity: float, error: float) -> tuple[Any, ...]:
        curves = [(n, at_infinity + 2 / n - 3 / n**2) for n in (8, 16, 32, 64, 256)]
        return tuple(script.Row(n, np.full(2, s), np.full(2, error), np.full(2, 0.4)) for n, s in curves)

    printed = np.array([0.2, 0.0])
    good = script.judged(rows(1.0, 1e-3), printed)
    assert good.holds and np.allclose(good.strength, 1) and np.abs(good.ahead).max() < 1e-6
    assert good.controls["linearised networks alone"] == pytest.approx(0.6 / good.error[0])
    assert not script.judged(rows(1.1, 1e-3), printed).holds and not script.judged(rows(1.0, 0.1), printed).holds
    assert not script.judged(rows(1.0, 1e-3), np.array([1.0, 0.0])).holds


def test_no_data_is_said(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LARGEN_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["trained_at_finite_width.py", "--out", str(tmp_path)])
    assert script.main() == 2
    assert "mnist/mnist.npz" in capsys.readouterr().err
