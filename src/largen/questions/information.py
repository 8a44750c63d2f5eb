r"""Entropy and information of the units of one layer over random networks, in nats.

At infinite width units are independent Gaussians. At finite width they share the random variance Ghat of `lg.exact.metric_chain`: given
it, m units are N(0, Ghat 1_m), so that all about them is one radial integral of a scale mixture,

    p(z) = E[(2 pi Ghat)^(-m/2) exp(-|z|^2/(2 Ghat))],   S(m) = -E log p,   I(m1, m2) = S(m1) + S(m2) - S(m1 + m2),
    I3 = sum S(m_i) - sum S(m_i + m_j) + S(m1 + m2 + m3)     (positive: redundant; negative: synergistic),

exact for a given law of Ghat, here the empirical one of a sample. To order 1/n^3, with k = V/(n K^2) (PDLT A.66, A.67, A.75),

    S(m) = (m/2) log(2 pi e K) - (m^2 + 2m) k^2/16 + (m^3 + 10m^2 + 16m) k^3/48,
    I(m1, m2) = m1 m2 k^2/8 - m1 m2 (20 + 3m1 + 3m2) k^3/48,      I3 = m1 m2 m3 k^3/8.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from largen import door, exits, memory
from largen.architecture.chain import plain
from largen.architecture.levels import levels
from largen.architecture.nodes import network
from largen.display import Columns, Record
from largen.errors import InputError, shown
from largen.theory.corrections.corrections import corrections
from largen.theory.exact.metric import metric_chain
from largen.theory.kernels import chosen_layer, kernel

STEP = 0.1  # of log |z| in the trapezoidal rule, whose error is exp(-2 pi 0.7/STEP)
NATS = 40.0  # what lies below exp(-NATS) of the density is left out
DEAD = "the signal is exactly 0 in some networks, so that there is no density"


@dataclass(frozen=True, repr=False, kw_only=True)
class Amounts(Record):
    """Entropies and information of groups of units, in nats.

    Attributes
    ----------
    entropy : array (groups + 1,)
        Of each group, then of all together, -inf for a singular kernel (the same input twice).
    mutual : float
        Between the first two groups.
    tripartite : float or None
        Of three, None for fewer.
    entropy_se, mutual_se, tripartite_se : array, float or None
        Their standard errors, None where it is no sample.
    missing : dict
        Why a field is None.
    """

    entropy: np.ndarray
    mutual: float
    tripartite: float | None
    entropy_se: np.ndarray | None = None
    mutual_se: float | None = None
    tripartite_se: float | None = None

    _table = ("group", "entropy entropy_se")

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        reasons = dict.fromkeys(("entropy_se", "mutual_se", "tripartite_se"), "it is no sample")
        if self.tripartite is None:
            reasons |= {"tripartite": "there are two groups", "tripartite_se": "there are two groups"}
        return {name: why for name, why in reasons.items() if getattr(self, name) is None}


@dataclass(frozen=True, repr=False, kw_only=True)
class Information(Record):
    """What `lg.analysis.information` returns, for groups of `units` of one layer, over random networks.

    Attributes
    ----------
    units : tuple of int
        As given.
    infinite : Amounts
        At infinite width.
    series : Amounts or None
        To order 1/n^3; for one input.
    sampled : Amounts or None
        Exact up to the sampling error; for one input, with a key, and where no signal is exactly 0.
    k : float or None
        V/(n K^2) to leading order, in which the series runs: trust it while (20 + 3 m1 + 3 m2) k/6 is small.
    inputs : float or None
        Nats that one unit's values at all inputs share, (1/2) log(prod K_aa/det K), at infinite width, infinite for the same input twice;
        None for one input, and where a signal is exactly 0.
    missing : dict
        Why a field is None.
    """

    units: tuple[int, ...]
    infinite: Amounts
    series: Amounts | None
    sampled: Amounts | None
    k: float | None
    inputs: float | None
    missing: dict[str, str] = field(default_factory=dict)

    def _columns(self) -> Columns:
        kinds = {name: getattr(self, name) for name in ("infinite", "series", "sampled") if getattr(self, name) is not None}
        names = ("mutual", "mutual_se", "tripartite", "tripartite_se")
        return {"how": [*kinds], **{name: [getattr(amounts, name) for amounts in kinds.values()] for name in names}}


@exits.finite("entropy", "inputs")
def information(
    net: Any, X: Any, units: Sequence[int] = (1, 1), layer: int | str | None = None, key: Any = None, draws: int = 20000
) -> Information:
    """Entropy, mutual and tripartite information of units of one layer of a random network: what they know of each other.

    At infinite width units are independent. At finite width they share the random variance Ghat of `lg.exact.metric_chain`; to order 1/n^3,
    with k = V/(n K^2),

        S(m) = (m/2) log(2 pi e K) - (m^2 + 2m) k^2/16 + (m^3 + 10m^2 + 16m) k^3/48,
        I(m1, m2) = m1 m2 k^2/8 - m1 m2 (20 + 3m1 + 3m2) k^3/48,      I3 = m1 m2 m3 k^3/8.

    At a critical point information grows with depth without end; the series turns over at `lg.analysis.optimal_aspect_ratio`.

    Parameters
    ----------
    net : architecture
        A plain chain.
    X : array (n, features)
        Inputs; one input for everything at finite width.
    units : sequence of int
        Sizes of two or three groups of different units.
    layer : int, str or None
        A number 1..L or a path; None for the output.
    key : JAX random key, optional
        For `.sampled`; None: no sample.
    draws : int
        Of the metric. The plug-in bias of the sample, of order 1/draws, is taken off, and standard errors are by linearisation.

    Returns
    -------
    Information
        An `Amounts` for each way to know, in nats.

    Raises
    ------
    InputError
        For unusable units, layers or keys.
    UnsupportedError
        For networks that are no plain chain.

    References
    ----------
    PDLT A.26, A.28, A.66, A.67, A.75; the exact law is ours.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[80], out=2, activation="linear")
    >>> out = lg.analysis.information(net, np.ones((1, 3)))
    >>> out.k, round(out.series.mutual * 1e5, 4), out.infinite.mutual  # exact: 7.0923e-5
    (0.025, 6.9661, 0.0)
    >>> two = lg.analysis.information(net, np.array([[1.0, 0.0], [0.6, 0.8]]))
    >>> round(two.inputs, 6)  # -(1/2) log(1 - 0.6^2)
    0.223144
    """
    whole, x = network(net), door.host(door.points(X), "X")
    layers = plain(whole, "the information of units")
    groups, draws = _groups(units), door.count(draws, "draws")
    at = chosen_layer(layer, [path for path, _ in levels(whole)])
    if isinstance(at, str):
        raise InputError("layer", shown(layer), "one layer: None, a number or a path")
    at %= len(layers)
    if sum(groups) > layers[at].width:
        raise InputError("units", f"{sum(groups)} units", f"at most the {layers[at].width} units of the layer")
    missing: dict[str, str] = {}
    series = sampled = k = None
    if len(x) > 1:
        K = np.asarray(kernel(whole, x, layer=at + 1).nngp)
        missing |= dict.fromkeys(("series", "sampled", "k"), "known for one input")
    else:
        first = corrections(whole, x, layer=at + 1, tensors=("K", "V", "K1"))
        K, k = np.asarray(first.K), float(first.fluctuation or 0.0)
        metric = float(K[0, 0] + first.K1[0, 0] / first.width)
        series = _series(metric, k, groups)
        missing |= {"inputs": "there is one input"}
        if key is None:
            missing |= {"sampled": "no key was given"}
        else:
            nodes = (NATS / min(groups) + math.log(2 * NATS)) / STEP  # at least, in `of_mixture`
            memory.require(24.0 * door.count(draws, "draws") * nodes, "draws", f"{draws:,} draws of the metric", "Ask for fewer draws.")
            G = np.asarray(metric_chain(whole, x, key, draws))[:, at, 0, 0]
            alive = bool((G > 0).all())
            sampled = of_mixture(G, groups) if alive else None
            missing |= {} if alive else {"sampled": DEAD}
    dark = len(x) > 1 and not (np.diagonal(K) > 0).all()
    missing |= {"inputs": "the signal of an input is exactly 0: it has no density"} if dark else {}
    inputs = None if len(x) == 1 or dark else _shared(K)
    return Information(units=groups, infinite=_infinite(K, groups), series=series, sampled=sampled, k=k, inputs=inputs, missing=missing)


def _groups(units: Any) -> tuple[int, ...]:
    need = "the sizes of two or three groups, such as (1, 1)"
    groups = door.counts(units, "units", need)
    if len(groups) not in (2, 3):
        raise InputError("units", shown(units), need)
    return groups


def _infinite(K: np.ndarray, groups: tuple[int, ...]) -> Amounts:
    """(m/2) log |2 pi e K| (A.26); no information between units."""
    sign, log = np.linalg.slogdet(2 * math.pi * math.e * K)
    one = log / 2 if sign > 0 else -math.inf
    sizes = np.array([*groups, sum(groups)])
    return Amounts(entropy=sizes * one, mutual=0.0, tripartite=0.0 if len(groups) == 3 else None)


def _shared(K: np.ndarray) -> float:
    """(1/2) log(prod K_aa/det K) (A.28 for two inputs)."""
    size = np.sqrt(np.diagonal(K))
    sign, log = np.linalg.slogdet(K / np.outer(size, size))
    return float(-log / 2) if sign > 0 else math.inf


def _series(G: float, k: float, groups: tuple[int, ...]) -> Amounts:
    m = np.array([*groups, sum(groups)], float)
    with np.errstate(divide="ignore"):
        entropy = m / 2 * np.log(2 * math.pi * math.e * G) - (m**2 + 2 * m) / 16 * k**2 + (m**3 + 10 * m**2 + 16 * m) / 48 * k**3
    a, b = groups[:2]
    mutual = a * b / 8 * k**2 - a * b * (20 + 3 * a + 3 * b) / 48 * k**3
    return Amounts(entropy=entropy, mutual=mutual, tripartite=math.prod(groups) / 8 * k**3 if len(groups) == 3 else None)


def of_mixture(G: np.ndarray, groups: tuple[int, ...], weights: np.ndarray | None = None) -> Amounts:
    """The amounts of units N(0, Ghat 1), Ghat drawn from the positive numbers G. With `weights` (adding up to 1) G is the law
    itself, not a sample: no errors, no bias."""
    subsets = [c for r in range(1, len(groups) + 1) for c in itertools.combinations(range(len(groups)), r)]
    sizes = sorted({sum(groups[i] for i in c) for c in subsets})
    found = dict(zip(sizes, _entropies(G, sizes, weights), strict=True))  # of m units: value, influence of every draw

    def combined(terms: list[tuple[int, int]]) -> tuple[float, float | None]:
        value = sum(sign * found[m][0] for sign, m in terms)
        spread = None if weights is not None else float(np.std(sum(sign * found[m][1] for sign, m in terms))) / math.sqrt(len(G))
        return value, spread

    entropy, errors = zip(*(combined([(1, m)]) for m in (*groups, sum(groups))), strict=True)
    a, b = groups[:2]
    mutual, mutual_se = combined([(1, a), (1, b), (-1, a + b)])
    three, three_se = None, None
    if len(groups) == 3:
        three, three_se = combined([((-1) ** (len(c) + 1), sum(groups[i] for i in c)) for c in subsets])
    return Amounts(
        entropy=np.array(entropy),
        mutual=mutual,
        tripartite=three,
        entropy_se=None if weights is not None else np.array(errors),
        mutual_se=mutual_se,
        tripartite_se=three_se,
    )


def _entropies(G: np.ndarray, sizes: list[int], weights: np.ndarray | None) -> list[tuple[float, np.ndarray]]:
    """Entropy of m units, and the influence of every draw on it, by the trapezoidal rule in log |z|."""
    low, high = math.log(G.min()) / 2 - NATS / min(sizes), math.log(G.max() * 2 * (NATS + max(sizes))) / 2
    u = np.arange(low, high + STEP, STEP)
    memory.require(24.0 * len(G) * len(u), "draws", f"{len(G)} draws of the metric", "Ask for fewer draws.")
    share = np.full(len(G), 1 / len(G)) if weights is None else weights
    half = np.exp(2 * u) / 2
    out = []
    for m in sizes:
        # densities of log |z|, (draws, nodes): sphere |z|^m (2 pi G)^(-m/2) exp(-|z|^2/2G)
        volume = math.log(2) + m / 2 * math.log(math.pi) - math.lgamma(m / 2) + m * u
        density = np.exp(volume - m / 2 * np.log(2 * math.pi * G)[:, None] - half / G[:, None])
        mixed = share @ density
        seen = mixed > 0
        surprise = np.where(seen, volume - np.log(np.where(seen, mixed, 1.0)), 0.0)  # -log p(z)
        influence = STEP * density @ surprise
        value = float(share @ influence)
        if weights is None:  # the empirical law is more certain than the true one by (E int p_i^2/p - 1)/(2 draws)
            excess = STEP * float((share @ density**2)[seen] @ (1 / mixed[seen])) - 1
            value += excess / (2 * len(G))
        out.append((value, influence))
    return out
