"""Every public name is documented: a docstring with an example (run as a doctest), and a place on a reference page."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import largen as lg

ROOT = Path(__file__).resolve().parents[1]


def public_names() -> list[str]:
    """The names that src/largen/__init__.py binds by import or lists in __all__, without modules."""
    tree = ast.parse(Path(inspect.getfile(lg)).read_text("utf-8"))
    names = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    names |= set(getattr(lg, "__all__", ()))
    return sorted(
        n for n in names if not n.startswith("_") and n not in ("Any", "TYPE_CHECKING") and not isinstance(getattr(lg, n), ModuleType)
    )


NAMES = public_names()


def is_record(thing: Any) -> bool:
    """A result record: a dataclass that functions return, shown by their examples."""
    return inspect.isclass(thing) and dataclasses.is_dataclass(thing)


def missing_example(thing: Any, name: str, everything: dict[str, Any]) -> str | None:
    """What the docstring of a public name lacks, or None."""
    text = inspect.getdoc(thing) or ""
    if not text:
        return f"lg.{name} has no docstring"
    if ">>>" in text:
        return None
    shown = any(f"`{name}`" in doc and ">>>" in doc for other in everything.values() if (doc := inspect.getdoc(other) or ""))
    if is_record(thing) and shown:
        return None
    return f"lg.{name} has no example, and no example of another name shows it"


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_docstring_with_an_example(name: str) -> None:
    assert missing_example(getattr(lg, name), name, {n: getattr(lg, n) for n in NAMES}) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_place_on_one_reference_page(name: str) -> None:
    pages = [p.name for p in (ROOT / "docs" / "reference").glob("*.md") if re.search(rf"^::: largen\.{name}$", p.read_text("utf-8"), re.M)]
    assert len(pages) == 1, f"lg.{name} is on {pages or 'no page'} of docs/reference; it belongs on exactly one, as `::: largen.{name}`"


def test_reference_pages_name_only_what_exists() -> None:
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        for path in re.findall(r"^::: largen\.([\w.]+)$", page.read_text("utf-8"), re.M):
            thing: Any = lg
            for part in path.split("."):
                assert hasattr(thing, part), f"{page.name} names largen.{path}, which does not exist"
                thing = getattr(thing, part)


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in navigation


def test_the_docstring_test_finds_what_is_missing() -> None:
    def bare() -> None: ...

    def told() -> None:
        """Does something."""

    def shown() -> None:
        """Returns `Record`.

        >>> 1
        1
        """

    @dataclasses.dataclass
    class Record:
        """A result."""

    assert missing_example(bare, "bare", {}) == "lg.bare has no docstring"
    assert missing_example(told, "told", {}) is not None
    assert missing_example(shown, "shown", {}) is None
    assert missing_example(Record, "Record", {"Record": Record}) is not None
    assert missing_example(Record, "Record", {"Record": Record, "shown": shown}) is None
