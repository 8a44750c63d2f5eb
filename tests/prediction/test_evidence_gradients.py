"""Gradients of the evidence at order 1/n, in every hyperparameter, in the ridge, the targets and the inputs, against differences."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import largen as lg
from largen.errors import InputError, UnsupportedError

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)
POINTS, TARGETS = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))
STEP = 2e-4


def plain(activation: str, L: int = 3) -> Any:
    """A network of unequal widths whose layers all differ."""
    widths = [30, 20, 40][: L - 1]
    return lg.mlp(widths=widths, out=2, activation=activation, C_W=[1.7, 1.3, 1.5, 1.9][:L], C_b=[0.1, 0.2, 0.05, 0.15][:L])


def agrees(function: Any, at: Any, rtol: float = 1e-6, order: int = 1, ways: int = 0, step: float = STEP) -> None:
    """`jax.grad` of function(at, order), `at` a pytree, against central differences at order 1 along every axis, or along so many
    random `ways`; the value unchanged.

    Differences of two steps, so that their error is of the fourth order in the step."""
    with jax.enable_x64(True):
        flat, back = ravel_pytree(jax.tree_util.tree_map(jnp.asarray, at))
        value, exact = jax.value_and_grad(lambda x: function(back(x), order))(flat)

        def of(x: Any) -> float:
            return float(function(jax.tree_util.tree_map(lambda v: float(v) if v.ndim == 0 else np.asarray(v), back(jnp.asarray(x))), 1))

        def central(step: np.ndarray) -> float:
            return (of(flat + step) - of(flat - step)) / 2

        axes = RNG.uniform(-0.5, 0.5, size=(ways, len(flat))) if ways else np.eye(len(flat))
        found = [(4 * central(step * e) - central(2 * step * e) / 2) / 3 / step for e in axes]
        if order == 1:
            assert np.isclose(value, of(np.asarray(flat)), rtol=1e-13, atol=1e-13)
        assert np.abs(axes @ np.asarray(exact) - found).max() < rtol * np.abs(found).max()


@pytest.mark.parametrize(
    "activation, inputs",
    [("gelu", [0]), ("tanh", [0, 1]), ("relu", [0]), ("relu", [0, 1, 2, 0])],
)
def test_every_hyperparameter_the_ridge_and_the_targets(activation: str, inputs: list[int]) -> None:
    """The network is a pytree, whose leaves are C_W and C_b; the last case has an input twice."""
    net, X, y = plain(activation), POINTS[inputs], TARGETS[: len(inputs)]

    def function(at: Any, order: int) -> Any:
        return lg.bayes.evidence(at["net"], X, at["y"], at["ridge"], order).log

    agrees(function, {"net": net, "y": y, "ridge": np.linspace(0.1, 0.2, len(inputs))}, ways=0 if activation == "relu" else 2)


def test_four_different_inputs_of_a_smooth_activation() -> None:
    """Two layers before the outputs, in one direction of all hyperparameters at once."""
    net = plain("tanh", 3)

    def function(t: Any, order: int) -> Any:
        moved = jax.tree_util.tree_map(lambda v, w: v * (1 + w * t), net, jax.tree_util.tree_unflatten(SHAPE, DIRECTION))
        return lg.bayes.evidence(moved, POINTS, TARGETS, 0.1, order).log

    SHAPE = jax.tree_util.tree_structure(net)
    DIRECTION = np.linspace(-1, 1.5, SHAPE.num_leaves).tolist()
    agrees(function, 0.0, step=4e-3)  # values jump by 1e-9 where they change lattices


def test_inputs_and_skips() -> None:
    """Inputs too; and residual blocks, whose weights are leaves of the network."""
    agrees(lambda X, order: lg.bayes.evidence(plain("relu"), X, TARGETS[:3], 0.1, order).log, POINTS[:3])
    agrees(lambda X, order: lg.bayes.evidence(plain("tanh", 2), X, TARGETS[:2], 0.1, order).log, POINTS[:2])
    block = lg.resnet_mlp(30, blocks=2, activation="tanh", skip=0.8, C_W=1.2, C_b=0.1)
    agrees(lambda net, order: lg.bayes.evidence(net, POINTS[:2], TARGETS[:2, 0], 0.1, order).log, block)


def test_the_gradient_at_infinite_width_is_another() -> None:
    """The control: what `agrees` demands tells order 0 from order 1."""
    with pytest.raises(AssertionError):
        agrees(lambda net, order: lg.bayes.evidence(net, POINTS[:2], TARGETS[:2], 0.1, order).log, plain("relu"), rtol=1e-3, order=0)


def test_forward_mode_parts_and_dtypes() -> None:
    net, X, y = plain("relu"), POINTS[:2], TARGETS[:2]
    with jax.enable_x64(True):
        forward, reverse = (d(lambda r: lg.bayes.evidence(plain("relu"), X, y * r, 0.1 * r, 1).log)(1.5) for d in (jax.jacfwd, jax.grad))
        assert np.isclose(forward, reverse, rtol=1e-12)
        _, slope = jax.jvp(lambda c: lg.bayes.evidence(lg.mlp([30], 2, "relu", C_W=c), X, y, 0.1, 1).log, (1.5,), (1.0,))
        assert np.isclose(slope, jax.grad(lambda c: lg.bayes.evidence(lg.mlp([30], 2, "relu", C_W=c), X, y, 0.1, 1).log)(1.5), rtol=1e-12)
        single = jax.grad(lambda net: lg.bayes.evidence(net, X.astype(np.float32), y, 0.1, 1).log)(net)
        double = jax.grad(lambda net: lg.bayes.evidence(net, X, y, 0.1, 1).log)(net)
    assert all(np.isclose(a, b, rtol=1e-4) for a, b in zip(*map(jax.tree_util.tree_leaves, (single, double)), strict=True))


def test_where_there_are_no_derivatives() -> None:
    def of(c: Any, activation: Any = "relu") -> Any:
        return lg.bayes.evidence(lg.mlp([30], 2, activation, C_W=c), POINTS[:2], TARGETS[:2], 0.1, 1).log

    with jax.enable_x64(True):
        refused(of)
    with pytest.raises(InputError, match="in float32"):
        jax.grad(of)(1.5)


def refused(of: Any) -> None:
    for transformed, at in ((jax.jit(of), 1.5), (jax.vmap(of), jnp.ones(3)), (jax.grad(jax.grad(of)), 1.5)):
        with pytest.raises(InputError, match="outside jit and vmap"):
            transformed(at)
    with pytest.raises(UnsupportedError, match="the gradient of the 1/n expansion"):
        jax.grad(lambda c: of(c, lg.activation(lambda z: jnp.clip(z, -1, 1), kinks=(-1.0, 1.0))))(1.5)
