"""`lg.corrections`: the 1/n tensors of a network, the recursions asked for their last layer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door, exits, memory
from largen.activations.activation import Activation
from largen.activations.closed import Homogeneous
from largen.architecture.chain import Layer, chain
from largen.architecture.levels import levels
from largen.architecture.nodes import network
from largen.data import warn_if_unscaled
from largen.display import Columns, Record, grid, pairs
from largen.errors import InputError, UnsupportedError
from largen.parametrizations.rates import resolve
from largen.theory.corrections import tangent
from largen.theory.corrections.moments import THEORY
from largen.theory.corrections.recursion import Level, Training, recur, recur_sampled
from largen.theory.corrections.single import recur_single
from largen.theory.given import warn_if_inaccurate
from largen.theory.kernels import chosen_layer
from largen.types import hand_back, is_traced, island

METRIC = {"K": 2, "V": 4, "K1": 2, "M": 3}  # how many inputs each has
NTK = {f.name: 2 if f.name in tangent.PAIRS else 4 for f in fields(tangent.Tangent)}
NAMES = METRIC | NTK
LATTICES, SETS = 8, 16  # different inputs up to which there are lattices; sets of quasi-random points beyond
ARRAYS, MORE_ARRAYS = 12, 60  # (n, n, n, n) arrays alive in one step, without and with those of the NTK


@dataclass(frozen=True, repr=False, kw_only=True)
class Corrections(Record):
    """What `lg.corrections` returns: metric and NTK of a layer to first order in 1/n, where n is the `width` of the layer before.

    The preactivations z of layer l, of two different units i and j, at the inputs 1, 2, 3, 4, have the cumulants

        E[z_i1 z_i2] = K_12 + K1_12/n,        E[z_i1 z_i2 z_j3] = M_(12)3/n,
        E[z_i1 z_i2 z_j3 z_j4] - E[z_i1 z_i2] E[z_j3 z_j4] = V_(12)(34)/n,

    up to 1/n^2; V/n is the covariance over networks of the stochastic metric C_b + (C_W/n) sum_j s(z_j1) s(z_j2) (PDLT 4.76).
    With H the NTK, dH its differential, d2z dz dz, and ddI, ddII the second ones, d3z dz dz dz and d2z d2z dz dz, all contracted with
    the rates (units i, j, k, l as indices, then inputs; d_ij = 1 for i = j, else 0),

        E[H_ij12] = d_ij (Theta_12 + Theta1_12/n),      n Cov[z_i1 z_j2, H_kl34] = d_ij d_kl D_1234 + d_ik d_jl F_1324 + d_il d_jk F_1423,
        n Cov[H_ij12, H_kl34] = d_ij d_kl A_(12)(34) + d_ik d_jl B_1324 + d_il d_jk B_1423,
        n E[dH_ijk012 z_l3] = d_il d_jk P_0123 + d_ij d_kl Q_0123 + d_ik d_jl Q_0213,
        n E[ddI_ijkl0123] = d_ij d_kl R_0123 + d_ik d_lj R_0231 + d_il d_jk R_0312,
        n E[ddII_ijkl1234] = d_ij d_kl S_1234 + d_ik d_lj T_1342 + d_il d_jk U_1423,

    indices stored in the order written here. With layer="all" the layers come first. What there is not is None, and `missing` says why.

    Attributes
    ----------
    K, K1 : array (n, n)
        The kernel at infinite width, and its shift, times n.
    V : array (n, n, n, n)
        Fluctuation of the metric, times n.
    M : array (n, n, n)
        The third cumulant, times n.
    error : float
        The estimated relative error of the Gaussian expectations, at the worst layer.
    width : int or tuple of int
        n, or one a layer.
    fluctuation : float or None
        The largest V_(aa)(aa)/(n K_aa^2); trust the expansion while it is small.
    Theta, Theta1 : array (n, n)
        The NTK at infinite width, and its shift, times n.
    D, F, A, B : array (n, n, n, n)
        Covariances of the NTK with the metric and with itself, times n.
    P, Q : array (n, n, n, n)
        The mean of the dNTK with the output, times n.
    R, S, T, U : array (n, n, n, n)
        The means of the ddNTKs, times n.
    missing : dict
        Why a field is None.
    standard_errors : dict
        {name: array} of what was sampled, empty if nothing was.

    References
    ----------
    PDLT 4.76, 8.67, 8.82, 11.45, inf.11, inf.12.
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
    standard_errors: Mapping[str, Any] = field(default_factory=dict)

    def _columns(self) -> Columns:
        axes = ("layer",) * np.ndim(self.width) + ("i", "j")
        means = {name: getattr(self, name) for name in ("K", "K1", "Theta", "Theta1")}
        return grid(axes, **means, **{name: pairs(getattr(self, name)) for name in ("V", "D", "F", "A", "B")})


