"""`jitted`: as `jax.jit`, but where little is asked of known numbers NumPy does it, since XLA takes seconds to compile."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial, update_wrapper
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from threadpoolctl import ThreadpoolController

from largen.running.evaluate import Form, Meter, TooMuch, evaluated
from largen.running.primitives import Unknown

SHARE = 2.5e5  # numbers for each equation: NumPy computes them in a tenth of the time that XLA takes to compile it
KEPT = 64  # programs of each function


@dataclass(frozen=True)
class _Small:
    """A program in NumPy, the structure of its result, and how many numbers it may compute."""

    form: Form
    tree: Any
    most: float


class Jitted:
    """A function of pytrees of arrays, and of `static` arguments by their places.

    As `jax.jit` of it, except that for known arrays on the host NumPy computes the value, in arrays of NumPy, where that is little work
    beside compiling. Both ways agree to rounding, and which one is taken depends on this call alone: equal calls give equal bits.
    """

    def __init__(self, function: Callable[..., Any], static: tuple[int, ...] = ()):
        update_wrapper(self, function)
        self.function, self.static = function, static
        self.compiled = jax.jit(function, static_argnums=static)
        self._small = lru_cache(maxsize=KEPT)(lambda *a: self._made(*a))

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        given = tuple(a for i, a in enumerate(arguments) if i not in self.static)
        leaves, tree = jax.tree_util.tree_flatten(given)
        if not all(_known(leaf) for leaf in leaves):
            return self.compiled(*arguments)
        shapes = tuple((np.shape(leaf), jnp.result_type(leaf), isinstance(leaf, (int, float))) for leaf in leaves)
        small = self._small(tuple(arguments[i] for i in self.static), tree, shapes, jnp.result_type(float))
        if small is None:
            return self.compiled(*arguments)
        known = [np.asarray(leaf, dtype) for leaf, (_, dtype, _) in zip(leaves, shapes, strict=True)]
        try:
            with np.errstate(all="ignore"), ONE_THREAD:
                found = small.form.run(Meter(small.most), known)
        except TooMuch:
            return self.compiled(*arguments)
        return jax.tree_util.tree_unflatten(small.tree, [np.asarray(value) for value in found])

    @property
    def traced(self) -> int:
        """How many programs have been made so far: one for every new set of shapes, types and static arguments."""
        return self._small.cache_info().misses

    def _made(self, fixed: tuple[Any, ...], tree: Any, shapes: Any, real: Any) -> _Small | None:
        """The program in NumPy; None where it has no such form, or is too much work to begin with. `real`, the type of Python's numbers,
        says whether the float64 flag is on."""

        def flat(*values: Any) -> Any:
            arguments = list(jax.tree_util.tree_unflatten(tree, values))
            for i, value in zip(self.static, fixed, strict=True):
                arguments.insert(i, value)
            return self.function(*arguments)

        kinds = [jax.ShapeDtypeStruct(shape, dtype, weak_type=weak) for shape, dtype, weak in shapes]
        program, out = jax.make_jaxpr(flat, return_shape=True)(*kinds)
        try:
            form = evaluated(program)
        except (Unknown, KeyError):  # KeyError: a version of JAX that says it otherwise
            return None
        most = SHARE * form.equations
        return _Small(form, jax.tree_util.tree_structure(out), most) if form.costs <= most else None


def _known(leaf: Any) -> bool:
    """Whether NumPy can have the numbers of a leaf without waiting for a device."""
    if isinstance(leaf, Tracer):
        return False
    if isinstance(leaf, jax.Array):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):  # random keys
            return False
        return len(leaf.devices()) == 1 and all(device.platform == "cpu" for device in leaf.devices())
    return isinstance(leaf, (np.ndarray, np.generic, bool, int, float))


class _OneThread:
    """A context in which products of matrices take one thread: small ones wait longer for each other's threads than they take. Entered
    by several threads at once it is left by the last of them."""

    def __init__(self) -> None:
        self.lock, self.inside, self.limit = Lock(), 0, None

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.limit = _libraries().limit(limits=1, user_api="blas")

    def __exit__(self, *error: Any) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside and self.limit is not None:
                self.limit.restore_original_limits()


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


ONE_THREAD = _OneThread()


def jitted(static: tuple[int, ...] = ()) -> Callable[[Callable[..., Any]], Jitted]:
    """Decorator: the function as a `Jitted` one."""
    return partial(Jitted, static=static)
