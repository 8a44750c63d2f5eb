"""Evidence: printed numbers, derivatives, laws, fitted hyperparameters, and criticality. Exact reweighting is in test_posterior."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import multivariate_normal

import largen as lg
from largen.errors import InputError, SingularKernelError, UnsupportedError
from largen.prediction.posterior.evidence import evidence
from largen.prediction.posterior.fit import fit
from largen.prediction.posterior.observed import observe, traced
from largen.prediction.posterior.scan import scan
from largen.prediction.posterior.search import Search

pytestmark = pytest.mark.slow

TRAIN = np.array([[1, 0.6, -0.5], [0.4, -0.9, 0.8]])
Y = np.array([[0.8, -0.5], [-0.3, 1.1]])
TANH = lg.mlp(widths=[100], out=2, activation="tanh", C_W=1.5, C_b=0.1)


def relu(C_W: Any = 1.5, C_b: Any = 0.1, hidden=1, width=100, out=2) -> Any:
    return lg.mlp(widths=[width] * hidden, out=out, activation="relu", C_W=C_W, C_b=C_b)


def normal(cov: Any, y: Any) -> float:
    """scipy's log density of N(0, cov)."""
    return float(multivariate_normal.logpdf(y, np.zeros(len(y)), cov))


# ---------------------------------------------------------------- printed numbers


def test_set_b():
    """theory/pdlt_6_9.md 8.5, to its quadrature error of about 1e-6."""
    assert abs(evidence(TANH, TRAIN, Y).log - -4.50710649) < 1e-7
    parts = evidence(TANH, TRAIN, Y, order=1)
    assert abs(100 * parts.finite_width - -0.52907863) < 1e-6
    assert np.isclose(parts.log, parts.fit + parts.complexity + parts.constant + parts.finite_width, atol=1e-14)
    # n (E[w]/N - 1), exact by reweighting at n = 100, 200 (+- 1e-3), extrapolated
    assert abs(2 * -0.534 - -0.538 - -0.52907863) < 4e-3
    assert parts.order == 1 and parts.spread is not None and 0 < parts.spread < 0.1
    assert parts.condition is not None and parts.condition.trust == "good"


def test_two_inputs_in_closed_form():
    """(6.48), printed value; (6.36): one input, whose evidence is largest at K = |y|^2/o."""
    K, y = np.array([[1.3, 0.4], [0.4, 0.8]]), np.array([[0.7, -0.2], [0.1, 0.9]])
    assert abs(observe(K, y).log - -4.444511670399716) < 1e-14
    K0, K1, K2 = (1.3 + 0.8 + 0.8) / 4, (1.3 - 0.8) / 2, (1.3 + 0.8 - 0.8) / 4
    Y0, Y1, Y2 = (((y[0] + y[1]) / 2) ** 2).sum(), ((y[0] ** 2).sum() - (y[1] ** 2).sum()) / 2, (((y[0] - y[1]) / 2) ** 2).sum()
    delta = 4 * K0 * K2 - K1**2
    assert abs(observe(K, y).log - (-np.log(4 * np.pi**2 * delta) - (4 * K0 * Y2 + 4 * K2 * Y0 - 2 * K1 * Y1) / (2 * delta))) < 1e-14
    one = [observe(np.array([[k]]), y[:1]).log for k in (0.2, 0.53 / 2, 0.33)]
    assert max(one) == one[1] and np.isclose(one[1], -np.log(2 * np.pi * 0.265) - 1)


def circle():
    """The task of 8.6: 8 points on an arc, labels that vary smoothly."""
    p = np.linspace(0, 0.8, 8)
    return np.sqrt(2) * np.stack([np.cos(p), np.sin(p)], 1), np.stack([0.6 + 0.5 * p, -0.4 + 0.3 * p], 1)


@pytest.mark.slow
def test_relu_evidence_runs_to_criticality_with_depth():
    X, y = circle()
    for L, best in ((3, 1.4), (10, 1.6), (30, 1.9)):  # at L = 3 the edge of the grid
        out = scan(relu(), X, y, C_W=[1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1], depths=L, ridge=1e-3)
        assert np.isclose(out.best[2], best) and out.caution == "" and out.critical == (0.0, 2.0)


