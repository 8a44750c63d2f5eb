"""What a neuron does: the record of an activation function, by name or from any elementwise callable."""

import ast
import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door
from largen.activations.closed import ClosedForm
from largen.errors import InputError, shown
from largen.running.jitted import jitted
from largen.types import float64, island

Elementwise = Callable[[Any], Any]


@dataclass(frozen=True)
class Activation:
    """An elementwise function phi, where it has kinks, and its Gaussian expectations in closed form if known.

    Attributes
    ----------
    name : str
        Its text form (`"leaky_relu(0.1)"`).
    fn : callable
        phi, elementwise, of JAX.
    kinks : tuple of float
        The points where phi or one of its derivatives jumps.
    closed : closed form or None
        Of its dual map; None if expectations go by quadrature.
    registered : bool
        Whether `lg.activation(name)` gives it back (then it prints, serialises and pickles).
    own : bool
        Whether it is a user's own.
    """

    name: str
    fn: Elementwise
    kinks: tuple[float, ...] = ()
    closed: ClosedForm | None = None
    registered: bool = True
    own: bool = False

    def __call__(self, z: Any) -> Any:
        """phi(z), elementwise."""
        return self.fn(z)

    def __repr__(self) -> str:
        return f"lg.activation({self.name!r})" if self.registered else f"<activation {self.name}, not registered>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.registered:
            return activation, (self.name,)
        return Activation, (self.name, self.fn, self.kinks, self.closed, False, self.own)

    def derivative(self, order: int = 1) -> Elementwise:
        """The almost-everywhere derivative of the given order, elementwise."""
        return derivative(self.fn, order)

    def derivatives(self, order: int) -> Callable[[Any], tuple[Any, ...]]:
        """phi and its derivatives up to the given order, elementwise: each made of what the ones before it computed already."""
        return _one_more(self.derivatives(order - 1)) if order else lambda z: (self.fn(z),)

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


