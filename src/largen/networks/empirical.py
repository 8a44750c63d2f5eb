"""The neural tangent kernel of one real network, by backward factors: no Jacobian is ever formed."""

from typing import Any

import jax
import jax.numpy as jnp

from largen import door
from largen.architecture.attention import PositionalEmbedding
from largen.architecture.nodes import Composite, Dense, Parametric, Serial, network
from largen.architecture.spatial import Conv, ConvLocal, Convolution, ConvTranspose
from largen.architecture.walk import Theory, walk
from largen.errors import InputError, shown
from largen.networks import room
from largen.networks.outputs import carriers, patches
from largen.networks.parameters import a_table, column, multiplied, pair
from largen.networks.work import Work, measured
from largen.parametrizations.parametrization import Parametrization
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import Parameter, rate_tensor
from largen.types import Array, Params

# The carrier is the sum over layers so far; the extra of an affine node is (inputs and factors of X1, the same of X2, rates);
# `need` says whether all pairs of outputs are wanted. Full sums are laid out (o, n1, o, n2): the points innermost, so that the
# layer's gain (n1, n2) multiplies long rows, and the factors enter the matrix product as they come out of the backward pass.


def _onward(node: Any, total: Any, through: Any, need: bool) -> Any:
    """A node without parameters adds nothing, but what is inside does: weights and cross terms are in the factors, so the layers of
    branches are summed like all others."""
    for send in through if isinstance(node, Composite) else ():
        total = send(total)
    return total


EMPIRICAL = Theory("lg.empirical_ntk", default=_onward, covers=lambda kind: not issubclass(kind, Parametric))


@EMPIRICAL.rule(Dense)
def _dense(node: Any, total: Any, extra: Any, need: bool) -> Any:
    (a1, B1), (a2, B2), rates = extra
    if a1.ndim > 2:
        return _shared(total, (a1, B1), (a2, B2), rates, need)
    (o, n1, width), n2 = B1.shape, B2.shape[1]
    gain = rates["b"] + rates["W"] * (a1 @ a2.T)
    if need:
        product = B1.reshape(o * n1, width) @ B2.reshape(o * n2, width).T
        return total + product.reshape(o, n1, o, n2) * gain[None, :, None, :]
    return total + jnp.einsum("iaj,icj->iac", B1, B2).mean(0) * gain


@EMPIRICAL.rule(Conv)
@EMPIRICAL.rule(ConvTranspose)
def _conv(node: Convolution, total: Any, extra: Any, need: bool) -> Any:
    one, two, rates = extra
    return _shared(total, (patches(node, one[0]), one[1]), (patches(node, two[0]), two[1]), rates, need)


@EMPIRICAL.rule(ConvLocal)
def _local(node: ConvLocal, total: Any, extra: Any, need: bool) -> Any:
    (x1, B1), (x2, B2), rates = extra
    (a1, a2), (B1, B2) = ([_flat(patches(node, x), 1) for x in (x1, x2)], [_flat(B, 2) for B in (B1, B2)])
    gain = rates["b"] + rates["W"] * jnp.einsum("asf,csf->acs", a1, a2)
    if need:
        return total + jnp.einsum("iask,jcsk,acs->iajc", B1, B2, gain)
    return total + jnp.einsum("iask,icsk,acs->ac", B1, B2, gain) / len(B1)


@EMPIRICAL.rule(PositionalEmbedding)
def _embedding(node: PositionalEmbedding, total: Any, extra: Any, need: bool) -> Any:
    (_, B1), (_, B2), rates = extra
    B1, B2 = (B.reshape(*B.shape[:2], -1) for B in (B1, B2))
    if need:
        return total + rates["b"] * jnp.einsum("iak,jck->iajc", B1, B2)
    return total + rates["b"] * jnp.einsum("iak,ick->ac", B1, B2) / len(B1)


def _flat(a: Any, lead: int) -> Any:
    """All positions in one axis, after `lead` others."""
    return a.reshape(*a.shape[:lead], -1, a.shape[-1])


def _shared(total: Any, one: Any, two: Any, rates: Any, need: bool) -> Any:
    """A layer whose weights act at every position: its gradients, sums over positions, are formed for every point and output."""

    def gradients(a: Any, B: Any) -> tuple[Any, Any]:
        n, fan_in, (o, width) = len(a), a.shape[-1], (B.shape[0], B.shape[-1])
        a, B = a.reshape(n, -1, fan_in), B.reshape(o, n, -1, width)
        return jnp.einsum("nsa,onsj->onaj", a, B).reshape(o, n, -1), B.sum(2)

    (W1, b1), (W2, b2) = gradients(*one), gradients(*two)
    if need:
        return total + rates["W"] * jnp.einsum("iap,jcp->iajc", W1, W2) + rates["b"] * jnp.einsum("iap,jcp->iajc", b1, b2)
    mean = rates["W"] * jnp.einsum("iap,icp->ac", W1, W2) + rates["b"] * jnp.einsum("iap,icp->ac", b1, b2)
    return total + mean / len(W1)


