"""From texts to flat arrays of token ids, kept on disk by fingerprint.

The ids are those of tokenizer(..., truncation="longest_first", max_length=...); what truncation took away is counted.
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

from encoderlab.core.errors import InputError
from encoderlab.core.files import remove_parts, write_atomically
from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_FORMAT = 1  # of the cache file
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
    """text_columns: one, or two for a pair. `cache`: folder where the tokens are looked up and kept; made if needed.
    `groups`: where several of `rows` are the sequences of one row, as in `Encoded`; labels has one entry each.
    `words`: the column has lists of words, read as the text that they make, and their places are found."""
    key = _fingerprint(rows, text_columns, tokenizer, max_length, groups, words)
    file = cache / f"{key}.safetensors" if cache is not None else None
    arrays = _load(file) if file is not None else None
    if arrays is None:
        arrays = _tokenize(rows, text_columns, tokenizer, max_length, groups, words)
        if file is not None:
            _save(file, arrays)
            arrays = _load(file) or arrays
    return _rows(arrays, labels, key)


def kept(fingerprint: str, cache: Path) -> TokenizedRows | None:
    """Rows that `tokenize` kept in `cache`, without their labels; None where they are no longer there."""
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
    # Truncation and padding are left there by the last call, whatever it was; they are no part of the identity.
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
    # verbose=False: no warning that a text is longer than the model's limit; the count says so.
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
        # The pieces that truncation cut off are kept beside each encoding. For one text they are what was lost; for a
        # pair they are combinations of pieces, so the few rows concerned are tokenized once more in full.
        cut = [i for i, encoding in enumerate(batch.encodings) if encoding.overflowing]
        shortened += [start + i for i in cut]
        if len(columns) == 1:
            tokens_lost += sum(len(piece.ids) - special for i in cut for piece in batch.encodings[i].overflowing)
        elif cut:
            full = tokenizer(*([text[i] for i in cut] for text in texts), **options)
            tokens_lost += sum(map(len, full["input_ids"])) - sum(len(batch["input_ids"][i]) for i in cut)
    if groups is not None:  # the sequences of a row are one row that was cut
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
    """Where in an encoding of `words`, joined by spaces, each one's first token is; -1 where it has none there."""
    content = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    if not len(content):
        return np.full(len(words), -1)
    spans = np.array(encoding.offsets)[content]
    sizes = np.array([len(word) for word in words])
    starts = np.cumsum(sizes + 1) - sizes - 1
    # A token may span the space in front of its word, so what counts is where it ends.
    nearest = np.searchsorted(spans[:, 1], starts, side="right")
    found = np.minimum(nearest, len(content) - 1)
    return np.where((nearest < len(content)) & (spans[found, 0] < starts + sizes), content[found], -1)


def _flat(lists: Sequence[Sequence[int]], dtype: type) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), dtype=dtype)


def _load(file: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a cache file, mapped, so that memory does not grow with the rows; None if there is none, or one
    that cannot be read (it is then written anew)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: array.numpy() for name, array in load_file(file).items()}
    except (OSError, SafetensorError):
        return None


def _save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """A cache that cannot be written costs time later, so it is no reason to stop."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with suppress(InputError, OSError, SafetensorError):
        remove_parts(file.parent, older=24 * 3600)
        write_atomically(file, lambda beside: save_file(arrays, beside))
