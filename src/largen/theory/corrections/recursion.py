r"""The 1/n recursions over a chain, without an inverse kernel (PDLT 4.118, 4.119, 4.115; B.11, B.24 corrected).

A layer is z' = b + W s(z) + gamma z, gamma = 0 in a plain chain. Given z, its units are Gaussian around gamma z with covariance
Ghat = C_b + (C_W/n) sum_j s(z_j) s(z_j)^T, a mean over units. With <.> over N(0, K), r = n_l/n_{l-1} and

    (J X)_12 = (1/2) sum_ab <d_a d_b (s1 s2)> X_ab,     (D X)_12 = sum_a <d_a (s1 s2)> X_a,

expanding about the Gaussian limit gives, for cumulants E[z_i1 z_i2] = K + K{1}/n_{l-1}, E[z_i1 z_i2 z_j3] = M_(12)3/n_{l-1} and
E[z_i1 z_i2 z_j3 z_j4] - K12 K34 = V_(12)(34)/n_{l-1} of two units i, j,

    K'    = C_b + C_W <s s> + gamma^2 K
    V'    = C_W^2 [Cov(s1 s2, s3 s4) + r (J V J + J M D + D M J)]
          + gamma^2 C_W [Cov(s1 s2, z3 z4) + r (J V + D M)] + (12 <-> 34) + gamma^4 r V
    M'    = gamma [C_W <s1 s2 z3> + r C_W J M + r gamma^2 M]
    K{1}' = C_W r [J K{1} + (1/2) F''[V] + (1/2) <d_a d_b d_c (s1 s2)> M_(ab)c] + gamma^2 r K{1}

with F''[V] = (1/4) <d_a d_b d_c d_d (s1 s2)> V_(ab)(cd). The printed (B.24) lacks M, which vanishes for odd s only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from largen.architecture.chain import Layer
from largen.theory.corrections import tangent
from largen.theory.corrections.contract import first, second, shift, third
from largen.theory.corrections.moments import MORE, Moments, moments
from largen.theory.corrections.quartets import Quartets, drawn, quartets
from largen.theory.corrections.tangent import Tangent
from largen.types import float64


@dataclass(frozen=True)
class Level:
    """The tensors of one layer: `K` (n, n); `V` (n, n, n, n), `K1` (n, n), `M` (n, n, n), which multiply 1/n_{l-1}; the largest `error`
    of a Gaussian expectation so far; those of its NTK, or None."""

    K: Any
    V: Any
    K1: Any
    M: Any
    error: Any = 0.0
    tangent: Tangent | None = None


@dataclass(frozen=True)
class Training:
    """What the tensors of the NTK need: `rates` (lambda_b, lambda_W) of every layer, the `first` layer's NTK, and `top`, how far to go
    in `tangent.TOP`."""

    rates: Sequence[tuple[float, float]]
    first: np.ndarray
    top: int


def recur(
    layers: Sequence[Layer],
    K1: np.ndarray,
    inputs: int,
    tuned: tuple[float, float] = (0.0, 0.0),
    first_order: bool = True,
    training: Training | None = None,
) -> Iterator[Level]:
    """The tensors of one layer of a chain after the other, from the kernel `K1` (n, n) of the first and the number of input features.

    `tuned` = (c_b{1}, c_W{1}): hyperparameters C_b + c_b{1}/n_{l-1}, C_W + c_W{1}/n_{l-1} from the second layer on, whose shift of
    the mean, c_b{1} + c_W{1} <s s>, is part of K{1} (PDLT 5.138-5.140). `first_order=False`: K only, the others zero.
    `training`: the tensors of the NTK too, of plain chains.
    """
    n = len(K1)
    start = None if training is None else tangent.first_layer(training.first)
    level = Level(np.asarray(K1, np.float64), np.zeros((n,) * 4), np.zeros((n, n)), np.zeros((n,) * 3), tangent=start)
    yield level
    before = inputs
    for l, (last, layer) in enumerate(pairwise(layers), 1):
        r = last.width / before
        if training is None:
            level = advance(level, layer, r, tuned, first_order)
        else:
            level = _advance_both(level, layer, r, training.rates[l], training.top)
        yield level
        before = last.width


@float64
def _advance_both(x: Level, layer: Layer, r: float, rates: tuple[float, float], top: int) -> Level:
    """One step of a plain chain with the tensors of its NTK, all from one set of moments."""
    assert layer.activation is not None and x.tangent is not None
    at = moments(layer.activation, x.K, layer.path, four=False, orders=MORE)
    X, error = quartets(layer.activation, x.K, top)
    return _both(x, layer, r, rates, top, Moments(at.m, X[0, 0, 0, 0], max(at.error, error), at.explicit), X)


def _both(x: Level, layer: Layer, r: float, rates: tuple[float, float], top: int, at: Moments, X: Quartets) -> Level:
    assert x.tangent is not None
    by = tangent.Hyper(np.float64(layer.C_W), *rates, r)
    after = tangent.advance(x.tangent, x.V, x.K1, at.m, X, by, top, at.explicit)
    return replace(step(x, layer, r, at), tangent=after)


def recur_sampled(
    layers: Sequence[Layer], K1: np.ndarray, inputs: int, training: Training | None, sets: int, lattices: int
) -> Iterator[list[Level]]:
    """As `recur`, with expectations of four factors over so many independent sets of quasi-random points, each with its recursion;
    those of two are exact, and what `quartets.drawn` says. Per layer one `Level` a set."""
    (start,) = recur(layers[:1], K1, inputs, training=training)
    found, before = [start] * sets, inputs
    yield found
    for l, (last, layer) in enumerate(pairwise(layers), 1):
        rates, top = ((0.0, 0.0), 1) if training is None else (training.rates[l], training.top)
        found = _advance_sampled(found, layer, last.width / before, rates, top, range(l * sets, (l + 1) * sets), lattices)
        yield found
        before = last.width


@float64
def _advance_sampled(
    found: list[Level], layer: Layer, r: float, rates: tuple[float, float], top: int, seeds: range, lattices: int
) -> list[Level]:
    phi, K = layer.activation, found[0].K
    assert phi is not None
    two = moments(phi, K, layer.path, four=False, orders=MORE)
    draws, error = drawn(phi, K, top, seeds, lattices)
    out = []
    for x, X in zip(found, draws, strict=True):
        at = replace(two, S=X[0, 0, 0, 0], error=max(two.error, error))
        out.append(step(x, layer, r, at) if x.tangent is None else _both(x, layer, r, rates, top, at, X))
    return out


@float64
def advance(x: Level, layer: Layer, r: float, tuned: tuple[float, float] = (0.0, 0.0), first_order: bool = True) -> Level:
    """One step: the tensors of `layer` from those of the layer before, `r` = n_l/n_{l-1}; `tuned`, `first_order` as in `recur`."""
    assert layer.activation is not None
    return step(x, layer, r, moments(layer.activation, x.K, layer.path, first_order), tuned)


def step(x: Level, layer: Layer, r: float, at: Moments, tuned: tuple[float, float] = (0.0, 0.0)) -> Level:
    """As `advance`, from the moments `at` hand; of complex numbers too."""
    (C, C_b, gamma), m = (v if isinstance(v, complex) else np.float64(v) for v in (layer.C_W, layer.C_b, layer.skip)), at.m
    F = m[..., 0, 0]
    K = C_b + C * F + gamma**2 * x.K
    error = max(x.error, at.error)
    if at.S is None:
        return Level(K, x.V, x.K1, x.M, error)
    JV = second(m, x.V)
    V = C**2 * (at.S - F[:, :, None, None] * F[None, None] + r * second(m, JV.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1))
    K1 = C * r * (shift(m, x.K1, x.V) + 0.5 * third(m, x.M)) + gamma**2 * r * x.K1 + tuned[0] + tuned[1] * F
    if not gamma and not x.M.any():
        return Level(K, _symmetric(V), K1, x.M, error)
    JM, DM = second(m, x.M), first(m, x.M.transpose(2, 0, 1))
    JMD = first(m, JM.transpose(2, 0, 1))  # (3, 4, 1, 2)
    V = V + C**2 * r * (JMD + JMD.transpose(2, 3, 0, 1))
    wick = x.K[:, None, :, None] * x.K[None, :, None, :]  # K_a3 K_b4
    cross = gamma**2 * C * (second(m, wick + wick.transpose(0, 1, 3, 2)) + r * (JV + DM))
    V = V + cross + cross.transpose(2, 3, 0, 1) + gamma**4 * r * x.V
    M = gamma * (C * first(m, x.K) + r * C * JM + r * gamma**2 * x.M)
    return Level(K, _symmetric(V), K1, M, error)


def _symmetric(V: np.ndarray) -> np.ndarray:
    """Rounding taken out of the symmetry (12) <-> (34)."""
    return (V + V.transpose(2, 3, 0, 1)) / 2
