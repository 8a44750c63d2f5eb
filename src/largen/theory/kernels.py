r"""NNGP and NTK of infinitely wide networks, layer by layer.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from largen import door, exits
from largen.activations.activation import Activation
from largen.activations.assumed import as_assumed, assuming
from largen.activations.doubt import SMALLER, doubt, infinite
from largen.activations.dual import dual
from largen.activations.reach import growth
from largen.architecture.attention import Attention, PositionalEmbedding
from largen.architecture.branches import Concat, Dropout, LayerNorm, Product, RMSNorm, Sum, settled
from largen.architecture.levels import levels
from largen.architecture.nodes import Act, Dense, Serial, network
from largen.architecture.spatial import (
    Aggregate,
    AvgPool,
    Conv,
    ConvLocal,
    ConvTranspose,
    Flatten,
    GlobalAvgPool,
    MaxPool,
    SumPool,
    outputs_of,
)
from largen.architecture.walk import Theory, everything, needed, walk
from largen.border import bordered, linear
from largen.data import warn_if_unscaled
from largen.display import Columns, Record, grid
from largen.errors import AccuracyWarning, InputError, shown, warn
from largen.gaussian import pair as pairs
from largen.running.jitted import jitted
from largen.scaling.rates import resolve
from largen.theory import held, positions
from largen.theory.attention import attended
from largen.theory.gaussian_units import check_gaussian
from largen.theory.positions import Carrier
from largen.types import Array, hand_back, is_traced, island, numbers

STEEP = 8  # powers of z that activations grow like, above which float32 is not enough to compute in
SMALL = 1e-2  # |x|^2/n_0 below which, and above whose inverse, float32 is not enough to compute in


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, kw_only=True)
class Kernel(Record):
    """What `lg.kernel` returns. Order n^0: exact at infinite width.

    `nngp` K and `ntk` Theta, (n1, n2), or (layers, n1, n2) for layer="all". `error`: estimated error of either by the Gaussian
    expectations of all layers, relative to sqrt(K_ii K_jj) and sqrt(Theta_ii Theta_jj) of the two points; 0 where all are closed forms.
    """

    nngp: Array
    ntk: Array
    error: Array

    def _columns(self) -> Columns:
        axes = ("layer", "i", "j")[-np.ndim(self.nngp) :]
        return grid(axes, nngp=self.nngp, ntk=self.ntk)


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
    out, *own = (dual(node.activation, pair) for pair in (carrier.pair, *(carrier.own or ())))
    theta = out.kdot * carrier.theta
    error = reduce(jnp.maximum, [one.carried * carrier.error + one.error for one in (out, *own)])
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


@exits.finite()
@bordered("X1", "X2")
def kernel(net: Any, X1: Any, X2: Any = None, rates: Any = "ntk", layer: int | str | None = None) -> Kernel:
    r"""NNGP and NTK of a network at infinite width, exact at order n^0.

    Parameters: `net`; `X1` (n1, features) or (n1, *positions, channels) (images are NHWC), `X2` likewise or None for X1 with
    itself; `rates`, "ntk"
    (lambda_b = C_b, lambda_W = C_W) or a pair (lambda_b, lambda_W) of numbers or one per affine layer (those of branches in
    their place), the learning rates inside the NTK (weight rate lambda_W/fan_in); `layer`, None for the output, a level's
    number 1..L or path ("dense2", "sum1"), or "all" (stacked first). Levels are the affine layers of a plain network, and the
    sums of a residual one; of a level with positions the kernel is that at equal positions, (n1, n2, *positions).

    Returns `Kernel` with `.nngp`, `.ntk` of shape (n1, n2) ((L, n1, n2) for "all") and `.error`, in the dtype of X1 (numpy
    in, numpy out). Differentiable in X1, X2, in C_W, C_b and rates; works under `jit` and `vmap`. At coincident points the
    NTK of a kinked activation has a cusp: the first derivative is the symmetric subgradient, second derivatives raise.

    Raises `InputError` for arrays of wrong rank or columns, NaN, wrong-length rates, unknown layers, and callables of one's own of
    which expectations are infinite or cannot be followed; `UnsupportedError`
    for nodes without a rule, for an activation or normalisation that has no affine layer before it, for an activation last, and
    for a sum in which more than one branch does not end in an affine layer. Warns (`AccuracyWarning`) if the
    error of a quadrature is above 1e-6, and of what may be the cause: undeclared kinks, singular places, growth, size.

    Source: PDLT eqs. 4.118, 8.63; Williams; Cho and Saul; Jacot et al.

    >>> import largen as lg, numpy as np
    >>> X = np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> out = lg.kernel(lg.mlp(widths=[512], out=1, activation="relu", C_W=2.0), X)
    >>> out.nngp.round(6)
    array([[2.      , 0.63662],
           [0.63662, 2.     ]])
    >>> out.ntk.round(6)
    array([[4.     , 0.63662],
           [0.63662, 4.     ]])
    """
    whole = network(net)
    X1 = door.inputs(X1, "X1")
    if X2 is not None:
        X2 = door.inputs(X2, "X2", X1.shape[1:], "X1")
    extras = resolve(whole, rates)
    check_gaussian(whole)
    outputs_of(whole, X1.shape[1:], "X1")
    chosen = chosen_layer(layer, [path for path, _ in levels(whole)])
    n2, depth = len(X1 if X2 is None else X2), len(extras) if chosen == "all" else 1
    dtype = X1.dtype if X2 is None else jnp.promote_types(X1.dtype, X2.dtype)
    work = precision(dtype, X1, X2, whole, extras)
    layout = needed(whole, KERNELS)
    held.require(whole, X1.shape[1:], len(X1), n2, work.itemsize, layout == positions.PAIRS, depth, "X1" if X2 is None else "X1, X2")
    warn_if_unscaled(X1)
    with island(np.zeros((), work)):
        whole, extras = numbers((settled(whole, X1.shape[1:]), extras), work)
        first = positions.begin(X1, X2, layout, work)
        out = _kernel(whole, first, extras, chosen)
        out = jax.tree_util.tree_map(lambda a: a.astype(dtype), out)
    warn_if_inaccurate(out.error, work, activations(whole))
    return hand_back(out, X1, X2)


def precision(dtype: Any, X1: Any, X2: Any, net: Serial, rates: Any) -> np.dtype:
    """What to compute in, for results of a dtype: at least float32, and float64 for points so large or small, and activations so
    steep, that kernels depend on more digits of norms than float32 has."""
    points = [X for X in (X1, X2) if X is not None]
    work = np.promote_types(dtype, np.float32)
    if work == np.float64 or is_traced(X1, X2, net, rates):
        return work
    if any(growth(phi) > STEEP for phi in activations(net)):
        return np.dtype(np.float64)
    with np.errstate(over="ignore"):
        squares = [np.asarray((X.reshape(len(X), -1) ** 2).mean(1)) for X in points]
    sizes = np.concatenate([q[q > 0] for q in squares])
    return np.dtype(np.float64) if ((sizes < SMALL) | (sizes > 1 / SMALL)).any() else work


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _kernel(net: Serial, first: Carrier, extras: Any, layer: int | str) -> Kernel:
    return _looked_at(net, first, extras, layer)[0]


def _looked_at(net: Serial, first: Carrier, extras: Any, layer: int | str) -> tuple[Kernel, bool]:
    """The kernel, and whether all was as is mostly so."""
    return as_assumed(lambda usual: _walk_kernel(net, first, extras, layer, True, usual), lambda out: out.error, net, first, extras)


@partial(_kernel.defjvp, symbolic_zeros=True)
def _kernel_jvp(layer: int | str, primals: Any, tangents: Any) -> Any:
    net, first, extras = primals
    out, usual = _looked_at(net, first, extras, layer)
    leaves, tree = jax.tree_util.tree_flatten(primals)
    ways = jax.tree_util.tree_leaves(tangents)
    live = tuple(i for i, way in enumerate(ways) if not isinstance(way, SymbolicZero))
    static = tree, layer, usual, live
    dK, dTheta = linear(partial(_push, *static), partial(_pull, *static), leaves, *(ways[i] for i in live), like=(out.nngp, out.ntk))
    return out, Kernel(nngp=dK, ntk=dTheta, error=jnp.zeros_like(out.error))


def _moved(tree: Any, layer: int | str, usual: bool, live: tuple[int, ...], leaves: Sequence[Any]) -> Any:
    """K and Theta as a function of those leaves that move."""

    def at(*some: Any) -> list[Any]:
        values = list(leaves)
        for i, value in zip(live, some, strict=True):
            values[i] = value
        # unrolled: reverse mode through `scan` drops the custom derivatives inside it, so that second derivatives would be wrong
        out = _walk_kernel.function(*jax.tree_util.tree_unflatten(tree, values), layer, False, usual)
        return [out.nngp, out.ntk]

    return at


@jitted(static=(0, 1, 2, 3))
def _push(tree: Any, layer: int | str, usual: bool, live: tuple[int, ...], leaves: Sequence[Any], *ways: Any) -> Any:
    return jax.jvp(_moved(tree, layer, usual, live, leaves), tuple(leaves[i] for i in live), ways)[1]


@jitted(static=(0, 1, 2, 3))
def _pull(tree: Any, layer: int | str, usual: bool, live: tuple[int, ...], leaves: Sequence[Any], *ways: Any) -> Any:
    return jax.vjp(_moved(tree, layer, usual, live, leaves), *(leaves[i] for i in live))[1](list(ways))


@jitted(static=(3, 4, 5))
def _walk_kernel(net: Serial, first: Carrier, extras: Any, layer: int | str, scan: bool, usual: bool) -> Kernel:
    names = [path for path, _ in levels(net)]
    keep = [] if layer == -1 else names if layer == "all" else [names[int(layer)]]
    with assuming(sizes=usual, angles=usual and not first.space):  # neighbouring pixels nearly coincide
        last, kept = walk(net, KERNELS, first, extras, keep=keep, scan=scan)
    if layer == -1:
        return Kernel(nngp=last.pair.k, ntk=last.theta, error=last.error)
    kept = [positions.reduced(carrier, positions.PIXELS, lead=1) for carrier in kept]
    if len({carrier.space for carrier in kept}) > 1:
        raise InputError("layer", "'all', for levels of different positions", "one level: its number or path")
    K = jnp.concatenate([c.pair.k for c in kept])
    Theta = jnp.concatenate([c.theta for c in kept])
    return Kernel(nngp=K, ntk=Theta, error=last.error) if layer == "all" else Kernel(nngp=K[0], ntk=Theta[0], error=last.error)


def chosen_layer(layer: Any, names: list[str]) -> int | str:
    """Static index of the asked layer: -1 the output, 0.. a level, or "all"."""
    if layer is None:
        return -1
    if isinstance(layer, str) and (layer == "all" or layer in names):
        return layer if layer == "all" else names.index(layer)
    if isinstance(layer, Integral) and not isinstance(layer, bool) and 1 <= int(layer) <= len(names):
        return int(layer) - 1
    raise InputError("layer", shown(layer), f'None, "all", a number from 1 to {len(names)}, or one of {", ".join(names)}')


def activations(net: Serial) -> set[Activation]:
    """All activations of a network."""
    return {node.activation for _, node in everything(net) if isinstance(node, Act)}


def warn_if_inaccurate(error: Any, dtype: Any, phis: Iterable[Activation]) -> None:
    """Say so, and which of the activations may be why; refuse users' own of which expectations are not finite."""
    tolerance = 1e-6 if dtype == jnp.float64 else 1e-4
    if is_traced(error) or float(error) <= tolerance:
        return
    if not np.isfinite(float(error)):
        if said := next(filter(None, map(infinite, phis)), None):
            raise InputError("activation", said, "one whose expectations are finite at the variances of these points", f"{SMALLER}.")
        return  # what is not finite is looked at where it leaves
    causes = {doubt(phi) for phi in phis if phi.closed is None} or {doubt(phi) for phi in phis}  # 1/n tensors use no closed forms
    message = f"Gaussian expectations have an estimated relative error of {float(error):.1e}. {' '.join(sorted(causes))}"
    warn(message, AccuracyWarning)
