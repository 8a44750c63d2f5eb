"""Laws of kernels with positions: which rotations, shifts and permutations they respect, and that layouts agree."""

from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.errors import InputError, UnsupportedError

pytestmark = pytest.mark.slow

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
@pytest.mark.parametrize("end", [lg.GlobalAvgPool(), lg.AvgPool(2) >> lg.Conv(1, 1) >> lg.Act("relu") >> lg.Flatten()])
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


TOKENS = X[:, :, 0]  # (3, 5, 2)
MIX = lg.Dense(1, C_W=1.3) >> lg.PositionalEmbedding(0.2)


def test_transposed_convolutions_are_convolutions_of_images_with_gaps() -> None:
    apart = np.zeros((3, 9, 2))
    apart[:, ::2] = TOKENS
    apart = np.pad(apart, ((0, 0), (2, 2), (0, 0)))
    end = lg.Act("relu") >> lg.Conv(1, 2) >> lg.GlobalAvgPool() >> lg.Dense(1)
    for padding, images in (("VALID", apart), ("SAME", apart[:, :-1])):
        wide = both(lg.ConvTranspose(1, 3, 2, padding, C_W=1.7, C_b=0.1) >> end, TOKENS)
        np.testing.assert_allclose(wide, both(lg.Conv(1, 3, padding="VALID", C_W=1.7, C_b=0.1) >> end, images), rtol=1e-12)


def test_local_weights_matter_where_positions_are_pooled_only() -> None:
    layer, own = lg.Conv(1, 3, C_W=1.7, C_b=0.1), lg.ConvLocal(1, 3, C_W=1.7, C_b=0.1)
    first = layer >> lg.Act("relu")
    flat = both(first >> layer >> lg.Act("erf") >> lg.Flatten() >> lg.Dense(1), X)
    np.testing.assert_allclose(both(first >> own >> lg.Act("erf") >> lg.Flatten() >> lg.Dense(1), X), flat, rtol=1e-12)
    plain = both(first >> layer >> lg.Flatten() >> lg.Dense(1), X)
    pooled = both(first >> own >> lg.GlobalAvgPool() >> lg.Dense(1), X)
    np.testing.assert_allclose(pooled, plain / 25, rtol=1e-12)  # a mean of 25 uncorrelated values


def test_dropout_divides_what_a_point_shares_with_itself() -> None:
    def of(rate: float) -> np.ndarray:
        return both(lg.Dense(1, C_W=1.3) >> lg.Act("relu") >> lg.Dropout(rate) >> lg.Dense(1), X[:, 0, 0])

    same = np.eye(3, dtype=bool)
    np.testing.assert_allclose(of(0.2)[0], np.where(same, of(0.0)[0] / 0.8, of(0.0)[0]), rtol=1e-12)
    np.testing.assert_allclose(of(0.2)[1], np.where(same, of(0.0)[1] / 0.8, of(0.0)[1]), rtol=1e-12)
    flat = MIX >> lg.Act("relu") >> lg.Dropout(0.2) >> lg.Conv(1, 3) >> lg.Act("relu") >> lg.Flatten() >> lg.Dense(1)
    pair = MIX >> lg.Act("relu") >> lg.Dropout(0.2) >> lg.Conv(1, 3) >> lg.Act("relu") >> lg.Aggregate(np.eye(5)) >> lg.Flatten()
    np.testing.assert_allclose(both(flat, TOKENS), both(pair >> lg.Dense(1), TOKENS), rtol=1e-11)  # both layouts


def test_aggregation_over_a_complete_graph_is_global_pooling() -> None:
    body = lg.Dense(1, C_W=1.3) >> lg.Act("relu")
    pooled = both(body >> lg.GlobalAvgPool() >> lg.Dense(1), TOKENS)
    np.testing.assert_allclose(both(body >> lg.Aggregate(np.full((1, 5), 0.2)) >> lg.Flatten() >> lg.Dense(1), TOKENS), pooled, rtol=1e-12)


