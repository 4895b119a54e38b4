"""The feature spaces that an encoding study may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from encoderlab.core.types import Count


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature space.

    label: its name in tables and files; default: made of kind and settings
    """

    label: str | None = None


@final
@dataclass(frozen=True, kw_only=True)
class BagOfWords(Feature):
    """A column for each of the commonest words of the training stories.

    size: words in the vocabulary
    rate: one more column: how many words
    """

    kind: Literal["bag-of-words"] = "bag-of-words"
    size: Count = 1000
    rate: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class WordRate(Feature):
    """One column: how many words."""

    kind: Literal["word-rate"] = "word-rate"


@final
@dataclass(frozen=True, kw_only=True)
class WordLength(Feature):
    """One column: how many letters."""

    kind: Literal["word-length"] = "word-length"


@final
@dataclass(frozen=True, kw_only=True)
class FileVectors(Feature):
    """Vectors looked up in a file.

    path: GloVe or word2vec, text or binary, also .gz
    """

    path: str
    kind: Literal["vectors"] = "vectors"


@final
@dataclass(frozen=True, kw_only=True)
class Encoder(Feature):
    """Hidden states of an encoder, in the context of the story.

    model: a model folder, or a name on the Hugging Face hub
    layer: 0 is the embeddings, l the l-th layer, negative ones count from the end
    adapter: a folder of an adapter (ours, PEFT's or the adapters library's), put into the encoder
    study: a masked-lm study file; every finished run of it is a feature space, beside the encoder without one
    window: tokens read at once; default: 512, or what the encoder has positions for
    stride: tokens from one window to the next; default: half of window
    combine: how a word's vectors from several windows become one
    precision: fp32 or bf16
    """

    model: str
    kind: Literal["encoder"] = "encoder"
    layer: int = -1
    adapter: str | None = None
    study: str | None = None
    window: Count | None = None
    stride: Count | None = None
    combine: Literal["mean", "weighted", "central"] = "mean"
    precision: Literal["fp32", "bf16"] = "fp32"


KINDS: tuple[type[Feature], ...] = (BagOfWords, WordRate, WordLength, FileVectors, Encoder)
