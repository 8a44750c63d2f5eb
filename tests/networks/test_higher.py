"""dNTK and ddNTK against full Hessians, their symmetries, and the steps of gradient descent that they predict."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import largen as lg
from largen.errors import InputError, UnsupportedError
from largen.networks.higher import ddntk, dntk
from largen.networks.outputs import outputs
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor

pytestmark = pytest.mark.slow

KEY = jax.random.key(7)
X = np.random.default_rng(3).normal(size=(2, 3))
RATES: Any = ((0.5, 0.2, 0.9), (0.8, 1.3, 0.6))
NET = lg.mlp(widths=[3, 2], out=2, activation="tanh", C_W=1.5, C_b=0.3)
PARAMS = lg.init(NET, 3, KEY, dtype=np.float64)


def same(got: Any, want: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max(), rtol=0)


def derivatives(net: Any, params: Any, rates: Any) -> tuple[np.ndarray, ...]:
    """lambda (P,) and the first three full derivatives of the outputs, (points, outputs, P, ...)."""
    with jax.enable_x64(True):
        flat, back = ravel_pytree(jax.tree_util.tree_map(jnp.asarray, params))
        tensor = rate_tensor(net, X.shape[1:], resolve(net, rates))
        rate, _ = ravel_pytree(jax.tree_util.tree_map(lambda r, p: jnp.full_like(p, r), tensor, back(flat)))
        found = [rate]
        function: Any = lambda p: outputs(net, back(p), jnp.asarray(X))  # noqa: E731
        for _ in range(3):
            function = jax.jacfwd(function)
            found.append(jax.jit(function)(flat))
        return tuple(map(np.asarray, found))


def test_against_full_derivatives() -> None:
    rate, J, H, D = derivatives(NET, PARAMS, RATES)
    v = rate * J
    dH = dntk(NET, PARAMS, X, RATES)
    assert isinstance(dH, np.ndarray) and dH.dtype == np.float64
    same(dH, np.einsum("aipq,bjp,ckq->abcijk", H, v, v, optimize=True))
    dd = ddntk(NET, PARAMS, X, RATES)
    same(dd.first, np.einsum("aipqr,bjp,ckq,dlr->abcdijkl", D, v, v, v, optimize=True))
    same(dd.second, np.einsum("aipr,r,bjqr,ckp,dlq->abcdijkl", H, rate, H, v, v, optimize=True))


def test_symmetries() -> None:
    dH, dd = dntk(NET, PARAMS, X, RATES), ddntk(NET, PARAMS, X, RATES)
    same(dH, dH.transpose(0, 2, 1, 3, 5, 4))
    for swap in ((0, 2, 1, 3), (0, 1, 3, 2), (0, 3, 2, 1)):
        same(dd.first, dd.first.transpose(*swap, *(4 + i for i in swap)))
    same(dd.second, dd.second.transpose(1, 0, 3, 2, 5, 4, 7, 6))


def test_one_step_of_gradient_descent() -> None:
    """Outputs to eta^3, the NTK to eta^2 and the dNTK to eta: the errors left are of the next power."""
    y = np.array([[0.7, -0.3], [-0.4, 1.1]])
    z, H = lg.apply(NET, PARAMS, X), lg.empirical_ntk(NET, PARAMS, X, rates=RATES)
    dH, dd, e = dntk(NET, PARAMS, X, RATES), ddntk(NET, PARAMS, X, RATES), z - y
    one = -np.einsum("abij,bj->ai", H, e)
    two = np.einsum("abcijk,bj,ck->ai", dH, e, e) / 2
    three = -np.einsum("abcdijkl,bj,ck,dl->ai", dd.first, e, e, e) / 6
    turn = -np.einsum("abcijk,ck->abij", dH, e)
    turn = turn + turn.transpose(1, 0, 3, 2)
    bend = np.einsum("abcdijkl,ck,dl->abij", dd.first, e, e)
    bend = (bend + bend.transpose(1, 0, 3, 2)) / 2 + np.einsum("abcdijkl,ck,dl->abij", dd.second, e, e)
    change = -np.einsum("abcdijkl,dl->abcijk", dd.first + dd.second, e)
    change = change - np.einsum("acbdikjl,dl->abcijk", dd.second, e)
    errors = []
    for eta in (0.02, 0.002):
        moved, _ = lg.train(NET, PARAMS, X, y, eta=eta, steps=1, rates=RATES)
        step, ntk = lg.apply(NET, moved, X) - z, lg.empirical_ntk(NET, moved, X, rates=RATES) - H
        linear, both = eta * one, eta * one + eta**2 * two
        found = [step - linear, step - both, step - both - eta**3 * three, ntk - eta * turn, ntk - eta * turn - eta**2 * bend]
        found += [dntk(NET, moved, X, RATES) - dH - eta * change]
        errors.append([np.abs(error).max() for error in found])
    powers = np.log10(np.array(errors[0]) / errors[1])
    np.testing.assert_allclose(powers, [2, 3, 4, 2, 3, 2], atol=0.15)


def test_any_network_any_dtype_and_transforms() -> None:
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype(np.float32)
    net = lg.Conv(3, 3) >> lg.Act("relu") >> lg.GlobalAvgPool() >> lg.Dense(2)
    dH = dntk(net, lg.init(net, (4, 4, 1), KEY), images)
    assert dH.shape == (2, 2, 2, 2, 2, 2) and dH.dtype == np.float32
    two = jax.tree_util.tree_map(lambda a: jnp.asarray(np.stack([np.asarray(a)] * 2), np.float32), PARAMS)
    wide = jax.jit(jax.vmap(lambda p: dntk(NET, p, jnp.asarray(X, np.float32), RATES)))(two)
    np.testing.assert_allclose(wide[0], dntk(NET, PARAMS, X, RATES), atol=1e-5)


def test_a_linear_first_layer_has_none() -> None:
    net = lg.mlp(widths=[], out=2, C_b=0.1)
    params = lg.init(net, 3, KEY, dtype=np.float64)
    dd = ddntk(net, params, X)
    assert not dntk(net, params, X).any() and not dd.first.any() and not dd.second.any()


@pytest.mark.parametrize("activation", ["relu", "sign", "elu", "rectified_monomial(2)"])
def test_kinks_are_refused(activation: str) -> None:
    net = lg.mlp(widths=[4], out=1, activation=activation)
    params = lg.init(net, 3, KEY, dtype=np.float64)
    assert np.isfinite(dntk(net, params, X)).all()
    with pytest.raises(UnsupportedError, match="jumps"):
        ddntk(net, params, X)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="`X`"):
        dntk(NET, PARAMS, X[0])
    with pytest.raises(InputError, match="lambda_b"):
        ddntk(NET, PARAMS, X, rates=(-1.0, 1.0))
    with pytest.raises(InputError, match="GiB"):
        ddntk(NET, PARAMS, np.ones((3000, 3)))
