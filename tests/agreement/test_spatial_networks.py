"""Kernels of convolutional, pooled, concatenated and gated networks against ensembles of real ones; wrong kernels refused."""

from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import LEVEL, REJECT, extrapolate, mean_and_error, z_score

X = np.random.default_rng(0).normal(size=(2, 4, 3, 2)).astype(np.float32)
WIDTHS, NETWORKS = (8, 16, 32, 64), (6000, 3000, 1500, 1000)
HEAD: Any = lg.Dense(8, C_W=1.3, C_b=0.05)


def conv(channels: int, window: Any = 3, C_W: float = 1.7, **options: Any) -> lg.Conv:
    return lg.Conv(channels, window, C_W=C_W, C_b=0.1, **options)


def flat(n: int, C_W: float = 1.7) -> Any:
    return conv(n, C_W=C_W) >> lg.Act("relu") >> conv(n, strides=2) >> lg.Act("relu") >> lg.Flatten() >> HEAD


def pooled(n: int, C_W: float = 1.7) -> Any:
    first = conv(n, (2, 3), C_W, padding="CIRCULAR") >> lg.AvgPool((2, 1)) >> lg.Act("tanh")
    return first >> conv(n, 2, dilation=2) >> lg.Act("gelu") >> lg.GlobalAvgPool() >> HEAD


def branches(n: int, C_W: float = 1.7) -> Any:
    sides = lg.Concat(lg.Identity(), lg.Act("tanh") >> conv(n // 2), lg.Act("relu"))
    gate = lg.Product(conv(n, 1), lg.RMSNorm() >> lg.Act("sigmoid") >> conv(n, 1)) >> lg.RMSNorm()
    return conv(n, C_W=C_W) >> sides >> conv(n) >> gate >> lg.SumPool((2, 3)) >> conv(n, 1) >> lg.Act("erf") >> lg.Flatten() >> HEAD


def measured(make: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means over networks and outputs of z z' and of the NTK, and their standard errors, (widths, 3) for the entries 11, 12, 22."""
    found: dict[str, list[Any]] = {"nngp": [], "ntk": []}
    for n, networks in zip(WIDTHS, NETWORKS, strict=True):
        net = make(n)
        params = lg.init_ensemble(net, jax.random.key(n), X.shape[1:], networks)
        z = np.asarray(lg.apply_ensemble(net, params, X, chunk=100), float)
        H = np.asarray(lg.empirical_ntk_ensemble(net, params, X, full=False, chunk=100), float)
        for name, samples in (("nngp", np.einsum("kao,kbo->kab", z, z) / z.shape[2]), ("ntk", H)):
            found[name].append(mean_and_error(samples[:, [0, 0, 1], [0, 1, 1]]))
    return {name: tuple(np.array(part) for part in zip(*rows, strict=True)) for name, rows in found.items()}  # type: ignore[misc]


def scores(values: dict[str, tuple[np.ndarray, np.ndarray]], theory: lg.Kernel) -> np.ndarray:
    """z-scores of the intercepts, (nngp and ntk, entries); the errors are below 3 % of the largest entry."""
    rows = []
    for name, (means, errors) in values.items():
        expected = np.asarray(getattr(theory, name), float)[[0, 0, 1], [0, 1, 1]]
        fits = [extrapolate(WIDTHS, m, e) for m, e in zip(means.T, errors.T, strict=True)]
        assert max(fit.error for fit in fits) < 0.03 * expected.max()
        rows.append([z_score(fit.intercept, fit.error, value) for fit, value in zip(fits, expected, strict=True)])
    return np.array(rows)


@pytest.mark.slow
@pytest.mark.parametrize("make", [flat, pooled, branches])
def test_real_networks_have_the_kernels_of_theory(make: Any) -> None:
    values = measured(make)
    assert np.abs(scores(values, lg.kernel(make(8), X))).max() < LEVEL
    assert np.abs(scores(values, lg.kernel(make(8, C_W=1.87), X))).max() > REJECT  # C_W + 10 % in the first layer
    if make is flat:  # pooled instead of flattened
        other = conv(8) >> lg.Act("relu") >> conv(8, strides=2) >> lg.Act("relu") >> lg.GlobalAvgPool() >> HEAD
        assert np.abs(scores(values, lg.kernel(other, X))).max() > REJECT
