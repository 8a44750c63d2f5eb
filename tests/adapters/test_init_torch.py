"""lg.torch.init_: what is drawn, what is traced, what is refused."""

import doctest
import math
from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.errors import InputError, UnsupportedError

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed (TORCH=0)")
nn = torch.nn
F = nn.functional


def seeded(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def fed_by(table: lg.records.Initialisation) -> dict[str, str]:
    return {layer.name: layer.activation for layer in table.layers}


class Functional(nn.Module):
    """Every style of calling an activation, a branch of convolutions, two linear layers in a row, one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.a, self.b, self.c, self.d, self.e, self.f = (nn.Linear(8, 8) for _ in range(6))
        self.unused = nn.Linear(3, 3)
        self.leaky = nn.LeakyReLU(0.2)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.norm(self.conv(x)))
        x = torch.flatten(F.max_pool2d(x, x.shape[-1]), 1)
        x = F.gelu(self.a(x), approximate="tanh")
        x = F.dropout(self.b(x).view(-1, 8).tanh(), 0.1, self.training)
        x = self.leaky(self.c(x))
        x = self.e(self.d(x))
        return self.f(torch.cat([F.gelu(x[:, :4]), F.gelu(x[:, 4:])], dim=1))


class Residual(nn.Module):
    def __init__(self, act: Any = torch.relu) -> None:
        super().__init__()
        self.a, self.b, self.c, self.act = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), act

    def forward(self, x: Any) -> Any:
        x = self.a(x)
        x = x + self.b(self.act(x))
        return self.c(self.act(x))


class Untraceable(nn.Module):
    """Control flow that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        x = self.a(x)
        if x.sum() > 0:
            x = -x
        return self.c(F.gelu(self.b(F.gelu(x))))


def test_weights_and_biases_have_the_variances_of_the_table() -> None:
    model = nn.Sequential(nn.Linear(300, 400), nn.GELU(), nn.Unflatten(1, (4, 100)), nn.Conv1d(4, 500, 5), nn.GELU(), nn.Linear(96, 700))
    table = lg.torch.init_(model, input_scale=2.0, generator=seeded())
    point = lg.critical("gelu")
    assert point.C_b is not None and point.C_W is not None and point.K_star is not None
    first = (point.K_star - point.C_b) / 2
    assert [layer.C_W for layer in table.layers] == pytest.approx([first, point.C_W, point.C_W], rel=1e-12)
    assert [layer.fan_in for layer in table.layers] == [300, 20, 96]
    for layer, module in zip(table.layers, (model[0], model[3], model[5]), strict=True):
        for values, variance in ((module.weight, layer.C_W / layer.fan_in), (module.bias, point.C_b)):
            sample = values.detach().numpy().astype(float).ravel()
            spread = math.sqrt(2 / sample.size)  # of chi-square over its degrees of freedom
            assert abs(np.mean(sample**2) / variance - 1) < 4 * spread < 0.3
            assert abs(np.mean(sample)) < 4 * math.sqrt(variance / sample.size)
            assert abs(np.mean(sample**4) / variance**2 - 3) < 4 * math.sqrt(96 / sample.size)  # Gaussian, not uniform (1.8)


def test_the_values_are_those_of_a_critical_mlp() -> None:
    for name, module in (("gelu", nn.GELU), ("tanh", nn.Tanh), ("relu", nn.ReLU), ("swish", nn.SiLU)):
        table = lg.torch.init_(nn.Sequential(nn.Linear(9, 8), module(), nn.Linear(8, 8), module(), nn.Linear(8, 2)), input_scale=0.7)
        wanted = lg.analysis.chain(lg.mlp([8, 8], out=2, activation=name, C="critical", input_scale=0.7))
        assert [(r.C_W, r.C_b) for r in table.layers] == [(layer.C_W, layer.C_b) for layer in wanted]


def test_behind_a_normalisation_of_the_inputs_their_scale_is_one() -> None:
    behind = lg.torch.init_(nn.Sequential(nn.LayerNorm(9), nn.Linear(9, 8), nn.GELU(), nn.Linear(8, 2)), input_scale=4.0)
    plain = lg.torch.init_(nn.Sequential(nn.Linear(9, 8), nn.GELU(), nn.Linear(8, 2)))
    assert [layer.C_W for layer in behind.layers] == [layer.C_W for layer in plain.layers]


def test_the_generator_decides_alone() -> None:
    a, b = (nn.Sequential(nn.Linear(20, 10), nn.Tanh(), nn.Linear(10, 1)) for _ in range(2))
    lg.torch.init_(a, generator=seeded(3))
    torch.manual_seed(99)
    lg.torch.init_(b, generator=seeded(3))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    lg.torch.init_(b, generator=seeded(4))
    assert not torch.equal(a[0].weight, b[0].weight)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module"), [("gelu", nn.GELU), ("tanh", nn.Tanh)])
def test_fifty_layers_keep_the_sizes_of_theory(name: str, module: Any) -> None:
    n, L, networks = 400, 50, 20
    x = torch.randn(1, 100, generator=seeded(7))
    x *= 10 / x.norm()  # |x|^2/n_0 = 1
    parts = [part for _ in range(L - 2) for part in (nn.Linear(n, n), module())]
    model = nn.Sequential(nn.Linear(100, n), module(), *parts, nn.Linear(n, n))

    def sizes() -> np.ndarray:
        out, h = [], x
        with torch.no_grad():
            for part in model:
                h = part(h)
                out += [float(h.double().square().mean())] if isinstance(part, nn.Linear) else []
        return np.array(out)

    K = np.asarray(lg.kernel(lg.mlp([n] * (L - 1), out=n, activation=name, C="critical"), x.numpy().astype(float), layer="all").nngp)[
        :, 0, 0
    ]
    l = np.arange(1, L + 1)
    growth = lg.critical(name).growth
    assert growth is not None and growth["V/(n K^2)"].coefficient is not None
    # variance of one network's mean square: 2/n of its own neurons, V/(n K^2) = c l/n; the mean is off by order l/n
    bound = 4 * np.sqrt((2 + growth["V/(n K^2)"].coefficient * l) / n / networks) + l / n
    torch.manual_seed(0)
    default = []
    for _ in range(networks):
        for part in model:
            if isinstance(part, nn.Linear):
                part.reset_parameters()
        default.append(sizes())
    generator = seeded(1)
    critical = []
    for _ in range(networks):
        lg.torch.init_(model, generator=generator)
        critical.append(sizes())
    assert (np.abs(np.mean(critical, 0) / K - 1) / bound).max() < 1
    assert (np.abs(np.mean(default, 0) / K - 1) / bound).min() > 1  # at every layer


def test_tracing_sees_functions_methods_and_modules() -> None:
    model = Functional()
    before = model.norm.weight.clone(), model.unused.weight.clone()
    table = lg.torch.init_(model)
    seen = {"conv": "inputs", "a": "relu", "b": "gelu_tanh", "c": "tanh", "d": "leaky_relu(0.2)", "e": "linear", "f": "gelu"}
    assert fed_by(table) == seen
    notes = {layer.name: layer.note for layer in table.layers}
    assert "max_pool2d" in notes["a"] and "BatchNorm2d" in notes["a"] and "dropout" in notes["c"] and not notes["d"]
    assert table.layers[0].fan_in == 2 * 9  # two groups
    assert set(table.left) == {"norm", "unused"} and "tracing" in table.left["unused"]
    assert torch.equal(model.norm.weight, before[0]) and torch.equal(model.unused.weight, before[1])
    assert table.notes[0].startswith("Several activations")


def test_a_linear_layer_before_the_first_activation_is_looked_through() -> None:
    table = lg.torch.init_(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 1)))
    point = lg.critical("gelu")
    assert [layer.activation for layer in table.layers] == ["inputs", "linear", "gelu"]
    assert table.layers[0].C_W + table.layers[0].C_b == pytest.approx(point.K_star)
    assert table.layers[1].C_W == 1 and table.layers[1].C_b == 0


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.GELU(), "gelu"),
        (nn.GELU(approximate="tanh"), "gelu_tanh"),
        (nn.SiLU(), "swish"),
        (nn.Mish(), "mish"),
        (nn.ELU(), "elu"),
        (nn.SELU(), "selu"),
        (nn.LeakyReLU(0.3), "leaky_relu(0.3)"),
        (nn.PReLU(init=0.5), "leaky_relu(0.5)"),
        (nn.ReLU(inplace=True), "relu"),
        (nn.Softsign(), "softsign"),
        (nn.Hardtanh(), "hardtanh"),
    ],
)
def test_an_activation_that_is_seen_is_the_function_of_its_name(module: Any, name: str) -> None:
    z = np.linspace(-3, 3, 41)
    with torch.no_grad():
        np.testing.assert_allclose(np.asarray(lg.activation(name)(z)), module(torch.tensor(z).float()).numpy(), atol=2e-6)
    assert fed_by(lg.torch.init_(nn.Sequential(nn.Linear(3, 3), module, nn.Linear(3, 3))))["2"] == name


