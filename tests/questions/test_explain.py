"""lg.explain: what it says is tracked, counted and used is what lg.kernel and lg.gram hold, run and take."""

import json
import re
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.activations.assumed import assuming
from largen.architecture.branches import settled
from largen.architecture.nodes import network
from largen.architecture.paths import everything
from largen.architecture.walk import needed, walk
from largen.errors import InputError, UnsupportedError
from largen.grams import plan
from largen.grams.engine import task
from largen.parametrizations.rates import resolve
from largen.questions import forecast
from largen.questions.cost import costs, endless, operations
from largen.questions.explain import short
from largen.running.evaluate import evaluated
from largen.theory import kernels, positions
from largen.theory.given import given
from largen.theory.rules import KERNELS

RELU, READ = lg.Act("relu"), lg.Flatten() >> lg.Dense(1)
FLAT = lg.cnn([4, 4], out=1)
POOLED = lg.Conv(4, 3) >> RELU >> lg.AvgPool(2) >> lg.Conv(4, 3) >> RELU >> lg.GlobalAvgPool() >> lg.Dense(1)
BESIDE = lg.Conv(4, 3) >> lg.Sum(lg.AvgPool(3, 1, "SAME") >> lg.Conv(4, 3), RELU >> lg.Conv(4, 3)) >> READ
NETS = {
    "dense": (lg.mlp(widths=[8], activation="erf", C_b=0.1), (5,)),
    "normed": (lg.resnet_mlp(8, blocks=2, activation="gelu", norm=True), (5,)),
    "concatenated": (lg.Dense(8) >> lg.Concat(lg.Identity(), RELU >> lg.Dense(4)) >> lg.Dense(1), (5,)),
    "gated": (lg.Dense(8) >> lg.Product(lg.Dense(8), RELU) >> lg.Dense(1), (5,)),
    "flattened": (FLAT, (6, 6, 2)),
    "pooled": (POOLED, (6, 6, 2)),
    "beside": (BESIDE, (6, 6, 2)),
    "graph": (lg.Dense(8) >> lg.Aggregate([[1, 1, 0], [0, 1, 1]]) >> RELU >> READ, (3, 2)),
    "attention": (lg.Dense(8) >> lg.Attention("softmax", "1/d") >> READ, (4, 3)),
    "local": (lg.ConvLocal(4, 3) >> RELU >> lg.ConvTranspose(4, 3, 2) >> lg.AvgPool(2) >> READ, (6, 6, 2)),
}


@pytest.mark.parametrize("name", NETS)
def test_it_says_what_the_recursion_holds(name: str) -> None:
    """Every carrier of the real walk, bit for bit."""
    net, shape = NETS[name]
    whole, n = network(net), 3
    held: dict[str, tuple[int, Any]] = {}

    def look(path: str, before: Any, after: Any) -> None:
        layout = "" if not after.space else "pixels" if after.own is None else "pairs of pixels"
        held[path] = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree_util.tree_leaves(after)), (after.space, layout)

    def real(X: Any) -> None:
        walk(settled(whole, shape), KERNELS, positions.start(X, None, needed(whole, KERNELS)), resolve(whole), observe=look)

    jax.eval_shape(real, jax.ShapeDtypeStruct((n, *shape), jnp.float32))
    found = lg.explain(net, shape, n)
    assert [row.path for row in found.rows] == ["inputs", *(path for path, _ in everything(whole))]
    assert {row.path: (round(row.bytes * n * n), (row.positions, row.layout)) for row in found.rows[1:]} == held
    assert all(row.operations > 0 for row in found.rows if "identity" not in row.path)
    twice = lg.explain(net, shape, n, dtype="float64")
    assert [round(b.bytes / a.bytes, 12) for a, b in zip(found.rows, twice.rows, strict=True)] == [2.0] * len(twice.rows)


