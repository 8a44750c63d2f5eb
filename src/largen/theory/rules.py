r"""The rules of the infinite-width kernel, NNGP and NTK, layer by layer and node by node.

    K^(1) = C_b + C_W x.x'/n_0,              Theta^(1) = lambda_b + lambda_W x.x'/n_0,
    K^(l+1) = C_b + C_W <phi phi>,           Theta^(l+1) = lambda_b + lambda_W <phi phi> + C_W <phi' phi'> Theta^(l),

with <.> over the Gaussian pair of covariance K^(l) (PDLT 4.118, 8.63). One rule per node on the walk: an affine node maps
the moments of its inputs, an activation replaces Gaussian moments by those of phi.

Branches that are added, sum_i w_i f_i(z): K = sum w_i^2 K_i and Theta = sum w_i^2 Theta_i (PDLT B.11 for a residual block). The
cross terms E f_i f_j vanish if all branches but one are odd in weights of their own, that is end in an affine node; so do
those of the NTK, such as dz_i/dtheta dz_j/dtheta phi'(z_j) W_ij = O(1/sqrt n) with mean zero.

Layer normalisation of Gaussian units divides by s = sqrt(K_aa + eps), the mean over the units being 0: K_ab/(s_a s_b), and
Theta_ab/(s_a s_b): its Jacobian is (1/s)(I - (1 1' + u u')/n), u the normalised units, and the rank-one parts change the NTK
of two units i, j, Theta delta_ij, by terms of order 1/n in every entry. The next layer's sum over W_ki W_kj is over the diagonal,
plus (W.u)^2/n: of order 1/n too, for parallel points as for all others. RMS normalisation is the same without the mean, and
holds after an activation too.

Convolutions and pooling: see `largen.theory.positions`. Concatenated units: second moments are means weighted by widths. Products
of independent f_i: K = prod K_i, Theta = sum_i Theta_i prod_(j != i) K_j.
"""

import operator
from dataclasses import replace
from functools import reduce
from typing import Any

import jax.numpy as jnp

from largen.activations.dual import dual
from largen.architecture.attention import Attention, PositionalEmbedding
from largen.architecture.branches import Concat, Dropout, Product, Sum
from largen.architecture.nodes import Act, Dense
from largen.architecture.norms import LayerNorm, RMSNorm
from largen.architecture.pools import AvgPool, GlobalAvgPool, MaxPool, SumPool
from largen.architecture.spatial import Aggregate, Conv, ConvLocal, ConvTranspose, Flatten
from largen.architecture.walk import Theory
from largen.gaussian import pair as pairs
from largen.theory import positions
from largen.theory.attention import attended
from largen.theory.positions import Carrier


def _signature(node: Any) -> Any:
    """Numbers of units do not matter at infinite width; nodes that change positions are never scanned."""
    return node.signature() if node.keeps() else object()


KERNELS = Theory("the infinite-width kernel", _signature, positions.join)
KERNELS.reasons[MaxPool] = "a maximum of correlated units has no closed form: use lg.AvgPool, or a convolution with strides"


@KERNELS.rule(Dense)
def _dense(node: Dense, carrier: Carrier, rates: tuple[Any, Any], need: Any) -> Carrier:
    return _weighted(node, carrier, rates)


@KERNELS.rule(Conv)
@KERNELS.rule(ConvTranspose)
def _conv(node: Any, carrier: Carrier, rates: tuple[Any, Any], need: Any) -> Carrier:
    return _weighted(node, positions.window_mean(carrier, node.axes(carrier.space)), rates)


@KERNELS.rule(ConvLocal, needs=lambda node, need: positions.PIXELS)
def _local(node: ConvLocal, carrier: Carrier, rates: tuple[Any, Any], need: Any) -> Carrier:
    return positions.separate(_conv(node, carrier, rates, need), need)


@KERNELS.rule(PositionalEmbedding)
def _embedding(node: PositionalEmbedding, carrier: Carrier, rates: tuple[Any, Any], need: Any) -> Carrier:
    return positions.embedded(carrier, node.C_b, rates[0])


@KERNELS.rule(Dropout)
def _dropout(node: Dropout, carrier: Carrier, extra: Any, need: Any) -> Carrier:
    return positions.masked(carrier, node.rate)


