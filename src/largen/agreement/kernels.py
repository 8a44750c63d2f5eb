"""`lg.check(..., what="kernels")`: kernels of every layer and the NTK of untrained networks.

Conditional on the last hidden layer, E z z^T = Khat = C_b + C_W phi phi^T/n (PDLT 4.70): no draw of the readout.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from largen.agreement.batches import measured
from largen.agreement.claims import Series, claim
from largen.agreement.contrasts import Contrast, contrast
from largen.agreement.controls import EXCHANGED, HEAVIER, exchanged, heavier
from largen.agreement.setting import Setting
from largen.agreement.widths import require_room
from largen.architecture.chain import chain
from largen.architecture.nodes import Serial
from largen.networks.empirical import tangent_kernel
from largen.networks.ensemble import each
from largen.networks.outputs import layers
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor
from largen.theory.kernels import kernel
from largen.types import Params

Key = tuple[str, int | None]


class Look(NamedTuple):
    """Networks before training: outputs (networks, points, o), the NTK, and the kernel of every layer (networks, points, points)."""

    outputs: Any
    ntk: Any
    kernels: Any


def before(net: Serial, params: Any, X: Any, rates: Any) -> Look:
    """What is looked at in one network before training: outputs, NTK (mean over outputs), kernel of every layer."""
    z, last = list(layers(net, params, X).values()), chain(net)[-1]
    assert last.activation is not None
    phi = last.activation(z[-2])
    kernels = [a @ a.T / a.shape[1] for a in z[:-1]] + [last.C_b + last.C_W * (phi @ phi.T) / phi.shape[1]]
    return Look(z[-1], tangent_kernel(net, params, X, None, rate_tensor(net, X.shape[1:], rates), full=False), kernels)


def look(net: Serial, params: Params, X: np.ndarray, rates: Any, chunk: int) -> Look:
    """`before` of a batch of networks, in float64."""
    seen = each(before, net, params, np.asarray(X, np.float32), resolve(net, rates), chunk=chunk)
    return jax.tree_util.tree_map(lambda a: np.asarray(a, dtype=float), seen)


def contrasts(net: Serial, X: np.ndarray, rates: Any) -> dict[Key, Contrast]:
    """The directions of the kernel of every layer and of the NTK, with their controls."""
    right, wrong = (kernel(one, X, rates=rates, layer="all") for one in (net, heavier(net)))
    pairs = enumerate(zip(np.asarray(right.nngp), np.asarray(wrong.nngp), strict=True), 1)
    found: dict[Key, Contrast] = {("kernel", l): contrast(K, {HEAVIER: other}, True) for l, (K, other) in pairs}
    swapped = np.asarray(kernel(net, X, rates=exchanged(net, rates)).ntk)
    found["NTK", None] = contrast(np.asarray(right.ntk)[-1], {HEAVIER: np.asarray(wrong.ntk)[-1], EXCHANGED: swapped}, True)
    return found


def series(at: Look, by: Mapping[Key, Contrast]) -> dict[Key, Series]:
    """The scalars of the kernels and the NTK, and the squared distances of single networks."""
    found: dict[Key, Any] = {("kernel", l): M for l, M in enumerate(at.kernels, 1)}
    found["NTK", None] = at.ntk
    return {name: Series((by[name].values(M),), by[name].distances(M)) for name, M in found.items()}


def check_kernels(s: Setting) -> dict[str, Any]:
    """Untrained networks only."""
    require_room(s.real.values(), s.X.shape[1:], sum(s.networks), 8.0 * (len(chain(s.net)) + 2))
    by, found = contrasts(s.asked, s.X, s.rates), []
    for (n, net), many, key in zip(s.real.items(), s.networks, s.keys, strict=True):
        found.append(series(measured(before, net, s.X, key, many, resolve(net, s.rates)), by))
        s.tell(n)
    return {"claims": tuple(claim("kernels", *name, s.widths, [at[name] for at in found], by[name]) for name in by)}
