r"""How many numbers say all about a trained network: the complexity of the model, not of its parametrization (PDLT, epilogue).

At infinite width the trained outputs on N_D = n_train + n_test inputs are Gaussian, given by the labels, K and Theta,

    n_out n_train + N_D (N_D + 1)                                                                (PDLT eps.14),

whatever the number of parameters. To first order in 1/n come the eleven tensors with four sample indices: O(N_D^4). To order k it is
O(N_D^(2(k+1))), with an error (L/n)^(k+1); the exponent 2k printed in eps.25 does not fit k = 0 and 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door, exits
from largen.activations.activation import Activation
from largen.architecture.arrays import size
from largen.architecture.chain import Layer, chain
from largen.architecture.nodes import Serial, network
from largen.display import Record
from largen.errors import InputError, UnsupportedError, shown
from largen.parametrizations.rates import resolve

# The permutations of the four sample indices that leave a tensor as it is, in its printed order of indices (without the identity).
SWAPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "V": ((1, 0, 2, 3), (0, 1, 3, 2), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 0, 1), (2, 3, 1, 0), (3, 2, 1, 0)),  # V_(12)(34)
    "D": ((1, 0, 2, 3), (0, 1, 3, 2), (1, 0, 3, 2)),  # 1 <-> 2, 3 <-> 4
    "F": ((2, 3, 0, 1),),  # F_1324 = F_2413
    "B": ((2, 3, 0, 1), (1, 0, 3, 2), (3, 2, 1, 0)),  # B_1324: transposed NTKs, and the two exchanged
    "P": ((0, 2, 1, 3),),  # P_0123 = P_0213
    "Q": (),
    "R": ((0, 1, 3, 2),),  # R_0123 = R_0132
    "S": ((1, 0, 3, 2),),  # S_1234 = S_2143
    "T": ((3, 2, 1, 0),),  # T_1342 = T_2431
    "U": ((3, 2, 1, 0),),  # U_1423 = U_2314
}
SWAPS["A"] = SWAPS["V"]
NAMES = ("V", "D", "F", "A", "B", "P", "Q", "R", "S", "T", "U")
FROZEN = "BFPQRSTU"
ONE_LAYER = "one affine layer: kernel and NTK of a linear model do not fluctuate"
LAST_ONLY = "only the last layer learns: its features, and with them its NTK, stay as they were drawn"
LINEAR = "all activations are linear, phi'' = 0"
PIECEWISE = "phi'' = 0 but at kinks, where it is dropped, as automatic differentiation does; for one input that is exact"
NO_RATE = "no term of its recursion is left at these rates"
KINKED = "not defined for activations with kinks: <phi'' phi''> diverges"


@dataclass(frozen=True, repr=False, kw_only=True)
class Complexity(Record):
    """What `lg.analysis.complexity` returns: counts of numbers.

    Attributes
    ----------
    infinite : int
        Labels, K and Theta: infinite width.
    finite : int or None
        First order in 1/n: those and `tensors`; None where one of these is undefined or the network is no chain.
    tensors : dict or None
        {name: independent entries}, without the `vanishing` and the `undefined`.
    vanishing : dict
        {name: why it is 0}.
    undefined : dict
        {name: why}.
    parameters : int or None
        Of the network, None without n_in.
    exponent : tuple of int
        Of the number of inputs at order 0 and 1.
    sentences : tuple of str
        All of it in words.
    missing : dict
        Why a field is None.
    """

    infinite: int
    finite: int | None
    tensors: dict[str, int] | None
    vanishing: dict[str, str]
    undefined: dict[str, str]
    parameters: int | None
    exponent: tuple[int, int]
    sentences: tuple[str, ...]
    missing: dict[str, str] = field(default_factory=dict)


@exits.finite()
def complexity(net: Any, n_train: int, n_test: int = 0, rates: Any = "ntk", n_in: int | None = None) -> Complexity:
    """How many numbers specify the trained network on given data, at infinite and at finite width, beside its parameters.

    At infinite width the trained outputs on N_D = n_train + n_test inputs are Gaussian, given by the labels, K and Theta,

        n_out n_train + N_D (N_D + 1)

    numbers, whatever the number of parameters. To first order in 1/n come the eleven tensors with four sample indices, O(N_D^4), of which
    entries that a symmetry of indices makes equal count once.

    Parameters
    ----------
    net : architecture
        Any network; at finite width a chain.
    n_train, n_test : int
        How many inputs.
    rates : "ntk" or (lambda_b, lambda_W)
        As in `lg.kernel`; they decide what vanishes.
    n_in : int, optional
        Input features, for the count of parameters.

    Returns
    -------
    Complexity
        The counts, and what vanishes.

    Raises
    ------
    InputError
        For counts < 1 (n_test < 0) and wrong rates.

    References
    ----------
    PDLT eps.13, eps.14, eps.25 (exponent corrected); what vanishes follows the recursions 8.77-8.97, 11.49-11.52, inf.172-176.

    Examples
    --------
    >>> import largen as lg
    >>> found = lg.analysis.complexity(lg.mlp(widths=[100, 100], out=1, activation="tanh"), n_train=10, n_test=2, n_in=20)
    >>> found.infinite, found.finite, found.parameters
    (166, 102664, 12301)
    >>> last = lg.analysis.complexity(lg.mlp(widths=[100], out=1, activation="tanh"), 10, rates=([0, 1], [0, 1]))
    >>> "".join(last.vanishing), last.finite
    ('FBPQRSTU', 6225)
    """
    whole = network(net)
    door.concrete((whole, rates), "net, rates")
    train, test = door.count(n_train, "n_train"), door.count(n_test, "n_test", 0)
    data, extras = train + test, resolve(whole, rates)
    outputs = whole.units(None)
    missing: dict[str, str] = {}
    infinite = (outputs or 1) * train + data * (data + 1)
    if outputs is None:
        missing["outputs"] = "the network does not say how many outputs it has: counted as one"
    parameters = _parameters(whole, n_in)
    if parameters is None:
        missing["parameters"] = "the fan-in of the first layer is not known: give n_in, the number of input features"
    counts, vanishing, undefined, finite = None, {}, {}, None
    try:
        layers = chain(whole)
    except UnsupportedError as error:
        missing |= dict.fromkeys(("tensors", "finite"), f"1/n tensors are known for chains: {error}")
    else:
        vanishing = _vanishing(layers, [tuple(map(float, extras[layer.path])) for layer in layers], data)
        undefined = {name: KINKED for name in "RSTU" if _kinked(layers) and name not in vanishing}
        counts = {name: entries(name, data) for name in NAMES if name not in vanishing and name not in undefined}
        finite = None if undefined else infinite + sum(counts.values())
        if undefined:
            missing["finite"] = f"{', '.join(undefined)}: {KINKED}"
    words = _words(infinite, finite, counts, vanishing, parameters, data)
    return Complexity(
        infinite=infinite,
        finite=finite,
        tensors=counts,
        vanishing=vanishing,
        undefined=undefined,
        parameters=parameters,
        exponent=(2, 4),
        sentences=words,
        missing=missing,
    )


def entries(name: str, data: int) -> int:
    """Independent entries of a tensor on so many inputs: orbits of its index symmetries, (1/|G|) sum_g N^(cycles of g) (Burnside).

    >>> [entries(name, 2) for name in ("V", "D", "F", "B", "P", "Q")]
    [6, 9, 10, 7, 12, 16]
    """
    group = ((0, 1, 2, 3), *SWAPS[name])
    return sum(data ** _cycles(g) for g in group) // len(group)


def _cycles(permutation: Sequence[int]) -> int:
    seen: set[int] = set()
    count = 0
    for start in range(len(permutation)):
        count += start not in seen
        while start not in seen:
            seen.add(start)
            start = permutation[start]
    return count


def _parameters(net: Serial, n_in: int | None) -> int | None:
    shape = None if n_in is None else (door.count(n_in, "n_in"),)
    try:
        return None if shape is None else size(net, shape)
    except InputError as error:
        raise InputError("n_in", shown(n_in), "None, for networks of points with positions") from error


def _kinked(layers: Sequence[Layer]) -> bool:
    return any(layer.activation is not None and layer.activation.kinks for layer in layers)


def _bends(phi: Activation) -> bool:
    """Whether phi'' is anywhere other than 0 between kinks."""
    z = jnp.linspace(-3.0137, 3.0171, 64)
    return bool(np.abs(np.asarray(phi.derivative(2)(z))).max() > 1e-6)


def _vanishing(layers: Sequence[Layer], rates: Sequence[tuple[float, ...]], data: int) -> dict[str, str]:
    """{name: reason} of the tensors that are 0 at the last layer: the recursions with their terms replaced by whether they are there."""
    on = dict.fromkeys(NAMES, False)
    H, bent, straight = any(r > 0 for r in rates[0]), False, True
    for layer, (b, w_rate) in zip(layers[1:], rates[1:], strict=True):
        phi = layer.activation
        assert phi is not None
        bend, c, w = _bends(phi), layer.C_W > 0 or layer.skip != 0, w_rate > 0
        varies = bend or bool(phi.kinks)  # phi' is no constant; <phi'' phi''> is not 0
        bent, straight = bent or bend, straight and not varies
        before, live = dict(on), c and H
        spread = w or (live and varies)  # the NTK of one unit depends on its preactivation
        on["V"] = c
        on["D"] = c and (spread or before["D"])
        on["F"] = live or (c and before["F"])
        on["A"] = spread or (c and (before["A"] or (before["D"] and spread)))
        on["B"] = live or (c and before["B"])
        on["P"] = c and ((bend and (H or before["B"])) or before["P"])
        on["Q"] = c and ((bend and H) or (w and on["F"]) or before["Q"])
        on["R"] = c and ((varies and H) or (w and before["P"]) or before["R"])
        on["S"] = c and (((w or varies) and (H or before["B"])) or before["S"])
        on["T"] = c and (((w or varies) and (H or before["F"] or before["Q"])) or before["T"])
        on["U"] = c and ((varies and H) or before["U"])
        H = b > 0 or w or live
    hidden = any(r > 0 for pair in rates[:-1] for r in pair)

    def reason(name: str) -> str:
        if len(layers) == 1:
            return ONE_LAYER
        if not hidden and name in FROZEN:
            return LAST_ONLY
        if straight and name in "PRU":
            return LINEAR
        return PIECEWISE if name == "P" and not bent and data else NO_RATE

    return {name: reason(name) for name in NAMES if not on[name]}


def _words(infinite: int, finite: int | None, counts: Any, vanishing: dict[str, str], parameters: int | None, data: int) -> tuple[str, ...]:
    words = [f"At infinite width {infinite:,} numbers (labels, K, Theta) say all about the trained network on {data:,} inputs."]
    if finite is not None:
        words.append(f"To first order in 1/n it takes {finite:,}, of order N^4 in the number of inputs N.")
    elif counts:
        words.append(
            f"To first order in 1/n {infinite + sum(counts.values()):,} numbers are known; R, S, T, U do not exist for kinked phi."
        )
    if parameters is not None:
        words.append(
            f"The network has {parameters:,} parameters, {parameters / infinite:.3g} for each number of the infinite-width theory."
        )
    words += [f"{', '.join(n for n in vanishing if vanishing[n] == why)} vanish: {why}." for why in dict.fromkeys(vanishing.values())]
    return tuple(words)
