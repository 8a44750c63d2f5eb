"""The import arrows: a room imports only rooms above it, and theory and networks never see each other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "largen"

# One line a floor, from the top. Rooms on one floor may see each other if they share a line in TOGETHER. Some are names still to come.
FLOORS = [
    ["errors", "types", "references", "lazy"],
    ["display"],
    ["border", "memory", "running"],
    ["door", "exits"],
    ["data"],
    ["programs"],
    ["gaussian"],
    ["activations"],
    ["architecture"],
    ["parametrizations"],
    ["theory", "networks"],
    ["grams"],
    ["prediction"],
    ["questions"],
    ["agreement"],
    ["adapters"],
    ["experiments"],
    ["report"],
    ["analysis", "bayes", "equinox", "exact", "flax", "measure", "records", "scaling", "torch"],  # namespaces of the public names
    ["__init__"],  # the public names; only the command line may use them
    ["cache", "cli", "__main__"],
]
TOGETHER = [{"errors", "types", "references"}, {"cli", "__main__"}]
# Sub-rooms that never see those of another line of their room; what is not named here all of them share.
APART = {"theory": [{"rules", "given", "kernels", "operators", "signal", "corrections", "exact"}, {"limits"}]}
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}


def imported(tree: ast.AST, module: tuple[str, ...], is_package: bool) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, dotted name) of everything imported anywhere in the file: at the top, in functions, under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                package = module if is_package else module[:-1]
                base = package[: len(package) - node.level + 1] + base
            for alias in node.names:
                yield node.lineno, (*base, alias.name)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            name = ast.literal_eval(node.args[0]) if node.args and isinstance(node.args[0], ast.Constant) else ""
            yield node.lineno, tuple(str(name).split("."))


def violations(source: Path) -> list[str]:
    """Every forbidden import under a package folder, as `file:line: room imports room`."""
    found = []
    known = {path.stem for path in source.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    for path in sorted(source.rglob("*.py")):
        inside = path.relative_to(source).with_suffix("").parts
        is_package = inside[-1] == "__init__"
        module = (source.name, *(inside[:-1] if is_package else inside))
        room = inside[0]
        where = path.relative_to(source)
        if room not in FLOOR:
            found.append(f"{where}: the room `{room}` is not in the table of tests/test_arrows.py")
            continue
        for line, name in imported(ast.parse(path.read_text("utf-8")), module, is_package):
            if name[0] != source.name:
                continue
            target = name[1] if len(name) > 1 and name[1] in known else "__init__"
            if target == room and (pair := strangers(room, inside[1:2], name[2:3])):
                found.append(f"{where}:{line}: `{room}/{pair[0]}` imports `{room}/{pair[1]}`, which stands apart from it")
            allowed = target == room or FLOOR.get(target, 99) < FLOOR[room] or any({room, target} <= group for group in TOGETHER)
            if not allowed:
                found.append(f"{where}:{line}: `{room}` imports `{target}`, which is not above it")
    return found


def strangers(room: str, one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, str] | None:
    """Two sub-rooms of a room, if they stand apart."""
    group = {name: i for i, names in enumerate(APART.get(room, [])) for name in names}
    known = [name for name in (*one, *other) if name in group]
    return (known[0], known[1]) if len(known) == 2 and group[known[0]] != group[known[1]] else None


def test_rooms_import_only_rooms_above_them() -> None:
    assert violations(SOURCE) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("gaussian/pair.py", "from largen.theory.kernels import kernel"),
        ("gaussian/pair.py", "def f():\n    import largen.networks.train"),
        ("theory/kernels.py", "from largen.networks import init"),
        ("networks/init.py", "from largen.theory import kernels"),
        ("networks/init.py", "from ..theory import kernels"),
        ("networks/init.py", "from largen import theory"),
        ("theory/kernels.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from largen.prediction import flow"),
        ("theory/kernels.py", "import importlib\nimportlib.import_module('largen.report')"),
        ("parametrizations/rates.py", "import largen as lg"),
        ("door.py", "from largen.data import one_hot"),
        ("attic/old.py", "x = 1"),
        ("programs/trace.py", "from largen.gaussian import pair"),
        ("parametrizations/table.py", "from largen.theory import kernels"),
        ("theory/limits/train.py", "from largen.theory.kernels import kernel"),
        ("theory/limits/train.py", "from largen.theory import operators"),
        ("theory/limits/train.py", "from ..signal import phase"),
        ("theory/kernels.py", "from largen.theory.limits import train"),
        ("theory/operators/laplace.py", "from ..limits.train import solve"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, text: str) -> None:
    package = tmp_path / "largen"
    for room in FLOOR:
        if not room.startswith("__"):
            (package / room).mkdir(parents=True)
            (package / room / "__init__.py").touch()
    (package / "__init__.py").touch()
    assert violations(package) == []
    planted = package / file
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(text)
    assert len(violations(package)) == 1


def test_allowed_imports_pass(tmp_path: Path) -> None:
    package = tmp_path / "largen"
    for room in ("gaussian", "theory", "networks", "agreement"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    (package / "agreement" / "check.py").write_text(
        "import jax\nfrom largen.theory import kernels\nfrom ..networks import init\nfrom . import scores\n"
    )
    for place in ("limits", "operators"):
        (package / "theory" / place).mkdir()
        (package / "theory" / place / "__init__.py").write_text("from largen.theory import positions\nfrom . import steps\n")
    (package / "theory" / "operators" / "laplace.py").write_text("from largen.theory.kernels import kernel\n")
    assert violations(package) == []


def statements(node: ast.AST, late: bool) -> Iterator[ast.AST]:
    """All nodes that run when a module is imported; `late`: those inside functions too. TYPE_CHECKING never runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if late or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from statements(child, late)


