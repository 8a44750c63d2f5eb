"""The pages say what happens: their code runs and prints what they show; the table of PyTorch's defaults is measured."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import numpy as np
import pytest

import largen as lg

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<body>.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# One does not import on current JAX, one wants more processes, one is for the whole process: tests/test_cache.py runs it in its own.
NOT_RUN = {"neural-tangents", "distributed", "kept programs"}
IF_INSTALLED = {"PyTorch": "torch"}
SLOW = {"README.md", "index.md", "tour.md", "from-neural-tangents.md", "init.md"}
SLOW |= {"criticality.md", "laws.md", "bayes.md", "depth-and-width.md", "training-at-finite-width.md"}


def blocks(page: Path) -> list[tuple[str, str, str | None]]:
    """(title, code, shown output or None) of every Python block of a page."""
    found = list(FENCE.finditer(page.read_text("utf-8")))
    out = []
    for i, fence in enumerate(found):
        if fence["language"] == "python":
            after = found[i + 1] if i + 1 < len(found) else None
            follows = after is not None and after["language"] == "text" and not page.read_text("utf-8")[fence.end() : after.start()].strip()
            out.append((fence["title"] or "", fence["body"], after["body"] if follows and after else None))
    return out


def same(shown: str, printed: str) -> bool:
    """Equal text, numbers equal to the digits shown (one unit of the last place)."""
    if NUMBER.sub("#", "".join(shown.split())) != NUMBER.sub("#", "".join(printed.split())):
        return False
    for a, b in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        mantissa, _, exponent = a.lower().partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        if abs(float(a) - float(b)) > (1.01 * unit if "." in a else 0):
            return False
    return True


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in SLOW and blocks(page) else []) for page in PAGES]
)
def test_the_code_of_a_page_prints_what_the_page_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for title, code, shown in blocks(page):
        needs = IF_INSTALLED.get(title)
        if title in NOT_RUN or (needs and importlib.util.find_spec(needs) is None):
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, f"{page.name}: {code.splitlines()[0]}", "exec"), names)
        if shown is not None:
            assert same(shown, printed.getvalue()), f"{page.name} shows\n{shown}\nbut the code prints\n{printed.getvalue()}"


def test_same_compares_numbers_to_the_digits_shown() -> None:
    assert same("K = [1.23  4.0]", "K = [1.2345 4.0]")
    assert not same("K = 1.23", "K = 1.26")
    assert not same("3 points", "4 points")
    assert not same("K = 1.2", "L = 1.2")


@pytest.mark.parametrize(
    ("name", "C_W"),
    [
        ("default", 1 / 3),
        ("kaiming_normal_", 2.0),
        ("kaiming_uniform_", 2.0),
        ("xavier_normal_", 2 * 900 / (900 + 400)),
        ("xavier_uniform_", 2 * 900 / (900 + 400)),
    ],
)
def test_pytorch_initialisations_have_the_variances_of_the_table(name: str, C_W: float) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(900, 400) for _ in range(10)]
    if name != "default":
        for layer in layers:
            extra = {"nonlinearity": "relu"} if "kaiming" in name else {}
            getattr(torch.nn.init, name)(layer.weight, **extra)
    weights = np.concatenate([layer.weight.detach().numpy().ravel() for layer in layers]).astype(float)
    biases = np.concatenate([layer.bias.detach().numpy() for layer in layers]).astype(float)
    # fourth moment of the sample gives the standard error of its variance
    for sample, variance in ((weights, C_W / 900), (biases, 1 / (3 * 900))):
        error = np.sqrt((np.mean(sample**4) - np.mean(sample**2) ** 2) / sample.size)
        assert abs(np.mean(sample**2) - variance) < 4 * error
        assert error < 0.03 * variance
    if name == "default":
        assert max(np.abs(weights).max(), np.abs(biases).max()) <= 1 / 30 + 1e-9


@pytest.mark.slow
def test_pytorch_sgd_is_the_rates_of_the_table() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    n, n_in, o, lr, steps = 6, 5, 2, 0.05, 20
    model = torch.nn.Sequential(
        torch.nn.Linear(n_in, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16), torch.nn.Tanh(), torch.nn.Linear(16, o)
    )
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(n, n_in)).astype(np.float32), generator.normal(size=(n, o)).astype(np.float32)
    linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    # copies: .numpy() shares memory with the model that is trained below
    params = {
        f"dense{i}": {"W": layer.weight.detach().numpy().T.copy(), "b": layer.bias.detach().numpy().copy()}
        for i, layer in enumerate(linear, 1)
    }
    net = lg.mlp(widths=[32, 16], out=o, activation="tanh", C_W=1 / 3, C_b=[1 / (3 * m) for m in (n_in, 32, 16)])
    np.testing.assert_allclose(lg.apply(net, params, X), model(torch.tensor(X)).detach().numpy(), atol=1e-6)
    optimiser, loss = torch.optim.SGD(model.parameters(), lr=lr), torch.nn.MSELoss()
    for _ in range(steps):
        optimiser.zero_grad()
        loss(model(torch.tensor(X)), torch.tensor(y)).backward()
        optimiser.step()
    trained, _ = lg.train(net, params, X, y, eta=1.0, steps=steps, rates=lg.rates_of_sgd(net, 2 * lr / (n * o), n_in=n_in))
    moved = np.abs(np.asarray(lg.apply(net, trained, X)) - np.asarray(lg.apply(net, params, X))).max()
    assert moved > 0.05
    np.testing.assert_allclose(lg.apply(net, trained, X), model(torch.tensor(X)).detach().numpy(), atol=1e-5)
