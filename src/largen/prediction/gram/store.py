"""A Gram matrix on disk: a Zarr group with arrays `nngp` and `ntk`, one chunk a block, and beside them a log of the blocks done.

What the matrix is of (network, rates, points, dtype) and how it is cut stand in the attributes of the group. Every chunk carries
its CRC-32C, which whoever reads it checks; the log has the SHA-256 of every block, which tells blocks of this matrix from all
others. Chunks replace each other as whole files, the log only grows: a process may die at any time.
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from largen.architecture.text import dumps
from largen.errors import InputError, StoreWarning, warn
from largen.prediction.gram.blocks import Layout, Place
from largen.prediction.gram.tiles import Values

FORMAT, VERSION = "largen-gram", 1
NAMES = {"network": "network", "rates": "rates", "X": "points X", "X2": "points X2", "dtype": "dtype"}
LONG = 80  # characters of a value in a message
NEED = "a new path, or a store that lg.gram began for these arguments"


def zarr() -> Any:
    """The package, imported when used."""
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise ImportError('lg.gram(..., store=...) needs Zarr: pip install "largen[cluster]"') from error
    return zarr


def identity(net: Any, rates: dict[str, Any], X: np.ndarray, X2: np.ndarray | None, dtype: np.dtype) -> dict[str, Any]:
    """All that the entries depend on, in values that JSON holds."""
    points = [None if Z is None else f"{Z.dtype} {Z.shape}, SHA-256 {digest((Z,))}" for Z in (X, X2)]
    layers = {path: [float(rate) for rate in pair] for path, pair in rates.items()}
    return {"network": json.loads(dumps(net))["nodes"], "rates": layers, "X": points[0], "X2": points[1], "dtype": dtype.name}


def digest(arrays: Any) -> str:
    """SHA-256 of the bytes of arrays."""
    out = hashlib.sha256()
    for array in arrays:
        out.update(np.ascontiguousarray(array).data.cast("B"))
    return out.hexdigest()


class Store:
    """An open store: its layout, its arrays, its log."""

    def __init__(self, path: Path, writable: bool = True) -> None:
        group = zarr().open_group(str(path), mode="r+" if writable else "r")
        self.path, self.about = path, group.attrs[FORMAT]
        self.layout = Layout(**self.about["layout"])
        self.arrays = group["nngp"], group["ntk"]

    def write(self, place: Place, values: Values) -> None:
        rows, columns = self.layout.slices(place)
        for array, value in zip(self.arrays, values, strict=True):
            array[rows, columns] = value
            if self.layout.mirrored(place):
                array[columns, rows] = value.T

    def holds(self, place: Place, digests: set[str]) -> bool:
        """Whether the bytes of a block, and of its mirror, are some that were written."""
        rows, columns = self.layout.slices(place)
        try:
            copies = [[array[rows, columns] for array in self.arrays]]
            if self.layout.mirrored(place):
                copies.append([array[columns, rows].T for array in self.arrays])
        except ValueError:  # a chunk against its own checksum
            return False
        return all(digest(values) in digests for values in copies)

    def done(self) -> dict[Place, set[str]]:
        """Blocks that were finished, and the digests they had."""
        out: dict[Place, set[str]] = {}
        for line in self.lines("block"):
            out.setdefault((line["block"][0], line["block"][1]), set()).add(line["sha256"])
        return out

    def error(self) -> float:
        """The worst error estimate of all blocks."""
        return max((line["error"] for line in self.lines("block")), default=0.0)

    def lines(self, event: str) -> Iterator[dict[str, Any]]:
        """The lines of all logs about one kind of event; a line cut short by a full disk is none."""
        for file in sorted((self.path / "log").glob("*.jsonl")):
            for text in file.read_text("utf-8").splitlines():
                with suppress(json.JSONDecodeError):
                    line = json.loads(text)
                    if line["event"] == event:
                        yield line


class Log:
    """Where one process appends what it did. Held alone: a second run on the same store is refused."""

    def __init__(self, path: Path, writer: int) -> None:
        folder = path / "log"
        folder.mkdir(exist_ok=True)
        name = folder / f"{writer}.jsonl"
        cut = name.exists() and name.read_bytes()[-1:] not in (b"", b"\n")  # a line that a full disk did not take
        self.file = os.open(name, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
        try:
            import fcntl

            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            got = f"{str(path)!r}, which another process is writing"
            raise InputError("store", got, NEED, "Wait until it has ended, then repeat the call.") from error
        except (ImportError, OSError):  # a system or a file system without such locks
            pass
        if cut:
            os.write(self.file, b"\n")

    def add(self, event: str, **fields: Any) -> None:
        line = {"event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **fields}
        os.write(self.file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        os.close(self.file)


def create(path: Path, about: dict[str, Any], layout: Layout) -> None:
    """A new store, there whole or not at all."""
    from zarr.codecs import Crc32cCodec

    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    group = zarr().create_group(str(new), attributes={FORMAT: {"version": VERSION, **about, "layout": asdict(layout)}})
    for name in ("nngp", "ntk"):
        shape, dtype = (layout.n1, layout.n2), np.dtype(about["dtype"])
        group.create_array(name, shape=shape, chunks=layout.chunk, dtype=dtype, compressors=[Crc32cCodec()], fill_value=np.nan)
    (new / "log").mkdir()
    if path.exists():
        path.rmdir()
    new.rename(path)


def is_new(path: Path) -> bool:
    """Whether a store is to be made there; raises `InputError` for what is neither that nor a store."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return True
    if not path.is_dir():
        raise InputError("store", f"{str(path)!r}, a file", NEED)
    try:
        about = Store(path, writable=False).about
    except (ValueError, OSError, KeyError, TypeError) as error:  # no group, a broken one, one of others
        raise InputError("store", f"{str(path)!r}, a folder that is no store of lg.gram", NEED) from error
    if about["version"] != VERSION:
        raise InputError("store", f"a store of version {about['version']}", f"one of version {VERSION}", "Give a new path.")
    return False


