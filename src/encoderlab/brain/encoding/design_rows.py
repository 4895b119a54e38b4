"""Make the rows of a feature space that ridge regression sees, for all stories and for a group of held-out stories.

Most spaces do not depend on the training stories, so their rows are the same whichever stories are held out. A
vocabulary and an adapter are fitted to stories: their rows are made once for each group of held-out stories, from the
stories outside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.fmri.design import Design
from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors.features import BagOfWords
from encoderlab.brain.vectors.vectors_file import VectorsFile

Rows = list[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """A source of the rows of one feature space."""

    label: str
    kind: str

    @property
    def fitted(self) -> bool:
        """Whether `rows` depends on the held-out stories."""
        return False

    @property
    @abstractmethod
    def key(self) -> str:
        """The settings that the rows depend on, apart from the stories."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """The number of features before the delays."""

    @abstractmethod
    def rows(self, stories: Sequence[Story], design: Design, held_out: Sequence[int] = ()) -> Rows:
        """Make the (T_s, dimensions x delays) float64 rows of each story."""


@final
@dataclass(frozen=True, kw_only=True)
class Uncensored(Source):
    """A source without the censored TRs of one subject.

    Attributes:
        source: the source of all rows.
        left_out: for each story, (T_s,) True for a TR to leave out; None keeps all.
    """

    source: Source
    left_out: tuple[NDArray[np.bool_] | None, ...]

    @property
    def fitted(self) -> bool:
        """See `Source`."""
        return self.source.fitted

    @property
    def key(self) -> str:
        """See `Source`."""
        return self.source.key

    @property
    def dimensions(self) -> int:
        """See `Source`."""
        return self.source.dimensions

    def rows(self, stories: Sequence[Story], design: Design, held_out: Sequence[int] = ()) -> Rows:
        """See `Source`."""
        whole = self.source.rows(stories, design, held_out)
        return [rows if out is None else rows[~out] for rows, out in zip(whole, self.left_out, strict=True)]


@final
@dataclass(frozen=True, kw_only=True)
class Fixed(Source):
    """Vectors that do not depend on the training stories."""

    file: VectorsFile

    @property
    def key(self) -> str:
        """See `Source`."""
        return self.file.key

    @property
    def dimensions(self) -> int:
        """See `Source`."""
        return self.file.dimensions

    def rows(self, stories: Sequence[Story], design: Design, held_out: Sequence[int] = ()) -> Rows:
        """See `Source`."""
        return design.delayed([design.rows(s.name, self.file.read(s.name), s.times, s.tr_times) for s in stories])


@final
@dataclass(frozen=True, kw_only=True)
class Counted(Source):
    """Bag of words: the commonest words of the stories that are not held out."""

    file: VectorsFile
    feature: BagOfWords

    @property
    def fitted(self) -> bool:
        """See `Source`."""
        return True

    @property
    def key(self) -> str:
        """See `Source`."""
        return f"{self.file.key} {self.feature.size} {self.feature.rate}"

    @property
    def dimensions(self) -> int:
        """See `Source`."""
        return min(self.feature.size, self.file.dimensions) + self.feature.rate

    def rows(self, stories: Sequence[Story], design: Design, held_out: Sequence[int] = ()) -> Rows:
        """See `Source`."""
        numbers = [self.file.read(story.name)[:, 0] for story in stories]
        columns = self.columns([n for i, n in enumerate(numbers) if i not in held_out])
        made = []
        for story, words in zip(stories, numbers, strict=True):
            vectors = np.zeros((len(words), len(columns) + self.feature.rate))
            counted = np.flatnonzero(np.isin(words, columns))
            vectors[counted, np.searchsorted(columns, words[counted])] = 1
            if self.feature.rate:
                vectors[:, -1] = words >= 0
            made.append(design.rows(story.name, vectors, story.times, story.tr_times))
        return design.delayed(made)

    def columns(self, training: Sequence[np.ndarray]) -> np.ndarray:
        """Choose the numbers of the commonest words, ascending.

        Words are numbered by the vocabulary of all stories, commonest first, and ties go to the lower number.
        """
        counts = Counter(np.concatenate(training).tolist())
        del counts[-1]
        chosen = sorted(counts, key=lambda number: (-counts[number], number))[: self.feature.size]
        return np.array(sorted(chosen), dtype=np.int64)


@final
@dataclass(frozen=True, kw_only=True)
class Retrained(Source):
    """An encoder whose adapter is trained without the held-out stories.

    Attributes:
        files: files(names of the held-out stories) returns their vectors.
        size: the number of features.
        depends: the key.
    """

    files: Callable[[frozenset[str]], VectorsFile]
    size: int
    depends: str

    @property
    def fitted(self) -> bool:
        """See `Source`."""
        return True

    @property
    def key(self) -> str:
        """See `Source`."""
        return self.depends

    @property
    def dimensions(self) -> int:
        """See `Source`."""
        return self.size

    def rows(self, stories: Sequence[Story], design: Design, held_out: Sequence[int] = ()) -> Rows:
        """See `Source`."""
        file = self.files(frozenset(stories[i].name for i in held_out))
        return design.delayed([design.rows(s.name, file.read(s.name), s.times, s.tr_times) for s in stories])
