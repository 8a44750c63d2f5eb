"""Sizes, correlations, susceptibilities and gradients of theory against real networks of several widths: `lg.check_signal`.

Ratios, such as chi_perp = E D_(l+1) / E D_l with D_l the squared length of a perturbation per unit of level l, are ratios of means over
networks, never means of ratios, which heavy tails would spoil; their errors are those of the jackknife.
"""

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.agreement.claims import Claim, Series, claim
from largen.agreement.contrasts import Contrast, contrast
from largen.agreement.forecast import HEAVIER
from largen.agreement.statistics import jackknife
from largen.agreement.table import Judged, verdict_of
from largen.agreement.widths import require_room, widened
from largen.architecture.levels import last_affine, levels
from largen.architecture.mapping import heavier, with_outputs
from largen.architecture.nodes import Dense, Serial, network
from largen.errors import InputError
from largen.networks.ensemble import each
from largen.networks.gradients import norms
from largen.networks.outputs import in_order, layers
from largen.networks.parameters import a_key, blanks, init
from largen.networks.perturb import orthogonal, perturbations_of
from largen.theory.signal.signal import Signal, signal
from largen.types import Array

BATCH = 2.0**27  # bytes of parameters drawn at once
OUTPUTS = 16  # as many as are measured: more outputs are more draws of the same law
FAINT = 0.05  # share of the size below which a change of size is lost in the noise
SWAPPED, SHIFTED = "chi_par and chi_perp swapped", "one level off"


@dataclass(frozen=True, repr=False)
class SignalCheck(Judged):
    """What `lg.check_signal` returns; it prints as a table.

    `claims`: one `Claim` per quantity, "K", "c", "chi_par", "chi_perp", "gradient", and level, as a vector over points (c: over pairs);
    chi of level l leads to level l + 1. `missing`: quantities of levels that could not be judged, with the reason. `verdict`:
    "disagrees" if a claim does, else "undecided" if one is, else "agrees"; `widths` (of the first layer), `networks` per width;
    `theory`: the `Signal` of `lg.signal`; `net`: the network as code, at the smallest width; `seconds` taken.
    """

    claims: tuple[Claim, ...]
    missing: dict[str, str]
    verdict: str
    widths: tuple[int, ...]
    networks: int
    theory: Signal
    net: str
    seconds: float

    def __repr__(self) -> str:
        head = f"Signals of theory against real networks of widths {', '.join(map(str, self.widths))}: {' '.join(self.net.split())}"
        setting = f"{self.networks} networks per width, {self.theory.q.shape[1]} points"
        return self.table([head, setting], [f"{name} was not judged: {reason}." for name, reason in self.missing.items()])