@pytest.mark.parametrize("module", [nn.ELU(0.5), nn.Hardtanh(0, 1), nn.ReLU6(), nn.Softplus(2), nn.PReLU(2, init=0.1), nn.Softmax(1)])
def test_an_activation_without_a_name_is_asked_for(module: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 2), module, nn.Linear(2, 3))
    if isinstance(module, nn.PReLU):
        torch.nn.init.uniform_(module.weight, generator=seeded())
    with pytest.raises(InputError, match="2: "):
        lg.torch.init_(model)
    assert fed_by(lg.torch.init_(model, activation="relu")) == {"0": "inputs", "2": "relu"}


def test_a_sum_of_branches_is_read_and_nothing_is_written_where_it_cannot_be() -> None:
    for argument in (None, "relu", {"c": "relu"}):
        table = lg.torch.init_(Residual(), activation=argument)
        assert fed_by(table) == {"a": "inputs", "b": "relu", "c": "relu"}
        assert [layer.C_W for layer in table.layers] == [2, 2, 2]  # one branch: B = 1

    class Gated(Residual):
        def forward(self, x: Any) -> Any:
            x = self.a(x)
            return self.c(torch.relu(x + F.glu(self.b(x))))

    model = Gated()
    before = [p.clone() for p in model.parameters()]
    for argument in (None, "relu"):
        with pytest.raises(InputError, match=r'b: a branch that ends in the operation glu.*by name, activation={"b": "relu"}'):
            lg.torch.init_(model, activation=argument)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.c(torch.tanh(torch.relu(m.a(x)))), "two activations in a row"),
        (lambda m, x: m.c(torch.cat([torch.relu(m.a(x))[:, :4], x[:, :4]], 1)), "concatenation"),
        (lambda m, x: m.c(torch.sigmoid(m.a(x)) * m.a(x)), "operation mul"),
        (lambda m, x: m.c(torch.tanh(x)), "tanh of the inputs"),
        (lambda m, x: m.c(m.c(torch.relu(m.a(x)))), "called several times"),
        (lambda m, x: (torch.relu_(h := m.a(x)), m.c(h))[1], "in place"),
    ],
)
def test_what_tracing_cannot_read_is_said(forward: Any, reason: str) -> None:
    class Model(Residual):
        def forward(self, x: Any) -> Any:
            return forward(self, x)

    with pytest.raises(InputError, match=reason):
        lg.torch.init_(Model())


