"""The NTK by its definition, Jacobians contracted with the learning-rate tensor: an independent witness for small networks."""

from typing import Any

import jax
import jax.numpy as jnp

from largen.architecture.nodes import Serial, network
from largen.networks.outputs import outputs
from largen.networks.parameters import pair
from largen.networks.work import Work, measured
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor
from largen.types import Array, Params


@measured
def jacobian_ntk(net: Any, params: Params, X1: Any, X2: Any = None, rates: Any = "ntk") -> Work[Array]:
    """Theta[a, c, i, j] = sum over parameters of rate dz_i(x_a)/dparameter dz_j(x_c)/dparameter (PDLT 8.7): (n1, n2, o, o).

    Needs n x o numbers for every parameter: use `lg.empirical_ntk` for work. Arguments and errors as there.

    >>> import largen as lg, jax, numpy as np
    >>> from largen.networks.jacobian import jacobian_ntk
    >>> net = lg.mlp(widths=[8], out=2)
    >>> jacobian_ntk(net, lg.init(net, 3, jax.random.key(0)), np.eye(3)).shape
    (3, 3, 2, 2)
    """
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