@pytest.mark.slow
def test_relu_evidence_at_a_hundred_layers():
    X, y = circle()
    out = scan(relu(), X, y, C_W=[1.8, 1.9, 2.0, 2.1, 2.2], depths=100, ridge=1e-3)
    assert np.allclose(out.log[0, 0], (-2070.9, -81.31, 12.05, -17.35, -54.5), atol=0.06)
    assert out.best == (100, 0.0, 2.0) and out.phase == ("critical",)


@pytest.mark.slow
def test_evidence_is_no_sign_of_criticality_for_erf():
    """8.6 and trap T5: the maximum of an erf network of slope 1 (critical C_W = 1) lies in the chaotic phase, and that is said."""
    X, y = circle()

    def value(L, C_W):  # erf(sqrt(pi)/2 z): a slope of 1 is a scale of the layers before it
        return evidence(lg.mlp(widths=[50] * (L - 1), out=2, activation="erf", C_W=[np.pi / 4 * C_W] * (L - 1) + [C_W]), X, y, 1e-3).log

    grid = np.arange(0.9, 1.31, 0.02)
    for L, best in ((3, 0.92), (10, 1.20), (30, 1.18)):  # at L = 30 the page has 1.20, lower by 0.005
        assert np.isclose(grid[np.argmax([value(L, c) for c in grid])], best)
    deep = [value(100, c) for c in (0.9, 1.0, 1.14, 1.3, 1.5, 2.0)]
    assert np.allclose(deep, (-2888.6, -46.29, 19.87, 12.1, -4.87, -15.6), atol=0.06)
    out = scan(lg.mlp(widths=[50], out=2, activation="erf"), X, y, C_W=np.array([0.8, 1.0, 1.2]) * np.pi / 4, depths=30, ridge=1e-3)
    assert out.phase == ("chaotic",) and out.caution.startswith("At L = 30 the best is in the chaotic phase")


def test_one_input_of_a_relu_network():
    """8.6: without biases the evidence of one input is largest at C_W = 2 (|y|^2/(o 2 q))^(1/L), q = |x|^2/n_0."""
    x, y = np.array([[1.1, -0.7, 0.9]]), np.array([[0.8, -1.5]])
    q = (x**2).mean()
    for L in (2, 3):
        best = 2 * ((y**2).sum() / (2 * 2 * q)) ** (1 / L)
        found = fit(lg.mlp(widths=[50] * (L - 1), out=2, activation="relu"), x, y, vary="C_W")
        assert np.isclose(found.values["C_W"][0], best, rtol=1e-5) and found.converged


# ---------------------------------------------------------------- derivatives


@pytest.mark.slow
def test_derivatives_agree_with_differences_and_the_search():
    ridge = np.array([0.1, 0.2])
    with jax.enable_x64(True):

        def of(logs):
            return evidence(relu(jnp.exp(logs[0]), jnp.exp(logs[1])), TRAIN, Y, jnp.exp(logs[2]) * ridge / 0.2).log

        at = jnp.log(jnp.asarray([1.5, 0.1, 0.2]))
        exact, value = np.asarray(jax.grad(of)(at)), float(of(at))
    problem = Search(relu(), TRAIN, Y, ridge, ("C_W", "C_b", "ridge"), True, 0)
    logs = problem.start()
    assert np.allclose(np.exp(logs), (1.5, 0.1, 0.2))
    differences = [(problem.value(logs + e) - problem.value(logs - e)) / 2e-5 for e in 1e-5 * np.eye(3)]
    assert np.allclose(exact, differences, rtol=1e-7, atol=1e-8) and np.allclose(problem.slope(logs), exact, rtol=1e-6, atol=1e-8)
    assert np.isclose(value, problem.value(logs), rtol=1e-12)