def graph(source: Path, late: bool) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, by their names inside the package."""
    files = {path.relative_to(source.parent).with_suffix("").parts: path for path in source.rglob("*.py")}
    named = {parts[:-1] if parts[-1] == "__init__" else parts: path for parts, path in files.items()}
    found = {}
    for module, path in named.items():
        tree = ast.Module(
            [n for n in statements(ast.parse(path.read_text("utf-8")), late) if isinstance(n, ast.Import | ast.ImportFrom)], []
        )
        names = [name for _, name in imported(tree, module, path.stem == "__init__")]
        found[".".join(module[1:])] = {".".join((name if name in named else name[:-1])[1:]) for name in names if name[0] == source.name}
    return found


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import each other, directly or not."""
    reached: dict[str, set[str]] = {}
    for module in edges:
        left, seen = [module], set[str]()
        while left:
            new = edges.get(left.pop(), set()) - seen
            seen |= new
            left += new
        reached[module] = seen
    groups = {frozenset(other for other in seen if module in reached.get(other, ())) for module, seen in reached.items() if module in seen}
    return sorted(map(set, groups), key=sorted)


def test_no_modules_import_each_other() -> None:
    assert circles(graph(SOURCE, late=False)) == []
    assert circles(graph(SOURCE, late=True)) == []


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "largen"
    (package / "room").mkdir(parents=True)
    for name, text in {"a": "from largen.room import b", "b": "def f():\n    from largen.room.c import g", "c": "from . import a"}.items():
        (package / "room" / f"{name}.py").write_text(text)
    assert circles(graph(package, late=False)) == []
    assert circles(graph(package, late=True)) == [{"room.a", "room.b", "room.c"}]


def python_outside() -> Iterator[tuple[str, str]]:
    """(place, code) of everything that users may copy: gallery, benchmarks, claims, pages, README."""
    for folder in ("gallery", "benchmarks", "claims"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for i, block in enumerate(re.findall(r"^ *```python[^\n]*\n(.*?)^ *```", path.read_text("utf-8"), re.M | re.S), 1):
            yield f"{path.relative_to(ROOT)}, block {i}", block


def deep_imports(code: str) -> list[str]:
    """Imports of largen that go past its public names."""
    return [line.strip() for line in code.splitlines() if re.match(r"\s*(from|import)\s+largen\.(?!errors\b)", line)]


def test_what_users_copy_uses_public_names_only() -> None:
    assert {place: deep for place, code in python_outside() if (deep := deep_imports(code))} == {}


def test_a_deep_import_is_found() -> None:
    assert deep_imports("import largen as lg\nfrom largen.errors import InputError\n") == []
    assert deep_imports("from largen.theory.kernels import kernel\n") == ["from largen.theory.kernels import kernel"]


def dispatched_by_words(code: str) -> list[int]:
    """Lines that choose by how a text begins or ends, or take a text apart: facts travel as fields."""
    texts = {"startswith", "endswith", "removeprefix", "removesuffix", "split", "partition"}
    calls = [
        node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
    ]
    return [node.lineno for node in calls if ast.unparse(node.func).split(".")[-1] in texts and "random" not in ast.unparse(node.func)]


PARSES = {"report/config.py", "report/critical_page.py"}  # what people write: options, module:function


def test_no_fact_is_read_from_words() -> None:
    found = {}
    for room in ("agreement", "report"):
        for path in sorted((SOURCE / room).rglob("*.py")):
            if (name := str(path.relative_to(SOURCE))) not in PARSES and (lines := dispatched_by_words(path.read_text("utf-8"))):
                found[name] = lines
    assert found == {}


def test_a_fact_read_from_words_is_found() -> None:
    planted = 'if name.startswith("trained"):\n    step = int(name.split(" after ")[1])\n'
    assert dispatched_by_words(planted) == [1, 2] and dispatched_by_words("words = ' '.join(code.split())\n") == []
