"""The claims of docs/laws.md that its own code does not print: how borders count, exactly, and CIFAR-10's numbers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import largen as lg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "laws.md"


def kernels(net: Any, X1: np.ndarray, X2: np.ndarray) -> np.ndarray:
    k = lg.kernel(net, X1, X2)
    return np.stack([k.nngp, k.ntk])


def windows(size: int, padding: str) -> np.ndarray:
    """How many windows of 3 see each pixel of one axis, one by one."""
    low, count = (0, size - 2) if padding == "VALID" else (1, size)
    seen = np.zeros(size)
    for j in range(count):
        for d in range(3):
            at = j + d - low
            if padding == "CIRCULAR":
                seen[at % size] += 1
            elif 0 <= at < size:
                seen[at] += 1
    return seen


@pytest.mark.parametrize(("padding", "border", "corner"), [("CIRCULAR", 9, 9), ("SAME", 6, 4), ("VALID", 3, 1)])
def test_a_joint_shift_moves_what_counts_for_less(padding: str, border: int, corner: int) -> None:
    """One convolution and no activation: the kernel is a sum over pixels, each as often as windows see it."""
    X, shift = np.random.default_rng(0).normal(size=(3, 7, 5, 2)), (3, 2)
    moved = np.roll(X, shift, axis=(1, 2))
    m = np.outer(windows(7, padding), windows(5, padding))
    assert m[0, 2] == border and m[0, 0] == corner
    positions = 5 * 3 if padding == "VALID" else 7 * 5
    pixels = np.einsum("ihwc,jhwc->ijhw", X, X) / 2
    net = lg.Conv(1, 3, padding=padding, C_W=1.7, C_b=0.1) >> lg.Flatten() >> lg.Dense(1)
    plain, after = kernels(net, X, X)[0], kernels(net, moved, moved)[0]
    np.testing.assert_allclose(plain, 0.1 + 1.7 / (9 * positions) * (pixels * m).sum((2, 3)), rtol=1e-12)
    change = 1.7 / (9 * positions) * (pixels * (np.roll(m, (-3, -2), (0, 1)) - m)).sum((2, 3))
    np.testing.assert_allclose(after - plain, change, rtol=0, atol=1e-13)
    assert (np.abs(change).max() > 0.01) == (padding != "CIRCULAR")


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_cifar_images_shift_by_what_the_page_says(data: Path, padding: str) -> None:
    raw = np.load(data / "cifar10" / "cifar10_lossless_first4k.npz")["x_train"][:10] / 255.0
    X = np.asarray(lg.standardize(raw.reshape(10, -1))).reshape(raw.shape)
    moved = np.roll(X, (16, 16), axis=(1, 2))
    layer = lg.Conv(1, 3, padding=padding, C_W=2.0, C_b=0.1) >> lg.Act("relu")
    net = layer >> layer >> lg.Flatten() >> lg.Dense(1, C_W=2.0, C_b=0.1)
    plain = kernels(net, X, X)
    found = np.abs(kernels(net, moved, moved) - plain).max((1, 2)) / plain.max((1, 2))
    said = re.search(rf'^\| "{padding}" \| ([\d.]+) \| ([\d.]+) \|$', PAGE.read_text("utf-8"), re.M)
    assert said is not None
    np.testing.assert_allclose(found, [float(v) for v in said.groups()], atol=6e-4)
