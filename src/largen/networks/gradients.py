"""How long the backpropagated gradients of real networks are, layer by layer."""

from typing import Any

import jax
import jax.numpy as jnp

from largen import door
from largen.architecture.nodes import Serial, network
from largen.networks import room
from largen.networks.empirical import backward_factors
from largen.networks.work import Work, measured
from largen.types import Array, Params


def norms(net: Serial, params: Params, X: Any) -> dict[str, jax.Array]:
    """The pure core of `gradient_norms`."""
    return {path: jnp.sqrt((B**2).sum(-1)).T for path, (_, B) in backward_factors(net, params, X).items()}


@measured
def gradient_norms(net: Any, params: Params, X: Any) -> Work[dict[str, Array]]:
    """The norm of dz^(L)_i(x)/dz^(l) over the units of every affine layer: the sensitivity of output i to layer l.

    Also the norm of the gradient with respect to that layer's bias; times the norm of the layer's input, with respect to its
    weights. At the output layer it is 1. May be jitted and vmapped.

    Parameters
    ----------
    net : architecture
        Any network.
    params : dict
        As from `lg.init`.
    X : array (n, features)
        Points.

    Returns
    -------
    dict
        {path: (n, out)}, dtype as of `lg.apply`.

    Raises
    ------
    InputError
        As `lg.apply` does, and for images.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2)
    >>> norms = lg.measure.gradient_norms(net, lg.init(net, 3, jax.random.key(0)), np.ones((5, 3)))
    >>> {path: values.shape for path, values in norms.items()}
    {'dense1': (5, 2), 'dense2': (5, 2)}
    """
    whole, x = network(net), door.points(X)
    return Work(norms, whole, params, x, (x,), room.backward)
