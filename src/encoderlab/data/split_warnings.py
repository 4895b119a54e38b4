"""Warn of texts and labels that make the comparison of splits doubtful."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from encoderlab.data.rows import Rows, empty_texts, has_text, one_line
from encoderlab.data.source import place


def text_warnings(rows: Mapping[str, Rows], text: Sequence[str]) -> list[str]:
    """Warn of empty texts, and of texts that two splits share, without regard to white space."""
    found = []
    texts = {name: [tuple(map(one_line, cells)) for cells in _records(part, text)] for name, part in rows.items()}
    for name, part in rows.items():
        if len(text) == 2 and (same := _count(texts[name], lambda cells: cells[0] == cells[1])) > 0.5 * len(part):
            found.append(
                f"{place(name)}: the two texts of {same} of {len(part)} rows are the same; are these the right columns?"
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


def shared_texts(part: Rows, other: Rows, text: Sequence[str]) -> int:
    """Count the rows whose text also occurs in other rows, without regard to white space. Empty texts do not count."""
    known = {tuple(map(one_line, cells)) for cells in _records(other, text)}
    texts = [tuple(map(one_line, cells)) for cells in _records(part, text)]
    return _count(texts, lambda cells: any(cells) and cells in known)


def several_labels(rows: Mapping[str, Rows], text: Sequence[str], label: str) -> list[str]:
    """Warn of texts that have different labels in different rows."""
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


def one_label(rows: Mapping[str, Rows], label: str) -> list[str]:
    """Warn of validation and test sets that have a single class, or a single label of words."""
    found = []
    for name, part in rows.items():
        cells = part.columns[label]
        words = all(isinstance(cell, list) for cell in cells)
        names = {one for cell in cells for one in (cell if words else [cell]) if one is not None}
        if name == "train" or len(part) < 2 or len(names) != 1 or not isinstance(only := names.pop(), str):
            continue
        unknown = "; if -1 means that there is no label, scores on these rows mean nothing: use labelled rows"
        of = "words" if words else "rows"
        count = sum(map(len, cells)) if words else len(part)
        found.append(f"{place(name)}: all {count} {of} have the label {only!r}{unknown if only == '-1' else ''}")
    return found


def _records(rows: Rows, names: Sequence[str]) -> zip:
    return zip(*(rows.columns[name] for name in names), strict=True)


def _count(values: list, holds: Callable[..., bool]) -> int:
    return sum(map(holds, values))
