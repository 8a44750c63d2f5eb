"""What a study hands back: frozen records of plain numbers, which a report renders and JSON holds."""

from dataclasses import dataclass

Numbers = tuple[float, ...]

AGREES, DISAGREES, UNDECIDED = "agrees", "disagrees", "undecided"


@dataclass(frozen=True)
class Comparison:
    """One number of theory against real networks, at infinite width.

    `theory` +- `theory_se` (0 unless it was sampled); `limit` +- `se`: the networks' mean at each width, extrapolated to
    n -> infinity by a polynomial in 1/n, which its cut may have put off by `truncation`; `z`: the difference in errors (all
    three together), as that of a normal variable (Student's t is converted). `notices`: the smallest relative difference
    that would have been noticed, 4 errors over `scale`. `means`, `ses`: at each width n, over so many `networks`.
    """

    quantity: str
    unit: str
    theory: float
    theory_se: float
    limit: float
    se: float
    truncation: float
    z: float
    scale: float
    notices: float
    verdict: str
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    means: Numbers
    ses: Numbers


@dataclass(frozen=True)
class FallOff:
    """A quantity that theory says vanishes as a power of the width, n^-power with power in `predicted`.

    `power` is fitted to `means` +- `ses`, [`low`, `high`] is its interval at 4 standard errors (None: not determined); `z`: its
    distance to the predicted interval in standard errors, 0 inside.
    """

    quantity: str
    unit: str
    power: float | None
    low: float | None
    high: float | None
    predicted: tuple[float, float]
    z: float
    verdict: str
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    means: Numbers
    ses: Numbers


@dataclass(frozen=True)
class Judgement:
    """The verdict of a section: its worst `z`, how many comparisons were made and decided, what they would have noticed."""

    verdict: str
    worst_z: float
    worst: str
    comparisons: int
    decided: int
    notices: float


@dataclass(frozen=True)
class Signals:
    """Sizes and correlations of the preactivations of each affine layer at initialisation, averaged over points and pairs.

    `size`: mean second moment; `cosine`: mean cosine between different points, None for the output layer, whose few units
    have no limit. First axis of `measured_*`: widths.
    """

    layers: tuple[str, ...]
    points: int
    size: Numbers
    cosine: Numbers
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    measured_size: tuple[Numbers, ...]
    measured_size_se: tuple[Numbers, ...]
    measured_cosine: tuple[Numbers, ...]
    measured_cosine_se: tuple[Numbers, ...]
    comparisons: tuple[Comparison, ...]
    judgement: Judgement


@dataclass(frozen=True)
class Tangent:
    """The NTK at initialisation, entry by entry (`entries`: a sample of pairs, theory and mean over the widest networks), and
    `movement`: |Theta(T) - Theta(0)| / |Theta(0)| in the Frobenius norm, by width."""

    points: int
    entries_theory: Numbers
    entries_measured: Numbers
    entries_se: Numbers
    comparisons: tuple[Comparison, ...]
    movement: FallOff
    judgement: Judgement


@dataclass(frozen=True)
class Control:
    """The widest network that was also trained in its linearisation, from its own start and with its own NTK: losses per point
    at the `steps` of the learning curves, and `distance`: |z - z_lin| / |z - z(0)| on test points at the end, by width."""

    width: int
    points: int
    train: Numbers
    test: Numbers
    control_train: Numbers
    control_test: Numbers
    distance: FallOff


@dataclass(frozen=True)
class Curves:
    """Losses per point, (1/2) sum over outputs of (z - y)^2, during training. `time` = eta x steps. `*_sd`: theory's spread
    from one network to another. First axis of `train`, `test`: widths; of `train_networks`: the widest networks, one by one."""

    eta: float
    steps: tuple[int, ...]
    time: Numbers
    theory_train: Numbers
    theory_train_sd: Numbers
    theory_test: Numbers
    theory_test_sd: Numbers
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    train: tuple[Numbers, ...]
    train_se: tuple[Numbers, ...]
    test: tuple[Numbers, ...]
    test_se: tuple[Numbers, ...]
    train_networks: tuple[Numbers, ...]
    test_networks: tuple[Numbers, ...]
    inside: float
    comparisons: tuple[Comparison, ...]
    control: Control | None
    missing: str
    judgement: Judgement


@dataclass(frozen=True)
class Modes:
    """How fast each eigenmode of theory's NTK was learned: `rate` (first axis: `widths`), from the fraction of the mode's
    residual left after `steps` steps; theory says its `eigenvalue`."""

    eigenvalue: Numbers
    steps: tuple[int, ...]
    widths: tuple[int, ...]
    rate: tuple[Numbers, ...]
    rate_se: tuple[Numbers, ...]
    comparisons: tuple[Comparison, ...]
    judgement: Judgement


@dataclass(frozen=True)
class Errors:
    """Test errors: the fraction of wrong classes, or the root mean square error in units of the target.

    `single`: one network at the flow time T, by theory (mean over `draws` networks drawn from N(mean, cov), and their
    spread) and measured by width. `ensemble_*`: of the average of as many networks as were trained at the largest width.
    """

    measure: str
    nngp: float
    ntk: float
    ntk_end: float
    chance: float
    draws: int
    single: float
    single_sd: float
    ensemble_size: int
    ensemble: float
    ensemble_measured: float
    initial_share: float
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    measured: Numbers
    measured_se: Numbers
    comparisons: tuple[Comparison, ...]
    judgement: Judgement


@dataclass(frozen=True)
class Study:
    """Theory against real networks on one task, section by section; `judgement` of all of them together."""

    signals: Signals
    tangent: Tangent
    curves: Curves
    modes: Modes
    errors: Errors
    judgement: Judgement
