"""Signal propagation: T6, T7, T8 and T14 of the theory page, the printed formulas that are wrong, and laws."""

import math
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import largen
from largen.errors import InputError, UnsupportedError

lg: Any = largen  # records have optional fields; here their values are known

X = np.random.default_rng(3).normal(size=(5, 7))

# ---------------------------------------------------------------- fixed points (T6)

T6 = {
    ("tanh", 1.3, 0.05): (0.31531648, 0.57112348, 0.88016351, "ordered"),
    ("tanh", 2.0, 0.0): (0.61796477, 0.55251600, 1.10552882, "chaotic"),
    ("tanh", 1.0, 0.1): (0.29498506, 0.45648689, 0.68883892, "ordered"),
    ("sin", 1.5, 0.0): (0.43710873, 0.62578253, 1.06289127, "chaotic"),
    ("gelu", 1.5, 0.1): (0.19192543, 0.55740945, 0.50710987, "ordered"),
    ("relu", 1.5, 0.1): (0.4, 0.75, 0.75, "ordered"),
}


@pytest.mark.parametrize("case", T6)
def test_T6_trivial_fixed_points(case):
    point = lg.fixed_points(*case)
    K, par, perp, phase = T6[case]
    np.testing.assert_allclose([point.K[0], point.chi_par[0], point.chi_perp[0]], [K, par, perp], atol=6e-9)
    assert point.phase == phase and point.stable[0]
    assert point.xi_q[0] == pytest.approx(-1 / math.log(par), rel=1e-7)


def test_T6_the_lines_of_tanh_through_K_1():
    """chi_perp = 1 through K = 1 lies at (2.15330265, .15096463); chi_par = 1 for K > 0 lies at C_b < 0."""
    diagram = lg.phase_diagram("tanh", C_W=[1.0], C_b=[0.0])
    near = np.abs(diagram.edge_K - 1.0).argmin()
    K = diagram.edge_K[near]
    point = lg.fixed_points("tanh", *diagram.edge[:, near])
    assert point.K[0] == pytest.approx(K, rel=1e-9) and point.chi_perp[0] == pytest.approx(1, abs=1e-9)
    at = np.interp(0.0, np.log(diagram.edge_K), np.arange(len(diagram.edge_K)))
    i, t = int(at), at - int(at)
    np.testing.assert_allclose((1 - t) * diagram.edge[:, i] + t * diagram.edge[:, i + 1], (2.15330265, 0.15096463), atol=2e-4)
    exact = lg.fixed_points("tanh", 2.15330265, 0.15096463)
    np.testing.assert_allclose([exact.K[0], exact.chi_perp[0]], 1, atol=2e-8)


def test_neighbours_of_half_stable_points_are_not_those_printed():
    """Footnotes 20, 21 print attracting neighbours at 14.5 and 3.2; at full precision they are 14.5931 and 3.0350."""
    for name, K, par, printed in (("swish", 14.5931, 0.99999924, 14.5), ("gelu", 3.0350, 0.99990560, 3.2)):
        point = lg.critical(name)
        found = lg.fixed_points(name, point.C_W, point.C_b)
        assert found.stable.tolist() == [True, False]
        assert found.K[0] == pytest.approx(K, abs=6e-5) and found.chi_par[0] == pytest.approx(par, abs=6e-9)
        assert found.K[1] == pytest.approx(point.K_star, rel=1e-5) and abs(found.K[0] - printed) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "erf", "sin"])
def test_the_correlation_settles_where_depth_takes_it(name):
    """c* and its depth scale against the kernel recursion itself, 150 layers deep in the chaotic phase."""
    C_W, C_b = 3.0, 0.1
    point = lg.fixed_points(name, C_W, C_b)
    pair = np.array([[1.0, 0.0], [0.4, 0.9]]) * math.sqrt(2 * (point.K[0] - C_b) / C_W)
    c = lg.signal(lg.mlp([8] * 150, activation=name, C_W=C_W, C_b=C_b), pair).c[:, 0, 1]
    assert c[-1] == pytest.approx(point.c[0], abs=1e-6)
    rest = np.abs(c - point.c[0])
    good = slice(int((rest > 1e-3).sum()), int((rest > 1e-7).sum()))
    rate = np.polyfit(np.arange(151)[good], np.log(rest[good]), 1)[0]
    assert -1 / rate == pytest.approx(point.xi_c[0], rel=0.02)


