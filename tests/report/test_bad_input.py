"""Whatever is wrong is said in one sentence, with exit code 2, before any work, and leaves no files."""

from pathlib import Path

import numpy as np
import pytest

from largen.cli import main

GOOD = "a,b,y\n" + "\n".join(f"{i},{i * i % 7},{i % 3}" for i in range(30)) + "\n"

FILES: dict[str, tuple[str, str]] = {  # name: (text of t.csv, what the sentence must name)
    "text": (GOOD.replace("5,4,", "5,four,"), "'four' in column 'b'"),
    "nan": (GOOD.replace("5,4,", "5,nan,"), "'nan' in column 'b'"),
    "gap": (GOOD.replace("5,4,2", "5,4,"), "empty cell in the target"),
    "ragged": (GOOD.replace("5,4,2", "5,4"), "2 columns"),
    "empty": ("", "0 lines"),
    "no rows": ("a,b,y\n", "1 lines"),
    "no header": (GOOD.partition("\n")[2], "header"),
    "one column": ("y\n1\n2\n", "1 column"),
    "one class": (GOOD.replace(",1\n", ",0\n").replace(",2\n", ",0\n"), "one class"),
    "ids": ("a,y\n" + "\n".join(f"{i},{i}" for i in range(30)) + "\n", "30 classes"),
    "mixed": ("a,y\n" + "\n".join(f"{i},{i / 2}" for i in range(30)) + "\n1,x\n", "'x' among numbers"),
    "few": ("a,y\n1,0\n2,1\n", "2 rows"),
}

NODES = 'format = "largen-network"\nversion = 1\n'
HIDDEN = '[[nodes]]\nnode = "Dense"\nwidth = 64\n[[nodes]]\nnode = "Act"\nactivation = "relu"\n'
LAST = '[[nodes]]\nnode = "Dense"\nwidth = 7\n'

CONFIGS: dict[str, tuple[str, str]] = {
    "malformed": ("[mlp\nwidths = 3", "malformed"),
    "negative C_W": ("[mlp]\nC_W = -1.0", "`C_W`: got -1.0"),
    "wrong length": ("[mlp]\nwidths = [64, 64]\nC_W = [1.0, 2.0]", "one per affine layer (3)"),
    "activation": ('[mlp]\nactivation = "rellu"\nC_W = 2.0', "'relu'"),
    "no critical point": ('[mlp]\nactivation = "sigmoid"', "= -4 < 0"),
    "width 0": ("[mlp]\nwidths = [0]", "`widths`: got 0"),
    "no widths": ("[mlp]\nwidths = []", "mlp.widths"),
    "both C": ('[mlp]\nC = "critical"\nC_W = 2.0', "together"),
    "unknown option": ("wdths = [64]", "'widths'"),
    "unknown in mlp": ("[mlp]\nactivaton = 'relu'", "'activation'"),
    "type": ('train = "many"', "train"),
    "both networks": (NODES + LAST + "[mlp]\nwidths = [64]\n", "one description"),
    "unknown node": (NODES + '[[nodes]]\nnode = "Dens"', "Dense"),
    "outputs": (NODES + HIDDEN + LAST, "10, one output per class"),
    "no hidden layer": (NODES + LAST.replace("7", "10"), "hidden layer"),
}

OPTIONS: dict[str, tuple[list[str], str]] = {
    "no such file": (["--data", "nowhere.csv"], "a file that exists"),
    "kind of file": (["--data", "table.xlsx"], ".npz or .csv"),
    "no such config": (["--config", "nowhere.toml"], "cannot be read"),
    "target of digits": (["--target", "y"], "target"),
    "too many points": (["--train", "5000"], "`train`: got 5000"),
    "train 0": (["--train", "0"], "train"),
    "seed": (["--seed", "-1"], "seed"),
    "seed text": (["--seed", "x"], "--seed"),
    "widths text": (["--widths", "a,b"], "whole numbers"),
    "widths 0": (["--widths", "0,16,32,64"], "`widths`: got 0"),
    "few widths": (["--widths", "16,32"], "four or more"),
    "widths falling": (["--widths", "64,32,16,8"], "increasing"),
    "pace": (["--pace", "3"], "pace"),
    "share": (["--share", "1.5"], "share"),
    "networks": (["--networks", "1"], "networks"),
    "unknown option": (["--sede", "1"], "--sede"),
}


def refused(capsys: pytest.CaptureFixture[str], folder: Path, words: str, *arguments: str) -> None:
    """Run and check: exit code 2, one line on stderr with the words, nothing written."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(["report", "--out", str(folder / "out"), *arguments])
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert said.err.startswith("largen: ") and said.err.count("\n") == 1 and "Traceback" not in said.err
    assert words in said.err, said.err
    assert said.out == ""
    assert sorted(folder.rglob("*")) == before


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """No study may begin."""

    def begun(*arguments: object) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr("largen.report.run.study", begun)


@pytest.mark.parametrize("name", FILES)
def test_csv(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(FILES[name][0])
    refused(capsys, tmp_path, FILES[name][1], "--data", str(tmp_path / "t.csv"))


def test_csv_without_the_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(GOOD)
    refused(capsys, tmp_path, "one of a, b, y", "--data", str(tmp_path / "t.csv"), "--target", "z")


def test_csv_of_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00a,b\n")
    refused(capsys, tmp_path, "no CSV text", "--data", str(tmp_path / "t.csv"))


@pytest.mark.parametrize("name", CONFIGS)
def test_config(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.toml").write_text(CONFIGS[name][0])
    refused(capsys, tmp_path, CONFIGS[name][1], "--config", str(tmp_path / "net.toml"))


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, tmp_path, OPTIONS[name][1], *OPTIONS[name][0])


X, Y = np.ones((30, 2)) * np.arange(30)[:, None], np.arange(30) % 3
ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "names": ({"a": X, "b": Y}, "with a, b"),
    "nan": ({"X": np.where(X == 3, np.nan, X), "y": Y}, "NaN"),
    "rows": ({"X": X, "y": Y[:-1]}, "`y`: got shape (29,)"),
    "rank": ({"X": X[:, 0], "y": Y}, "shape (30,)"),
    "empty": ({"X": X[:0], "y": Y[:0]}, "empty"),
    "complex": ({"X": X * 1j, "y": Y}, "complex"),
    "objects": ({"X": X.astype(object), "y": Y}, "plain arrays"),
    "columns": ({"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y}, "`x_test`: got 1 columns"),
    "kinds": ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y / 2}, "`y_test`"),
    "equal rows": ({"X": X * 0, "y": Y}, "all equal"),
    "equal targets": ({"X": X, "y": Y * 0.0}, "all equal"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_npz(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "t.npz", **ARRAYS[name][0])  # type: ignore[arg-type]
    refused(capsys, tmp_path, ARRAYS[name][1], "--data", str(tmp_path / "t.npz"))


def test_npz_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.npz").write_text("no archive")
    refused(capsys, tmp_path, "no .npz archive", "--data", str(tmp_path / "t.npz"))


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    refused(capsys, tmp_path, "is a file", "--out", str(tmp_path / "file" / "out"))
    refused(capsys, tmp_path, "`out`", "--out", "/proc/nowhere")


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["reprot"])
    assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1
