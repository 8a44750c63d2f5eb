"""lg.gram into a store: the bytes of the matrix in memory, whatever happens on the way."""

import errno
import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import namedtuple
from pathlib import Path
from typing import Any

import damage
import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from damage import content

import largen as lg
from largen.errors import InputError, StoreWarning
from largen.grams import plan
from largen.grams.blocks import Layout
from largen.grams.store import to_store
from largen.grams.store.log import Log
from largen.grams.store.store import Store

N, D = 203, 30
RELU = lg.mlp(widths=[8, 8], out=1, activation="relu", C_W=2.0)
GELU = lg.mlp(widths=[8, 8], out=1, activation="gelu", C_W=2.0, C_b=0.1)
CNN = lg.Conv(4, 3, C_W=2.0) >> lg.Flatten() >> lg.Dense(1)
BLOCKS = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "TILE", 40)
    monkeypatch.setattr(to_store, "BLOCK", 80)


def points(n: int = N, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D)).astype(dtype)


def log(path: Path, event: str = "block") -> list[Any]:
    """The blocks of all log lines about an event, in the order of the logs; a line that is not whole yet is none."""
    lines = [json.loads(t) for file in sorted((path / "log").glob("*")) for t in file.read_text().splitlines() if t.endswith("}")]
    return [tuple(line["block"]) if "block" in line else line for line in lines if line["event"] == event]


def assert_same(out: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(out.nngp[:], np.asarray(wanted.nngp))
    np.testing.assert_array_equal(out.ntk[:], np.asarray(wanted.ntk))
    assert out.error == wanted.error and out.error.dtype == wanted.error.dtype


@pytest.mark.parametrize(("net", "dtype"), [(RELU, "float16"), (RELU, "float64"), (GELU, "float32")])
def test_the_bytes_of_the_matrix_in_memory(tmp_path: Path, net: Any, dtype: str) -> None:
    X, path = points(), tmp_path / "k.zarr"
    out = lg.gram(net, X, dtype=dtype, store=path)
    assert_same(out, lg.gram(net, X, dtype=dtype))
    assert isinstance(out.ntk, zarr.Array) and out.ntk.dtype == dtype and out.ntk.shape == (N, N) and out.ntk.read_only
    assert sorted(log(path)) == BLOCKS
    assert_same(lg.gram(net, X, dtype=dtype, store=str(path)), out)
    assert sorted(log(path)) == BLOCKS and len(log(path, "opened")) == 1


def test_two_sets_of_points_and_few_points(tmp_path: Path) -> None:
    X, Z = points(), points(150, 1)
    assert_same(lg.gram(RELU, X, Z, rates=(0.5, 1.0), store=tmp_path / "a"), lg.gram(RELU, X, Z, rates=(0.5, 1.0)))
    assert len(log(tmp_path / "a")) == 6
    assert_same(lg.gram(RELU, jnp.asarray(X[:3]), store=tmp_path / "b"), lg.gram(RELU, X[:3]))


def test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_store, "SPATIAL", 10)
    X = np.random.default_rng(0).normal(size=(20, 4, 2))
    out, wanted = lg.gram(CNN, X, store=tmp_path / "k"), lg.kernel(CNN, X)
    assert sorted(log(tmp_path / "k")) == [(0, 0), (0, 1), (1, 1)]
    np.testing.assert_allclose(out.nngp[:], wanted.nngp, rtol=1e-12)
    np.testing.assert_allclose(out.ntk[:], wanted.ntk, rtol=1e-12)
    X = X.astype(np.float32)
    assert_same(lg.gram(CNN, X, store=tmp_path / "s"), lg.gram(CNN, X))


def test_tiles_of_blocks_are_all_tiles() -> None:
    for n1, n2, same, across in ((203, 203, True, 2), (203, 90, False, 2), (7, 7, True, 1), (90, 203, False, 3)):
        layout, count = Layout(n1, n2, same, 40, across), np.zeros((n1, n2), int)
        for place in layout.places():
            rows, columns = layout.slices(place)
            for first, second in layout.pairs(place):
                assert rows.start <= first.new < first.stop <= rows.stop and columns.start <= second.new < second.stop <= columns.stop
                count[first.new : first.stop, second.new : second.stop] += 1
                if same and first != second:
                    count[second.new : second.stop, first.new : first.stop] += 1
        assert (count == 1).all()


