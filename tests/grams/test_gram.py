"""lg.gram against lg.kernel in float64, on points with near-duplicates and antipodes; its forms, its refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen.architecture.branches import settled
from largen.architecture.nodes import network
from largen.errors import InputError, UnsupportedError
from largen.grams import engine as room, plan
from largen.grams.blocks import Layout, compute, one_block
from largen.grams.tables.angles import Rows
from largen.grams.tables.curve import CLOSE, arcsine, at_end, at_middle, build
from largen.grams.tables.features import grid
from largen.grams.tables.one_variable import one_variable
from largen.grams.tables.powers import powers, split
from largen.grams.tables.separable import separable
from largen.grams.tiles import Stretch, stretches
from largen.parametrizations.rates import resolve

pytestmark = pytest.mark.slow

N, D = 203, 30


def points(equal: bool = False, n: int = N, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """Rows with near-duplicates at distances 1e-1 to 1e-5 of row 0, its antipode, its double and a multiple of it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D))
    step = rng.normal(size=(5, D))
    X[1:6] = X[0] + np.array([1e-1, 1e-2, 1e-3, 1e-4, 1e-5])[:, None] * step
    X[6], X[7], X[8], X[9] = -X[0], X[0], 3 * X[0], -X[3]
    if equal:
        X /= np.sqrt((X**2).mean(1, keepdims=True))
    return X.astype(dtype)


def worst(got: Any, wanted: Any) -> float:
    """The largest difference of K or Theta, relative to the largest entry."""
    rows = zip((got.nngp, got.ntk), (wanted.nngp, wanted.ntk), strict=True)
    return max(float(np.abs(np.asarray(a, np.float64) - b).max() / np.abs(b).max()) for a, b in rows)


def tabulated(net: Any, X: np.ndarray, rates: Any = "ntk", work: str = "float64") -> Any:
    whole, rows = settled(network(net), X.shape[1:]), Rows(X, work)
    return one_variable(whole, resolve(whole, rates), rows, rows)


def net(activation: str, depth: int, C_W: float, C_b: float = 0.0) -> Any:
    return lg.mlp(widths=[8] * (depth - 1), out=1, activation=activation, C_W=C_W, C_b=C_b)


RELU = net("relu", 3, 2.0)
NORMED = lg.Dense(8) >> lg.LayerNorm() >> lg.Act("gelu") >> lg.Dense(8, 2.0, 0.1) >> lg.Act("relu") >> lg.Dense(1)

GATED = (
    lg.Dense(8)
    >> lg.Concat(lg.Act("relu"), lg.Product(lg.Act("relu"), lg.RMSNorm() >> lg.Act("gelu") >> lg.Dense(8)))
    >> lg.RMSNorm()
    >> lg.Dense(1)
)

FREE = {  # one variable whatever the norms
    "relu 50": net("relu", 50, 2.0),
    "relu 10": net("relu", 10, 2.0),
    "gated": GATED,
    "abs 10": net("abs", 10, 1.0),
    "leaky 10": net("leaky_relu(0.3)", 10, 1.8),
    "residual": lg.resnet_mlp(8, blocks=8, activation="relu", skip=0.8, C_W=1.0),
    "normed": NORMED,
}
EQUAL = {  # one variable at equal norms
    "relu 10": net("relu", 10, 2.0, 0.1),
    "erf 50": net("erf", 50, 2.0, 0.01),
    "gelu 50": net("gelu", 50, 2.0, 0.01),
    "sin 3": net("sin", 3, 1.5, 0.2),
    "normed residual": lg.resnet_mlp(8, blocks=8, activation="gelu", C_W=1.5, C_b=0.1, norm=True),
    "tanh 2": net("tanh", 2, 1.5, 0.1),
}


SHORT = ("relu 50", "erf 50")  # the others are slow, for what they compile
CASES = [
    pytest.param(equal, name, marks=() if name in SHORT else pytest.mark.slow)
    for equal, nets in ((False, FREE), (True, EQUAL))
    for name in nets
]


