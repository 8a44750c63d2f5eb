"""CIFAR-10 by kernels, at a size that a test can afford."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import largen as lg

GALLERY = Path(__file__).resolve().parents[2] / "gallery"


@pytest.fixture
def cifar(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GALLERY))
    import cifar_kernels  # pyright: ignore[reportMissingImports]

    return cifar_kernels


@pytest.mark.slow
@pytest.mark.data
def test_kernels_see_more_than_chance(cifar: Any, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every fourth pixel of the images, and a small network with pooling in the place of Myrtle-5."""
    monkeypatch.setenv("LARGEN_DATA", str(data))
    images, labels = cifar.cifar10()
    images = images[:, ::4, ::4]
    monkeypatch.setattr(cifar, "cifar10", lambda: (images, labels))
    pooled = lg.Conv(1, 3, strides=2, C_W=2.0) >> lg.Act("relu") >> lg.GlobalAvgPool() >> lg.Dense(1)
    monkeypatch.setattr(cifar, "ALL", {**cifar.FEW, "Myrtle-5": pooled})
    made = cifar.study(many=(100, 200), few=(24, 20))
    assert [(r.network, r.kernel) for r in made.rows][:3] == [
        ("fully connected", "NNGP"), ("fully connected", "NTK"), ("convolutions, flattened", "NNGP")
    ]  # fmt: skip
    many = [r for r in made.rows if r.train == 100]
    assert len(many) == 4 and len(made.rows) == 10
    assert all(r.accuracy >= r.needed for r in many)
    # the long way: largen's own regression on one kernel
    own = images[:100]
    X = ((images - own.mean((0, 1, 2))) / own.std((0, 1, 2))).reshape(len(images), -1).astype(np.float32)
    net, T = cifar.FEW["fully connected"], X[cifar.FIRST_TEST : cifar.FIRST_TEST + 200]
    ridge = cifar.RIDGE * float(np.diagonal(lg.kernel(net, X[:100]).nngp).mean())
    mean = lg.predict(net, X[:100], lg.one_hot(labels[:100], 10), T, how="bayes", ridge=ridge).mean
    answers = labels[cifar.FIRST_TEST : cifar.FIRST_TEST + 200]
    assert (np.asarray(mean).argmax(1) == answers).mean() == pytest.approx(many[0].accuracy, abs=1.5 / 200)
    page = tmp_path / "figure.html"
    cifar.figure(made).write_html(page, include_plotlyjs=True)
    assert "Myrtle-5" in page.read_text(encoding="utf-8")


def test_no_data_is_said(cifar: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LARGEN_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["cifar_kernels.py", "--out", str(tmp_path)])
    assert cifar.main() == 2
    assert "cifar10/cifar10_lossless_first4k.npz" in capsys.readouterr().err


def test_the_verdict_needs_every_claim(cifar: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given how many of 100 images each is right on: alike, Myrtle-5 ahead, above chance."""
    monkeypatch.setattr(cifar, "cifar10", lambda: (np.random.default_rng(0).random((2000, 2, 2, 3)), np.arange(2000, dtype=np.int32) % 10))
    monkeypatch.setattr(cifar.lg, "explain", lambda *_: "")

    def holds(dense: int, conv: int, pooled: int, needed: float) -> bool:
        count = {"fully connected": dense, "convolutions, flattened": conv, "Myrtle-5": pooled}

        def fitted(name: str, net: Any, X: Any, labels: Any, T: Any, answers: Any) -> list[Any]:
            return [cifar.Row(name, kernel, len(X), np.arange(len(T)) < count[name], needed, 0.0) for kernel in cifar.COLOURS]

        monkeypatch.setattr(cifar, "fitted", fitted)
        return cifar.study(many=(50, 100), few=(20, 100)).holds

    assert holds(dense=40, conv=45, pooled=50, needed=0.2)
    assert not holds(dense=40, conv=50, pooled=60, needed=0.2)  # 10 images, 3.2 standard errors
    assert not holds(dense=50, conv=40, pooled=60, needed=0.2)
    assert not holds(dense=40, conv=45, pooled=45, needed=0.2)
    assert not holds(dense=40, conv=45, pooled=50, needed=0.42)
