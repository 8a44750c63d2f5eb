"""The law of gradient norms: what is exact, leading orders, layers and outputs, what it refuses. Real networks: tests/agreement."""

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

import largen as lg
from largen.errors import InputError, UnsupportedError
from largen.theory.exact.factors import excess, factor

FIELDS = ("mean", "typical", "log_variance", "dead", "square_variance", "total_variance", "ratio")


def law_of(net: Any, X: Any = None) -> Any:
    """The law, its fields taken as present."""
    return lg.exact.gradient_law(net, X)


def critical(activation, widths, out=1):
    return lg.mlp(widths=widths, out=out, activation=activation, C="critical")


@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu(0.3)", "abs"])
def test_critical_networks_to_leading_order(activation):
    """r.m.s. exactly 1; mean exp(-S/8), typical exp(-S/4), Var log S/4, S = c (L-1)/n, as n grows at fixed S."""
    errors = []
    for n in (200, 400, 800):
        law = law_of(critical(activation, [n] * (n // 8)))
        S = law.ratio[0]
        assert law.how == "exact" and law.mean_square == pytest.approx(np.ones(n // 8 + 1), rel=1e-13)
        c = {"linear": 2, "abs": 2, "relu": 5, "leaky_relu(0.3)": excess((1.0, 0.3))}[activation]
        assert pytest.approx(c / 8) == S
        errors.append(
            [
                law.mean[0] - np.exp(-S / 8),
                law.typical[0] - np.exp(-S / 4),
                law.log_variance[0] - S / 4,
                law.square_variance[0] - np.expm1(S),
            ]
        )
    errors = np.abs(errors)
    assert (errors[1] < 0.6 * errors[0]).all() and (errors[2] < 0.6 * errors[1]).all() and (errors[0] < 0.02).all()


def test_layers_multiply_from_the_top():
    """Unequal widths, C_W, activations: entry l has the factors of the layers l..L-1; biases do not matter."""
    net = lg.Dense(6) >> lg.Act("relu") >> lg.Dense(9, C_W=1.8, C_b=0.3) >> lg.Act("leaky_relu(0.5)") >> lg.Dense(4, C_W=1.5)
    law = law_of(net)
    a, b = factor((1.0, 0.0), 6), factor((1.0, 0.5), 9)
    assert law.mean_square == pytest.approx([1.8 / 2 * 1.5 * 0.625, 1.5 * 0.625, 1])
    assert law.mean == pytest.approx([np.sqrt(0.9 * 0.9375) * a.root * b.root, np.sqrt(0.9375) * b.root, 1])
    assert np.log(law.typical) == pytest.approx(
        [np.log(0.9 * 0.9375) / 2 + (a.log_mean + b.log_mean) / 2, np.log(0.9375) / 2 + b.log_mean / 2, 0]
    )
    assert law.dead == pytest.approx([1 / 64, 0, 0])
    assert law.ratio == pytest.approx([5 / 6 + excess((1.0, 0.5)) / 9, excess((1.0, 0.5)) / 9, 0])


def test_depth_makes_gradients_vanish_and_width_cures_it():
    deep, wide = (law_of(critical("relu", [n] * 30)) for n in (16, 256))
    assert deep.typical[0] < 0.1 < 0.85 < wide.typical[0] < 1 and deep.mean_square[0] == wide.mean_square[0] == 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 5))
def test_variance_over_outputs(widths, out):
    """One output: the product law. Several: less, but not as if they were independent."""
    single, many = (law_of(critical("relu", widths, o)) for o in (1, out))
    assert single.total_variance == pytest.approx(single.square_variance, rel=1e-10, abs=1e-12)
    assert (many.total_variance <= single.square_variance + 1e-12).all()
    assert (many.total_variance >= single.square_variance / out - 1e-12).all()


def test_linear_outputs_are_wishart():
    """Linear: the Gram matrix over outputs is E tr(Q)^2 of orthonormal inputs of a deep linear network run backwards."""
    law = law_of(critical("linear", [5, 8], 3))
    T = lg.exact.deep_linear(lg.mlp(widths=[8, 5], out=1, activation="linear"), np.sqrt(3) * np.eye(3)).moments[1]
    traces = np.einsum("laabb->l", T) / 9 - 1
    assert law.total_variance == pytest.approx(traces[::-1], abs=1e-14)


def test_other_activations_to_leading_order():
    """prod chi_perp. T3, T1: tanh, C_W = 1: <phi'^2> = .4644029024 at K = 1; then K = .3942944904."""
    x = np.ones((1, 3))
    law = law_of(lg.mlp(widths=[10, 10], out=1, activation="tanh"), x)
    assert law.how == "leading order" and law.mean_square.shape == (3, 1)
    assert law.mean_square[0, 0] / law.mean_square[1, 0] == pytest.approx(0.4644029024, abs=1e-10)
    second = law_of(lg.mlp(widths=[10], out=1, activation="tanh", C_W=[0.3942944904, 1.0]), x)
    assert law.mean_square[1, 0] == pytest.approx(second.mean_square[0, 0], abs=1e-9) and law.mean_square[2, 0] == 1
    assert all(getattr(law, name) is None and "scale-invariant" in law.missing[name] for name in FIELDS)
    both = law_of(lg.mlp(widths=[10], out=1, activation="relu", C_W=1.3), None).mean_square
    assert both == pytest.approx([0.65, 1])


def test_bad_input_is_named():
    with pytest.raises(InputError, match="X"):
        law_of(critical("tanh", [4]))
    with pytest.raises(UnsupportedError, match="residual"):
        law_of(lg.resnet_mlp(4, blocks=1))
    with pytest.raises(InputError, match="traced"):
        jax.grad(lambda c: law_of(lg.mlp(widths=[4], out=1, C_W=c)).mean_square[0])(1.0)
