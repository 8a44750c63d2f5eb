r"""Is this network critical, how deep does it reach at this width, what to change: from signal propagation, in numbers and words.

How deep at this width is for `lg.how_deep` to say; here are the lengths behind it, xi_q, over which sizes settle, and xi_c, over which
correlations do, and where this network stands.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.activations.activation import Activation
from largen.activations.critical import Critical, critical
from largen.architecture.branches import Sum
from largen.architecture.chain import chain
from largen.architecture.nodes import network
from largen.architecture.norms import LayerNorm
from largen.architecture.paths import everything
from largen.errors import InputError
from largen.questions.criticality import is_critical
from largen.questions.depth import TOLERANCE, TRAINABLE, how_deep, own_scatter
from largen.theory.signal.fixed_points import fixed_points
from largen.theory.signal.signal import signal


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a report says about depth. `layers`: affine layers, or levels; `chi_par`, `chi_perp`: per level, mean over the points;
    `gradient`: of the first level; `phase`, `xi_q`, `xi_c`: where deep layers of the last hyperparameters settle (None: not a plain
    chain, or infinite); `trainable`: 6 xi_c; `scatter`: V/(n K^2) of the outputs, and the `width` of the first hidden layer at which
    that is a tenth; `critical`: whether the hidden layers are at a critical point, None where there is none; `recommended` (C_b,
    C_W); `sentences`: all of it in words, the advice last."""

    layers: int
    chi_par: tuple[float, ...]
    chi_perp: tuple[float, ...]
    gradient: float
    phase: str | None = None
    xi_q: float | None = None
    xi_c: float | None = None
    trainable: float | None = None
    scatter: float | None = None
    width: int | None = None
    critical: bool | None = None
    recommended: tuple[float, float] | None = None
    sentences: tuple[str, ...]


def reach(net: Any, X: Any) -> Reach:
    """The depth of a network against its activation, hyperparameters and width, on inputs X. Raises as `lg.signal` does."""
    whole = network(net)
    found = signal(whole, X)
    par, perp = (tuple(float(v) for v in np.asarray(chi, float).mean(1)) for chi in (found.chi_par, found.chi_perp))
    gradient, levels = float(np.asarray(found.gradient, float)[0].mean()), len(found.q)
    parts = [part for _, part in everything(whole)]
    if any(isinstance(part, (Sum, LayerNorm)) for part in parts):
        words = (
            _travel(levels, par, perp, gradient),
            "Depth scales are given for plain chains; this network has branches or normalisation.",
        )
        return Reach(layers=levels, chi_par=par, chi_perp=perp, gradient=gradient, sentences=words)
    layers = chain(whole)
    kinds = {layer.activation for layer in layers[1:]}
    if len(kinds) != 1 or len(layers) < 2:
        words = (_travel(levels, par, perp, gradient),)
        return Reach(layers=levels, chi_par=par, chi_perp=perp, gradient=gradient, sentences=words)
    phi = next(iter(kinds))
    assert isinstance(phi, Activation)
    point = critical(phi)
    hidden = layers[1:-1] or layers[1:]
    settled = fixed_points(phi, hidden[-1].C_W, hidden[-1].C_b)
    uniform = all((layer.C_W, layer.C_b) == (hidden[-1].C_W, hidden[-1].C_b) for layer in hidden)
    at = is_critical(layers)
    xi_q, xi_c = (_finite(v) for v in (settled.xi_q, settled.xi_c)) if uniform and not at else (None, None)
    trainable = None if xi_c is None else TRAINABLE * xi_c
    phase = "critical" if at else settled.phase if uniform else None
    recommended = None if point.C_W is None or point.C_b is None else (point.C_b, point.C_W)
    words = [_travel(levels, par, perp, gradient), _where(phi.name, phase, xi_q, xi_c)]
    scatter, width, deep = None, None, None
    try:
        deep = how_deep(whole, X=X)
        scatter = own_scatter(layers, X)
        width = max(1, math.ceil(scatter * layers[0].width / TOLERANCE * (1 - 1e-9)))
        within = deep.depth is None or len(layers) <= deep.depth
        stands = "is within that reach" if within else "is beyond it"
        words += [
            *deep.sentences,
            f"This network, {len(layers)} layers deep, {stands}: its sizes scatter by {100 * scatter:.2g} %; "
            f"{width:,} units in the first hidden layer would make it {100 * TOLERANCE:.0f} %.",
        ]
    except InputError as error:  # sizes beyond what moments resolve
        words.append(f"How deep at this width is not known: {error}")
    deeper = deep is not None and deep.depth is not None and len(layers) <= deep.depth
    words.append(_advice(point, at, deeper))
    return Reach(
        layers=levels,
        chi_par=par,
        chi_perp=perp,
        gradient=gradient,
        phase=phase,
        xi_q=xi_q,
        xi_c=xi_c,
        trainable=trainable,
        scatter=scatter,
        width=width,
        critical=at,
        recommended=recommended,
        sentences=tuple(w for w in words if w),
    )


def _finite(values: np.ndarray) -> float | None:
    return float(values[0]) if len(values) and np.isfinite(values[0]) else None


def _travel(levels: int, par: tuple[float, ...], perp: tuple[float, ...], gradient: float) -> str:
    if not perp:
        return "One layer: nothing travels through depth."
    change = "keep their size" if 0.5 < gradient < 2 else f"{'shrink' if gradient < 1 else 'grow'} by a factor {gradient**0.5:.2g}"
    return (
        f"From layer to layer the square of a small difference between inputs is multiplied by χ⊥ = {_span(perp)}, a change of size by "
        f"χ∥ = {_span(par)}. Through all {levels} layers gradients {change} at infinite width."
    )


def _span(values: tuple[float, ...]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _where(name: str, phase: str | None, xi_q: float | None, xi_c: float | None) -> str:
    if phase == "critical":
        return f"The hidden layers are at a critical point of {name}: no length limits depth at infinite width, only powers of it."
    if phase == "divergent":
        return f"Sizes grow without end at these hyperparameters of {name}."
    if phase is None or xi_c is None:
        return ""
    fate = "all inputs become one" if phase == "ordered" else "close inputs are torn apart"
    scales = f"correlations within ξ_c = {xi_c:.3g} layers" + (f", sizes within ξ_q = {xi_q:.3g}" if xi_q is not None else "")
    return f"These hyperparameters of {name} are in the {phase} phase: {fate}; {scales}."


def _advice(point: Critical, at: bool | None, within: bool) -> str:
    name = point.activation.name
    if at is None:
        return f"{name} has no critical point: {point.reason}"
    if at:
        return "Nothing to change in the initialisation."
    target = f"C_W = {point.C_W:.6g}, C_b = {point.C_b:.6g}" + (
        f" and a first layer that starts at K = {point.K_star:.4g}" if point.K_star else ""
    )
    urge = "Change it to go deeper" if within else "Change it"
    return f'{urge}: the critical point of {name} is {target}, which C = "critical" sets.'