def test_traced_and_concrete_evidence_are_the_same():
    K = lg.kernel(relu(), TRAIN).nngp
    with jax.enable_x64(True):
        assert np.isclose(traced(jnp.asarray(K), jnp.asarray(Y), 0.1).log, observe(K, Y, 0.1).log, rtol=1e-13)
        tilt = jax.grad(lambda k: traced(k, jnp.asarray(Y), 0.1).log)(jnp.asarray(K))
        assert np.allclose((tilt + tilt.T) / 2, observe(K, Y, 0.1).tilt, atol=1e-10)
    with pytest.raises(InputError, match=r"`order`: got 1 of traced values in float32"):
        jax.grad(lambda c: evidence(relu(c), TRAIN, Y, order=1).log)(1.5)


# ---------------------------------------------------------------- laws


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([0, 1]))
def test_laws_of_the_evidence(seed, order):
    """Neither the order of samples, nor rotations of inputs or outputs, nor the sign of the labels matter."""
    rng = np.random.default_rng(seed)
    X, y, ridge = rng.normal(size=(3, 3)), rng.normal(size=(3, 2)), rng.uniform(0.1, 0.3, size=3)
    value = evidence(relu(width=1000), X, y, ridge, order).log
    shuffle, turn, spin = rng.permutation(3), np.linalg.qr(rng.normal(size=(2, 2)))[0], np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for other in ((X[shuffle], y[shuffle], ridge[shuffle]), (X, y @ turn, ridge), (X @ spin, y, ridge), (X, -y, ridge)):
        assert np.isclose(evidence(relu(width=1000), *other, order).log, value, rtol=1e-7, atol=1e-7)


def test_outputs_add_at_infinite_width_only():
    apart = [[evidence(relu(out=1), TRAIN, Y[:, i], 0.1, order).log for i in range(2)] for order in (0, 1)]
    joint = [evidence(relu(), TRAIN, Y, 0.1, order).log for order in (0, 1)]
    assert np.isclose(sum(apart[0]), joint[0], rtol=1e-12)
    assert abs(sum(apart[1]) - joint[1]) > 1e-4  # outputs of one network are correlated through its hidden layers
    assert np.isclose(evidence(relu(out=1), TRAIN, Y, 0.1, 1).log, sum(apart[1]), rtol=1e-12)  # networks of their own
    assert np.isclose(evidence(relu(), TRAIN, Y[:, 0], 0.1).log, apart[0][0])
    wide = [evidence(relu(width=10**8), TRAIN, Y, 0.1, order).log for order in (0, 1)]
    assert np.isclose(*wide, rtol=1e-7)


def test_noise_is_on_the_diagonal():
    """Trap T1: noise of each sample's own is K + s^2 1, and no shift of C_b."""
    K = lg.kernel(relu(), TRAIN).nngp
    for ridge in (0.3, np.array([0.1, 0.4])):
        known = sum(normal(K + np.diag(np.broadcast_to(ridge, 2)), column) for column in Y.T)
        assert np.isclose(evidence(relu(), TRAIN, Y, ridge).log, known, rtol=1e-12)
    assert abs(evidence(relu(), TRAIN, Y, 0.3).log - evidence(relu(C_b=[0.1, 0.4]), TRAIN, Y).log) > 0.05


def test_dtypes_images_and_other_networks():
    assert evidence(relu(), TRAIN.astype(np.float32), Y.astype(np.float32), 0.1).log.dtype == np.float32
    assert isinstance(evidence(relu(), jnp.asarray(TRAIN, jnp.float32), Y, 0.1).log, jax.Array)
    rng = np.random.default_rng(0)
    images = lg.Conv(8, 2, C_W=1.5, C_b=0.1) >> lg.Act("erf") >> lg.GlobalAvgPool() >> lg.Dense(1)
    X, y = rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)
    known = normal(lg.kernel(images, X).nngp + 0.1 * np.eye(4), y)
    assert np.isclose(evidence(images, X, y, 0.1).log, known, rtol=1e-9)
    with pytest.raises((InputError, UnsupportedError)):
        evidence(images, X, y, 0.1, order=1)


# ---------------------------------------------------------------- hyperparameters


