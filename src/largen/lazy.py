"""Names that are imported when they are first asked for (PEP 562), so that importing a module of names costs nothing.

Such a module writes its imports once, under `TYPE_CHECKING`, where editors and type checkers read them; `names` reads the same lines.
"""

import ast
import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def names(own: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of the module with this `__name__`, from the imports under its `if TYPE_CHECKING:`."""
    module = sys.modules[own]
    tree = ast.parse(inspect.getsource(module))
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in guarded for node in block.body if isinstance(node, ast.ImportFrom)]
    home = {alias.name: node.module or "" for node in imports for alias in node.names}

    def __getattr__(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {own!r} has no attribute {name!r}", name=name, obj=module)
        source = home[name]
        found = import_module(f"{source}.{name}") if source == own else getattr(import_module(source), name)
        setattr(module, name, found)  # the next time Python finds it without asking here
        return found

    return __getattr__, lambda: [*home], [*home]
