"""Networks with positions, branches, attention, graphs and dropout: kernels of real networks, extrapolated to infinite width,
against theory."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.agreement.statistics import LEVEL, PRECISION, REJECT, extrapolate, mean_and_error, z_score
from largen.networks.empirical import tangent_kernel
from largen.networks.outputs import outputs
from largen.networks.parameters import draw_parameters
from largen.parametrizations.rates import resolve
from largen.parametrizations.table import rate_tensor

WIDTHS, NETWORKS = (8, 16, 32, 64), (3200, 2000, 1200, 800)
MANY, FEW = 64, 2  # outputs, for preactivations and for NTKs: many are cheap for the first
C: dict[str, Any] = {"C_W": 1.5, "C_b": 0.1}
RELU, TANH = lg.Act("relu"), lg.Act("tanh")
RNG = np.random.default_rng(7)
SEQUENCES, IMAGES = RNG.normal(size=(2, 3, 2)), RNG.normal(size=(2, 4, 3, 2))
RING = [[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.5, 0.0, 1.0]]

Build = Callable[[int], lg.Serial]


def pooled(n: int, pool: Any = None) -> Any:
    middle = pool or lg.AvgPool((2, 1))
    body = lg.Conv(n, 3, **C) >> RELU >> middle >> lg.Conv(n, 2, padding="CIRCULAR", dilation=2, **C) >> TANH
    return body >> lg.GlobalAvgPool()


def sparse(n: int, kind: Any = lg.ConvLocal, stride: int = 2) -> Any:
    grown = lg.ConvTranspose(n, 3, (stride, 1), **C) >> RELU >> kind(n, 2, **C) >> RELU
    return grown >> lg.SumPool((2, 1)) >> lg.GlobalAvgPool()


def branches(n: int, gate: Any = TANH) -> Any:
    joined = lg.Concat(lg.Conv(n // 2, 1, **C), TANH >> lg.Conv(n, 2, **C))
    return lg.Conv(n, 2, **C) >> joined >> lg.RMSNorm() >> lg.Conv(n, 1, **C) >> lg.Product(gate, lg.Conv(n, 1, **C)) >> lg.Flatten()


def transformer(n: int, positions: Any = 0.5) -> Any:
    part = lg.Attention(positions=positions, C_key=1.2, C_query=0.8, C_value=0.7, C_b=0.1, heads=2 * n, width=2)
    return lg.Dense(4 * n, **C) >> lg.PositionalEmbedding(0.3) >> lg.Sum(lg.Identity(), part) >> RELU >> lg.GlobalAvgPool()


def graph(n: int, mechanism: str = "softmax", rate: float = 0.3) -> Any:
    part = lg.Attention(mechanism, "1/d", 0.5, C_key=1.4, C_query=0.8, C_b=0.1, heads=n // 4, width=n // 2)
    mixed = lg.Dense(n, **C) >> part >> RELU >> lg.Dropout(rate) >> lg.Aggregate(RING)
    return mixed >> lg.Dense(n, **C) >> TANH >> lg.GlobalAvgPool()


# networks, the same with one node changed, and points
CASES: dict[str, tuple[Build, tuple[Build, ...], np.ndarray]] = {
    "pooling": (pooled, (partial(pooled, pool=lg.SumPool((2, 1))),), IMAGES),
    "transposed and local": (sparse, (partial(sparse, kind=lg.Conv), partial(sparse, stride=1)), IMAGES[:, :2, :2]),
    "branches": (branches, (partial(branches, gate=RELU),), IMAGES[:, :2, :2]),
    "transformer": (transformer, (partial(transformer, positions=None),), SEQUENCES),
    "softmax, graph, dropout": (graph, (partial(graph, mechanism="relu"), partial(graph, rate=0.0)), SEQUENCES),
}
# by how much fewer networks tell the kernel, and the NTK, to 3 %
FEWER = {"branches": (2, 2), "softmax, graph, dropout": (2, 1)} | dict.fromkeys(("pooling", "transposed and local", "transformer"), (1, 2))
ROWS, COLUMNS = np.array([0, 1, 0]), np.array([0, 1, 1])  # entries fixed in advance


def ended(body: Any, out: int) -> lg.Serial:
    return body >> lg.Dense(out, **C)


def measured(body: lg.Serial, X: np.ndarray, networks: int, fewer: tuple[int, int], key: Any) -> list[np.ndarray]:
    """(networks, entries) of the mean over outputs of z z', and of the NTK, each of its part of the networks."""
    looked, net = ended(body, MANY), ended(body, FEW)
    x, rates = jnp.asarray(X, jnp.float32), resolve(net)
    pace, drops = rate_tensor(net, X.shape[1:], rates), any(isinstance(part, lg.Dropout) for part in net.nodes)

    def masked_ntk(params: Any, masks: Any) -> Any:
        slopes = jax.jacrev(lambda p: outputs(net, p, x, masks)[:, 0])(params)
        flat = [(r, g.reshape(len(x), -1)) for r, g in zip(*map(jax.tree_util.tree_leaves, (pace, slopes)), strict=True)]
        return sum(r * g @ g.T for r, g in flat)

    def metric(key: Any) -> Any:
        first, _, masks = jax.random.split(key, 3)
        z = outputs(looked, draw_parameters(looked, first, X.shape[1:], jnp.float32), x, masks)
        return (z @ z.T / MANY)[ROWS, COLUMNS]

    def tangent(key: Any) -> Any:
        _, second, masks = jax.random.split(key, 3)
        params = draw_parameters(net, second, X.shape[1:], jnp.float32)
        ntk = masked_ntk(params, masks) if drops else tangent_kernel(net, params, x, None, pace, full=False)
        return ntk[ROWS, COLUMNS]

    keys = jax.random.split(key, networks)
    programs = (jax.jit(partial(jax.lax.map, one, batch_size=50)) for one in (metric, tangent))
    return [np.asarray(program(keys[: networks // part]), float) for program, part in zip(programs, fewer, strict=True)]


def scores(samples: list[np.ndarray], theory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z-scores of the intercepts, and their errors relative to the scale of the entry."""
    z, errors = [], []
    for row, column, *series in zip(ROWS, COLUMNS, *(s.T for s in samples), strict=True):
        scale = np.sqrt(theory[row, row] * theory[column, column])
        means, spread = np.array([mean_and_error(s) for s in series]).T
        neglected = scale * abs((means[0] - theory[row, column]) / scale) ** 3
        fit = extrapolate(WIDTHS, means, spread, neglected=neglected)
        z.append(z_score(fit.intercept, fit.error, float(theory[row, column])))
        errors.append(fit.error / scale)
    return np.array(z), np.array(errors)


def louder(part: Any) -> Any:
    """Every C_W of a network 10 % larger."""
    if isinstance(part, lg.Serial):
        return lg.Serial(tuple(map(louder, part.nodes)))
    if hasattr(part, "branches") and not isinstance(part, lg.Attention):
        return part.with_children(map(louder, part.branches))
    names = [f.name for f in fields(part) if f.name in ("C_W", "C_value", "C_out")]
    return replace(part, **{name: 1.1 * getattr(part, name) for name in names}) if names else part


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_real_networks_have_the_kernels_of_theory(name: str) -> None:
    """NNGP and NTK within 4 standard errors; C_W + 10 %, and a network with one node changed, refused at 6."""
    build, wrong, X = CASES[name]
    keys = jax.random.split(jax.random.key(3), len(WIDTHS))
    found = [measured(build(n), X, many, FEWER[name], key) for n, many, key in zip(WIDTHS, NETWORKS, keys, strict=True)]

    def judged(net: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        out = lg.kernel(ended(net, 1), X)
        return [scores([pair[i] for pair in found], np.asarray(value)) for i, value in enumerate((out.nngp, out.ntk))]

    for z, errors in judged(build(8)):
        assert np.abs(z).max() < LEVEL, z
        assert errors.max() < PRECISION, errors
    for net in (louder(build(8)), *(other(8) for other in wrong)):
        assert max(np.abs(z).max() for z, _ in judged(net)) > REJECT, judged(net)