def test_no_fixed_point_is_divergence():
    out = lg.fixed_points("relu", 2.5, 0.1)
    assert out.phase == "divergent" and out.K.shape == (0,)


def test_rounding_makes_no_fixed_points():
    """At their critical points hardtanh is linear near 0 up to rounding, and the slope of elu at its kink is extrapolated: K* = 0 alone."""
    for name in ("hardtanh", "elu", "selu", "tanh", "softsign"):
        out = lg.fixed_points(name, lg.critical(name).C_W or 0.0, 0.0)
        assert out.K.tolist() == [0.0] and out.phase == "critical" and not out.missing
    assert lg.fixed_points("hardtanh", 1.5, 0.0).K == pytest.approx([0.6314586, 0.0])


@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.1)", "abs", "linear"])
def test_where_every_size_is_fixed_there_is_no_K(name):
    C_W = lg.critical(name).C_W
    assert C_W is not None
    out = lg.fixed_points(name, C_W, 0.0)
    assert out.K is None and "every size" in out.missing["K"] and out.phase == "critical" and not out.stable.any()
    assert out.c.tolist() == [1.0] and np.isinf([out.xi_q, out.xi_c]).all()
    np.testing.assert_allclose([out.chi_par, out.chi_perp], 1, rtol=1e-12)
    for w, b, K in ((C_W, 0.1, []), (0.9 * C_W, 0.0, [0.0]), (0.9 * C_W, 0.1, [1.0]), (1.1 * C_W, 0.0, [0.0])):
        other = lg.fixed_points(name, w, b)
        assert not other.missing and other.K == pytest.approx(K)
    diagram = lg.phase_diagram(name, C_W=[0.9 * C_W, C_W, 1.1 * C_W], C_b=[0.0, 0.1])
    assert diagram.K[1, 0] == 1 and diagram.phase[1, 0] == "critical"  # from K = 1 it stays there
    np.testing.assert_allclose(diagram.K[[0, 0, 1, 2, 2], [0, 1, 1, 0, 1]], [0, 1, np.inf, np.inf, np.inf])


# ---------------------------------------------------------------- phase diagram


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gelu", "relu"])
def test_phase_diagram_is_the_fixed_points_of_every_cell(name):
    C_W, C_b = np.linspace(0.4, 4.2, 13), np.array([0.0, 1e-10, 0.03, 0.4])
    diagram = lg.phase_diagram(name, C_W=C_W, C_b=C_b)
    assert diagram.K.shape == diagram.phase.shape == (13, 4)
    for i in range(0, 13, 2):
        for j in range(4):
            exact, K = lg.fixed_points(name, C_W[i], C_b[j]), diagram.K[i, j]
            if not np.isfinite(K):
                assert diagram.phase[i, j] == "divergent" and not ((exact.K > 1) & exact.stable).any()
                continue
            k = int(np.abs(exact.K - K).argmin())
            assert exact.K[k] == pytest.approx(K, rel=1e-6, abs=1e-12)
            np.testing.assert_allclose(
                [diagram.chi_par[i, j], diagram.chi_perp[i, j], diagram.c[i, j]],
                [exact.chi_par[k], exact.chi_perp[k], exact.c[k]],
                atol=1e-5,
            )
            np.testing.assert_allclose([diagram.xi_q[i, j], diagram.xi_c[i, j]], [exact.xi_q[k], exact.xi_c[k]], rtol=2e-4)


@pytest.mark.parametrize(
    "bad", [{"C_W": [], "C_b": [0.1]}, {"C_W": [-1.0], "C_b": [0.1]}, {"C_W": [1.0], "C_b": [np.nan]}, {"C_W": "a", "C_b": 1.0}]
)
def test_phase_diagram_refuses_bad_axes(bad):
    with pytest.raises(InputError, match="C_"):
        lg.phase_diagram("tanh", **bad)


