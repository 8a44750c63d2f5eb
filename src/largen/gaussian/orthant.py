r"""Piecewise-linear functions of up to four centred Gaussian numbers: E[s1 s2 s3 s4] for s(z) = a+ z above 0, a- z below.

With s = alpha z + beta |z| one has s = z s', and s'' = 2 beta delta(z). Stein's lemma, E[z_i f] = sum_j K_ij E[d_j f], applied to one
factor after the other, leaves expectations of fewer factors under the Gaussian conditioned on z_i = 0, which is centred
again, down to E[s' s'] = alpha^2 + beta^2 (2/pi) asin(correlation). The only one left over is E[sgn sgn sgn sgn], an orthant
probability of four numbers; by Plackett's identity it is an integral in one dimension,

    d/dt E[sgn1 sgn2 sgn3 sgn4] = sum_{i<j} R_ij 4 density(z_i = z_j = 0) (2/pi) asin(rho_kl given z_i = z_j = 0),

along t -> correlations t R, from 0 at t = 0. A doubly exponential rule takes what square roots it has at t = 1, when K is singular.
"""

from itertools import combinations
from math import gamma
from typing import Any

import numpy as np

STEP, NODES = 0.08, 48  # doubly exponential rule on [0, 1]: u = STEP k, |k| <= NODES
DEGENERATE = 1e-12  # a conditional variance below this share of the variance is 0
PAIRS = tuple(combinations(range(4), 2))
ARC = 20  # Gauss-Legendre nodes an arc: exact for trigonometric polynomials of degree 4


def powers(q1: Any, q2: Any, k: Any, p: int, q: int, a_plus: float, a_minus: float) -> np.ndarray:
    """E[s(z1)^p s(z2)^q], p + q <= 4."""
    return planar(q1, q2, k, (p, 0), (q, 0), a_plus, a_minus)


def planar(q1: Any, q2: Any, k: Any, first: tuple[int, int], second: tuple[int, int], a_plus: float, a_minus: float) -> np.ndarray:
    """E[s(z1)^p s'(z1)^r s(z2)^p' s'(z2)^r'] for (p, r), (p', r') of degree p + p' <= 4: r1^p r2^p' E[r^(p+p')] times the mean over
    angles t of the same at cos t, cos(t - psi)."""
    q1, q2, k = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (q1, q2, k)))
    size = np.sqrt(q1) * np.sqrt(q2)
    psi = np.arccos(np.clip(np.where(size > 0, k / np.where(size > 0, size, 1), 0), -1, 1))[..., None]
    half = np.pi / 2
    edges = np.concatenate([-half + 0 * psi, psi - half, half + 0 * psi, psi + half, 3 * half + 0 * psi], -1)  # where s bends
    x, w = np.polynomial.legendre.leggauss(ARC)
    arcs = np.diff(edges)[..., None]
    angles = edges[..., :-1, None] + arcs * (x + 1) / 2

    def factor(z: Any, p: int, r: int) -> Any:
        return z**p * np.where(z > 0, a_plus ** (p + r), a_minus ** (p + r))

    mean = (arcs / (4 * np.pi) * w * factor(np.cos(angles), *first) * factor(np.cos(angles - psi[..., None]), *second)).sum((-2, -1))
    p, q = first[0], second[0]
    return q1 ** (p / 2) * q2 ** (q / 2) * 2 ** ((p + q) / 2) * gamma((p + q) / 2 + 1) * mean


def linear(K: np.ndarray, factors: tuple[tuple[int, int], ...], a_plus: float, a_minus: float) -> tuple[np.ndarray, float]:
    """(E[prod_i s(z_i)^p_i s'(z_i)^r_i], error) of three or four different numbers, p_i + r_i summing to 4, p_i to 0, 2 or 4,
    for covariances K (..., m, m). With t of slopes a_+-^(p+r), s^p s'^r is t' for p = 0, t for p = 1 and z t for p = 2."""
    K = np.asarray(K, np.float64)
    m = _Linear(tuple(a_plus ** (p + r) for p, r in factors), tuple(a_minus ** (p + r) for p, r in factors))
    if len(factors) == 4 and any(p == 0 for p, _ in factors):
        signs, coarse = _four_signs(K, 1), _four_signs(K, 2)
        error = 4 * float(abs(np.prod(m.beta)) * np.abs(signs - coarse).max(initial=0.0))
        slopes = m.slopes(K, 0, 1, 2, 3) + np.prod(m.beta) * signs
        steps = [i for i, (p, _) in enumerate(factors) if p == 0]
        if len(steps) == 4:
            return slopes, error
        i, j, k, l = *steps, *(i for i, (p, _) in enumerate(factors) if p == 1)
        return m.two_slopes_of_four(K, i, j, k, l, slopes), error
    if len(factors) == 4:
        return four(K, a_plus, a_minus)
    squares, values, steps = ([i for i, (p, _) in enumerate(factors) if p == kind] for kind in (2, 1, 0))
    if not squares:
        return (m.slopes(K, *steps) if not values else m.one_slope(K, *steps, *values)), 0.0
    (i,) = squares
    if values:
        return square(K[..., [i, *values], :][..., [i, *values]], a_plus, a_minus), 0.0
    j, k = steps
    total = K[..., i, i] * m.slopes(K, i, j, k) + m.density(K, i, j) * m.slope_value(_given(K, j), k, i)
    return total + m.density(K, i, k) * m.slope_value(_given(K, k), j, i), 0.0


