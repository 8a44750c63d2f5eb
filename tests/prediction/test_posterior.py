"""The posterior at order 1/n: printed numbers, the book's formula, exact reweighting, and what hidden layers learn."""

import time
import warnings

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

import largen as lg
from largen.errors import AccuracyWarning, InputError, UnsupportedError
from largen.prediction.posterior.bayes import bayes, evidence_shift
from largen.prediction.posterior.evidence import evidence
from largen.prediction.posterior.observed import tensors
from largen.prediction.posterior.posterior import posterior
from largen.prediction.posterior.representation import conditional_variance, representation_update

# theory/pdlt_6_9.md 8.5, set B; its numbers hold a quadrature error of about 1e-6 (V_(00)(00) = .2097498 there is .2097497 here)
TRAIN, TEST = np.array([[1, 0.6, -0.5], [0.4, -0.9, 0.8]]), np.array([[0.9, -0.2, 0.4]])
Y = np.array([[0.8, -0.5], [-0.3, 1.1]])


def set_b(width: int, out: int = 2):
    return lg.mlp(widths=[width], out=out, activation="tanh", C_W=1.5, C_b=0.1)


@pytest.fixture(scope="module")
def B():
    """K, K1, V of set B's three points."""
    found = tensors(set_b(100), np.concatenate([TRAIN, TEST]))
    return found.K, found.K1, found.V


def first_order(quantity, at: float = 1e5):
    """Coefficient of 1/n of quantity(n), by Richardson extrapolation of n (quantity(n) - quantity(infinity)), error O(1/n^2)."""
    end = quantity(10**13)
    one, two = (n * (quantity(n) - end) for n in (int(at), int(2 * at)))
    return 2 * two - one


def random_problem(seed: int, a: int = 2, m: int = 2, o: int = 2, modes: int = 3):
    """A kernel, directions v_k in which the metric fluctuates (V = sum_k v_k v_k^T), and targets."""
    rng = np.random.default_rng(seed)
    N = a + m
    half, v = rng.normal(size=(N, N)), rng.normal(size=(modes, N, N))
    v = v + v.transpose(0, 2, 1)
    shift = rng.normal(size=(N, N))
    return half @ half.T + np.eye(N), shift + shift.T, v, rng.normal(size=(a, o)), rng.uniform(0.05, 0.3, size=a)


def reweighted(G, y, ridge):
    """Exact posterior of a network whose metric is one of G (draws, N, N), equally often: mean (m, o), cov (m, m, o, o), log E[w]."""
    a, noise = len(y), np.diag(np.broadcast_to(ridge, len(y)))
    inverse = np.linalg.inv(G[:, :a, :a] + noise)
    R = G[:, a:, :a] @ inverse
    mean, own = R @ y, G[:, a:, a:] - R @ G[:, :a, a:]
    log = -(y * (inverse @ y)).sum((1, 2)) / 2 - y.shape[1] / 2 * np.linalg.slogdet(2 * np.pi * (G[:, :a, :a] + noise))[1]
    w = np.exp(log - log.max())
    share = w / w.sum()
    centre = np.einsum("d,dbi->bi", share, mean)
    apart = mean - centre
    cov = np.einsum("d,dbe->be", share, own)[:, :, None, None] * np.eye(y.shape[1])
    return centre, cov + np.einsum("d,dbi,dej->beij", share, apart, apart), log.max() + np.log(w.mean())


# ---------------------------------------------------------------- printed numbers


def test_infinite_width_of_set_b():
    p = lg.predict(set_b(64), TRAIN, Y, TEST, how="bayes", covariance="full")
    assert np.allclose(p.mean, [[0.22471672, 0.48206671]], atol=2e-6) and abs(p.cov[0, 0] - 0.05708556) < 2e-6


def test_posterior_mean_of_set_b(B):
    K, K1, V = B
    assert np.allclose(K[0], (0.664312765, 0.000578903, 0.356947431), atol=2e-8) and not K1.any()
    assert np.allclose((V[0, 0, 0, 0], V[0, 1, 0, 1], V[0, 0, 1, 1]), (0.209749674, 0.313788041, 0.005223701), atol=1e-6)
    printed = (-0.02042106, 0.03800149)
    assert np.allclose(100 * bayes(K, K1, V, 100, Y).shift, printed, atol=2e-6)
    # the tensors that enter are those of the third decimal of the exact ones: n = 50, 100, 200 by reweighting, +- 7e-5, run into 1/n
    exact = np.array([[-0.02240, 0.04000], [-0.02142, 0.03908], [-0.02088, 0.03859]])
    assert np.allclose(2 * exact[2] - exact[1], printed, atol=4 * 7e-5 * 5**0.5)


