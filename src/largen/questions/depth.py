r"""How deep at this width: up to where the infinite-width theory of one network holds, layer by layer.

Three lengths limit the depth L (counted in affine layers) of a network of width n, and the smallest decides:

    scatter       V/(n K^2) <= tolerance: the size of single networks, relative to its square (PDLT 5.109),
    correlations  L <= 6 xi_c off criticality: what tells inputs apart falls as exp(-l/xi_c) (Schoenholz et al.),
    sizes         K^(L) <= e^6 K^(1) where sizes grow without end.

With s = V/(n K^2), one input, g = <phi^2>,    s' K'^2 = C_W^2 (<phi^4> - g^2)/n + (C_W g')^2 s K^2,    K' = C_b + C_W g.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from largen import door, exits
from largen.activations.activation import Activation, activation as as_activation
from largen.activations.critical import critical
from largen.activations.statistics import statistics
from largen.architecture.chain import Layer, plain
from largen.architecture.nodes import Node
from largen.architecture.presets import mlp
from largen.display import Columns, Record
from largen.errors import InputError, UnsupportedError, shown
from largen.gaussian.line import K_MIN
from largen.questions.criticality import critical_point_of
from largen.theory.signal.fixed_points import FixedPoints, fixed_points

NAME = "how deep a network can be"
TRAINABLE = 6.0  # depth over xi_c that still trains; of sizes, the logarithm of what they may grow by
TOLERANCE = 0.1
LOOKED_AT = 512  # layers whose moments are computed; later ones go on as these did
SETTLED = 1e-9  # relative change from layer to layer below which a step is the same for ever

MEANING = {
    "scatter": "the variance over networks of a layer's mean square, relative to the square of its mean, is the tolerance",
    "correlations": "of what tells two inputs apart (in chaos: of what two inputs have in common) e^-6, a 400th, is left",
    "sizes": "one layer more, and the mean square of preactivations has grown over 400-fold, or beyond what moments resolve",
}
NONE = {"scatter": "it stays within the tolerance as far as sizes can be followed", "sizes": "sizes settle, fall or grow as a power"}


@dataclass(frozen=True, repr=False, kw_only=True)
class Depth(Record):
    """What `lg.how_deep` returns.

    Attributes
    ----------
    depth : int or None
        The most affine layers, the smallest of `limits`; None where nothing limits it.
    criterion : str or None
        Which one that is, "scatter", "correlations" or "sizes".
    limits : dict
        {criterion: layers}.
    meaning : dict
        {criterion: what is true of real networks at its limit}, as measured in tests/questions/test_depth.py.
    fluctuation : float or None
        V/(n K^2) at `depth`.
    width : int
        n of the first hidden layer.
    tolerance : float
        As given.
    sentences : tuple of str
        All of it in words, the answer first.
    missing : dict
        Why a field, or a limit, is None.
    """

    depth: int | None
    criterion: str | None
    limits: Mapping[str, int | None]
    meaning: Mapping[str, str]
    fluctuation: float | None
    width: int
    tolerance: float
    sentences: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)

    def _columns(self) -> Columns:
        return {"criterion": [*self.limits], "layers": [*self.limits.values()], "meaning": [self.meaning.get(name) for name in self.limits]}


@exits.finite()
def how_deep(net: Any, width: int | None = None, tolerance: float = TOLERANCE, X: Any = None) -> Depth:
    """How deep a network of this width can be before infinite-width theory no longer describes single networks.

    It is the inverse of `lg.width`: at the width that its "variance of the kernel" needs, the depth is that of the network. It says where
    theory stops, not where training does: deeper networks start each with another size.

    Parameters
    ----------
    net : str, callable, Activation or architecture
        An activation (name, callable or `lg.activation`), taken at its critical point, or a plain chain, whose last hidden layer is
        repeated.
    width : int, optional
        Of the first hidden layer, the others in proportion; None for the network's own.
    tolerance : float
        Of the scatter V/(n K^2), above 0.
    X : array (n, features), optional
        The inputs, of which the smallest and the largest are looked at; None for |x|^2/n_0 = 1.

    Returns
    -------
    Depth
        The most layers, and what limits them.

    Raises
    ------
    InputError
        For a width < 1, a tolerance that is not above 0, no hidden layer, and sizes K beyond those that `lg.critical` resolves.
    UnsupportedError
        For what is no plain chain, and for an activation without a critical point.

    References
    ----------
    PDLT 5.109, 5.120, 5.127; Schoenholz et al. for 6 xi_c.

    Examples
    --------
    >>> import largen as lg
    >>> found = lg.how_deep("relu", width=256)  # V/(n K^2) = 5 (L - 1)/n
    >>> found.depth, found.criterion, round(found.fluctuation, 4)
    (6, 'scatter', 0.0977)
    >>> off = lg.how_deep(lg.mlp(widths=[4096] * 9, activation="tanh", C_W=1.3, C_b=0.05))
    >>> off.depth, off.criterion, off.limits["correlations"]
    (47, 'correlations', 47)
    """
    tolerance = door.real(tolerance, "tolerance", low=0.0, strict=True)
    layers = _layers(net, width)
    n = layers[0].width if width is None else door.count(width, "width")
    last = (layers[1:-1] or layers[1:])[-1]
    phi = last.activation
    assert phi is not None
    settled = fixed_points(phi, last.C_W, last.C_b)
    courses = [course(layers, K, n / layers[0].width) for K in _first_sizes(layers, X)]
    limits: dict[str, int | None] = {
        "scatter": _least(way.within(tolerance) for way in courses),
        "correlations": None,
        "sizes": _least(way.below(_ceiling(way, settled)) for way in courses),
    }
    missing = {name: reason for name, reason in NONE.items() if limits[name] is None}
    if critical_point_of(layers) is not None:
        missing["correlations"] = "at a critical point nothing decays exponentially with depth"
    elif limits["sizes"] is not None or settled.K is None or not len(settled.K):
        missing["correlations"] = "sizes settle nowhere, so that correlations have no scale"
    else:
        xi = min(settled.xi_c[np.abs(settled.K - way.K[-1]).argmin()] for way in courses)
        if np.isfinite(xi):
            limits["correlations"] = max(1, math.floor(TRAINABLE * xi))
        else:
            missing["correlations"] = "their length is infinite: powers of depth only"
    depth, criterion = min(((L, name) for name, L in limits.items() if L is not None), default=(None, None))
    reached = None if depth is None else max(way.scatter(depth) for way in courses)
    missing |= {} if depth is not None else dict.fromkeys(("depth", "criterion", "fluctuation"), "no criterion limits the depth")
    words = _words(f"{phi.name} networks with C_W = {last.C_W:.6g}, C_b = {last.C_b:.6g}", n, tolerance, limits, criterion)
    return Depth(
        depth=depth,
        criterion=criterion,
        limits=limits,
        meaning=MEANING,
        fluctuation=reached,
        width=n,
        tolerance=tolerance,
        sentences=words,
        missing=missing,
    )


# ---------------------------------------------------------------- sizes and their scatter, layer by layer


@dataclass(frozen=True)
class Course:
    """Sizes `K` and scatter `s` = V/(n K^2) of the levels looked at; after them s' = add + keep s and K' = grow K + drift. `ended`:
    sizes left what the moments resolve, and nothing is known of later levels."""

    K: Sequence[float]
    s: Sequence[float]
    add: float
    keep: float
    grow: float
    drift: float
    ended: bool

    def scatter(self, L: int) -> float:
        """s of level L."""
        if L <= len(self.s):
            return self.s[L - 1]
        later = L - len(self.s)
        if self.keep == 1:
            return self.s[-1] + later * self.add
        limit = self.add / (1 - self.keep)
        return limit + (self.s[-1] - limit) * self.keep**later

    def within(self, tolerance: float) -> int | None:
        """The last level with s <= tolerance, None if all have, or sizes cannot be followed so far."""
        tolerance *= 1 + 1e-9  # rounding
        over = next((i for i, s in enumerate(self.s) if s > tolerance), None)
        if over is not None or self.ended:
            return over
        if self.keep == 1:
            return len(self.s) + math.floor((tolerance - self.s[-1]) / self.add) if self.add > 0 else None
        limit = self.add / (1 - self.keep)
        if self.keep < 1 and limit <= tolerance:
            return None
        return len(self.s) + math.floor(math.log((limit - tolerance) / (limit - self.s[-1])) / math.log(self.keep))

    def below(self, ceiling: float) -> int | None:
        """The last level with K <= ceiling, None if all are."""
        over = next((i for i, K in enumerate(self.K) if K > ceiling), None)
        if over is not None or self.ended:
            return len(self.K) if over is None else over
        if self.grow > 1 + SETTLED:
            return len(self.K) + math.floor(math.log(ceiling / self.K[-1]) / math.log(self.grow))
        return len(self.K) + math.floor((ceiling - self.K[-1]) / self.drift) if self.drift > 0 and math.isfinite(ceiling) else None


def course(layers: Sequence[Layer], K: float, factor: float = 1.0, levels: int = LOOKED_AT) -> Course:
    """The course of a plain chain from the size K of its first level, its last hidden layer repeated up to so many `levels`; widths
    are those of the layers times `factor`."""
    own = layers[1:-1] or layers[1:]
    sizes, scatter = [float(K)], [0.0]
    step = before = (1.0, 0.0, 1.0)
    for level in range(2, levels + 1):
        layer = own[min(level - 2, len(own) - 1)]
        n = layers[min(level - 2, len(layers) - 2)].width * factor
        step = _step(layer, sizes[-1], n)
        if step is None:
            return Course(sizes, scatter, 0.0, 1.0, 1.0, 0.0, ended=True)
        grow, add, keep = step
        sizes.append(sizes[-1] * grow)
        scatter.append(add + keep * scatter[-1])
        if level > len(layers) and all(abs(a - b) <= SETTLED * abs(a) for a, b in zip(step, before, strict=True)):
            return Course(sizes, scatter, add, 1.0 if abs(keep - 1) < SETTLED else keep, grow, 0.0, ended=False)
        before = step
    increment = scatter[-1] - scatter[-2] if len(scatter) > 1 else 0.0
    drift = sizes[-1] - sizes[-2] if len(sizes) > 1 else 0.0
    return Course(sizes, scatter, increment, 1.0, 1.0, drift, ended=False)


def own_scatter(layers: Sequence[Layer], X: Any) -> float:
    """V/(n K^2) of a plain chain's outputs, the larger of the smallest and the largest input. Raises `InputError` for sizes that grow
    beyond what moments resolve."""
    found = []
    for K in _first_sizes(layers, X):
        s = 0.0
        for layer, before in zip(layers[1:], layers[:-1], strict=True):
            step = _step(layer, K, before.width)
            if step is None:
                raise InputError("net", f"sizes beyond {K:.3g}", "sizes that the moments resolve")
            K, s = K * step[0], step[1] + step[2] * s
        found.append(s)
    return max(found)


def _step(layer: Layer, K: float, n: float) -> tuple[float, float, float] | None:
    """(K'/K, a, r) with s' = a + r s after n units of size K; None where the moments do not reach."""
    assert layer.activation is not None
    known = statistics(layer.activation)
    at = 1.0 if known.homogeneous is not None else max(K, K_MIN)  # below, phi is its slopes
    if at > known.K_max:
        return None
    m, C, after = known.moments(at), float(layer.C_W), float(layer.C_b) / K
    grow = after + C * float(m.g) / at
    if not (grow > 0 and math.isfinite(grow)):
        return None
    return grow, C**2 * float(m.fourth - m.g**2) / at**2 / n / grow**2, (C * float(m.dg) / grow) ** 2


def _ceiling(way: Course, settled: FixedPoints) -> float:
    """What sizes may grow to, where no fixed point stops them."""
    stops = settled.K is None or (settled.K >= way.K[-1] * (1 - 1e-6)).any()
    return math.inf if stops and not way.ended else math.exp(TRAINABLE) * way.K[0]


def _first_sizes(layers: Sequence[Layer], X: Any) -> list[float]:
    """K of the first level for the smallest and the largest input."""
    squares = np.ones(1) if X is None else (door.host(door.points(X), "X") ** 2).mean(1)
    K = float(layers[0].C_b) + float(layers[0].C_W) * squares
    K = K[K > 0]
    if not len(K):
        raise InputError("X", "inputs whose kernel is 0", "inputs that the network sees")
    phi = layers[1].activation
    assert phi is not None
    if statistics(phi).homogeneous is None and K.max() > statistics(phi).K_max:
        got = f"a first layer of size K = {K.max():.3g}"
        raise InputError("net, X", got, f"sizes up to {statistics(phi).K_max:.3g}", "lg.standardize(X) makes |x|^2/n_0 = 1.")
    return sorted({float(K.min()), float(K.max())})


def _layers(net: Any, width: Any) -> tuple[Layer, ...]:
    """The plain chain that is asked about."""
    if not (isinstance(net, (str, Activation)) or (callable(net) and not isinstance(net, Node))):
        layers = plain(net, NAME)
        if len(layers) < 2:
            raise InputError("net", shown(net), "a network with at least one hidden layer, or an activation")
        return layers
    phi = as_activation(net)
    point = critical(phi)
    if point.C_W is None:
        raise UnsupportedError(repr(phi), "", NAME, f"{point.reason} Give a network instead, with its C_W and C_b")
    if width is None:
        raise InputError("width", "nothing", "the number of units of a hidden layer", "An activation has no width of its own.")
    return plain(mlp([1, 1], activation=phi, C="critical"), NAME)


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _words(who: str, n: int, tolerance: float, limits: Mapping[str, int | None], criterion: str | None) -> tuple[str, ...]:
    if criterion is None:
        return (f"At width {n} nothing limits the depth of {who} within {100 * tolerance:g} %.",)
    why = {
        "scatter": f"the sizes of single networks scatter by more than {100 * tolerance:g} % (variance over squared mean)",
        "correlations": "less than a 400th of what tells inputs apart is left (6 xi_c)",
        "sizes": "sizes, which grow without end, have grown 400-fold or more",
    }
    L = limits[criterion]
    can = f"can be {L:,} affine layers deep: deeper" if L != 1 else "cannot even have one hidden layer: with it"
    rest = [f"{name} would allow {value:,}" for name, value in limits.items() if value is not None and name != criterion]
    words = [f"At width {n}, {who} {can}, {why[criterion]}." + (f" ({'; '.join(rest).capitalize()}.)" if rest else "")]
    if criterion == "scatter":
        words.append("There infinite-width theory stops, not training: deeper networks start each with another size.")
    return tuple(words)
