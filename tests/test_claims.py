"""The ledger of claims: its files, what makes them stale, its page, and that nothing the pages measured is missing."""

import ast
import importlib
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from markdown.extensions.toc import slugify

from claims import __main__ as command, page
from claims.ledger import FOLDER, Claim, Entry, read, state, versions, write
from claims.measured import TOLD
from claims.sources import ROOT, SCRIPTS, closure, fingerprint
from claims.studies import ERRATA, GALLERY, KEPT, STUDIES

PACKAGE = ROOT / "src" / "largen"
CLAIM = Claim(theory=1.0, measured=1.02, error=0.01, z=2.0, controls={"C_W + 10 %": 12.0}, widths=(8, 16), networks=(100, 50), holds=True)
ENTRY = Entry(claims={"eq-5-38": CLAIM}, seconds=3.2, versions=versions(), fingerprint="ab")


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read("eq-5-38", tmp_path) is None
    write("eq-5-38", ENTRY, tmp_path)
    assert read("eq-5-38", tmp_path) == ENTRY
    assert [path.name for path in tmp_path.iterdir()] == ["eq-5-38.json"]
    unknown = replace(CLAIM, measured=float("nan"))
    with pytest.raises(ValueError):
        write("eq-5-38", replace(ENTRY, claims={"eq-5-38": unknown}), tmp_path)
    assert read("eq-5-38", tmp_path) == ENTRY


def test_every_file_of_the_ledger_is_of_a_study_and_has_its_claims() -> None:
    for path in FOLDER.glob("*.json"):
        known = read(path.stem)
        assert known is not None and {*known.claims} == {*STUDIES[path.stem].claims}, path
        assert known.seconds > 0 and len(known.fingerprint) == 16 and {*known.versions} == {*versions()}, path


# ---------------------------------------------------------------- what makes a claim stale


GUARD, LAZY = "if TYPE_CHECKING:\n", "else:\n    __getattr__, __dir__, __all__ = lazy.names(__name__)\n"


@pytest.fixture
def house(tmp_path: Path) -> Any:
    """A small package with lazy names, and a script that asks for two of them; `again` copies it with texts exchanged."""
    names = "    from largen import measure\n    from largen.room.near import near\n    from largen.far import far\n"
    near = '"""Near."""\n\ndef near(x):\n    """One more."""\n    from largen.room import deep\n    return deep.one(x)  # one\n'
    study = (
        "import numpy as np\nfrom common import half\nimport largen as lg\n\ndef study(): return half(lg.near(1)) + lg.measure.size(2)\n"
    )
    files = {
        "src/largen/__init__.py": f"{GUARD}{names}{LAZY}",
        "src/largen/measure.py": f"{GUARD}    from largen.size import size\n{LAZY}",
        "src/largen/room/__init__.py": "",
        "src/largen/room/near.py": near,
        "src/largen/room/deep.py": f"{GUARD}    from largen.far import far\n\ndef one(x): return x + 1\n",
        "src/largen/far.py": "def far(x): return x\n",
        "src/largen/size.py": "def size(x): return x\n",
        "gallery/study.py": study,
        "gallery/common.py": "def half(x): return x / 2\n",
        "gallery/other.py": "x = 1\n",
    }

    def again(name: str = "", old: str = "", new: str = "") -> tuple[Path, Path]:
        place = tmp_path / f"copy{len([*tmp_path.iterdir()])}"
        for file, text in files.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            assert file != name or old in text
            (place / file).write_text(text.replace(old, new) if file == name else text)
        return place / "gallery" / "study.py", place / "src" / "largen"

    return again


def test_a_script_needs_what_it_names_and_what_that_imports(house: Any) -> None:
    assert {*closure(*house())} == {"study", "common", *(f"largen.{name}" for name in ("room.__init__", "room.near", "room.deep", "size"))}


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("gallery/study.py", "1", "3", True),
        ("gallery/common.py", "x / 2", "x / 3", True),
        ("src/largen/room/deep.py", "x + 1", "x + 2", True),
        ("src/largen/size.py", "return x", "return -x", True),
        ("src/largen/room/near.py", "One more.", "One more than before.", False),
        ("src/largen/room/near.py", "# one", "# the next", False),
        ("src/largen/room/near.py", "deep.one(x)", "deep.one( x )", False),
        ("src/largen/far.py", "return x", "return -x", False),
        ("gallery/other.py", "1", "2", False),
    ],
)
def test_a_changed_source_is_stale_and_changed_prose_is_not(house: Any, name: str, old: str, new: str, changes: bool) -> None:
    before, after = fingerprint(*house()), fingerprint(*house(name, old, new))
    entry = replace(ENTRY, fingerprint=before)
    assert state(entry, after) == ("stale" if changes else "fresh") and state(None, after) == "missing"


