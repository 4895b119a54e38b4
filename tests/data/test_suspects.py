"""Data that looks like a mistake is read with a line that says so; what is refused has one that says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from encoderlab.core.errors import InputError
from encoderlab.data.readers import read
from encoderlab.data.rows import Rows, empty_texts
from encoderlab.data.source import DataConfig, Source
from encoderlab.data.splits import load_splits
from encoderlab.tasks.token_classification import TokenClassification

ROWS = [(f"film {i}", "pos" if i % 2 else "neg") for i in range(40)]
TABLE = [f"{text},{label}" for text, label in ROWS]


def warnings(tmp_path: Path, content: str | bytes, text: tuple[str, ...] = ("text",), **sources: Any) -> list[str]:
    (tmp_path / "a.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    config = DataConfig(train=Source(path="a.csv"), **sources)
    return list(load_splits(config, text=text, label="label", base=tmp_path).warnings)


def table(lines: list[str], header: str = "text,label") -> str:
    return "\n".join([header, *lines]) + "\n"


def test_nothing_is_said_of_plain_data(tmp_path: Path) -> None:
    assert warnings(tmp_path, table(TABLE)) == []


def test_texts_with_several_labels(tmp_path: Path) -> None:
    (line,) = warnings(
        tmp_path, table([*TABLE[:-1], "film  0,pos", "new,pos"], "text,label").replace("film 2,", "film 3,")
    )[-1:]
    assert line == (
        "data: 2 texts have several labels in different rows, such as 'film 0': 'neg', 'pos'; no method can be right "
        "in all of them"
    )


def test_a_test_set_of_one_class(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(table(["new 1,pos", "new 2,pos"]))
    found = warnings(tmp_path, table(TABLE), test=Source(path="test.csv"))
    assert found == ["data.test: all 2 rows have the label 'pos'"]


def test_pairs_of_equal_texts(tmp_path: Path) -> None:
    lines = [f"{text},{text},{label}" for text, label in ROWS]
    found = warnings(tmp_path, table(lines, "a,b,label"), text=("a", "b"))
    assert len(found) == 3 and found[0].startswith("data.train: the two texts of 28 of 28 rows are the same")


def test_texts_of_signs_that_cannot_be_seen_are_empty(tmp_path: Path) -> None:
    rows = Rows({"text": ["\u200b", "\u00a0\ufeff", "", "a\u200bb", "\U0001f469\u200d\U0001f467"]}, "here", [])  # type: ignore[arg-type]
    assert empty_texts(rows, ["text"]) == 3
    found = warnings(tmp_path, table([*TABLE, "\u200b,pos", "\u200b,neg"]))
    assert any("1 of" in line or "2 of" in line for line in found if "empty text" in line)
    assert not any("several labels" in line for line in found)


def test_quotes_that_swallow_rows(tmp_path: Path) -> None:
    lines = [*TABLE]
    lines[4], lines[20] = '"' + lines[4], lines[20].replace(",", '",')
    (line,) = (line for line in warnings(tmp_path, table(lines)) if "quote" in line)
    assert line.startswith("a.csv: row 5, column 'text': the field holds 15 lines that look like rows of the file")
    poem = '"first, line\nsecond, line\nthird, line\nlast",pos'
    assert not any("quote" in line for line in warnings(tmp_path, table([*TABLE, poem])))


def test_rows_that_were_not_accepted(tmp_path: Path) -> None:
    answers = ("accept", "reject", "ignore")
    lines = [{"text": text, "label": "x", "answer": answers[i % 3]} for i, (text, _) in enumerate(ROWS[:9])]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (note,) = read(Source(path="a.jsonl"), tmp_path).notes
    assert note.startswith(
        "a.jsonl: column 'answer' says that 3 are 'reject' and 3 are 'ignore'; their labels are still used"
    )
    (tmp_path / "b.csv").write_text("question,answer\nx,accept\ny,other\nz,reject\n")
    assert read(Source(path="b.csv"), tmp_path).notes == ()


def test_labels_that_differ_in_zeros(tmp_path: Path) -> None:
    (line,) = warnings(tmp_path, table([f"film {i},{('01', '1', '02')[i % 3]}" for i in range(40)]))
    assert "'01' and '1' in column 'label' are different classes" in line


def test_a_ruler_of_a_table_is_no_class(tmp_path: Path) -> None:
    lines = [f"| {text} | {label} |" for text, label in ROWS]
    found = warnings(tmp_path, table(["| --- | --- |", *lines], "| text | label |"))
    assert any("'---' (1 rows) in column 'label' is a class here" in line for line in found)


def test_bytes_of_parquet_are_texts(tmp_path: Path) -> None:
    made = pyarrow.table({"text": ["é".encode(), None], "label": [b"\xff", b"x"]})
    pyarrow.parquet.write_table(made, tmp_path / "a.parquet")
    assert read(Source(path="a.parquet"), tmp_path).columns == {"text": ["é", None], "label": [b"\xff", b"x"]}


def test_quotes_behind_a_space_are_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"text", "label"\n"good, film", "pos"\n')
    assert read(Source(path="a.csv"), tmp_path).columns == {"text": ["good, film"], "label": ["pos"]}


REFUSED = {
    "a header in another order": (
        "a.csv",
        table([*TABLE, "Label,Text", "neg,film"]),
        "a.csv:42: a second header with the columns in another order .'Label', 'Text'.",
    ),
    "lines above the header": (
        "a.csv",
        "Export,,\n,,\ntext,label,n\nx,1,2\n",
        "row 2 has this name: remove the lines above",
    ),
    "no header": (
        "a.csv",
        table(TABLE, "a film that was not good,pos"),
        "no column 'text' and 'label'; .*has no header",
    ),
    "no header, short": ("a.csv", table(TABLE, "good,pos"), "is the first line a row"),
    "objects": ("a.jsonl", '{"fields": {"text": "x"}, "label": "y"}\n', "the objects in column 'fields' have this key"),
    "labels in objects": (
        "a.jsonl",
        '{"text": "x", "label": {"name": "y"}}\n',
        r"write only one of its values \(name\)",
    ),
    "backslashes": ("a.csv", 'text,label\n"he said \\"x\\"",1\n', "is written twice, not with a backslash"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_what_to_do(case: str, tmp_path: Path) -> None:
    name, content, said = REFUSED[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        load_splits(DataConfig(train=Source(path=name)), text=["text"], label="label", base=tmp_path)


def test_spans_are_not_labels_of_words(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Ada sang", "label": [[0, 3, "PER"]]}\n')
    with pytest.raises(InputError, match="spans of characters are not read"):
        TokenClassification().prepare(read(Source(path="a.jsonl"), tmp_path), labelled=True)
