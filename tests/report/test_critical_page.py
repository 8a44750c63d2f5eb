"""`largen critical`, `lg.figure` and the section on depth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import largen as lg
from largen.cli import main
from largen.errors import InputError
from largen.questions.reach import reach

X = np.random.default_rng(0).normal(size=(6, 20))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["critical", *arguments])
    seen = capsys.readouterr()
    return int(stop.value.code or 0), seen.out, seen.err


def test_the_page_has_recipe_class_picture_and_lines_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "gelu")
    assert code == 0
    for part in (
        "half-stable, critical at K* = 3.562",
        "W ~ N(0, 1.98306/fan_in), b ~ N(0, 0.172922)",
        "W ~ N(0, 3.38863/fan_in)",
        "lg.torch.init_(model)",
    ):
        assert part in out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("1 ", "100 "))]
    assert float(rows[0][2]) == pytest.approx(3.56) and float(rows[1][2]) == pytest.approx(3.56)


def test_the_page_of_no_criticality_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "sigmoid")
    assert code == 0 and "no critical initialisation" in out and "= -4 < 0" in out and "phi(z) - 0.5 is critical at K* = 0" in out


def test_the_page_says_how_deep_at_a_width(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence of `lg.how_deep`, which the report has too."""
    for arguments, width in ((("relu",), 512), (("relu", "--width", "256"), 256)):
        out = run(capsys, *arguments)[1]
        assert lg.how_deep("relu", width).sentences[0] in out and "angles between inputs close, as 9.42/l" in out
        assert f"lg.mlp(widths=[{width}] * 9," in out
    assert "can be 6 affine layers deep" in out
    code, out, err = run(capsys, "relu", "--width", "0")
    assert code == 2 and out == "" and "`width`" in err and len(err.splitlines()) == 1
    out = run(capsys, "softplus")[1]
    assert "chi_perp is below chi_par" in out and "is critical at K* = 0, unstable" in out


@pytest.mark.slow
def test_a_function_of_the_user(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bends.py").write_text(
        "import jax.numpy as jnp\ndef soft(z): return jnp.tanh(z) + 0.1 * z\ndef late(z): return jnp.maximum(z, 0.37)\n"
    )
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "--callable", "bends:soft")
    assert code == 0 and "soft: critical at K* = 0" in out and f"N(0, {1 / 1.21:.6g}/fan_in)" in out
    code, _, err = run(capsys, "--callable", "bends:late")
    assert code == 2 and "near z = 0.37" in err and len(err.splitlines()) == 1
    code, out, _ = run(capsys, "--callable", "bends:late", "--kinks", "0.37", "--figure", "late.html")
    assert code == 0 and (tmp_path / "late.html").read_text("utf-8").count("Plotly.newPlot(") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a name, as gelu"),
        (("gelu", "--callable", "a:b"), "both a name"),
        (("geluu",), "Did you mean 'gelu'"),
        (("--callable", "nothing"), "module:function"),
        (("--callable", "no_such_module:f"), "ModuleNotFoundError"),
        (("gelu", "--kinks", "0"), "named activations know"),
        (("--callable", "math:sin", "--kinks", "x"), "numbers separated by commas"),
        (("gelu", "--figure", "/no/such/folder/x.html"), "a folder that exists"),
    ],
)
def test_bad_calls_get_one_sentence(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and words in err and len(err.splitlines()) == 1


# ---------------------------------------------------------------- figures


@pytest.mark.slow
def test_figures_show_the_numbers_of_their_records() -> None:
    point = lg.critical("gelu")
    fig: Any = lg.figure(point)
    assert type(fig).__name__ == "Figure" and point.K_star is not None
    lines = {trace.name: np.asarray(trace.y) for trace in fig.data}
    np.testing.assert_allclose(lines["K⁽¹⁾ = 3.56"], point.K_star, rtol=1e-9)
    at = np.interp(np.log(point.K_star), np.log(np.asarray(fig.data[0].x, float)), lines["χ⊥"])
    assert at == pytest.approx(1, abs=1e-3)
    assert len(lg.figure(lg.critical("softplus")).data) == 1
    diagram = lg.phase_diagram("tanh", C_W=np.linspace(0.5, 4, 30), C_b=np.linspace(0, 0.5, 20))
    drawn = lg.figure(diagram)
    assert np.asarray(drawn.data[0].z).shape == (20, 30) and {a.text for a in drawn.layout.annotations} >= {"ordered", "chaotic"}
    out = lg.signal(lg.mlp([8] * 4, activation="relu", C_W=2.0), X)
    assert len(lg.figure(out).data) == 4 * 6
    with pytest.raises(InputError, match="a dict"):
        lg.figure({})


# ---------------------------------------------------------------- how deep it reaches


@pytest.mark.slow
def test_a_critical_network_has_nothing_to_change() -> None:
    for name in ("relu", "gelu"):
        found = reach(lg.mlp([512] * 3, 10, name, C="critical"), X)
        assert found.critical and found.phase == "critical" and found.xi_c is None
        assert found.sentences[-1] == "Nothing to change in the initialisation."
    found = reach(lg.mlp([512] * 3, 10, "relu", C="critical"), X)
    assert found.scatter == pytest.approx(5 * 3 / 512) and found.width == 150


@pytest.mark.slow
def test_off_criticality_the_depth_scale_decides() -> None:
    for hidden, words in ((20, "within that reach"), (60, "is beyond it")):
        found = reach(lg.mlp([512] * hidden, 10, "tanh", C_W=1.3, C_b=0.05), X)
        assert found.phase == "ordered" and not found.critical and found.trainable == pytest.approx(6 * 7.834, abs=0.01)
        assert any(words in s for s in found.sentences) and "C_W = 1, C_b = 0" in found.sentences[-1]
    assert "chaotic" in reach(lg.mlp([64] * 9, 1, "tanh", C_W=2.5), X).sentences[1]
    assert "grow without end" in reach(lg.mlp([64] * 9, 1, "relu", C_W=3.0), X).sentences[1]


@pytest.mark.slow
def test_other_networks_get_what_can_be_said() -> None:
    assert reach(lg.mlp([64] * 3, 10, "sigmoid"), X).critical is None
    found = reach(lg.resnet_mlp(64, blocks=3), X)
    assert found.phase is None and "branches or normalisation" in found.sentences[-1] and len(found.chi_perp) == 4
    assert reach(lg.mlp([], 10), X).sentences[0].startswith("One layer")