def check_same(path: Path, about: dict[str, Any]) -> None:
    """Refuse a store of another matrix, saying what differs."""
    there = Store(path, writable=False).about
    other = [key for key in NAMES if there[key] != about[key]]
    if other:
        words = "; ".join(f"{NAMES[key]}: {_difference(there[key], about[key])}" for key in other)
        fix = "Give another path, or delete that folder to begin anew."
        raise InputError("store", f"{str(path)!r}, which holds another kernel ({words})", NEED, fix)


def _difference(there: Any, here: Any) -> str:
    """What the store says and what was asked; of networks and rates the first node or layer that is not the same."""
    if isinstance(there, list) and isinstance(here, list):
        if len(there) != len(here):
            return f"{len(there)} nodes there, {len(here)} here"
        there, here = next((a, b) for a, b in zip(there, here, strict=True) if a != b)
    elif isinstance(there, dict) and isinstance(here, dict) and list(there) == list(here):
        there, here = next(({path: there[path]}, {path: here[path]}) for path in here if there[path] != here[path])
    return f"{_said(there)} there, {_said(here)} here"


def _said(value: Any) -> str:
    said = "X itself" if value is None else value if isinstance(value, str) else json.dumps(value)
    return said if len(said) <= LONG else said[:LONG] + "..."


def sweep(path: Path) -> None:
    """Remove what a write that was cut off left behind."""
    for file in path.glob("*/c/**/*.partial"):
        file.unlink(missing_ok=True)


def warn_of_damage(path: Path, damaged: list[Place]) -> None:
    if damaged:
        which = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        message = f"{len(damaged)} finished blocks of {str(path)!r} are not as they were written ({which}): they are computed again."
        warn(message, StoreWarning)
