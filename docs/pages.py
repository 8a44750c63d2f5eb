"""What the pages show of the code: docstrings, and which theory supports which node.

A line `::: largen.kernel` becomes a heading, the signature and the docstring, its sections as tables; `<!-- coverage -->` becomes the table
of nodes, `<!-- parametrizations -->` that of parametrizations, `<!-- claims -->` the ledger of claims. All of it is plain Markdown, for any
generator of sites: `python docs/pages.py FOLDER` writes the pages there; MkDocs calls `on_page_markdown`.
"""

import inspect
import re
import shutil
import sys
import textwrap
from functools import reduce
from pathlib import Path
from typing import Any

import largen
from largen.architecture import chain
from largen.architecture.nodes import GAUSSIAN, MOMENTS, NODES, Node
from largen.architecture.walk import Theory
from largen.networks.empirical import EMPIRICAL
from largen.networks.outputs import FORWARD
from largen.parametrizations.exact import power
from largen.theory.rules import KERNELS
from largen.theory.signal.signal import SIGNAL

CALLS = (
    *("standard(3)", "standard(3, c=0)", 'standard(3, optimizer="adam")', 'standard(3, optimizer="adam", rates="per layer")'),
    *("ntk(3)", 'ntk(3, optimizer="adam")', "mup(3)", 'mup(3, optimizer="adam")', 'mup(3, optimizer="muon")', "mean_field(1)"),
    *(
        'uniform(3, "1/4")',
        'richness(3, "1/4")',
        "output_multiplier(3, alpha=10.0)",
        "last_layer(3)",
        "u_mup(3)",
        "spectral([512, 256, 256])",
    ),
    *("depth_mup(3)", "complete_p(3)", "glorot(3)", "deep_mean_field(3)"),
)
ROOT = Path(__file__).resolve().parents[1]
PLACE, LEDGER, SCALES = "<!-- coverage -->", "<!-- claims -->", "<!-- parametrizations -->"
THEORIES = {"apply": FORWARD, "empirical_ntk": EMPIRICAL, "kernel": KERNELS, "signal": SIGNAL}
BEFORE = {(GAUSSIAN,): "Gaussian preactivations", (GAUSSIAN, MOMENTS): "an affine layer, anywhere before"}
LINE = 100  # characters of a line of a signature
NAMED = ("name", "type", "meaning")
COLUMNS = {
    "Parameters": NAMED,
    "Attributes": NAMED,
    "Returns": ("type", "meaning"),
    "Raises": ("class", "when"),
    "Warns": ("class", "when"),
}


def written(page: str) -> str:
    """A page with what is made from the code in its place."""
    page = re.sub(r"^::: largen\.([\w.]+)$", lambda found: described(found[1]), page, flags=re.M)
    page = page.replace(PLACE, table()) if PLACE in page else page
    page = page.replace(SCALES, scales()) if SCALES in page else page
    return page.replace(LEDGER, ledger()) if LEDGER in page else page


def scales() -> str:
    """The parametrizations of the literature with three hidden layers, by their effective exponents, and what they do."""
    make = largen.Parametrization
    rows = ["| call | start of first, hidden, readout | rate | r of hidden layers | regime |", "|---|---|---|---|---|"]
    for call in CALLS:
        p = eval(f"make.{call}", {"make": make})
        e, found = p.effective(), p.classify()
        ends = (0, 1, -1) if e.hidden > 1 else (0, -1)
        sizes = (", ".join(str(power(exponents[l])) for l in ends) for exponents in (e.std, e.rate))
        rows.append(f"| `.{call}` | {' | '.join(sizes)} | {', '.join(map(str, found.r_l))} | {found.regime} |")
    return "\n".join(rows)


def ledger() -> str:
    """The ledger of claims, which lies beside this folder."""
    sys.path.append(str(ROOT))
    from claims.page import page

    return page()


