"""A report from settings: check everything, study, write."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from largen.agreement.statistics import LEVEL
from largen.agreement.study import Plan, Study, study
from largen.agreement.study.compared import NOTICE
from largen.agreement.study.finite import Finite, finite
from largen.agreement.study.plan import room_for
from largen.data.files import load
from largen.data.task import Task, make
from largen.questions.reach import reach
from largen.report import words
from largen.report.config import Settings
from largen.report.schema import SCHEMA, SCHEMA_VERSION, Data, Report, Setup, dumps
from largen.report.write import check_folder, write

Tell = Callable[[str, float], None]
SHARE = 0.85  # of the work that is the study


@dataclass(frozen=True)
class Job:
    """A checked report, ready to be worked on."""

    settings: Settings
    folder: Path
    task: Task
    plan: Plan


def prepare(settings: Settings) -> Job:
    """Check the folder, the network, the data and the plan, and do no work. Raises `InputError`."""
    folder = check_folder(settings.out)
    settings.network()
    task = make(load(settings.data, settings.target), settings.train, settings.test, settings.seed)
    plan = settings.plan(task.y.shape[1], len(task.X))
    room_for(plan, task)
    return Job(settings, folder, task, plan)


def report(job: Job, version: str, tell: Tell = lambda stage, share: None) -> Report:
    """Do the work, and write report.html and report.json at its end."""
    begun = time.perf_counter()
    found = study(job.plan, job.task, lambda stage, share: tell(stage, SHARE * share))
    far = finite(job.plan, job.task, lambda share: tell("finite width", SHARE + (0.99 - SHARE) * share))
    record = assemble(job, found, far, version, time.perf_counter() - begun)
    from largen.report.page import page

    tell("page", 0.99)
    write(job.folder, {"report.html": page(record), "report.json": dumps(record)})
    return record


def assemble(job: Job, found: Study, far: Finite, version: str, seconds: float) -> Report:
    """The record of a finished study."""
    curves, task, net = found.curves, job.task, words.network(job.plan.net, job.task.X.shape[1])
    data = Data(task.name, task.kind, len(task.X), len(task.X_test), task.X.shape[1], task.y.shape[1], task.classes, task.notes)
    deep = reach(job.plan.net, job.task.X[: job.settings.points])
    setup = Setup(
        seed=job.settings.seed,
        widths=curves.widths,
        networks=curves.networks,
        draws=job.plan.draws,
        steps=curves.steps[-1],
        eta=curves.eta,
        time=curves.time[-1],
        pace=job.settings.pace,
        threshold=LEVEL,
        notice=NOTICE,
        seconds=seconds,
    )
    verdict, headline = found.verdict, words.headline(found)
    return Report(SCHEMA, SCHEMA_VERSION, version, headline, verdict, words.verdicts(found), net, deep, far, data, setup, found)
