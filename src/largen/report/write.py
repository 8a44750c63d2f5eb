"""Writing: places that can be written to, checked before the work, and files that appear whole or not at all."""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from largen.errors import InputError

FILES = "report.html", "report.json"


def check_folder(out: str) -> Path:
    """The output folder, if it can be made and written to. Leaves nothing behind. Raises `InputError` otherwise."""
    folder, need = Path(out), "a folder that can be written to"
    existing = folder
    while not os.path.lexists(existing):
        existing = existing.parent
    if not os.path.isdir(existing):
        what = "a link that leads to no folder" if os.path.islink(existing) else "a file"
        raise InputError("out", f"{out!r}, where {str(existing)!r} is {what}", need)
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for name in FILES:
            _check_place(folder / name, "out", f"{out!r}, where {name}", need)
    except (OSError, ValueError) as error:
        raise _refused("out", out, need, error) from error
    finally:
        _unmake(made)
    return folder


def check_file(path: str, argument: str) -> Path:
    """The place of a file, links followed, if one can be written there. Leaves nothing behind. Raises `InputError` otherwise."""
    need = "a file in a folder that exists and can be written to"
    try:
        place = Path(os.path.realpath(path))
        _check_place(place, argument, repr(path) + ", which", need)
        with tempfile.TemporaryFile(dir=place.parent):
            pass
    except (OSError, ValueError) as error:
        raise _refused(argument, path, need, error) from error
    return place


def _check_place(path: Path, argument: str, got: str, need: str) -> None:
    """Refuse to put a file where a folder is, a device, a pipe."""
    try:
        os.lstat(path)  # an OSError for names that no file can have
    except FileNotFoundError:
        return
    if not os.path.isfile(path):
        raise InputError(argument, f"{got} is {'a folder' if os.path.isdir(path) else 'no file'}", need)


def _refused(argument: str, given: object, need: str, error: OSError | ValueError) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(argument, f"{str(given)!r} ({getattr(error, 'strerror', None) or error})", need)


def _unmake(folders: list[Path]) -> None:
    """Remove folders that were made, the innermost first, as far as they are empty."""
    for folder in folders:
        if os.path.isdir(folder) and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C as an exception while files are half written, so that they are cleaned away, whatever it does elsewhere."""
    before = signal.getsignal(signal.SIGINT)
    if before in (None, signal.SIG_IGN) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def write(folder: Path, files: dict[str, str], argument: str = "out") -> None:
    """Write all files under temporary names, then rename them; on any failure, Ctrl-C included, nothing is left behind.

    Raises `InputError`, naming the `argument` that said where.
    """
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    temporary: dict[str, Path] = {}
    with _interruptible():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                temporary[name] = folder / f".{name}.{os.getpid()}.tmp"
                temporary[name].write_text(text, encoding="utf-8")
            for name, path in temporary.items():
                path.replace(folder / name)
        except BaseException as error:
            for path in temporary.values():
                path.unlink(missing_ok=True)
            _unmake(made)
            if isinstance(error, OSError):
                raise _refused(argument, folder, "a folder that can be written to", error) from error
            raise
