"""A Gram matrix on disk: a Zarr group with arrays `nngp` and `ntk`, or one of them, one chunk a block, and beside them a log of the blocks
done.

What the matrix is of (network, rates, points, dtype, and which kernel if it is one alone) and how it is cut stand, with a checksum, in
the attributes of the group and of its arrays; all else in the metadata follows from it and is compared, never believed. Every chunk
carries its CRC-32C, which whoever reads it checks; the log has the SHA-256 of every block, which tells blocks of this matrix from all
others. Chunks and metadata replace each other as whole files, the log only grows: a process may die at any time.
"""

import hashlib
import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from largen.architecture.text import dumps
from largen.errors import InputError, StoreWarning, warn
from largen.grams.blocks import Layout, Place
from largen.grams.store.log import LONG, NEED, checksum, lines, named
from largen.grams.tiles import WHICH, Values

FORMAT, VERSIONS = "largen-gram", {"both": 2, "nngp": 3, "ntk": 3}  # version 3 has one kernel, and says which
HALF = "zarr.json.*.partial"  # metadata in writing
NAMES = {"network": "network", "rates": "rates", "X": "points X", "X2": "points X2", "dtype": "dtype", "which": "kernels"}
ANEW = "Give another path, or delete that folder to begin anew."


def zarr() -> Any:
    """The package, imported when used."""
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise ImportError('lg.gram(..., store=...) needs Zarr: pip install "largen[cluster]"') from error
    return zarr


def metadata(which: str) -> tuple[str, ...]:
    """The files of metadata, in the order in which they are written: the last tells a store."""
    return (*(f"{name}/zarr.json" for name in WHICH[which]), "zarr.json")


def identity(net: Any, rates: dict[str, Any], X: np.ndarray, X2: np.ndarray | None, dtype: np.dtype, which: str = "both") -> dict[str, Any]:
    """All that the entries depend on, in values that JSON holds."""
    points = [None if Z is None else f"{Z.dtype} {Z.shape}, SHA-256 {digest((Z,))}" for Z in (X, X2)]
    layers = {path: [float(rate) for rate in pair] for path, pair in rates.items()}
    return {
        "network": json.loads(dumps(net))["nodes"],
        "rates": layers,
        "X": points[0],
        "X2": points[1],
        "dtype": dtype.name,
        "which": which,
    }


def digest(arrays: Any) -> str:
    """SHA-256 of the bytes of arrays."""
    out = hashlib.sha256()
    for array in arrays:
        out.update(np.ascontiguousarray(array).data.cast("B"))
    return out.hexdigest()


@dataclass(frozen=True)
class Header:
    """What the metadata of a store say: the layout, which kernels, their checksum, to which its log is bound, and files that say
    something else."""

    layout: Layout
    which: str
    key: str
    wrong: tuple[str, ...] = ()


class Store:
    """An open store: its layout, its arrays, its log. One that is only read has all its blocks, or reading raises."""

    def __init__(self, path: Path, header: Header, writable: bool = False) -> None:
        self.path, self.header, self.layout = path, header, header.layout
        package = zarr()
        if writable:
            files = package.storage.LocalStore(path)
        else:
            from largen.grams.store.chunks import Chunks

            files = Chunks(path, read_only=True)
        mode = "r+" if writable else "r"
        self.arrays = tuple(package.open_array(files, path=name, mode=mode, zarr_format=3) for name in WHICH[header.which])

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
        except InputError:  # a chunk that is gone, or against its own checksum
            return False
        return all(digest(values) in digests for values in copies)

    def done(self) -> dict[Place, set[str]]:
        """Blocks that were finished, and the digests they had."""
        out: dict[Place, set[str]] = {}
        for line in self._blocks():
            out.setdefault((line["block"][0], line["block"][1]), set()).add(line["sha256"])
        return out

    def error(self) -> float:
        """The worst error estimate of all blocks."""
        return max((line["error"] for line in self._blocks()), default=0.0)

    def _blocks(self) -> list[dict[str, Any]]:
        return [line for line in lines(self.path, self.header.key) if line["event"] == "block"]


def place(store: Any) -> Path:
    """The path that the user gave."""
    try:
        text = os.fspath(store)
        path = Path(text).expanduser()
        os.fsencode(path.absolute())
        fine = text and "://" not in text and "\0" not in text
    except Exception:  # not a path, or an object of the user's whose path fails
        fine = False
    if not fine:
        got = named(store) if isinstance(store, (str, Path)) else f"a {type(store).__name__}"
        raise InputError("store", got, "a path of a file system")
    return path  # type: ignore[possibly-undefined]


def is_new(path: Path) -> bool:
    """Whether a store is to be made there: nothing is, or no more than a run leaves that ended before it had made one."""
    if not path.exists():
        return True
    if not path.is_dir():
        raise InputError("store", f"{named(path)}, a file", NEED)
    folders = [path / name for name in ("log", *WHICH["both"])]
    inside = [*path.iterdir(), *(file for folder in folders if folder.is_dir() for file in folder.iterdir())]
    begun = {*folders, *(path / name for name in metadata("both")[:-1])}
    empty = path / "log" / "0.jsonl"
    return all(file in begun or file.match(HALF) or (file == empty and file.stat().st_size == 0) for file in inside)


