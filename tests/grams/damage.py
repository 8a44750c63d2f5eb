"""Damages and kills of stores on disk, for the tests here and for benchmarks/damage.py.

A byte changed, a file deleted, cut short or replaced by a folder, in a finished or an unfinished store, before it is opened or while
its result is in use, ends in the right bytes, in a repair that is said, or in one sentence; after a kill the same call ends in the
same bytes, with no block computed twice; of processes that begin together one works, and the others say why they do not.
"""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import largen as lg
from largen.errors import InputError, StoreWarning
from largen.grams.store import to_store
from largen.grams.store.store import Store

ROWS, N, N2, WIDE = 8, 30, 19, 60  # of a block; of the points that are damaged; of those that are killed
PROCESSES = 4
PAUSE, SPAN = 0.02, 0.6  # seconds that a child waits before every block; in which a kill falls after it began
SENTENCE = 600  # characters of one
WRONG, FINISHED = "WRONG", "finished before"
METADATA = ("zarr.json", "nngp/zarr.json", "ntk/zarr.json")


class Wrong(AssertionError):
    """Something that a store must not do."""


@dataclass(frozen=True)
class Case:
    """A kernel: a network and points."""

    net: Any
    X: np.ndarray
    X2: np.ndarray | None = None

    def store(self, path: Path) -> Any:
        return lg.gram(self.net, self.X, self.X2, store=path)


@dataclass(frozen=True)
class State:
    """A store before anything happens to it, and what it has to give."""

    case: Case
    path: Path
    wanted: Any
    content: str


def points(n: int, seed: int = 0) -> np.ndarray:
    X = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    return X / np.sqrt((X**2).mean(1, keepdims=True))


RELU = Case(lg.mlp(widths=[8], out=1, activation="relu", C_W=2.0), points(N))
TANH = Case(lg.mlp(widths=[8], out=1, activation="tanh", C_W=2.0), points(N), points(N2, 1))  # `.error` is not zero
KILLED = Case(RELU.net, points(WIDE))


def small_blocks() -> Any:
    """Blocks of a few rows, so that small matrices have many."""
    return patch.object(to_store, "BLOCK", ROWS)


def blocks(path: Path) -> list[tuple[int, int]]:
    """The finished blocks of the log, a line that is not whole left out."""
    found = []
    for file in (path / "log").glob("*.jsonl"):
        for text in file.read_bytes().splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                found += [tuple(line["block"])] if line["event"] == "block" else []
    return found


def content(path: Path) -> str:
    """SHA-256 of the names and bytes of all files but the log."""
    out = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and p.parent.name != "log"):
        out.update(str(file.relative_to(path)).encode())
        out.update(file.read_bytes())
    return out.hexdigest()


