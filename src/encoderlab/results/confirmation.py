"""The record of what a confirming set scored: confirm/record.json in the folder of a study.

`[report] confirm` names the set. It scores the recommended variant alone, so that no choice depends on it. If the
recommendation changes later, the set scores the new variant too. The record keeps all of them, so that the report can
count them.

    OUT/confirm/record.json                           every variant that was scored, in this order
    OUT/confirm/RUN/predictions/<set>.safetensors     the answers of one run
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from encoderlab.core import files
from encoderlab.core.errors import InputError
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import SplitScores, decoding, known_keys, without_nulls

NAME = "record.json"
FOLDER = "confirm"


def folder_of(out: Path, run: str) -> RunFolder:
    """Return the folder with the answers of a run to confirming sets. The run's own folder stays as it is."""
    return RunFolder(out / FOLDER / run)


@dataclass(frozen=True, kw_only=True)
class Use:
    """One variant that a set scored.

    Attributes:
        name: The name of the set.
        fingerprint: The hash of its rows. A set of the same rows under another name is the same set.
        variant: The label of the variant.
        scores: {id of a run: its scores}.
        predictions: {id of a run: SHA-256 of its prediction file}.
    """

    name: str
    fingerprint: str
    variant: str
    scores: Mapping[str, SplitScores] = field(default_factory=dict[str, SplitScores])
    predictions: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class ConfirmationRecord:
    """The content of record.json: every variant that a confirming set scored, the first one first."""

    uses: tuple[Use, ...] = ()

    def of(self, fingerprint: str) -> tuple[Use, ...]:
        """Return the uses of the set with these rows."""
        return tuple(use for use in self.uses if use.fingerprint == fingerprint)

    def add(self, added: Use, runs: Iterable[str]) -> ConfirmationRecord:
        """Return the record with the scores of one more run, or of several.

        An earlier use that has a run of the same variant continues: the command was killed, or the variant got more
        seeds. A variant that was trained again with other settings has other runs, and counts once more.

        Args:
            added: The new scores.
            runs: The ids of all runs of the variant.
        """
        ids = {*runs, *added.scores}
        known = next((use for use in self.of(added.fingerprint) if ids & use.scores.keys()), None)
        if known is None:
            return ConfirmationRecord(uses=(*self.uses, added))
        merged = replace(
            added, scores={**known.scores, **added.scores}, predictions={**known.predictions, **added.predictions}
        )
        return ConfirmationRecord(uses=tuple(merged if use is known else use for use in self.uses))

    @classmethod
    def read(cls, out: Path) -> ConfirmationRecord:
        """Read the record of a study's folder. It is empty if nothing was scored yet.

        Raises:
            InputError: The file is not such a record.
        """
        path = out / FOLDER / NAME
        if not path.is_file():
            return cls()
        value = files.read_json(path)
        try:
            with decoding():
                return cls(uses=tuple(_use(one) for one in without_nulls(value)["uses"]))
        except ValueError as error:
            raise InputError(f"{path}: not the record of a confirmation ({error}); restore the file") from None

    def write(self, out: Path) -> None:
        """Write record.json, whole or not at all."""
        uses = [
            {**asdict(use), "scores": {run: scores.to_json() for run, scores in use.scores.items()}}
            for use in self.uses
        ]
        files.write_json(out / FOLDER / NAME, {"uses": uses})


def _use(value: Any) -> Use:
    found = without_nulls(value)
    scores = {run: SplitScores.from_json(one) for run, one in found["scores"].items()}
    known: dict[str, Any] = {**known_keys(Use, found), "scores": scores}
    return Use(**known)
