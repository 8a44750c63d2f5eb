"""What a study hands back: frozen records of plain numbers, which a report renders and JSON holds."""

from dataclasses import dataclass

from largen.agreement.claim import Claim

Numbers = tuple[float, ...]


class Section:
    """A part of a study: what was seen, its `claims`, and their `verdict`."""

    claims: tuple[Claim, ...]
    verdict: str

    def of(self, quantity: str) -> tuple[Claim, ...]:
        """The claims about one quantity."""
        return tuple(c for c in self.claims if c.quantity == quantity)


@dataclass(frozen=True)
class Signals(Section):
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
    claims: tuple[Claim, ...]
    verdict: str


@dataclass(frozen=True)
class Tangent(Section):
    """The NTK at initialisation, entry by entry (`entries`: a sample of pairs, theory and mean over the widest networks); how
    far it moved, |Theta(T) - Theta(0)| / |Theta(0)| in the Frobenius norm, is the claim "movement"."""

    points: int
    entries_theory: Numbers
    entries_measured: Numbers
    entries_se: Numbers
    claims: tuple[Claim, ...]
    verdict: str


@dataclass(frozen=True)
class Control:
    """The widest network that was also trained in its linearisation, from its own start and with its own NTK: losses per point
    at the `steps` of the learning curves. |z - z_lin| / |z - z(0)| on test points at the end is the claim "distance"."""

    width: int
    points: int
    train: Numbers
    test: Numbers
    control_train: Numbers
    control_test: Numbers


@dataclass(frozen=True)
class Curves(Section):
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
    claims: tuple[Claim, ...]
    control: Control | None
    missing: str
    verdict: str


@dataclass(frozen=True)
class Modes(Section):
    """How fast each eigenmode of theory's NTK was learned: `rate` (first axis: `widths`), from the fraction of the mode's
    residual left after `steps` steps; theory says its `eigenvalue`."""

    eigenvalue: Numbers
    steps: tuple[int, ...]
    widths: tuple[int, ...]
    rate: tuple[Numbers, ...]
    rate_se: tuple[Numbers, ...]
    claims: tuple[Claim, ...]
    verdict: str


@dataclass(frozen=True)
class Errors(Section):
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
    claims: tuple[Claim, ...]
    verdict: str


@dataclass(frozen=True)
class Study:
    """Theory against real networks on one task, section by section; `verdict` of all of them together."""

    signals: Signals
    tangent: Tangent
    curves: Curves
    modes: Modes
    errors: Errors
    verdict: str

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Those of all sections."""
        return tuple(c for part in (self.signals, self.tangent, self.curves, self.modes, self.errors) for c in part.claims)
