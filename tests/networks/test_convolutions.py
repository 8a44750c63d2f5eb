"""Real networks with positions: convolutions and pooling against plain loops, NTKs against Jacobians."""

import itertools

import jax
import numpy as np
import pytest
from witnesses import jacobian_ntk

import largen as lg
from largen.errors import InputError

pytestmark = pytest.mark.slow

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
    params = lg.init(net, (5, 4, 3), jax.random.key(0), dtype=np.float64)
    wanted = loop(IMAGES, np.asarray(params["conv1"]["W"]), stride, dilation, padding) + np.asarray(params["conv1"]["b"])
    assert layer.shape((5, 4, 3)) == wanted.shape[1:]
    got = lg.measure.preactivations(net, params, IMAGES)["conv1"]
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_poolings_are_their_definitions() -> None:
    pools = [lg.AvgPool(2), lg.SumPool((2, 1)), lg.GlobalAvgPool()]
    tiles = IMAGES[:, :4].reshape(2, 2, 2, 2, 2, 3).mean((2, 4)), IMAGES[:, :4].reshape(2, 2, 2, 4, 3).sum(2), IMAGES.mean((1, 2))
    for pool, wanted in zip(pools, tiles, strict=True):
        net = pool >> lg.Flatten() >> lg.Dense(wanted.reshape(2, -1).shape[1])
        params = lg.init(net, (5, 4, 3), jax.random.key(0), dtype=np.float64)
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
    "transposed": lg.ConvTranspose(4, 3, strides=2, C_b=0.1) >> lg.Act("gelu") >> lg.MaxPool(2) >> lg.GlobalAvgPool() >> lg.Dense(2),
    "local": lg.ConvLocal(4, 2, strides=2, C_b=0.3) >> lg.Act("erf") >> lg.ConvLocal(2, 2, padding="VALID") >> lg.Flatten() >> lg.Dense(2),
    "branches": lg.Conv(4, 3)
    >> lg.Concat(lg.Identity(), lg.Act("tanh") >> lg.Conv(2, 3))
    >> lg.Product(lg.Conv(3, 1), lg.Act("sigmoid") >> lg.Conv(3, 1, C_b=1.0))
    >> lg.GlobalAvgPool()
    >> lg.Dense(2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_backward_factors_give_the_ntk_of_jacobians(name: str) -> None:
    net = NETS[name]
    params = lg.init(net, (5, 4, 3), jax.random.key(1), dtype=np.float64)
    found = lg.empirical_ntk(net, params, IMAGES, IMAGES[:1])
    wanted = np.asarray(jacobian_ntk(net, params, IMAGES, IMAGES[:1]))
    np.testing.assert_allclose(found, wanted, atol=1e-12 * np.abs(wanted).max())
    mean = lg.empirical_ntk(net, params, IMAGES, full=False)
    both = np.asarray(lg.empirical_ntk(net, params, IMAGES))
    np.testing.assert_allclose(mean, np.trace(both, axis1=2, axis2=3) / 2, atol=1e-12 * np.abs(both).max())


SEQUENCE = IMAGES[:, :, 0]
ATTENTIVE = {
    "identity": lg.Attention(positions=0.5, heads=2, width=3, C_b=0.1),
    "softmax": lg.Attention("softmax", "1/d", C_key=2.0, heads=3, width=2),
    "true softmax": lg.Attention("softmax", "1/sqrt(d)", heads=2, width=2, channels=5),
    "graph": lg.Aggregate(np.eye(5)[:4] + 0.5) >> lg.Dropout(0.5),
}


@pytest.mark.parametrize("name", ATTENTIVE)
def test_ntks_of_attention_and_graphs(name: str) -> None:
    net = lg.Dense(4) >> lg.PositionalEmbedding(0.3) >> ATTENTIVE[name] >> lg.GlobalAvgPool() >> lg.Dense(2)
    params = lg.init(net, (5, 3), jax.random.key(1), dtype=np.float64)
    found, wanted = lg.empirical_ntk(net, params, SEQUENCE), np.asarray(jacobian_ntk(net, params, SEQUENCE))
    np.testing.assert_allclose(found, wanted, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize(("mechanism", "scaling"), [("identity", "1/sqrt(d)"), ("softmax", "1/d"), ("abs", "1/sqrt(d)"), ("relu", "1/d")])
def test_attention_is_its_definition(mechanism: str, scaling: str) -> None:
    part = lg.Attention(mechanism, scaling, C_key=2.0, C_query=0.5, C_b=0.4, heads=2, width=3)
    net = part >> lg.Flatten() >> lg.Dense(1)
    params = lg.init(net, (5, 3), jax.random.key(2), dtype=np.float64)
    *scores, values, out = (
        jax.tree_util.tree_map(np.asarray, params[f"attention1/{i}/dense1"]) for i in range(1, 5 if scaling == "1/sqrt(d)" else 4)
    )
    zeta = {"identity": lambda g: g, "abs": np.abs, "relu": lambda g: np.maximum(g, 0)}
    zeta["softmax"] = lambda g: np.exp(g) / np.exp(g).sum(-1, keepdims=True)
    x, heads = SEQUENCE[0], []
    for h in range(2):
        q, k, v = (x @ p["W"][:, 3 * h : 3 * h + 3] for p in (scores[0], scores[-1], values))
        G = q @ k.T / np.sqrt(3) if scaling == "1/sqrt(d)" else 0.5 * k @ k.T / 3  # sqrt(C_query/C_key) = 1/2
        heads.append(zeta[mechanism](G) @ v)
    wanted = np.concatenate(heads, 1) @ out["W"] + out["b"]
    np.testing.assert_allclose(lg.measure.preactivations(net, params, SEQUENCE)["attention1"][0], wanted, atol=1e-12)


def test_transposed_and_local_convolutions_are_their_definitions() -> None:
    """Zeros between the inputs, then a plain convolution; weights of their own at every position."""
    for padding, low, size in (("SAME", 2, 10), ("VALID", 2, 11), ("CIRCULAR", 2, 10)):
        net = lg.ConvTranspose(4, 3, strides=2, padding=padding) >> lg.Flatten() >> lg.Dense(1)
        params = lg.init(net, (5, 3), jax.random.key(0), dtype=np.float64)
        W, z = np.asarray(params["convtranspose1"]["W"]), np.zeros((2, size, 4))
        for out, place, source in itertools.product(range(size), range(3), range(5)):
            at = 2 * source + low - place  # where input `source` lands through this place of the window
            if out == at or (padding == "CIRCULAR" and out == at % size):
                z[:, out] += SEQUENCE[:, source] @ W[place]
        # the layer sees inputs at out + place - low
        np.testing.assert_allclose(lg.measure.preactivations(net, params, SEQUENCE)["convtranspose1"], z, atol=1e-12)
    net = lg.ConvLocal(4, 2, padding="VALID", C_b=0.3) >> lg.Flatten() >> lg.Dense(1)
    params = lg.init(net, (5, 3), jax.random.key(0), dtype=np.float64)
    W, b = (np.asarray(params["convlocal1"][name]) for name in "Wb")
    wanted = np.stack([sum(SEQUENCE[:, s + d] @ W[s, d] for d in range(2)) + b[s] for s in range(4)], 1)
    np.testing.assert_allclose(lg.measure.preactivations(net, params, SEQUENCE)["convlocal1"], wanted, atol=1e-12)


def test_dropout_draws_masks_with_a_key_only() -> None:
    net = lg.Dense(2000) >> lg.Dropout(0.25)
    params = lg.init(net, 3, jax.random.key(0), dtype=np.float64)
    plain, one, two = (np.asarray(lg.apply(net, params, SEQUENCE[0], key)) for key in (None, jax.random.key(1), jax.random.key(2)))
    np.testing.assert_allclose(plain, lg.apply(lg.Serial(net.nodes[:1]), params, SEQUENCE[0]))
    kept = one != 0
    np.testing.assert_allclose(one[kept], plain[kept] / 0.75)
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / kept.size)
    assert (kept[0] != kept[1]).any() and (kept != (two != 0)).any()
    with pytest.raises(InputError, match="key"):
        lg.apply(net, params, SEQUENCE[0], 3)


def test_max_pooling_takes_maxima() -> None:
    net = lg.MaxPool(2, padding="SAME") >> lg.Flatten() >> lg.Dense(3 * 2 * 3)
    params = lg.init(net, (5, 4, 3), jax.random.key(0), dtype=np.float64)
    identity = {"dense1": {"W": np.eye(18), "b": np.zeros(18)}}
    padded = np.pad(IMAGES, ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=-np.inf).reshape(2, 3, 2, 2, 2, 3).max((2, 4))
    assert params["dense1"]["W"].shape == (18, 18)
    np.testing.assert_allclose(lg.apply(net, identity, IMAGES), padded.reshape(2, -1))


@pytest.mark.slow
def test_any_number_of_spatial_axes() -> None:
    for shape, window in (((6, 2), 3), ((4, 3, 2, 2), (3, 1, 2))):
        net = lg.Conv(3, window) >> lg.Act("relu") >> lg.GlobalAvgPool() >> lg.Dense(1)
        X = RNG.normal(size=(3, *shape))
        assert lg.apply(net, lg.init(net, shape, jax.random.key(0)), X).shape == (3, 1)
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
        (lambda: lg.init(NETS["pooled"], 5, jax.random.key(0)), "images"),
        (lambda: lg.init(lg.Conv(4, 3), (5, 4, 3), jax.random.key(0)), "positions"),
        (lambda: lg.ConvTranspose(4, 3).shape((3,)), "images"),
        (lambda: lg.Aggregate([[1.0, 2.0], [3.0]]), "adjacency"),
        (lambda: lg.Aggregate(np.eye(3)).shape((4, 2)), "3 nodes"),
        (lambda: lg.Dropout(1.0), "rate"),
        (lambda: lg.Attention("sigmoid"), "mechanism"),
        (lambda: lg.Attention(scaling="1"), "scaling"),
        (lambda: lg.Attention(C_key=-1.0), "C_key"),
        (lambda: lg.Attention(heads=0), "heads"),
        (lambda: lg.Attention().shape((3,)), "images or sequences"),
        (lambda: lg.widen(lg.Dense(4) >> lg.Attention(heads=3) >> lg.Flatten() >> lg.Dense(1), 0.5), "heads"),
        (lambda: lg.Concat(lg.AvgPool(2) >> lg.Conv(2, 1), lg.Conv(2, 1)).shape((4, 4, 3)), "positions"),
    ],
)
def test_bad_input_is_named(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()  # type: ignore[operator]
