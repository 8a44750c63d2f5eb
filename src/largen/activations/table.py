"""The named activations: formula, kinks, closed form. phi' is the almost-everywhere derivative (sign' = 0)."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import erf as _erf

from largen.activations import closed
from largen.activations.activation import Activation, Elementwise, activation, family
from largen.activations.closed import ClosedForm, Homogeneous, Step
from largen.errors import InputError, shown

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
HERMITE_MAX = 30


def _fixed(name: str, fn: Elementwise, kinks: tuple[float, ...] = (), form: ClosedForm | None = None) -> None:
    made = Activation(name, fn, kinks, form)

    def factory() -> Activation:
        return made

    factory.__name__ = name
    family(factory)


def _gelu(z: jax.Array) -> jax.Array:
    return z * jax.scipy.special.ndtr(z)


def _gelu_tanh(z: jax.Array) -> jax.Array:
    return 0.5 * z * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


_fixed("linear", lambda z: z, form=closed.linear)
_fixed("relu", lambda z: jnp.maximum(z, 0), (0.0,), Homogeneous(1.0, 0.0))
_fixed("abs", jnp.abs, (0.0,), Homogeneous(1.0, -1.0))
_fixed("sign", jnp.sign, (0.0,), Step())
_fixed("tanh", jnp.tanh)
_fixed("sin", jnp.sin, form=closed.sin)
_fixed("cos", jnp.cos, form=closed.cos)
_fixed("erf", _erf, form=closed.erf)
_fixed("gelu", _gelu, form=closed.gelu)
_fixed("gelu_tanh", _gelu_tanh)
_fixed("swish", jax.nn.silu)
_fixed("sigmoid", jax.nn.sigmoid)
_fixed("softplus", jax.nn.softplus)
_fixed("elu", lambda z: jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0))), (0.0,))
_fixed("selu", lambda z: SELU_SCALE * jnp.where(z > 0, z, SELU_ALPHA * jnp.expm1(jnp.minimum(z, 0))), (0.0,))
_fixed("mish", lambda z: z * jnp.tanh(jax.nn.softplus(z)))
_fixed("arctan", jnp.arctan)
_fixed("softsign", lambda z: z / (1 + jnp.abs(z)), (0.0,))
_fixed("hardtanh", lambda z: jnp.clip(z, -1, 1), (-1.0, 1.0))
_fixed("exp", jnp.exp, form=closed.exp)
_fixed("gabor", lambda z: jnp.exp(-z * z) * jnp.sin(z), form=closed.gabor)


def _degree(p: object, name: str, low: int, high: int = HERMITE_MAX) -> int:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or int(p) != p or not low <= p <= high:
        raise InputError(f"{name}(p)", shown(p), f"an integer from {low} to {high}")
    return int(p)


def _finite(values: tuple[float, ...], name: str) -> tuple[float, ...]:
    for v in values:
        if isinstance(v, bool) or not isinstance(v, (int, float)) or not math.isfinite(v):
            raise InputError(name, shown(v), "finite numbers")
    return tuple(float(v) for v in values)


@family
def leaky_relu(a: float = 0.01) -> Activation:
    """z above 0, a z below."""
    (slope,) = _finite((a,), "leaky_relu(a)")
    return Activation(f"leaky_relu({slope!r})", lambda z: jnp.where(z > 0, z, slope * z), (0.0,), Homogeneous(1.0, slope))


@family
def monomial(p: int = 1) -> Activation:
    """z^p."""
    degree = _degree(p, "monomial", 0)
    return Activation(f"monomial({degree})", lambda z: z**degree, (), closed.polynomial((0.0,) * degree + (1.0,)))


@family
def quadratic() -> Activation:
    """z^2, the same value as monomial(2)."""
    return activation("monomial(2)")


@family
def polynomial(*coefficients: float) -> Activation:
    """c0 + c1 z + c2 z^2 + ..."""
    if not coefficients:
        raise InputError("polynomial(c0, c1, ...)", "no coefficients", "at least one finite number")
    c = _finite(coefficients, "polynomial(c0, c1, ...)")
    text = ", ".join(repr(v) for v in c)

    def fn(z: jax.Array) -> jax.Array:
        total = jnp.zeros_like(z)
        for v in reversed(c):
            total = total * z + v
        return total

    return Activation(f"polynomial({text})", fn, (), closed.polynomial(c))


@family
def rectified_monomial(p: int = 1) -> Activation:
    """z^p above 0, 0 below (p >= 1)."""
    degree = _degree(p, "rectified_monomial", 1)
    form = Homogeneous(1.0, 0.0) if degree == 1 else closed.rectified(degree)
    return Activation(f"rectified_monomial({degree})", lambda z: jnp.where(z > 0, z, 0) ** degree, (0.0,), form)


@family
def hermite(k: int = 1) -> Activation:
    """The normalised probabilists' Hermite polynomial He_k(z)/sqrt(k!), orthonormal under N(0, 1)."""
    degree = _degree(k, "hermite", 0)
    previous, current = [0.0], [1.0]
    for m in range(degree):  # sqrt(m+1) h_{m+1} = z h_m - sqrt(m) h_{m-1}
        shifted = [0.0, *current]
        lower = [*previous, *([0.0] * (len(shifted) - len(previous)))]
        previous, current = current, [(s - math.sqrt(m) * b) / math.sqrt(m + 1) for s, b in zip(shifted, lower, strict=True)]
    return Activation(f"hermite({degree})", polynomial(*current).fn, (), closed.hermite((0.0,) * degree + (1.0,)))


