"""Made-up tensors of an ensemble with the symmetries of real ones, for tests of training at order 1/n."""

from types import SimpleNamespace
from typing import Any

import numpy as np

FOURS = ("D", "F", "A", "B", "P", "Q", "R", "S", "T", "U")
# slots that may be exchanged (signs are all plus): of (12)(34) pairs, of F_1324, B_1324, P_0123, R_0123, S_1234, T_1342, U_1423
SYMMETRIES = {
    "A": [(1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)], "D": [(1, 0, 2, 3), (0, 1, 3, 2)], "F": [(2, 3, 0, 1)],
    "B": [(1, 0, 3, 2), (2, 3, 0, 1)], "P": [(0, 2, 1, 3)], "Q": [], "R": [(0, 1, 3, 2)],
    "S": [(1, 0, 3, 2)], "T": [(3, 2, 1, 0)], "U": [(2, 3, 0, 1)],
}  # fmt: skip


def symmetric(tensor: np.ndarray, moves: list[tuple[int, ...]]) -> np.ndarray:
    """The mean over the group that the exchanges generate."""
    group = {(0, 1, 2, 3)}
    while (more := group | {tuple(g[i] for i in move) for g in group for move in moves}) != group:
        group = more
    return np.mean([tensor.transpose(g) for g in group], 0)


def random_tensors(points: int, seed: int = 0, width: float = 10.0) -> Any:
    rng = np.random.default_rng(seed)
    K, Theta = (a @ a.T / points + 0.3 * np.eye(points) for a in rng.normal(size=(2, points, points)))
    K1, Theta1 = (a + a.T for a in rng.normal(size=(2, points, points)))
    fours = {name: symmetric(rng.normal(size=(points,) * 4), SYMMETRIES[name]) for name in FOURS}
    return SimpleNamespace(K=K, Theta=Theta, K1=K1, Theta1=Theta1, width=width, **fours)
