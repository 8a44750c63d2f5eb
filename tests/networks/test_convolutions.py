"""Real networks with positions: convolutions and pooling against plain loops, NTKs against Jacobians."""

import itertools

import jax
import numpy as np
import pytest

import largen as lg
from largen.errors import InputError
from largen.networks.jacobian import jacobian_ntk

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 5, 4, 3))


def loop(x: np.ndarray, W: np.ndarray, stride: int, dilation: int, padding: str) -> np.ndarray:
    """A two-dimensional convolution as its definition reads."""
    sizes, reach = x.shape[1:3], [(w - 1) * dilation + 1 for w in W.shape[:2]]
    out = [-(-n // stride) if padding != "VALID" else (n - r) // stride + 1 for n, r in zip(sizes, reach, strict=True)]
    low = [0 if padding == "VALID" else max((o - 1) * stride + r - n, 0) // 2 for o, r, n in zip(out, reach, sizes, strict=True)]
    z = np.zeros((len(x), *out, W.shape[-1]))
    for i, j, a, b in itertools.product(range(out[0]), range(out[1]), range(W.shape[0]), range(W.shape[1])):
        at = [p * stride + d * dilation - m for p, d, m in zip((i, j), (a, b), low, strict=True)]
        if padding == "CIRCULAR":
            at = [p % n for p, n in zip(at, sizes, strict=True)]
        if all(0 <= p < n for p, n in zip(at, sizes, strict=True)):
            z[:, i, j] += x[:, at[0], at[1]] @ W[a, b]
    return z


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR"])
@pytest.mark.parametrize(("window", "stride", "dilation"), [((3, 3), 1, 1), ((2, 3), 2, 1), ((2, 2), 1, 2)])
def test_a_convolution_is_its_definition(padding: str, window: tuple[int, int], stride: int, dilation: int) -> None:
    layer = lg.Conv(4, window, strides=stride, padding=padding, dilation=dilation, C_b=0.5)
    net = layer >> lg.Flatten() >> lg.Dense(1)
    params = lg.init(net, jax.random.key(0), (5, 4, 3), np.float64)
    wanted = loop(IMAGES, np.asarray(params["conv1"]["W"]), stride, dilation, padding) + np.asarray(params["conv1"]["b"])
    assert layer.shape((5, 4, 3)) == wanted.shape[1:]
    got = lg.preactivations(net, params, IMAGES)["conv1"]
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_poolings_are_their_definitions() -> None:
    pools = [lg.AvgPool(2), lg.SumPool((2, 1)), lg.GlobalAvgPool()]
    tiles = IMAGES[:, :4].reshape(2, 2, 2, 2, 2, 3).mean((2, 4)), IMAGES[:, :4].reshape(2, 2, 2, 4, 3).sum(2), IMAGES.mean((1, 2))
    for pool, wanted in zip(pools, tiles, strict=True):
        net = pool >> lg.Flatten() >> lg.Dense(wanted.reshape(2, -1).shape[1])
        params = lg.init(net, jax.random.key(0), (5, 4, 3), np.float64)
        made = {"dense1": {"W": np.eye(wanted.reshape(2, -1).shape[1]), "b": 0 * np.asarray(params["dense1"]["b"])}}
        np.testing.assert_allclose(lg.apply(net, made, IMAGES), wanted.reshape(2, -1), atol=1e-14)


NETS = {
    "strided": lg.Conv(4, 3, strides=2, C_b=0.3) >> lg.Act("tanh") >> lg.Conv(3, 2, padding="CIRCULAR") >> lg.Flatten() >> lg.Dense(2),
    "pooled": lg.Conv(4, 3, padding="CIRCULAR", dilation=2)
    >> lg.AvgPool(2)
    >> lg.Act("gelu")
    >> lg.GlobalAvgPool()
    >> lg.Dense(2, C_b=0.1),
    "pixels": lg.Dense(4) >> lg.Act("erf") >> lg.Dense(3, C_b=0.2) >> lg.RMSNorm() >> lg.Flatten() >> lg.Dense(2),
    "branches": lg.Conv(4, 3)
    >> lg.Concat(lg.Identity(), lg.Act("tanh") >> lg.Conv(2, 3))
    >> lg.Product(lg.Conv(3, 1), lg.Act("sigmoid") >> lg.Conv(3, 1, C_b=1.0))
    >> lg.GlobalAvgPool()
    >> lg.Dense(2),
}


@pytest.mark.parametrize("name", NETS)
def test_backward_factors_give_the_ntk_of_jacobians(name: str) -> None:
    net = NETS[name]
    params = lg.init(net, jax.random.key(1), (5, 4, 3), np.float64)
    found = lg.empirical_ntk(net, params, IMAGES, IMAGES[:1])
    wanted = np.asarray(jacobian_ntk(net, params, IMAGES, IMAGES[:1]))
    np.testing.assert_allclose(found, wanted, atol=1e-12 * np.abs(wanted).max())
    mean = lg.empirical_ntk(net, params, IMAGES, full=False)
    both = np.asarray(lg.empirical_ntk(net, params, IMAGES))
    np.testing.assert_allclose(mean, np.trace(both, axis1=2, axis2=3) / 2, atol=1e-12 * np.abs(both).max())


@pytest.mark.slow
def test_any_number_of_spatial_axes() -> None:
    for shape, window in (((6, 2), 3), ((4, 3, 2, 2), (3, 1, 2))):
        net = lg.Conv(3, window) >> lg.Act("relu") >> lg.GlobalAvgPool() >> lg.Dense(1)
        X = RNG.normal(size=(3, *shape))
        assert lg.apply(net, lg.init(net, jax.random.key(0), shape), X).shape == (3, 1)
        assert lg.kernel(net, X).nngp.shape == (3, 3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: lg.Conv(0, 3), "channels"),
        (lambda: lg.Conv(4, 3, padding="same"), "padding"),
        (lambda: lg.Conv(4, ()), "window"),
        (lambda: lg.Conv(4, (3, 3)).shape((5, 3)), "spatial axes"),
        (lambda: lg.Conv(4, 6, padding="VALID").shape((5, 5, 3)), "something left"),
        (lambda: lg.AvgPool(2, strides=0), "strides"),
        (lambda: lg.kernel(lg.Conv(4, 3) >> lg.Flatten() >> lg.Dense(1), np.ones((2, 5))), "images"),
        (lambda: lg.kernel(NETS["pooled"], IMAGES, IMAGES[:, :3]), "points of shape"),
        (lambda: lg.init(NETS["pooled"], jax.random.key(0), 5), "images"),
        (lambda: lg.init(lg.Conv(4, 3), jax.random.key(0), (5, 4, 3)), "positions"),
        (lambda: lg.Concat(lg.AvgPool(2) >> lg.Conv(2, 1), lg.Conv(2, 1)).shape((4, 4, 3)), "positions"),
    ],
)
def test_bad_input_is_named(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()  # type: ignore[operator]
