"""One network at order=1: real networks trained by descent, and the algebra of the projected terms."""

from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.networks.empirical import empirical_ntk
from largen.networks.higher import ddntk, dntk
from largen.prediction.first_order.network import interleave, trained_network

RATES = (0.3, 0.6)
X, X_TEST = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]]), np.array([[0.7, 0.6, 0.4]])
BOTH = np.concatenate([X, X_TEST])


def tanh(width: int, out: int = 1) -> Any:
    return lg.mlp(widths=[width, width], out=out, activation="tanh")


def apart(tensor: Any, points: int) -> Any:
    """The inverse of `interleave`."""
    k, o = tensor.ndim, tensor.shape[0] // points
    return tensor.reshape((points, o) * k).transpose([*range(0, 2 * k, 2), *range(1, 2 * k, 2)])


def predicted(net: Any, params: Any, y: Any, how: str = "descent", eta: Any = None) -> Any:
    """The record of one network, from its own tensors."""
    second = ddntk(net, params, BOTH, rates=RATES)
    tensors = (empirical_ntk(net, params, BOTH, rates=RATES), dntk(net, params, BOTH, rates=RATES), second.first, second.second)
    return trained_network(lg.apply(net, params, BOTH), *tensors, y, how, eta)


def test_interleaved_and_back():
    tensor = np.random.default_rng(0).normal(size=(3, 3, 3, 2, 2, 2))
    flat = interleave(tensor)
    assert flat.shape == (6, 6, 6) and flat[2 * 1 + 1, 2 * 2 + 0, 1] == tensor[1, 2, 0, 1, 0, 1]
    np.testing.assert_array_equal(apart(flat, 3), tensor)


def residuals(width: int, networks: int) -> np.ndarray:
    """Root mean squares over networks of trained outputs minus: linearisation, with dNTK, with ddNTKs too."""
    net, y, eta = tanh(width), np.array([[0.8], [-0.6]]), 0.5
    params = lg.init(net, 3, jax.random.key(width), networks=networks, dtype=np.float64)
    _, history = lg.each(lg.train, net, params, X, y, eta, 200, rates=RATES, record=(X_TEST, [200]))
    rest = []
    for k in range(networks):
        out = predicted(net, jax.tree_util.tree_map(lambda a, k=k: a[k], params), y, eta=eta)
        actual = np.asarray(history.outputs)[k, 0]
        rest.append([actual - out.linear, actual - out.linear - out.dntk, actual - out.outputs])
    return np.sqrt((np.array(rest) ** 2).mean((0, 2, 3)))


@pytest.mark.slow
def test_real_networks_trained_to_the_end():
    """theory/pdlt_inf_AB.md T4: at n = 256, 2.7e-3 of the linearisation, 1.8e-3 with the dNTK, 2.1e-4 with the ddNTKs."""
    narrow, wide = residuals(64, 6), residuals(256, 4)
    assert wide[2] < 0.1 * wide[0] and wide[2] < 0.2 * wide[1] and wide[2] < narrow[2] / 8


@pytest.mark.slow
def test_several_outputs_and_algorithms():
    """Two outputs, wired by the network's own NTK: descent as trained; flow and Newton end elsewhere."""
    net, y, eta = tanh(256, out=2), np.array([[0.8, 0.1], [-0.6, 0.5]]), 0.5
    params = lg.init(net, 3, jax.random.key(0), dtype=np.float64)
    actual = lg.apply(net, lg.train(net, params, X, y, eta, 200, rates=RATES)[0], X_TEST)
    found = {how: predicted(net, params, y, how, eta if how == "descent" else None) for how in ("descent", "flow", "newton")}
    gap = {how: np.abs(actual - out.outputs).max() for how, out in found.items()}
    assert gap["descent"] < 0.2 * np.abs(actual - found["descent"].linear).max()
    assert min(gap["flow"], gap["newton"]) > 10 * gap["descent"]
