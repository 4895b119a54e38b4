"""What must not change a metric of a run: a tiny encoder learns from files that say one thing in different ways."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification

from encoderlab.inference.predict import predict
from encoderlab.study import train as single
from fixtures_invariance import SMALL, same

WORDS = "good bad film the a was not very plot acting and".split()
Records = list[dict[str, Any]]
STUDY = """
model = {model}
seeds = [0]
out = "out"
[task]
{task}
[data]
train = "train{end}"
validation = "validation{end}"
test = "test{end}"
[train]
epochs = 2
batch_size = 8
max_length = {length}
precision = "fp32"
device = "cpu"
{train}
[search]
candidates = 1
[[method]]
name = "{method}"
learning_rate = 1e-2
"""


def sentences(task: str, rows: int, seed: int) -> Records:
    """Texts of "good", "bad" and other words. Their label: which of the two is the more frequent, by how much, or a
    label for each word."""
    draw, found = np.random.default_rng(seed), []
    for _ in range(rows):
        words = [str(word) for word in draw.choice(WORDS, size=draw.integers(1, 14))]
        good, bad = words.count("good"), words.count("bad")
        labels = {"good": "B-GOOD", "bad": "B-BAD"}
        found.append(
            {"tokens": words, "tags": [labels.get(word, "O") for word in words]}
            if task == "token-classification"
            else {"text": " ".join(words), "label": float(good - bad) if task == "regression" else label(good - bad)}
        )
    return found


def label(difference: int) -> str:
    return "pos" if difference > 0 else "neg" if difference < 0 else "even"


def write_table(path: Path, records: Records, delimiter: str = ",") -> None:
    cells = [{key: json.dumps(v) if isinstance(v, list) else v for key, v in one.items()} for one in records]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(cells)


def write_conll(path: Path, records: Records) -> None:
    rows = ["".join(f"{w} {t}\n" for w, t in zip(one["tokens"], one["tags"], strict=True)) for one in records]
    path.write_text("\n".join(rows), encoding="utf-8")


def write_folder(path: Path, records: Records) -> None:
    """As `datasets` saves it, with the classes as numbers in an order of the author's."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg", "even"])})
    Dataset.from_list(records, features=features).save_to_disk(path)


WRITERS: dict[str, Callable[[Path, Records], object]] = {
    ".csv": write_table,
    ".tsv": lambda path, records: write_table(path, records, "\t"),
    ".json": lambda path, records: path.write_text(json.dumps(records), encoding="utf-8"),
    ".jsonl": lambda path, records: path.write_text("".join(json.dumps(one) + "\n" for one in records)),
    ".parquet": lambda path, records: Dataset.from_list(records).to_parquet(path),
    ".conll": write_conll,
    "": write_folder,
}
Scores = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """The tiny encoder without dropout, whose masks are drawn batch by batch, and with weights so large that answers
    vary from row to row: a correlation of answers that hardly differ is a correlation of their last digits."""
    folder = tmp_path_factory.mktemp("still")
    for path in tiny_model("bert").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    large = {name: tensor * (6.0 if tensor.dim() == 2 else 1.0) for name, tensor in weights.items()}
    save_file(large, folder / "model.safetensors", {"format": "pt"})
    return folder


Train = Callable[..., Path]


