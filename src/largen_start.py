"""Where the command `largen` begins: Ctrl-C ends it in one sentence from the first moment on, its imports included, and what JAX
compiles is kept for the next command."""

import os
import signal
from typing import Any


def leave(number: int, frame: Any) -> None:
    """One sentence, and out at once: a `KeyboardInterrupt` may get lost in imports and callbacks, and an orderly shutdown of Python can
    crash on computations that still run in other threads. What writes files takes Ctrl-C as an exception meanwhile."""
    clean = b"\r\x1b[2K\x1b[?25h" if os.isatty(2) else b""  # a progress bar hides the cursor
    os.write(2, clean + b"largen: interrupted; nothing was written\n")
    os._exit(130)


def main() -> None:
    """Entry point of the command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may have said to ignore it
        signal.signal(signal.SIGINT, leave)
    from largen import cache
    from largen.cli import main

    cache.keep()
    main()
