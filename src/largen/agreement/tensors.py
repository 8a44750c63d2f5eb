"""`lg.check(..., what="tensors")`: the 1/n tensors of theory against real networks.

At every width n of the layer before the output the cumulants are measured over networks, given the layers before the output
(`lg.measure.metric`, `lg.measure.tensors`), and multiplied by n: K1 and Theta1 from the means of the metric and of the NTK less those
at infinite width (and less what is regressed on numbers of mean 0), V, D, A from covariances over networks, the others from means. They
are judged along theory and towards the controls, all entries together; the cumulant itself has to fall as 1/n. Means of 1/n
tensors carry 1/n corrections of order L/n times some: keep L small.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from largen import door
from largen.agreement.batches import measured
from largen.agreement.claims import EITHER, ROUNDING, Series, claim
from largen.agreement.contrasts import Contrast, contrast
from largen.agreement.controls import EXCHANGED, HEAVIER, exchanged, heavier
from largen.agreement.records import Entries
from largen.agreement.setting import Setting
from largen.agreement.statistics import limit, mean_and_error
from largen.agreement.widths import require_room
from largen.architecture.chain import chain
from largen.architecture.nodes import Serial
from largen.networks.metric import Metric, metric_of
from largen.networks.patterns import COVARIANCES, PATTERNS, Tensors, tensors
from largen.networks.tensors import deviations, named
from largen.parametrizations.rates import resolve
from largen.theory.corrections.corrections import Corrections, corrections

MEASURED = ("K1", "Theta1", *COVARIANCES, *PATTERNS)


def check_tensors(s: Setting, tensors: Iterable[str]) -> dict[str, Any]:
    """The tensors named, each a claim, with its entries."""
    names = named(s.net, tensors)
    for name in names:
        door.choice(name, "tensors", MEASURED)
    wanted = ("K", *(("Theta",) if "Theta1" in names else ()), *names)
    require_room(s.real.values(), s.X.shape[1:], max(s.networks), 3.0 * len(names) * len(s.X) ** (4 if set(names) - {"K1"} else 2))
    theory = s.answer(lambda net: corrections(net, s.X, s.rates, tensors=wanted), Corrections)
    wrong = {
        HEAVIER: corrections(heavier(s.asked), s.X, s.rates, tensors=wanted),
        EXCHANGED: corrections(s.asked, s.X, exchanged(s.asked, s.rates), tensors=wanted),
    }
    by, unjudged = {}, {}
    for name in names:
        told = np.asarray(getattr(theory, name), float)
        by[name] = contrast(told, {k: np.asarray(getattr(other, name), float) for k, other in wrong.items()}, False) if told.any() else None
        if by[name] is None:
            unjudged[name] = "it is 0 in theory: see the z of its entries"
    size = max(np.abs(np.asarray(getattr(theory, mean))).max() for mean in wanted[: -len(names)])
    found: dict[str, list[Series]] = {name: [] for name in names}
    entries: dict[str, list[Any]] = {name: [] for name in names}
    for (width, net), many, key in zip(s.real.items(), s.networks, s.keys, strict=True):
        n = chain(net)[-2].width
        for name, values in samples(*seen(net, s.X, key, many, s.rates, names), theory, n, names).items():
            mean, error = mean_and_error(values)
            rounding = ROUNDING * (np.abs(mean).max() if name in PATTERNS else n * size)
            entries[name].append((mean, np.hypot(error, rounding)))
            if (of := by[name]) is not None:
                found[name].append(series(of, values, n, rounding))
        s.tell(width)
    judged = [name for name in names if by[name] is not None]
    claims = tuple(claim("tensors", name, None, s.widths, found[name], by[name], EITHER, falling="cumulant") for name in judged)
    apart = {name: entry_by_entry(np.asarray(getattr(theory, name), float), s.widths, *zip(*entries[name], strict=True)) for name in names}
    return {"claims": claims, "unjudged": unjudged, "theory": theory, "entries": apart}


def series(of: Contrast, values: np.ndarray, n: int, rounding: float) -> Series:
    """The scalars of one tensor, and its part along theory without the factor n, which has to vanish as 1/n."""
    along = (values.reshape(len(values), -1) @ of.theory.ravel()) / (of.theory**2).sum()
    return Series((of.values(values),), along / n, rounding / float(np.sqrt((of.theory**2).mean())))


def seen(net: Serial, X: np.ndarray, key: Any, count: int, rates: Any, names: tuple[str, ...]) -> tuple[Metric | None, Tensors | None]:
    """The metric and the tensors of so many independent networks, the same ones; None where no name needs them."""
    first = {"K1", "Theta1", *(("V",) if chain(net)[-1].skip else ())} & set(names)
    more = set(names) - {"K1", *(("V",) if first else ())}
    moments = measured(metric_of, net, X, key, count) if first else None
    return moments, measured(tensors, net, X, key, count, resolve(net, rates), names) if more else None


def samples(found: Metric | None, more: Tensors | None, theory: Corrections, n: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """One number a network whose means are n times the cumulants; covariances over networks without bias."""
    made: dict[str, np.ndarray] = {}
    if more is not None:
        made |= {name: n * value for name, value in deviations(more, names).items()}
        made |= {name: np.asarray(getattr(more, name)) for name in PATTERNS if name in names}
    if found is not None:
        G, controls = np.asarray(found.metric), np.asarray(found.controls)
        own = np.asarray(found.quartic) - np.einsum("kab,kcd->kabcd", G, G)  # 0 in a plain chain
        made["V"] = n * (deviations(Tensors(K=G), ("V",))["V"] + own)
        made["K1"] = n * (steadied(G, controls) - np.asarray(theory.K))
        if more is not None and more.Theta is not None and "Theta1" in names:
            made["Theta1"] = n * (steadied(np.asarray(more.Theta), controls) - np.asarray(theory.Theta))
    return {name: made[name] for name in names}


def steadied(values: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Values less their regression on numbers of mean 0."""
    rest = (values - values.mean(0)).reshape(len(values), -1)
    slopes = np.linalg.lstsq(controls - controls.mean(0), rest, rcond=1e-6)[0]
    return values - (controls @ slopes).reshape(values.shape)


def entry_by_entry(theory: np.ndarray, widths: tuple[int, ...], means: Any, errors: Any) -> Entries:
    """Every entry extrapolated, as claims are; its deviation is relative to the largest entry."""
    m, e, size = np.stack(means), np.stack(errors), max(np.abs(theory).max(), np.abs(means[-1]).max())
    columns = zip(theory.ravel(), m.reshape(len(widths), -1).T, e.reshape(len(widths), -1).T, strict=True)
    fits = [limit(widths, mean, error, EITHER, abs(float(mean[0] - told)) / size, size) for told, mean, error in columns]
    value, error = (np.array([getattr(fit, name) for fit in fits]).reshape(theory.shape) for name in ("intercept", "error"))
    return Entries(theory=theory, value=value, error=error, means=m, errors=e)
