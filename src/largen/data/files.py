"""Tables from files: digits, npz and CSV, read as they are. What is made of them is in `task`."""

import csv
import os
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from largen import memory
from largen.errors import InputError, shown

CELL = 25.0  # bytes held for each of a CSV file: its cells as strings, then as numbers
NPZ = "arrays (X, y), or (x_train, y_train) with optional (x_test, y_test)"


@dataclass(frozen=True)
class Table:
    """Inputs X (n, features), float64, and targets y (n,) or (n, outputs) of any kind, in the order of the file.

    `X_test`, `y_test`: rows that the file itself sets aside for testing, or None. `notes`: what was done in reading. `columns`: whether
    every column is a quantity of its own, with its own unit, as in a CSV file; entries of arrays, such as pixels, have one.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    columns: bool = False


def load(source: str, target: str | None = None) -> Table:
    """The table called "digits" or stored in an .npz or .csv file. Raises `InputError` for what cannot be read.

    >>> load("digits").X.shape
    (1797, 64)
    """
    path = Path(source)
    if target is not None and path.suffix.lower() != ".csv":
        raise InputError("target", shown(target), f"no target with {source!r}", "Only a CSV file has named columns.")
    if source == "digits":
        return _digits()
    if path.suffix.lower() not in (".npz", ".csv"):
        raise InputError("data", shown(source), '"digits", or the path of an .npz or .csv file')
    if not os.path.isfile(path):
        raise InputError("data", shown(source), "a file that exists")
    try:
        return _npz(path) if path.suffix.lower() == ".npz" else _csv(path, target)
    except OSError as error:
        raise InputError("data", f"{source!r}, which cannot be read ({error.strerror or error})", "a readable file") from error


def _digits() -> Table:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return Table("digits", np.asarray(X), np.asarray(y), notes=("scikit-learn's digits: 1797 images of 8 x 8 pixels, ten classes",))


def _npz(path: Path) -> Table:
    arrays, need = {}, f"an .npz archive with {NPZ}"
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        memory.require(3.0 * size, "data", f"{str(path)!r}", "Take fewer rows.")
        with warnings.catch_warnings(action="ignore"), np.load(path, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except (InputError, OSError):
        raise
    except Exception as error:  # whatever the bytes make the readers of archives, compressions and headers raise
        got = f"{str(path)!r}, which is no .npz archive of plain arrays ({type(error).__name__}: {first_line(error)})"
        raise InputError("data", got, need) from error
    pairs = [("X", "y", None, None), ("x_train", "y_train", "x_test", "y_test")]
    for x, y, x2, y2 in pairs:
        if x in arrays and y in arrays:
            notes: list[str] = []
            X = inputs(arrays[x], x, notes)
            held = x2 in arrays and y2 in arrays
            X_test = inputs(arrays[x2], str(x2), []) if held else None
            if X_test is not None and X_test.shape[1] != X.shape[1]:
                raise InputError(str(x2), f"{X_test.shape[1]} columns", f"{X.shape[1]} columns, as in {x}")
            y_test = targets(arrays[y2], len(X_test), str(y2)) if X_test is not None else None
            return Table(path.name, X, targets(arrays[y], len(X), y), X_test, y_test, tuple(notes))
    raise InputError("data", f"{str(path)!r} with {', '.join(sorted(arrays)) or 'no arrays'}", need)


def first_line(error: BaseException) -> str:
    """The beginning of what an exception says."""
    return (str(error).strip().splitlines() or ["no reason given"])[0][:200]


def inputs(X: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Inputs as float64 rows: uint8 divided by 255, images flattened, both noted. Raises `InputError` otherwise."""
    need = "finite real numbers of shape (n, features)"
    if X.dtype.kind not in "fiub" or X.ndim < 2 or X.size == 0:
        got = f"an empty array of shape {X.shape}" if X.size == 0 else f"entries of type {X.dtype}, shape {X.shape}"
        raise InputError(name, got, need)
    if X.dtype == np.uint8:
        notes.append("uint8 inputs divided by 255")
        X = X / 255.0
    if X.ndim > 2:
        notes.append(f"inputs of shape {X.shape[1:]} flattened to {int(np.prod(X.shape[1:]))} columns")
        X = X.reshape(len(X), -1)
    X = np.asarray(X, dtype=np.float64)
    _finite(X, name, need)
    return X


