"""Running couplings, covariances of neurons, and that no observable depends on how many neurons are retained."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import largen as lg
from largen.errors import InputError


def one(value):
    return np.full((1, 1), float(value))


def quartic(value):
    return np.full((1,) * 4, float(value))


def vertex(seed, N=2):
    """A V with its symmetries: 1 <-> 2, 3 <-> 4, (12) <-> (34)."""
    A = np.random.default_rng(seed).normal(size=(N * N, N * N))
    V = (A @ A.T).reshape((N,) * 4)
    V = (V + V.transpose(1, 0, 2, 3)) / 2
    V = (V + V.transpose(0, 1, 3, 2)) / 2
    return (V + V.transpose(2, 3, 0, 1)) / 2


K2 = np.array([[1.0, 0.4], [0.4, 0.8]])
K1 = np.array([[0.3, -0.2], [-0.2, 0.5]])


@given(st.floats(0.2, 3), st.floats(0.1, 9), st.floats(-3, 3), st.integers(1, 500), st.integers(1, 500))
def test_single_input(K, V, G1, n, m):
    """(4.100), (4.102), (4.103)."""
    found, all_ = (lg.exact.couplings(one(K), quartic(V), one(G1), n, neurons) for neurons in (m, n))
    v = V / (n * K**4)
    assert found.quartic.item() == pytest.approx(v)
    assert found.covariance.item() == pytest.approx(K + G1 / n - (m + 2) / 2 * V / (n * K), rel=1e-9, abs=1e-12)
    assert found.quadratic.item() == pytest.approx(all_.quadratic.item() - (n - m) / 2 * v * K, rel=1e-9, abs=1e-9)


def grid():
    """Gauss-Hermite in two dimensions for N(0, K2): exact for polynomials of degree 59."""
    u, w = np.polynomial.hermite_e.hermegauss(30)
    z = np.stack(np.meshgrid(u, u, indexing="ij"), -1).reshape(-1, 2) @ np.linalg.cholesky(K2).T
    return z, np.outer(w, w).reshape(-1) / (2 * np.pi)


def printed_expectation(F, found, n_retained):
    """(4.61): E[F] on one neuron, from an action with couplings g_m, v and m neurons; first order."""
    z, w = grid()
    zz = np.einsum("ka,kb->kab", z, z) - K2
    f = w * F(z)
    v = found.quartic
    up = np.linalg.inv(K2)
    shift = np.einsum("ab,ac,bd,cd->", np.einsum("k,kab->ab", f, zz), up, up, found.covariance - K2) / 2  # <F>_g - <F>_K
    quartic_term = np.einsum("abcd,k,kab,kcd->", v, f, zz, zz, optimize=True)
    mixed = 2 * n_retained * np.einsum("abcd,ab,cd->", v, np.einsum("k,kab->ab", f, zz), K2)
    vacuum = 2 * f.sum() * np.einsum("abcd,ac,bd->", v, K2, K2)
    return f.sum() + shift + (quartic_term + mixed - vacuum) / 8


FUNCTIONS = {
    "z1 z2": lambda z: z[:, 0] * z[:, 1],
    "z1^2": lambda z: z[:, 0] ** 2,
    "z1^2 z2^2": lambda z: z[:, 0] ** 2 * z[:, 1] ** 2,
    "z1^3 z2": lambda z: z[:, 0] ** 3 * z[:, 1],
    "sin z1 sin z2": lambda z: np.sin(z[:, 0]) * np.sin(z[:, 1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_observable_depends_on_the_neurons_retained(name):
    """(4.61) with the couplings of m = 1, 7, 300; it is the expectation over Ghat: <F> + <F''> K1/2n + <F''''> V/8n."""
    V, n, F = vertex(3), 1000, FUNCTIONS[name]
    values = [printed_expectation(F, lg.exact.couplings(K2, V, K1, n, m), m) for m in (1, 7, 300)]
    assert values == pytest.approx([values[0]] * 3, rel=1e-10)
    assert values[0] == pytest.approx(average_over_metric(F, V, n), rel=1e-6)
    mixed = printed_expectation(F, lg.exact.couplings(K2, V, K1, n, 1), 300)  # the coupling of one neuron in an action of 300
    assert abs(mixed - values[0]) > 1e-3


def average_over_metric(F, V, n):
    """<F>_K + (1/n) [dF/dK : K1 + (1/2) d2F/dK2 : V], by differences of Gaussian expectations in K."""
    u, w = np.polynomial.hermite_e.hermegauss(30)
    u, w = np.stack(np.meshgrid(u, u, indexing="ij"), -1).reshape(-1, 2), np.outer(w, w).reshape(-1) / (2 * np.pi)

    def mean(K):
        return (w * F(u @ np.linalg.cholesky(K).T)).sum()

    h = 1e-3
    value = mean(K2) + (mean(K2 + h * K1) - mean(K2 - h * K1)) / (2 * h * n)
    eigenvalues, directions = np.linalg.eigh(V.reshape(4, 4))
    for size, d in zip(eigenvalues, directions.T, strict=True):
        D = (d.reshape(2, 2) + d.reshape(2, 2).T) / 2
        value += size * (mean(K2 + h * D) - 2 * mean(K2) + mean(K2 - h * D)) / (2 * h * h * n)
    return value


def test_correlators_come_back_from_the_couplings():
    """(4.47), (4.48): the metric K + K1/n, and the vertex V/n, whatever m."""
    V, n, m = vertex(5), 200, 13
    out = lg.exact.couplings(K2, V, K1, n, m)
    v, g = out.quartic, out.covariance
    two = (m * np.einsum("abcd,ea,fb,cd->ef", v, K2, K2, K2) + 2 * np.einsum("abcd,ea,fc,bd->ef", v, K2, K2, K2)) / 2
    assert g + two == pytest.approx(K2 + K1 / n, rel=1e-12)
    assert np.einsum("abcd,ea,fb,gc,hd->efgh", v, K2, K2, K2, K2) == pytest.approx(V / n)
    assert out.quadratic @ g == pytest.approx(np.eye(2), abs=2 * np.abs(g - K2).max() ** 2 * 20)


def test_covariance_of_neurons_is_the_printed_one():
    """(4.64) with inverses, by quadrature, for sin and z^3 + z^2 on both inputs."""
    V, n = vertex(7), 50
    z, w = grid()
    zz = np.einsum("ka,kb->kab", z, z) - K2
    v = lg.exact.couplings(K2, V, K1, n).quartic
    F, H = np.sin, lambda x: x**3 + x**2
    found = lg.exact.neuron_covariance("sin", "polynomial(0, 0, 1, 1)", K2, V, n)
    for a in range(2):
        for b in range(2):
            left, right = (np.einsum("k,k,kcd->cd", w, f, zz) for f in (F(z[:, a]), H(z[:, b])))
            assert found[a, b] == pytest.approx(np.einsum("abcd,ab,cd->", v, left, right) / 4, rel=1e-9, abs=1e-12)


def test_covariance_of_neurons_in_the_exact_law():
    """ReLU, K = 1, layer 3: Cov[z_i^2, z_j^4] = Cov[Ghat, 3 Ghat^2], exact; the first order misses it by a part that falls as 1/n."""
    relative = []
    for n in (100, 200, 400):
        net = lg.mlp(widths=[n, n], out=1, activation="relu", C="critical")
        law = lg.exact.size_moments(net, np.full((1, 2), 0.5**0.5), order=3)
        exact = 3 * (law.moments[2, 2] - law.moments[2, 1])
        V = 10.0  # (l-1) 5 K^2, PDLT 5.120
        found = lg.exact.neuron_covariance(jnp.square, "monomial(4)", one(1), quartic(V), n).item()
        relative.append(exact / found - 1)
    assert relative[0] / relative[1] == pytest.approx(2, abs=0.1) and relative[1] / relative[2] == pytest.approx(2, abs=0.1)


def test_kinked_functions():
    """d E|z|/dq = 1/sqrt(2 pi q), d E step(z - 0.3)/dq by its Gaussian tail."""
    q = 1.7
    found = lg.exact.neuron_covariance("abs", jnp.square, one(q), quartic(1), 10).item()
    assert found == pytest.approx((2 * np.pi * q) ** -0.5 / 10, rel=1e-9)
    step = lg.exact.neuron_covariance(lambda z: jnp.where(z > 0.3, 1.0, 0.0), jnp.square, one(q), quartic(1), 10, kinks=(0.3,)).item()
    assert step == pytest.approx(0.3 / (2 * q) * np.exp(-0.09 / (2 * q)) / np.sqrt(2 * np.pi * q) / 10, rel=1e-9)


def test_running_in_every_class():
    """V/(n K^2): relevant at criticality (5.129), the metric's first order at K* = 0 bare (5.134) marginal, V itself there irrelevant."""
    l = np.arange(1, 201)
    assert lg.exact.running(5 * (l - 1) / 100).kind == "relevant"
    K, V, G1 = [1.0], [0.0], [0.0]
    for _ in l[1:]:  # sin, in closed form: g = (1 - e^-2K)/2, <s^4> = 3/8 - e^-2K/2 + e^-8K/8
        k, e = K[-1], np.exp(-2 * K[-1])
        G1.append(e * G1[-1] - e * V[-1])
        V.append(e**2 * V[-1] + 3 / 8 - e / 2 + e**4 / 8 - ((1 - e) / 2) ** 2)
        K.append((1 - e) / 2)
        assert k > K[-1]
    assert V[9] == pytest.approx(0.050090069, abs=1e-9) and G1[9] == pytest.approx(-0.193358, abs=1e-6)  # T2
    k, v, g = np.array(K), np.array(V), -np.array(G1)
    growing = lg.exact.running(v / k**2)
    assert growing.kind == "relevant" and growing.exponent == pytest.approx(1, abs=0.05)
    assert lg.exact.running(g).kind == "marginal" and lg.exact.running(v).kind == "irrelevant"
    assert lg.exact.running(v[1:]).exponent == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: lg.exact.couplings(np.ones((2, 2)), vertex(1), K1, 10), "positive definite"),
        (lambda: lg.exact.couplings(K2, quartic(1), K1, 10), "shapes"),
        (lambda: lg.exact.couplings(K2, vertex(1), K1, 10, neurons=0), "neurons"),
        (lambda: lg.exact.neuron_covariance("sin", "sin", one(0), quartic(1), 10), "positive variances"),
        (lambda: lg.exact.neuron_covariance("sin", "sin", K2, quartic(1), 10), "shapes"),
        (lambda: lg.exact.running([1.0, 2.0]), "4 layers"),
        (lambda: lg.exact.running(np.zeros(8)), "values > 0"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
