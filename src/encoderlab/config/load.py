"""Read a study file into a Study."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from encoderlab.config.overrides import SettableKeys, override
from encoderlab.config.reader import Reader
from encoderlab.config.settings import Search, Study, StudyHeader, Variant
from encoderlab.config.toml_file import TomlTable, parse, toml_value
from encoderlab.config.variants import DEFAULT, named_sections, read_variants
from encoderlab.core.errors import InputError, Problem
from encoderlab.core.files import model_name
from encoderlab.core.report_settings import Report
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import only, rest, show, types
from encoderlab.data.source import DataConfig, Source, place
from encoderlab.launch.settings import Launch
from encoderlab.methods.registry import METHODS
from encoderlab.tasks.base import Task
from encoderlab.tasks.registry import TASKS
from encoderlab.training.settings import Train, TrainOverrides

SECTIONS = ("task", "data", "train", "search", "launch", "report", "method")


@final
@dataclass(frozen=True, kw_only=True)
class Draft:
    """What could be read of a study file.

    A section with a problem is None. `study` is None if there is any problem.
    """

    path: Path
    problems: tuple[Problem, ...]
    model: str | None
    out: Path | None
    task: Task | None
    data: DataConfig | None
    train: Train | None
    variants: tuple[Variant, ...]
    study: Study | None


def load(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study file. Neither the model nor the rows are opened: `check` does that.

    Args:
        path: a TOML file.
        overrides: the `key=value` of each `-s`.

    Raises:
        InputError: with every problem of the file and of the overrides.
    """
    draft = read(path, overrides)
    if draft.study is None:
        raise InputError(*draft.problems)
    return draft.study


def read(path: Path, overrides: Sequence[str] = ()) -> Draft:
    """Read as much of a study file as possible.

    Raises:
        InputError: only if the file is not TOML.
    """
    raw = parse(path)
    reader = Reader(path)
    task_class = _task_class(raw.get("task", {}), overrides)
    with_head = task_class is None or task_class.supports_head_method
    usual = [{"name": name} for name in DEFAULT if with_head or name != "head"]
    methods = named_sections(reader, raw.get("method", usual))
    raw["method"] = methods
    override(reader, raw, overrides, _settable(raw, methods, task_class))

    top = reader.header(StudyHeader, raw, SECTIONS)
    task = _task(reader, raw.get("task", {}), task_class)
    data = reader.section(DataConfig, raw.get("data", {}), "data")
    train = reader.section(Train, raw.get("train", {}), "train")
    search = reader.section(Search, raw.get("search", {}), "search")
    launch = reader.section(Launch, raw.get("launch", {}), "launch")
    report = reader.section(Report, raw.get("report", {}), "report")
    so_far = len(reader.problems)
    variants = read_variants(
        reader,
        methods,
        search or Search(),
        with_head=with_head,
        windows=task_class is None or "stride" in types(task_class),
        usual=TrainOverrides.usual(train, task),
    )
    known = bool(variants) and len(reader.problems) == so_far
    reference = _reference(reader, top.reference, variants) if top and known else ""
    if data is not None and report is not None and report.confirm is not None:
        _check_confirm(reader, report.confirm, data)
    if data is not None and (wrong := data.problems("data", path.parent)):
        reader.add(wrong)
        data = None
    if top is not None:
        _check_top(reader, top)
    if search is not None:
        _check_search(reader, search)
    name, out = reader.results(top)
    model = model_name(top.model, path.parent) if top and top.model else None
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
        problems=tuple(reader.problems),
        model=model,
        out=out,
        task=task,
        data=data,
        train=train,
        variants=variants,
        study=study,
    )