def book(K, K1, V, n, y):
    """(6.88) of PDLT as printed, with couplings for all observed outputs; it has inverses at test points, and no noise."""
    a, o = y.shape
    c = lg.exact.couplings(K, V, K1, n, neurons=o)
    g, v = c.covariance, c.quartic
    inverse = np.linalg.inv(g[:a, :a])
    m = g[a:, :a] @ inverse @ y
    left = g[a:, a:] - g[a:, :a] @ inverse @ g[:a, a:]
    phi = np.concatenate([y, m])
    cubic = np.einsum("be,edfg,di,fk,gk->bi", left, v[a:], phi, phi, phi)
    pairs = o * np.einsum("ef,bg->befg", left, left) + 2 * np.einsum("be,fg->befg", left, left)
    return m + cubic / 2 + np.einsum("befg,efgd,di->bi", pairs, v[a:, a:, a:], phi) / 2


def test_the_mean_is_the_books(B):
    """(6.88) needs the couplings of all observed outputs and is linear in 1/n only to that order: compared at order 1/n."""
    K, K1, V = B
    ours = first_order(lambda n: bayes(K, K1, V, n, Y).mean)
    assert np.allclose(ours, first_order(lambda n: book(K, K1, V, n, Y)), atol=1e-7)
    known = tensors(lg.mlp(widths=[30, 60], out=2, activation="relu", C_W=1.8, C_b=0.1), np.concatenate([TRAIN, TEST]))
    K, K1, V = known.K, known.K1, known.V
    assert np.abs(K1).max() > 0.1
    assert np.allclose(first_order(lambda n: bayes(K, K1, V, n, Y).mean), first_order(lambda n: book(K, K1, V, n, Y)), atol=1e-6)


# ---------------------------------------------------------------- reweighting


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mean_covariance_and_evidence_are_exact_reweighting(seed):
    """A metric that takes the values G + K1/n +- sqrt(k/n) v_k has covariance V/n exactly; all of order 1/n must agree."""
    K, K1, v, y, ridge = random_problem(seed)
    V = np.einsum("kab,kcd->abcd", v, v)

    def exact(n):
        steps = np.sqrt(len(v) / n) * v
        return reweighted(K + K1 / n + np.concatenate([steps, -steps]), y, ridge)

    def ours(n):
        p = bayes(K, K1, V, n, y, ridge)
        return p.mean, p.cov, p.observed.log + evidence_shift(V[:2, :2, :2, :2], n, p.observed)

    for part in range(3):
        got, wanted = (first_order(lambda n, f=f, part=part: f(n)[part], 1e4) for f in (ours, exact))
        assert np.abs(wanted).max() > 0.01
        assert np.allclose(got, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@given(st.integers(0, 10**6))
def test_laws_of_the_posterior(seed):
    """Order of samples and rotations of outputs do not matter; unobserved outputs do not; a train point without noise is met exactly."""
    K, K1, v, y, ridge = random_problem(seed)
    V, n = np.einsum("kab,kcd->abcd", v, v) / len(v), 1000
    p = bayes(K, 0.1 * K1, V, n, y, ridge)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(2, 2)))[0]
    q = bayes(K, 0.1 * K1, V, n, y @ turn, ridge)
    assert np.allclose(q.mean, p.mean @ turn, rtol=1e-8, atol=1e-8)
    assert np.allclose(q.cov, np.einsum("beij,ik,jl->bekl", p.cov, turn, turn), rtol=1e-8, atol=1e-8)
    assert np.isclose(evidence_shift(V[:2, :2, :2, :2], n, q.observed), evidence_shift(V[:2, :2, :2, :2], n, p.observed))
    order = np.array([1, 0, 2, 3])
    r = bayes(K[np.ix_(order, order)], 0.1 * K1[np.ix_(order, order)], V[np.ix_(*[order] * 4)], n, y[::-1], ridge[::-1])
    assert np.allclose(r.mean, p.mean, rtol=1e-8, atol=1e-8) and np.allclose(r.cov, p.cov, rtol=1e-8, atol=1e-8)
    again = np.array([0, 1, 0])
    s = bayes(K[np.ix_(again, again)], 0 * K[:3, :3], V[np.ix_(*[again] * 4)], n, y)
    assert np.allclose(s.mean, y[:1], atol=1e-8) and np.abs(s.cov).max() < 1e-8


