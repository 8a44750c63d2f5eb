"""The kernels that predictions are made of, as the caller gives them: a record of all points, in memory, on a disk or computed lazily."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from largen import door
from largen.errors import InputError
from largen.grams.operator import Blockwise, Operator, operator
from largen.grams.tiles import WHICH, by_name
from largen.prediction.kernels import Blocks
from largen.theory.kernels import Kernel
from largen.types import Array

JOINT = "lg.gram(net, np.concatenate([X, X_test])) gives it, with store=PATH on a disk."
NEED = "a matrix of finite real numbers"
COVARIANCE = "a positive semidefinite kernel, as those of lg.gram and lg.kernel are"


def refuse_beside_kernel(order: int, params: Any, usual: bool) -> None:
    """Refuse what goes with no kernel that is given: it says how kernels are computed. `usual`: whether rates are."""
    if order:
        raise InputError("order", "1 with kernel=", "order=0: order 1 is made of tensors of four points, which the network says")
    if params is not None:
        raise InputError("params", "one network with kernel=", "no params, or no kernel: one network has its own empirical kernel")
    if not usual:
        raise InputError("rates", "other rates with kernel=", "no rates: a kernel has them in it", "lg.gram(..., rates=) computes it.")


def require_semidefinite(kernel: Array, name: str) -> None:
    """Refuse a kernel with an eigenvalue below zero by more than rounding, as `spectrum.factor` does. Eigenvalues are asked for only where
    there is no Cholesky factor, which takes a quarter of their time."""
    K = np.array(kernel, jnp.promote_types(kernel.dtype, np.float32))
    slack = float(np.finfo(K.dtype).eps) ** 0.5
    shift = slack * abs(K.diagonal()).max()
    K.flat[:: len(K) + 1] += shift
    try:
        np.linalg.cholesky(K)
    except np.linalg.LinAlgError:
        values = np.linalg.eigvalsh(K) - shift
        if values[0] < -slack * abs(values[-1]):
            got = f"train points whose smallest eigenvalue is {values[0]:.3g} (the largest is {values[-1]:.3g})"
            raise InputError(name, got, COVARIANCE) from None


class Given:
    """The argument `kernel` of `lg.predict`, checked as far as it can be without reading it: a record of the kernels of n train points
    and, after them, m test points, with those `which` that the prediction is made of. What is read is checked as it is."""

    def __init__(self, kernel: Any, n: int, m: int, which: str) -> None:
        door.concrete(kernel, "kernel")
        if not isinstance(kernel, Kernel):
            need = "the record of lg.gram or lg.kernel for train and test points together"
            raise InputError("kernel", f"a {type(kernel).__name__}", need, JOINT)
        self.n, self.m, self.which, self.error = n, m, which, door.real(kernel.error, "kernel.error", low=0.0)
        self.whole = {name: self._operator(kernel, name) for name in WHICH[which]}

    def _operator(self, kernel: Kernel, name: str) -> Operator:
        """One of the kernels, unread."""
        value, points = getattr(kernel, name), self.n + self.m
        if value is None:
            alone = self.which == "both" and name == "nngp"
            fix = 'which="both" of lg.gram computes both.' + (" The mean alone, covariance=None, is made of .ntk." if alone else "")
            raise InputError("kernel", f"a record without .{name} ({kernel.missing[name]})", f"one with .{name}", fix)
        try:
            floating = jnp.issubdtype(np.dtype(value.dtype), np.floating)
        except (AttributeError, TypeError):  # lists, tables, tensors of other libraries
            floating = False
        out = operator(value if floating else door.array(value, f"kernel.{name}", NEED))
        if tuple(out.shape) != (points, points):
            need = f"({points}, {points}), of the {self.n} train points, then the {self.m} test points"
            raise InputError(f"kernel.{name}", f"shape {tuple(out.shape)}", need, JOINT)
        return out

    @property
    def dtype(self) -> Any:
        """The shortest of the kernels' dtypes."""
        return min((np.dtype(part.dtype) for part in self.whole.values()), key=lambda kind: kind.itemsize)

    def blocks(self) -> Blocks:
        train, test = slice(0, self.n), slice(self.n, self.n + self.m)

        def corners(rows: slice, columns: slice) -> list[_Corner]:
            return [_Corner(part, f"kernel.{name}", rows, columns) for name, part in self.whole.items()]

        def own(full: bool) -> tuple[Array, Any]:
            K = corners(test, test)[0]
            values = K[:, :] if full else K.diagonal()
            if (lowest := float((values.diagonal() if full else values).min())) < 0:
                raise InputError("kernel.nngp", f"a test point of variance {lowest:.3g}", COVARIANCE)
            return values, self.error

        found = [(corner.name, corner[:, :]) for corner in corners(train, train)]
        for name, values in found:
            require_semidefinite(values, name)
        inside = by_name(self.which, [values for _, values in found])
        across = by_name(self.which, corners(test, train))
        return Blocks(Kernel(**inside, error=np.asarray(self.error)), Kernel(**across, error=np.asarray(self.error)), own)


class _Corner(Blockwise):
    """Some rows and columns of an operator, side by side; what is read is an array of finite numbers, or `InputError` says why not."""

    def __init__(self, whole: Operator, name: str, rows: slice, columns: slice) -> None:
        self.whole, self.name, self.corner = whole, name, (rows, columns)
        self.shape, self.dtype = (rows.stop - rows.start, columns.stop - columns.start), whole.dtype

    def __getitem__(self, at: tuple[slice, slice]) -> Array:
        asked = [range(whole.start, whole.stop)[part] for whole, part in zip(self.corner, at, strict=True)]
        rows, columns = (slice(part.start, part.stop) for part in asked)
        out = door.array(self.whole[rows, columns], self.name, NEED)
        if out.shape != tuple(map(len, asked)):
            raise InputError(self.name, f"a block of shape {out.shape}", f"the shape of its rows and columns, {tuple(map(len, asked))}")
        return out
