"""V and K{1} of real networks, extrapolated to infinite width, against theory; wrong theories refused on the same networks."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import LEVEL, PRECISION, REJECT
from largen.theory.corrections import recursion

X = np.array([[1.0, 0.2], [0.4, 1.0]])
NETWORKS = (180_000, 80_000, 25_000, 8_000)


@pytest.mark.slow
def test_metrics_of_networks_are_averages_over_the_last_weights() -> None:
    """`metric` and `quartic` of one network against many draws of its last layer, in a plain and in a residual chain."""
    for net in (lg.mlp(widths=[6, 5], out=4, activation="relu", C_W=1.5, C_b=0.2), lg.Dense(6) >> block(6)):
        params = lg.init(net, 2, jax.random.key(0), dtype=np.float64)
        draws = 40_000
        many: Any = {path: {k: np.broadcast_to(v, (draws, *v.shape)) for k, v in entry.items()} for path, entry in params.items()}
        last = list(params)[-1]
        many[last] = lg.init(net, 2, jax.random.key(1), networks=draws, dtype=np.float64)[last]
        one: Any = {path: {k: np.asarray(v)[None] for k, v in entry.items()} for path, entry in params.items()}
        found = lg.each(lg.measure.metric, net, one, X)
        z = np.asarray(lg.each(lg.apply, net, many, X, chunk=1000))
        products = np.einsum("kai,kbi->kiab", z, z)
        n = z.shape[2]
        different = (np.einsum("kiab,kjcd->kabcd", products, products) - np.einsum("kiab,kicd->kabcd", products, products)) / (n * (n - 1))
        for samples, mean in ((products.mean(1), found.metric[0]), (different, found.quartic[0])):
            z_scores = (samples.mean(0) - mean) / (samples.std(0) / draws**0.5)
            assert np.abs(z_scores).max() < LEVEL


def block(width: int) -> lg.Sum:
    return lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(width, C_W=1.5, C_b=0.1), weights=(0.6, 1.0))


@pytest.mark.slow
def test_controls_have_mean_zero() -> None:
    many = 200_000
    for net in (lg.mlp(widths=[6, 5], activation="gelu", C_W=1.5, C_b=0.2), lg.Dense(6) >> block(6) >> block(6)):
        found = lg.each(lg.measure.metric, net, lg.init(net, 2, jax.random.key(3), networks=many), X, chunk=1000)
        controls = np.asarray(found.controls, float)
        live = controls.std(0) > 1e-5
        assert live.sum() >= 2 * 3 * (len(lg.analysis.chain(net)) - 1)
        assert np.abs(controls.mean(0) / controls.std(0) * many**0.5)[live].max() < LEVEL


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "C_W", "C_b", "n"), [("relu", 2.0, 0.0, 5), ("gelu", 1.8, 0.1, 7)])
def test_real_networks_have_the_tensors_of_theory(activation: str, C_W: float, C_b: float, n: int) -> None:
    """Hidden widths n and 4n, n over a factor of 8: every entry within 4 standard errors; V known to 3 %."""

    def net(wide: int, scale: float = 1.0) -> lg.Serial:
        return lg.mlp(widths=[n, wide], activation=activation, C_W=scale * C_W, C_b=C_b)

    out = lg.check(net(4 * n), X, what="tensors", widths=(n, 2 * n, 4 * n, 8 * n), networks=NETWORKS, key=jax.random.key(1))
    V, K1 = out.entries["V"], out.entries["K1"]
    assert max(np.abs(V.z()).max(), np.abs(K1.z()).max()) < LEVEL
    assert V.precision().max() < PRECISION and next(c for c in out.claims if c.quantity == "V").verdict == "agrees", out
    assert K1.error.max() < 0.08 * np.abs(K1.theory).max()
    louder, narrow = lg.corrections(net(4 * n, 1.1), X), lg.corrections(net(n), X)
    assert np.abs(V.z(louder.V)).max() > REJECT  # C_W + 10 %
    assert min(np.abs(V.z(narrow.V)).max(), np.abs(K1.z(narrow.K1)).max()) > REJECT  # no factor n_l/n_{l-1}
    assert np.abs(K1.z(0.0 * K1.theory))[0, 1] > REJECT  # as footnote 24 of chapter 5 has it for ReLU


@pytest.mark.slow
def test_residual_relu_networks_have_a_three_point_cumulant() -> None:
    """The printed (B.24), which is this recursion with M = 0, is refused on the same networks."""
    net = lg.resnet_mlp(12, blocks=1, activation="relu", skip=0.5, C_W=1.5)
    out = lg.check(net, X, what="tensors", widths=(12, 24, 48, 96), networks=NETWORKS, key=jax.random.key(1))
    V = out.entries["V"]
    assert max(np.abs(entry.z()).max() for entry in out.entries.values()) < LEVEL
    assert V.precision().max() < PRECISION
    chain = lg.analysis.chain(net)
    level, *_ = recursion.recur(chain, 1.5 * X @ X.T / 2, 2)
    for layer, r in zip(chain[1:], (12 / 2, 1.0), strict=True):
        level = recursion.advance(replace(level, M=0 * level.M), layer, r)
    assert np.abs(V.z(level.V)).max() > REJECT
