"""Docstrings on the reference pages: <phi phi> stays text, not HTML."""

import re

import griffe


def escaped(line: str) -> str:
    """The line with < as an entity, except in code: examples, formulas, and what stands between backticks."""
    if line.startswith((">>>", "...")) or line.startswith("    "):
        return line
    return "".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(re.split(r"(`[^`]*`)", line)))


class Docstrings(griffe.Extension):
    """Rewrites every docstring when it is collected."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring:
            obj.docstring.value = "\n".join(map(escaped, obj.docstring.value.splitlines()))
