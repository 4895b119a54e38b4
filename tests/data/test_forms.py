"""Encodings, delimiters and columns: what people's own files look like, and what is said about them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from encoderlab.core.errors import InputError
from encoderlab.data.prepare import prepare
from encoderlab.data.readers import read, stream
from encoderlab.data.rows import Rows
from encoderlab.data.source import DataConfig, Source
from encoderlab.data.splits import load_splits
from encoderlab.tasks.token_classification import TokenClassification

PLAIN = "text,label\nit doesn’t cost €5 – café,1\nnaïve “quotes”,0\n"
CELLS = {"text": ["it doesn’t cost €5 – café", "naïve “quotes”"], "label": ["1", "0"]}


def written(folder: Path, name: str, content: bytes | str, **keys: Any) -> Rows:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read(Source(path=name, **keys), folder)


@pytest.mark.parametrize(
    "encoding, said",
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", "read as UTF-16"),
        ("utf-16-le", "read as UTF-16-LE"),
        ("utf-16-be", "read as UTF-16-BE"),
        ("utf-32", "read as UTF-32"),
        ("cp1252", "read as cp1252 (Western Europe, Windows), such as 'doesn’t'"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
def test_the_encoding_is_recognised_and_said(encoding: str, said: str | None, name: str, tmp_path: Path) -> None:
    rows = [dict(zip(CELLS, cells, strict=True)) for cells in zip(*CELLS.values(), strict=True)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    content = (lines if "jsonl" in name else PLAIN).encode(encoding)
    found = written(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    assert found.columns == CELLS
    assert (said is None and found.notes == ()) or (said is not None and said in found.notes[0])


CHINESE = "text,label\n" + "".join(f"这部电影很好看 {i},{i % 2}\n" for i in range(9))
RUSSIAN = "text,label\n" + "".join(f"очень хороший фильм {i},{i % 2}\n" for i in range(9))
POLISH = "text,label\n" + "".join(
    f"Łukasz i żona są dziś źli, więc śpię {i},{i % 2}\n".replace(",", "", 1) for i in range(9)
)


@pytest.mark.parametrize(
    "text, encoding", [(CHINESE, "gb18030"), (RUSSIAN, "cp1251"), (POLISH, "cp1250"), (CHINESE, "utf-8")]
)
def test_other_encodings_are_asked_for_with_a_key(text: str, encoding: str, tmp_path: Path) -> None:
    content = text.encode(encoding)
    if encoding != "utf-8":
        with pytest.raises(
            InputError, match=r"a.csv:2: byte 0x.. is not UTF-8; save the file as UTF-8, or set `encoding`"
        ):
            written(tmp_path, "a.csv", content)
    found = written(tmp_path, "a.csv", content, encoding=encoding)
    assert found.columns["text"][0] == text.splitlines()[1].rpartition(",")[0] and found.notes == ()
    with pytest.raises(InputError, match="a.csv:2: byte 0x.. is not ascii; correct `encoding`"):
        written(tmp_path, "a.csv", content, encoding="ascii")


@pytest.mark.parametrize(
    "text, said",
    [
        (PLAIN.encode("cp1252").decode("latin-1"), "2 cells hold control characters such as U+0092"),
        (PLAIN.replace("”", "").encode().decode("cp1252"), "2 cells hold UTF-8 characters that were read as cp1252"),
        (CHINESE.encode("gbk").decode("latin-1"), "9 cells look like text of another encoding"),
        (PLAIN.replace("’", "\ufffd"), "1 cell hold the character U+FFFD"),
        (PLAIN, None),
        ("text,label\nÀ l'été 2004 où «là» ÇA çà,1\nGRÖSSE Übergröße äöü,0\n", None),
    ],
)
def test_texts_that_an_encoding_destroyed_are_said(text: str, said: str | None, tmp_path: Path) -> None:
    notes = written(tmp_path, "a.csv", text).notes
    assert notes == () if said is None else said in notes[0] and "go back to the original file" in notes[0]


@pytest.mark.parametrize("sign, name", [(";", "semicolon"), ("\t", "tab"), ("|", "bar")])
def test_the_delimiter_is_found_and_said(sign: str, name: str, tmp_path: Path) -> None:
    text = "".join(sign.join(row) + "\n" for row in (("text", "label"), ("good, bad, ugly", "1"), ("one, two", "0")))
    wanted = {"text": ["good, bad, ugly", "one, two"], "label": ["1", "0"]}
    found = written(tmp_path, "a.csv", text)
    assert found.columns == wanted
    assert found.notes == (f"a.csv: the fields are separated by a {name}, not by a comma",)
    assert written(tmp_path, "b.csv", f"sep={sign}\n{text}").columns == wanted
    told = written(tmp_path, "c.csv", text, delimiter=sign)
    assert told.columns == wanted and told.notes == ()


@pytest.mark.parametrize(
    "text, columns",
    [
        ("text\na;b\nc\n", {"text": ["a;b", "c"]}),
        ("text;x,label\na,1\nb;c,0\n", {"text;x": ["a", "b;c"], "label": ["1", "0"]}),
        ("a|b\nx\ny|z\nw\n", {"a|b": ["x", "y|z", "w"]}),
        ("\n  \ntext,label\na,1\n\n   \nb,0\n", {"text": ["a", "b"], "label": ["1", "0"]}),
        ("text,label,,\na,1,,\nb,0,,\n", {"text": ["a", "b"], "label": ["1", "0"]}),
        ("text,label\na,1,,\nb,0\n", {"text": ["a", "b"], "label": ["1", "0"]}),
        (",text\n0,a\n1,b\n", {"": ["0", "1"], "text": ["a", "b"]}),
    ],
)
def test_forms_of_a_csv_that_are_plain(text: str, columns: dict, tmp_path: Path) -> None:
    found = written(tmp_path, "a.csv", text)
    assert found.columns == columns and found.notes == ()


def test_text_in_columns_without_a_name_is_said(tmp_path: Path) -> None:
    found = written(tmp_path, "a.csv", "v1,v2,,\nham,a,,\nham,b, and more,\n")
    assert found.columns == {"v1": ["ham", "ham"], "v2": ["a", "b"]}
    assert "1 row has text in columns without a name" in found.notes[0]


def test_the_line_that_is_wrong_is_blamed(tmp_path: Path) -> None:
    lines = ["text\tlabel", '"for a film\tpos', "x\tneg", 'a "b\tpos', "no label", "y\tneg"]
    with pytest.raises(
        InputError, match=r"a.tsv:5: 1 fields, but the header has 2: 'text', 'label'; a field is missing"
    ):
        written(tmp_path, "a.tsv", "\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"a.csv:3: 3 fields, .*'text', 'label'; quote a field .*\(comma\)"):
        written(tmp_path, "a.csv", "text,label\na,1\nb, c,1\n")
    with pytest.raises(InputError, match=r"a.csv:2: .*if the fields are separated by a semicolon, set `delimiter`"):
        written(tmp_path, "a.csv", "text;label\na, b;1\nc;0;1\nd\n")


def test_a_repeated_header_is_left_out_and_said(tmp_path: Path) -> None:
    found = written(tmp_path, "a.csv", "\ufefftext,label\na,1\n\ufefftext,label\nb,0\ntext,0\n")
    assert found.columns == {"text": ["a", "b", "text"], "label": ["1", "0", "0"]}
    assert found.index.tolist() == [0, 2, 3]
    assert "the header is repeated at row 2 (were files joined?): 1 left out" in found.notes[0]


def test_a_repeated_header_is_left_out_in_every_format(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "1"}, {"text": " Text", "label": "LABEL"}, {"text": "text", "label": "0"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    contents: dict[str, str | bytes] = {
        "a.csv": "text,label\na,1\nText,LABEL\ntext,0\n",
        "a.tsv": "text\tlabel\na\t1\nText\tLABEL\ntext\t0\n",
        "a.jsonl": lines,
        "a.json": json.dumps(rows),
        "a.csv.gz": gzip.compress(b"text;label\na;1\nText;Label\ntext;0\n"),
    }
    said = "the header is repeated at row 2 (were files joined?): 1 left out"
    for name, content in contents.items():
        found = written(tmp_path, name, content)
        assert found.columns == {"text": ["a", "text"], "label": ["1", "0"]} and found.index.tolist() == [0, 2]
        assert said in found.notes[-1]
        notes: list[str] = []
        names, records = stream(Source(path=name), tmp_path, notes.append)
        assert names == ["text", "label"] and list(map(list, records)) == [["a", "1"], ["text", "0"]]
        assert said in notes[-1]
    alone = written(tmp_path, "b.jsonl", '{"text": "text"}\n{"text": "a"}\n')
    assert alone.columns == {"text": ["text", "a"]} and alone.notes == ()


def test_the_keys_of_a_source_are_checked(tmp_path: Path) -> None:
    for name in ("a.csv", "a.conll", "a.parquet"):
        (tmp_path / name).write_text("text,label\nx,1\n")

    def problems(**keys: Any) -> str:
        return "\n".join(map(str, DataConfig(train=Source(**keys)).problems("data", tmp_path)))

    assert problems(path="a.csv", encoding="gbk", delimiter=";") == ""
    assert problems(path="a.conll", columns=(2, -1)) == ""
    assert "data.train.encoding: 'cp1252x' is not known" in problems(path="a.csv", encoding="cp1252x")
    assert "data.train.encoding: 'hex' is not known" in problems(path="a.csv", encoding="hex")
    assert "data.train.encoding: valid only for a file" in problems(path="a.parquet", encoding="gbk")
    assert "data.train.delimiter: expected one character" in problems(path="a.csv", delimiter=";;")
    assert "data.train.delimiter: valid only for a file" in problems(path="a.conll", delimiter=";")
    assert "data.train.columns: expected two different numbers" in problems(path="a.conll", columns=(1, 1))
    assert "data.train.columns: valid only for a file" in problems(path="a.csv", columns=(1, 2))


CONLL: dict[str, tuple[str, list[list[str]], list[list[str]]]] = {
    "comments": ("# sent_id = 1\na\t_\tX\n\n# c\nb\t_\tY\n", [["a"], ["b"]], [["X"], ["Y"]]),
    "comments of as many fields": ("# id = 0\na b c X\n\n# id = 1\nb b c Y\n", [["a"], ["b"]], [["X"], ["Y"]]),
    "hashtags": ("#win O\n# O\na B-X\n\nb O\n", [["#win", "#", "a"], ["b"]], [["O", "O", "B-X"], ["O"]]),
    "a no-break space": ("10\u00a0km\tB-X\nNew York\tO\n", [["10\u00a0km", "New York"]], [["B-X", "O"]]),
    "with spaces": ("10\u00a0km B-X\nb\u3000c  O\n", [["10\u00a0km", "b\u3000c"]], [["B-X", "O"]]),
    "numbers": ("1\ta\tX\n2\tb\tY\n\n1\tc\tX\n", [["a", "b"], ["c"]], [["X", "Y"], ["X"]]),
    "one column varies": ("1\ta\tX\tO\n2\tb\tY\tO\n", [["a", "b"]], [["X", "Y"]]),
    "token ranges": ("1-2\tab\tX\n1\ta\tX\n2\tb\tY\n", [["a", "b"]], [["X", "Y"]]),
    "carriage returns": ("a X\rb Y\r\rc X\r", [["a", "b"], ["c"]], [["X", "Y"], ["X"]]),
    "cp1252": ("caf\xe9 X\nna\xefve Y\n\xe9t\xe9 X\n", [["café", "naïve", "été"]], [["X", "Y", "X"]]),
}


@pytest.mark.parametrize("case", CONLL)
def test_forms_of_conll(case: str, tmp_path: Path) -> None:
    text, words, tags = CONLL[case]
    found = written(tmp_path, "a.conll", text.encode("latin-1" if case == "cp1252" else "utf-8"))
    assert found.columns == {"tokens": words, "tags": tags}


def test_columns_of_conll_are_asked_for_where_it_is_not_clear(tmp_path: Path) -> None:
    text = "1\tMary\tB-PER\tB-X\n2\tmet\tO\tO\n"
    with pytest.raises(
        InputError, match=r"not clear which one has the labels \(3: B-PER, O; 4: B-X, O\); set .* columns = "
    ):
        written(tmp_path, "a.conll", text)
    assert written(tmp_path, "a.conll", text, columns=(2, 3)).columns["tags"] == [["B-PER", "O"]]
    assert written(tmp_path, "a.conll", text, columns=(2, -1)).columns["tags"] == [["B-X", "O"]]
    with pytest.raises(InputError, match=r"columns = \[2, 5\], but the lines have 4 fields"):
        written(tmp_path, "a.conll", text, columns=(2, 5))
    with pytest.raises(InputError, match="a.conll:3: 1 fields; expected 2, as in the lines before, separated by tabs"):
        written(tmp_path, "a.conll", "a\tO\nb\tO\nNew York O\n" + "c\tO\n" * 20)


def test_words_alone_are_read_to_predict(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Mary\nmet\n\nPaul\n")
    found = read(Source(path="a.conll"), tmp_path, labelled=False)
    assert found.columns == {"tokens": [["Mary", "met"], ["Paul"]]}
    with pytest.raises(InputError, match="at least a word and its label"):
        read(Source(path="a.conll"), tmp_path)


def test_class_names_of_a_parquet_file_are_kept(tmp_path: Path) -> None:
    names = ClassLabel(names=["neg", "pos"])
    features = Features({"text": Value("string"), "label": names, "tags": List(names)})
    rows = {"text": ["a", "b", "c"], "label": [1, 0, -1], "tags": [[1, -100], [0], []]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    found = read(Source(path="a.parquet"), tmp_path)
    assert found.columns["label"] == ["pos", "neg", None]
    assert found.columns["tags"] == [["pos", -100], ["neg"], []]
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet").replace_schema_metadata({"huggingface": "{"})
    pyarrow.parquet.write_table(table, tmp_path / "b.parquet")
    assert read(Source(path="b.parquet"), tmp_path).columns["label"] == [1, 0, -1]


def test_texts_that_look_like_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\ngo\0od,1\n#NAME?,0\n #REF!,0\n#NAME is a tag,1\n")
    notes = read(Source(path="a.csv"), tmp_path).notes
    assert len(notes) == 2
    assert notes[0].startswith("a.csv: 1 cell holds NUL characters (U+0000)")
    assert notes[1].startswith("a.csv: 1 cell is an error of a spreadsheet, such as '#NAME?'")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("values", [[-1, 0, 1], [-2, -1, 0, 1, 2], [-1, 1], [-100, 0, 1], [0.5, 1.0, 1.5]])
def test_no_class_is_lost_by_its_value(values: list, form: str, tmp_path: Path) -> None:
    rows = [{"text": f"t {i}", "label": values[i % len(values)]} for i in range(60)]
    lines = [f"{row['text']},{row['label']}" for row in rows]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = load_splits(DataConfig(train=Source(path=f"a.{form}")), text=["text"], label="label", base=tmp_path)
    assert sum(len(part) for _, part in splits.items()) == 60
    assert set(splits.train.columns["label"]) == {f"{value:g}" for value in values}


def test_a_split_of_minus_ones_is_unlabelled_unless_train_knows_the_class(tmp_path: Path) -> None:
    def load(train: list[int]) -> Any:
        for name, labels in (("train", train), ("test", [-1, -1])):
            text = "".join(f'{{"text": "{name} {i}", "label": {label}}}\n' for i, label in enumerate(labels))
            (tmp_path / f"{name}.jsonl").write_text(text)
        config = DataConfig(train=Source(path="train.jsonl"), test=Source(path="test.jsonl"))
        return load_splits(config, text=["text"], label="label", base=tmp_path)

    with pytest.raises(InputError, match="data.test: test.jsonl: none of its 2 rows has a label"):
        load([0, 1] * 10)
    with pytest.raises(InputError, match="data.train: train.jsonl: none of its 20 rows has a label"):
        load([-1] * 20)
    found = load([-1, 1] * 10)
    assert found.test.columns["label"] == ["-1", "-1"]
    assert any(
        "all 2 rows have the label '-1'; if -1 means that there is no label, scores on these rows mean nothing" in line
        for line in found.warnings
    )


def test_labels_that_all_occur_once_cannot_be_cut(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"t{i},{i / 3:.2f}\n" for i in range(50)))
    with pytest.raises(InputError, match="each of the 50 labels, such as '0.00', occurs once|such as '0'"):
        load_splits(DataConfig(train=Source(path="a.csv")), text=["text"], label="label", base=tmp_path)


def test_rows_of_single_words_are_said() -> None:
    columns = {"Sentence #": ["1", "", ""], "tokens": ["Mary", "met", "Paul"], "tags": ["B-PER", "O", "B-PER"]}
    found = TokenClassification().prepare(Rows(columns, "here", np.arange(3)), labelled=True)
    assert "all 3 rows have a single word" in found.notes[0] and "column 'Sentence #'" in found.notes[0]
    columns = {"tokens": ["Mary"] * 19 + ["two words"], "tags": ["B-PER"] * 19 + ["O O"]}
    found = TokenClassification().prepare(Rows(columns, "here", np.arange(20)), labelled=True)
    assert "19 of 20 rows have a single word" in found.notes[0]
    columns = {"tokens": ["Mary"] * 8 + ["two words"] * 2, "tags": ["B-PER"] * 8 + ["O O"] * 2}
    assert TokenClassification().prepare(Rows(columns, "here", np.arange(10)), labelled=True).notes == ()


def test_decimals_from_parquet_are_numbers() -> None:
    from decimal import Decimal

    rows = Rows({"text": ["a", "b"], "label": [Decimal("1.00"), Decimal("2.5")]}, "here", np.arange(2))
    assert prepare(rows, text=["text"], label="label").columns["label"] == ["1", "2.5"]
