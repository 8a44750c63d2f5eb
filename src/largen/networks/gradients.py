"""How long the backpropagated gradients of real networks are, layer by layer."""

from typing import Any

import jax
import jax.numpy as jnp

from largen import door, exits
from largen.architecture.nodes import Serial, network
from largen.border import bordered
from largen.networks import room
from largen.networks.empirical import backward_factors
from largen.networks.ensemble import over
from largen.networks.parameters import dtype_of, fitting
from largen.types import Array, Params, hand_back, island


def norms(net: Serial, params: Params, X: Any) -> dict[str, jax.Array]:
    """The pure core of `gradient_norms`."""
    return {path: jnp.sqrt((B**2).sum(-1)).T for path, (_, B) in backward_factors(net, params, X).items()}


_norms = jax.jit(norms)


@exits.finite()
@bordered("params")
def gradient_norms(net: Any, params: Params, X: Any) -> dict[str, Array]:
    """The norm of dz^(L)_i(x)/dz^(l) over the units of every affine layer, {path: (n, out)}: the sensitivity of output i to layer l.

    Also the norm of the gradient with respect to that layer's bias; times the norm of the layer's input, with respect to its
    weights. At the output layer it is 1. Parameters, dtype and errors as in `lg.apply`. May be jitted and vmapped.

    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> norms = lg.measure.gradient_norms(net, lg.init(net, 3, jax.random.key(0)), np.ones((5, 3)))
    >>> {path: values.shape for path, values in norms.items()}
    {'dense1': (5, 2), 'dense2': (5, 2)}
    """
    whole, x = network(net), door.points(X)
    fit = fitting(whole, params, x)
    room.working(whole, fit, x, room.backward)
    with island(fit):
        return hand_back(_norms(whole, fit, jnp.asarray(x, dtype_of(fit))), X)


@exits.finite()
@bordered("params")
def gradient_norms_ensemble(net: Any, params: Params, X: Any, chunk: int = 1) -> dict[str, Array]:
    """`lg.measure.gradient_norms` of every network of an ensemble, {path: (networks, n, out)}. `chunk` networks at a time; errors as there.

    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> params = lg.init(net, 3, jax.random.key(0), networks=7)
    >>> lg.measure.gradient_norms_ensemble(net, params, np.ones((5, 3)))["dense1"].shape
    (7, 5, 2)
    """
    return over(norms, net, params, X, chunk, needed=room.backward)
