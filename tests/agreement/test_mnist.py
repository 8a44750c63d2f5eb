"""MNIST: single networks' accuracy against outputs drawn from theory, by the gallery's script at an affordable size."""

import importlib
from pathlib import Path
from typing import Any

import pytest

GALLERY = Path(__file__).resolve().parents[2] / "gallery"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GALLERY))
    return importlib.import_module("mnist_single_networks")


@pytest.mark.slow
@pytest.mark.data
def test_single_networks_are_as_right_as_theory_says(data: Path, script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARGEN_DATA", str(data))
    out = script.study(points=200, widths=(64, 128, 256, 512), trained=(30, 20, 12, 8), draws=1000)
    assert out.holds, out