@pytest.mark.slow
def test_covariance_of_real_networks_by_reweighting():
    """The posterior of ReLU networks with two hidden layers: exact metrics of finite networks, weighted by the likelihood, two widths."""
    X, y, ridge = np.concatenate([TRAIN, TEST]), Y, 0.1
    found, K, K1, V = {}, None, None, None
    for n in (50, 100):
        net = lg.mlp(widths=[n] * 2, out=2, activation="relu", C_W=1.8, C_b=0.1)
        known = tensors(net, X)
        K, K1, V = known.K, known.K1, known.V
        G = lg.exact.metric_chain(net, X, jax.random.key(n), draws=50_000)[:, -1]
        infinite = bayes(K, K1, V, 10**12, y, ridge)
        parts = []
        for batch in np.split(G, 20):
            mean, cov, log = reweighted(batch, y, ridge)
            parts.append(np.concatenate([(mean - infinite.mean).ravel(), (cov - infinite.cov).ravel(), [log - infinite.observed.log]]) * n)
        found[n] = np.mean(parts, 0), np.std(parts, 0, ddof=1) / 20**0.5
    p = bayes(K, K1, V, 10**6, y, ridge)
    shift = evidence(lg.widen(net, 10**4), TRAIN, y, ridge, order=1).finite_width
    ours = 1e6 * np.concatenate([(p.mean - infinite.mean).ravel(), (p.cov - infinite.cov).ravel(), [shift]])
    (one, e1), (two, e2) = found[50], found[100]
    error = np.sqrt(4 * e2**2 + e1**2)
    assert (np.abs(2 * two - one - ours) < 4 * error).all()
    assert (np.abs(ours) > 6 * e2).any()  # a correction that the samples see


# ---------------------------------------------------------------- the public record


def test_posterior_of_a_network(B):
    net = set_b(100)
    p = posterior(net, TRAIN, Y, TEST, 0.0)
    K, K1, V = B
    known = bayes(K, K1, V, 100, Y)
    assert p.order == 1 and p.how == "bayes" and p.mean.shape == (1, 2) and p.cov.shape == (2, 1, 1)
    assert np.allclose(p.mean, known.mean, atol=1e-12) and np.allclose(p.cov[:, 0, 0], known.cov[0, 0].diagonal(), atol=1e-12)
    assert np.allclose(p.initial_variance, K[2, 2]) and p.condition.trust == "good"
    assert np.abs(p.mean - lg.predict(net, TRAIN, Y, TEST, how="bayes").mean).max() > 1e-4  # the control is told apart


RELU = lg.mlp(widths=[40, 40], out=1, activation="relu", C_W=1.8, C_b=0.1)


def test_columns_of_a_network_with_one_output_are_networks_of_their_own():
    both = posterior(RELU, TRAIN, Y, TEST, 0.1)
    for i in range(2):
        one = posterior(RELU, TRAIN, Y[:, i : i + 1], TEST, 0.1)
        assert one.cov.shape == (1, 1) and np.allclose(both.mean[:, i], one.mean[:, 0]) and np.allclose(both.cov[i], one.cov)
    wired = posterior(lg.mlp(widths=[40, 40], out=2, activation="relu", C_W=1.8, C_b=0.1), TRAIN, Y, TEST, 0.1)
    assert np.abs(wired.mean - both.mean).max() > 1e-4  # outputs of one network wire together (PDLT 6.4.2)


def test_dtypes_and_a_wide_network():
    single = posterior(RELU, TRAIN.astype(np.float32), Y.astype(np.float32), TEST.astype(np.float32), 0.1)
    assert single.mean.dtype == single.cov.dtype == np.float32
    wide = posterior(lg.widen(RELU, 10**6), TRAIN, Y[:, :1], TEST, np.array([0.1, 0.2]))
    known = lg.predict(RELU, TRAIN, Y[:, 0], TEST, how="bayes", ridge=np.array([0.1, 0.2]), covariance="full")
    assert np.allclose(wide.mean[:, 0], known.mean, atol=1e-5) and np.allclose(wide.cov, known.cov, atol=1e-5)


def test_what_is_refused():
    with pytest.raises(InputError, match=r"`net, X`: got traced values; .*lg.bayes.evidence\(order=1\) has a gradient"):
        jax.grad(lambda c: posterior(lg.mlp(widths=[8], C_W=c), TRAIN, Y[:, :1], TEST).mean.sum())(1.0)
    skip = lg.Dense(8) >> lg.Sum(lg.Identity(), lg.Act("relu") >> lg.Dense(8))
    with pytest.raises(UnsupportedError, match="skip connection are not Gaussian"):
        posterior(skip, TRAIN, np.ones((2, 8)), TEST)
    with pytest.raises(InputError, match=r"`K \+ K1/n`.*take order=0, a wider or a shallower network"):
        bayes(np.eye(2), -5 * np.eye(2), np.zeros((2,) * 4), 2, np.ones((1, 1)))
    for wrong in ({"K1": np.eye(3)}, {"V": np.zeros((2, 2))}, {"y": np.ones(1)}, {"y": np.ones((3, 1))}, {"n": 0}):
        with pytest.raises(InputError):
            bayes(**{"K": np.eye(2), "K1": np.zeros((2, 2)), "V": np.zeros((2,) * 4), "n": 5, "y": np.ones((1, 1)), **wrong})