def _one_more(lower: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    def higher(z: Any) -> tuple[Any, ...]:
        values, slopes = jax.jvp(lower, (z,), (jnp.ones_like(z),))
        return *values, slopes[-1]

    return higher


@cache
@float64
def _jumps(phi: Activation, order: int) -> tuple[float, ...]:
    if not phi.kinks:
        return ()
    at = np.asarray(phi.kinks)
    step, f = 1e-9 * (1 + np.abs(at)), jitted()(phi.derivative(order))
    jump = np.asarray(f(at + step)) - np.asarray(f(at - step))
    return tuple(float(j) if abs(j) > 1e-6 else 0.0 for j in jump)


LOOKS = (1, 3)  # at places and at the steepest one, at least, before slopes are bounded
BOUNDED = 0.49  # powers of distance that slopes may grow by: their squares have integrals below 1/2
Family = Callable[..., Activation]
LONGEST = 4096  # characters of a name with its numbers: more is no activation, and parsing it takes stack and memory
FAMILIES: dict[str, Family] = {}  # name -> factory taking the parameters in brackets
_INTERNED: dict[str, Activation] = {}  # one object a name, so that equal activations are equal
ALIASES = {"silu": "swish", "identity": "linear"}


def family(factory: Family) -> Family:
    """Register a factory of activations under its function name; its defaults make the name without brackets work."""
    FAMILIES[factory.__name__] = factory
    return factory


def activation(fn: str | Elementwise | Activation, name: str | None = None, kinks: tuple[float, ...] = ()) -> Activation:
    """An activation by name, or from any elementwise JAX function.

    Parameters
    ----------
    fn : str, callable or Activation
        A name (`"relu"`, `"leaky_relu(0.1)"`, `"polynomial(0, 1, 0.5)"`) or an elementwise jnp callable.
    name : str, optional
        Under which a callable is registered for printing and text form (identifier, not taken).
    kinks : tuple of float
        The points where the callable or one of its derivatives jumps: quadrature splits there. Undeclared kinks cost digits, and the
        results that suffer say so by an `AccuracyWarning`.

    Returns
    -------
    Activation
        What every other function takes, as it takes the name.

    Raises
    ------
    InputError
        For an unknown name (the nearest ones are suggested), a name that is taken by another function, a callable that is not elementwise
        or, with its slope, not finite at 0, and kinks that are not finite numbers.

    Examples
    --------
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
        raise InputError("activation", shown(fn), "a name or an elementwise callable")
    places = door.values(list(kinks) if isinstance(kinks, (set, frozenset)) else kinks, "kinks", "finite numbers")
    kinks = tuple(sorted({float(k) for k in places.ravel()}))
    if getattr(fn, "__hash__", None) is None:
        raise InputError("activation", f"a {type(fn).__name__} without a hash", "a callable that can be hashed, such as a function")
    _check(fn, kinks)
    if name is None:
        return Activation(str(getattr(fn, "__name__", type(fn).__name__)), fn, kinks, registered=False, own=True)
    if not (isinstance(name, str) and name.isidentifier() and len(name) <= 100):
        raise InputError("name", shown(name), "a Python identifier of at most 100 characters")
    new = Activation(name, fn, kinks, own=True)
    known = FAMILIES.get(name) or FAMILIES.get(ALIASES.get(name, ""))
    if known is not None:
        if _by_name(name) == new:
            return _by_name(name)
        raise InputError("name", shown(name), "a name that is not taken", "Choose another; registered functions never change.")
    FAMILIES[name] = lambda: new
    return new


@lru_cache(maxsize=256)
def _check(fn: Elementwise, kinks: tuple[float, ...]) -> None:
    """Refuse what is not elementwise, not real, or has no finite NTK."""
    zero = _check_elementwise(fn)
    _check_slope(fn, kinks)
    if not np.isfinite(zero[1]) and 0.0 not in kinks:
        raise _at_zero(f"a callable of slope {zero[1]:.3g} at z = 0")


def _at_zero(got: str, pole: bool = False) -> InputError:
    """The error for a function or slope at 0; a `pole` is not mended by another value at 0 alone."""
    fix = "Round it off, as jnp.sqrt(z**2 + 0.01) does jnp.abs(z)"
    fix += "." if pole else ", or take 0 apart, by jnp.where(z == 0, 1, z) inside as well as outside."
    return InputError("activation", got, "one that is finite with its slope at 0, where inputs may lie", fix)


def _check_elementwise(fn: Elementwise) -> np.ndarray:
    """Value and slope at 0."""
    need = "an elementwise JAX function (jax.numpy inside, output of the input's shape)"
    probe = np.array([[-1.7, -0.3, 0.2], [0.9, 1.1, 2.3]], dtype=np.float32)
    try:
        with jax.ensure_compile_time_eval():
            out = np.asarray(jax.jit(lambda z: fn(z))(probe))
            one = np.asarray(fn(jnp.asarray(probe[:1, 1:2])))
            zero = np.array([fn(jnp.zeros(())), derivative(fn)(jnp.zeros(()))])
    except jax.errors.TracerArrayConversionError as error:
        got = f"a callable that computes with NumPy ({getattr(fn, '__name__', type(fn).__name__)})"
        raise InputError("activation", got, need, "Write jnp.tanh for np.tanh, and so on: `import jax.numpy as jnp`.") from error
    except Exception as error:
        got = f"a callable that failed on an array: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise InputError("activation", got, need) from error
    if not jnp.issubdtype(out.dtype, jnp.floating):
        got = f"a callable that returns {'booleans' if out.dtype == np.bool_ else f'entries of type {out.dtype}'}"
        raise InputError("activation", got, "one that returns real floats", "For a step write jnp.where(z > 0, 1.0, 0.0), with its kinks.")
    if out.shape != probe.shape:
        raise InputError("activation", f"a callable that maps shape {probe.shape} to {out.shape}", need)
    if not np.isfinite(out).all():
        raise InputError("activation", "a callable that returns NaN or infinity between -2 and 2", need)
    if not np.allclose(one[0, 0], out[0, 1], rtol=1e-4, atol=1e-6):
        raise InputError("activation", "a callable whose value at one entry depends on the others", need)
    if not np.isfinite(zero[0]):
        raise _at_zero(f"a callable that returns {zero[0]:.3g} at z = 0", pole=bool(np.isinf(zero[0])))
    return zero


def _check_slope(fn: Elementwise, kinks: tuple[float, ...]) -> None:
    """Refuse a phi whose phi'^2 has no integral: zooms in on where |phi'| is largest, and where it may be singular, and looks how it grows.

    With |phi'| ~ d^-a at a distance d the integral exists for a < 1/2.
    """
    slope = derivative(fn)  # not compiled: the primitives are, once for all functions
    offsets = np.linspace(-1, 1, 201) + 1e-3  # never exactly at a round number
    try:
        with island(), jax.ensure_compile_time_eval():

            def steepest(centre: float, reach: float) -> tuple[float, float]:
                values = np.abs(np.asarray(slope(jnp.asarray(centre + reach * offsets)), np.float64))
                values = np.where(np.isfinite(values), values, 0.0)
                return centre + reach * offsets[int(values.argmax())], float(values.max())

            for start in (None, 0.0, *kinks):
                (at, before), powers = steepest(0.0, 8.0) if start is None else (start, steepest(start, 1e-2)[1]), 0.0
                reaches = 10.0 ** -np.arange(*((1, 12) if start is None else (4, 12) if start else (4, 20)), 2)  # as doubles have digits
                for turn, reach in enumerate(reaches):
                    there, now = steepest(at, reach)
                    at, powers, before = there if start is None else at, np.log(max(now, 1e-300) / max(before, 1e-300)) / np.log(100), now
                    if turn >= LOOKS[start is None] and not (powers > BOUNDED and now > 1e3):  # a phi that is only steep ends to grow
                        break
                if powers > BOUNDED and now > 1e3:
                    got = f"a callable whose slope grows without bound at z = {at:.3g}, so that the mean of phi'(z)^2 is infinite"
                    raise InputError("activation", got, "one with a finite NTK", "Round it off, as jnp.sqrt(z**2 + 0.01) does jnp.abs(z).")
    except InputError:
        raise
    except Exception as error:
        got = f"a callable whose derivative failed: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise InputError("activation", got, "an elementwise JAX function that can be differentiated") from error


def _by_name(text: str) -> Activation:
    """Parse `name` or `name(number, ...)`; the same text gives the same object."""
    if len(text) > LONGEST:
        raise InputError("activation", f"a text of {len(text)} characters", "a name, with numbers in brackets")
    head, bracket, tail = text.strip().partition("(")
    head = ALIASES.get(head.strip(), head.strip())
    if head not in FAMILIES:
        near = difflib.get_close_matches(head.lower(), [*FAMILIES, *ALIASES], n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        raise InputError("activation", shown(text), f"one of {', '.join(sorted(FAMILIES))}", hint)
    try:
        parameters = ast.literal_eval(f"({tail.strip()[:-1]},)") if bracket and tail.strip() != ")" else ()
        if (bracket and not tail.strip().endswith(")")) or not all(type(v) in (int, float) and abs(v) < math.inf for v in parameters):
            raise SyntaxError
        made = _make(head, tuple(parameters))
        return _INTERNED.setdefault(made.name, made)
    except (SyntaxError, TypeError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("activation", shown(text), f"numbers in brackets, as {head} takes them") from error


@cache
def _make(head: str, parameters: tuple[Any, ...]) -> Activation:
    return FAMILIES[head](*parameters)
