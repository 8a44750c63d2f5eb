"""Records as things one can hold: printed on a screen, shown in a notebook, taken along as a table.

A record says what its table is by the class attribute `_table`, (names of axes, names of columns): one row for every place of the arrays,
with its indices (layers and levels count from 1, all else from 0); without axes, one row. Where that does not say it, by `_columns`.
"""

import html
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import numpy as np

from largen.errors import shown
from largen.types import is_traced

LINES, WIDTH = 24, 100  # of a screen
SHOWN = 4  # numbers of an array
ROWS = 12  # of a table inside a notebook's
REASONS = 8  # lines at most for what is missing
FROM_ONE = ("layer", "level")

Columns = dict[str, Any]


class Record:
    """A result: `print` shows it on a screen, a notebook as a table, and `.to_frame()` gives its rows."""

    __dataclass_fields__: ClassVar[dict[str, Any]]  # every record is a dataclass
    _table: ClassVar[tuple[str, str]] = ("", "")  # ("i j", "nngp ntk"); no columns: every field that is a number, a word or None

    def to_frame(self) -> Any:
        """The record as a table: a `pandas.DataFrame` where pandas is installed, else {column: NumPy array}, which
        `polars.DataFrame` and its kin take too.

        >>> import largen as lg
        >>> frame = lg.kernel(lg.mlp([8], 1, "relu"), [[1.0, 0.0], [0.0, 1.0]]).to_frame()
        >>> list(frame), len(frame["ntk"])
        (['i', 'j', 'nngp', 'ntk'], 4)
        """
        columns = self._columns()
        try:
            import pandas
        except ImportError:
            return {name: _entries(column) for name, column in columns.items()}
        return pandas.DataFrame(columns)

    def _columns(self) -> Columns:
        """{column: values}, all equally long."""
        axes, names = (text.split() for text in self._table)
        found = {name: getattr(self, name) for name in names} or {name: value for name, value in _fields(self) if _is_plain(value)}
        return grid(axes, **found) if axes else {name: [value] for name, value in found.items()}

    def __repr__(self) -> str:
        head, missing = type(self).__name__, list(_missing_lines(self))
        body = list(_lines(self))
        room = LINES - 1 - len(missing)
        if len(body) > room:
            body = [*body[: room - 1], f"  ... and {len(body) - room + 1} lines more: see its fields, or .to_frame()"]
        return "\n".join([head, *body, *missing])

    def _repr_html_(self) -> str:
        rows = [(name, _cell(value)) for name, value in _fields(self) if not _is_empty(value)]
        rows += [("missing: " + ", ".join(names), html.escape(reason)) for reason, names in _reasons(self).items()]
        return table(("field", "value"), rows, type(self).__name__, escaped=True)


def grid(axes: Sequence[str], /, **columns: Any) -> Columns:
    """Arrays of one shape as columns, after the indices of its axes; axes more than there are names lead and are those of `lg.each`.

    Arrays with fewer axes are repeated; those that end sooner along one (from each level to the next) end in NaN. None is left out.

    >>> grid(("level", "point"), q=[[1.0, 2.0], [3.0, 4.0]], chi=[[0.5, 0.6]])["chi"]
    array([0.5, 0.6, nan, nan])
    """
    arrays = {name: np.asarray(value) for name, value in columns.items() if value is not None}
    deep = max(array.ndim for array in arrays.values())
    shape = tuple(max(a.shape[k] for a in arrays.values() if a.ndim >= -k) for k in range(-deep, 0))
    names = [*("network",) * (deep - len(axes)), *axes[:deep]] if axes else []
    places = zip(names, np.indices(shape), strict=True) if axes else ()
    out: Columns = {name: place.ravel() + (name in FROM_ONE) for name, place in places}
    return out | {name: _filled(array, shape).ravel() for name, array in arrays.items()}


def _entries(column: Any) -> np.ndarray:
    """A column as an array with an entry a row, also where entries are tuples."""
    if isinstance(column, np.ndarray) or not any(isinstance(entry, (tuple, list)) for entry in column):
        return np.asarray(column)
    out = np.empty(len(column), object)
    for place, entry in enumerate(column):
        out[place] = entry
    return out


