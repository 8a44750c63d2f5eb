"""The pair carrier keeps the angle of nearly coincident, parallel and opposite points."""

from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from largen.gaussian import pair as pairs
from largen.types import island


def exact_versines(x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
    with mp.workdps(60):
        X, Y = [mp.mpf(float(v)) for v in x], [mp.mpf(float(v)) for v in y]
        c = mp.fdot(X, Y) / mp.sqrt(mp.fdot(X, X) * mp.fdot(Y, Y))
        return 1 - c, 1 + c


@pytest.mark.slow
@pytest.mark.parametrize("dtype, angle_error", [(np.float64, 1e-15), (np.float32, 6e-7)])
@pytest.mark.parametrize("sign", [1, -1])
def test_points_keep_their_angle(dtype, angle_error, sign):
    """The angle of points at distances 1e-12 to 1 is right to a few ulp of one radian, relative too when norms are alike."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=30)
    other = np.stack([base + d * rng.normal(size=30) for d in (1e-12, 1e-8, 1e-5, 1e-3, 0.05, 1.0)] + [3 * base, base * (1 + 1e-5)])
    x, Y = base.astype(dtype), (sign * other).astype(dtype)
    with island(x):
        found = pairs.from_points(jnp.asarray(x)[None], jnp.asarray(Y))
        small = np.asarray(jnp.minimum(found.near, found.far))[0]
    for y, versine in zip(Y, small, strict=True):
        exact = float(min(exact_versines(x, y)))
        assert abs(np.sqrt(versine) - np.sqrt(exact)) < angle_error
    alike = [i for i in range(4) if float(min(exact_versines(x, Y[i]))) > 0]
    for i in alike:
        exact = float(min(exact_versines(x, Y[i])))
        assert abs(small[i] / exact - 1) < (2e-3 if dtype == np.float64 and i == 0 else 1e-4)


@pytest.mark.slow
def test_a_point_with_itself_and_zero():
    X = jnp.array([[1.0, 2.0], [0.0, 0.0]])
    found = pairs.from_points(X, None)
    assert found.near[0, 0] == 0 and found.far[0, 0] == 2
    assert found.near[0, 1] == 1 and found.k[1, 1] == 0


@given(
    q1=st.floats(0.01, 50),
    ratio=st.floats(0.5, 2),
    log_near=st.floats(-28, -0.1),
    opposite=st.booleans(),
    C_W=st.floats(0.1, 5),
    C_b=st.one_of(st.just(0.0), st.floats(1e-3, 3)),
)
def test_affine_against_exact_arithmetic(q1, ratio, log_near, opposite, C_W, C_b):
    """1 - c and 1 + c after an affine layer against 60-digit arithmetic on the same moments."""
    q2, small = q1 * ratio, 10.0**log_near
    near, far = (2 - small, small) if opposite else (small, 2 - small)
    with mp.workdps(60):
        m1, m2 = mp.mpf(q1), mp.mpf(q2)
        c = mp.mpf(small) - 1 if opposite else 1 - mp.mpf(small)
        k = C_b + C_W * c * mp.sqrt(m1 * m2)
        expected = k / mp.sqrt((C_b + C_W * m1) * (C_b + C_W * m2))
        exact_near, exact_far = float(1 - expected), float(1 + expected)
    with island():
        a, b, n, f = (jnp.asarray(v, jnp.float64) for v in (q1, q2, near, far))
        out = pairs.affine(pairs.Pair(a, b, (1 - n) * jnp.sqrt(a * b), n, f), C_W, C_b)
        np.testing.assert_allclose([out.near, out.far], [exact_near, exact_far], rtol=1e-13, atol=1e-16)


@pytest.mark.slow
def test_derivatives_are_those_of_the_moments():
    """near and far carry no tangent; k = x.x'/n_0 has the plain derivative even at coincident points and at 0."""
    X = jnp.array([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    slope = jax.jacfwd(lambda X: pairs.from_points(X, None).k)(X)
    np.testing.assert_allclose(slope[0, 1, 0], X[1] / 2)
    np.testing.assert_allclose(slope[2, 0, 2], X[0] / 2)
    assert not jax.jacfwd(lambda X: pairs.from_points(X, None).near)(X).any()


@given(
    q=st.tuples(*[st.floats(0.01, 50)] * 2),
    ratio=st.tuples(*[st.floats(-12, 0.5)] * 2),
    log_near=st.tuples(*[st.floats(-28, -0.1)] * 2),
    opposite=st.booleans(),
    factor=st.floats(0.01, 5),
)
def test_sums_against_exact_arithmetic(q, ratio, log_near, opposite, factor):
    """1 - c and 1 + c of the sum of two uncorrelated pairs against 60-digit arithmetic: full relative precision of both."""
    with island():
        first, second = ([jnp.asarray(a), jnp.asarray(a * (1 + 10.0**r))] for a, r in zip(q, ratio, strict=True))
        small = [10.0**n for n in log_near]
        versines = [(2 - s, s) if opposite else (s, 2 - s) for s in small]
        made = [
            pairs.Pair(a, b, jnp.where(opposite, f - 1, 1 - n) * jnp.sqrt(a * b), jnp.asarray(n), jnp.asarray(f))
            for (a, b), (n, f) in zip((first, second), versines, strict=True)
        ]
        out = pairs.plus(made[0], pairs.scaled(made[1], factor))
        with mp.workdps(60):
            cosines = [mp.mpf(s) - 1 if opposite else 1 - mp.mpf(s) for s in small]
            weights = [mp.mpf(1), mp.mpf(factor)]
            q1, q2 = (mp.fsum(w * mp.mpf(float(m[i])) for w, m in zip(weights, (first, second), strict=True)) for i in (0, 1))
            moments = [mp.sqrt(mp.mpf(float(m[0])) * mp.mpf(float(m[1]))) for m in (first, second)]
            c = mp.fsum(w * m * v for w, m, v in zip(weights, moments, cosines, strict=True)) / mp.sqrt(q1 * q2)
            expected = [float(1 - c), float(1 + c)]
        np.testing.assert_allclose([out.near, out.far], expected, rtol=1e-12, atol=1e-30)
        np.testing.assert_allclose([out.q1, out.q2], [float(q1), float(q2)], rtol=1e-15)


@pytest.mark.slow
def test_a_sum_of_equal_points_is_a_point_with_itself():
    with island():
        one = pairs.from_points(jnp.asarray([[1.0, 2.0], [0.0, 0.0]]), None)
        out = pairs.plus(one, pairs.affine(one, 1.7, 0.0))
        assert out.near[0, 0] == 0 and out.near[0, 1] == 1 and out.far[0, 1] == 1
        gone = pairs.plus(pairs.scaled(one, 0.0), one)
        np.testing.assert_array_equal([gone.near, gone.far, gone.k], [one.near, one.far, one.k])