@pytest.fixture
def train(still: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    """train(task, end, ...) -> the folder of a run on files with these endings. change: what is done to each record.
    delimiter: of a table. said: whether the study says it."""

    def run(
        task: str,
        end: str = ".jsonl",
        *,
        model: Path | None = None,
        method: str = "lora",
        change: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        delimiter: str | None = None,
        said: bool = False,
        **more: Any,
    ) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for seed, (split, rows) in enumerate({"train": 32, "validation": 12, "test": 16}.items()):
            records = [change(one) for one in sentences(task, rows, seed)]
            WRITERS[end](folder / f"{split}{end}", records)
            if delimiter is not None:
                write_table(folder / f"{split}{end}", records, delimiter)
        keys = {"task": f'kind = "{task}"', "length": 32, "train": "", "end": end, "method": method, **more}
        text = STUDY.format(model=json.dumps(str(model or still)), **keys)
        if said:
            text = re.sub(r'= ("\w+\.csv")', rf"= {{ path = \1, delimiter = {json.dumps(delimiter)} }}", text)
        (folder / "study.toml").write_text(text)
        found = single.train(folder / "study.toml", [], label=keys["method"], seed=None, learning_rate=None)
        assert found is not None
        return found

    return run


def scores(run: Path) -> Scores:
    return json.loads((run / "result.json").read_text())["splits"]


def same_scores(found: Path, wanted: Path, within: float = SMALL) -> None:
    ours, theirs = scores(found), scores(wanted)
    for split in ("validation", "test"):
        same(ours[split], theirs[split], within)


@pytest.mark.parametrize(
    ("task", "ends"),
    [
        ("classification", [".csv", ".tsv", ".json", ".parquet", ""]),
        ("regression", [".csv", ".tsv", ".parquet"]),
        ("token-classification", [".csv", ".conll", ".parquet"]),
    ],
)
def test_the_format_of_the_file(task: str, ends: list[str], train: Train) -> None:
    wanted = train(task)
    for end in ends:
        same_scores(train(task, end), wanted, 0)


def with_commas(one: dict[str, Any]) -> dict[str, Any]:
    return one | {"text": one["text"].replace(" ", ", ")}


@pytest.mark.parametrize(("delimiter", "said"), [(";", False), (";", True), ("|", False), ("\t", True)])
def test_the_delimiter_of_a_table(delimiter: str, said: bool, train: Train) -> None:
    """A comma in a text is one of the text."""
    found = train("classification", ".csv", change=with_commas, delimiter=delimiter, said=said)
    same_scores(found, train("classification", change=with_commas), 0)


def test_other_names_for_the_classes_in_their_order(train: Train) -> None:
    names = {"even": "0", "neg": "1", "pos": "2"}
    wanted = train("classification")
    found = train("classification", change=lambda one: one | {"label": int(names[one["label"]])})
    back = {new: old for old, new in names.items()}
    ours = scores(found)
    for split in ("validation", "test"):
        for row in ours[split]["per_class"]:
            row["label"] = back[row["label"]]
        same(ours[split], scores(wanted)[split], 0)


def with_head(still: Path, folder: Path, names: list[str], change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """A checkpoint with a head for `names`: `change` makes its weights and its biases of those drawn for it."""
    regression = len(names) == 1
    config = AutoConfig.from_pretrained(
        still,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        problem_type="regression" if regression else None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = AutoModelForSequenceClassification.from_pretrained(still, config=config)
        with torch.no_grad():
            weight, bias = torch.randn(len(names), 32), torch.randn(len(names))
            model.classifier.weight.copy_(change(weight / 6))
            model.classifier.bias.copy_(change(bias))
    model.save_pretrained(folder)
    for path in still.glob("*token*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_head_whose_classes_stand_in_another_order(train: Train, still: Path, tmp_path: Path) -> None:
    names = ["even", "neg", "pos"]
    wanted = train("classification", model=with_head(still, tmp_path / "a", names, lambda rows: rows))
    order = [2, 0, 1]
    turned = with_head(still, tmp_path / "b", [names[i] for i in order], lambda rows: rows[order])
    same_scores(train("classification", model=turned), wanted)
    # Other names, in another alphabetical order: the classes of the study are turned, the head's are not.
    other = {"even": "z", "neg": "y", "pos": "x"}
    renamed = with_head(still, tmp_path / "c", [other[name] for name in names], lambda rows: rows)
    found = scores(train("classification", model=renamed, change=lambda one: one | {"label": other[one["label"]]}))
    for split in ("validation", "test"):
        for row in found[split]["per_class"]:
            row["label"] = next(old for old, new in other.items() if new == row["label"])
        same(found[split], scores(wanted)[split])


def in_unit(found: Scores, scale: float) -> Scores:
    """Scores as they are in labels that were multiplied by `scale`, brought back."""
    return {
        split: {key: value / scale**2 if key in ("loss", "mse") else value for key, value in found[split].items()}
        for split in ("validation", "test")
    }


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1.0, 1e6), (1e-7, 0.0), (1e-7, 1e-3)])
def test_the_unit_of_the_labels(scale: float, shift: float, train: Train) -> None:
    wanted = scores(train("regression"))
    found = train("regression", change=lambda one: one | {"label": scale * one["label"] + shift})
    ours = in_unit(scores(found), scale)
    for split in ("validation", "test"):
        for key, value in wanted[split].items():
            if isinstance(value, float):
                assert ours[split][key] == pytest.approx(value, rel=SMALL, abs=SMALL), (split, key)


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 500.0), (-3.0, 10.0)])
def test_a_head_that_answers_in_the_unit_of_the_labels(
    scale: float, shift: float, train: Train, still: Path, tmp_path: Path
) -> None:
    wanted = scores(train("regression", model=with_head(still, tmp_path / "a", ["label"], lambda t: t)))

    def changed(tensor: torch.Tensor) -> torch.Tensor:
        return scale * tensor + (shift if tensor.dim() == 1 else 0)

    model = with_head(still, tmp_path / "b", ["label"], changed)
    run = train("regression", model=model, change=lambda one: one | {"label": scale * one["label"] + shift})
    ours = in_unit(scores(run), scale)
    for split in ("validation", "test"):
        for key in ("pearson", "spearman", "mse"):
            assert ours[split][key] == pytest.approx(wanted[split][key], rel=1e-4, abs=SMALL), (split, key)


@pytest.mark.parametrize("task", ["classification", "token-classification"])
def test_padding_and_the_size_of_micro_batches(task: str, train: Train) -> None:
    wanted = train(task)
    for more in ({"train": "token_budget = 1"}, {"train": "token_budget = 1_000_000"}, {"length": 64}):
        same_scores(train(task, **more), wanted, 1e-5)


def test_a_longer_row_beside_it_changes_no_answer(train: Train, tmp_path: Path) -> None:
    run = train("classification")
    answers = []
    for texts in (["a good film", "bad"], ["a good film", "bad", " ".join(WORDS * 2)]):
        (tmp_path / "new.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        with (tmp_path / "out.csv").open("w", newline="") as file:
            predict(run, tmp_path / "new.jsonl", file)
        with (tmp_path / "out.csv").open(newline="") as file:
            answers.append([float(row["probability"]) for row in csv.DictReader(file)][:2])
    assert all(math.isfinite(p) for p in answers[0])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
