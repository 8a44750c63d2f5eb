"""`lg.corrections`: the 1/n tensors of a network, the recursions asked for their last layer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door, memory
from largen.architecture.chain import chain
from largen.architecture.levels import levels
from largen.architecture.nodes import network
from largen.data import warn_if_unscaled
from largen.errors import InputError, UnsupportedError
from largen.scaling.rates import resolve
from largen.theory.corrections.moments import THEORY
from largen.theory.corrections.recursion import recur
from largen.theory.corrections.single import recur_single
from largen.theory.kernels import chosen_layer, warn_if_inaccurate
from largen.types import hand_back, is_traced, island

HERE, ORDERS = ("K", "V", "K1", "M"), (2, 4, 2, 3)  # and how many inputs each has
LATER = ("Theta", "Theta1", "D", "F", "A", "B", "P", "Q", "R", "S", "T", "U")
ARRAYS = 12  # (n, n, n, n) arrays alive in one step


@dataclass(frozen=True)
class Corrections:
    """What `lg.corrections` returns: the metric of a layer to first order in 1/n, where n is the `width` of the layer before.

    The preactivations z of layer l, of two different units i and j, at the inputs 1, 2, 3, 4, have the cumulants

        E[z_i1 z_i2] = K_12 + K1_12/n,        E[z_i1 z_i2 z_j3] = M_(12)3/n,
        E[z_i1 z_i2 z_j3 z_j4] - E[z_i1 z_i2] E[z_j3 z_j4] = V_(12)(34)/n,

    up to 1/n^2; V/n is the covariance over networks of the stochastic metric C_b + (C_W/n) sum_j s(z_j1) s(z_j2) (PDLT 4.76).
    Shapes `K`, `K1` (n, n), `M` (n, n, n), `V` (n, n, n, n), with the layers first for layer="all". `error`: the estimated
    relative error of the Gaussian expectations, at the worst layer. `width`: n, an integer, or one a layer. What there is not
    is None, and `missing` says why. `fluctuation`: the largest V_(aa)(aa)/(n K_aa^2); trust the expansion while it is small.
    """

    K: Any
    V: Any
    K1: Any
    M: Any
    error: Any
    width: Any
    fluctuation: float | None
    Theta: Any = None
    Theta1: Any = None
    D: Any = None
    F: Any = None
    A: Any = None
    B: Any = None
    P: Any = None
    Q: Any = None
    R: Any = None
    S: Any = None
    T: Any = None
    U: Any = None
    missing: Mapping[str, str] = field(default_factory=dict)


def corrections(net: Any, X: Any, rates: Any = "ntk", layer: int | str | None = None, tensors: Iterable[str] | None = None) -> Corrections:
    r"""The first corrections in 1/n to the statistics of a network at initialisation: V, K{1} and, with skip connections, M.

    K^(1) = C_b + C_W x.x'/n_0, V^(1) = K{1}^(1) = M^(1) = 0, and then layer by layer, for a plain chain with r = n_l/n_{l-1},

        V'    = C_W^2 [<s1 s2 s3 s4> - <s1 s2><s3 s4> + r J V J],    (J X)_12 = (1/2) sum_ab <d_a d_b (s1 s2)> X_ab,
        K{1}' = C_W r [J K{1} + (1/8) sum <d_a d_b d_c d_d (s1 s2)> V_(ab)(cd)]

    without an inverse kernel, so that inputs may coincide. All multiply 1/n_{L-1}, the width of the layer before the one that
    is reported; widths enter through ratios only.

    Parameters: `net`, a chain, also of residual blocks; `X` (n, features); `rates`, which these tensors do not depend on (checked
    only); `layer`, None for the output, a number 1..L, a path, or "all"; `tensors`, names to compute, such as ("V",), default all.

    Returns `Corrections`, in the dtype of X, computed in float64. How: the ReLU family in closed form (four different inputs: an
    integral in one dimension); smooth activations on lattices, relative error about 1e-9; other kinked ones by quadrature split
    at the kinks, for one or two inputs. One input costs little at any depth; else time and memory grow as n^4.

    Raises `InputError` for unknown names, layers, inputs that are not (n, features), too many of them for the memory, traced
    values; `UnsupportedError` for what is no chain, for tensors not in this version, and for three or more different inputs of a
    kinked activation without closed form. Warns (`AccuracyWarning`) for an error above 1e-6, such as by undeclared kinks.

    Source: PDLT 4.115-4.119 (inverse-free), B.24 corrected by M for activations that are not odd.

    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[64] * 4, out=1, activation="relu", C_W=2.0)
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> out = lg.corrections(net, X)
    >>> float(out.V[0, 0, 0, 0]), out.width, out.fluctuation  # K = 1: 5 (L - 1) K^2
    (20.0, 64, 0.3125)
    >>> out.K1.round(4) + 0.0
    array([[ 0.    , -1.0634],
           [-1.0634,  0.    ]])
    """
    whole, x = network(net), door.points(X)
    resolve(whole, rates)
    layers = chain(whole)
    chosen = chosen_layer(layer, [path for path, _ in levels(whole)])
    wanted = _names(tensors)
    if is_traced(x, whole):
        raise InputError("net, X", "traced values", "concrete ones: grids are chosen by value", "Call it outside jit, grad and vmap.")
    warn_if_unscaled(x)
    unique, back = np.unique(np.asarray(x, np.float64) + 0.0, axis=0, return_inverse=True)  # -0 and 0 are one input
    L, n, many = len(layers), len(x), len(layers) if chosen == "all" else 1
    if wanted != {"K"}:
        needed = 8.0 * (ARRAYS * len(unique) ** 4 + 2 * many * n**4)
        got = f"{n} inputs, {len(unique)} of them different, with {n}^4 entries of V a layer"
        memory.require(needed, "X", got, 'Take fewer inputs, or ask for tensors=("K",).')
    K1 = float(layers[0].C_b) + float(layers[0].C_W) * (unique @ unique.T) / x.shape[1]
    picked = [*range(L)] if isinstance(chosen, str) else [chosen % L]
    if len(unique) == 1:
        line = recur_single(layers, K1[0, 0], x.shape[1])
        arrays = [
            np.asarray(v)[picked].reshape(-1, *(1,) * order) for v, order in zip((line.K, line.V, line.K1, line.M), ORDERS, strict=True)
        ]
        error = line.error[picked].max()
    else:
        found = [
            level for l, level in enumerate(recur(layers[: picked[-1] + 1], K1, x.shape[1], first_order=wanted != {"K"})) if l in picked
        ]
        arrays, error = [np.stack(v) for v in zip(*((f.K, f.V, f.K1, f.M) for f in found), strict=True)], found[-1].error
    widths = [x.shape[1], *(layer.width for layer in layers)]
    n_before = np.array([widths[l] for l in picked])
    K, V = arrays[:2]
    fluctuation = _fluctuation(K, V, n_before) if wanted != {"K"} else None
    missing = {name: "not in this version" for name in LATER} | {name: "not asked for" for name in HERE if name not in wanted}
    if not any(layers[l].skip for l in picked):
        wanted, missing = wanted - {"M"}, {**missing, "M": "zero without a skip connection into the layer"}
    warn_if_inaccurate(error, x.dtype)
    with island(x):
        named: dict[str, Any] = {}
        for name, value, order in zip(HERE, arrays, ORDERS, strict=True):
            full = value[np.ix_(np.arange(len(picked)), *[back] * order)] if name in wanted else None
            named[name] = None if full is None else jnp.asarray(full if chosen == "all" else full[0], x.dtype)
        named = hand_back({**named, "error": jnp.asarray(error, x.dtype)}, x)
    width = tuple(map(int, n_before)) if chosen == "all" else int(n_before[0])
    return Corrections(**named, width=width, fluctuation=fluctuation, missing=missing)


def _names(tensors: Iterable[str] | None) -> set[str]:
    """The tensors to compute, checked."""
    if tensors is None:
        return set(HERE)
    if isinstance(tensors, str) or not all(isinstance(t, str) for t in tensors):
        raise InputError("tensors", repr(tensors), 'a collection of names, such as ("K", "V")')
    names = set(tensors)
    for name in sorted(names):
        door.choice(name, "tensors", HERE + LATER)
        if name in LATER:
            raise UnsupportedError(f"the tensor {name}", "", THEORY, "it is not in this version", HERE)
    if not names:
        raise InputError("tensors", "no names", "at least one of " + ", ".join(HERE))
    return names


def _fluctuation(K: np.ndarray, V: np.ndarray, n: np.ndarray) -> float:
    """The largest V_(aa)(aa)/(n K_aa^2); inputs of zero variance do not fluctuate."""
    q, v = np.diagonal(K, axis1=-2, axis2=-1), np.einsum("laaaa->la", V)
    return float(np.where(q > 0, v / np.where(q > 0, n[:, None] * q**2, 1), 0).max())
