r"""Nearly-kernel methods: quadratic models, whose features move as they are trained, and what they predict from kernels alone.

    z_i(x) = sum_j W_ij phi_j(x) + (eps/2) sum_jk W_ij W_ik psi_jk(x)        (PDLT 11.105),

with kernel k_12 = phi(x1).phi(x2) and meta kernel mu_012 = eps phi(x1).psi(x0).phi(x2), the NTK and dNTK of a network in miniature
(11.143-149). To first order in eps the trained outputs are kernel regression plus two projections of mu. Where there are more
features than points many W fit, and to order eps it matters which one is meant.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from largen import door, exits
from largen.display import Columns, Record, grid
from largen.errors import InputError, shown
from largen.prediction.first_order.projectors import projectors
from largen.prediction.spectrum import Factorization, factor, refuse_singular
from largen.types import Array

OPTIMA = ("span", "minimum norm", "flow", "descent")


@dataclass(frozen=True, repr=False, kw_only=True)
class NearlyKernel(Record):
    """What `nearly_kernel` returns, for n train and m test points and o outputs, to first order in mu.

    The printed claim that `trained` is a kernel whose regression is `mean` (11.142) is wrong; `predictor` is.

    Attributes
    ----------
    mean : array (m, o) or (m,)
        The trained outputs.
    linear : array like `mean`
        Those of kernel regression alone.
    effective : array (o, D, D)
        The kernel of the features phi + eps psi W as training leaves them (11.138), train points first.
    trained : array (o, D, D)
        (k + effective)/2 (11.140).
    predictor : array (o, D, D) or None
        The kernel, not symmetric, whose regression is `mean` up to mu^2: k + (1/2) mu c for the span, and mu^T c more for the minimum norm,
        c = k^{-1} y; None for training, which is no regression.
    missing : dict
        Why a field is None.
    """

    mean: Array
    linear: Array
    effective: Array
    trained: Array
    predictor: Array | None

    def _columns(self) -> Columns:
        return grid(("point", "output"), mean=self.mean, linear=self.linear)

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        return {"predictor": "what training predicts is no kernel regression"} if self.predictor is None else {}


@exits.finite()
def nearly_kernel(k: Any, mu: Any, y: Any, optimum: str = "descent", eta: Any = None) -> NearlyKernel:
    """Predictions of a quadratic model from its kernel and meta kernel, W = 0 at the start, in the optimum named.

        z_b = k_b c + [mu_1b2 - k_b k~^{-1} mu_1.2] Z_A y y + [mu_b12 - k_b k~^{-1} mu_.12] Z_B y y,      c = k~^{-1} y

    Parameters
    ----------
    k : array (D, D)
        The kernel, train points first.
    mu : array (D, D, D)
        The meta kernel, symmetric in its last two slots, train points first.
    y : array (n,) or (n, o)
        Targets of the first n points.
    optimum : str
        - "span": the exact fit whose W is a combination of the phi(x_a) of the train points, Z_A = 0, Z_B = k^{-1} k^{-1}/2 (11.132);
        - "minimum norm": the exact fit of least |W|, the limit of a vanishing ridge, Z_A = k^{-1} k^{-1}, Z_B as above;
        - "flow" and "descent" (default): where gradient descent from W = 0 ends (11.133-136), `projectors` A and B.
    eta : float, optional
        The step, which "descent" needs.

    Returns
    -------
    NearlyKernel
        Outputs at the m = D - n test points and the kernels that training leaves, to first order in mu.

    Raises
    ------
    InputError
        For arrays that do not go together.
    SingularKernelError
        For a singular train kernel.

    References
    ----------
    PDLT 11.4, where the three optima count as one; the minimum norm and the predictors are derived here.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> model = lg.analysis.QuadraticModel(rng.normal(size=(3, 5)), rng.normal(size=(3, 5, 5)), 0.2)  # two train points, one test point
    >>> [round(float(lg.analysis.nearly_kernel(model.kernel(), model.meta_kernel(), [0.5, -1.0], how).mean[0]), 4)
    ...  for how in ("span", "minimum norm", "flow")]
    [-0.6882, -0.5956, -0.7718]
    """
    k, mu = door.values(k, "k"), door.values(mu, "mu")
    if k.ndim != 2 or len(k) != k.shape[1] or mu.shape != (len(k),) * 3:
        raise InputError("k, mu", f"shapes {k.shape} and {mu.shape}", "(D, D) and (D, D, D), train and test points together")
    targets = door.host(_aims(y, len(k)), "y")
    n = len(targets)
    columns = targets.reshape(n, -1)
    f, A, B = _projectors(k[:n, :n], optimum, eta)
    U, c = f.vectors, f.solve(columns)
    turned = U.T @ columns
    moved = np.einsum("dpq,pa,qb->dab", mu[:, :n, :n], U, U), np.einsum("pdq,pa,qb->dab", mu[:n, :, :n], U, U)
    shift = np.einsum("dab,ab,ao,bo->do", moved[1], A, turned, turned) + np.einsum("dab,ab,ao,bo->do", moved[0], B, turned, turned)
    linear = k[n:, :n] @ c
    mean = linear + shift[n:] - k[n:, :n] @ f.solve(shift[:n])
    own, other = np.einsum("xya,ao->oxy", mu[:, :, :n], c), np.einsum("yxa,ao->oxy", mu[:, :, :n], c)
    predictor = {"span": k + own / 2, "minimum norm": k + own / 2 + other}.get(optimum)
    flat = (lambda a: a[:, 0]) if targets.ndim == 1 else (lambda a: a)
    effective = k + own + other
    return NearlyKernel(mean=flat(mean), linear=flat(linear), effective=effective, trained=(k + effective) / 2, predictor=predictor)


def _projectors(k: np.ndarray, optimum: str, eta: Any) -> tuple[Factorization, np.ndarray, np.ndarray]:
    """The factored train kernel, and Z_A, Z_B in its eigenbasis."""
    door.choice(optimum, "optimum", OPTIMA)
    if eta is not None and optimum != "descent":
        raise InputError("eta", shown(eta), f'no eta with optimum="{optimum}"')
    f = factor(k, name="k")
    refuse_singular(f, np.inf)
    Z = projectors(f.values, optimum if optimum in ("flow", "descent") else "newton", eta)
    return f, (1 / np.multiply.outer(f.values, f.values) if optimum == "minimum norm" else np.asarray(Z.A)), np.asarray(Z.B)


def _aims(y: Any, points: int) -> Array:
    """Targets of the first of so many points."""
    held = door.plain(y, "y")
    if held.ndim == 0 or not 0 < len(held) <= points:
        raise InputError("y", f"shape {held.shape}", f"targets of the train points, the first of the {points} points")
    return door.targets(y, len(held))


@dataclass(frozen=True)
class QuadraticModel:
    """A model of o outputs on D points, quadratic in its parameters W (f, o) at first order in `eps`.

        z = phi W + (eps/2) sum psi W W

    Its `.kernel()` and `.meta_kernel()` are what `lg.analysis.nearly_kernel` takes; `.fit(y)` are the parameters of the exact fit.

    Parameters
    ----------
    phi : array (D, f)
        Features of the points.
    psi : array (D, f, f)
        Meta features, symmetric in the last two slots.
    eps : float
        The strength of what is quadratic.

    References
    ----------
    PDLT 11.4.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> model = lg.analysis.QuadraticModel(np.eye(2, 3), np.ones((2, 3, 3)), 0.1)
    >>> model.outputs(np.ones((3, 1))).ravel().tolist()
    [1.45, 1.45]
    """

    phi: Any
    psi: Any
    eps: float

    def __post_init__(self) -> None:
        phi, psi = door.values(self.phi, "phi"), door.values(self.psi, "psi")
        if phi.ndim != 2 or psi.shape != (*phi.shape, phi.shape[1]):
            raise InputError("phi, psi", f"shapes {phi.shape} and {psi.shape}", "(D, f) and (D, f, f)")
        object.__setattr__(self, "eps", door.real(self.eps, "eps"))
        object.__setattr__(self, "phi", phi)
        object.__setattr__(self, "psi", (psi + psi.swapaxes(1, 2)) / 2)

    @exits.finite()
    def outputs(self, W: Any) -> np.ndarray:
        """z (D, o) at parameters W (f, o)."""
        W = self._parameters(W)
        return self.phi @ W + self.eps / 2 * np.einsum("djk,jo,ko->do", self.psi, W, W)

    @exits.finite()
    def effective_features(self, W: Any) -> np.ndarray:
        """phi + eps psi W, the slopes of the outputs in the parameters, (o, D, f) (11.107)."""
        return self.phi + self.eps * np.einsum("djk,ko->odj", self.psi, self._parameters(W))

    def _parameters(self, W: Any) -> np.ndarray:
        out, f = door.values(W, "W"), self.phi.shape[1]
        if out.ndim != 2 or len(out) != f or not out.shape[1]:
            raise InputError("W", f"shape {out.shape}", f"({f}, outputs)")
        return out

    @exits.finite()
    def kernel(self, W: Any = None) -> np.ndarray:
        """k (D, D), or with W the effective kernel (o, D, D)."""
        features = self.phi if W is None else self.effective_features(W)
        return features @ features.swapaxes(-1, -2)

    @exits.finite()
    def meta_kernel(self) -> np.ndarray:
        """mu (D, D, D) (11.130)."""
        return self.eps * np.einsum("ajk,bj,ck->abc", self.psi, self.phi, self.phi)

    @exits.finite()
    def fit(self, y: Any, optimum: str = "minimum norm") -> np.ndarray:
        """W (f, o) of the exact fit to the first points, "span" or "minimum norm", to first order in eps (11.118 for the span)."""
        door.choice(optimum, "optimum", OPTIMA[:2])
        columns = door.host(_aims(y, len(self.phi)), "y")
        n = len(columns)
        columns, phi = columns.reshape(n, -1), self.phi[:n]
        f = factor(phi @ phi.T, name="k")
        refuse_singular(f, np.inf)
        c = f.solve(columns)
        W = phi.T @ c
        side = self.eps * np.einsum("djk,do,ko->jo", self.psi[:n], c, W) if optimum == "minimum norm" else 0 * W
        curved = phi @ side + self.eps / 2 * np.einsum("djk,jo,ko->do", self.psi[:n], W, W)
        return W + side - phi.T @ f.solve(curved)
