"""The table: with which standard deviation every parameter array is drawn, and at which rate it moves.

The one place where hyperparameters become numbers of parameters, for our networks (`networks/`) and for other people's models
(`adapters/`). Entries of an array have variance C/fan_in and move at lambda/fan_in times the global step (PDLT 2.19-2.20, 8.6), with the
fan_in of a bias 1.
"""

from dataclasses import dataclass
from typing import Any

from largen.architecture.arrays import blanks
from largen.architecture.nodes import Serial
from largen.types import namespace


@dataclass(frozen=True)
class Parameter:
    """How one array starts and moves: the standard deviation `std` of its entries, and its `rate`, times the global step."""

    std: Any
    rate: Any


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