@pytest.mark.parametrize(("equal", "name"), CASES)
def test_it_agrees_with_the_recursion(equal: bool, name: str) -> None:
    what = (EQUAL if equal else FREE)[name]
    X = points(equal, dtype=np.float64)
    assert tabulated(what, X) is not None
    wanted = lg.kernel(what, X)
    out = lg.gram(what, X)
    assert out.nngp.dtype == out.ntk.dtype == np.float64 and out.error <= 1e-9
    assert worst(out, wanted) <= 1e-9
    for got in (out, single := lg.gram(what, X, dtype="float32")):
        assert (got.nngp == got.nngp.T).all() and (got.ntk == got.ntk.T).all()
    assert single.ntk.dtype == np.float32 and worst(single, wanted) <= 2e-6
    rough = X.astype(np.float32)
    assert worst(lg.gram(what, rough), lg.kernel(what, rough.astype(np.float64))) <= 1e-5


def test_chaotic_networks_take_the_logarithm_of_the_angle() -> None:
    X = points(equal=True)
    for what, low, high in ((EQUAL["erf 50"], 0, 1e-2), (EQUAL["gelu 50"], 1, 1), (EQUAL["relu 10"], 1, 1)):
        found = tabulated(what, X, work="float32")
        assert found is not None and low <= found.curve.u0 <= high and found.error <= 5e-7


@pytest.mark.parametrize("rates", [(1.0, 0.5), (0.0, 1.0), ((0.3, 0.0, 0.2), (1.0, 2.0, 0.0))])
@pytest.mark.parametrize("what", [RELU, NORMED])
def test_rates_have_powers_of_their_own(what: Any, rates: Any) -> None:
    X = points(dtype=np.float64)
    assert tabulated(what, X, rates) is not None
    assert worst(lg.gram(what, X, rates=rates), lg.kernel(what, X, rates=rates)) <= 1e-9
    assert worst(lg.gram(what, X, rates=rates, dtype="float32"), lg.kernel(what, X, rates=rates)) <= 2e-6


def test_powers_of_each_rate() -> None:
    relu = network(net("relu", 2, 2.0))
    found = powers(relu, resolve(relu, (1.0, 1.0)))
    assert found.K == 1 and found.Theta == {("dense1", 0): 0, ("dense1", 1): 1, ("dense2", 0): 0, ("dense2", 1): 1}
    assert list(split(resolve(relu, (1.0, 1.0)), found)) == [0, 1] and list(split(resolve(relu), found)) == [1]
    assert powers(NORMED, resolve(NORMED)).K == 0
    gated = powers(GATED, resolve(GATED))
    assert gated.K == 0 and gated.Theta[("dense1", 1)] == 0 and gated.Theta[("dense1", 0)] == -1
    assert powers(network(lg.Dense(8) >> lg.Product(lg.Act("relu"), lg.Identity())), {"dense1": (1.0, 1.0)}).K == 2
    for other in (net("relu", 2, 2.0, 0.1), net("tanh", 2, 1.0), lg.resnet_mlp(8, blocks=1, activation="relu", norm=True)):
        assert powers(network(other), resolve(other)).K is None


def test_two_sets_of_points() -> None:
    X, Z = points(dtype=np.float64), points(n=150, seed=1, dtype=np.float64)
    Z[3:5] = X[0], -X[2]
    out, wanted = lg.gram(RELU, X, Z), lg.kernel(RELU, X, Z)
    assert out.nngp.shape == (N, 150) and worst(out, wanted) <= 1e-9
    assert worst(lg.gram(RELU, X.astype(np.float32), Z), wanted) <= 2e-7 * N  # float64 by promotion
    row = lg.gram(RELU, X[:1], np.tile(Z, (120, 1)))
    np.testing.assert_allclose(row.ntk, np.tile(wanted.ntk[:1], 120), atol=1e-9)


