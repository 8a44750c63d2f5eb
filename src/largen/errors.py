"""Exceptions. Every message says what came, what was needed and, where one exists, the call that fixes it."""

import sys
import warnings


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

    `argument` is its name, `got` what came, `need` what was needed, `fix` (optional) a sentence or call that mends it.

    >>> str(InputError("C_W", "-1.0", "a number >= 0"))
    '`C_W`: got -1.0; needed a number >= 0.'
    """

    def __init__(self, argument: str, got: str, need: str, fix: str = ""):
        super().__init__(argument, got, need, fix)
        self.argument, self.got, self.need, self.fix = argument, got, need, fix

    def __str__(self) -> str:
        return f"`{self.argument}`: got {self.got}; needed {self.need}." + (f" {self.fix}" if self.fix else "")


class UnsupportedError(LargenError, NotImplementedError):
    """A node, at a path of an architecture, that a theory has no rule for (or no finite answer), with the reason.

    >>> str(UnsupportedError("Act('sign')", "act1", "critical point", "it has no derivative", ["relu", "tanh"]))
    "critical point does not support Act('sign') at act1: it has no derivative. Supported: relu, tanh."
    """

    def __init__(self, node: str, path: str, theory: str, reason: str, supported: list[str] | tuple[str, ...] = ()):
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