def states(folder: Path) -> list[State]:
    """Finished and unfinished stores."""
    out = []
    for name, case in (("relu", RELU), ("tanh", TANH)):
        whole, part = folder / f"{name} finished", folder / f"{name} unfinished"
        result = case.store(whole)
        wanted = (result.nngp[:], result.ntk[:], result.error)
        with full_after(len(blocks(whole)) // 2), suppress(InputError):
            case.store(part)
        out += [State(case, path, wanted, content(whole)) for path in (whole, part)]
    return out


@contextmanager
def before_writing(act: Callable[[], None]) -> Iterator[None]:
    """Something that happens before every block is written."""
    write = Store.write

    def wrapped(self: Store, place: Any, values: Any) -> None:
        act()
        write(self, place, values)

    with patch.object(Store, "write", wrapped):
        yield


@contextmanager
def full_after(count: int) -> Iterator[None]:
    """A disk that is full after so many blocks."""
    left = iter(range(count))

    def act() -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with before_writing(act):
        yield


# ---------------------------------------------------------------- damages


def damage(path: Path, times: random.Random) -> str:
    """Something happens to one file of a store; metadata, log and blocks are as likely."""
    metadata = [path / name for name in METADATA]
    logs, chunks = ([*(path / "log").iterdir()], [p for p in path.rglob("c/*/*") if p.is_file()])
    file = times.choice(sorted(times.choice([metadata, logs, chunks])))
    data, how = bytearray(file.read_bytes()), times.choice(["changed", "changed", "changed", "cut", "deleted", "folder"])
    where = times.randrange(len(data))
    if how == "changed":
        data[where] ^= times.randrange(1, 256)
        file.write_bytes(data)
    elif how == "cut":
        file.write_bytes(data[:where])
    else:
        file.unlink()
        if how == "folder":
            file.mkdir()
    return f"{file.relative_to(path)} {how} at {where}"


def same(out: Any, wanted: Any) -> bool:
    values = out.nngp[:], out.ntk[:], out.error
    return all(np.asarray(a).dtype == np.asarray(b).dtype and np.array_equal(a, b) for a, b in zip(values, wanted, strict=True))


def judged(state: State, path: Path, what: str, call: Callable[[], Any]) -> str:
    """How a call on a damaged store ends; raises `Wrong` if it must not end so."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            right = same(call(), state.wanted)
        except InputError as error:
            sentence = str(error)
            if "\n" in sentence or len(sentence) > SENTENCE or not sentence.startswith("`store`"):
                raise Wrong(f"{state.path.name}, {what}: {sentence}") from error
            return "one sentence"
        except Exception as error:
            raise Wrong(f"{state.path.name}, {what}: {type(error).__name__}: {error}") from error
    if not right:
        raise Wrong(f"{state.path.name}, {what}: other numbers")
    if others := [str(warning.message) for warning in said if not issubclass(warning.category, StoreWarning)]:
        raise Wrong(f"{state.path.name}, {what}: {others}")
    return "a repair that is said" if said else "right bytes"


def damaged(state: State, path: Path, times: random.Random) -> str:
    """One damage to a copy of a store at `path`, before it is opened or while its result is in use."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(state.path, path)
    if times.random() < 0.2:
        out = state.case.store(path)
        what = damage(path, times) + " in use"
        return "in use: " + judged(state, path, what, lambda: out)
    what = damage(path, times)
    end = judged(state, path, what, lambda: state.case.store(path))
    if end != "one sentence" and content(path) != state.content:
        raise Wrong(f"{state.path.name}, {what}: the files are not as they were")
    return end


def damages(count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Ends of so many damages, and how often each came; what was wrong is printed."""
    times, ends, pristine = random.Random(seed), Counter[str](), states(folder)
    for number in range(count):
        state = pristine[number % len(pristine)]
        try:
            ends[damaged(state, folder / "damaged", times)] += 1
        except Wrong as wrong:
            ends[WRONG] += 1
            print(f"{WRONG}: damage {number}: {wrong}", flush=True)
    return ends


# ---------------------------------------------------------------- kills


def child(path: Path) -> int:
    """One slow run in a process of its own, begun at a line on stdin; 0 done, 2 refused in a sentence."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder, small_blocks():
        KILLED.store(Path(folder) / "compiled")
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        with small_blocks(), before_writing(lambda: time.sleep(PAUSE)):
            KILLED.store(path)
    except InputError as error:
        print(error)
        return 2
    print("done", flush=True)
    return 0


def start(path: Path) -> subprocess.Popen[str]:
    """A child that is ready to begin."""
    command = [sys.executable, "-P", __file__, str(path)]
    process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise Wrong(process.communicate()[1])
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def kill(path: Path, how: signal.Signals, times: random.Random, wanted: State) -> str:
    """A run on the store at `path`, killed; then the same call on a copy, which must end in the same bytes. Returns what happened."""
    process = start(path)
    begin(process)
    time.sleep(times.uniform(0, SPAN))
    process.send_signal(how)
    out, told = process.communicate()
    there, ended = len(blocks(path)) if path.exists() else 0, "done" in out
    every = len(blocks(wanted.path))
    if how == signal.SIGINT and not ended:
        said = "KeyboardInterrupt: stopped; " if 0 < there < every else "KeyboardInterrupt"  # else it may not have come to the store
        if not told.strip().splitlines()[-1].startswith(said) or told.count("Traceback") != 1:
            raise Wrong(f"interrupted, it said: {told}")
    copy = path.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    if path.exists():
        shutil.copytree(path, copy)
    end = judged(wanted, copy, f"{how.name} after {there} blocks", lambda: KILLED.store(copy))
    log = blocks(copy)
    if end != "right bytes" or content(copy) != wanted.content or len(log) != len(set(log)):
        raise Wrong(f"{how.name} after {there} blocks: {end}; {len(log)} blocks in the log, {len(set(log))} of them different")
    if litter := [p.name for p in path.parent.iterdir() if p not in (path, copy, wanted.path)]:
        raise Wrong(f"left behind: {litter}")
    if ended:
        shutil.rmtree(path)
    return FINISHED if ended else f"{there} of {every} blocks"


def kills(count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """So many kills of each kind; every run goes on with the store of the one before, until it is finished."""
    times, ends = random.Random(seed), Counter[str]()
    whole = folder / "whole"
    out = KILLED.store(whole)
    wanted = State(KILLED, whole, (out.nngp[:], out.ntk[:], out.error), content(whole))
    for how in (signal.SIGKILL, signal.SIGINT) * count:
        try:
            while (happened := kill(folder / "killed", how, times, wanted)) == FINISHED:  # the kill came too late
                pass
            ends[f"{how.name}, same bytes"] += 1
            print(f"{how.name}: {happened}", flush=True)
        except Wrong as wrong:
            ends[WRONG] += 1
            print(f"{WRONG}: {wrong}", flush=True)
    return ends


def together(folder: Path) -> str:
    """Processes that begin at once on one new path: how many worked and how many were refused."""
    path, whole = folder / "together", folder / "alone"
    KILLED.store(whole)
    all_of_them = [start(path) for _ in range(PROCESSES)]
    for process in all_of_them:
        begin(process)
    told = [process.communicate() for process in all_of_them]
    codes = Counter(process.returncode for process in all_of_them)
    refused = [out for (out, _), process in zip(told, all_of_them, strict=True) if process.returncode == 2]
    if set(codes) - {0, 2} or not codes[0] or any("another process is writing" not in out for out in refused):
        raise Wrong(f"began together: {told}")
    litter = [p.name for p in folder.iterdir() if p not in (path, whole)]
    if content(path) != content(whole) or litter:
        raise Wrong(f"began together: other files, or left behind: {litter}")
    return f"{codes[0]} worked, {codes[2]} refused"


def rounds(count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """So many times `PROCESSES` processes that begin together, each time on a new path."""
    ends = Counter[str]()
    for number in range(seed, seed + count):
        (folder / f"{number}").mkdir()
        try:
            ends[together(folder / f"{number}")] += 1
        except Wrong as wrong:
            ends[WRONG] += 1
            print(f"{WRONG}: {wrong}", flush=True)
    return ends


if __name__ == "__main__":  # a child
    sys.exit(child(Path(sys.argv[1])))
