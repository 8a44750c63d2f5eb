"""Writing: a folder that can be written to, checked before the work, and files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from largen.errors import InputError


def check_folder(out: str) -> Path:
    """The output folder, if it can be made or written to. Leaves nothing behind. Raises `InputError` otherwise."""
    folder = Path(out)
    need = "a folder that can be written to"
    existing = folder
    try:
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise InputError("out", f"{out!r}, where {str(existing)!r} is a file", need)
        with tempfile.TemporaryFile(dir=existing):
            pass
        for name in ("report.html", "report.json"):
            if (folder / name).is_dir():
                raise InputError("out", f"{out!r}, where {name} is a folder", need)
    except OSError as error:
        raise InputError("out", f"{out!r} ({error.strerror or error})", need) from error
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    """Write all files under temporary names, then rename them; on any failure, Ctrl-C included, nothing is left behind."""
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    temporary: dict[str, Path] = {}
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
        for new in made:
            if new.is_dir() and not any(new.iterdir()):
                new.rmdir()
        if isinstance(error, OSError):
            raise InputError("out", f"{str(folder)!r} ({error.strerror or error})", "a folder that can be written to") from error
        raise
