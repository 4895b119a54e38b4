"""What an encoder computes, as sha256: of its tensors and of its tokens. Files that are the same files are read for it
once in a process, however many runs load them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_FOUND: dict[Hashable, tuple[str, ...]] = {}


def once(files: Hashable | None, what: Hashable, find: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """`find()`, or what it gave before for the same `what` of the same files; files: from `state`."""
    if files is None:
        return find()
    if (files, what) not in _FOUND:
        _FOUND[files, what] = find()
    return _FOUND[files, what]


def state(name: str, config: Any) -> Hashable | None:
    """What tells the files of a model from any others, before they are read: the names, sizes and times of a folder's,
    or the commit of a hub name. None where it is not known."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        commit = getattr(config, "_commit_hash", None)
        return None if commit is None else (name, commit)
    seen = ((path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return str(folder.absolute()), *((file, s.st_size, s.st_mtime_ns, s.st_ino) for file, s in seen)


def of_tensors(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """sha256 over names, shapes and bytes; "" for nothing."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(buffer(tensor))
    return digest.hexdigest() if tensors else ""


def of_tokens(tokenizer: Any) -> str:
    """sha256 over the vocabulary and the tokens of texts that differ in case, accents, digits, signs and spaces: what
    a tokenizer does, not how the version of its library writes it down."""
    texts = ["Don't STOP: it costs 3.50 $!", "na\u00efve\u00a0 caf\u00e9\n\tx_y", "\u4f60\u597d \U0001f642 [MASK]"]
    seen = [tokenizer(texts)["input_ids"], tokenizer(*texts[:2])["input_ids"]]
    return hashlib.sha256(json.dumps([sorted(tokenizer.get_vocab().items()), seen]).encode()).hexdigest()


def buffer(tensor: Tensor) -> Any:
    """The bytes of a tensor, rows first, without a copy where it lies so."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
