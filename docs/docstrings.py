"""Docstrings on the reference pages: examples become code blocks (without flags for doctest), and <phi phi> stays text, not HTML."""

import re

import griffe


def rendered(text: str) -> str:
    """The docstring as Markdown."""
    lines, example = [], False
    for line in text.splitlines():
        if line.lstrip().startswith(">>>") and not example:
            lines += ["", "```pycon"]
            example = True
        elif example and not line.strip():
            lines += ["```"]
            example = False
        line = re.sub(r"\s*# doctest:.*", "", line)
        lines.append(line if example or line.startswith("    ") else escaped(line))
    return "\n".join([*lines, "```"] if example else lines)


def escaped(line: str) -> str:
    """The line with < as an entity, except between backticks."""
    return "".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(re.split(r"(`[^`]*`)", line)))


class Docstrings(griffe.Extension):
    """Rewrites every docstring when it is collected."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring:
            obj.docstring.value = rendered(obj.docstring.value)