@pytest.mark.parametrize("what", [pytest.param(net("gelu", 3, 2.0, 0.1), marks=pytest.mark.slow), net("relu", 3, 2.0, 0.1)])
def test_other_networks_go_through_the_recursion(what: Any) -> None:
    X = points(dtype=np.float64)
    assert tabulated(what, X) is None
    out, wanted = lg.gram(what, X), lg.kernel(what, X)
    assert worst(out, wanted) <= 1e-13 and (out.ntk == out.ntk.T).all()
    cross = lg.gram(what, X, X[:140])
    np.testing.assert_allclose(cross.ntk, wanted.ntk[:, :140], rtol=1e-12)
    assert worst(lg.gram(what, X, dtype="float32"), wanted) <= 1e-5


def apart(n: int) -> np.ndarray:
    """Rows with norms over a factor of 4, near-duplicates, parallels and antipodes among them."""
    X = points(equal=True, n=n, dtype=np.float64) * np.random.default_rng(1).uniform(0.5, 2, (n, 1))
    X[20:30] = X[0] * (1 + np.geomspace(1e-5, 0.5, 10))[:, None]
    return X.astype(np.float32)


@pytest.mark.parametrize("activation", ["gelu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("erf", "tanh"))])
def test_smooth_networks_on_unlike_norms_have_a_separable_table(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "DEEP", {"float32": 1, "float64": 1})
    monkeypatch.setattr(room, "kernel", lambda *_: pytest.fail("went through the recursion"))
    what, X = net(activation, 4, 1.96, 0.1), apart(750)
    rows = Rows(X, "float32")
    assert separable(network(what), resolve(network(what)), rows, rows) is not None
    out, wanted = lg.gram(what, X), lg.kernel(what, X[:40].astype(np.float64), X.astype(np.float64))
    assert out.error <= 2e-6 and (out.ntk == out.ntk.T).all() and (out.nngp == out.nngp.T).all()
    for got, true in ((out.nngp, wanted.nngp), (out.ntk, wanted.ntk)):
        assert np.abs(got[:40] - true).max() <= 3e-6 * np.abs(got).max()
    cross = lg.gram(what, X, X[::-1], rates=(0.5, 1.0))
    wanted = lg.kernel(what, X[:40].astype(np.float64), X[::-1].astype(np.float64), rates=(0.5, 1.0))
    assert np.abs(cross.ntk[:40] - wanted.ntk).max() <= 3e-6 * np.abs(cross.ntk).max()


@pytest.mark.slow
def test_smooth_networks_have_a_separable_table_in_float64_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "DEEP", {"float64": 1})
    what, X = net("gelu", 3, 1.5, 0.1), apart(750).astype(np.float64)
    rows = Rows(X, "float64")
    table = separable(network(what), resolve(network(what)), rows, rows)
    assert table is not None and table.error <= 1e-9
    out, wanted = lg.gram(what, X), lg.kernel(what, X[:40], X)
    assert out.ntk.dtype == np.float64 and out.error == table.error and (out.ntk == out.ntk.T).all()
    for got, true in ((out.nngp, wanted.nngp), (out.ntk, wanted.ntk)):
        assert np.abs(got[:40] - true).max() <= 1e-9 * np.abs(got).max()


def test_features_are_the_kernels_of_the_recursion() -> None:
    branches = lg.Concat(lg.Act("sin"), lg.Product(lg.Act("sin"), lg.LayerNorm() >> lg.Act("sin") >> lg.Dense(8)))
    block = lg.Sum(lg.Identity(), branches >> lg.Dense(8, 1.3, 0.1), weights=(0.7, 1.0))
    what = settled(network(lg.Dense(8, 1.5, 0.1) >> block >> lg.RMSNorm(0.1) >> lg.Act("sin") >> lg.Dense(1, 2.0)), (2,))
    q, c = np.array([0.3, 1.0, 4.0]), np.array([-0.9, 0.0, 0.7])
    angle = np.arccos(c)
    X, Z = np.sqrt(2 * q)[:, None] * [1.0, 0.0], np.sqrt(2 * q)[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    found, error = grid(what, resolve(what), q, c)
    wanted = lg.kernel(what, X, Z.reshape(9, 2))
    np.testing.assert_allclose(found[0].reshape(3, 9), wanted.nngp, atol=1e-9)
    np.testing.assert_allclose(found[1].reshape(3, 9), wanted.ntk, atol=1e-9)
    assert error <= 1e-9


@pytest.mark.slow
def test_chaos_has_no_separable_table() -> None:
    what, rows = network(net("erf", 50, 2.0, 0.01)), Rows(apart(100), "float32")
    assert separable(what, resolve(what), rows, rows) is None


@pytest.mark.parametrize(("name", "engines"), [("relu", (plan.COSINE, plan.RECURSION)), ("erf", (plan.COSINE, plan.NORMS, plan.RECURSION))])
def test_kinks_have_no_separable_table(name: str, engines: tuple[str, ...]) -> None:
    what = network(net(name, 5, 2.0, 0.1))
    assert plan.plan(what, resolve(what), (784,), 1000, 1000, "float32").engines == engines


def test_few_points_go_through_the_recursion() -> None:
    X = points(n=12)
    out = lg.gram(RELU, X)
    assert worst(out, lg.kernel(RELU, X)) <= 1e-6 and out.nngp.dtype == np.float32 and (out.ntk == out.ntk.T).all()


def test_clustered_points_keep_their_digits() -> None:
    X = np.ones((N, D)) + 1e-3 * points(dtype=np.float64)
    what = FREE["relu 50"]
    wanted = lg.kernel(what, X)
    assert worst(lg.gram(what, X), wanted) <= 1e-9
    assert worst(lg.gram(what, X, dtype="float32"), wanted) <= 2e-6


@pytest.mark.filterwarnings("ignore:.*n_0 is 0 on average")
def test_zero_rows() -> None:
    X = points(dtype=np.float64)
    X[11] = 0
    assert tabulated(RELU, X) is not None and tabulated(NORMED, X) is None
    for rates in ("ntk", (1.0, 1.0)):
        assert worst(lg.gram(RELU, X, rates=rates), lg.kernel(RELU, X, rates=rates)) <= 1e-9
    assert not lg.gram(RELU, np.zeros((N, D))).nngp.any()


def test_a_normalisation_that_is_felt_is_no_power() -> None:
    X = points(dtype=np.float64)
    felt = lg.Dense(8) >> lg.LayerNorm(eps=0.1) >> lg.Act("gelu") >> lg.Dense(1)
    assert powers(felt, resolve(felt)).K == 0 and tabulated(felt, X) is None


class Numbered:
    """Tiles of f(i, j) = 100 i + j, or of a symmetric function; keeps which were asked for."""

    error, which = 0.0, "both"

    def __init__(self, same: bool) -> None:
        self.same, self.asked = same, []

    def whole(self, n1: int, n2: int) -> np.ndarray:
        i, j = np.arange(float(n1))[:, None], np.arange(float(n2))
        return 100 * np.minimum(i, j) + np.maximum(i, j) if self.same else 100 * i + j

    def tile(self, rows: Stretch, columns: Stretch) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append((rows, columns))
        part = self.whole(rows.stop, columns.stop)[rows.start :, columns.start :]
        return part, -part


@pytest.mark.parametrize("same", [False, True])
def test_blocks_of_any_size_hold_the_entries_of_one(same: bool) -> None:
    for n in (1, 7, 10, 23):
        assert {part.stop - part.start for part in stretches(n, 5)} == {min(n, 5)}
        for m in [n] if same else (n, 4, 12):
            for across in (1, 2, 9):
                engine, layout = Numbered(same), Layout(n, m, same, 5, across)
                K, Theta = np.full((n, m), np.nan), np.full((n, m), np.nan)
                for place in layout.places():
                    at, values = layout.slices(place), compute(engine, layout, place, np.float64, 2)
                    K[at], Theta[at] = values
                    if layout.mirrored(place):
                        K[at[::-1]], Theta[at[::-1]] = (value.T for value in values)
                assert np.array_equal(K, engine.whole(n, m)) and np.array_equal(Theta, -K)
                assert len(engine.asked) == len(set(engine.asked))  # every tile once
            one = compute(Numbered(same), one_block(n, m, same, 5), (0, 0), np.float64, 2)
            assert np.array_equal(one[0], K) and np.array_equal(one[1], Theta)


def test_a_function_no_table_follows_has_none() -> None:
    def ask(v: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, float]:
        return np.sin(3e3 * v)[None], 0.0

    assert build(ask, "float32") is None and build(lambda v, sign: (np.full((1, len(v)), np.nan), 0.0), "float32") is None


def test_both_parts_of_a_curve_follow_the_function() -> None:
    def ask(v: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, float]:
        angle = 2 * np.arcsin(np.sqrt(v / 2))
        angle = np.where(sign > 0, angle, np.pi - angle)
        return np.stack([np.exp(-angle), np.cos(3 * angle)]), 0.0

    curve = build(ask, "float64")
    assert curve is not None
    sign, v = np.resize([1.0, -1.0], 50), np.geomspace(1e-12, CLOSE, 50)
    np.testing.assert_allclose(at_end(curve, v, sign > 0), ask(v, sign)[0], atol=1e-13)
    v = np.linspace(CLOSE, 1, 50)
    np.testing.assert_allclose(at_middle(curve, sign * (1 - v)), ask(v, sign)[0], atol=1e-13)
    c = np.r_[np.linspace(-1, 1, 101), 1e-9, 1 - 1e-9, 1e-9 - 1]
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(arcsine)(c), np.arcsin(c), atol=1e-14)
        np.testing.assert_allclose(jax.jit(arcsine)(c.astype(np.float32)), np.arcsin(c.astype(np.float32)), atol=3e-7)


def test_dtypes_and_libraries() -> None:
    what, X = RELU, points()
    out = lg.gram(what, jnp.asarray(X))
    assert isinstance(out.nngp, jax.Array) and out.nngp.dtype == out.error.dtype == jnp.float32
    assert isinstance(lg.gram(what, X).nngp, np.ndarray)
    assert lg.gram(what, X.astype(np.float16)).ntk.dtype == np.float16
    assert lg.gram(what, X, X.astype(np.float64)).ntk.dtype == np.float64
    with pytest.raises(InputError, match=r"np\.asarray\(X\)"):
        lg.gram(what, jnp.asarray(X), dtype="float64")
    for wrong in ("int32", "many", complex):
        with pytest.raises(InputError, match="dtype"):
            lg.gram(what, X, dtype=wrong)


def test_bad_input() -> None:
    what, X = RELU, points()
    for call in (
        lambda: lg.gram(what, X[0]),
        lambda: lg.gram(what, X, X[:, :-1]),
        lambda: lg.gram(what, np.where(X > 2, np.nan, X)),
        lambda: lg.gram(what, X, rates=(1.0,)),
        lambda: lg.gram("relu", X),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(UnsupportedError):
        lg.gram(lg.Act("relu") >> lg.Dense(1), X)


def test_tracing_is_refused_with_the_way_out() -> None:
    what, X = RELU, points()
    for call in (lambda: jax.jit(lambda Z: lg.gram(what, Z).nngp)(X), lambda: jax.grad(lambda w: lg.gram(net("relu", 3, w), X).error)(2.0)):
        with pytest.raises(InputError, match=r"lg\.kernel"):
            call()


def test_what_does_not_fit_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("largen.memory.available", lambda: 1e5)
    monkeypatch.setattr(room, "one_variable", lambda *_: pytest.fail("worked before asking for memory"))
    with pytest.raises(InputError, match="GiB"):
        lg.gram(net("relu", 3, 2.0), points())


def test_progress_counts_tiles(capsys: pytest.CaptureFixture[str]) -> None:
    lg.gram(net("relu", 3, 2.0), points(), progress=True)
    assert "10 of 10 tiles" in capsys.readouterr().err