@pytest.mark.parametrize("seed", range(3))
def test_hyperparameters_of_samples_from_the_prior_are_recovered(seed):
    rng = np.random.default_rng(seed)
    X, true = rng.normal(size=(30, 3)), {"C_W": 1.7, "C_b": 0.2, "ridge": 0.01}
    y = lg.sample(relu(1.7, 0.2, out=1), X, jax.random.key(seed), draws=20)[..., 0].T + 0.1 * rng.normal(size=(30, 20))
    out = fit(relu(1.0, 0.0, out=1), X, y, ridge=0.1)
    assert out.converged and out.evidence > out.start and abs(out.evidence - evidence(out.net, X, y, out.ridge).log) < 1e-9
    for name, value in true.items():
        assert abs(np.log(out.values[name][0] / value)) < 2 * out.errors[name][0] < 0.6
    assert [layer.C_W for layer in lg.analysis.chain(out.net)] == [out.values["C_W"][0]] * 2
    assert out.ridge == out.values["ridge"][0]


def test_layers_of_their_own_and_what_data_do_not_tell():
    """Without biases a ReLU network knows only the product of its C_W: fitted, but without standard errors."""
    X, y = TRAIN, Y[:, 0]
    together = fit(lg.mlp(widths=[50], activation="relu"), X, y, ridge=0.1, vary="C_W")
    apart = fit(lg.mlp(widths=[50], activation="relu"), X, y, ridge=0.1, vary=["C_W"], shared=False)
    assert apart.values["C_W"].shape == (2,) and np.isclose(apart.evidence, together.evidence, atol=1e-8)
    assert np.isclose(apart.values["C_W"].prod(), together.values["C_W"][0] ** 2, rtol=1e-3)
    assert np.isnan(apart.errors["C_W"]).all() and np.isfinite(together.errors["C_W"]).all()


def test_fit_at_order_one():
    """The maximum at order 1/n is a maximum of `evidence(order=1)`, and goes to that of order 0 with the width."""
    X = np.array([[1.0, 0.2], [0.3, -0.8], [-0.6, 0.5]])
    y = np.array([0.9, -0.4, 0.7])
    first = fit(relu(width=30, C_b=0, out=1), X, y, ridge=0.05, vary="C_W", order=1)
    best = first.values["C_W"][0]
    values = [evidence(relu(c, 0.0, width=30, out=1), X, y, 0.05, 1).log for c in (best * 0.95, best, best * 1.05)]
    assert first.order == 1 and first.converged and values[1] == max(values) and np.isclose(values[1], first.evidence)
    zero = fit(relu(C_b=0, out=1), X, y, ridge=0.05, vary="C_W").values["C_W"][0]
    wide = fit(relu(width=10**6, C_b=0, out=1), X, y, ridge=0.05, vary="C_W", order=1).values["C_W"][0]
    assert np.isclose(wide, zero, rtol=1e-4) and abs(np.log(best / zero)) > 1e-3


