"""Users' own callables: the error that kernels say they have against the one that they have, the cause that is named, what is refused."""

import re
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import own
import panels
import pytest
from scipy.special import erf, erfc

import largen as lg
from largen.activations.doubt import doubt
from largen.errors import AccuracyWarning, InputError

SMALL = 1e-8
CHECKED = [  # callable, hidden layers, sizes and by how much that of the second point is larger, 1 - c
    ("far", 1, ((1e-12, 1.0), (1e3, 1.0), (1.0, 1e3)), 1e-6),
    ("clipped", 3, ((1e-6, 1.0), (1.0, 1.0)), 0.5),
    ("late", 1, ((1.0, 1.0), (1e3, 1e3)), 0.5),
    ("narrow", 1, ((1e-6, 1.0), (1.0, 1.0)), 1e-6),
    ("root", 1, ((1e-12, 1e3), (1.0, 1.0)), 1e-6),
    ("step", 1, ((1.0, 1.0),), 2 - 1e-6),
]


def kernel(phi, X, hidden=1):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\|x\|")
        return lg.kernel(lg.mlp(widths=[1] * hidden, out=1, activation=phi, C_W=1.0), X)


def matrices(values):
    """(K, Theta) as 2 x 2 of (K, Theta) x (12, 11, 22)."""
    return [np.array([[v[1], v[0]], [v[0], v[2]]]) for v in values]


@pytest.mark.parametrize(("name", "hidden", "sizes", "versine"), CHECKED)
def test_the_error_is_that_of_the_kernel(name, hidden, sizes, versine):
    """Within a third and a hundred times the true one, or both small; and a warning where it is not small."""
    given = own.OWN[name]
    phi, X = lg.activation(given.fn, kinks=given.kinks), panels.points().astype(float)
    right = np.load(own.FROZEN)[name]
    for K, ratio in sizes:
        i, j = panels.SIZES.index(K), len(panels.VERSINES) * panels.RATIOS.index(ratio) + panels.VERSINES.index(versine)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            out = kernel(phi, X[i][[0, 1 + j]], hidden)
        off = []
        for found, truth in zip((out.nngp, out.ntk), matrices(right[i, j, hidden - 1]), strict=True):
            size = np.sqrt(np.diag(truth))
            off.append((np.abs(found - truth) / size / size[:, None]).max())
        assert max(off) / 3 <= out.error <= 100 * max(off) or max(out.error, *off) < SMALL, (K, ratio, out.error, off)
        assert any(issubclass(warning.category, AccuracyWarning) for warning in said) == (out.error > 1e-6)


def test_the_error_of_kernels_between_points_of_other_sizes():
    """Without the points with themselves: phi' is nothing at the small one, and nothing that rules make of it matters."""
    given, X = own.OWN["far"], panels.points()
    with pytest.warns(AccuracyWarning, match="varies near z = 20"):
        net = lg.mlp(widths=[1], out=1, activation=lg.activation(given.fn), C_W=1.0)
        out = lg.kernel(net, X[2, :1].astype(float), X[[0, 3, 5], 3].astype(float))
    off = []
    for i, row in enumerate((0, 3, 5)):
        (K, theta), *_ = own.kernels(given, panels.exact(X[2, 0], X[row, 3]), 10)
        off += [abs(got[0, i] - cross) / (a * b) ** 0.5 for got, (cross, a, b) in ((out.nngp, K), (out.ntk, theta))]
    assert max(off) / 3 < out.error < 100 * max(off)


