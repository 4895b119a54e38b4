"""A whole study file -> Study."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, final

from encoderlab.config.reader import Reader
from encoderlab.config.settings import Search, Study, StudyHeader, Variant
from encoderlab.config.toml_file import parse
from encoderlab.config.values import toml_value
from encoderlab.config.variants import DEFAULT, named_sections, read_variants
from encoderlab.core.errors import InputError
from encoderlab.core.files import model_name
from encoderlab.core.report_settings import Report
from encoderlab.core.suggestions import near
from encoderlab.core.types import only, show, types
from encoderlab.data.source import DataConfig
from encoderlab.launch.settings import Launch
from encoderlab.tasks.base import Task
from encoderlab.tasks.registry import TASKS
from encoderlab.training.settings import Train, TrainOverrides


@final
@dataclass(frozen=True, kw_only=True)
class Draft:
    """What could be read of a study file: the sections without a problem, the problems, the study if there is none."""

    path: Path
    problems: tuple[str, ...]
    model: str | None
    out: Path | None
    task: Task | None
    data: DataConfig | None
    train: Train | None
    variants: tuple[Variant, ...]
    study: Study | None


def load(path: Path, overrides: Sequence[str] = ()) -> Study:
    """The study of a TOML file; `overrides` are the `key=value` of `-s`. InputError with every problem, one line each.

    Neither the model nor the rows are opened here: `check` does that."""
    draft = read(path, overrides)
    if draft.study is None:
        raise InputError(*draft.problems)
    return draft.study


def read(path: Path, overrides: Sequence[str] = ()) -> Draft:
    """What can be read of a study file that may have problems. InputError only for a file that is no TOML."""
    raw = parse(path)
    reader = Reader(path)
    task_class = _task_class(raw.get("task", {}), overrides)
    probe = task_class is None or task_class.has_probe
    usual = [{"name": name} for name in DEFAULT if probe or name != "head"]
    raw["method"] = named_sections(reader, raw.get("method", usual))
    for text in overrides:
        reader.override(raw, text, task_class)

    sections = ("task", "data", "train", "search", "launch", "report", "method")
    top = reader.section(StudyHeader, {key: value for key, value in raw.items() if key not in sections}, "", sections)
    task = reader.section(task_class, raw.get("task", {}), "task") if task_class else _unknown_kind(reader, raw["task"])
    for line in task.problems() if task is not None else ():
        reader.problem(*f"task.{line}".split(": ", 1))
    data = reader.section(DataConfig, raw.get("data", {}), "data")
    train = reader.section(Train, raw.get("train", {}), "train")
    search = reader.section(Search, raw.get("search", {}), "search")
    launch = reader.section(Launch, raw.get("launch", {}), "launch")
    report = reader.section(Report, raw.get("report", {}), "report")
    so_far = len(reader.problems)
    variants = read_variants(
        reader,
        raw["method"],
        search or Search(),
        probe=probe,
        windows=task_class is None or "stride" in types(task_class),
        usual=TrainOverrides.usual(train, task),
    )
    reference = _reference(reader, top.reference, variants) if top and len(reader.problems) == so_far else ""
    if data is not None and (wrong := data.problems("data", path.parent)):
        for line in wrong:
            reader.problem(*line.split(": ", 1))
        data = None
    if top is not None:
        _check_top(reader, top)
    name = top.name or path.stem if top else path.stem
    model = model_name(top.model, path.parent) if top and top.model else None
    out = path.parent / os.path.expanduser(top.out or f"results/{name}") if top else None
    study = None
    if not reader.problems:
        assert top and model and out and task and data and train and search and launch and report
        study = Study(
            name=name,
            model=model,
            seeds=top.seeds,
            out=out,
            reference=reference,
            task=task,
            data=data,
            train=train,
            search=search,
            launch=launch,
            report=report,
            variants=variants,
            path=path,
            top=top,
        )
    return Draft(
        path=path,
        problems=tuple(dict.fromkeys(reader.problems)),
        model=model,
        out=out,
        task=task,
        data=data,
        train=train,
        variants=variants,
        study=study,
    )


def _task_class(section: Any, overrides: Sequence[str]) -> type[Task] | None:
    """The task that `kind` names, in the file or in the last `-s task.kind=`: the first one where nothing does (and for
    what is no section, so that its own check can complain), None where there is no such task."""
    if not isinstance(section, Mapping):
        return TASKS[0]
    written = [[part.strip() for part in text.split("=", 1)] for text in overrides if "=" in text]
    kinds = [toml_value(value) for key, value in written if key == "task.kind"]
    kind = [section.get("kind", only(TASKS[0], "kind")), *kinds][-1]
    return next((cls for cls in TASKS if only(cls, "kind") == kind), None)


def _unknown_kind(reader: Reader, section: Mapping[str, Any]) -> None:
    """One line: what the other keys of the section may be is not known."""
    kind, known = section["kind"], [only(cls, "kind") for cls in TASKS]
    close = get_close_matches(kind, known, n=1) if isinstance(kind, str) else []
    hint = f"; did you mean {close[0]!r}?" if close else ""
    reader.problem("task.kind", f"expected {' or '.join(map(show, known))}, got {show(kind)}{hint}")


def _check_top(reader: Reader, top: StudyHeader) -> None:
    if len(set(top.seeds)) < len(top.seeds):
        reader.problem("seeds", f"expected different numbers, got {show(top.seeds)}")
    if top.name is not None and (not top.name.strip(". ") or re.search(r"[/\\\0]", top.name)):
        reader.problem("name", f"expected a name without slashes, got {show(top.name)}")
    for key in ("model", "out"):
        if getattr(top, key) == "":
            reader.problem(key, "is empty")


def _reference(reader: Reader, written: str | None, variants: Sequence[Variant]) -> str:
    """The label that `written` means: a label, or the name of a method with a single variant."""
    labels = [variant.label for variant in variants]
    if written is None:
        return next((label for label in labels if label == "full"), labels[0])
    meant = [written] if written in labels else [v.label for v in variants if v.method.name == written]
    if len(meant) == 1:
        return meant[0]
    if meant:
        reader.problem("reference", f"several variants of {written}; expected one of {', '.join(map(repr, meant))}")
    else:
        reader.problem("reference", f"no method {written!r}{near(written, labels, label='the study has ')}")
    return ""
