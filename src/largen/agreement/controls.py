"""Wrong theories that have to be refused on the same data."""

from typing import Any

from largen.architecture import mapping
from largen.architecture.nodes import Serial
from largen.parametrizations.rates import resolve

HEAVIER, EXCHANGED, BAYES = "C_W + 10 %", "lambda_b and lambda_W swapped", "the Bayesian posterior"
SWAPPED, SHIFTED = "chi_par and chi_perp swapped", "one level off"


def heavier(net: Serial) -> Serial:
    """C_W + 10 % in every layer."""
    return mapping.heavier(net, 1.1)


def exchanged(net: Serial, rates: Any) -> tuple[list[float], list[float]]:
    """The rates with lambda_b and lambda_W exchanged in every layer."""
    pairs = list(resolve(net, rates).values())
    return [w for _, w in pairs], [b for b, _ in pairs]
