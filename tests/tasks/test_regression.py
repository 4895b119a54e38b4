"""Regression: the labels, the correlations, a head that answers in the labels' unit, and a whole study."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import scipy.stats
import torch
from safetensors.numpy import load_file
from sklearn.metrics import mean_squared_error
from transformers import AutoModelForSequenceClassification

from encoderlab import report
from encoderlab.adapters.tensor_names import our_name
from encoderlab.cli.app import main
from encoderlab.core.errors import InputError
from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.engine.logits import logits
from encoderlab.inference.evaluate import evaluate
from encoderlab.inference.export import export
from encoderlab.inference.predict import predict
from encoderlab.methods.full import Full
from encoderlab.model import load
from encoderlab.model.families import FAMILIES
from encoderlab.results import collect
from encoderlab.results.comparison import compare as compared_with
from encoderlab.results.comparison import pooled_seed_variance, read_variants
from encoderlab.study import check
from encoderlab.study.compare import compare
from encoderlab.tasks import weighted_correlation
from encoderlab.tasks.regression import Regression
from encoderlab.training import settings
from encoderlab.training.loop import Trainer

TASK = Regression()
CPU = torch.device("cpu")
WORDS = "good bad film the a was not very plot acting and".split()


def rows_of(*labels: object, label: str = "label") -> Rows:
    columns = {"text": [f"film {i}" for i in range(len(labels))], label: list(labels)}
    return Rows(columns, "here", np.arange(len(labels)))


def test_numbers_are_read_as_numbers() -> None:
    assert TASK.prepare(rows_of("2.5", 3, -1.0, " 4e2 "), labelled=True).columns["label"] == [2.5, 3.0, -1.0, 400.0]


@pytest.mark.parametrize("cell", ["good", "", None, math.nan, "nan", "inf", -math.inf, True, [1.0], 10**400])
def test_what_is_no_number_is_one_line(cell: object) -> None:
    with pytest.raises(InputError) as error:
        TASK.prepare(rows_of(1.0, cell), labelled=True)
    (line,) = error.value.lines
    assert line.startswith("here: row 2, column 'label': expected a number, got ")
    assert line.endswith("; correct or remove the row")
    with pytest.raises(InputError, match=r"\(2 such rows\)"):
        TASK.prepare(rows_of(1.0, cell, cell), labelled=True)


def test_labels_that_are_all_the_same_cannot_be_learned() -> None:
    same = rows_of(2.0, 2.0)
    with pytest.raises(InputError, match="all 2 rows have the label 2 "):
        TASK.class_names(Splits(same, same, same))


def weighted_oracle(of: Callable, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> list[float]:
    return [of(np.repeat(x, row), np.repeat(y, row)) for row in weights.astype(int)]


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_of_weighted_rows_are_scipys_of_repeated_rows(ties: bool) -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(2, 40))
    if ties:
        x, y = np.round(x), np.round(y + x)
    weights = draw.multinomial(40, np.full(40, 1 / 40), size=20).astype(float)
    for ours, theirs in (
        (weighted_correlation.pearson, lambda a, b: scipy.stats.pearsonr(a, b)[0]),
        (weighted_correlation.spearman, lambda a, b: scipy.stats.spearmanr(a, b)[0]),
        (weighted_correlation.squared_error, mean_squared_error),
    ):
        np.testing.assert_allclose(ours(x, y, weights), weighted_oracle(theirs, x, y, weights), atol=1e-12)


def test_an_answer_that_does_not_vary_explains_nothing() -> None:
    once = np.ones((1, 3))
    for value in (0.1, 1e9):
        assert weighted_correlation.pearson(np.full(3, value), np.arange(3.0), once) == 0
        assert weighted_correlation.spearman(np.full(3, value), np.arange(3.0), once) == 0
    assert weighted_correlation.pearson(1e-9 * np.arange(3.0), np.arange(3.0), once) == pytest.approx(1)


def test_metrics_are_those_of_scipy_and_scikit_learn() -> None:
    draw = np.random.default_rng(1)
    answers, gold = draw.normal(size=(50, 1)).astype(np.float32), draw.normal(size=50)
    found = TASK.metrics(answers, gold, ["label"])
    flat = answers[:, 0].astype(np.float64)
    assert found["pearson"] == pytest.approx(scipy.stats.pearsonr(flat, gold)[0], abs=1e-12)
    assert found["spearman"] == pytest.approx(scipy.stats.spearmanr(flat, gold)[0], abs=1e-12)
    assert found["mse"] == found["loss"] == pytest.approx(mean_squared_error(gold, flat), abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_saved_head_answers_in_the_labels_unit(
    family: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """The unscaled answers, rescaled by hand, are those of the saved tensors; training does not see the unit."""
    base = load.load(str(tiny_model(family)), head=TASK.head, class_names=["label"], seed=0)
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, 6)) for _ in range(12)]
    found = {}
    for unit in (1.0, 1000.0):
        rows = Rows({"text": texts, "label": [unit * (5 + text.count("good")) for text in texts]}, "", np.arange(12))
        tokenized = TASK.tokenize(rows, base.tokenizer, 32, ["label"])
        tuned = load.load(str(tiny_model(family)), head=TASK.head, class_names=["label"], seed=0)
        Full().inject(tuned, 0)
        trainer = Trainer(
            encoder=tuned,
            method=Full(),
            task=TASK,
            train=tokenized,
            validation=tokenized,
            class_names=["label"],
            settings=settings.Train(epochs=1, batch_size=4, max_length=32),
            learning_rate=1e-3,
            seed=0,
            dtype=torch.float32,
            device=CPU,
            folder=tmp_path / str(unit),
        )
        trained = trainer.run()
        raw = logits(trainer.model, TASK, tokenized, pad_id=trainer.pad_id, budget=4000, device=CPU)
        with torch.no_grad():
            for name, parameter in tuned.model.named_parameters():
                parameter.copy_(trained.tensors[our_name(tuned, name)])
        scaled = logits(trainer.model, TASK, tokenized, pad_id=trainer.pad_id, budget=4000, device=CPU)
        centre, spread = tokenized.labels.mean(), tokenized.labels.std()
        np.testing.assert_allclose(scaled, centre + spread * raw, rtol=1e-4)
        metrics = TASK.metrics(scaled, tokenized.labels, ["label"])
        assert trained.history[-1].validation["mse"] == pytest.approx(metrics["mse"], rel=1e-3)
        found[unit] = scaled / unit
    np.testing.assert_allclose(found[1.0], found[1000.0], rtol=1e-4)


STUDY = """
model = {model}
seeds = [0, 1]
out = "out"
[task]
kind = "regression"
text = ["one", "two"]
label = "score"
[data]
train = "train.csv"
test = "test.csv"
[data.other_tests]
far = "far.csv"
[train]
epochs = 4
batch_size = 8
max_length = 32
[search]
candidates = 1
[[method]]
name = "full"
learning_rate = 1e-3
[[method]]
name = "lora"
rank = [2, 4]
learning_rate = 1e-2
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for seed, (name, count) in enumerate({"train": 160, "test": 60, "far": 40}.items()):
        draw = np.random.default_rng(seed)
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["one", "two", "score"])
            for _ in range(count):
                one, two = ([str(w) for w in draw.choice(WORDS, 5)] for _ in range(2))
                writer.writerow([" ".join(one), " ".join(two), 100 + 10 * one.count("good") - 10 * one.count("bad")])
    (folder / "study.toml").write_text(STUDY.format(model=json.dumps(str(tiny_model("bert")))))
    return compare(folder / "study.toml").parent


