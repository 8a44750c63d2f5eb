"""lg.predict(kernel=): kernels held, on a disk or computed where asked for predict what computing does, and no more is read than that."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.architecture.nodes import network
from largen.errors import InputError, UnsupportedError
from largen.grams import plan
from largen.grams.operator import lazy
from largen.grams.store import to_store
from largen.prediction import memory

NET = lg.mlp([8, 8], 1, "relu", C_W=2.0, C_b=0.1)
CNN = lg.Conv(4, 3, C_W=2.0) >> lg.Act("relu") >> lg.AvgPool(2) >> lg.Flatten() >> lg.Dense(1)
rng = np.random.default_rng(0)
X, Z, Y = rng.normal(size=(20, 5)), rng.normal(size=(33, 5)), rng.normal(size=(20, 2))
ALL = np.concatenate([X, Z])
HOWS: dict[str, dict[str, Any]] = {
    "flow": {"ridge": 0.1},
    "times": {"time": np.array([0.0, 0.3, np.inf]), "ridge": 0.01},
    "descent": {"how": "descent", "eta": 0.01, "steps": np.array([3, 10])},
    "newton": {"how": "newton", "ridge": 0.1},
    "bayes": {"how": "bayes", "ridge": np.linspace(0.1, 0.3, 20)},
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "TILE", 8)
        patched.setattr(to_store, "BLOCK", 16)
        tiles = lazy(network(NET), ALL)
        yield {
            "recursion": lg.kernel(NET, ALL),
            "gram": lg.gram(NET, ALL),
            "store": lg.gram(NET, ALL, store=tmp_path_factory.mktemp("stores") / "k"),
            "engine": lg.records.Kernel(nngp=tiles.nngp, ntk=tiles.ntk, error=np.asarray(0.0)),
        }


def same(got: Any, wanted: Any, tolerance: float) -> None:
    for name in ("mean", "cov", "variance", "initial_variance", "noise"):
        one, other = getattr(got, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if other is not None:
            assert np.shape(one) == np.shape(other)
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max()), err_msg=name)
    assert got.missing == wanted.missing and (got.mean.dtype, got.how) == (wanted.mean.dtype, wanted.how)


@pytest.mark.parametrize("rows", [None, 50])
@pytest.mark.parametrize("covariance", ["diagonal", "full", None])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("source", ["recursion", "gram", "store", "engine"])
def test_a_kernel_predicts_what_computing_it_does(
    sources: Any, source: str, how: str, covariance: Any, rows: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = lg.predict(NET, X, Y, Z, covariance=covariance, **HOWS[how])
    if rows is not None:
        monkeypatch.setattr(memory, "NUMBERS", rows)  # a test point or two at a time
    got = lg.predict(NET, X, Y, Z, covariance=covariance, kernel=sources[source], **HOWS[how])
    same(got, wanted, 1e-9)
    assert got.source == wanted.source + ", from the kernel given"
    if rows is not None:
        same(lg.predict(NET, X, Y, Z, covariance=covariance, **HOWS[how]), wanted, 1e-11)


@pytest.mark.parametrize("how", ["flow", "bayes"])
def test_images_are_predicted_some_rows_at_a_time(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    A, B = (np.random.default_rng(n).normal(size=(n, 4, 4, 2)).astype(np.float32) for n in (11, 13))
    y, both = np.sin(np.arange(11.0)).astype(np.float32), lg.kernel(CNN, np.concatenate([A, B]).astype(np.float64))
    wanted = lg.predict(CNN, A.astype(np.float64), y.astype(np.float64), B.astype(np.float64), how=how, ridge=0.1, kernel=both)
    for numbers in (2**22, 40):
        monkeypatch.setattr(memory, "NUMBERS", numbers)
        for covariance in ("diagonal", None):
            got = lg.predict(CNN, A, y, B, how=how, ridge=0.1, covariance=covariance)
            np.testing.assert_allclose(got.mean, wanted.mean, atol=1e-4)
            assert got.mean.dtype == np.float32
        got = lg.predict(CNN, A, y, B, how=how, ridge=0.1)
        np.testing.assert_allclose(got.variance, wanted.variance, atol=1e-4)


class Watched:
    """An operator that keeps which blocks it was asked for."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.asked = array, array.shape, array.dtype, list[Any]()

    def __getitem__(self, at: Any) -> np.ndarray:
        self.asked.append(at)
        return self.array[at]


