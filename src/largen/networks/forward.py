"""The forward equation of the NTK (PDLT 8.12), as printed: an independent witness for small networks.

It gives the NTK of every layer, and needs (n1, n2, width, width) numbers for each: use `empirical_ntk` for work.
"""

from typing import Any

import jax
import jax.numpy as jnp

from largen.architecture.nodes import Act, Dense, Serial, network
from largen.architecture.walk import Theory, paths, walk
from largen.networks.parameters import dtype_of, fitting, pair
from largen.scaling.rates import resolve
from largen.types import Array, Params, hand_back, island

# The carrier is (x1, x2, H): the values of the layer at both sets of points, and H (n1, n2, units, units).
EQUATION = Theory("the forward equation")


@EQUATION.rule(Dense)
def _dense(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
    (x1, x2, H), (p, (bias, weight)) = carrier, extra
    own = bias + weight * jnp.einsum("aj,cj->ac", x1, x2) / x1.shape[1]
    same = jnp.eye(node.width, dtype=x1.dtype)
    through = jnp.einsum("ji,ackj->acki", p["W"], jnp.einsum("ki,ackj->acij", p["W"], H))
    return x1 @ p["W"] + p["b"], x2 @ p["W"] + p["b"], same * own[:, :, None, None] + through


@EQUATION.rule(Act)
def _act(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
    (x1, x2, H), phi = carrier, node.activation
    slope = phi.derivative()
    return phi(x1), phi(x2), slope(x1)[:, None, :, None] * slope(x2)[None, :, None, :] * H


def forward_equation(net: Any, params: Params, X1: Any, X2: Any = None, rates: Any = "ntk") -> dict[str, Array]:
    """{path: H^(l) (n1, n2, width, width)}, the NTK of every affine layer's outputs; the last equals `lg.empirical_ntk`.

    H^(l+1)[a, c] = (W s'_a) H^(l)[a, c] (W s'_c)^T + I (lambda_b + lambda_W s_a.s_c/n_l), from H = 0 at the inputs (PDLT 8.12).
    Arguments and errors as in `lg.empirical_ntk`.

    >>> import largen as lg, jax, numpy as np
    >>> from largen.networks.forward import forward_equation
    >>> net = lg.mlp(widths=[8], out=2)
    >>> H = forward_equation(net, lg.init(net, jax.random.key(0), n_in=3), np.eye(3))
    >>> {path: h.shape for path, h in H.items()}
    {'dense1': (3, 3, 8, 8), 'dense2': (3, 3, 2, 2)}
    """
    whole, (x1, other) = network(net), pair(X1, X2)
    x2 = x1 if other is None else other
    fit = fitting(whole, params, x1)
    with island(fit):
        kind = dtype_of(fit)
        extras = {path: (fit[path], rate) for path, rate in resolve(whole, rates).items()}
        (n1, n_in), n2 = x1.shape, x2.shape[0]
        start = (jnp.asarray(x1, kind), jnp.asarray(x2, kind), jnp.zeros((n1, n2, n_in, n_in), kind))
        return hand_back(_layers(whole, start, extras), X1)


@jax.jit
def _layers(net: Serial, start: Any, extras: Any) -> dict[str, jax.Array]:
    kept = walk(net, EQUATION, start, extras, keep=Dense)[1]
    return {path: stretch[2][0] for path, stretch in zip((path for path, node in paths(net) if isinstance(node, Dense)), kept, strict=True)}
