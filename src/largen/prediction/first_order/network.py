"""One given network as it is trained, to second order in its own curvature: dNTK and ddNTKs added to the linearisation."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from largen.prediction.first_order.ordered import ordered
from largen.prediction.first_order.projectors import damped_projectors
from largen.prediction.spectrum import Factorization, factor, flatten, refuse_singular
from largen.types import Array, is_traced, island, namespace


@dataclass(frozen=True)
class TrainedNetwork:
    """Outputs of one network on m test points after training, (m, o) each, order n^0, 1/n and 1/n as marked.

    `linear`: of its linearisation. `dntk`, `ddntk`: what its dNTK and its ddNTKs add. `outputs`: the sum, with an error of order
    1/n^2; trust it while `ddntk` is well below `dntk`, and both below `linear`. `factorization`: of its train NTK.
    """

    linear: Array
    dntk: Array
    ddntk: Array
    factorization: Factorization

    @property
    def outputs(self) -> Array:
        """Linearisation, dNTK and ddNTKs together."""
        return self.linear + self.dntk + self.ddntk


def interleave(tensor: Array) -> Array:
    """(D,) * k + (o,) * k to (D o,) * k: each axis a pair (point, output), point first, as in `flatten` for k = 2."""
    k = tensor.ndim // 2
    axes = [axis for slot in range(k) for axis in (slot, k + slot)]
    rows = tensor.shape[0] * tensor.shape[k]
    return tensor.transpose(axes).reshape((rows,) * k)


def trained_network(
    z: Any,
    theta: Any,
    dntk: Any,
    first: Any,
    second: Any,
    y: Any,
    how: str = "flow",
    eta: Any = None,
    ridge: Any = 0.0,
    until: Any = np.inf,
) -> TrainedNetwork:
    """Outputs of one network on its test points after training on (X, y), from its own tensors at the start.

    With A = train, r = z_A(0) - y, pairs (point, output) as one index, and train slots in the eigenbasis of the train block Theta~,
    of eigenvalues h_a (repeated indices are summed), the outputs are

        z_d - Theta_da W(h_a) r_a + v_d - Theta_da v_a,     W(h) = (1 - exp(-h t))/h, or (1 - (1 - eta h)^steps)/h, at the end 1/h,
        v_d = dH_1d2 Z_A^12 r_1 r_2 + dH_d12 Z_B^12 r_1 r_2 + ddI_1d23 Z_IA^123 r_1 r_2 r_3
              + ddI_d123 Z_IB^123 r r r + ddII_12d3 Z_IIA^123 r r r + ddII_d123 Z_IIB^123 r r r,

    up to 1/n^2, with Z the `projectors` of the algorithm; v_a has the `damped_projectors`, at the end 1/h_a times the former. The NTK
    is the network's own, so that terms in its fluctuation do not arise. Train points come first.

    Parameters, for D = n + m points and o outputs: `z` (D, o); `theta` (D, D, o, o), or its train columns (D, n, o, o); `dntk`
    (D, D, D, o, o, o), dH_{0;12} with the differentiated output first; `first`, `second` (D,)*4 + (o,)*4, the ddNTKs; `y` (n, o);
    `how`, "flow", "descent" with `eta`, or "newton" in two steps; `ridge`, a number or one per sample: each train sample has an
    offset of its own, trained at that rate from zero; `until`, the time (flow) or the number of steps (descent), inf for the end.

    Raises `InputError` for a step with which descent diverges, `SingularKernelError` for a singular train NTK at the end.

    Source: PDLT (inf.141) at the end, (inf.81-83, 124) before it; error O(1/n^2) per network with its own NTK (checked on trained
    networks).

    >>> import numpy as np
    >>> from largen.prediction.first_order.network import trained_network
    >>> tensor = lambda k: np.full((2,) * k + (1,) * k, 0.1)
    >>> theta = np.array([[2.0, 1.0], [1.0, 2.0]])[:, :, None, None]
    >>> for until in (0.5, np.inf):
    ...     out = trained_network(np.zeros((2, 1)), theta, tensor(3), tensor(4), tensor(4), np.ones((1, 1)), until=until)
    ...     print([v.round(5).item() for v in (out.linear, out.dntk, out.ddntk)])
    [0.31606, 0.00838, 0.00274]
    [0.5, 0.0125, 0.00625]
    """
    xp, (n, o) = namespace(z, theta, dntk, first, second), y.shape
    with island(z, theta):
        rows = flatten(theta[:, :n])
        spread = ridge if getattr(ridge, "ndim", 0) == 0 else xp.repeat(xp.asarray(ridge), o)
        f = factor(rows[: n * o], spread)
        if until == np.inf and not is_traced(f.smallest):
            refuse_singular(f, float("inf"), outputs=o)
        W = ordered(f.values, how, eta, until)
        Z = damped_projectors(W, how, f.values)
        r, moved = f.vectors.T @ (z[:n] - y).reshape(-1), rows[n * o :] @ f.vectors
        linear = z[n:].reshape(-1) - moved @ (W(f.values) * r)

        def bent(tensor: Array, slot: int, projector: Array) -> Array:
            """What a tensor adds, its slot `slot` the output and every other one contracted with r."""
            turned = xp.moveaxis(interleave(tensor), slot, 0)
            for _ in range(turned.ndim - 1):  # the axis after the output goes out and comes back, in the basis, at the end
                turned = xp.tensordot(turned[:, : n * o], f.vectors * r, (1, 0))
            modes = xp.tensordot(f.vectors, turned[: n * o], (0, 0))
            forces = (modes * projector[1:]).sum(tuple(range(1, modes.ndim)))
            return (xp.tensordot(turned[n * o :], projector[0], modes.ndim - 1) - moved @ forces).reshape(-1, o)

        curved = bent(dntk, 1, Z.A) + bent(dntk, 0, Z.B)
        drifting = bent(first, 1, Z.IA) + bent(first, 0, Z.IB) + bent(second, 2, Z.IIA) + bent(second, 0, Z.IIB)
        return TrainedNetwork(linear.reshape(-1, o), curved, drifting, f)
