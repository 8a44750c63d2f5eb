r"""Who contributes what to the NTK of the output: the biases and the weights of every layer, at any learning rates.

The NTK is linear in the rates: a sum over layers of lambda_b times a bias part and lambda_W times a weight part (PDLT 8.7, 9.28),

    Theta^(L) = sum_l [lambda_b^(l) + lambda_W^(l) g^(l-1)] chi_perp^(l) ... chi_perp^(L-1),      g^(0) = |x|^2/n_0,  g = <phi^2>,

for a chain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits, memory
from largen.activations.activation import Activation
from largen.activations.dual import moment
from largen.architecture.chain import Layer, chain
from largen.architecture.levels import levels
from largen.architecture.nodes import Serial, network
from largen.architecture.spatial import outputs_of
from largen.architecture.walk import needed, walk
from largen.data import warn_if_unscaled
from largen.display import Columns, Record
from largen.errors import InputError, UnsupportedError
from largen.running.jitted import jitted
from largen.theory import held, positions
from largen.theory.given import given
from largen.theory.rules import KERNELS
from largen.theory.signal.signal import SIGNAL

Rates = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, repr=False, kw_only=True)
class Contributions(Record):
    """What `lg.analysis.contributions` returns: the NTK Theta(x, x) of the output as a sum over layers, order n^0, all float64.

    Attributes
    ----------
    paths : tuple of str
        Of the affine layers.
    bias, weight : array (layers, n)
        What the biases and weights of each add at each of n points.
    total : array (n,)
        The sum, Theta(x, x).
    rates : tuple (lambda_b, lambda_W)
        Per layer.
    shares : array (layers, 2)
        The part of Theta(x, x) that comes from biases and from weights, mean over the points; they add up to 1.
    spread : float
        How many times as much the layer of largest contribution adds as the one of smallest, biases and weights apart; infinite where one
        that has a rate adds nothing. 1: all alike.
    """

    paths: tuple[str, ...]
    bias: np.ndarray
    weight: np.ndarray
    total: np.ndarray
    rates: Rates

    @property
    def shares(self) -> np.ndarray:
        """(layers, 2): the part of Theta(x, x) that comes from biases and from weights, mean over the points; they add up to 1
        (all 0 where there is no rate)."""
        whole = np.where(self.total > 0, self.total, 1.0)
        return np.stack([self.bias / whole, self.weight / whole], axis=1).mean(-1)

    @property
    def spread(self) -> float:
        """How many times as much the layer of largest contribution adds as the one of smallest, biases and weights apart; infinite
        where one that has a rate adds nothing. 1: all alike."""
        worst = 1.0
        for rates, share in zip(self.rates, self.shares.T, strict=True):
            live = share[np.asarray(rates) > 0]
            if len(live):
                worst = max(worst, float(live.max() / live.min()) if live.min() > 0 else math.inf)
        return worst

    def _columns(self) -> Columns:
        means = {"bias": self.bias.mean(-1), "weight": self.weight.mean(-1)}
        shares = dict(zip(("bias_share", "weight_share"), self.shares.T, strict=True))
        return {"path": [*self.paths], "lambda_b": [*self.rates[0]], "lambda_W": [*self.rates[1]], **means, **shares}


@exits.finite()
def contributions(net: Any, X: Any = None, rates: Any = "ntk") -> Contributions:
    """What the biases and the weights of every layer contribute to the NTK of the output at infinite width, at any rates.

        Theta^(L) = sum_l [lambda_b^(l) + lambda_W^(l) g^(l-1)] chi_perp^(l) ... chi_perp^(L-1),      g^(0) = |x|^2/n_0,  g = <phi^2>,

    for a chain; of other networks one rate at a time, since the NTK is linear in them.

    Parameters
    ----------
    net : architecture
        Any network that has a kernel.
    X : array (n, features) or (n, *positions, channels), optional
        Points; None for one point with |x|^2/n_0 = 1.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.kernel`.

    Returns
    -------
    Contributions
        Bias and weight parts (layers, n).

    Raises
    ------
    InputError
        For X = None with a network that looks at positions, and as `lg.kernel` does.
    UnsupportedError
        As `lg.kernel` does.

    References
    ----------
    PDLT 8.7, 9.28.

    Examples
    --------
    >>> import largen as lg
    >>> found = lg.analysis.contributions(lg.mlp(widths=[64] * 3, out=1, activation="relu", C_W=1.0, C_b=0.0), rates=(1.0, 1.0))
    >>> found.bias[:, 0]  # chi_perp = 1/2: early layers lose half at every step
    array([0.125, 0.25 , 0.5  , 1.   ])
    >>> found.spread
    8.0
    """
    whole = network(net)
    if X is None:
        try:
            outputs_of(whole, (1,), "X")
        except InputError as error:
            raise InputError("X", "None, for a network that looks at positions", "points, such as X[:4]") from error
    asked = given(whole, np.ones((1, 1)) if X is None else door.host(door.inputs(X), "X"), rates=rates)
    x, extras = np.asarray(asked.X), asked.rates
    each = held.numbers(whole, asked.shape, 1, 1, asked.layout == positions.PAIRS)
    memory.require(16.0 * len(x) * len(extras) * each, "X", f"{len(x):,} points of shape {asked.shape}", "Take fewer points.")
    warn_if_unscaled(x)
    lambdas = np.array([[float(v) for v in pair] for pair in extras.values()]).T[..., None]  # (2, layers, 1)
    with asked.island():
        work, _ = asked.numbers()
        layers = chain_or_none(whole)
        bias, weight = lambdas * (_of_chain(work, layers, x) if layers else _of_network(work, list(extras), x))
    pair = (tuple(map(float, lambdas[0, :, 0])), tuple(map(float, lambdas[1, :, 0])))
    return Contributions(paths=tuple(extras), bias=bias, weight=weight, total=(bias + weight).sum(0), rates=pair)


def chain_or_none(net: Serial) -> tuple[Layer, ...] | None:
    """The chain, or None."""
    try:
        return chain(net)
    except UnsupportedError:
        return None


def _of_chain(net: Serial, layers: Sequence[Layer], x: np.ndarray) -> np.ndarray:
    """(2, layers, n) at unit rates: 1 and g^(l-1), times weight^2 and the product of chi_perp from layer l on (PDLT 9.28)."""
    K = np.asarray(_sizes(net, jnp.asarray((x**2).mean(1))))
    g, perp = [(x**2).mean(1)], []
    for layer, q in zip(layers[1:], K, strict=False):
        assert layer.activation is not None
        size, slope = _moments(layer.activation, q)
        g.append(np.asarray(size))
        perp.append(float(layer.C_W) * np.asarray(slope) + float(layer.skip) ** 2)
    onward = np.cumprod([np.ones(len(x)), *perp[::-1]], axis=0)[::-1]
    weights = np.array([[float(layer.weight) ** 2] for layer in layers])
    return weights * onward * np.stack([np.ones_like(onward), np.stack(g)])


@jitted()
def _sizes(net: Serial, start: Any) -> Any:
    """K of every level, (L, n)."""
    kept = walk(net, SIGNAL, (start, jnp.ones_like(start)), keep=[path for path, _ in levels(net)])[1]
    return jnp.concatenate([K for K, _ in kept])


@jitted(static=(0,))
def _moments(phi: Activation, q: Any) -> tuple[Any, Any]:
    """<phi^2> and <phi'^2>."""
    return moment(phi, q), moment(phi, q, 1)


def _of_network(net: Serial, names: list[str], x: np.ndarray) -> np.ndarray:
    """(2, layers, n) at unit rates, for any network: one rate 1 and all others 0, one after the other."""
    one = jnp.eye(2 * len(names)).reshape(-1, 2, len(names))
    alone = {path: (one[:, 0, i], one[:, 1, i]) for i, path in enumerate(names)}
    return np.asarray(_ntks(net, alone, jnp.asarray(x))).reshape(2, len(names), len(x))


@jitted()
def _ntks(net: Serial, alone: Any, X: Any) -> Any:
    """Theta(x, x) for every set of rates and every point."""
    need = needed(net, KERNELS)

    def ntk(rates: Any, x: Any) -> Any:
        return walk(net, KERNELS, positions.start(x[None], None, need), rates)[0].theta[0, 0]

    return jax.vmap(jax.vmap(ntk, in_axes=(None, 0)), in_axes=(0, None))(alone, X)
