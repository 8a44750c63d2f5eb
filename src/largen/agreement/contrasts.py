"""Which numbers of a kernel, a mean or a covariance are compared with theory: a few directions, fixed before measuring.

A measured array M (a matrix over points, or a mean over points and outputs) is compared with theory's T through scalars
<M - T, D>/norm only. The directions D come from theory alone: T itself; for matrices its diagonal and off-diagonal parts; and
for every control T_c, a wrong theory that must be refused, the difference T_c - T, along which theory predicts 0 and the
control 1. This is the direction with the most power against that control, so nothing is hidden by averaging.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from largen.errors import InputError

NEAR = 0.05  # a control closer than this to theory, relative to its norm, tells nothing


@dataclass(frozen=True)
class Contrast:
    """Directions for one array. `names` (k,), "theory", "mean", "diagonal", "off-diagonal" or that of a control; `rows` (k, size), so
    that `rows @ (M - theory).ravel()` are the k scalars, each 0 for theory; `controls`: which row has the value 1 for that control;
    `missing`: controls that tell nothing here, and why; `value`: what the first row is of theory itself; `scale`: of which natural
    size the scalars are in units.
    """

    theory: np.ndarray
    names: tuple[str, ...]
    rows: np.ndarray
    controls: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    value: float = 1.0
    scale: float = 1.0

    def linear(self, gap: np.ndarray) -> np.ndarray:
        """The scalars of differences from theory, or of parts of them, (networks, *shape): (networks, k)."""
        return gap.reshape(len(gap), -1) @ self.rows.T

    def values(self, M: np.ndarray) -> np.ndarray:
        """The scalars of arrays M (networks, *shape): (networks, k)."""
        return self.linear(M - self.theory)

    def distances(self, M: np.ndarray) -> np.ndarray:
        """|M - T|^2/|T|^2 of arrays M (networks, *shape): (networks,)."""
        return ((M - self.theory).reshape(len(M), -1) ** 2).sum(1) / (self.theory**2).sum()


def contrast(theory: np.ndarray, controls: Mapping[str, np.ndarray | str], matrix: bool, unit: float | None = None) -> Contrast:
    """The directions for `theory` and its `controls` (arrays of the same shape, or the reason why there is none). `unit`, default the
    size of theory: what entries are judged relative to; where theory is next to nothing of it, the mean is judged."""
    T = np.asarray(theory, dtype=float)
    size = float(np.sqrt((T**2).mean()))
    unit = size if unit is None else unit
    if not unit:
        got = "a network of which theory says 0 at these points, relative to which nothing can be measured"
        raise InputError("net", got, "signals that reach the output: C_W above 0 in every layer, and points that are not 0")
    along = T / size if size > NEAR * unit else np.ones_like(T)
    names, rows = ["theory" if size > NEAR * unit else "mean"], [along / (T.size * unit)]
    if matrix and len(T) > 1:
        diagonal, off = np.eye(len(T)), T * (1 - np.eye(len(T)))
        mean = T.diagonal().mean()
        names, rows = [*names, "diagonal"], [*rows, diagonal / (len(T) * mean)]
        norm, count = np.sqrt((off**2).sum()), off.size - len(T)
        if norm > 1e-6 * mean:
            scale = max(norm / np.sqrt(count), size)  # entries near zero are judged absolutely
            names, rows = [*names, "off-diagonal"], [*rows, off / (norm * np.sqrt(count) * scale)]
    where: dict[str, int] = {}
    missing: dict[str, str] = {}
    for name, wrong in controls.items():
        if isinstance(wrong, str):
            missing[name] = wrong
            continue
        gap = np.asarray(wrong, dtype=float) - T
        if (gap**2).mean() < (NEAR * unit) ** 2:
            missing[name] = f"within {NEAR:.0%} of theory for this quantity"
            continue
        where[name] = len(names)
        names, rows = [*names, name], [*rows, gap / (gap**2).sum()]
    value = 1.0 if unit == size else float((rows[0] * T).sum())
    return Contrast(T, tuple(names), np.stack([row.ravel() for row in rows]), where, missing, value)


def number(theory: float, scale: float | None = None) -> Contrast:
    """The direction of one number, in units of `scale`, default |theory|."""
    unit = (abs(theory) if scale is None else scale) or 1.0
    return Contrast(np.array([theory]), ("theory",), np.array([[1 / unit]]), value=theory / unit, scale=unit)