def square(K: np.ndarray, a_plus: float, a_minus: float) -> np.ndarray:
    """E[s(z1)^2 s(z2) s(z3)] for covariances K (..., 3, 3). With t of slopes a+^2, a-^2, s^2 = z t, and Stein's lemma again."""
    K = np.asarray(K, np.float64)
    m = _Linear((a_plus**2, a_plus, a_plus), (a_minus**2, a_minus, a_minus))
    return K[..., 0, 0] * m.one_slope(K, 0, 1, 2) + K[..., 0, 1] * m.one_slope(K, 1, 0, 2) + K[..., 0, 2] * m.one_slope(K, 2, 0, 1)


def four(K: np.ndarray, a_plus: float, a_minus: float) -> tuple[np.ndarray, float]:
    """E[s(z1) s(z2) s(z3) s(z4)] for covariances K (..., 4, 4), and the error of the rule relative to the product of the four
    standard deviations: below 1e-9, growing to 5e-5 where three of the numbers coincide (use `square`, `powers` there)."""
    m = _Linear((a_plus,) * 4, (a_minus,) * 4)
    K = np.asarray(K, np.float64)
    signs, coarse = _four_signs(K, 1), _four_signs(K, 2)
    return m.four(K, signs), 4 * float(m.beta[0] ** 4 * np.abs(signs - coarse).max(initial=0.0))


class _Linear:
    """Moments of s_i(z) = alpha_i z + beta_i |z|, one function a factor, from K (..., m, m) and static indices into it."""

    def __init__(self, a_plus: tuple[float, ...], a_minus: tuple[float, ...]):
        self.alpha = tuple((p + m) / 2 for p, m in zip(a_plus, a_minus, strict=True))
        self.beta = tuple((p - m) / 2 for p, m in zip(a_plus, a_minus, strict=True))

    def density(self, K: Any, j: int, i: int) -> Any:
        """K_ji E[s''_i] = K_ji 2 beta_i times the density of z_i at 0."""
        q = K[..., i, i]
        return 2 * self.beta[i] * np.where(q > 0, K[..., j, i] / np.sqrt(2 * np.pi * np.where(q > 0, q, 1)), 0)

    def slopes(self, K: Any, *at: int) -> Any:
        """E[s'_i s'_j] or E[s'_i s'_j s'_k] or, without its product of four signs, E[s'_i s'_j s'_k s'_m]."""
        total = np.prod([self.alpha[i] for i in at])
        for i, j in combinations(at, 2):
            others = np.prod([self.alpha[k] for k in at if k not in (i, j)])
            total = total + self.beta[i] * self.beta[j] * others * (2 / np.pi) * np.arcsin(_correlation(K, i, j))
        return total

    def slope_value(self, K: Any, i: int, k: int) -> Any:
        """E[s'_i s_k]."""
        return self.density(K, k, k) * self.alpha[i] + self.density(K, k, i) * self.alpha[k]

    def two(self, K: Any, i: int, j: int) -> Any:
        """E[s_i s_j] = alpha_i alpha_j k + beta_i beta_j (2/pi) (sqrt(q1 q2 - k^2) + k asin(correlation))."""
        c = _correlation(K, i, j)
        bent = np.sqrt(K[..., i, i] * K[..., j, j]) * (np.sqrt((1 - c) * (1 + c)) + c * np.arcsin(c))
        return self.alpha[i] * self.alpha[j] * K[..., i, j] + self.beta[i] * self.beta[j] * (2 / np.pi) * bent

    def two_slopes(self, K: Any, i: int, j: int, k: int) -> Any:
        """E[s'_i s'_j s_k]."""
        total = self.density(K, k, k) * self.slopes(_given(K, k), i, j)
        total = total + self.density(K, k, i) * self.slopes(_given(K, i), j, k)
        return total + self.density(K, k, j) * self.slopes(_given(K, j), i, k)

    def one_slope(self, K: Any, i: int, j: int, k: int) -> Any:
        """E[s'_i s_j s_k]."""
        total = self.density(K, j, j) * self.slope_value(_given(K, j), i, k)
        total = total + self.density(K, j, i) * self.slope_value(_given(K, i), j, k)
        return total + K[..., j, k] * self.slopes(K, i, j, k)

    def three(self, K: Any, i: int, j: int, k: int) -> Any:
        """E[s_i s_j s_k]."""
        total = self.density(K, i, i) * self.two(_given(K, i), j, k)
        return total + K[..., i, j] * self.two_slopes(K, i, j, k) + K[..., i, k] * self.two_slopes(K, i, k, j)

    def two_slopes_of_four(self, K: Any, i: int, j: int, k: int, m: int, all_slopes: Any) -> Any:
        """E[s'_i s'_j s_k s_m]."""
        total = self.density(K, k, k) * self.two_slopes(_given(K, k), i, j, m)
        total = total + self.density(K, k, i) * self.two_slopes(_given(K, i), j, k, m)
        total = total + self.density(K, k, j) * self.two_slopes(_given(K, j), i, k, m)
        return total + K[..., k, m] * all_slopes

    def four(self, K: Any, signs: Any) -> Any:
        """E[s_0 s_1 s_2 s_3], from E[sgn sgn sgn sgn]."""
        all_slopes = self.slopes(K, 0, 1, 2, 3) + np.prod(self.beta) * signs
        total = self.density(K, 0, 0) * self.three(_given(K, 0), 1, 2, 3)
        for j, k, m in ((1, 2, 3), (2, 1, 3), (3, 1, 2)):
            total = total + K[..., 0, j] * self.two_slopes_of_four(K, 0, j, k, m, all_slopes)
        return total


