"""Which sources a script of the gallery depends on, and their fingerprint, which comments, docstrings and layout leave as it is."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "gallery"


@cache
def fingerprint(script: Path, package: Path = ROOT / "src" / "largen") -> str:
    """Of the script, the scripts beside it and the modules of the package that it needs, directly or not. Files are read once a process."""
    return digest(sorted((name, contents(path)) for name, path in closure(script, package).items()))


def closure(script: Path, package: Path) -> dict[str, Path]:
    """{dotted name: file} of all that the script needs. Imports inside functions count."""
    found, left = {script.stem: script}, [script]
    while left:
        for path in needed(left.pop(), script.parent, package):
            base = package.parent if path.is_relative_to(package) else script.parent
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            if name not in found:
                found[name] = path
                left.append(path)
    return found


@cache
def needed(path: Path, folder: Path, package: Path) -> tuple[Path, ...]:
    """The files that one file names, by its imports and as `lg.name`."""
    aliases, found = set[str](), list[Path]()
    for node in running(parsed(path)):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name for alias in node.names if alias.name == package.name}
            for alias in node.names:
                found += files(tuple(alias.name.split(".")), folder, package)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found += files((*(node.module or "").split("."), alias.name), folder, package)
    for node in ast.walk(parsed(path)):
        first, *rest = ast.unparse(node).split(".") if isinstance(node, ast.Attribute) else [""]
        if first in aliases:
            found += files((package.name, *rest), folder, package)
    return tuple(found)


def files(name: tuple[str, ...], folder: Path, package: Path) -> Iterator[Path]:
    """The file of a dotted name with the packages around it; none where it is of another library."""
    if name[0] != package.name:
        if (beside := folder / f"{name[0]}.py").exists():
            yield beside
        return
    place, homes = package, lazy(package / "__init__.py", package.name)
    for i, part in enumerate(name[1:], 1):
        if part in homes:
            yield from files((*homes[part].split("."), *name[i:]), folder, package)
            return
        place = place / part
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if not module.exists():
            return  # a name inside the module before
        homes = lazy(module, package.name)
        if not homes:
            yield module


@cache
def lazy(module: Path, package: str) -> dict[str, str]:
    """{name: its module} where a module only says where names live (`largen.lazy`): not it counts, but what is asked of it."""
    guarded = [node for node in parsed(module).body if isinstance(node, ast.If) and type_checking(node)]
    if not any("lazy.names" in ast.unparse(node) for block in guarded for node in block.orelse):
        return {}
    imports = [node for block in guarded for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module for node in imports for alias in node.names if node.module and node.module != package}


def type_checking(node: ast.AST) -> bool:
    """Whether a statement never runs."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that are there for type checkers."""
    for child in ast.iter_child_nodes(node):
        if not type_checking(child):
            yield child
            yield from running(child)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def contents(path: Path) -> str:
    return digest(form(parsed(path)))


def digest(thing: Any) -> str:
    return hashlib.sha256(repr(thing).encode()).hexdigest()[:16]


def form(node: Any) -> Any:
    """A syntax tree as tuples, the same for every version of Python: without texts that stand by themselves and without empty fields."""
    if isinstance(node, list):
        return tuple(form(one) for one in node if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)))
    if isinstance(node, ast.AST):
        fields = ((name, form(value)) for name, value in ast.iter_fields(node))
        return type(node).__name__, *((name, value) for name, value in fields if value not in (None, ()))
    return node