def test_it_says_who_asks_for_pairs_of_pixels() -> None:
    pooled = {row.path: (row.layout, row.asked_by) for row in lg.explain(POOLED, (6, 6, 2)).rows}
    assert pooled["inputs"] == pooled["act1"] == ("pairs of pixels", "avgpool1")
    assert pooled["avgpool1"] == pooled["act2"] == ("pairs of pixels", "globalavgpool1")
    assert pooled["globalavgpool1"] == ("", None)
    beside = {row.path: (row.layout, row.asked_by) for row in lg.explain(BESIDE, (6, 6, 2)).rows}
    assert beside["sum1/2/act1"] == ("pairs of pixels", "sum1/1/avgpool1")  # the other branch's pooling
    assert beside["sum1/1/conv1"] == beside["sum1"] == ("pixels", None)
    assert {row.layout for row in lg.explain(FLAT, (6, 6, 2)).rows} == {"pixels", ""}


def test_operations_are_counted_in_the_program() -> None:
    a, b = jnp.ones((3, 4)), jnp.ones((4, 5))
    assert operations(jax.make_jaxpr(lambda a, b: jnp.sin(a.T.T @ b) + 1)(a, b).jaxpr) == 2 * 60 + 15 + 15
    assert operations(jax.make_jaxpr(lambda a: a.sum(0))(a).jaxpr) == 12
    loop = jax.make_jaxpr(lambda a: jax.lax.scan(lambda c, _: (c * c, None), a, None, length=7)[0])(a)
    assert operations(loop.jaxpr) == 7 * 12 and not endless(loop.jaxpr)
    choice = jax.make_jaxpr(lambda a: jax.lax.cond(a[0, 0] > 0, lambda: a * a * a, lambda: a))(a)
    assert operations(choice.jaxpr) == 1  # the comparison
    assert endless(jax.make_jaxpr(lambda a: jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: 2 * c, a))(a).jaxpr)


def test_totals_count_pairs() -> None:
    net = lg.mlp(widths=[8] * 2, activation="relu", C_W=2.0)
    one, some, more = (lg.explain(net, 20, n) for n in (None, 100, 200))
    assert one.pairs == 1 and one.operations == sum(row.operations for row in one.rows) and one.result == 8
    assert (some.pairs, some.result) == (5050, 80_000)
    assert more.operations / some.operations == pytest.approx(20100 / 5050, rel=0.05)
    assert lg.explain(net, 20, 100, "float64").result == 2 * some.result
    assert lg.explain(net, 40).operations - one.operations == pytest.approx(2 * 2 * 20, rel=0.05)  # two products of the points
    deep = lg.explain(lg.mlp(widths=[8] * 40, activation="relu", C_W=2.0), 20, 5000)
    assert deep.seconds == lg.explain(net, 20, 5000).seconds  # a table of the cosine knows no depth


ENGINES = {"Angles": plan.COSINE, "Separable": plan.NORMS, "_Plain": plan.RECURSION, "Images": plan.IMAGES}


