"""The table: how every parameter array is drawn, by what it is multiplied, and at which rate it moves.

The one place where hyperparameters become numbers of parameters, for our networks (`networks/`) and for other people's models
(`adapters/`). Without a parametrization, entries of an array have variance C/fan_in and move at lambda/fan_in times the global step (PDLT
2.19-2.20, 8.6), with the fan_in of a bias 1. With one, W^l = m_l w^l with m_l = sqrt(C_W) n^-a_l, w^l of standard deviation n^-b_l, and w^l
moves at n^-c_l times the global step; n is the fan-in of a layer, of the first one its units, where m_1 has the fan-in as 1/sqrt(fan_in).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from largen.architecture.arrays import blanks
from largen.architecture.nodes import Blank, Serial
from largen.errors import InputError
from largen.parametrizations.exact import Exponent
from largen.parametrizations.parametrization import Parametrization
from largen.types import namespace


@dataclass(frozen=True)
class Parameter:
    """How one array starts and moves: the standard deviation `std` of its entries, and its `rate`, times the global step. What the network
    sees is `multiplier` times the array; the optimiser sees the gradient times `gradient`."""

    std: Any
    rate: Any
    multiplier: Any = 1.0
    gradient: float = 1.0


def parameter(C: Any, fan_in: float = 1, speed: Any = None) -> Parameter:
    """An array of variance C/fan_in; `speed` is its lambda, by default C: the rates "ntk"."""
    return Parameter(namespace(C).sqrt(C / fan_in), (C if speed is None else speed) / fan_in)


def table(net: Serial, shape: tuple[int, ...], rates: dict[str, tuple[Any, Any]]) -> dict[str, dict[str, Parameter]]:
    """{path: {"W": parameter, "b": parameter}} of a network on points of a shape; `rates` as from `resolve`."""
    return {
        path: {name: parameter(blank.C, blank.fan_in, rates[path][name == "W"]) for name, blank in entry.items()}
        for path, entry in blanks(net, shape)[1].items()
    }


def rate_tensor(net: Serial, shape: tuple[int, ...], rates: dict[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    """The learning-rate tensor, one number per parameter array: lambda_b for b, lambda_W/fan_in for W (PDLT 8.6)."""
    return {path: {name: one.rate for name, one in entry.items()} for path, entry in table(net, shape, rates).items()}


def scaled(net: Serial, shape: tuple[int, ...], p: Parametrization) -> dict[str, dict[str, Parameter]]:
    """The table of a network under a parametrization. Layers count by their order; raises `InputError` where there are not as many."""
    if p.depth is not None:
        got, need = f"one with exponents of the depth, {p.depth}", "one without: networks are scaled with their width alone"
        raise InputError("parametrization", got, need, "Set weights= of lg.Sum, and give depth=None.")
    arrays = blanks(net, shape)[1]
    affine = [path for path, entry in arrays.items() if "W" in entry]
    if len(affine) != p.hidden + 1:
        got, need = f"one of {p.hidden} hidden layer{'s' * (p.hidden != 1)}", f"as many as the network has, {len(affine) - 1}"
        raise InputError("parametrization", got, need, f"Make it with hidden={len(affine) - 1}." if len(affine) > 1 else "")
    out: dict[str, dict[str, Parameter]] = {}
    for path, entry in arrays.items():
        if "W" not in entry:
            raise InputError("net", f"{path}, parameters without weights", "layers with weights, such as lg.Dense, under a parametrization")
        l = affine.index(path)
        n = entry["W"].shape[-1] if l == 0 else entry["W"].fan_in
        out[path] = {name: (_weight if name == "W" else _bias)(blank, p, l, n) for name, blank in entry.items()}
    return out


def _weight(blank: Blank, p: Parametrization, l: int, n: int) -> Parameter:
    multiplier, std, rate = p.prefactors[l]
    root = namespace(blank.C).sqrt(blank.C / (blank.fan_in if l == 0 else 1))
    return Parameter(std * _power(n, p.b[l]), rate * _power(n, p.c[l]), multiplier * root * _power(n, p.a[l]), _power(n, -p.d[l]))


def _bias(blank: Blank, p: Parametrization, l: int, n: int) -> Parameter:
    """As a weight of one input: of order one at the start, and moving what it is added to by the power that its layer does."""
    e = p.effective()
    pace = e.rate[l] - e.by.move(l, p.hidden) + e.by.move(0, p.hidden)
    return Parameter(
        1.0, e.factors[l][1] * _power(n, pace), namespace(blank.C).sqrt(blank.C), 1.0 if e.by.degree else _power(n, -e.epsilon[l])
    )


def _power(n: int, exponent: Exponent) -> float:
    """n^-exponent; 0 for an infinite one."""
    return float(n) ** -float(exponent) if isinstance(exponent, Fraction) else 0.0
