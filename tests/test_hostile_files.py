"""What fuzzing found: files of others that say anything become one line that says what and where."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from encoderlab.adapters import adapterhub, peft
from encoderlab.adapters import folder as adapters
from encoderlab.brain.stories import read as stories_read
from encoderlab.core.errors import LONGEST, InputError
from encoderlab.core.files import read_json
from encoderlab.core.hashing import file_hash
from encoderlab.data.readers import read
from encoderlab.data.source import Source
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.lora import Lora
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.classification import Classification
from encoderlab.tasks.masked_lm import MaskedLM

DEEP = "[" * 100_000
HALF = "\ud800"


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Callable[[], EncoderModel]:
    return lambda: load.load(
        str(tiny_model("bert")), head="AutoModelForSequenceClassification", class_names=["no", "yes"], seed=0
    )


def one_line(act: Callable[[], object], *said: str) -> None:
    """`act` is refused in one line that says all this."""
    with pytest.raises(InputError) as caught:
        act()
    (line,) = caught.value.lines
    assert "\n" not in line and len(line) <= LONGEST + 10
    for part in said:
        assert part in line


def folder_of(kind: str, make: Callable[[], EncoderModel], folder: Path) -> Path:
    method: Method = Adapter(bottleneck=4) if kind == "adapterhub" else Lora(rank=2)
    model = make()
    method.inject(model, 0)
    tensors = adapters.adapter_tensors(model)
    if kind == "ours":
        adapters.save(model, method, tensors, folder)
        said = read_json(folder / adapters.OURS)
        (folder / adapters.OURS).write_text(json.dumps(said))
    else:
        {"peft": peft, "adapterhub": adapterhub}[kind].write(model, method, tensors, folder)
    return folder


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["ours", "peft", "adapterhub"])
def test_weights_that_are_no_numbers(kind: str, value: float, make: Callable[[], EncoderModel], tmp_path: Path) -> None:
    folder = folder_of(kind, make, tmp_path)
    if kind == "adapterhub":
        path = folder / adapterhub.WEIGHTS[1]
        tensors = torch.load(path, weights_only=True)
    else:
        path = folder / adapters.WEIGHTS
        tensors = load_file(path)
    name = min(tensors)
    tensors[name].view(-1)[0] = value
    if kind == "adapterhub":
        torch.save(tensors, path)
    else:
        save_file(tensors, path, {"format": "pt"})
        if kind == "ours":  # a file that was written so, and not damaged later
            said = read_json(folder / adapters.OURS) | {"sha256": file_hash(path)}
            (folder / adapters.OURS).write_text(json.dumps(said))
    one_line(lambda: adapters.load_adapter(make(), folder), str(folder), repr(name), "not finite")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rank", "4"),
        ("rank", 0),
        ("rank", 10**9),
        ("rank", True),
        ("alpha", float("nan")),
        ("alpha", None),
        ("layers", 3),
        ("layers", [99]),
        ("layers", []),
        ("target", "query"),
        ("target", ["no such layer"]),
        ("dropout", 7),
        ("name", "no such method"),
        ("name", ["lora"]),
        ("extra", 1),
    ],
)
def test_settings_of_our_own_folder(key: str, value: Any, make: Callable[[], EncoderModel], tmp_path: Path) -> None:
    folder = folder_of("ours", make, tmp_path)
    said = read_json(folder / adapters.OURS)
    said["method"][key] = value
    (folder / adapters.OURS).write_text(json.dumps(said))
    one_line(lambda: adapters.load_adapter(make(), folder), str(folder))


def test_sizes_that_are_not_those_of_the_tensors(make: Callable[[], EncoderModel], tmp_path: Path) -> None:
    model, method = make(), Adapter(bottleneck=4)
    method.inject(model, 0)
    adapters.save(model, method, adapters.adapter_tensors(model), tmp_path)
    said = read_json(tmp_path / adapters.OURS)
    said["method"]["bottleneck"] = 10**9
    (tmp_path / adapters.OURS).write_text(json.dumps(said))
    one_line(lambda: adapters.load_adapter(make(), tmp_path), "bottleneck = 1000000000: none of its tensors")


@pytest.mark.parametrize(
    ("kind", "key", "value"), [("peft", "lora_alpha", "x"), ("peft", "r", []), ("adapterhub", "config", 3)]
)
def test_settings_of_other_folders(
    kind: str, key: str, value: Any, make: Callable[[], EncoderModel], tmp_path: Path
) -> None:
    folder = folder_of(kind, make, tmp_path)
    path = folder / peft.CONFIG
    path.write_text(json.dumps(read_json(path) | {key: value}))
    if (kind, key) != ("peft", "r"):  # the rank is that of the tensors
        one_line(lambda: adapters.load_adapter(make(), folder), str(folder))
    path.write_text(DEEP)
    one_line(lambda: adapters.load_adapter(make(), folder), str(path), "nested too deeply")


def test_labels_and_texts_of_half_a_character(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a \\ud800 b", "label": "x\\ud83d"}\n' * 2)
    rows = read(Source(path=str(path)), Path())
    one_line(lambda: Classification().prepare(rows, labelled=True), "row 1, column 'label'", "half of a character")
    assert Classification().prepare(rows, labelled=False).columns["text"] == ["a ? b"] * 2
    assert MaskedLM().prepare(rows, labelled=False).columns["text"] == ["a ? b"] * 2


def test_labels_with_endless_digits(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label\na,{'1' * 300_000}x\nb,1.5\n")
    start = time.process_time()
    Classification().prepare(read(Source(path=str(path)), Path()), labelled=True)
    assert time.process_time() - start < 2


def test_words_of_half_a_character(tmp_path: Path) -> None:
    path = tmp_path / "tale.json"
    path.write_text(json.dumps({"words": [{"word": f"b{HALF}", "start": 0.0, "end": 0.5}]}))
    one_line(lambda: stories_read.read(path), "tale.json", "word 1", "half of a character")


def test_a_long_word_in_front_of_the_first_letter_with_an_accent(tmp_path: Path) -> None:
    """The search for an example of the encoding was quadratic in the length of a word."""
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,label\n" + b"a" * 400_000 + b",x\ncaf\xe9 au lait,y\nna\xefve,x\nr\xf4le,y\n")
    start = time.process_time()
    rows = read(Source(path=str(path)), Path())
    assert time.process_time() - start < 2
    assert any("cp1252" in note and "'café'" in note for note in rows.notes)


@pytest.mark.parametrize("text", ["a" * 300_000, "é" * 300_000, "word " * 100_000, "\x1b[2J" * 50_000])
def test_a_problem_keeps_to_what_somebody_reads(text: str) -> None:
    (line,) = InputError(f"file.csv:3: {text} is no number; expected one").lines
    assert line.startswith("file.csv:3: ") and line.endswith("is no number; expected one")
    assert len(line) <= LONGEST and line.isprintable()
