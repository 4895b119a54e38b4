"""What is exported is held to the predictions on disk, and a base model that was moved is named with --base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModel

from encoderlab.cli import app
from encoderlab.core.errors import EncoderlabError
from encoderlab.inference.export import export
from encoderlab.study.compare import compare

TASKS = {
    "classification": ('kind = "classification"', "text,label"),
    "pairs": ('kind = "classification"\ntext = ["text", "other"]', "text,other,label"),
    "regression": ('kind = "regression"\nlabel = "score"', "text,score"),
    "words": ('kind = "token-classification"', "tokens,ner_tags"),
    "choices": ('kind = "multiple-choice"', "question,A,B,C,answer"),
}


def cells(task: str, i: int) -> str:
    text = " ".join(["good", "bad", "film", "[PAD]", "plot"][(i + k) % 5] for k in range(2 + i % 4))
    return {
        "classification": f"{text},{'yes' if i % 2 else 'no'}",
        "pairs": f"{text},the [PAD] acting,{'yes' if i % 2 else 'no'}",
        "regression": f"{text},{450 + 30 * (i % 5)}",
        "words": json.dumps(
            {"tokens": text.split(), "ner_tags": ["B-X" if w == "good" else "O" for w in text.split()]}
        ),
        "choices": f"{text},good,{'bad' if i % 3 else ''},a film,{'C' if i % 2 else 'A'}",
    }[task]


def run_of(folder: Path, model: Path, task: str, precision: str = "fp32", method: str = "lora") -> Path:
    """A finished run of a small study."""
    folder.mkdir(parents=True, exist_ok=True)
    section, header = TASKS[task]
    ending = "jsonl" if task == "words" else "csv"
    for number, split in enumerate(("train", "validation", "test")):
        lines = [cells(task, i + 7 * number) for i in range(12)]
        (folder / f"{split}.{ending}").write_text("\n".join([*([] if task == "words" else [header]), *lines]) + "\n")
    data = "\n".join(f'{split} = "{split}.{ending}"' for split in ("train", "validation", "test"))
    (folder / "study.toml").write_text(
        f'model = "{model}"\nseeds = [0]\nout = "out"\n[task]\n{section}\n[data]\n{data}\n[train]\nepochs = 1\n'
        f'max_length = 24\ndevice = "cpu"\nprecision = "{precision}"\n[search]\ncandidates = 1\n'
        f'[[method]]\nname = "{method}"\nlearning_rate = 0.03\n'
    )
    compare(folder / "study.toml")
    (found,) = [p.parent for p in (folder / "out" / "runs").glob("*/result.json") if f'"{method}"' in p.read_text()]
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "cache"))


@pytest.mark.filterwarnings("ignore:An input array is constant")
@pytest.mark.parametrize(
    ("task", "family"),
    [
        *((task, "roberta") for task in TASKS),
        ("classification", "bert"),
        *(pytest.param(task, "bert", marks=pytest.mark.slow) for task in TASKS if task != "classification"),
    ],
)
def test_an_export_is_held_to_what_the_run_stored(
    task: str, family: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """Also with the text [PAD], of which RoBERTa's positions were counted in two ways (recipe C)."""
    run = run_of(tmp_path, tiny_model(family), task)
    done = export(run, "merged")
    assert done.stored_difference is not None and done.stored_allowed is not None
    assert done.stored_difference < 1e-4 * done.stored_allowed / 1e-3 and done.rows == 12
    assert [line.split(", ")[0] for line in done.checks()][0] == "12 rows of test"
    assert "from the predictions that the run stored (float32, allowed" in done.checks()[1]

    # Predictions of another model are found out: the exported one is not the one that was scored.
    path = run / "predictions" / "test.safetensors"
    stored = load_file(path)
    stored["logits"] = stored["logits"] * 1.5 + 0.1
    save_file(stored, path)
    with pytest.raises(
        EncoderlabError, match="not written: .* from the predictions that the run stored .float32, which"
    ):
        export(run, "merged", tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_a_run_in_bf16_is_held_to_what_its_precision_explains(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    run = run_of(tmp_path, tiny_model("bert"), "classification", "bf16", "full")
    done = export(run, "merged")
    assert done.stored_precision == "bfloat16" and done.stored_difference is not None
    assert done.stored_allowed is not None and 1e-5 < done.stored_difference < done.stored_allowed < 0.3
    assert done.difference < 1e-5
    path = run / "predictions" / "test.safetensors"
    stored = load_file(path)
    stored["logits"] = stored["logits"] + np.float32(2 * done.stored_allowed)
    save_file(stored, path)
    with pytest.raises(EncoderlabError, match="bfloat16, which explains"):
        export(run, "merged", tmp_path / "wrong")


def test_without_stored_predictions_it_says_so(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    run = run_of(tmp_path, tiny_model("bert"), "classification")
    (run / "predictions" / "test.safetensors").unlink()
    done = export(run, "merged")
    assert done.stored_difference is None and "not compared with stored predictions" in done.checks()[1]


def test_a_decoders_config_is_exported_as_the_encoder_that_was_scored(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """Recipe C: the exported model differed from the run by .138, and the check said 2e-8."""
    model = Path(shutil.copytree(tiny_model("bert"), tmp_path / "model"))
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"is_decoder": True}))
    run = run_of(tmp_path, model, "classification")
    done = export(run, "merged", tmp_path / "merged")
    assert done.stored_difference is not None and done.stored_difference < 1e-5
    assert json.loads((tmp_path / "merged" / "config.json").read_text()).get("is_decoder", False) is False
    again = export(run, "peft", tmp_path / "peft")
    assert again.stored_difference is not None and again.stored_difference < 1e-5


def test_types_that_the_encoder_has_no_room_for_are_not_asked_of_the_exported_tokenizer(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = Path(shutil.copytree(tiny_model("roberta"), tmp_path / "model"))
    path = model / "tokenizer_config.json"
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    path.write_text(json.dumps(json.loads(path.read_text()) | names))
    run = run_of(tmp_path, model, "pairs")
    export(run, "merged", tmp_path / "merged")
    tokens = AutoTokenizer.from_pretrained(tmp_path / "merged")("good", "bad", return_tensors="pt")
    with torch.no_grad():
        assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")(**tokens).logits.isfinite().all()


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        app.main(arguments)
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, printed.err


def test_a_base_that_was_moved_is_named(
    tiny_model: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, moved, other = (tmp_path / name for name in ("model", "moved", "other"))
    shutil.copytree(tiny_model("bert"), model)
    run = run_of(tmp_path / "study", model, "classification")
    rows = tmp_path / "study" / "test.csv"
    wanted = command(capsys, "predict", str(run), str(rows))[1]
    model.rename(moved)
    shutil.copytree(moved, other)
    changed: Any = AutoModel.from_pretrained(other)
    changed.get_input_embeddings().weight.data.mul_(1.5)
    changed.save_pretrained(other)
    capsys.readouterr()
    for arguments in (
        ("predict", str(run), str(rows)),
        ("evaluate", str(run), str(rows), "--json"),
        ("export", str(run), "--to", "merged", "--out", str(tmp_path / "merged")),
        ("export", str(run), "--to", "peft", "--out", str(tmp_path / "peft")),
    ):
        for more in ((), ("--force",)):
            code, out, err = command(capsys, *arguments, *more)
            assert (code, out, err.count("\n")) == (2, "", 1), err
            assert f"its base model is no longer at {model}; give its folder with --base FOLDER" in err
        code, out, err = command(capsys, *arguments, "--base", str(other))
        assert code == 2 and "trained on another base" in err and "--force" in err
        code, out, err = command(capsys, *arguments, "--base", str(tmp_path / "nowhere"))
        assert code == 2 and "there is no such folder" in err
        code, out, err = command(capsys, *arguments, "--base", str(moved))
        assert (code, err.replace("encoderlab: 12 rows\n", "")) == (0, ""), arguments
        assert arguments[0] != "predict" or out == wanted
    code, out, err = command(
        *(capsys, "export", str(run), "--to", "merged", "--out", str(tmp_path / "forced")),
        *("--base", str(other), "--force"),
    )
    assert code == 0 and "not compared, because --force was used" in out
