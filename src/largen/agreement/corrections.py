"""The 1/n tensors of theory against real networks of several widths: `lg.check_corrections`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.agreement.claims import ROUNDING
from largen.agreement.statistics import Power, extrapolate, mean_and_error, power
from largen.agreement.widths import require_room
from largen.architecture.chain import chain
from largen.architecture.nodes import network
from largen.architecture.presets import widen
from largen.errors import InputError
from largen.networks.ensemble import each
from largen.networks.metric import Metric, metric_of
from largen.networks.parameters import a_key, init
from largen.networks.patterns import COVARIANCES, PATTERNS, Tensors, tensors
from largen.networks.tensors import deviations, named
from largen.scaling.rates import resolve
from largen.theory.corrections.corrections import Corrections, corrections

BATCH = 2.0**27  # bytes of parameters drawn at once
MEASURED = ("K1", "Theta1", *COVARIANCES, *PATTERNS)
BELOW = 0.05  # entries of less than this share of the largest are judged absolutely


@dataclass(frozen=True)
class Extrapolated:
    """One tensor, entry by entry: `theory`, and measured networks extrapolated to infinite width, `value` with its `error` (standard).

    `means`, `errors` (widths, ...): n times the measured cumulant at each width. `power`: that of 1/n with which the cumulant
    falls, along theory, 1 in theory.
    """

    theory: np.ndarray
    value: np.ndarray
    error: np.ndarray
    means: np.ndarray
    errors: np.ndarray
    power: Power

    def z(self, theory: Any = None) -> np.ndarray:
        """Standard errors between the measurement and a theory (default: this one), 0 where both are exact and equal."""
        gap = self.value - (self.theory if theory is None else np.asarray(theory, float))
        return np.where(gap == 0, 0.0, gap / np.where(self.error > 0, self.error, np.finfo(float).tiny))

    def precision(self) -> np.ndarray:
        """The errors relative to the entries of theory; entries below 5 % of the largest count as that much."""
        size = np.abs(self.theory)
        return self.error / np.maximum(size, BELOW * size.max())


@dataclass(frozen=True)
class CorrectionsCheck:
    """What `lg.check_corrections` returns: `widths`, those of the layer before the output; `networks` measured at each; `theory`;
    `tensors`, what was measured, by name."""

    widths: tuple[int, ...]
    networks: tuple[int, ...]
    theory: Corrections
    tensors: Mapping[str, Extrapolated]

    def worst(self, theory: Corrections | None = None) -> dict[str, float]:
        """The largest |z| of every tensor, against a theory (default: this one)."""
        return {name: float(np.abs(t.z(None if theory is None else getattr(theory, name))).max()) for name, t in self.tensors.items()}


@exits.finite()
def check_corrections(
    net: Any,
    X: Any,
    key: Any,
    networks: int | Sequence[int] = 10_000,
    factors: Sequence[int] = (1, 2, 4, 8),
    rates: Any = "ntk",
    tensors: Iterable[str] = ("K1", "V"),
) -> CorrectionsCheck:
    """The 1/n tensors of theory against real networks, entry by entry.

    At every width n the cumulants are measured over networks, given the layers before the output (`lg.measure.metric`,
    `lg.measure.tensors`), and multiplied by n: K1 and Theta1 from the means of the metric and of the NTK less those at infinite width
    (and less what is regressed on numbers of mean 0), V, D, A from covariances over networks, the others from means. A fit in 1/n, or
    in 1/n and 1/n^2, gives their values at infinite width with standard errors. Unit of statistics: the network, in float32.

    Parameters: `net`, the narrowest network, a chain; `X` (n, features); `key`, a JAX random key; `networks`, at each width, one
    number or one per width; `factors`, by which `net` is widened, four or more spanning a factor 8 for a test worth the name;
    `rates` as in `lg.corrections`; `tensors`, names out of K1, Theta1, V, D, A, F, B, P, Q, R, S, T, U.

    Returns a `CorrectionsCheck`, with an `Extrapolated` per tensor. Raises `InputError` for fewer than
    three factors or numbers of networks that do not fit them, unknown names, and as `lg.corrections`.

    Source: PDLT 4.70-4.77, 4.104, 8.67-8.90, 11.45, inf.11-12. Means of 1/n tensors carry 1/n corrections of order L/n times some:
    keep L small.

    >>> import largen as lg, jax, numpy as np
    >>> net = lg.mlp(widths=[8, 12], out=1, activation="tanh", C_W=1.5)
    >>> out = lg.check_corrections(net, np.array([[1.0, 0.0]]), jax.random.key(0), networks=200)
    >>> out.widths, sorted(out.tensors), bool(out.worst()["V"] < 4)
    ((12, 24, 48, 96), ['K1', 'V'], True)
    """
    whole, x, one = network(net), door.points(X), a_key(key)
    names = named(whole, tensors)
    for name in names:
        door.choice(name, "tensors", MEASURED)
    means = ("K", "Theta") if "Theta1" in names else ("K",)
    factors = door.counts(factors, "factors", "whole numbers, such as (1, 2, 4, 8)")
    need = "an integer >= 2, or one per factor"
    many = door.counts([networks] * len(factors) if isinstance(networks, int) else networks, "networks", need, 2)
    if len(factors) < 3 or len(many) != len(factors):
        raise InputError("factors, networks", f"{len(factors)} and {len(many)} of them", "at least three factors, and networks for each")
    wides = {i: widen(whole, factor) for i, factor in enumerate(factors)}
    require_room(wides, x.shape[1:], max(many), 3.0 * len(names) * len(x) ** (4 if set(names) - {"K1"} else 2))
    theory = corrections(whole, np.asarray(x, np.float64), rates, tensors=(*means, *names))
    size, widths = max(np.abs(np.asarray(getattr(theory, mean))).max() for mean in means), []
    found: dict[str, list[Any]] = {name: [] for name in names}
    along: dict[str, list[Any]] = {name: [] for name in names}
    for wide, count, k in zip(wides.values(), many, jax.random.split(one, len(factors)), strict=True):
        n = chain(wide)[-2].width
        samples = _samples(*_measured(wide, x, k, count, rates, names), theory, n, names)
        widths.append(n)
        for name in names:
            mean, error = mean_and_error(samples[name])
            rounding, told = ROUNDING * (np.abs(mean).max() if name in PATTERNS else n * size), np.asarray(getattr(theory, name), float)
            found[name].append((mean, np.hypot(error, rounding)))
            mean, error = mean_and_error((samples[name] * told).reshape(len(samples[name]), -1).sum(1))
            along[name].append((mean / n, np.hypot(error, rounding * np.linalg.norm(told)) / n))
    checks = {}
    for name in names:
        told, law = np.asarray(getattr(theory, name), float), Power(None, None, None, None, "theory is 0")
        if told.any():
            law = power(widths, *np.transpose(along[name])) if len(widths) > 3 else replace(law, missing="fewer than four widths")
        means, errors = map(np.stack, zip(*found[name], strict=True))
        checks[name] = _extrapolated(told, widths, means, errors, law)
    return CorrectionsCheck(tuple(widths), many, theory, checks)


def _measured(net: Any, X: Any, key: Any, count: int, rates: Any, names: tuple[str, ...]) -> tuple[Metric | None, Tensors | None]:
    """The metric and the tensors of so many independent networks, batch by batch, in float64; None where no name needs them."""
    fans = [X.shape[1], *(layer.width for layer in chain(net))]
    size = max(1, min(count, int(BATCH / (8 * sum(a * b + b for a, b in pairwise(fans))))))
    parts, points, chunk = [], jnp.asarray(X, np.float32), max(1, min(size, 4096 // max(fans)))
    size = -(-size // chunk) * chunk  # a rest of another size would be compiled once more
    first = {"K1", "Theta1", *(("V",) if chain(net)[-1].skip else ())} & set(names)
    more = set(names) - {"K1", *(("V",) if first else ())}
    for k in jax.random.split(key, -(-count // size)):
        params = init(net, X.shape[1], k, networks=size, dtype=np.float32)
        moments = each(metric_of, net, params, points, chunk=chunk) if first else None
        rest = each(tensors, net, params, points, resolve(net, rates), names, chunk=chunk) if more else None
        parts.append((moments, rest))
    return jax.tree_util.tree_map(lambda *a: np.concatenate(a).astype(float)[:count], *parts)


def _samples(found: Metric | None, more: Tensors | None, theory: Corrections, n: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """One number a network whose means are n times the cumulants; covariances over networks without bias."""
    made: dict[str, np.ndarray] = {}
    if more is not None:
        made |= {name: n * value for name, value in deviations(more, names).items()}
        made |= {name: np.asarray(getattr(more, name)) for name in PATTERNS if name in names}
    if found is not None:
        G, controls = np.asarray(found.metric), np.asarray(found.controls)
        own = np.asarray(found.quartic) - np.einsum("kab,kcd->kabcd", G, G)  # 0 in a plain chain
        made["V"] = n * (deviations(Tensors(G), ("V",))["V"] + own)
        made["K1"] = n * (_steadied(G, controls) - np.asarray(theory.K))
        if more is not None and more.Theta is not None and "Theta1" in names:
            made["Theta1"] = n * (_steadied(np.asarray(more.Theta), controls) - np.asarray(theory.Theta))
    return made


def _steadied(values: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Values less their regression on numbers of mean 0."""
    rest = (values - values.mean(0)).reshape(len(values), -1)
    slopes = np.linalg.lstsq(controls - controls.mean(0), rest, rcond=1e-6)[0]
    return values - (controls @ slopes).reshape(values.shape)


def _extrapolated(theory: np.ndarray, widths: list[int], means: np.ndarray, errors: np.ndarray, law: Power) -> Extrapolated:
    """Entry by entry the fit in 1/n or in 1/n and 1/n^2 that knows the intercept better, the next order counted as an error: with a the
    change from the narrowest to the widest networks, beyond noise, and s the size of the tensor, a^2/s or a^3/s^2."""
    size, shape = np.abs(means[-1]).max(), np.shape(theory)
    fits = []
    for m, e in zip(means.reshape(len(widths), -1).T, errors.reshape(len(widths), -1).T, strict=True):
        change = np.sqrt(max((m[0] - m[-1]) ** 2 - e[0] ** 2 - e[-1] ** 2, 0.0))
        both = [extrapolate(widths, m, e, tuple(range(1, p + 1)), change * (change / size) ** p) for p in range(1, len(widths) - 1)[:2]]
        fits.append(min(both, key=lambda fit: fit.error))
    value, error = (np.array([getattr(fit, name) for fit in fits]).reshape(shape) for name in ("intercept", "error"))
    return Extrapolated(theory, value, error, means, errors, law)