def test_singular_trials_shrink_the_step():
    """Pure noise: the line search runs to kernels that are singular without a ridge, which is fitted by default, and with one too."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(12, 3), rng.randn(12)
    net = lg.mlp([8, 8], activation="gelu", C_W=1.7, C_b=0.1)
    out = fit(net, X, y)
    assert out.converged and sorted(out.values) == ["C_W", "C_b", "ridge"] and out.evidence > out.start
    assert abs(out.evidence + 18.62417) < 1e-4 and abs(out.values["ridge"][0] - np.mean(y**2)) < 1e-3  # all is noise
    bare = fit(net, X, y, vary=("C_W", "C_b"))
    assert bare.converged and bare.ridge == 0.0 and abs(bare.evidence + 31.12029) < 1e-4
    assert abs(bare.evidence - evidence(bare.net, X, y).log) < 1e-9


def test_what_ends_on_a_bound_of_the_search_is_named():
    """Odd targets without noise ask for no biases and no ridge; targets of size 1e5 for more than there is."""
    X = np.linspace(-1, 1, 8)[:, None]
    y = np.sin(2 * X[:, 0])
    net = lg.mlp(widths=[100], activation="erf")
    out = fit(net, X, y, ridge=1e-3)
    assert out.bounded == ("C_b", "ridge") and "C_b = 1e-08 (at the lower bound of the search)" in repr(out)
    assert (
        np.isnan(out.errors["C_b"]).all()
        and np.isfinite(out.errors["C_W"]).all()
        and re.search(r"C_W = 7\.4\d+ \(times or over 1\.63\)", repr(out))
    )
    inside = fit(net, X, y, ridge=1e-3, vary="C_W")
    assert inside.bounded == () and "bound" not in repr(inside) and "in 6 steps, converged" in repr(inside)
    apart = fit(net, X, y, ridge=1e-3, vary="C_b", shared=False)
    assert apart.bounded == ("C_b",) and repr(apart).count("lower bound") == int((apart.values["C_b"] < 1.1e-8).sum()) >= 1
    large = fit(net, X, 1e5 * np.ones(8), ridge=1.0, vary=("C_b",))
    assert large.bounded == ("C_b",) and "C_b = 1e+04 (at the upper bound of the search)" in repr(large)


def test_a_maximum_where_the_kernel_is_singular():
    """Targets without noise of a linear network: the evidence grows until the ridge is lost in rounding; said, and nothing raised."""
    X = np.random.RandomState(1).randn(8, 2)
    out = fit(lg.mlp([8], activation="linear"), X, X @ np.array([1.0, -2.0]), ridge=1e-3, vary="ridge")
    assert out.evidence > out.start and (out.ridge <= 2e-8 or not out.converged) and np.isfinite(out.evidence)


# ---------------------------------------------------------------- at the door


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"y": [0, 1]}, "integer labels"),
        ({"y": np.ones((2, 3))}, r"`y`: got shape \(2, 3\); needed one column per output"),
        ({"order": 2}, "`order`: got 2"),
        ({"ridge": -1.0}, "`ridge`: got -1.0"),
        ({"net": "mlp"}, "`net`: got a str"),
        ({"X": TRAIN[0]}, "`X`"),
    ],
)
def test_bad_input(changes, told):
    with pytest.raises(InputError, match=told):
        evidence(**{"net": relu(), "X": TRAIN, "y": Y, **changes})


def test_what_fit_and_scan_refuse():
    with pytest.raises(InputError, match="`vary`: got 'width'"):
        fit(relu(), TRAIN, Y, vary=["width"])
    with pytest.raises(InputError, match="`C_W`: got a smallest value 0 to start from"):
        fit(relu(0.0), TRAIN, Y, ridge=0.1, vary="C_W")
    with pytest.raises(SingularKernelError, match="Points 0 and 2 are the same"):
        fit(relu(), np.concatenate([TRAIN, TRAIN]), np.concatenate([Y, Y]), vary=("C_W", "C_b"))
    with pytest.raises(InputError, match="`vary`: got no names"):
        fit(relu(), TRAIN, Y, vary=[])
    with pytest.raises(InputError, match="traced values"):
        jax.grad(lambda c: fit(relu(c), TRAIN, Y).evidence)(1.0)
    with pytest.raises(InputError, match="`C_W`"):
        scan(relu(), TRAIN, Y, C_W=[-1.0])
    with pytest.raises(InputError, match="`depths`: got 1"):
        scan(relu(), TRAIN, Y, C_W=1.0, depths=[1])
    with pytest.raises(UnsupportedError, match="networks of other depths"):
        scan(lg.resnet_mlp(8, 1), TRAIN, Y[:, 0], C_W=1.0)
    twice = np.concatenate([TRAIN, TRAIN])
    with pytest.raises(SingularKernelError, match="Points 0 and 2 are the same"):
        evidence(relu(), twice, np.concatenate([Y, Y]))
    with pytest.raises(InputError, match=r"`ridge`: got 0.0; needed one with which the kernel is regular"):
        scan(relu(), twice, np.concatenate([Y, Y]), C_W=[1.0, 2.0])
