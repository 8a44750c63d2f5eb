"""One given network trained to its end, to second order in its own curvature: dNTK and ddNTKs added to the linearisation."""

from dataclasses import dataclass
from typing import Any

from largen.prediction.finite.projectors import Projectors, projectors
from largen.prediction.spectrum import Factorization, factor, flatten, namespace, refuse_singular
from largen.types import Array, is_traced, island


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
    z: Any, theta: Any, dntk: Any, first: Any, second: Any, y: Any, how: str = "flow", eta: Any = None, ridge: Any = 0.0
) -> TrainedNetwork:
    """Outputs of one network on its test points after training on (X, y) to the end, from its own tensors at the start.

    With A = train, r = z_A(0) - y, Theta~ the train block, R = Theta_BA Theta~^{-1}, pairs (point, output) as one index, and
    Z the `projectors` of the algorithm in the eigenbasis of Theta~ (indices raised by it, summed), the outputs are

        z - R r + (v - R v_A),    v_d = dH_1d2 Z_A^12 r_1 r_2 + dH_d12 Z_B^12 r_1 r_2 + ddI_1d23 Z_IA^123 r_1 r_2 r_3
                                      + ddI_d123 Z_IB^123 r r r + ddII_12d3 Z_IIA^123 r r r + ddII_d123 Z_IIB^123 r r r,

    up to 1/n^2. The NTK is the network's own, so that terms in its fluctuation do not arise. Train points come first.

    Parameters, for D = n + m points and o outputs: `z` (D, o); `theta` (D, D, o, o), or its train columns (D, n, o, o); `dntk`
    (D, D, D, o, o, o), dH_{0;12} with the differentiated output first; `first`, `second` (D,)*4 + (o,)*4, the ddNTKs; `y` (n, o);
    `how`, "flow", "descent" with `eta`, or "newton" in two steps; `ridge`, a number or one per sample: each train
    sample has an offset of its own, trained at that rate from zero.

    Raises `InputError` for a step with which descent diverges, `SingularKernelError` for a singular train NTK.

    Source: PDLT (inf.79, 141), error O(1/n^2) per network with its own NTK (checked on trained networks).

    >>> import numpy as np
    >>> from largen.prediction.finite.network import trained_network
    >>> tensor = lambda k: np.full((2,) * k + (1,) * k, 0.1)
    >>> theta = np.array([[2.0, 1.0], [1.0, 2.0]])[:, :, None, None]
    >>> out = trained_network(np.zeros((2, 1)), theta, tensor(3), tensor(4), tensor(4), np.ones((1, 1)))
    >>> [v.round(5).item() for v in (out.linear, out.dntk, out.ddntk)]
    [0.5, 0.0125, 0.00625]
    """
    xp, (n, o) = namespace(z, theta, dntk, first, second), y.shape
    with island(z, theta):
        rows = flatten(theta[:, :n])
        spread = ridge if getattr(ridge, "ndim", 0) == 0 else xp.repeat(xp.asarray(ridge), o)
        f = factor(rows[: n * o], spread)
        if not is_traced(f.smallest):
            refuse_singular(f, float("inf"), outputs=o)
        Z, r = projectors(f.values, how, eta), (z[:n] - y).reshape(-1)
        R = (rows[n * o :] @ f.vectors / f.values) @ f.vectors.T
        linear = z[n:].reshape(-1) - R @ r
        bent = _from_dntk(xp, f, Z, r, interleave(dntk)), _from_ddntk(xp, f, Z, r, interleave(first), interleave(second))
        dntk, ddntk = ((v[n * o :] - R @ v[: n * o]).reshape(-1, o) for v in bent)
        return TrainedNetwork(linear.reshape(-1, o), dntk, ddntk, f)


def _raised(xp: Any, f: Factorization, Z: Array, r: Array) -> Array:
    """Z^{1..k} r_1 .. r_k with the k free indices in the basis of the samples."""
    for axis in range(Z.ndim):
        Z = xp.moveaxis(xp.moveaxis(Z, axis, -1) * (f.vectors.T @ r) @ f.vectors.T, -1, axis)
    return Z


def _from_dntk(xp: Any, f: Factorization, Z: Projectors, r: Array, d: Array) -> Array:
    """The part of v that the dNTK makes, on all points."""
    N = len(r)
    A, B = (_raised(xp, f, projector, r) for projector in (Z.A, Z.B))
    return xp.einsum("adb,ab->d", d[:N, :, :N], A) + xp.einsum("dab,ab->d", d[:, :N, :N], B)


def _from_ddntk(xp: Any, f: Factorization, Z: Projectors, r: Array, first: Array, second: Array) -> Array:
    """The part of v that the ddNTKs make, on all points."""
    N = len(r)
    IA, IB, IIA, IIB = (_raised(xp, f, projector, r) for projector in (Z.IA, Z.IB, Z.IIA, Z.IIB))
    ones = xp.einsum("adbc,abc->d", first[:N, :, :N, :N], IA) + xp.einsum("dabc,abc->d", first[:, :N, :N, :N], IB)
    return ones + xp.einsum("abdc,abc->d", second[:N, :N, :, :N], IIA) + xp.einsum("dabc,abc->d", second[:, :N, :N, :N], IIB)
