"""`largen report` from end to end at small sizes: files, schema, page, kinds of data."""

import re
from pathlib import Path

import numpy as np
import pytest

from largen.agreement.statistics import LEVEL
from largen.cli import main
from largen.data.files import load
from largen.data.task import make
from largen.report import schema

pytestmark = pytest.mark.slow


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["report", *arguments])
    return int(stop.value.code or 0)


def test_a_report_is_two_files_and_nothing_else(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == ["report.html", "report.json"]


def test_the_record_follows_its_schema_and_survives_a_round_trip(made: Path) -> None:
    text = (made / "report.json").read_text("utf-8")
    record = schema.loads(text)
    assert (record.schema, record.schema_version) == ("largen-report", 4)
    assert schema.dumps(record) == text
    assert "NaN" not in text and "Infinity" not in text
    assert set(record.verdicts) == {"signals", "tangent", "curves", "modes", "errors"}
    assert record.data.kind == "classification" and record.data.classes == ("high", "low")
    assert record.setup.widths == (16, 32, 64, 128) and record.setup.networks == (64, 64, 32, 16)
    for part in (record.study.signals, record.study.tangent, record.study.curves, record.study.modes, record.study.errors):
        for c in part.claims:
            assert len(c.means) == len(c.errors) == len(c.widths) == len(c.networks) == 4
            assert c.verdict == "disagrees" if abs(c.z) >= LEVEL else c.verdict in ("agrees", "undecided")
            assert (c.error is None) == (c.quantity in ("movement", "distance")) and (c.error is None or c.error > 0)


def test_every_field_of_the_schema_is_documented(made: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text("utf-8")

    def names(value: object) -> set[str]:
        if isinstance(value, dict):
            return {str(k) for k in value} | set().union(*(names(v) for v in value.values()))
        return set().union(*(names(v) for v in value)) if isinstance(value, list) else set()

    found = names(schema.ADAPTER.dump_python(schema.loads((made / "report.json").read_text("utf-8")), mode="json"))
    assert {name for name in found if f"`{name}`" not in page} == set()


def test_the_page_loads_nothing_and_holds_its_figures(made: Path) -> None:
    html = (made / "report.html").read_text("utf-8")
    outside = re.sub(r"(<script[^>]*>).*?</script>", r"\1", html, flags=re.S)  # tags kept, what scripts say left out
    assert not re.search(r"https?://|//cdn|@import|url\(", outside)
    assert {value for value in re.findall(r"\b(?:src|href)=[\"']?([^\"' >]*)", outside) if not value.startswith("#")} == {"data:,"}
    assert html.count("Plotly.newPlot(") >= 7
    assert outside.count("<figcaption>") >= 7
    record = schema.loads((made / "report.json").read_text("utf-8"))
    for word, sentence in record.verdicts.values():
        assert word in html and sentence.split(":")[0].split(".")[0] in html


@pytest.mark.slow
def test_the_command_check_prints_claims_and_a_verdict(table: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--config", str(config), "--points", "3", "--networks", "20"]
    with pytest.raises(SystemExit) as stop:
        main(["check", "--what", "kernels", "--data", str(table), *options])
    said = capsys.readouterr().out
    assert stop.value.code == 0 and "kernels: 20 networks per width, 3 points" in said and "Verdict: undecided." in said
    with pytest.raises(SystemExit) as stop:
        main(["check", "--what", "nothing", "--data", str(table), *options])
    assert stop.value.code == 2 and '"nothing"' in capsys.readouterr().err.replace("'", '"')


def test_images_of_bytes_from_npz(tmp_path: Path) -> None:
    """What the report is told of them."""
    rng = np.random.default_rng(1)
    X, y = rng.integers(0, 256, (60, 3, 2), dtype=np.uint8), rng.integers(0, 3, 60)
    np.savez(tmp_path / "bytes.npz", x_train=X[:40], y_train=y[:40], x_test=X[40:], y_test=y[40:])
    task = make(load(str(tmp_path / "bytes.npz")), 24, 12)
    assert task.X.shape == (24, 6) and task.y_test.shape == (12, 3)
    notes = " ".join(task.notes)
    assert "divided by 255" in notes and "flattened" in notes and "standardised" in notes


@pytest.mark.slow
def test_real_targets_are_regression_and_a_config_may_say_everything(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 3))
    rows = [f"{a:.3f},{a + b:.4f},{b:.3f},{c:.3f}" for a, b, c in X]
    (tmp_path / "t.csv").write_text("a,sum,b,c\n" + "\n".join(rows) + "\n")
    options = ["target = 'sum'", "seed = 3", "train = 20", "test = 20", "networks = 3", "draws = 4", "steps = 10", "pace = 0.3"]
    options += [f"data = {str(tmp_path / 't.csv')!r}", f"out = {str(tmp_path / 'out')!r}", "widths = [8, 16, 32, 64]"]
    net = ['format = "largen-network"', "version = 1", "[[nodes]]", 'node = "Dense"', "width = 64", "C_b = 0.1"]
    net += ["[[nodes]]", 'node = "Act"', 'activation = "erf"', "[[nodes]]", 'node = "Dense"', "width = 1"]
    (tmp_path / "net.toml").write_text("\n".join(options + net))
    assert run("--config", str(tmp_path / "net.toml"), "--seed", "4") == 0
    record = schema.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert (record.data.kind, record.setup.seed, record.setup.steps, record.network.critical) == ("regression", 4, 10, False)
    assert record.study.errors.measure == "root mean square"


@pytest.mark.slow
def test_digits(tmp_path: Path, config: Path, small: list[str]) -> None:
    assert run("--config", str(config), "--out", str(tmp_path / "out"), *small) == 0
    record = schema.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert record.data.name == "digits"
    assert max(abs(c.z) for c in record.study.claims) < LEVEL and record.verdict in ("agrees", "undecided")