@pytest.mark.parametrize(("mechanism", "scaling"), [("softmax", "1/d"), ("abs", "1/d")])
def test_attention_sees_order_by_positional_embeddings_only(mechanism: str, scaling: str) -> None:
    order = np.array([3, 0, 4, 1, 2])

    def of(positions: float | None, front: Any = lg.Identity()) -> Any:  # noqa: B008
        part = lg.Attention(mechanism, scaling, positions, C_key=1.2, C_query=0.7, C_b=0.1)
        return lg.Dense(1, C_W=1.3) >> front >> part >> lg.Act("gelu") >> lg.GlobalAvgPool() >> lg.Dense(1)

    plain, other = both(of(None), TOKENS, TOKENS), both(of(None), TOKENS, TOKENS[:, order])
    np.testing.assert_allclose(other, plain, rtol=1e-10)
    for layout in (plain, both(of(0.5), TOKENS)):
        np.testing.assert_allclose(layout, layout.swapaxes(1, 2), rtol=1e-12)
        assert np.linalg.eigvalsh(layout).min() > -1e-12 * layout.max()
    seen = [of(None, lg.PositionalEmbedding(0.5)), of(0.5)]
    moved = [np.abs(both(net, TOKENS, TOKENS[:, order]) - both(net, TOKENS, TOKENS)).max() / plain.max() for net in seen]
    # embeddings of tied scores only, +C for a position with itself, do not tell one position from another
    assert moved[0] > 1e-4 and (moved[1] > 1e-4 if scaling == "1/sqrt(d)" else moved[1] < 1e-12), moved


def test_relu_scores_of_positive_covariances_are_identity_scores() -> None:
    tokens = np.abs(TOKENS)
    of = [lg.Dense(1) >> lg.Attention(name, "1/d", C_key=2.0) >> lg.Flatten() >> lg.Dense(1) for name in ("identity", "relu", "abs")]
    for other in of[1:]:
        np.testing.assert_allclose(both(other, tokens), both(of[0], tokens), rtol=1e-13)


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (lg.Conv(1, 3) >> lg.MaxPool(2) >> lg.Flatten() >> lg.Dense(1), "maximum of correlated units has no closed form"),
        (lg.Dense(1) >> lg.Attention("softmax") >> lg.Flatten() >> lg.Dense(1), "scores scaled by 1/sqrt.d. stay random"),
        (lg.Attention() >> lg.Flatten() >> lg.Dense(1), "acts on the inputs"),
        (lg.PositionalEmbedding() >> lg.Flatten() >> lg.Dense(1), "acts on the inputs"),
        (lg.Dense(1) >> lg.Dropout(0.1) >> lg.Act("relu") >> lg.Flatten() >> lg.Dense(1), "Gaussian"),
    ],
)
def test_what_has_no_infinite_width_form_says_why(net: Any, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        lg.kernel(net, X if isinstance(net.nodes[0], lg.Conv) else TOKENS)


def test_concatenated_units_count_by_their_number_after_flattening_too() -> None:
    """Of 25 x 2 flattened values and 10 units of a branch, the values weigh 5/6."""
    first, branch = lg.Conv(2, 1, C_W=1.7), lg.Dense(10, C_W=1.7, C_b=0.1)
    K = lg.kernel(first >> lg.Flatten() >> lg.Concat(lg.Identity(), branch) >> lg.Dense(1), X).nngp
    moments = 1.7 * X.reshape(3, -1) @ X.reshape(3, -1).T / 50
    np.testing.assert_allclose(K, 5 / 6 * moments + (0.1 + 1.7 * moments) / 6, rtol=1e-12)
    with pytest.raises(UnsupportedError, match="Concat"):
        lg.signal(branch >> lg.Concat(lg.Identity(), lg.Act("tanh")) >> lg.Dense(1), X.reshape(3, -1))
