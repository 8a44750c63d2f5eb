"""Algorithm projectors: how the path of training weighs the curvature of a network of finite width.

To order 1/n, networks trained to the end differ from their linearisation by tensors of the network alone, dNTK and ddNTKs,
each contracted with a projector of the algorithm alone (PDLT inf.141-148). In the eigenbasis of the train NTK all are diagonal.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door
from largen.errors import InputError
from largen.prediction.spectrum import namespace
from largen.types import Array, is_traced

HOWS = ("flow", "descent", "newton")


@dataclass(frozen=True)
class Projectors:
    """Weights of the dNTK and ddNTKs in the trained outputs, in the eigenbasis of the train NTK: order n^0 in the widths.

    `A`, `B` (N, N) go with dNTKs whose test slot is the second and the first; `IA`, `IB` (N, N, N) with ddNTKs of the first
    kind, `IIA`, `IIB` (N, N, N) with those of the second, whose test slot is the third and the first. The axes are the
    remaining slots in order, each contracted with z(0) - y. See `trained_network` for the sum.
    """

    A: Array
    B: Array
    IA: Array
    IB: Array
    IIA: Array
    IIB: Array


def projectors(values: Any, how: str = "flow", eta: Any = None) -> Projectors:
    """The six projectors of an algorithm that trains to the end, for eigenvalues h (N,) of the train NTK.

    With q = 1 - eta h and X_ab.. = eta/(1 - q_a q_b ..) (so X_a = 1/h_a; at eta = 0, gradient flow, X_ab.. = 1/(h_a + h_b + ..)), sums
    over ordered steps of descent are products without cancellation,

        Y3_abc = X_a q_a X_ab q_a q_b X_abc,    A_ab = X_a q_a X_ab,    IIA = -Y3,    IA = -X_a q_a X_abc (q_a q_b X_ab + eta/2),
        IIB = -Y3_abc - Y3_bac - Y3_acb - eta X_abc (X_a q_a + X_ab q_a q_b),

    while B = 1/(2 h_a h_b) and IB = -1/(6 h_a h_b h_c) whatever the algorithm, once symmetrised, as the tensors they meet are. The
    two-step Newton method (inf.71) has B and IB only. `how`: "flow", "descent" (needs `eta`, the step), "newton".

    Raises `InputError` for eigenvalues that are not positive, and for eta h outside (0, 2): A grows as 1/(2 - eta h).

    Source: PDLT (inf.107, 110, 135-148, 163-164), there as inverse tensors of N^6 entries; the products are derived here.

    >>> import numpy as np
    >>> from largen.prediction.finite.projectors import projectors
    >>> Z = projectors(np.array([1.0]), how="descent", eta=0.5)
    >>> [round(float(z.ravel()[0]), 6) for z in (Z.A, Z.B, Z.IA, Z.IB, Z.IIA, Z.IIB)]
    [0.333333, 0.5, -0.119048, -0.166667, -0.047619, -0.333333]
    """
    door.choice(how, "how", HOWS)
    h = door.array(values, "values", "positive eigenvalues of the train NTK, of shape (N,)")
    if h.ndim != 1 or (not is_traced(h) and not float(h.min()) > 0):
        got = f"shape {h.shape}" if h.ndim != 1 else f"a smallest one of {float(h.min()):.3g}"
        raise InputError("values", got, "positive eigenvalues of the train NTK, of shape (N,)")
    a, b, c = h[:, None, None], h[None, :, None], h[None, None, :]
    B, IB = 1 / (2 * a * b)[..., 0], -1 / (6 * a * b * c)
    if how == "newton":
        return Projectors(0 * B, B, 0 * IB, IB, 0 * IB, 0 * IB)
    step = _step(h, how, eta)
    X_ab = 1 / (a + b - step * a * b)
    X_abc = 1 / (a + b + c - step * (a * b + b * c + a * c) + step**2 * a * b * c)
    one, two = (1 - step * a) / a, (1 - step * a) * (1 - step * b) * X_ab  # X_a q_a and X_ab q_a q_b
    Y3 = one * two * X_abc
    IA = -one * X_abc * (two + step / 2)
    IIB = -Y3 - Y3.transpose(1, 0, 2) - Y3.transpose(0, 2, 1) - step * X_abc * (one + two)
    return Projectors((one * X_ab)[..., 0], B, IA, IB, -Y3, IIB)


def _step(h: Array, how: str, eta: Any) -> Any:
    """The step size, 0 for flow, checked against the eigenvalues."""
    if how == "flow":
        if eta is not None:
            raise InputError("eta", repr(eta), 'no eta with how="flow"')
        return 0.0
    if eta is None:
        raise InputError("eta", "None", 'a step size with how="descent"')
    eta = door.number(eta, "eta", low=0.0, strict=True)
    if not is_traced(eta, h) and not float(eta) * float(namespace(h).max(h)) < 2:
        need = f"less than 2/lambda_max = {2 / float(np.max(np.asarray(h))):.6g}, or training has no end"
        raise InputError("eta", f"{eta:g}", need, "lg.max_learning_rate(theta) gives the bound.")
    return eta
