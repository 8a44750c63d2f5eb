r"""How well trained networks do away from their train points, before any is trained: bias, variance, robustness, curvature.

    E[loss] = (1/2) sum_b,i [ (m_ib - y_ib)^2 + C_bb ]      over test points b and outputs i (PDLT 10.52),

the mean over networks of what a trained network loses: the bias of the mean prediction, and the spread of networks about it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door, exits
from largen.display import Columns, Record, grid
from largen.errors import InputError
from largen.prediction.predict import predict
from largen.prediction.record import Prediction
from largen.theory.kernels import kernel
from largen.types import Array


@dataclass(frozen=True, repr=False, kw_only=True)
class Generalization(Record):
    """What `generalization` returns: `loss` = `bias` + `variance`, halves of sums over m test points and o outputs.

    Attributes
    ----------
    loss, bias, variance : float
        The mean loss and its parts.
    bias_at, variance_at : array (m,)
        The parts' shares at every point (sums over outputs).
    prediction : Prediction
        The `lg.predict` record behind them.
    """

    loss: float
    bias: float
    variance: float
    bias_at: np.ndarray
    variance_at: np.ndarray
    prediction: Prediction

    _table = ("point", "bias_at variance_at")


@exits.finite("time")
def generalization(net: Any, X: Any, y: Any, X_test: Any, y_test: Any, **how: Any) -> Generalization:
    """The expected test loss of trained networks, bias and variance apart, by theory.

        E[loss] = (1/2) sum_b,i [ (m_ib - y_ib)^2 + C_bb ]      over test points b and outputs i,

    the bias of the mean prediction m, and the spread C of networks about it. The mean is over initialisations, not over train sets. Depth,
    width and initialisation enter through `net`: call it for each.

    Parameters
    ----------
    net, X, y, X_test
        As of `lg.predict`.
    y_test : array (m,) or (m, o)
        The truth.
    **how
        Keywords of `lg.predict`: `rates`, `how`, `time`, `ridge`, and `order=1` for networks of finite width.

    Returns
    -------
    Generalization
        The loss and its parts.

    Raises
    ------
    InputError
        For targets that do not go together, a time that is not one number, and as `lg.predict`, whose other errors come too.

    References
    ----------
    PDLT 10.50-10.55.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> angles = lambda t: np.stack([np.cos(t), np.sin(t)], 1) * 1.2
    >>> X, X_test = angles(np.array([0, 1.2, 2.5])), angles(np.array([0.6, 1.9, -1.0]))
    >>> net = lg.mlp(widths=[512], out=1, activation="tanh", C_W=1.5, C_b=0.1)
    >>> out = lg.analysis.generalization(net, X, [0.8, -0.5, 0.3], X_test, np.cos([0.6, 1.9, -1.0]), rates=(0.3, 1.0))
    >>> round(out.loss, 6), round(out.bias, 6)
    (0.60491, 0.467863)
    """
    found = predict(net, X, y, X_test, **how)
    mean = door.host(found.mean, "net, X, y, X_test")
    if np.ndim(found.time):
        raise InputError("time", f"{np.size(found.time)} times", "one time", "Call it for each time.")
    truth = door.host(door.targets(y_test, len(mean), "y_test"), "y_test")
    if truth.shape != mean.shape:
        raise InputError("y_test", f"shape {truth.shape}", f"shape {mean.shape}, that of the predictions")
    if found.variance is None:
        asked = "params" if how.get("params") is not None else "covariance"
        got = "one network" if asked == "params" else "None"
        raise InputError(asked, got, f"no {asked}: bias and variance are those of the ensemble")
    outputs = mean.size // len(mean)
    bias = ((mean - truth) ** 2).reshape(len(mean), outputs).sum(1) / 2
    spread = np.asarray(found.variance, float)  # (m,), or (o, m) where outputs differ
    variance = (spread * outputs if spread.ndim == 1 else spread.sum(0)) / 2
    return Generalization(
        loss=float(bias.sum() + variance.sum()),
        bias=float(bias.sum()),
        variance=float(variance.sum()),
        bias_at=bias,
        variance_at=variance,
        prediction=found,
    )


@dataclass(frozen=True, repr=False, kw_only=True)
class Robustness(Record):
    """What `robustness` returns, for networks trained on x1 alone and asked at x2.

    Attributes
    ----------
    robustness : float
        Theta_21/Theta_11 - 1, the share of y by which the mean at x2 misses it: mean = (1 + robustness) y.
    variance : float
        Of the outputs at x2 over networks.
    cosine : float
        Theta_21/sqrt(Theta_11 Theta_22).
    curvature : float
        ddTheta_0/Theta_00 of the midpoint, by which predictions between x1 and x2 bend away from the straight line:
        -s (1 - s) curvature (y1 + y2) at s x1 + (1 - s) x2 (PDLT 10.113, corrected).
    """

    robustness: Array
    variance: Array
    cosine: Array
    curvature: Array

    def _columns(self) -> Columns:
        return grid(("output",), robustness=self.robustness, variance=self.variance, cosine=self.cosine, curvature=self.curvature)


@exits.finite()
def robustness(net: Any, x1: Any, x2: Any, rates: Any = "ntk") -> Robustness:
    """How what is learned at one point carries over to another, at infinite width and the end of training.

    Critical networks keep it independent of depth: -3/4 for ReLU at any distance, O(d^2) for tanh, only with the rates of the
    equivalence principle (`lg.plan_rates`).

    Parameters
    ----------
    net : architecture
        Any network with a kernel.
    x1 : array (features,)
        The train point.
    x2 : array (features,)
        Where the network is asked.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.kernel`.

    Returns
    -------
    Robustness
        Numbers.

    Raises
    ------
    InputError
        For points of different shapes, and for an NTK of 0 at x1.

    References
    ----------
    PDLT 10.56-10.65, 10.93-10.95; the sign and size of the curvature's effect are corrected (10.113-10.117).

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[64] * 99, activation="relu", C_W=2.0)
    >>> out = lg.analysis.robustness(net, np.array([1.0, 0.0]), np.array([np.cos(1), np.sin(1)]), rates=(1.0, 1.0))
    >>> round(float(out.robustness), 3), round(float(out.cosine), 3)
    (-0.72, 0.28)
    """
    one, two = (door.values(x, name) for x, name in ((x1, "x1"), (x2, "x2")))
    if one.shape != two.shape or one.ndim == 0:
        raise InputError("x2", f"shape {two.shape}", f"the shape of x1, {one.shape}")
    door.concrete((net, rates), "net, rates")
    found = kernel(net, np.stack([one, two, (one + two) / 2]), rates=rates)
    K, theta = np.asarray(found.nngp), np.asarray(found.ntk)
    if not theta[0, 0] > 0:
        raise InputError("x1", f"a point with an NTK of {theta[0, 0]:g}", "one that training can change")
    share = theta[1, 0] / theta[0, 0]
    middle = (theta[0, 0] + theta[1, 1] + 2 * theta[0, 1]) / 4 - theta[2, 2]
    return Robustness(
        robustness=share - 1,
        variance=np.maximum(K[1, 1] - 2 * share * K[0, 1] + share**2 * K[0, 0], 0.0),  # below by rounding
        cosine=theta[0, 1] / np.sqrt(theta[0, 0] * theta[1, 1]),
        curvature=middle / theta[2, 2],
    )
