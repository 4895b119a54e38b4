"""A study: every variant with every seed, the learning rate of each chosen on validation, the baselines, one table,
one page.

Runs what is missing and nothing else: a finished run is taken from its folder, an interrupted one goes on from its
checkpoint. Runs do not depend on each other, but for the learning rate, which a variant's trials choose; where they are
done is the executor's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from encoderlab.config import load
from encoderlab.config.settings import Study
from encoderlab.core import locks
from encoderlab.core.errors import InputError, Problem
from encoderlab.data.splits import Splits
from encoderlab.engine.device import choose_device
from encoderlab.engine.distributed import Ranks, alike, open_ranks, started_as_several
from encoderlab.launch.executor import Executor, Here, WorkItem
from encoderlab.launch.open_executor import open_executor, problems, shares
from encoderlab.report import study_page
from encoderlab.study import check, prepare
from encoderlab.study.context import open_context
from encoderlab.study.jobs import JobSpec, Runs, baselines, planned, seeded
from encoderlab.study.progress import Meter
from encoderlab.study.search import choice
from encoderlab.study.study_json import Account, header
from encoderlab.training.run import settled
from encoderlab.training.run_folder import give_up


def compare(path: Path, overrides: Sequence[str] = ()) -> Path:
    """Run a whole study file; returns the path of the report. Raises InputError before anything is trained if
    anything is wrong, or another command works on its folder.

    Under torchrun every run is one run in several processes, of which the first one keeps the study."""
    study = alike(lambda: _loaded(path, overrides))
    ranks = open_ranks(choose_device(study.train.device))
    splits, class_names, warnings = ranks.one_after_another(lambda: prepare.prepare(study))
    with ExitStack() as stack:
        advice = "wait until it is done, or stop it, or choose another folder with -s out=FOLDER"
        inner = ("trunk",) if study.launch.on == "here" else ()  # workers of a killed command may be writing there
        ranks.on_first(lambda: stack.enter_context(locks.hold(study.out, advice=advice, inner=inner)))
        ranks.on_first(lambda: check.say(warnings))
        return _compare(study, splits, class_names, warnings, ranks)


def _loaded(path: Path, overrides: Sequence[str]) -> Study:
    study = load.load(path, overrides)
    found = problems(study.launch)
    if started_as_several() and (study.launch.on != "here" or study.search.trials is not None):
        message = 'under torchrun, `compare` does its runs "here", and samples no trials; use one of the two'
        found.append(Problem("", message))
    if found:
        raise InputError(*(problem.at(str(path)) for problem in found))
    return study


def _compare(study: Study, splits: Splits, class_names: list[str], warnings: Sequence[str], ranks: Ranks) -> Path:
    bench = replace(open_context(study, splits, class_names), ranks=ranks)
    work = Runs(study=study, bench=bench)
    workers = 1 if study.launch.on == "here" else shares(study.launch)[0]
    account = Account(study=study, header=header(study, splits, bench, warnings), silent=not ranks.first)
    meter = Meter(planned(study, bench), study.task.metric(class_names).key, workers, silent=not ranks.first)
    try:
        with settled(), _executor(work, meter) as executor:
            _conduct(work, executor, account, meter)
        account.keep()
    finally:
        meter.close()
    return ranks.on_first(lambda: study_page.write(study.out))


def _executor(work: Runs, meter: Meter) -> Executor:
    launch = work.study.launch

    def metered(ask: JobSpec) -> dict[str, Any]:
        with meter.job(work.work(ask)) as tick:
            return work.do(ask, tick)

    if launch.on == "here":
        return Here(metered)
    folder, cuda = work.study.out / "launch", work.bench.device.type == "cuda"
    return open_executor(launch, folder, work, known=work.known, cuda=cuda)


def _conduct(work: Runs, executor: Executor, account: Account, meter: Meter) -> None:
    """Every run of the study. What can be done is submitted at once; the runs of a variant, when its settings are
    chosen. Where settings are sampled, no model sees a test row before the last choice is made."""
    study = work.study
    choices = {variant.label: choice(study, work.bench, variant) for variant in study.variants}
    waiting = dict(choices)  # for their runs
    closed = study.search.trials is not None  # the test rows

    def submit(asks: Sequence[JobSpec]) -> None:
        for ask in asks:
            if ask.kind == "trial" and ask.nth >= len(ask.variant.learning_rates if ask.variant else ()):
                meter.more(work.work(ask))  # beyond the candidates that were planned
            executor.submit(WorkItem(name=work.name(ask), rank=account.place(ask), ask=ask))

    def advance() -> None:
        nonlocal closed
        trying = [one for one in choices.values() if one.open]
        for one in trying:
            submit(one.asks(-(-executor.workers // len(trying))))
        if closed and not trying:
            closed = False
            submit(baselines(study))
        for label in [label for label, one in waiting.items() if not closed and not one.open]:
            one = waiting.pop(label)
            account.choose(label, one.entry())
            submit(seeded(study, *one.chosen()))

    if not closed:
        submit(baselines(study))
    advance()
    for done in executor.finished():
        ask: JobSpec = done.piece.ask
        result = done.value if done.died is None else give_up(work.bench, work.job(ask), done.died)
        result |= {"method": ask.name, "variant": ask.name if ask.variant is None else ask.variant.label}
        if study.launch.on != "here":
            meter.collect(work.work(ask), done.seconds)
        if not ask.race:  # the winner's run is asked for once more, as a run of the study
            account.add(ask, result)
        meter.say(result, validation=ask.kind == "trial" or ask.race)
        if (ask.kind == "trial" or ask.race) and ask.variant is not None:
            choices[ask.variant.label].tell(ask, result)
            advance()
        account.keep()
