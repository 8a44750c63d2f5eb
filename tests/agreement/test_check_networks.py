"""`lg.check` of networks that are no plain chains: residual, normalised, convolutional."""

from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import REJECT
from largen.architecture.mapping import heavier
from largen.errors import InputError, UnsupportedError

RNG = np.random.RandomState(0)
C: dict[str, Any] = {"C_W": 1.3, "C_b": 0.1}
RESIDUAL = lg.resnet_mlp(width=64, blocks=1, out=1, activation="gelu", **C)
NORMALISED = lg.resnet_mlp(width=64, blocks=1, out=1, activation="tanh", norm=True, **C)
IMAGES = lg.cnn(channels=[16], out=1, activation="erf", pool=True, **C)
ENDLESS = lg.Conv(8, 2, **C) >> lg.Act("erf") >> lg.Conv(2, 1, **C) >> lg.GlobalAvgPool()  # no readout: outputs themselves are squared
X, y = RNG.randn(3, 5), RNG.randn(3)
TABLE = {
    "residual": (RESIDUAL, RNG.randn(2, 5), 4000),
    "normalised": (NORMALISED, RNG.randn(3, 5), 4000),
    "convolutional": (IMAGES, RNG.randn(2, 2, 2, 2), 4000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_kernels_agree_and_wrong_ones_are_refused(name: str) -> None:
    net, X, networks = TABLE[name]
    found = lg.check(net, X, what="kernels", networks=networks)
    assert [claim.name for claim in found.claims] == ["kernel", "NTK"]
    assert found.verdict == "agrees", found
    wrong = lg.check(net, X, what="kernels", networks=networks // 4, theory=heavier(net, 1.2))
    assert wrong.verdict == "disagrees" and max(abs(claim.worst) for claim in wrong.claims) > REJECT


@pytest.mark.slow
def test_trained_residual_networks_agree_and_wrong_ones_are_refused() -> None:
    found = lg.check(RESIDUAL, X, y, networks=200)
    verdicts = {claim.name: claim.verdict for claim in found.claims}
    assert verdicts.pop("trained covariance") != "disagrees"  # it takes more networks to decide
    assert verdicts == {"kernel": "agrees", "NTK": "agrees", "trained mean": "agrees"}
    wrong = {claim.name: claim for claim in lg.check(RESIDUAL, X, y, networks=40, theory=heavier(RESIDUAL, 1.2)).claims}
    assert all(abs(wrong[name].worst) > REJECT for name in ("kernel", "NTK"))


def test_networks_without_a_readout_and_with_more_outputs() -> None:
    found = lg.check(ENDLESS, np.ones((2, 2, 2, 1)) * [[[[1.0]]], [[[0.5]]]], what="kernels", networks=20)
    assert [claim.name for claim in found.claims] == ["kernel", "NTK"]
    with pytest.raises(InputError, match="theory"):
        lg.check(RESIDUAL, X, what="kernels", networks=20, theory=lg.mlp(widths=[8], out=1, **C))
    with pytest.raises(InputError, match="X"):
        lg.check(RESIDUAL, np.ones((2, 5, 5, 1)), what="kernels", networks=20)


def test_widths_that_nobody_asked_for_fit_the_network() -> None:
    tapered = lg.mlp(widths=[100, 80, 60], out=1, **C)
    assert lg.check(tapered, X, what="kernels", networks=20).widths == (10, 20, 40, 80)
    with pytest.raises(InputError, match=r"multiples of 5, such as \(10, 20, 40, 80\)"):
        lg.check(tapered, X, what="kernels", networks=20, widths=(8, 16, 32, 64))


def test_what_cannot_be_held_against_networks_is_refused() -> None:
    dropped = lg.Dense(8, **C) >> lg.Act("relu") >> lg.Dropout(0.5) >> lg.Dense(1)
    with pytest.raises(UnsupportedError, match="without masks"):
        lg.check(dropped, X, what="kernels", networks=20)
    with pytest.raises(InputError, match="C_W"):
        lg.check(lg.mlp(widths=[8], out=1, activation="erf", C_W=0.0), X, y, networks=20)


def test_signals_of_images_are_refused_for_the_network_whatever_the_points() -> None:
    images = np.ones((2, 3, 3, 2))
    for points in (images, images.reshape(2, -1)):
        for call in (lambda X: lg.signal(IMAGES, X), lambda X: lg.check(IMAGES, X, what="signal", networks=20)):
            with pytest.raises(UnsupportedError, match="GlobalAvgPool"):
                call(points)
