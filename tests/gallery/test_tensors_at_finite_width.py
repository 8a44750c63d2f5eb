"""What the script of measured 1/n tensors accepts; the tensors themselves are measured in tests/agreement/test_tensors_measured.py."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

GALLERY = Path(__file__).resolve().parents[2] / "gallery"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GALLERY))
    import tensors_at_finite_width  # pyright: ignore[reportMissingImports]

    return tensors_at_finite_width


def test_a_small_run(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """V of a few hundred tanh networks: right within wide errors, and therefore not accepted."""
    (row,) = script.measured("tanh", ("V",), (12, 12), (400, 300, 200, 100), jax.random.key(0))
    assert row.widths == (12, 24, 48, 96) and row.z < 4 and row.error > 0.03 and not row.holds
    assert np.abs(row.strength - 1).max() < 0.7 and "tanh      V: |z| <=" in capsys.readouterr().out
    assert script.figure(script.Outcome((row,))).data[0].name == "tanh, V"


def test_the_verdict(script: Any) -> None:
    good = script.Row("tanh", "V", (12, 24, 48, 96), np.ones(4), 2.0, 0.01, 0.01, (1.0, 0.9, 1.1), 20.0)
    assert script.Outcome((good,)).holds
    for bad in ({"z": 5.0}, {"gap": 0.05}, {"error": 0.05}, {"power": (1.0, 0.9, 2.1)}, {"power": (np.nan,) * 3}, {"control": 5.0}):
        assert not script.Outcome((good, replace(good, **bad))).holds
