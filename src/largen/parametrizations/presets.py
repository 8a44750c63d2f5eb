"""The parametrizations of the literature, by their effective exponents and the gauge they are written in.

All of them but the failures lie on one line, the richness scale: with s between 0 (muP) and 1/2 (NTK), r_l = s in every hidden layer, the
readout starts at n^{s-1}, and its own update moves the output by order one. `depth` is theirs, not the width's.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Self

from largen import door
from largen.errors import InputError, shown
from largen.parametrizations.exact import Exponent, exponent
from largen.parametrizations.optimizers import HALF, Optimizer, optimizer

ZERO, ONE = Fraction(0), Fraction(1)
GAUGES = ("one rate", "layer rates", "unit readout", "rescaling")
FROZEN = float("inf")


class Presets:
    """Classmethods of `Parametrization`. `hidden` counts hidden layers; `gauge` is one of

    - "one rate": multipliers and starts such that every layer has rate exponent 0 (Definition 5.1 of TP4; NTK);
    - "layer rates": no multipliers, a rate per layer (TP-V Table 3);
    - "unit readout": the same, the readout drawn with variance 1 and multiplied (TP-V Table 8, package mup);
    - "rescaling": every weight drawn with variance 1 (NTK-like; Bordelon and Pehlevan).
    """

    def __init__(self, **_fields: Any) -> None: ...  # the dataclass's own

    @classmethod
    def _of(
        cls,
        std: Sequence[Exponent],
        rate: Sequence[Exponent],
        by: Optimizer,
        gauge: str,
        factors: Sequence[tuple[float, float]] = (),
        depth: tuple[Any, Any] | None = None,
    ) -> Self:
        """Effective exponents and factors (std, rate) in a gauge, epsilon scaled as the gradient."""
        last, k = len(std) - 1, by.gauge
        a: list[Exponent] = {
            "one rate": [r / k for r in rate],
            "layer rates": [ZERO] * len(std),
            "unit readout": [*[ZERO] * last, std[-1]],
            "rescaling": list(std),
        }[door.choice(gauge, "gauge", GAUGES)]
        if not all(isinstance(x, Fraction) for x in a):
            raise InputError("gauge", shown(gauge), 'a gauge without infinite multipliers, such as "layer rates"')
        triples = [_factor(s, r, k, x, gauge, i == last) for i, ((s, r), x) in enumerate(zip(factors, a, strict=True))] if factors else None
        return cls(
            a=a,
            b=[s - x for s, x in zip(std, a, strict=True)],
            c=[r - k * x for r, x in zip(rate, a, strict=True)],
            d=[x + y for x, y in zip(a, [*[std[-1]] * last, ZERO], strict=True)] if by.epsilon else 0,
            prefactors=triples,
            depth=depth,
            optimizer=by.name,
        )

    @classmethod
    def uniform(cls, hidden: int, s: Any, optimizer: str = "sgd", gauge: str = "one rate") -> Self:
        """Every hidden layer moves its features by n^-s, the readout the output by order one: muP at s = 0, NTK at s = 1/2.

        >>> import largen as lg
        >>> lg.Parametrization.uniform(2, "1/4").classify().r_l
        (Fraction(1, 4), Fraction(1, 4))
        """
        least = exponent(s, "s")
        if not 0 <= least <= HALF:
            raise InputError("s", f"{least}", f"0 <= s <= 1/2: {_broken(HALF - least)}")
        by, L = _read(optimizer), _hidden(hidden)
        return cls._of(*_scale(L, least, by), by, gauge)

    @classmethod
    def ntk(cls, hidden: int, optimizer: str = "sgd", gauge: str = "rescaling") -> Self:
        """The neural tangent kernel's: the lazy end of the richness scale.

        >>> import largen as lg
        >>> lg.Parametrization.ntk(hidden=3).classify().regime
        'kernel'
        """
        return cls.uniform(hidden, HALF, optimizer, gauge)

    @classmethod
    def mup(cls, hidden: int, optimizer: str = "sgd", gauge: str = "one rate") -> Self:
        """Maximal update: every layer moves its features by order one; the rich end of the scale.

        >>> import largen as lg
        >>> lg.Parametrization.mup(hidden=3).classify().maximal
        (True, True, True, True)
        """
        return cls.uniform(hidden, ZERO, optimizer, gauge)

    @classmethod
    def mean_field(cls, hidden: int = 1, optimizer: str = "sgd") -> Self:
        """f = (1/n) sum of neurons, of one hidden layer: muP of that depth.

        >>> import largen as lg
        >>> lg.Parametrization.mean_field().equivalent(lg.Parametrization.mup(hidden=1))
        True
        """
        if (L := _hidden(hidden)) != 1:
            fix = f'Call Parametrization.mup(hidden={L}, gauge="rescaling"), which is mean-field at any depth.'
            raise InputError("hidden", str(L), "1: with more layers an average over n lets the preactivations behind it vanish", fix)
        return cls.mup(1, optimizer, "rescaling")

    @classmethod
    def richness(cls, hidden: int, richness: Any, gamma: float = 1.0, optimizer: str = "sgd", gauge: str = "layer rates") -> Self:
        """The richness scale: activity gamma n^richness, from 0 (lazy, NTK) to 1/2 (rich, muP); hidden layers move by n^{richness - 1/2}.

        >>> import largen as lg
        >>> lg.Parametrization.richness(2, 0.5) == lg.Parametrization.mup(2, gauge="layer rates")
        True
        """
        rich, by, L = exponent(richness, "richness"), _read(optimizer), _hidden(hidden)
        if not 0 <= rich <= HALF:
            raise InputError("richness", f"{rich}", f"a number in [0, 1/2]: {_broken(rich)}")
        g = door.real(gamma, "gamma", low=0.0, strict=True)
        factors = [*[(1.0, g**by.gauge)] * L, (1 / g, 1.0)]
        return cls._of(*_scale(L, HALF - rich, by), by, gauge, factors)

    @classmethod
    def output_multiplier(cls, hidden: int, alpha: float, optimizer: str = "sgd") -> Self:
        """NTK with outputs times alpha, rates over alpha^2 (SGD) or alpha: the larger alpha, the lazier (Chizat, Oyallon and Bach).

        >>> import largen as lg
        >>> p = lg.Parametrization.output_multiplier(2, alpha=10.0)
        >>> p.equivalent(lg.Parametrization.richness(2, 0, gamma=0.1))
        True
        """
        scale = door.real(alpha, "alpha", low=0.0, strict=True)
        by, L = _read(optimizer), _hidden(hidden)
        std, rate = _scale(L, HALF, by)
        out = cls._of(std, rate, by, "rescaling")
        speed = scale**-by.gauge
        return cls(**_fields(out) | {"prefactors": [*[(1.0, 1.0, speed)] * L, (scale, 1.0, speed)]})

    @classmethod
    def last_layer(cls, hidden: int, optimizer: str = "sgd") -> Self:
        """Only the readout is trained: Gaussian-process regression with the NNGP kernel.

        >>> import largen as lg
        >>> lg.Parametrization.last_layer(2).classify().in_kernel
        (False, False, True)
        """
        by, L = _read(optimizer), _hidden(hidden)
        std, rate = _scale(L, HALF, by)
        return cls._of(std, [*[FROZEN] * L, rate[-1]], by, "layer rates")

    @classmethod
    def standard(cls, hidden: int, c: Any = None, optimizer: str = "sgd", rates: str | None = None) -> Self:
        """Variance 1/fan_in, no multipliers, one rate n^-c; by default the largest that is stable (n^-1 with SGD, n^-3/2 with Adam).

        `rates="per layer"`: every layer at the rate at which its own update is of order one; `"embedding x width"`: one rate n^-c, the
        first layer's times n. `classify()` says what becomes of the output.

        >>> import largen as lg
        >>> lg.Parametrization.standard(2).classify().regime, lg.Parametrization.standard(2, c=0.5).classify().regime
        ('kernel', 'unstable')
        >>> lg.Parametrization.standard(2, c=1, optimizer="adam").classify().regime
        'unstable'
        """
        by, L = _read(optimizer), _hidden(hidden)
        std, _ = _scale(L, HALF, by)
        slowest = max(by.move(l, L) + HALF * (1 - by.degree) for l in range(L))  # at which r = 1/2
        one = max(slowest, by.move(L, L)) if c is None else exponent(c, "c", infinite=True)
        if rates is None:
            rate: list[Exponent] = [one] * (L + 1)
        elif door.choice(rates, "rates", ("per layer", "embedding x width")) == "per layer":
            if c is not None:
                raise InputError("c", f"{c} together with rates={rates!r}", "one of them: rates per layer follow from the demand")
            rate = [*(by.move(l, L) - HALF * by.degree for l in range(L)), by.move(L, L)]
        else:
            rate = [one - 1, *[one] * L]
        return cls._of(std, rate, by, "layer rates")

    @classmethod
    def u_mup(cls, hidden: int, optimizer: str = "adam") -> Self:
        """Unit-scaled muP: every weight drawn with variance 1, scales in the forward pass; branches and rates times depth^-1/2.

        >>> import largen as lg
        >>> lg.Parametrization.u_mup(3).c
        (Fraction(0, 1), Fraction(1, 2), Fraction(1, 2), Fraction(0, 1))
        """
        by, L = _read(optimizer), _hidden(hidden)
        return cls._of(*_scale(L, ZERO, by), by, "rescaling", depth=(HALF, HALF if not by.degree else ZERO))

    @classmethod
    def spectral(cls, widths: Sequence[int], optimizer: str = "sgd", gauge: str = "layer rates") -> Self:
        """muP of unequal hidden widths by the spectral condition: |W_l|, |dW_l| = Theta(sqrt(n_l/n_{l-1})).

        Hidden standard deviations are sqrt(min(1, n_l/n_{l-1})/n_{l-1}), rates n_l/n_{l-1} with SGD, 1/n_{l-1} with Adam; the n of a
        layer is its fan-in n_{l-1}.

        >>> import largen as lg
        >>> lg.Parametrization.spectral([64, 128]).effective().factors
        ((1.0, 1.0), (1.0, 2.0), (1.0, 1.0))
        """
        sizes = door.counts(widths, "widths", "hidden widths, such as [512, 256]")
        if not sizes:
            raise InputError("widths", "none", "hidden widths, such as [512, 256]")
        by = _read(optimizer)
        ratios = [after / before for before, after in pairwise(sizes)]
        factors = [(1.0, 1.0), *((min(1.0, x) ** 0.5, x if by.degree else 1.0) for x in ratios), (1.0, 1.0)]
        if by.name == "muon":
            raise InputError("optimizer", "'muon'", "sgd, adam and their kin", "Muon's updates have the spectral norm already: use mup.")
        return cls._of(*_scale(len(sizes), ZERO, by), by, gauge, factors)

    @classmethod
    def depth_mup(cls, hidden: int, optimizer: str = "sgd", gauge: str = "layer rates") -> Self:
        """muP with branches times L^-1/2, rates inside times L^-1/2 with Adam: features stay diverse over depth (TP-VI).

        >>> import largen as lg
        >>> lg.Parametrization.depth_mup(3, optimizer="adam").depth
        (Fraction(1, 2), Fraction(1, 2))
        """
        by, L = _read(optimizer), _hidden(hidden)
        return cls._of(*_scale(L, ZERO, by), by, gauge, depth=(HALF, ZERO if by.degree else HALF))

    @classmethod
    def complete_p(cls, hidden: int, optimizer: str = "adam", gauge: str = "layer rates") -> Self:
        """muP with branches times 1/L, so that the inside of every block moves by order one (CompleteP).

        >>> import largen as lg
        >>> lg.Parametrization.complete_p(3).depth
        (Fraction(1, 1), Fraction(0, 1))
        """
        by, L = _read(optimizer), _hidden(hidden)
        return cls._of(*_scale(L, ZERO, by), by, gauge, depth=(ONE, -ONE if by.degree else ZERO))

    @classmethod
    def glorot(cls, hidden: int, optimizer: str = "sgd") -> Self:
        """A failure: the first layer drawn with variance 2/(fan_in + fan_out), which falls as 1/n, so that its signals vanish.

        >>> import largen as lg
        >>> lg.Parametrization.glorot(2).classify().first_unstable
        0
        """
        by, L = _read(optimizer), _hidden(hidden)
        std, rate = _scale(L, HALF, by)
        return cls._of([HALF, *std[1:]], rate, by, "layer rates")

    @classmethod
    def deep_mean_field(cls, hidden: int, optimizer: str = "sgd") -> Self:
        """A failure: averages over n in every layer, hidden weights of variance 1/n^2: signals vanish, training is stuck at the start.

        >>> import largen as lg
        >>> lg.Parametrization.deep_mean_field(3).classify().regime
        'unstable'
        """
        by, L = _read(optimizer), _hidden(hidden)
        std, rate = _scale(L, ZERO, by)
        return cls._of([std[0], *[ONE] * (L - 1), std[-1]], rate, by, "rescaling")


def _scale(hidden: int, s: Exponent, by: Optimizer) -> tuple[list[Exponent], list[Exponent]]:
    """Effective exponents (std, rate) at r_l = s: the gradient has the readout's size n^{s-1} with SGD."""
    size = (1 - s) * by.degree
    std: list[Exponent] = [ZERO, *[HALF] * (hidden - 1), 1 - s]
    return std, [*(s - size + by.move(l, hidden) for l in range(hidden)), by.move(hidden, hidden)]


def _factor(std: float, rate: float, k: int, a: Exponent, gauge: str, last: bool) -> tuple[float, float, float]:
    """(multiplier, std, rate) with the given effective factors, written where the gauge writes its powers of n."""
    m = {"one rate": rate ** (1 / k), "layer rates": 1.0, "unit readout": std if last else 1.0, "rescaling": std}[gauge]
    return m, std / m, rate / m**k


def _broken(richness: Exponent) -> str:
    """Which demand does not hold off the scale."""
    if richness > HALF:
        return "beyond 1/2 hidden representations would move by more than order one (demand 'bounded')"
    return "below 0 the output would start beyond order one, or its moves vanish (demand 'nontrivial')"


def _hidden(value: Any) -> int:
    return door.count(value, "hidden")


def _read(name: Any) -> Optimizer:
    return optimizer(name)


def _fields(p: Any) -> dict[str, Any]:
    return {name: getattr(p, name) for name in ("a", "b", "c", "d", "prefactors", "depth", "optimizer")}
