r"""How wide is wide enough: the width at which the infinite-width theory of this network on these inputs is right to a tolerance.

Every quantity of a network of finite width is its limit times 1 + c/n + O(1/n^2), with n the width of the last hidden layer and c
computed by `lg.corrections`, for the inputs of the largest c:

    K: K1/K,     Theta: Theta1/Theta,     Var[K]: V/K^2,     Var[Theta]: (A + 2B)/Theta^2,     dNTK: (P + 2Q)/Theta^2.

So the leading order is good to `tolerance` from n = |c|/tolerance on. A single network scatters as the root of these variances.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door, exits
from largen.architecture.chain import chain
from largen.architecture.nodes import network
from largen.display import Columns, Record
from largen.errors import InputError, shown
from largen.theory.corrections.corrections import Corrections, corrections

FINEST = 1e-8  # tolerance: the corrections themselves are no better
ASKED = ("K", "K1", "V", "Theta", "Theta1", "A", "B", "P", "Q")


@dataclass(frozen=True, repr=False, kw_only=True)
class Width(Record):
    """What `lg.width` returns.

    Attributes
    ----------
    width : int
        Of the first hidden layer, the others in proportion, from which on every observable is within `tolerance` of its limit.
    single : int
        From which on one network's own NTK is, in its typical (root mean square) deviation.
    relative : dict
        {observable: |c|/n at the network's own width}, the largest first.
    needed : dict
        {observable: width}, the largest first.
    L_over_n : float
        The sum of 1/n over hidden layers and once more the last.
    tolerance : float
        As given.
    corrections : Corrections
        The record behind it.
    sentences : tuple of str
        All of it in words.
    """

    width: int
    single: int
    relative: Mapping[str, float]
    needed: Mapping[str, int]
    L_over_n: float
    tolerance: float
    corrections: Corrections
    sentences: tuple[str, ...]

    def _columns(self) -> Columns:
        names = [*self.relative]
        return {"observable": names, "relative": [*self.relative.values()], "needed": [self.needed.get(name) for name in names]}


@exits.finite()
def width(net: Any, X: Any, tolerance: float = 0.05, rates: Any = "ntk") -> Width:
    """The smallest width at which theory's leading order is good to a tolerance.

    Every quantity of a network of finite width is its limit times 1 + c/n + O(1/n^2), with n the width of the last hidden layer and c
    computed by `lg.corrections`, for the inputs of the largest c:

        K: K1/K,     Theta: Theta1/Theta,     Var[K]: V/K^2,     Var[Theta]: (A + 2B)/Theta^2,     dNTK: (P + 2Q)/Theta^2.

    Parameters
    ----------
    net : architecture
        A plain chain, whose widths set the proportions.
    X : array (n, features)
        A few typical inputs (cost grows as n^4).
    tolerance : float
        Relative, at least 1e-8.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.kernel`.

    Returns
    -------
    Width
        The width, and what every observable needs.

    Raises
    ------
    InputError
        For a tolerance below 1e-8, a network without a hidden layer, and inputs that are all zero.
    UnsupportedError
        As `lg.corrections` does: what is no plain chain, kinked activations that are not like ReLU.

    References
    ----------
    PDLT 4.115-4.119, 8.97, 11.5; the expansion in L/n.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[100] * 4, out=1, activation="relu", C_W=2.0)
    >>> out = lg.width(net, np.array([[1.0, 1.0]]), tolerance=0.05)
    >>> out.width, {name: round(c, 3) for name, c in out.relative.items()}  # V/(n K^2) = 5 (L - 1)/n
    (400, {'variance of the kernel': 0.2, 'variance of the NTK': 0.136, 'dNTK': 0.032, 'kernel': 0.0, 'NTK': 0.0})
    """
    whole, x = network(net), door.host(door.points(X), "X")
    tolerance = door.real(tolerance, "tolerance", low=FINEST)
    layers = chain(whole)
    if len(layers) < 2:
        raise InputError("net", shown(net), "a network with at least one hidden layer")
    found = corrections(whole, x, rates, tensors=ASKED)
    hidden = [layer.width for layer in layers[:-1]]
    sizes = _relative(found)
    needed = {name: max(1, math.ceil(hidden[0] * c / tolerance * (1 - 1e-9))) for name, c in sizes.items()}  # 300.0000001 is 300
    scatter = sizes["variance of the NTK"]
    single = math.ceil(hidden[0] * scatter / tolerance**2)
    depth = sum(1 / n for n in hidden) + 1 / hidden[-1]
    worst, largest = next(iter(needed.items()))
    words = (
        f"From width {largest} on, theory's leading order is good to {100 * tolerance:g} %; the {worst} decides "
        f"({100 * sizes[worst]:.2g} % off at width {hidden[0]}).",
        f"One network's own NTK is typically {100 * scatter**0.5:.2g} % from the mean at width {hidden[0]}; "
        f"it takes width {single} for {100 * tolerance:g} %.",
    )
    return Width(
        width=largest, single=single, relative=sizes, needed=needed, L_over_n=depth, tolerance=tolerance, corrections=found, sentences=words
    )


def _relative(found: Corrections) -> dict[str, float]:
    """|c|/n of every observable, the largest over inputs, largest first; the NTK and kernel of inputs with themselves."""
    n = found.width
    K, theta = (np.diagonal(np.asarray(v, float)) for v in (found.K, found.Theta))
    if not (K > 0).any() or not (theta > 0).any():
        raise InputError("X", "inputs with a kernel or an NTK of 0", "inputs that the network sees")
    V, A, B, P, Q = (np.einsum("aaaa->a", np.asarray(getattr(found, name), float)) for name in "VABPQ")
    K1, theta1 = (np.diagonal(np.asarray(v, float)) for v in (found.K1, found.Theta1))

    def largest(values: np.ndarray, scale: np.ndarray) -> float:
        return float(np.abs(values[scale > 0] / scale[scale > 0]).max() / n)

    sizes = {
        "kernel": largest(K1, K),
        "variance of the kernel": largest(V, K**2),
        "NTK": largest(theta1, theta),
        "variance of the NTK": largest(A + 2 * B, theta**2),
        "dNTK": largest(P + 2 * Q, theta**2),
    }
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
