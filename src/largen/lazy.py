"""Names that are imported when they are first asked for (PEP 562), so that importing a module of names costs nothing.

Such a module writes its imports once, under `TYPE_CHECKING`, where editors and type checkers read them; `names` reads the same lines.
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import Any


def names(spec: ModuleSpec) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of the module with this `__spec__`, from the imports under its `if TYPE_CHECKING:`."""
    tree = ast.parse(spec.loader.get_source(spec.name))  # type: ignore[union-attr]
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in guarded for node in block.body if isinstance(node, ast.ImportFrom)]
    home = {alias.name: node.module or "" for node in imports for alias in node.names}

    def __getattr__(name: str) -> Any:
        module = sys.modules[spec.name]
        if name not in home:
            raise AttributeError(f"module {spec.name!r} has no attribute {name!r}", name=name, obj=module)
        source = home[name]
        found = import_module(f"{source}.{name}") if source == spec.name else getattr(import_module(source), name)
        setattr(module, name, found)  # the next time Python finds it without asking here
        return found

    return __getattr__, lambda: [*home], [*home]
