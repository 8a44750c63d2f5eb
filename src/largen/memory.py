"""Sizes before work: what the machine has free, and a refusal, before computing, of what does not fit or would not end."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from largen.errors import InputError

LARGE = 2.0**90  # bytes that no machine has
MOST = 100_000  # nodes of one network, layers of one recursion
NORMAL = 5  # arrays of the size of the result at work while normal numbers are drawn


def available() -> float:
    """Bytes of memory free for this process: what the system reports, within the limit of its control group if any."""
    free = [_reported(), _limit()]
    return min(value for value in free if value is not None)


def _reported() -> float:
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024.0 * float(fields["MemAvailable"].split()[0])
    except (OSError, KeyError):  # no Linux: all the memory of the machine
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _limit() -> float | None:
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (float((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())["inactive_file"]
        return limit - used + float(cached)  # what is cached of files is given back on demand
    except (OSError, ValueError, KeyError):  # no such group, or "max"
        return None


def require(needed: float, argument: str, got: str, fix: str) -> None:
    """Raise `InputError` when `needed` bytes exceed what is available."""
    needed = min(needed, LARGE)
    free = available()
    if needed > free:
        got = f"{got}, which takes about {needed / 2**30:.3g} GiB"
        raise InputError(argument, got, f"at most the {free / 2**30:.3g} GiB that are free", fix)


def many(count: int) -> str:
    """A count in a sentence.

    >>> many(10**7), many(10**30)
    ('10,000,000', 'more than 1e+18')
    """
    return f"{count:,}" if count <= 10**18 else "more than 1e+18"


def require_few(count: int, argument: str, what: str) -> None:
    """Raise `InputError` for more steps of one kind, nodes or layers, than are gone through one by one in seconds."""
    if count > MOST:
        raise InputError(argument, f"{many(count)} {what}", f"at most {MOST:,}")


def require_copy(value: Any, argument: str) -> None:
    """Raise `InputError` for an array that fits as a view, of one row broadcast say, but would not once it is copied."""
    shape, strides = getattr(value, "shape", None), getattr(value, "strides", None)
    if isinstance(value, np.ndarray) and strides and 0 in strides:
        require(2.0 * value.size * max(value.itemsize, 4), argument, f"a view of shape {shape}", "Take fewer points.")
