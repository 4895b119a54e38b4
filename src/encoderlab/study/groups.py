"""The groups of the test rows that the model sees: of the rows of a file, or of windows of texts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from encoderlab.config.settings import Study
from encoderlab.data.source import place
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.results.row_groups import RowGroups
from encoderlab.study.context import numbers_of


def row_groups(splits: Splits, tokenized: Mapping[str, TokenizedRows]) -> dict[str, RowGroups]:
    """Return the groups of each test set that has them.

    Windows of one text belong together, and so do the windows of texts of one group.
    """
    found = {}
    for name, rows in (("test", splits.test), *splits.others.items()):
        split, groups = tokenized[name], splits.groups.get(name)
        numbers, by = (None, "") if groups is None else (groups.numbers, groups.by)
        if split.texts is not None:
            numbers, by = (split.texts, "text") if numbers is None else (numbers[split.texts], by)
        if numbers is not None and 1 < len(np.unique(numbers)) < len(numbers):
            found[name] = RowGroups(by=by, index=numbers_of(split, rows), numbers=numbers)
    return found


def grouped_by_label(study: Study) -> list[str]:
    """Warn of a group column that has the classes: rows of one class are not drawn together."""
    task, group = study.task, study.data.group
    if not task.has_classes or group != task.label_column:
        return []
    return [
        f"data.group: {group!r} is the label column, so all rows of a class count as one group; name the column that "
        "dependent rows share, such as an author"
    ]


def single_texts(tokenized: Mapping[str, TokenizedRows]) -> list[str]:
    """Warn of test sets whose windows are of a single text."""
    return [
        f"{place(name)}: its {len(split)} windows are of one text, so intervals hold for other windows of this text, "
        "not for other texts"
        for name, split in tokenized.items()
        if name not in ("train", "validation") and split.texts is not None and len(split) > 1
        if len(np.unique(split.texts)) == 1
    ]