class Fails:
    """Store.write that raises after some blocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, blocks: int, error: BaseException) -> None:
        self.left, write = blocks, Store.write

        def wrapped(store: Store, place: Any, values: Any) -> None:
            if self.left == 0:
                raise error
            self.left -= 1
            write(store, place, values)

        monkeypatch.setattr(Store, "write", wrapped)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_interrupted_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    X = points()
    lg.gram(RELU, X, store=tmp_path / "whole")
    for blocks in (0, 2, 1):
        with monkeypatch.context() as patched, pytest.raises(type(error)) as caught:
            Fails(patched, blocks, error)
            lg.gram(RELU, X, store=tmp_path / "cut")
        if isinstance(error, KeyboardInterrupt):
            assert re.fullmatch(r"stopped; \d of 6 blocks are in .*, the same call goes on\.", str(caught.value))
            assert caught.value.__suppress_context__  # nothing of threads
    lg.gram(RELU, X, store=tmp_path / "cut")
    assert sorted(log(tmp_path / "cut")) == BLOCKS
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_a_full_disk_is_a_clean_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = points()
    with monkeypatch.context() as patched, pytest.raises(InputError, match=r"full after \d of 6 blocks.*repeat the same call"):
        Fails(patched, 3, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        lg.gram(RELU, X, store=tmp_path / "k")
    done = sorted(log(tmp_path / "k"))
    assert len(done) <= 3
    with open(tmp_path / "k" / "log" / "0.jsonl", "ab") as file:
        file.write(b'{"event": "blo')  # a line that the disk did not take
    assert_same(lg.gram(RELU, X, store=tmp_path / "k"), lg.gram(RELU, X))
    assert sorted(log(tmp_path / "k")) == BLOCKS


def test_a_disk_without_room_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("Usage", "free")(1000))
    with pytest.raises(InputError, match="GiB that are free on that disk"):
        lg.gram(RELU, points(), store=tmp_path / "deep" / "k")
    assert not any(tmp_path.iterdir())


DAMAGES = {
    "a byte": lambda data: data[:77] + bytes([data[77] ^ 1]) + data[78:],
    "cut": lambda data: data[:1000],
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("how", [*DAMAGES, "another block", "gone"])
@pytest.mark.parametrize("chunk", ["nngp/c/0/1", "ntk/c/1/0", "ntk/c/2/2"])
def test_a_damaged_block_is_found_and_computed_again(tmp_path: Path, how: str, chunk: str) -> None:
    X, path = points(), tmp_path / "k"
    lg.gram(RELU, X, store=path)
    before, file = content(path), path / chunk
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes((path / "nngp/c/1/1").read_bytes() if how == "another block" else DAMAGES[how](file.read_bytes()))
    block = tuple(sorted(map(int, chunk.split("/")[2:])))
    with pytest.warns(StoreWarning, match=rf"1 finished blocks .*\({block[0]}, {block[1]}\)"):
        lg.gram(RELU, X, store=path)
    assert content(path) == before
    assert log(path, "damaged") == [block] and sorted(log(path)) == sorted([*BLOCKS, block])
    lg.gram(RELU, X, store=path)


METADATA = ("zarr.json", "nngp/zarr.json", "ntk/zarr.json")


def record(metadata: Any) -> Any:
    return metadata["attributes"]["largen-gram"]


EDITS: dict[str, Any] = {
    "shape": lambda m: m.update(shape=[248, 248]),
    "data type": lambda m: m.update(data_type="int32"),
    "chunks": lambda m: m.update(chunk_grid={"name": "regular", "configuration": {"chunk_shape": [40, 40]}}),
    "codecs": lambda m: m.update(codecs=m.get("codecs", [])[:1]),
    "fill value": lambda m: m.update(fill_value=0),
    "separator": lambda m: m.update(chunk_key_encoding={"name": "default", "configuration": {"separator": "."}}),
    "format": lambda m: m.update(zarr_format=2),
    "kind": lambda m: m.update(node_type="group" if m["node_type"] == "array" else "array"),
    "tile": lambda m: record(m)["layout"].update(tile=20),
    "across": lambda m: record(m)["layout"].update(across=0),
    "n1": lambda m: record(m)["layout"].update(n1=201),
    "another network": lambda m: record(m)["network"][0].update(C_W=1.0),
    "dtype": lambda m: record(m).update(dtype="float64"),
    "version": lambda m: record(m).update(version=3),
    "no layout": lambda m: record(m).pop("layout"),
    "no checksum": lambda m: record(m).pop("check"),
    "no attributes": lambda m: m.pop("attributes"),
    "attributes of others": lambda m: m.update(attributes=[1]),
}
TEXTS = {"no JSON": b"{", "no object": b"[1, 2]", "no UTF-8": b'{"a": "\xff"}', "deep": b"[" * 100_000, "digits": b"1" * 5000, "empty": b""}


def spoil(file: Path, how: str) -> None:
    if how in TEXTS:
        file.write_bytes(TEXTS[how])
    elif how == "gone":
        file.unlink()
    else:
        metadata = json.loads(file.read_bytes())
        EDITS[how](metadata)
        file.write_text(json.dumps(metadata, indent=2))


def test_metadata_are_compared_with_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, path, part = points(), tmp_path / "k", tmp_path / "part"
    wanted = lg.gram(RELU, X, store=path)
    values, before = wanted.ntk[:], content(path)
    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        Fails(patched, 2, RuntimeError())
        lg.gram(RELU, X, store=part)
    for how in (*EDITS, *TEXTS, "gone"):
        for name in METADATA:
            spoil(path / name, how)
            if content(path) == before:  # the group has no such key
                continue
            with pytest.warns(StoreWarning, match=f"Metadata of the store .*{name}.*written again"):
                out = lg.gram(RELU, X, store=path)
            assert content(path) == before, (how, name)
            np.testing.assert_array_equal(out.ntk[:], values)
    for how in ("tile", "n1", "across", "no layout", "no checksum", "no UTF-8", "gone", "version"):
        copy = Path(shutil.copytree(part, tmp_path / how))
        for name in METADATA:
            spoil(copy / name, how)
        with pytest.raises(InputError, match=r"damaged|no store|of version 3"):
            lg.gram(RELU, X, store=copy)
    assert log(path, "damaged") == [] and sorted(log(path)) == BLOCKS


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
def test_what_users_add_to_metadata_stays(tmp_path: Path) -> None:
    X, path = points(), tmp_path / "k"
    lg.gram(RELU, X, store=path)
    zarr.open_array(path / "ntk").attrs["note"] = "mine"
    zarr.consolidate_metadata(path)
    lg.gram(RELU, X, store=path)
    group: Any = zarr.open_group(path, mode="r")
    assert group["ntk"].attrs["note"] == "mine" and group["ntk"].attrs["largen-gram"]["version"] == 2


def test_a_store_of_an_older_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    zarr.create_group(path, attributes={"largen-gram": {"version": 1, "layout": {"n1": 3}}})
    with pytest.raises(InputError, match="a store of version 1; needed one of version 2"):
        lg.gram(RELU, points(), store=path)


def test_lines_of_the_log_that_are_not_as_they_were_written_count_for_nothing(tmp_path: Path) -> None:
    X, path, other = points(), tmp_path / "k", tmp_path / "other"
    wanted = lg.gram(GELU, X, store=path)
    lg.gram(GELU, X + 1, store=other)
    before, file = content(path), path / "log" / "0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    first = json.loads(lines[1])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Log, "__init__", lambda *_: pytest.fail("nothing is to be written"))
        for junk in (b"\xff\xfe\n", b"3\n", b"[]\n", b"{}\n", b"null\n", b"[" * 50_000 + b"\n", b"9" * 5000 + b"\n", b'{"event": "blo'):
            file.write_bytes(junk + b"\n" + b"".join(lines) + junk)
            assert_same(lg.gram(GELU, X, store=path), wanted)
    for changed in (
        {**first, "error": 0.035},
        {**first, "block": [2, 2]},
        {"blocc": 0, **{key: value for key, value in first.items() if key != "block"}},
        {key: value for key, value in first.items() if key != "sha256"},
        {**first, "event": "other"},
    ):
        file.write_bytes(lines[0] + json.dumps(changed).encode() + b"\n" + b"".join(lines[2:]))
        assert_same(lg.gram(GELU, X, store=path), wanted)
        assert len(file.read_bytes().splitlines()) == len(lines) + 2  # "opened", and the block again
    for name in ("0.jsonl", "1.jsonl"):  # of another store: blocks of the same places
        shutil.copy(other / "log" / "0.jsonl", path / "log" / name)
    assert_same(lg.gram(GELU, X, store=path), wanted)
    assert content(path) == before and len(file.read_bytes().splitlines()) == 14


def test_a_finished_store_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, path = points(), tmp_path / "k"
    wanted = lg.gram(RELU, X, store=path)

    def read_only(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path / "log" / "0.jsonl"))

    for name in ("mkdir", "unlink", "write_text", "write_bytes", "replace", "rename"):
        monkeypatch.setattr(Path, name, read_only)
    monkeypatch.setattr(os, "open", read_only)
    assert_same(lg.gram(RELU, X, store=path), wanted)
    monkeypatch.undo()
    _small_blocks.__wrapped__(monkeypatch)  # type: ignore[attr-defined]
    (path / "ntk" / "c" / "1" / "0").unlink()
    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(InputError, match=r"log/0.jsonl'?: Read-only file system; .*repeat the call"):
        lg.gram(RELU, X, store=path)


def test_blocks_that_are_lost_while_the_result_is_in_use(tmp_path: Path) -> None:
    X, path = points(), tmp_path / "k"
    out = lg.gram(RELU, X, store=path)
    twin = pickle.loads(pickle.dumps(out.ntk))
    for file, how, words in (
        ("ntk/c/0/1", "gone", "is gone"),
        ("ntk/c/1/1", "empty", "not as it was written"),
        ("ntk/c/2/0", "a byte", "not as it was written"),
    ):
        data = (path / file).read_bytes()
        (path / file).unlink() if how == "gone" else (path / file).write_bytes(DAMAGES[how](data))
        for array in (out.ntk, twin):
            with pytest.raises(InputError, match=f"whose block {file} .*{words}.*The same call of lg.gram computes it again"):
                np.asarray(array)
        np.testing.assert_array_equal(out.ntk[:80, :80], out.ntk[:80, :80].T)  # blocks that are there
        (path / file).write_bytes(data)
    assert np.isfinite(out.ntk[:]).all() and np.isfinite(twin[:]).all()


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    X = points(30)
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "below")
    (tmp_path / "mine" / "log").mkdir(parents=True)
    (tmp_path / "mine" / "log" / "diary.txt").write_text("")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "film.partial").write_text("")
    odd = [
        tmp_path / "file" / "below",
        tmp_path / "loop",
        tmp_path / "loop" / "below",
        tmp_path / "dangling",
        tmp_path / "mine",
        tmp_path / "half",
    ]
    odd += [tmp_path / ("x" * 300), tmp_path / "\ud800", f"{tmp_path}/a\0b", "", "~nobody-of-that-name/k", "/proc/k", "/dev/null"]
    for path in (*odd, b"bytes", object(), 3.0, ["k"], True):
        with pytest.raises(InputError) as refused:
            lg.gram(RELU, X, store=path)
        assert refused.value.argument == "store" and "\n" not in str(refused.value) and len(str(refused.value)) < 400, path
    assert {file.name for file in tmp_path.iterdir()} == {"file", "loop", "dangling", "mine", "half"}
    for taken in ("log", "ntk/c", "ntk/c/0", "ntk/c/0/0", "log/0.jsonl", "zarr.json"):
        path = tmp_path / taken.replace("/", "-")
        lg.gram(RELU, X, store=path)
        shutil.rmtree(path / taken) if (path / taken).is_dir() else (path / taken).unlink()
        (path / taken).mkdir() if taken in ("ntk/c/0/0", "log/0.jsonl", "zarr.json") else (path / taken).write_text("")
        with pytest.raises(InputError, match=f"the system says at '{taken}.*repeat the call"), warnings.catch_warnings():
            warnings.simplefilter("ignore", StoreWarning)
            lg.gram(RELU, X, store=path)


def test_a_log_on_a_full_disk(tmp_path: Path) -> None:
    X, path = points(30), tmp_path / "k"
    lg.gram(RELU, X, store=path)
    (path / "log" / "0.jsonl").unlink()
    (path / "log" / "0.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"whose disk is full.*repeat the same call"):
        lg.gram(RELU, X, store=path)
    (path / "log" / "0.jsonl").unlink()
    assert_same(lg.gram(RELU, X, store=path), lg.gram(RELU, X))


def test_blocks_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    net, path = lg.mlp(widths=[8], out=1, activation="relu", C_W=1e6), tmp_path / "k"
    with pytest.raises(InputError, match=r"`C_W`: got numbers of size 1e\+06, .* of `.(nngp|ntk)` of `gram` are not finite \(float16"):
        lg.gram(net, points(60), dtype="float16", store=path)
    assert log(path) == [] and not list(path.rglob("c/*/*"))


def test_another_kernel_is_refused_and_said_which(tmp_path: Path) -> None:
    X, path = points(), tmp_path / "k"
    lg.gram(RELU, X, store=path)
    other = lg.mlp(widths=[8, 8], out=1, activation="relu", C_W=(2.0, 1.5, 2.0))
    for call, words in (
        (lambda: lg.gram(other, X, store=path, rates=(0, 2.0)), r"network: .*2\.0.* there, .*1\.5.* here"),
        (lambda: lg.gram(RELU >> lg.Dense(1), X, store=path), "5 nodes there, 6 here"),
        (lambda: lg.gram(RELU, X + 1, store=path), r"points X: float32 \(203, 30\)"),
        (lambda: lg.gram(RELU, X, X, store=path), "points X2: X itself there"),
        (lambda: lg.gram(RELU, X, store=path, rates=(1.0, 1.0)), "rates: .*dense1"),
        (lambda: lg.gram(RELU, X, store=path, dtype="float64"), r"dtype: float32 there, float64 here\. .*another path"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    lg.gram(RELU, X, store=path)


def test_a_path_that_is_no_store_is_refused(tmp_path: Path) -> None:
    X = points()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("")
    zarr.create_group(tmp_path / "group")
    zarr.create_array(tmp_path / "array", shape=(3,), dtype="float32")
    for name, words in (("file", "a file"), ("folder", "no store"), ("group", "no store"), ("array", "no store")):
        with pytest.raises(InputError, match=words):
            lg.gram(RELU, X, store=tmp_path / name)
    for wrong in (3, "s3://bucket/k"):
        with pytest.raises(InputError, match="needed a path"):
            lg.gram(RELU, X, store=wrong)
    with pytest.raises(InputError, match="bfloat16"):
        lg.gram(RELU, X, store=tmp_path / "k", dtype=jnp.bfloat16)
    with pytest.raises(InputError, match="Register it"):
        lg.gram(lg.Dense(8) >> lg.Act(jnp.tanh) >> lg.Dense(1), X, store=tmp_path / "k")
    with pytest.raises(InputError, match="a cluster without a store"):
        lg.gram(RELU, X, cluster=3)
    with pytest.raises(InputError, match="a dask"):
        lg.gram(RELU, X, store=tmp_path / "k", cluster=3)
    for name in ("k", "k/log", "k/ntk", "k/nngp"):  # an empty folder is a new path, and so is what a kill leaves before there is a store
        (tmp_path / name).mkdir()
    for name in ("log/0.jsonl", "ntk/zarr.json.0af.partial", "nngp/zarr.json"):
        (tmp_path / "k" / name).write_text("")
    lg.gram(RELU, X, store=tmp_path / "k")
    assert not list((tmp_path / "k").rglob("*.partial"))


def test_one_run_at_a_time(tmp_path: Path) -> None:
    X, path = points(), tmp_path / "k"
    lg.gram(RELU, X, store=path)
    (path / "ntk/c/0/0").unlink()
    held = Log(path, 0)
    with pytest.raises(InputError, match="another process is writing"):
        lg.gram(RELU, X, store=path)
    held.close()
    with pytest.warns(StoreWarning):
        lg.gram(RELU, X, store=path)
    held = Log(path, 0)
    lg.gram(RELU, X, store=path)  # what is finished is only read
    held.close()


@pytest.mark.parametrize(("package", "argument"), [("zarr", "store"), ("dask.distributed", "cluster")])
def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, argument: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    options: dict[str, Any] = {"store": tmp_path / "k", argument: tmp_path / "k"}
    with pytest.raises(ImportError, match=r"pip install .largen\[cluster\]"):
        lg.gram(RELU, points(), **options)


def test_progress_says_sizes_and_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lg.gram(RELU, points(), store=tmp_path / "k", progress=True)
    told = capsys.readouterr().err
    assert "GiB of float32 in 6 blocks of 80 x 80" in told and "6 of 6 blocks" in told


# ---------------------------------------------------------------- processes

SCRIPT = f"""
import sys, time
import jax, numpy as np
if len(sys.argv) > 2:
    jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