def targets(y: np.ndarray, n: int, name: str) -> np.ndarray:
    """Targets that fit n rows: labels (integers, strings, booleans) of shape (n,), or real numbers of shape (n,) or (n, outputs)."""
    need = f"one target per row of the inputs, shape ({n},) or ({n}, outputs)"
    if y.ndim == 2 and y.shape[1:] == (1,):
        y = y[:, 0]
    if y.ndim not in (1, 2) or y.shape[0] != n or y.size == 0:
        raise InputError(name, f"shape {y.shape}", need)
    if y.dtype.kind not in "fiubUS" or (y.ndim == 2 and y.dtype.kind != "f"):
        raise InputError(name, f"entries of type {y.dtype}, shape {y.shape}", need, "Labels are integers or strings of shape (n,).")
    if y.dtype.kind == "f":
        y = y.astype(np.float64)
        _finite(y, name, need)
    return y


def _finite(values: np.ndarray, name: str, need: str) -> None:
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise InputError(name, f"{bad} entries that are NaN or infinite (shape {values.shape})", need)


def _csv(path: Path, target: str | None) -> Table:
    memory.require(CELL * path.stat().st_size, "data", f"{str(path)!r}", "Take fewer rows, or an .npz file.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(_numbered(csv.reader(file)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("data", f"{str(path)!r}, which is no CSV text ({error})", "a CSV file in UTF-8 with a header") from error
    if len(rows) < 2:
        raise InputError("data", f"{str(path)!r} with {len(rows)} lines", "a header and at least one row")
    header, rows = [cell.strip() for cell in rows[0][1]], rows[1:]
    if len(header) < 2:
        raise InputError("data", f"{str(path)!r} with {len(header)} column", "at least one feature and a target, separated by commas")
    if all(_is_number(cell) for cell in header):
        raise InputError("data", f"{str(path)!r} whose first line is numbers", "a header with the names of the columns")
    column = _target(header, target)
    for line, row in rows:
        if len(row) != len(header):
            raise InputError("data", f"row {line} of {str(path)!r} with {len(row)} columns", f"{len(header)} columns, as in the header")
    features = [i for i in range(len(header)) if i != column]
    X = np.array([[_number(row[i], header[i], line) for i in features] for line, row in rows])
    cells = [(line, row[column].strip()) for line, row in rows]
    note = f"target: column {header[column]!r}; {len(features)} features"
    return Table(path.name, X, _column(cells, header[column]), notes=(note,), columns=True)


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the number of the line of the file on which it begins."""
    line = 1
    for row in reader:
        if any(cell.strip() for cell in row):
            yield line, row
        line = reader.line_num + 1


def _target(header: list[str], target: str | None) -> int:
    if target is None:
        return len(header) - 1
    if header.count(target) != 1:
        got = "a name that two columns share" if target in header else "no column of that name"
        raise InputError("target", f"{target!r}, {got}", "one of " + ", ".join(dict.fromkeys(header)))
    return header.index(target)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, column: str, line: int) -> float:
    fix = "Only the target may be text; leave other text columns out."
    if not _is_number(cell) or not np.isfinite(float(cell)):
        raise InputError("data", f"{cell!r} in column {column!r}, row {line}", "a finite number in every feature", fix)
    return float(cell)


def _column(rows: list[tuple[int, str]], name: str) -> Any:
    """A target column of cells and their lines: integers, or real numbers, or else strings."""
    cells = [cell for _, cell in rows]
    if "" in cells:
        raise InputError("data", f"an empty cell in the target {name!r}, row {rows[cells.index('')][0]}", "a target in every row")
    try:
        return np.array([int(cell) for cell in cells], np.int64)
    except (ValueError, OverflowError):  # no integers, or longer ones than there are
        pass
    if not all(_is_number(cell) for cell in cells):
        if sum(_is_number(cell) for cell in cells) > len(cells) / 2:
            line, cell = next((i, c) for i, c in rows if not _is_number(c))
            raise InputError("data", f"{cell!r} among numbers in the target {name!r}, row {line}", "all numbers, or all class names")
        return np.array(cells)
    values = np.array([float(cell) for cell in cells])
    _finite(values, f"data, target {name!r}", "finite numbers")
    return values
