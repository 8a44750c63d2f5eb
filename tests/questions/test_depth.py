"""How deep at this width: what each criterion means on real networks, and that width, depth and report say the same."""

import math

import jax
import numpy as np
import pytest

import largen as lg
from largen.errors import InputError, UnsupportedError
from largen.questions.criticality import critical_point_of, is_critical
from largen.questions.depth import TRAINABLE
from largen.questions.reach import reach
from largen.report.words import network

X = np.array([[1.0, -0.5, 0.8], [0.3, 0.9, -0.7]])


def draws(net: lg.Serial, x: np.ndarray, many: int) -> dict[str, np.ndarray]:
    params = lg.init(net, x.shape[1], jax.random.key(0), networks=many)
    return {path: np.asarray(z, float) for path, z in lg.each(lg.measure.preactivations, net, params, x, chunk=many).items()}


@pytest.mark.parametrize(("name", "width"), [("relu", 64), ("tanh", 24), ("gelu", 64)])
def test_scatter_is_the_variance_over_networks_of_the_size(name: str, width: int) -> None:
    """At the depth found, Var[K]/K^2 over 2,000 networks is V/(n K^2), up to terms of 1/n^2 and a standard error of some 4 %."""
    found, point, phi = lg.how_deep(name, width, tolerance=0.2), lg.critical(name), lg.activation(name)
    assert found.criterion == "scatter" and found.depth is not None and found.fluctuation is not None and 0.1 < found.fluctuation <= 0.2
    z = draws(lg.mlp([width] * (found.depth - 1), 1, name, C="critical"), np.ones((1, 4)), 2000)[f"dense{found.depth - 1}"][:, 0]
    K = (point.C_b or 0.0) + (point.C_W or 0.0) * np.mean(np.asarray(phi(z)) ** 2, 1)
    assert K.var() / K.mean() ** 2 == pytest.approx(found.fluctuation, rel=0.2)


@pytest.mark.slow
def test_at_the_limit_of_correlations_a_400th_tells_inputs_apart() -> None:
    """tanh, ordered: 1 - c of two orthogonal inputs falls by e^-6 within a factor of 2 in 6 xi_c layers, in 24 networks of width 256."""
    net = lg.mlp([256] * 49, 1, "tanh", C_W=1.3, C_b=0.05)
    depth = lg.how_deep(net).limits["correlations"]
    z = draws(net, np.array([[1.0, 1.0], [1.0, -1.0]]), 24)
    near = [1 - np.mean((a[:, 0] * a[:, 1]).mean(1) / np.sqrt((a[:, 0] ** 2).mean(1) * (a[:, 1] ** 2).mean(1))) for a in z.values()]
    assert depth == 47 and 0.5 < near[depth] / near[0] * math.exp(TRAINABLE) < 2


@pytest.mark.slow
def test_at_the_limit_of_sizes_they_have_grown_400_fold() -> None:
    net = lg.mlp([256] * 17, 1, "relu", C_W=3.0)
    depth = lg.how_deep(net, 10**6).limits["sizes"]
    assert depth is not None and depth == 1 + math.floor(TRAINABLE / math.log(1.5)) == 15
    K = [np.mean(a**2) for a in draws(net, np.ones((1, 4)), 64).values()]
    assert 250 < K[depth - 1] / K[0] < 410 and K[depth] / K[0] > 375


def test_width_and_depth_are_inverse_and_the_report_agrees() -> None:
    """At the width that `lg.width` asks for, the depth is that of the network, and below it less; the report has the same numbers."""
    for name, C_W, C_b in (("relu", 2.0, 0.0), ("tanh", 1.2, 0.1)):
        net = lg.mlp([40, 60, 60], 1, name, C_W=C_W, C_b=C_b)
        found = lg.width(net, X[:1], tolerance=0.1)
        n = found.needed["variance of the kernel"]
        at, below = (lg.how_deep(net, width, 0.1, X=X[:1]).limits["scatter"] for width in (n, n - 1))
        assert below is not None and below < 4 and (at == 4 or (name == "tanh" and at is None))  # off criticality scatter saturates
        page = reach(net, X[:1])
        assert page.scatter == pytest.approx(found.relative["variance of the kernel"], rel=1e-6) and page.width == n
        assert set(lg.how_deep(net, X=X[:1]).sentences) < set(page.sentences)


