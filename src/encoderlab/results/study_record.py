"""The record of a study: study.json as an object.

`compare` writes it after each run; `collect` reads it. The order of the fields is the order of the keys in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from encoderlab.core import files
from encoderlab.core.errors import InputError
from encoderlab.training.run_record import Precision, RunRecord, Status, decoding, known_keys, without_nulls

NAME = "study.json"


@dataclass(frozen=True, kw_only=True)
class SplitData:
    """The rows of one split: where they are from, how many, their hash, and rows per label."""

    origin: str
    rows: int
    fingerprint: str = ""
    labels: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class Truncation:
    """What `max_length` cuts off one split: rows that lose tokens, and the tokens."""

    rows: int
    rows_cut: int
    tokens_lost: int
    max_length: int


@dataclass(frozen=True, kw_only=True)
class Label:
    """The names that a study gives to a run."""

    method: str
    variant: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting that a search tried.

    Attributes:
        metrics: {name: value} on validation, the mean over its trials; None where a trial has no score.
        run: The id of its trial, the first of several. None if there was no trial.
        status: Of several trials, the first status that is not `done`.
        settings: The sampled settings of the method. None where only the learning rate was searched.
        by_seed: Its trials, if they are several: one for each seed.
    """

    learning_rate: float
    metrics: Mapping[str, float | None]
    run: str | None
    status: Status
    settings: Mapping[str, Any] | None = None
    by_seed: tuple[Candidate, ...] | None = None

    @property
    def trials(self) -> tuple[Candidate, ...]:
        """The trials of the setting, one or several."""
        return self.by_seed or (self,)

    @property
    def is_done(self) -> bool:
        """Whether every trial came to its end."""
        return self.status is Status.DONE

    @property
    def scores(self) -> Mapping[str, float]:
        """The metrics that have a value."""
        return {name: value for name, value in self.metrics.items() if value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Candidate:
        """Build a candidate from its JSON object, which has the metrics beside the other keys."""
        others = {key: part for key, part in value.items() if key not in _OF_CANDIDATE}
        known: dict[str, Any] = {**known_keys(cls, value), "metrics": others, "status": Status(value["status"])}
        if known.get("by_seed") is not None:
            known["by_seed"] = tuple(map(cls.from_json, known["by_seed"]))
        return cls(**known)

    def to_json(self) -> Mapping[str, Any]:
        """Return the JSON object: learning rate, metrics, run, status, and what else there is."""
        about = {"run": self.run, "status": self.status}
        content: dict[str, Any] = {"learning_rate": self.learning_rate, **self.metrics, **about}
        if self.settings is not None:
            content["settings"] = self.settings
        if self.by_seed is not None:
            content["by_seed"] = [trial.to_json() for trial in self.by_seed]
        return content


_OF_CANDIDATE = ("learning_rate", "run", "status", "settings", "by_seed")


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """The search for the settings of one variant.

    A grid of learning rates has `race`, `edge` and `chance`; sampled settings have the last four fields. The others
    are None, and absent from the file.

    Attributes:
        chosen: The learning rate of the variant's runs.
        race: The two best candidates after a run at full length.
        edge: Whether the best candidate is the lowest or the highest rate.
        chance: Whether no trial was better than the constant answer by two standard errors.
        trials: How many settings were sampled; `pruned` and `failed` of them did not come to their end.
    """

    method: str
    variant: str
    candidates: tuple[Candidate, ...]
    chosen: float
    race: tuple[Candidate, ...] | None = None
    edge: bool | None = None
    chance: bool | None = None
    chosen_settings: Mapping[str, Any] | None = None
    trials: int | None = None
    pruned: int | None = None
    failed: int | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether the settings were sampled; otherwise the candidates are a grid of learning rates."""
        return self.trials is not None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchRecord:
        """Build the record from its JSON object."""
        known = dict(known_keys(cls, value))
        for key in ("candidates", "race"):
            if known.get(key) is not None:
                known[key] = tuple(map(Candidate.from_json, known[key]))
        return cls(**known)

    def to_json(self) -> Mapping[str, Any]:
        """Return the JSON object."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        for key in ("candidates", "race"):
            if content[key] is not None:
                content[key] = [candidate.to_json() for candidate in content[key]]
        return {key: value for key, value in content.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What a study is, and which runs belong to it.

    Attributes:
        study: The resolved settings of the study file.
        warnings: What encoderlab noticed before training.
        reference: The label of the variant that the others are compared with.
        runs: The ids of the runs, in the study's order.
        labels: {id: names}. A run of an earlier study may carry other names in its own record.
        extra: Keys of a file that this version does not know. They are written back.
    """

    study: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    reference: str | None = None
    data: Mapping[str, SplitData] = field(default_factory=dict[str, SplitData])
    truncation: Mapping[str, Truncation] = field(default_factory=dict[str, Truncation])
    precision: Precision | None = None
    versions: Mapping[str, Any] = field(default_factory=dict[str, object])
    hardware: Mapping[str, Any] = field(default_factory=dict[str, object])
    runs: tuple[str, ...] = ()
    labels: Mapping[str, Label] = field(default_factory=dict[str, Label])
    search: tuple[SearchRecord, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, object])

    def labelled(self, record: RunRecord) -> RunRecord:
        """Return a run's record under the labels of this study: a run of an earlier study may carry others."""
        label = self.labels.get(record.id)
        return record if label is None else record.labelled(label.method, label.variant)

    @classmethod
    def read(cls, out: Path) -> StudyRecord:
        """Read study.json of a study's folder.

        Raises:
            InputError: The file is missing, is not JSON, or is not the record of a study.
        """
        value = files.read_json(out / NAME)
        try:
            return cls.from_json(value)
        except ValueError as error:
            raise InputError(f"{out / NAME}: not the record of a study ({error}); run the study again") from None

    @classmethod
    def from_json(cls, value: Any) -> StudyRecord:
        """Build a record from the content of study.json. A null stands for a missing key.

        Raises:
            ValueError: A key is missing or has a value of another type.
        """
        found = without_nulls(value)
        with decoding():
            return cls(
                **{key: found[key] for key in ("reference", "versions", "hardware") if key in found},
                study=found["study"],
                warnings=tuple(found.get("warnings", ())),
                data=_each(SplitData, found.get("data", {})),
                truncation=_each(Truncation, found.get("truncation", {})),
                precision=Precision(**known_keys(Precision, found["precision"])) if "precision" in found else None,
                runs=tuple(found["runs"]),
                labels=_each(Label, found.get("labels", {})),
                search=tuple(map(SearchRecord.from_json, found.get("search", ()))),
                extra={key: part for key, part in value.items() if key not in _OF_STUDY},
            )

    def to_json(self) -> Mapping[str, Any]:
        """Return the content of study.json."""
        content = {key: getattr(self, key) for key in _OF_STUDY}
        content |= {
            "warnings": list(self.warnings),
            "data": {name: asdict(one) for name, one in self.data.items()},
            "truncation": {name: asdict(one) for name, one in self.truncation.items()},
            "precision": None if self.precision is None else asdict(self.precision),
            "runs": list(self.runs),
            "labels": {name: asdict(one) for name, one in self.labels.items()},
            "search": [one.to_json() for one in self.search],
        }
        return content | dict(self.extra)

    def write(self, out: Path) -> None:
        """Write study.json into a study's folder, whole or not at all."""
        files.write_json(out / NAME, self.to_json())


_OF_STUDY = tuple(one.name for one in fields(StudyRecord) if one.name != "extra")


def _each(record: type, value: Mapping[str, Mapping[str, Any]]) -> Any:
    """Build {name: record} from {name: JSON object}."""
    return {name: record(**known_keys(record, part)) for name, part in value.items()}
