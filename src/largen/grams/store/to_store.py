"""`lg.gram` into a store: what is there is checked, what is missing is computed, block by block, by all who take part."""

import errno
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from largen.errors import InputError
from largen.grams.blocks import Layout, Place
from largen.grams.store import store as on_disk
from largen.grams.store.log import Log, named
from largen.grams.store.store import Store
from largen.grams.store.workers import Build, Done, Job, check_client, on_cluster, on_devices
from largen.grams.tiles import WHICH, by_name
from largen.theory.kernels import Kernel

BLOCK, SPATIAL = 2000, 200  # rows of a block; where points have positions and a pair may take milliseconds
COPIES = 16  # arrays of the size of a block in memory for each device, and for the one that is written meanwhile
FULL = (errno.ENOSPC, errno.EDQUOT)
GIB = 2**30
Run = Generator[tuple[Place, Done], None, None]  # blocks, as they are done
DTYPES = ("float16", "float32", "float64")


def memory(n1: int, n2: int, itemsize: int, spatial: bool) -> float:
    """Bytes that blocks in work take."""
    rows = SPATIAL if spatial else BLOCK
    return float(COPIES * (jax.local_device_count() + 1) * min(rows, n1) * min(rows, n2) * itemsize)


def to_store(store: Any, about: dict[str, Any], build: Build, n: tuple[int, int], spatial: bool, progress: bool, cluster: Any) -> Kernel:
    """The record whose arrays are those of the store, after every block is there and whole. `about` says what the kernel is of, `n`
    how many points there are. A store that is finished is only read; whatever is written is written under its lock."""
    path, process = on_disk.place(store), jax.process_index()
    if about["dtype"] not in DTYPES:
        raise InputError("dtype", about["dtype"], f"one that a store can hold: {', '.join(DTYPES)}")
    if cluster is not None:
        check_client(cluster)
    built, rows = cache(build), SPATIAL if spatial else BLOCK
    with _in_a_sentence(path):
        if process == 0:
            _prepare(path, about, built, n, rows)
        _together("the store is there")
        header = on_disk.read(path, about, n, rows)
        result, share = Store(path, header), header.layout.places()[process :: jax.process_count()]
        left = _missing(result, share, result.done())
        if progress and process == 0:
            _announce(result, len(share), len(left))

        def begin(left: list[Place]) -> Run:
            if cluster is not None:
                return on_cluster(cluster, Job(build, str(path.absolute()), header, f"{path} {time.time_ns()}"), left)
            return on_devices(Store(path, header, writable=True), built()[0], left)

        if _anywhere(left):
            with closing(Log(path, process, header.key)) as log:
                _fill(result, log, about, begin, len(share), left, progress and process == 0)
                _together("the store is whole")
        return Kernel(**by_name(about["which"], result.arrays), error=np.asarray(result.error(), about["dtype"]))


def _fill(
    there: Store, log: Log, about: dict[str, Any], begin: Callable[[list[Place]], Run], every: int, left: list[Place], progress: bool
) -> None:
    """Compute what is missing, while no other run writes."""
    path = there.path
    if log.writer == 0:
        on_disk.sweep(path)
    _together("nothing half written is left")
    done = there.done()
    left = _missing(there, left, done)  # less what another run finished before this one had the log
    damaged = [place for place in left if place in done]
    for place in damaged:
        log.add("damaged", block=place)
    on_disk.warn_of_damage(path, damaged)
    if not left:
        return
    need = _bytes(there, left)
    _room(path, about, need)
    log.add("opened", left=len(left), of=every, bytes=need, jax=jax.__version__)
    _work(begin(left), there, log, every, len(left), progress)


@contextmanager
def _in_a_sentence(path: Path) -> Iterator[None]:
    """What the file system refuses is an `InputError`; Ctrl-C says that the store can be gone on with, and nothing of threads."""
    try:
        yield
    except KeyboardInterrupt as stop:
        said = stop.args[0] if stop.args else f"stopped; what is done is in {named(path)}, the same call goes on."
        raise KeyboardInterrupt(said) from None
    except OSError as error:
        if error.errno is None and not isinstance(error, FileNotFoundError):  # not of a file: a connection, a cluster
            raise
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError, after: str = "") -> InputError:
    """What the file system said, in a sentence."""
    if error.errno in FULL:
        fix = "What is done stays: make room and repeat the same call."
        return InputError("store", f"{named(path)}, whose disk is full{after}", "more room", fix)
    file = error.filename2 or error.filename
    where = os.path.relpath(os.fsdecode(file), path) if isinstance(file, (str, bytes)) else "."
    inside = "" if where.startswith(".") else f" at {named(where)}"
    got = f"{named(path)}, where the system says{inside}: {error.strerror or 'gone while in use'}"
    need = "a path where files can be read, and written unless the store is finished"
    return InputError("store", got, need, "Mend that, then repeat the call: what is done stays.")