def _settable(raw: TomlTable, methods: Sequence[TomlTable], task: type[Task] | None) -> SettableKeys:
    """List what `-s` may set in a study with these methods; task: None if its kind is unknown."""
    data = raw.get("data")
    tests = data.get("other_tests") if isinstance(data, dict) else None
    others = [f"other_tests.{name}" for name in tests] if isinstance(tests, dict) else []
    classes = {only(cls, "name"): cls for cls in METHODS}
    names = dict.fromkeys(str(one["name"]) for one in methods)
    sections: dict[str, Sequence[type]] = {
        "data": [DataConfig],
        "train": [Train],
        "search": [Search],
        "launch": [Launch],
        "report": [Report],
    }
    sections |= {} if task is None else {"task": [task]}
    sections |= {f"data.{source}": [Source] for source in ("train", "validation", "test", *others)}
    sections |= {f"method.{name}": [classes[name], TrainOverrides] for name in names}
    open_sections = [f"method.{name}" for name in names if rest(classes[name]) is not None]
    return SettableKeys(
        header=StudyHeader,
        sections=sections,
        repeated="method",
        named_by="name",
        open_sections=[*open_sections, *(["task"] if task is None else [])],
        example="train.epochs=1",
    )


def _task_class(section: object, overrides: Sequence[str]) -> type[Task] | None:
    """Return the task whose kind the last `-s task.kind=` names, or else the file.

    The default is the first task, also if `section` is not a section. The result is None for an unknown kind.
    """
    if not isinstance(section, dict):
        return TASKS[0]
    written = [[part.strip() for part in text.split("=", 1)] for text in overrides if "=" in text]
    kinds = [toml_value(value) for key, value in written if key == "task.kind"]
    kind = [section.get("kind", only(TASKS[0], "kind")), *kinds][-1]
    return next((cls for cls in TASKS if only(cls, "kind") == kind), None)


def _task(reader: Reader, raw: object, cls: type[Task] | None) -> Task | None:
    """Read [task]. Of an unknown kind nothing else is reported: its keys are unknown too."""
    if cls is None:
        assert isinstance(raw, dict)
        kind, known = raw["kind"], [only(one, "kind") for one in TASKS]
        hint = did_you_mean(kind, known) if isinstance(kind, str) else ""
        reader.problem("task.kind", f"expected {' or '.join(map(show, known))}, got {show(kind)}", hint)
        return None
    task = reader.section(cls, raw, "task")
    reader.add(() if task is None else task.problems(), "task")
    return task


def _check_top(reader: Reader, top: StudyHeader) -> None:
    if len(set(top.seeds)) < len(top.seeds):
        reader.problem("seeds", f"expected different numbers, got {show(top.seeds)}")
    if top.name is not None and (not top.name.strip(". ") or re.search(r"[/\\\0]", top.name)):
        reader.problem("name", f"expected a name without slashes, got {show(top.name)}")
    for key in ("model", "out"):
        if getattr(top, key) == "":
            reader.problem(key, "is empty")


def _check_search(reader: Reader, search: Search) -> None:
    if len(set(search.seeds)) < len(search.seeds):
        reader.problem("search.seeds", f"expected different numbers, got {show(search.seeds)}")
    elif len(search.seeds) > 1 and search.trials is not None:
        message = f"{len(search.seeds)} seeds, but sampled settings (search.trials) are tried with one"
        reader.problem("search.seeds", message, "give one seed, or remove search.trials")


def _reference(reader: Reader, written: str | None, variants: Sequence[Variant]) -> str:
    """Return the label that `written` means: a label, or the name of a method with a single variant."""
    labels = [variant.label for variant in variants]
    if written is None:
        return next((label for label in labels if label == "full"), labels[0])
    meant = [written] if written in labels else [v.label for v in variants if v.method.name == written]
    if len(meant) == 1:
        return meant[0]
    if meant:
        message = f"several variants of {written}; expected one of {', '.join(map(repr, meant))}"
        reader.problem("reference", message)
    else:
        reader.problem("reference", f"no method {written!r}", did_you_mean(written, labels, "the study has "))
    return ""


def _check_confirm(reader: Reader, name: str, data: DataConfig) -> None:
    """Check the set that is to confirm the recommendation: it exists, and no method is scored on the same data."""
    names = list(data.other_tests)
    if name not in names:
        hint = did_you_mean(name, names, "it has ") or "add the set there"
        reader.problem("report.confirm", f"no set {name!r} under [data.other_tests]", hint)
        return
    base, scored = reader.file.parent, [other for other in ("test", *names) if other != name]
    same = next((other for other in scored if data.sources[name].same_as(data.sources[other], base)), None)
    if same is not None:
        message = f"{name!r} is the same data as {place(same)}, on which every method is scored"
        reader.problem("report.confirm", message, "name a set of other rows")
