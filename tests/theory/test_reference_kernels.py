"""Kernels of convolutional, residual and normalised networks in `tests/reference/nt_kernels.npz`, from an independent implementation."""

from pathlib import Path

import numpy as np
import pytest

import largen as lg

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "nt_kernels.npz"
C = {"C_W": 1.69, "C_b": 0.04}


def conv(window: int = 3, **options: object) -> lg.Conv:
    return lg.Conv(4, window, **options, **C)  # type: ignore[arg-type]


def dense() -> lg.Dense:
    return lg.Dense(4, **C)


RELU, ERF, GELU, POOL = lg.Act("relu"), lg.Act("erf"), lg.Act("gelu"), lg.AvgPool(2)
NETS = {
    "cnn-flat-relu": conv() >> RELU >> conv() >> RELU >> lg.Flatten() >> dense(),
    "cnn-gap-relu": conv() >> RELU >> conv() >> RELU >> lg.GlobalAvgPool() >> dense(),
    "cnn-valid-stride": conv(padding="VALID", strides=2) >> RELU >> conv(2, padding="VALID") >> RELU >> lg.Flatten() >> dense(),
    "cnn-circular-gap": conv(padding="CIRCULAR") >> ERF >> conv(padding="CIRCULAR") >> ERF >> lg.GlobalAvgPool() >> dense(),
    "myrtle": conv() >> RELU >> POOL >> conv() >> RELU >> POOL >> lg.GlobalAvgPool() >> dense(),
    "resnet": conv() >> lg.Repeat(lg.Sum(lg.Identity(), RELU >> conv() >> RELU >> conv()), 2) >> RELU >> lg.GlobalAvgPool() >> dense(),
    "attention-linear-identity": dense()
    >> lg.Attention(C_key=1.44, C_value=1.21, C_query=1.0, C_out=0.81, C_b=0.01)
    >> lg.GlobalAvgPool()
    >> dense(),
    "mlp-layernorm": dense() >> lg.LayerNorm() >> RELU >> dense() >> lg.LayerNorm() >> RELU >> dense(),
    "mlp-resid-gelu": dense() >> lg.Repeat(lg.Sum(lg.Identity(), GELU >> dense()), 3) >> GELU >> dense(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_kernels_are_those_of_neural_tangents(name: str) -> None:
    with np.load(REFERENCE) as file:
        x1, x2, nngp, ntk = (file[f"{name}/{part}"] for part in ("x1", "x2", "nngp", "ntk"))
    found = lg.kernel(NETS[name], x1, x2)
    for got, wanted in ((found.nngp, nngp), (found.ntk, ntk)):
        assert np.abs(got - wanted).max() <= 1e-10 * np.abs(wanted).max()
