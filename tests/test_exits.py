"""No public function returns a number that is not finite without saying so, and what it says is about the user's own argument."""

import inspect
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import largen as lg
from largen import exits
from largen.data import scaling
from largen.errors import InputError, warn

X, y, KEY = np.random.RandomState(0).randn(3, 3), np.array([1.0, -1.0, 0.5]), jax.random.key(0)
NET = lg.mlp(widths=[8], activation="relu", C_W=2.0)
SMOOTH = lg.mlp(widths=[8], activation="erf", C_W=1.5)
LINEAR = lg.mlp(widths=[8], activation="linear")
HUGE = lg.mlp(widths=[8], activation="relu", C_W=1e200)
F2, F4 = X.astype(np.float16), X.astype(np.float32)
PARAMS = lg.init(NET, 3, KEY)
MANY = lg.init(NET, 3, KEY, networks=2)

# what is asked, and the argument that is named
TOO_LARGE = {
    "kernel, smooth": (lambda: lg.kernel(SMOOTH, X * 1e160), "X1"),
    "kernel, relu": (lambda: lg.kernel(NET, X * 1e300), "X1"),
    "kernel, second points": (lambda: lg.kernel(NET, X, X * 1e300), "X2"),
    "kernel, float32": (lambda: lg.kernel(NET, F4 * np.float32(1e20)), "X1"),
    "kernel, float16": (lambda: lg.kernel(NET, F2 * 2000), "X1"),
    "kernel, JAX": (lambda: lg.kernel(NET, jnp.asarray(F4) * 1e20), "X1"),
    "kernel, C_W": (lambda: lg.kernel(HUGE, X), "C_W"),
    "kernel, C_b": (lambda: lg.kernel(lg.mlp(widths=[8], activation="relu", C_W=2.0, C_b=1.7e308), X), "C_b"),
    "kernel, rates": (lambda: lg.kernel(NET, X, rates=(1e308, 1e308)), "rates"),
    "gram": (lambda: lg.gram(NET, X * 1e300), "X"),
    "gram, float16": (lambda: lg.gram(NET, F2 * 2000), "X"),
    "gram, C_W": (lambda: lg.gram(HUGE, X), "C_W"),
    "signal": (lambda: lg.signal(NET, X * 1e300), "X"),
    "signal, C_W": (lambda: lg.signal(HUGE, X), "C_W"),
    "corrections": (lambda: lg.corrections(NET, X * 1e300), "X"),
    "corrections, C_W": (lambda: lg.corrections(HUGE, X), "C_W"),
    "two_points": (lambda: lg.exact.two_points(NET, X[0] * 1e300, X[1]), "x_plus"),
    "two_points, C_W": (lambda: lg.exact.two_points(HUGE, X[0], X[1]), "C_W"),
    "metric_chain": (lambda: lg.exact.metric_chain(NET, X * 1e300, KEY, draws=3), "X"),
    "metric_chain, C_W": (lambda: lg.exact.metric_chain(HUGE, X, KEY, draws=3), "C_W"),
    "deep_linear": (lambda: lg.exact.deep_linear(LINEAR, X * 1e300), "X"),
    "size_moments": (lambda: lg.exact.size_moments(NET, X[:1] * 1e300), "X"),
    "gradient_law": (lambda: lg.exact.gradient_law(lg.mlp(widths=[8, 8], activation="relu", C_W=1e200), X), "C_W"),
    "couplings": (lambda: lg.exact.couplings(np.eye(2) * 1e-200, np.ones((2,) * 4), np.eye(2), 3), "K"),
    "init": (lambda: lg.init(lg.Dense(2, C_W=1e300), 3, KEY), "C_W"),
    "init, networks": (lambda: lg.init(lg.Dense(2, C_W=1e300), 3, KEY, networks=2), "C_W"),
    "apply": (lambda: lg.apply(NET, PARAMS, F4 * np.float32(1e38)), "X"),
    "apply, parameters": (lambda: lg.apply(NET, jax.tree_util.tree_map(lambda p: p * 1e30, PARAMS), F4), "params"),
    "each": (lambda: lg.each(lg.apply, NET, MANY, F4 * np.float32(1e38)), "X"),
    "preactivations": (lambda: lg.measure.preactivations(NET, PARAMS, F4 * np.float32(1e38)), "X"),
    "empirical_ntk": (lambda: lg.empirical_ntk(NET, PARAMS, F4 * np.float32(1e30)), "X1"),
    "metric": (lambda: lg.each(lg.measure.metric, NET, MANY, F4 * np.float32(1e30)), "X"),
    "train, inputs": (lambda: lg.train(NET, PARAMS, F4 * np.float32(1e30), y, eta=0.1, steps=2), "X"),
    "train, targets": (lambda: lg.train(NET, PARAMS, F4, y * 1e30, eta=0.1, steps=2), "y"),
    "train, diverging": (lambda: lg.train(NET, PARAMS, F4, y, eta=1e30, steps=5), "eta"),
    "evidence": (lambda: lg.bayes.evidence(NET, X, y * 1e300), "y"),
    "evidence, inputs": (lambda: lg.bayes.evidence(NET, X * 1e200, y), "X"),
    "evidence, C_W": (lambda: lg.bayes.evidence(HUGE, X, y), "C_W"),
    "scan": (lambda: lg.bayes.scan(NET, X, y, C_W=[1.0, 1e300], ridge=0.1), "C_W"),
    "fit": (lambda: lg.bayes.fit(NET, X * 1e200, y, ridge=0.1), "X"),
    "fit, targets": (lambda: lg.bayes.fit(NET, X, y * 1e300, ridge=0.1), "y"),
    "predict, test points": (lambda: lg.predict(NET, X, y, X * 1e160, time=1.0), "X_test"),
    "predict, train points": (lambda: lg.predict(NET, X * 1e160, y, X), "X"),
    "predict, C_W": (lambda: lg.predict(HUGE, X, y, X), "C_W"),
    "predict, order 1": (lambda: lg.predict(NET, X * 1e200, y, X, how="bayes", order=1), "X"),
    "sample": (lambda: lg.sample(NET, X * 1e160, KEY), "X"),
    "sample, posterior": (lambda: lg.sample(NET, X, KEY, given=(X * 1e200, y)), "given"),
    "generalization": (lambda: lg.analysis.generalization(NET, X, y * 1e200, X, y, ridge=0.1, how="bayes"), "y"),
    "robustness": (lambda: lg.analysis.robustness(NET, X[0] * 1e300, X[1]), "x1"),
    "conditional_variance": (lambda: lg.bayes.conditional_variance(NET, X, y * 1e300), "z"),
    "representation_update": (lambda: lg.bayes.representation_update(NET, X * 1e200, y), "X"),
    "contributions": (lambda: lg.analysis.contributions(NET, X * 1e300), "X"),
    "plan_rates": (lambda: lg.plan_rates(lg.mlp(widths=[8, 8], activation="relu", C_W=1e200), n_in=3), "C_W"),
    "scale_invariant_tensors": (lambda: lg.analysis.scale_invariant_tensors("relu", 3, K=1e300), "K"),
    "max_learning_rate": (lambda: lg.max_learning_rate(np.eye(3) * 1e-320), "theta"),
    "rates_of_sgd": (lambda: lg.rates_of_sgd(NET, 1e308, n_in=100), "lr"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_what_leaves_the_dtype_names_the_argument(case):
    ask, argument = TOO_LARGE[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # inputs are far from standardised
        with pytest.raises(InputError) as error:
            ask()
    assert error.value.argument == argument and len(str(error.value)) < 420


def test_deep_networks_that_grow_name_their_weights_and_not_ordinary_inputs():
    with pytest.raises(InputError, match="C_W") as error:
        lg.kernel(lg.mlp(widths=[8] * 4, activation="exp", C_W=3.0), X)
    assert error.value.argument == "C_W" and "critical" in str(error.value)


def test_the_message_says_sizes_and_a_mend():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(InputError, match=r"2.24e\+20, with which 9 of 9 entries of `.nngp` of `kernel`.*float32.*standardize.*float64"):
            lg.kernel(NET, F4 * np.float32(1e20))


BUILDERS = {"Repeat", "activation", "chain", "cnn", "dumps", "each", "figure", "loads", "mlp", "myrtle", "one_hot", "resnet", "resnet_mlp"}
BUILDERS |= {"transformer", "widen"}
INFINITE = {  # fields with what infinity means in their documentation
    "angles": ("crossover",),
    "critical": ("neighbour", "onset"),
    "scan": ("log",),
    "fixed_points": ("xi_q", "xi_c"),
    "generalization": ("time",),
    "information": ("entropy", "inputs"),
    "phase_diagram": ("K",),
    "predict": ("time",),
    "size_moments": ("moments", "cumulants", "kurtosis", "norm_variance", "series", "double_scaled", "cutoff"),
}
UNSEEN = {  # where NaN has a meaning, or which are looked at tile by tile
    "fit": ("errors",),
    "gram": ("nngp", "ntk"),
    "phase_diagram": ("chi_par", "chi_perp", "c", "xi_q", "xi_c"),
}


def test_every_public_function_that_computes_is_looked_at():
    face = [(name, getattr(space, name)) for space in (lg, lg.measure, lg.exact, lg.bayes, lg.analysis) for name in space.__all__]
    functions = {name: f for name, f in face if inspect.isfunction(f)}
    assert len(functions) > 60
    assert {name for name, f in functions.items() if not hasattr(f, exits.DECLARED)} == BUILDERS
    declared = {name: getattr(f, exits.DECLARED) for name, f in functions.items() if name not in BUILDERS}
    assert {name: infinite for name, (infinite, _) in declared.items() if infinite} == INFINITE
    assert {name: unseen for name, (_, unseen) in declared.items() if unseen} == UNSEEN


def test_infinities_with_a_meaning_are_returned():
    assert np.isinf(lg.fixed_points("relu", 2.0, 0.0).xi_c).all()
    assert np.isinf(lg.exact.angles("linear", 0.3, layers=2).crossover)
    twice = lg.analysis.information(lg.mlp(widths=[8], out=2, activation="relu", C_W=2.0), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert twice.inputs is not None and twice.inputs > 15 and (twice.infinite.entropy < -15).all()
    dark = lg.analysis.information(lg.mlp(widths=[8], out=2, activation="relu", C_W=2.0), np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert dark.inputs is None and "exactly 0" in dark.missing["inputs"]
    diagram = lg.phase_diagram("tanh", [1.0, 1e4], [0.0])
    assert diagram.phase[1, 0] == "divergent" and np.isinf(diagram.K[1, 0]) and np.isnan(diagram.xi_c[1, 0])


def test_traced_values_pass():
    assert not np.isfinite(jax.jit(lambda points: lg.kernel(NET, points).nngp)(F4 * np.float32(1e20))).any()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, jnp.bfloat16])
def test_finite_numbers_whose_sum_is_not_are_finite(kind):
    large = np.full((3, 40), jnp.finfo(kind).max, kind)
    as_jax = np.asarray if kind is np.float64 else jnp.asarray
    assert exits.is_finite(large) and exits.is_finite(as_jax(large))
    for bad in (np.inf, -np.inf, np.nan):
        broken = large.copy()
        broken[1, 7] = bad
        assert not exits.is_finite(broken) and not exits.is_finite(as_jax(broken))


def test_a_fault_inside_is_told_about_the_argument_of_whoever_was_called():
    @exits.finite()
    def inner(theta):
        return {"a": [np.exp(theta)]}

    @exits.finite("loose", unseen=("blank",))
    def outer(data, scale=1.0):
        return {"loose": np.array([np.nan if scale == 2 else np.inf]), "blank": np.nan, **inner(np.asarray(data) * scale)}

    assert outer([1.0])["loose"] == np.inf
    with pytest.raises(InputError, match="loose"):
        outer([1.0], scale=2)
    with pytest.raises(InputError, match=r"1 of 2 entries of `\['a'\]\[0\]` of `inner`") as error:
        outer([1.0, 2e5])
    assert error.value.argument == "data"
    again = pickle.loads(pickle.dumps(error.value))
    assert str(again) == str(error.value) and again.argument == "data"


def test_overflows_of_python_and_lapack_are_told_only_of_sizes_that_explain_them():
    @exits.finite()
    def power(x):
        return float(x) ** 10 if x else 1 / x

    with pytest.raises(InputError, match="on the way"):
        power(1e200)
    with pytest.raises(ZeroDivisionError):
        power(0.0)


def test_warnings_point_at_the_caller(monkeypatch):
    monkeypatch.setattr(scaling, "_warned", False)
    with pytest.warns(UserWarning, match="standardize") as caught:
        lg.predict(NET, X * 1e3, y, X)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="here") as caught:
        warn("here", UserWarning)
    assert caught[0].filename == __file__
