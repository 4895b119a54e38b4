"""Which rows become train, validation and test.

In this order: read; drop unlabelled rows; take the `part`s; cut the `fraction`s of the test sets from the training
rows; sample `rows` of these; cut the `fraction` of validation from the rows in use; sample `rows` of the other splits.
Train, validation and test never share a row. Every draw has its own generator, seeded from (seed, purpose).
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
from encoderlab.data.labels import class_order
from encoderlab.data.prepare import prepare as prepare_columns
from encoderlab.data.readers import read
from encoderlab.data.rows import Rows, empty_texts, has_text, no_labels, one_line
from encoderlab.data.source import DataConfig, Source, place
from encoderlab.data.suspects import is_number


@final
@dataclass(frozen=True, eq=False)
class Splits:
    """Sets of rows with text columns (strings) and the label column (class names); what to know about them. others:
    further test sets by name."""

    train: Rows
    validation: Rows
    test: Rows
    warnings: tuple[str, ...] = ()
    others: Mapping[str, Rows] = field(default_factory=dict)

    def items(self) -> tuple[tuple[str, Rows], ...]:
        """(name, rows) of all, train first, then validation and test."""
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
    """Reads what [data] names and returns the splits, sampled and cut.

    text, label: names of the columns. base: folder that relative paths start at. prepare: makes rows with these columns
    of rows as they were read; None: the columns are in the file. stratify: cut and sample in proportion to the labels.
    InputError names every problem."""
    prepare = prepare or partial(prepare_columns, text=text, label=label)
    if problems := config.problems("data", base):
        raise InputError(*problems)
    sources = config.sources
    rows: dict[str, Rows] = {}
    totals: dict[str, int] = {}
    for name, source in sources.items():
        if source.fraction is None:
            try:
                whole = read(source, base)
                totals[name] = len(whole)
                rows[name] = _part(prepare(whole), source)
            except InputError as error:
                problems += [problem.at(place(name)) for problem in error.problems]
    problems += _without_labels(rows, label, totals)
    if problems:
        raise InputError(*problems)

    warnings = [note for part in rows.values() for note in part.notes]
    total = len(rows["train"])

    def strata(part: Rows) -> Sequence[str]:
        return part.columns[label] if stratify else [""] * len(part)

    def limit(name: str) -> None:
        source = sources[name]
        if source.rows is not None and source.rows < len(rows[name]):
            draw = _generator(source.seed, "rows")
            rows[name] = rows[name].take(_stratified(strata(rows[name]), source.rows, draw, every_class=True))
        elif source.rows is not None and source.rows > len(rows[name]):
            warnings.append(
                f"{place(name)}: rows = {source.rows}, but there are {len(rows[name])}; all of them are used"
            )

    for name in ("test", *config.other_tests):
        if sources[name].fraction is not None:
            rows["train"], rows[name] = _cut(rows["train"], strata(rows["train"]), sources[name], name, total)
    limit("train")
    if sources["validation"].fraction is not None:
        # of the rows in use: who has 400 labels has none to validate on beside them
        total = total if sources["train"].rows is None else len(rows["train"])
        cut = _cut(rows["train"], strata(rows["train"]), sources["validation"], "validation", total)
        rows["train"], rows["validation"] = cut
    for name in ("validation", "test", *config.other_tests):
        limit(name)

    for name in ("validation", "test", *config.other_tests):
        if sources[name].same_as(config.train, base):
            warnings.append(f"{place(name)} is the same data as data.train: its scores measure memory, not skill")
    warnings += _text_warnings(rows, text)
    if stratify:
        warnings += _several_labels(rows, text, label)
    warnings += _one_label(rows, label)
    others = {name: rows[name] for name in config.other_tests}
    return Splits(rows["train"], rows["validation"], rows["test"], tuple(dict.fromkeys(warnings)), others)


def _without_labels(rows: Mapping[str, Rows], label: str, totals: Mapping[str, int]) -> list[Problem]:
    """-1 means that a row has no label where a whole split has nothing else, and train does not have it beside others:
    the test sets of benchmarks are published so."""
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
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")])


def _part(rows: Rows, source: Source) -> Rows:
    """`source.part` of the rows. The order is drawn from the seed alone, so two parts of a file make a whole."""
    if source.part is None:
        return rows
    low, high = (round(share * len(rows)) for share in source.part)
    if low == high:
        raise InputError(f"part = {list(source.part)} of the {len(rows)} rows of {rows.origin} is not one row")
    return rows.take(np.sort(_generator(source.seed, "part").permutation(len(rows))[low:high]))


def _cut(train: Rows, strata: Sequence[str], source: Source, name: str, total: int) -> tuple[Rows, Rows]:
    """(what stays, what is cut off): `fraction` of `total` rows. The last row of a class stays in train."""
    count = round((source.fraction or 0) * total)
    draw = _generator(source.seed, name)
    taken = _stratified(strata, count, draw, keep=1)
    if len(taken) == 0:
        where = f"{place(name)}: fraction = {source.fraction} of the {total} rows of {train.origin}"
        if count and len(set(strata)) == len(strata) > 1:
            number = ' To predict a number set task.kind = "regression"' if all(map(is_number, strata)) else ""
            raise InputError(
                f"{where} cannot be cut off: every one of its {len(strata)} labels occurs once, such as {strata[0]!r}, "
                f"and the last row of a class stays in train; is it the label column?{number}"
            )
        raise InputError(f"{where} is not one row that can be spared; raise it, or name a file")
    stays = np.setdiff1d(np.arange(len(train)), taken)
    return train.take(stays), replace(train.take(taken), notes=())


def _stratified(
    labels: Sequence[str], total: int, draw: np.random.Generator, *, keep: int = 0, every_class: bool = False
) -> np.ndarray:
    """Positions, ascending, of `total` rows with the classes in proportion.

    keep: rows of each class that must not be taken. every_class: at least one row of each, if `total` allows it."""
    names = class_order(labels)
    members = [np.flatnonzero(np.asarray(labels, dtype=object) == name) for name in names]
    counts = np.array([len(rows) for rows in members])
    shares = _apportion(counts, total, upper=counts - keep, lower=int(every_class and total >= len(names)))
    taken = [draw.permutation(rows)[:share] for rows, share in zip(members, shares, strict=True)]
    return np.sort(np.concatenate(taken))


def _apportion(counts: np.ndarray, total: int, *, upper: np.ndarray, lower: int) -> np.ndarray:
    """`total` seats in proportion to `counts` (largest remainder), each share between `lower` and `upper`."""
    total = min(total, int(upper.sum()))
    quota = total * counts / counts.sum()
    shares = np.clip(np.floor(quota).astype(int), lower, upper)
    while (missing := total - shares.sum()) != 0:
        step = 1 if missing > 0 else -1
        free = shares < upper if step > 0 else shares > lower
        need = np.where(free, step * (quota - shares), -np.inf)
        shares[np.argmax(need)] += step
    return shares


def _text_warnings(rows: dict[str, Rows], text: Sequence[str]) -> list[str]:
    """Empty texts per split, and texts that two splits share (white space apart)."""
    found = []
    texts = {name: [tuple(map(one_line, cells)) for cells in _records(part, text)] for name, part in rows.items()}
    for name, part in rows.items():
        if len(text) == 2 and (same := _count(texts[name], lambda cells: cells[0] == cells[1])) > 0.5 * len(part):
            found.append(
                f"{place(name)}: the two texts of {same} of {len(part)} rows are the same; are they the columns?"
            )
        if empty := empty_texts(part, text):
            found.append(f"{place(name)}: {empty} of {len(part)} rows have an empty text; they are kept")
    tests = [name for name in rows if name not in ("train", "validation")]
    for name, other, effect in (
        *((name, "train", "a method that remembers it scores higher") for name in ("validation", *tests)),
        *((name, "validation", "epochs and learning rates are chosen on it") for name in tests),
    ):
        known = {cells for cells in texts[other] if any(cells)}
        if shared := _count(texts[name], known.__contains__):
            share = f"{shared} of {len(rows[name])} rows ({100 * shared / len(rows[name]):.1f} %)"
            found.append(f"{place(name)}: the text of {share} also occurs in {other}; {effect}")
    return found


def _several_labels(rows: dict[str, Rows], text: Sequence[str], label: str) -> list[str]:
    """Texts that have several labels."""
    labels: dict[tuple, set[str]] = {}
    known = [pair for part in rows.values() for pair in zip(_records(part, text), part.columns[label], strict=True)]
    for cells, name in known:
        labels.setdefault(tuple(map(one_line, cells)), set()).add(name)
    found = []
    if several := [cells for cells, names in labels.items() if len(names) > 1 and any(map(has_text, cells))]:
        shown = " | ".join(several[0])
        found.append(
            f"data: {len(several)} text{'s have' if several[1:] else ' has'} several labels in different rows, such as "
            f"{shown[:40] + '…' * (len(shown) > 40)!r}: {', '.join(map(repr, sorted(labels[several[0]])[:4]))}; "
            "no method can be right in all of them"
        )
    return found


def _one_label(rows: dict[str, Rows], label: str) -> list[str]:
    """Sets of validation or test rows that have a single class, or a single label of words."""
    found = []
    for name, part in rows.items():
        cells = part.columns[label]
        words = all(isinstance(cell, list) for cell in cells)
        names = {one for cell in cells for one in (cell if words else [cell]) if one is not None}
        if name == "train" or len(part) < 2 or len(names) != 1 or not isinstance(only := names.pop(), str):
            continue
        unknown = "; if -1 means that there is no label, nothing is measured there: use labelled rows"
        of = "words" if words else "rows"
        count = sum(map(len, cells)) if words else len(part)
        found.append(f"{place(name)}: all {count} {of} have the label {only!r}{unknown if only == '-1' else ''}")
    return found


def _records(rows: Rows, names: Sequence[str]) -> zip:
    return zip(*(rows.columns[name] for name in names), strict=True)


def _count(values: list, holds: Callable[..., bool]) -> int:
    return sum(map(holds, values))
