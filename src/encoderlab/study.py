"""A study: every variant with every seed, the learning rate of each chosen on validation, the baselines, one table,
one page.

Runs what is missing and nothing else: a finished run is taken from its folder, an interrupted one goes on from its
checkpoint. Runs do not depend on each other, but for the learning rate, which a variant's trials choose; where they are
done is the executor's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from encoderlab import check, config, files, locks, report, runs
from encoderlab.config import Study
from encoderlab.data import Splits
from encoderlab.errors import InputError
from encoderlab.execute import Bench, give_up, settled
from encoderlab.jobs import Ask, Runs, baselines, open_bench, planned, seeded
from encoderlab.launch.choose import open_executor, problems, shares
from encoderlab.launch.pieces import Executor, Here, Piece
from encoderlab.search import choice
from encoderlab.timing import Meter
from encoderlab.training.precision import choose_device
from encoderlab.training.ranks import Ranks, alike, open_ranks, started_as_several


def compare(path: Path, overrides: Sequence[str] = ()) -> Path:
    """Run a whole study file; returns the path of the report. Raises InputError before anything is trained if
    anything is wrong, or another command works on its folder.

    Under torchrun every run is one run in several processes, of which the first one keeps the study."""
    study = alike(lambda: _loaded(path, overrides))
    ranks = open_ranks(choose_device(study.train.device))
    splits, class_names, warnings = ranks.one_after_another(lambda: check.prepare(study))
    with ExitStack() as stack:
        advice = "wait until it is done, or stop it, or choose another folder with -s out=FOLDER"
        inner = ("trunk",) if study.launch.on == "here" else ()  # workers of a killed command may be writing there
        ranks.on_first(lambda: stack.enter_context(locks.hold(study.out, advice=advice, inner=inner)))
        ranks.on_first(lambda: check.say(warnings))
        return _compare(study, splits, class_names, warnings, ranks)


def _loaded(path: Path, overrides: Sequence[str]) -> Study:
    study = config.load(path, overrides)
    lines = problems(study.launch)
    if started_as_several() and (study.launch.on != "here" or study.search.trials is not None):
        lines.append('under torchrun, `compare` does its runs "here", and samples no trials; use one of the two')
    if lines:
        raise InputError(*(f"{path}: {line}" for line in lines))
    return study


def _compare(study: Study, splits: Splits, class_names: list[str], warnings: Sequence[str], ranks: Ranks) -> Path:
    bench = replace(open_bench(study, splits, class_names), ranks=ranks)
    work = Runs(study=study, bench=bench)
    workers = 1 if study.launch.on == "here" else shares(study.launch)[0]
    account = _Account(study=study, header=_header(study, splits, bench, warnings), silent=not ranks.first)
    meter = Meter(planned(study, bench), study.task.metric(class_names).key, workers, silent=not ranks.first)
    try:
        with settled(), _executor(work, meter) as executor:
            _conduct(work, executor, account, meter)
        account.keep()
    finally:
        meter.close()
    return ranks.on_first(lambda: report.write(study.out))


def _executor(work: Runs, meter: Meter) -> Executor:
    launch = work.study.launch

    def metered(ask: Ask) -> dict[str, Any]:
        with meter.job(work.work(ask)) as tick:
            return work.do(ask, tick)

    if launch.on == "here":
        return Here(metered)
    folder, cuda = work.study.out / "launch", work.bench.device.type == "cuda"
    return open_executor(launch, folder, work, known=work.known, cuda=cuda)


def _conduct(work: Runs, executor: Executor, account: _Account, meter: Meter) -> None:
    """Every run of the study. What can be done is submitted at once; the runs of a variant, when its settings are
    chosen. Where settings are sampled, no model sees a test row before the last choice is made."""
    study = work.study
    choices = {variant.label: choice(study, work.bench, variant) for variant in study.variants}
    waiting = dict(choices)  # for their runs
    closed = study.search.trials is not None  # the test rows

    def submit(asks: Sequence[Ask]) -> None:
        for ask in asks:
            if ask.kind == "trial" and ask.nth >= len(ask.variant.learning_rates if ask.variant else ()):
                meter.more(work.work(ask))  # beyond the candidates that were planned
            executor.submit(Piece(name=work.name(ask), rank=account.place(ask), ask=ask))

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
        ask: Ask = done.piece.ask
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


@dataclass(kw_only=True)
class _Account:
    """study.json: the runs that belong to the study, in the order of the study whatever the order they end in."""

    study: Study
    header: dict[str, Any]
    silent: bool = False
    done: dict[tuple[int, ...], tuple[str, dict[str, str]]] = field(default_factory=dict)
    search: dict[int, dict[str, Any]] = field(default_factory=dict)

    def place(self, ask: Ask) -> tuple[int, ...]:
        """Baselines, then variant by variant its trials and its runs."""
        if ask.variant is None:
            return 0, 0, baselines(self.study).index(ask)
        number = self._number(ask.variant.label)
        if ask.kind == "trial":
            return number, 0, ask.nth if ask.trial is None else ask.trial
        if ask.race:
            return number, 0, len(ask.variant.learning_rates) + self.study.search.extend + ask.nth
        return number, 1, self.study.seeds.index(ask.seed)

    def _number(self, label: str) -> int:
        return 1 + [variant.label for variant in self.study.variants].index(label)

    def add(self, ask: Ask, result: dict[str, Any]) -> None:
        self.done[self.place(ask)] = result["id"], {"method": result["method"], "variant": result["variant"]}

    def choose(self, label: str, entry: dict[str, Any]) -> None:
        self.search[self._number(label)] = entry

    def keep(self) -> None:
        if self.silent:
            return
        labels = {number: label for _, (number, label) in sorted(self.done.items())}
        search = [entry for _, entry in sorted(self.search.items())]
        files.write_json(
            self.study.out / "study.json", {**self.header, "runs": list(labels), "labels": labels, "search": search}
        )


def _header(study: Study, splits: Splits, bench: Bench, warnings: Sequence[str]) -> dict[str, Any]:
    data, truncation = {}, {}
    for name, rows in splits.items():
        encoded = bench.encoded[name]
        data[name] = {
            "origin": rows.origin,
            "rows": len(rows),
            "fingerprint": rows.fingerprint,
            "labels": study.task.label_counts(encoded.labels, bench.class_names),
        }
        truncation[name] = {
            "rows": len(rows),
            "rows_cut": encoded.rows_cut,
            "tokens_lost": encoded.tokens_lost,
            "max_length": study.train.max_length,
        }
    return {
        "study": config.resolved(study),
        "warnings": list(warnings),
        "reference": study.reference,
        "data": data,
        "truncation": truncation,
        "precision": {"compute": str(bench.dtype).removeprefix("torch."), "why": bench.why},
        "versions": runs.versions(),
        "hardware": runs.hardware(),
    }