@family
def gaussian(a: float = 1.0, b: float = 1.0) -> Activation:
    """a exp(-b z^2), b > 0."""
    size, rate = _finite((a, b), "gaussian(a, b)")
    if rate <= 0:
        raise InputError("gaussian(a, b)", f"b = {b!r}", "b > 0")
    name = "gaussian" if (size, rate) == (1.0, 1.0) else f"gaussian({size!r}, {rate!r})"
    return Activation(name, lambda z: size * jnp.exp(-rate * z * z), (), closed.gaussian(size, rate))


@family
def exp_normalized(gamma: float = 1.0) -> Activation:
    """exp(-gamma/2) sum_k sqrt(gamma^k/k!) h_k(z), h_k the normalised Hermite polynomials: on units of variance 1, as after a
    normalisation, its kernel is exp(gamma (c - 1)), c the cosine (Shankar et al. 2020). 0 < gamma <= 4."""
    (g,) = _finite((gamma,), "exp_normalized(gamma)")
    if not 0 < g <= 4:
        raise InputError("exp_normalized(gamma)", shown(gamma), "a number in (0, 4]")
    weights, k = [math.exp(-g / 2)], 0
    while weights[-1] > 1e-9 or k < g:  # squares of the rest are below 1e-18
        k += 1
        weights.append(weights[-1] * math.sqrt(g / k))

    def fn(z: jax.Array) -> jax.Array:
        before, now, total = jnp.zeros_like(z), jnp.ones_like(z), weights[0] * jnp.ones_like(z)
        for m, w in enumerate(weights[1:]):
            before, now = now, (z * now - math.sqrt(m) * before) / math.sqrt(m + 1)
            total = total + w * now
        return total

    return Activation(f"exp_normalized({g!r})", fn, (), closed.hermite(weights))


@family
def rbf(gamma: float = 1.0) -> Activation:
    """sqrt(2) sin(sqrt(2 gamma) z + pi/4): its kernel is exp(-gamma E(z1 - z2)^2) (Rahimi and Recht's features)."""
    (g,) = _finite((gamma,), "rbf(gamma)")
    if g <= 0:
        raise InputError("rbf(gamma)", shown(gamma), "a number > 0")
    return Activation(
        f"rbf({g!r})",
        lambda z: math.sqrt(2) * jnp.sin(math.sqrt(2 * g) * z + math.pi / 4),
        (),
        closed.rbf(g),
    )
