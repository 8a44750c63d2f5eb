"""Every public name is documented: a docstring with an example (run as a doctest), and a place on a reference page."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import largen as lg

ROOT = Path(__file__).resolve().parents[1]


SPACES = (
    "analysis",
    "bayes",
    "equinox",
    "exact",
    "flax",
    "measure",
    "records",
    "scaling",
    "torch",
)  # namespaces whose names come from rooms


def public_names() -> list[str]:
    """What `__all__` of largen and of the namespaces lists, without modules: "kernel", "bayes.fit"."""
    found = [(space, name) for space in ("", *SPACES) for name in (getattr(lg, space) if space else lg).__all__]
    return sorted(f"{space}.{name}".lstrip(".") for space, name in found if space or name not in (*SPACES, "errors"))


def homes() -> dict[str, str]:
    """{public name: the module it is from}, as type checkers read it: "bayes.fit" is from "largen.prediction.posterior.fit"."""
    found = {}
    for space in ("", *SPACES):
        tree = ast.parse(Path(inspect.getfile(getattr(lg, space) if space else lg)).read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("largen."):
                found |= {f"{space}.{alias.asname}".lstrip("."): str(node.module) for alias in node.names}
    return found


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
    named = re.compile(rf"`{own}`|^(\w+ : )?{own}$", re.M)  # in the text, or as what is returned
    shown = any(named.search(doc) and ">>>" in doc for other in everything.values() if (doc := inspect.getdoc(other) or ""))
    if is_record(thing) and shown:
        return None
    return f"lg.{name} has no example, and no example of another name shows it"


def test_nothing_of_the_face_is_lost() -> None:
    assert len(lg.__all__) >= 60 and set(NAMES) == set(homes())
    assert all(getattr(lg, space).__all__ for space in SPACES) and len(NAMES) >= 140
    assert dir(lg) == sorted(lg.__all__) and dir(lg.bayes) == sorted(lg.bayes.__all__)
    with pytest.raises(AttributeError, match="'largen' has no attribute 'kernal'"):
        _ = lg.kernal  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="evidenc"):
        exec("from largen.bayes import evidenc")


def test_importing_the_face_imports_nothing_else() -> None:
    imports = ", ".join(f"largen.{space}" for space in (*SPACES, "errors"))
    code = f"import sys, largen, {imports}; print([name for name in sys.modules if name.partition('.')[0] in ('jax', 'numpy', 'scipy')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_slow_libraries_wait_until_a_function_needs_them() -> None:
    slow = {"scipy", "plotly", "sklearn", "optax", "rich", "pydantic", "zarr", "dask", "torch", "flax", "equinox"}
    asked = NAMES
    code = f"import sys, largen; {'; '.join(f'largen.{name}' for name in asked)}; print({slow} & set(sys.modules) or 'none')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "none\n"


@pytest.mark.slow
def test_every_public_name_can_be_the_first_that_is_asked_for() -> None:
    code = """if True:
        import functools, sys
        import jax
        for name in NAMES:
            for module in [module for module in sys.modules if module.partition(".")[0] == "largen"]:
                del sys.modules[module]
            import largen
            functools.reduce(getattr, name.split("."), largen)
    """
    firsts = list({home: name for name, home in homes().items()}.values())  # one of each module
    subprocess.run([sys.executable, "-c", code.replace("NAMES", repr(firsts))], check=True)


@pytest.mark.parametrize("asked", ["before", "after"])
def test_public_names_do_not_depend_on_what_is_imported_when(asked: str) -> None:
    """Importing a module binds its name in the package above: no name of the face may be one."""
    code = """if True:
        import functools, importlib, pathlib, random, sys
        import largen
        root = pathlib.Path(largen.__file__).parent
        paths = [path.relative_to(root.parent).with_suffix("") for path in sorted(root.rglob("*.py"))]
        names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
        random.Random(0).shuffle(names)
        face = lambda: {name: functools.reduce(getattr, name.split("."), largen) for name in (*HOMES, *SPACES)}
        before = face() if ASKED == "before" else {}
        for name in names:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:  # of a library that is not there
                assert not error.name.startswith("largen"), error
        wanted = {name: vars(importlib.import_module(home))[name.rpartition(".")[2]] for name, home in HOMES.items()}
        wanted |= {space: sys.modules[f"largen.{space}"] for space in SPACES}
        for found in (before or wanted, face()):
            changed = [name for name, thing in wanted.items() if found[name] is not thing]
            assert not changed, changed
    """
    for name, value in (("HOMES", homes()), ("SPACES", SPACES), ("ASKED", asked)):
        code = code.replace(name, repr(value))
    subprocess.run([sys.executable, "-c", code], check=True)


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
