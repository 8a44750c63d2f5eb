"""Standardising at every size and dtype that an array can have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen as lg
from largen.data import files, task
from largen.errors import InputError

ROWS = np.array([[1000.0, 2], [3, 500]])
RIGHT = np.array([[1.265, -0.632], [-1.265, 0.632]])
SIZES = (
    [("f2", 1.0), ("f2", 1e-3)] + [("f4", s) for s in (1e-42, 1e-20, 1.0, 1e20, 1e35)] + [("f8", s) for s in (1e-320, 1e-200, 1e200, 1e305)]
)


@pytest.mark.parametrize(("kind", "size"), SIZES)
@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
def test_sizes_do_not_matter(kind, size, as_array):
    if kind == "f8" and as_array is jnp.asarray:
        pytest.skip("float64 is NumPy's")
    X = as_array((ROWS * size).astype(kind))
    out = lg.standardize(X)
    assert type(out) is type(X) and out.dtype == X.dtype
    assert np.allclose(np.asarray(out, float), RIGHT, atol=6e-4 if size < 1e-30 and kind == "f4" else 2e-3 if kind == "f2" else 5e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(-290, 290), st.sampled_from([0.0, 1.0, 1e6]))
def test_the_law(seed, power, offset):
    X = np.random.default_rng(seed).normal(size=(7, 3)) + offset
    out = lg.standardize(X * 10.0**power)
    assert abs(out.mean(0)).max() < 1e-9 and abs((out**2).mean() - 1) < 1e-12
    assert np.allclose(out, lg.standardize(X), atol=1e-9)


def test_constant_columns_are_zero_and_constant_rows_are_refused():
    assert (lg.standardize(np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]]))[:, 0] == 0).all()
    for rows in ([[0.1, 0.3]] * 3, [[1e300, 1e-300]] * 3, np.zeros((2, 2))):
        with pytest.raises(InputError, match="all equal"):
            lg.standardize(np.array(rows))


def test_traced_points_and_their_derivative():
    X = jnp.asarray(ROWS, jnp.float32)
    assert np.allclose(jax.jit(lg.standardize)(X), RIGHT, atol=1e-3)
    slope = jax.grad(lambda points: lg.standardize(points)[0, 0])(X)
    with jax.enable_x64(True):
        step = 1e-3 * np.eye(4).reshape(4, 2, 2)
        wanted = [(lg.standardize(ROWS + e)[0, 0] - lg.standardize(ROWS - e)[0, 0]) / 2e-3 for e in step]
    assert np.allclose(slope.ravel(), wanted, rtol=1e-3)


def test_a_table_with_one_huge_cell(tmp_path):
    rng = np.random.default_rng(0)
    rows = [[f"{v!r}" for v in row] for row in np.column_stack([rng.normal(size=(12, 2)), rng.normal(size=12)]).tolist()]
    rows[3][0] = "1e308"
    path = tmp_path / "huge.csv"
    path.write_text("a,b,y\n" + "\n".join(",".join(row) for row in rows) + "\n")
    table = files.load(str(path))
    made = [task.make(table, train=8, test=4, seed=seed) for seed in range(8)]
    held = [abs(one.X_test).max() > 1e100 for one in made]
    assert any(held) and not all(held)  # the cell among the test rows, and among those that say the scale
    for one in made:
        assert np.isfinite(one.X_test).all() and abs((one.X**2).mean() - 1) < 1e-12


def test_test_rows_that_do_not_fit_in_units_of_the_train_rows_are_refused():
    far = files.Table("far", np.eye(4) * 1e-3, np.arange(4.0), np.full((4, 4), 1e308), np.arange(4.0))
    with pytest.raises(InputError, match="test rows"):
        task.make(far)
