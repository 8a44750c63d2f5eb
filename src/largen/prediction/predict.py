"""`lg.predict`: what a trained network outputs, for the ensemble of wide networks or for one given network."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.architecture.nodes import Serial, network
from largen.border import bordered
from largen.errors import InputError, shown
from largen.grams.operator import cuts
from largen.prediction import flow, memory
from largen.prediction.given import Given, refuse_beside_kernel
from largen.prediction.kernels import Blocks, computed
from largen.prediction.record import LONELY, ONE, Prediction, asked, said_noise
from largen.prediction.spectrum import condition, factor, flatten, ridges
from largen.types import Array, island, namespace

SOURCE = "ensemble of networks at infinite width (PDLT 10.40, 10.41)"


@exits.finite("time")
@bordered("X", "params", points=("X", "X_test"))
def predict(
    net: Any,
    X: Any,
    y: Any,
    X_test: Any,
    rates: Any = "ntk",
    how: str = "flow",
    time: Any = np.inf,
    eta: Any = None,
    steps: Any = None,
    ridge: Any = 0.0,
    order: int = 0,
    params: Any = None,
    covariance: str | None = "diagonal",
    kernel: Any = None,
) -> Prediction:
    """Outputs on `X_test` of networks trained on (X, y): mean and covariance over initialisations, at infinite width or to order 1/n.

    With A = train, B = test, K the prior covariance (NNGP), Theta the NTK at `rates`, R = diag(ridge), targets y, of the loss
    (1/2) sum over samples and outputs:

    - how="flow" (PDLT 10.40, 10.41): mean R_t y, cov K_BB - R_t K_AB - K_BA R_t^T + R_t K_AA R_t^T, with
      R_t = Theta_BA (Theta_AA + R)^{-1} (1 - exp(-(Theta_AA + R) t)).
    - how="descent": full-batch steps of size `eta`: (1 - eta lambda)^steps in place of exp(-lambda t).
    - how="newton" (10.25-10.31): the giant leap, equal to flow at infinite time.
    - how="bayes" (6.57, 6.64): mean K_BA (K_AA + R)^{-1} y, cov K_BB - K_BA (K_AA + R)^{-1} K_AB: training the last layer only.

    `order=1` adds what is of order 1/n in the widths of `net`, a chain (for training plain and of smooth activations; for bayes the
    ReLU family too). Time and memory then grow as (n + m)^4.

    - For training until any time or step: the fluctuation of the NTK, its motion (dNTK) and the motion of that (ddNTKs), weighed by the
      projectors of the algorithm, so that flow, descent and Newton (in two steps) now differ (PDLT inf.81-83 solved, at the end inf.155
      with corrected signs and permutations; the covariance, not in the book, is every Wick contraction at order 1/n: nothing is sampled).
    - A ridge is then the rate of offsets, also if one number.
    - Several columns of y are outputs of one network and share its hidden layers, unless the network has one output.

    With `params` the same for that one network, linearised about it: its own outputs z(0) and its own empirical NTK with all pairs of
    outputs, z_B(t) = z_B(0) - R_t (z_A(0) - y); with order=1 also its own dNTK and ddNTKs, up to 1/n^2.

    One eigendecomposition of n x n serves all times, outputs and test points. Differentiable in C_W, ridge, time, y, X, ...,
    once and, where the kernel is, twice, at repeated eigenvalues too; works under `jit` and `vmap`.

    Parameters
    ----------
    net : architecture
        Any network with a kernel; at order 1 a chain.
    X : array (n, features) or (n, *positions, channels)
        Train points. The result has their dtype (float32 at least), with `params` that of the parameters.
    y : array (n,) or (n, o)
        Targets. Without `params`, a network with one output takes any number of columns (each its own network).
    X_test : array (m, ...) like `X`
        Test points.
    rates : "ntk" or (lambda_b, lambda_W)
        Learning rates inside the NTK, as in `lg.kernel`; "ntk" with how="bayes".
    how : str
        "flow", "descent", "newton" or "bayes", as above.
    time : float or array (T,)
        eta x steps, for "flow"; inf is the end.
    eta : float, optional
        The step of "descent", at most 2/lambda_max.
    steps : int or array (T,), optional
        How many steps of "descent"; inf for the end.
    ridge : float or array (n,)
        Absolute. The noise variance for bayes; for training, decay towards the initial parameters
        (loss + (ridge/2)|theta - theta(0)|^2 in the metric of the rates), or, one per sample, an offset of its own for each train sample,
        trained at rate ridge.
    order : int
        0 or 1, the order in 1/n.
    params : dict, optional
        Parameters of one network, of `lg.init`.
    covariance : str or None
        "diagonal" for the variances at the test points alone, which `.std` needs, without a matrix (m, m); "full" for `.cov` too; None for
        the mean alone. (At order=1 the tensors of all points are computed in any case.)
    kernel : record with `nngp` and `ntk`, optional
        In place of computing: the record of `lg.gram` or `lg.kernel` of train and test points together, train points first, at the rates
        meant. Kernels in memory, in a store on a disk, or any matrices that can be asked for blocks by slices, of which no more is read
        than is needed: the train block, the rows of test points some at a time, and, as far as the covariance is asked for, its diagonal.
        The kernel is taken as it is; of the network only the number of outputs matters. Bayes reads `.nngp`, training `.ntk`, and for its
        covariance both. The dtype is then the shorter one of that of `X` and that of the kernel. Not with `params`, `rates`, order=1.

    Returns
    -------
    Prediction
        `.mean` (m,) or (m, o), `.std` likewise, `.cov` (m, m) per output with covariance="full"; with T times, a leading axis T. What was
        not asked for is None, and one network (`params`) has no covariance.

    Raises
    ------
    InputError
        For bad arrays, integer labels, arguments that do not go together, eta > 2/lambda_max, and what does not fit into memory.
    SingularKernelError
        When infinite time is not defined (duplicate points, more points than features, too little precision).
    UnsupportedError
        For order=1 of training with kinks or skip connections, and as `lg.corrections`.

    References
    ----------
    PDLT 6.57, 6.64, 10.25-10.31, 10.40, 10.41, inf.81-83, inf.155.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[512], out=1, activation="relu", C_W=2.0)
    >>> X, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, -1.0])
    >>> p = lg.predict(net, X, y, np.array([[1.0, 0.0], [1.0, 1.0]]))
    >>> p.mean.round(6) + 0.0, p.condition.trust
    (array([1., 0.]), 'good')

    >>> Z = np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> both = lg.gram(net, np.concatenate([X, Z]))  # or with store=PATH
    >>> lg.predict(net, X, y, Z, kernel=both).mean.round(6) + 0.0
    array([1., 0.])
    """
    net, X = network(net), door.inputs(X)
    X_test = door.inputs(X_test, "X_test", X.shape[1:], "X")
    y, ridge = door.targets(y, len(X)), ridges(ridge, len(X))
    plan = flow.schedule(how, time, eta, steps)
    order, covariance = door.order(order), _covariance(covariance)
    usual = isinstance(rates, str) and rates == "ntk"
    if how == "bayes" and (params is not None or not usual):
        name, got, need = ("rates", repr(rates), 'rates="ntk"') if params is None else ("params", "one network", "no params")
        raise InputError(name, got, f'{need} with how="bayes": the posterior averages over initialisations and has no training')
    outputs, dtype = _outputs(net, y, params), X.dtype
    which = "nngp" if how == "bayes" else "ntk" if covariance is None else "both"
    given = None
    if kernel is not None:
        refuse_beside_kernel(order, params, usual)
        given = Given(kernel, len(X), len(X_test), which)
        dtype = min(dtype, given.dtype, key=lambda kind: kind.itemsize)
    dtype = jnp.promote_types(dtype, np.float32)
    _fits(net if given is None else None, X, X_test, outputs, plan, params, covariance, dtype.itemsize)
    xp = namespace(X, y, X_test)
    with island(X, params):
        X, X_test, targets = (xp.asarray(a, dtype=dtype) for a in (X, X_test, y))
        columns = targets.reshape(len(X), -1)
        if order == 1:
            out = _first_order(net, params, X, columns, X_test, rates, plan, ridge)
        elif params is None:
            blocks = computed(net, X, X_test, rates, which) if given is None else given.blocks()
            out = _ensemble(blocks, columns, plan, ridge, covariance)
            out = out if given is None else replace(out, source=f"{out.source}, from the kernel given")
        else:
            out = _network(net, params, X, columns, X_test, rates, plan, ridge)
        out = asked(out, covariance)
        return out if y.ndim == 2 else replace(out, mean=out.mean[..., 0])


def _covariance(value: Any) -> str | None:
    """How much of the covariance is asked for."""
    if value is not None and (not isinstance(value, str) or value not in ("diagonal", "full")):
        raise InputError("covariance", shown(value), '"diagonal" (the variances), "full", or None (the mean alone)')
    return value


def _outputs(net: Serial, y: Array, params: Any) -> int:
    """How many outputs the network has, after checking that y fits them."""
    width = net.units(None) or 1
    columns = 1 if y.ndim == 1 else y.shape[1]
    single = params is None and (y.ndim == 1 or width == 1)  # infinitely wide: each column stands for itself
    if columns != width and not single:
        raise InputError("y", f"shape {y.shape}", f"one column per output of the network ({width})")
    return width


def _fits(
    net: Serial | None, X: Array, X_test: Array, outputs: int, plan: flow.Schedule, params: Any, covariance: str | None, itemsize: int
) -> None:
    """Refuse what does not fit into memory, before any work; no net, where kernels are given."""
    n, m, times = len(X), len(X_test), int(np.size(plan.time))
    if params is None:
        full = covariance == "full"
        needed = memory.kernel_prediction(net, X.shape[1:], n, m, times, itemsize, full)
        what = "kernels, one factorisation and " + ("a covariance per time" if full else "what trains each test point per time")
    else:
        needed, what = memory.network_prediction(n, m, outputs, times, itemsize), f"one network's kernel with its {outputs} outputs"
    got = f"{n} train and {m} test points at {times} time{'s' * (times > 1)} ({what})"
    memory.require(needed, "X, X_test", got, "Predict test points in batches, ask for fewer times, use float32, or fewer train points.")


def _first_order(net: Serial, params: Any, X: Array, y: Array, X_test: Array, rates: Any, plan: flow.Schedule, ridge: Any) -> Prediction:
    """To order 1/n: the posterior, one network, or the ensemble."""
    from largen.prediction.first_order import ask  # here, as they import SciPy
    from largen.prediction.posterior.posterior import posterior

    if plan.how == "bayes":
        return posterior(net, X, y, X_test, ridge)
    if params is not None:
        return ask.single(net, params, X, y, X_test, rates, plan, ridge)
    return ask.ensemble(net, X, y, X_test, rates, plan, ridge)


def _ensemble(blocks: Blocks, y: Array, plan: flow.Schedule, ridge: Any, covariance: str | None) -> Prediction:
    """The ensemble of infinitely wide networks, from the kernels of train points, of test with train points, some rows at a time, and, as
    far as the covariance is asked for, of test points."""
    bayes, full, dtype = plan.how == "bayes", covariance == "full", y.dtype
    train, cross = blocks.train, blocks.cross
    inside, across = (train.nngp, cross.nngp) if bayes else (train.ntk, cross.ntk)
    f = factor(namespace(y, inside).asarray(inside, dtype), ridge, "K" if bayes else "theta")
    w = flow.weights(f, plan)
    xp, error = namespace(y, train, w), train.error
    variance = prior = cov = None
    if covariance is None:
        mean = xp.asarray(flow.mean(f, w, across, y), dtype)
    else:
        K_AA, (K_BB, own) = xp.asarray(train.nngp, dtype), blocks.own(full)
        K_BB, error, means, covs = xp.asarray(K_BB, dtype), xp.maximum(error, own), [], []
        for at in cuts(len(K_BB), len(K_BB) if full else memory.rows(len(K_AA), np.size(plan.time))):
            K_BA = xp.asarray(cross.nngp[at, :], dtype)
            theta_BA = K_BA if bayes else xp.asarray(across[at, :], dtype)
            worst = xp.maximum(error, cross.error)
            means.append(flow.mean(f, w, theta_BA, y))
            if bayes:
                covs.append(flow.posterior_covariance(f, w, K_AA, ridge, K_BA, K_BB[at], worst))
            else:
                covs.append(flow.covariance(f, w, theta_BA, K_AA, K_BA, K_BB[at], worst))
        mean, cov = xp.concatenate(means, -2), xp.concatenate(covs, -1)
        prior, variance = (K_BB.diagonal(), cov.diagonal(axis1=-2, axis2=-1)) if full else (K_BB, cov)
    error = xp.maximum(error, cross.error)
    noise, missing = said_noise(plan.how, ridge)
    return Prediction(
        mean=mean,
        cov=cov,  # or the variances, where no more was asked for: `asked` drops them
        variance=variance,
        initial_variance=prior,
        time=plan.time,
        how=plan.how,
        source="Bayesian posterior at infinite width (PDLT 6.57, 6.64)" if bayes else SOURCE,
        condition=condition(f, w, error),
        error=error,
        noise=noise,
        missing=missing,
    )


def _network(net: Serial, params: Any, X: Array, y: Array, X_test: Array, rates: Any, plan: flow.Schedule, ridge: Any) -> Prediction:
    """One given network, linearised about its parameters, from its own outputs and its own NTK."""
    from largen.networks.empirical import empirical_ntk
    from largen.networks.outputs import apply

    n, outputs, both = len(X), y.shape[1], namespace(X).concatenate([X, X_test])
    z0 = apply(net, params, both)
    theta = flatten(empirical_ntk(net, params, both, X, rates=rates, full=True))
    xp, dtype = namespace(z0, theta), jnp.promote_types(z0.dtype, np.float32)
    z0, theta, y = (xp.asarray(a, dtype=dtype) for a in (z0, theta, y))
    spread = ridge if np.ndim(ridge) == 0 else xp.repeat(xp.asarray(ridge), outputs)
    f = factor(theta[: n * outputs], spread)
    w = flow.weights(f, plan, outputs)
    moved = flow.mean(f, w, theta[n * outputs :], (y - z0[:n]).reshape(-1, 1))
    return Prediction(
        mean=z0[n:] + moved.reshape(*moved.shape[:-2], len(X_test), outputs),
        cov=None,
        variance=None,
        initial_variance=None,
        time=plan.time,
        how=plan.how,
        source="one network, linearised about its parameters, with its own empirical NTK (PDLT 10.31)",
        condition=condition(f, w),
        noise=None,
        missing=dict.fromkeys(LONELY, ONE),
    )
