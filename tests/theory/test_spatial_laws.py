"""Laws of kernels with positions: which rotations, shifts and permutations they respect, and that layouts agree."""

from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.errors import InputError, UnsupportedError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 5, 2))


def net(padding: str, end: Any, activation: str = "relu") -> Any:
    layer = lg.Conv(1, 3, padding=padding, C_W=1.7, C_b=0.1)
    return layer >> lg.Act(activation) >> layer >> lg.Act(activation) >> end >> lg.Dense(1)


def both(net: Any, one: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    out = lg.kernel(net, one, other)
    return np.stack([out.nngp, out.ntk])


def shifted(images: np.ndarray) -> np.ndarray:
    return np.roll(images, (1, 2), axis=(1, 2))


def test_fully_connected_kernels_are_rotation_invariant_convolutional_ones_are_not() -> None:
    Q = np.linalg.qr(RNG.normal(size=(50, 50)))[0]
    flat = X.reshape(3, -1)
    turned = (flat @ Q).reshape(X.shape)
    dense = lg.mlp(widths=[1, 1], activation="gelu", C_W=1.7, C_b=0.1)
    np.testing.assert_allclose(both(dense, turned.reshape(3, -1)), both(dense, flat), rtol=1e-12)
    of_conv = both(net("SAME", lg.Flatten()), X)
    assert np.abs(both(net("SAME", lg.Flatten()), turned) - of_conv).max() > 1e-2 * np.abs(of_conv).max()


def test_a_joint_shift_changes_nothing_with_circular_padding() -> None:
    circular = both(net("CIRCULAR", lg.Flatten()), X)
    np.testing.assert_allclose(both(net("CIRCULAR", lg.Flatten()), shifted(X)), circular, rtol=1e-12)
    for padding in ("SAME", "VALID"):
        plain = both(net(padding, lg.Flatten()), X)
        assert np.abs(both(net(padding, lg.Flatten()), shifted(X)) - plain).max() > 1e-3 * np.abs(plain).max()


@pytest.mark.slow
def test_a_shift_of_one_image_changes_nothing_with_global_pooling_and_circular_padding() -> None:
    pooled = net("CIRCULAR", lg.GlobalAvgPool())
    np.testing.assert_allclose(both(pooled, X, shifted(X)), both(pooled, X, X), rtol=1e-12)
    for other in (net("CIRCULAR", lg.Flatten()), net("SAME", lg.GlobalAvgPool())):
        plain = both(other, X, X)
        assert np.abs(both(other, X, shifted(X)) - plain).max() > 1e-3 * np.abs(plain).max()


def test_windows_of_one_pixel_are_dense_layers_and_one_big_window_is_flattening() -> None:
    pixel = lg.Conv(1, 1, C_W=1.7, C_b=0.1)
    dense = lg.Dense(1, C_W=1.7, C_b=0.1)
    for end in (lg.Flatten(), lg.GlobalAvgPool()):
        a, b = (both(first >> lg.Act("erf") >> end >> lg.Dense(1), X) for first in (pixel, dense))
        np.testing.assert_allclose(a, b, rtol=1e-13)
    whole = lg.Conv(1, 5, padding="VALID", C_W=1.7, C_b=0.1) >> lg.Act("gelu") >> lg.Flatten() >> lg.Dense(1)
    np.testing.assert_allclose(both(whole, X), both(lg.Flatten() >> dense >> lg.Act("gelu") >> lg.Dense(1), X), rtol=1e-12)


@pytest.mark.slow
def test_both_layouts_give_the_same_pixels() -> None:
    """A branch that pools asks for all pairs of positions; the other one must not change by it."""
    layer = lg.Conv(1, 3, C_W=1.7, C_b=0.1)
    inner = layer >> lg.Act("relu") >> layer
    alone = both(layer >> lg.Act("relu") >> layer >> inner >> lg.Flatten() >> lg.Dense(1), X)
    pool = lg.AvgPool(3, strides=1, padding="SAME") >> layer
    mixed = layer >> lg.Act("relu") >> layer >> lg.Sum(inner, pool, weights=(1.0, 0.0)) >> lg.Flatten() >> lg.Dense(1)
    np.testing.assert_allclose(both(mixed, X), alone, rtol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("end", [lg.Flatten(), lg.GlobalAvgPool(), lg.AvgPool(2) >> lg.Conv(1, 1) >> lg.Act("relu") >> lg.Flatten()])
def test_kernels_are_symmetric_positive_and_blind_to_how_points_are_split(end: Any) -> None:
    whole = both(net("SAME", end), X)
    np.testing.assert_allclose(whole, whole.swapaxes(1, 2), rtol=1e-13)
    assert np.linalg.eigvalsh(whole).min() > -1e-12 * np.abs(whole).max()
    np.testing.assert_allclose(both(net("SAME", end), X[:2], X[1:]), whole[:, :2, 1:], rtol=0, atol=3e-8 * whole.max())


def test_levels_with_positions_give_kernels_at_equal_positions() -> None:
    model = net("SAME", lg.GlobalAvgPool())
    assert lg.kernel(model, X, layer="conv1").nngp.shape == (3, 3, 5, 5)
    first = lg.kernel(model, X, layer=1).nngp
    patch = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, 0:3, 0:3].reshape(3, -1)  # what the first position sees
    np.testing.assert_allclose(first[:, :, 0, 0], 0.1 + 1.7 * patch @ patch.T / 18, rtol=1e-12)


def test_outputs_with_positions_and_correlated_factors_are_refused() -> None:
    with pytest.raises(InputError, match="positions"):
        lg.kernel(lg.Conv(1, 3), X)
    with pytest.raises(UnsupportedError, match="correlated"):
        lg.kernel(lg.Conv(1, 3) >> lg.Product(lg.Act("relu"), lg.Act("tanh")) >> lg.Flatten() >> lg.Dense(1), X)
    with pytest.raises(UnsupportedError, match="Gaussian"):
        lg.kernel(lg.Conv(1, 3) >> lg.Flatten() >> lg.Act("relu") >> lg.Dense(1), X)


def test_concatenated_units_count_by_their_number_after_flattening_too() -> None:
    """Of 25 x 2 flattened values and 10 units of a branch, the values weigh 5/6."""
    first, branch = lg.Conv(2, 1, C_W=1.7), lg.Dense(10, C_W=1.7, C_b=0.1)
    K = lg.kernel(first >> lg.Flatten() >> lg.Concat(lg.Identity(), branch) >> lg.Dense(1), X).nngp
    moments = 1.7 * X.reshape(3, -1) @ X.reshape(3, -1).T / 50
    np.testing.assert_allclose(K, 5 / 6 * moments + (0.1 + 1.7 * moments) / 6, rtol=1e-12)
    with pytest.raises(UnsupportedError, match="Concat"):
        lg.signal(branch >> lg.Concat(lg.Identity(), lg.Act("tanh")) >> lg.Dense(1), X.reshape(3, -1))
