r"""Learning rates by layer at which all layers contribute alike to the NTK of the output: the equivalence principle (PDLT 9.4).

At criticality what layer l adds is (l/L)^p_perp times its rate, for weights times a power of l too
(`lg.analysis.contributions`), so that one power of l per parameter group makes all contribute 1/L each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door, exits
from largen.activations.critical import critical
from largen.activations.critical_points import CriticalPoint
from largen.architecture.chain import Layer
from largen.architecture.levels import affine
from largen.architecture.nodes import network
from largen.display import Columns, Record
from largen.parametrizations.rates import resolve
from largen.questions.contributions import Contributions, Rates, chain_or_none, contributions
from largen.questions.criticality import critical_point_of


@dataclass(frozen=True, repr=False, kw_only=True)
class RatePlan(Record):
    """What `lg.plan_rates` returns.

    Attributes
    ----------
    rates : tuple (lambda_b, lambda_W)
        Each one per affine layer: the argument `rates=` of `lg.kernel` and its kin, without the global rate.
    sgd : dict
        {path: (bias, weight)}, the learning rate of every single parameter for plain SGD, lambda_b and lambda_W/fan_in, to be multiplied by
        one global rate; a weight's is None where the fan-in is not known.
    universality : str or None
        Of the critical point that the hidden layers are at, None if they are at none.
    powers : tuple (bias, weight)
        The power of l in the rates.
    p_perp : float or None
        Of that critical point.
    contributions : Contributions
        What each layer adds to the NTK at these rates.
    sentences : tuple of str
        All of it in words.
    missing : dict
        Why a field is None.
    """

    rates: Rates
    sgd: dict[str, tuple[float, float | None]]
    universality: str | None
    powers: tuple[float, float]
    p_perp: float | None
    contributions: Contributions
    sentences: tuple[str, ...]
    missing: dict[str, str]

    def _columns(self) -> Columns:
        bias, weight = zip(*self.sgd.values(), strict=True)
        rates = {"rate_b": [*self.rates[0]], "rate_W": [*self.rates[1]]}
        return {"path": [*self.sgd], **rates, "sgd_b": [*bias], "sgd_W": [*weight]}


@exits.finite()
def plan_rates(net: Any, X: Any = None, bias: float = 1.0, weight: float = 1.0, n_in: int | None = None) -> RatePlan:
    """Learning rates per layer and parameter group by the equivalence principle: all contribute alike to the NTK of the output.

    With l = 1..L the layer, p = p_perp and K ~ l^(-k) of the critical point that the hidden layers are at,

        lambda_b^(l) = bias l^(-p) L^(p-1),          lambda_W^(l) = weight l^(k-p) L^(p-1):

    | hidden layers | lambda_b | lambda_W |
    |---|---|---|
    | scale-invariant (p = k = 0), half-stable (K* > 0) | bias/L | weight/L |
    | tanh and its kin (K* = 0, p = k = 1) | bias/l | weight |
    | off criticality, where no power of l is right | bias/L | weight/L |

    so that at a critical point the NTK does not change with depth; off it `.sentences` say so, and `.contributions` how unequal layers are.

    Parameters
    ----------
    net : architecture
        Any network that has a kernel (a class is found for chains, also residual ones).
    X : array (n, features) or (n, *positions, channels), optional
        Where contributions are reported; None for |x|^2/n_0 = 1.
    bias, weight : float
        The numbers above, as the rates of a network one layer deep.
    n_in : int, optional
        Input features, for `.sgd` of the first layer, if X is None.

    Returns
    -------
    RatePlan
        Rates of the NTK and of plain SGD.

    Raises
    ------
    InputError
        For rates < 0, and as `lg.analysis.contributions` does.
    UnsupportedError
        As `lg.analysis.contributions` does.

    References
    ----------
    PDLT 9.94, 9.95 (with the factor L^(p-1)), 9.96; residual chains, half-stable points and kinks at K* = 0 by the same count.

    Examples
    --------
    >>> import largen as lg
    >>> plan = lg.plan_rates(lg.mlp(widths=[100] * 49, out=1, activation="tanh", C="critical"), n_in=20)
    >>> plan.rates[0][9], plan.rates[1][9], plan.sgd["dense1"], plan.sgd["dense10"]
    (0.1, 1.0, (1.0, 0.05), (0.1, 0.01))
    >>> plain = lg.analysis.contributions(lg.mlp(widths=[100] * 49, activation="tanh"), rates=(1, 1))
    >>> float(plan.contributions.total[0]), float(plain.total[0])
    (1.4905, 25.553)
    """
    whole, shape = network(net), _inputs(X, n_in)
    door.concrete(whole, "net")
    base = tuple(door.real(v, name, low=0.0) for v, name in ((bias, "bias"), (weight, "weight")))
    layers = chain_or_none(whole)
    missing = {"universality": "only chains have a class, and this network is none"} if layers is None else {}
    point = None if layers is None else critical_point_of(layers)
    L = len(resolve(whole))
    powers, p = _powers(point)
    scale = 1.0 / L if p is None else float(L) ** (p - 1)
    ranks = np.arange(1, L + 1)
    weights = np.ones(L) if layers is None else np.array([float(layer.weight) or 1.0 for layer in layers])
    pair = tuple(tuple(float(v) for v in b * scale * ranks**power / weights**2) for b, power in zip(base, powers, strict=True))
    rates = (pair[0], pair[1])
    found = contributions(whole, X, rates)
    fans = {path: fan for path, _, fan in affine(whole, shape)}
    sgd = {path: (b, None if fan is None else w / fan) for (path, fan), b, w in zip(fans.items(), *rates, strict=True)}
    if any(fan is None for fan in fans.values()):
        missing["sgd"] = "the fan-in of the first layer is not known: give n_in, the number of input features, or X"
    if layers is not None and point is None:
        missing["universality"] = "the hidden layers are at no critical point"
    if p is None:
        missing["p_perp"] = "the hidden layers are at no critical point with a power law"
    words = (*_why(layers, point, powers, p), _balance(found))
    return RatePlan(
        rates=rates,
        sgd=sgd,
        universality=None if point is None else point.universality,
        powers=powers,
        p_perp=p,
        contributions=found,
        sentences=words,
        missing=missing,
    )


def _powers(point: CriticalPoint | None) -> tuple[tuple[float, float], float | None]:
    """(power of l in lambda_b, in lambda_W), p_perp; without a power law (0, 0) and None."""
    if point is None or (point.universality == "K*=0" and (not point.stable_from or "perpendicular" not in point.exponents)):
        return (0.0, 0.0), None
    if point.universality != "K*=0":
        return (0.0, 0.0), 0.0
    p = point.exponents["perpendicular"]
    return (-p + 0.0, point.exponents["K"] - p), p


def _inputs(X: Any, n_in: int | None) -> int | tuple[int, ...] | None:
    return door.count(n_in, "n_in") if n_in is not None else None if X is None else tuple(door.inputs(X).shape[1:])


def _why(layers: Sequence[Layer] | None, point: CriticalPoint | None, powers: tuple[float, float], p: float | None) -> list[str]:
    if layers is None:
        return [
            "No chain: no universality class, so that every layer gets rates divided by the number of layers; look at the contributions."
        ]
    kinds = sorted({layer.activation.name for layer in layers[1:] if layer.activation is not None})
    if not kinds:
        return ["One layer: nothing to balance."]
    name = " and ".join(kinds)
    if point is None:
        phi = layers[1].activation
        assert phi is not None
        known = critical(phi)
        if len(kinds) > 1:
            advice = "several activations have no common critical point"
        elif known.C_W is None:
            advice = known.reason.rstrip(".")
        else:
            advice = f'the critical point is C_W = {known.C_W:.6g}, C_b = {known.C_b:.6g}, which C="critical" sets'
        return [
            f"The hidden layers ({name}) are at no critical point ({advice}). What layers contribute to the NTK then differs "
            "exponentially with depth, and no power of the layer number is right: all get rates divided by the number of layers."
        ]
    if p is None:
        return [f"The critical point of {name} is unstable, or sizes fall more slowly than a power of depth: rates divided by the depth."]
    if point.universality == "half-stable":
        return [
            f"{name} at K* = {point.K_star:.4g}: as long as sizes stay there, all layers contribute alike at equal rates, divided by the "
            "number of layers."
        ]
    if point.universality == "scale-invariant":
        return [f"{name} is scale-invariant: all layers contribute alike at equal rates, divided by the number of layers (PDLT 9.94)."]
    return [
        f"{name} is of class K* = 0 with p_perp = {p:.4g}: bias rates go as l^{powers[0]:.3g}, weight rates as l^{powers[1]:.3g} "
        "with the layer number l (PDLT 9.95)."
    ]


def _balance(found: Contributions) -> str:
    share, spread = found.shares, found.spread
    apart = "an infinite factor" if math.isinf(spread) else f"a factor {spread:.3g}"
    return (
        f"At these rates the NTK is {found.total.mean():.4g}, {share[:, 0].sum():.0%} of it from biases, {share[:, 1].sum():.0%} from "
        f"weights; the contributions of single layers lie within {apart} of each other."
    )
