"""Fingerprints are those of the plain bytes, and are found once for the same files."""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from encoderlab.model import fingerprints
from encoderlab.model import load as model_load
from encoderlab.study import compare
from fixtures_study import Write, write_study  # noqa: F401  (a fixture)


def test_of_tensors_is_the_sha256_of_names_shapes_and_bytes() -> None:
    tensors = {
        "a": torch.arange(6.0).view(2, 3).t(),
        "b": torch.tensor(2.5),
        "c": torch.arange(4).bfloat16(),
        "d": torch.zeros(0, 3),
    }
    digest = hashlib.sha256(b"text")
    for name, tensor in tensors.items():
        plain = tensor.contiguous().view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + plain.numpy().tobytes())
    assert fingerprints.of_tensors(tensors, "text") == digest.hexdigest()
    assert fingerprints.of_tensors({}, "text") == ""


def test_the_same_files_are_hashed_once_and_changed_ones_anew(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("bert"), folder)
    looked: list[int] = []
    real = fingerprints.of_tensors
    monkeypatch.setattr(fingerprints, "of_tensors", lambda *a: looked.append(1) or real(*a))

    def load(head: str, names: list[str], seed: int) -> tuple[str, ...]:
        found = model_load.load(str(folder), head=head, class_names=names, seed=seed)
        return found.fingerprint, found.pooler_fingerprint, found.head_fingerprint, found.tokenizer_fingerprint

    classes = "AutoModelForSequenceClassification"
    first = load(classes, ["a", "b"], 0)
    count = len(looked)
    assert count and load(classes, ["a", "b"], 1) == first and len(looked) == count
    assert load("AutoModel", [], 0)[0] == first[0] and len(looked) > count  # another head has other parts
    weights = load_file(folder / "model.safetensors")
    weights = {name: tensor + ("layer.0" in name) for name, tensor in weights.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert load(classes, ["a", "b"], 0)[0] != first[0]


def test_a_hub_name_goes_by_its_commit() -> None:
    config: Any = transformers.BertConfig()
    assert fingerprints.state("some/encoder", config) is None
    config._commit_hash = "0123"
    one = fingerprints.state("some/encoder", config)
    config._commit_hash = "4567"
    assert one is not None and fingerprints.state("some/encoder", config) != one
    found = iter(["a", "b"])
    assert [fingerprints.once(None, "x", lambda: (next(found),)) for _ in range(2)] == [("a",), ("b",)]


def test_the_runs_of_a_study_share_one_tokenizer_and_leave_pythons_memory_as_it_was(
    write_study: Write,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_study("shared", '[[method]]\nname = "lora"\nrank = 2\n', seeds="[0, 1]")
    read: list[str] = []
    real = transformers.AutoTokenizer.from_pretrained
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda name: read.append(name) or real(name))
    frozen = gc.get_freeze_count()
    compare.compare(path, ["search.candidates=1"])
    assert len(read) == 2  # before the first run: the check, the tokens
    assert gc.get_freeze_count() == frozen
