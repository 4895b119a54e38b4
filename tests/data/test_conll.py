"""Comments among the words of CoNLL files, and which column has the labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from encoderlab.core.errors import InputError
from encoderlab.data.readers import read
from encoderlab.data.rows import Rows
from encoderlab.data.source import DataConfig, Source
from encoderlab.data.splits import load_splits
from encoderlab.tasks.token_classification import TokenClassification

WORDS = ["the", "old", "film", "ended", "well", "today"]
POS, IOB, NUMBERS = ["DET", "ADJ", "NOUN", "VERB"], ["B-LOC", "I-LOC", "O", "O"], ["0", "1", "2", "3"]


def load(
    folder: Path, front: Callable[[int], str], labels: list[str], sign: str = "\t", more: str = "", sentences: int = 20
) -> Rows:
    """Sentences of four words, with other lines in front."""
    text = "".join(
        front(i) + "".join(sign.join([w, *more, t]) + "\n" for w, t in zip(WORDS[i % 3 :], labels, strict=False)) + "\n"
        for i in range(sentences)
    )
    (folder / "a.conll").write_text(text)
    return read(Source(path="a.conll"), folder)


COMMENTS: dict[str, tuple[Callable[[int], str], list[str], str, str]] = {
    "text and a tab": (lambda i: f"# id\t{i % 3}\n", POS, "\t", ""),
    "a key": (lambda i: f"#id {i % 3}\n", POS, " ", ""),
    "two signs": (lambda i: f"## {i % 3}\n", POS, " ", ""),
    "three columns": (lambda i: f"# doc {i % 3}\n", POS, " ", "x"),
    "texts": (lambda i: "# text\ta\tb\n", POS, "\t", "x"),
    "of entities": (lambda i: f"# id\t{i}\n", IOB, "\t", ""),
    "of entities, names": (lambda i: f"#doc d{i}\n", IOB, " ", ""),
    "names": (lambda i: f"#doc d{i}\n", POS, " ", ""),
    "few, names of entities": (lambda i: f"#doc d{i}\n" if i % 5 == 0 else "", IOB, " ", ""),
    "few": (lambda i: f"#id {i}\n" if i % 5 == 0 else "", POS, " ", ""),
    "beside numbers": (lambda i: f"#id {i}\n", NUMBERS, " ", ""),
    "glued": (lambda i: f"#{i} doc\n", POS, " ", ""),
    "two lines": (lambda i: f"#id {i}\n#src web\n", POS, " ", ""),
    "dates": (lambda i: f"#day 2020-01-{i + 1}\n", POS, " ", ""),
    "alone": (lambda i: f"#id {i}\n\n", POS, " ", ""),
}


@pytest.mark.parametrize("case", COMMENTS)
def test_comments_with_the_fields_of_words(case: str, tmp_path: Path) -> None:
    front, labels, sign, more = COMMENTS[case]
    found = load(tmp_path, front, labels, sign, more)
    assert {word for row in found.columns["tokens"] for word in row} == set(WORDS)
    assert {tag for row in found.columns["tags"] for tag in row} == set(labels)
    assert len(found) == 20 and len(found.notes) == 1 and "comment lines (# ...) left out" in found.notes[0]


HASHTAGS: dict[str, tuple[Callable[[int], str], list[str], str]] = {
    "hashtags": (lambda i: f"#win{i} NOUN\n", POS, " "),
    "hashtags with a tab": (lambda i: f"#win{i}\tNOUN\n", POS, "\t"),
    "the sign": (lambda i: "# NOUN\n" if i % 2 else "", POS, " "),
    "years": (lambda i: f"#{2000 + i} NOUN\n" if i % 2 else "", POS, " "),
    "the sign of entities": (lambda i: "# B-LOC\n", IOB, " "),
    "entities": (lambda i: f"#win{i} B-LOC\n" if i % 2 else "", IOB, " "),
    "tags of numbers": (lambda i: "#win 2\n" if i % 2 else "", NUMBERS, " "),
}


@pytest.mark.parametrize("case", HASHTAGS)
def test_words_with_a_hash_stay(case: str, tmp_path: Path) -> None:
    front, labels, sign = HASHTAGS[case]
    found = load(tmp_path, front, labels, sign)
    assert [len(row) for row in found.columns["tokens"]] == [4 + bool(front(i)) for i in range(20)]
    assert all("comment line" not in note for note in found.notes)
    assert found.notes == ()


def test_a_sign_among_comments_stays(tmp_path: Path) -> None:
    found = load(tmp_path, lambda i: f"# doc {i % 3}\n" + "# x NOUN\n" * (i == 5), POS, " ", "x")
    assert [row[0] == "#" for row in found.columns["tokens"]] == [i == 5 for i in range(20)]


@pytest.mark.parametrize(
    "front, labels", [(lambda i: "#id 0\n", NUMBERS), (lambda i: "#src web\n" if i % 4 == 0 else "", POS)]
)
def test_what_may_be_either_is_said(front: Callable[[int], str], labels: list[str], tmp_path: Path) -> None:
    found = load(tmp_path, front, labels, " ")
    assert len(found.columns["tokens"][0]) == 5
    assert "read as words; if they are comments, remove them" in found.notes[0]


def test_hashtags_among_words_alone_stay(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("#win\nMary\n\nPaul\n\n# a comment\nAda\n\n")
    found = read(Source(path="a.conll"), tmp_path, labelled=False)
    assert found.columns == {"tokens": [["#win", "Mary"], ["Paul"], ["Ada"]]}


@pytest.mark.parametrize("labels", [IOB, ["S-PER", "O", "O", "U-LOC"]])
@pytest.mark.parametrize("lines, columns", [("{t} {w}", "[2, 1]"), ("{t} {w} _", "[2, 1]"), ("{n} {t} {w}", "[3, 2]")])
def test_labels_of_entities_in_front_of_the_words_are_refused(
    lines: str, columns: str, labels: list[str], tmp_path: Path
) -> None:
    rows = [lines.format(t=t, w=w, n=i) for i, (w, t) in enumerate(zip(WORDS, labels, strict=False), 1)]
    (tmp_path / "a.conll").write_text("\n".join(rows) + "\n\n" + "\n".join(rows) + "\n")
    for labelled in (True, False):
        with pytest.raises(InputError, match=r"has labels such as '.*columns = ") as error:
            read(Source(path="a.conll"), tmp_path, labelled=labelled)
        assert f"columns = {columns}" in str(error.value)
    word, label = map(int, columns.strip("[]").split(", "))
    found = read(Source(path="a.conll", columns=(word, label)), tmp_path)
    assert found.columns == {"tokens": [WORDS[:4]] * 2, "tags": [labels] * 2}


def test_other_labels_in_front_of_the_words_are_said(tmp_path: Path) -> None:
    text = "\n".join(f"{POS[i % 4]} word{i}" for i in range(40))
    (tmp_path / "a.conll").write_text(text)
    (note,) = read(Source(path="a.conll"), tmp_path).notes
    assert "4 different words, but 40 different labels" in note and "columns = [2, 1]" in note


def test_one_label_of_all_words_names_the_columns(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("".join(f"w{i} {POS[i % 4]} _\n\n" for i in range(20)))
    config = DataConfig(train=Source(path="a.conll"))
    task = TokenClassification()
    prepare = partial(task.prepare, labelled=True)
    splits = load_splits(config, text=["words"], label="labels", base=tmp_path, prepare=prepare, stratify=False)
    with pytest.raises(InputError, match=r"all words have the label '_'; .*columns = \[word, label\], .*`labels`"):
        task.class_names(splits)


def test_many_labels_that_mark_no_entity_are_few_lines(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("".join(f"w {IOB[i % 4]}\nw x{i}\n\n" for i in range(20)))
    config = DataConfig(train=Source(path="a.conll"))
    task = TokenClassification()
    prepare = partial(task.prepare, labelled=True)
    splits = load_splits(config, text=["words"], label="labels", base=tmp_path, prepare=prepare, stratify=False)
    with pytest.raises(InputError, match="the same of 17 more labels") as error:
        task.class_names(splits)
    assert len(error.value.lines) == 3


@pytest.mark.parametrize("labels", [["b-per", "i-per", "o"], ["b-PER", "e-PER", "s-LOC"], ["u-per", "b-per", "o"]])
def test_prefixes_in_small_letters_are_read_and_said(labels: list[str]) -> None:
    rows = Rows({"tokens": [["a", "b", "c"]], "tags": [labels]}, "here", np.arange(1))
    found = TokenClassification().prepare(rows, labelled=True)
    assert found.columns["labels"] == [[label[0].upper() + label[1:] for label in labels]]
    assert found.notes[-1].startswith("here: labels in small letters, such as 'b-")
    assert TokenClassification().metric(sorted(found.columns["labels"][0])).key == "entity_f1"


@pytest.mark.parametrize("labels", [["b-per", "O", "I-per"], ["o", "x", "b"], ["e-mail", "s-bahn", "o"]])
def test_other_small_letters_stay(labels: list[str]) -> None:
    rows = Rows({"tokens": [["a", "b", "c"]], "tags": [labels]}, "here", np.arange(1))
    found = TokenClassification().prepare(rows, labelled=True)
    assert found.columns["labels"] == [labels] and found.notes == ()
