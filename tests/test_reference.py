"""The reference is made from docstrings and rules: docstrings have sections that name exactly the arguments, and become tables."""

import dataclasses
import importlib.util
import inspect
import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import largen as lg

ROOT = Path(__file__).resolve().parents[1]
TEXT = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs" / "reference").glob("*.md")))
THINGS = {name: reduce(getattr, name.split("."), lg) for name in re.findall(r"^::: largen\.([\w.]+)$", TEXT, re.M)}


def pages() -> Any:
    """The script that makes the reference from docstrings."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


PAGES = pages()
ORDER = ("", "Parameters", "Attributes", "Returns", "Raises", "Warns", "References", "Examples")


def wrong_sections(thing: Any) -> str | None:
    """What the sections of a docstring lack, or None. What has no `Attributes` tells of its arguments and has examples."""
    parts = PAGES.sections(inspect.getdoc(thing) or "")
    if [*parts] != [title for title in ORDER if title in parts]:
        return f"sections {[*parts]}, not in the order of {ORDER}"
    rows = [row for title in parts if title in PAGES.COLUMNS for row in PAGES.entries(parts[title])]
    bare = [head for head, about in rows if not about]
    if bare:
        return f"nothing is said of {bare}"
    title = "Attributes" if "Attributes" in parts else "Parameters"
    told = [name for head, _ in PAGES.entries(parts.get(title, [])) for name in head.partition(" : ")[0].split(", ")]
    if title == "Attributes":
        absent = {field.name for field in dataclasses.fields(thing)} - {*told} | {name for name in told if not known(thing, name)}
        return f"Attributes {told}, but for {absent}" if absent else None
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    args = [stars.get(arg.kind, "") + arg.name for arg in inspect.signature(thing).parameters.values()]
    if told != args:
        return f"Parameters {told} of the arguments {args}"
    return None if ">>>" in "".join(parts.get("Examples", [])) else "no Examples"


def known(thing: Any, name: str) -> bool:
    """Whether instances of a dataclass have an attribute."""
    return name in {field.name for field in dataclasses.fields(thing)} or hasattr(thing, name)


def takes_arguments(thing: Any) -> bool:
    """Whether it has arguments or fields of its own, as plain exceptions have not."""
    return not (inspect.isclass(thing) and issubclass(thing, Exception)) or "__init__" in vars(thing)


@pytest.mark.parametrize("name", [name for name, thing in THINGS.items() if takes_arguments(thing)])
def test_a_docstring_names_exactly_the_arguments(name: str) -> None:
    assert wrong_sections(THINGS[name]) is None


def test_the_test_of_sections_finds_what_is_wrong() -> None:
    def told(net: Any, *points: Any) -> None:
        """Does something.

        Parameters
        ----------
        net : architecture
            Any.
        *points : array
            Some.

        Examples
        --------
        >>> 1
        1
        """

    def changed(old: str, new: str) -> str:
        def other(net: Any, *points: Any) -> None: ...

        other.__doc__ = (told.__doc__ or "").replace(old, new)
        return wrong_sections(other) or ""

    assert wrong_sections(told) is None
    assert "Parameters ['net', 'points']" in changed("*points :", "points :")
    assert "Parameters []" in changed("Parameters\n        ----------", "Parameters")
    assert changed(">>> 1", "1") == "no Examples"
    assert changed("            Any.\n", "") == "nothing is said of ['net : architecture']"
    assert "order" in changed(
        "Parameters\n        ----------", "Returns\n        -------\n        x\n            An x.\n\n        Parameters\n        ----------"
    )

    @dataclasses.dataclass
    class Record:
        """A result.

        Attributes
        ----------
        size : int
            Of it.
        """

        length: int

    assert "{'length', 'size'}" in (wrong_sections(Record) or "").replace("{'size', 'length'}", "{'length', 'size'}")


def test_a_docstring_becomes_a_table_of_its_arguments() -> None:
    page = PAGES.written("# Page\n\n::: largen.signal\n")
    assert page.startswith("# Page\n\n## lg.signal\n\n```python\nlg.signal(net, X, rates='ntk')\n```\n")
    assert "| `X` | array (n, features) | Points. |" in page and "\n```pycon\n>>> import largen as lg" in page and ":::" not in page
    assert PAGES.marked("<phi^2> at K* and *here*, `K*`") == r"&lt;phi^2> at K\* and *here*, `K*`"
    assert PAGES.cell(["- |x|;", "- so", "  on."]) == "• &#124;x&#124;; <br>• so   on."


def test_the_pages_are_written_for_any_generator(tmp_path: Path) -> None:
    PAGES.write(tmp_path)
    pages = {path.relative_to(tmp_path): path.read_text("utf-8") for path in tmp_path.rglob("*.md")}
    assert {*pages} == {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")} and not [*tmp_path.rglob("*.py")]
    text = "\n".join(pages.values())
    assert "\n:::" not in text and PAGES.PLACE not in text and all(f"\n## lg.{name}\n" in text for name in THINGS)


def test_the_table_of_nodes_and_theories_is_made_from_the_rules() -> None:
    page = PAGES.written(PAGES.PLACE)
    assert TEXT.count(PAGES.PLACE) == 1 and PAGES.PLACE not in page
    row = {
        line.split("|")[1].strip(" `"): [cell.strip() for cell in line.split("|")[2:-1]] for line in page.splitlines() if line[:1] == "|"
    }
    assert set(PAGES.NODES) < set(row)
    assert row["Dense"] == ["yes", "yes", "yes", "yes", "yes", ""]
    assert row["Act"][-1] == "Gaussian preactivations"
    kernels = row["MaxPool"][2]
    assert row["MaxPool"][:2] == ["yes", "yes"] and kernels.startswith("no (")
    assert f"{kernels[4:-1]}. a maximum of correlated units" in page
    for name, kind in PAGES.NODES.items():  # as the theories themselves say
        assert [cell == "yes" for cell in row[name][:4]] == [theory.supports(kind) for theory in PAGES.THEORIES.values()]
