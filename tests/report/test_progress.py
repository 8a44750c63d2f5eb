"""What a long command says on stderr while it works."""

import io
import re

import pytest
from rich.console import Console

from largen.report import progress as shown


def test_without_a_terminal_lines_come_from_the_first_moment_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 3.0, 12.0, 12.0, 12.0, 15.0, 40.0, 40.0, 40.0])
    text = io.StringIO()
    with monkeypatch.context() as clock:
        clock.setattr("time.monotonic", lambda: next(now))
        with shown.progress(Console(file=text)) as tell:
            assert text.getvalue() == "largen: starting\n"
            for stage, share in (("theory", 0.0), ("training", 0.25), ("training", 0.3), ("verdicts", 0.8)):
                tell(stage, share)
    lines = text.getvalue().splitlines()[1:]
    assert lines == ["largen: 25 % (training), about 36 s left", "largen: 80 % (verdicts), about 10 s left"]


def test_on_a_terminal_there_is_a_bar() -> None:
    text = io.StringIO()
    with shown.progress(Console(file=text, force_terminal=True, width=100)) as tell:
        tell("training networks", 0.5)
    assert re.search(r"training networks.*50 %.*about \d+ s left", text.getvalue())
