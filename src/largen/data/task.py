"""A task: a table split into train and test points, scaled as networks want it, with what was done in words."""

from dataclasses import dataclass, replace

import numpy as np

from largen.data.files import Table
from largen.data.scaling import Scale, one_hot
from largen.errors import InputError

DEFAULT_TRAIN, DEFAULT_TEST = 256, 256


@dataclass(frozen=True)
class Task:
    """Train and test points: X (n, features) and y (n, outputs), float64, scaled by the train points.

    `kind` "classification" (y: centred one-hot) or "regression" (y: standardised); `classes` the class names, empty in
    regression; `unit` the standard deviation by which each regression output was divided, 1 for classes; `notes`: what was
    done to the data, in words.
    """

    name: str
    kind: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    unit: tuple[float, ...]
    notes: tuple[str, ...]


def make(table: Table, train: int | None = None, test: int | None = None, seed: int = 0) -> Task:
    """Split (at random by `seed`, unless the table has its own test rows), scale, encode. None: 256 points, or as many as fit.

    Raises `InputError` for more points than there are, one class, as many classes as rows, constant inputs or targets.
    """
    X, y, X_test, y_test = _split(table, train, test, np.random.default_rng(seed))
    scale = Scale.of(X, each=table.columns)
    varies = scale.size > 0
    if not np.any(varies):
        fix = "More rows, or another seed, may differ." if np.ptp(table.X, axis=0).any() else ""
        raise InputError("data", f"{len(X)} train rows that are all equal", "at least two different rows", fix)
    unit = "every column that varies to mean 0 and one size" if table.columns else "centred per column, one scale"
    scaled = f"inputs standardised by the train points: {unit}, |x|^2/n_0 = 1 on average"
    order = "" if table.X_test is None else "the file's own test rows; "
    note = f"{order}{len(X)} train and {len(X_test)} test points drawn by seed {seed}{', class by class' * (y.dtype.kind != 'f')}"
    if table.columns:  # a column that does not vary says nothing and is 0, whatever the test rows hold there
        scale = replace(scale, size=np.where(varies, scale.size * np.sqrt(varies.mean()), np.inf))
    inputs = _in_units(scale, X, X_test)
    if y.dtype.kind == "f":
        aim = Scale.of(y, each=True)
        mean, unit = aim.unit * aim.centre, aim.unit * aim.size
        if not np.all(unit > 0):
            fix = "More train rows, or another seed, may have others." if np.ptp(table.y, axis=0).any() else ""
            raise InputError("y", f"targets of the {len(y)} train rows that are all equal", "targets that vary", fix)
        words = f"targets standardised by the train points: mean {_number(mean)}, standard deviation {_number(unit)}"
        aims = _in_units(aim, y, y_test)
        notes = (*table.notes, note, scaled, words)
        return Task(table.name, "regression", inputs[0], aims[0], inputs[1], aims[1], (), tuple(map(float, unit)), notes)
    classes, numbered = np.unique(np.concatenate([y, y_test]), return_inverse=True)
    aims = one_hot(numbered, len(classes))
    words = f"{len(classes)} classes as centred one-hot targets (1 - 1/k in the class's column, -1/k elsewhere)"
    names = tuple(str(c) for c in classes.tolist())
    split, ones, notes = len(y), (1.0,) * len(classes), (*table.notes, note, scaled, words)
    return Task(table.name, "classification", inputs[0], aims[:split], inputs[1], aims[split:], names, ones, notes)