def test_a_model_that_cannot_be_traced_is_described_by_the_argument() -> None:
    with pytest.raises(InputError, match="a, b, c: forward could not be traced"):
        lg.torch.init_(Untraceable())
    with pytest.raises(InputError, match="example="):  # one activation for all would not say which is first, nor what is summed
        lg.torch.init_(Untraceable(), activation="gelu")
    table = lg.torch.init_(Untraceable(), activation={"a": "inputs", "b": "gelu", "c": "gelu"})
    assert fed_by(table) == {"a": "inputs", "b": "gelu", "c": "gelu"}
    assert table.layers[0].C_W + table.layers[0].C_b == pytest.approx(lg.critical("gelu").K_star)
    with pytest.raises(InputError, match="b, c: forward could not be traced"):
        lg.torch.init_(Untraceable(), activation={"a": "inputs"})


def test_a_sequence_is_read_in_order_where_tracing_fails() -> None:
    inner = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
    table = lg.torch.init_(
        nn.Sequential(nn.Linear(8, 8), nn.SiLU(), inner, nn.Linear(8, 8), Untraceable()),
        activation={"4.a": "linear", "4.b": "gelu", "4.c": "gelu"},
    )
    assert fed_by(table) == {"0": "inputs", "2.0": "swish", "3": "tanh", "4.a": "linear", "4.b": "gelu", "4.c": "gelu"}


