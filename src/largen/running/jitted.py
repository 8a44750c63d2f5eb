"""`jitted`: as `jax.jit`, but where little is asked of known numbers NumPy does it, since XLA takes seconds to compile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial, update_wrapper
from importlib.metadata import version
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
_TIMES = ContextVar("times", default=1.0)


@contextmanager
def repeated(times: float) -> Iterator[None]:
    """Programs that run in here are run so many times in all: it is their whole work that decides who does it."""
    token = _TIMES.set(times)
    try:
        yield
    finally:
        _TIMES.reset(token)


@dataclass(frozen=True)
class _Program:
    """A traced program of known arguments, and its form in NumPy: None where it has none, or would be too much work."""

    traced: Any
    form: Form | None

    @cached_property
    def tree(self) -> Any:
        """The structure of the result."""
        return jax.tree_util.tree_structure(self.traced.out_info)

    @cached_property
    def often(self) -> Callable[..., Any]:
        """What the arguments that are not static are given to, compiled to run many times."""
        return self.traced.lower().compile()

    @cached_property
    def once(self) -> Callable[..., Any]:
        """The same, compiled in less time. It is no part of other programs, even where one is being traced, and so may have options of its
        own."""
        return self.traced.lower().compile(compiler_options=_options())


class Jitted:
    """A function of pytrees of arrays, and of `static` arguments by their places.

    As `jax.jit` of it, except that for known arrays on the host NumPy computes the value, in arrays of NumPy, where that is little work
    beside compiling. Both ways agree to rounding, and which one is taken depends on this call alone: equal calls give equal bits.
    """

    def __init__(self, function: Callable[..., Any], static: tuple[int, ...] = ()):
        update_wrapper(self, function)
        self.function, self.static = function, static
        self.compiled = jax.jit(function, static_argnums=static)
        self._programs = lru_cache(maxsize=KEPT)(lambda *a: self._made(*a))

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        given = tuple(a for i, a in enumerate(arguments) if i not in self.static)
        leaves, tree = jax.tree_util.tree_flatten(given)
        numbers: dict[type, Any] = {}  # all of one type are of one kind; deep networks have hundreds
        kinds = tuple(numbers.get(type(leaf)) or _kind(leaf, numbers) for leaf in leaves)
        if None in kinds:
            return self.compiled(*arguments)
        program = self._programs(tuple(arguments[i] for i in self.static), tree, kinds, jnp.result_type(float))
        if program is None:
            return self.compiled(*arguments)
        allowed = 0.0 if program.form is None else SHARE * program.form.equations / _TIMES.get()
        if program.form is not None and program.form.costs <= allowed:
            known = [np.asarray(leaf, kind[1]) for leaf, kind in zip(leaves, kinds, strict=True)]
            try:
                with np.errstate(all="ignore"), ONE_THREAD:
                    found = program.form.run(Meter(allowed), known)
                return jax.tree_util.tree_unflatten(program.tree, [np.asarray(value) for value in found])
            except TooMuch:
                pass
        return (program.once if _TIMES.get() == 1 else program.often)(*given)

    @property
    def traced(self) -> int:
        """How many programs have been made so far: one for every new set of shapes, types and static arguments."""
        return self._programs.cache_info().misses

    def _made(self, fixed: tuple[Any, ...], tree: Any, kinds: Any, real: Any) -> _Program | None:
        """The program; None where it holds values that are being traced. `real`, the type of Python's numbers, says whether the float64
        flag is on."""
        leaves = [jax.ShapeDtypeStruct(shape, dtype, weak_type=weak, sharding=place) for shape, dtype, weak, place in kinds]
        arguments = list(jax.tree_util.tree_unflatten(tree, leaves))
        for i, value in zip(self.static, fixed, strict=True):
            arguments.insert(i, value)
        traced = self.compiled.trace(*arguments)
        if len(traced.jaxpr.jaxpr.invars) != len(leaves):  # more are given to it than what it is called with
            return None
        try:
            form = evaluated(traced.jaxpr)
        except (Unknown, KeyError):  # KeyError: a version of JAX that says it otherwise
            return _Program(traced, None)
        return _Program(traced, form if form.costs <= SHARE * form.equations else None)


def _kind(leaf: Any, numbers: dict[type, Any]) -> Any:
    """(shape, dtype, whether it is a number of Python's, where it has to be) of a leaf, None of one that is not known; of numbers it is
    noted by their type."""
    if not _known(leaf):
        return None
    kind = np.shape(leaf), jnp.result_type(leaf), isinstance(leaf, (int, float)), _place(leaf)
    if isinstance(leaf, (np.generic, bool, int, float)):
        numbers[type(leaf)] = kind
    return kind


def _known(leaf: Any) -> bool:
    """Whether NumPy can have the numbers of a leaf without waiting for a device."""
    if isinstance(leaf, Tracer):
        return False
    if isinstance(leaf, jax.Array):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):  # random keys
            return False
        return len(leaf.devices()) == 1 and all(device.platform == "cpu" for device in leaf.devices())
    return isinstance(leaf, (np.ndarray, np.generic, bool, int, float))


def _place(leaf: Any) -> Any:
    """Where a program has to run for an array that is bound to a device."""
    return leaf.sharding if isinstance(leaf, jax.Array) and leaf.committed else None


@cache
def _options() -> dict[str, Any]:
    """Of the compiler. Its fusion emitters take half as long again, and only sweeps over images run faster by them; from jaxlib 0.11 on
    they have no alternative."""
    return {"xla_cpu_use_fusion_emitters": False} if version("jaxlib").startswith("0.10.") else {}


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
