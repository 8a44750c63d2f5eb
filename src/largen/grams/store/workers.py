"""Who computes the blocks of a store: the JAX devices of this process, or the workers of a Dask cluster.

Whoever computes a block writes it, then reports; only what was reported is logged as done. A worker that dies takes its block
with it, and the block is given to another.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from largen.errors import InputError
from largen.grams.blocks import Engine, Place, compute
from largen.grams.store.store import Header, Store, digest
from largen.grams.tiles import Values

Build = Callable[[], tuple[Engine, int]]  # the engine, and the rows of its tiles
LOST = 5  # times that all workers with the points may die, one after the other, with no block done in between
PATIENCE = 600  # seconds that a cluster may be without any worker


@dataclass(frozen=True)
class Job:
    """What a worker needs: how to build the engine, the path of the store, and its header; `key` tells jobs apart."""

    build: Build
    path: str
    header: Header
    key: str


@dataclass(frozen=True)
class Done:
    """Report of one block: the digest of its bytes, the error estimate of the engine so far, seconds."""

    sha256: str
    error: float
    seconds: float


def written(store: Store, engine: Engine, place: Place, values: Values, began: float) -> Done:
    """Write a block and report it."""
    store.write(place, values)
    return Done(digest(values), float(engine.error), round(time.perf_counter() - began, 3))


def on_devices(store: Store, engine: Engine, places: list[Place]) -> Generator[tuple[Place, Done], None, None]:
    """Blocks by turns on the JAX devices of this process; while they compute, another block is written."""
    local = jax.local_devices()
    free: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for device in local if len(local) > 1 else [None]:
        free.put(device)
    stop, threads = threading.Event(), -(-(os.cpu_count() or 1) // len(local))

    def one(place: Place) -> Done:
        device, began = free.get(), time.perf_counter()
        try:
            values = compute(engine, store.layout, place, store.arrays[0].dtype, threads, device, stop)
        finally:
            free.put(device)
        return written(store, engine, place, values, began)

    with ThreadPoolExecutor(len(local) + 1) as pool:
        futures = {pool.submit(one, place): place for place in places}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:  # after an error or Ctrl-C the tiles in work are the last
            stop.set()
            pool.shutdown(cancel_futures=True)


def on_cluster(client: Any, job: Job, places: list[Place]) -> Generator[tuple[Place, Done], None, None]:
    """Blocks on the workers of a Dask cluster, each of which holds the points and writes to the path."""
    from dask.distributed import as_completed as finished

    left, lost = set(places), 0
    while left:
        client.wait_for_workers(1, timeout=PATIENCE)
        held = client.scatter(job, broadcast=True, hash=False)
        futures = {client.submit(_remote, held, place, pure=False): place for place in sorted(left)}
        try:
            for future in finished(futures):
                done = future.result()
                left.discard(futures[future])
                lost = 0
                yield futures[future], done
        except CancelledError:  # no worker is left that held the points
            lost += 1
            if lost == LOST:
                raise
        finally:
            client.cancel(list(futures))


def check_client(cluster: Any) -> None:
    """Refuse what is no Dask client, and a cluster in one of several JAX processes."""
    try:
        from dask.distributed import Client
    except ModuleNotFoundError as error:
        raise ImportError('lg.gram(..., cluster=...) needs Dask: pip install "largen[cluster]"') from error
    if not isinstance(cluster, Client) or cluster.asynchronous:
        fix = 'Client("address:8786") connects to a cluster, Client() starts one on this machine.'
        raise InputError("cluster", f"a {type(cluster).__name__}", "a dask.distributed Client that is not asynchronous", fix)
    if jax.process_count() > 1:
        raise InputError("cluster", "a Dask cluster in one of several JAX processes", "one or the other")


_built: dict[str, tuple[Store, Engine]] = {}  # of the job in work
_building = threading.Lock()


def _remote(job: Job, place: Place) -> Done:
    """One block on a Dask worker."""
    from dask.distributed import get_worker

    with _building:
        if job.key not in _built:
            _built.clear()
            try:
                store = Store(Path(job.path), job.header, writable=True)
            except FileNotFoundError as error:
                fix = "Put it on a file system that all share."
                raise InputError("store", f"{job.path!r}, which a worker does not see", "a path that every worker sees", fix) from error
            _built[job.key] = store, job.build()[0]
        store, engine = _built[job.key]
    began, threads = time.perf_counter(), max(1, (os.cpu_count() or 1) // get_worker().state.nthreads)
    return written(store, engine, place, compute(engine, store.layout, place, store.arrays[0].dtype, threads), began)
