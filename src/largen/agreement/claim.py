"""What a claim is: one quantity of theory held against real networks, what was read, and why it does not agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from largen.agreement import words
from largen.display import Record


@dataclass(frozen=True)
class Reading:
    """One scalar at infinite width: `value` +- `error` where theory says 0, in units of the quantity; `z` = value/error.

    `name`: the direction in which it was measured, "theory", "mean", "diagonal", "off-diagonal", that of a `control`, or "falling",
    what has to vanish. `truncation`: the part of the error that stands for powers of 1/n left out.
    """

    name: str
    value: float
    error: float
    truncation: float
    z: float
    control: bool = False


@dataclass(frozen=True)
class Control:
    """A wrong theory on the same data. `z`: how many standard errors the measurement is from it; None with the reason in
    `missing` where the control is no different from theory."""

    name: str
    z: float | None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reason:
    """Why a claim does not agree. `kind`: "off" (4 or more standard errors from theory), "power" (falls with another power of n), "coarse"
    (not known to the precision asked for), "cut" (neither, because of the powers of 1/n left out), "no power", "neighbours" (its interval
    holds 0 or 2), "control" (not refused), "no control". `about`: the direction or control; `z` or `error` where they are the reason."""

    kind: str
    about: str = ""
    value: float = 0.0
    error: float = 0.0
    z: float = 0.0


@dataclass(frozen=True, repr=False, kw_only=True)
class Claim(Record):
    """One quantity against theory. What there is not is None, with the reason in `missing`.

    Means and intercept are projections onto theory, in units in which theory is 1 (or `theory`, where it may be near 0).

    Attributes
    ----------
    kind : str
        What was checked, "kernels", "signal", "tensors" or "training" (in a report: its section).
    quantity : str
        Which one.
    layer : int, str or None
        Its layer; None for the output.
    step : int or None
        Of training.
    modes : tuple or None
        First and last.
    widths, networks : tuple of int
        Widths, and networks at each.
    means, errors : tuple of float
        Measured at each width.
    theory, theory_error : float
        What is claimed; the error is that of a sampled theory.
    intercept, error : float or None
        At infinite width, with its standard error.
    truncation : float or None
        What of `error` stands for powers of 1/n left out.
    scale : float
        Of the quantity.
    precision : float or None
        error/scale.
    z : float
        (intercept - theory)/error.
    worst : float
        The largest |z| of `tests`.
    exponent : float or None
        The power of 1/n with which `falling` falls.
    interval : tuple or None
        That of `exponent`, 4 standard errors.
    predicted : tuple
        The interval in which it lies by theory.
    falling : str
        "mean": the deviation of the mean from theory, "square": the squared deviation of one network, "cumulant", "size".
    tests : tuple
        Every scalar that was tested.
    controls : tuple
        What was refused.
    verdict : str
        "agrees", "disagrees" or "undecided".
    reasons : tuple
        Of the verdict.
    needed : int or None
        Networks per width that would decide it.
    missing : dict
        Why a field is None.
    name : str
        The quantity and where it is, in words.
    sentence : str
        The claim with its verdict and why, in words.
    """

    kind: str
    quantity: str
    layer: int | str | None = None
    step: int | None = None
    modes: tuple[int, int] | None = None
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    means: tuple[float, ...]
    errors: tuple[float, ...]
    theory: float
    theory_error: float = 0.0
    intercept: float | None
    error: float | None
    truncation: float | None
    scale: float = 1.0
    precision: float | None
    z: float
    worst: float
    exponent: float | None
    interval: tuple[float, float] | None
    predicted: tuple[float, float] = (1.0, 1.0)
    falling: str = "mean"
    tests: tuple[Reading, ...] = ()
    controls: tuple[Control, ...] = ()
    verdict: str
    reasons: tuple[Reason, ...]
    needed: int | None
    missing: Mapping[str, str] = field(default_factory=dict)

    _table = ("", "kind name layer step theory intercept error z worst exponent verdict")

    @property
    def name(self) -> str:
        """The quantity and where it is, in words."""
        return words.name(self)

    @property
    def sentence(self) -> str:
        """The claim with its verdict and why, in words."""
        return words.sentence(self)