# ---------------------------------------------------------------- signal


def test_signal_is_the_kernel_and_its_susceptibilities():
    net = lg.mlp([9, 30, 4], out=2, activation="gelu", C_W=[1.0, 1.5, 2.0, 0.7], C_b=[0.1, 0.0, 0.3, 0.2])
    out, all_layers = lg.signal(net, X), lg.kernel(net, X, layer="all")
    np.testing.assert_allclose(out.K, all_layers.nngp, rtol=1e-12)
    np.testing.assert_allclose(out.Theta, all_layers.ntk, rtol=1e-12)
    K = np.diagonal(out.K, axis1=1, axis2=2)
    np.testing.assert_allclose(out.q, np.sqrt(K))
    np.testing.assert_allclose(out.c, out.K / np.sqrt(K[:, :, None] * K[:, None, :]), atol=1e-14)
    # by hand, layer by layer, from the one-variable moments of another code path
    from largen.activations.statistics import statistics

    m = statistics(lg.activation("gelu")).moments(K[:-1])
    C_W = np.array([1.5, 2.0, 0.7])[:, None]
    np.testing.assert_allclose(out.chi_par, C_W * m.dg, rtol=1e-10)
    np.testing.assert_allclose(out.chi_perp, C_W * m.slope, rtol=1e-10)
    np.testing.assert_allclose(out.gradient[0], out.chi_perp.prod(0), rtol=1e-12)
    np.testing.assert_allclose(out.gradient[-1], 1)


@pytest.mark.slow
def test_chi_par_is_the_response_to_a_change_of_size():
    """Scale an input by 1 + eps: K of every later layer moves by the product of chi_par (also with skips and normalisation)."""
    for net in (
        lg.mlp([5] * 4, activation="leaky_relu(0.2)", C_W=1.4, C_b=0.1),
        lg.resnet_mlp(6, blocks=3, activation="tanh", skip=0.7, C_b=0.05),
    ):
        x, eps = X[:1], 1e-5
        out = lg.signal(net, x)
        low, high = (lg.kernel(net, x * (1 + s * eps), layer="all").nngp[:, 0, 0] for s in (-1, 1))
        slope = (high - low) / (2 * eps)
        np.testing.assert_allclose(slope[1:] / slope[:-1], out.chi_par[:, 0], rtol=1e-8)


def test_residual_susceptibilities_are_shifted_by_the_square_of_the_skip():
    """PDLT B.4: chi = gamma^2 + C_W <...>."""
    skip, C_W = 0.6, 1.3
    net = lg.resnet_mlp(8, blocks=2, activation="tanh", skip=skip, C_W=C_W)
    out = lg.signal(net, X)
    from largen.activations.statistics import statistics

    m = statistics(lg.activation("tanh")).moments(np.asarray(out.q[:2]) ** 2)
    np.testing.assert_allclose(out.chi_par[:2], skip**2 + C_W * m.dg, rtol=1e-10)
    np.testing.assert_allclose(out.chi_perp[:2], skip**2 + C_W * m.slope, rtol=1e-10)


def test_normalised_residual_blocks_are_critical_everywhere():
    """Pre-activation LayerNorm and skip 1 (Doshi, He, Gromov): K grows by a constant a block, chi_perp = 1 + O(1/l) for any C_W."""
    for C_W in (0.3, 2.0, 7.0):
        out = lg.signal(lg.resnet_mlp(8, blocks=200, activation="erf", norm=True, C_W=C_W, C_b=0.1), X[:1])
        assert abs(out.chi_perp[198, 0] - 1) < 3 / 198
        np.testing.assert_allclose(out.chi_par[:-1], 1, rtol=1e-6)  # through the block only the skip carries the size on
        grown = np.diff(out.K[:-1, 0, 0])
        np.testing.assert_allclose(grown, grown[-1], rtol=1e-6)


