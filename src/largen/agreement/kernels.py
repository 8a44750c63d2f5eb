"""`lg.check(..., what="kernels")`: kernels of every layer of a plain chain, of the outputs of other networks, and the NTK, untrained.

Conditional on what enters the readout, E z z^T = Khat = C_b + C_W phi phi^T/n (PDLT 4.70): no draw of the readout. That is the part of
the NTK that is the readout's, at the rates C_b and C_W.
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
from largen.architecture.chain import chain, is_plain
from largen.architecture.nodes import Dense, Serial
from largen.networks.empirical import tangent_kernel
from largen.networks.ensemble import each
from largen.networks.outputs import layers, outputs
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor
from largen.theory.kernels import kernel
from largen.types import Params

Key = tuple[str, int | None]


class Look(NamedTuple):
    """Networks before training: outputs (networks, points, o), the NTK, and the kernels (networks, points, points): of every layer of a
    plain chain, of the outputs of other networks."""

    outputs: Any
    ntk: Any
    kernels: Any


def before(net: Serial, params: Any, X: Any, rates: Any) -> Look:
    """What is looked at in one network before training: outputs, NTK (mean over outputs), kernels."""

    def tangent(rates: Any) -> Any:
        return tangent_kernel(net, params, X, None, rate_tensor(net, X.shape[1:], rates), full=False)

    ntk = tangent(rates)
    if is_plain(net):
        z, last = list(layers(net, params, X).values()), chain(net)[-1]
        assert last.activation is not None
        phi = last.activation(z[-2])
        return Look(z[-1], ntk, [a @ a.T / a.shape[1] for a in z[:-1]] + [last.C_b + last.C_W * (phi @ phi.T) / phi.shape[1]])
    z = outputs(net, params, X)
    if not isinstance(net.nodes[-1], Dense):
        return Look(z, ntk, [z @ z.T / z.shape[1]])
    variances = resolve(net)
    *others, readout = variances
    return Look(z, ntk, [tangent(dict.fromkeys(others, (0.0, 0.0)) | {readout: variances[readout]})])


def look(net: Serial, params: Params, X: np.ndarray, rates: Any, chunk: int) -> Look:
    """`before` of a batch of networks, in float64."""
    seen = each(before, net, params, np.asarray(X, np.float32), resolve(net, rates), chunk=chunk)
    return jax.tree_util.tree_map(lambda a: np.asarray(a, dtype=float), seen)


def contrasts(net: Serial, X: np.ndarray, rates: Any) -> dict[Key, Contrast]:
    """The directions of the kernels and of the NTK, with their controls."""
    (right, ntk), (wrong, other_ntk) = (_all(one, X, rates) for one in (net, heavier(net)))
    found: dict[Key, Contrast] = {
        name: contrast(K, {HEAVIER: other}, True) for name, K, other in zip(labels(net), right, wrong, strict=True)
    }
    swapped = np.asarray(kernel(net, X, rates=exchanged(net, rates)).ntk)
    found["NTK", None] = contrast(ntk[-1], {HEAVIER: other_ntk[-1], EXCHANGED: swapped}, True)
    return found


def labels(net: Serial) -> list[Key]:
    """The names of the kernels that are looked at: of the layers of a plain chain, by number; of other networks, of the outputs."""
    return [("kernel", layer) for layer in range(1, len(chain(net)) + 1)] if is_plain(net) else [("kernel", None)]


def _all(net: Serial, X: np.ndarray, rates: Any) -> tuple[np.ndarray, np.ndarray]:
    """Theory of the kernels that are looked at, and the NTKs at the same places, (kernels, points, points)."""
    found = kernel(net, X, rates=rates, layer="all" if is_plain(net) else None)
    nngp, ntk = np.asarray(found.nngp), np.asarray(found.ntk)
    return (nngp, ntk) if nngp.ndim == 3 else (nngp[None], ntk[None])


def series(at: Look, by: Mapping[Key, Contrast]) -> dict[Key, Series]:
    """The scalars of the kernels and the NTK, which come first among `by`, and the squared distances of single networks."""
    return {name: Series((by[name].values(M),), by[name].distances(M)) for name, M in zip(by, [*at.kernels, at.ntk], strict=False)}


def check_kernels(s: Setting) -> dict[str, Any]:
    """Untrained networks only."""
    require_room(s.real.values(), s.X.shape[1:], sum(s.networks), 8.0 * (len(labels(s.net)) + 2))
    by, found = contrasts(s.asked, s.X, s.rates), []
    for (n, net), many, key in zip(s.real.items(), s.networks, s.keys, strict=True):
        found.append(series(measured(before, net, s.X, key, many, resolve(net, s.rates)), by))
        s.tell(n)
    return {"claims": tuple(claim("kernels", *name, s.widths, [at[name] for at in found], by[name]) for name in by)}
