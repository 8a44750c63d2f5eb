"""How deep at this width: what each criterion means on real networks, and that width, depth and report say the same."""

import jax
import numpy as np
import pytest

import largen as lg

X = np.array([[1.0, -0.5, 0.8], [0.3, 0.9, -0.7]])


def draws(net: lg.Serial, x: np.ndarray, many: int) -> dict[str, np.ndarray]:
    params = lg.init_ensemble(net, jax.random.key(0), x.shape[1], many)
    return {path: np.asarray(z, float) for path, z in lg.preactivations_ensemble(net, params, x, chunk=many).items()}


@pytest.mark.parametrize(("name", "width"), [("relu", 64), ("tanh", 24), ("gelu", 64)])
def test_scatter_is_the_variance_over_networks_of_the_size(name: str, width: int) -> None:
    """At depth L, Var[K]/K^2 over 4,000 networks is the tolerance less what one more layer adds, up to terms of 1/n^2."""
    found = lg.how_deep(name, width, tolerance=0.2)
    assert found.criterion == "scatter" and found.depth is not None and found.fluctuation is not None
    net = lg.mlp([width] * (found.depth - 1), 1, name, C="critical")
    C_W, phi = lg.critical(name).C_W, lg.activation(name)
    z = draws(net, np.ones((1, 4)), 4000)[f"dense{found.depth - 1}"][:, 0]
    K = (lg.critical(name).C_b or 0) + (C_W or 0) * np.mean(np.asarray(phi(z)) ** 2, 1)
    measured = K.var() / K.mean() ** 2
    assert measured == pytest.approx(found.fluctuation, rel=0.15)
    print(name, found.depth, found.fluctuation, measured)
