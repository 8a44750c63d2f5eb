"""Algorithm projectors: how the path of training weighs the curvature of a network of finite width.

To order 1/n, trained networks differ from their linearisation by tensors of the network alone, dNTK and ddNTKs, each contracted with
a projector of the algorithm alone (PDLT inf.141-148), at the end of training or before. In the eigenbasis of the train NTK all are
diagonal.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from largen.prediction.first_order.ordered import Ordered, ordered
from largen.types import Array, namespace


@dataclass(frozen=True)
class Projectors:
    """Weights of the dNTK and ddNTKs in the trained outputs, in the eigenbasis of the train NTK: order n^0 in the widths.

    `A`, `B` (N, N) go with dNTKs whose output slot is the second and the first; `IA`, `IB` (N, N, N) with ddNTKs of the first
    kind, `IIA`, `IIB` (N, N, N) with those of the second, whose output slot is the third and the first. The axes are the
    remaining slots in order, each contracted with z(0) - y. See `trained_network` for the sum. From `damped_projectors` they
    have a first axis 1 + N more, the output.
    """

    A: Array
    B: Array
    IA: Array
    IB: Array
    IIA: Array
    IIB: Array


def projectors(values: Any, how: str = "flow", eta: Any = None, until: Any = np.inf) -> Projectors:
    """The six projectors of an algorithm, for eigenvalues h (N,) of the train NTK, at its end or until a time or number of steps.

    With q = 1 - eta h (flow: 1), h_ab.. the rate of q_a q_b .. (flow: h_a + h_b + ..), W the `Ordered` sums, and the parts of second
    and third order, strictly ordered in time or with some at the same step,

        Y3_abc = q_a q_a q_b W(h_a, h_ab, h_abc),    A_ab = q_a W(h_a, h_ab),    B = (A + A^T)/2 + (eta/2) W(h_ab),
        IA = -Y3 - (eta/2) q_a W(h_a, h_abc),    IIA = -Y3,    IB = -Y3 - (eta/2) Y2 - (eta^2/6) W(h_abc), symmetrised,
        IIB = -Y3_abc - Y3_bac - Y3_acb - eta Y2,    Y2 = q_a W(h_a, h_abc) + q_a q_b W(h_ab, h_abc).

    B is symmetrised, as IB, because the tensors they meet are symmetric: B_ab = W(h_a) W(h_b)/2 and IB = -W(h_a) W(h_b) W(h_c)/6, at the
    end 1/(2 h_a h_b) and -1/(6 h_a h_b h_c) whatever the algorithm. The two-step Newton method (inf.71) has these two only.

    `how`: "flow", "descent" (needs `eta`, the step), "newton". `until`: the time of flow, the number of steps of descent.

    Raises `InputError` for eigenvalues that are not positive (zero is allowed at finite times), and for eta h outside (0, 2): at
    the end A grows as 1/(2 - eta h).

    Source: PDLT (inf.102-124) in time, (inf.107, 110, 135-148, 163-164) at the end, there as inverse tensors of N^6 entries; the
    products are derived here.

    >>> import numpy as np
    >>> from largen.prediction.first_order.projectors import projectors
    >>> Z = projectors(np.array([1.0]), how="descent", eta=0.5)
    >>> [round(float(z.ravel()[0]), 6) for z in (Z.A, Z.B, Z.IA, Z.IB, Z.IIA, Z.IIB)]
    [0.333333, 0.5, -0.119048, -0.166667, -0.047619, -0.333333]
    >>> Z = projectors(np.array([1.0]), how="descent", eta=0.5, until=2)
    >>> [round(float(z.ravel()[0]), 6) for z in (Z.A, Z.B, Z.IA, Z.IB, Z.IIA, Z.IIB)]
    [0.125, 0.28125, -0.03125, -0.070312, 0.0, -0.09375]
    """
    return Projectors(*_six(ordered(values, how, eta, until), how, values))


def damped_projectors(W: Ordered, how: str, values: Any) -> Projectors:
    """`projectors` with a first axis 1 + N: [0] for an output that is no train point, the others for the modes of the train points.

    With v the forces of the curvature, trained outputs move by v_d - sum_a Theta_da v_a, a over the modes: what the linear dynamics
    makes of the forces on train points until it stops. So an entry [1 + a] has the rate h_a in front of all others in every W
    of `projectors` (inf.124); at the end of training it is [0]/h_a.
    """
    xp = namespace(values)
    far, near = _six(W, how, values), _six(W, how, values, xp.asarray(values).reshape(-1, 1, 1, 1))
    return Projectors(*(xp.concatenate([one[None], more]) for one, more in zip(far, near, strict=True)))


def damped(W: Ordered, values: Any, *rates: Any) -> np.ndarray:
    """W(*rates) with that first axis: for an output that is no train point, then for the modes of the train points."""
    lead = np.reshape(values, (-1, *(1,) * max((rate.ndim for rate in rates), default=0)))
    return np.concatenate([np.asarray(W(*rates))[None], W(lead, *rates)])


def _six(W: Ordered, how: str, values: Any, *first: Any) -> tuple[Array, ...]:
    """A, B, IA, IB, IIA, IIB, `first` the rates in front of all others."""
    h = namespace(values).asarray(values)
    a, b, c = h[:, None, None], h[None, :, None], h[None, None, :]
    ab, q_a, q_b = W.both(a, b), W.left(a), W.left(b)
    abc = W.both(ab, c)
    A, same = (q_a * W(*first, a, ab))[..., 0], W(*first, ab)[..., 0]
    Y3 = q_a * q_a * q_b * W(*first, a, ab, abc)
    one, two, all_same = q_a * W(*first, a, abc), q_a * q_b * W(*first, ab, abc), W(*first, abc)  # later alone, a and b at one step
    B = (A + A.swapaxes(-1, -2) + W.step * same) / 2
    IB = -_symmetric(Y3 + W.step / 2 * (one + two) + W.step**2 / 6 * all_same)
    if how == "newton":
        return 0 * B, B, 0 * IB, IB, 0 * IB, 0 * IB
    IIB = -Y3 - _exchanged(Y3, 1, 0, 2) - _exchanged(Y3, 0, 2, 1) - W.step * (one + two)
    return A, B, -Y3 - W.step / 2 * one, IB, -Y3, IIB


def _exchanged(values: Array, *order: int) -> Array:
    """The last three axes in another order."""
    lead = values.ndim - 3
    return values.transpose(*range(lead), *(lead + i for i in order))


def _symmetric(values: Array) -> Array:
    """The mean over all orders of the last three axes."""
    return sum((_exchanged(values, *order) for order in permutations(range(3))), 0.0 * values) / 6