def _together(moment: str) -> None:
    """Wait for the other JAX processes, if there are any."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(f"largen: {moment}")


def _anywhere(left: list[Place]) -> bool:
    """Whether any JAX process has blocks left."""
    if jax.process_count() == 1:
        return bool(left)
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(len(left)))))


def _prepare(path: Path, about: dict[str, Any], build: Build, n: tuple[int, int], rows: int) -> None:
    """Make the store if it is not there, mend its metadata if they are damaged; refuse what is no store."""
    if on_disk.is_new(path):
        _room(path, about, len(WHICH[about["which"]]) * math.prod(n) * np.dtype(about["dtype"]).itemsize)
        path.mkdir(parents=True, exist_ok=True)
        with closing(Log(path, 0)):
            if on_disk.is_new(path):  # nobody was quicker
                on_disk.create(path, about, _layout(about, build, n, rows))
    if on_disk.read(path, about, n, rows).wrong:
        with closing(Log(path, 0)):
            on_disk.restore(path, about, on_disk.read(path, about, n, rows))


def _layout(about: dict[str, Any], build: Build, n: tuple[int, int], rows: int) -> Layout:
    """Blocks of about equal size, of whole tiles."""
    size = min(build()[1], rows)
    tiles, across = math.ceil(max(n) / size), rows // size
    return Layout(*n, about["X2"] is None, size, math.ceil(tiles / math.ceil(tiles / across)))


def _bytes(store: Store, places: Iterable[Place]) -> int:
    """What blocks take on the disk: of every array, with their mirrors, in whole chunks."""
    chunk = math.prod(store.layout.chunk) * sum(array.dtype.itemsize for array in store.arrays)
    return chunk * sum(1 + store.layout.mirrored(place) for place in places)


def _room(path: Path, about: dict[str, Any], need: int) -> None:
    """Refuse what the disk has no room for."""
    folder = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if need > free:
        got = f"{named(path)}, where the kernels take {need / GIB:.3g} GiB more"
        fix = "Make room, give a path on another disk" + (', or take dtype="float32".' if about["dtype"] == "float64" else ".")
        raise InputError("store", got, f"at most the {free / GIB:.3g} GiB that are free on that disk", fix)


def _missing(store: Store, places: list[Place], done: dict[Place, set[str]]) -> list[Place]:
    """Blocks to compute: those not logged, and those that are no longer what was logged."""
    there = [place for place in places if place in done]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        whole = dict(zip(there, pool.map(lambda place: store.holds(place, done[place]), there), strict=True))
    finally:  # after Ctrl-C the blocks in reading are the last
        pool.shutdown(cancel_futures=True)
    return [place for place in places if not whole.get(place)]


def _announce(store: Store, every: int, left: int) -> None:
    layout, dtype = store.layout, store.arrays[0].dtype
    size = _bytes(store, layout.places()) / GIB
    blocks = f"{every} blocks of {layout.chunk[0]} x {layout.chunk[1]}"
    print(f"gram: {size:.3g} GiB of {dtype} in {blocks} at {store.path}; {every - left} are there", file=sys.stderr)


def _work(run: Run, store: Store, log: Log, every: int, left: int, progress: bool) -> None:
    """Log every block that is done, until all are."""
    began, done = time.perf_counter(), 0
    try:
        with closing(run):
            for place, report in run:
                log.add("block", block=place, **asdict(report))
                done += 1
                if progress:
                    minutes = (time.perf_counter() - began) / done * (left - done) / 60
                    told = f"gram: {every - left + done} of {every} blocks, {minutes:.1f} minutes left"
                    print(f"\r{told}", end="\n" if done == left else "", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        if progress:
            print(file=sys.stderr)
        said = f"stopped; {every - left + done} of {every} blocks are in {named(store.path)}, the same call goes on."
        raise KeyboardInterrupt(said) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _refused(store.path, error, f" after {every - left + done} of {every} blocks") from error
