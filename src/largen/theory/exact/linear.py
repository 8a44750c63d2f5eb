r"""Deep linear networks: correlators of any even order, several inputs, any widths, exact.

Given Ghat^(l), the layer's second-moment matrix S = (1/n) sum_j z_j z_j' is a Wishart matrix, whose moments are sums over the
pairings pi of the 2m sample indices, with n^(loops - m), loops those of pi joined to (12)(34)...:

    E[Ghat_12 Ghat_34 ...]^(l+1) = C_W^m sum_pi n_l^(loops(pi) - m) E[prod_{(ab) in pi} Ghat_ab]^(l).

It is closed and linear: for one input PDLT 3.44-3.47, whose c_2m(n) is the sum of the weights. For m = 2,
M_(12)(34) -> M_(12)(34) + (M_(13)(24) + M_(14)(23))/n: the symmetric part grows by 1 + 2/n, the rest shrinks by 1 - 1/n.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from largen import door, exits, memory
from largen.display import Columns, Record, grid, pairs
from largen.errors import InputError, UnsupportedError
from largen.theory.exact.factors import LINEAR, concrete_chain
from largen.types import Array

MOST = 7  # order: 135,135 pairings
NAME = "the exact deep linear correlators"
Pairing = tuple[tuple[int, int], ...]


@dataclass(frozen=True, repr=False, kw_only=True)
class DeepLinear(Record):
    """What `lg.exact.deep_linear` returns, exact at any width. Entry m-1 of the tuples has shape (L, N, ..., N) with 2m axes of samples.

    Attributes
    ----------
    moments : tuple of arrays
        E[Ghat_12 Ghat_34 ...], so that E[z_{i1;1} ... z_{i2m;2m}] = sum over pairings pi of prod_{(ab) in pi} delta_{ia ib} times it, its
        sample indices taken in the order of pi (PDLT 3.44, 4.71).
    cumulants : tuple of arrays
        The joint cumulants of Ghat_12, Ghat_34, ..., the same for connected correlators: of order n^(1-m).
    """

    moments: tuple[Array, ...]
    cumulants: tuple[Array, ...]

    def _columns(self) -> Columns:
        names = ("moments", "cumulants")
        first = {name: getattr(self, name)[0] for name in names}
        second = {f"{name} 2": pairs(getattr(self, name)[1]) for name in names if len(getattr(self, name)) > 1}
        return grid(("layer", "i", "j"), **first, **second)


@exits.finite()
def deep_linear(net: Any, X: Any, order: int = 2) -> DeepLinear:
    """The 2-, 4-, ..., 2 x `order`-point correlators of a deep linear network, exact in the widths.

    Several inputs and unequal widths by Wick contraction (Wishart moments), at a cost of (2 order - 1)!! copies of N^(2 order) numbers a
    layer.

    Parameters
    ----------
    net : architecture
        A plain chain of linear layers with C_b = 0, any widths and C_W.
    X : array (N, features)
        Inputs.
    order : int
        Half the number of points of the highest correlator, at most 7.

    Returns
    -------
    DeepLinear
        In the dtype of X, computed in float64.

    Raises
    ------
    UnsupportedError
        For activations and biases.
    InputError
        For a higher order, and where the memory does not suffice.

    References
    ----------
    PDLT 3.14-3.57, of which 3.14, 3.25, 3.42-3.47 for one input.

    Examples
    --------
    >>> import largen as lg, numpy as np
    >>> net = lg.mlp(widths=[10, 20], out=1, activation="linear")
    >>> out = lg.exact.deep_linear(net, np.array([[1.0, 1.0], [1.0, -1.0]]), order=3)
    >>> float(out.moments[1][2, 0, 0, 0, 0])  # (1 + 2/10)(1 + 2/20)
    1.32
    >>> float(out.moments[1][2, 0, 0, 1, 1]), float(out.moments[1][2, 0, 1, 0, 1])  # orthogonal inputs: E[|z_1|^2 |z_2|^2], E[(z_1.z_2)^2]
    (1.01, 0.155)
    """
    layers, x, order = concrete_chain(net, NAME), door.points(X), door.count(order, "order")
    for layer in layers:
        if layer.activation is not None and layer.activation.name not in LINEAR:
            raise UnsupportedError(repr(layer.activation), f"before {layer.path}", NAME, "it is not linear", ["linear"])
        if layer.C_b:
            raise UnsupportedError("a bias", layer.path, NAME, f"C_b = {layer.C_b:g}; the recursion closes only without biases")
    if order > MOST:
        raise InputError("order", str(order), f"at most {MOST}", "The work grows as (2 order - 1)!!.")
    N, L = x.shape[0], len(layers)
    numbers = L * sum(float(N) ** (2 * m) for m in range(1, order + 1))
    memory.require(24 * numbers, "X, order", f"{N} inputs at order {order}", "Fewer inputs or a lower order.")
    X64 = door.host(x, "X")
    first = layers[0].C_W * X64 @ X64.T / X64.shape[1]
    moments = []
    for m in range(1, order + 1):
        T = _outer([first] * m)
        kept = [T]
        for below, layer in pairwise(layers):
            T = layer.C_W**m * sum(float(below.width) ** (_loops(pi) - m) * T.transpose(_axes(pi)) for pi in pairings(2 * m))
            kept.append(T)
        moments.append(np.stack(kept))
    cumulants: list[np.ndarray] = []
    for m in range(1, order + 1):  # kappa(1..m) = mu - the products of cumulants over partitions into several blocks
        rest = [part for part in _partitions(list(range(m))) if len(part) > 1]
        cumulants.append(moments[m - 1] - sum(_product(part, cumulants, m) for part in rest))
    return DeepLinear(moments=tuple(a.astype(x.dtype) for a in moments), cumulants=tuple(np.asarray(a, x.dtype) for a in cumulants))


def pairings(size: int, left: tuple[int, ...] | None = None) -> Iterator[Pairing]:
    """All (size-1)!! ways to pair 0..size-1."""
    left = tuple(range(size)) if left is None else left
    if not left:
        yield ()
    for i in range(1, len(left)):
        yield from (((left[0], left[i]), *rest) for rest in pairings(size, left[1:i] + left[i + 1 :]))


def _loops(pi: Pairing) -> int:
    """Loops of a pairing joined to (01)(23)..."""
    partner = {a: b for pair in pi for a, b in (pair, pair[::-1])}
    left, loops = set(partner), 0
    while left:
        at, loops = min(left), loops + 1
        while at in left:
            left -= {at, at ^ 1}
            at = partner[at ^ 1]
    return loops


def _axes(pi: Pairing) -> list[int]:
    """Axes such that T.transpose(axes)[s_0, ..., s_2m-1] = T[s of the first pair, s of the second, ...]."""
    return list(np.argsort([a for pair in pi for a in pair]))


def _outer(parts: list[np.ndarray]) -> np.ndarray:
    out = np.ones(())
    for part in parts:
        out = np.multiply.outer(out, part)
    return out


def _partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Partitions of a set into blocks."""
    if len(items) <= 1:
        yield [items] if items else []
        return
    for part in _partitions(items[1:]):
        yield [[items[0]], *part]
        yield from ([*part[:i], [items[0], *block], *part[i + 1 :]] for i, block in enumerate(part))


def _product(part: list[list[int]], cumulants: list[np.ndarray], m: int) -> np.ndarray:
    """The product of the blocks' cumulants, (L, N, ..., N), factor k on the axes 2k and 2k+1."""
    factors: list[Any] = []
    for block in part:
        factors += [cumulants[len(block) - 1], [2 * m, *(axis for k in block for axis in (2 * k, 2 * k + 1))]]
    return np.einsum(*factors, [2 * m, *range(2 * m)])
