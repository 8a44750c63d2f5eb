"""The 1/n tensors of real networks: `lg.measure.tensors`. What is measured of one network: `patterns`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from largen import door
from largen.architecture.nodes import Act, Affine, Dense, Serial, network
from largen.architecture.paths import everything
from largen.errors import UnsupportedError
from largen.networks import patterns
from largen.networks.higher import refuse_kinks, rough
from largen.networks.patterns import COVARIANCES, MEANS, PATTERNS, Tensors
from largen.networks.work import Work, measured
from largen.parametrizations.rates import resolve
from largen.types import Params, hand_back, namespace

NAME = "lg.measure.tensors"
SMOOTH = ("R", "S", "T", "U")  # third derivatives along parameters


def deviations(found: Tensors, wanted: Iterable[str]) -> dict[str, Any]:
    """V, D, A of those wanted, network by network: products of deviations from the mean, without bias, without the factor n."""
    N = len(found.K)
    rest = {name: value - value.mean(0) for name in MEANS if (value := getattr(found, name)) is not None}
    ask = {name: pair for name, pair in COVARIANCES.items() if name in wanted}
    xp = namespace(found.K)
    return {name: xp.einsum("kab,kcd->kabcd", rest[one], rest[two]) * (N / (N - 1)) for name, (one, two) in ask.items()}


def named(net: Serial, wanted: Iterable[str] | None) -> tuple[str, ...]:
    """The tensors wanted, checked; default all that the network has. Raises what `tensors` raises."""
    known = (*MEANS, "K1", "Theta1", *COVARIANCES, *PATTERNS)
    smooth = not any(isinstance(part, Act) and rough(part) for _, part in everything(net))
    if wanted is None:
        return tuple(name for name in known if smooth or name not in SMOOTH)
    names = door.names(wanted, "tensors", known, '("V", "F")')
    if set(names) & set(SMOOTH):
        refuse_kinks(net, NAME)
    return names


def fan_in(net: Serial, shape: tuple[int, ...]) -> int:
    """The width n of the layer before the output. Raises `UnsupportedError` unless an affine layer comes last, after others."""
    *front, last = net.nodes
    if not isinstance(last, Dense):
        raise UnsupportedError(repr(last), "the end", NAME, "the average over the last weights needs an affine layer there", ["Dense"])
    if not front or not any(isinstance(part, Affine) for _, part in everything(Serial(tuple(front)))):
        raise UnsupportedError(repr(net), "", NAME, "one affine layer has no layer before it")
    return last.fan_in(Serial(tuple(front)).shape(shape))


@measured
def tensors(net: Any, params: Params, X: Any, rates: Any = "ntk", tensors: Iterable[str] | None = None) -> Work[Tensors]:
    """The 1/n tensors of a real network, averaged over the weights of its last layer.

    Means over networks are n times the cumulants that `lg.corrections` predicts, up to a relative 1/n, with n the width of the layer before
    the output. At kinks phi'' = 0 in P and Q, as in automatic differentiation. Cost: V, D, A one backward pass for each of the n units; the
    others some hundred passes, whatever n.

    Parameters
    ----------
    net : architecture
        Any network of two affine layers or more, the last node one of them.
    params : dict
        At initialisation (whose last weights serve as random signs), of an ensemble with `lg.each`, narrow networks fastest in chunks of
        thousands.
    X : array (n, features)
        Points, of any shape that `lg.apply` takes.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.empirical_ntk`.
    tensors : iterable of str, optional
        Names out of K, Theta, V, D, A, F, B, P, Q, R, S, T, U, default all (without the last four for kinked activations).

    Returns
    -------
    Tensors
        In the dtype of the parameters; V, D, A, which are covariances over networks, of an ensemble only.

    Raises
    ------
    InputError
        As `lg.apply` does, and for unknown names.
    UnsupportedError
        Without an affine layer last, with it alone, for R, S, T, U with a kink.

    References
    ----------
    PDLT 8.67-8.97, 11.45, inf.11-12, inf.169-170, each average over the last weights taken before that over networks.

    Examples
    --------
    >>> import largen as lg, jax, numpy as np
    >>> from largen.networks.tensors import tensors
    >>> net = lg.mlp(widths=[16, 16], out=1, activation="tanh", C_W=1.5)
    >>> params = lg.init(net, 3, jax.random.key(0), networks=7)
    >>> out = lg.each(tensors, net, params, np.eye(3)[:2], tensors=("V", "B"))
    >>> out.V.shape, out.B.shape, out.F
    ((7, 2, 2, 2, 2), (7, 2, 2, 2, 2), None)
    """
    whole, x = network(net), door.inputs(X)
    names, n = named(whole, tensors), fan_in(whole, x.shape[1:])

    def finish(found: Tensors) -> Tensors:
        done = hand_back(found, x)
        alone = done.K.ndim == 2 or len(done.K) < 2
        return done if alone else replace(done, **{name: n * value for name, value in deviations(done, names).items()})

    return Work(patterns.tensors, whole, params, x, (x, resolve(whole, rates)), _needed, {"wanted": names}, finish)


def _needed(n: int, largest: int, total: int, o: int) -> tuple[float, float]:
    """Numbers of one network, every tensor and its deviation from the mean, and held besides."""
    return 20.0 * n**4, 20.0 * n**4 + 8.0 * n * n * total * largest
