"""Choose the rows of train, validation and test.

The steps, in this order:

1. Read the sources, drop unlabelled rows, take the `part`s.
2. Cut the `fraction`s of the test sets from the training rows, then sample `rows` of the remaining ones.
3. Cut the `fraction` of validation from the training rows in use.
4. Sample `rows` of the other splits.

Train, validation and test never share a row. Each draw has its own generator, seeded from (seed, purpose).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from encoderlab.core.errors import InputError, Problem
from encoderlab.data.groups import Groups, Names, groups_of, names_of, ungrouped_texts
from encoderlab.data.labels import class_order
from encoderlab.data.prepare import prepare as prepare_columns
from encoderlab.data.readers import read
from encoderlab.data.rows import Rows, no_labels
from encoderlab.data.source import DataConfig, Source, place
from encoderlab.data.split_warnings import one_label, several_labels, text_warnings
from encoderlab.data.suspects import is_number


@final
@dataclass(frozen=True, eq=False)
class Splits:
    """The rows of each split, with text columns (strings) and a label column (class names).

    Attributes:
        train: The training rows.
        validation: The validation rows.
        test: The test rows.
        warnings: One line for each thing that the user should know about the data.
        others: Further test sets by name.
        groups: {test set: which of its rows belong together}. A test set without groups is absent.
    """

    train: Rows
    validation: Rows
    test: Rows
    warnings: tuple[str, ...] = ()
    others: Mapping[str, Rows] = field(default_factory=dict)
    groups: Mapping[str, Groups] = field(default_factory=dict)

    def items(self) -> tuple[tuple[str, Rows], ...]:
        """Return (name, rows) of all splits: train, validation, test, then the other test sets."""
        return ("train", self.train), ("validation", self.validation), ("test", self.test), *self.others.items()


def load_splits(
    config: DataConfig,
    *,
    text: Sequence[str],
    label: str,
    base: Path,
    prepare: Callable[[Rows], Rows] | None = None,
    stratify: bool = True,
) -> Splits:
    """Read the sources of the [data] section, and cut and sample the splits.

    Args:
        config: the section.
        text: the names of the text columns.
        label: the name of the label column.
        base: the folder that relative paths start at.
        prepare: makes rows with these columns from the rows of a source. None: the source has the columns.
        stratify: whether to cut and sample in proportion to the labels.

    Raises:
        InputError: the section, a source or a split is wrong; the error has every problem.
    """
    prepare = prepare or partial(prepare_columns, text=text, label=label)
    if problems := config.problems("data", base):
        raise InputError(*problems)
    rows, names = _read_sources(config, label, base, prepare)
    warnings = [note for part in rows.values() for note in part.notes]
    warnings += _cut_and_sample(config, rows, label if stratify else None)
    for name in ("validation", "test", *config.other_tests):
        if config.sources[name].same_as(config.train, base):
            warnings.append(
                f"{place(name)} is the same data as data.train: its scores measure memorization, not generalization"
            )
    groups, doubts = groups_of(config, rows, names)
    warnings += doubts
    warnings += text_warnings(rows, text)
    if config.group is None:
        warnings += ungrouped_texts(rows, text, groups)
    if stratify:
        warnings += several_labels(rows, text, label)
    warnings += one_label(rows, label)
    others = {name: rows[name] for name in config.other_tests}
    return Splits(rows["train"], rows["validation"], rows["test"], tuple(dict.fromkeys(warnings)), others, groups)


def _read_sources(
    config: DataConfig, label: str, base: Path, prepare: Callable[[Rows], Rows]
) -> tuple[dict[str, Rows], dict[str, Names | None]]:
    """Read the splits that have a source of their own, and the groups of their rows.

    Raises:
        InputError: with the problems of all of them.
    """
    problems: list[Problem] = []
    rows: dict[str, Rows] = {}
    names: dict[str, Names | None] = {}
    totals: dict[str, int] = {}
    for name, source in config.sources.items():
        if source.fraction is None:
            try:
                whole = read(source, base)
                totals[name] = len(whole)
                rows[name] = _part(prepare(whole), source)
                names[name] = names_of(whole, name, config)
            except InputError as error:
                problems += [problem.at(place(name)) for problem in error.problems]
    problems += _without_labels(rows, label, totals)
    if problems:
        raise InputError(*problems)
    return rows, names


def _cut_and_sample(config: DataConfig, rows: dict[str, Rows], label: str | None) -> list[str]:
    """Cut the missing splits from train and apply `rows`, both in place.

    Args:
        config: the [data] section.
        rows: the splits that were read; the cut ones are added.
        label: the column to stratify by, or None.

    Returns:
        The warnings.
    """
    sources = config.sources
    total = len(rows["train"])
    for name in ("test", *config.other_tests):
        if sources[name].fraction is not None:
            rows["train"], rows[name] = _cut(rows["train"], _strata(rows["train"], label), sources[name], name, total)
    warnings = _limit(rows, "train", sources["train"], label)
    if sources["validation"].fraction is not None:
        # A share of the rows in use: with a limit of 400 training rows, validation is cut from these 400.
        total = total if sources["train"].rows is None else len(rows["train"])
        strata = _strata(rows["train"], label)
        cut = _cut(rows["train"], strata, sources["validation"], "validation", total)
        rows["train"], rows["validation"] = cut
    for name in ("validation", "test", *config.other_tests):
        warnings += _limit(rows, name, sources[name], label)
    return warnings


def _strata(part: Rows, label: str | None) -> Sequence[str]:
    """Return the class of each row; one and the same without a label column."""
    return [""] * len(part) if label is None else part.columns[label]


def _limit(rows: dict[str, Rows], name: str, source: Source, label: str | None) -> list[str]:
    """Sample `source.rows` rows of a split, in place. Returns a warning if the split has fewer rows."""
    part = rows[name]
    if source.rows is None or source.rows == len(part):
        return []
    if source.rows > len(part):
        return [f"{place(name)}: rows = {source.rows}, but there are {len(part)}; all of them are used"]
    draw = _generator(source.seed, "rows")
    rows[name] = part.take(_stratified(_strata(part, label), source.rows, draw, every_class=True))
    return []


def _without_labels(rows: Mapping[str, Rows], label: str, totals: Mapping[str, int]) -> list[Problem]:
    """List the splits in which -1 means that a row has no label, as in published test sets of benchmarks.

    It means that if all rows of the split have -1, unless -1 is one of several labels in train.
    """
    train = rows.get("train")
    known = train is not None and not _all_minus_one(train.columns[label]) and "-1" in train.columns[label]
    return [
        Problem(place(name), no_labels(part.origin, totals[name], label))
        for name, part in rows.items()
        if _all_minus_one(part.columns[label]) and not known
    ]


def _all_minus_one(labels: Sequence[object]) -> bool:
    return all(name == "-1" for name in labels)


def _generator(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of one draw."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")])


def _part(rows: Rows, source: Source) -> Rows:
    """Return `source.part` of the rows. The order depends on the seed alone, so two parts of a file never overlap."""
    if source.part is None:
        return rows
    low, high = (round(share * len(rows)) for share in source.part)
    if low == high:
        raise InputError(f"part = {list(source.part)} of the {len(rows)} rows of {rows.origin} has no row; widen it")
    return rows.take(np.sort(_generator(source.seed, "part").permutation(len(rows))[low:high]))


def _cut(train: Rows, strata: Sequence[str], source: Source, name: str, total: int) -> tuple[Rows, Rows]:
    """Cut `fraction` of `total` rows from train. Returns train and the cut. One row of each class stays in train."""
    count = round((source.fraction or 0) * total)
    draw = _generator(source.seed, name)
    taken = _stratified(strata, count, draw, keep=1)
    if len(taken) == 0:
        where = f"{place(name)}: fraction = {source.fraction} of the {total} rows of {train.origin}"
        if count and len(set(strata)) == len(strata) > 1:
            number = ' To predict a number, set task.kind = "regression"' if all(map(is_number, strata)) else ""
            raise InputError(
                f"{where} cannot be cut off: each of the {len(strata)} labels, such as {strata[0]!r}, occurs once, "
                f"and one row of each class stays in train; is it the label column?{number}"
            )
        raise InputError(f"{where} gives no rows; raise the fraction, or give a file")
    stays = np.setdiff1d(np.arange(len(train)), taken)
    return train.take(stays), replace(train.take(taken), notes=())


def _stratified(
    labels: Sequence[str], total: int, draw: np.random.Generator, *, keep: int = 0, every_class: bool = False
) -> np.ndarray:
    """Draw rows in proportion to the classes.

    Args:
        labels: the class of each row.
        total: the number of rows to draw.
        draw: the generator.
        keep: the number of rows of each class that must not be drawn.
        every_class: whether to draw at least one row of each class, if `total` allows it.

    Returns:
        The positions of the drawn rows, ascending.
    """
    names = class_order(labels)
    members = [np.flatnonzero(np.asarray(labels, dtype=object) == name) for name in names]
    counts = np.array([len(rows) for rows in members])
    shares = _apportion(counts, total, upper=counts - keep, lower=int(every_class and total >= len(names)))
    taken = [draw.permutation(rows)[:share] for rows, share in zip(members, shares, strict=True)]
    return np.sort(np.concatenate(taken))


def _apportion(counts: np.ndarray, total: int, *, upper: np.ndarray, lower: int) -> np.ndarray:
    """Divide `total` in proportion to `counts` (largest remainder), each share between `lower` and `upper`."""
    total = min(total, int(upper.sum()))
    quota = total * counts / counts.sum()
    shares = np.clip(np.floor(quota).astype(int), lower, upper)
    while (missing := total - shares.sum()) != 0:
        step = 1 if missing > 0 else -1
        free = shares < upper if step > 0 else shares > lower
        need = np.where(free, step * (quota - shares), -np.inf)
        shares[np.argmax(need)] += step
    return shares