def test_a_change_in_a_theory_reaches_the_scripts_that_ask_it(tmp_path: Path) -> None:
    """The real package, changed in a copy: what the signal script asks for, and what it does not."""
    shutil.copytree(PACKAGE, tmp_path / "largen", ignore=shutil.ignore_patterns("__pycache__"))
    needs = {*closure(SCRIPTS / "unit_variance.py", PACKAGE)}
    assert {"largen.theory.rules", "largen.networks.outputs", "common"} <= needs and "largen.prediction.predict" not in needs
    assert "largen.prediction.predict" in closure(SCRIPTS / "trained_at_finite_width.py", PACKAGE)
    with (tmp_path / "largen" / "theory" / "rules.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    scripts = [SCRIPTS / f"{name}.py" for name in ("unit_variance", "erratum")]
    assert [fingerprint(script) != fingerprint(script, tmp_path / "largen") for script in scripts] == [True, False]


# ---------------------------------------------------------------- nothing is lost


def anchors(path: str) -> set[str]:
    """The headings of a page, as a link names them."""
    text = re.sub(r"^```.*?^```", "", (ROOT / "docs" / path).read_text("utf-8"), flags=re.M | re.S)
    return {slugify(title.replace("\\", "").replace("`", ""), "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("place", sorted({s.page for s in STUDIES.values() if s.page} | {kept.page for kept in KEPT}))
def test_every_claim_is_said_on_a_page(place: str) -> None:
    path, _, anchor = place.partition("#")
    assert not anchor or anchor in anchors(path)


@pytest.mark.parametrize("named", sorted({s.test for s in STUDIES.values()} | {kept.test for kept in KEPT}))
def test_every_claim_has_a_test_of_the_gate(named: str) -> None:
    file, _, test = named.partition("::")
    assert test in {node.name for node in ast.parse((ROOT / "tests" / file).read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_script_of_the_gallery_and_every_erratum_is_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    scripts = {path.stem for path in SCRIPTS.glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")}
    assert scripts == {study.script for study in GALLERY} | {"errata"}
    made = [f"{one.__module__}.{one.__name__}" for one in importlib.import_module("errata").ERRATA]
    assert made == [f"{study.script}.{study.call}" for study in ERRATA]
    figures = {path.stem for path in (ROOT / "docs" / "figures").glob("*.svg")}
    assert {study.name for study in ERRATA} == figures and len(STUDIES) == len(ERRATA) + len(GALLERY)


def test_no_row_of_the_errata_is_without_a_study() -> None:
    rows = re.findall(r"^\| (PDLT|the article)", (ROOT / "docs" / "errata.md").read_text("utf-8"), re.M)
    assert len(rows) == len(ERRATA)


# ---------------------------------------------------------------- the page and the command


def test_the_page_has_every_claim(tmp_path: Path) -> None:
    write("eq-5-38", ENTRY, tmp_path)
    text = page.page(tmp_path)
    claims = [f"[{said}]({study.page})" if study.page else said for study in STUDIES.values() for said in study.claims.values()]
    assert all(text.count(f"| {said} |") == 1 for said in claims) and all(f"`tests/{kept.test}`" in text for kept in KEPT)
    (measured,) = (line for line in text.splitlines() if "(5.38)" in line)
    assert "| 1 | 1.02 ± 0.01 | 2 | C_W + 10 %: 12 | 8, 16; 100, 50 | none | 3 | stale, holds |" in measured
    assert text.count("not measured yet") == len(claims) - 1
    assert f"{len(claims)} claims of {len(STUDIES)} studies; 1 are in the ledger, 0 of them fail" in text


def test_a_run_measures_what_is_missing_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two quickest errata; one of them fails the second time."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    chosen = {name: STUDIES[name] for name in ("eq-eps-25", "eq-11-132", "tensors_at_finite_width")}
    monkeypatch.setattr(command, "STUDIES", chosen)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["claims", "--folder", str(tmp_path), *arguments])
        return command.main()

    assert call("--list") == 0 and not [*tmp_path.iterdir()]
    assert call("eq-eps-25") == 0
    count = read("eq-eps-25", tmp_path)
    assert (
        count is not None and count.claims["eq-eps-25"].measured == count.claims["eq-eps-25"].theory == 666 and count.versions == versions()
    )
    monkeypatch.setattr(command, "out_of_reach", lambda study: "accelerator" in study.needs)
    monkeypatch.setattr(command, "claims", lambda script, call: {"eq-11-132": Claim(theory=0.0, measured=9.0, holds=False)})
    assert call() == 1  # of the three only one was missing and within reach
    assert {path.stem for path in tmp_path.iterdir()} == {"eq-eps-25", "eq-11-132"} and "THESE FAIL: eq-11-132" in capsys.readouterr().out
    assert call() == 0 and "\neq-" not in capsys.readouterr().out

    monkeypatch.setattr(command, "claims", lambda script, call: {})
    with pytest.raises(ValueError, match=r"studies\.py says"):
        call("eq-11-132")

    def none(script: Any, call: str) -> Any:
        raise FileNotFoundError(2, "", "mnist.npz")

    monkeypatch.setattr(command, "claims", none)
    assert call("eq-11-132") == 0 and "mnist.npz is not there" in capsys.readouterr().err


def test_what_outcomes_say_of_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every study of the gallery names its claims as studies.py does: outcomes of the right form, with numbers of no meaning."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    assert {*TOLD} == {study.name for study in GALLERY}
    script = importlib.import_module("poole_correlations")
    row = script.Row(1.3, 1.0, 1.0, np.zeros((2, 1)), np.array([[0.01], [-0.03]]), np.full((2, 1), 0.01), 3.0, 9.0)
    (claim,) = TOLD["poole_correlations"](script, script.Outcome((0.0,), (row,), True)).values()
    assert (claim.measured, claim.z, claim.holds) == (-0.03, 3.0, True) and claim.widths == script.WIDTHS
    script = importlib.import_module("cifar_kernels")
    names = [(net, kernel) for net in (*script.FEW, *script.ALL) for kernel in script.COLOURS]
    rows = tuple(script.Row(net, kernel, 100, np.arange(100) < 40, 0.2, 1.0) for net, kernel in names)
    told = TOLD["cifar_kernels"](script, script.Outcome(rows, {"NNGP": 0.0, "NTK": 3.5}, {"NNGP": 1, "NTK": 0}, False))
    assert {*told} == {*STUDIES["cifar_kernels"].claims} and [n for n, c in told.items() if not c.holds] == ["NTK, alike", "NTK, pooled"]
    script = importlib.import_module("trained_at_finite_width")
    curves = [script.Row(n, np.full(2, 1 + 2 / n), np.full(2, 1e-3), np.full(2, 0.4)) for n in (8, 16, 32, 64, 256)]
    told = TOLD["trained_at_finite_width"](script, script.judged(tuple(curves), np.array([0.2, 0.0])))
    assert {*told} == {*STUDIES["trained_at_finite_width"].claims} and all(claim.holds for claim in told.values())
    script, deep = importlib.import_module("tensors_at_finite_width"), importlib.import_module("deep_mlps")
    names = STUDIES["tensors_at_finite_width"].claims
    seen = (np.ones(2), 2.0, 0.01, 0.01, (1.0, 0.9, 1.1), 20.0)
    rows = tuple(script.Row(*name.split(", "), (12, 24), *seen) for name in names)
    assert {*TOLD["tensors_at_finite_width"](script, script.Outcome(rows))} == {*names}
    half = SimpleNamespace(runs=(SimpleNamespace(accuracy=0.11),))
    cases = [deep.Case(name, 1, {"default": half}, (0.7, 0.5), 0.12, False) for name in ("tanh", "gelu", "mish")]
    told = TOLD["deep_mlps"](deep, cases)
    assert {*told} == {*STUDIES["deep_mlps"].claims} and not told["mish, critical"].holds and told["mish, default"].holds
