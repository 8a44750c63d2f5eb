"""Perturbations of real networks against finite differences of their preactivations."""

from typing import Any

import jax
import numpy as np
import pytest

import largen as lg
from largen.architecture.levels import last_affine, levels
from largen.errors import InputError
from largen.networks.perturb import orthogonal

X = np.random.default_rng(4).normal(size=(3, 4))
KEY = jax.random.key(9)
NETS = {
    "plain": lg.mlp(widths=[6, 5], out=2, activation="gelu", C_W=1.5, C_b=0.2),
    "residual": lg.resnet_mlp(6, blocks=2, out=3, activation="tanh", skip=0.7, C_W=1.5, C_b=0.2),
    "normalised": lg.resnet_mlp(6, blocks=2, out=3, activation="gelu", skip=0.7, C_b=0.2, norm=True),
    "kinked": lg.mlp(widths=[6, 5], out=2, activation="relu", C_W=2.0),
}


def directions(key: jax.Array, points: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(orthogonal(key, jax.numpy.asarray(points)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_they_are_finite_differences_of_the_preactivations(name: str) -> None:
    """Central differences along x and along the orthogonal direction, in float64."""
    net, step = NETS[name], 1e-6
    params = lg.init(net, 4, jax.random.key(1), networks=2, dtype=np.float64)
    found = lg.each(lg.measure.perturbations, net, params, X, KEY)
    d = directions(KEY, X)
    for k in range(2):
        one = jax.tree.map(lambda a, k=k: a[k], params)

        def at(points: np.ndarray, one: Any = one) -> list[Any]:
            return list(lg.measure.preactivations(net, one, points).values())

        for l, (z, *moved) in enumerate(zip(at(X), *(at(X + s * v) for v in (X, d) for s in (step, -step)), strict=True)):
            along, across = (moved[0] - moved[1]) / (2 * step), (moved[2] - moved[3]) / (2 * step)
            assert found.size[k, l] == pytest.approx((z**2).mean(1), rel=1e-12)
            assert found.parallel[k, l] == pytest.approx(2 * (z * along).mean(1), rel=1e-6, abs=1e-8)
            assert found.perpendicular[k, l] == pytest.approx((across**2).mean(1), rel=1e-6)


def test_directions_are_orthogonal_of_unit_length_and_random() -> None:
    points = np.concatenate([X, np.zeros((1, 4))])
    d, other = directions(KEY, points), directions(jax.random.key(10), points)
    assert (d * points).sum(1) == pytest.approx(0, abs=1e-14) and (d**2).sum(1) == pytest.approx(4)
    assert np.abs(d - other).min(1).max() > 0.01
    flat = directions(KEY, X[:, :2])  # a plane leaves one direction and its opposite, however near the draw was to the point
    assert (flat * X[:, :2]).sum(1) == pytest.approx(0, abs=1e-14)


def test_the_change_of_size_is_twice_the_size_where_all_is_linear() -> None:
    net = lg.mlp(widths=[6], out=2, activation="relu", C_W=2.0)  # homogeneous, without biases
    found = lg.each(lg.measure.perturbations, net, lg.init(net, 4, KEY, networks=7, dtype=np.float64), X, KEY)
    assert found.parallel == pytest.approx(2 * found.size, rel=1e-12)


@pytest.mark.slow
def test_chunks_dtypes_and_jit() -> None:
    net = NETS["residual"]
    params = lg.init(net, 4, KEY, networks=5, dtype=np.float32)
    one = lg.each(lg.measure.perturbations, net, params, X, KEY)
    assert one.size.shape == (5, 4, 3) and one.size.dtype == np.float32 and isinstance(one.size, np.ndarray)
    points = jax.numpy.asarray(X, np.float32)
    others = (
        lg.each(lg.measure.perturbations, net, params, X, KEY, chunk=2),
        jax.jit(lambda p: lg.each(lg.measure.perturbations, net, p, points, KEY))(params),
    )
    for other in others:
        assert np.asarray(other.perpendicular).shape == (5, 4, 3)
        assert np.asarray(other.size) == pytest.approx(one.size, rel=1e-5)
    assert others[0].perpendicular == pytest.approx(one.perpendicular, rel=1e-5)


def test_bad_arguments_are_refused() -> None:
    net = NETS["plain"]
    params = lg.init(net, 1, KEY, networks=2)
    with pytest.raises(InputError, match="orthogonal"):
        lg.each(lg.measure.perturbations, net, params, np.ones((2, 1)), KEY)
    with pytest.raises(InputError, match="key"):
        lg.each(lg.measure.perturbations, net, params, X, 0)  # type: ignore[arg-type]


def test_the_affine_layer_that_ends_a_level() -> None:
    """Its bias, times the weight, is added to the values of the level: seen in the derivative with respect to it."""
    inner = lg.Sum(lg.Identity(), lg.Act("tanh") >> lg.Dense(5), weights=(1.0, -3.0))
    net = lg.Dense(5) >> lg.Sum(lg.Dense(5), lg.Dense(5) >> inner, weights=(2.0, 0.5)) >> lg.Act("tanh") >> lg.Dense(2)
    ends = {path: last_affine(stage[-1], path) for path, stage in levels(net)}
    assert ends == {"dense1": ("dense1", 1.0), "sum1": ("sum1/1/dense1", 2.0), "dense2": ("dense2", 1.0)}
    assert last_affine(lg.Sum(lg.Identity(), lg.Identity()), "sum1") is None
    assert last_affine(inner, "sum1") == ("sum1/2/dense1", -3.0)
    assert last_affine(lg.Sum(lg.Dense(5), lg.Identity(), weights=(0.0, 1.0)), "sum1") is None
    params = lg.init(net, 4, KEY, dtype=np.float64)
    before = lg.measure.preactivations(net, params, X)
    with jax.enable_x64(True):
        moved = {**params, "sum1/1/dense1": {**params["sum1/1/dense1"], "b": params["sum1/1/dense1"]["b"] + 0.25}}
    assert lg.measure.preactivations(net, moved, X)["sum1"] - before["sum1"] == pytest.approx(0.5)
