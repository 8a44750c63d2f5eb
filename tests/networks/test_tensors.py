"""The 1/n tensors of single networks: averages over the last weights against draws of them, exact values of two layers, refusals."""

from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import LEVEL
from largen.errors import InputError, UnsupportedError
from largen.networks.higher import ddntk_of, dntk_of
from largen.networks.metric import metric
from largen.networks.patterns import PATTERNS, Tensors, rows
from largen.networks.tensors import tensors
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor

X = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]])
RATES = (0.5, 0.8)
ENTRIES = (0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0, 0, 1)
# Depth 2, tanh, C_b = 0.3, C_W = 1.5, rates (0.5, 0.8): recursions at ENTRIES, exact at any width. PDLT 8.79-8.89, 11.31-32, inf.172-176
EXACT = {
    "F": (0.14564, 0.16597, 0.38078, 0.00020, 0.06082),
    "B": (0.57237, 0.74507, 0.39457, 0.05230, 0.14544),
    "P": (-0.15960, -0.21721, -0.00017, -0.00017, -0.00104),
    "Q": (-0.08192, -0.12870, 0.21559, -0.00006, -0.00051),
    "R": (-0.77626, -1.20260, -0.04654, -0.06324, -0.18754),
    "S": (0.49879, 0.71530, 0.21060, 0.05672, 0.13860),
    "T": (0.06471, 0.13345, -0.03537, 0.00003, -0.01237),
    "U": (0.19352, 0.31793, 0.02882, 0.00002, 0.06103),
    "V": (0.21653, 0.24380, 0.39043, 0.00001, 0.00232),
    "D": (-0.09123, -0.14122, 0.20754, -0.00001, -0.04016),
    "A": (0.04839, 0.09867, 0.13189, 0.0, 0.01699),
}


def scores(samples: Any, theory: Any, digits: float = 5e-6) -> np.ndarray:
    """Standard errors between the mean of samples and a theory printed with so many digits."""
    values = np.asarray(samples, float)
    return (values.mean(0) - theory) / np.hypot(values.std(0) / len(values) ** 0.5, digits)


def test_two_layers_have_the_exact_tensors() -> None:
    net = lg.mlp(widths=[24], out=1, activation="tanh", C_W=1.5, C_b=0.3)
    found = lg.each(tensors, net, lg.init(net, 3, jax.random.key(1), networks=6000, dtype=np.float32), X, RATES, chunk=100)
    for name, printed in EXACT.items():
        samples = np.stack([getattr(found, name)[(slice(None), *entry)] for entry in ENTRIES], 1)
        assert np.abs(scores(samples, printed)).max() < LEVEL, name
    for mean, printed in ((found.K, (0.883143, 0.305076, 0.969544)), (found.Theta, (1.415233, 0.678003, 1.510096))):
        assert np.abs(scores(np.asarray(mean)[:, [0, 0, 1], [0, 1, 1]], printed)).max() < LEVEL


@pytest.mark.slow
def test_averages_over_the_last_weights() -> None:
    """Of one network: the patterns of its outputs over many draws of the last layer, two rows each, as products of real outputs."""
    net, draws = lg.mlp(widths=[3, 4], out=2, activation="tanh", C_W=1.5, C_b=0.3), 8000
    one: Any = lg.init(net, 3, jax.random.key(5), dtype=np.float64)
    many: Any = {path: {k: np.broadcast_to(v, (draws, *v.shape)) for k, v in entry.items()} for path, entry in one.items()}
    many["dense3"] = lg.init(net, 3, jax.random.key(1), networks=draws, dtype=np.float64)["dense3"]
    found = lg.each(tensors, net, many, X, RATES, chunk=400)
    z, H = lg.each(lg.apply, net, many, X, chunk=400), lg.each(lg.empirical_ntk, net, many, X, rates=RATES, chunk=400)
    tensor = rate_tensor(net, (3,), resolve(net, RATES))
    with jax.enable_x64(True):
        dH, dd = jax.lax.map(lambda p: (dntk_of(net, p, X, tensor), ddntk_of(net, p, X, tensor)), many, batch_size=400)
        dH, first, second = map(np.asarray, (dH, dd.first, dd.second))
    n = 4
    drawn = {
        "F": np.einsum("ka,kc,kbd->kabcd", z[..., 0], z[..., 1], H[..., 0, 1]),
        "B": np.einsum("kac,kbd->kabcd", H[..., 0, 1], H[..., 0, 1]),
        "P": np.einsum("kabc,kd->kabcd", dH[..., 0, 1, 1], z[..., 0]),
        "Q": np.einsum("kabc,kd->kabcd", dH[..., 0, 0, 1], z[..., 1]),
        "R": first[..., 0, 0, 1, 1],
        "S": second[..., 0, 0, 1, 1],
        "T": second[..., 0, 1, 0, 1].transpose(0, 1, 3, 4, 2),
        "U": second[..., 0, 1, 1, 0].transpose(0, 1, 4, 2, 3),
    }
    for name, value in drawn.items():
        difference = n * value - np.asarray(getattr(found, name))
        assert np.abs(scores(difference, 0.0)).max() < LEVEL, name
        assert getattr(found, name).std(0).max() < n * value.std(0).max(), name  # the average over the last weights is worth it
    theta = H[..., 0, 0] - np.asarray(found.Theta)
    assert np.abs(scores(theta, 0.0)).max() < LEVEL