@KERNELS.rule(Attention, needs=lambda node, need: positions.PAIRS)
def _attention(node: Attention, carrier: Carrier, through: Any, need: Any) -> Carrier:
    *inner, out = through
    return positions.reduced(out(attended(node, [send(carrier) for send in inner])), need)


def _weighted(node: Any, carrier: Carrier, rates: tuple[Any, Any]) -> Carrier:
    """b + W x, for moments that are means over the fan-in."""
    lambda_b, lambda_W = rates
    theta = lambda_b + lambda_W * carrier.pair.k + node.C_W * carrier.theta
    return carrier.moved(lambda pair: pairs.affine(pair, node.C_W, node.C_b), theta)


@KERNELS.rule(Act)
def _act(node: Act, carrier: Carrier, extra: Any, need: Any) -> Carrier:
    out, own = dual(node.activation, carrier.pair), carrier.each(lambda pair: dual(node.activation, pair))
    theta = out.kdot * carrier.theta
    error = reduce(jnp.maximum, [one.carried * carrier.error + one.error for one in (out, *(own or ()))])
    return replace(carrier, pair=out.phi, theta=theta, error=error, own=(own[0].phi, own[1].phi) if own else None)


@KERNELS.rule(LayerNorm)
@KERNELS.rule(RMSNorm)
def _norm(node: Any, carrier: Carrier, extra: Any, need: Any) -> Carrier:
    q1, q2 = carrier.pair.q1 + node.eps, carrier.pair.q2 + node.eps
    theta = carrier.theta / (jnp.sqrt(q1) * jnp.sqrt(q2))
    return carrier.moved(lambda pair: pairs.normalised(pair, node.eps), theta)


@KERNELS.rule(Sum)
def _sum(node: Sum, carrier: Carrier, through: Any, need: Any) -> Carrier:
    return _added([send(carrier) for send in through], [w**2 for w in node.weights], need)


@KERNELS.rule(Concat)
def _concat(node: Concat, carrier: Carrier, through: Any, need: Any) -> Carrier:
    widths: Any = node.widths
    return _added([send(carrier) for send in through], [width / sum(widths) for width in widths], need)


def _added(ends: list[Carrier], weights: list[Any], need: Any) -> Carrier:
    """The weighted sum of moments."""
    ends = [positions.reduced(end, need) for end in ends]
    theta = reduce(operator.add, [w * end.theta for end, w in zip(ends, weights, strict=True)])
    return positions.combined(
        ends, lambda parts: reduce(pairs.plus, [pairs.scaled(part, w) for part, w in zip(parts, weights, strict=True)]), theta
    )


@KERNELS.rule(Product)
def _product(node: Product, carrier: Carrier, through: Any, need: Any) -> Carrier:
    ends = [positions.reduced(send(carrier), need) for send in through]
    theta, k = ends[0].theta, ends[0].pair.k
    for end in ends[1:]:
        theta, k = theta * end.pair.k + k * end.theta, k * end.pair.k
    return positions.combined(ends, lambda parts: reduce(pairs.times, parts), theta)


@KERNELS.rule(AvgPool, needs=lambda node, need: positions.PAIRS)
@KERNELS.rule(SumPool, needs=lambda node, need: positions.PAIRS)
def _pool(node: Any, carrier: Carrier, extra: Any, need: Any) -> Carrier:
    return positions.reduced(positions.pooled(carrier, node.axes(carrier.space), mean=node.mean), need)


@KERNELS.rule(Aggregate, needs=lambda node, need: positions.PAIRS)
def _aggregate(node: Aggregate, carrier: Carrier, extra: Any, need: Any) -> Carrier:
    return positions.reduced(positions.aggregated(carrier, node.adjacency), need)


@KERNELS.rule(GlobalAvgPool, needs=lambda node, need: positions.PAIRS)
def _global(node: GlobalAvgPool, carrier: Carrier, extra: Any, need: Any) -> Carrier:
    return positions.averaged(carrier)


@KERNELS.rule(Flatten, needs=lambda node, need: positions.PIXELS)
def _flatten(node: Flatten, carrier: Carrier, extra: Any, need: Any) -> Carrier:
    return positions.flattened(carrier)