@pytest.mark.slow
def test_signal_can_be_differentiated_in_its_hyperparameters():
    @jax.jit
    @jax.value_and_grad
    def last(C_W):
        return lg.signal(lg.mlp([4] * 2, activation="tanh", C_W=C_W), X.astype(np.float32)).chi_perp[-1].sum()

    step = 1e-2
    (above, _), (_, slope), (below, _) = (last(1.3 + s) for s in (step, 0.0, -step))
    assert float(slope) == pytest.approx(float(above - below) / (2 * step), rel=2e-3)


# ---------------------------------------------------------------- two points (T8)


def _inputs(K00, k1, k2, k0):
    """Two points in the plane whose K^(1) = C_W x.x'/n_0 has the given components at C_W = 1, n_0 = 2."""
    K = np.array([[K00 + k0 + k1 + k2, K00 + k0 - k2], [K00 + k0 - k2, K00 + k0 - k1 + k2]])
    return np.linalg.cholesky(2 * K)


def test_T8_two_points_against_the_expansion():
    e = 0.03
    plus, minus = _inputs(0.8, 0.7 * e, 0.9 * e**2, -0.5 * e**2)
    out = lg.exact.two_points(lg.mlp([8], activation="tanh"), plus, minus)
    assert out.K1[1] == pytest.approx(0.00467499, abs=6e-9) and out.K2[1] == pytest.approx(3.58098e-4, abs=6e-10)
    # the expansion at K00 = .8 (the midpoint of the inputs differs from it by k0 e^2)
    chi_par, chi_perp, h = out.chi_par[0], out.chi_perp[0], out.h[0]
    assert chi_par * 0.7 * e == pytest.approx(0.00467611, rel=2e-3)
    assert chi_perp * 0.9 * e**2 + h * (0.7 * e) ** 2 == pytest.approx(3.58279e-4, rel=2e-3)
    without = chi_perp * 0.9 * e**2  # the control: without h it is 14 % off
    assert without == pytest.approx(4.08915e-4, rel=2e-3) and abs(without / out.K2[1] - 1) > 0.1


@pytest.mark.slow
@settings(max_examples=10)
@given(angle=st.floats(0.1, 3), size=st.floats(1e-6, 1e-3), name=st.sampled_from(["tanh", "gelu", "sin"]))
def test_the_expansion_holds_for_close_points(angle, size, name):
    """All three components to relative order of the difference, several layers deep, and K2 without cancellation."""
    x = np.array([0.9, 0.5, -0.3])
    step = size * np.array([math.cos(angle), math.sin(angle), 0.4])
    out = lg.exact.two_points(lg.mlp([4] * 3, activation=name, C_W=1.2, C_b=0.05), x + step, x - step)
    np.testing.assert_allclose(out.K00, out.K0, rtol=20 * size**2 + 1e-12)
    np.testing.assert_allclose(out.ddK2, out.K2, rtol=100 * size + 1e-8)
    np.testing.assert_allclose(out.dK1, out.K1, rtol=100 * size + 1e-8, atol=1e-14)


@pytest.mark.slow
def test_T14_asymptotic_constants():
    """dK1 l^2 and ddK2/K at large depth, each started from 1: .3576, 1.4121 for tanh; .6115, 1.5500 for sin."""
    from largen.activations.statistics import statistics

    for name, first, second in (("tanh", 0.3576, 1.4121), ("sin", 0.6115, 1.5500)):
        at, C_W = statistics(lg.activation(name)), 1.0
        grid = np.geomspace(1e-8, 1.2, 2000)
        m = at.moments(grid)
        low, high = (math.log(v) for v in grid[:2])
        K, d1, d2 = 1.0, 1.0, 1.0
        depth = 20_000
        table = np.stack([m.g / grid, m.dg, m.slope], 1).tolist()
        for _ in range(depth - 1):
            i, t = divmod((math.log(K) - low) / (high - low), 1)
            g, par, perp = ((1 - t) * a + t * b for a, b in zip(table[int(i)], table[int(i) + 1], strict=True))
            d1, d2 = par * d1, perp * d2  # each on its own: dK1 = 0 for the distance
            K *= C_W * g
        assert d1 * depth**2 == pytest.approx(first, rel=5e-3)
        assert d2 / K == pytest.approx(second, rel=5e-3)


