"""Small files of words with times, in every form that is read, for the tests of their readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoderlab.brain.stories.read import read
from encoderlab.brain.stories.story import Story
from encoderlab.core.errors import InputError

Rows = list[tuple[float, float, str]]

ROWS: Rows = [(0.5, 0.8, "Once"), (0.9, 1.2, "upon"), (1.3, 1.5, "a")]


def tier(name: str, rows: Rows, *, points: bool = False) -> list[str]:
    lines = [f'class = "{"TextTier" if points else "IntervalTier"}"', f'name = "{name}"', "xmin = 0", "xmax = 4"]
    lines.append(f"{'points' if points else 'intervals'}: size = {len(rows)}")
    for start, stop, text in rows:
        lines += [f"number = {start}", f'mark = "{text}"'] if points else [f"xmin = {start}", f"xmax = {stop}"]
        lines += [] if points else [f'text = "{text}"']
    return lines


def grid(*tiers: list[str], xmin: float = 0, xmax: float = 4) -> str:
    head = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", f"xmin = {xmin}", f"xmax = {xmax}"]
    return "\n".join([*head, "tiers? <exists>", f"size = {len(tiers)}", *(line for one in tiers for line in one), ""])


def story(path: Path, text: str | bytes, **keys: object) -> Story:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (one,) = read(path, **keys)  # type: ignore[arg-type]
    return one


def refused(path: Path, text: str | bytes, says: str, **keys: object) -> None:
    with pytest.raises(InputError, match=says) as error:
        story(path, text, **keys)
    assert "\n" not in str(error.value) and path.name in str(error.value)


def table(rows: Rows, header: str = "onset\tduration\tword") -> str:
    return "\n".join([header, *(f"{a}\t{round(b - a, 3)}\t{word}" for a, b, word in rows), ""])


FORMS = {
    "t.tsv": table(ROWS),
    "offset.tsv": "Word\tOnset\tOffset\nOnce\t0.5\t0.8\nupon\t0.9\t1.2\na\t1.3\t1.5\n",
    "praat.tsv": "tmin\ttier\ttext\ttmax\n0.5\twords\tOnce\t0.8\n0.5\tphones\tW\t0.6\n0.9\twords\tupon\t1.2\n"
    "1.3\twords\ta\t1.5\n",
    "bids.tsv": "onset\tduration\ttrial_type\tword\n0.5\t1\tsentence\tOnce upon a\n0.5\t0.3\tword\tOnce\n"
    "0.9\t0.3\tword\tupon\n1.3\t0.2\tword\ta\n",
    "quoted.tsv": 'onset\tduration\tword\n0.5\t0.3\t"Once"\n0.9\t0.3\tupon\n1.3\t0.2\ta\n',
    "mfa.csv": "Begin,End,Label,Type,Speaker\n0.5,0.8,Once,words,x\n0.5,0.6,W,phones,x\n0.9,1.2,upon,words,x\n"
    "1.3,1.5,a,words,x\n",
    "lpp.csv": ",word,lemma,onset,offset\n0,Once,once,0.5,0.8\n1,upon,upon,0.9,1.2\n2,a,a,1.3,1.5\n",
    "excel.csv": "onset;duration;word\n0.5;0.3;Once\n0.9;0.3;upon\n1.3;0.2;a\n",
    "align.csv": "Once,once,0.5,0.8\nupon,upon,0.9,1.2\nZorb,<unk>,,\na,a,1.3,1.5\n",
    "gentle.json": json.dumps(
        {
            "words": [
                {"case": "success", "alignedWord": word.lower(), "word": word, "start": a, "end": b}
                for a, b, word in ROWS
            ]
            + [{"case": "not-found-in-audio", "word": "2266"}]
        }
    ),
    "whisperx.json": json.dumps(
        {"segments": [{"text": "Once upon a", "words": [{"word": f" {w}", "start": a, "end": b} for a, b, w in ROWS]}]}
    ),
    "mfa.json": json.dumps(
        {
            "start": 0,
            "end": 2,
            "tiers": {
                "words": {"type": "interval", "entries": [list(row) for row in ROWS]},
                "phones": {"type": "interval", "entries": [[0.5, 0.6, "W"]]},
            },
        }
    ),
    "kaldi.ctm": ";; a comment\nr 1 0.5 0.3 Once 0.9\nr 1 0.9 0.3 upon\nr 1 1.3 0.2 a\n",
    "crlf.tsv": "\ufeff" + table(ROWS).replace("\n", "\r\n"),
}
