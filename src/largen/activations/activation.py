"""What a neuron does: the record of an activation function, by name or from any elementwise callable."""

import ast
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen.activations.closed import ClosedForm
from largen.errors import InputError
from largen.types import float64

Elementwise = Callable[[Any], Any]


@dataclass(frozen=True)
class Activation:
    """An elementwise function phi, where it has kinks, and its Gaussian expectations in closed form if known.

    `name` is its text form (`"leaky_relu(0.1)"`); `kinks` are the points where phi or one of its derivatives jumps;
    `closed` is the closed form of its dual map, None if expectations go by quadrature; `registered` says whether
    `lg.activation(name)` gives it back (then it prints, serialises and pickles).
    """

    name: str
    fn: Elementwise
    kinks: tuple[float, ...] = ()
    closed: ClosedForm | None = None
    registered: bool = True

    def __call__(self, z: Any) -> Any:
        """phi(z), elementwise."""
        return self.fn(z)

    def __repr__(self) -> str:
        return f"lg.activation({self.name!r})" if self.registered else f"<activation {self.name}, not registered>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.registered:
            return activation, (self.name,)
        return Activation, (self.name, self.fn, self.kinks, self.closed, False)

    def derivative(self, order: int = 1) -> Elementwise:
        """The almost-everywhere derivative of the given order, elementwise."""
        return derivative(self.fn, order)

    def jumps(self, order: int) -> tuple[float, ...]:
        """The jump of the derivative of the given order (0: phi itself) at each kink."""
        return _jumps(self, order)


def derivative(fn: Elementwise, order: int = 1) -> Elementwise:
    """The derivative of an elementwise function, elementwise, by forward-mode differentiation."""
    for _ in range(order):
        fn = _one_derivative(fn)
    return fn


def _one_derivative(fn: Elementwise) -> Elementwise:
    return lambda z: jax.jvp(fn, (z,), (jnp.ones_like(z),))[1]


@cache
@float64
def _jumps(phi: Activation, order: int) -> tuple[float, ...]:
    with jax.ensure_compile_time_eval():
        at = np.asarray(phi.kinks)
        step = 1e-9 * (1 + np.abs(at))
        f = phi.derivative(order)
        jump = np.asarray(f(jnp.asarray(at + step))) - np.asarray(f(jnp.asarray(at - step)))
    return tuple(float(j) if abs(j) > 1e-6 else 0.0 for j in jump)


Family = Callable[..., Activation]
FAMILIES: dict[str, Family] = {}  # name -> factory taking the parameters in brackets
_INTERNED: dict[str, Activation] = {}  # one object a name, so that equal activations are equal
ALIASES = {"silu": "swish", "identity": "linear"}


def family(factory: Family) -> Family:
    """Register a factory of activations under its function name; its defaults make the name without brackets work."""
    FAMILIES[factory.__name__] = factory
    return factory


def activation(fn: str | Elementwise | Activation, name: str | None = None, kinks: tuple[float, ...] = ()) -> Activation:
    """An activation by name, or from any elementwise JAX function.

    Parameters: `fn`, a name (`"relu"`, `"leaky_relu(0.1)"`, `"polynomial(0, 1, 0.5)"`) or an elementwise jnp callable;
    `name`, under which a callable is registered for printing and text form (identifier, not taken); `kinks`, the points
    where the callable or one of its derivatives jumps: quadrature splits there. Undeclared kinks cost digits, and the
    results that suffer say so by an `AccuracyWarning`.

    Raises `InputError` for an unknown name (the nearest ones are suggested), a name that is taken by another function, a
    callable that is not elementwise, and kinks that are not finite numbers.

    >>> import largen as lg, jax.numpy as jnp
    >>> lg.activation("leaky_relu(0.1)")
    lg.activation('leaky_relu(0.1)')
    >>> lg.activation(lambda z: jnp.maximum(z, 0.5), name="late_relu", kinks=(0.5,))
    lg.activation('late_relu')
    """
    if isinstance(fn, Activation):
        return fn
    if isinstance(fn, str):
        return _by_name(fn)
    if not callable(fn):
        raise InputError("activation", repr(fn), "a name or an elementwise callable")
    kinks = tuple(sorted({_kink(k) for k in (kinks if isinstance(kinks, (tuple, list)) else (kinks,))}))
    _check_elementwise(fn)
    if name is None:
        return Activation(getattr(fn, "__name__", type(fn).__name__), fn, kinks, registered=False)
    if not (isinstance(name, str) and name.isidentifier()):
        raise InputError("name", repr(name), "a Python identifier")
    new = Activation(name, fn, kinks)
    known = FAMILIES.get(name) or FAMILIES.get(ALIASES.get(name, ""))
    if known is not None:
        if _by_name(name) == new:
            return _by_name(name)
        raise InputError("name", repr(name), "a name that is not taken", "Choose another; registered functions never change.")
    FAMILIES[name] = lambda: new
    return new


def _kink(value: Any) -> float:
    try:
        out = float(value)
    except (TypeError, ValueError) as error:
        raise InputError("kinks", repr(value), "finite numbers") from error
    if not np.isfinite(out):
        raise InputError("kinks", repr(value), "finite numbers")
    return out


def _check_elementwise(fn: Elementwise) -> None:
    need = "an elementwise JAX function (jax.numpy inside, output of the input's shape)"
    probe = np.array([[-1.7, -0.3, 0.2], [0.9, 1.1, 2.3]], dtype=np.float32)
    try:
        out = np.asarray(jax.jit(fn)(probe))
        one = np.asarray(fn(jnp.asarray(probe[:1, 1:2])))
    except Exception as error:
        raise InputError(
            "activation", f"a callable that failed on an array: {type(error).__name__}: {str(error).splitlines()[0]}", need
        ) from error
    if out.shape != probe.shape:
        raise InputError("activation", f"a callable that maps shape {probe.shape} to {out.shape}", need)
    if not np.isfinite(out).all():
        raise InputError("activation", "a callable that returns NaN or infinity between -2 and 2", need)
    if not np.allclose(one[0, 0], out[0, 1], rtol=1e-4, atol=1e-6):
        raise InputError("activation", "a callable whose value at one entry depends on the others", need)


def _by_name(text: str) -> Activation:
    """Parse `name` or `name(number, ...)`; the same text gives the same object."""
    head, bracket, tail = text.strip().partition("(")
    head = ALIASES.get(head.strip(), head.strip())
    if head not in FAMILIES:
        near = difflib.get_close_matches(head, [*FAMILIES, *ALIASES], n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        raise InputError("activation", repr(text), f"one of {', '.join(sorted(FAMILIES))}", hint)
    try:
        parameters = ast.literal_eval(f"({tail.strip()[:-1]},)") if bracket and tail.strip() != ")" else ()
        if bracket and not tail.strip().endswith(")"):
            raise SyntaxError
        made = _make(head, tuple(parameters))
        return _INTERNED.setdefault(made.name, made)
    except (SyntaxError, TypeError) as error:
        raise InputError("activation", repr(text), f"numbers in brackets, as {head} takes them") from error


@cache
def _make(head: str, parameters: tuple[Any, ...]) -> Activation:
    return FAMILIES[head](*parameters)
