"""Split words into tokens.

The tokenizer's own `word_ids` tell which word a token belongs to. Counting would fail, as an empty word has no token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from tokenizers.pre_tokenizers import Sequence as PreTokenizers


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Subwords:
    """The tokens of a story.

    Attributes:
        ids: (tokens,) int64, without special tokens.
        word: (tokens,) int64, ascending: the word that each token is a part of.
        words: number of words, including words without a token.
        unknown: number of words that are only the tokenizer's unknown token.
    """

    ids: np.ndarray
    word: np.ndarray
    words: int
    unknown: int

    @property
    def first(self) -> np.ndarray:
        """The first token of each word, (words + 1,) int64: word w has the tokens first[w] to first[w + 1]."""
        return np.searchsorted(self.word, np.arange(self.words + 1))


def word_tokenizer(tokenizer: Any) -> Tokenizer:
    """Copy a tokenizer so that it takes words one by one and gives each the tokens that it has inside a sentence.

    Byte-level tokenizers (RoBERTa, ModernBERT) write the space before a word into its first token, so the copy puts a
    space in front of each word.
    """
    words = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    words.no_truncation()
    words.no_padding()
    before = words.pre_tokenizer
    for part in before if isinstance(before, PreTokenizers) else [before]:
        if isinstance(part, ByteLevel):
            part.add_prefix_space = True
        if isinstance(part, Metaspace):
            part.prepend_scheme = "always"
    return words


def subwords(words: Sequence[str], tokenizer: Tokenizer, unknown: str | None) -> Subwords:
    """Split words into tokens.

    Args:
        words: the words of a story.
        tokenizer: from `word_tokenizer`.
        unknown: the tokenizer's unknown token.
    """
    # A lone surrogate cannot be encoded; its character is lost already.
    clean = [word.encode("utf-8", "replace").decode("utf-8") for word in words]
    encoding = tokenizer.encode(clean, is_pretokenized=True, add_special_tokens=False)
    word = np.array(encoding.word_ids, dtype=np.int64)
    first = np.searchsorted(word, np.arange(len(words) + 1))
    lone = first[:-1][np.diff(first) == 1]
    tokens = encoding.tokens  # taken once, as every access makes a new list
    return Subwords(
        ids=np.array(encoding.ids, dtype=np.int64),
        word=word,
        words=len(words),
        unknown=sum(tokens[i] == unknown for i in lone.tolist()),
    )