def backward_factors(net: Serial, params: Params, X: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
    """{path: (a, B)} of every affine layer: its input a (n, fan_in) and B[i, x, j] = dz^(L)_i(x)/dz^(l)_j(x), (o, n, width); with positions
    (n, *positions, channels) and (o, n, *positions, channels).

    The factor is the gradient with respect to a bias of its own for every point, so any node that can be applied and
    differentiated will do, and the backward rule (PDLT 8.17) need not be written down a second time.
    """
    after = {path: shape for path, (_, shape) in jax.eval_shape(lambda p: carriers(net, p, X)[1], params).items()}
    own = {path: jnp.broadcast_to(p["b"], after[path].shape) for path, p in params.items()}

    def forward(biases: Any) -> Any:
        z, seen = carriers(net, {path: {**p, "b": biases[path]} for path, p in params.items()}, X)
        return z, {path: seen[path][0] for path in params}

    z, back, inputs = jax.vjp(forward, own, has_aux=True)
    n, o = z.shape
    units = jnp.broadcast_to(jnp.eye(o, dtype=z.dtype)[:, None, :], (o, n, o))
    (factors,) = jax.vmap(back)(units)
    return {path: (inputs[path], factors[path]) for path in params}


def tangent_kernel(net: Serial, params: Params, X1: Any, X2: Any, rates: Any, multipliers: Any = None, *, full: bool) -> jax.Array:
    """The pure core of `empirical_ntk`, `rates` as from `rate_tensor`; may be jitted and vmapped."""
    params = multiplied(params, multipliers)
    one = backward_factors(net, params, X1)
    two = one if X2 is None else backward_factors(net, params, X2)
    total, _ = walk(net, EMPIRICAL, jnp.zeros((), X1.dtype), {path: (one[path], two[path], rates[path]) for path in params}, full)
    return (total.transpose(1, 3, 0, 2) if full else total).astype(X1.dtype)


@measured
def empirical_ntk(
    net: Any, params: Params, X1: Any, X2: Any = None, rates: Any = "ntk", full: bool = True, parametrization: Any = None
) -> Work[Array]:
    """The neural tangent kernel of one real network, exact, by backward factors:

        Theta[a, c, i, j] = sum_l (lambda_b + lambda_W a_l(x_a).a_l(x_c)/fan_in) sum_k dz^(L)_i(x_a)/dz^(l)_k dz^(L)_j(x_c)/dz^(l)_k

    with a_l the input of affine layer l. It drives training: one step of `lg.train` moves the outputs by -eta Theta (z - y)
    to first order in eta. May be jitted, differentiated, vmapped. Memory: a few arrays of the size of the result.

    Parameters
    ----------
    net : architecture
        Any network.
    params : dict
        As from `lg.init`.
    X1 : array (n1, features) or (n1, *positions, channels)
        Points.
    X2 : array (n2, ...) like `X1`, optional
        Second points; default X1.
    rates : "ntk" or (lambda_b, lambda_W)
        Each a number or one per affine layer.
    full : bool
        Whether all pairs of outputs come back; else the mean over equal outputs, trace/o, at the cost of one output pair.
    parametrization : Parametrization, optional
        In place of rates: that of `lg.init`, of plain descent or momentum.

    Returns
    -------
    array (n1, n2, o, o) or (n1, n2)
        In the dtype of the parameters; numpy for numpy points.

    Raises
    ------
    InputError
        For parameters, points or rates that do not fit.

    References
    ----------
    PDLT 8.7, 8.17.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[64, 64], out=2)
    >>> lg.empirical_ntk(net, lg.init(net, 3, jax.random.key(0)), np.eye(3)).shape
    (3, 3, 2, 2)
    """
    whole, (x1, x2), full = network(net), pair(X1, X2), door.flag(full, "full")
    needed = room.tangents(len(x1 if x2 is None else x2), full)
    table = a_table(parametrization, whole, x1.shape[1:])
    if table is None:
        tensor = rate_tensor(whole, x1.shape[1:], resolve(whole, rates))
    else:
        tensor = _effective(table, parametrization, rates)
    return Work(tangent_kernel, whole, params, x1, (x1, x2, tensor, column(table, "multiplier")), needed, {"full": full})


def _effective(table: dict[str, dict[str, Parameter]], by: Parametrization, rates: Any) -> dict[str, dict[str, Any]]:
    """The rates at which weights and biases themselves move, times their gradients."""
    if not (isinstance(rates, str) and rates == "ntk"):
        raise InputError("rates", f"{shown(rates)} together with a parametrization", "one of them: a parametrization says its rates")
    if not by.effective().by.degree:
        raise InputError("parametrization", f"one for {by.optimizer}", "one for sgd or momentum: other updates follow no tangent kernel")
    return {path: {name: one.rate * one.gradient * one.multiplier**2 for name, one in entry.items()} for path, entry in table.items()}
