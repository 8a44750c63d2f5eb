"""lg.torch.init_ of transposed convolutions and of layers under a weight normalisation."""

import copy
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import largen as lg

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed (TORCH=0)")
nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
CHANNELS = (96, 72, 56, 48, 36, 32, 24)
NORMS = {"older": nn.utils.weight_norm, "newer": nn.utils.parametrizations.weight_norm}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Convolutions this small would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def decoder(kernel: int, stride: int) -> Any:
    """Six transposed convolutions, each on ReLU of the one before."""
    whole = int((kernel, stride) == (3, 2))  # so that the output has stride x positions
    parts = [nn.ConvTranspose1d(n, m, kernel, stride, 1, whole) for n, m in pairwise(CHANNELS)]
    return nn.Sequential(*[one for part in parts for one in (part, nn.ReLU())][:-1])


def sizes(model: Any, x: Any) -> np.ndarray:
    """Mean squares after every layer, over the inner half of the positions, which no border reaches."""
    out = []
    with torch.no_grad():
        for part in model:
            x = part(x)
            if isinstance(part, nn.ConvTranspose1d):
                n = x.shape[-1]
                out.append(float(x[..., n // 4 : n - n // 4].double().square().mean()))
    return np.array(out)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_six_transposed_convolutions_keep_the_mean_square(kernel: int, stride: int) -> None:
    """E of it is that of the first layer, 2 at every depth, exactly: ReLU halves it, and a layer is linear in it. PyTorch's fan_in of a
    transposed convolution, outputs x window, is rejected on the same networks."""
    networks, generator = 100, torch.Generator().manual_seed(0)
    model = decoder(kernel, stride)
    x = torch.ones(1, CHANNELS[0], 32 if stride == 1 else 8)
    found = np.array([(lg.torch.init_(model, generator=generator), sizes(model, x))[1] for _ in range(networks)])
    torch.manual_seed(1)
    others = []
    for _ in range(networks):
        for part in model:
            if isinstance(part, nn.ConvTranspose1d):
                nn.init.kaiming_normal_(part.weight)
        others.append(sizes(model, x))
    for values, agrees in ((found, True), (np.array(others), False)):
        error = values.std(0, ddof=1) / math.sqrt(networks)
        assert (error / values.mean(0)).max() < 0.1
        z = np.abs(values.mean(0) - 2) / error
        assert z.max() < 4 if agrees else z.max() > 6


def test_the_table_says_the_mean_fan_in() -> None:
    model = nn.Sequential(
        nn.ConvTranspose2d(6, 4, (3, 4), (2, 1), groups=2),
        nn.ReLU(),
        nn.ConvTranspose3d(4, 2, 2, 2),
        nn.ReLU(),
        nn.ConvTranspose1d(2, 2, 3, 2),
    )
    table = lg.torch.init_(model, activation={"0": "inputs", "2": "relu", "4": "relu"})
    assert [layer.fan_in for layer in table.layers] == [3 * 3 * 4 / 2, 4, 3]
    assert [layer.std for layer in table.layers] == pytest.approx([math.sqrt(2 / 18), math.sqrt(2 / 4), math.sqrt(2 / 3)])
    assert not table.left


@pytest.mark.parametrize("form", NORMS)
@pytest.mark.parametrize("traced", [True, False])
def test_under_a_weight_normalisation_the_weight_is_as_drawn(form: str, traced: bool) -> None:
    plain = nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Unflatten(1, (8, 1)), nn.ConvTranspose1d(8, 4, 3, 2), nn.ReLU(), nn.Conv1d(4, 5, 2)
    )
    normed = copy.deepcopy(plain)
    for i, dim in ((0, 0), (3, 1), (5, None)):
        NORMS[form](normed[i], dim=dim)
    example = None if traced else torch.ones(2, 6)
    tables = [lg.torch.init_(model, example=example, generator=torch.Generator().manual_seed(3)) for model in (plain, normed)]
    assert str(tables[0]) == str(tables[1]) and not tables[1].left
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(4))
    for a, b in zip(plain, normed, strict=True):
        if hasattr(a, "weight"):
            torch.testing.assert_close(a.weight, b.weight)
    torch.testing.assert_close(plain(x), normed(x))
    normed(x).square().sum().backward()  # the parts are what is trained
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in normed.parameters())


@pytest.mark.parametrize("traced", [True, False])
def test_they_end_branches_of_a_stream(traced: bool) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3, padding=1))
            self.b = nn.utils.weight_norm(nn.ConvTranspose1d(4, 4, 3, padding=1))

        def forward(self, z: Any) -> Any:
            return z + self.b(torch.relu(self.a(torch.relu(z))))

    model = nn.Sequential(nn.ConvTranspose1d(2, 4, 4, 2, 1), Block(), Block(), nn.ReLU(), nn.Conv1d(4, 1, 1))
    table = lg.torch.init_(model, example=None if traced else torch.ones(1, 2, 5), generator=torch.Generator().manual_seed(0))
    assert {layer.name: layer.C_W for layer in table.layers} == pytest.approx({"0": 2, "1.a": 2, "1.b": 1, "2.a": 2, "2.b": 1, "4": 2})


def test_a_spectral_norm_is_left_alone() -> None:
    for normed in (nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm):
        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), normed(nn.Linear(8, 8)))
        table = lg.torch.init_(model)
        assert [layer.name for layer in table.layers] == ["0"] and "not by weight normalisation" in table.left["2"]


def test_a_weight_normalised_layer_alone() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(400, 300))
    table = lg.torch.init_(layer, generator=torch.Generator().manual_seed(0))
    assert not table.left and float(layer.weight.detach().square().mean() * 400) == pytest.approx(1, abs=4 * math.sqrt(2 / 120000))