def _correlation(K: Any, i: int, j: int) -> Any:
    """The correlation, 0 where a variance is 0: there the sign of an infinitesimal number is averaged over."""
    size = K[..., i, i] * K[..., j, j]
    return np.clip(np.where(size > 0, K[..., i, j] / np.sqrt(np.where(size > 0, size, 1)), 0), -1, 1)


def _given(K: Any, i: int) -> Any:
    """The covariance given z_i = 0."""
    q = K[..., i, i]
    left = K - np.where(q > 0, 1 / np.where(q > 0, q, 1), 0)[..., None, None] * K[..., :, i, None] * K[..., None, i, :]
    before, after = np.diagonal(K, axis1=-2, axis2=-1), np.diagonal(left, axis1=-2, axis2=-1)
    live = after > DEGENERATE * before
    return np.where(live[..., :, None] & live[..., None, :], left, 0.0)


def _four_signs(K: np.ndarray, every: int) -> np.ndarray:
    """E[sgn sgn sgn sgn] by Plackett's integral."""
    size = np.sqrt(np.maximum(np.diagonal(K, axis1=-2, axis2=-1), 0))
    R = K / np.where(size > 0, size, np.inf)[..., :, None] / np.where(size > 0, size, np.inf)[..., None, :]
    R = np.clip(R, -1, 1)[..., None]  # (..., 4, 4, 1), nodes last
    u = STEP * every * np.arange(-(NODES // every), NODES // every + 1)
    t, rest = 1 / (1 + np.exp(-np.pi * np.sinh(u))), 1 / (1 + np.exp(np.pi * np.sinh(u)))  # rest = 1 - t
    weights = STEP * every * np.pi * np.cosh(u) * t * rest
    total = 0.0
    for i, j in PAIRS:
        k, m = (x for x in range(4) if x not in (i, j))
        r = t * R[..., i, j, :]
        det = np.maximum((1 - R[..., i, j, :]) * (1 + R[..., i, j, :]) + (R[..., i, j, :] ** 2) * rest * (1 + t), 1e-300)

        def left(a: int, b: int, i: int = i, j: int = j, r: Any = r, det: Any = det) -> Any:
            ai, aj, bi, bj = (t * R[..., x, y, :] for x, y in ((a, i), (a, j), (b, i), (b, j)))
            direct = 1.0 if a == b else t * R[..., a, b, :]
            return direct - (ai * bi + aj * bj - r * (ai * bj + aj * bi)) / det

        variance = left(k, k) * left(m, m)
        sure = variance > DEGENERATE**2
        rho = np.clip(np.where(sure, left(k, m) / np.sqrt(np.where(sure, variance, 1)), 0), -1, 1)
        total = total + R[..., i, j, :] * 4 / (2 * np.pi * np.sqrt(det)) * (2 / np.pi) * np.arcsin(rho)
    return (total * weights).sum(-1)
