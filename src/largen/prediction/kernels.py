"""The kernels that predictions are made of, fetched from theory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from largen.architecture.nodes import Serial
from largen.grams.gram import gram
from largen.grams.operator import lazy
from largen.theory import variances as theory
from largen.theory.kernels import Kernel, kernel
from largen.types import Array, is_traced, namespace

FEW = 128**2  # pairs of all points, plain ones, that one program computes sooner than three are made


def kernels(net: Serial, X: Array, X2: Array | None = None, rates: Any = "ntk", which: str = "both") -> Any:
    """The kernels of all points, or of X with X2: whole, or, of points with positions, whose recursions hold much more than the result,
    by blocks, and then those alone that are asked for. Derivatives need them whole."""
    return kernel(net, X, X2, rates) if _whole(net, X, X2, rates) else gram(net, X, X2, rates, which=which)


def _whole(net: Serial, X: Array, X2: Array | None, rates: Any) -> bool:
    return X.ndim == 2 or is_traced((net, X, X2, rates))


def variances(net: Serial, X: Array) -> tuple[Array, Any]:
    """(K(x, x), its error) of the m points, (m,) and a number, without a matrix of all pairs unless they are traced."""
    if is_traced((net, X)):
        record = kernels(net, X)
        return record.nngp.diagonal(), record.error
    return theory.variances(net, X)


@dataclass(frozen=True)
class Blocks:
    """The kernels of n train and m test points, as far as they are asked for: `train`, those of train points (n, n), a record of arrays;
    `cross`, of test with train points, a record of operators (m, n) whose `error` may grow as they are asked; `own`, given whether
    "full" or the diagonal is wanted, K of test points and its error."""

    train: Any
    cross: Any
    own: Callable[[bool], tuple[Array, Any]]


def computed(net: Serial, X: Array, X_test: Array, rates: Any, which: str) -> Blocks:
    """The blocks from theory: of one matrix where points are few, else each by itself. Those of test with train points that have
    positions are computed where they are asked for."""
    if X.ndim == 2 and (len(X) + len(X_test)) ** 2 <= FEW:
        return _cut(kernel(net, namespace(X, X_test).concatenate([X, X_test]), None, rates), len(X))

    def own(full: bool) -> tuple[Array, Any]:
        if not full:
            return variances(net, X_test)
        record = kernels(net, X_test, which="nngp")
        return record.nngp, record.error

    train = kernels(net, X, None, rates, which)
    if not _whole(net, X, X_test, rates):
        return Blocks(train, lazy(net, X_test, X, rates, which), own)
    cross = kernels(net, X, X_test, rates)
    return Blocks(train, Kernel(nngp=cross.nngp.T, ntk=cross.ntk.T, error=cross.error), own)


def _cut(both: Kernel, n: int) -> Blocks:
    """The blocks of a matrix of n train points and, after them, the test points."""
    A, B = slice(n), slice(n, None)

    def own(full: bool) -> tuple[Array, Any]:
        K = both.nngp[B, B]
        return K if full else K.diagonal(), both.error

    train, cross = (Kernel(nngp=both.nngp[rows, A], ntk=both.ntk[rows, A], error=both.error) for rows in (A, B))
    return Blocks(train, cross, own)
