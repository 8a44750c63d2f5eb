"""Is a kernel on disk the same whatever happens on the way? Killed by SIGKILL at three random times and resumed, against uninterrupted.

    python -P benchmarks/store.py --data mnist.npz              # 60,000 x 10,000 images, 5 GB at a time in a temporary folder
    python -P benchmarks/store.py --rows 4000 --columns 1000    # normal rows instead

Claims: the same bytes; no finished block computed twice; one changed byte found, that block alone computed again.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

KILLS, DEPTH = 3, 3


def points(data: str | None, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of flat images (or normal rows) in float32, standardised together."""
    import largen as lg

    if data is None:
        X, Z = (np.random.default_rng(seed).normal(size=(n, 784)) for seed, n in ((0, rows), (1, columns)))
    else:
        with np.load(data) as arrays:
            X, Z = (arrays[name][:n].reshape(min(n, len(arrays[name])), -1) for name, n in (("x_train", rows), ("x_test", columns)))
    both = np.asarray(lg.standardize(np.concatenate([X, Z]).astype(np.float32)))
    return both[: len(X)], both[len(X) :]


def child(path: Path, options: Any) -> None:
    """One run to the end, in a process of its own; prints shape, seconds and the peak of resident memory in GiB."""
    import resource

    import largen as lg

    X, Z = points(options.data, options.rows, options.columns)
    net = lg.mlp(widths=[512] * (DEPTH - 1), out=1, activation="relu", C_W=2.0)
    began = time.perf_counter()
    out = lg.gram(net, X, Z, store=path, progress=True)
    taken, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{out.ntk.shape[0]} x {out.ntk.shape[1]} {out.ntk.dtype}: {taken:.1f} s, at most {peak:.2f} GiB in memory")


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", __file__, *sys.argv[1:], "--child", str(path)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def finish(path: Path) -> str:
    process = start(path)
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a run ended with {process.returncode}; repeat it: {sys.argv[0]} ... --child {path}")
    return out.strip()


def log(path: Path, event: str) -> list[tuple[int, int]]:
    """Blocks of the log lines about an event."""
    lines = [json.loads(text) for file in (path / "log").glob("*.jsonl") for text in file.read_text().splitlines() if text.endswith("}")]
    return [tuple(line["block"]) for line in lines if line["event"] == event]


def content(path: Path) -> str:
    """SHA-256 of all files but the log, in the order of their names."""
    out = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and p.parent.name != "log"):
        out.update(str(file.relative_to(path)).encode())
        out.update(file.read_bytes())
    return out.hexdigest()


def main() -> int:
    """Print what happened and the verdicts; 0 if all claims hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="an .npz file with x_train and x_test; normal rows without it")
    parser.add_argument("--rows", type=int, default=60000)
    parser.add_argument("--columns", type=int, default=10000)
    parser.add_argument("--folder", help="where the stores are put (a temporary folder)")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child), options)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        whole, killed, times = Path(folder) / "whole", Path(folder) / "killed", random.Random(options.seed)
        print("uninterrupted:", finish(whole), flush=True)
        wanted, blocks = content(whole), len(log(whole, "block"))
        print(f"{blocks} blocks, content {wanted}")
        shutil.rmtree(whole)
        for kill in range(KILLS):
            process, least = start(killed), int(blocks * (kill + times.random()) / (KILLS + 1))
            while process.poll() is None and not ((killed / "log").exists() and len(log(killed, "block")) >= least):
                time.sleep(0.01)
            time.sleep(times.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            halves = len(list(killed.rglob("*.partial")))
            print(f"killed with {len(log(killed, 'block'))} blocks logged, {halves} files half written", flush=True)
        print("resumed:", finish(killed))
        twice = [block for block, count in Counter(log(killed, "block")).items() if count > 1]
        same = content(killed) == wanted
        print(f"same bytes: {same}; blocks computed twice: {len(twice)} of {len(log(killed, 'block'))}", flush=True)
        chunk = times.choice(sorted((killed / "ntk" / "c").rglob("*")))
        chunk = chunk if chunk.is_file() else sorted(chunk.rglob("*"))[0]
        data = bytearray(chunk.read_bytes())
        data[times.randrange(len(data))] ^= 1 << times.randrange(8)
        chunk.write_bytes(data)
        print("one bit changed:", finish(killed))
        place = (int(chunk.parent.name), int(chunk.name))
        mended = content(killed) == wanted and log(killed, "damaged") == [place] and len(log(killed, "block")) == blocks + 1
        print(f"found, and only that block computed again: {mended}")
    return 0 if same and not twice and mended else 1


if __name__ == "__main__":
    sys.exit(main())