def _in_units(scale: Scale, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Train and test rows in units of the train rows."""
    with np.errstate(over="ignore"):
        held = scale(test)
    if not np.isfinite(held).all():
        got = f"test rows with numbers of size {float(abs(test).max()):.3g}, which do not fit float64 in units of the train rows"
        raise InputError("data", got, "test rows of about the size of the train rows")
    return scale(train), held


def _number(values: np.ndarray) -> str:
    return ", ".join(f"{v:.4g}" for v in np.atleast_1d(values)[:3]) + (", ..." if np.size(values) > 3 else "")


def _split(table: Table, train: int | None, test: int | None, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Train and test rows, drawn class by class in proportion, every class at least once among the train rows."""
    y = table.y if table.y.dtype.kind != "f" or table.y.ndim == 2 else table.y[:, None]
    _check_labels(table.y)
    rows, classes = len(table.X), 0 if y.dtype.kind == "f" else len(np.unique(y))
    if table.X_test is not None and table.y_test is not None:
        y_held = table.y_test if table.y_test.dtype.kind != "f" or table.y_test.ndim == 2 else table.y_test[:, None]
        if y_held.dtype.kind != y.dtype.kind or y_held.shape[1:] != y.shape[1:]:
            need = f"the kind of y_train ({y.dtype}, shape {y.shape})"
            raise InputError("y_test", f"entries of type {y_held.dtype}, shape {y_held.shape}", need)
        unknown = [] if y.dtype.kind == "f" else np.setdiff1d(y_held, y).tolist()
        if unknown:
            raise InputError("y_test", f"the class {str(unknown[0])!r}, which no train row has", "classes of y_train only")
        n = _size(train, "train", rows, max(DEFAULT_TRAIN, classes))
        m = _size(test, "test", len(y_held), DEFAULT_TEST)
        first, second = _drawn(y, n, rng, 1), _drawn(y_held, m, rng, 0)
        return table.X[first], y[first], table.X_test[second], y_held[second]
    if rows < 4:
        raise InputError("data", f"{rows} rows", "at least 4 rows, to train and to test on")
    n = _size(train, "train", rows - 2, max(min(DEFAULT_TRAIN, (2 * rows) // 3), classes))
    m = _size(test, "test", rows - n, min(DEFAULT_TEST, rows - n))
    first = _drawn(y, n, rng, 1)
    left = np.setdiff1d(np.arange(rows), first)
    second = left[_drawn(y[left], m, rng, 0)]
    return table.X[first], y[first], table.X[second], y[second]


def _drawn(y: np.ndarray, many: int, rng: np.random.Generator, least: int) -> np.ndarray:
    """So many rows, at random; of labels, every class in proportion to its rows, with at least `least` rows of each."""
    order = rng.permutation(len(y))
    if y.dtype.kind == "f":
        return order[:many]
    classes, numbered, counts = np.unique(y[order], return_inverse=True, return_counts=True)
    if many < least * len(classes):
        raise InputError("train", str(many), f"at least {len(classes)} points, one of each class")
    share = many * counts / len(y)
    take = np.clip(np.floor(share).astype(int), least, counts)
    while take.sum() != many:  # the class furthest from its share gives or gets a row
        short = take.sum() < many
        free = take < counts if short else take > least
        away = np.where(free, share - take if short else take - share, -np.inf)
        take[np.argmax(away)] += 1 if short else -1
    rank = np.empty(len(y), int)  # of a row among those of its class, in the order drawn
    for k in range(len(classes)):
        mine = numbered == k
        rank[mine] = np.arange(counts[k])
    return order[rank < take[numbered]]


def _size(asked: int | None, name: str, most: int, default: int) -> int:
    if asked is None:
        return min(default, most)
    if not 2 <= asked <= most:
        raise InputError(name, str(asked), f"a number of points from 2 to {most}, by the rows of the data")
    return asked


def _check_labels(y: np.ndarray) -> None:
    if y.dtype.kind == "f":
        return
    k = len(np.unique(y))
    if k < 2:
        raise InputError("y", "one class only", "at least two classes")
    if k > max(2, len(y) // 2):
        fix = "Write numbers to be fitted as decimals (3.0) to have them taken as regression targets."
        raise InputError("y", f"{k} classes in {len(y)} rows", "classes with two rows or more on average", fix)
