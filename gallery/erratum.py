"""One wrong formula of the sources beside its correction: the record, the verdict on measured numbers, and the figure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Curves = dict[str, tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class Erratum:
    """One formula: `x` and the `curves` of the figure ((y, error or None) by label); how far the `printed` and the `right` one are from
    the truth, in the unit said, and whether that refuses the one and accepts the other; `measured`, where the printed one is furthest
    off: that truth, its standard error (0: exact), the right and the printed value."""

    name: str
    title: str
    axes: tuple[str, str]
    x: np.ndarray
    curves: Curves
    printed: float
    right: float
    unit: str
    holds: bool
    log: str = ""
    measured: tuple[float, float, float, float] | None = None


def mean_and_error(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the first axis, independent networks."""
    return samples.mean(0), samples.std(0) / np.sqrt(len(samples))


def weighed(
    name: str, title: str, axes: tuple[str, str], x: Any, curves: Curves, found: tuple[Any, Any], right: Any, printed: Any, log: str = ""
) -> Erratum:
    """The erratum that measured values with standard errors settle, entry by entry: the `printed` formula is refused where it is furthest
    off, the `right` one has to agree everywhere."""
    value, error, good, bad = np.broadcast_arrays(*found, right, printed)
    agree, refuse = (float(np.max(np.abs(value - theory) / error)) for theory in (good, bad))
    most = np.unravel_index(np.argmax(np.abs(value - bad) / error), value.shape)
    seen = float(value[most]), float(error[most]), float(good[most]), float(bad[most])
    return Erratum(name, title, axes, np.asarray(x), curves, refuse, agree, "standard errors", refuse > 6 > 4 > agree, log, seen)


def draw(found: Erratum, path: Path) -> None:
    """The figure, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = found.name  # the same bytes each time
    import matplotlib.pyplot as plt

    fig, axis = plt.subplots(figsize=(6.4, 3.6))
    for (label, (y, error)), colour in zip(found.curves.items(), ("#0072B2", "#D55E00", "#1a1a1a", "#999999"), strict=False):
        if error is not None:
            axis.errorbar(found.x, y, 2 * error, fmt="o", color=colour, label=f"{label} (± 2 s.e.)", capsize=3)
        else:
            axis.plot(found.x, y, color=colour, label=label, lw=2, ls="--" if "printed" in label or "footnote" in label else "-")
    axis.set(xlabel=found.axes[0], ylabel=found.axes[1], title=found.title)
    if "x" in found.log:
        axis.set_xscale("log")
    if "y" in found.log:
        axis.set_yscale("log")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)
