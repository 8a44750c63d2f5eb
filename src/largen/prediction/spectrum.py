"""One symmetric eigendecomposition of the train kernel, shared by all times, outputs and test points.

With Theta~ the train block and R = diag(ridge), Theta~ + R = U diag(lambda) U^T: every predictor of this room is a
function of lambda in that basis. A kernel that is numerically singular is told apart from one that is badly conditioned.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from largen import door, exits, memory
from largen.border import bordered
from largen.display import Record
from largen.errors import InputError, SingularKernelError
from largen.prediction.factored import ridged
from largen.types import Array, is_traced, island, namespace


@dataclass(frozen=True)
class Factorization:
    """Theta~ + diag(ridge) = vectors diag(values) vectors^T, order n^0 in the widths.

    `vectors` (n, n); `values` (n,) ascending, rounding noise below 0 set to 0; `smallest` and `largest` are the extreme
    eigenvalues before that; `duplicate` is the pair of samples (i, j) that the kernel cannot tell apart, if there is one. `matrix`: the
    whole, if it is traced; derivatives are taken through it, as those of eigenvectors do not exist for repeated eigenvalues.

    Of a matrix that is not traced it is `Factored`; what is singular is told by `refuse_singular`, not by these.
    """

    vectors: Array
    values: Array
    smallest: Any
    largest: Any
    duplicate: tuple[int, int] | None = None
    matrix: Any = None

    @property
    def eps(self) -> float:
        """The spacing of floating-point numbers at 1 in the dtype of the kernel."""
        return float(jnp.finfo(self.values.dtype).eps)

    @property
    def noise(self) -> float:
        """Eigenvalues up to this are rounding noise: n eps largest."""
        return len(self.values) * self.eps * self.largest

    @property
    def basis(self) -> Array:
        """The eigenvectors: of a traced matrix fixed, as derivatives are those of the weights."""
        return self.vectors if self.matrix is None else jax.lax.stop_gradient(self.vectors)

    def applied(self, w: Array, B: Array) -> Array:
        """w(A) B, (n, k) or (T, n, k), for a function of the matrix A by its `flow.weights`, and B (n, k)."""
        along = self.basis.mT @ B
        return self.basis @ (w[..., None] * along if self.matrix is None else w @ along)

    def solve(self, B: Array) -> Array:
        """A^{-1} B."""
        return self.applied(1 / self.values, B)

    def inverse(self) -> Array:
        """A^{-1}."""
        return (self.vectors * (1 / self.values)) @ self.vectors.T

    def quadratic(self, B: Array) -> Any:
        """The sum of b.A^{-1} b over the columns of B."""
        return ((1 / self.values)[:, None] * (self.vectors.T @ B) ** 2).sum()

    def logdet(self) -> Any:
        """log det A."""
        return namespace(self.values).log(self.values).sum()


@dataclass(frozen=True, repr=False, kw_only=True)
class Condition(Record):
    """How far the answer can be trusted.

    `smallest`, `largest`: extreme eigenvalues of Theta~ + diag(ridge). `number`: by how much a relative error of the kernel
    is amplified at the time asked, largest x max_i (1 - exp(-lambda_i t))/lambda_i; at infinite time largest/smallest.
    `error`: the relative error to expect from rounding, eps x number. `trust`: "good" up to 1e-3, and while the error of the
    kernel's own Gaussian expectations, amplified, is below that too; else a sentence.
    """

    smallest: Any
    largest: Any
    number: Any
    error: Any
    trust: str


def square(theta: Any, name: str = "theta") -> Array:
    """A finite symmetric (n, n) kernel, n >= 1; (n, n, o, o) is flattened to (n o, n o), sample first. Else `InputError`."""
    need = "a symmetric kernel of shape (n, n), or (n, n, o, o) with all pairs of outputs"
    out = door.array(theta, name, need)
    if out.ndim == 4 and out.shape[2] == out.shape[3]:
        out = flatten(out)
    if out.ndim != 2 or out.shape[0] != out.shape[1] or 0 in out.shape:
        raise InputError(name, f"shape {out.shape}", need, "The train block alone: rows and columns are the same points.")
    if not is_traced(out):
        host = np.asarray(out)
        memory.require(4.0 * host.nbytes, name, f"a kernel of shape {host.shape}", "Take fewer points, or float32.")
        gap, scale = float(np.abs(host - host.T).max()), float(np.abs(host).max())
        if gap > float(jnp.finfo(out.dtype).eps) ** 0.5 * scale:
            raise InputError(name, f"entries that differ from their mirror images by up to {gap:.3g}", need)
    return out


def flatten(theta: Array) -> Array:
    """(n1, n2, o, o) -> (n1 o, n2 o): row i o + j is output j of sample i, as in `z.reshape(-1)` for z (n1, o)."""
    n1, n2, o, _ = theta.shape
    return theta.transpose(0, 2, 1, 3).reshape(n1 * o, n2 * o)


def ridges(ridge: Any, n: int) -> Any:
    """The ridge as a number >= 0 or n of them, one per sample. `InputError` otherwise."""
    if not isinstance(ridge, (list, tuple)) and not getattr(ridge, "ndim", 0):
        return door.number(ridge, "ridge", low=0.0)
    need = f"a number >= 0, or one per sample of shape ({n},)"
    out = door.array(ridge, "ridge", need)
    if out.shape != (n,):
        raise InputError("ridge", f"shape {out.shape}", need)
    if not is_traced(out) and float(out.min()) < 0:
        raise InputError("ridge", f"a smallest entry {float(out.min()):g}", need)
    return out


def factor(theta: Any, ridge: Any = 0.0, name: str = "theta") -> Factorization:
    """The eigendecomposition of theta + diag(ridge), with ridge a number or one per sample, absolute (units of theta).

    theta: (n, n), symmetric and positive semidefinite. Costs about 9 n^3 operations once. Raises `InputError` for what is no
    such matrix: an eigenvalue below -sqrt(eps) times the largest is more than rounding can explain.
    """
    theta = square(theta, name)
    xp = namespace(theta, ridge)
    with island(theta):
        total = ridged(theta, ridge)
        values, vectors = xp.linalg.eigh(total)
        if is_traced(values):
            return Factorization(vectors, xp.maximum(values, 0), values[0], values[-1], matrix=total)
        exits.require(values, "the eigenvalues of the train kernel")
        smallest, largest = float(values[0]), float(values[-1])
        if largest < 0 or smallest < -(float(jnp.finfo(values.dtype).eps) ** 0.5) * largest:
            got = f"a matrix with eigenvalue {smallest:.3g} (the largest is {largest:.3g})"
            raise InputError(name, got, "a positive semidefinite kernel")
        return Factorization(vectors, xp.maximum(values, 0), smallest, largest, _duplicate(np.asarray(total)))


def _duplicate(theta: np.ndarray) -> tuple[int, int] | None:
    """The pair of samples with the smallest theta_ii + theta_jj - 2 theta_ij, if that is zero to rounding."""
    if len(theta) < 2:
        return None
    scale = np.add.outer(np.diag(theta), np.diag(theta))
    gap = scale - 2 * theta
    np.fill_diagonal(gap, np.inf)
    i, j = divmod(int(gap.argmin()), len(theta))
    return (min(i, j), max(i, j)) if gap[i, j] <= 16 * np.finfo(theta.dtype).eps * scale[i, j] else None


def condition(f: Factorization, weights: Array, expectations: Any = 0.0) -> Condition:
    """What to trust at the times whose weights (1 - exp(-lambda t))/lambda are given, and for a relative error of the `expectations`
    that the kernel is made of."""
    number = f.largest * weights.max()
    if is_traced(number):
        return Condition(smallest=f.smallest, largest=f.largest, number=number, error=f.eps * number, trust="unknown under tracing")
    number = float(number)
    error = f.eps * number
    dtype = np.dtype(f.values.dtype)
    trust = "good"
    if error > 1e-3:
        trust = f"poor: {dtype} rounding is amplified {number:.2g} times, to a relative error of about {error:.1g}; " + _advice(f, dtype)
    elif not is_traced(expectations) and (amplified := float(expectations) * number) > 1e-3:
        trust = f"poor: the kernel's own error, {float(expectations):.1g}, is amplified {number:.2g} times, to about {amplified:.1g}; "
        trust += f"declare kinks of the activation, or take ridge={1e3 * float(expectations) * f.largest:.0e} or more."
    return Condition(smallest=f.smallest, largest=f.largest, number=number, error=error, trust=trust)


def refuse_singular(f: Factorization, longest: float, weights: Array | None = None, outputs: int = 1) -> None:
    """Raise `SingularKernelError` if the answer at the longest time is not determined in this precision.

    At infinite time: the smallest eigenvalue is <= n eps largest. At a finite time (with its weights): only when that time
    is as good as infinite, eps x largest x max weight > 1. `outputs`: rows per sample of a flattened kernel.
    """
    if is_traced(f.smallest, longest):
        return
    endless = np.isinf(longest) and f.smallest <= f.noise
    if not endless and (np.isinf(longest) or weights is None or f.eps * f.largest * float(weights.max()) <= 1):
        return
    n, dtype = len(f.values), np.dtype(f.values.dtype)
    rank = int((np.asarray(f.values) > f.noise).sum())
    if f.duplicate is not None and f.duplicate[0] // outputs != f.duplicate[1] // outputs:
        i, j = (k // outputs for k in f.duplicate)
        why = f"Points {i} and {j} are the same for this kernel."
    elif rank < n:
        why = f"Its numerical rank is {rank} of {n}: more points than features (a linear network has n_0 + 1), or nearly equal points."
    else:
        why = f"A time of {longest:.3g} is as good as infinite in {dtype}."
    raise SingularKernelError(
        f"The train kernel is numerically singular: smallest eigenvalue {f.smallest:.3g}, largest {f.largest:.3g}, "
        f"of which {dtype} resolves {f.noise:.2g}. {why} What to do: {_advice(f, dtype)}"
    )


def _advice(f: Factorization, dtype: np.dtype) -> str:
    """What mends a singular or badly conditioned kernel."""
    ways = [f"ridge={100 * f.noise or 1.0:.0e} or more", "drop duplicate points", "a finite (shorter) time"]
    return ", ".join(ways) + (", or float64 arrays." if dtype != np.float64 else ".")


@exits.finite()
@bordered("theta")
def max_learning_rate(theta: Any) -> float:
    """The largest step eta of full-batch gradient descent that does not diverge: 2 / lambda_max(theta).

    For the loss (1/2) sum over samples and outputs, on the linearised network whose train NTK is `theta`. Order n^0 in the widths; a real
    network leaves this line at order 1/n.

    Parameters
    ----------
    theta : array (n, n) or (n, n, o, o)
        The train NTK, the latter with all pairs of outputs. With weight decay or ridge r, pass theta + r I.

    Returns
    -------
    float
        eta in the units of `time`/steps, the same for every parameter up to the learning-rate tensor inside the NTK.

    Raises
    ------
    InputError
        For what is no symmetric finite kernel, or is zero.

    References
    ----------
    PDLT 10.33.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> lg.max_learning_rate(np.array([[2.0, 0.0], [0.0, 4.0]]))
    0.5
    """
    flat = square(theta)
    with island(flat):
        largest = namespace(flat).linalg.eigvalsh(flat)[-1]
        if is_traced(largest):
            return 2 / largest
        if float(largest) <= 0:
            raise InputError("theta", f"a largest eigenvalue {float(largest):.3g}", "a kernel with a positive eigenvalue")
        return 2 / float(largest)
