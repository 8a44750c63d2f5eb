"""The summary on the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from largen.agreement.study.compared import noticed
from largen.report import words
from largen.report.schema import Report

COLOURS = {"agrees": "green", "disagrees": "bold red", "undecided": "yellow"}


def summary(report: Report, console: Console) -> None:
    """Print the headline and one line per section."""
    console.print()
    console.print(Text.assemble((report.verdict, COLOURS[report.verdict]), "  ", report.headline))
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    for column in ("section", "verdict", "worst |z|", "would notice"):
        table.add_column(column, no_wrap=True)
    for name, title in words.TITLES.items():
        part = getattr(report.study, name)
        word, far = Text(part.verdict, COLOURS[part.verdict]), abs(words.worst(part.claims).z)
        table.add_row(title, word, f"{far:.1f}", words.percent(noticed(part.claims)))
    console.print(table)
    e, (moved,) = report.study.errors, report.study.tangent.of("movement")
    console.print(
        f"Test error: one network {words.score(e.measured[-1], e.measure)} (theory {words.score(e.single, e.measure)}), "
        f"NTK {words.score(e.ntk_end, e.measure)}, NNGP {words.score(e.nngp, e.measure)}. "
        f"NTK moved {words.percent(moved.means[-1])} at width {moved.widths[-1]}.",
        highlight=False,
    )
