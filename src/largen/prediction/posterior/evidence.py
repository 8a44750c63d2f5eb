"""`lg.bayes.evidence`: how probable a network, with its hyperparameters, makes the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.architecture.nodes import Serial, network
from largen.border import bordered
from largen.display import Record
from largen.errors import InputError, SingularKernelError
from largen.prediction import memory
from largen.prediction.kernels import kernels
from largen.prediction.posterior.bayes import evidence_shift
from largen.prediction.posterior.observed import BrokenDown, groups, observe, tensors, traced, traced_tensors
from largen.prediction.spectrum import Condition, ridges
from largen.running.jitted import jitted
from largen.types import Array, float64, is_traced, island, namespace

UNDEFINED = (SingularKernelError, BrokenDown)  # there is no evidence here, whatever there is elsewhere
UNKNOWN = {"condition": "unknown under tracing", "spread": "unknown under tracing"}


@dataclass(frozen=True, repr=False, kw_only=True)
class Evidence(Record):
    """What `lg.bayes.evidence` returns: `log` = `fit` + `complexity` + `constant` + `finite_width`, summed over the outputs.

    Attributes
    ----------
    log : float
        The log evidence.
    fit : float
        -(1/2) sum y.K~^{-1} y, how well the data agree with the prior.
    complexity : float
        -(o/2) log det K~, what it costs to allow for many functions.
    constant : float
        -(o n/2) log(2 pi).
    finite_width : float
        What order 1/n adds to these three, 0 at order=0.
    order : int
        In 1/n.
    spread : float or None
        Variance over networks of the log likelihood to first order, (1/n) M V M; trust order 1 where it is well below 1.
    condition : Condition or None
        What to trust.
    missing : dict
        Why a field is None.
    """

    log: Any
    fit: Any
    complexity: Any
    constant: float
    finite_width: Any
    order: int
    spread: float | None
    condition: Condition | None
    missing: Mapping[str, str] = field(default_factory=dict)

    _table = ("", "log fit complexity constant finite_width order spread")


@exits.finite()
def evidence(net: Any, X: Any, y: Any, ridge: Any = 0.0, order: int = 0) -> Evidence:
    """The log marginal likelihood log p(y | X, net) of targets under the prior over networks, `.log`, and what it is made of.

    - Order 0, infinite width (PDLT 6.34): -(1/2) sum y.K~^{-1} y - (o/2) log det(2 pi K~), K~ = K + diag(ridge), summed over the o outputs.
    - Order 1 (derived here, checked by reweighting): log N(y; 0, G~) + (1/n) sum V_(ab)(cd) [(1/2) M_ab M_cd - (1/2) G~^{-1}_bc S_ad
      + (o/4) G~^{-1}_bc G~^{-1}_da], G = K + K{1}/n, S = y' y'^T, y' = G~^{-1} y, M = (1/2)(S - o G~^{-1}): the log of the likelihood's
      mean over networks of width n.

    The difference of two log evidences is the log of a Bayes factor (6.30). `.log` is differentiable in C_W, C_b, ridge, y and X
    (`jax.grad`, whatever the x64 flag); order 1 inside `jax.enable_x64(True)`, once, and outside jit and vmap (its lattices are chosen by
    value), for smooth activations and the ReLU family.

    Parameters
    ----------
    net : architecture
        The network whose prior is asked; at order 1 a chain.
    X : array (n, features) or (n, *positions, channels)
        Points; the result has their dtype (float32 at least).
    y : array (n,) or (n, o)
        Targets: the outputs of one network, or, for a network with one output, of one network a column.
    ridge : float or array (n,)
        The noise variance, which stands on the diagonal.
    order : int
        0 or 1, the order in 1/n.

    Returns
    -------
    Evidence
        `.log` and its parts, numbers.

    Raises
    ------
    InputError
        For bad arrays, integer labels, another number of outputs than the network's, for order 1 without derivatives and where K + K1/n is
        no covariance (traced values give NaN).
    SingularKernelError
        For a singular K~: drop duplicates, or give a ridge (traced values give NaN).
    UnsupportedError
        At order 1, as `lg.corrections` does.

    References
    ----------
    PDLT 6.30, 6.34.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> X, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, -1.0])
    >>> net = lg.mlp(widths=[100], activation="relu", C_W=2.0)
    >>> [round(float(lg.bayes.evidence(net, X, y, ridge=0.1, order=order).log), 3) for order in (0, 1)]
    [-3.169, -3.2]
    >>> parts = lg.bayes.evidence(lg.mlp(widths=[8], activation="relu", C_W=2.0), np.eye(2), y)
    >>> [round(float(part), 4) for part in (parts.fit, parts.complexity, parts.constant, parts.log)]
    [-1.4669, 0.0534, -1.8379, -3.2514]
    """
    net, X = network(net), door.inputs(X)
    y, ridge = door.targets(y, len(X)), ridges(ridge, len(X))
    order = door.order(order)
    if order and is_traced(net, X, y, ridge) and jnp.result_type(float) != np.float64:
        need = "float64 around the whole derivative, since it is taken after this function has returned"
        raise InputError("order", "1 of traced values in float32", need, "Call jax.grad inside `with jax.enable_x64(True):`.")
    needed = memory.kernel_prediction(net, X.shape[1:], len(X), 0, 0, jnp.promote_types(X.dtype, np.float32).itemsize)
    memory.require(needed, "X", f"{len(X)} points", "Take fewer points, or float32.")
    return _evidence(net, X, y, ridge, order)


def defined_log(net: Any, X: Any, y: Any, ridge: Any, order: int) -> float:
    """The log evidence, -inf where it is not defined: a singular kernel, or order 1 broken down."""
    try:
        return float(evidence(net, X, y, ridge, order).log)
    except UNDEFINED:
        return -np.inf


@bordered("X")
def _evidence(net: Serial, X: Array, y: Array, ridge: Any, order: int) -> Evidence:
    with island(X):
        xp = namespace(X, y, ridge)
        X, columns = (xp.asarray(a, dtype=jnp.promote_types(X.dtype, np.float32)) for a in (X, y.reshape(len(X), -1)))
        together = groups(net, columns)
        if not order:
            return _infinite(net, X, columns, ridge)
        return (_traced_first_order if is_traced(net, X, y, ridge) else _first_order)(net, X, together, ridge)


def _infinite(net: Serial, X: Array, y: Array, ridge: Any) -> Evidence:
    K = kernels(net, X, which="nngp").nngp
    unknown = is_traced(K, y, ridge)
    seen = (traced if unknown else observe)(K, y, ridge)
    return Evidence(
        log=seen.log,
        fit=seen.fit,
        complexity=seen.complexity,
        constant=seen.constant,
        finite_width=0.0,
        order=0,
        spread=None,
        condition=seen.condition,
        missing=(UNKNOWN if unknown else {}) | {"spread": "order=0"},
    )


def _first_order(net: Serial, X: Array, together: list[Array], ridge: Any) -> Evidence:
    known = tensors(net, X)
    K, K1, V, n = known.K, known.K1, known.V, known.width
    xp, dtype, total = namespace(X), X.dtype, np.zeros(4)
    for group in together:
        y = np.asarray(group, np.float64)
        start, seen = observe(K, y, ridge), observe(K + K1 / n, y, ridge, shifted=True)
        spread = np.einsum("ab,abcd,cd->", seen.tilt, V, seen.tilt, optimize=True) / n
        finite = seen.log - start.log + evidence_shift(V, n, seen)
        total += start.fit, start.complexity, finite, spread
        constant, condition = start.constant * len(together), seen.condition
    fit, complexity, finite = (xp.asarray(v, dtype=dtype)[()] for v in total[:3])
    return Evidence(
        log=fit + complexity + constant + finite,
        fit=fit,
        complexity=complexity,
        constant=constant,
        finite_width=finite,
        order=1,
        spread=float(total[3]),
        condition=condition,
    )


@float64
def _traced_first_order(net: Serial, X: Array, together: list[Array], ridge: Any) -> Evidence:
    known = traced_tensors(net, X) if is_traced(net, X) else tensors(net, X)
    K, K1, V, n = known.K, known.K1, known.V, known.width
    fit, complexity, finite = (part.astype(X.dtype) for part in _parts(K, K1, V, n, together, ridge))
    constant = -sum(y.size for y in together) / 2 * float(np.log(2 * np.pi))
    return Evidence(
        log=fit + complexity + constant + finite,
        fit=fit,
        complexity=complexity,
        constant=constant,
        finite_width=finite,
        order=1,
        spread=None,
        condition=None,
        missing=UNKNOWN,
    )


@jitted()
def _parts(K: Any, K1: Any, V: Any, n: Any, together: list[Array], ridge: Any) -> tuple[Any, Any, Any]:
    """fit, complexity and what order 1/n adds."""
    total: Any = 0.0
    for y in together:
        start, seen = traced(K, y, ridge), traced(K + K1 / n, y, ridge)
        total += jnp.stack([start.fit, start.complexity, seen.log - start.log + evidence_shift(V, n, seen)])
    return tuple(total)