def write(folder: Path) -> None:
    """All pages, with their figures."""
    shutil.copytree(Path(__file__).parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path in folder.rglob("*.md"):
        path.write_text(written(path.read_text("utf-8")), "utf-8")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Called by MkDocs for every page."""
    return written(markdown)


# ---------------------------------------------------------------- docstrings


def described(name: str) -> str:
    """A public name: its heading, how it is called, its docstring."""
    thing: Any = reduce(getattr, name.split("."), largen)
    parts = sections(inspect.getdoc(thing) or "")
    call = [f"```python\n{signature(name, thing)}\n```"] if "Parameters" in parts else []
    return "\n\n".join([f"## lg.{name}", *call, *(section(title, lines) for title, lines in parts.items())])


def signature(name: str, thing: Any) -> str:
    """The call, without types."""
    bare = inspect.signature(thing)
    args = [arg.replace(annotation=arg.empty) for arg in bare.parameters.values()]
    line = f"lg.{name}{bare.replace(parameters=args, return_annotation=bare.empty)}"
    return textwrap.fill(line, LINE, subsequent_indent=" " * len(f"lg.{name}("))


def sections(text: str) -> dict[str, list[str]]:
    """{title: lines} of a docstring in numpy's style, "" for what comes before the first title."""
    title, parts, lines = "", {"": list[str]()}, text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line and following == "-" * len(line):
            title, parts[line] = line, []
        elif not title or line != "-" * len(title):
            parts[title].append(line)
    return parts


def entries(lines: list[str]) -> list[tuple[str, list[str]]]:
    """[(head, lines of the description)] of a section of entries."""
    found: list[tuple[str, list[str]]] = []
    for line in filter(None, lines):
        if line.startswith("    "):
            found[-1][1].append(line[4:])
        else:
            found.append((line, []))
    return found


def section(title: str, lines: list[str]) -> str:
    """A section in Markdown."""
    text = "\n".join(lines).strip("\n")
    if title == "Examples":
        body = "```pycon\n" + re.sub(r" *# doctest:.*|<BLANKLINE>", "", text) + "\n```"
    elif title in COLUMNS:
        rows = [(*first(title, head), cell(about)) for head, about in entries(lines)]
        body = "\n".join(f"| {' | '.join(row)} |" for row in (COLUMNS[title], ("---",) * len(COLUMNS[title]), *rows))
    else:
        body = "\n".join(line if line.startswith("    ") else marked(line) for line in text.splitlines())
    return f"**{title}**\n\n{body}" if title else body


def first(title: str, head: str) -> tuple[str, ...]:
    """The first cells of an entry's row."""
    names, _, kind = (head if title != "Returns" else "").partition(" : ")
    coded = ", ".join(f"`{name}`" for name in names.split(", "))
    return {"Parameters": (coded, cell([kind])), "Attributes": (coded, cell([kind])), "Returns": (cell([head]),)}.get(title, (coded,))


def cell(lines: list[str]) -> str:
    """Lines in one cell of a table, the points of a list below each other."""
    text = re.sub(r"^- ", "<br>• ", marked("\n".join(lines)), flags=re.M).replace("\n", " ")
    return text.removeprefix("<br>").replace("|", "&#124;")


def marked(text: str) -> str:
    """Text with <phi> and K* as they stand; what is between backticks, and *emphasis*, as Markdown has it."""
    parts = re.split(r"(`[^`]*`|(?<!\w)\*\w[^*]*\w\*(?!\w))", text)
    return "".join(part if i % 2 else part.replace("<", "&lt;").replace("*", r"\*") for i, part in enumerate(parts))


# ---------------------------------------------------------------- which theory supports which node


def table(nodes: dict[str, type[Node]] = NODES, theories: dict[str, Theory] = THEORIES) -> str:
    """Node against theory in Markdown, with the reasons of refusals below."""
    notes: list[str] = []

    def cell(reason: str | None) -> str:
        if reason is None:
            return "yes"
        if reason not in notes:
            notes.append(reason)
        return f"no ({notes.index(reason) + 1})"

    heads = ["node", *(f"`lg.{name}`" for name in theories), "`lg.corrections`", "kernels need before it"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, kind in sorted(nodes.items()):
        found = [None if theory.supports(kind) else theory.reason(kind) for theory in theories.values()]
        cells = [*map(cell, found), cell(None if name in chain.KNOWN else chain.REASON), BEFORE.get(kind.takes, "")]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*rows, "", *(f"{i}. {note}" for i, note in enumerate(notes, 1))])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
