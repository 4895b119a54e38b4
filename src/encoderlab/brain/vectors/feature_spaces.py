"""Open the feature spaces of a study: compute their vectors for any stories, and list what these depend on.

Spaces that differ only in the layer of an encoder share one pass, so a `Spaces` may have several labels. `attributes`
names everything except the words that the vectors depend on. A file of vectors is up to date if its attributes are
equal to the current ones.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch

from encoderlab.adapters import folder as adapters
from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors.contextual import layer_numbers, story_vectors
from encoderlab.brain.vectors.features import BagOfWords, Encoder, Feature, FileVectors, WordRate
from encoderlab.brain.vectors.static import normal, read_vectors, vocabulary, word_length, word_rate
from encoderlab.brain.vectors.windows import Windows
from encoderlab.core.errors import InputError
from encoderlab.core.hashing import file_hash
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.prepacked_linear import prepack

OnProgress = Callable[[int], object]
Counts = dict[str, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Spaces(ABC):
    """The feature spaces that one pass over the words computes.

    Attributes:
        labels: of the spaces.
        feature: their section in the study.
        notes: lines for the user about an encoder, as keys of a dict so that none is repeated.
    """

    labels: tuple[str, ...]
    feature: Feature
    notes: dict[str, None] = field(default_factory=dict)

    @abstractmethod
    def attributes(self, number: int, stories: Sequence[Story]) -> dict[str, str | int]:
        """List what the vectors of one label depend on, for its file, in plain values.

        Args:
            number: of the label.
            stories: the stories of the study.
        """

    @abstractmethod
    def vectors(self, stories: Sequence[Story], on_progress: OnProgress) -> Iterator[tuple[list[np.ndarray], Counts]]:
        """Yield for each story one (words, dimensions) array per label, and counts; then call `on_progress(words)`."""

    def release(self) -> None:
        """Free an encoder that was read; it is read again if it is needed again."""
        vars(self).pop("encoder", None)


def open_spaces(features: Sequence[tuple[str, Feature]], device: torch.device) -> list[Spaces]:
    """Open feature spaces; an encoder is read when it is first needed.

    Args:
        features: (label, section) of each space.
        device: where encoders run.
    """
    opened: list[Spaces] = []
    by_encoder: dict[Encoder, list[tuple[str, int]]] = {}  # {encoder: labels and layers}
    for label, feature in features:
        if isinstance(feature, Encoder):
            by_encoder.setdefault(replace(feature, layer=0, label=None), []).append((label, feature.layer))
        elif isinstance(feature, BagOfWords):
            opened.append(Vocabulary(labels=(label,), feature=feature))
        elif isinstance(feature, FileVectors):
            opened.append(LookedUp(labels=(label,), feature=feature))
        else:
            opened.append(OneColumn(labels=(label,), feature=feature))
    for feature, members in by_encoder.items():
        labels, layers = zip(*members, strict=True)
        opened.append(Contextual(labels=labels, feature=feature, wanted=layers, device=device))
    return opened


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Vocabulary(Spaces):
    """A bag of words: the number of each word in the vocabulary of all stories, -1 for an empty word.

    The training stories of a fold decide which words are used, when responses are predicted.
    """

    def attributes(self, number: int, stories: Sequence[Story]) -> dict[str, str | int]:
        """See `Spaces`."""
        words = "\n".join(vocabulary(stories))
        digest = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()
        return {"kind": "bag-of-words", "units": "index into vocabulary, -1: no word", "vocabulary_sha256": digest}

    def vectors(self, stories: Sequence[Story], on_progress: OnProgress) -> Iterator[tuple[list[np.ndarray], Counts]]:
        """See `Spaces`."""
        index = {word: i for i, word in enumerate(vocabulary(stories))}
        for story in stories:
            rows = np.array([index.get(normal(word), -1) for word in story.words], dtype=np.int32).reshape(-1, 1)
            on_progress(len(story))
            yield [rows], {"empty": int((rows < 0).sum())}


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class OneColumn(Spaces):
    """Word rate or word length, one column each."""

    def attributes(self, number: int, stories: Sequence[Story]) -> dict[str, str | int]:
        """See `Spaces`."""
        rate = isinstance(self.feature, WordRate)
        return {"kind": "word-rate" if rate else "word-length", "units": "words" if rate else "letters"}

    def vectors(self, stories: Sequence[Story], on_progress: OnProgress) -> Iterator[tuple[list[np.ndarray], Counts]]:
        """See `Spaces`."""
        make = word_rate if isinstance(self.feature, WordRate) else word_length
        for story in stories:
            rows = make(story)
            on_progress(len(story))
            yield [rows], {"empty": int((rows == 0).sum())}


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class LookedUp(Spaces):
    """Vectors of words, looked up in a file."""

    @property
    def file(self) -> Path:
        """The file of vectors."""
        assert isinstance(self.feature, FileVectors)
        return Path(self.feature.path)

    def attributes(self, number: int, stories: Sequence[Story]) -> dict[str, str | int]:
        """See `Spaces`; raise InputError if the file does not exist."""
        try:
            digest = file_hash(self.file)
        except OSError:
            raise InputError(f"{self.file}: no such file; expected GloVe or word2vec vectors") from None
        return {"kind": "vectors", "units": "as in the file", "file": self.file.name, "file_sha256": digest}

    def vectors(self, stories: Sequence[Story], on_progress: OnProgress) -> Iterator[tuple[list[np.ndarray], Counts]]:
        """See `Spaces`."""
        table = read_vectors(self.file, set(vocabulary(stories)))
        for story in stories:
            rows, missing = table.of(story)
            on_progress(len(story))
            yield [rows], {"missing": missing}


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Contextual(Spaces):
    """Layers of an encoder.

    Attributes:
        wanted: one layer a label, as the study file has them.
        device: where the encoder runs.
    """

    wanted: tuple[int, ...]
    device: torch.device

    @property
    def settings(self) -> Encoder:
        """The section of the encoder."""
        assert isinstance(self.feature, Encoder)
        return self.feature

    @cached_property
    def windows(self) -> Windows:
        """The way in which stories are cut into windows."""
        return Windows(window=self.settings.window, stride=self.settings.stride, combine=self.settings.combine)

    @cached_property
    def encoder(self) -> EncoderModel:
        """The encoder without a head, with its adapter merged into it if the adapter can be merged."""
        encoder = load.load(self.settings.model, head="AutoModel", class_names=[], seed=0)
        self.notes.update(dict.fromkeys(encoder.notes))
        if self.settings.adapter is not None:
            adapters.load_adapter(encoder, Path(self.settings.adapter), head=False).merge(encoder)
        dtype = torch.bfloat16 if self.settings.precision == "bf16" else torch.float32
        encoder.model.requires_grad_(False).to(self.device, dtype)
        prepack(encoder.model)
        return encoder

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The layers, numbered from 0 (the embeddings) up."""
        return layer_numbers(self.encoder, self.wanted)

    def attributes(self, number: int, stories: Sequence[Story]) -> dict[str, str | int]:
        """See `Spaces`; raise InputError if the encoder cannot be read, or lacks the layer or the windows."""
        size, stride = self.windows.sizes(self.encoder)
        return {
            "kind": "encoder",
            "units": "hidden state",
            "model": Path(self.settings.model).name,
            "model_fingerprint": self.encoder.fingerprint,
            "tokenizer_fingerprint": self.encoder.tokenizer_fingerprint,
            "adapter_fingerprint": _folder_digest(self.settings.adapter) if self.settings.adapter else "",
            "layer": self.layers[number],
            "window_tokens": size,  # of the story; special tokens are added to these
            "stride_tokens": stride,
            "combine": self.settings.combine,
            "precision": self.settings.precision,
        }

    def vectors(self, stories: Sequence[Story], on_progress: OnProgress) -> Iterator[tuple[list[np.ndarray], Counts]]:
        """See `Spaces`."""
        words = (story.words for story in stories)
        for story in story_vectors(
            words, self.encoder, layers=self.layers, windows=self.windows, on_progress=on_progress
        ):
            counts = {"empty": story.empty, "unknown": story.unknown, "windows": story.windows, "tokens": story.tokens}
            yield list(story.vectors), counts


def _folder_digest(folder: str) -> str:
    """Hash the tensors and settings of an adapter folder, independently of its path."""
    digest = hashlib.sha256()
    for file in sorted(path for ending in ("safetensors", "bin", "json") for path in Path(folder).glob(f"*.{ending}")):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
