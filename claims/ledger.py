"""A claim and its file: what theory says, what was measured, how sure, on which networks; and of the run, how long, with what versions."""

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax
import numpy as np

import largen as lg

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One measured statement. `z` says how far `measured`, with its standard `error`, is from `theory`, and `controls` how far from what
    has to be refused: in `unit`, in the worst of several entries. None and empty: there is no such number."""

    theory: float | str
    measured: float
    holds: bool
    error: float | None = None
    z: float | None = None
    controls: dict[str, float] = field(default_factory=dict)
    unit: str = "standard errors"
    widths: tuple[int, ...] = ()
    networks: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one run of a study left: its claims by name, the seconds it took, and what they depend on."""

    claims: dict[str, Claim]
    seconds: float
    versions: dict[str, str]
    fingerprint: str


def versions() -> dict[str, str]:
    """What a run is made with."""
    return {
        "largen": lg.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": jax.default_backend(),
    }


def write(name: str, entry: Entry, folder: Path = FOLDER) -> None:
    """The file of a study, whole or not at all."""
    part = folder / f"{name}.part"
    part.write_text(json.dumps(asdict(entry), indent=1, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")
    part.replace(folder / f"{name}.json")


def read(name: str, folder: Path = FOLDER) -> Entry | None:
    """What is known of a study; None before its first run."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    known = json.loads(path.read_text("utf-8"))
    for values in known["claims"].values():
        values |= {shape: tuple(values[shape]) for shape in ("widths", "networks")}
    return Entry(**{**known, "claims": {claim: Claim(**values) for claim, values in known["claims"].items()}})


def state(entry: Entry | None, fingerprint: str) -> str:
    """Whether a study has to be run, given the fingerprint of its sources: "missing", "stale" (they have changed since), or "fresh"."""
    return "missing" if entry is None else "fresh" if entry.fingerprint == fingerprint else "stale"
