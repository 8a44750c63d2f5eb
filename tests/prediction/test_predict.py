"""lg.predict for ensembles: the numbers of PDLT-style ensembles, other libraries, and the behaviour at the door."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

import largen as lg
from largen import memory
from largen.errors import InputError, SingularKernelError
from largen.prediction import factor, kernels as blocks, schedule, weights
from largen.theory import kernels, variances


def circle(angles):
    return 1.2 * np.stack([np.cos(angles), np.sin(angles)], -1)


ANGLES = np.array([0.6, 1.9, -1.0])
X, X_TEST, Y = circle(np.array([0, 1.2, 2.5])), circle(ANGLES), np.array([0.8, -0.5, 0.3])
RATES = (0.3, 1.0)
TANH = lg.mlp(widths=[64], out=1, activation="tanh", C_W=1.5, C_b=0.1)
RELU = lg.mlp(widths=[64], out=1, activation="relu", C_W=2.0)
TANH3 = lg.mlp(widths=[64, 64], out=1, activation="tanh", C_W=1.5, C_b=0.1)


# eigenvalues of Theta~, mean, covariance (diagonal; off-diagonal 12, 13, 23), Bayes mean: theory/pdlt_10_11.md section 1.4. The tanh
# values there are good to about 5e-6 (a coarse quadrature), the ReLU ones, closed forms, to all digits.
@pytest.mark.slow
@pytest.mark.parametrize(
    "net, eigenvalues, mean, diagonal, off, bayes, tolerance",
    [
        (
            TANH,
            (0.317833, 2.351390),
            (0.08629793, -0.18453871, 1.14882715),
            (0.02576154, 0.03283367, 0.21549914),
            (-0.00954798, -0.02075239, -0.04217776),
            (0.06030971, -0.22765045, 1.46331201),
            6e-6,
        ),
        (
            RELU,
            (0.787819, 3.553538),
            (0.08492965, -0.22275271, 0.76007553),
            (0.06267428, 0.07905575, 0.72855255),
            (-0.03045042, -0.11489998, 0.06836056),
            (0.05052356, -0.27916314, 0.98950152),
            6e-9,
        ),
        (TANH3, None, (0.10166402, -0.16000518, 0.94957159), (0.02911295, 0.03663653, 0.23200538), None, None, 6e-6),
    ],
    ids=["tanh", "relu", "tanh-3"],
)
def test_printed_ensembles(net, eigenvalues, mean, diagonal, off, bayes, tolerance):
    p = lg.predict(net, X, Y, X_TEST, rates=RATES, covariance="full")
    assert p.mean.dtype == np.float64 and isinstance(p.mean, np.ndarray)
    assert np.allclose(p.mean, mean, atol=tolerance, rtol=0)
    assert np.allclose(p.cov.diagonal(), diagonal, atol=tolerance, rtol=0)
    if eigenvalues:
        assert np.allclose((p.condition.smallest, p.condition.largest), eigenvalues, atol=2e-6)
        assert np.allclose(p.cov[np.triu_indices(3, 1)], off, atol=tolerance, rtol=0)
        assert np.allclose(lg.predict(net, X, Y, X_TEST, how="bayes").mean, bayes, atol=tolerance, rtol=0)


@pytest.mark.parametrize("net, loss", [(TANH, 0.604913), (RELU, 0.738446)], ids=["tanh", "relu"])
def test_expected_test_loss(net, loss):
    """The loss is over the 4 identical outputs of the printed ensembles: 2 sum of (m - y)^2 + C_bb, per output half of that."""
    p = lg.predict(net, X, Y, X_TEST, rates=RATES, covariance="full")
    assert abs(((p.mean - np.cos(ANGLES)) ** 2 + p.cov.diagonal()).sum() / 2 - loss) < 4e-6


def test_last_layer_training_is_the_posterior():
    """PDLT 10.46: with rates only in the last layer the NTK is the NNGP; and the printed posterior covariance of the ReLU net."""
    last = lg.predict(RELU, X, Y, X_TEST, rates=((0.0, 0.0), (0.0, 2.0)), covariance="full")
    bayes = lg.predict(RELU, X, Y, X_TEST, how="bayes", covariance="full")
    assert np.allclose(last.mean, bayes.mean, atol=1e-12) and np.allclose(last.cov, bayes.cov, atol=1e-12)
    assert np.allclose(bayes.cov.diagonal(), (0.05996366, 0.07532107, 0.69329054), atol=6e-9)
    assert np.allclose(bayes.cov[np.triu_indices(3, 1)], (-0.03258467, -0.10968589, 0.07897523), atol=6e-9)
    assert np.abs(lg.predict(RELU, X, Y, X_TEST, rates=RATES).mean - bayes.mean).max() > 0.05  # the control is told apart


def test_bayes_with_noise_is_scikit_learns_posterior():
    rng = np.random.default_rng(0)
    points, y, noise = rng.normal(size=(12, 3)), rng.normal(size=(12, 2)), rng.uniform(0.1, 0.5, size=12)
    net = lg.Dense(1, C_W=3.0, C_b=0.25)  # K = 0.25 + x.x'
    ours = lg.predict(net, points[:8], y[:8], points[8:], how="bayes", ridge=noise[:8], covariance="full")
    options: Any = {"alpha": noise[:8], "optimizer": None}  # both documented, neither in its annotations
    theirs = GaussianProcessRegressor(DotProduct(0.5, "fixed"), **options).fit(points[:8], y[:8])
    mean, cov = theirs.predict(points[8:], return_cov=True)
    assert np.allclose(ours.mean, mean, atol=1e-12) and np.allclose(ours.cov, np.asarray(cov)[..., 0], atol=1e-12)


def test_shapes_times_and_dtypes():
    y = np.stack([Y, 2 * Y], 1)
    path = lg.predict(RELU, X, y, X_TEST, time=[0.0, 1.0, 9.0, np.inf], rates=RATES, covariance="full")
    assert path.mean.shape == (4, 3, 2) and path.cov.shape == (4, 3, 3) and path.initial_variance.shape == (3,)
    assert np.allclose(path.mean[..., 1], 2 * path.mean[..., 0], atol=1e-14)
    assert np.allclose(np.diag(path.cov[0]), path.initial_variance)
    one = lg.predict(RELU, X, Y, X_TEST, time=1.0, rates=RATES, covariance="full")
    assert one.mean.shape == (3,) and np.allclose(one.mean, path.mean[1, :, 0], atol=1e-14)
    steps = lg.predict(RELU, X, Y, X_TEST, how="descent", eta=1e-3, steps=1000, rates=RATES)
    assert steps.time == 1.0 and np.allclose(steps.mean, one.mean, atol=1e-3)
    newton = lg.predict(RELU, X, Y, X_TEST, how="newton", rates=RATES)
    assert np.allclose(newton.mean, path.mean[3, :, 0], atol=1e-14)
    single = lg.predict(RELU, X.astype(np.float32), Y, X_TEST, covariance="full")
    assert single.mean.dtype == single.cov.dtype == np.float32 and isinstance(single.mean, np.ndarray)
    assert isinstance(lg.predict(RELU, jnp.asarray(X), Y, X_TEST).mean, jax.Array)
    assert "mean" in repr(one) and one.missing == {}


def test_test_points_may_be_train_points():
    p = lg.predict(RELU, X, Y, X, covariance="full")
    assert np.allclose(p.mean, Y, atol=1e-12) and np.abs(p.cov).max() < 1e-12


def test_gradient_through_a_prediction():
    def loss(C_W):
        net = lg.mlp(widths=[64], out=1, activation="relu", C_W=C_W, C_b=0.1)
        return (lg.predict(net, X, Y, X_TEST, time=2.0).mean ** 2).sum()

    with jax.enable_x64(True):
        slope = float(jax.grad(loss)(1.5))
    assert abs(slope - (loss(1.5 + 1e-5) - loss(1.5 - 1e-5)) / 2e-5) < 1e-8


def test_max_learning_rate_is_the_edge_of_descent():
    theta = lg.kernel(RELU, X, rates=RATES).ntk
    edge = lg.max_learning_rate(theta)
    assert np.isclose(edge, 2 / 3.553538, atol=1e-6)
    wired = np.einsum("ab,ij->abij", theta, np.eye(2))
    assert np.isclose(lg.max_learning_rate(wired), edge, rtol=1e-14)
    lg.predict(RELU, X, Y, X_TEST, how="descent", eta=edge, steps=3, rates=RATES)
    with pytest.raises(InputError, match=r"`eta`: got .* diverges; needed at most 2/lambda_max = 0.5628.*lg.max_learning_rate"):
        lg.predict(RELU, X, Y, X_TEST, how="descent", eta=1.01 * edge, steps=3, rates=RATES)
    for bad in (np.ones((2, 3)), np.zeros((2, 2)), np.array([[1.0, 2.0], [0.0, 1.0]]), np.full((2, 2), np.inf), "a"):
        with pytest.raises(InputError, match="theta"):
            lg.max_learning_rate(bad)


def test_singular_kernels_say_which_points_and_what_to_do():
    points, y = np.concatenate([X, X[:1]]), np.concatenate([Y, Y[:1]])
    with pytest.raises(SingularKernelError) as caught:
        lg.predict(RELU, points, y, X_TEST)
    for words in ("smallest eigenvalue", "Points 0 and 3 are the same for this kernel", "ridge=", "drop duplicate points", "finite"):
        assert words in str(caught.value)
    assert np.isfinite(lg.predict(RELU, points, y, X_TEST, time=100.0).mean).all()
    # a point that is there twice is one with half the ridge
    half = lg.predict(RELU, X, Y, X_TEST, ridge=np.array([5e-4, *[1e-3] * (len(X) - 1)])).mean
    np.testing.assert_allclose(lg.predict(RELU, points, y, X_TEST, ridge=1e-3).mean, half, rtol=1e-9)
    with pytest.raises(SingularKernelError, match="rank is 2 of 3: more points than features"):
        lg.predict(lg.Dense(1), X, Y, X_TEST)


def test_poor_conditioning_is_said():
    close = np.concatenate([X, X[:1] + 1e-6])
    poor = lg.predict(RELU, close.astype(np.float64), np.append(Y, 0.8), X_TEST)
    assert poor.condition.number > 1e5 and poor.condition.trust == "good"
    close = np.concatenate([X, X[:1] + 2e-3]).astype(np.float32)
    poor = lg.predict(TANH, close, np.append(Y, 0.8), X_TEST, time=1e5)
    assert poor.condition.trust.startswith("poor: float32 rounding is amplified") and "float64" in poor.condition.trust


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"y": [0, 1, 2]}, r"`y`: got integer labels .*lg.one_hot\(y\)"),
        ({"y": Y[:2]}, r"`y`: got shape \(2,\); needed real targets of shape \(3,\)"),
        ({"y": np.ones((3, 2)), "net": lg.mlp(widths=[8], out=5)}, r"`y`: got shape \(3, 2\); needed one column per output .* \(5\)"),
        ({"X": X[0]}, r"`X`: got an array of shape \(2,\)"),
        ({"X_test": X_TEST[:, :1]}, "`X_test`: got 1 columns; needed 2 columns, as in X"),
        ({"X_test": np.full((1, 2), np.nan)}, "`X_test`: got 2 entries that are NaN"),
        ({"net": "mlp"}, "`net`: got a str"),
        ({"how": "gd"}, "`how`: got 'gd'; needed one of 'flow', 'bayes', 'descent', 'newton'"),
        ({"how": "bayes", "rates": RATES}, r"`rates`: got \(0.3, 1.0\); needed rates=\"ntk\" with how=\"bayes\""),
        ({"how": "bayes", "params": {}}, "`params`: got one network"),
        ({"how": "bayes", "time": 1.0}, '`time`: got 1.0; needed no time with how="bayes"'),
        ({"how": "descent", "eta": 0.1}, "`steps`: got None"),
        ({"how": "descent", "steps": 3}, "`eta`: got None"),
        ({"how": "descent", "eta": -0.1, "steps": 3}, "`eta`: got -0.1"),
        ({"how": "descent", "eta": 0.1, "steps": 2.5}, "`steps`: got 2.5; needed an integer >= 0"),
        ({"how": "descent", "eta": 0.1, "steps": 2, "time": 3.0}, r"`time`: got 3.0; .*eta \* steps"),
        ({"eta": 0.1}, r"`eta`: got 0.1; needed no eta with how=\"flow\" .*Flow takes time=eta \* steps"),
        ({"time": -1.0}, "`time`: got -1.0; needed a number >= 0"),
        ({"time": [1.0, np.nan]}, "`time`"),
        ({"time": "long"}, "`time`: got 'long'"),
        ({"ridge": -1.0}, "`ridge`: got -1.0"),
        ({"ridge": [0.1, 0.2]}, r"`ridge`: got shape \(2,\); needed a number >= 0, or one per sample of shape \(3,\)"),
        ({"ridge": [0.1, 0.2, -0.5]}, "`ridge`: got a smallest entry -0.5"),
        ({"order": 2}, "`order`: got 2"),
    ],
)
def test_bad_input(changes, told):
    arguments = {"net": RELU, "X": X, "y": Y, "X_test": X_TEST, **changes}
    with pytest.raises(InputError, match=told):
        lg.predict(**arguments)


def test_the_end_of_descent():
    end, flow = (lg.predict(RELU, X, Y, X_TEST, covariance="full", **how) for how in ({"how": "descent", "eta": 0.3, "steps": np.inf}, {}))
    assert end.time == np.inf and np.allclose(end.mean, flow.mean, atol=1e-14) and np.allclose(end.cov, flow.cov, atol=1e-14)
    f = factor(np.diag([1.0, 2.0]))
    assert np.allclose(weights(f, schedule("descent", eta=1.0, steps=3)), [1, 1])
    with pytest.raises(InputError, match="`eta`"):  # on the edge the last mode swings for ever
        weights(f, schedule("descent", eta=1.0, steps=np.inf))


def test_what_does_not_fit_into_memory_is_refused_before_any_work(monkeypatch):
    assert 2**20 < memory.available() < 2**50
    monkeypatch.setattr(memory, "available", lambda: 1000.0)
    with pytest.raises(InputError, match=r"3 train and 3 test points at 1 time .* GiB .*batches"):
        lg.predict(RELU, X, Y, X_TEST)
    with pytest.raises(InputError, match="Ask for fewer points or draws"):
        lg.sample(RELU, X, jax.random.key(0), draws=10)


def test_few_points_take_one_program_and_the_numbers_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked first waits for one kernel to be traced, not for one of every shape."""
    rng = np.random.default_rng(1)
    A, y, B = rng.normal(size=(7, 3)), rng.normal(size=7), rng.normal(size=(6, 3))

    def asked(covariance: str) -> tuple[Any, int]:
        before = kernels._walk_kernel.traced + variances._walked.traced
        return lg.predict(TANH, A, y, B, covariance=covariance), kernels._walk_kernel.traced + variances._walked.traced - before

    one, whole = asked("diagonal"), asked("full")[0]
    monkeypatch.setattr(blocks, "FEW", 0)
    several, blockwise = asked("diagonal"), asked("full")[0]
    assert (one[1], several[1]) == (1, 3)
    found, wanted = ((p.mean, p.variance, q.cov) for p, q in ((one[0], whole), (several[0], blockwise)))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_images_and_sequences() -> None:
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(7, 4, 3, 2)), rng.normal(size=5)
    net = lg.Conv(1, 2, C_W=1.5, C_b=0.1) >> lg.Act("erf") >> lg.GlobalAvgPool() >> lg.Dense(1)
    p = lg.predict(net, X[:5], y, X[5:], time=2.0, covariance="full")
    known = lg.kernel(net, X)
    values, vectors = np.linalg.eigh(known.ntk[:5, :5])
    R = known.ntk[5:, :5] @ (vectors * ((1 - np.exp(-2 * values)) / values)) @ vectors.T
    np.testing.assert_allclose(p.mean, R @ y, rtol=1e-9)
    cross = R @ known.nngp[:5, 5:]
    np.testing.assert_allclose(p.cov, known.nngp[5:, 5:] - cross - cross.T + R @ known.nngp[:5, :5] @ R.T, rtol=1e-8)
    params = lg.init(net, (4, 3, 2), jax.random.key(0), dtype=np.float64)
    assert lg.predict(net, X[:5], y[:, None], X[5:], params=params, time=2.0).mean.shape == (2, 1)
    assert lg.sample(net, X, jax.random.key(1), draws=3).shape == (3, 7, 1)
    with pytest.raises(InputError, match="points of shape"):
        lg.predict(net, X[:5], y, X[5:, :3])
