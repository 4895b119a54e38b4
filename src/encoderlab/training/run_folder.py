"""The folder of one run: where its files are, whether they are whole, who works in it, and its record.

config.json   metrics.jsonl   checkpoint/   adapter/   predictions/<split>.safetensors   result.json
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab.core import files, locks
from encoderlab.core.array_files import save_arrays
from encoderlab.core.errors import InputError
from encoderlab.training import integrity, run_record
from encoderlab.training.run_record import RunRecord

log = logging.getLogger(__name__)

INNER = ("checkpoint", "adapter", "predictions")  # folders in which the run's own process alone writes
BUSY = "that process is training this run; run the same command again when it has finished"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. Its name is the run's id."""

    path: Path

    @property
    def adapter(self) -> Path:
        """The adapter folder, which is what a run gives."""
        return self.path / "adapter"

    @property
    def checkpoint(self) -> Path:
        """The folder of the last epochs' states, from which an interrupted run resumes."""
        return self.path / "checkpoint"

    @property
    def metrics_log(self) -> Path:
        """The events of training, one JSON object per line."""
        return self.path / "metrics.jsonl"

    def predictions(self, split: str) -> Path:
        """Return the file of the logits of one split."""
        return integrity.predictions(self.path, split)

    @property
    def is_recorded(self) -> bool:
        """Whether the run came to an end, good or bad."""
        return (self.path / run_record.NAME).is_file()

    def record(self) -> RunRecord:
        """Read the record.

        Raises:
            InputError: The run is not recorded, or its record is damaged.
        """
        return RunRecord.read(self.path)

    def read_config(self) -> Any:
        """Return the resolved configuration, which is hashed into the run's id."""
        return files.read_json(self.path / "config.json")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.json, before anything is trained."""
        files.write_json(self.path / "config.json", config)

    def finished(self, *, say: bool = False) -> RunRecord | None:
        """Return the record of a run whose files are whole. None where the run is still to be done, or done again.

        Args:
            say: Log why a run that was done is done again.
        """
        try:
            record = self.record()
            problem = integrity.problem(self.path, record)
            if problem is None:
                return None if record.try_again else record
        except InputError:
            problem = f"{run_record.NAME} is damaged" if self.is_recorded else None
        if say and problem is not None:
            log.warning("%s: %s; encoderlab repeats this run", self.path, problem)
        return None

    def stored(self) -> RunRecord | None:
        """Return the record as `finished` does, and remove what a killed process left in the folder."""
        record = self.finished()
        # A process that was killed before its end left these, or they are of one that is about to end.
        if record is not None and ((self.path / locks.NAME).exists() or self.checkpoint.exists()):
            with contextlib.suppress(InputError), locks.hold(self.path, advice="", inner=INNER):
                self.sweep(record)
        return record

    def hold(self, wait: float) -> contextlib.AbstractContextManager[None]:
        """Be the only process in the folder.

        Args:
            wait: How many seconds to wait for another process.

        Raises:
            InputError: Another process still holds the folder then.
        """
        return locks.hold(self.path, advice=BUSY, inner=INNER, wait=wait)

    def finish(self, record: RunRecord) -> RunRecord:
        """Write the record with the hashes of the predictions, then remove the checkpoint. Return what was written."""
        record = replace(record, predictions=integrity.fingerprints(self.path, record.splits))
        record.write(self.path)
        self.sweep(record)
        return record

    def sweep(self, record: RunRecord) -> None:
        """Remove the checkpoint, which only a run that goes on can use."""
        if not record.try_again:
            shutil.rmtree(self.checkpoint, ignore_errors=True)

    def write_predictions(self, split: str, logits: np.ndarray, labels: np.ndarray, index: np.ndarray) -> None:
        """Write the answers to one split.

        Args:
            split: The name of the split.
            logits: float32 (rows, ...), or float64 where the task's answers need it (`Regression`).
            labels: (rows, ...), as the task has them.
            index: int64 (rows,), each row's number in its source.
        """
        kind = np.float64 if logits.dtype == np.float64 else np.float32
        tensors = {"logits": np.ascontiguousarray(logits, kind), "labels": labels, "index": index}
        save_arrays(self.predictions(split), tensors)
