"""The 1/n tensors of kinked activations without closed form: against closed forms, smooth ones, real networks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import LEVEL, REJECT
from largen.errors import UnsupportedError

NAMES = ("K", "V", "K1", "Theta", "Theta1", "D", "F", "A", "B", "P", "Q")
RATES = (0.5, 0.8)
X4 = np.random.default_rng(3).normal(size=(4, 5))
X2 = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]])
RELU = lg.activation(lambda z: jnp.maximum(z, 0.0), kinks=(0.0,))
SIN = lg.activation(jnp.sin, kinks=(-1.5, 1.5))  # kinks that are none


def both(phi: Any, name: str, X: np.ndarray, C_b: float = 0.1, C_W: float = 1.7) -> tuple[lg.records.Corrections, lg.records.Corrections]:
    """By rules split at kinks, and as the named activation is done."""
    one, other = (lg.mlp(widths=[8, 12], activation=a, C_W=C_W, C_b=C_b) for a in (phi, name))
    return lg.corrections(one, X, RATES, tensors=NAMES), lg.corrections(other, X, RATES, tensors=NAMES)


def gap(one: lg.records.Corrections, other: lg.records.Corrections, name: str) -> float:
    """The largest difference, relative to the largest entry, or to K^2 where the tensor vanishes."""
    values = np.asarray(getattr(other, name))
    return float(np.abs(np.asarray(getattr(one, name)) - values).max() / max(np.abs(values).max(), 1e-3))


@pytest.mark.parametrize(("phi", "name"), [(RELU, "relu"), pytest.param(SIN, "sin", marks=pytest.mark.slow)])
def test_one_and_two_inputs(phi: Any, name: str) -> None:
    """Every tensor, from delta functions at a kink (ReLU) to explicit second derivatives (sin)."""
    for X in (X4[:1], X4[:2], np.eye(2)) if phi is RELU else (X4[:2],):
        out, known = both(phi, name, X, C_b=0.0 if X.shape == (2, 2) else 0.1)
        assert not out.standard_errors and out.error < 1e-6  # by a coarser rule; above there is a warning
        for tensor in NAMES:
            assert gap(out, known, tensor) < 1e-7, (tensor, X)


@pytest.mark.parametrize("X", [X4, np.stack([X4[0], X4[1], -X4[0], 2 * X4[1]])], ids=["four", "collinear"])
def test_four_inputs(X: np.ndarray) -> None:
    """Within 1e-4 of the largest entry, and as far off as the standard errors say; multiples and negatives of inputs too."""
    out, known = both(RELU, "relu", X, C_b=0.0 if np.allclose(X[2], -X[0]) else 0.1)
    assert set(out.standard_errors) == {*NAMES} - {"K", "K1", "Theta"}
    for tensor in NAMES:
        assert gap(out, known, tensor) < (1e-4 if tensor in out.standard_errors else 1e-8), tensor
    for tensor in ("V", "A", "F", "B"):
        errors = np.asarray(out.standard_errors[tensor])
        off = np.abs(np.asarray(getattr(out, tensor)) - np.asarray(getattr(known, tensor)))
        assert 0 < errors.max() < 5e-5 * np.abs(getattr(known, tensor)).max()
        assert (off < 7 * errors + 1e-6 * np.abs(getattr(known, tensor)).max()).all(), tensor


@pytest.mark.slow
def test_explicit_second_derivatives_of_three_inputs() -> None:
    out, known = both(SIN, "sin", X4[:3])
    for tensor in NAMES:
        assert gap(out, known, tensor) < 1e-4, tensor


@pytest.mark.slow
def test_symmetries() -> None:
    """A like V; D: 1 <-> 2, 3 <-> 4; F: pairs together; B: transposition of the NTKs; an odd activation is odd in its inputs."""
    X = np.stack([X4[0], X4[1], -X4[0]])
    out = lg.corrections(lg.mlp(widths=[8, 6], activation="hardtanh", C_W=1.5), X, RATES)
    orders = {"V": ((1, 0, 2, 3), (2, 3, 0, 1)), "A": ((1, 0, 2, 3), (2, 3, 0, 1)), "D": ((1, 0, 2, 3), (0, 1, 3, 2))}
    orders |= {"F": ((2, 3, 0, 1),), "B": ((2, 3, 0, 1), (1, 0, 3, 2))}
    for tensor, perms in orders.items():
        T = np.asarray(getattr(out, tensor))
        for perm in perms:
            np.testing.assert_allclose(T, T.transpose(perm), atol=3e-6 * np.abs(T).max(), err_msg=tensor)
        if tensor in ("V", "D"):  # where that input is one of a preactivation: biases make NTKs neither odd nor even
            np.testing.assert_allclose(T[2, 1, 0, 1], -T[0, 1, 0, 1], atol=1e-4 * np.abs(T).max(), err_msg=tensor)
    assert out.K1 is not None
    np.testing.assert_allclose(out.K1[0, 2], -out.K1[0, 0], atol=1e-9)


def test_values_of_the_metric() -> None:
    """Pinned: quadrature of <s s> alone, twice differentiated (hidden widths 8, 12, 6)."""
    out = lg.corrections(lg.mlp(widths=[8, 12, 6], activation="hardtanh", C_W=1.5, C_b=0.1), X2)
    assert out.V is not None and out.K1 is not None
    V = [out.V[at] for at in ((0, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 1), (0, 1, 1, 1))]
    np.testing.assert_allclose(V, [0.38642266764452643, 0.8388341009641719, 0.001491504751333317, 0.022735164248336028], atol=1e-9)
    shift = [-0.08894656696749495, 0.05381274397749155, -0.07568426117075464]
    np.testing.assert_allclose([out.K1[0, 0], out.K1[0, 1], out.K1[1, 1]], shift, atol=1e-9)
    assert "across its kink" in out.missing["R"]
    with pytest.raises(UnsupportedError, match="third derivative of elu"):
        lg.corrections(lg.mlp(widths=[8], activation="elu"), X2, tensors=("R",))


@pytest.mark.slow
def test_real_networks() -> None:
    """hardtanh: theory within 4 standard errors at every entry; with C_W + 10 % refused."""

    def net(C_W: float) -> lg.Serial:
        return lg.mlp(widths=[6, 6], out=1, activation="hardtanh", C_W=C_W, C_b=0.1)

    names, many = ("V", "D", "A", "F", "B", "P", "Q"), (6000, 3000, 1500, 800)
    out = lg.check(net(1.8), X2, what="tensors", widths=(6, 12, 24, 48), networks=many, key=jax.random.key(2), rates=RATES, tensors=names)
    assert max(np.abs(entry.z()).max() for entry in out.entries.values()) < LEVEL and "P" in out.unjudged and not out.theory.P.any()
    controls = {c.quantity: next(k.z for k in c.controls if k.name == "C_W + 10 %") for c in out.claims}
    assert min(abs(z or 0) for z in controls.values()) > REJECT and len(controls) == 6, controls