@pytest.mark.parametrize(
    ("net", "shape", "n", "cosine"),
    [
        (lg.mlp(widths=[8] * 2, activation="relu", C_W=2.0), (6,), 100, "always"),  # few points
        (lg.mlp(widths=[8] * 2, activation="relu", C_W=2.0), (6,), 200, "always"),
        (lg.mlp(widths=[8] * 2, activation="relu", C_W=2.0, C_b=0.1), (6,), 200, "at equal norms"),
        (lg.mlp(widths=[8] * 10, activation="erf", C_b=0.1), (6,), 700, "at equal norms"),
        (FLAT, (6, 6, 2), 5, "never"),
        (POOLED, (6, 6, 2), 5, "never"),
        (BESIDE, (6, 6, 2), 5, "never"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_engine_is_the_one_that_gram_takes(net: Any, shape: Any, n: int, cosine: str, dtype: str) -> None:
    whole = network(net)
    X = np.random.default_rng(0).normal(size=(n, *shape)).astype(dtype)
    equal = X / np.sqrt((X**2).mean(tuple(range(1, X.ndim)), keepdims=True))
    said = plan.plan(whole, resolve(whole), shape, n, n, dtype)
    taken = [type(task(given(whole, Z)).engine()[0]).__name__ for Z in (equal, X)]
    assert [ENGINES[name] for name in taken] == [said.engine, said.otherwise]
    assert said.cosine == cosine == lg.explain(net, shape, n).cosine


def test_it_prints_as_a_table_and_as_rows() -> None:
    found = lg.explain(POOLED, (6, 6, 2), 10)
    text = str(found)
    assert re.search(r"avgpool1 +lg.AvgPool\(2\) +3 x 3 +pairs of pixels +globalavgpool1", text)
    assert "about" in text and max(map(len, text.splitlines())) < 140
    assert "conv1, Conv" in text  # why it is no function of the cosine
    frame = found.to_frame()
    assert frame["asked_by"][1] == "avgpool1" and len(frame["path"]) == len(found.rows)
    assert "> " in str(lg.explain(lg.mlp(widths=[4], activation="tanh"), 3))  # a series of unknown length
    assert [short(v, "B") for v in (0, 8, 999, 1000, 3.5e13)] == ["0 B", "8 B", "999 B", "1 kB", "35 TB"]


def test_bad_arguments_are_refused() -> None:
    net = lg.mlp(widths=[8])
    for arguments, words in [
        ((FLAT,), "`shape`: got None, for a network that looks at positions"),
        ((FLAT, (36,)), "`shape`: got .36,."),
        ((POOLED, (1, 1, 2)), "`shape`"),
        ((net, (6, 6, 2)), "outputs have positions"),
        ((net, ()), "`shape`"),
        ((net, 0), "`shape`: got 0"),
        ((net, "many"), "`shape`: got 'many'"),
        ((net, 5, 0), "`n`: got 0"),
        ((net, 5, 2.5), "`n`: got 2.5"),
        ((net, 5, 3, "float16"), "`dtype`"),
        ((8, 5), "`net`"),
    ]:
        with pytest.raises(InputError, match=words):
            lg.explain(*arguments)
    with pytest.raises(UnsupportedError, match="maxpool1"):
        lg.explain(lg.Conv(4, 3) >> lg.MaxPool(2) >> READ, (6, 6, 2))
    with pytest.raises(UnsupportedError, match="outputs must be preactivations"):
        lg.explain(lg.Dense(4) >> RELU, 5)


@pytest.mark.parametrize(("name", "n"), [("dense", 50), ("flattened", 4), ("pooled", 3)])
def test_programs_are_counted_as_they_are_made(name: str, n: int) -> None:
    """Equations and numbers that the forecast of time is made of, against those of the program of `lg.kernel` itself, where nodes share
    some of theirs and layers are put together."""
    net, shape = NETS[name]
    whole = network(net)
    asked = given(whole, np.ones((n, *shape)))
    with assuming(sizes=True, angles=len(shape) == 1):
        _, *nodes = costs(whole, shape, n, None, "float64")
    with asked.island():
        first = jax.eval_shape(lambda X: positions.start.function(X, None, asked.layout), asked.X)
        traced = kernels._walk_kernel.compiled.trace(*asked.numbers()[:1], first, asked.numbers()[1], -1, True, True)
    real = evaluated(traced.jaxpr)
    assert 0.75 < sum(cost.equations for cost in nodes) / real.equations < 1.35
    assert 0.75 < sum(cost.numbers for cost in nodes) / real.costs < 1.35


def test_time_is_counted_in_units_of_the_machine() -> None:
    """Which are measured once a process; how good the forecast is, `benchmarks/forecast.py` says."""
    net, wide = lg.mlp(widths=[8] * 2, activation="erf", C_b=0.1), lg.mlp(widths=[8] * 2, activation="relu", C_W=2.0)
    assert all(0 < unit < 1e-4 for unit in astuple(forecast.units()))
    one, slow = lg.explain(net, 20, 2000), lg.explain(wide, 20, 4000)
    assert one.first is not None and one.first > one.seconds > 0
    assert slow.seconds / lg.explain(wide, 20, 2000).seconds == pytest.approx(4, rel=0.15)  # tiles on and above the diagonal
    assert lg.explain(wide, 20000, 4000).seconds > 1.5 * slow.seconds  # the product of the points
    alone = lg.explain(net, 20)
    assert alone.first is None and "first" in alone.missing and 0 < alone.seconds < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is set back on Linux only")
@pytest.mark.parametrize("name", ["relu, 3 layers", "pooled images, double"])
def test_bytes_are_those_taken_within_a_factor_of_2(name: str) -> None:
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "memory.py"
    row = json.loads(subprocess.run([sys.executable, script, name], capture_output=True, text=True, check=True).stdout)
    assert 0.5 < row["said/taken"] < 2, row
