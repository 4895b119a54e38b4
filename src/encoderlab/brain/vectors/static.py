"""Make word vectors without context: bag of words, word rate, word length, and vectors looked up in a file.

    bag of words   x_wj = 1 if word w is the j-th of the vocabulary; summed over a TR it is the count
    word rate      x_w = 1; summed over a TR it is the number of words
    word length    x_w = letters of the word
    look-up        GloVe text (Pennington et al. 2014), word2vec text and binary (Mikolov et al. 2013), each also .gz

Words are compared as `normal` returns them: in lower case, without the signs that transcribers put around a word.
One-letter words and apostrophes stay: "i" and "don't" are words. A word outside the vocabulary gets a zero vector, and
is counted.
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
    """Normalise a word for look-ups: "Don’t," -> "don't"; a mark such as "{lg}" becomes an empty string."""
    lower = word.replace("\u2019", "'").lower().strip()
    return "" if is_mark(lower, bare=False) else lower.strip(_AROUND)


def vocabulary(stories: Iterable[Story], size: int | None = None) -> tuple[str, ...]:
    """List the commonest words of some stories, in alphabetical order if they are equally common.

    Pass only the training stories of a fold: a vocabulary is fitted, as a weight is.

    Args:
        stories: the stories.
        size: the number of words; None means all.
    """
    counts = Counter(word for story in stories for word in map(normal, story.words) if word)
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:size])


def bag_of_words(story: Story, words: Sequence[str]) -> np.ndarray:
    """Make a bag of words: (words of the story, len(words)) float32, a 1 in the column of each word."""
    column = {word: j for j, word in enumerate(words)}
    rows = np.zeros((len(story), len(words)), dtype=np.float32)
    for i, word in enumerate(map(normal, story.words)):
        if word in column:
            rows[i, column[word]] = 1
    return rows


def word_rate(story: Story) -> np.ndarray:
    """Make the word rate: (words, 1) float32, 1 for a word and 0 for an empty one."""
    return np.array([[float(bool(normal(word)))] for word in story.words], dtype=np.float32).reshape(-1, 1)


def word_length(story: Story) -> np.ndarray:
    """Make the word length: (words, 1) float32, the number of letters of each word."""
    return np.array([[float(len(normal(word)))] for word in story.words], dtype=np.float32).reshape(-1, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Vectors:
    """The vectors of the wanted words: word w has `rows[index[w]]`.

    Attributes:
        index: {word: its row}.
        rows: (n, dimensions) float32.
    """

    index: dict[str, int]
    rows: np.ndarray

    def of(self, story: Story) -> tuple[np.ndarray, int]:
        """Look up the words of a story.

        Returns:
            (words, dimensions) float32, and the number of words that are not in the file, whose rows are zero.
        """
        out = np.zeros((len(story), self.rows.shape[1]), dtype=np.float32)
        missing = 0
        for i, word in enumerate(map(normal, story.words)):
            if word in self.index:
                out[i] = self.rows[self.index[word]]
            else:
                missing += bool(word)
        return out, missing


def read_vectors(path: Path, words: Collection[str]) -> Vectors:
    """Read the vectors of some words from a file, in one pass that keeps nothing else in memory.

    If the file spells a word in several cases, the lower-case entry counts, or else the first one.

    Args:
        path: a GloVe or word2vec file, text or binary, possibly compressed (.gz).
        words: the wanted words, as `normal` returns them.

    Raises:
        InputError: the file has none of these formats, or is cut off.
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
            raise InputError(
                f"{path}: {word!r} has {len(row)} numbers, the first word has {width}; the file is damaged, so copy it "
                "again"
            )
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
    """Yield (word, vector) of a file of any of the formats; `first` is its first line."""
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
    """Return whether a line of text (a word, then numbers) follows a word2vec header."""
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
    # Some files have words with spaces in them; the numbers are then the end of the line.
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
    """Read word2vec's binary form: the word, a space, `width` little-endian float32, and possibly a newline."""
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