def test_no_more_is_read_than_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test block only where a full covariance asks for it; its diagonal, and rows of test points, some at a time."""
    from largen.grams import operator as where

    monkeypatch.setattr(memory, "NUMBERS", 100)
    monkeypatch.setattr(where, "NUMBERS", 100)
    record, n = lg.kernel(NET, ALL), len(X)
    for covariance, K_is_read in (("diagonal", True), (None, False)):
        K, theta = Watched(np.asarray(record.nngp)), Watched(np.asarray(record.ntk))
        lg.predict(NET, X, Y, Z, ridge=0.1, covariance=covariance, kernel=replace(record, nngp=K, ntk=theta))
        assert bool(K.asked) == K_is_read
        assert all(columns.stop <= n for _, columns in theta.asked)
        assert all(rows == columns for rows, columns in K.asked if columns.stop > n)  # on the diagonal
        sizes = [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in K.asked + theta.asked]
        assert sorted(sizes)[-1 - K_is_read] == n * n and sum(size > 100 for size in sizes) == 1 + K_is_read  # train blocks alone


def test_the_shorter_dtype_is_that_of_the_result() -> None:
    short = lg.gram(NET, ALL, dtype="float32")
    got, wanted = lg.predict(NET, X, Y, Z, ridge=0.1, kernel=short), lg.predict(NET, X, Y, Z, ridge=0.1)
    assert got.mean.dtype == np.float32 and got.condition.error > 1e5 * wanted.condition.error
    np.testing.assert_allclose(got.mean, wanted.mean, atol=1e-3)
    jaxed = lg.predict(NET, jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32), jnp.asarray(Z, jnp.float32), ridge=0.1, kernel=short)
    assert isinstance(jaxed.mean, jax.Array)
    np.testing.assert_allclose(jaxed.mean, got.mean, atol=1e-4)


def test_what_holds_numbers_is_a_kernel() -> None:
    import torch

    record, wanted = lg.kernel(NET, ALL), lg.predict(NET, X, Y, Z, ridge=0.1)
    for form in (lambda a: a.tolist(), torch.as_tensor, lambda a: jnp.asarray(a, jnp.float32)):
        got = lg.predict(NET, X, Y, Z, ridge=0.1, kernel=replace(record, nngp=form(record.nngp), ntk=form(record.ntk)))
        np.testing.assert_allclose(got.mean, wanted.mean, atol=1e-3)


def test_targets_are_differentiated_with_a_kernel() -> None:
    record = lg.kernel(NET, ALL)
    slope = jax.grad(lambda y: lg.predict(NET, X, y, Z, ridge=0.1, covariance=None, kernel=record).mean[0])(
        jnp.asarray(Y[:, 0], jnp.float32)
    )
    step = np.eye(20)[3]
    pair = [lg.predict(NET, X, Y[:, 0] + s * step, Z, ridge=0.1, kernel=record).mean[0] for s in (0.5, -0.5)]
    assert float(slope[3]) == pytest.approx(pair[0] - pair[1], abs=1e-4)


def broken(record: Any, how: str) -> Any:
    K = np.array(record.ntk)
    K[1, 2] = {"NaN": np.nan, "not symmetric": 50.0, "NaN of a test point": K[1, 2]}.get(how, K[1, 2])
    if how == "NaN of a test point":
        K[40, 3] = np.inf
    if how == "not positive":
        K -= 30 * np.eye(len(K))
    if how == "complex":
        return replace(record, ntk=K.astype(complex))
    if how == "another shape":
        return replace(record, ntk=K[:-1, :-1])
    if how == "cut":
        return replace(record, ntk=K[:, :20])
    if how == "words":
        return replace(record, ntk=K.astype(str))
    if how == "blocks of another shape":
        watched = Watched(K)
        watched.array = K[:10, :10]
        return replace(record, ntk=watched)
    return replace(record, ntk=K)


FAULTS = {
    "NaN": "kernel.ntk.*NaN",
    "NaN of a test point": "kernel.ntk.*NaN",
    "not symmetric": "mirror",
    "not positive": "positive semidefinite",
    "complex": "kernel.ntk.*complex",
    "another shape": r"kernel.ntk.*\(52, 52\).*\(53, 53\)",
    "cut": r"kernel.ntk.*\(53, 20\)",
    "words": "kernel.ntk",
    "blocks of another shape": "kernel.ntk.*block",
}


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("covariance", ["diagonal", None])
def test_a_broken_kernel_is_refused_in_a_sentence(how: str, covariance: Any) -> None:
    with pytest.raises(InputError, match=FAULTS[how]):
        lg.predict(NET, X, Y, Z, ridge=0.1, covariance=covariance, kernel=broken(lg.kernel(NET, ALL), how))


@pytest.mark.parametrize("how", ["flow", "bayes"])
def test_a_kernel_that_is_no_covariance_is_refused_with_its_smallest_eigenvalue(how: str) -> None:
    record = lg.kernel(NET, ALL)
    shifted = record.nngp - 0.9 * record.nngp.diagonal().min() * np.eye(53)
    smallest = np.linalg.eigvalsh(shifted[:20, :20])[0]
    with pytest.raises(InputError, match=rf"kernel.nngp.*smallest eigenvalue is {smallest:.3g} "):
        lg.predict(NET, X, Y, Z, how=how, ridge=0.1, kernel=replace(record, nngp=shifted))
    at_test = np.array(record.nngp)
    at_test[30, 30] = -1.0
    with pytest.raises(InputError, match=r"kernel.nngp.*test point of variance -1"):
        lg.predict(NET, X, Y, Z, how=how, ridge=0.1, kernel=replace(record, nngp=at_test))
    huge = replace(record, **{name: getattr(record, name) * (1e308 / getattr(record, name).max()) for name in ("nngp", "ntk")})
    with pytest.raises(InputError, match=r"kernel.*eigenvalues of the train kernel are not finite"):
        lg.predict(NET, X, Y, Z, how=how, ridge=0.1, kernel=huge)


@pytest.mark.parametrize("kernel", [np.eye(53), "kernel.zarr", 1, {"nngp": np.eye(53)}, lg.signal(NET, X)])
def test_what_is_no_record_of_kernels_is_refused(kernel: Any) -> None:
    with pytest.raises(InputError, match=r"kernel.*lg\.gram"):
        lg.predict(NET, X, Y, Z, kernel=kernel)


def test_arguments_that_do_not_go_together() -> None:
    record = lg.kernel(NET, ALL)
    for more, words in (
        ({"order": 1}, "order"),
        ({"rates": (1.0, 1.0)}, "rates"),
        ({"params": lg.init(NET, 5, jax.random.key(0))}, "params"),
        ({"kernel": lg.gram(NET, ALL, which="nngp")}, "without .ntk"),
        ({"kernel": lg.gram(NET, ALL, which="ntk")}, "covariance=None"),
        ({"kernel": lg.gram(NET, ALL, which="ntk"), "how": "bayes"}, "without .nngp"),
        ({"kernel": lg.kernel(NET, ALL, layer="all")}, "shape"),
        ({"kernel": replace(record, error=-1.0)}, "kernel.error"),
    ):
        with pytest.raises((InputError, UnsupportedError), match=words):
            lg.predict(NET, X, Y[:, :1], Z, **{"kernel": record, **more})
    assert lg.predict(NET, X, Y, Z, covariance=None, ridge=0.1, kernel=lg.gram(NET, ALL, which="ntk")).mean.shape == (33, 2)
    assert lg.predict(NET, X, Y, Z, how="bayes", ridge=0.1, kernel=lg.gram(NET, ALL, which="nngp")).std.shape == (33, 2)
    with pytest.raises(InputError, match="traced"):
        jax.jit(lambda K: lg.predict(NET, X, Y, Z, kernel=K).mean)(record)


def test_a_store_that_is_damaged_or_gone(tmp_path: Path) -> None:
    kept = lg.gram(NET, ALL, store=tmp_path / "k")
    assert lg.predict(NET, X, Y, Z, ridge=0.1, kernel=kept).mean.shape == (33, 2)
    chunk = tmp_path / "k" / "ntk" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[9] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(InputError, match="not as it was written"):
        lg.predict(NET, X, Y, Z, ridge=0.1, kernel=kept)
    shutil.rmtree(tmp_path / "k")
    with pytest.raises(InputError, match="is gone"):
        lg.predict(NET, X, Y, Z, ridge=0.1, kernel=kept)