def create(path: Path, about: dict[str, Any], layout: Layout) -> None:
    """The metadata of a new store."""
    for name, text in _metadata(about, layout).items():
        _put(path / name, text)


def read(path: Path, about: dict[str, Any], shape: tuple[int, int], rows: int) -> Header:
    """The header of the store of `about`, a matrix of that shape in blocks of at most `rows` rows; refuses what is none."""
    which = about["which"]
    texts = {name: _json(path / name) for name in metadata("both")}
    records = [found for text in texts.values() if isinstance(found := _attributes(text).get(FORMAT), dict)]
    if not records:
        raise InputError("store", f"{named(path)}, a folder that is no store of lg.gram", NEED)
    whole = [record for record in records if _is_whole(record) and record.get("version") == VERSIONS.get(record.get("which", "both"))]
    if not whole:
        version = records[-1].get("version")
        if version not in VERSIONS.values():
            need = "one of version " + " or ".join(map(str, sorted({*VERSIONS.values()})))
            raise InputError("store", f"{named(path)}, a store of version {version!r:.10}", need, ANEW)
        raise InputError("store", f"{named(path)}, whose metadata are damaged", NEED, ANEW)
    there = whole[-1]
    _check_same(path, there, about)
    tile, across = there["layout"]["tile"], there["layout"]["across"]
    layout = Layout(*shape, about["X2"] is None, tile, across)
    if asdict(layout) != there["layout"] or not (tile >= 1 <= across and tile * across <= rows):
        raise InputError("store", f"{named(path)}, whose blocks are not those of this matrix", NEED, ANEW)
    wanted = _metadata(about, layout)
    wrong = tuple(name for name in wanted if _comparable(texts[name]) != _comparable(json.loads(wanted[name])))
    return Header(layout, which, there["check"], wrong)


def restore(path: Path, about: dict[str, Any], header: Header) -> None:
    """Write again the metadata that are not as they follow from the header, if they still are not."""
    if not header.wrong:
        return
    for name, text in _metadata(about, header.layout).items():
        if name in header.wrong:
            _put(path / name, text)
    which = ", ".join(header.wrong)
    message = f"Metadata of the store {named(path)} were not as they were written ({which}): they are written again."
    warn(message, StoreWarning)


def sweep(path: Path) -> None:
    """Remove what a write that was cut off left behind."""
    for file in (*path.rglob(HALF), *path.glob("*/c/**/*.partial")):
        file.unlink(missing_ok=True)


def warn_of_damage(path: Path, damaged: list[Place]) -> None:
    if damaged:
        which = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        message = f"{len(damaged)} finished blocks of {named(path)} are not as they were written ({which}): they are computed again."
        warn(message, StoreWarning)


def _metadata(about: dict[str, Any], layout: Layout) -> dict[str, str]:
    """The metadata (Zarr 3) of a store, file by file: nothing in them is free."""
    which = about["which"]
    said = {key: value for key, value in about.items() if key != "which" or which != "both"}
    record = {"version": VERSIONS[which], **said, "layout": asdict(layout)}
    common = {"zarr_format": 3, "attributes": {FORMAT: {**record, "check": checksum(record)}}}
    array = {
        "node_type": "array",
        "shape": [layout.n1, layout.n2],
        "data_type": about["dtype"],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(layout.chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "storage_transformers": [],
    }
    return {name: json.dumps(common | ({"node_type": "group"} if name == "zarr.json" else array), indent=2) for name in metadata(which)}


def _json(file: Path) -> dict[str, Any]:
    """What a file of metadata says; nothing where it is gone or damaged."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(file.read_bytes()) if file.is_file() else None
        if isinstance(found, dict):
            return found
    return {}


def _attributes(metadata: dict[str, Any]) -> dict[str, Any]:
    found = metadata.get("attributes")
    return found if isinstance(found, dict) else {}


def _is_whole(record: dict[str, Any]) -> bool:
    return record.get("check") == checksum({key: value for key, value in record.items() if key != "check"})


def _comparable(metadata: dict[str, Any]) -> str:
    """Metadata without what a user may add: other attributes, and the copies that Zarr consolidates."""
    own = {key: value for key, value in metadata.items() if key != "consolidated_metadata"}
    return json.dumps(own | {"attributes": _attributes(metadata).get(FORMAT)}, sort_keys=True)


def _put(file: Path, text: str) -> None:
    """Write a file, there whole or not at all."""
    file.parent.mkdir(exist_ok=True)
    new = file.with_name(f"{file.name}.{uuid.uuid4().hex}.partial")
    try:
        new.write_text(text, "utf-8")
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _check_same(path: Path, there: dict[str, Any], about: dict[str, Any]) -> None:
    """Refuse a store of another matrix, saying what differs."""
    there = {"which": "both"} | there
    other = [key for key in NAMES if there[key] != about[key]]
    if other:
        words = "; ".join(f"{NAMES[key]}: {_difference(there[key], about[key])}" for key in other)
        raise InputError("store", f"{named(path)}, which holds another kernel", NEED, f"What differs: {words}. {ANEW}")


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
