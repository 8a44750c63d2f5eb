"""Standard output of the commands: it prints what its encoding can, and failures to write have one name, whatever was printing."""

import codecs
import errno
import io
import os
import unicodedata
from typing import Any

ASCII = {"→": "->", "≥": ">=", "≤": "<=", "±": "+-", "−": "-", "×": "x", "✓": "v", "✗": "x", "…": "...", "█": "#", "│": "|", "─": "-"}
NAME = "largen.nearest"


class Lost(Exception):
    """Output that could not be written, with the reason; `left`: whoever read it is gone, as `head` after its lines."""

    def __init__(self, error: OSError):
        super().__init__(error.strerror or str(error))
        self.left = error.errno == errno.EPIPE


class Output:
    """A text stream that raises `Lost` for any `OSError`, on which the libraries that print would each end in a way of their own."""

    def __init__(self, stream: Any):
        self._stream = stream

    @classmethod
    def of(cls, stream: Any) -> Any:
        """The stream, with characters that its encoding lacks replaced; None where standard output is closed."""
        if stream is None:
            return None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=NAME)
        return cls(stream)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise Lost(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise Lost(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def abandon(stream: Any) -> None:
    """Let what a stream still holds go nowhere, or Python would try to write it once more as it ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError, AttributeError):  # not a file of the system
        return


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks: the same without accents, signs in ASCII, "?"."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    plain = (ASCII.get(c) or unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() or "?" for c in missing)
    return "".join(plain), error.end


codecs.register_error(NAME, _nearest)
