"""Derivatives of expectations of a product s1 s2, contracted with tensors: <d_a ... (s1 s2)> X_a..., where a, ... are 1 or 2.

`m` (n, n, orders, orders) as in `largen.theory.corrections.moments`; m[:, :, 1:, 1:] in its place gives s'1 s'2. numpy or JAX.
"""

from typing import Any

import numpy as np


def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The inputs 1 and 2 as indices of (n, n) arrays."""
    i, j = np.ogrid[:n, :n]
    return i, j


def first(m: Any, X: Any) -> Any:
    """(D X)_12... = <s'1 s2> X_1... + <s1 s'2> X_2..., for X (n, ...)."""
    over = (..., *(None,) * (X.ndim - 1))
    return m[:, :, 1, 0][over] * X[:, None] + m[:, :, 0, 1][over] * X[None, :]


def second(m: Any, X: Any) -> Any:
    """(J X)_12... = (1/2) sum_ab <d_a d_b (s1 s2)> X_ab... for X (n, n, ...), symmetric in the first two."""
    (i, j), over = grid(len(m)), (..., *(None,) * (X.ndim - 2))
    return 0.5 * m[:, :, 2, 0][over] * X[i, i] + 0.5 * m[:, :, 0, 2][over] * X[j, j] + m[:, :, 1, 1][over] * X


def third(m: Any, M: Any) -> Any:
    """<d_a d_b d_c (s1 s2)> M_(ab)c."""
    i, j = grid(len(m))
    far = m[:, :, 2, 1] * (M[i, i, j] + 2 * M[i, j, i]) + m[:, :, 1, 2] * (M[j, j, i] + 2 * M[j, i, j])
    return m[:, :, 3, 0] * M[i, i, i] + m[:, :, 0, 3] * M[j, j, j] + far


def fourth(m: Any, V: Any) -> Any:
    """F''[V] = (1/4) <d_a d_b d_c d_d (s1 s2)> V_(ab)(cd)."""
    i, j = grid(len(m))
    own = m[:, :, 4, 0] * V[i, i, i, i] + m[:, :, 0, 4] * V[j, j, j, j]
    three = m[:, :, 3, 1] * V[i, i, i, j] + m[:, :, 1, 3] * V[j, j, j, i]
    return own / 4 + three + m[:, :, 2, 2] * (V[i, i, j, j] / 2 + V[i, j, i, j])


def shift(m: Any, K1: Any, V: Any) -> Any:
    """The shift of <s1 s2> at order 1/n: J K{1} + (1/2) F''[V] (PDLT 4.115)."""
    return second(m, K1) + fourth(m, V) / 2
