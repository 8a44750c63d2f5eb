"""Training against descent written out in numpy, against optax, against its own first-order law."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import largen as lg
from largen.errors import InputError
from largen.networks.training import Diverged

KEY = jax.random.key(3)
RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))
X_TEST = RNG.normal(size=(4, 3))
NET = lg.mlp(widths=[6, 4], out=2, activation="tanh", C_W=[1.5, 2.0, 0.7], C_b=[0.3, 0.0, 0.2])
PARAMS = lg.init(NET, 3, KEY, dtype=np.float64)
RATES = {
    "ntk": ((0.3, 0.0, 0.2), (1.5, 2.0, 0.7)),
    "numbers": (0.5, 2.0),
    "layers": ((1.0, 0.5, 0.0), (0.2, 0.0, 3.0)),
}


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def descent(y: np.ndarray, eta: float, steps: int, rates: tuple, loss: str) -> tuple[list, list, list]:
    """Backpropagation and descent in numpy: parameters, losses and test outputs before each step and at the end."""
    Ws, bs = ([np.array(p[name]) for p in PARAMS.values()] for name in ("W", "b"))
    lb, lw = (np.broadcast_to(r, 3) for r in rates)
    losses, seen = [], []

    def forward(x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        inputs = [x]
        for W, b in zip(Ws[:-1], bs[:-1], strict=True):
            inputs.append(np.tanh(inputs[-1] @ W + b))
        return inputs[-1] @ Ws[-1] + bs[-1], inputs

    for step in range(steps + 1):
        z, inputs = forward(X)
        seen.append(forward(X_TEST)[0])
        losses.append(0.5 * np.sum((z - y) ** 2) if loss == "mse" else -np.sum(y * np.log(softmax(z))))
        if step == steps:
            break
        delta = z - y if loss == "mse" else softmax(z) - y
        moves = []
        for i in (2, 1, 0):
            moves.append((i, inputs[i].T @ delta, delta.sum(0)))
            delta = (delta @ Ws[i].T) * (1 - inputs[i] ** 2)
        for i, dW, db in moves:
            Ws[i] = Ws[i] - eta * lw[i] / Ws[i].shape[0] * dW
            bs[i] = bs[i] - eta * lb[i] * db
    return [Ws, bs], losses, seen


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("rates", list(RATES))
def test_matches_descent_by_hand(rates: str, loss: str) -> None:
    labels = np.array([0, 1, 1, 0, 1])
    aims = Y if loss == "mse" else np.eye(2)[labels]
    given = "ntk" if rates == "ntk" else RATES[rates]
    params, history = lg.train(
        NET, PARAMS, X, Y if loss == "mse" else labels, 0.05, 7, rates=given, loss=loss, record=(X_TEST, [0, 3, 4, 7])
    )
    assert history.time is not None and history.outputs is not None
    (Ws, bs), losses, seen = descent(aims, 0.05, 7, RATES[rates], loss)
    for i, entry in enumerate(params.values()):
        np.testing.assert_allclose(entry["W"], Ws[i], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(entry["b"], bs[i], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-11)
    np.testing.assert_allclose(history.time, 0.05 * np.arange(8), rtol=1e-14)
    np.testing.assert_allclose(history.outputs, [seen[s] for s in (0, 3, 4, 7)], rtol=1e-11)
    assert isinstance(history.loss, np.ndarray) and history.loss.dtype == np.float64


def test_sgd_rates_are_plain_descent_and_optax_agrees() -> None:
    plain = lg.train(NET, PARAMS, X, Y, eta=1.0, steps=6, rates=lg.rates_of_sgd(NET, 0.02, n_in=3))
    given = lg.train(NET, PARAMS, X, Y, eta=None, steps=6, optimizer=optax.sgd(0.02))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), plain[0], given[0])
    np.testing.assert_allclose(plain[1].loss, given[1].loss, rtol=1e-12)
    assert given[1].time is None and given[1].outputs is None


def test_sgd_rates_are_plain_descent_on_images() -> None:
    net, x = lg.cnn([3], out=2), RNG.normal(size=(5, 4, 3, 2))
    params = lg.init(net, (4, 3, 2), KEY, dtype=np.float64)
    plain = lg.train(net, params, x, Y, eta=1.0, steps=3, rates=lg.rates_of_sgd(net, 0.02, n_in=(4, 3, 2)))
    given = lg.train(net, params, x, Y, eta=None, steps=3, optimizer=optax.sgd(0.02))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), plain[0], given[0])


def test_adam_matches_a_plain_optax_loop() -> None:
    adam, single = optax.adam(1e-2), lg.init(NET, 3, KEY)
    x, y = jnp.asarray(X, np.float32), jnp.asarray(Y, np.float32)
    expected, memory = single, adam.init(single)
    slopes = jax.jit(jax.grad(lambda p: 0.5 * jnp.sum((lg.apply(NET, p, x) - y) ** 2)))
    for _ in range(5):
        slope = slopes(expected)
        moves, memory = adam.update(slope, memory, expected)
        expected = optax.apply_updates(expected, moves)
    got, history = lg.train(NET, single, X, Y, None, 5, optimizer=adam, record=(X, [5]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, expected)
    assert history.outputs is not None
    np.testing.assert_allclose(history.outputs[0], lg.apply(NET, got, X), rtol=1e-5)


def test_one_step_moves_outputs_by_the_kernel_with_an_error_of_second_order() -> None:
    theta = lg.empirical_ntk(NET, PARAMS, X_TEST, X)
    before = lg.apply(NET, PARAMS, X_TEST)
    push = np.einsum("acij,cj->ai", theta, lg.apply(NET, PARAMS, X) - Y)
    errors = []
    for eta in (2e-3, 1e-3):
        after = lg.apply(NET, lg.train(NET, PARAMS, X, Y, eta, 1)[0], X_TEST)
        errors.append(np.abs(after - before + eta * push).max())
    assert errors[0] < 1e-3 * np.abs(push).max() and 3.8 < errors[0] / errors[1] < 4.2


def test_vectors_of_targets_probabilities_and_no_steps() -> None:
    net = lg.mlp(widths=[6], out=1)
    params = lg.init(net, 3, KEY)
    one, two = lg.train(net, params, X, Y[:, 0], 0.1, 3), lg.train(net, params, X, Y[:, :1], 0.1, 3)
    np.testing.assert_array_equal(one[1].loss, two[1].loss)
    still, history = lg.train(net, params, X, Y[:, 0], 0.1, 0, record=(X, [0]))
    assert history.loss.shape == (1,) and (still["dense1"]["W"] == params["dense1"]["W"]).all()
    labels = np.array([0, 1, 1, 0, 1])
    hard, soft = (lg.train(NET, PARAMS, X, y, 0.1, 3, loss="cross_entropy")[1] for y in (labels, np.eye(2)[labels]))
    np.testing.assert_array_equal(hard.loss, soft.loss)


def test_vmaps_over_parameters() -> None:
    many = lg.init(NET, 3, KEY, networks=3)
    trained, history = jax.vmap(lambda p: lg.train(NET, p, X, Y, 0.05, 4, record=(X, [2])))(many)
    alone = lg.train(NET, jax.tree.map(lambda a: a[1], many), X, Y, 0.05, 4, record=(X, [2]))
    np.testing.assert_allclose(history.loss[1], alone[1].loss, rtol=1e-5)
    np.testing.assert_allclose(trained["dense2"]["W"][1], alone[0]["dense2"]["W"], rtol=1e-4, atol=1e-6)


def test_divergence_names_the_step_and_the_way_out() -> None:
    net = lg.mlp(widths=[6], out=2, activation="relu", C_W=2.0)
    params = lg.init(net, 3, KEY)
    with pytest.raises(Diverged, match=r"`eta`: got 50.0, and a loss that is not finite from step \d+ on; .*lg\.max_learning_rate"):
        lg.train(net, params, X, Y, 50.0, 200)
    with pytest.raises(Diverged, match="Lower the optimizer's learning rate"):
        lg.train(net, params, X, Y, None, 200, optimizer=optax.sgd(50.0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"y": Y[:, :1]}, "2 columns, one per output"),
        ({"y": Y[:4]}, "`y`"),
        ({"y": np.array([0, 1, 1, 0, 1])}, "lg.one_hot"),
        ({"y": np.array([0, 1, 2, 0, 1]), "loss": "cross_entropy"}, "labels from 0 to 2"),
        ({"y": Y, "loss": "cross_entropy"}, "no probabilities"),
        ({"y": Y[:, 0], "loss": "cross_entropy"}, "integer labels"),
        ({"y": ["a"] * 5, "loss": "cross_entropy"}, "not numbers"),
        ({"loss": "hinge"}, "'cross_entropy'"),
        ({"eta": 0.0}, "`eta`"),
        ({"eta": None}, "lg.max_learning_rate"),
        ({"eta": np.nan}, "`eta`"),
        ({"steps": -1}, "`steps`"),
        ({"steps": 1.5}, "`steps`"),
        ({"rates": (1.0, [1.0, 2.0])}, "one per affine layer (3)"),
        ({"rates": "sgd"}, "`rates`"),
        ({"optimizer": optax.sgd(0.1)}, "together with an optimizer"),
        ({"optimizer": optax.sgd(0.1), "eta": None, "rates": (1.0, 1.0)}, "plain gradients"),
        ({"optimizer": "adam", "eta": None}, "optax.adam(1e-3)"),
        ({"record": X}, "a pair (X_record, at)"),
        ({"record": (X[:, :2], [0])}, "`record[0]`"),
        ({"record": (X, [0, 9])}, "between 0 and 3"),
        ({"record": (X, [2, 1])}, "increasing"),
        ({"record": (X, [])}, "increasing"),
        ({"record": (X, [0.5])}, "increasing"),
    ],
)
def test_bad_input(arguments: dict, words: str) -> None:
    with pytest.raises(InputError) as error:
        lg.train(NET, PARAMS, **{"X": X, "y": Y, "eta": 0.1, "steps": 3, **arguments})
    assert words in str(error.value)


def test_one_output_has_no_cross_entropy() -> None:
    net = lg.mlp(widths=[6], out=1)
    with pytest.raises(InputError, match="an output per class"):
        lg.train(net, lg.init(net, 3, KEY), X, np.zeros(5, int), 0.1, 3, loss="cross_entropy")