def test_a_whole_study(out: Path) -> None:
    with (out / "summary.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"mean", "untrained", "full", "lora rank=2", "lora rank=4", "head"}
    best = max(float(rows[v]["pearson"]) for v in ("full", "lora rank=2", "lora rank=4"))
    assert best > 0.3 and float(rows["mean"]["pearson"]) == 0 and rows["mean"]["accuracy"] == ""
    assert float(rows["full"]["pearson_rows_low"]) < float(rows["full"]["pearson"])
    assert float(rows["full"]["far_pearson"]) != float(rows["full"]["pearson"])
    with (out / "results.csv").open() as file:
        for row in csv.DictReader(file):
            found = load_file(out / "runs" / row["run"] / "predictions" / f"{row['split']}.safetensors")
            assert float(row["mse"]) == pytest.approx(mean_squared_error(found["labels"], found["logits"][:, 0]))
    page = (out / "report.html").read_text()
    assert "Pearson&#39;s r on the test rows" in page and "one standard error over seeds and test rows" in page
    assert "accuracy" not in page.lower()
    shown = json.loads((out / "summary.json").read_text())
    assert shown["recommendation"]["beats_majority"] is not None and shown["metric"]["key"] == "pearson"


def test_the_difference_is_one_of_correlations_with_a_paired_interval(out: Path) -> None:
    table = collect.collect(out)
    row = next(r for r in table.summary if r.variant == "lora rank=2")
    found: dict[str, list[np.ndarray]] = {"full": [], "lora rank=2": []}
    gold = np.array([])
    for run in sorted(table.runs, key=lambda run: run.seed or 0):
        if run.variant in found:
            tensors = load_file(out / "runs" / run.id / "predictions" / "test.safetensors")
            order = np.argsort(tensors["index"])
            found[run.variant].append(zscore(tensors["logits"][order, 0].astype(float)))
            gold = tensors["labels"][order]

    def r(answers: np.ndarray, rows: np.ndarray) -> float:
        return float(np.corrcoef(answers[rows], gold[rows])[0, 1])

    def gap(rows: np.ndarray) -> float:
        pairs = zip(found["lora rank=2"], found["full"], strict=True)
        return float(np.mean([r(a, rows) - r(b, rows) for a, b in pairs]))

    every, draw = np.arange(len(gold)), np.random.default_rng(0)
    change = row.comparison
    assert change and change.difference == pytest.approx(gap(every))
    samples = [draw.integers(0, len(gold), len(gold)) for _ in range(2000)]
    gaps = np.array([[r(a, rows) - r(b, rows) for rows in samples] for a, b in zip(*found.values(), strict=True)])
    over_rows = gaps.mean(axis=0).var()
    values = [[r(a, every) for a in answers] for answers in found.values()]
    trained = [v.done for v in read_variants(out, table.runs, [table.metric]) if v.is_trained]
    pooled = np.mean([np.var([run.splits["test"].metrics["pearson"] for run in runs], ddof=1) for runs in trained])
    between_seeds = max(sum(np.var(one, ddof=1) for one in values), 2 * pooled) / 2
    apart = (np.cov(gaps)[[0, 1], [0, 1]].mean() - np.cov(gaps)[0, 1]) / 4
    se = math.sqrt(max(over_rows + between_seeds - apart, over_rows, between_seeds))
    df = (over_rows + between_seeds) ** 2 / (over_rows**2 / (len(gold) - 1) + between_seeds**2 / len(trained))
    half = scipy.stats.t.ppf(0.975, df) * se
    assert change.estimate and change.estimate.high - change.estimate.value == pytest.approx(half, rel=0.1)
    assert change.p == pytest.approx(2 * scipy.stats.t.sf(abs(change.estimate.value) / se, df), abs=0.05)


def test_lower_is_better_where_the_error_is_the_metric(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    study = json.loads((tmp_path / "out" / "study.json").read_text())
    study["study"]["task"]["best"] = "mse"
    (tmp_path / "out" / "study.json").write_text(json.dumps(study))
    table = collect.collect(tmp_path / "out")
    rows = {row.variant: row for row in table.summary}
    means = {name: row.metric.mean or 0.0 for name, row in rows.items()}
    trained = {name: means[name] for name, row in rows.items() if row.is_trained}
    choice, metric = table.recommendation, table.metric
    found = read_variants(tmp_path / "out", table.runs, [metric])
    best = next(v for v in found if choice and v.name == choice.variant)
    compared = {v.name: compared_with(best, v, metric, pooled_seed_variance(found, metric)) for v in found}
    assert choice and choice.best == min(trained, key=lambda name: trained[name])
    rival = compared["mean"].estimate
    assert rival is not None and choice.beats_majority is (rival.high < 0)
    head, lora = (rows[name].comparison for name in ("head", "lora rank=2"))
    assert head and head.difference == pytest.approx(means["head"] - means["full"]) and 0 < (head.p or 0)
    assert lora and lora.estimate and lora.estimate.low < lora.estimate.value < 0
    assert rows["mean"].metric.seeds_high is None
    page = report.write(table).read_text()
    ranked = re.findall(r'<th scope="row"><span class="dot"[^>]*></span>([^<]+)<', page)[: len(rows)]
    assert ranked == sorted(ranked, key=lambda name: means[name])
    assert "Lower and further left is better" in page
    assert ("Do not use any of these" in page) is not choice.beats_majority


@pytest.mark.parametrize("best", ["pearson", "spearman"])
def test_the_metric_of_weighted_rows_is_scipys_and_sees_no_unit(best: Literal["pearson", "spearman"]) -> None:
    draw = np.random.default_rng(3)
    gold, once = draw.normal(size=80), np.ones((1, 80))
    metric, answers = Regression(best=best).metric(["label"]), gold + 2.0 * draw.normal(size=80)
    wanted = (scipy.stats.pearsonr if best == "pearson" else scipy.stats.spearmanr)(answers, gold)[0]
    for scale in (1.0, 1000.0):
        rows = metric.row_statistics(7 + scale * answers[:, None], gold)
        assert metric.metric_from_weights(rows, once)[0] == pytest.approx(wanted, abs=1e-12)


def zscore(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / x.std()


def run_of(out: Path, method: str) -> Path:
    return next(p.parent for p in out.glob("runs/*/result.json") if json.loads(p.read_text())["method"] == method)


def test_predict_and_evaluate(out: Path) -> None:
    run, file = run_of(out, "full"), out.parent / "test.csv"
    stream = io.StringIO()
    assert predict(run, file, stream) == 60
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    answers, gold = (np.array([float(row[key]) for row in rows]) for key in ("predicted_score", "score"))
    found = evaluate(run, file)
    assert found["pearson"] == pytest.approx(np.corrcoef(answers, gold)[0, 1], abs=1e-4)
    assert found["mse"] == pytest.approx(
        json.loads((run / "result.json").read_text())["splits"]["test"]["mse"], rel=1e-5
    )
    assert "Pearson's r" in (run / "adapter" / "README.md").read_text()


def test_the_exported_model_answers_in_the_labels_unit(out: Path, tmp_path: Path) -> None:
    export(run_of(out, "lora"), "merged", tmp_path / "plain")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain")
    assert model.config.num_labels == 1 and model.config.problem_type == "regression"
    with torch.no_grad():
        found = model(input_ids=torch.tensor([[2, 5, 3]])).logits
    assert 50 < found.item() < 150


def test_check_tells_the_labels_and_refuses_bad_ones(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = out.parent / "study.toml"
    assert set(check.check(study).splits["train"].labels) == {"lowest", "mean", "highest"}
    bad = out.parent / "bad.csv"
    bad.write_text("one,two,score\na,b,1\nc,d,many\n")
    with pytest.raises(SystemExit) as stop:
        main(["check", str(study), "-s", "data.test=bad.csv"])
    assert stop.value.code == 2
    assert "row 2, column 'score': expected a number, got 'many'" in capsys.readouterr().err
