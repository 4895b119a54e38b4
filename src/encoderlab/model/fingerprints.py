"""Fingerprints of an encoder: sha256 over its tensors and over its tokens.

A process reads the same files once, regardless of how many runs load them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_COMPUTED: dict[Hashable, tuple[str, ...]] = {}


def once(files: Hashable | None, key: Hashable, compute: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """Return `compute()`, from memory if this process has computed it for the same files and key.

    Args:
        files: the state of the files, from `state`; None computes every time.
        key: what else the result depends on.
        compute: the fingerprints.
    """
    if files is None:
        return compute()
    if (files, key) not in _COMPUTED:
        _COMPUTED[files, key] = compute()
    return _COMPUTED[files, key]


def state(name: str, config: Any) -> Hashable | None:
    """Return what identifies the files of a model without reading them.

    This is the names, sizes and times of the files of a folder, or the commit of a hub name; None if it is not known.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        commit = getattr(config, "_commit_hash", None)
        return None if commit is None else (name, commit)
    files = ((path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return str(folder.absolute()), *((file, s.st_size, s.st_mtime_ns, s.st_ino) for file, s in files)


def of_tensors(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return the sha256 over names, shapes and bytes of tensors, and a text; "" without tensors."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(buffer(tensor))
    return digest.hexdigest() if tensors else ""


def of_tokens(tokenizer: Any) -> str:
    """Return the sha256 over the vocabulary of a tokenizer and the tokens of some texts.

    The texts differ in case, accents, digits, signs and spaces. The fingerprint therefore describes what the tokenizer
    does, and not how the version of its library saves it.
    """
    texts = ["Don't STOP: it costs 3.50 $!", "na\u00efve\u00a0 caf\u00e9\n\tx_y", "\u4f60\u597d \U0001f642 [MASK]"]
    ids = [tokenizer(texts)["input_ids"], tokenizer(*texts[:2])["input_ids"]]
    return hashlib.sha256(json.dumps([sorted(tokenizer.get_vocab().items()), ids]).encode()).hexdigest()


def buffer(tensor: Tensor) -> Any:
    """Return the bytes of a tensor in row-major order, without a copy if it is contiguous."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