def test_any_function_can_be_said() -> None:
    class Gated(nn.Module):
        def forward(self, z: Any) -> Any:
            return z * torch.sigmoid(z)

    swish = lg.activation(lambda z: z / (1 + np.e**-z))
    table = lg.torch.init_(nn.Sequential(nn.Linear(8, 8), Gated(), nn.Linear(8, 8)), activation=swish)
    point = lg.critical("swish")
    assert [table.layers[1].C_W, table.layers[1].C_b] == pytest.approx([point.C_W, point.C_b], rel=1e-6)
    assert table.layers[0].C_W + table.layers[0].C_b == pytest.approx(point.K_star, rel=1e-6)


def test_what_has_no_weight_of_its_own_is_left_alone_and_listed() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 8)
            normed = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
            self.body = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), normed, nn.ReLU(), nn.TransformerEncoderLayer(8, 2))
            self.head = nn.Linear(8, 5)
            self.head.weight = self.words.weight

        def forward(self, x: Any) -> Any:
            return self.head(self.body(x))

    model = Tied()
    before = {name: p.clone() for name, p in model.named_parameters()}
    table = lg.torch.init_(model)
    assert [layer.name for layer in table.layers] == ["body.0"]
    wanted = {"words", "body.2", "body.4.self_attn", "body.4.self_attn.out_proj", "body.4.linear1", "body.4.norm1", "head"}
    assert wanted <= set(table.left)
    assert table.left["head"] == "shares its weights with words"
    assert "norm" in table.left["body.2"] and "tracing" in table.left["body.4.linear1"]
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"body.0.weight", "body.0.bias"}
    assert str(table).count("left alone: ") == len(table.left)


def test_errors_read_well() -> None:
    with pytest.raises(UnsupportedError, match=r"sigmoid.*layer 0.*phi\(0\) = 0.5.*relu, tanh, gelu"):
        lg.torch.init_(nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 3)))
    with pytest.raises(InputError, match=r"layer 2 without biases.*C_b = 0.1729"):
        lg.torch.init_(nn.Sequential(nn.Linear(3, 3), nn.GELU(), nn.Linear(3, 3, bias=False)))
    with pytest.raises(InputError, match=r"lazy layer 0.*one batch"):
        lg.torch.init_(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(InputError, match=r"'3'.*names of layers: 0, 2"):
        lg.torch.init_(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)), activation={"3": "relu"})
    with pytest.raises(InputError, match="without a layer"):
        lg.torch.init_(nn.ReLU())
    with pytest.raises(InputError, match=r"torch.nn.Module"):
        lg.torch.init_([nn.Linear(3, 3)])
    with pytest.raises(InputError, match="manual_seed"):
        lg.torch.init_(nn.Linear(3, 3), generator=3)
    with pytest.raises(InputError, match="input_scale"):
        lg.torch.init_(nn.Linear(3, 3), input_scale=0)


def test_the_example_of_the_docstring() -> None:
    text = (lg.torch.init_.__doc__ or "").replace("# doctest: +SKIP", "")
    test = doctest.DocTestParser().get_doctest(text, {}, "init_", None, None)
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test) == (0, len(test.examples))
