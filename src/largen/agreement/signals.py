"""`lg.check(..., what="signal")`: sizes, correlations, susceptibilities and gradients of theory against real networks.

With 16 outputs if the network has fewer, which changes no mean. In each network the inputs are perturbed infinitesimally, along themselves
and orthogonally (`lg.measure.perturbations`), and outputs are differentiated with respect to levels (`lg.measure.gradient_norms`):

    K = E mean z^2,    c = E mean z_a z_b / sqrt(K_a K_b),    gradient = E sum_j (dz^(L)_i/dz^(l)_j)^2,
    chi_par = E R^(l+1) / E R^(l),  R = 2 mean z t_along,    chi_perp = E D^(l+1) / E D^(l),  D = mean t_orthogonal^2.

Ratios are ratios of means over networks, never means of ratios, which heavy tails would spoil; their errors are those of the jackknife.
K, chi and gradient are in units in which theory is 1; c as it is, and so is, in units of the largest chi, a chi that vanishes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from largen.agreement.batches import measured
from largen.agreement.claims import Series, claim
from largen.agreement.contrasts import Contrast, contrast
from largen.agreement.controls import HEAVIER, SHIFTED, SWAPPED, heavier
from largen.agreement.setting import Setting
from largen.agreement.statistics import jackknife
from largen.agreement.widths import require_room
from largen.architecture.levels import last_affine, levels
from largen.architecture.mapping import with_outputs
from largen.architecture.nodes import Dense, Serial
from largen.errors import InputError
from largen.networks.gradients import norms
from largen.networks.outputs import in_order, layers
from largen.networks.perturb import orthogonal, perturbations_of
from largen.theory.signal.signal import Signal, signal
from largen.types import Array

OUTPUTS = 16  # as many as are measured: more outputs are more draws of the same law
FAINT = 0.05  # share of the size below which a change of size is lost in the noise


def check_signal(s: Setting) -> dict[str, Any]:
    """Every quantity of every level, as a vector over points (c: over pairs); chi of level l leads to level l + 1."""
    if s.X.shape[1] < 2 or not (s.X**2).sum(1).all():
        raise InputError(
            "X", "points that are 0, or with one feature", "points with a size that can change, and a direction orthogonal to it"
        )
    L = len(levels(s.net))
    require_room(s.real.values(), s.X.shape[1:], sum(s.networks), 3.0 * L * len(s.X) ** 2)
    theory = s.answer(lambda net: signal(net, s.X), Signal)
    if theory.q.shape != (L, len(s.X)):
        raise InputError("theory", f"{len(theory.q)} levels", f"as many as the network has, {L}, at the same points")
    by, unjudged = forecast(s.net, theory, signal(heavier(s.asked), s.X))
    found = []
    for (n, net), many, key in zip(s.real.items(), s.networks, s.keys, strict=True):
        found.append(series(seen(net, s.X, key, many), by))
        s.tell(n)
    claims = tuple(claim("signal", *name, s.widths, [at[name] for at in found], by[name]) for name in by)
    return {"claims": claims, "unjudged": unjudged, "theory": theory}


def forecast(net: Serial, right: Signal, wrong: Signal) -> tuple[dict[tuple[str, int], Contrast], dict[str, str]]:
    """The contrasts by (name, level), and what cannot be measured, with the reason."""
    upper, L = np.triu_indices(right.q.shape[1], 1), len(right.q)
    K, c = right.q**2, right.c[:, *upper]
    swapped = np.cumprod(np.concatenate([right.chi_par, np.ones_like(K[:1])])[::-1], 0)[::-1]
    largest = max(float(np.sqrt((chi**2).mean(1)).max()) for chi in (right.chi_par, right.chi_perp))
    rows: list[tuple[str, int, Any, dict[str, Any], float | None]] = []
    rows += [("K", l, K[l], {HEAVIER: wrong.q[l] ** 2}, None) for l in range(L)]
    if len(upper[0]):
        off = [*c[1:], c[-2]]
        rows += [("c", l, c[l], {HEAVIER: wrong.c[l][upper], SHIFTED: off[l]}, 1.0) for l in range(L)]
    for name, other in (("chi_par", "chi_perp"), ("chi_perp", "chi_par")):
        for l, T in enumerate(getattr(right, name)):
            unit = None if np.sqrt((T**2).mean()) > FAINT * largest else largest
            rows.append((name, l, T, {HEAVIER: getattr(wrong, name)[l], SWAPPED: getattr(right, other)[l]}, unit))
    rows += [("gradient", l, right.gradient[l], {HEAVIER: wrong.gradient[l], SWAPPED: swapped[l]}, None) for l in range(L - 1)]
    reached = {name: np.cumprod(np.concatenate([K[:1], getattr(right, name)]), 0) / K for name in ("chi_par", "chi_perp")}
    ends = ends_of(net)
    by: dict[tuple[str, int], Contrast] = {}
    missing: dict[str, str] = {}
    for name, l, T, controls, unit in rows:
        if not np.isfinite(T).all() or (unit is None and not T.any()) or unit == 0:
            missing[f"{name} {l + 1}"] = "it is 0 in theory, or not defined"
        elif name == "gradient" and ends[l] is None:
            missing[f"{name} {l + 1}"] = "no affine layer ends the level"
        elif name in reached and np.abs(reached[name][l]).min() < (FAINT if name == "chi_par" else np.finfo(np.float32).tiny):
            missing[f"{name} {l + 1}"] = "next to nothing of a perturbation of the inputs arrives at the level"
        else:
            by[name, l + 1] = contrast(T, controls, False, unit)
    return by, missing


class Look(NamedTuple):
    """What is measured in every network: second moments (networks, L, n, n), the two perturbations (networks, L, n), squared
    gradients, mean over outputs (networks, L - 1, n), NaN where no affine layer ends the level."""

    moments: Array
    along: Array
    across: Array
    gradients: Array


def ends_of(net: Serial) -> tuple[tuple[str, float] | None, ...]:
    """For every level the affine layer that ends it, with its weight."""
    return tuple(last_affine(stage[-1], path) for path, stage in levels(net))


def _look(net: Serial, params: Any, X: Any, across: Any, *, ends: Any) -> Look:
    """The pure core: what is measured in one network."""
    z = in_order(net, layers(net, params, X)).values()
    moved, lengths = perturbations_of(net, params, X, across), norms(net, params, X)
    gradients = [jnp.full(len(X), jnp.nan) if end is None else ((lengths[end[0]] / end[1]) ** 2).mean(1) for end in ends[:-1]]
    return Look(jnp.stack([a @ a.T / a.shape[1] for a in z]), moved.parallel, moved.perpendicular, jnp.stack(gradients))


def seen(net: Serial, X: np.ndarray, key: Any, networks: int) -> Look:
    """So many independent networks."""
    last = net.nodes[-1]
    if isinstance(last, Dense) and last.width < OUTPUTS:
        net = with_outputs(net, OUTPUTS)
    direction, own = jax.random.split(key)
    points = jnp.asarray(X, np.float32)
    return measured(_look, net, points, own, networks, orthogonal(direction, points), ends=ends_of(net))


def series(seen: Look, by: dict[tuple[str, int], Contrast]) -> dict[tuple[str, int], Series]:
    """The scalars of every contrast, one row a network."""
    a, b = np.triu_indices(seen.moments.shape[-1], 1)
    found: dict[tuple[str, int], Series] = {}
    for (name, level), of in by.items():
        l = level - 1
        if name == "K":
            values = np.diagonal(seen.moments[:, l], axis1=1, axis2=2)
        elif name == "c":
            M = seen.moments[:, l]
            values = jackknife(lambda k, p, q: k / np.sqrt(p * q), M[:, a, b], M[:, a, a], M[:, b, b])
        elif name == "gradient":
            values = np.asarray(seen.gradients[:, l])
        else:
            moved = seen.along if name == "chi_par" else seen.across
            values = jackknife(np.divide, moved[:, l + 1], moved[:, l])
        found[name, level] = Series((of.values(values),))
    return found
