"""The kinds of feature space that an encoding study can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

from encoderlab.core.types import Count, Doc


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A feature space of an encoding study."""

    label: Annotated[
        str | None, Doc("name of the feature space in tables and files; default: made from its kind and settings")
    ] = None


@final
@dataclass(frozen=True, kw_only=True)
class BagOfWords(Feature):
    """One column for each of the most frequent words of the training stories."""

    kind: Literal["bag-of-words"] = "bag-of-words"
    size: Annotated[Count, Doc("number of words in the vocabulary")] = 1000
    rate: Annotated[bool, Doc("whether to add the word rate as one more column")] = False


@final
@dataclass(frozen=True, kw_only=True)
class WordRate(Feature):
    """One column: 1 for every word. After downsampling it is the word rate."""

    kind: Literal["word-rate"] = "word-rate"


@final
@dataclass(frozen=True, kw_only=True)
class WordLength(Feature):
    """One column: the number of letters of each word."""

    kind: Literal["word-length"] = "word-length"


@final
@dataclass(frozen=True, kw_only=True)
class FileVectors(Feature):
    """Word vectors from a file."""

    path: Annotated[str, Doc("a GloVe or word2vec file, text or binary, also .gz")]
    kind: Literal["vectors"] = "vectors"


@final
@dataclass(frozen=True, kw_only=True)
class Encoder(Feature):
    """Hidden states of an encoder, in the context of the story."""

    model: Annotated[str, Doc("a model folder, or a name on the Hugging Face hub")]
    kind: Literal["encoder"] = "encoder"
    layer: Annotated[int, Doc("number of the layer: 0 is the embeddings, negative numbers count from the end")] = -1
    adapter: Annotated[
        str | None,
        Doc("folder of an adapter of encoderlab, of PEFT or of the adapters library, to apply to the encoder"),
    ] = None
    study: Annotated[
        str | None,
        Doc(
            "a masked-lm study file; every finished run of it is one more feature space, beside the "
            "encoder without an adapter"
        ),
    ] = None
    window: Annotated[
        Count | None, Doc("number of tokens to read at once; default: 512, or the number of positions of the encoder")
    ] = None
    stride: Annotated[Count | None, Doc("number of tokens from one window to the next; default: half of window")] = None
    combine: Annotated[
        Literal["mean", "weighted", "central"], Doc("how the vectors of a word from several windows are combined")
    ] = "mean"
    precision: Annotated[Literal["fp32", "bf16"], Doc("number format of the computation")] = "fp32"


KINDS: tuple[type[Feature], ...] = (BagOfWords, WordRate, WordLength, FileVectors, Encoder)