CAUSES = {
    "late": r"has a kink near z = 0\.7: declare it, lg\.activation\(fn, kinks=\(0\.7,\)\)",
    "late, declared": "Preactivations are large on the scale on which .* varies: lg.standardize",
    "clipped": r"has kinks near z = 1, -1: declare them, lg\.activation\(fn, kinks=\(-1, 1\)\)",
    "step": r"has a kink near z = 3\.7: declare it",
    "abs": r"has a kink near z = 0: declare it",
    "root": r"is singular near z = 0, and not only bent: .* Round it off",
    "log, declared": r"is singular near z = 0, and not only bent: .* Round it off",
    "far": r"varies near z = 20.* alone, far from 0 .*: shift it there, lambda z: fn\(z \+ 20",
    "narrow": "Preactivations are large on the scale on which .* varies",
    "power": r"grows like z\^10, and expectations with it",
    "explosive": "grows exponentially, and expectations with it",
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_named(name):
    given = own.OWN[name]
    assert re.search(CAUSES[name], doubt(lg.activation(given.fn, kinks=given.kinks)))


def test_what_varies_between_the_points_of_rules_is_seen():
    """A bump of width w, size A at b: A^2 w sqrt(pi/2) density(b) of E[(z + bump)^2], and 2 b A w sqrt(pi) density(b) for the cross term;
    a window from a to b. Split as the warning says, the bump is resolved."""
    one, A, b, w = np.ones((1, 1)), 5.0, 1.2345, 1e-3
    density = np.exp(-b * b / 2) / np.sqrt(2 * np.pi)
    nngp = 1 + (2 * b * A + A * A / 2**0.5) * w * np.sqrt(np.pi) * density
    ntk = nngp + 1 + (A * A / w) * np.sqrt(np.pi / 2) * density + 2 * b * A * w * np.sqrt(np.pi) * density  # E[bump'] = E[z bump]

    def bump(z):
        return z + A * jnp.exp(-(((z - b) / w) ** 2))

    with pytest.warns(AccuracyWarning, match=r"varies within 0\.00. near z = 1\.23., .*: make it wider, or have rules split there") as said:
        out = kernel(lg.activation(bump), one)
    assert abs(out.ntk[0, 0] / ntk - 1) / 3 <= out.error <= 100 * abs(out.ntk[0, 0] / ntk - 1)
    (kinks,) = re.findall(r"kinks=\(([^)]*)\)", str(said[0].message))
    out = kernel(lg.activation(bump, kinks=tuple(map(float, kinks.split(",")))), one)
    np.testing.assert_allclose([out.nngp[0, 0], out.ntk[0, 0]], [nngp, ntk], rtol=1e-5)  # density, and z, vary over the bump
    assert out.error < SMALL
    with pytest.warns(AccuracyWarning, match=r"kinks near z = 0\.7, 0\.701: declare them, .*kinks=\(0\.7, 0\.701\)"):
        out = kernel(lg.activation(lambda z: jnp.where((z > 0.7) & (z < 0.701), 1.0, 0.0) + z), one)
    off = (2 * 0.7005 + 1) * 1e-3 * np.exp(-(0.7005**2) / 2) / np.sqrt(2 * np.pi)
    assert off / 3 < out.error < 100 * off


@pytest.mark.parametrize("a", [20.0, 1e8])
def test_steep_callables_are_those_of_larger_points(a):
    """The kernel of tanh(a z) at X is that of tanh at a X, and NTK as NNGP: phi' has the a that X had."""
    X = np.array([[1.0, 0.0], [0.5, 0.75**0.5]]) / 10
    out, right = kernel(lg.activation(lambda z: jnp.tanh(a * z)), X), kernel("tanh", a * X)
    off = max(np.abs(got / want - 1).max() for got, want in ((out.nngp, right.nngp), (out.ntk, right.ntk)))
    assert off < 1e-6 and (off / 3 < out.error < 100 * off or max(off, out.error) < SMALL)


def test_oscillating_callables():
    """Resolved where series start late; with an honest error where they do not converge, also where the nodes of a rule are too far apart
    to see it: sin(20 z) at K = 100 is sin(20 z - 2 pi z/.3) at their multiples of .03 sqrt(K)."""
    phi, X = lg.activation(lambda z: jnp.sin(20 * z)), np.array([[1.0, 0.0], [1 - 1e-4, 2e-4**0.5]])
    for size, bound in ((1.0, 1e-12), (10.0, 1.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)
            out, right = kernel(phi, size * X), kernel("sin", 20 * size * X)
        off = max(np.abs(got - want).max() / want.max() for got, want in ((out.nngp, right.nngp), (out.ntk, right.ntk)))
        assert off < bound and (off / 3 < out.error < 100 * off or max(off, out.error) < SMALL)


@pytest.mark.parametrize("kinks", [(), (-1.0, 1.0)])
def test_signals_of_bent_callables(kinks):
    """chi_par = erf(1/sqrt(2 K)) - sqrt(2/(pi K)) exp(-1/(2 K)) of clip(z, -1, 1), the second part from its kinks; chi_perp the first."""
    net = lg.mlp(widths=[1], out=1, activation=lg.activation(lambda z: jnp.clip(z, -1, 1), kinks=kinks), C_W=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = lg.signal(net, np.array([[1e-3], [1.0], [2.0]]))
    K = np.array([1e-6, 1.0, 4.0])
    perp = erf((2 * K) ** -0.5)
    par = perp - (2 / np.pi / K) ** 0.5 * np.exp(-0.5 / K)
    off = [np.abs(found[0] / right - 1).max() for found, right in ((out.chi_par, par), (out.chi_perp, perp))]
    assert max(off) < (1e-10 if kinks else 0.01) and (max(off) / 3 < out.error < 100 * max(off) or max(*off, out.error) < SMALL)


def test_fixed_points_carry_the_error():
    """A bump A exp(-((z - b)/w)^2) beside tanh: A^2/w sqrt(pi/2) density(b) of chi_perp/C_W, which no node sees."""
    A, b, w = 0.01, 1.2345, 1e-3
    with pytest.warns(AccuracyWarning, match="varies within"):
        out = lg.fixed_points(lg.activation(lambda z: jnp.tanh(z) + A * jnp.exp(-(((z - b) / w) ** 2))), 1.5, 0.3)
    missed = 1.5 * A * A / w * np.sqrt(np.pi / 2) * np.exp(-b * b / 2 / out.K[0]) / np.sqrt(2 * np.pi * out.K[0])
    assert missed / 3 < out.error < 100 * missed
    assert lg.fixed_points("tanh", 1.5, 0.3).error < 1e-12


def test_expectations_that_are_not_finite_are_refused():
    """E[exp(z^2)^2] is infinite from variance 1/4 on, and log(1 + exp(z)) overflows at 710."""
    explosive = lg.activation(own.OWN["explosive"].fn)
    assert kernel(explosive, np.full((1, 1), 0.3)).nngp[0, 0] == pytest.approx((1 - 4 * 0.09) ** -0.5, rel=1e-9)
    with pytest.raises(InputError, match=r"not finite for variances from 0\.249 on"):
        kernel(explosive, np.full((1, 1), 0.6))
    with pytest.raises(InputError, match=r"not finite at \|z\| = 709\.8"):
        kernel(lg.activation(own.OWN["rising"].fn), np.full((1, 1), 1e3))
    with pytest.raises(InputError, match="varies too fast to be followed"):
        kernel(lg.activation(lambda z: jnp.sin(20 * z)), np.full((1, 1), 1e6))


@pytest.mark.parametrize(
    ("fn", "got"),
    [
        (lambda z: z * jnp.log(jnp.abs(z)), "returns nan at z = 0"),
        (lambda z: jnp.log(jnp.abs(z)), "returns -inf at z = 0"),
        (lambda z: 1 / z, "returns inf at z = 0"),
    ],
)
@pytest.mark.parametrize("kinks", [(), (0.0,)])
def test_what_is_not_finite_at_zero_is_refused(fn, got, kinks):
    with pytest.raises(InputError, match=got) as error:
        lg.activation(fn, kinks=kinks)
    assert ("take 0 apart" in str(error.value)) == ("nan" in got)  # what grows without bound is refused again with another value at 0


def test_an_infinite_slope_at_zero_has_to_be_declared():
    with pytest.raises(InputError, match=r"slope (nan|inf) at z = 0"):
        lg.activation(lambda z: jnp.abs(z) ** 0.75)
    assert lg.activation(lambda z: jnp.abs(z) ** 0.75, kinks=(0.0,)).own


def test_the_truth_again():
    """By more nodes, and a closed form: E[clip(z, -1, 1)^2]."""
    X, frozen = panels.points(), np.load(own.FROZEN)
    for name, i, j in (("far", 3, 9), ("clipped", 2, 3), ("root", 2, 10)):
        again = own.kernels(own.OWN[name], panels.exact(X[i, 0], X[i, 1 + j]), 16)
        np.testing.assert_allclose(frozen[name][i, j], again, rtol=0, atol=1e-9 * np.abs(again).max())
    q = panels.exact(X[2, 0], X[2, 1])[0]
    want = q * erf((2 * q) ** -0.5) - (2 * q / np.pi) ** 0.5 * np.exp(-0.5 / q) + erfc((2 * q) ** -0.5)
    assert frozen["clipped"][2, 0, 0, 0, 1] == pytest.approx(want, rel=1e-10)


def test_slopes_that_are_rounding_are_not_singular() -> None:
    """Autodiff of sin(z)/z next to 0 is rounding over z; singular is what phi itself shows."""

    def sinc(z: Any) -> Any:
        away = jnp.where(z == 0, 1.0, z)
        return jnp.where(z == 0, 1.0, jnp.sin(away) / away)

    phi = lg.activation(sinc)
    for K in (1e-12, 1.0, 100.0):
        z = np.linspace(-12, 12, 400_001) * np.sqrt(K)
        weights = np.exp(-z * z / (2 * K)) * (z[1] - z[0]) / np.sqrt(2 * np.pi * K)
        value = np.sinc(z / np.pi)
        slope = np.divide(np.cos(z) - value, z, out=np.zeros_like(z), where=np.abs(z) > 1e-3) - np.where(np.abs(z) > 1e-3, 0, z / 3)
        found = lg.kernel(lg.mlp([1], 1, phi), np.array([[np.sqrt(K)]]))
        assert found.ntk[0, 0] == pytest.approx((weights * (value**2 + K * slope**2)).sum(), rel=1e-9)
        assert found.error < 1e-8
    assert "kink near z = 0" in doubt(lg.activation(lambda z: 1 + jnp.abs(z)))
