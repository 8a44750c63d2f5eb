"""What is asked of a factored train kernel, whichever way it was factored: by eigenvectors (`spectrum.Factorization`), which tell a
singular kernel from a badly conditioned one and serve all times of training, or by a Cholesky factor, whose derivatives exist for
repeated eigenvalues too.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular

from largen.types import Array, namespace


class Factored(Protocol):
    """A symmetric positive definite matrix A (n, n) in factors."""

    def solve(self, B: Array) -> Array:
        """A^{-1} B, for B (n, k)."""
        ...

    def inverse(self) -> Array:
        """A^{-1}."""
        ...

    def quadratic(self, B: Array) -> Any:
        """The sum of b.A^{-1} b over the columns of B (n, k)."""
        ...

    def logdet(self) -> Any:
        """log det A."""
        ...


@dataclass(frozen=True)
class Root:
    """A matrix by its Cholesky factor, for traced values: nothing is checked, and what is singular gives NaN."""

    lower: Array

    def solve(self, B: Array) -> Array:
        return cho_solve((self.lower, True), B)

    def inverse(self) -> Array:
        return self.solve(jnp.eye(len(self.lower), dtype=self.lower.dtype))

    def quadratic(self, B: Array) -> Any:
        return (solve_triangular(self.lower, B, lower=True) ** 2).sum()

    def logdet(self) -> Any:
        return 2 * jnp.log(jnp.diagonal(self.lower)).sum()


def root(kernel: Any, ridge: Any = 0.0) -> Root:
    """The Cholesky factor of kernel + diag(ridge)."""
    return Root(jnp.linalg.cholesky(ridged(jnp.asarray(kernel), ridge)))


def ridged(kernel: Array, ridge: Any) -> Array:
    """kernel + diag(ridge), for a number or one per sample."""
    xp, n = namespace(kernel, ridge), len(kernel)
    return xp.asarray(kernel) + xp.diag(xp.broadcast_to(xp.asarray(ridge, dtype=kernel.dtype), (n,)))
