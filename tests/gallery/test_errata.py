"""Evidence of the errata at sizes that a test can afford: printed formulas refused, right ones accepted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GALLERY = Path(__file__).resolve().parents[2] / "gallery"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GALLERY))
    import errata  # pyright: ignore[reportMissingImports]

    return errata


def judged(found: Any) -> None:
    assert found.holds, (found.name, found.printed, found.right, found.unit, found.measured)


def test_a_run(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(script, "ERRATA", (script.finite.optima_of_chapter_11, script.finite.count_of_eps25))
    monkeypatch.setattr("sys.argv", ["errata.py", "--out", str(tmp_path)])
    assert script.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == {"eq-11-132.svg", "eq-eps-25.svg"}
    assert "measured 666 ± 0, right 666, printed 64" in capsys.readouterr().out
    monkeypatch.setattr(script, "ERRATA", (lambda: replace(script.finite.optima_of_chapter_11(), holds=False),))
    assert script.main() == 1


def test_without_matplotlib_it_says_so(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["errata.py", "--out", str(tmp_path)])
    assert script.main() == 2 and "matplotlib" in capsys.readouterr().err


@pytest.mark.slow
def test_average_of_the_trained_output_by_monte_carlo(script: Any) -> None:
    for found in script.trained.projectors_of_training(draws=40_000):
        judged(found)


def test_the_verdict(script: Any) -> None:
    """The right formula has to agree at every entry, the printed one to fail at one."""
    found = np.array([1.0, 2.0]), np.array([0.1, 0.1])

    def verdict(right: list[float], printed: list[float]) -> Any:
        return script.finite.weighed("", "", ("", ""), [0, 1], {}, found, right, printed)

    good = verdict([1.1, 1.9], [1.0, 2.7])
    assert good.holds and good.right == pytest.approx(1) and good.printed == pytest.approx(7) and good.measured == (2.0, 0.1, 1.9, 2.7)
    assert not verdict([1.1, 1.5], [1.0, 2.7]).holds and not verdict([1.1, 1.9], [1.0, 2.5]).holds


def test_small_versions(script: Any) -> None:
    judged(script.sign_of_538())
    judged(script.finite.corner_of_646(networks=500))
    judged(script.finite.rates_of_994(networks=300, widths=(8, 16)))


@pytest.mark.slow
def test_evidence_of_networks(script: Any) -> None:
    judged(script.finite.primes_of_1149((2000, 1000, 500, 250)))
