"""The sampled stochastic metric against exact moments, printed Monte Carlo and leading-order tensors."""

import jax
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import mean_and_error
from largen.errors import InputError, UnsupportedError

pytestmark = pytest.mark.slow

KEY = jax.random.key(11)
X = np.array([[1.0, 0.3, -0.5], [0.2, -1.1, 0.4]])


def z(samples, theory):
    """Largest |z| over the entries."""
    mean, error = mean_and_error(samples)
    return np.abs((mean - theory) / error).max()


def test_relu_moments_are_those_of_the_product_law():
    """Unequal widths, activations and C_W by layer, one input; a width off by a half is refused."""
    net = lg.Dense(30) >> lg.Act("relu") >> lg.Dense(20, C_W=2.2) >> lg.Act("leaky_relu(0.5)") >> lg.Dense(40, C_W=1.5)
    net = net >> lg.Act("linear") >> lg.Dense(1, C_W=0.9)
    G = lg.exact.metric_chain(net, X[:1], KEY, draws=40_000)[:, :, 0, 0]
    law = lg.exact.size_moments(net, X[:1])
    assert len(np.unique(G[:, 1])) == 40_000  # no two draws, and no two batches of them, are the same
    assert np.ptp(G[:, 0]) == 0 and G[0, 0] == pytest.approx(law.K[0])
    for layer in (1, 2, 3):
        for m in (1, 2, 3):
            assert z(G[:, layer] ** m, law.moments[layer, m - 1]) < 4
        assert z(np.log(G[:, layer]), law.log_mean[layer]) < 4
    wrong = lg.exact.size_moments(
        lg.Dense(30) >> lg.Act("relu") >> lg.Dense(10, C_W=2.2) >> lg.Act("leaky_relu(0.5)") >> lg.Dense(1, C_W=1.5), X[:1]
    )
    assert z(G[:, 2] ** 2, wrong.moments[2, 1]) > 6


def test_linear_two_inputs_are_wishart():
    net = lg.mlp(widths=[12, 20], out=1, activation="linear", C_W=[1.0, 1.3, 0.8])
    G = lg.exact.metric_chain(net, X, KEY, draws=40_000)
    law = lg.exact.deep_linear(net, X, order=3)
    for layer in (1, 2):
        for a, b, c, d, e, f in [(0, 0, 0, 0, 0, 0), (0, 0, 1, 1, 0, 1), (0, 1, 0, 1, 0, 1), (0, 1, 1, 1, 0, 0), (1, 1, 1, 1, 1, 1)]:
            one, two, three = G[:, layer, a, b], G[:, layer, c, d], G[:, layer, e, f]
            assert z(one, law.moments[0][layer, a, b]) < 4
            assert z(one * two, law.moments[1][layer, a, b, c, d]) < 4
            assert z(one * two * three, law.moments[2][layer, a, b, c, d, e, f]) < 4


@pytest.mark.slow
def test_printed_tanh_chain():
    """T11: tanh, n = 100: n Var/K^2 and n (mean - K) as printed there (their errors: N = 1e5), within the errors of both."""
    net = lg.mlp(widths=[100] * 9, out=1, activation="tanh")
    N = 40_000
    G = lg.exact.metric_chain(net, np.ones((1, 5)), KEY, draws=N)[:, :, 0, 0]
    K = {2: 0.3942944904, 3: 0.2364504105, 5: 0.1279047353, 10: 0.05801184784}
    for layer, printed in {2: 0.6291, 3: 1.2199, 5: 2.3912, 10: 5.4046}.items():
        g = G[:, layer - 1]
        spread = 100 * (g - g.mean()) ** 2 / K[layer] ** 2
        mean, error = mean_and_error(spread)
        assert abs(mean - printed) < 4 * error * np.sqrt(1 + N / 1e5)
    for layer, printed in {5: -0.0667, 10: -0.1077}.items():
        mean, error = mean_and_error(100 * (G[:, layer - 1] - K[layer]))
        assert abs(mean - printed) < 4 * error * np.sqrt(1 + N / 1e5) and abs(mean) > 6 * error


def test_second_layer_is_an_average_of_independent_units():
    """Layer 2, with bias: E Ghat = K exactly at any width, Var = C_W^2 (<s^4> - <s^2>^2)/n (PDLT 4.40)."""
    net = lg.mlp(widths=[2], out=1, activation="erf", C_W=1.4, C_b=0.3)
    G = lg.exact.metric_chain(net, X, KEY, draws=40_000)[:, 1]
    assert z(G, lg.kernel(net, X).nngp) < 4
    q = 0.3 + 1.4 * (X[0] @ X[0]) / 3
    u = np.random.default_rng(0).normal(size=2_000_000) * np.sqrt(q)
    from scipy.special import erf

    exact, error = 1.4**2 / 2 * (erf(u) ** 2).var(), 1.4**2 / 2 * (erf(u) ** 4).std() / np.sqrt(len(u))
    spread, own = mean_and_error((G[:, 0, 0] - G[:, 0, 0].mean()) ** 2)
    assert abs(spread - exact) < 4 * np.hypot(own, error)


def test_shapes_and_dtypes():
    net = lg.mlp(widths=[8, 8, 5], out=2, activation="gelu", C_W=1.5, C_b=0.1)
    G = lg.exact.metric_chain(net, X.astype(np.float32), KEY, draws=7)
    assert G.shape == (7, 4, 2, 2) and G.dtype == np.float32 and isinstance(G, np.ndarray)
    assert isinstance(lg.exact.metric_chain(net, jax.numpy.asarray(X, np.float32), KEY, draws=2), jax.Array)
    whole = lg.exact.metric_chain(net, X, KEY, draws=7)
    assert (whole == whole.swapaxes(-1, -2)).all() and (np.linalg.eigvalsh(whole) > 0).all()
    np.testing.assert_allclose(G, whole, rtol=1e-5)  # the same numbers, in float64 inside
    assert lg.exact.metric_chain(lg.Dense(3), X, KEY, draws=2).shape == (2, 1, 2, 2)


def test_duplicate_points_stay_together():
    net = lg.mlp(widths=[16] * 6, out=1, activation="tanh", C_W=1.8, C_b=0.1)
    G = lg.exact.metric_chain(net, np.vstack([X, X[:1]]), KEY, draws=50)
    np.testing.assert_allclose(G[..., 0, :], G[..., 2, :], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((lg.resnet_mlp(4, blocks=1), X, KEY), UnsupportedError, "residual"),
        ((lg.Dense(4) >> lg.Act("relu"), X, KEY), UnsupportedError, "end with an affine layer"),
        ((lg.Dense(4), X[0], KEY), InputError, "X"),
        ((lg.Dense(4), X, 0), InputError, "key"),
        ((lg.Dense(4), X, KEY, 0), InputError, "draws"),
        ((lg.Dense(4), X, KEY, 10**13), InputError, "GiB"),
    ],
)
def test_bad_input_is_named(arguments, error, says):
    with pytest.raises(error, match=says):
        lg.exact.metric_chain(*arguments)
