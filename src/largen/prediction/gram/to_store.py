"""`lg.gram` into a store: what is there is checked, what is missing is computed, block by block, by all who take part."""

import errno
import math
import os
import shutil
import sys
import time
from collections.abc import Container, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from largen.errors import InputError, shown
from largen.prediction.gram import store as on_disk
from largen.prediction.gram.blocks import Layout, Place
from largen.prediction.gram.store import Log, Store
from largen.prediction.gram.workers import Build, Done, Job, check_client, on_cluster, on_devices
from largen.theory.kernels import Kernel

BLOCK, SPATIAL = 2000, 200  # rows of a block; where points have positions and a pair may take milliseconds
COPIES = 16  # arrays of the size of a block in memory for each device, and for the one that is written meanwhile
FULL = (errno.ENOSPC, errno.EDQUOT)
GIB = 2**30
DTYPES = ("float16", "float32", "float64")


def memory(n1: int, n2: int, itemsize: int, spatial: bool) -> float:
    """Bytes that blocks in work take."""
    rows = SPATIAL if spatial else BLOCK
    return float(COPIES * (jax.local_device_count() + 1) * min(rows, n1) * min(rows, n2) * itemsize)


def to_store(path: Any, about: dict[str, Any], build: Build, n: tuple[int, int], spatial: bool, progress: bool, cluster: Any) -> Kernel:
    """The record whose arrays are those of the store, after every block is there and whole. `about` says what the kernel is of, `n`
    how many points there are."""
    if not isinstance(path, (str, os.PathLike)) or "://" in str(path):
        raise InputError("store", shown(path), "a path of a file system")
    if about["dtype"] not in DTYPES:
        raise InputError("dtype", about["dtype"], f"one that a store can hold: {', '.join(DTYPES)}")
    path, process = Path(path).expanduser(), jax.process_index()
    if cluster is not None:
        check_client(cluster)
    built = cache(build)
    if process == 0:
        _prepare(path, about, built, n, spatial)
    _together("the store is there")
    on_disk.check_same(path, about)
    store = Store(path)
    with closing(Log(path, process)) as log:
        if process == 0:
            on_disk.sweep(path)
        _together("nothing half written is left")
        share = store.layout.places()[process :: jax.process_count()]
        done = store.done()
        _room(path, about, store.layout, done)
        left = _missing(store, log, share, done)
        if progress and process == 0:
            _announce(store, len(share), len(left))
        if left:
            log.add("opened", left=len(left), of=len(share), bytes=_bytes(about, store.layout, left), jax=jax.__version__)
            if cluster is None:
                run = on_devices(store, built()[0], left)
            else:
                run = on_cluster(cluster, Job(build, str(path.absolute()), f"{path} {time.time_ns()}"), left)
            _work(run, store, log, len(share), len(left), progress and process == 0)
    _together("the store is whole")
    store = Store(path, writable=False)
    return Kernel(*store.arrays, np.asarray(store.error(), about["dtype"]))  # type: ignore[arg-type]


def _together(moment: str) -> None:
    """Wait for the other JAX processes, if there are any."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(f"largen: {moment}")


def _prepare(path: Path, about: dict[str, Any], build: Build, n: tuple[int, int], spatial: bool) -> None:
    """Make the store if it is not there; refuse what is none."""
    if not on_disk.is_new(path):
        return
    rows = SPATIAL if spatial else BLOCK
    size = min(build()[1], rows)
    tiles, across = math.ceil(max(n) / size), rows // size
    layout = Layout(*n, about["X2"] is None, size, math.ceil(tiles / math.ceil(tiles / across)))  # blocks of about equal size
    _room(path, about, layout, {})
    path.parent.mkdir(parents=True, exist_ok=True)
    on_disk.create(path, about, layout)


def _bytes(about: dict[str, Any], layout: Layout, places: Iterable[Place]) -> int:
    """What blocks take on the disk: two arrays, with their mirrors, in whole chunks."""
    return 2 * math.prod(layout.chunk) * np.dtype(about["dtype"]).itemsize * sum(1 + layout.mirrored(place) for place in places)


def _room(path: Path, about: dict[str, Any], layout: Layout, done: Container[Place]) -> None:
    """Refuse what the disk has no room for."""
    need = _bytes(about, layout, (place for place in layout.places() if place not in done))
    folder = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if need > free:
        got = f"{str(path)!r}, where {layout.n1} x {layout.n2} pairs of points take {need / GIB:.3g} GiB more"
        fix = "Make room, give a path on another disk" + (', or take dtype="float32".' if about["dtype"] == "float64" else ".")
        raise InputError("store", got, f"at most the {free / GIB:.3g} GiB that are free on that disk", fix)


def _missing(store: Store, log: Log, share: list[Place], done: dict[Place, set[str]]) -> list[Place]:
    """Blocks to compute: those not logged, and those that are no longer what was logged."""
    there = [place for place in share if place in done]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        whole = dict(zip(there, pool.map(lambda place: store.holds(place, done[place]), there), strict=True))
    damaged = [place for place in there if not whole[place]]
    for place in damaged:
        log.add("damaged", block=place)
    on_disk.warn_of_damage(store.path, damaged)
    return [place for place in share if not whole.get(place)]


def _announce(store: Store, every: int, left: int) -> None:
    layout, dtype = store.layout, store.about["dtype"]
    size = _bytes(store.about, layout, layout.places()) / GIB
    blocks = f"{every} blocks of {layout.chunk[0]} x {layout.chunk[1]}"
    print(f"gram: {size:.3g} GiB of {dtype} in {blocks} at {store.path}; {every - left} are there", file=sys.stderr)


def _work(run: Generator[tuple[Place, Done], None, None], store: Store, log: Log, every: int, left: int, progress: bool) -> None:
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
        print(f"\ngram: stopped; {every - left + done} of {every} blocks are in {store.path}, the same call goes on.", file=sys.stderr)
        raise
    except OSError as error:
        if error.errno not in FULL:
            raise
        got = f"{str(store.path)!r}, whose disk is full after {every - left + done} of {every} blocks"
        raise InputError("store", got, "more room", "What is done stays: make room and repeat the same call.") from error
