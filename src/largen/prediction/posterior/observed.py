"""What observed outputs say: their likelihood under a Gaussian prior of covariance G, and its slope in G.

    log N(y; 0, G~) = -(1/2) y.y' - (o/2) log det(2 pi G~),     G~ = G_AA + diag(ridge),   y' = G~^{-1} y,
    d log N/d G_ab = M_ab,     M = (1/2) (y' y'^T - o G~^{-1}),

for o outputs. A network of finite width draws its own G, so a network's weight in the posterior changes by exp(sum M_ab dG_ab):
M is what tilts the prior at order 1/n. Noise is each sample's own, so it stands on the diagonal and is no shift of C_b (PDLT 6.10;
its footnote 6 says otherwise).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from largen import door
from largen.errors import InputError
from largen.prediction import flow
from largen.prediction.factored import Factored, root
from largen.prediction.spectrum import condition, factor
from largen.types import Array, is_traced, island


class BrokenDown(InputError):
    """A covariance to first order in 1/n, K + K1/n, that is none: the expansion has broken down."""


@dataclass(frozen=True)
class Observed:
    """`factored` G~, outputs `y` (n, o); `fit` -(1/2) y.y', `complexity` -(o/2) log det G~ and `constant` -(o n/2) log(2 pi), whose sum is
    `log`; `condition`: what to trust (None if traced)."""

    factored: Factored
    y: Array
    condition: Any

    @cached_property
    def inverse(self) -> Array:
        """G~^{-1}, (n, n)."""
        return self.factored.inverse()

    @cached_property
    def pull(self) -> Array:
        """y' (n, o)."""
        return self.factored.solve(self.y)

    @cached_property
    def tilt(self) -> Array:
        """M = (1/2) (y' y'^T - o G~^{-1}), (n, n)."""
        return (self.pull @ self.pull.T - self.pull.shape[1] * self.inverse) / 2

    @cached_property
    def fit(self) -> Any:
        """-(1/2) y.y'."""
        return -self.factored.quadratic(self.y) / 2

    @cached_property
    def complexity(self) -> Any:
        """-(o/2) log det G~."""
        return -self.y.shape[1] / 2 * self.factored.logdet()

    @property
    def constant(self) -> float:
        """-(o n/2) log(2 pi)."""
        return -self.y.size / 2 * float(np.log(2 * np.pi))

    @property
    def log(self) -> Any:
        """log N(y; 0, G~), summed over outputs."""
        return self.fit + self.complexity + self.constant


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The metric of the outputs at N points over networks of `width` n: mean `K` + `K1`/n, both (N, N), covariance `V`/n (N, N, N, N)."""

    K: Any
    K1: Any
    V: Any
    width: int


def observe(G: Any, y: Any, ridge: Any = 0.0, shifted: bool = False) -> Observed:
    """The `Observed` record of y (n, o) under the prior covariance G (n, n) and `ridge`, a number or one per sample.

    Raises `SingularKernelError` for a singular G~, `InputError` for what is no covariance, `BrokenDown` if G is `shifted`, K + K1/n.
    """
    try:
        f = factor(G, ridge, "K + K1/n" if shifted else "K")
    except InputError as error:
        if not shifted:
            raise
        fix = "The expansion in 1/n has broken down: take order=0, a wider or a shallower network."
        raise BrokenDown(error.argument, error.got, error.need, fix) from error
    return Observed(f, y, condition(f, flow.weights(f, flow.schedule("bayes"))))


def traced(G: Any, y: Any, ridge: Any = 0.0) -> Observed:
    """As `observe`, of traced values: nothing is checked, a singular matrix gives NaN, and there is no condition."""
    return Observed(root(G, ridge), y, None)


def tensors(net: Any, X: Any) -> Metric:
    """The metric of the outputs at the points X (N, features) in float64. Raises as `expansion`."""
    out = expansion(net, X)
    return Metric(K=np.asarray(out.K), K1=np.asarray(out.K1), V=np.asarray(out.V), width=out.width)


def expansion(net: Any, X: Any) -> Any:
    """The `lg.records.Corrections` of the outputs at the points X in float64: K, K1 and V.

    Raises `UnsupportedError` for what is no chain and for a last layer with a skip connection, `InputError` for traced values.
    """
    from largen.theory.corrections.corrections import corrections

    _layers(net)
    if is_traced(net, X):
        need = "concrete values: the tensors of order 1/n are computed on grids chosen by value"
        raise InputError("net, X", "traced values", need, "Call it outside jit, grad and vmap; lg.bayes.evidence(order=1) has a gradient.")
    with island():
        return corrections(net, np.asarray(X, np.float64), tensors=("K", "K1", "V"))


def traced_tensors(net: Any, X: Any) -> Metric:
    """As `tensors`, of traced values, for `jax.grad` and its kin. Raises `UnsupportedError` as `tensors`, and both as `metric`."""
    from largen.theory.corrections.slopes import metric

    layers = _layers(net)
    K, K1, V = metric(layers, X)
    return Metric(K=K, K1=K1, V=V, width=layers[-2].width if len(layers) > 1 else X.shape[1])


def _layers(net: Any) -> Any:
    """The chain, whose outputs are Gaussian given the layers before the last."""
    from largen.architecture.chain import chain
    from largen.errors import UnsupportedError

    *_, last = layers = chain(net)
    if is_traced(last.skip) or float(last.skip):
        reason = "outputs of a layer with a skip connection are not Gaussian given the layers before; end with an affine layer"
        raise UnsupportedError("a last layer with skip", last.path, "the posterior at order 1/n", reason)
    return layers


def groups(net: Any, columns: Any) -> list[Any]:
    """The columns (n, o) that share hidden layers: together if they are outputs of one network, one at a time if the network has one
    output (each column is then a network of its own). `InputError` if the network has another number of outputs."""
    width, o = net.units(None) or 1, columns.shape[1]
    if o not in (1, width) and width != 1:
        raise InputError("y", f"shape {columns.shape}", f"one column per output of the network ({width}), or one output's alone")
    return [columns] if o == width or o == 1 else [columns[:, i : i + 1] for i in range(o)]


def arrays(K: Any, K1: Any, V: Any, n: Any, y: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, np.ndarray]:
    """The checked arguments of a solver at order 1/n, in float64: K, K1 (N, N), V (N, N, N, N), n, y (n_A, o) with n_A <= N."""
    k, k1, v, targets = (door.values(a, name) for a, name in ((K, "K"), (K1, "K1"), (V, "V"), (y, "y")))
    N = len(k) if k.ndim else 0
    if N < 1 or k.shape != (N, N) or k1.shape != (N, N) or v.shape != (N,) * 4:
        raise InputError("K, K1, V", f"shapes {k.shape}, {k1.shape}, {v.shape}", "(N, N), (N, N) and (N, N, N, N)")
    if targets.ndim != 2 or not 1 <= len(targets) <= N or targets.shape[1] < 1:
        raise InputError("y", f"shape {targets.shape}", f"(n, outputs), with 1 <= n <= {N}, for the first n points")
    return k, k1, v, door.count(n, "n"), targets
