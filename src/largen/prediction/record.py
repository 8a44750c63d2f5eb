"""The record of a prediction, and what all who make one share: what it lacks and why, variances at order 1/n, the noise that is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from largen.display import Columns, Record, grid
from largen.prediction import flow
from largen.prediction.spectrum import Condition
from largen.types import Array, is_traced

WIRED = "the covariance of two different outputs, of order 1/n, is not in this record"
ONE = "one network has no spread over initialisations; leave out params for the ensemble"
NOISE = {  # why the noise of a new observation is not known
    "training": "the ridge of training is a decay, or the rate of offsets, no variance of a noise: how='bayes' takes one",
    "each": "a noise variance for each train sample says nothing of test points",
}
LONELY = ("cov", "variance", "initial_variance", "noise", "std", "std_observed")  # what one network has not
UNASKED: dict[Any, dict[str, str]] = {  # what is left out at the `covariance` asked for
    "full": {},
    "diagonal": {"cov": 'the covariance of test points was not asked for: covariance="full"'},
    None: dict.fromkeys(
        ("cov", "variance", "initial_variance", "std", "std_observed"), 'the mean alone was asked for: covariance="diagonal" or "full"'
    ),
}
BROKEN = "first order in 1/n gives a variance below 0, lowest {:.2g}: the expansion has broken down; take order=0 or a wider network"


@dataclass(frozen=True, repr=False, kw_only=True)
class Prediction(Record):
    r"""Outputs of trained networks on m test points, to the `order` in 1/n asked for: 0 (corrections are of order L/n), or 1.

    A field that does not exist is None, with the reason in `missing`.

    Attributes
    ----------
    mean : array (m,) or (m, o)
        As y is (n,) or (n, o); with an array of T times, a leading axis T.
    cov : array (m, m) or (T, m, m), or None
        With covariance="full", the covariance of the noiseless function over initialisations, the same for each output, outputs
        independent; positive semidefinite to rounding. At order=1 it depends on the targets: (m, m) for one column, (o, m, m) for several,
        correlated with each other; T in front of these; cut off after 1/n, it need not be positive where it is small.
    variance : array
        The diagonal of `cov`, never below 0.
    initial_variance : array (m,)
        The variance before training.
    time : float or array (T,)
        eta x steps, for the loss (1/2) sum.
    how : str
        The method.
    source : str
        What was predicted, and from what.
    condition : Condition
        What to trust.
    order : int
        In 1/n.
    error : float
        Estimated relative error of the Gaussian expectations in the kernel, 0 where all are closed forms.
    noise : float or None
        The variance of an observation about the function, the ridge of bayes.
    missing : dict
        Why a field is None.
    std : array like `mean`
        The standard deviation of the noiseless function, \sqrt{variance}.
    std_observed : array like `mean`
        That of an observation, \sqrt{variance + noise}.
    """

    mean: Array
    cov: Any
    variance: Any
    initial_variance: Any
    time: Any
    how: str
    source: str
    condition: Condition
    order: int = 0
    error: Any = 0.0
    noise: Any = 0.0
    missing: Mapping[str, str] = field(default_factory=dict)

    def _columns(self) -> Columns:
        return grid(("time",) * np.ndim(self.time) + ("point", "output"), mean=self.mean, std=self.std)

    @property
    def std(self) -> Any:
        """Standard deviation of the noiseless function, of the shape of `mean`."""
        return None if "std" in self.missing else self._deviation(0.0)

    @property
    def std_observed(self) -> Any:
        """Standard deviation of an observation, of the shape of `mean`."""
        return None if "std_observed" in self.missing else self._deviation(self.noise)

    def _deviation(self, noise: Any) -> Array:
        """sqrt(variance + noise), of the shape of the mean."""
        variance = self.variance
        if self.apart:
            variance = variance.swapaxes(-1, -2)
        elif variance.ndim < self.mean.ndim:
            variance = variance[..., None].repeat(self.mean.shape[-1], axis=-1)
        return (variance + noise) ** 0.5

    @property
    def apart(self) -> bool:
        """Whether every output has a covariance of its own."""
        return self.variance.ndim - (np.ndim(self.time) > 0) == 2


def asked(found: Prediction, covariance: str | None) -> Prediction:
    """The record with no more than the `covariance` asked for."""
    lacking = UNASKED[covariance]
    gone: dict[str, Any] = {name: None for name in lacking if name in {part.name for part in fields(found)}}
    return replace(found, **gone, missing=lacking | dict(found.missing))


def amplified(trusted: Condition, error: Any) -> float:
    """The relative error to expect of an answer: that of rounding, or of the kernel's Gaussian expectations if that is larger."""
    return max(trusted.error, float(error) * trusted.number)


def first_order(cov: Array, prior: Array, amplified: float) -> tuple[Array, dict[str, str]]:
    """Covariances to order 1/n whose variances below 0 by rounding are 0, and what is missing where one is further below: `amplified`
    is the relative error to expect, `prior` (m,) the variances before training."""
    lowest = float(cov.diagonal(axis1=-2, axis2=-1).min())
    slack = 16 * amplified * float(prior.max())
    if lowest < -slack:
        return cov, dict.fromkeys(("std", "std_observed"), BROKEN.format(lowest))
    return flow.lifted(cov, slack), {}


def said_noise(how: str, ridge: Any) -> tuple[Any, dict[str, str]]:
    """The variance of an observation about the function, as far as it was said, and what is missing without it."""
    if how == "bayes" and np.ndim(ridge) == 0:
        return ridge, {}
    if how != "bayes" and not is_traced(ridge) and not np.any(ridge):
        return 0.0, {}
    return None, dict.fromkeys(("noise", "std_observed"), NOISE["each" if how == "bayes" else "training"])
