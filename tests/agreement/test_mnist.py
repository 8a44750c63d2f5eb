"""MNIST: single networks' accuracy against outputs drawn from theory, by the gallery's script at an affordable size."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "gallery" / "mnist_single_networks.py"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("mnist_single_networks", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.data
def test_single_networks_are_as_right_as_theory_says(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARGEN_DATA", str(data))
    out = script().study(points=200, widths=(64, 128, 256, 512), trained=(30, 20, 12, 8), draws=1000)
    assert out.holds, out
