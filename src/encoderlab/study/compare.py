"""Run a study: every variant with every seed, the baselines, one table, one page.

encoderlab runs only what is missing: it reads a finished run from its folder, and resumes an interrupted one from its
checkpoint. The runs of a variant wait for its trials, which choose its learning rate; otherwise runs are independent.
The executor decides where they run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from encoderlab import report
from encoderlab.config import load
from encoderlab.config.settings import Study
from encoderlab.core import locks
from encoderlab.core.errors import InputError, Problem
from encoderlab.data.splits import Splits
from encoderlab.engine.device import choose_device
from encoderlab.engine.distributed import Ranks, alike, open_ranks, started_as_several
from encoderlab.launch.executor import Done, Executor, Here, WorkItem
from encoderlab.launch.open_executor import open_executor, problems, shares
from encoderlab.results import row_groups
from encoderlab.results.collect import collect
from encoderlab.results.confirmation import FOLDER
from encoderlab.results.table import Table
from encoderlab.study import check, prepare
from encoderlab.study.confirm import confirm
from encoderlab.study.context import open_context
from encoderlab.study.groups import row_groups as row_groups_of
from encoderlab.study.jobs import JobSpec, Runs, baselines, planned, seeded
from encoderlab.study.progress import Meter
from encoderlab.study.search import choice
from encoderlab.study.standings import Standings
from encoderlab.study.study_json import Account, header
from encoderlab.training.run import frozen_objects, give_up
from encoderlab.training.run_context import RunContext
from encoderlab.training.run_record import Kind, RunRecord


def compare(path: Path, overrides: Sequence[str] = (), use: Callable[[Table], object] | None = None) -> Path:
    """Run a whole study file and return the path of the report.

    Under torchrun each run is done by several processes together, of which the first one writes the study's files.

    Args:
        path: the study file.
        overrides: `key=value` settings that replace those of the file.
        use: gets the collected table at the end; under torchrun in the first process alone.

    Raises:
        InputError: the study has problems, or another command works on its folder. Nothing is trained then.
    """
    study = alike(lambda: _loaded(path, overrides))
    ranks = open_ranks(choose_device(study.train.device))
    splits, class_names, warnings = ranks.one_after_another(lambda: prepare.prepare(study))
    with ExitStack() as stack:
        advice = "wait until it is done, or stop it, or choose another folder with -s out=FOLDER"
        inner = [FOLDER, f"{FOLDER}/*/predictions"]
        if study.launch.on == "here":  # workers of a killed command may be writing there
            inner.append("trunk")
        ranks.on_first(lambda: stack.enter_context(locks.hold(study.out, advice=advice, inner=inner)))
        ranks.on_first(lambda: check.say(warnings))
        context = _run(study, splits, class_names, warnings, ranks)
        return ranks.on_first(lambda: _reported(study, context, use))


def _loaded(path: Path, overrides: Sequence[str]) -> Study:
    study = load.load(path, overrides)
    found = problems(study.launch)
    if started_as_several() and (study.launch.on != "here" or study.search.trials is not None):
        message = 'under torchrun, `compare` does its runs "here", and samples no trials; use one of the two'
        found.append(Problem("", message))
    if found:
        raise InputError(*(problem.at(str(path)) for problem in found))
    return study


def _run(study: Study, splits: Splits, class_names: list[str], warnings: Sequence[str], ranks: Ranks) -> RunContext:
    """Do every missing run, and return what the runs share."""
    context = replace(open_context(study, splits, class_names), ranks=ranks)
    work = Runs(study=study, context=context)
    workers = 1 if study.launch.on == "here" else shares(study.launch)[0]
    account = Account(study=study, header=header(study, splits, context, warnings), silent=not ranks.first)
    ranks.on_first(lambda: row_groups.write(study.out, row_groups_of(splits, context.tokenized)))
    metric = study.task.metric(class_names)
    shown = Standings(_counts(study), metric)
    meter = Meter(planned(study, context), metric.key, workers, silent=not ranks.first, standings=shown)
    try:
        with frozen_objects(), _executor(work, meter) as executor:
            _Conductor(work, executor, account, meter).conduct()
        account.keep()
    finally:
        meter.close()
    return context


def _reported(study: Study, context: RunContext, use: Callable[[Table], object] | None) -> Path:
    """Confirm the recommendation, if the study names a set for it, and write the report."""
    confirm(study, context)
    table = collect(study.out)
    page = report.write(table)
    if use is not None:
        use(table)
    return page


def _counts(study: Study) -> Mapping[str, int]:
    """Return {label: number of runs} of the variants, then of the baselines."""
    names = [spec.name for spec in baselines(study)]
    return {one.label: len(study.seeds) for one in study.variants} | {name: names.count(name) for name in names}


def _doing(spec: JobSpec) -> str:
    """Return what the table says of a job that is under way."""
    if spec.trial is not None:
        return f"trial {spec.trial + 1}"
    if spec.kind is Kind.TRIAL:
        return f"trying rate {spec.rate:.3g}"
    if spec.race:
        return f"rate {spec.rate:.3g} at full length"
    return "" if spec.seed is None else f"seed {spec.seed}"


def _executor(work: Runs, meter: Meter) -> Executor:
    launch = work.study.launch

    def metered(spec: JobSpec) -> Mapping[str, Any]:
        with meter.job(work.work(spec), _doing(spec)) as on_progress:
            return work.do(spec, on_progress).to_json()

    if launch.on == "here":
        return Here(metered)
    folder, cuda = work.study.out / "launch", work.context.device.type == "cuda"
    return open_executor(launch, folder, work, known=work.known, cuda=cuda)


class _Conductor:
    """The order in which the runs of a study are submitted.

    A run is submitted as soon as it is possible: the runs of a variant, when its settings are chosen. If settings are
    sampled, no model sees a test row before the last choice is made.
    """

    def __init__(self, work: Runs, executor: Executor, account: Account, meter: Meter) -> None:
        self.work, self.executor, self.account, self.meter = work, executor, account, meter
        self.study = work.study
        self.choices = {v.label: choice(work.study, work.context, v) for v in work.study.variants}
        self.waiting = dict(self.choices)  # for the runs of their variants
        self.closed = work.study.search.trials is not None  # the test rows

    def conduct(self) -> None:
        """Submit every run when it becomes possible, and take the records as they come."""
        if not self.closed:
            self._submit(baselines(self.study))
        self._advance()
        for done in self.executor.finished():
            self._take(done)

    def _submit(self, specs: Sequence[JobSpec]) -> None:
        for spec in specs:
            if spec.kind is Kind.TRIAL and spec.nth >= len(spec.variant.learning_rates if spec.variant else ()):
                self.meter.more(self.work.work(spec))  # beyond the candidates that were planned
            self.executor.submit(WorkItem(name=self.work.name(spec), rank=self.account.place(spec), payload=spec))

    def _advance(self) -> None:
        """Submit the next trials, and the runs of the variants whose settings are chosen by now."""
        trying = [one for one in self.choices.values() if one.open]
        for one in trying:
            self._submit(one.next_jobs(-(-self.executor.workers // len(trying))))
        if self.closed and not trying:
            self.closed = False
            self._submit(baselines(self.study))
        if self.closed:
            return
        for label in [label for label, one in self.waiting.items() if not one.open]:
            one = self.waiting.pop(label)
            self.account.choose(label, one.record())
            self._submit(seeded(self.study, *one.chosen()))

    def _take(self, done: Done) -> None:
        """Take the record of a finished job, and submit what it makes possible."""
        spec: JobSpec = done.item.payload
        if done.died is None:
            record = RunRecord.from_json(done.value)
        else:
            record = give_up(self.work.context, self.work.job(spec), done.died)
        record = record.labelled(spec.name, spec.name if spec.variant is None else spec.variant.label)
        if self.study.launch.on != "here":
            self.meter.collect(self.work.work(spec), done.seconds)
        if not spec.race:  # the winner's run is submitted once more, as a run of the study
            self.account.add(spec, record)
        self.meter.say(record, validation=spec.chooses)
        if spec.chooses and spec.variant is not None:
            self.choices[spec.variant.label].tell(spec, record)
            self._advance()
        self.account.keep()
