"""lg.gram on images: convolutions, strides, poolings against dense sums over all pairs of pixels in float64."""

import itertools
from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.architecture.nodes import network
from largen.errors import InputError
from largen.grams.images import images as engine
from largen.grams.images.images import images
from largen.parametrizations.rates import resolve

pytestmark = pytest.mark.slow

SHAPE = (6, 5, 3)
RELU, OUT = lg.Act("relu"), lg.Dense(1, C_W=1.3, C_b=0.2)


def conv(window: Any = 3, **options: Any) -> lg.Conv:
    return lg.Conv(4, window, C_W=1.8, C_b=0.1, **options)


def points(n: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Images, the last the first one again."""
    X = np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)
    X[-1] = X[0]
    return X


# ---------------------------------------------------------------- an oracle: dense sums over pairs of pixels


def taps(node: Any, space: tuple[int, ...]) -> list[np.ndarray]:
    """What every place of the window sees: matrices (positions after, positions before) of 0 and 1."""
    where = np.arange(1, 1 + np.prod(space)).reshape(space)
    reach, starts = [], []
    strides = node.window if node.strides is None else node.strides
    each = [v if isinstance(v, tuple) else (v,) * len(space) for v in (node.window, strides, getattr(node, "dilation", 1))]
    for axis, (n, window, stride, step) in enumerate(zip(space, *each, strict=True)):
        span = (window - 1) * step + 1
        size = (n - span) // stride + 1 if node.padding == "VALID" else -(-n // stride)
        pad = 0 if node.padding == "VALID" else max((size - 1) * stride + span - n, 0)
        width = [(pad // 2, pad - pad // 2) if i == axis else (0, 0) for i in range(len(space))]
        where = np.pad(where, width, mode="wrap") if node.padding == "CIRCULAR" else np.pad(where, width)
        reach.append([stride * p for p in range(size)])
        starts.append([step * t for t in range(window)])
    out = []
    for start in itertools.product(*starts):
        seen = where[np.ix_(*[np.array(r) + s for r, s in zip(reach, start, strict=True)])].reshape(-1)
        out.append((seen[:, None] == np.arange(1, 1 + np.prod(space))).astype(float))
    return out


def homogeneous(up: float, down: float) -> Any:
    def dual(K: np.ndarray, q1: np.ndarray, q2: np.ndarray, itself: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r, jump = np.sqrt(q1 * q2), (up - down) ** 2 / (2 * np.pi)
        angle = np.where(itself, 0, np.arccos(np.clip(K / r, -1, 1)))
        half = (up**2 + down**2) / 2
        return r * (half * np.cos(angle) + jump * (np.sin(angle) - angle * np.cos(angle))), half - jump * angle

    return dual


def erf(K: np.ndarray, q1: np.ndarray, q2: np.ndarray, itself: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    square = (1 + 2 * q1) * (1 + 2 * q2)
    return 2 / np.pi * np.arcsin(2 * K / np.sqrt(square)), 4 / np.pi / np.sqrt(square - 4 * K**2)


def sin(K: np.ndarray, q1: np.ndarray, q2: np.ndarray, itself: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    damped = np.exp(-(q1 + q2) / 2)
    return damped * np.sinh(K), damped * np.cosh(K)


def tanh(K: np.ndarray, q1: np.ndarray, q2: np.ndarray, itself: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    u, v = (a[..., None] for a in np.meshgrid(nodes, nodes))
    w = (weights[:, None] * weights)[..., None] / (2 * np.pi)
    q1, q2, k = (np.broadcast_to(a, K.shape).reshape(-1) for a in (q1, q2, K))
    z1, z2 = np.sqrt(q1) * u, k / np.sqrt(q1) * u + np.sqrt(np.maximum(q2 - k**2 / q1, 0)) * v
    t1, t2 = np.tanh(z1), np.tanh(z2)
    return (w * t1 * t2).sum((0, 1)).reshape(K.shape), (w * (1 - t1**2) * (1 - t2**2)).sum((0, 1)).reshape(K.shape)


DUALS = {"relu": homogeneous(1, 0), "leaky_relu(0.3)": homogeneous(1, 0.3), "abs": homogeneous(1, -1), "erf": erf, "sin": sin, "tanh": tanh}


def dense(net: Any, X1: np.ndarray, X2: np.ndarray, rates: Any) -> tuple[np.ndarray, np.ndarray]:
    """K and Theta (n1, n2) of a network of convolutions, poolings and activations with a dual above."""
    net, n1 = network(net), len(X1)
    speeds = iter(resolve(net, rates).values())
    X, space = np.concatenate([X1, X2]).astype(float), X1.shape[1:-1]
    flat = X.reshape(len(X), -1, X.shape[-1])
    K = np.einsum("apc,bqc->abpq", flat, flat) / X.shape[-1]
    same = (X.reshape(len(X), 1, -1) == X.reshape(1, len(X), -1)).all(-1)
    Theta = np.zeros_like(K)
    for node in net.nodes:
        if isinstance(node, lg.Act):
            q = np.einsum("aapp->ap", K)
            itself = same[:, :, None, None] & np.eye(K.shape[-1], dtype=bool)
            K, slope = DUALS[node.activation.name](K, q[:, None, :, None], q[None, :, None, :], itself)
            Theta = slope * Theta
        elif isinstance(node, (lg.AvgPool, lg.SumPool)):
            seen = taps(node, space)
            A = np.sum(seen, 0) / (len(seen) if node.mean else 1)
            K, Theta = A @ K @ A.T, A @ Theta @ A.T
            space = node.shape((*space, 1))[:-1]
        elif isinstance(node, lg.GlobalAvgPool):
            K, Theta, space = K.mean((2, 3), keepdims=True), Theta.mean((2, 3), keepdims=True), ()
        elif isinstance(node, lg.Flatten):
            K, Theta, space = (np.einsum("abpp->ab", a)[..., None, None] / a.shape[-1] for a in (K, Theta, K))
            space = ()
        else:
            if isinstance(node, lg.Conv):
                seen = taps(node, space)
                K, Theta = (sum(A @ a @ A.T for A in seen) / len(seen) for a in (K, Theta))
                space = node.shape((*space, 1))[:-1]
            lb, lw = next(speeds)
            Theta = lb + lw * K + node.C_W * Theta
            K = node.C_b + node.C_W * K
    return K[:n1, n1:, 0, 0], Theta[:n1, n1:, 0, 0]


NETS = {
    "flat": conv() >> RELU >> conv((2, 4), dilation=(1, 2)) >> RELU >> conv((3, 2), padding="VALID") >> RELU >> lg.Flatten() >> OUT,
    "flat strides": conv(strides=2) >> RELU >> conv(2, strides=(1, 2)) >> RELU >> conv() >> RELU >> lg.Flatten() >> OUT >> RELU >> OUT,
    "mean": conv()
    >> RELU
    >> conv((2, 4), dilation=(1, 2))
    >> lg.Dense(3, 1.5, 0.1)
    >> RELU
    >> conv((3, 2), padding="VALID")
    >> RELU
    >> lg.GlobalAvgPool()
    >> OUT,
    "mean strides": conv(5) >> RELU >> conv(2, strides=(1, 2)) >> RELU >> conv() >> RELU >> lg.GlobalAvgPool() >> OUT >> RELU >> OUT,
    "circular": conv((3, 2), padding="CIRCULAR")
    >> RELU
    >> conv(padding="VALID")
    >> RELU
    >> conv(2, padding="CIRCULAR")
    >> RELU
    >> lg.GlobalAvgPool()
    >> OUT,
    "pooled": conv() >> RELU >> lg.AvgPool(2) >> conv(2) >> RELU >> lg.AvgPool(2) >> lg.Flatten() >> OUT,
    "padded": conv()
    >> RELU
    >> lg.AvgPool(2, padding="SAME")
    >> conv()
    >> RELU
    >> lg.AvgPool((1, 2), 1, padding="CIRCULAR")
    >> lg.GlobalAvgPool()
    >> OUT,
    "overlapping": lg.AvgPool((2, 1), strides=1)
    >> conv()
    >> RELU
    >> lg.SumPool(3, strides=2, padding="SAME")
    >> conv()
    >> RELU
    >> lg.Flatten()
    >> OUT,
}


LONG = ("mean strides", "padded", "overlapping")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in NETS])
def test_it_agrees_with_dense_sums(name: str) -> None:
    net, X, Z = NETS[name], points(7), points(5, 1)
    Z[1] = X[2]
    for other, rates in ((None, "ntk"), (Z, (0.3, 0.7))):
        assert images(network(net), resolve(network(net), rates), X, other) is not None
        out = lg.gram(net, X, other, rates=rates)
        assert out.nngp.dtype == out.ntk.dtype == np.float32 and out.error == 0
        for got, true in zip((out.nngp, out.ntk), dense(net, X, X if other is None else other, rates), strict=True):
            assert np.abs(got - true).max() <= 2e-6 * np.abs(true).max()
            assert other is not None or (got == got.T).all()


def test_sequences_and_volumes() -> None:
    line = conv(3, dilation=2) >> RELU >> lg.AvgPool(2, padding="SAME") >> conv(2, padding="CIRCULAR") >> RELU >> lg.GlobalAvgPool() >> OUT
    volume = conv((3, 2, 1)) >> RELU >> conv(2, padding="VALID") >> RELU >> lg.Flatten() >> OUT
    for net, shape in ((line, (7, 3)), (volume, (4, 3, 3, 2))):
        X = points(5, shape=shape)
        assert images(network(net), resolve(network(net)), X, None) is not None
        out = lg.gram(net, X)
        for got, true in zip((out.nngp, out.ntk), dense(net, X, X, "ntk"), strict=True):
            assert np.abs(got - true).max() <= 2e-6 * np.abs(true).max()


@pytest.mark.parametrize("tail", [lg.Flatten(), lg.GlobalAvgPool() >> OUT >> lg.Act("erf")])
def test_other_activations_with_closed_forms(tail: Any) -> None:
    net = conv() >> lg.Act("erf") >> conv(2) >> lg.Act("sin") >> conv() >> lg.Act("abs") >> lg.Dense(3) >> lg.Act("leaky_relu(0.3)")
    net, X = net >> tail >> OUT, points(6)
    assert images(network(net), resolve(network(net)), X, None) is not None
    out = lg.gram(net, X)
    for got, true in zip((out.nngp, out.ntk), dense(net, X, X, "ntk"), strict=True):
        assert np.abs(got - true).max() <= 5e-6 * np.abs(true).max()


@pytest.mark.parametrize("end", [lg.Flatten(), pytest.param(lg.AvgPool(2) >> lg.GlobalAvgPool(), marks=pytest.mark.slow)])
def test_smooth_activations_by_series(end: Any) -> None:
    net = conv() >> lg.Act("tanh") >> end >> OUT
    X = 0.5 * points(3, shape=(4, 3, 2))
    assert images(network(net), resolve(network(net)), X, None) is not None
    out = lg.gram(net, X)
    for got, true in zip((out.nngp, out.ntk), dense(net, X, X, "ntk"), strict=True):
        assert np.abs(got - true).max() <= 5e-6 * np.abs(true).max()
    assert images(network(net), resolve(network(net)), 10 * X, None) is None  # too many terms


SMALL = conv() >> RELU >> lg.Flatten() >> OUT


def test_tiles_of_any_size_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    X = points(11)
    monkeypatch.setattr(engine, "WIDE", 8)
    out = lg.gram(SMALL, X)
    for got, values in zip((out.nngp, out.ntk), dense(SMALL, X, X, "ntk"), strict=True):
        assert np.abs(got - values).max() <= 2e-6 * np.abs(values).max() and (got == got.T).all()


def test_points_with_themselves_and_near_duplicates() -> None:
    net, X = SMALL, points(7)
    step = np.random.default_rng(2).normal(size=SHAPE)
    X[1:5], X[5] = X[0] + np.geomspace(1e-2, 1e-5, 4)[:, None, None, None] * step, -X[3]
    out, (K, Theta) = lg.gram(net, X), dense(net, X, X, "ntk")
    assert np.abs(np.diag(out.nngp) / np.diag(K) - 1).max() <= 5e-7 and np.abs(np.diag(out.ntk) / np.diag(Theta) - 1).max() <= 5e-7
    assert out.ntk[0, 6] == pytest.approx(out.ntk[0, 0], rel=1e-6)
    assert np.abs(out.ntk - Theta).max() <= 1e-5 * np.abs(Theta).max()


@pytest.mark.filterwarnings("ignore:.*n_0 is")
def test_black_pixels() -> None:
    net, X = lg.Conv(4, 2) >> RELU >> lg.Flatten() >> lg.Dense(1), points(4)
    X[:3, 2:], X[3] = 0, 0
    out, wanted = lg.gram(net, X, rates=(1.0, 1.0)), lg.kernel(net, X.astype(np.float64), rates=(1.0, 1.0))
    assert (
        np.abs(out.nngp - wanted.nngp).max() <= 2e-6 * wanted.nngp.max() and np.abs(out.ntk - wanted.ntk).max() <= 2e-6 * wanted.ntk.max()
    )


def test_parallel_patches() -> None:
    net, X = NETS["pooled"], points(7)
    X[:] = np.arange(1, 8)[:, None, None, None]
    out, (_, Theta) = lg.gram(net, X), dense(net, X, X, "ntk")
    assert np.abs(out.ntk - Theta).max() <= 1e-5 * np.abs(Theta).max()


ADDED = conv() >> lg.Sum(lg.Identity(), RELU >> lg.Dense(4)) >> RELU >> lg.Flatten() >> OUT


@pytest.mark.parametrize("net", [ADDED, pytest.param(conv() >> lg.Act("selu") >> lg.Flatten() >> OUT, marks=pytest.mark.slow)])
def test_other_networks_go_through_the_recursion(net: Any) -> None:
    X = points(3, shape=(3, 2, 1))
    assert images(network(net), resolve(network(net)), X, None) is None
    out, wanted = lg.gram(net, X, X[:2]), lg.kernel(net, X, X[:2])
    assert np.abs(out.ntk - wanted.ntk).max() <= 1e-6 * np.abs(wanted.ntk).max()


def test_float64_goes_through_the_recursion() -> None:
    X = points(3)
    out = lg.gram(SMALL, X.astype(np.float64))
    assert out.ntk.dtype == np.float64
    assert np.abs(out.ntk - dense(SMALL, X, X, "ntk")[1]).max() <= 1e-12 * out.ntk.max()


def test_images_too_large_are_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("largen.memory.available", lambda: 1e4)
    with pytest.raises(InputError, match="GiB"):
        images(network(NETS["pooled"]), resolve(network(NETS["pooled"])), points(2), None)
