"""`lg.bayes.scan`: the evidence over hyperparameters and depths, and where its maximum stands to criticality."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from largen import door, exits, memory
from largen.activations.critical import critical
from largen.architecture.mapping import map_affine
from largen.architecture.nodes import Act, Dense, Serial, network
from largen.display import Columns, Record, grid
from largen.errors import InputError, UnsupportedError, shown
from largen.prediction.posterior.evidence import defined_log
from largen.theory.signal.fixed_points import fixed_points


@dataclass(frozen=True, repr=False, kw_only=True)
class EvidenceScan(Record):
    """What `lg.bayes.scan` returns.

    Attributes
    ----------
    log : array (depths, C_b, C_W)
        The log evidence; -inf where the kernel is singular or order 1 fails.
    C_W, C_b : array
        The axes.
    depths : tuple of int
        The axis of depths, affine layers L.
    best : tuple (L, C_b, C_W)
        Where the evidence is largest.
    best_C_W, best_C_b : array (depths,)
        The same at each depth.
    critical : tuple (C_b, C_W) or None
        Of the activation; None if it has none.
    phase : tuple of str
        Of each depth's best: "ordered", "chaotic", "critical" or "divergent".
    caution : str
        What not to conclude, "" if there is nothing.
    missing : dict
        Why a field is None.
    """

    log: np.ndarray
    C_W: np.ndarray
    C_b: np.ndarray
    depths: tuple[int, ...]
    best: tuple[int, float, float]
    best_C_W: np.ndarray
    best_C_b: np.ndarray
    critical: tuple[float, float] | None
    phase: tuple[str, ...]
    caution: str

    def _columns(self) -> Columns:
        depth, C_b, C_W = np.meshgrid(self.depths, self.C_b, self.C_W, indexing="ij")
        return grid((), depth=depth, C_b=C_b, C_W=C_W, log=self.log)

    @property
    def missing(self) -> dict[str, str]:
        """Why a field is None."""
        return {"critical": "the activation has no critical point: lg.critical says why"} if self.critical is None else {}


@exits.finite("log")
def scan(
    net: Any, X: Any, y: Any, C_W: Any, C_b: Any = 0.0, depths: Sequence[int] | int | None = None, ridge: Any = 0.0, order: int = 0
) -> EvidenceScan:
    """`lg.bayes.evidence` of a fully-connected network at every (C_W, C_b, depth) of a grid, all layers alike.

    With depth the kernel of a network that is not critical goes to 0, to infinity or to a fixed point where points are told apart too
    little or too well, and the evidence falls with it. For a scale-invariant activation such as ReLU the maximum runs to the critical
    C_W with depth (PDLT 6.3.1). In general it does *not*: for tanh and its like K falls as 1/L at the critical point, while in the chaotic
    phase (C_W above it) it keeps its size, so that the maximum lies there, where the evidence stays finite; `caution` says so.

    Parameters
    ----------
    net : architecture
        Affine layers with one activation.
    X, y
        As of `lg.bayes.evidence`.
    C_W : float or array (k,)
        Values of C_W.
    C_b : float or array (k,)
        Values of C_b.
    depths : int or sequence of int, optional
        L, numbers of affine layers; default the network's. Other depths repeat or drop its last hidden layer.
    ridge, order
        As of `lg.bayes.evidence`.

    Returns
    -------
    EvidenceScan
        The evidence (depths, C_b, C_W), its largest, and in which phase that lies.

    Raises
    ------
    InputError
        As `lg.bayes.evidence` does and for empty or negative axes.
    UnsupportedError
        For networks of other kinds.

    References
    ----------
    PDLT 6.3.1.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> angle = np.linspace(0, 0.8, 8)
    >>> X, y = np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([0.6 + 0.5 * angle, -0.4 + 0.3 * angle], 1)
    >>> net = lg.mlp(widths=[100], out=2, activation="relu")
    >>> lg.bayes.scan(net, X, y, C_W=[0.5, 1.0, 1.5], depths=4, ridge=1e-3).best
    (4, 0.0, 1.0)
    """
    net = network(net)
    door.concrete((net, X, y, ridge), "net, X, y, ridge")
    weights, biases = (_axis(v, name) for v, name in ((C_W, "C_W"), (C_b, "C_b")))
    hidden, phi = _uniform(net)
    asked = [len(hidden) + 1] if depths is None else [depths] if isinstance(depths, (int, np.integer)) else depths
    sizes = door.counts(asked, "depths", "an integer >= 2, or a list of them", 2)
    memory.require_few(2 * max(sizes, default=2), "depths", "nodes of one network")
    log = np.array([defined_log(_network(net, L, phi, w, b), X, y, ridge, order) for L, b, w in product(sizes, biases, weights)])
    log = log.reshape(len(sizes), len(biases), len(weights))
    if not np.isfinite(log).any():
        raise InputError(
            "ridge", shown(ridge), "one with which the kernel is regular somewhere on the grid", "Give ridge=, the noise variance."
        )
    at = [np.unravel_index(int(layer.argmax()), layer.shape) for layer in log]
    best_b, best_w = np.array([biases[b] for b, _ in at]), np.array([weights[w] for _, w in at])
    top = int(log.max((1, 2)).argmax())
    point, phase = critical(phi.activation), tuple(fixed_points(phi.activation, w, b).phase for w, b in zip(best_w, best_b, strict=True))
    return EvidenceScan(
        log=log,
        C_W=weights,
        C_b=biases,
        depths=sizes,
        best=(sizes[top], float(best_b[top]), float(best_w[top])),
        best_C_W=best_w,
        best_C_b=best_b,
        critical=None if point.C_W is None or point.C_b is None else (point.C_b, point.C_W),
        phase=phase,
        caution=_caution(point.universality, phase, sizes),
    )


def _caution(universality: str, phase: tuple[str, ...], depths: tuple[int, ...]) -> str:
    chaotic = [L for L, name in zip(depths, phase, strict=True) if name == "chaotic"]
    if universality != "K*=0" or not chaotic:
        return ""
    return (
        f"At L = {', '.join(map(str, chaotic))} the best is in the chaotic phase, above the critical C_W: at criticality the kernel of "
        "this class falls with depth (tanh: K = 1/(2L)), above it keeps its size. Evidence is no sign of criticality here."
    )


def _axis(value: Any, name: str) -> np.ndarray:
    """Numbers >= 0, (k,)."""
    out = np.atleast_1d(door.values(value, name))
    if out.ndim != 1 or not out.size or out.min() < 0:
        raise InputError(name, shown(value), "a number >= 0, or an array (k,) of them")
    return out


def _uniform(net: Serial) -> tuple[list[Dense], Act]:
    """The hidden layers and the activation of a network Dense >> Act >> ... >> Dense with one activation."""
    layers, bends = net.nodes[::2], net.nodes[1::2]
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    acts = [bend for bend in bends if isinstance(bend, Act)]
    if len(net.nodes) < 3 or len(dense) != len(layers) or len(acts) != len(bends) or len(layers) != len(bends) + 1 or len(set(acts)) > 1:
        reason = "it builds networks of other depths; give affine layers with one activation between them"
        raise UnsupportedError(repr(net), "", "lg.bayes.scan", reason, ["lg.mlp(...)"])
    return dense[:-1], acts[0]


def _network(net: Serial, L: int, phi: Act, C_W: float, C_b: float) -> Serial:
    """The network with L affine layers, all with these hyperparameters."""
    hidden, _ = _uniform(net)
    many = [*hidden, *[hidden[-1]] * L][: L - 1]
    deep = Serial((*(part for layer in many for part in (layer, phi)), net.nodes[-1]))
    return map_affine(deep, lambda layer, last: replace(layer, C_W=C_W, C_b=C_b))