import largen as lg
from largen.grams import plan
from largen.grams.store import to_store
from largen.grams.store.store import Store
plan.TILE, to_store.BLOCK = 40, 80
write = Store.write
def slow(*args):
    time.sleep(0.05)
    write(*args)
Store.write = slow
X = np.random.default_rng(0).normal(size=(500, {D})).astype(np.float32)
out = lg.gram(lg.loads({lg.dumps(RELU)!r}), X, store=sys.argv[1])
assert np.isfinite(out.ntk[:]).all()
print(jax.process_count(), jax.local_device_count())
"""


def start(path: Path, *more: str, devices: int = 1) -> subprocess.Popen[str]:
    env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, "-P", "-c", SCRIPT, str(path), *more]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def big() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, D)).astype(np.float32)


def wait_for(path: Path, blocks: int, process: subprocess.Popen[str] | None = None) -> None:
    """Until the log has so many blocks."""
    for _ in range(18000):
        if (path / "log").exists() and len(log(path)) >= blocks:
            return
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("no blocks came")


@pytest.mark.slow
def test_killed_at_any_time_and_resumed(tmp_path: Path) -> None:
    with damage.small_blocks():
        ends = damage.kills(1, tmp_path, seed=1)
    assert ends == {"SIGKILL, same bytes": 1, "SIGINT, same bytes": 1}


@pytest.mark.slow
def test_random_damages(tmp_path: Path) -> None:
    with damage.small_blocks():
        ends = damage.damages(60, tmp_path)
    assert ends[damage.WRONG] == 0 and ends.total() == 60 and ends["a repair that is said"] > 15 and len(ends) == 5, ends


def test_runs_that_begin_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, write, lock = points(), Store.write, threading.Barrier(4)
    ended: list[Any] = []

    def slow(*args: Any) -> None:
        time.sleep(0.1)
        write(*args)

    def run(path: Path) -> None:
        lock.wait()
        try:
            ended.append(lg.gram(RELU, X, store=path))
        except InputError as error:
            ended.append(error)

    lg.gram(RELU, X, store=tmp_path / "alone")
    monkeypatch.setattr(Store, "write", slow)
    for name in ("a", "b", "c"):
        ended.clear()
        threads = [threading.Thread(target=run, args=(tmp_path / name,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [error for error in ended if isinstance(error, InputError)]
        assert len(refused) == 3 and all("another process is writing" in str(error) for error in refused), ended
        assert content(tmp_path / name) == content(tmp_path / "alone")
    assert {file.name for file in tmp_path.iterdir()} == {"alone", "a", "b", "c"}


@pytest.mark.slow
def test_two_jax_processes_of_two_devices(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = [start(path, address, str(i), devices=2) for i in (0, 1)]
    assert [end(process).split()[-2:] for process in both] == [["2", "2"]] * 2
    assert len(log(path)) == len(set(log(path))) == 28
    assert {file.name: file.read_text().count('"event": "block"') for file in (path / "log").glob("*")} == {"0.jsonl": 14, "1.jsonl": 14}
    lg.gram(RELU, big(), store=tmp_path / "whole")
    assert content(path) == content(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_that_loses_a_worker(tmp_path: Path) -> None:
    from dask.distributed import Client, LocalCluster

    X, path = big(), tmp_path / "cluster"
    cluster: Any = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster) as client:

        def kill() -> None:
            for blocks, number in ((4, 1), (12, 2)):  # one worker, then all that hold the points
                wait_for(path, blocks)
                for worker in list(cluster.workers.values())[:number]:
                    os.kill(worker.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        out = lg.gram(GELU, X, store=path, cluster=client)
        killer.join()
        assert len(log(path)) == len(set(log(path))) == 28
        assert_same(out, lg.gram(GELU, X))
    lg.gram(GELU, X, store=tmp_path / "alone")
    assert content(path) == content(tmp_path / "alone")
