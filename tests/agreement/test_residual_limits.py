"""Residual and normalised networks: kernels of real networks, extrapolated to infinite width, against theory."""

from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import LEVEL, PRECISION, REJECT, extrapolate, mean_and_error, z_score

WIDTHS = (8, 16, 32, 64)
NETWORKS, LOOKED_AT = 750, 3000  # whose NTK, and whose outputs, are measured
RNG = np.random.default_rng(5)
X = RNG.normal(size=(5, 6))
X[1], X[2] = 2.5 * X[0], X[0] + 1e-2 * RNG.normal(size=6)  # parallel, and nearly equal to the first
X = X.astype(np.float32)
# entries fixed in advance: two diagonals, parallel, nearly equal and distinct points
ENTRIES = ([0, 1, 0, 0, 0, 1], [0, 1, 1, 2, 3, 4])


def residual(width: int, activation: str, norm: bool, skip: float = 0.8) -> lg.Serial:
    return lg.resnet_mlp(width, blocks=2, out=8, activation=activation, skip=skip, C_W=1.4, C_b=0.1, norm=norm)


def measured(activation: str, norm: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Per width: (networks, entries) of the mean over outputs of z z', and of the NTK."""
    K, Theta = [], []
    for i, n in enumerate(WIDTHS):
        net = residual(n, activation, norm)
        params = lg.init(net, 6, jax.random.key(i), networks=LOOKED_AT, dtype=np.float32)
        few = jax.tree_util.tree_map(lambda p: p[:NETWORKS], params)
        z = np.asarray(lg.each(lg.apply, net, params, X, chunk=100), dtype=float)
        K.append(np.einsum("kai,kbi->kab", z, z)[:, *ENTRIES] / z.shape[2])
        Theta.append(np.asarray(lg.each(lg.empirical_ntk, net, few, X, full=False, chunk=20), dtype=float)[:, *ENTRIES])
    return K, Theta


def scores(samples: list[np.ndarray], theory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z-scores of the intercepts, and errors relative to sqrt(diagonal x diagonal); the neglected order counts as an error, as in
    `lg.check`."""
    z, errors = [], []
    for value, row, column, *series in zip(theory[*ENTRIES], *ENTRIES, *(s.T for s in samples), strict=True):
        scale = np.sqrt(theory[row, row] * theory[column, column])
        means, spread = np.array([mean_and_error(s) for s in series]).T
        fit = extrapolate(WIDTHS, means, spread, neglected=scale * abs((means[0] - value) / scale) ** 3)
        z.append(z_score(fit.intercept, fit.error, value))
        errors.append(fit.error / scale)
    return np.array(z), np.array(errors)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "norm"), [("tanh", False), ("gelu", True)])
def test_real_networks_have_the_kernels_of_theory(activation: str, norm: bool) -> None:
    """NNGP and NTK within 4 standard errors; the wrong skip, and normalisation that is forgotten or added, refused at 6."""
    K, Theta = measured(activation, norm)

    def theory(net: Any) -> list[np.ndarray]:
        out = lg.kernel(net, X.astype(np.float64))
        return [np.asarray(out.nngp), np.asarray(out.ntk)]

    for samples, value in zip((K, Theta), theory(residual(8, activation, norm)), strict=True):
        z, errors = scores(samples, value)
        assert np.abs(z).max() < LEVEL, z
        assert errors.max() < PRECISION, errors
    for wrong in (residual(8, activation, norm, skip=0.4), residual(8, activation, not norm)):
        worst = [np.abs(scores(samples, value)[0]).max() for samples, value in zip((K, Theta), theory(wrong), strict=True)]
        assert max(worst) > REJECT, worst
