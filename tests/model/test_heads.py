"""A checkpoint's own head: its classes in the study's order, its number in the labels' unit, or a new layer; said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from encoderlab.config.load import load as load_study
from encoderlab.data.rows import Rows
from encoderlab.engine.logits import logits
from encoderlab.inference import evaluate
from encoderlab.inference.export import export
from encoderlab.methods.full import Full
from encoderlab.model import heads
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from encoderlab.study import check, context, jobs, prepare
from encoderlab.study.compare import compare
from encoderlab.tasks.regression import Regression
from encoderlab.training.fit import open_trainer
from encoderlab.training.loop import Trainer
from fixtures_heads import CHOICE, CLASS, NUMBER, SEQUENCE, TOKEN, checkpoint, loaded, named, results, study

TEXTS = ["good", "the plot was not very good", "a film", "acting"]


@torch.no_grad()
def theirs(folder: Path, head: str) -> torch.Tensor:
    """Logits as plain transformers gives them, of words those of the first token."""
    model = getattr(transformers, head).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    return found[:, 0] if head == TOKEN else found


@torch.no_grad()
def ours(made: EncoderModel) -> torch.Tensor:
    made.model.eval()
    found = made.model(**made.tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    return found[:, 0] if found.ndim == 3 else found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", [SEQUENCE, TOKEN])
def test_rows_are_put_in_the_order_of_the_studys_classes(
    head: str, family: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint(tiny_model(family), tmp_path, head, 3, **named("yes", "no", "maybe"))
    made = loaded(folder, head, ["maybe", "no", "yes"])
    assert not made.newly_initialized and made.head_fingerprint
    torch.testing.assert_close(ours(made), theirs(folder, head)[..., [2, 1, 0]], rtol=0, atol=1e-5)
    (note,) = made.notes
    assert note.endswith("its classes (yes, no, maybe) are put in the study's order (maybe, no, yes)")
    same = loaded(folder, head, ["yes", "no", "maybe"])
    assert same.head_fingerprint != made.head_fingerprint and same.fingerprint == made.fingerprint
    torch.testing.assert_close(ours(same), theirs(folder, head), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("says", "classes", "order"),
    [
        (named("POSITIVE", "NEGATIVE"), ["negative", "positive"], [1, 0]),
        ({"id2label": None, "label2id": {"yes": 0, "no": 1}}, ["no", "yes"], [1, 0]),
        ({"id2label": {"1": "no", "0": "yes"}, "label2id": None}, ["no", "yes"], [1, 0]),
        (named("1", "0"), ["0", "1"], [1, 0]),
        (named("LABEL_0", "LABEL_1"), ["0", "1"], [0, 1]),
        (named("LABEL_1", "LABEL_0"), ["0", "1"], [1, 0]),
        (named(" B-PER", "O "), ["O", "B-PER"], [1, 0]),
    ],
    ids=str,
)
def test_one_name_in_several_spellings(
    says: dict[str, Any], classes: list[str], order: list[int], tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint(tiny_model("bert"), tmp_path, SEQUENCE, **says)
    made = loaded(folder, SEQUENCE, classes)
    assert not made.newly_initialized and len(made.notes) == 1
    torch.testing.assert_close(ours(made), theirs(folder, SEQUENCE)[:, order], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "outputs", "says", "wanted", "classes", "said"),
    [
        (SEQUENCE, 2, named("spam", "ham"), SEQUENCE, ["no", "yes"], "has other classes (spam, ham)"),
        (SEQUENCE, 2, {"id2label": {"0": "no", "2": "yes"}}, SEQUENCE, ["no", "yes"], "do not name its head's 2"),
        (SEQUENCE, 2, named("no", "yes") | {"label2id": {"no": 1, "yes": 0}}, SEQUENCE, ["no", "yes"], "do not name"),
        (
            *(SEQUENCE, 2, named("no", "yes") | {"problem_type": "multi_label_classification"}, SEQUENCE),
            *(["no", "yes"], "is for problem_type = 'multi_label_classification'"),
        ),
        (TOKEN, 2, named("no", "yes"), SEQUENCE, ["no", "yes"], "is one of BertForTokenClassification"),
        (SEQUENCE, 2, named("B-X", "O"), TOKEN, ["O", "B-X"], "is one of BertForSequenceClassification"),
        (SEQUENCE, 1, named("score"), CHOICE, ["A", "B"], "is one of BertForSequenceClassification"),
        (CHOICE, 1, {}, SEQUENCE, ["score"], "is one of BertForMultipleChoice"),
        (SEQUENCE, 1, named("rating"), SEQUENCE, ["score"], "predicts 'rating', the study 'score'"),
        (
            *(SEQUENCE, 1, {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"}, SEQUENCE),
            *(["score"], "applies Sigmoid, so"),
        ),
        (SEQUENCE, 3, named("a", "b", "c"), SEQUENCE, ["no", "yes"], "has 3 outputs (a, b, c), the study needs 2"),
        (SEQUENCE, 1, {}, SEQUENCE, ["no", "yes"], "has 1 outputs, the study needs 2"),
    ],
)
def test_another_head_is_drawn_anew_and_said(
    head: str,
    outputs: int,
    says: dict[str, Any],
    wanted: str,
    classes: list[str],
    said: str,
    tiny_model: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = checkpoint(tiny_model("bert"), tmp_path, head, outputs, **says)
    made, other = (loaded(folder, wanted, classes, seed) for seed in (0, 1))
    (note,) = made.notes
    assert said in note and note.endswith("its last layer is newly initialized")
    lacking = {n for n in made.newly_initialized if made.in_pooler(n)}  # a checkpoint for words has no pooler
    assert bool(lacking) == (head == TOKEN and wanted == SEQUENCE)
    assert made.newly_initialized - lacking == {"classifier.weight", "classifier.bias"} and not made.head_fingerprint
    bare = loaded(tiny_model("bert"), wanted, classes)
    assert bare.notes == ()
    assert not torch.equal(made.model.classifier.weight, bare.model.classifier.weight)
    assert not torch.equal(made.model.classifier.weight, other.model.classifier.weight)
    assert not made.model.classifier.bias.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_drawn_anew_is_drawn_as_transformers_draws_it(
    family: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint(tiny_model(family), tmp_path, SEQUENCE, 2, **named("spam", "ham"))
    made, bare = (loaded(f, SEQUENCE, ["no", "yes"]) for f in (folder, tiny_model(family)))
    path = made.output_layer()
    drawn, usual = (m.model.get_submodule(path).weight for m in (made, bare))
    assert 0.5 < drawn.std() / usual.std() < 2
    kept = {n: p for n, p in made.model.named_parameters() if not n.startswith(path)}
    stored = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, stored[name]) for name, tensor in kept.items() if name in stored)


def test_names_that_say_nothing_are_taken_in_their_order_with_a_warning(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    made = loaded(checkpoint(tiny_model("bert"), tmp_path, SEQUENCE), SEQUENCE, ["no", "yes"])
    (note,) = made.notes
    assert (
        not made.newly_initialized
        and "have no names (LABEL_0, LABEL_1): they are assumed to be no, yes in this order" in note
    )


def test_heads_without_labels_are_left_alone(tiny_masked_lm: Callable[[str], Path]) -> None:
    for head in ("AutoModelForMaskedLM", "AutoModel"):
        assert loaded(tiny_masked_lm("bert"), head, ["masked"]).notes == ()
    assert not heads.has_labels("AutoModelForMaskedLM")


@pytest.mark.parametrize("unit", [40.0, 4e-7])
def test_a_regression_goes_on_from_the_checkpoints_own_answers(
    unit: float, tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recipe A of the reports: the head was scaled twice."""
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "cache"))
    centre = 450.0 * unit / 40
    compare(study(tmp_path / "first", tiny_model("bert"), NUMBER, method="full", unit=unit, centre=centre))
    first = results(tmp_path / "first")["full"]
    done = export(tmp_path / "first" / "out" / "runs" / first["id"], "merged", tmp_path / "merged")
    assert done.stored_difference is not None and done.stored_difference < 1e-6 * centre
    second = study(tmp_path / "second", tmp_path / "merged", NUMBER, unit=unit, centre=centre)
    said = [line for line in check.check(second).warnings if "head" in line]
    assert said == ["model: the checkpoint's own head is used: it predicts 'score', in the unit of the labels"]
    compare(second)
    assert json.loads((tmp_path / "second" / "out" / "study.json").read_text())["warnings"][:1] == said
    after = results(tmp_path / "second")
    mse = first["splits"]["test"]["mse"]
    assert after["untrained"]["splits"]["test"]["mse"] == pytest.approx(mse, rel=1e-4)
    assert after["lora"]["splits"]["test"]["mse"] < 2 * mse

    # Step 0: what training starts from is the checkpoint, in units of the labels' spread.
    loaded_study = load_study(second)
    splits, names, _ = prepare.prepare(loaded_study)
    shared = context.open_context(loaded_study, splits, names)
    job = jobs.Runs(study=loaded_study, context=shared).job(
        jobs.seeded(loaded_study, loaded_study.variants[0], 1e-3)[0]
    )
    assert job.method is not None
    trainer = open_trainer(shared, job, job.method, tmp_path / "run")
    start = trainer._validate()
    assert start["mse"] == pytest.approx(after["untrained"]["splits"]["validation"]["mse"], rel=1e-3)


