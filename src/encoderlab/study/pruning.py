"""Optuna's journal of trials, which several processes share, and the end of a trial that is worse than the others.

Median rule: a trial goes no further if its best value so far is below the median of what the finished trials had
after as many epochs; not before five are finished (Golovin et al. 2017, as in Optuna's MedianPruner).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from encoderlab.core.errors import InputError
from encoderlab.tasks.base import Task
from encoderlab.training.epochs import Epoch, Pruned

JOURNAL = "search.journal"


@final
@dataclass(frozen=True, kw_only=True)
class Pruner:
    """Report a trial's epochs to the journal, and raise Pruned if the median of the other trials is better.

    It is called where the trial trains, which may be a worker.
    """

    journal: Path
    name: str
    number: int
    task: Task

    def __call__(self, history: Sequence[Epoch]) -> None:
        """Report the epochs that the journal does not have yet.

        Raises:
            Pruned: The trial is not worth going on with.
        """
        if not history:
            return
        from optuna.trial import Trial

        study = open_journal(self.journal, self.name, make=False)
        known = study.get_trials(deepcopy=False)[self.number]
        if known.state.is_finished():  # of a command that was killed before it read the result
            return
        trial = Trial(study, known._trial_id)
        for entry in history:
            if entry.epoch not in known.intermediate_values:
                trial.report(self.task.value(entry.validation), entry.epoch)
        if trial.should_prune():
            raise Pruned(f"below the median of the other trials after epoch {history[-1].epoch}", history)


def open_journal(journal: Path, name: str, *, make: bool) -> Any:
    """Open Optuna's study of this name in the journal.

    Args:
        journal: The file, which several processes share.
        name: What Optuna calls the study.
        make: Whether to make the study if the journal has none.

    Raises:
        InputError: The journal cannot be read.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(logging.ERROR)
    journal.parent.mkdir(parents=True, exist_ok=True)
    pruner = optuna.pruners.MedianPruner()
    try:
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            storage = JournalStorage(JournalFileBackend(str(journal)))
        if not make:
            return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
        return optuna.create_study(
            study_name=name, storage=storage, pruner=pruner, direction="maximize", load_if_exists=True
        )
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{journal}: not readable as a journal of trials ({error}); delete it and run the same command again: the "
            "trials that are done are kept in their folders"
        ) from None
