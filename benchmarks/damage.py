"""Does a store on disk ever give something wrong? Random damages to its files, kills at random times, processes at once on one new path.

    python -P benchmarks/damage.py                                     # 1,000 damages, 20 SIGKILL and 20 SIGINT, 5 times 4 processes
    python -P benchmarks/damage.py --damages 60 --kills 1 --rounds 1   # a small version

What must hold stands in tests/grams/damage.py, which does the work on small stores.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "grams"))

import damage


def main() -> int:
    """Print how all ended; 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20, help="of each kind")
    parser.add_argument("--rounds", type=int, default=5, help="of processes at once")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began, ends = time.perf_counter(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder, damage.small_blocks():
        for what, count in ((damage.damages, options.damages), (damage.kills, options.kills), (damage.rounds, options.rounds)):
            own = Path(folder) / what.__name__
            own.mkdir()
            found = what(count, own, options.seed)
            print(f"{what.__name__}: " + ", ".join(f"{number} {end}" for end, number in found.most_common()), flush=True)
            ends += found
    print(f"{ends[damage.WRONG]} wrong; {time.perf_counter() - began:.0f} s")
    return 1 if ends[damage.WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