def test_a_correction_too_large_to_trust_is_said():
    deep = lg.mlp(widths=[8] * 6, out=1, activation="relu", C_W=2.0)
    p = posterior(deep, TRAIN, np.array([[4.0], [-4.0]]), TEST, 0.05)
    assert p.condition.trust.startswith("poor: the log likelihood varies between networks")


# ---------------------------------------------------------------- representations


def test_representation_update_of_set_b():
    out = representation_update(set_b(200), TRAIN, Y, X_other=TEST)
    upper = np.triu_indices(3)
    printed = np.array([-0.02317984, -0.53849509, -0.37316063, 0.07182758, -0.19100146, -0.25896981])
    assert np.allclose(200 * 1.5 * out.change[upper], printed, atol=3e-6)
    # exact reweighting at n = 50, 200, +- 1.5e-4, extrapolated to order 1/n
    fifty = np.array([-0.01549, -0.55543, -0.38065, 0.08197, -0.19186, -0.26116])
    twohundred = np.array([-0.02114, -0.54300, -0.37514, 0.07433, -0.19138, -0.25965])
    assert np.allclose((4 * twohundred - fifty) / 3, printed, atol=4 * 1.5e-4 * 17**0.5 / 3)
    assert np.allclose(out.prior, (lg.kernel(set_b(200), np.concatenate([TRAIN, TEST])).nngp - 0.1) / 1.5, atol=1e-8)
    # the book's form, with explicit inverses
    known = tensors(set_b(200), np.concatenate([TRAIN, TEST]))
    K, V = known.K, known.V
    inverse = np.linalg.inv(K[:2, :2])
    pull = np.einsum("abcd,ce,df,ef->ab", V[:, :, :2, :2], inverse, inverse, Y @ Y.T - 2 * K[:2, :2])
    assert np.allclose(out.change, pull / (2 * 200 * 1.5), atol=1e-12)


def test_any_number_of_points_goes_by_the_same_programs():
    X = np.random.default_rng(0).normal(size=(7, 3))
    net, y = set_b(200), np.array([[1.0, 0.2], [-1.0, 0.4], [0.5, -0.3]])
    compiled = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        compiled.append(event)

    representation_update(net, X[:3], y, X_other=X[3:5])
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for many in (4, 6, 7):
            representation_update(net, X[:3], y, X_other=X[3:many])
        assert not compiled
        jax.jit(lambda x: x + 1)(1.0)
        assert compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.slow
def test_sizes_that_no_lattice_resolves_end_soon_and_say_so():
    X = np.random.default_rng(0).normal(size=(3, 2))
    began = time.process_time()
    with pytest.warns(AccuracyWarning, match="are large on the scale"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\|x\|")
        representation_update(lg.mlp(widths=[3], activation="erf"), X, np.array([1.0, -1.0, 0.5]), ridge=0.1, X_other=1e3 * (X + 0.5))
    assert time.process_time() - began < 10


def test_hebbian_variance():
    """(6.78) at the second layer of a tanh network with K^(1) = 1.2, n = 100: (z^2/G, printed, exact by 5e5 samples)."""
    net, x = set_b(100), np.array([[(1.1 / 1.5) ** 0.5]])
    known = tensors(net, x)
    K, V = known.K, known.V
    G = K[0, 0]
    for ratio, printed, exact in ((0, -0.15893, -0.1616), (1, 0, -0.0004), (4, 0.47678, 0.4752), (9, 1.27140, 1.2430)):
        got = 100 * (conditional_variance(net, x, np.array([(ratio * G) ** 0.5]))[0, 0] - G)
        assert abs(got - printed) < 2e-5 and np.isclose(got, (ratio - 1) * V[0, 0, 0, 0] / (2 * G), atol=1e-10)
        assert abs(got - exact) < 0.03  # and 1/n


def test_more_observed_outputs_tell_more():
    """At order 1/n what two outputs tell of a third adds up."""
    X, z = TRAIN, np.array([[1.0, 2.0], [0.5, -1.0]])
    G = tensors(RELU, X)
    base = G.K + G.K1 / G.width
    parts = [conditional_variance(RELU, X, z[:, i]) - base for i in range(2)]
    assert np.allclose(conditional_variance(RELU, X, z) - base, parts[0] + parts[1], atol=1e-12)
