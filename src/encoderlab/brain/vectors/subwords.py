"""Words to tokens. Tokens belong to words by the tokenizer's own `word_ids`, never by counting: it emits nothing for an
empty word.
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
    """ids: int64 (n,) without special tokens. word: int64 (n,), ascending: the word each token is a part of.

    words: how many words there are, those without a token included
    unknown: words that are the tokenizer's unknown token and nothing else
    """

    ids: np.ndarray
    word: np.ndarray
    words: int
    unknown: int

    @property
    def first(self) -> np.ndarray:
        """int64 (words + 1,): the tokens of word w are first[w] to first[w + 1]."""
        return np.searchsorted(self.word, np.arange(self.words + 1))


def word_tokenizer(tokenizer: Any) -> Tokenizer:
    """A copy of a tokenizer that takes words one by one and gives each the tokens it has inside a sentence: byte-level
    ones (RoBERTa, ModernBERT) write the space before a word into its first token, so each word gets one."""
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
    """The tokens of words as `word_tokenizer` makes them; `unknown`: the token for what has none."""
    # A lone surrogate is no text that can be encoded; what it stood for is lost already.
    clean = [word.encode("utf-8", "replace").decode("utf-8") for word in words]
    encoding = tokenizer.encode(clean, is_pretokenized=True, add_special_tokens=False)
    word = np.array(encoding.word_ids, dtype=np.int64)
    first = np.searchsorted(word, np.arange(len(words) + 1))
    lone = first[:-1][np.diff(first) == 1]
    tokens = encoding.tokens  # made anew at every access
    return Subwords(
        ids=np.array(encoding.ids, dtype=np.int64),
        word=word,
        words=len(words),
        unknown=sum(tokens[i] == unknown for i in lone.tolist()),
    )
