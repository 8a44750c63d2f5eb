"""Kernels at every size: all named activations, one and three hidden layers, variances 1e-12 to 1e12, 1 - c from 0 to 2, equal and unequal
norms, in both dtypes, relative to sqrt(K_ii K_jj) and sqrt(Theta_ii Theta_jj). The truth is that of the inputs as rounded: closed forms in
mpmath with 120 digits, the others by an independent rule in NumPy (`panels.py`), frozen and checked here."""

import math
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import panels
import pytest

import largen as lg
from largen.errors import AccuracyWarning, InputError
from largen.types import island

DIGITS = 120
HIDDEN = (1, 3)
ALLOWED = {"float64": 1e-9, "float32": 1e-5}
SINGLE = (1e-12, 1.0, 1e3, 1e9)  # sizes in float32; most of these are computed as those of float64 are,
ROUNDED = (1.0, 1e9)  # and so are all expectations by quadrature, which take long
Moments = Callable[[Any, Any, Any], tuple[Any, Any]]  # q1, q2, k -> E[phi phi], E[phi' phi'] in mpmath


# ---------------------------------------------------------------- the truth of closed forms


def _erf(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    D = (1 + 2 * q1) * (1 + 2 * q2)
    return 2 / mp.pi * mp.asin(2 * k / mp.sqrt(D)), 4 / mp.pi / mp.sqrt(D - 4 * k * k)


def _gelu(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    D = (1 + q1) * (1 + q2) - k * k
    angle = mp.atan2(mp.sqrt(D), -k)
    edge = q1 * q2 + k * k - k * k * (q1 / (1 + q1) + q2 / (1 + q2))
    slope = angle + k * (1 / (1 + q1) + 1 / (1 + q2) + 1 / D) / mp.sqrt(D)
    return (k * angle + edge / mp.sqrt(D)) / (2 * mp.pi), slope / (2 * mp.pi)


def _sin(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    e = mp.exp(-(q1 + q2) / 2)
    return e * mp.sinh(k), e * mp.cosh(k)


def _cos(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    return _sin(q1, q2, k)[::-1]


def _exp(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    return (mp.exp((q1 + q2) / 2 + k),) * 2


def _rbf(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    e = mp.exp(-(q1 + q2 - 2 * k))
    return e, 2 * e


def _gaussian(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    D = (1 + 2 * q1) * (1 + 2 * q2) - 4 * k * k
    return 1 / mp.sqrt(D), 4 * k / mp.sqrt(D) ** 3


def _gabor(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    """E[phi' phi'] with phi' = exp(-z^2) (cos z - 2 z sin z), by moments under the Gaussian of covariance (K^-1 + 2)^-1."""
    det, D = q1 * q2 - k * k, (1 + 2 * q1) * (1 + 2 * q2) - 4 * k * k
    a, b, c = (q1 + 2 * det) / D, (q2 + 2 * det) / D, k / D
    e = mp.exp(-(a + b) / 2)
    cc, ss = e * mp.cosh(c), e * mp.sinh(c)
    one, other = b * cc - c * ss, a * cc - c * ss
    both = c * ss + _stein(a, b, c, cc, ss)
    return ss / mp.sqrt(D), (cc - 2 * one - 2 * other + 4 * both) / mp.sqrt(D)


def _stein(a: Any, b: Any, c: Any, cc: Any, ss: Any) -> Any:
    """E[z1 z2 sin z1 sin z2] - c E[sin sin]: E[z1 F] = a E[dF/dz1] + c E[dF/dz2], F = z2 sin z1 sin z2, once more for what is left."""
    # E[z2 cos z1 sin z2] = b E[cos cos] - c E[sin sin];  E[z2 sin z1 cos z2] = -b E[sin sin] + c E[cos cos]
    return a * (b * cc - c * ss) + c * (c * cc - b * ss)


def _homogeneous(up: float, down: float) -> Moments:
    def moments(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
        size = mp.sqrt(q1 * q2)
        t = mp.acos(max(min(k / size, mp.mpf(1)), mp.mpf(-1)))
        A, J = (mp.mpf(up) ** 2 + mp.mpf(down) ** 2) / 2, (mp.mpf(up) - mp.mpf(down)) ** 2
        return A * k + size * J / (2 * mp.pi) * (mp.sin(t) - t * mp.cos(t)), A - J * t / (2 * mp.pi)

    return moments


def _sign(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
    return 2 / mp.pi * mp.asin(max(min(k / mp.sqrt(q1 * q2), mp.mpf(1)), mp.mpf(-1))), mp.mpf(0)


def _arc_cosine(p: int) -> Moments:
    """Cho and Saul: J_n = (2n - 1) cos J_(n-1) + (n - 1)^2 sin^2 J_(n-2)."""

    def moments(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
        size = mp.sqrt(q1 * q2)
        c = max(min(k / size, mp.mpf(1)), mp.mpf(-1))
        t, s = mp.acos(c), mp.sqrt((1 - c) * (1 + c))
        J = [mp.pi - t, s + (mp.pi - t) * c]
        for n in range(2, p + 1):
            J.append((2 * n - 1) * c * J[n - 1] + (n - 1) ** 2 * s * s * J[n - 2])
        return size**p * J[p] / (2 * mp.pi), p * p * size ** (p - 1) * J[p - 1] / (2 * mp.pi)

    return moments


def _polynomial(coefficients: list[Any]) -> Moments:
    """sum_m k^m/m! E[phi^(m)(z1)] E[phi^(m)(z2)], and the same from m = 1 on for the derivative."""
    rows, c = [], coefficients
    while c:
        rows.append([v * mp.fac2(i - 1) for i, v in enumerate(c) if i % 2 == 0] if len(c) > 1 else c)
        c = [i * v for i, v in enumerate(c)][1:]
    rows = [row[::-1] for row in rows]

    @lru_cache
    def means(q: Any) -> list[Any]:
        return [mp.polyval(row, q) for row in rows]

    def moments(q1: Any, q2: Any, k: Any) -> tuple[Any, Any]:
        products = [a * b / mp.factorial(m) for m, (a, b) in enumerate(zip(means(q1), means(q2), strict=True))]
        slopes = [m * v for m, v in enumerate(products)][1:] or [mp.mpf(0)]
        return mp.polyval(products[::-1], k), mp.polyval(slopes[::-1], k)

    return moments


def _hermite(weights: dict[int, Any]) -> list[Any]:
    """Power coefficients of sum_m w_m h_m."""
    total = [mp.mpf(0)] * (max(weights) + 1)
    for m, w in weights.items():
        for j in range(m // 2 + 1):
            total[m - 2 * j] += w * mp.sqrt(mp.factorial(m)) * (-1) ** j / (mp.mpf(2) ** j * mp.factorial(j) * mp.factorial(m - 2 * j))
    return total


def _exp_normalized() -> list[Any]:
    weights, m = {0: mp.exp(mp.mpf(-1) / 2)}, 0
    while weights[m] > 1e-9:
        m += 1
        weights[m] = weights[m - 1] / mp.sqrt(m)
    return _hermite(weights)


with mp.workdps(DIGITS):
    CLOSED: dict[str, Moments] = {
        "linear": lambda q1, q2, k: (k, mp.mpf(1)),
        "relu": _homogeneous(1, 0),
        "leaky_relu(0.3)": _homogeneous(1, 0.3),
        "abs": _homogeneous(1, -1),
        "sign": _sign,
        "erf": _erf,
        "gelu": _gelu,
        "sin": _sin,
        "cos": _cos,
        "exp": _exp,
        "rbf": _rbf,
        "gaussian": _gaussian,
        "gabor": _gabor,
        "monomial(3)": _polynomial([mp.mpf(v) for v in (0, 0, 0, 1)]),
        "quadratic": _polynomial([mp.mpf(v) for v in (0, 0, 1)]),
        "polynomial(1, 0.5, -2, 0.25)": _polynomial([mp.mpf(v) for v in (1, 0.5, -2, 0.25)]),
        "hermite(4)": _polynomial(_hermite({4: mp.mpf(1)})),
        "hermite(30)": _polynomial(_hermite({30: mp.mpf(1)})),
        "exp_normalized": _polynomial(_exp_normalized()),
        "rectified_monomial(2)": _arc_cosine(2),
        "rectified_monomial(5)": _arc_cosine(5),
        "rectified_monomial(30)": _arc_cosine(30),
    }


@lru_cache
def exact_pairs() -> list[list[tuple[Any, Any, Any]]]:
    """(q1, q2, k) of every size and pair."""
    with mp.workdps(DIGITS):
        found = []
        for row in panels.points():
            x, *others = [[mp.mpf(float(v)) for v in y] for y in row]
            dot = [[sum(i * j for i, j in zip(a, b, strict=True)) / 2 for a, b in ((x, x), (y, y), (x, y))] for y in others]
            found.append([tuple(moments) for moments in dot])
        return found


def closed_truth(moments: Moments, q1: Any, q2: Any, k: Any) -> list[list[Any]]:
    """[K of 12, 11, 22, Theta of 12, 11, 22] after every hidden layer up to the last."""
    with mp.workdps(DIGITS):
        K, Theta, out = [k, q1, q2], [k, q1, q2], []
        for _ in range(max(HIDDEN)):
            if not all(mp.mpf(10) ** -320 < v < mp.mpf(10) ** 320 for v in K[1:]):
                break  # beyond any dtype
            found = [moments(a, b, c) for a, b, c in ((K[1], K[2], K[0]), (K[1],) * 3, (K[2],) * 3)]
            K = [value for value, _ in found]
            Theta = [value + slope * t for (value, slope), t in zip(found, Theta, strict=True)]
            out.append([*K, *Theta])
        return out


@lru_cache
def truth(name: str) -> np.ndarray:
    """(sizes, pairs, hidden, 6) as `closed_truth`, infinite where it fits no float64, here or in a layer before."""
    shape = len(panels.SIZES), len(panels.RATIOS) * len(panels.VERSINES), len(HIDDEN), 6
    out = np.full(shape, np.inf)
    if name in panels.FUNCTIONS:
        return np.load(panels.FROZEN)[name].reshape(shape)
    for i, row in enumerate(exact_pairs()):
        for j, pair in enumerate(row):
            levels = closed_truth(CLOSED[name], *pair)
            for h, depth in enumerate(HIDDEN):
                if len(levels) >= depth:
                    out[i, j, h] = [float(v) for v in levels[depth - 1]]
    return out


# ---------------------------------------------------------------- tests


def fits(values: np.ndarray, dtype: str) -> np.ndarray:
    """Where the truth (pairs, hidden, 6) of a row fits the dtype."""
    info, sizes = np.finfo(dtype), np.abs(values[..., [1, 2, 4, 5]])
    return np.asarray(np.isfinite(values).all(-1) & (sizes < info.max / 4).all(-1) & (sizes > info.tiny).all(-1))


def asked(name: str, row: np.ndarray, good: np.ndarray) -> tuple[tuple[int, ...], Any] | None:
    """Kernels of the first point of a row with the others, and the depths at which they were asked for: where three layers leave the floats
    one may not. None where neither fits, of which `good` (pairs, hidden) has to know."""
    for depths in (HIDDEN, HIDDEN[:1]):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=r"\|x\|")
                net = lg.mlp(widths=[1] * max(depths), out=1, activation=name, C_W=1.0)
                return depths, lg.kernel(net, row[:1], row[1:], layer="all")
        except InputError:
            assert not good[:, : len(depths)].all()
    return None


def rows_of(name: str, row: np.ndarray, good: np.ndarray) -> Iterator[tuple[slice, tuple[int, ...], Any]]:
    """All pairs of a row at once, where all fit; else one ratio of sizes after the other."""
    whole = asked(name, row, good)
    if whole is not None and whole[0] == HIDDEN:
        yield slice(None), *whole
        return
    count = len(panels.VERSINES)
    for at in (slice(k * count, (k + 1) * count) for k in range(len(panels.RATIOS))):
        part = asked(name, np.concatenate([row[:1], row[1:][at]]), good[at]) if good[at].any() else None
        if part is not None:
            yield at, *part


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLOSED, *panels.FUNCTIONS])
def test_named_activations_at_every_size(name):
    X, right, checked = panels.points(), truth(name), 0
    single = ROUNDED if name in panels.FUNCTIONS else SINGLE
    for dtype, allowed in ALLOWED.items():
        for K, row, want in zip(panels.SIZES, X.astype(dtype), right, strict=True):
            good = fits(want, dtype)
            if not good.any() or (dtype == "float32" and K not in single):
                continue
            for at, depths, out in rows_of(name, row, good):
                for h, depth in enumerate(depths):
                    for part, found in enumerate((out.nngp, out.ntk)):
                        fit = good[at, h]
                        truths, got = want[at][fit, h, 3 * part : 3 * part + 3], found[depth, 0][fit].astype(float)
                        scale = np.sqrt(np.abs(truths[:, 1])) * np.sqrt(np.abs(truths[:, 2]))
                        off = np.abs(got - truths[:, 0])
                        bad = ~(off <= allowed * scale)
                        assert not bad.any(), (dtype, K, at, depth, part, off[bad] / scale[bad], np.flatnonzero(fit)[bad])
                        checked += fit.sum()
    assert checked > 50


def one_layer(activation: Any, X: np.ndarray, C_W: float = 1.0) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\|x\|")
        return lg.kernel(lg.mlp(widths=[1], out=1, activation=activation, C_W=C_W), X)


@pytest.mark.parametrize(
    ("activation", "single", "double"), [("erf", 67525.22, 6.7523725e7), ("gelu", 7.500006e9, 7.5e15), ("gaussian", 53033.01, None)]
)
def test_closed_forms_of_large_points(activation, single, double):
    """Inputs (1e5, 1, 2) in float32, (1e8, 1, 2) in float64."""
    assert one_layer(activation, np.array([[1e5, 1, 2]], np.float32), 1.5).ntk[0, 0] == pytest.approx(single, rel=2e-7)
    if double:
        assert one_layer(activation, np.array([[1e8, 1.0, 2.0]]), 1.5).ntk[0, 0] == pytest.approx(double, rel=2e-8)


RIGHT = {("tanh", 1e4): 54.183468, ("tanh", 1e6): 532.922, ("arctan", 1e6): 629.106, ("sigmoid", 1e6): 66.990, ("softsign", 1e6): 266.951}


@pytest.mark.parametrize(("activation", "K"), RIGHT)
def test_one_large_input(activation, K):
    out = one_layer(activation, np.array([[K**0.5]]))
    assert out.ntk[0, 0] == pytest.approx(RIGHT[activation, K], rel=1e-6)
    assert out.error < 1e-6


@pytest.mark.parametrize("p", [5, 10, 20, 30])
def test_powers_above_zero(p):
    """<phi phi> = (2p - 1)!!/2 at variance 1, in closed form and by quadrature that reaches as far as phi grows."""
    own = lg.activation(lambda z: jnp.maximum(z, 0) ** p, kinks=(0.0,))
    want = math.prod(range(1, 2 * p, 2)) / 2
    assert one_layer(f"rectified_monomial({p})", np.ones((1, 1))).nngp[0, 0] == pytest.approx(want, rel=1e-13)
    out = one_layer(own, np.ones((1, 1)))
    error = abs(out.nngp[0, 0] / want - 1)
    assert error < 1e-9 and error / 100 < out.error < 1e-8


OWN = {
    "size": (lambda z: jnp.tanh(5 * z), 30.0, "are large on the scale"),
    "kink": (lambda z: jnp.maximum(z - 0.7, 0), 1.0, "kink near z = 0.7"),
    "growth": (lambda z: jnp.exp(0.4 * z), 500.0, "grows exponentially"),
}


@pytest.mark.parametrize("cause", OWN)
def test_doubtful_expectations_name_their_cause(cause):
    fn, K, sentence = OWN[cause]
    with pytest.warns(AccuracyWarning, match=sentence):
        out = one_layer(lg.activation(fn), np.array([[K**0.5]]))
    z = np.sqrt(K) * np.linspace(-30, 30, 2_000_001)
    density = np.exp(-z * z / (2 * K) - np.log(2 * np.pi * K) / 2) * (z[1] - z[0])
    with island():
        f = np.asarray(fn(jnp.asarray(z)))
    slope = np.gradient(f, z)
    true = [(f * f * density).sum(), (f * f * density).sum() + K * (slope * slope * density).sum()]
    error = max(abs(out.nngp[0, 0] / true[0] - 1), abs(out.ntk[0, 0] / true[1] - 1))
    assert error / 3 < out.error


def test_signal_carries_the_error():
    phi = lg.activation(lambda z: jnp.maximum(z - 0.7, 0))
    with pytest.warns(AccuracyWarning, match=r"kink near z = 0\.7"):
        assert lg.signal(lg.mlp(widths=[1], out=1, activation=phi, C_W=1.0), np.ones((1, 1))).error > 1e-6


def test_panels_against_adaptive_quadrature():
    """The independent rule itself: diagonals by mpmath in one dimension, and its frozen values again."""
    functions = {
        "tanh": (mp.tanh, lambda z: mp.sech(z) ** 2),
        "elu": (lambda z: z if z > 0 else mp.expm1(z), lambda z: mp.mpf(1) if z > 0 else mp.exp(z)),
        "arctan": (mp.atan, lambda z: 1 / (1 + z * z)),
    }
    for name, (f, slope) in functions.items():
        for K in (1e-6, 1.0, 1e6):
            found = panels.moments(name, K, K, 0.0, 2.0, 16)[:2]
            cuts = [s * v for s in (-1, 1) for v in (*(2.0 ** np.arange(-3, 6)), *(K**0.5 * 2.0 ** np.arange(-9, 4)), 12 * K**0.5)]
            cuts = sorted(c for c in {0.0, *cuts} if abs(c) <= 12 * K**0.5)
            for value, g in zip(found, (f, slope), strict=True):
                want: Any = mp.quad(lambda z, g=g, K=K: g(z) ** 2 * mp.exp(-z * z / (2 * K)) / mp.sqrt(2 * mp.pi * K), cuts)
                assert value == pytest.approx(float(want), rel=1e-12)
    X, frozen = panels.points(), np.load(panels.FROZEN)
    for name, i, j in (("tanh", 4, 2), ("softsign", 5, 9), ("hardtanh", 2, 1), ("mish", 6, 11)):
        again = panels.kernels(name, panels.exact(X[i, 0], X[i, 1 + j]), 11)[[0, 2]]
        np.testing.assert_allclose(again, frozen[name][i, j], rtol=0, atol=1e-11 * np.abs(again).max())


@pytest.mark.parametrize("activation", ["erf", "gelu"])
def test_gram_of_large_points_is_the_kernel(activation):
    """More points than the recursion takes by itself, of nearly equal norms, K about 1e4; others: benchmarks/large_sizes.py."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(140, 3))
    X *= 170 / np.linalg.norm(X, axis=1, keepdims=True)
    net = lg.mlp(widths=[1], out=1, activation=activation, C_W=1.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\|x\|")
        table, some = lg.gram(net, X.astype(np.float32)), lg.kernel(net, X[:3].astype(np.float32), X[:8].astype(np.float32))
    for a, b in ((table.nngp, some.nngp), (table.ntk, some.ntk)):
        assert np.abs(a[:3, :8].astype(float) - b).max() <= 1e-5 * np.abs(b).max()


@pytest.mark.slow
def test_derivatives_of_a_kinked_activation_at_a_large_size():
    X = np.random.RandomState(0).randn(2, 3) * 100

    def entries(C_W):
        out = lg.kernel(lg.mlp(widths=[1], out=1, activation="elu", C_W=C_W), jnp.asarray(X))
        return out.nngp[0, 1], out.ntk[0, 1], out.ntk[0, 0]

    with island(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # points of size 1e4
        got, step = jax.jacfwd(entries)(1.5), 1e-3
        want = [(up - down) / (2 * step) for up, down in zip(entries(1.5 + step), entries(1.5 - step), strict=True)]
    np.testing.assert_allclose(got, want, rtol=1e-7)
