"""A report from settings: check everything, study, write."""

import time
from collections.abc import Callable
from pathlib import Path

from largen.agreement.statistics import LEVEL
from largen.agreement.study import Study, study
from largen.agreement.study.limit import NOTICE
from largen.data.files import load
from largen.data.task import Task, make
from largen.report import words
from largen.report.config import Settings
from largen.report.schema import SCHEMA, SCHEMA_VERSION, Data, Report, Setup, dumps
from largen.report.write import check_folder, write

Tell = Callable[[str, float], None]


def report(settings: Settings, version: str, tell: Tell = lambda stage, share: None) -> tuple[Report, Path]:
    """Make the report and write report.html and report.json. Raises `InputError` before any long work."""
    begun = time.perf_counter()
    folder = check_folder(settings.out)
    settings.network()
    tell("data", 0.0)
    task = make(load(settings.data, settings.target), settings.train, settings.test, settings.seed)
    plan = settings.plan(task.y.shape[1], len(task.X))
    found = study(plan, task, tell)
    record = assemble(settings, task, found, plan.draws, version, time.perf_counter() - begun)
    from largen.report.page import page

    tell("page", 0.99)
    write(folder, {"report.html": page(record), "report.json": dumps(record)})
    return record, folder


def assemble(settings: Settings, task: Task, found: Study, draws: tuple[int, ...], version: str, seconds: float) -> Report:
    """The record of a finished study."""
    curves, net = found.curves, words.network(settings.network(task.y.shape[1]), task.X.shape[1])
    data = Data(task.name, task.kind, len(task.X), len(task.X_test), task.X.shape[1], task.y.shape[1], task.classes, task.notes)
    setup = Setup(
        seed=settings.seed,
        widths=curves.widths,
        networks=curves.networks,
        draws=draws,
        steps=curves.steps[-1],
        eta=curves.eta,
        time=curves.time[-1],
        pace=settings.pace,
        threshold=LEVEL,
        notice=NOTICE,
        seconds=seconds,
    )
    verdict, headline = found.judgement.verdict, words.headline(found)
    return Report(SCHEMA, SCHEMA_VERSION, version, headline, verdict, words.verdicts(found), net, data, setup, found)
