"""Real networks under a parametrization: today's rates among them, gauges the same to rounding, and sizes of what was drawn."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

import largen as lg
from largen.errors import InputError

P = lg.Parametrization
NET = lg.mlp([32, 32], 2, "tanh", C_W=1.3, C_b=0.2)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 5)), RNG.normal(size=(6, 2))
ADAM = optax.scale_by_adam(eps=1e-3)


def path(p: Any, eta: float = 0.1, **options: Any) -> np.ndarray:
    """Outputs before and after each of ten steps."""
    params = lg.init(NET, 5, jax.random.key(0), dtype=np.float64, parametrization=p)
    return np.asarray(lg.train(NET, params, X, Y, eta, 10, record=(X, list(range(11))), parametrization=p, **options)[1].outputs)


def test_the_tangent_kernels_is_what_stands_without_one() -> None:
    assert path(P.ntk(2)) == pytest.approx(path(None), abs=1e-13)


@pytest.mark.parametrize(
    ("p", "options"),
    [
        (P.mup(2), {}),
        (P.richness(2, "1/4", gamma=3.0), {"decay": 0.1}),
        (P.mup(2, optimizer="momentum"), {}),
        (P.mup(2, optimizer="adam"), {"eta": 0.01, "optimizer": ADAM, "decay": 0.1}),
        (P.standard(2, optimizer="adam", rates="per layer"), {"eta": 0.01, "optimizer": ADAM}),
        (P.mup(2, optimizer="muon"), {"eta": 0.01}),
    ],
)
def test_gauges_train_alike(p: Any, options: dict[str, Any]) -> None:
    """Ten steps in float64, Adam with epsilon and weight decay; an epsilon that does not follow the gauge is noticed."""
    here, there = path(p, **options), path(p.gauge([1, "1/3", -0.5]), **options)
    assert np.abs(here[-1] - here[0]).max() > 0.1
    assert there == pytest.approx(here, abs=1e-5 if p.optimizer == "muon" else 1e-9)  # Newton-Schulz has an epsilon of its own
    if options.get("optimizer") is ADAM:
        moved = p.gauge([1, "1/3", -0.5])
        unfaithful = P(a=moved.a, b=moved.b, c=moved.c, d=p.d, optimizer="adam")
        assert np.abs(path(unfaithful, **options) - here).max() > 1e-4


@pytest.mark.parametrize("p", [P.mup(2), P.ntk(2), P.standard(2), P.richness(2, 0.25, gamma=0.5), P.mup(2, optimizer="adam")])
def test_what_is_drawn_has_the_effective_sizes(p: Any) -> None:
    n, net = 400, lg.mlp([400, 400], 50, "tanh", C_W=1.7, C_b=0.3)
    params = lg.init(net, 8, jax.random.key(1), parametrization=p)
    z = lg.measure.preactivations(net, params, np.sqrt(8) * np.eye(8, dtype=np.float32), parametrization=p)
    e = p.effective()
    assert np.mean(np.asarray(z["dense1"]) ** 2) == pytest.approx(1.7 + 0.3, rel=0.1)
    h = np.tanh(np.asarray(z["dense1"]))
    size = 1.7 * (h**2).sum(1).mean() * (n ** -float(e.std[1]) * e.factors[1][0]) ** 2
    assert np.mean(np.asarray(z["dense2"]) ** 2) == pytest.approx(size + 0.3, rel=0.1)
    x = np.tanh(np.asarray(z["dense2"]))
    size = 1.7 * (x**2).sum(1).mean() * (n ** -float(e.std[2]) * e.factors[2][0]) ** 2
    assert np.mean(np.var(np.asarray(z["dense3"]), 0)) < 3 * size  # without the biases, which are of order one
    assert lg.apply(net, params, np.eye(8), parametrization=p).shape == (8, 50)


def test_readouts_at_zero_and_frozen_layers() -> None:
    p = P(a=[-0.5, 0, 0.5], b=[0.5, 0.5, float("inf")], c=0)
    net = lg.mlp([32, 32], 2, "tanh", C_W=1.3)
    params = lg.init(net, 5, jax.random.key(0), parametrization=p)
    assert not np.asarray(lg.apply(net, params, X, parametrization=p)).any()
    last = P.last_layer(2)
    before = lg.init(net, 5, jax.random.key(0), parametrization=last)
    after = lg.train(net, before, X, Y, 0.1, 3, parametrization=last)[0]
    assert np.array_equal(before["dense2"]["W"], after["dense2"]["W"]) and not np.array_equal(before["dense3"]["W"], after["dense3"]["W"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parametrization": P.mup(3)}, "Make it with hidden=2"),
        ({"parametrization": "mup"}, "Parametrization.mup"),
        ({"parametrization": P.complete_p(2)}, "with their width alone"),
        ({"parametrization": P.mup(2), "rates": (1.0, 1.0)}, "one of them"),
        ({"decay": 0.1}, "a parametrization beside it"),
        ({"parametrization": P.mup(2), "decay": -1.0}, "decay"),
        ({"parametrization": P.mup(2), "optimizer": "adam"}, "optax transformation"),
    ],
)
def test_what_is_refused(options: dict[str, Any], words: str) -> None:
    params = lg.init(NET, 5, jax.random.key(0))
    with pytest.raises(InputError, match=words):
        lg.train(NET, params, X, Y, 0.1, 1, **options)
