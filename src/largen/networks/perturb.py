r"""Small perturbations of the inputs, followed through real networks: the tangents at every level, by forward differentiation.

Two directions at every point x: along x itself, which changes the size of the input only; and one orthogonal to x, of squared length
n_0, which changes no size, to first order. With z_j the units of a level, n of them, and t_j their tangents,

    size = (1/n) sum_j z_j^2,    parallel = (2/n) sum_j z_j t_j,    perpendicular = (1/n) sum_j t_j^2:

the size, the rate at which it changes with the size of the input, and the squared length of the perturbation per unit.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from largen import door
from largen.architecture.nodes import Serial, network
from largen.display import Record
from largen.errors import InputError
from largen.networks.outputs import in_order, layers
from largen.networks.work import Work, measured
from largen.types import Array, Params, hand_back, island


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, kw_only=True)
class Perturbations(Record):
    """What `lg.measure.perturbations` returns, for L levels and n points.

    Attributes
    ----------
    size : array (L, n)
        mean_j z_j^2.
    parallel : array (L, n)
        2 mean_j z_j t_j for the perturbation along the input.
    perpendicular : array (L, n)
        mean_j t_j^2 for the orthogonal one.
    """

    size: Array
    parallel: Array
    perpendicular: Array

    _table = ("level point", "size parallel perpendicular")


def orthogonal(key: Any, X: Any) -> jax.Array:
    """A random direction for every point of X (n, features), orthogonal to it, of squared length n_0 = features; any for x = 0."""
    squares = (X**2).sum(1, keepdims=True)
    unit = X / jnp.sqrt(jnp.where(squares > 0, squares, 1))
    direction = jax.random.normal(key, X.shape, X.dtype)
    for _ in range(2):  # once more, for what rounding left
        direction -= (direction * unit).sum(1, keepdims=True) * unit
    return direction * jnp.sqrt(X.shape[1] / (direction**2).sum(1, keepdims=True))


def perturbations_of(net: Serial, params: Params, X: Any, across: Any) -> Perturbations:
    """The pure core of `perturbations`, for one network and directions `across` (n, features)."""
    values, push = jax.linearize(lambda x: layers(net, params, x), X)
    along, other = push(X), push(across.astype(X.dtype))
    rows = [((z**2).mean(1), 2 * (z * along[path]).mean(1), (other[path] ** 2).mean(1)) for path, z in in_order(net, values).items()]
    size, parallel, perpendicular = map(jnp.stack, zip(*rows, strict=True))
    return Perturbations(size=size, parallel=parallel, perpendicular=perpendicular)


def _needed(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """Numbers of one network, and held besides: values and two tangents of every level."""
    return 3.0 * n, 6.0 * n * total


@measured
def perturbations(net: Any, params: Params, X: Any, key: Any) -> Work[Perturbations]:
    """How infinitesimal perturbations of the inputs grow from level to level of a real network.

    At every level and point: the size of the preactivations, its rate of change along the input x -> (1 + e) x, and the squared
    length per unit of dz/de for x -> x + e d, with d orthogonal to x, |d|^2 = n_0. At infinite width E parallel is multiplied by chi_par
    from level to level, E perpendicular by chi_perp (`lg.signal`). Kinks: the derivative almost everywhere.

    Parameters
    ----------
    net : architecture
        Any network.
    params : dict
        As from `lg.init`.
    X : array (n, features)
        Points of two features or more.
    key : JAX random key
        What d is drawn from, one for all networks of `lg.each`.

    Returns
    -------
    Perturbations
        For the levels of `lg.measure.preactivations`, of order n^0, in the dtype of the parameters.

    Raises
    ------
    InputError
        As `lg.apply` does, for what is not one key, and for points with one feature, to which nothing is orthogonal.

    References
    ----------
    PDLT 5.46-5.51.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64], out=2, activation="linear")
    >>> params = lg.init(net, 3, jax.random.key(0), networks=5)
    >>> found = lg.each(lg.measure.perturbations, net, params, np.ones((4, 3)), jax.random.key(1))
    >>> found.perpendicular.shape, bool(np.allclose(found.parallel, 2 * found.size))  # a linear network without biases
    ((5, 2, 4), True)
    """
    whole, x, one = network(net), door.points(X), door.key(key)
    if x.shape[1] < 2:
        raise InputError("X", "1 column", "at least two columns: no direction is orthogonal to the only one")
    with island(x):
        across = orthogonal(one, jnp.asarray(x))
    return Work(perturbations_of, whole, params, x, (x, hand_back(across, x)), _needed)
