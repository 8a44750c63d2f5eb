"""The record of a report: what report.json holds. Its fields are described in docs/report.md."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from largen.agreement.study import Study
from largen.agreement.study.finite import Finite
from largen.questions.reach import Reach

SCHEMA, SCHEMA_VERSION = "largen-report", 4


@dataclass(frozen=True)
class Network:
    """The network: as code, as text that `lg.loads` reads, in words; `critical`: whether it starts at criticality, if known."""

    code: str
    text: str
    words: tuple[str, ...]
    layers: int
    parameters: int
    critical: bool | None


@dataclass(frozen=True)
class Data:
    """The task: points, columns, outputs, and what was done to the data, in words."""

    name: str
    kind: str
    train: int
    test: int
    columns: int
    outputs: int
    classes: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Setup:
    """How it was measured: seeds, widths, networks trained and looked at untrained per width, steps, and how verdicts fall."""

    seed: int
    widths: tuple[int, ...]
    networks: tuple[int, ...]
    draws: tuple[int, ...]
    steps: int
    eta: float
    time: float
    pace: float
    threshold: float
    notice: float
    seconds: float


@dataclass(frozen=True)
class Report:
    """Everything a report says. `verdicts`: section -> word and sentence; `depth`: how deep it reaches; `finite`: how far from infinite
    it is; `study`: the numbers behind them."""

    schema: str
    schema_version: int
    largen: str
    headline: str
    verdict: str
    verdicts: dict[str, tuple[str, str]]
    network: Network
    depth: Reach
    finite: Finite
    data: Data
    setup: Setup
    study: Study


ADAPTER: TypeAdapter[Any] = TypeAdapter(Report)


def dumps(report: Report) -> str:
    """The report as JSON."""
    return ADAPTER.dump_json(report, indent=1).decode("utf-8") + "\n"


def loads(text: str) -> Report:
    """The report of a report.json. Raises pydantic's `ValidationError` for text that does not follow the schema."""
    return ADAPTER.validate_json(text)
