"""Score the recommended variant on the set that `[report] confirm` names, after all runs.

The set is a confirmation only while no choice depends on it. So no run is scored on it, and only the recommended
variant meets it: its saved adapters are loaded and run over the rows. The main process does this, wherever runs are
done. What is scored already is kept, so a killed command goes on.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from encoderlab.config.settings import Study
from encoderlab.core.array_files import load_arrays
from encoderlab.core.errors import EncoderlabError, InputError, Problem
from encoderlab.core.hashing import file_hash
from encoderlab.data.source import place
from encoderlab.data.split_warnings import shared_texts
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.tuned_model import logits
from encoderlab.inference.load_run import load_run
from encoderlab.results.collect import read_table
from encoderlab.results.confirmation import ConfirmationRecord, Use, folder_of
from encoderlab.results.confirmed import winning_runs
from encoderlab.tasks.metric import plain
from encoderlab.training import run_record
from encoderlab.training.run_context import RunContext
from encoderlab.training.run_record import Kind, RunRecord, SplitScores
from encoderlab.training.scoring import score_split

log = logging.getLogger(__name__)


def confirm(study: Study, context: RunContext) -> None:
    """Score every finished run of the recommended variant on the confirming set.

    Where that fails, a warning is logged: the study's other results do not depend on it.
    """
    name = study.report.confirm
    if name is None:
        return
    try:
        _remove_damaged(study.out, name)
        table = read_table(study.out)
        fingerprint, runs = table.study.data[name].fingerprint, winning_runs(table.recommendation, table.runs)
        for run in runs:
            record = ConfirmationRecord.read(study.out)
            if _is_scored(study, context, name, record.of(fingerprint), run):
                continue
            scores, digest = _score(study, context, name, run)
            use = Use(
                name=name,
                fingerprint=fingerprint,
                variant=run.variant,
                scores={run.id: scores},
                predictions={run.id: digest},
            )
            record.add(use, [one.id for one in runs]).write(study.out)
            key = table.metric.key
            said = f"{name} {key.replace('_', ' ')} {plain(scores.metrics[key])}" if key in scores.metrics else name
            print(f"confirmation  {run.variant}  seed {run.seed}  {said}", file=sys.stderr)
    except EncoderlabError as error:
        log.warning("report.confirm: %s", error)


def _remove_damaged(out: Path, name: str) -> None:
    """Remove predictions that are not what was written, so that they are computed again."""
    uses = ConfirmationRecord.read(out).uses
    for run in {run for use in uses for run in use.predictions}:
        path = folder_of(out, run).predictions(name)
        if path.is_file() and file_hash(path) not in [use.predictions.get(run) for use in uses]:
            path.unlink()


def _is_scored(study: Study, context: RunContext, name: str, uses: Sequence[Use], run: RunRecord) -> bool:
    """Return whether the run's answers are there as they were written, and are to these rows."""
    path = folder_of(study.out, run.id).predictions(name)
    written = [use.predictions.get(run.id) for use in uses]
    if not path.is_file() or file_hash(path) not in written:
        return False
    return np.array_equal(load_arrays(path)["index"], context.index[name])


def _score(study: Study, context: RunContext, name: str, run: RunRecord) -> tuple[SplitScores, str]:
    """Score one run from its saved adapter. Return the scores, and the SHA-256 of its predictions."""
    device = "cpu" if study.train.device == "cpu" else "auto"  # jobs may have had a GPU that this machine lacks
    loaded = load_run(context.folder / run.id, device=device, base=context.model)
    rows, folder = context.kept_back[name], folder_of(study.out, run.id)
    scores = score_split(context, name, rows, logits(loaded, rows), folder)
    return scores, file_hash(folder.predictions(name))


def problems(study: Study, tokenized: Mapping[str, TokenizedRows]) -> list[Problem]:
    """Return why the set cannot confirm anything: runs in the study's folder, or another split, have its rows.

    Args:
        study: The study.
        tokenized: The rows of every split.
    """
    name = study.report.confirm
    if name is None or name not in tokenized:
        return []
    rows = tokenized[name].fingerprint
    same = next((other for other, one in tokenized.items() if other != name and one.fingerprint == rows), None)
    if same is not None:
        return [Problem("report.confirm", f"{name!r} has the texts of {place(same)}", "name a set of other rows")]
    scored = dict.fromkeys(record.variant for record in _runs(study.out) if rows in _scored_on(record))
    if not scored:
        return []
    message = f"{name!r} is no fresh set: runs in {study.out} are scored on it already ({', '.join(scored)})"
    return [Problem("report.confirm", message, "name another set, or choose another folder with `out`")]


def warnings(study: Study, splits: Splits) -> list[str]:
    """Warn if the set shares texts with the test rows, on which the recommended method is chosen."""
    name = study.report.confirm
    if name is None:
        return []
    rows = splits.others[name]
    shared = shared_texts(rows, splits.test, study.task.text_columns)
    share = f"{shared} of {len(rows)} rows ({100 * shared / len(rows):.1f} %)"
    said = f"{place(name)}: the text of {share} also occurs in test, on which the method that it confirms is chosen"
    return [said] if shared else []


def _runs(out: Path) -> Iterator[RunRecord]:
    """Read the records of the trained runs in a study's folder."""
    for path in sorted((out / "runs").glob(f"*/{run_record.NAME}")):
        try:
            record = RunRecord.read(path.parent)
        except InputError:  # `compare` does this run again
            continue
        if record.kind is Kind.RUN:
            yield record


def _scored_on(record: RunRecord) -> set[str]:
    """Return the fingerprints of the rows that a run was scored on."""
    data = record.config.get("data", {})
    return {data[split]["fingerprint"] for split in record.splits if split in data}
