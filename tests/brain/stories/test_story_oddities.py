"""Missing words as pandas writes them, and CTM files of two channels."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoderlab.brain.stories.read import read
from encoderlab.core.errors import InputError


@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_words_that_pandas_does_not_have(tmp_path: Path, kind: str) -> None:
    words = ["we", "NaN", "nan", "NaN", "went", "None"]
    sep = "\t" if kind == "tsv" else ","
    rows = [sep.join((f"{i}.0", "0.5", word)) for i, word in enumerate(words)]
    path = tmp_path / f"a.{kind}"
    path.write_text("\n".join([sep.join(("onset", "duration", "word")), *rows]) + "\n")
    (story,) = read(path)
    assert list(story.words) == ["we", "nan", "went", "None"]
    notes = "\n".join(story.notes)
    assert "2 rows with NaN for a word left out" in notes
    assert "2 words are kept that may stand for a missing word (nan, None)" in notes
    (story,) = read(path, marks=["nan", "none"])
    assert list(story.words) == ["we", "went"] and "may stand for" not in "\n".join(story.notes)


CTM = "r 1 0.0 0.4 we\nr 2 0.1 0.3 yes\nr 1 0.5 0.4 went\nr 2 0.9 0.3 right\n"


def test_two_channels_are_two_speakers(tmp_path: Path) -> None:
    path = tmp_path / "r.ctm"
    path.write_text(CTM)
    with pytest.raises(InputError, match=r"words of 2 channels.*'1' \(2 words\), '2' \(2 words\); choose one"):
        read(path)
    (story,) = read(path, tier="2")
    assert list(story.words) == ["yes", "right"]
    assert list(read(path, tier=1)[0].words) == ["we", "went"]
    with pytest.raises(InputError, match="`tier` is 'A', but a CTM file has channels"):
        read(path, tier="A")
