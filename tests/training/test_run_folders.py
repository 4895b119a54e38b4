"""Run folders across commands: what is taken from them, what is done again, what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.inference.load_run import load_run
from encoderlab.study import compare
from encoderlab.study.jobs import some_rows
from encoderlab.training.loop import Trainer
from fixtures_study import Write, study_in, write_study  # noqa: F401  (a fixture)

ONE = '[[method]]\nname = "lora"\nlearning_rate = 1e-3\n'
QUICK = ["search.candidates=1", "seeds=[0]", "train.epochs=1"]


def runs(path: Path, method: str = "lora") -> dict[str, dict[str, Any]]:
    found = map(read_json, (path.parent / "out").glob("runs/*/result.json"))
    return {r["id"]: r for r in found if r["method"] == method and r["kind"] == "run"}


@pytest.fixture(scope="module")
def original(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a finished study with one LoRA run, to be copied and not changed."""
    path = study_in(tmp_path_factory.mktemp("original") / "study", tiny_model("bert"), ONE)
    compare.compare(path, QUICK)
    return path


def run_of(path: Path) -> Path:
    (name,) = runs(path)
    return path.parent / "out" / "runs" / name


@pytest.fixture
def finished(original: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(study file, folder of its one LoRA run): a copy of `original`."""
    path = Path(shutil.copytree(original.parent, tmp_path / "study")) / original.name
    return path, run_of(path)


def cut_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_last(path: Path) -> None:
    *first, last = path.read_bytes()
    path.write_bytes(bytes([*first, last ^ 1]))


def mtime(folder: Path) -> int:
    return (folder / "result.json").stat().st_mtime_ns


def test_a_finished_run_takes_the_label_of_the_study_that_uses_it(finished: tuple[Path, Path]) -> None:
    path, folder = finished
    before = mtime(folder)
    compare.compare(path, [*QUICK, "method.lora.rank=[8, 4]", 'reference="lora rank=8"'])
    kept = read_json(path.parent / "out" / "study.json")
    assert kept["labels"][folder.name] == {"method": "lora", "variant": "lora rank=8"}
    assert mtime(folder) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "result.json").write_text('{"id":'),
        lambda f: (f / "result.json").write_text("{}"),
        lambda f: (f / "predictions" / "test.safetensors").unlink(),
        lambda f: flip_last(f / "predictions" / "test.safetensors"),
        lambda f: cut_half(f / "predictions" / "validation.safetensors"),
        lambda f: cut_half(f / "adapter" / "adapter_model.safetensors"),
        lambda f: cut_half(f / "adapter" / "encoderlab.json"),
    ],
    ids=["cut", "empty", "predictions gone", "a bit", "half of predictions", "half an adapter", "half of its account"],
)
def test_what_is_damaged_is_done_again_and_said(
    damage: Callable[[Path], Any], finished: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    path, folder = finished
    wanted = read_json(folder / "result.json")["splits"]
    damage(folder)
    compare.compare(path, QUICK)
    assert read_json(folder / "result.json")["splits"] == wanted
    (said,) = [record.getMessage() for record in caplog.records if record.name == "encoderlab.training.run_folder"]
    assert said.startswith(f"{folder}: ") and said.endswith("encoderlab repeats this run")
    caplog.clear()
    before = mtime(folder)
    compare.compare(path, QUICK)
    assert mtime(folder) == before and not [r for r in caplog.records if r.name == "encoderlab.training.run_folder"]


def test_rows_that_move_in_their_file_make_a_new_run(finished: tuple[Path, Path]) -> None:
    """Predictions of two runs are paired by row number, so the numbers are part of what a run is."""
    path, _ = finished
    test = path.parent / "test.csv"
    header, rest = test.read_text().split("\n", 1)
    test.write_text(f"{header}\nthe film,\n{rest}")  # an unlabelled row, which is dropped
    compare.compare(path, QUICK)
    assert len(runs(path)) == 2


def test_a_learning_rate_that_overflows_fails_its_trial_and_the_study_goes_on(write_study: Write) -> None:  # noqa: F811
    path = write_study("overflow", '[[method]]\nname = "full"\nlearning_rate = [1e-4, 1e-3, 1e38]\n', seeds="[0]")
    compare.compare(path, ["train.epochs=1", "search.rows=8"])
    entries = {e["variant"]: e for e in read_json(path.parent / "out" / "study.json")["search"]}
    by_rate = {c["learning_rate"]: c for c in entries["full"]["candidates"]}
    assert by_rate[1e38]["status"] == "failed" and entries["full"]["chosen"] in (1e-4, 1e-3)


def test_out_of_memory_fails_the_run_and_the_same_command_tries_again(
    write_study: Write,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_study("memory", ONE)

    def run(self: Trainer) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "run", run)
        compare.compare(path, QUICK)
    (failed,) = runs(path).values()
    assert failed["status"] == "failed" and "out of memory" in failed["reason"]
    compare.compare(path, QUICK)
    (done,) = runs(path).values()
    assert done["status"] == "done" and done["id"] == failed["id"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "not the folder of a run"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: not readable"),
        (lambda f: (f / "config.json").write_text("{}"), "damaged"),
        (lambda f: (f / "config.json").write_text("[]"), "damaged"),
        (lambda f: (f / "result.json").unlink(), "not finished"),
        (lambda f: (f / "adapter" / "adapter_model.safetensors").unlink(), "no adapter weights"),
        (lambda f: (f / "adapter" / "adapter_model.safetensors").write_bytes(b"123"), "damaged"),
        (lambda f: (f / "adapter" / "encoderlab.json").write_text("{}"), "damaged"),
        (lambda f: (f / "adapter" / "encoderlab.json").unlink(), "no adapter/"),
        (lambda f: rewrite(f, method={"name": "unheard"}), "damaged"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    damage: Callable[[Path], Any], said: str, finished: tuple[Path, Path]
) -> None:
    _, folder = finished
    load_run(folder)
    damage(folder)
    with pytest.raises(InputError, match=said) as caught:
        load_run(folder)
    assert "\n" not in str(caught.value)


def test_the_card_of_a_finished_run_has_its_scores_and_its_data(original: Path) -> None:
    folder = run_of(original)
    card, test = (folder / "adapter" / "README.md").read_text(), read_json(folder / "result.json")["splits"]["test"]
    assert f"| test | {test['rows']} | {test['accuracy']:.4f} | {test['macro_f1']:.4f} | {test['loss']:.4f} |" in card
    assert "rows of train.csv" in card and "learning rate: 0.001" in card and 'library_name: "peft"' in card
    assert str(folder.parents[2]) not in card


def rewrite(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def test_a_run_is_loaded_in_the_precision_it_was_scored_in(write_study: Write) -> None:  # noqa: F811
    path = write_study("half", ONE)
    compare.compare(path, [*QUICK, "train.precision=bf16"])
    (result,) = runs(path).values()
    loaded = load_run(path.parent / "out" / "runs" / result["id"])
    assert str(loaded.model.dtype) == "torch.bfloat16"


def test_trial_rows_have_every_class_in_its_share() -> None:
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    rows = some_rows(labels, 100, 0)
    assert len(set(rows)) == 100 and (np.diff(rows) > 0).all()
    assert np.bincount(labels[rows]).tolist() == [90, 9, 1]
    assert math.isclose(len(some_rows(labels, 1000, 0)), 1000)
