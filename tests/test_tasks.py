"""Rows are drawn class by class, so that no class is missing from the train rows."""

import numpy as np
import pytest

from largen.data.files import Table
from largen.data.task import make
from largen.errors import InputError

X = np.random.default_rng(0).normal(size=(3000, 4))


def labels(*counts: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))


@pytest.mark.parametrize("seed", range(10))
def test_five_rows_of_three_thousand_are_drawn(seed: int) -> None:
    task = make(Table("t", X, labels(2995, 5)), seed=seed)
    train, test = (np.unique(y.argmax(1), return_counts=True)[1] for y in (task.y, task.y_test))
    assert train.tolist() == [255, 1] and test.sum() == 256
    assert "class by class" in task.notes[0]


def test_classes_are_drawn_in_proportion_and_no_row_twice() -> None:
    counts = (2000, 700, 250, 49, 1)
    task = make(Table("t", X, labels(*counts)), 300, 200)
    train, test = (np.bincount(y.argmax(1), minlength=5) for y in (task.y, task.y_test))
    assert train[-1] == 1 and test[-1] == 0
    assert np.abs(train - np.array(counts) / 10).max() <= 1 and np.abs(test - np.array(counts) / 15).max() <= 2
    rows = np.concatenate([task.X, task.X_test])
    assert len(np.unique(rows.round(9), axis=0)) == 500


def test_the_same_seed_gives_the_same_rows_and_all_rows_may_be_taken() -> None:
    table = Table("t", X[:40], labels(20, 15, 5))
    one, two, other = (make(table, 30, 10, seed) for seed in (0, 0, 1))
    assert (one.X == two.X).all() and not (one.X == other.X).all()
    assert np.bincount(np.concatenate([one.y, one.y_test]).argmax(1)).tolist() == [20, 15, 5]


def test_many_classes_take_as_many_train_rows_and_fewer_are_refused() -> None:
    table = Table("t", X[:900], np.arange(900) % 300)
    assert len(make(table).X) == 300
    with pytest.raises(InputError, match="`train`: got 299; needed at least 300 points, one of each class"):
        make(table, 299)


def test_real_targets_that_are_equal_in_all_rows_drawn_are_said() -> None:
    y = np.zeros(3000)
    y[:5] = 1.0
    with pytest.raises(InputError, match=r"of the 8 train rows that are all equal; .* More train rows"):
        make(Table("t", X, y), 8)


def test_columns_of_a_table_count_alike() -> None:
    """One column in thousandths, one in thousands, one that does not vary among the train rows."""
    rows = np.random.default_rng(2).normal(size=(60, 3)) * [1e-3, 1e3, 0.0] + [5.0, -7e4, 3.0]
    y = rows[:, 0]
    task = make(Table("t", rows, y, rows[:9] + np.array([0.0, 0.0, 1.0]), y[:9], columns=True))
    np.testing.assert_allclose(task.X.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose((task.X**2).mean(0), [1.5, 1.5, 0.0], rtol=1e-12)  # together |x|^2/n_0 = 1
    assert not task.X_test[:, 2].any()
    one = make(Table("t", rows, y, rows[:9], y[:9]))
    assert (one.X[:, 0] ** 2).mean() < 1e-9