def test_every_limit_far_out() -> None:
    """Against 5 (L - 1)/n for ReLU, 2/3 l/n (1 + O(log l/l)) for tanh; what saturates, what nothing limits, what explodes."""
    assert [lg.how_deep("relu", n).depth for n in (1, 49, 50, 100, 10**9)] == [1, 1, 2, 3, 20_000_001]
    far = lg.how_deep("tanh", 10**6)
    assert far.depth == pytest.approx(1.5 * 0.1 * 10**6, rel=2e-3)
    edge = lg.how_deep(lg.mlp([256] * 3, 1, "tanh", C_W=2.15330265, C_b=0.15096463))
    assert edge.depth is None and edge.fluctuation is None and "nothing limits" in edge.sentences[0]
    assert {"depth", "criterion", "fluctuation", "scatter", "correlations", "sizes"} <= set(edge.missing)
    assert lg.how_deep(lg.mlp([10**5] * 3, 1, "gelu", C_W=3.0)).criterion == "sizes"
    assert lg.how_deep(lambda z: z + z**3, 10**6).criterion == "sizes"
    assert lg.how_deep(lg.mlp([256] * 3, 1, "tanh", C_W=0.5)).criterion == "correlations"


def test_who_has_no_answer_is_told_why() -> None:
    for call, words in (
        (lambda: lg.how_deep("relu"), "`width`"),
        (lambda: lg.how_deep("relu", 0), "`width`"),
        (lambda: lg.how_deep("relu", 8, tolerance=0.0), "`tolerance`"),
        (lambda: lg.how_deep(lg.Dense(1)), "hidden layer"),
        (lambda: lg.how_deep(lg.mlp([8], activation="relu"), X=0 * X), "network sees"),
        (lambda: lg.how_deep(lg.mlp([8], activation="tanh"), X=1e6 * X), "first layer of size"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    with pytest.raises(UnsupportedError, match="Give a network instead"):
        lg.how_deep("sigmoid", 8)
    with pytest.raises(UnsupportedError, match="residual blocks"):
        lg.how_deep(lg.resnet_mlp(8, 1, activation="tanh"))


@pytest.mark.parametrize("off", [0.0, 1e-7, 1e-5])
def test_one_tolerance_says_what_is_critical(off: float) -> None:
    """At C_W = 2 (1 + 1e-7) all rooms say critical, at 2 (1 + 1e-5) none; the readout, which nothing comes after, does not matter."""
    C_W = 2 * (1 + off)
    for last in (C_W, 0.1):
        net = lg.mlp([32, 32], 1, "relu", C_W=[0.7, C_W, last])
        page, words, plan = reach(net, X), network(net, 3), lg.plan_rates(net)
        right = off < 1e-6
        assert page.critical is words.critical is is_critical(lg.analysis.chain(net)) is right
        assert (page.phase == "critical") is right and (plan.universality == "scale-invariant") is right
        assert any("is the critical init" in s for s in words.words) is right
        assert any("Nothing to change" in s for s in page.sentences) is right
        assert ("at a critical point" in lg.how_deep(net).missing.get("correlations", "")) is right


def test_an_unstable_point_is_a_critical_point_but_no_criticality() -> None:
    net = lg.mlp([8, 8], 1, "gelu", C_W=4.0)
    assert critical_point_of(lg.analysis.chain(net)) is not None and is_critical(lg.analysis.chain(net)) is False
    assert is_critical(lg.analysis.chain(lg.mlp([8], 1, "sigmoid"))) is None is is_critical(lg.analysis.chain(lg.Dense(1)))
