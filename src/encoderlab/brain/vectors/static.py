"""Word vectors that know no context: bag of words, word rate, word length, and vectors looked up in a file.

    bag of words   x_wj = 1 where word w is the j-th of the vocabulary; summed over a TR it is the count
    word rate      x_w = 1; summed over a TR it is the number of words
    word length    x_w = letters of the word
    look-up        GloVe text (Pennington et al. 2014), word2vec text and binary (Mikolov et al. 2013), each also .gz

Words are compared as `normal` gives them: lower case, without what transcribers put around a word. One-letter words and
apostrophes stay: "i" and "don't" are words. What is in no vocabulary gets a zero vector, and is counted.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from encoderlab.brain.stories.marks import is_mark
from encoderlab.brain.stories.story import Story
from encoderlab.core.errors import InputError

_AROUND = ' \t\r\n.,;:!?"()[]{}<>*`~…“”'  # apostrophes and hyphens are inside words


def normal(word: str) -> str:
    """The form under which a word is looked up: "Don’t," -> "don't"; nothing for a mark such as "{lg}"."""
    said = word.replace("\u2019", "'").lower().strip()
    return "" if is_mark(said, bare=False) else said.strip(_AROUND)


def vocabulary(stories: Iterable[Story], size: int | None = None) -> tuple[str, ...]:
    """The commonest words of some stories, all of them without `size`; of equally common ones the first in the
    alphabet. Give it the training stories of a fold and no others: a vocabulary is fitted like a weight."""
    counts = Counter(word for story in stories for word in map(normal, story.words) if word)
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:size])


def bag_of_words(story: Story, words: Sequence[str]) -> np.ndarray:
    """float32 (w, len(words)): one row a word of the story, a 1 in the column of the vocabulary's word."""
    column = {word: j for j, word in enumerate(words)}
    rows = np.zeros((len(story), len(words)), dtype=np.float32)
    for i, word in enumerate(map(normal, story.words)):
        if word in column:
            rows[i, column[word]] = 1
    return rows


def word_rate(story: Story) -> np.ndarray:
    """float32 (w, 1): 1 a word; 0 for an empty one, which nobody said."""
    return np.array([[float(bool(normal(word)))] for word in story.words], dtype=np.float32).reshape(-1, 1)


def word_length(story: Story) -> np.ndarray:
    """float32 (w, 1): letters of each word."""
    return np.array([[float(len(normal(word)))] for word in story.words], dtype=np.float32).reshape(-1, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Vectors:
    """Vectors of the words that were asked for: `rows[index[word]]`, float32 (n, dimensions)."""

    index: dict[str, int]
    rows: np.ndarray

    def of(self, story: Story) -> tuple[np.ndarray, int]:
        """float32 (w, dimensions) for a story's words, and how many said words are not in the file (zero rows)."""
        out = np.zeros((len(story), self.rows.shape[1]), dtype=np.float32)
        missing = 0
        for i, word in enumerate(map(normal, story.words)):
            if word in self.index:
                out[i] = self.rows[self.index[word]]
            else:
                missing += bool(word)
        return out, missing


def read_vectors(path: Path, words: Collection[str]) -> Vectors:
    """The vectors of `words` (in `normal` form) that a file has: one pass, nothing else kept in memory.

    Where the file spells a word in several cases, the lower-case entry is taken, else the first. InputError for a file
    that is neither of the formats, or is cut off.
    """
    wanted = set(words)
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix.lower() == ".gz" else raw as stream:
            first = stream.readline()
            entries = _entries(path, first, cast(BinaryIO, stream))
            return _collect(path, entries, wanted)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected GloVe or word2vec vectors") from None
    except (EOFError, gzip.BadGzipFile, OverflowError) as error:
        raise InputError(f"{path}: damaged or cut off ({error}); copy it again") from None


def _collect(path: Path, entries: Iterable[tuple[str, np.ndarray]], wanted: set[str]) -> Vectors:
    index: dict[str, int] = {}
    rows: list[np.ndarray] = []
    exact: set[str] = set()
    width = None
    for word, row in entries:
        width = width or len(row)
        if len(row) != width:
            raise InputError(f"{path}: {word!r} has {len(row)} numbers, the first word {width}; the file is damaged")
        key = normal(word)
        if key not in wanted or (key in index and (word != key or key in exact)):
            continue
        if word == key:
            exact.add(key)
        if key not in index:
            index[key] = len(rows)
            rows.append(row)
        else:
            rows[index[key]] = row
    if width is None:
        raise InputError(f"{path}: no vectors in it; expected GloVe or word2vec, text or binary")
    return Vectors(index=index, rows=np.array(rows, dtype=np.float32).reshape(len(rows), width))


def _entries(path: Path, first: bytes, stream: BinaryIO) -> Iterator[tuple[str, np.ndarray]]:
    header = first.split()
    if len(header) == 2 and all(part.isdigit() for part in header):
        count, width = map(int, header)
        start = stream.peek(1 << 16)[: 1 << 16] if hasattr(stream, "peek") else b""  # type: ignore[attr-defined]
        if not _is_text(start, width):
            yield from _binary(path, stream, count, width)
            return
    else:
        yield _text_entry(path, 1, first)
    for line, data in enumerate(stream, start=2):
        if data.strip():
            yield _text_entry(path, line, data)


def _is_text(start: bytes, width: int) -> bool:
    """Whether what follows a word2vec header is a line of text: a word, then numbers."""
    try:
        return len([float(part) for part in start.split(b"\n")[0].split()[1:] or [b"no"]][: width + 1]) > 0
    except ValueError:
        return False


def _text_entry(path: Path, line: int, data: bytes) -> tuple[str, np.ndarray]:
    word, _, numbers = data.rstrip(b" \r\n").partition(b" ")
    try:
        row = np.array(numbers.split(), dtype=np.float32)
        if len(row):
            return word.decode("utf-8", "replace"), row
    except ValueError:
        pass
    # Some files have words with spaces in them: the numbers are then what ends the line.
    parts = data.split()
    place = len(parts)
    while place > 1 and _is_number(parts[place - 1]):
        place -= 1
    if place == len(parts) or place < 1:
        raise InputError(f"{path}:{line}: expected a word and its numbers, got {data[:40]!r}")
    return b" ".join(parts[:place]).decode("utf-8", "replace"), np.array(parts[place:], dtype=np.float32)


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _binary(path: Path, stream: BinaryIO, count: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """word2vec's binary form: the word, a space, `width` little-endian float32; a newline may follow."""
    for number in range(count):
        word = bytearray()
        while (byte := stream.read(1)) != b" ":
            if not byte or len(word) > 10_000:
                raise InputError(f"{path}: cut off after {number} of {count} words; copy it again")
            if byte != b"\n":
                word += byte
        data = stream.read(4 * width)
        if len(data) < 4 * width:
            raise InputError(f"{path}: cut off after {number} of {count} words; copy it again")
        yield word.decode("utf-8", "replace"), np.frombuffer(data, dtype="<f4")
