"""How far a long command is, on stderr: a bar on a terminal, else a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

EVERY = 10.0  # seconds between lines
KNOWN = 0.04  # share of the work from which on the rest can be estimated


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, float], None]]:
    """What `report` tells of itself, `tell(stage, share)`, shown from the first moment on, with an estimate of what is left."""
    begun = time.monotonic()

    def left(share: float) -> str:
        if share < KNOWN:
            return ""
        return f"about {(time.monotonic() - begun) * (1 - share) / share:.0f} s left"

    if console.is_terminal:
        columns = (TextColumn("{task.description:<36}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.fields[left]}"))
        with Progress(*columns, console=console, transient=True) as bars:
            bar = bars.add_task("starting", total=1.0, left="")
            yield lambda stage, share: bars.update(bar, description=stage, completed=share, left=left(share))
        return
    said = begun
    console.print("largen: starting")

    def tell(stage: str, share: float) -> None:
        nonlocal said
        if time.monotonic() - said >= EVERY:
            said = time.monotonic()
            rest = left(share)
            console.print(f"largen: {100 * share:.0f} % ({stage}){', ' * bool(rest)}{rest}", soft_wrap=True, highlight=False)

    yield tell
