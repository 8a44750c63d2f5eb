"""Operators: arrays, stores and engines answer alike, and nothing is held whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen as lg
from largen.architecture.nodes import network
from largen.errors import InputError
from largen.grams import plan
from largen.grams.operator import Operator, Sliced, Tiles, lazy, operator
from largen.grams.store import to_store

N, M = 90, 37
RELU = lg.mlp([8, 8], 1, "relu", C_W=2.0)  # a table
BIASED = lg.mlp([8, 8], 1, "relu", C_W=2.0, C_b=0.1)  # the recursion
CNN = lg.Conv(4, 3, C_W=2.0) >> lg.Act("relu") >> lg.AvgPool(2) >> lg.Flatten() >> lg.Dense(1)  # images
NETS = {"table": (RELU, (5,), "float64"), "recursion": (BIASED, (5,), "float64"), "images": (CNN, (4, 4, 1), "float32")}
CLOSE = {"float64": 1e-11, "float32": 1e-4}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every kernel three times: held, on a disk, computed where asked for."""
    found: dict[tuple[str, bool], Any] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "TILE", 16)
        patched.setattr(plan, "SMALL", 1)
        patched.setattr(to_store, "BLOCK", 32)
        patched.setattr(to_store, "SPATIAL", 16)
        for name, (net, shape, dtype) in NETS.items():
            X = np.random.default_rng(0).normal(size=(N if len(shape) == 1 else 20, *shape)).astype(dtype)
            for same in (True, False):
                Z = None if same else X[: len(X) // 2 - 1] + np.float32(0.5)
                path = tmp_path_factory.mktemp("stores") / "k"
                found[name, same] = lg.gram(net, X, Z), lg.gram(net, X, Z, store=path), lazy(network(net), X, Z)
        yield found


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("name", NETS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_arrays_stores_and_engines_answer_alike(room: Any, name: str, same: bool, kernel: str, data: Any) -> None:
    held, stored, tiles = (operator(getattr(source, kernel)) for source in room[name, same])
    assert isinstance(held, np.ndarray) and isinstance(stored, Sliced) and isinstance(tiles, Operator)
    n1, n2 = held.shape
    across, down = (slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))) for n in (n1, n2))
    at = across, down
    lead = data.draw(st.sampled_from([(), (2,)]))
    columns = data.draw(st.sampled_from([(), (1,), (3,)])) if not lead else (3,)
    matrix = np.random.default_rng(1).normal(size=(*lead, n2, *columns)).astype(held.dtype)
    scale = float(np.abs(held).max())
    for other in (stored, tiles):
        assert tuple(other.shape) == held.shape and other.dtype == held.dtype
        np.testing.assert_allclose(other[at], held[at], rtol=0, atol=CLOSE[held.dtype.name] * scale)
        np.testing.assert_allclose(other.diagonal(), held.diagonal(), rtol=0, atol=CLOSE[held.dtype.name] * scale)
        got, wanted = other @ matrix, held @ matrix
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=0, atol=10 * CLOSE[held.dtype.name] * n2 * scale)


def test_products_and_diagonals_hold_a_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an engine and of a file: no block is asked for with more numbers than are held at a time."""
    from largen.grams import operator as where

    monkeypatch.setattr(where, "NUMBERS", 700)
    monkeypatch.setattr(plan, "TILE", 16)
    monkeypatch.setattr(plan, "SMALL", 1)
    X, asked = np.random.default_rng(0).normal(size=(N, 5)), []
    computed = Tiles._computed
    monkeypatch.setattr(Tiles, "_computed", lambda self, *at: asked.append(len(at[0]) * len(at[1])) or computed(self, *at))
    tiles, held = lazy(network(RELU), X, X[:M]), lg.gram(RELU, X, X[:M])
    np.testing.assert_allclose(tiles.ntk @ np.ones(M), held.ntk @ np.ones(M), rtol=1e-9)
    np.testing.assert_allclose(tiles.nngp.diagonal(), held.nngp.diagonal(), rtol=1e-9)
    assert max(asked) <= 700 < N * M and len(asked) > 5


def test_both_kernels_of_a_block_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, times = lazy(network(RELU), np.eye(5), np.eye(5)[:2]), []
    computed = Tiles._computed
    monkeypatch.setattr(Tiles, "_computed", lambda self, *at: times.append(at) or computed(self, *at))
    at = slice(1, 3), slice(0, 2)
    assert tiles.nngp[at].shape == tiles.ntk[at].shape == (2, 2) and len(times) == 1


def test_steps_and_one_kernel_alone() -> None:
    tiles = lazy(network(RELU), np.eye(5), which="ntk")
    assert tiles.nngp is None
    with pytest.raises(InputError, match="side by side"):
        tiles.ntk[::2, :]


def test_what_is_read_by_slices_is_an_operator() -> None:
    K = lg.gram(RELU, np.random.default_rng(0).normal(size=(12, 5))).nngp

    class Slices:
        shape, dtype = K.shape, K.dtype

        def __getitem__(self, at: Any) -> Any:
            return K[at].tolist()

    kept = operator(Slices())
    np.testing.assert_array_equal(kept[3:7, 2:5], K[3:7, 2:5])
    np.testing.assert_allclose(kept @ np.eye(12), K)
    np.testing.assert_array_equal(kept.diagonal(), K.diagonal())
