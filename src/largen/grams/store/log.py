"""The log of a store: a line of JSON for every event, with a checksum bound to the store, in one file for each process that writes.

It only grows. A line that is not whole, cut short by a full disk or a kill or changed since, counts for nothing: what it told is done
again. So does a line about another store.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from largen.errors import InputError

NEED = "a new path, or a store that lg.gram began for these arguments"
LONG = 80  # characters of a path or a value in a message
DIGITS = 32  # hexadecimal ones of a checksum


def named(path: Any) -> str:
    """A path as messages name it: its end, if it is long."""
    text = str(path)
    return repr(text if len(text) <= LONG else "..." + text[-LONG:])


def checksum(record: dict[str, Any], key: str = "") -> str:
    """The first digits of the SHA-256 of a record's JSON, bound to a key."""
    return hashlib.sha256((key + json.dumps(record)).encode()).hexdigest()[:DIGITS]


def lines(path: Path, key: str) -> Iterator[dict[str, Any]]:
    """The whole lines of all logs of the store whose checksum is `key`."""
    for file in sorted(file for file in (path / "log").glob("*.jsonl") if file.is_file()):
        with suppress(OSError):  # a file that cannot be read is as good as none
            for text in file.read_bytes().split(b"\n"):
                with suppress(ValueError, RecursionError):  # no UTF-8, no JSON, numbers or brackets without end
                    line = json.loads(text)
                    if isinstance(line, dict) and line.pop("check", None) == checksum(line, key):
                        yield line


class Log:
    """Where one process appends what it did. Held alone: a second run on the same store is refused."""

    def __init__(self, path: Path, writer: int, key: str = "") -> None:
        folder = path / "log"
        folder.mkdir(exist_ok=True)
        self.writer, self.key, name = writer, key, folder / f"{writer}.jsonl"
        self.file = os.open(name, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o666)
        try:
            import fcntl

            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            got = f"{named(path)}, which another process is writing"
            raise InputError("store", got, NEED, "Wait until it has ended, then repeat the call.") from error
        except (ImportError, OSError):  # a system or a file system without such locks
            pass

    def add(self, event: str, **fields: Any) -> None:
        """A line of its own, also after one that was cut short."""
        line = {"event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **fields}
        line = json.loads(json.dumps(line))  # as it is read again: tuples are lists
        text = b"\n" * self._is_cut() + json.dumps({**line, "check": checksum(line, self.key)}).encode() + b"\n"
        if os.write(self.file, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _is_cut(self) -> bool:
        """Whether the last line does not end."""
        size = os.lseek(self.file, 0, os.SEEK_END)
        os.lseek(self.file, max(0, size - 1), os.SEEK_SET)
        return os.read(self.file, 1) not in (b"", b"\n")

    def close(self) -> None:
        os.close(self.file)
