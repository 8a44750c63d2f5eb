"""Exceptions. Every message says what came, what was needed and, where one exists, the call that fixes it."""

import reprlib
import sys
import warnings
from typing import Any

ECHO = 200  # characters of what the user gave that a message repeats at most
_echo = reprlib.Repr()
_echo.maxlevel, _echo.maxstring, _echo.maxother, _echo.maxlong = 4, ECHO, ECHO, ECHO
_echo.maxtuple = _echo.maxlist = _echo.maxdict = _echo.maxset = _echo.maxfrozenset = 12


def shown(value: Any) -> str:
    """A value as messages show it: short whatever its size, and without failing for what has no text.

    >>> shown(list(range(100)))[:30], shown(10**10000)
    ('[0, 1, 2, 3, 4, 5, 6, 7, 8, 9,', 'an int too large to print')
    """
    try:
        return cut(" ".join(_echo.repr(value).split("\n")))
    except ValueError:  # more digits than Python turns into text
        return f"an {type(value).__name__} too large to print"
    except Exception:  # a text of the user's own that fails
        return f"a {type(value).__name__} that cannot be printed"


def cut(text: str) -> str:
    """At most `ECHO` characters of a text, its beginning and its end."""
    return text if len(text) <= ECHO else f"{text[: ECHO * 3 // 4]} ... {text[-ECHO // 5 :]}"


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line outside of this package that led here, however many of its rooms are in between."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] == "largen":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


class LargenError(Exception):
    """Base of every exception that largen raises on purpose."""


class InputError(LargenError, ValueError):
    """An argument that cannot be used, refused at the door before any work.

    Parameters
    ----------
    argument : str
        Its name.
    got : str
        What came.
    need : str
        What was needed.
    fix : str
        A sentence or call that mends it, "" for none.

    Examples
    --------
    >>> str(InputError("C_W", "-1.0", "a number >= 0"))
    '`C_W`: got -1.0; needed a number >= 0.'
    """

    def __init__(self, argument: str, got: str, need: str, fix: str = ""):
        argument, got = cut(argument), cut(got)
        super().__init__(argument, got, need, fix)
        self.argument, self.got, self.need, self.fix = argument, got, need, fix

    def __str__(self) -> str:
        return f"`{self.argument}`: got {self.got}; needed {self.need}." + (f" {self.fix}" if self.fix else "")


class UnsupportedError(LargenError, NotImplementedError):
    """A node, at a path of an architecture, that a theory has no rule for (or no finite answer), with the reason.

    Parameters
    ----------
    node : str
        As code.
    path : str
        Of the node, "" for none.
    theory : str
        Which one.
    reason : str
        Why not.
    supported : list or tuple of str
        What it supports instead.

    Examples
    --------
    >>> str(UnsupportedError("Act('sign')", "act1", "critical point", "it has no derivative", ["relu", "tanh"]))
    "critical point does not support Act('sign') at act1: it has no derivative. Supported: relu, tanh."
    """

    def __init__(self, node: str, path: str, theory: str, reason: str, supported: list[str] | tuple[str, ...] = ()):
        node = cut(node)
        super().__init__(node, path, theory, reason, supported)
        self.node, self.path, self.theory, self.reason, self.supported = node, path, theory, reason, tuple(supported)

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        known = f" Supported: {', '.join(self.supported)}." if self.supported else ""
        return f"{self.theory} does not support {self.node}{where}: {self.reason.rstrip('.')}.{known}"


class SingularKernelError(LargenError, ArithmeticError):
    """A train kernel that is numerically singular: says its smallest eigenvalue and the ridge that would do."""


class AccuracyWarning(UserWarning):
    """A Gaussian expectation whose estimated error is above the tolerance; the message says by how much and why."""


class StoreWarning(UserWarning):
    """Blocks or metadata of a store that were no longer as they were written, and are made again; the message says which."""