@pytest.mark.slow
def test_kinks_have_no_expansion_and_say_so():
    out = lg.exact.two_points(lg.mlp([4], activation="relu"), X[0], X[0] + 0.01)
    assert out.ddK2 is None and "lg.exact.angles" in out.missing["ddK2"] and out.K2[1] > 0


def test_two_points_refuses_other_shapes():
    with pytest.raises(InputError, match="two points of equal length"):
        lg.exact.two_points(lg.mlp([4]), X, X)


# ---------------------------------------------------------------- angles (T7)


def test_T7_angles():
    relu = lg.exact.angles("relu", [math.pi / 2, math.pi], layers=5000).psi
    np.testing.assert_allclose(relu[[1, 2, 4, 9], 0], (1.24685022, 1.05442126, 0.82173242, 0.5456132), atol=6e-9)
    np.testing.assert_allclose(relu[[99, 999], 0], (0.08538223, 0.00929681), atol=6e-9)
    assert relu[4999, 0] * 5000 / math.pi / 3 == pytest.approx(0.99678, abs=6e-6)
    assert relu[1, 1] == pytest.approx(math.pi / 2, abs=1e-15)
    leaky = lg.exact.angles("leaky_relu(0.1)", math.pi / 2, layers=10)
    np.testing.assert_allclose(leaky.psi[[1, 2, 9]], (1.31266087, 1.14114225, 0.63196444), atol=6e-9)
    assert leaky.rho == pytest.approx(0.255278, abs=5e-7) and lg.exact.angles("linear", 1.0, 50).psi[-1] == pytest.approx(1.0)


@pytest.mark.slow
@settings(max_examples=12)
@given(psi=st.floats(1e-6, math.pi), a=st.sampled_from([0.0, 0.1, -0.5, -1.0]))
def test_angles_are_those_of_the_kernel(psi, a):
    """The same angle through another code path: the kernel of a critical network on two points of equal norm."""
    name = f"leaky_relu({a})"
    points = np.array([[1.0, 0.0], [math.cos(psi), math.sin(psi)]])
    net = lg.mlp([4] * 2, activation=name, C="critical")
    c = lg.signal(net, points).c[:, 0, 1]
    np.testing.assert_allclose(np.cos(lg.exact.angles(name, psi, 3).psi), c, atol=1e-12)


def test_distances_close_faster_than_the_expansion_says():
    """Section 7: for ReLU K_[2] falls as 9/(4 rho^2 l^2), where differences to first order (chi_perp = 1) would stay."""
    psi = lg.exact.angles("relu", 0.3, layers=30_000).psi
    K2 = np.sin(psi[-1] / 2) ** 2
    assert K2 * 4 * lg.exact.angles("relu", 0.3, 1).rho ** 2 * 30_000**2 / 9 == pytest.approx(1, rel=0.02)


def test_angles_refuse_what_has_no_recursion():
    with pytest.raises(UnsupportedError, match=r"lg\.signal"):
        lg.exact.angles("tanh", 1.0, 3)
    with pytest.raises(InputError, match="0 to pi"):
        lg.exact.angles("relu", 4.0, 3)


@pytest.mark.parametrize(
    ("shift", "C_W", "C_b", "x"), [(0.5, 1.0, 0.0, 1.0), (-0.5, 1.0, 0.0, 1.0), (0.5, 2.0, 0.5, 0.5), (3.0, 1.0, 0.0, 4.0)]
)
def test_chi_par_of_kinks_that_fall_on_cuts_of_the_rule(shift: float, C_W: float, C_b: float, x: float) -> None:
    """phi = max(z - s, 0): chi_par = C_W P(z > s), by d<phi^2>/dK = <phi'^2> + <phi phi''>, whatever round numbers meet."""
    phi = largen.activation(lambda z: jax.numpy.maximum(z - shift, 0), kinks=(shift,))
    found = largen.signal(largen.mlp([8], 1, phi, C_W=C_W, C_b=C_b), np.array([[x]]))
    K = C_b + C_W * x * x
    assert found.chi_par[0, 0] == pytest.approx(C_W * math.erfc(shift / math.sqrt(2 * K)) / 2, rel=1e-9)
