"""A parametrization: how multipliers, starts and rates of the layers of a network scale with its width, as exact exponents."""

import math
from dataclasses import dataclass
from typing import Any

from largen.display import Columns, Record, aligned
from largen.errors import InputError, shown
from largen.parametrizations.classify import Classification, Demand, classified, demands
from largen.parametrizations.effective import Effective, effective
from largen.parametrizations.exact import Exponent, exponents, power, sequence
from largen.parametrizations.growth import Sizes, sizes
from largen.parametrizations.optimizers import optimizer as read
from largen.parametrizations.presets import Presets

Prefactor = tuple[float, float, float]  # of multiplier, standard deviation, rate


@dataclass(frozen=True, repr=False, init=False)
class Parametrization(Presets, Record):
    """How a network scales with its width n: W^l = n^-a_l w^l, w^l ~ N(0, n^-2b_l), and an optimiser of rate n^-c_l on w^l.

    Layers are affine: the first, `hidden` - 1 hidden ones of n x n, and the readout; widths of inputs and outputs are fixed. Exponents
    are exact fractions. What matters of them is `.effective()`, an `Effective`; the rest is gauge. `.classify()` says what the infinitely
    wide network does, a `Classification` with a `Condition` for every inequality that does not hold; `.exponents(step)` the `Sizes` of
    what is in a network after a step; `.desiderata()` which `Demand` on good training is met.

    Parameters
    ----------
    a, b : list of numbers, one per affine layer
        Exponents of the multiplier and of the start; b = inf starts a layer at 0. Numbers, `fractions.Fraction` or texts such as "1/2";
        floats within 1e-9 of a fraction are that fraction.
    c : number, or one per layer
        Exponent of the rate; c = inf freezes a layer.
    d : number, or one per layer
        The optimiser sees the gradient times n^d: for an adaptive one its epsilon, if not 0, over n^d; for SGD the same as c - d.
    prefactors : list of (multiplier, std, rate), one per layer, optional
        Factors of the three that do not depend on n; default 1.
    depth : (branch, rate), optional
        Exponents of the depth L of a residual network: branches are multiplied by L^-branch, rates of the layers inside by L^-rate.
    optimizer : str
        "sgd", "momentum", "adam", "adamw", "signsgd" or "muon".

    Raises
    ------
    InputError
        For what are no exponents, numbers of layers that differ, fewer than two layers, unknown optimisers.

    References
    ----------
    Yang and Hu, Feature learning in infinite-width neural networks (TP4), section 3; Yang and Littwin (TP-IVb), for d.

    Examples
    --------
    >>> import largen as lg
    >>> mup = lg.Parametrization(a=[-0.5, 0, 0.5], b=[0.5, 0.5, 0.5], c=0)
    >>> mup.classify().regime
    'feature learning'
    >>> mup == lg.Parametrization.mup(hidden=2), mup.equivalent(lg.Parametrization.mup(hidden=2, gauge="layer rates"))
    (True, True)
    >>> print(lg.Parametrization.ntk(hidden=2))
    Parametrization of 2 hidden layers, sgd
    layer     a    b  c  std     rate  multiplier
    first     0    0  0  1       1     1
    hidden    1/2  0  0  n^-1/2  n^-1  n^-1/2
    readout   1/2  0  0  n^-1/2  n^-1  n^-1/2
    """

    a: tuple[Exponent, ...]
    b: tuple[Exponent, ...]
    c: tuple[Exponent, ...]
    d: tuple[Exponent, ...]
    prefactors: tuple[Prefactor, ...]
    depth: tuple[Exponent, Exponent] | None
    optimizer: str

    def __init__(self, *, a: Any, b: Any, c: Any, d: Any = 0, prefactors: Any = None, depth: Any = None, optimizer: str = "sgd") -> None:
        layers = len(sequence(a, "a"))
        if layers < 2:
            raise InputError("a", f"exponents of {layers} layer{'s' * (layers != 1)}", "at least two layers, a hidden one and the readout")
        found = {
            "a": exponents(a, layers, "a"),
            "b": exponents(b, layers, "b", infinite=True),
            "c": exponents(c, layers, "c", infinite=True),
            "d": exponents(d, layers, "d"),
            "prefactors": _prefactors(prefactors, layers),
            "depth": None if depth is None else exponents(depth, 2, "depth"),
            "optimizer": read(optimizer).name,
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def hidden(self) -> int:
        """The number of hidden layers, L of the literature on limits: one less than that of affine layers."""
        return len(self.a) - 1

    def effective(self) -> Effective:
        """What no gauge shift changes: the size of the entries of every W^l at the start, and the rate at which it moves."""
        return effective(self)

    def classify(self, activation: Any = None) -> Classification:
        """What the infinitely wide network does: unstable, trivial, kernel regime or feature learning, by which theorem and why.

        Parameters
        ----------
        activation : str or Activation, optional
            That of the network; the theorems have been proved for tanh and smooth versions of ReLU, and fail for a linear one.

        Returns
        -------
        Classification
            `.regime`, `.why`, the exponents `.r`, `.r_l`, and what of the theorem's assumptions is not met.
        """
        return classified(self.effective(), activation)

    def exponents(self, step: int) -> Sizes:
        """How preactivations, their changes and the outputs of every layer scale after `step` steps of training.

        Parameters
        ----------
        step : int
            0 for the start.

        Returns
        -------
        Sizes
            Exponents of n; those after the first step that is not stable are None.
        """
        return sizes(self.effective(), step)

    def desiderata(self) -> tuple[Demand, ...]:
        """The four demands on good training, each with whether it is met and by which numbers."""
        return demands(self.effective())

    def gauge(self, theta: Any) -> "Parametrization":
        """The same dynamics by other numbers: a + theta, b - theta, c - 2 theta (SGD) or c - theta, d + theta (Adam and its kin).

        Parameters
        ----------
        theta : number, or one per layer
            The shift.

        Returns
        -------
        Parametrization
            `.equivalent` to this one.
        """
        shifts = exponents(theta, len(self.a), "theta")
        power_of_c = read(self.optimizer).gauge
        return Parametrization(
            a=[a + t for a, t in zip(self.a, shifts, strict=True)],
            b=[b - t for b, t in zip(self.b, shifts, strict=True)],
            c=[c - power_of_c * t for c, t in zip(self.c, shifts, strict=True)],
            d=[d + t * read(self.optimizer).epsilon for d, t in zip(self.d, shifts, strict=True)],
            prefactors=self.prefactors,
            depth=self.depth,
            optimizer=self.optimizer,
        )

    def equivalent(self, other: Any) -> bool:
        """Whether both train alike at every width: equal effective exponents and prefactors (to 1e-9), depth and optimiser."""
        if not isinstance(other, Parametrization):
            raise InputError("other", shown(other), "a Parametrization")
        return self.effective().like(other.effective())

    def table(self) -> str:
        """The exponents of every layer as text."""
        adaptive = read(self.optimizer).epsilon
        head = ("layer", "a", "b", "c", *("d",) * adaptive, "std", "rate", "multiplier")
        whole = self.effective()
        rows = [
            (name, str(a), str(b), str(c), *(str(d),) * adaptive, power(std), power(rate), power(a))
            for name, a, b, c, d, std, rate in zip(whole.layers, self.a, self.b, self.c, self.d, whole.std, whole.rate, strict=True)
        ]
        return "\n".join(aligned([head, *rows]))

    def _columns(self) -> Columns:
        whole = self.effective()
        own = {"layer": list(whole.layers), "a": list(self.a), "b": list(self.b), "c": list(self.c), "d": list(self.d)}
        return own | {"std": list(whole.std), "rate": list(whole.rate)}

    def __repr__(self) -> str:
        layers = f"{self.hidden} hidden layer{'s' * (self.hidden != 1)}"
        deep = f", branches times L^-{self.depth[0]}, rates times L^-{self.depth[1]}" if self.depth else ""
        return f"Parametrization of {layers}, {self.optimizer}{deep}\n{self.table()}"


def _prefactors(value: Any, layers: int) -> tuple[Prefactor, ...]:
    """One triple of positive numbers per layer."""
    if value is None:
        return ((1.0, 1.0, 1.0),) * layers
    need = f"one (multiplier, std, rate) of positive numbers per layer: {layers}"
    try:
        out = tuple((float(m), float(s), float(r)) for m, s, r in value)
    except (TypeError, ValueError) as error:
        raise InputError("prefactors", shown(value), need) from error
    if len(out) != layers or not all(0 < number < math.inf for row in out for number in row):
        raise InputError("prefactors", shown(value), need)
    return out
