"""What an export and a model card say about loading names the study's classes in the study's order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from encoderlab.inference import predict
from encoderlab.inference.export import export
from encoderlab.model import heads
from encoderlab.study.compare import compare
from fixtures_heads import CLASS, SEQUENCE, checkpoint, named, results, study


def by_name(model: Any, folder: Path, texts: list[str]) -> list[str]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = model.eval()(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    return [model.config.id2label[int(i)] for i in logits.argmax(-1)]


def test_the_answers_have_their_names_where_the_base_has_the_classes_in_another_order(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "cache"))
    base = checkpoint(tiny_model("bert"), tmp_path / "base", SEQUENCE, **named("pos", "neg"))
    compare(study(tmp_path / "study", base, CLASS))
    run = tmp_path / "study" / "out" / "runs" / results(tmp_path / "study")["lora"]["id"]
    texts = (tmp_path / "study" / "test.csv").read_text().splitlines()[1:]
    texts = [line.split(",")[0] for line in texts]
    with (tmp_path / "answers.csv").open("w") as stream:
        predict.predict(run, tmp_path / "study" / "test.csv", stream)
    header, *lines = (line.split(",") for line in (tmp_path / "answers.csv").read_text().splitlines())
    wanted = [line[header.index("predicted_label")] for line in lines]

    known: dict[str, Any] = {"PeftModel": peft.PeftModel, SEQUENCE: transformers.AutoModelForSequenceClassification}
    done = export(run, "peft", tmp_path / "peft")
    assert by_name(eval(done.load, dict(known)), base, texts) == wanted
    for folder in (tmp_path / "peft", run / "adapter"):
        code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
        scope: dict[str, Any] = {"FOLDER": str(folder)}
        # A card names no path of this machine: its base is the last part of the name.
        exec(code.replace(f"from_pretrained('{base.name}'", f"from_pretrained('{base}'"), scope)
        assert by_name(scope["model"], base, texts) == wanted
    line = export(run, "adapterhub", tmp_path / "hub").load
    model = eval(line.removeprefix("model = ").partition("; ")[0], dict(known))
    assert model.config.id2label == {0: "neg", 1: "pos"} and model.config.label2id == {"neg": 0, "pos": 1}


def test_arguments_are_python_whatever_the_names() -> None:
    names = ["it's", 'a "b"', "\\", "c\nd", "O"]
    for head in (SEQUENCE, "AutoModelForTokenClassification"):
        said = eval(f"dict(x=0{heads.arguments(head, names)})")
        assert said == {
            **{"x": 0, "num_labels": 5, "id2label": dict(enumerate(names))},
            "label2id": {name: i for i, name in enumerate(names)},
        }
    assert heads.arguments("AutoModelForMultipleChoice", ["A", "B"]) == ", num_labels=2"
    assert heads.arguments("AutoModel", []) == ""
