"""lg.torch.init_ of what is more than a chain: values changed in place, residual networks, attention, what is not read."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import largen as lg
from largen.errors import InputError

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed (TORCH=0)")
nn = torch.nn
F = nn.functional

GELU: Any = lg.critical("gelu")
X = torch.zeros(3, 8)


class Layers(nn.Module):
    def __init__(self, forward: Callable[[Any, Any], Any], names: str = "abc") -> None:
        super().__init__()
        for name in names:
            setattr(self, name, nn.Linear(8, 8))
        self.act, self.run = nn.ReLU(inplace=True), forward

    def forward(self, x: Any) -> Any:
        return self.run(self, x)


def fed_by(table: Any) -> dict[str, str]:
    return {layer.name: layer.activation for layer in table.layers}


def discarded(m: Any, x: Any) -> Any:
    x = m.a(x)
    m.act(x)
    return m.c(m.b(x))


def methods(m: Any, x: Any) -> Any:
    x = m.a(x)
    x.clamp_(min=0)
    y = m.b(x)
    y.mul_(0.1)
    y.add_(x)
    return m.c(y)


def read_again(m: Any, x: Any) -> Any:
    x = m.a(x)
    y = m.act(x)
    return m.b(x), m.c(y)


def through_a_view(m: Any, x: Any) -> Any:
    x = m.a(x)
    F.relu(x.view(-1, 2, 4), True)
    return m.c(m.b(x))


def through_data(m: Any, x: Any) -> Any:
    x = m.a(x)
    x.data.clamp_(min=0)
    return m.c(m.b(x))


def written_out(m: Any, x: Any) -> Any:
    x = m.a(x)
    torch.tanh(x, out=x)
    return m.c(m.b(x))


@pytest.mark.parametrize("forward", [discarded, methods, read_again, through_a_view, through_data, written_out])
def test_what_is_changed_in_place_and_read_again_is_refused_without_an_example(forward: Any) -> None:
    for said in (None, "relu"):
        with pytest.raises(InputError, match=r"a, b, c: .*(in place|out=).*example="):
            lg.torch.init_(Layers(forward), activation=said)
    table = lg.torch.init_(Layers(forward), activation={"a": "inputs", "b": "relu", "c": "linear"})
    assert fed_by(table) == {"a": "inputs", "b": "relu", "c": "linear"}


@pytest.mark.parametrize(
    ("forward", "wanted"),
    [
        (discarded, {"a": ("inputs", 2), "b": ("relu", 2), "c": ("linear", 1)}),
        (methods, {"a": ("inputs", 2), "b": ("relu", 2 * 100), "c": ("linear", 1)}),  # 0.1 W relu(x) + relu(x)
        (read_again, {"a": ("inputs", 2), "b": ("relu", 2), "c": ("relu", 2)}),
    ],
)
def test_an_example_shows_what_readers_saw(forward: Any, wanted: Any) -> None:
    table = lg.torch.init_(Layers(forward), example=X)
    assert {layer.name: (layer.activation, pytest.approx(layer.C_W)) for layer in table.layers} == wanted
    with pytest.raises(InputError, match=r"`example`.*does not run forward"):
        lg.torch.init_(Layers(forward), example=torch.zeros(3, 7))


def test_operations_in_place_that_nobody_reads_behind_are_as_others() -> None:
    def forward(m: Any, x: Any) -> Any:
        x = m.act(m.a(x))
        h = m.b(x).relu_()
        h += x  # its own memory, read by nobody else
        return m.c(F.relu(h, inplace=True))

    assert fed_by(lg.torch.init_(Layers(forward))) == {"a": "inputs", "b": "relu", "c": "linear"}


def test_residual_networks_without_an_example() -> None:
    def stack(m: Any, x: Any) -> Any:
        x = m.a(x)
        for layer in (m.b, m.c, m.d):
            x = x + layer(F.gelu(x))
        return m.e(F.gelu(x))

    for said in (None, "relu"):  # what is seen is not overruled
        table = lg.torch.init_(Layers(stack, "abcde"), activation=said)
        wanted = [GELU.K_star - GELU.C_b, *[GELU.C_W / 3] * 3, GELU.C_W]
        assert [layer.C_W for layer in table.layers] == pytest.approx(wanted)
        assert [layer.C_b for layer in table.layers] == pytest.approx([GELU.C_b, *[GELU.C_b / 3] * 3, GELU.C_b])
        assert "1/3 of C_W and C_b: ends one of 3 branches of a stream" in str(table)


class Basic(nn.Module):
    """The block of a ResNet as torchvision writes it."""

    def __init__(self, n: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(n, out, 3, stride, 1, bias=False), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn1, self.bn2, self.relu = nn.BatchNorm2d(out), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
        self.down = nn.Sequential(nn.Conv2d(n, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if n != out else None

    def forward(self, x: Any) -> Any:
        identity = x
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.down is not None:
            identity = self.down(x)
        out += identity
        return self.relu(out)


def test_a_resnet_gets_smaller_weights_of_the_normalisations_that_end_its_branches() -> None:
    blocks = [Basic(4, 4), Basic(4, 4), Basic(4, 8, 2), Basic(8, 8), Basic(8, 8)]
    stem = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    table = lg.torch.init_(model)
    places = {**{4: 2, 5: 2}, **{6: 3, 7: 3, 8: 3}}  # branches of the stream: the projected skip starts a new one
    assert dict(table.scales) == pytest.approx({f"{i}.bn2.weight": B**-0.5 for i, B in places.items()})
    for i, B in places.items():
        assert torch.all(model[i].bn2.weight == torch.tensor(B**-0.5)) and torch.all(model[i].bn1.weight == 1)
    assert "set: the weight of 4.bn2.weight to 0.7071" in str(table)


class Attention(nn.Module):
    """Attention in one layer for query, key and value, with a mask and slices that torch.fx cannot trace."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.qkv, self.out, self.drop = nn.Linear(n, 3 * n), nn.Linear(n, n), nn.Dropout(0.1)
        self.register_buffer("mask", torch.tril(torch.ones(9, 9)))

    def forward(self, x: Any) -> Any:
        b, t, n = x.shape
        q, k, v = (part.view(b, t, 2, n // 2).transpose(1, 2) for part in self.qkv(x).split(n, dim=2))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        weights = self.drop(F.softmax(scores.masked_fill(self.mask[:t, :t] == 0, float("-inf")), dim=-1))
        return self.drop(self.out((weights @ v).transpose(1, 2).contiguous().view(b, t, n)))


class RMS(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x: Any) -> Any:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Language(nn.Module):
    def __init__(self, n: int = 8) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, n), nn.Embedding(9, n)
        self.mix, self.bend = nn.ModuleList([Attention(n) for _ in range(2)]), nn.ModuleList()
        for _ in range(2):
            self.bend.append(nn.Sequential(nn.Linear(n, 4 * n), nn.GELU(), nn.Linear(4 * n, n)))
        self.norms, self.head = nn.ModuleList([nn.LayerNorm(n) if i % 2 else RMS(n) for i in range(5)]), nn.Linear(n, 20, bias=False)

    def forward(self, ids: Any) -> Any:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for i in range(2):
            x = x + self.mix[i](self.norms[2 * i](x))
            x = x + self.bend[i](self.norms[2 * i + 1](x))
        return self.head(self.norms[4](x))


def test_a_transformer_written_by_hand() -> None:
    with pytest.raises(InputError, match=r"could not be traced.*example="):
        lg.torch.init_(Language(), activation="gelu")
    table = lg.torch.init_(Language(), example=torch.zeros(2, 7, dtype=torch.long))
    wanted = {"head": 1.0}
    for i in (0, 1):
        wanted |= {f"mix.{i}.qkv": 1.0, f"mix.{i}.out": 1 / 4, f"bend.{i}.0": 1.0, f"bend.{i}.2": GELU.C_W / 4}
    assert {layer.name: layer.C_W for layer in table.layers} == pytest.approx(wanted)


def test_what_is_not_read_is_said_with_its_numbers() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(8, 16), nn.Linear(16, 2)
            self.mix, self.norms = (nn.ModuleList([make() for _ in range(3)]) for make in (self.attention, lambda: nn.LayerNorm(16)))

        @staticmethod
        def attention() -> Any:
            return nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            for mix, norm in zip(self.mix, self.norms, strict=True):
                h = norm(x)
                x = x + mix(h, h, h, need_weights=False)[0]
            return self.head(x)

    table = lg.torch.init_(Heads())
    assert fed_by(table) == {"stem": "inputs", "head": "linear"}
    assert f"in_proj_weight to std {1 / 4:.4g}, out_proj.weight to std {(1 / 3 / 16) ** 0.5:.4g}" in table.left["mix.1"]
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    table = lg.torch.init_(nn.Sequential(nn.Linear(8, 16), nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.Linear(16, 2)))
    assert "6 branches" in table.left["1"] and f"{(2 / 6 / 32) ** 0.5:.4g} in every linear2.weight" in table.left["1"]

    class Recurrent(nn.Module):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.cell, self.head = kind(8, 16), nn.Linear(16, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.cell(x)[0])

    for kind, said in ((nn.LSTM, "gates"), (nn.RNN, "0.25")):
        with pytest.raises(InputError, match=rf"head: the module cell \({kind.__name__}\)"):
            lg.torch.init_(Recurrent(kind))
        table = lg.torch.init_(Recurrent(kind), activation={"head": "tanh"})
        assert fed_by(table) == {"head": "tanh"} and said in table.left["cell"]


def test_no_table_without_numbers_to_draw() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    with pytest.raises(InputError, match=r"meta device.*to_empty"):
        lg.torch.init_(model)
    lg.torch.init_(model.to_empty(device="cpu"))
    assert torch.isfinite(model[0].weight).all()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "width", "depths"), [("mlp", 64, (4, 16, 64)), ("cnn", 32, (16,)), ("transformer", 64, (16,))])
def test_sizes_and_gradients_stay_within_a_factor_of_four(kind: str, width: int, depths: tuple[int, ...]) -> None:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "residual_init.py"
    spec = importlib.util.spec_from_file_location("residual_init", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for blocks in depths:
        assert all(1 / 4 < ratio < 4 for ratio in script.measure(kind, width, blocks, 2))
