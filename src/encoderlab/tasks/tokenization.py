"""Tokenize texts into flat arrays of token ids, with a cache on disk by fingerprint.

The ids are those of tokenizer(..., truncation="longest_first", max_length=...). The tokens that truncation removes are
counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoderlab.core.array_files import save_arrays
from encoderlab.core.errors import InputError
from encoderlab.core.files import remove_parts
from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_FORMAT = 1  # the version of the cache file
_BATCH = 1000  # rows per call of the tokenizer


def tokenize(
    rows: Rows,
    text_columns: Sequence[str],
    labels: np.ndarray,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cache: Path | None,
    groups: np.ndarray | None = None,
    *,
    words: bool = False,
) -> TokenizedRows:
    """Tokenize the texts of some rows.

    Args:
        rows: prepared rows.
        text_columns: one column, or two for a pair.
        labels: an array with one entry per row, or per group.
        tokenizer: the tokenizer of the model.
        max_length: the most tokens of a sequence, including special tokens.
        cache: a folder that keeps the tokens, created if needed; None keeps nothing.
        groups: as in `TokenizedRows`, if several of `rows` are the sequences of one row.
        words: whether the column has lists of words. They are joined by spaces, and `places` locates each one.
    """
    key = _fingerprint(rows, text_columns, tokenizer, max_length, groups, words)
    file = cache / f"{key}.safetensors" if cache is not None else None
    arrays = _load(file) if file is not None else None
    if arrays is None:
        arrays = _tokenize(rows, text_columns, tokenizer, max_length, groups, words)
        if file is not None:
            _save(file, arrays)
            arrays = _load(file) or arrays
    return _rows(arrays, labels, key)


def read_cached(fingerprint: str, cache: Path) -> TokenizedRows | None:
    """Return rows that `tokenize` keeps in `cache`, without labels; None if they are no longer there."""
    arrays = _load(cache / f"{fingerprint}.safetensors")
    if arrays is None:
        return None
    labels = np.full(len(arrays.get("groups", arrays["offsets"])) - 1, -1)
    return _rows(arrays, labels, fingerprint)


def _rows(arrays: dict[str, np.ndarray], labels: np.ndarray, fingerprint: str) -> TokenizedRows:
    rows_cut, tokens_lost = arrays["lost"].tolist()
    return TokenizedRows(
        ids=arrays["ids"],
        offsets=arrays["offsets"],
        type_ids=arrays.get("type_ids"),
        labels=labels,
        rows_cut=rows_cut,
        tokens_lost=tokens_lost,
        fingerprint=fingerprint,
        groups=arrays.get("groups"),
        places=arrays.get("places"),
    )


def _fingerprint(
    rows: Rows, text_columns: Sequence[str], tokenizer: Any, max_length: int, groups: np.ndarray | None, words: bool
) -> str:
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    # Truncation and padding are left over from the last call of the tokenizer, so they are not part of its identity.
    backend.update(truncation=None, padding=None)
    settings = [tokenizer.truncation_side, list(tokenizer.model_input_names)]
    parts = [_FORMAT, rows.digest(text_columns), list(text_columns), backend, settings, max_length]
    parts += [] if groups is None else [groups.tolist()]
    parts += ["words"] if words else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _tokenize(
    rows: Rows, text_columns: Sequence[str], tokenizer: Any, max_length: int, groups: np.ndarray | None, words: bool
) -> dict[str, np.ndarray]:
    columns = [rows.columns[name] for name in text_columns]
    lists = columns[0] if words else []
    places = np.full((len(lists), max(map(len, lists), default=0)), -1, dtype=np.int32)
    if words:
        columns = [[" ".join(cell) for cell in lists]]
    # verbose=False: no warning that a text is longer than the limit of the model, because such texts are counted.
    options = {"return_attention_mask": False, "verbose": False}
    special = tokenizer.num_special_tokens_to_add(pair=len(columns) == 2)
    ids, type_ids, lengths, shortened = [], [], [], []
    tokens_lost = 0
    for start in range(0, len(rows), _BATCH):
        texts = [column[start : start + _BATCH] for column in columns]
        batch = tokenizer(*texts, truncation="longest_first", max_length=max_length, **options)
        ids.append(_flat(batch["input_ids"], np.int32))
        if "token_type_ids" in batch:
            type_ids.append(_flat(batch["token_type_ids"], np.int8))
        lengths += map(len, batch["input_ids"])
        for i, encoding in enumerate(batch.encodings if words else ()):
            places[start + i, : len(lists[start + i])] = _first_tokens(lists[start + i], encoding)
        # Each encoding keeps the pieces that truncation cut off. For one text they are the lost tokens. For a pair they
        # are combinations of pieces, so the few truncated pairs are tokenized again in full.
        cut = [i for i, encoding in enumerate(batch.encodings) if encoding.overflowing]
        shortened += [start + i for i in cut]
        if len(columns) == 1:
            tokens_lost += sum(len(piece.ids) - special for i in cut for piece in batch.encodings[i].overflowing)
        elif cut:
            full = tokenizer(*([text[i] for i in cut] for text in texts), **options)
            tokens_lost += sum(map(len, full["input_ids"])) - sum(len(batch["input_ids"][i]) for i in cut)
    if groups is not None:  # several truncated sequences of a row count as one row
        shortened = np.unique(np.searchsorted(groups, shortened, side="right")).tolist()
    arrays = {
        "ids": np.concatenate(ids),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "lost": np.array([len(shortened), tokens_lost], dtype=np.int64),
    }
    arrays |= {"type_ids": np.concatenate(type_ids)} if type_ids else {}
    arrays |= {"places": places} if words else {}
    return arrays | ({} if groups is None else {"groups": groups})


def _first_tokens(words: Sequence[str], encoding: Any) -> np.ndarray:
    """Return the position of each word's first token in an encoding of the joined words; -1 for a word without one."""
    content = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    if not len(content):
        return np.full(len(words), -1)
    spans = np.array(encoding.offsets)[content]
    sizes = np.array([len(word) for word in words])
    starts = np.cumsum(sizes + 1) - sizes - 1
    # A token may include the space in front of its word, so it is found by its end.
    nearest = np.searchsorted(spans[:, 1], starts, side="right")
    token = np.minimum(nearest, len(content) - 1)
    return np.where((nearest < len(content)) & (spans[token, 0] < starts + sizes), content[token], -1)


def _flat(lists: Sequence[Sequence[int]], dtype: type) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), dtype=dtype)


def _load(file: Path) -> dict[str, np.ndarray] | None:
    """Map the arrays of a cache file into memory, which does not grow with the rows.

    Returns None if there is no file or it cannot be read; it is then written again.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: array.numpy() for name, array in load_file(file).items()}
    except (OSError, SafetensorError):
        return None


def _save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a cache file. A cache that cannot be written only costs time later, so errors are ignored."""
    from safetensors import SafetensorError

    with suppress(InputError, OSError, SafetensorError):
        remove_parts(file.parent, older=24 * 3600)
        save_arrays(file, arrays)
