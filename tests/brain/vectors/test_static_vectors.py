"""Bag of words, rates, and vectors from files: one row a word, whatever the word."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors.static import bag_of_words, normal, read_vectors, vocabulary, word_length, word_rate
from encoderlab.core.errors import InputError


def story(*words: str) -> Story:
    return Story(name="tale", words=words, times=np.arange(len(words), dtype=float), tr_times=np.arange(3.0))


TALE = story("I", "don\u2019t", "", "know,", "i", "DON'T", "[?]")


def test_normal_keeps_letters_and_apostrophes() -> None:
    assert [normal(word) for word in TALE.words] == ["i", "don't", "", "know", "i", "don't", ""]


def test_bag_of_words() -> None:
    words = vocabulary([TALE])
    assert words == ("don't", "i", "know") and vocabulary([TALE], 1) == ("don't",)
    rows = bag_of_words(TALE, words)
    assert rows.sum(0).tolist() == [2, 2, 1] and rows.sum(1).tolist() == [1, 1, 0, 1, 1, 1, 0]
    assert bag_of_words(story("unseen"), words).tolist() == [[0, 0, 0]]


def test_rate_and_length() -> None:
    assert word_rate(TALE)[:, 0].tolist() == [1, 1, 0, 1, 1, 1, 0]
    assert word_length(TALE)[:, 0].tolist() == [1, 5, 0, 4, 1, 5, 0]
    assert word_rate(story()).shape == word_length(story()).shape == (0, 1)


VALUES = {"I": [9, 9, 9], "i": [1, 2, 3], "know": [4, 5, 6.5], "new york": [7, 7, 7]}


def text(header: bool) -> bytes:
    lines = [f"{word} {' '.join(map(str, row))}" for word, row in VALUES.items()]
    return "\n".join([f"{len(VALUES)} 3"] * header + lines).encode() + b"\n"


def binary(newline: bool) -> bytes:
    body = b"".join(
        w.replace(" ", "_").encode() + b" " + np.array(row, dtype="<f4").tobytes() + b"\n" * newline
        for w, row in VALUES.items()
    )
    return f"{len(VALUES)} 3\n".encode() + body


@pytest.mark.parametrize("data", [text(True), text(False), binary(True), binary(False)])
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_vectors(tmp_path: Path, data: bytes, packed: bool) -> None:
    file = tmp_path / ("vectors.gz" if packed else "vectors")
    file.write_bytes(gzip.compress(data) if packed else data)
    vectors = read_vectors(file, set(vocabulary([TALE])))
    rows, missing = vectors.of(TALE)
    assert missing == 2 and rows.dtype == np.float32
    assert rows.tolist() == [[1, 2, 3], [0, 0, 0], [0, 0, 0], [4, 5, 6.5], [1, 2, 3], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no vectors|expected a word"),
        (b"word\n", "vectors:1: expected a word and its numbers"),
        (b"a 1 2\nb 1\n", "'b' has 1 numbers, the first word has 2"),
        (binary(True)[:-20], "cut off after 3 of 4 words"),
        (gzip.compress(text(False), mtime=0)[:-9], "damaged"),
    ],
)
def test_wrong_files_of_vectors(tmp_path: Path, data: bytes, says: str) -> None:
    file = tmp_path / ("vectors.gz" if data[:2] == b"\x1f\x8b" else "vectors")
    file.write_bytes(data)
    with pytest.raises(InputError, match=says if file.suffix != ".gz" else "damaged or cut off"):
        read_vectors(file, {"a", "b", "i"})


def test_real_glove(shared: Path) -> None:
    vectors = read_vectors(shared / "data/glove/glove.6B.50d.top50k.txt.gz", {"the", "i", "don't", "zzzzqq"})
    assert set(vectors.index) == {"the", "i"}
    assert vectors.rows[vectors.index["the"]][:2] == pytest.approx([0.418, 0.24968])
