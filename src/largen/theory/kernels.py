"""`lg.kernel`: NNGP and NTK of infinitely wide networks, and their derivatives."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from largen import exits
from largen.activations.assumed import as_assumed, assuming
from largen.architecture.levels import levels
from largen.architecture.nodes import Serial
from largen.architecture.walk import walk
from largen.border import bordered, linear
from largen.display import Columns, Record, grid
from largen.errors import InputError, shown
from largen.running.jitted import jitted
from largen.theory import positions
from largen.theory.given import given
from largen.theory.positions import Carrier
from largen.theory.rules import KERNELS
from largen.types import Array

ALONE = 'the other kernel alone was asked for: which="both"'


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, kw_only=True)
class Kernel(Record):
    """What `lg.kernel` returns. Order n^0: exact at infinite width.

    Attributes
    ----------
    nngp : array (n1, n2) or (layers, n1, n2)
        K; the layers first for layer="all".
    ntk : array like `nngp`
        Theta. Where `lg.gram` was asked for one kernel alone (`which`) the other is None, and `.missing` says so.
    error : float
        Estimated error of either by the Gaussian expectations of all layers, relative to sqrt(K_ii K_jj) and sqrt(Theta_ii Theta_jj) of the
        two points; 0 where all are closed forms.
    """

    nngp: Any
    ntk: Any
    error: Array

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        return {name: ALONE for name in ("nngp", "ntk") if getattr(self, name) is None}

    def _columns(self) -> Columns:
        axes = ("layer", "i", "j")[-np.ndim(self.ntk if self.nngp is None else self.nngp) :]
        return grid(axes, nngp=self.nngp, ntk=self.ntk)


@exits.finite()
@bordered("X1", "X2")
def kernel(net: Any, X1: Any, X2: Any = None, rates: Any = "ntk", layer: int | str | None = None) -> Kernel:
    """NNGP and NTK of a network at infinite width, exact at order n^0.

        K' = C_b + C_W <phi phi>,      Theta' = lambda_b + lambda_W <phi phi> + C_W <phi' phi'> Theta,      z ~ N(0, K)

    from layer to layer of a plain network, from K^(1) = C_b + C_W x.x'/n_0 and Theta^(1) = lambda_b + lambda_W x.x'/n_0. Differentiable in
    X1, X2, in C_W, C_b and rates; works under `jit` and `vmap`. At coincident points the NTK of a kinked activation has a cusp: the first
    derivative is the symmetric subgradient, second derivatives raise.

    Parameters
    ----------
    net : architecture
        Any network of nodes with a rule for kernels.
    X1 : array (n1, features) or (n1, *positions, channels)
        Points; images are NHWC.
    X2 : array (n2, ...) like `X1`, optional
        Second points; None for X1 with itself.
    rates : "ntk" or (lambda_b, lambda_W)
        Learning rates inside the NTK (weight rate lambda_W/fan_in): "ntk" is lambda_b = C_b, lambda_W = C_W; or a pair of numbers or one
        per affine layer (those of branches in their place).
    layer : int, str or None
        A level's number 1..L or path ("dense2", "sum1"), or "all" (stacked first); None for the output. Levels are the affine layers of a
        plain network, and the sums of a residual one; of a level with positions the kernel is that at equal positions,
        `(n1, n2, *positions)`.

    Returns
    -------
    Kernel
        With `.nngp`, `.ntk` (n1, n2), (L, n1, n2) for "all", and `.error`, in the dtype of X1 (numpy in, numpy out).

    Raises
    ------
    InputError
        For arrays of wrong rank or columns, NaN, wrong-length rates, unknown layers, and callables of one's own of which expectations are
        infinite or cannot be followed.
    UnsupportedError
        For nodes without a rule, for an activation or normalisation that has no affine layer before it, for an activation last, and for a
        sum in which more than one branch does not end in an affine layer.

    Warns
    -----
    AccuracyWarning
        If the error of a quadrature is above 1e-6, and of what may be the cause: undeclared kinks, singular places, growth, size.

    References
    ----------
    PDLT 4.118, 8.63; Williams; Cho and Saul; Jacot et al.

    Examples
    --------
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
    asked = given(net, X1, X2, rates, ("X1", "X2"))
    chosen = chosen_layer(layer, [path for path, _ in levels(asked.net)])
    asked.require(len(asked.rates) if chosen == "all" else 1)

    def compute(whole: Serial, extras: Any) -> Kernel:
        return _kernel(whole, positions.begin(asked.X, asked.X2, asked.layout, asked.work), extras, chosen)

    return asked.answer(compute)


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
