"""Small reports for the tests: a table that trains in a second, and a report of it, made once."""

from pathlib import Path

import numpy as np
import pytest

SMALL = ["--train", "24", "--test", "24", "--widths", "16,32,64,128", "--networks", "16", "--draws", "48"]


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with four features and a class that depends on them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(96, 4))
    y = np.where(X[:, 0] + X[:, 1] ** 2 > 0.8, "high", "low")
    path = tmp_path_factory.mktemp("table") / "table.csv"
    lines = [",".join(f"{v:.4f}" for v in row) + f",{label}" for row, label in zip(X, y, strict=True)]
    path.write_text("a,b,c,d,class\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config with a small network."""
    path = tmp_path_factory.mktemp("config") / "net.toml"
    path.write_text('[mlp]\nwidths = [128, 128]\nactivation = "relu"\n')
    return path


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options of a report that takes seconds."""
    return SMALL


@pytest.fixture(scope="session")
def made(table: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small report."""
    from largen.cli import main

    out = tmp_path_factory.mktemp("report") / "out"
    with pytest.raises(SystemExit) as stop:
        main(["report", "--data", str(table), "--config", str(config), "--out", str(out), *SMALL])
    assert stop.value.code == 0
    return out
