"""lg.gram of one kernel alone: the same numbers, in memory and on disk, without the work of the other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.architecture.nodes import network
from largen.errors import InputError
from largen.grams import plan
from largen.grams.engine import task
from largen.grams.store import to_store
from largen.theory.given import given
from largen.theory.kernels import ALONE

FEATURES = 6
POOLED = (
    lg.Conv(4, 3, C_W=2.0)
    >> lg.Act("relu")
    >> lg.AvgPool(2)
    >> lg.Conv(4, 3, C_W=2.0)
    >> lg.Act("relu")
    >> lg.GlobalAvgPool()
    >> lg.Dense(1)
)
FLAT = lg.Conv(4, 3, C_W=2.0) >> lg.Act("tanh") >> lg.Flatten() >> lg.Dense(1)
LINEAR = lg.AvgPool(2) >> lg.Flatten() >> lg.Dense(1, C_W=2.0)
CASES = {  # network, shape of a point, dtype, engine, accuracy
    "cosine": (lg.mlp([8, 8], 1, "relu", C_W=2.0), (FEATURES,), "float32", "Angles", 2e-6),
    "several powers": (lg.mlp([8, 8], 1, "relu", C_W=2.0), (FEATURES,), "float64", "Angles", 2e-9),
    "norms": (lg.mlp([8, 8], 1, "gelu", C_W=2.0, C_b=0.1), (FEATURES,), "float32", "Separable", 5e-6),
    "recursion": (lg.mlp([8, 8], 1, "relu", C_W=2.0, C_b=0.1), (FEATURES,), "float64", "_Plain", 1e-12),
    "pooled": (POOLED, (6, 6, 2), "float32", "Images", 1e-5),
    "flat": (FLAT, (6, 6, 2), "float32", "Images", 1e-5),
    "no activation": (LINEAR, (6, 6, 2), "float32", "Images", 1e-6),
    "images, double": (POOLED, (6, 6, 2), "float64", "_Plain", 1e-12),
}


def points(n: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Points, two of them equal and two nearly so."""
    X = np.random.default_rng(0).normal(size=(n, *shape))
    X[1], X[2] = X[0], X[0] + 1e-3 * X[2]
    return X.astype(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_one_kernel_is_that_of_both(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "LARGE", 100**2)
    monkeypatch.setattr(plan, "DEEP", {"float32": 1, "float64": 10})
    net, shape, dtype, engine, tolerance = CASES[name]
    X = points(150 if len(shape) == 1 else 12, shape, dtype)
    rates: Any = (1.0, 1.0) if name == "several powers" else "ntk"
    for other in (None, X[: len(X) - 3]):
        both = lg.gram(net, X, other, rates=rates)
        for which, gone in (("nngp", "ntk"), ("ntk", "nngp")):
            assert type(task(replace(given(net, X, other, rates), dtype=np.dtype(dtype)), rates, which).engine()[0]).__name__ == engine
            one = lg.gram(net, X, other, rates=rates, which=which)
            assert getattr(one, gone) is None and one.missing == {gone: ALONE} and both.missing == {}
            got, wanted = getattr(one, which), getattr(both, which)
            assert got.dtype == wanted.dtype and np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()
            assert other is not None or (got == got.T).all()


def test_the_record_of_one_kernel_is_shown() -> None:
    one = lg.gram(lg.mlp([8], 1, "relu"), np.eye(3), which="ntk")
    assert list(one.to_frame()) == ["i", "j", "ntk"] and "missing nngp" in repr(one)
    assert [trace.name for trace in lg.figure(one).data] == ["NTK Θ", "NTK Θ"]  # a heat map, its eigenvalues


@pytest.mark.parametrize("which", ["Both", "kernel", 1, None])
def test_other_words_are_refused(which: Any) -> None:
    with pytest.raises(InputError, match="which"):
        lg.gram(lg.mlp([8], 1, "relu"), np.eye(3), which=which)


@pytest.mark.parametrize("which", ["nngp", "ntk"])
def test_a_store_of_one_kernel_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    monkeypatch.setattr(plan, "TILE", 40)
    monkeypatch.setattr(to_store, "BLOCK", 80)
    net, X, path = CASES["cosine"][0], points(150, (FEATURES,), "float32"), tmp_path / "k"
    gone = {"nngp": "ntk", "ntk": "nngp"}[which]
    out, wanted = lg.gram(net, X, store=path, which=which), lg.gram(net, X, which=which)
    np.testing.assert_array_equal(getattr(out, which)[:], getattr(wanted, which))
    assert getattr(out, gone) is None and out.missing == {gone: ALONE} and not (path / gone).exists()
    blocks = (path / "log" / "0.jsonl").read_text().count('"block"')
    again = lg.gram(net, X, store=path, which=which)  # only read
    np.testing.assert_array_equal(getattr(again, which)[:], getattr(wanted, which))
    assert (path / "log" / "0.jsonl").read_text().count('"block"') == blocks
    for other in {"both", "nngp", "ntk"} - {which}:
        with pytest.raises(InputError, match=f"another kernel.*kernels: {which} there, {other} here"):
            lg.gram(net, X, store=path, which=other)
    whole = tmp_path / "both"
    lg.gram(net, X, store=whole)
    with pytest.raises(InputError, match=f"kernels: both there, {which} here"):
        lg.gram(net, X, store=whole, which=which)


def test_a_store_of_both_has_the_metadata_that_it_had() -> None:
    from largen.grams.blocks import Layout
    from largen.grams.store.store import _metadata, identity
    from largen.parametrizations.rates import resolve

    net = network(lg.mlp([8], 1, "relu", C_W=2.0))
    about = identity(net, resolve(net), np.eye(3), None, np.dtype("float64"))
    record = _metadata(about, Layout(3, 3, True, 3, 1))["zarr.json"]
    assert '"which"' not in record and '"version": 2' in record
    alone = _metadata(identity(net, resolve(net), np.eye(3), None, np.dtype("float64"), "ntk"), Layout(3, 3, True, 3, 1))
    assert set(alone) == {"ntk/zarr.json", "zarr.json"} and '"which": "ntk"' in alone["zarr.json"] and '"version": 3' in alone["zarr.json"]