def test_a_number_without_a_name_is_taken_in_the_labels_unit_with_a_warning(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint(tiny_model("bert"), tmp_path, SEQUENCE, 1)
    made = loaded(folder, SEQUENCE, ["score"])
    assert not made.newly_initialized and "assumed to predict 'score' in the unit of the labels" in made.notes[0]
    wanted = ours(made).double()
    task = Regression(text="text", label="score")
    table = Rows({"text": TEXTS, "score": [440.0, 450.0, 455.0, 470.0]}, "rows", np.arange(4))
    tokenized = task.tokenize(table, made.tokenizer, 16, ["score"])
    Full().inject(made, 0)
    trainer = Trainer(
        encoder=made,
        method=Full(),
        task=task,
        train=tokenized,
        validation=tokenized,
        class_names=["score"],
        settings=load_study(study(tmp_path / "s", folder, NUMBER)).train,
        learning_rate=1e-3,
        seed=0,
        dtype=torch.float32,
        device=torch.device("cpu"),
        folder=tmp_path / "run",
    )
    found = logits(trainer.model, task, tokenized, pad_id=0, budget=512, device=torch.device("cpu"))
    labels = np.array(table.columns["score"])
    np.testing.assert_allclose(found, (wanted.numpy() - labels.mean()) / labels.std(), rtol=1e-4)


def test_classes_in_another_order_start_from_the_checkpoints_accuracy(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recipe B of the reports: untrained 0 %, without a warning."""
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "cache"))
    compare(study(tmp_path / "first", tiny_model("bert"), CLASS, method="full"))
    run = results(tmp_path / "first")["full"]
    export(tmp_path / "first" / "out" / "runs" / run["id"], "merged", tmp_path / "merged")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    with torch.no_grad():
        heads.put_in_order(model.classifier, (1, 0))
    model.config.id2label, model.config.label2id = {0: "pos", 1: "neg"}, {"pos": 0, "neg": 1}
    model.save_pretrained(tmp_path / "merged")
    compare(second := study(tmp_path / "second", tmp_path / "merged", CLASS))
    after = results(tmp_path / "second")
    wanted = run["splits"]["test"]
    assert after["untrained"]["splits"]["test"]["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    assert after["untrained"]["splits"]["test"]["accuracy"] == wanted["accuracy"]
    assert any("(pos, neg) are put in the study's order (neg, pos)" in line for line in check.check(second).warnings)
    # A finished run loads its head from its adapter, in the study's order, once.
    again = evaluate.evaluate(
        tmp_path / "second" / "out" / "runs" / after["lora"]["id"], tmp_path / "second" / "test.csv"
    )
    assert again["loss"] == pytest.approx(after["lora"]["splits"]["test"]["loss"], rel=1e-5)


@pytest.mark.parametrize("classes", [["O", "B-X", "B-Y"], ["O", "B-X", "B-Y", "I-X"]])
@pytest.mark.parametrize("head", [SEQUENCE, TOKEN])
def test_a_head_drawn_anew_is_not_the_start_of_the_one_before(
    head: str, classes: list[str], tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """A run's head begins as its seed draws it and stays near that: the next study of this seed would be told it."""
    first = loaded(tiny_model("bert"), head, ["a", "b", "c"])
    first.model.save_pretrained(tmp_path)
    for file in tiny_model("bert").glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    made = [loaded(tmp_path, head, classes) for _ in range(2)]
    layer = f"{first.output_layer()}.weight"
    assert layer in made[0].newly_initialized
    old, new, again = (one.model.get_parameter(layer).detach().numpy() for one in (first, *made))
    np.testing.assert_array_equal(new, again)
    for ours in new:
        assert max(abs(np.corrcoef(ours, row)[0, 1]) for row in old) < 0.8
    assert abs(np.corrcoef(new[:3].ravel(), old.ravel())[0, 1]) < 0.5
