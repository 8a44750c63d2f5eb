"""The norm of backpropagated gradients of real networks against its law: vanishing when too deep for the width, cured by width."""

import math
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import extrapolate, mean_and_error

X = np.array([[1.0, 0.5, -0.3, 0.8]], np.float32)
BATCH = 2**24  # parameters at once


def law_of(net: Any, X: Any = None) -> Any:
    """The law, its fields taken as present."""
    return lg.exact.gradient_law(net, X)


def measured(net, networks, seed=0, layer="dense1"):
    """|dz_i/dz^(l)| of real networks, (networks, out)."""
    widths = [X.shape[1], *(layer.width for layer in lg.analysis.chain(net))]
    batch = max(1, min(networks, BATCH // sum(a * b for a, b in pairwise(widths))))
    found = []
    for key in jax.random.split(jax.random.key(seed), -(-networks // batch)):
        params = lg.init(net, X.shape[1], key, networks=batch, dtype=np.float32)
        norms = lg.each(lg.measure.gradient_norms, net, params, X, chunk=min(batch, 64))
        found.append(np.asarray(norms[layer], float)[:, 0])
    return np.concatenate(found)


def z(samples, theory):
    mean, error = mean_and_error(samples)
    return float((mean - theory) / error)


def critical(activation, n, hidden):
    return lg.mlp(widths=[n] * hidden, out=1, activation=activation, C="critical")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "hidden", "n"), [("relu", 4, 16), ("relu", 16, 16), ("relu", 32, 16), ("relu", 16, 64), ("linear", 24, 16)]
)
def test_depth_and_width(activation, hidden, n):
    """Mean and typical norm are those of the law; no change at all, half and double the coefficient are refused."""
    net = critical(activation, n, hidden)
    law, g = law_of(net), measured(net, 2000 if n == 64 else 4000)[:, 0]
    alive, S = g[g > 0], law.ratio[0]
    logs = np.log(alive)
    assert abs(z(g, law.mean[0])) < 4 and abs(z(logs, math.log(law.typical[0]))) < 4
    assert abs(z((logs - logs.mean()) ** 2, law.log_variance[0])) < 4
    if S < 2:  # beyond, the second moment is made by networks that are too rare to be drawn
        assert abs(z(g**2, law.mean_square[0])) < 4 and abs(z((g**2 - 1) ** 2, law.square_variance[0])) < 4
    for wrong in (0.0, S / 8, S / 2):
        assert abs(z(logs, -wrong)) > 6
    for wrong in (0.0, S / 4):
        assert abs(z(g, math.exp(-wrong))) > 6
    if S > 2:
        assert abs(z(g, math.exp(-S / 16))) > 6


@pytest.mark.slow
def test_vanishing_is_cured_by_width():
    """32 hidden layers: typical gradients are ten times too small at n = 16, and within a third of their size at n = 128."""
    narrow, wide = (measured(critical("relu", n, 32), networks)[:, 0] for n, networks in ((16, 500), (128, 150)))
    assert np.median(narrow) < 0.1 and 0.67 < np.median(wide) < 1
    assert abs(z(np.log(wide), math.log(law_of(critical("relu", 128, 32)).typical[0]))) < 4


@pytest.mark.slow
def test_biases_unequal_widths_and_every_layer():
    net = lg.Dense(12, C_W=2.0, C_b=0.5) >> lg.Act("relu") >> lg.Dense(5, C_W=1.7, C_b=0.2) >> lg.Act("leaky_relu(0.3)")
    net = net >> lg.Dense(9, C_W=2.1, C_b=1.0) >> lg.Act("relu") >> lg.Dense(3, C_W=2.0)
    law = law_of(net)
    for i, layer in enumerate(("dense1", "dense2", "dense3", "dense4")):
        g = measured(net, 20_000, layer=layer)
        one = g[:, 0]
        if i == 3:
            assert (one == 1).all() and law.mean[3] == 1
            continue
        alive = one > 0
        assert abs(z(one, law.mean[i])) < 4 and abs(z(np.log(one[alive]), math.log(law.typical[i]))) < 4
        assert abs(z(1.0 - alive, law.dead[i])) < 4
        assert abs(z((one**2 - law.mean_square[i]) ** 2, law.square_variance[i])) < 4
        total = (g**2).mean(1)  # over all outputs
        assert abs(z(total, law.mean_square[i])) < 4 and abs(z((total - law.mean_square[i]) ** 2, law.total_variance[i])) < 4
        assert abs(z((total - law.mean_square[i]) ** 2, law.square_variance[i] / 3)) > 6  # outputs are not independent
        assert abs(z((total - law.mean_square[i]) ** 2, law.square_variance[i])) > 6


@pytest.mark.slow
def test_weight_gradients_have_one_law_in_all_layers():
    """|dz_i/dW^(l)| = |dz_i/dz^(l)| |phi(z^(l-1))|: backward factors of layers >= l, forward factors of layers < l, one product."""
    n, hidden = 16, 8
    net = critical("relu", n, hidden)
    params = lg.init(net, X.shape[1], jax.random.key(2), networks=4000, dtype=np.float32)
    back = lg.each(lg.measure.gradient_norms, net, params, X, chunk=64)
    forward = lg.each(lg.measure.preactivations, net, params, X, chunk=64)
    law, previous = law_of(net), np.broadcast_to(X, (4000, 1, 4))
    for path, preactivation in forward.items():
        size = np.linalg.norm(previous[:, 0], axis=-1) / np.sqrt(previous.shape[-1])  # per unit of fan-in, as W has variance 2/n
        g = (back[path][:, 0, 0] * size).astype(float)
        logs, start = np.log(g[g > 0]), 0.5 * math.log((X**2).mean())
        assert abs(z(logs, math.log(law.typical[0]) + start)) < 4
        assert abs(z(logs, start)) > 6
        previous = np.maximum(preactivation, 0)


@pytest.mark.slow
def test_other_activations_approach_the_leading_order():
    """tanh, 3 hidden layers: E|v|^2 -> prod chi_perp as 1/n; chi_perp of C_W + 10 % is refused."""
    widths, means, errors = (8, 16, 32, 64), [], []
    for n in widths:
        mean, error = mean_and_error(measured(critical("tanh", n, 3), 10_000, seed=n)[:, 0] ** 2)
        means.append(mean)
        errors.append(error)
    fit = extrapolate(widths, means, errors)
    right = law_of(critical("tanh", 8, 3), X).mean_square[0, 0]
    wrong = law_of(lg.mlp(widths=[8] * 3, out=1, activation="tanh", C_W=1.1), X).mean_square[0, 0]
    assert fit.error < 0.03 * right and abs(fit.intercept - right) < 4 * fit.error
    assert abs(fit.intercept - wrong) > 6 * fit.error


@pytest.mark.slow
def test_gradient_norms_are_those_of_the_jacobian():
    """Against jax.jacobian of the outputs with respect to the biases."""
    net = lg.mlp(widths=[5, 4], out=3, activation="gelu", C_W=1.5, C_b=0.1)
    points = np.random.default_rng(0).normal(size=(2, 4))
    params = lg.init(net, 4, jax.random.key(0), dtype=np.float64)
    norms = lg.measure.gradient_norms(net, params, points)
    with jax.enable_x64(True):
        for k, x in enumerate(points):
            J = jax.jacobian(lambda p, x=x: lg.apply(net, p, jax.numpy.asarray(x[None]))[0])(params)
            for path, values in norms.items():
                assert values.dtype == np.float64 and values[k] == pytest.approx(np.linalg.norm(J[path]["b"], axis=-1), rel=1e-10)
    many = lg.each(lg.measure.gradient_norms, net, jax.tree.map(lambda a: np.stack([a, a]), params), points)
    assert many["dense1"].shape == (2, 2, 3) and many["dense1"][1] == pytest.approx(norms["dense1"])
