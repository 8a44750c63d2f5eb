r"""Sizes, correlations, susceptibilities and gradients of every level of a network at infinite width.

From one level to the next a size K goes to K' and a small difference is multiplied by chi_perp = C_W <phi'^2>; a small change of
size by chi_par = dK'/dK (PDLT 5.50, 5.51), the derivative of the map
K -> K'; each node has a rule for K and for small differences, which on a normalised or residual network is what the NTK's does.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.activations.assumed import as_assumed, assuming
from largen.activations.dual import moment
from largen.architecture.branches import Sum
from largen.architecture.levels import levels
from largen.architecture.nodes import Act, Dense, Serial, network
from largen.architecture.norms import LayerNorm
from largen.architecture.walk import Theory, like, marks, walk
from largen.border import bordered
from largen.display import Record
from largen.running.jitted import jitted
from largen.theory import positions
from largen.theory.given import given
from largen.theory.positions import Carrier
from largen.theory.rules import KERNELS
from largen.types import Array, namespace, numbers


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, kw_only=True)
class Signal(Record):
    """What `lg.signal` returns; L levels (the affine layers of a plain network), n points, order n^0.

    Attributes
    ----------
    K, Theta : array (L, n, n)
        NNGP and NTK.
    q : array (L, n)
        Root mean square of the preactivations, sqrt(K).
    c : array (L, n, n)
        Correlations K_ab/sqrt(K_aa K_bb), accurate for close points.
    chi_par, chi_perp : array (L - 1, n)
        How a change of size and a small difference are multiplied from level l to l + 1.
    gradient : array (L, n)
        E sum_j (dz^(L)_i/dz^(l)_j)^2, the product of chi_perp from level l on, 1 at the last.
    error : float
        Of the Gaussian expectations of all levels, relative as in `lg.kernel`.
    """

    K: Array
    Theta: Array
    q: Array
    c: Array
    chi_par: Array
    chi_perp: Array
    gradient: Array
    error: Array

    _table = ("level point", "q chi_par chi_perp gradient")


@exits.finite()
@bordered("X")
def signal(net: Any, X: Any, rates: Any = "ntk") -> Signal:
    """Signal propagation through a network at infinite width: sizes, correlations, susceptibilities, gradients, level by level.

    chi_par = chi_perp = 1 everywhere is criticality (`lg.critical`). At finite width gradients of single networks scatter around
    `.gradient`, by L/n on a logarithmic scale. Differentiable in C_W, C_b.

    Parameters
    ----------
    net : architecture
        Any network with a kernel (chains, residual and normalised ones).
    X : array (n, features)
        Points.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.kernel`, for `.Theta`.

    Returns
    -------
    Signal
        In the dtype of X.

    Raises
    ------
    InputError, UnsupportedError
        As `lg.kernel` does.

    References
    ----------
    PDLT 4.118, 5.50, 5.51, 5.54; Poole et al.; Schoenholz et al.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> X = np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> out = lg.signal(lg.mlp(widths=[64] * 3, out=1, activation="relu", C_W=1.0), X)
    >>> out.q[:, 0].round(4), out.chi_perp[:, 0], out.gradient[:, 0]
    (array([1.    , 0.7071, 0.5   , 0.3536]), array([0.5, 0.5, 0.5]), array([0.125, 0.25 , 0.5  , 1.   ]))
    """
    require_rules(net)
    asked = given(net, X, rates=rates, points=door.points)
    asked.require(5 * len(asked.rates))
    return asked.answer(lambda whole, extras: _of_levels(whole, _found(whole, numbers(asked.X, asked.work), extras)))


def require_rules(net: Any) -> None:
    """Refuse networks of which signals are not known beyond their first level, whatever the points."""
    for path, stage in levels(network(net))[1:]:
        for part in stage:
            SIGNAL.of(part, path)


def _of_levels(net: Serial, found: Carrier) -> Signal:
    """The signal in the carrier of every level."""
    pair, sizes = found.pair, found.pair.q1[..., 0]
    par, perp = susceptibilities(net, sizes)
    xp = namespace(sizes, perp)
    gradient = xp.flip(xp.cumprod(xp.concatenate([xp.ones_like(sizes[:1]), xp.flip(perp, 0)]), 0), 0)
    c = xp.where(pair.near <= pair.far, 1 - pair.near, pair.far - 1)
    return Signal(K=pair.k, Theta=found.theta, q=xp.sqrt(sizes), c=c, chi_par=par, chi_perp=perp, gradient=gradient, error=found.error[-1])


def at_levels(net: Serial, X1: Any, X2: Any, extras: Any, scan: bool = True) -> Carrier:
    """The kernel's carrier at every level, stacked first."""
    first = positions.begin(X1, X2, None, X1.dtype)
    return as_assumed(lambda usual: _at_levels(net, first, extras, scan, usual), lambda found: found.error, net, first, extras)[0]


@jitted(static=(3, 4))
def _at_levels(net: Serial, first: Carrier, extras: Any, scan: bool, usual: bool) -> Carrier:
    with assuming(sizes=usual, angles=usual and not first.space):
        _, kept = walk(net, KERNELS, first, extras, keep=[path for path, _ in levels(net)], scan=scan)
    return jax.tree_util.tree_map(lambda *a: jnp.concatenate(a), *kept)


@jax.custom_jvp
def _found(net: Serial, X: Any, extras: Any) -> Carrier:
    return at_levels(net, X, None, extras)


@_found.defjvp
def _found_jvp(primals: Any, tangents: Any) -> Any:
    # unrolled: as `lg.kernel`
    return jax.jvp(lambda net, X, extras: at_levels(net, X, None, extras, scan=False), primals, tangents)


# The carrier is (K, t) for sizes K of any shape: t is what the squared length of a small difference of fixed size is multiplied by.
SIGNAL = Theory("signal propagation", KERNELS.signature)


@SIGNAL.rule(Dense)
def _dense(node: Dense, carrier: Any, extra: Any, need: Any) -> Any:
    K, t = carrier
    return node.C_b + node.C_W * K, node.C_W * t


@SIGNAL.rule(Act)
def _act(node: Act, carrier: Any, extra: Any, need: Any) -> Any:
    K, t = carrier
    return moment(node.activation, K), moment(node.activation, K, 1) * t


@SIGNAL.rule(LayerNorm)
def _layer_norm(node: LayerNorm, carrier: Any, extra: Any, need: Any) -> Any:
    K, t = carrier
    return K / (K + node.eps), t / (K + node.eps)


@SIGNAL.rule(Sum)
def _sum(node: Sum, carrier: Any, through: Any, need: Any) -> Any:
    ends = [(w**2, *send(carrier)) for send, w in zip(through, node.weights, strict=True)]
    return sum(w * K for w, K, _ in ends), sum(w * t for w, _, t in ends)


def advance(stage: Serial, K: Any) -> tuple[Any, Any]:
    """(K', chi_perp) after the nodes of one level, for sizes K of any shape."""
    return walk(stage, SIGNAL, (K, jnp.ones_like(K)))[0]


def slopes(stage: Serial, q: Any) -> tuple[Any, Any, Any]:
    """(chi_par, chi_perp, h) of one level, h = (1/2) dchi_perp/dK (PDLT 5.52)."""
    (_, perp), (par, twice_h) = jax.jvp(lambda v: advance(stage, v), (q,), (jnp.ones_like(q),))
    return par, perp, twice_h / 2


_slopes = jitted()(jax.vmap(slopes))


def stages(net: Serial) -> list[Serial]:
    """The networks that lead from one level to the next: one less than levels."""
    return [Serial(nodes) for _, nodes in levels(net)[1:]]


def susceptibilities(net: Serial, K: Any, h: bool = False) -> tuple[Any, ...]:
    """chi_par and chi_perp (and h) of every level but the last, (L - 1, n), at sizes K (L, n). Levels that differ in numbers
    only go through one compiled function together."""
    parts = stages(net)
    groups: dict[Any, list[int]] = {}
    for l, stage in enumerate(parts):
        groups.setdefault(marks(stage, SIGNAL), []).append(l)
    xp = namespace(K, parts)
    empty = xp.zeros((0, *K.shape[1:]), K.dtype)
    if not parts:
        return (empty,) * (3 if h else 2)
    order, values = [], []
    for members in groups.values():
        stacked = jax.tree_util.tree_map(lambda *v: xp.stack(v), *(like(parts[l], parts[members[0]]) for l in members))
        order += members
        values.append(_slopes(stacked, K[np.array(members)]))
    inverse = np.argsort(np.array(order))
    return tuple(namespace(v).concatenate(v)[inverse] for v in zip(*values, strict=True))[: 3 if h else 2]