@exits.finite()
def corrections(net: Any, X: Any, rates: Any = "ntk", layer: int | str | None = None, tensors: Iterable[str] | None = None) -> Corrections:
    """How networks of finite width n differ from infinite width at initialisation, to first order in 1/n.

    The kernel K of a layer and its NTK Theta are averages over networks at infinite width. At width n averages are shifted, by K1/n and
    Theta1/n, and single networks scatter: V/n is the covariance of their kernels, A/n and B/n that of their NTKs, D/n and F/n that of
    the two, M/n a third moment of preactivations; P, Q, R, S, T and U say how the NTK will move in training. `lg.records.Corrections`
    has the definitions. All multiply 1/n_{L-1}, the width of the layer before the one that is reported; widths enter through ratios only.

    K^(1) = C_b + C_W x.x'/n_0, V^(1) = K1^(1) = M^(1) = 0, and then layer by layer, for a plain chain with r = n_l/n_{l-1}, s1 the
    activation at input 1 and <> the mean over z ~ N(0, K),

        V'  = C_W^2 [<s1 s2 s3 s4> - <s1 s2><s3 s4> + r J V J],    (J X)_12 = (1/2) sum_ab <d_a d_b (s1 s2)> X_ab,
        K1' = C_W r [J K1 + (1/8) sum <d_a d_b d_c d_d (s1 s2)> V_(ab)(cd)]

    without an inverse kernel, so that inputs may coincide, and so on for the NTK (docs: corrections in 1/n). How, and how accurate:

    | activations | expectations | how | relative error |
    |---|---|---|---|
    | ReLU family | all | closed form; of four different inputs an integral in one dimension | |
    | smooth | all | lattices | about 1e-9, of four different inputs 1e-7 |
    | smooth, more than 8 inputs | of the NTK's tensors | quasi-random points | r.m.s. below 1e-3 (24 tanh inputs, depth 5) |
    | other kinked | of one or two different inputs | quadrature split at the kinks | 1e-10 |
    | other kinked | of three or four | lines through quasi-random points | below 5e-5 |

    Quasi-random points leave standard errors, over independent sets, relative to the largest entry. One input costs little at any depth;
    for more, time and memory grow as the fourth power of their number.

    What a network lacks:

    - with residual blocks, all of the NTK, whose theory is that of plain chains;
    - a plain chain, M, which is 0;
    - with a kink, the ddNTKs R, S, T and U. In P and Q the second derivative is then that of automatic differentiation, 0 for the ReLU
      family, while the delta functions in derivatives of expectations stay.

    Parameters
    ----------
    net : architecture
        A chain, also of residual blocks.
    X : array (n, features)
        Inputs.
    rates : "ntk" or (lambda_b, lambda_W)
        Of the NTK, as in `lg.kernel`.
    layer : int, str or None
        A number 1..L, a path, or "all"; None for the output.
    tensors : iterable of str, optional
        Names to compute, such as ("V",); default all there are for this network.

    Returns
    -------
    Corrections
        In the dtype of X, computed in float64.

    Raises
    ------
    InputError
        For unknown names, layers, inputs that are not (n, features), too many of them for the memory, traced values.
    UnsupportedError
        For what is no chain, for activations that jump, and for tensors asked for by name that the network has not.

    Warns
    -----
    AccuracyWarning
        For an error above 1e-6, such as by undeclared kinks.

    References
    ----------
    PDLT 4.115-4.119, 8.63-8.97, 11.49 (corrected), 11.52, inf.172-176, inverse-free; B.24 corrected by M for activations that are not odd.

    Examples
    --------
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
    whole, x, layers = network(net), door.points(X), chain(net)
    extras, chosen = resolve(whole, rates), chosen_layer(layer, [path for path, _ in levels(whole)])
    missing = _unavailable(layers)
    wanted = _names(tensors, missing)
    if is_traced(x, whole):
        raise InputError("net, X", "traced values", "concrete ones: grids are chosen by value", "Call it outside jit, grad and vmap.")
    warn_if_unscaled(x)
    _fits(len(x), 1, 1, {"K"})
    unique, back = np.unique(np.asarray(x, np.float64) + 0.0, axis=0, return_inverse=True)  # -0 and 0 are one input
    L, many = len(layers), len(layers) if chosen == "all" else 1
    picked = [*range(L)] if isinstance(chosen, str) else [chosen % L]
    _fits(len(x), len(unique), many, wanted)
    top = max((level for level, names in tangent.TOP.items() if wanted & set(names)), default=0)
    gram = unique @ unique.T / x.shape[1]
    pairs = [(float(extras[layer.path][0]), float(extras[layer.path][1])) for layer in layers]
    training = Training(pairs, pairs[0][0] + pairs[0][1] * gram, top) if top else None
    K1, spread = float(layers[0].C_b) + float(layers[0].C_W) * gram, {}
    if len(unique) == 1:
        line = recur_single(layers, K1[0, 0], x.shape[1], training=training)
        named = {name: _named(line, name)[picked].reshape(-1, *(1,) * order) for name, order in NAMES.items() if name in wanted}
        error = line.error[picked].max()
    elif wanted != {"K"} and _drawn(layers[: picked[-1] + 1], len(unique), training is not None):
        steps = recur_sampled(layers[: picked[-1] + 1], K1, x.shape[1], training, SETS, LATTICES)
        sets = [many for l, many in enumerate(steps) if l in picked]
        drawn = {name: np.stack([[_named(f, name) for f in many] for many in sets], 1) for name in NAMES if name in wanted}
        named, error = {name: values.mean(0) for name, values in drawn.items()}, sets[-1][0].error
        spread = {name: values.std(0, ddof=1) / SETS**0.5 for name, values in drawn.items() if NAMES[name] == 4 or name == "Theta1"}
    else:
        steps = recur(layers[: picked[-1] + 1], K1, x.shape[1], first_order=wanted != {"K"}, training=training)
        found = [level for l, level in enumerate(steps) if l in picked]
        named, error = {name: np.stack([_named(f, name) for f in found]) for name in NAMES if name in wanted}, found[-1].error
    widths = [x.shape[1], *(layer.width for layer in layers)]
    n_before = np.array([widths[l] for l in picked])
    fluctuation = _fluctuation(named["K"], named["V"], n_before) if {"K", "V"} <= wanted else None
    missing |= {name: "not asked for" for name in NAMES if name not in wanted and name not in missing}
    if fluctuation is None:
        missing["fluctuation"] = 'it takes both K and V: tensors=("K", "V")'
    if not any(layers[l].skip for l in picked):
        named.pop("M", None)
        missing["M"] = "zero without a skip connection into the layer"
    warn_if_inaccurate(error, x.dtype, [layer.activation for layer in layers if layer.activation])
    with island(x):

        def handed(name: str, value: np.ndarray) -> Any:
            full = value[np.ix_(np.arange(len(picked)), *[back] * NAMES[name])]
            return jnp.asarray(full if chosen == "all" else full[0], x.dtype)

        out, errors = ({name: handed(name, value) for name, value in some.items()} for some in (named, spread))
        out, errors = hand_back({**out, "error": jnp.asarray(error, x.dtype)}, x), hand_back(errors, x)
    width = tuple(map(int, n_before)) if chosen == "all" else int(n_before[0])
    rest = {"width": width, "fluctuation": fluctuation, "missing": missing, "standard_errors": errors}
    return Corrections(**{**dict.fromkeys(NAMES), **out, **rest})


def _drawn(layers: tuple[Layer, ...], n: int, ntk: bool) -> bool:
    """Whether expectations over `n` different inputs have to be sampled."""
    acts = [layer.activation for layer in layers if layer.activation is not None]
    if any(_bent(phi) for phi in acts):
        return n > 2
    return ntk and n > LATTICES and not any(phi.kinks for phi in acts)


def _bent(phi: Activation) -> bool:
    """Has kinks and no closed form."""
    return bool(phi.kinks) and not isinstance(phi.closed, Homogeneous)


def _named(level: Level, name: str) -> np.ndarray:
    """A tensor of a layer, or of all layers stacked."""
    return np.asarray(getattr(level.tangent if name in NTK else level, name))


def _fits(n: int, different: int, layers: int, wanted: set[str]) -> None:
    """Refuse what does not fit into memory."""
    if wanted == {"K"}:
        return memory.require(8.0 * n * n * (ARRAYS + layers), "X", f"{n} inputs", "Take fewer inputs.")
    four = sum(NAMES[name] == 4 for name in wanted)
    needed = 8.0 * ((MORE_ARRAYS if wanted & set(NTK) else ARRAYS) * different**4 + 2 * four * layers * n**4)
    got = f"{n} inputs, {different} of them different, with {n}^4 entries of a tensor a layer"
    memory.require(needed, "X", got, 'Take fewer inputs, or ask for fewer tensors, such as tensors=("K", "V").')


def _unavailable(layers: tuple[Layer, ...]) -> dict[str, str]:
    """{name: why the network has no such tensor}."""
    skip = next((layer for layer in layers if layer.skip), None)
    if skip is not None:
        return dict.fromkeys(NTK, f"the 1/n theory of the NTK is that of plain chains; {skip.path} has a skip connection")
    acts = [layer.activation for layer in layers if layer.activation is not None]
    bent = next((phi for phi in acts if phi.kinks), None)
    if bent is None:
        return {}
    reason = f"the third derivative of {bent.name} has a delta function at its kink: ddNTKs are those of smooth activations"
    if any(any(phi.jumps(1)) for phi in acts):
        reason = f"ddNTKs need two derivatives; steps of {bent.name} across its kink change the NTK by 1/sqrt(n). Take gelu or swish"
    return dict.fromkeys(tangent.TOP[3], reason)


def _names(tensors: Iterable[str] | None, missing: Mapping[str, str]) -> set[str]:
    """The tensors to compute, checked."""
    if tensors is None:
        return set(NAMES) - set(missing)
    names = set(door.names(tensors, "tensors", tuple(NAMES), '("K", "V")'))
    for name in sorted(names):
        if name in missing:
            raise UnsupportedError(f"the tensor {name}", "", THEORY, missing[name], [n for n in NAMES if n not in missing])
    if not names:
        raise InputError("tensors", "no names", "at least one of " + ", ".join(NAMES))
    return names


def _fluctuation(K: np.ndarray, V: np.ndarray, n: np.ndarray) -> float:
    """The largest V_(aa)(aa)/(n K_aa^2); inputs of zero variance do not fluctuate."""
    q, v = np.diagonal(K, axis1=-2, axis2=-1), np.einsum("laaaa->la", V)
    return float(np.where(q > 0, v / np.where(q > 0, n[:, None] * q**2, 1), 0).max())
