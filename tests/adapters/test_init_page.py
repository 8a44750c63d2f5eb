"""The table of docs/init.md against `torch.nn.init.calculate_gain`, recomputed."""

from pathlib import Path

import pytest

import largen as lg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "init.md"
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
TABLE = {row[0]: row[1:6] for row in ROWS if row[0] != "activation"}
TORCH = {"swish": "silu", "leaky_relu(0.01)": "leaky_relu"}


def shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def test_the_table_has_the_activations_that_matter() -> None:
    assert {"relu", "tanh", "sigmoid", "selu", "gelu", "gelu_tanh", "swish", "mish"} <= set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_gain_and_critical_values_of_the_table(name: str) -> None:
    point = lg.critical(name)
    size = "any" if point.universality == "scale-invariant" else shown(point.K_star)
    assert TABLE[name][1:] == [shown(lg.gain(name) ** 2), shown(point.C_W), shown(point.C_b), size]


@pytest.mark.parametrize("name", TABLE)
def test_calculate_gain_of_the_table(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (TORCH=0)")
    try:
        value = f"{torch.nn.init.calculate_gain(TORCH.get(name, name)) ** 2:.4f}"
    except ValueError:
        value = "raises"
    assert TABLE[name][0] == value
