"""Ensembles equal a loop over their networks, whatever the chunk."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

import largen as lg
from largen.errors import InputError

KEY = jax.random.key(5)
RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))
NET = lg.mlp(widths=[6], out=2, activation="tanh", C_W=1.5, C_b=0.1)
MANY = lg.init(NET, 3, KEY, networks=5, dtype=np.float64)
SINGLES = [lg.init(NET, 3, k, dtype=np.float64) for k in jax.random.split(KEY, 5)]


def test_parameters_equal_a_loop() -> None:
    for k, single in enumerate(SINGLES):
        jax.tree.map(lambda a, b, k=k: np.testing.assert_array_equal(np.asarray(a)[k], b), MANY, single)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 2])
def test_everything_equals_a_loop(chunk: int) -> None:
    close: Any = np.testing.assert_allclose
    close(lg.apply_ensemble(NET, MANY, X, chunk=chunk), [lg.apply(NET, p, X) for p in SINGLES], rtol=1e-11)
    layers = lg.measure.preactivations_ensemble(NET, MANY, X, chunk=chunk)
    for path, z in layers.items():
        close(z, [lg.measure.preactivations(NET, p, X)[path] for p in SINGLES], rtol=1e-11, atol=1e-13)
    got = lg.empirical_ntk_ensemble(NET, MANY, X, X[:2], rates=(1.0, 2.0), full=chunk == 1, chunk=chunk)
    close(got, [lg.empirical_ntk(NET, p, X, X[:2], rates=(1.0, 2.0), full=chunk == 1) for p in SINGLES], rtol=1e-10, atol=1e-12)
    params, history = lg.train_ensemble(NET, MANY, X, Y, 0.05, 4, record=(X, [1, 4]), chunk=chunk)
    loop = [lg.train(NET, p, X, Y, 0.05, 4, record=(X, [1, 4])) for p in SINGLES]
    close(history.loss, [h.loss for _, h in loop], rtol=1e-11)
    close(history.outputs, [h.outputs for _, h in loop], rtol=1e-10)
    assert history.time is not None and history.time.shape == (5,)
    close(params["dense1"]["W"], [p["dense1"]["W"] for p, _ in loop], rtol=1e-10)


def test_a_chunk_larger_than_the_ensemble() -> None:
    np.testing.assert_allclose(lg.apply_ensemble(NET, MANY, X, chunk=8), lg.apply_ensemble(NET, MANY, X), rtol=1e-12)


@pytest.mark.slow
def test_optimizer_in_an_ensemble() -> None:
    adam = optax.adam(1e-2)
    losses = lg.train_ensemble(NET, MANY, X, Y, None, 3, optimizer=adam, chunk=2)[1].loss
    np.testing.assert_allclose(losses[3], lg.train(NET, SINGLES[3], X, Y, None, 3, optimizer=adam)[1].loss, rtol=1e-11)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="`networks`"):
        lg.init(NET, 3, KEY, networks=0)
    with pytest.raises(InputError, match="`chunk`"):
        lg.apply_ensemble(NET, MANY, X, chunk=0)
    with pytest.raises(InputError, match=r"got shape \(3, 6\); needed shape \(3, 3, 6\)"):
        lg.apply_ensemble(NET, SINGLES[0], X)
    with pytest.raises(InputError, match="networks="):
        lg.apply_ensemble(NET, {}, X)
    with pytest.raises(InputError, match=r"a loss that is not finite from step \d+ on in [1-5] of 5 networks"):
        lg.train_ensemble(NET, MANY, X, Y, 1e4, 100)
