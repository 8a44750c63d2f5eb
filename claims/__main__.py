"""Measure again what went stale: `python -m claims`, from the root of the repository.

Says of every study whether its sources have changed since it was measured and how long it took, then runs what is stale or missing. Each
study's file is written when it ends: what an interrupt left undone, the next call does. Named studies run whatever they are. Exit code 1 if
a claim fails.
"""

import argparse
import importlib
import sys
import time
from pathlib import Path

import jax

from claims.ledger import FOLDER, Claim, Entry, read, state, versions, write
from claims.measured import claims
from claims.sources import SCRIPTS, fingerprint
from claims.studies import STUDIES, Study


def run(study: Study, folder: Path = FOLDER) -> dict[str, Claim]:
    """Measure a study and write its file."""
    began, now = time.perf_counter(), fingerprint(SCRIPTS / f"{study.script}.py")
    found = claims(importlib.import_module(study.script), study.call)
    if {*found} != {*study.claims}:
        raise ValueError(f"{study.name} measured {sorted(found)}; studies.py says {sorted(study.claims)}.")
    write(study.name, Entry(claims=found, seconds=round(time.perf_counter() - began, 1), versions=versions(), fingerprint=now), folder)
    jax.clear_caches()
    return found


def out_of_reach(study: Study) -> bool:
    return "accelerator" in study.needs and jax.default_backend() == "cpu"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m claims", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="studies to run, whatever their state")
    parser.add_argument("--list", action="store_true", help="say the state of every study, run none")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files of the ledger lie")
    arguments = parser.parse_args()
    if unknown := {*arguments.names} - {*STUDIES}:
        parser.error(f"no study is called {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    sys.path.insert(0, str(SCRIPTS))
    todo, good = [], True
    for name, study in STUDIES.items():
        entry = read(name, arguments.folder)
        now = state(entry, fingerprint(SCRIPTS / f"{study.script}.py"))
        took = f"{entry.seconds:.0f} s" if entry else f"about {study.minutes} min" if study.minutes else ""
        chosen = name in arguments.names if arguments.names else now != "fresh" and not out_of_reach(study)
        needs = f"needs {', '.join(study.needs)}" if study.needs else ""
        print(f"{'*' if chosen else ' '} {name:26s} {now:8s} {len(study.claims):3d} claims {took:>14s}  {needs}", flush=True)
        todo += [study] if chosen else []
    for study in [] if arguments.list else todo:
        print(f"\n{study.name}", flush=True)
        try:
            found = run(study, arguments.folder)
        except FileNotFoundError as missing:
            print(f"No data: {missing.filename} is not there. Set LARGEN_DATA to its folder.", file=sys.stderr)
            continue
        fails = [name for name, claim in found.items() if not claim.holds]
        good = good and not fails
        print(f"{len(found)} claims, " + (f"THESE FAIL: {', '.join(fails)}" if fails else "all hold"), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
