"""Statistics on synthetic data with known answers: calibrated z-scores, intervals that cover, powers told apart."""

import numpy as np
import pytest
from scipy import stats

from largen.agreement.contrasts import contrast
from largen.agreement.statistics import LEVEL, extrapolate, mean_and_error, power, z_score
from largen.errors import InputError

WIDTHS = np.array([8, 16, 32, 64])
N = 200  # networks per width


def networks(rng: np.random.Generator, a: float, b: float, c: float, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard errors at each width of N numbers around a + b/n + c/n^2, with skewed noise of order 1/sqrt(n)."""
    centre = a + b / WIDTHS + c / WIDTHS**2
    noise = rng.exponential(size=(N, len(WIDTHS))) - 1
    return mean_and_error(centre + spread * noise / np.sqrt(WIDTHS))


def test_z_of_the_intercept_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    z = []
    for _ in range(1000):
        fit = extrapolate(WIDTHS, *networks(rng, 1.0, 3.0, -5.0))
        z.append(z_score(fit.intercept, fit.error, 1.0))
    z = np.array(z)
    assert abs(z.mean()) < 0.15
    assert 0.6 < z.std() < 1.05  # at most 1: errors are stretched when chi^2 is above its mean, never shrunk
    assert (np.abs(z) > 2).mean() < 0.06
    assert (np.abs(z) >= LEVEL).mean() == 0


def test_a_wrong_theory_is_refused() -> None:
    rng = np.random.default_rng(1)
    z = [z_score(fit.intercept, fit.error, 1.1) for fit in (extrapolate(WIDTHS, *networks(rng, 1.0, 3.0, -5.0, 0.2)) for _ in range(200))]
    assert np.mean(np.array(z) < -LEVEL) > 0.8  # the stretch makes a few weak


def test_a_straight_line_through_curved_means_would_be_wrong() -> None:
    means, errors = 1 + 4 / WIDTHS + 20 / WIDTHS**2, np.full(4, 0.002)
    straight, curved = (extrapolate(WIDTHS, means, errors, powers) for powers in ((1,), (1, 2)))
    assert abs(z_score(curved.intercept, curved.error, 1.0)) < 1e-6
    assert straight.chi2 > 20 and abs(straight.intercept - 1) > 5 * 0.002


def test_a_neglected_order_alone_does_not_make_a_disagreement() -> None:
    means = 1 + 3 / WIDTHS + 100 / WIDTHS**3
    fit = extrapolate(WIDTHS, means, np.full(4, 1e-5))
    assert fit.chi2 > 100 and abs(z_score(fit.intercept, fit.error, 1.0)) < 2.5


@pytest.mark.parametrize(("powers", "lowest"), [((0.5, 1.0), 0.6), ((1.0, 2.0), 0.0)])
def test_a_neglected_order_of_the_expected_size_is_in_the_error(powers: tuple[float, float], lowest: float) -> None:
    """Calibrated where it is the only guess; of whole powers there is another, which is more careful."""
    rng, z = np.random.default_rng(7), []
    for _ in range(500):
        means = 1 + 3 / WIDTHS + 0.1 * rng.normal() * (8 / WIDTHS) ** (2 * powers[1] - powers[0]) + 1e-3 * rng.normal(size=4)
        fit = extrapolate(WIDTHS, means, np.full(4, 1e-3), powers, neglected=0.1)
        z.append(z_score(fit.intercept, fit.error, 1.0))
    assert lowest < np.std(z) < 1.1


def test_what_one_order_less_would_change_is_in_the_error_beyond_noise() -> None:
    """A cut of +-0.1 % per unit of c in 1/n^2, whatever the errors; nothing of it where noise explains the change."""
    for c in (0.5, 2.0):
        fit = extrapolate(WIDTHS, 1 + c * (8 / WIDTHS) ** 2, np.full(4, 1e-6))
        straight = extrapolate(WIDTHS[1:], 1 + c * (8 / WIDTHS[1:]) ** 2, np.full(3, 1e-6), powers=(1,))
        assert fit.truncation == pytest.approx(abs(straight.intercept - fit.intercept), rel=1e-4) and fit.error >= fit.truncation
    rng = np.random.default_rng(8)
    noisy = [extrapolate(WIDTHS, 1 + 1 / WIDTHS + 0.01 * rng.normal(size=4), np.full(4, 0.01)) for _ in range(400)]
    assert np.mean([fit.truncation == 0 for fit in noisy]) > 0.6


def test_students_tails_are_counted() -> None:
    assert z_score(2.0, 1.0, dof=5) == pytest.approx(stats.norm.isf(stats.t.sf(2.0, 5)))
    assert z_score(-2.0, 1.0, dof=1e9) == pytest.approx(-2.0, abs=1e-6)
    assert z_score(1e6, 1.0, dof=30) > 10 and np.isfinite(z_score(1e6, 1.0, dof=30))


def test_half_powers_are_fitted_when_asked_for() -> None:
    means = 1 + 0.5 / WIDTHS**0.5 + 3 / WIDTHS
    fit = extrapolate(WIDTHS, means, np.full(4, 1e-3), powers=(0.5, 1.0))
    assert np.allclose(fit.coefficients, [1, 0.5, 3]) and fit.chi2 < 1e-9


@pytest.mark.parametrize("bend", [-4.0, 0.0, 6.0])
def test_the_interval_of_the_power_covers_and_tells_neighbours_apart(bend: float) -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(200):
        truth = (1 / WIDTHS) * (1 + bend / WIDTHS)
        errors = 0.03 * truth
        found.append(power(WIDTHS, truth + errors * rng.normal(size=4), errors))
    assert all(p.exponent is not None for p in found)
    assert np.mean([p.contains(1) for p in found]) > 0.99
    assert not any(p.contains(0) or p.contains(2) for p in found)
    assert np.std([p.exponent for p in found]) < 2 * np.mean([p.error for p in found])


@pytest.mark.parametrize("truth", [0.5, 2.0])
def test_another_power_is_not_taken_for_one(truth: float) -> None:
    law = power(WIDTHS, 3.0 * WIDTHS**-truth, 0.01 * 3.0 * WIDTHS**-truth)
    assert law.contains(truth) and not law.contains(1)


def test_the_grid_of_powers_does_not_exclude_the_truth() -> None:
    for p in (0.5, 1.0, 1.5):
        assert power(WIDTHS, WIDTHS**-p, 1e-6 * WIDTHS**-p).contains(p)


def test_a_half_power_correction_needs_its_own_bend() -> None:
    truth = (1 / WIDTHS) * (1 + 1 / WIDTHS**0.5)
    plain, own = (power(WIDTHS, truth, 2e-3 * truth, bend) for bend in (1.0, 0.5))
    assert own.contains(1) and own.low is not None and own.low > 0 and not plain.contains(1)


def test_no_fall_off_is_power_zero() -> None:
    law = power(WIDTHS, np.full(4, 0.2), np.full(4, 0.005))
    assert law.contains(0) and not law.contains(1)


def test_no_deviation_has_no_power() -> None:
    rng = np.random.default_rng(3)
    laws = [power(WIDTHS, 0.01 * rng.normal(size=4), np.full(4, 0.01)) for _ in range(200)]
    none = [law for law in laws if law.exponent is None]
    assert len(none) > 190 and all(law.missing for law in none)
    assert all(law.contains(1) for law in laws if law.exponent is not None)


def test_a_negative_deviation_has_a_power_too() -> None:
    assert power(WIDTHS, -3.0 / WIDTHS, 0.02 * 3.0 / WIDTHS).contains(1)


def test_the_network_is_the_unit() -> None:
    samples = np.repeat(np.arange(4.0)[:, None], 50, 1)  # 50 equal numbers of each of 4 networks
    mean, error = mean_and_error(samples)
    assert mean.shape == (50,) and np.allclose(error, np.std([0, 1, 2, 3], ddof=1) / 2)


def test_directions_see_theory_at_zero_and_controls_at_one() -> None:
    rng = np.random.default_rng(4)
    T = rng.normal(size=(5, 5))
    T = T @ T.T
    wrong = T + np.diag(np.arange(5.0))
    by = contrast(T, {"wrong": wrong, "near": 1.001 * T, "none": "not there"}, matrix=True)
    assert by.names == ("theory", "diagonal", "off-diagonal", "wrong")
    assert np.allclose(by.values(T[None]), 0) and np.isclose(by.values(wrong[None])[0, by.controls["wrong"]], 1)
    assert np.isclose(by.values(1.1 * T[None])[0, 0], 0.1) and np.isclose(by.values(1.1 * T[None])[0, 1], 0.1)
    assert set(by.missing) == {"near", "none"}
    assert np.isclose(by.distances(1.1 * T[None])[0], 0.01)


def test_one_point_has_no_off_diagonal() -> None:
    assert contrast(np.array([[2.0]]), {}, matrix=True).names == ("theory",)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="errors"):
        extrapolate([8, 16, 32], [1, 1, 1], [0.1, 0.0, 0.1])
    with pytest.raises(InputError, match="powers"):
        extrapolate([8, 16], [1, 1], [0.1, 0.1], powers=(1, 2))
    with pytest.raises(InputError, match="four"):
        power([8, 16, 32], [1, 1, 1], [0.1, 0.1, 0.1])
    with pytest.raises(InputError, match="two networks"):
        mean_and_error([1.0])
