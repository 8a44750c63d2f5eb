"""Every public name is documented: a docstring with an example (run as a doctest), and a place on a reference page."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import largen as lg

ROOT = Path(__file__).resolve().parents[1]


SPACES = ("analysis", "bayes", "equinox", "exact", "flax", "measure", "records", "torch")  # namespaces whose names come from rooms


def public_names() -> list[str]:
    """The names that src/largen/__init__.py and the namespaces bind by import, without modules: "kernel", "bayes.fit"."""
    names = []
    for space in ("", *SPACES):
        module = getattr(lg, space) if space else lg
        tree = ast.parse(Path(inspect.getfile(module)).read_text("utf-8"))
        bound = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        names += [f"{space}.{name}".lstrip(".") for name in bound if not isinstance(getattr(module, name), ModuleType)]
    return sorted(names)


def thing_of(name: str) -> Any:
    """The object of a public name."""
    return reduce(getattr, name.split("."), lg)


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
    own = name.rpartition(".")[2]
    shown = any(f"`{own}`" in doc and ">>>" in doc for other in everything.values() if (doc := inspect.getdoc(other) or ""))
    if is_record(thing) and shown:
        return None
    return f"lg.{name} has no example, and no example of another name shows it"


def test_public_names_do_not_depend_on_what_is_imported_when() -> None:
    """Importing a module binds its name in the package above: no name of the face may be one."""
    code = """if True:
        import importlib, pathlib, random
        import largen
        root = pathlib.Path(largen.__file__).parent
        paths = [path.relative_to(root.parent).with_suffix("") for path in sorted(root.rglob("*.py"))]
        names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
        spaces = [largen, *(getattr(largen, name) for name in SPACES)]
        before = [dict(vars(space)) for space in spaces]
        random.Random(0).shuffle(names)
        for name in names:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:  # of a library that is not there
                assert not error.name.startswith("largen"), error
        for space, was in zip(spaces, before):
            changed = [name for name, thing in was.items() if name[0] != "_" and vars(space)[name] is not thing]
            assert not changed, (space.__name__, changed)
    """
    subprocess.run([sys.executable, "-c", code.replace("SPACES", repr(SPACES))], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_docstring_with_an_example(name: str) -> None:
    assert missing_example(thing_of(name), name, {n: thing_of(n) for n in NAMES}) is None


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