def _filled(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array repeated along the axes that it has not, and ended in NaN where it ends sooner."""
    gaps = [(0, whole - size) for size, whole in zip(array.shape, shape[len(shape) - array.ndim :], strict=True)]
    if any(end for _, end in gaps):
        array = np.pad(array.astype(float), gaps, constant_values=np.nan)
    return np.broadcast_to(array, shape)


def stacked(records: Iterable[Record]) -> Columns:
    """The rows of several records of one kind, one below the other.

    >>> stacked([])
    {}
    """
    parts = [record._columns() for record in records]
    return {name: [value for part in parts for value in part[name]] for name in (parts[0] if parts else ())}


def pairs(tensor: Any) -> Any:
    """The entries (i, i, j, j) of a tensor of four points, by pair (i, j); None of None."""
    return None if tensor is None else np.einsum("...iijj->...ij", np.asarray(tensor))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", escaped: bool = False) -> str:
    """An HTML table; the last cell of a row is HTML already if `escaped`.

    >>> table(("a",), [("<1",)])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;1</td></tr></tbody></table>'
    """
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = ""
    for row in rows:
        cells = [html.escape(str(cell)) for cell in row]
        cells = [*cells[:-1], row[-1]] if escaped else cells
        body += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    return f"<table>{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def aligned(rows: Sequence[Sequence[str]], right: int = 0) -> list[str]:
    """Rows of words as lines in columns, the last few of them to the `right`.

    >>> aligned([("path", "width"), ("dense1", "8")], right=1)
    ['path    width', 'dense1      8']
    """
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust] * (len(sizes) - right) + [str.rjust] * right
    return ["  ".join(side(cell, size) for side, cell, size in zip(sides, row, sizes, strict=True)).rstrip() for row in rows]


def brief(value: Any) -> str:
    """A value in a few words: arrays by shape, kind and a few numbers, records by name."""
    if isinstance(value, (bool, str, int, np.integer)):
        return str(value)
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value)
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{name}: {brief(part)}" for name, part in [*value.items()][:ROWS]) + ("}" if len(value) <= ROWS else ", ...}")
        )
    if isinstance(value, (tuple, list)):
        if value and is_dataclass(value[0]):
            return f"{len(value)} x {type(value[0]).__name__}"
        return "(" + ", ".join(brief(part) for part in value[:ROWS]) + (")" if len(value) <= ROWS else f", ... {len(value)} in all)")
    if isinstance(value, Record):
        if type(value).__str__ is not object.__str__:
            return str(value)
        known = [(name, part) for name, part in _fields(value) if _is_plain(part) and part is not None]
        return f"{type(value).__name__}({', '.join(f'{name} = {brief(part)}' for name, part in known) or '...'})"
    return shown(value)


def _array(value: Any) -> str:
    if is_traced(value):
        return f"{value.shape} {value.dtype}, traced"
    if not value.shape:
        return brief(np.asarray(value).item())
    corner = np.ravel(np.asarray(value[(0,) * (len(value.shape) - 1)][:SHOWN])) if 0 not in value.shape else np.array([])
    few = ", ".join(brief(number.item()) for number in corner)
    return f"{value.shape} {value.dtype}: {few}{', ...' if np.prod(value.shape) > len(corner) else ''}"


def _fields(record: Record) -> Iterator[tuple[str, Any]]:
    """(name, value) of every field but the reasons."""
    yield from ((part.name, getattr(record, part.name)) for part in fields(record) if part.name != "missing")


def _is_plain(value: Any) -> bool:
    """Whether a value is one number or word, or None."""
    alone = getattr(value, "shape", None) == () and not is_traced(value)
    return value is None or alone or isinstance(value, (str, bool, int, float))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, tuple, list, Mapping)) and not value)


def _reasons(record: Record) -> dict[str, list[str]]:
    """{reason: the names of what is missing for it}."""
    out: dict[str, list[str]] = {}
    for name, reason in getattr(record, "missing", {}).items():
        out.setdefault(str(reason), []).append(str(name))
    return out


def _missing_lines(record: Record) -> Iterator[str]:
    lines: list[str] = []
    for reason, names in _reasons(record).items():
        lines += _wrapped(f"missing {', '.join(names)}: {reason}")
    yield from lines if len(lines) <= REASONS else [*lines[: REASONS - 1], "  ... and more reasons: see .missing"]


def _wrapped(text: str, start: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent="    ")


def _lines(record: Record) -> Iterator[str]:
    """The fields: short ones side by side, arrays one a line, sentences whole."""
    line = ""
    for name, value in _fields(record):
        if _is_empty(value):
            continue
        text = f"{name} = {brief(value)}"
        if _is_plain(value) and len(text) < WIDTH // 2:
            if len(line) + len(text) + 2 > WIDTH:
                yield line
                line = ""
            line = f"{line}, {text}" if line else f"  {text}"
            continue
        if line:
            yield line
            line = ""
        if isinstance(value, tuple) and all(isinstance(part, str) for part in value) and len(text) > WIDTH:
            for part in value:
                yield from _wrapped(part)
        else:
            yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", max_lines=3, placeholder=" ...")
    if line:
        yield line


def _cell(value: Any) -> str:
    """A value as HTML: several records as a table of their own."""
    if isinstance(value, (tuple, list)) and value and isinstance(value[0], Record):
        columns = stacked(value[:ROWS])
        rows = zip(*([brief(cell) for cell in column] for column in columns.values()), strict=True)
        more = f"<p>{len(value) - ROWS} more</p>" if len(value) > ROWS else ""
        return table([*columns], rows) + more
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return "<br>".join(html.escape(part) for part in value)
    return html.escape(brief(value))
