"""What a theory of infinite width is given: a network, points and rates, checked once, and what is done around any work on them."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.activations.activation import Activation
from largen.activations.doubt import SMALLER, doubt, infinite
from largen.activations.reach import growth
from largen.architecture.branches import settled
from largen.architecture.nodes import Act, Serial, network
from largen.architecture.paths import everything
from largen.architecture.spatial import outputs_of
from largen.architecture.walk import needed
from largen.data import warn_if_unscaled
from largen.errors import AccuracyWarning, InputError, warn
from largen.parametrizations.rates import resolve
from largen.theory import held, positions
from largen.theory.gaussian_units import check_gaussian
from largen.theory.rules import KERNELS
from largen.types import Array, hand_back, is_traced, island, numbers

STEEP = 8  # powers of z that activations grow like, above which float32 is not enough to compute in
SMALL = 1e-2  # |x|^2/n_0 below which, and above whose inverse, float32 is not enough to compute in
T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class Given:
    """A network, points `X` (n1, ...) and `X2` (n2, ...) or None for X again, `rates` {path: (lambda_b, lambda_W)}, all fitting each
    other; the `dtype` of results; the `name` of the points in errors."""

    net: Serial
    X: Array
    X2: Array | None
    rates: dict[str, tuple[Any, Any]]
    dtype: Any
    name: str = "X"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one point."""
        return self.X.shape[1:]

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of points."""
        return len(self.X), len(self.X if self.X2 is None else self.X2)

    @cached_property
    def layout(self) -> str | None:
        """The positions that kernels need."""
        return needed(self.net, KERNELS)

    @cached_property
    def work(self) -> np.dtype:
        """What to compute in: at least float32, and float64 for points so large or small, and activations so steep, that kernels depend
        on more digits of norms than float32 has."""
        work = np.promote_types(self.dtype, np.float32)
        if work == np.float64 or is_traced(self.X, self.X2, self.net, self.rates):
            return work
        if any(growth(phi) > STEEP for phi in activations(self.net)):
            return np.dtype(np.float64)
        with np.errstate(over="ignore"):
            squares = [np.asarray((X.reshape(len(X), -1) ** 2).mean(1)) for X in (self.X, self.X2) if X is not None]
        sizes = np.concatenate([q[q > 0] for q in squares])
        return np.dtype(np.float64) if ((sizes < SMALL) | (sizes > 1 / SMALL)).any() else work

    def require(self, layers: int = 1) -> None:
        """Refuse kernels, of so many layers, that do not fit into memory."""
        held.require(self.net, self.shape, *self.sizes, self.work.itemsize, self.layout == positions.PAIRS, layers, self.name)

    def island(self) -> AbstractContextManager[Any]:
        """Where to compute."""
        return island(np.zeros((), self.work))

    def numbers(self) -> tuple[Serial, Any]:
        """The network, settled on the points, and the rates, as numbers to compute with."""
        return numbers((settled(self.net, self.shape), self.rates), self.work)

    def answer(self, compute: Callable[[Serial, Any], T]) -> T:
        """The record `compute(net, rates)`, in the dtype of results. Warns of points of another scale, and if its `error` is large."""
        warn_if_unscaled(self.X)
        with self.island():
            out: Any = jax.tree_util.tree_map(lambda a: a.astype(self.dtype), compute(*self.numbers()))
        self.warn(out.error)
        return hand_back(out, self.X, self.X2)

    def warn(self, error: Any) -> None:
        """Say so if the error of expectations is large."""
        warn_if_inaccurate(error, self.work, activations(self.net))


def given(
    net: Any,
    X: Any,
    X2: Any = None,
    rates: Any = "ntk",
    names: tuple[str, str] = ("X", "X2"),
    points: Callable[..., Array] = door.inputs,
) -> Given:
    """The arguments of a function of infinite width, called by `names`, checked: `points` is the door that X goes through. Raises
    `InputError` for what does not fit, `UnsupportedError` where kernels would not be those of the network."""
    whole, one = network(net), points(X, names[0])
    two = None if X2 is None else points(X2, names[1], one.shape[1:], names[0])
    extras = resolve(whole, rates)
    check_gaussian(whole)
    outputs_of(whole, one.shape[1:], names[0])
    dtype = np.dtype(one.dtype if two is None else jnp.promote_types(one.dtype, two.dtype))
    return Given(net=whole, X=one, X2=two, rates=extras, dtype=dtype, name=", ".join(names[: 1 if two is None else 2]))


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
