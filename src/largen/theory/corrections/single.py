r"""The 1/n recursions for one input: five numbers a layer, scanned, so that depth costs next to nothing (PDLT 5.108-5.110).

K' = C_b + C_W g + gamma^2 K,  g = <s^2>,       x = chi_par = C_W g' + gamma^2,       D = <(s^2)'>,  T = <(s^2)'''>,
V' = C_W^2 (<s^4> - g^2) + 4 gamma^2 C_W g' K^2 + r (x^2 V + 2 C_W x D M),
M' = gamma (C_W D K + r x M),       K{1}' = r [x K{1} + C_W (g'' V + T M)/2] + c_b{1} + c_W{1} g.

The tensors of the NTK take the same step as those of many inputs, with arrays of one entry.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.activation import Activation
from largen.activations.closed import Homogeneous
from largen.activations.reach import far
from largen.architecture.chain import Layer
from largen.gaussian import piecewise
from largen.running.jitted import jitted
from largen.theory.corrections import kinked, tangent
from largen.theory.corrections.moments import MORE, mismatch, on_a_line, smooth_line
from largen.theory.corrections.quartets import PATTERNS, Orders, Quartets, derivatives, patterns
from largen.theory.corrections.recursion import Level, Training
from largen.types import float64


@float64
def recur_single(
    layers: Sequence[Layer], K1: float, inputs: int, tuned: tuple[float, float] = (0.0, 0.0), training: Training | None = None
) -> Level:
    """The tensors of every layer of a chain at one input, stacked: K, V, K1, M and the relative error so far, (L,) each; with
    `training` those of the NTK, (L, 1, 1) or (L, 1, 1, 1, 1).

    Arguments as in `recur`, K1 a number.
    """
    first = None if training is None else tangent.first_layer(jnp.asarray(training.first))
    start = (*(jnp.asarray(v, float) for v in (K1, 0.0, 0.0, 0.0, 0.0)), first)
    rates, top = (np.zeros((len(layers), 2)), 0) if training is None else (np.asarray(training.rates, float), training.top)
    parts, carry, at = [jax.tree_util.tree_map(lambda v: v[None], start)], start, 1
    widths = np.array([inputs, *(layer.width for layer in layers)], float)
    for phi, group in groupby(layers[1:], key=lambda layer: layer.activation):
        assert phi is not None
        many = list(group)
        ratios = widths[at : at + len(many)] / widths[at - 1 : at - 1 + len(many)]
        table = np.array([[float(layer.C_W), float(layer.C_b), float(layer.skip)] for layer in many])
        rows = np.column_stack([table, ratios, rates[at : at + len(many)]])
        carry, stacked = _stretch(phi, carry, rows, jnp.asarray(tuned, float), top)
        parts.append(stacked)
        at += len(many)
    return Level(*jax.tree_util.tree_map(lambda *v: np.concatenate([np.asarray(a) for a in v]), *parts))


@jitted(static=(0, 4))
def _stretch(phi: Activation, carry: Any, table: Any, tuned: Any, top: int) -> tuple[Any, Any]:
    def step(x: Any, row: Any) -> tuple[Any, Any]:
        (K, V, K1, M, worst, ntk), (C, C_b, gamma, r, lb, lw) = x, row
        fine = _jets(phi, K, False)
        g, slope, curve, D, T, S = fine
        chi = C * slope + gamma**2
        after = (
            C_b + C * g + gamma**2 * K,
            C**2 * (S - g**2) + 4 * gamma**2 * C * slope * K**2 + r * (chi**2 * V + 2 * C * chi * D * M),
            r * (chi * K1 + C * (curve * V + T * M) / 2) + tuned[0] + tuned[1] * g,
            gamma * (C * D * K + r * chi * M),
            jnp.maximum(worst, jnp.maximum(_change(fine, _jets(phi, K, True)), mismatch(phi, K))),
        )
        if ntk is not None:
            m, X, explicit = _all_moments(phi, K, top)
            ntk = tangent.advance(ntk, V[None, None, None, None], K1[None, None], m, X, tangent.Hyper(C, lb, lw, r), top, explicit)
        return (*after, ntk), (*after, ntk)

    return jax.lax.scan(step, carry, table)


def _change(fine: Any, coarse: Any) -> Any:
    """The largest relative change of g, g' and <s^4> under a coarser rule."""
    return jnp.stack([jnp.abs(f - c) / jnp.maximum(jnp.abs(f), 1e-300) for f, c in zip(fine, coarse, strict=True)])[
        jnp.asarray([0, 1, 5])
    ].max()


def _jets(phi: Activation, q: Any, coarse: bool) -> tuple[Any, ...]:
    """(g, g', g'', D, T, <s^4>) at variance q."""
    if isinstance(phi.closed, Homogeneous):
        plus, minus = phi.closed.a_plus, phi.closed.a_minus
        A2, c, r = (plus**2 + minus**2) / 2, (plus**2 - minus**2) * np.sqrt(2 / np.pi), jnp.sqrt(q)
        return A2 * q, A2 + 0 * q, 0 * q, c * r, jnp.where(q > 0, c / jnp.where(q > 0, r, 1), 0), 1.5 * (plus**4 + minus**4) * q**2
    if phi.kinks:
        return _kinked_jets(phi, q, piecewise.COARSE if coarse else piecewise.FINE)
    return smooth_line(phi, q, 2 if coarse else 1)


def _kinked_jets(phi: Activation, q: Any, order: int) -> tuple[Any, ...]:
    m, _, _ = kinked.line(phi, q, jnp.ones_like(q), order)
    fourth = piecewise.mean(lambda z: phi(z) ** 4, q, phi.kinks, order, far(phi))
    return m[0, 0], m[2, 0] + m[1, 1], m[4, 0] / 4 + m[3, 1], 2 * m[1, 0], m[3, 0], fourth


def _all_moments(phi: Activation, q: Any, top: int) -> tuple[Any, Quartets, Any]:
    """m (1, 1, 6, 6), X (1, 1, 1, 1) by orders and `explicit` at variance q, as in `moments` and `quartets`."""
    explicit = None
    if isinstance(phi.closed, Homogeneous):
        A2, A4 = ((phi.closed.a_plus**p + phi.closed.a_minus**p) / 2 for p in (2, 4))
        m = jnp.zeros((MORE, MORE)).at[0, 0].set(A2 * q).at[1, 1].set(A2)
        known: dict[Orders, Any] = {(0, 0, 0, 0): 3 * A4 * q**2, (0, 0, 1, 1): A4 * q, (1, 1, 1, 1): A4 + 0 * q}
        fours = {o: known.get(o, 0 * q) for o in patterns(phi, top)}
    elif phi.kinks:
        m, own, _ = kinked.line(phi, q, jnp.ones_like(q), piecewise.FINE)
        z, weights = piecewise.nodes(q, phi.kinks, reach=far(phi))
        s = [f(z) for f in derivatives(phi, 3)]
        fours = {o: (s[o[0]] * s[o[1]] * s[o[2]] * s[o[3]]) @ weights for o in patterns(phi, top)}
        explicit = own[None, None]
    else:
        s, mean = on_a_line(phi, q, 1, MORE)
        m = jnp.stack([jnp.stack([mean(s[i] * s[j]) for j in range(MORE)]) for i in range(MORE)])
        fours = {o: mean(s[o[0]] * s[o[1]] * s[o[2]] * s[o[3]]) for o in PATTERNS[top]}
    return m[None, None], {o: v.reshape(1, 1, 1, 1) for o, v in fours.items()}, explicit