def test_covariances_and_the_metric() -> None:
    net = lg.mlp(widths=[6, 5], out=1, activation="relu", C_W=1.8, C_b=0.1)
    params = lg.init(net, 3, jax.random.key(0), networks=40)
    found = lg.each(tensors, net, params, X, chunk=8)
    assert isinstance(found, Tensors) and found.R is None and found.B.shape == (40, 2, 2, 2, 2) and found.B.dtype == np.float32
    np.testing.assert_allclose(found.K, lg.each(metric, net, params, X).metric, rtol=1e-5)
    both = np.concatenate([np.asarray(a, float).reshape(40, 4) for a in (found.K, found.Theta)], 1)
    cov = 5 * np.cov(both.T)
    for name, block in (("V", cov[:4, :4]), ("D", cov[:4, 4:]), ("A", cov[4:, 4:])):
        np.testing.assert_allclose(getattr(found, name).mean(0).reshape(4, 4), block, rtol=1e-4, atol=1e-5)
    slim = lg.each(tensors, net, params, X, tensors=("V",))
    assert slim.Theta is None and slim.D is None and all(getattr(slim, name) is None for name in PATTERNS)


def test_signs_are_fair_and_independent() -> None:
    W = np.random.default_rng(0).normal(size=(20_000, 1), scale=(2.0 / 20_000) ** 0.5)
    u = np.asarray(rows(W, 2.0)) / (2.0 / 20_000) ** 0.5
    np.testing.assert_allclose(np.abs(u), 1, rtol=1e-5)
    assert np.abs(u @ u.T / 20_000 - np.eye(2)).max() < 0.03 and np.abs(u.mean(1)).max() < 0.03
    assert not np.asarray(rows(0 * W, 0.0)).any()


def test_any_network_that_ends_with_an_affine_layer() -> None:
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 1))
    net = lg.Conv(3, 3) >> lg.Act("tanh") >> lg.GlobalAvgPool() >> lg.Dense(1)
    found = lg.each(tensors, net, lg.init(net, (4, 4, 1), jax.random.key(0), networks=3), images, tensors=("A", "Q"))
    cov = 3 * np.cov(np.asarray(found.Theta, float).reshape(3, 4).T)  # three units below the last layer
    np.testing.assert_allclose(found.A.mean(0).reshape(4, 4), cov, rtol=1e-4, atol=1e-5 * np.abs(cov).max())
    assert np.abs(found.Q).min() > 0 and found.Q.shape == (3, 2, 2, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"tensors": ("V", "Z")}, InputError, "tensors"),
        ({"tensors": "V"}, InputError, "collection"),
        ({"tensors": ("R",)}, UnsupportedError, "jumps"),
        ({"rates": (-1.0, 1.0)}, InputError, "lambda_b"),
        ({"X": X[0]}, InputError, "`X`"),
        ({"chunk": 0}, InputError, "chunk"),
        ({"net": lg.Dense(1)}, UnsupportedError, "no layer before"),
        ({"net": lg.Dense(4) >> lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(4))}, UnsupportedError, "affine layer"),
    ],
)
def test_bad_input(arguments: dict, error: Any, words: str) -> None:
    net = arguments.get("net", lg.mlp(widths=[4], out=1, activation="relu"))
    given = {"net": net, "params": lg.init(net, 3, jax.random.key(0), networks=2), "X": X, **arguments}
    with pytest.raises(error, match=words):
        lg.each(tensors, **given)


def test_one_network_has_no_covariance() -> None:
    net = lg.mlp(widths=[4], out=1)
    params = lg.init(net, 3, jax.random.key(0), networks=1)
    several, single = lg.each(tensors, net, params, X), tensors(net, jax.tree.map(lambda a: a[0], params), X)
    for found in (several, single):
        assert found.V is None and found.A is None and "over networks" in found.missing["V"] and "D" in found.missing
    np.testing.assert_allclose(several.B[0], single.B, rtol=1e-5)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_traced_ensembles_have_covariances_in_their_dtype(kind: str) -> None:
    net = lg.mlp(widths=[4], out=1)
    params = lg.init(net, 3, jax.random.key(0), networks=3, dtype=kind)
    found, points = lg.each(tensors, net, params, X, tensors=("V",)), jax.numpy.asarray(X, "float32")
    assert found.V.dtype == kind and lg.each(tensors, net, params, points, tensors=("V",)).V.dtype == kind
    np.testing.assert_allclose(jax.jit(lambda x: lg.each(tensors, net, params, x, tensors=("V",)).V)(points), found.V, rtol=1e-4, atol=1e-6)
