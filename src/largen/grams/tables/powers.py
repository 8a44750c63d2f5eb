"""Which networks depend on the sizes of two points only through powers of them.

Without biases the ReLU family is homogeneous: K = r1 r2 f(c) at any depth, for rows of norm r = sqrt(|x|^2/n_0) and cosine c.
A weight rate adds r1 r2 g(c) to the NTK, a bias rate g_0(c) without norms; a normalisation divides all by the sizes it sees.
So K and the share of each rate in Theta are (r1 r2)^p times a function of c, and `powers` finds every p, or that there is none.
"""

from dataclasses import dataclass
from typing import Any

from largen.activations.closed import Homogeneous
from largen.architecture.branches import Concat, Product, Sum
from largen.architecture.nodes import Act, Dense, Serial
from largen.architecture.norms import LayerNorm, RMSNorm
from largen.architecture.walk import Theory, walk

RATES = (0, 1)  # places of the bias rate and the weight rate in the rates of an affine layer


@dataclass(frozen=True)
class Powers:
    """`K`: the p of K = (r1 r2)^p f(c), None if there is none; `Theta`: (path, place of the rate) -> p of its share in the NTK."""

    K: int | None
    Theta: dict[tuple[str, int], int]


POWERS = Theory("the dependence of kernels on norms")


@POWERS.rule(Dense)
def _dense(node: Dense, carrier: Powers, path: str, need: Any) -> Powers:
    if carrier.K is None or (carrier.K and node.C_b != 0):
        return Powers(None, {})
    return Powers(carrier.K, {**carrier.Theta, (path, 0): 0, (path, 1): carrier.K})


@POWERS.rule(Act)
def _act(node: Act, carrier: Powers, extra: Any, need: Any) -> Powers:
    homogeneous = isinstance(node.activation.closed, Homogeneous)
    return carrier if homogeneous or carrier.K == 0 else Powers(None, {})


@POWERS.rule(LayerNorm)
@POWERS.rule(RMSNorm)
def _norm(node: Any, carrier: Powers, extra: Any, need: Any) -> Powers:
    if carrier.K is None:
        return carrier
    return Powers(0, {share: p - carrier.K for share, p in carrier.Theta.items()})


@POWERS.rule(Sum)
@POWERS.rule(Concat)
def _added(node: Any, carrier: Powers, through: Any, need: Any) -> Powers:
    ends = [send(carrier) for send in through]
    if any(end.K != ends[0].K for end in ends):
        return Powers(None, {})
    return Powers(ends[0].K, {share: p for end in ends for share, p in end.Theta.items()})


@POWERS.rule(Product)
def _product(node: Product, carrier: Powers, through: Any, need: Any) -> Powers:
    ends = [send(carrier) for send in through]
    total = sum(end.K or 0 for end in ends)
    if any(end.K is None for end in ends):
        return Powers(None, {})
    return Powers(total, {share: p + total - (end.K or 0) for end in ends for share, p in end.Theta.items()})


def powers(net: Serial, rates: dict[str, Any]) -> Powers:
    """The powers of a network with concrete hyperparameters, rates {path: (lambda_b, lambda_W)}; inputs have K = r1 r2 c."""
    return walk(net, POWERS, Powers(1, {}), {path: path for path in rates})[0]


def split(rates: dict[str, Any], found: Powers) -> dict[int, dict[str, Any]]:
    """{p: the rates whose share in the NTK is (r1 r2)^p g(c), the others 0}; rates that are 0 count for no p."""
    active = {share: p for share, p in found.Theta.items() if rates[share[0]][share[1]] != 0}
    return {
        p: {path: tuple(pair[i] if active.get((path, i)) == p else 0.0 for i in RATES) for path, pair in rates.items()}
        for p in sorted(set(active.values())) or [0]
    }


def same_everywhere(rates: dict[str, Any]) -> Powers:
    """The powers where all points have one size: none depends on it."""
    return Powers(0, {(path, i): 0 for path in rates for i in RATES})
