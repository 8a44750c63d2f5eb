"""Independent witnesses of the empirical NTK, for small networks: its definition, and the forward equation (PDLT 8.12), as printed."""

from typing import Any

import jax
import jax.numpy as jnp

from largen.architecture.branches import Sum
from largen.architecture.levels import levels
from largen.architecture.nodes import Act, Dense, Serial, network
from largen.architecture.norms import LayerNorm
from largen.architecture.walk import Theory, walk
from largen.networks.outputs import in_order, outputs
from largen.networks.parameters import pair
from largen.networks.work import Work, measured
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor
from largen.types import Array, Params, hand_back


@measured
def jacobian_ntk(net: Any, params: Params, X1: Any, X2: Any = None, rates: Any = "ntk") -> Work[Array]:
    """Theta[a, c, i, j] = sum over parameters of rate dz_i(x_a)/dparameter dz_j(x_c)/dparameter (PDLT 8.7): (n1, n2, o, o).

    Needs n x o numbers for every parameter: use `lg.empirical_ntk` for work. Arguments and errors as there."""
    whole, (x1, x2) = network(net), pair(X1, X2)
    return Work(_contracted, whole, params, x1, (x1, x2, rate_tensor(whole, x1.shape[1:], resolve(whole, rates))))


def _contracted(net: Serial, params: Params, X1: Any, X2: Any, tensor: Any) -> jax.Array:
    jacobian = jax.jacobian(lambda p, X: outputs(net, p, X))
    one = jacobian(params, X1)
    two = one if X2 is None else jacobian(params, X2)

    def contract(rate: Any, J1: Any, J2: Any) -> Any:
        return rate * jnp.einsum("aip,cjp->acij", J1.reshape(*J1.shape[:2], -1), J2.reshape(*J2.shape[:2], -1))

    parts = jax.tree_util.tree_leaves(jax.tree_util.tree_map(contract, tensor, one, two))
    return jnp.stack(parts).sum(0)


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


@EQUATION.rule(LayerNorm)
def _layer_norm(node: Any, carrier: Any, extra: Any, need: Any) -> Any:
    def normalise(x: Any) -> tuple[Any, Any]:
        """u = (x - m)/s of one point, and its Jacobian (1/s)(I - (1 1' + u u')/n)."""
        spread = jnp.sqrt(x.var() + node.eps)
        u = (x - x.mean()) / spread
        return u, (jnp.eye(len(x), dtype=x.dtype) - (1 + jnp.outer(u, u)) / len(x)) / spread

    x1, x2, H = carrier
    (u1, J1), (u2, J2) = jax.vmap(normalise)(x1), jax.vmap(normalise)(x2)
    return u1, u2, _between(J1, H, J2)


@EQUATION.rule(Sum)
def _sum(node: Any, carrier: Any, through: Any, need: Any) -> Any:
    """The branches' own parameters add with squares of the weights; parameters before the sum act through the sum of Jacobians."""
    x1, x2, H = carrier
    weights = [jnp.asarray(w, x1.dtype) for w in node.weights]
    ends = [send((x1, x2, jnp.zeros_like(H))) for send in through]
    own = sum(w**2 * end[2] for w, end in zip(weights, ends, strict=True))

    def value(x: Any) -> Any:
        return sum(w * send((x[None], x[None], H[:1, :1]))[0][0] for w, send in zip(weights, through, strict=True))

    J1, J2 = (jax.vmap(jax.jacobian(value))(x) for x in (x1, x2))
    y1, y2 = (sum(w * end[i] for w, end in zip(weights, ends, strict=True)) for i in (0, 1))
    return y1, y2, own + _between(J1, H, J2)


def _between(J1: Any, H: Any, J2: Any) -> Any:
    """J1 H J2^T for every pair of points."""
    return jnp.einsum("ackj,clj->ackl", jnp.einsum("aki,acij->ackj", J1, H), J2)


@measured
def forward_equation(net: Any, params: Params, X1: Any, X2: Any = None, rates: Any = "ntk") -> Work[dict[str, Array]]:
    """{path: H^(l) (n1, n2, width, width)}, the NTK of every level's values; the last equals `lg.empirical_ntk`.

    H^(l+1)[a, c] = (W s'_a) H^(l)[a, c] (W s'_c)^T + I (lambda_b + lambda_W s_a.s_c/n_l), from H = 0 at the inputs (PDLT 8.12).
    Arguments and errors as in `lg.empirical_ntk`."""
    whole, (x1, x2) = network(net), pair(X1, X2)
    operands = (x1, x1 if x2 is None else x2, resolve(whole, rates))
    return Work(_layers, whole, params, x1, operands, finish=lambda H: in_order(whole, hand_back(H, x1)))


def _layers(net: Serial, params: Params, X1: Any, X2: Any, rates: Any) -> dict[str, jax.Array]:
    start = (X1, X2, jnp.zeros((len(X1), len(X2), X1.shape[1], X1.shape[1]), X1.dtype))
    extras = {path: (params[path], rate) for path, rate in rates.items()}
    names = [path for path, _ in levels(net)]
    kept = walk(net, EQUATION, start, extras, keep=names)[1]
    return {path: stretch[2][0] for path, stretch in zip(names, kept, strict=True)}
