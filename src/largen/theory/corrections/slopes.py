r"""The metric of the last layer to order 1/n as a function of hyperparameters and inputs that JAX differentiates.

Lattices are chosen by the values of K, which JAX shows to the rule of a custom derivative alone. No lattice is differentiated: by
Price's theorem 2 d<f>/dK_aa = <d_a d_a f> and d<f>/dK_ab = <d_a d_b f>, so that derivatives by K are moments with two more derivatives,
on lattices of their own. With them the moments of every layer are Taylor polynomials in K, of first order, and the recursion over
these, itself polynomial, has the first derivatives of the recursion. They are carried as imaginary parts so small that their squares
vanish: exact to rounding, since nothing is subtracted, in numpy, with nothing to compile.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import memory
from largen.activations.activation import Activation
from largen.activations.closed import Homogeneous
from largen.architecture.chain import Layer
from largen.errors import InputError, UnsupportedError
from largen.theory.corrections.moments import ORDERS, SMOOTH, THEORY, Moments, moments
from largen.theory.corrections.quartets import SLOPES, Quartets, quartets
from largen.theory.corrections.recursion import Level, recur, step
from largen.theory.corrections.single import recur_single
from largen.theory.given import warn_if_inaccurate
from largen.types import float64, is_traced

ARRAYS = 8  # (n, n, n, n) arrays a layer; besides there are two for every number that is differentiated by
SMALL = 2.0**-100  # an imaginary part whose square is nothing

Metric = tuple[Any, Any, Any]


@float64
def metric(layers: Sequence[Layer], X: Any) -> Metric:
    """(K, K1, V) of the outputs at the inputs X (n, features), as of `lg.corrections`, for `jax.grad` and its kin. Inputs that coincide
    are one input, unless it is X that is traced.

    Raises `InputError` inside jit and vmap and for second derivatives, where there are no values to choose lattices by, and for too many
    inputs for the memory; `UnsupportedError` for kinked activations without closed form.
    """
    acts = [(layer.path, phi) for layer in layers if (phi := layer.activation)]
    path, kinked = next(((path, phi) for path, phi in acts if phi.kinks and not isinstance(phi.closed, Homogeneous)), ("", None))
    if kinked is not None:
        reason = "derivatives by hyperparameters need two more derivatives than it has; take differences of lg.bayes.evidence"
        raise UnsupportedError(repr(kinked), path, f"the gradient of {THEORY}", reason, SMOOTH[:2])
    unique, back = (X, np.arange(len(X))) if is_traced(X) else np.unique(np.asarray(X) + 0.0, axis=0, return_inverse=True)
    numbers = [v for layer in layers for v in (layer.C_W, layer.C_b, layer.skip)]
    moving = [i for i, v in enumerate(numbers) if is_traced(v)]
    moving += range(len(numbers), len(numbers) + X.size) if is_traced(X) else []
    needed = 8.0 * (2 * len(moving) + ARRAYS * len(layers)) * len(X) ** 4
    memory.require(needed, "X", f"{len(X)} inputs and {len(moving)} numbers to differentiate by", "Take fewer.")
    bare = tuple(replace(layer, C_W=None, C_b=None, skip=None, weight=None) for layer in layers)
    try:
        return _metric(bare, tuple(back.ravel().tolist()), tuple(moving), jnp.asarray(numbers, float), jnp.asarray(unique, float))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        need = "jax.grad and its kin, once, outside jit and vmap: lattices are chosen by value"
        raise InputError(
            "order", "1 of values that are not there yet", need, "Call jit, vmap or a second derivative at order=0."
        ) from error


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _metric(bare: tuple[Layer, ...], back: tuple[int, ...], moving: tuple[int, ...], numbers: Any, X: Any) -> Metric:
    """`metric` of layers whose (C_W, C_b, skip) are the `numbers` (3 L,), at different inputs X; `back`: which of them each input is;
    `moving`: the entries of (numbers, X), flat, to differentiate by."""
    layers, x = _filled(bare, np.asarray(numbers)), np.asarray(X)
    K = _gram(layers[0], x)
    if len(x) == 1:
        line = recur_single(layers, K[0, 0], x.shape[1])
        last = Level(line.K[-1:, None], line.V[-1:, None, None, None], line.K1[-1:, None], None, line.error[-1])
    else:
        *_, last = recur(layers, K, x.shape[1])
    warn_if_inaccurate(last.error, x.dtype, [layer.activation for layer in layers if layer.activation])
    return tuple(map(jnp.asarray, _outputs(last, back)))  # type: ignore[return-value]


@_metric.defjvp
def _metric_jvp(
    bare: Any, back: Any, moving: tuple[int, ...], primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Metric, Metric]:
    numbers, X = map(np.asarray, primals)
    jets = _jets(_filled(bare, numbers), X)

    def slopes(entry: int) -> Metric:
        at = np.concatenate([numbers, X.ravel()]).astype(complex)
        at[entry] += 1j * SMALL
        *_, last = _along(jets, _filled(bare, at[: numbers.size]), at[numbers.size :].reshape(X.shape))
        return tuple(v.imag / SMALL for v in _outputs(last, back))  # type: ignore[return-value]

    ways = [slopes(entry) for entry in moving]
    along = jnp.concatenate([tangents[0], tangents[1].ravel()])[np.array(moving)]
    K, K1, V = (jnp.tensordot(along, np.stack(v), 1) for v in zip(*ways, strict=True))
    return _metric(bare, back, moving, *primals), (K, K1, V)


def _filled(bare: Sequence[Layer], numbers: np.ndarray) -> list[Layer]:
    rows = numbers.reshape(-1, 3).tolist()
    return [replace(layer, C_W=C_W, C_b=C_b, skip=skip) for layer, (C_W, C_b, skip) in zip(bare, rows, strict=True)]


def _gram(first: Layer, X: np.ndarray) -> np.ndarray:
    """K of the first layer."""
    return first.C_b + first.C_W * (X @ X.T / X.shape[1])


def _outputs(last: Level, back: Sequence[int]) -> Metric:
    K, K1, V = (v[np.ix_(*[back] * v.ndim)] for v in (last.K, last.K1, last.V))
    return K, K1, V


# ---------------------------------------------------------------- moments to first order in K


@dataclass(frozen=True)
class Jet:
    """Moments m (n, n, 7, 7) and S at the covariance K (n, n), and what the slopes of S are made of: `far` <s_a s_b s'_c s'_d>, `bent`
    <s_a s_b s_c s''_d>."""

    K: np.ndarray
    m: np.ndarray
    S: np.ndarray
    far: np.ndarray
    bent: np.ndarray

    def at(self, K: np.ndarray) -> Moments:
        """The moments at K, to first order in its change."""
        dK, m = K - self.K, self.m
        q = dK.diagonal()
        own = m[..., 2:, :-2] * q[:, None, None, None] + m[..., :-2, 2:] * q[:, None, None]
        one, two = self.bent * q / 2, self.far * dK
        dS = sum(np.moveaxis(one, 3, i) for i in range(4)) + sum(np.moveaxis(two, (2, 3), ij) for ij in combinations(range(4), 2))
        return Moments(m[..., :-2, :-2] + own / 2 + m[..., 1:-1, 1:-1] * dK[:, :, None, None], self.S + dS, 0.0)


def _jet(phi: Activation, K: np.ndarray) -> Jet:
    m = moments(phi, K, "", four=False, orders=ORDERS + 2).m
    X, error = quartets(phi, K, SLOPES)
    warn_if_inaccurate(error, K.dtype, (phi,))
    return Jet(K, m, X[0, 0, 0, 0], X[0, 0, 1, 1], _bent(K, X) if isinstance(phi.closed, Homogeneous) else X[0, 0, 0, 2])


def _bent(K: np.ndarray, X: Quartets) -> np.ndarray:
    """<s_a s_b s_c s''_d> of the ReLU family: s_d = z_d s'_d, and Stein's lemma for z_d."""
    rest = X[0, 0, 0, 0] - sum(np.moveaxis(X[0, 0, 1, 1] * K, 2, i) for i in range(3))
    q = K.diagonal()
    return np.where(q > 0, rest / np.where(q > 0, q, 1), 0.0)


def _jets(layers: Sequence[Layer], X: np.ndarray) -> list[Jet]:
    """Of every layer before the last, each at the K that those before it give."""
    jets: list[Jet] = []
    for level, layer in zip(_along(jets, layers, X), layers[1:], strict=False):
        assert layer.activation is not None
        jets.append(_jet(layer.activation, level.K))
    return jets


def _along(jets: Sequence[Jet], layers: Sequence[Layer], X: np.ndarray) -> Any:
    """The levels of the recursion over jets; a jet is asked for when the level that it belongs to is known."""
    n, before = len(X), X.shape[1]
    level = Level(_gram(layers[0], X), np.zeros((n,) * 4), np.zeros((n, n)), np.zeros((n,) * 3))
    yield level
    for l, (last, layer) in enumerate(pairwise(layers)):
        level = step(level, layer, last.width / before, jets[l].at(level.K))
        yield level
        before = last.width
