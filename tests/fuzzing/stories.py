"""Files of stories: TextGrid and TSV of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from encoderlab.brain.stories import read as stories_read

from .mutate import CELLS, chance, damaged, pick
from .run import Target

NUMBERS = [
    *("0", "-1", "4", "1e9", "1000000000", "1e400", "-1e400", "nan", "inf", "9" * 400, "9" * 5000, "0.5", "1,5", ""),
    *(
        "1e-400",
        "2147483648",
        "1e15",
        "999999",
        "1e6",
        "--1",
        "0x10",
        "+3",
        "3.",
        '"3"',
        "<exists>",
        "n/a",
        "N/A",
        "null",
    ),
]
Case = tuple[Path, int | None, int | None]  # the file; how many stories and how many words, where that is known


def check(case: Case, shared: Any) -> list[str]:
    path, count, words = case
    found = stories_read.read(path)
    assert found, "no story"
    assert count is None or len(found) == count, f"{len(found)} of {count} stories were read"
    for story in found:
        assert len(story.words) == len(story.times), "words and times differ in number"
        assert np.isfinite(story.times).all() and np.isfinite(story.tr_times).all(), "a time that is not finite"
        assert len(story.tr_times) and (np.diff(story.tr_times) > 0).all(), "TR times do not ascend"
        assert len(story.tr_times) < 2_000_000, f"{len(story.tr_times)} TRs"
        for text in (story.name, *story.words, *story.notes):
            text.encode()  # a lone surrogate cannot be written
        _ = story.words_fingerprint
    read = sum(len(story.words) for story in found)
    notes = [note for story in found for note in story.notes if not note.startswith("tier ")]
    assert words is None or read == words or notes, f"{read} of {words} words and no note"
    return notes


def _textgrid(draw: Generator) -> tuple[str, int | None]:
    """Long or short form, with numbers, names, kinds and texts replaced; how many words it has if none was."""
    short, mangled = chance(draw, 0.5), False

    def said(key: str, value: Any) -> str:
        nonlocal mangled
        if chance(draw, 0.03):
            mangled = True
            value = pick(draw, [*NUMBERS, '"' + pick(draw, CELLS) + '"', pick(draw, CELLS)])
        return str(value) if short else f"{key} = {value} "

    texts = ["once", "upon", "#", "{LG}", "", 'say ""hi""', "café"]
    intervals = [pick(draw, texts) for _ in range(int(draw.integers(1, 7)))]
    names = pick(draw, [["words"], ["phones", "words"], ["words", "Words"], ["a"], ["a", "b"], [""], []])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", said("xmin", 0), said("xmax", 4)]
    lines += ["<exists>" if short else "tiers? <exists> ", said("size", len(names))]
    for i, name in enumerate(names):
        kind = pick(draw, ["IntervalTier"] * 5 + ["TextTier", "intervaltier"])
        lines += [] if short else [f"    item [{i + 1}]:"]
        lines += [said("class", f'"{kind}"'), said("name", f'"{name}"'), said("xmin", 0), said("xmax", 4)]
        lines += [said("intervals: size", len(intervals))]
        for j, text in enumerate(intervals):
            lines += [] if short else [f"        intervals [{j + 1}]:"]
            times = [said("number", j)] if kind == "TextTier" else [said("xmin", j / 2), said("xmax", j / 2 + 0.5)]
            lines += [*times, said("text", f'"{text}"')]
    count = sum(text in ("once", "upon", "café", 'say ""hi""') for text in intervals)
    return "\n".join(lines) + "\n", None if mangled else count


def _write_textgrid(draw: Generator, folder: Path, shared: Any) -> Case:
    text, words = _textgrid(draw)
    if chance(draw, 0.15):
        lines = text.splitlines()
        place = int(draw.integers(len(lines)))
        lines[place : place + int(draw.integers(3))] = [
            pick(draw, ["! comment 12", "", '"', "<absent>", "size = 1e9", *CELLS])
        ]
        text, words = "\n".join(lines), None
    encoding = pick(draw, ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
    data = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    if chance(draw, 0.5):
        data, words = damaged(data, draw), None
    (folder / "tale.TextGrid").write_bytes(data)
    return folder / "tale.TextGrid", 1, words


def _write_tsv(draw: Generator, folder: Path, shared: Any) -> Case:
    names = ["onset", "duration", "word"] + (["more"] if chance(draw, 0.3) else [])
    rows = [[f"{i / 2}", "0.4", pick(draw, ["once", "upon", '"', "café"])] + ["x"] * (len(names) - 3) for i in range(6)]
    words: int | None = len(rows)
    for _ in range(int(draw.integers(0, 4))):
        row, column = pick(draw, rows), int(draw.integers(len(names)))
        row[column], words = pick(draw, NUMBERS if column < 2 and chance(draw, 0.7) else CELLS), None
    if chance(draw, 0.4):
        words = None
        match int(draw.integers(6)):
            case 0:
                names[int(draw.integers(len(names)))] = pick(
                    draw, ["", "word", "Onset", " onset", "\ufeffonset", "\ud800"]
                )
            case 1:
                pick(draw, rows).append(pick(draw, CELLS))
            case 2:
                pick(draw, rows).pop()
            case 3:
                rows = rows[: int(draw.integers(2))]
            case 4:
                rows = rows[::-1]
            case 5:
                rows.insert(int(draw.integers(6)), pick(draw, [[], [""], ["# comment"], names]))
    order = draw.permutation(len(names)) if chance(draw, 0.3) else range(len(names))
    lines = ["\t".join(row[i] for i in order if i < len(row)) for row in [names, *rows]]
    data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    if chance(draw, 0.5):
        data, words = damaged(data, draw), None
    (folder / "tale.tsv").write_bytes(data)
    return folder / "tale.tsv", 1, words


TARGETS = {
    "textgrid": Target(write=_write_textgrid, read=check, named="tale."),
    "words-tsv": Target(write=_write_tsv, read=check, named="tale."),
}
