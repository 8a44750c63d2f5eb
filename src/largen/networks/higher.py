r"""Higher tangent kernels of one real network: how its NTK moves (dNTK), and how that motion moves (ddNTK), by nested derivatives.

With v_a = lambda grad z_a the direction in which a gradient step on output a moves the parameters, a = (output i, point x_d),

    dH_{012}    = D^2 z_0 [v_1, v_2],      ddI_{0123} = D^3 z_0 [v_1, v_2, v_3],      ddII_{1234} = (D^2 z_1 v_3) lambda (D^2 z_2 v_4)

(PDLT 11.8, inf.5, inf.7): directional derivatives of the network, so that no Hessian is formed. For small networks and few points.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from largen import door
from largen.architecture.arrays import size
from largen.architecture.attention import Attention
from largen.architecture.nodes import Act, Serial, network
from largen.architecture.paths import everything
from largen.architecture.pools import MaxPool
from largen.display import Record
from largen.errors import UnsupportedError
from largen.networks import room
from largen.networks.outputs import outputs
from largen.networks.parameters import dtype_of
from largen.networks.work import Work, measured
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor
from largen.types import Array, Params


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, kw_only=True)
class SecondTangents(Record):
    """What `lg.measure.ddntk` returns. The four points come first, then the four outputs.

    Attributes
    ----------
    first : array (n, n, n, n, o, o, o, o)
        ddI_{0123}, symmetric in the slots 1, 2, 3.
    second : array (n, n, n, n, o, o, o, o)
        ddII_{1234}, symmetric under 1 <-> 2 together with 3 <-> 4.
    """

    first: Array
    second: Array

    _table = ("x1 x2 x3 x4 i1 i2 i3 i4", "first second")


def scaled(tensor: Params, gradient: Params) -> Params:
    """lambda times a gradient, parameter by parameter."""
    return jax.tree_util.tree_map(lambda rate, g: rate * g, tensor, gradient)


def product(tensor: Params, one: Params, two: Params, axes: int) -> jax.Array:
    """sum lambda g h over the parameters, for gradients g, h stacked along so many axes each: (axes of g, axes of h)."""

    def part(rate: Any, g: Any, h: Any) -> Any:
        g, h = (a.reshape(*a.shape[:axes], -1) for a in (g, h))
        return rate * jnp.tensordot(g, h, ((axes,), (axes,)))

    return jnp.stack(jax.tree_util.tree_leaves(jax.tree_util.tree_map(part, tensor, one, two))).sum(0)


def along(function: Any, at: Params, *directions: Params) -> Any:
    """The derivative of a function of the parameters at `at`, once along each of the directions."""
    for direction in directions:
        function = _derivative(function, direction)
    return function(at)


def _derivative(function: Any, direction: Params) -> Any:
    return lambda p: jax.jvp(function, (p,), (direction,))[1]


def _directions(net: Serial, params: Params, X: Any, tensor: Params) -> tuple[Any, Params]:
    """The outputs as a function of the parameters, one entry per point and output, and v of all of them, stacked."""

    def z(p: Params) -> jax.Array:
        return outputs(net, p, X).reshape(-1)

    values, back = jax.vjp(z, params)
    return z, jax.vmap(lambda unit: scaled(tensor, back(unit)[0]))(jnp.eye(len(values), dtype=values.dtype))


def dntk_of(net: Serial, params: Params, X: Any, tensor: Params) -> jax.Array:
    """The pure core of `dntk`, `tensor` as from `rate_tensor`; may be jitted and vmapped over networks."""
    z, v = _directions(net, params, X, tensor)
    found = jax.lax.map(lambda one: jax.vmap(lambda two: along(z, params, one, two))(v), v)
    return _unfolded(jnp.moveaxis(found, 2, 0), len(X))


def ddntk_of(net: Serial, params: Params, X: Any, tensor: Params) -> SecondTangents:
    """The pure core of `ddntk`."""
    z, v = _directions(net, params, X, tensor)
    units = jnp.eye(jax.tree_util.tree_leaves(v)[0].shape[0], dtype=dtype_of(params))

    def thirds(one: Params) -> jax.Array:
        return jax.vmap(lambda two: jax.vmap(lambda three: along(z, params, one, two, three))(v))(v)

    def moved(three: Params) -> Params:
        """D^2 z_a v_3 of every output a."""
        pull = jax.vjp(_derivative(z, three), params)[1]
        return jax.vmap(lambda unit: pull(unit)[0])(units)

    first = jnp.moveaxis(jax.lax.map(thirds, v), 3, 0)
    g = jax.lax.map(moved, v)
    second = product(tensor, g, g, 2).transpose(1, 3, 0, 2)  # (3, 1, 4, 2) to (1, 2, 3, 4)
    return SecondTangents(first=_unfolded(first, len(X)), second=_unfolded(second, len(X)))


def _unfolded(a: jax.Array, n: int) -> jax.Array:
    """Axes (point and output, ...) as (points ..., outputs ...)."""
    k, o = a.ndim, a.shape[0] // n
    return a.reshape((n, o) * k).transpose(*range(0, 2 * k, 2), *range(1, 2 * k, 2))


@measured
def dntk(net: Any, params: Params, X: Any, rates: Any = "ntk") -> Work[Array]:
    """The differential of the NTK of one real network, exact, by nested directional derivatives:

        dH[d0, d1, d2, i0, i1, i2] = sum lambda_m lambda_n d2z_i0(x_d0)/dtheta_m dtheta_n dz_i1(x_d1)/dtheta_m dz_i2(x_d2)/dtheta_n

    over the parameters, lambda the rates. A gradient step of size eta with dLoss/dz = eps moves the outputs by -eta H eps +
    (eta^2/2) dH eps eps and the NTK H_12 by -eta (dH_12j + dH_21j) eps_j, up to the next order in eta. At a kink phi'' = 0, as in all
    automatic differentiation; theory in `lg.corrections` follows. Cost: (n o)^2 forward passes. May be jitted, differentiated, vmapped.

    Parameters
    ----------
    net : architecture
        Any network.
    params : dict
        As from `lg.init`.
    X : array (n, features)
        Points, of any shape that `lg.apply` takes.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.empirical_ntk`.

    Returns
    -------
    array (n, n, n, o, o, o)
        Symmetric in the last two slots, in the dtype of the parameters; numpy for numpy points.

    Raises
    ------
    InputError
        For parameters, points or rates that do not fit, and for more than the memory.

    References
    ----------
    PDLT 11.8.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> from largen.networks.higher import dntk
    >>> net = lg.mlp(widths=[16], out=2, activation="tanh")
    >>> dntk(net, lg.init(net, 3, jax.random.key(0)), np.eye(3)).shape
    (3, 3, 3, 2, 2, 2)
    """
    return _nested(dntk_of, 3, net, params, X, rates)


@measured
def ddntk(net: Any, params: Params, X: Any, rates: Any = "ntk") -> Work[SecondTangents]:
    """Both second differentials of the NTK of one real network, exact, with v_a = lambda grad z_a:

        first[0123] = D^3 z_0 [v_1, v_2, v_3],    second[1234] = sum lambda_m (D^2 z_1 v_3)_m (D^2 z_2 v_4)_m

    over the parameters m. A gradient step of size eta with dLoss/dz = eps adds -(eta^3/6) ddI eps eps eps to the outputs,
    (eta^2/2) (ddI_12jk + ddI_21jk + 2 ddII_12jk) eps_j eps_k to the NTK, and changes dH_012 by -eta (ddI_012j + ddII_012j +
    ddII_021j) eps_j. Cost: (n o)^3 forward passes.

    Parameters
    ----------
    net, params, X, rates
        As of `lg.measure.dntk`.

    Returns
    -------
    SecondTangents
        Both, (n, n, n, n, o, o, o, o), dtype as of `lg.measure.dntk`.

    Raises
    ------
    InputError
        As `lg.measure.dntk` does.
    UnsupportedError
        For an activation with a jump in phi, phi' or phi'' (D^3 z has a delta function there that automatic differentiation does not see)
        and for other parts with kinks.

    References
    ----------
    PDLT inf.5, inf.7.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> from largen.networks.higher import ddntk
    >>> net = lg.mlp(widths=[16], out=1, activation="tanh")
    >>> out = ddntk(net, lg.init(net, 3, jax.random.key(0)), np.eye(3))
    >>> out.first.shape, out.second.shape
    ((3, 3, 3, 3, 1, 1, 1, 1), (3, 3, 3, 3, 1, 1, 1, 1))
    """
    refuse_kinks(network(net), "lg.measure.ddntk")
    return _nested(ddntk_of, 4, net, params, X, rates)


def _nested(core: Any, order: int, net: Any, params: Params, X: Any, rates: Any) -> Work[Any]:
    """The work of the dNTK (order 3) or the ddNTKs (order 4)."""
    whole, x = network(net), door.inputs(X)
    shape = x.shape[1:]
    tensor = rate_tensor(whole, shape, resolve(whole, rates))
    return Work(core, whole, params, x, (x, tensor), room.differentials(size(whole, shape), order))


def refuse_kinks(net: Serial, theory: str) -> None:
    """`UnsupportedError` for a network whose third derivatives along parameters have delta functions."""
    for path, part in everything(net):
        if (isinstance(part, Act) and rough(part)) or isinstance(part, MaxPool):
            raise UnsupportedError(repr(part), path, theory, "third derivatives need phi, phi' and phi'' without jumps")
        if isinstance(part, Attention) and part.mechanism in ("relu", "abs"):
            raise UnsupportedError(repr(part), path, theory, f"the mechanism {part.mechanism!r} has a kink")


def rough(act: Act) -> bool:
    """Whether phi, phi' or phi'' jumps anywhere."""
    return any(jump for order in range(3) for jump in act.activation.jumps(order))
