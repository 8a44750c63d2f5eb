"""Evidence of the errata at sizes that a test can afford: printed formulas refused, right ones accepted."""

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


def test_exact_evidence(script: Any, tmp_path: Path) -> None:
    for make in (script.sign_of_538, script.trained.optima_of_chapter_11, script.trained.count_of_eps25):
        judged(found := make())
    script.draw(found, tmp_path / "figure.svg")
    assert "different numbers" in (tmp_path / "figure.svg").read_text(encoding="utf-8")


def test_average_of_the_trained_output_by_monte_carlo(script: Any) -> None:
    for found in script.trained.projectors_of_training(draws=20_000):
        judged(found)


def test_the_verdict(script: Any) -> None:
    """The right formula has to agree at every entry, the printed one to fail at one."""
    found = np.array([1.0, 2.0]), np.array([0.1, 0.1])

    def verdict(right: list[float], printed: list[float]) -> Any:
        return script.trained.weighed("", "", ("", ""), [0, 1], {}, found, right, printed)

    good = verdict([1.1, 1.9], [1.0, 2.7])
    assert good.holds and good.right == pytest.approx(1) and good.printed == pytest.approx(7) and good.measured.startswith("2 ± 0.1")
    assert not verdict([1.1, 1.5], [1.0, 2.7]).holds and not verdict([1.1, 1.9], [1.0, 2.5]).holds


@pytest.mark.slow
def test_evidence_of_outputs_and_kernels(script: Any) -> None:
    judged(script.trained.corner_of_646(networks=400))
    judged(script.trained.noise_of_labels(networks=4000, widths=(8, 16, 32)))
    judged(script.trained.rates_of_994(networks=400, widths=(8, 32)))


@pytest.mark.slow
def test_evidence_of_the_dntk(script: Any) -> None:
    judged(script.trained.primes_of_1149((2000, 1000, 500, 250)))
    judged(script.trained.kink_in_q((4000, 2000, 1000, 500)))
