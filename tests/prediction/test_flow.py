"""The solvers on arrays, against independent paths: ODE integration, explicit loops, direct solves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.integrate import solve_ivp

from largen.errors import InputError, SingularKernelError
from largen.prediction import Schedule, factor, schedule, weights
from largen.prediction.flow import covariance, mean, posterior_covariance, stepped

N, M = 6, 4


def blocks(seed: int = 0, n: int = N, m: int = M, features: int = 30) -> tuple[Any, Any, Any]:
    """Random NTK and NNGP of n train and m test points, of full rank, and targets."""
    rng = np.random.default_rng(seed)
    phi, psi = rng.normal(size=(2, n + m, features)) / features**0.5
    return phi @ phi.T, psi @ psi.T, rng.normal(size=(n, 2))


def trained(theta: Any, K: Any, y: Any, plan: Schedule, ridge: Any = 0.0, n: int = N) -> tuple[Any, Any]:
    f = factor(theta[:n, :n], ridge)
    w = weights(f, plan)
    return mean(f, w, theta[n:, :n], y), covariance(f, w, theta[n:, :n], K[:n, :n], K[n:, :n], K[n:, n:])


def integrate(theta, z0, y, time, ridge: Any = 0.0, n=N):
    """z(time) on all points by integrating dz/dt = -Theta_DA (z_A + s - y), ds/dt = -R (z_A + s - y): offsets s per train sample."""
    ridge = np.broadcast_to(ridge, (n,))

    def speed(_, state):
        z, s = state[: len(z0)], state[len(z0) :]
        residual = z[:n] + s - y
        return np.concatenate([-theta[:, :n] @ residual, -ridge * residual])

    return solve_ivp(speed, (0, time), np.concatenate([z0, np.zeros(n)]), rtol=1e-10, atol=1e-12).y[: len(z0), -1]


@pytest.mark.parametrize("ridge", [0.0, 0.3, np.linspace(0.0, 1.0, N)], ids=["none", "uniform", "per-sample"])
@pytest.mark.parametrize("time", [0.1, 3.0])
def test_flow_is_the_solution_of_its_ode(time, ridge):
    theta, K, y = blocks()
    centre, cov = trained(theta, K, y, schedule(time=time), ridge)
    zero = np.zeros(N + M)
    assert np.allclose(centre[:, 1], integrate(theta, zero, y[:, 1], time, ridge)[N:], atol=1e-8)
    # z(t) is linear in z(0): its matrix, column by column, gives the covariance
    to = np.stack([integrate(theta, e, 0 * y[:, 0], time, ridge) for e in np.eye(N + M)], axis=1)[N:]
    assert np.allclose(cov, to @ K @ to.T, atol=1e-8)


def test_uniform_ridge_is_weight_decay_towards_the_initial_parameters():
    rng = np.random.default_rng(1)
    phi, theta0, y, ridge, time = rng.normal(size=(N + M, 9)), rng.normal(size=9), rng.normal(size=N), 0.7, 0.4

    def speed(_, p):
        return -phi[:N].T @ (phi[:N] @ p - y) - ridge * (p - theta0)

    end = solve_ivp(speed, (0, time), theta0, rtol=1e-10, atol=1e-12).y[:, -1]
    theta = phi @ phi.T
    f = factor(theta[:N, :N], ridge)
    moved = mean(f, weights(f, schedule(time=time)), theta[N:, :N], (y - phi[:N] @ theta0)[:, None])[:, 0]
    assert np.allclose(phi[N:] @ theta0 + moved, phi[N:] @ end, atol=1e-8)


@pytest.mark.parametrize("fraction", [0.3, 0.9, 1.0])
def test_descent_is_the_explicit_loop(fraction):
    theta, K, y = blocks(2)
    ridge = np.linspace(0.0, 0.5, N)
    A = theta[:N, :N] + np.diag(ridge)
    eta = fraction * 2 / np.linalg.eigvalsh(A)[-1]
    a, seen = np.zeros((N, 2)), []
    for step in range(41):
        if step in (0, 1, 7, 40):
            seen.append(theta[N:, :N] @ a)
        a = a - eta * (A @ a - y)
    centre, cov = trained(theta, K, y, schedule("descent", eta=eta, steps=[0, 1, 7, 40]), ridge)
    assert np.allclose(centre, np.stack(seen), atol=1e-12)
    assert cov.shape == (4, M, M) and np.allclose(cov[0], K[N:, N:], atol=1e-15)


def test_few_steps_are_the_weights_of_descent():
    theta, _, y = blocks(3)
    eta, steps = 1 / np.linalg.eigvalsh(theta[:N, :N])[-1], (0, 1, 7, 40)
    w = weights(factor(theta[:N, :N]), schedule("descent", eta=eta, steps=list(steps)))
    wanted = mean(factor(theta[:N, :N]), w, theta[:, :N], y[:, :1])[..., 0]
    assert np.allclose(stepped(theta[:, :N], y[:, 0], eta, steps), wanted, atol=1e-12)


def test_the_end_is_the_direct_solve_for_flow_and_newton():
    theta, K, y = blocks(3)
    ridge = np.linspace(0.1, 0.5, N)
    R = theta[N:, :N] @ np.linalg.inv(theta[:N, :N] + np.diag(ridge))
    expected = K[N:, N:] - R @ K[:N, N:] - K[N:, :N] @ R.T + R @ K[:N, :N] @ R.T
    for plan in (schedule("flow"), schedule("newton"), schedule("flow", time=1e9)):
        centre, cov = trained(theta, K, y, plan, ridge)
        assert np.allclose(centre, R @ y, atol=1e-11) and np.allclose(cov, expected, atol=1e-11)


def test_many_times_are_each_time():
    theta, K, y = blocks(4)
    times = [0.0, 0.5, 4.0, np.inf]
    together = trained(theta, K, y, schedule(time=times))
    for i, t in enumerate(times):
        for one, all_ in zip(trained(theta, K, y, schedule(time=t)), together, strict=True):
            assert np.allclose(one, all_[i], atol=1e-13)


def test_weights_are_exact_at_tiny_and_zero_eigenvalues():
    f = factor(np.diag([0.0, 1e-300, 1e-18, 1e-9, 1.0]))
    assert np.allclose(weights(f, schedule(time=7.0)), [7, 7, 7, 7 * (1 - 3.5e-9), 1 - np.exp(-7)], rtol=1e-15)
    assert np.allclose(weights(f, schedule("descent", eta=0.5, steps=14)), [7, 7, 7, 7 * (1 - 3.25e-9), 1 - 0.5**14], rtol=1e-15)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 50), st.floats(0, 2))
def test_laws(seed, time, ridge):
    theta, K, y = blocks(seed)
    plan = schedule(time=time)
    centre, cov = trained(theta, K, y, plan, ridge)
    assert np.array_equal(cov, cov.T) and np.linalg.eigvalsh(cov)[0] > -1e-12
    doubled = trained(theta, K, 2 * y[:, ::-1], plan, ridge)[0]
    assert np.allclose(doubled, 2 * centre[:, ::-1], atol=1e-12)
    order = np.random.default_rng(seed).permutation(N)  # of the train points: nothing changes
    both = np.concatenate([order, np.arange(N, N + M)])
    again = trained(theta[np.ix_(both, both)], K[np.ix_(both, both)], y[order], plan, ridge)
    assert np.allclose(again[0], centre, atol=1e-10) and np.allclose(again[1], cov, atol=1e-10)
    start = trained(theta, K, y, schedule(time=0.0), ridge)
    assert np.array_equal(start[0], 0 * centre) and np.allclose(start[1], K[N:, N:], atol=1e-15)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_training_points_are_interpolated_and_their_loss_falls(seed):
    theta, K, y = blocks(seed, m=0)
    twice = np.tile(theta, (2, 2)), np.tile(K, (2, 2))  # the test points are the train points
    centre, cov = trained(*twice, y, schedule())
    assert np.allclose(centre, y, atol=1e-8) and np.abs(cov).max() < 1e-8
    path, cov = trained(*twice, y, schedule(time=np.linspace(0, 20, 50)))
    loss = ((path - y) ** 2).sum((1, 2)) + 2 * np.trace(cov, axis1=1, axis2=2)
    assert (np.diff(loss) < 1e-12).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_training_with_theta_equal_to_K_ends_at_the_posterior(seed):
    _, K, y = blocks(seed)
    f = factor(K[:N, :N])
    w = weights(f, schedule("bayes"))
    expected = K[N:, N:] - K[N:, :N] @ np.linalg.solve(K[:N, :N], K[:N, N:])
    centre, cov = trained(K, K, y, schedule())
    assert np.allclose(centre, K[N:, :N] @ np.linalg.solve(K[:N, :N], y), atol=1e-8)
    assert np.allclose(cov, expected, atol=1e-8) and np.allclose(
        posterior_covariance(f, w, K[:N, :N], 0.0, K[N:, :N], K[N:, N:]), expected, atol=1e-8
    )


def test_float64_jax_arrays_keep_their_digits_and_everything_can_be_traced():
    theta, K, y = blocks(5)
    with jax.enable_x64(True):
        theta_, K_, y_ = (jnp.asarray(a) for a in (theta, K, y))
        out = trained(theta_, K_, y_, schedule(time=2.0), 0.1)
        slope = jax.grad(lambda r: trained(theta_, K_, y_, schedule(time=2.0), r)[0][0, 0])(0.1)
    assert out[0].dtype == np.float64
    for ours, numpys in zip(out, trained(theta, K, y, schedule(time=2.0), 0.1), strict=True):
        assert np.allclose(np.asarray(ours), numpys, atol=1e-13)
    up, down = (trained(theta, K, y, schedule(time=2.0), 0.1 + h)[0][0, 0] for h in (1e-5, -1e-5))
    assert abs(float(slope) - (up - down) / 2e-5) < 1e-8


def test_singular_kernels_are_refused_at_the_end_and_fine_before():
    theta, K, y = blocks(6)
    again = [0, 1, 2, 3, 4, 2, *range(N, N + M)]  # sample 5 is sample 2
    theta, K = theta[np.ix_(again, again)], K[np.ix_(again, again)]
    for how in ("flow", "newton", "bayes"):
        with pytest.raises(SingularKernelError, match=r"smallest eigenvalue .* Points 2 and 5 are the same .* ridge=\de-\d+ or more, drop"):
            trained(theta, K, y, schedule(how))
    assert np.isfinite(trained(theta, K, y, schedule(time=1e3))[0]).all()
    assert np.isfinite(trained(theta, K, y, schedule(), 1e-6)[0]).all()
    with pytest.raises(SingularKernelError, match=r"as good as infinite|the same for this kernel"):
        trained(theta, K, y, schedule(time=1e18))
    theta, K, y = blocks(7, features=4)
    with pytest.raises(SingularKernelError, match="rank is 4 of 6: more points than features"):
        trained(theta, K, y, schedule())
    with pytest.raises(SingularKernelError, match="or float64 arrays"):
        trained(theta.astype(np.float32), K.astype(np.float32), y.astype(np.float32), schedule())


def test_bad_arrays_are_refused():
    for theta, told in (
        (np.ones((2, 3)), r"`theta`: got shape \(2, 3\)"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "differ from their mirror images by up to 0.5"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "2 entries that are NaN"),
        (np.diag([1.0, -0.2]), "eigenvalue -0.2"),
    ):
        with pytest.raises(InputError, match=told):
            factor(theta)