@exits.finite()
def check_signal(net: Any, X: Any, widths: Sequence[int] = (8, 16, 32, 64), networks: int = 10_000, key: Any = None) -> SignalCheck:
    r"""Hold `lg.signal` against real networks: size, correlations, chi_par, chi_perp and gradient of every level.

    Networks are drawn at each of `widths` (of the first layer; the others in proportion), with 16 outputs if `net` has fewer, which
    changes no mean. In each, the inputs are perturbed infinitesimally, along themselves and orthogonally (`lg.measure.perturbations`), and
    outputs are differentiated with respect to levels (`lg.measure.gradient_norms_ensemble`). With means over networks,

        K = E mean z^2,    c = E mean z_a z_b / sqrt(K_a K_b),    gradient = E sum_j (dz^(L)_i/dz^(l)_j)^2,
        chi_par = E R^(l+1) / E R^(l),  R = 2 mean z t_along,    chi_perp = E D^(l+1) / E D^(l),  D = mean t_orthogonal^2,

    are projected onto theory (a vector over points, or pairs for c) and extrapolated by m(n) = a + b/n + c/n^2, the next order
    counting as an error, as in `lg.check`. A claim agrees if a is within 4 standard errors of theory, also towards every control,
    and known to 3 %, if a deviation, where it can be seen, falls as 1/n, and if the controls that differ from theory are refused at
    more than 6 standard errors: C_W + 10 %; chi_par and chi_perp swapped (in the gradient too); for c, theory of the next level.
    K, chi and gradient are in units in which theory is 1; c as it is, and so is, in units of the largest chi, a chi that vanishes.

    Parameters: `net`, any network of `lg.signal` with a hidden layer; `X` (n, features), a few points, none 0, features >= 2; `networks`
    per width; `key`, a JAX random key (default `jax.random.key(0)`). float32 networks. Returns a `SignalCheck`; `.needed` says how many
    networks would decide what is undecided. Raises `InputError` for fewer than four widths or less than a factor of 8 between them,
    widths not in proportion, no hidden layer, a point that is 0, one feature; and as `lg.signal`.

    Source: PDLT 5.46-5.51, 5.54.

    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[8, 8], out=1, activation="tanh", C_W=1.5, C_b=0.1)
    >>> result = lg.check_signal(net, np.array([[1.0, 0.5], [-0.3, 1.2]]), networks=100)
    >>> [f"{claim.name} {claim.layer}" for claim in result.claims if claim.name in ("K", "chi_par")]
    ['K 1', 'K 2', 'K 3', 'chi_par 1', 'chi_par 2']
    """
    began = clock.perf_counter()
    whole, x = network(net), door.host(door.points(X), "X")
    many, root = door.count(networks, "networks", low=20), a_key(jax.random.key(0) if key is None else key)
    if x.shape[1] < 2 or not (x**2).sum(1).all():
        raise InputError(
            "X", "points that are 0, or with one feature", "points with a size that can change, and a direction orthogonal to it"
        )
    real = widened(whole, widths)
    require_room(real, x.shape[1:], len(real) * many, 3.0 * len(real) * len(x) ** 2)
    theory = signal(whole, x)
    by, missing = _forecast(whole, theory, signal(heavier(whole, 1.1), x))
    found = [_series(_measured(w, x, jax.random.fold_in(root, n), many), by) for n, w in real.items()]
    claims = tuple(claim(*name, tuple(real), [at[name] for at in found], by[name]) for name in by)
    code = repr(next(iter(real.values())))
    return SignalCheck(claims, missing, verdict_of(claims), tuple(real), many, theory, code, clock.perf_counter() - began)


def _forecast(net: Serial, right: Signal, wrong: Signal) -> tuple[dict[tuple[str, int], Contrast], dict[str, str]]:
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
    ends = _ends(net)
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


def _ends(net: Serial) -> tuple[tuple[str, float] | None, ...]:
    """For every level the affine layer that ends it, with its weight."""
    return tuple(last_affine(stage[-1], path) for path, stage in levels(net))


def _look(net: Serial, params: Any, X: Any, across: Any, *, ends: Any) -> Look:
    """The pure core: what is measured in one network."""
    z = in_order(net, layers(net, params, X)).values()
    moved, lengths = perturbations_of(net, params, X, across), norms(net, params, X)
    gradients = [jnp.full(len(X), jnp.nan) if end is None else ((lengths[end[0]] / end[1]) ** 2).mean(1) for end in ends[:-1]]
    return Look(jnp.stack([a @ a.T / a.shape[1] for a in z]), moved.parallel, moved.perpendicular, jnp.stack(gradients))


def _measured(net: Serial, X: np.ndarray, key: Any, count: int) -> Look:
    """The look of so many independent networks, batch by batch."""
    last = net.nodes[-1]
    if isinstance(last, Dense) and last.width < OUTPUTS:
        net = with_outputs(net, OUTPUTS)
    total = sum(int(np.prod(blank.shape)) for entry in blanks(net, X.shape[1:])[1].values() for blank in entry.values())
    batches = -(-count // max(1, int(BATCH / (4 * total))))
    size = -(-count // batches)
    direction, *keys = jax.random.split(key, batches + 1)
    points = jnp.asarray(X, np.float32)
    operands, parts = (points, orthogonal(direction, points)), []
    for k in keys:
        params = init(net, X.shape[1], k, networks=size, dtype=np.float32)
        parts.append(each(_look, net, params, operands, static=(("ends", _ends(net)),)))
    return jax.tree_util.tree_map(lambda *a: np.concatenate(a)[:count].astype(float), *parts)


def _series(seen: Look, by: dict[tuple[str, int], Contrast]) -> dict[tuple[str, int], Series]:
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
