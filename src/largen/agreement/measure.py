"""Real networks of one width, measured: kernels at initialisation, trained outputs. Batches of bounded size; scalars are kept.

Variance is taken out where the mean of what is subtracted is known, or is cheap to measure by itself; nothing gets biased by
it, even if theory is wrong. With z the outputs before training, z_B(t) after it, R theory's response, P = (-R, 1):

- Output kernel: conditional on the last hidden layer, E z z^T = Khat = C_b + C_W phi phi^T/n (PDLT 4.70): no draw of the readout.
- Trained mean, less theory's R y: e = z_B(t) - R y. Two levels with independent networks: d = P z has mean exactly 0; and
  c = Phat z + (Rhat - R) y, the same network linearised with its own NTK (mean over outputs), costs no training. So
  E e = E[c - d] over many untrained networks + E[e - c] over the trained ones, where e - c is of order 1/n only (for one output).
- Trained covariance: E e e^T = E[c c^T - d d^T + P Khat P^T] + E[e e^T - c c^T], since E d d^T = P E[Khat] P^T exactly.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from largen.agreement.claims import Series
from largen.agreement.forecast import Forecast, Question
from largen.architecture.chain import chain
from largen.architecture.nodes import Serial
from largen.networks.empirical import tangent_kernel
from largen.networks.ensemble import each, train_ensemble
from largen.networks.outputs import layers
from largen.networks.parameters import init
from largen.prediction import flow
from largen.prediction.spectrum import Factorization
from largen.scaling.rates import resolve
from largen.types import Params

BUDGET = 2.0**28  # bytes of one batch of networks


class Look(NamedTuple):
    """Networks before training: outputs (networks, points, o), the NTK, and the kernel of every layer (networks, points, points)."""

    outputs: np.ndarray
    ntk: np.ndarray
    kernels: list[np.ndarray]


def batches(net: Serial, key: Any, q: Question, trained: int, wanted: int) -> Iterator[Params]:
    """Parameters of at least `wanted` independent networks, batch by batch. The size of a batch depends on `trained` only and is
    a multiple of the chunk, so that everything is compiled once for each width."""
    fans = [q.X.shape[1], *(layer.width for layer in chain(net))]
    weights, P = sum(a * b for a, b in pairwise(fans)), len(q.points)
    one = 4.0 * (4 * weights + 6 * P * sum(fans) + 2 * P * P * len(fans))
    chunk = chunk_of(net)
    most = max(chunk, min(1024, BUDGET // one) // chunk * chunk)
    size = int(chunk * -(-trained // (chunk * -(-trained // most))))
    for k in jax.random.split(key, -(-wanted // size)):
        yield init(net, q.X.shape[1], k, networks=size, dtype=np.float32)


def chunk_of(net: Serial) -> int:
    """How many networks to work on at once: many narrow ones, few wide ones."""
    return max(1, min(64, 4096 // max(layer.width for layer in chain(net))))


def before(net: Serial, params: Any, X: Any, rates: Any) -> Any:
    """What is looked at in one network before training: outputs, NTK (mean over outputs), kernel of every layer."""
    z, last = list(layers(net, params, X).values()), chain(net)[-1]
    assert last.activation is not None
    phi = last.activation(z[-2])
    kernels = [a @ a.T / a.shape[1] for a in z[:-1]] + [last.C_b + last.C_W * (phi @ phi.T) / phi.shape[1]]
    return z[-1], tangent_kernel(net, params, X, None, rates, full=False), kernels


def look(net: Serial, params: Params, q: Question) -> Look:
    """`before` of a batch of networks, in float64."""
    operands = (jnp.asarray(q.points, np.float32), resolve(net, q.rates))
    seen = each(before, net, params, operands, chunk=chunk_of(net))
    return Look(*jax.tree_util.tree_map(lambda a: np.asarray(a, dtype=float), seen))


def largest_eigenvalue(net: Serial, key: Any, q: Question, networks: int) -> float:
    """The largest eigenvalue of the NTK (mean over outputs) on the train points, among the networks that will be trained."""
    n = len(q.X)
    return max(float(np.linalg.eigvalsh(look(net, p, q).ntk[:, :n, :n]).max()) for p in batches(net, key, q, networks, networks))


def linearised(at: Look, q: Question) -> np.ndarray:
    """The outputs on the test points of every network after training, linearised about its start with its own NTK."""
    n = len(q.X)
    values, vectors = np.linalg.eigh(at.ntk[:, :n, :n])
    f = Factorization(vectors, np.maximum(values, 0), values.min(), values.max())
    w = flow.decayed(f.values, flow.schedule("descent", eta=q.eta, steps=q.steps))
    return at.outputs[:, n:] + flow.mean(f, w, at.ntk[:, n:, :n], q.y - at.outputs[:, :n])


def squares(e: np.ndarray) -> np.ndarray:
    """e e^T, mean over outputs: (networks, points, o) to (networks, points, points)."""
    return e @ e.swapaxes(1, 2) / e.shape[2]


def everything(net: Serial, keys: Any, q: Question, by: Forecast, trained: int, untrained: int) -> dict[tuple[str, int | None], Series]:
    """Every quantity of a forecast at one width, over `untrained` and other, `trained` networks (rounded up to whole batches)."""
    n, of = len(q.X), by.contrasts
    mean, cov, target = of["trained mean", None], of["trained covariance", None], by.response @ q.y
    P = np.hstack([-by.response, np.eye(len(by.response))])
    kept: dict[tuple[str, int | None], list[Series]] = {name: [] for name in of}
    gaps: list[list[np.ndarray]] = [[], []]
    for params in batches(net, keys[0], q, trained, untrained):
        at = look(net, params, q)
        c, d = linearised(at, q) - target, P @ at.outputs
        found = {("kernel", l): M for l, M in enumerate(at.kernels, 1)} | {("NTK", None): at.ntk}
        for name, M in found.items():
            kept[name].append(Series((of[name].values(M),), of[name].distances(M)))
        gaps[0].append(c - d)
        kept["trained mean", None].append(Series((mean.linear(c - d),)))
        kept["trained covariance", None].append(Series((cov.values(squares(c) - squares(d) + P @ at.kernels[-1] @ P.T),)))
    means, covs, distances = [], [], []
    points, scale = q.points.astype(np.float32), (target**2).sum() + target.shape[1] * np.trace(cov.theory)
    for params in batches(net, keys[1], q, trained, trained):
        at = look(net, params, q)
        _, history = train_ensemble(
            net, params, points[:n], q.y.astype(np.float32), q.eta, q.steps, q.rates, record=(points[n:], [q.steps]), chunk=chunk_of(net)
        )
        e, c, d = np.asarray(history.outputs, dtype=float)[:, 0] - target, linearised(at, q) - target, P @ at.outputs
        gaps[1].append(e - c)
        means.append(mean.linear(e - c))
        covs.append(cov.linear(squares(e) - squares(c)))
        distances.append(((e - d) ** 2).sum((1, 2)) / scale)
    bias = sum(np.concatenate(g).mean(0) for g in gaps)  # O(1/n): its square is what the covariance is less than the second moment
    out = {name: joined(parts) for name, parts in kept.items() if name[0] not in ("trained mean", "trained covariance")}
    level = {name: joined(kept[name, None]).levels[0] for name in ("trained mean", "trained covariance")}
    out["trained mean", None] = Series((level["trained mean"], np.concatenate(means)), np.concatenate(distances))
    shift = cov.linear(squares(np.asarray(bias)[None]))
    out["trained covariance", None] = Series((level["trained covariance"] - shift, np.concatenate(covs)))
    return {name: out[name] for name in of}


def joined(parts: Sequence[Series]) -> Series:
    """Series of several batches as one."""
    distances = [p.distances for p in parts if p.distances is not None]
    levels = tuple(np.concatenate(level) for level in zip(*(p.levels for p in parts), strict=True))
    return Series(levels, np.concatenate(distances) if distances else None)
