"""A label for every word: places of words, entities as seqeval counts them, all families and methods, a whole study."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from encoderlab.cli.app import main
from encoderlab.core.errors import InputError
from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import collate
from encoderlab.engine.logits import logits, scores
from encoderlab.engine.runner import ModelRunner
from encoderlab.inference.evaluate import evaluate
from encoderlab.inference.export import export
from encoderlab.inference.predict import predict
from encoderlab.methods.base import Method
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model import load
from encoderlab.model.families import FAMILIES
from encoderlab.results import collect
from encoderlab.study import check
from encoderlab.study.compare import compare
from encoderlab.tasks import entities
from encoderlab.tasks.token_classification import TokenClassification
from fixtures_cells import cells
from fixtures_methods import CASES, REFUSED
from fixtures_seqeval import GOLDEN, Golden

TASK = TokenClassification()
CPU = torch.device("cpu")
TAGS = ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"]


def rows_of(words: list[Any], labels: list[Any] | None = None) -> Rows:
    columns = {"tokens": words} | ({} if labels is None else {"ner_tags": labels})
    return Rows(columns, "here", np.arange(len(words)))


def encoded_of(tokenizer: Any, *texts: str, max_length: int = 64) -> TokenizedRows:
    words = [text.split() for text in texts]
    labels = [[TAGS[(i + len(word)) % 5] for i, word in enumerate(row)] for row in words]
    return TASK.tokenize(TASK.prepare(rows_of(words, labels), labelled=True), tokenizer, max_length, TAGS)


TEXTS = ("good zebra film", "the plot", "a very bad actor xyz was not good", "film")


def test_places_are_the_first_subwords_that_the_library_finds(tiny_tokenizer) -> None:
    found = encoded_of(tiny_tokenizer, *TEXTS)
    batch = tiny_tokenizer([t.split() for t in TEXTS], is_split_into_words=True)
    assert found.places is not None
    for row, text in enumerate(TEXTS):
        ids = found.ids[found.offsets[row] : found.offsets[row + 1]]
        assert ids.tolist() == batch["input_ids"][row]
        firsts = [batch.word_ids(row).index(i) for i in range(len(text.split()))]
        assert found.places[row].tolist() == firsts + [-1] * (8 - len(firsts))
        assert (found.labels[row] >= 0).sum() == len(firsts)


def byte_level() -> Tokenizer:
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    return found


def sentence_piece() -> Tokenizer:
    found = Tokenizer(models.BPE())
    found.normalizer = normalizers.NFKC()  # pyright: ignore[reportAttributeAccessIssue]
    found.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    found.decoder = decoders.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    return found


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
def test_places_with_tokens_that_hold_the_space_before_them(make: Callable[[], Tokenizer]) -> None:
    """As RoBERTa's and XLM-R's do: every word's first token is where its first letter is."""
    raw = make()
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["<pad>", "<unk>"], show_progress=False)  # pyright: ignore[reportCallIssue]
    raw.train_from_iterator(["the plot was very good the film was bad"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    words = "the goodbad film was goofy".split()
    found = TASK.tokenize(TASK.prepare(rows_of([words]), labelled=False), tokenizer, 64, TAGS)
    assert found.places is not None
    tokens = tokenizer.convert_ids_to_tokens(found.ids.tolist())
    stops = [*found.places[0].tolist()[1:], len(tokens)]
    for word, start, stop in zip(words, found.places[0], stops, strict=True):
        assert "".join(tokens[start:stop]).lstrip("Ġ▁") == word, tokens


def test_words_that_are_cut_off_are_missed_and_told(tiny_tokenizer) -> None:
    found = encoded_of(tiny_tokenizer, "good bad film the plot was", max_length=6)
    assert found.places is not None and found.places[0].tolist() == [1, 2, 3, 4, -1, -1]
    assert (found.rows_cut, found.tokens_lost) == (1, 2)
    (said,) = TASK.warnings(found)
    assert said.startswith("2 of 6 words, in 1 rows, are not seen by the model (cut off by train.max_length")
    answers = np.full((1, 6, 5), -np.inf, dtype=np.float32)
    answers[0, :4] = np.eye(5)[found.labels[0, :4]]
    metrics = TASK.metrics(answers, found.labels, TAGS)
    gold = [[TAGS[k] for k in found.labels[0]]]
    assert metrics["entity_f1"] == pytest.approx(2 / 3)  # seqeval's: PER, LOC, and a LOC that is cut
    assert metrics["entity_recall"] < 1
    rows = Rows({"words": [["x"] * 6]}, "", np.arange(1))
    assert TASK.predictions(answers, TAGS, rows)["labels"] == [gold[0][:4] + ["O", "O"]]
    assert TASK.warnings(encoded_of(tiny_tokenizer, "good bad")) == []


def test_a_word_without_a_token_shifts_no_other(tiny_tokenizer) -> None:
    prepared = TASK.prepare(rows_of([["good", "\u200b", "bad"], ["", "film"]]), labelled=False)
    found = TASK.tokenize(prepared, tiny_tokenizer, 32, TAGS)
    assert found.places is not None
    assert found.places.tolist() == [[1, -1, 2], [-1, 1, -1]]


def as_arrays(gold: list[list[str]], predicted: list[list[str]], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    width = max(map(len, gold))
    labels, answers = np.full((len(gold), width), -1), np.full((len(gold), width, len(names)), -np.inf, np.float32)
    for i, pair in enumerate(zip(gold, predicted, strict=True)):
        for j, (one, other) in enumerate(zip(*pair, strict=True)):
            labels[i, j] = names.index(one)
            answers[i, j] = 0
            answers[i, j, names.index(other)] = 1
    return answers, labels


@pytest.mark.parametrize("golden", GOLDEN, ids=str)
def test_entities_are_those_of_seqeval(golden: Golden) -> None:
    gold, predicted = golden.named()
    answers, labels = as_arrays(gold, predicted, golden.tags)
    found = TASK.metrics(answers, labels, golden.tags)
    assert found["entity_f1"] == pytest.approx(golden.f1, abs=1e-12)
    assert found["entity_precision"] == pytest.approx(golden.precision, abs=1e-12)
    assert found["entity_recall"] == pytest.approx(golden.recall, abs=1e-12)
    per_class = {one["label"]: (one["f1"], one["support"]) for one in found["per_class"]}
    absent = {name: (0.0, 0) for name in per_class}
    assert per_class == {name: pytest.approx(wanted) for name, wanted in (absent | golden.per_class).items()}
    metric = TASK.metric(golden.tags)
    statistics = metric.row_statistics(answers, labels)
    found_again = metric.metric_from_weights(statistics, np.asarray(golden.times, dtype=float))
    np.testing.assert_allclose(found_again, golden.f1_of_times, atol=1e-12)


@pytest.mark.parametrize("golden", GOLDEN, ids=str)
def test_the_scheme_of_the_golden_labels_is_known(golden: Golden) -> None:
    rule = entities.scheme(golden.tags)
    assert rule is not None and rule.name == golden.scheme
    types = ", ".join(sorted({tag[2:] for tag in golden.tags if tag != "O"}))
    said = f"({golden.scheme} labels of {types}), scored as seqeval does by default"
    assert TASK.compared_by(golden.tags).endswith(said)


def test_words_labelled_minus_100_are_ignored(tiny_tokenizer) -> None:
    rows = TASK.prepare(
        rows_of([["good", "bad", "film"], ["the"], ["plot", "the"]], [["B-PER", -100, "I-PER"], ["-100"], ["O", "O"]]),
        labelled=True,
    )
    assert rows.columns["labels"] == [["B-PER", None, "I-PER"], ["O", "O"]] and rows.index.tolist() == [0, 2]
    assert rows.notes == (
        "here: 1 of 3 rows have no labelled word and were dropped",
        "here: 1 of 5 words are labelled -100: ignored, neither learned nor scored",
    )
    tokenized = TASK.tokenize(rows, tiny_tokenizer, 16, TAGS)
    assert tokenized.labels.tolist() == [[2, -1, 4], [0, 0, -1]]
    answers = np.zeros((2, 3, 5), np.float32)
    answers[0, [0, 1, 2], [2, 1, 4]] = answers[1, :, 0] = 1
    found = TASK.metrics(answers, tokenized.labels, TAGS)
    assert (found["entity_f1"], found["accuracy"], found["words"]) == (1.0, 1.0, 4)
    torch.testing.assert_close(
        TASK.losses(torch.from_numpy(answers), torch.from_numpy(tokenized.labels))[0],
        torch.nn.functional.cross_entropy(torch.from_numpy(answers[0]), torch.tensor([2, -1, 4]), ignore_index=-1),
    )
    assert TASK.class_names(Splits(rows, rows, rows)) == ["O", "B-PER", "I-PER"]


def test_entities_with_another_sign_are_refused() -> None:
    for labels in (["O", "B_PER", "I_PER"], ["O", "PER-B", "PER-I"]):
        rows = TASK.prepare(rows_of([["a", "b", "c"]], [labels]), labelled=True)
        with pytest.raises(InputError, match="would count as a separate type; write B- and I- in front"):
            TASK.class_names(Splits(rows, rows, rows))
    assert entities.other_sign(["O", "B-X", "B_PER", "I_PER"]) is None and entities.other_sign(["O", "B_PER"]) is None


def test_other_labels_than_iob2() -> None:
    plain = entities.scheme(["O", "PER", "LOC"])
    assert plain is not None and plain.spans([1, 1, 0, 2, 1]) == {(0, 2, 1), (3, 4, 0), (4, 5, 1)}
    iobes = entities.scheme(["O", "B-A", "I-A", "E-A", "S-A"])
    assert iobes is not None and iobes.spans([1, 2, 3, 4, 4, 0]) == {(0, 3, 0), (3, 4, 0), (4, 5, 0)}
    assert entities.scheme(["DET", "NOUN"]) is None
    answers, labels = as_arrays([["DET", "NOUN"], ["NOUN"]], [["DET", "DET"], ["NOUN"]], ["DET", "NOUN"])
    found = TASK.metrics(answers, labels, ["DET", "NOUN"])
    assert found["accuracy"] == pytest.approx(2 / 3) and "entity_f1" not in found
    assert TASK.metric(["DET", "NOUN"]).key == "accuracy" and TASK.metric(TAGS).key == "entity_f1"
    metric = TASK.metric(["DET", "NOUN"])
    rows, weights = metric.row_statistics(answers, labels), np.array([[1.0, 1.0], [1.0, 3.0]])
    assert metric.metric_from_weights(rows, weights) == pytest.approx([2 / 3, 4 / 5])


@pytest.mark.parametrize(("family", "method"), cells(FAMILIES, CASES))
def test_every_method_on_every_family(family: str, method: Method, tiny_model: Callable[[str], Path]) -> None:
    """The head on first subwords alone gives what it gives on all tokens; together as alone; every part is reached."""
    base = load.load(str(tiny_model(family)), head=TASK.head, class_names=TAGS, seed=0)
    if any("not installed" in line for line in method.problems(base)):
        pytest.skip("an extra is missing")
    in_front = isinstance(method, Prompt) and method.placement == "front"  # its virtual tokens would be answered
    if (method.name, family) in REFUSED or in_front:
        assert method.problems(base)
        return
    method.inject(base, 0)
    tokenized = encoded_of(base.tokenizer, *TEXTS)
    model, pad, rows = ModelRunner(base, torch.float32, CPU).eval(), base.tokenizer.pad_token_id, np.array([2, 0, 3, 1])
    assert tokenized.places is not None
    found = scores(model, TASK, tokenized, rows, pad_id=pad, device=CPU, draw=(0, 1))
    with torch.no_grad():
        whole = base.model(**collate(tokenized, rows, pad, CPU)).logits
    for i, row in enumerate(rows):
        places = tokenized.places[row][tokenized.places[row] >= 0]
        torch.testing.assert_close(found[i, : len(places)], whole[i, places], rtol=1e-4, atol=1e-5)
        assert torch.isinf(found[i, len(places) :]).all()
    alone = logits(model, TASK, tokenized, pad_id=pad, budget=1, device=CPU)
    together = logits(model, TASK, tokenized, pad_id=pad, budget=10**6, device=CPU)
    np.testing.assert_allclose(alone, together, atol=1e-5)
    TASK.losses(found, torch.from_numpy(tokenized.labels[rows])).sum().backward()
    assert [name for name, p in base.trainable() if p.grad is None] == []


def test_the_loss_is_the_mean_over_a_rows_words() -> None:
    answers = torch.randn(2, 3, 5, requires_grad=True)
    labels = torch.tensor([[0, 3, -1], [4, -1, -1]])
    each = torch.nn.functional.cross_entropy(answers.transpose(1, 2), labels, ignore_index=-1, reduction="none")
    wanted = each.sum(1) / torch.tensor([2, 1])
    torch.testing.assert_close(TASK.losses(answers, labels), wanted)
    cut = answers.detach().clone()
    cut[1] = -torch.inf  # nothing of it is seen
    assert TASK.losses(cut, labels)[1] == 0


@pytest.mark.parametrize(
    "words, labels, said",
    [
        ([["a", "b"]], [["O"]], "row 1: 2 words, but 1 labels (column 'ner_tags'); expected one for each word"),
        ([[]], [[]], "row 1: no words in column 'tokens'; remove the row"),
        ([["a"]], [None], "row 1: expected a list in column 'ner_tags', got None"),
        ([["a"], ["b"]], [["O"], [None]], "row 2: word 1 has no label (column 'ner_tags')"),
        ([["a", "b"]], [[-100, "-100"]], "here: none of its 1 rows has a labelled word"),
        ([["a"]], [[1.5]], "row 1: 1.5 is not a class"),
        ([3], [["O"]], "row 1: expected a list in column 'tokens', got 3"),
        ([[["a"]]], [["O"]], "row 1: expected a text, got list"),
    ],
)
def test_bad_rows_are_one_line(words: list, labels: list, said: str) -> None:
    with pytest.raises(InputError) as error:
        TASK.prepare(rows_of(words, labels), labelled=True)
    (line,) = error.value.lines
    assert said in line


def test_more_that_can_be_wrong(tiny_tokenizer) -> None:
    with pytest.raises(InputError, match="no column 'tokens' or 'words'; name it with `words`"):
        TASK.prepare(Rows({"text": ["a"]}, "here", np.arange(1)), labelled=False)
    with pytest.raises(InputError, match="no column 'tag'"):
        TokenClassification(labels="tag").prepare(rows_of([["a"]], [["O"]]), labelled=True)
    assert TokenClassification(words="x", labels="x").problems()
    same = TASK.prepare(rows_of([["a"]], [["O"]]), labelled=True)
    with pytest.raises(InputError, match="all words have the label 'O'"):
        TASK.class_names(Splits(same, same, same))
    other = TASK.prepare(rows_of([["a"]], [["B-ORG"]]), labelled=True)
    with pytest.raises(InputError, match="row 1: label 'B-ORG' is unknown to the model"):
        TASK.tokenize(other, tiny_tokenizer, 32, TAGS)
    assert TASK.class_names(Splits(same, other, same)) == ["O", "B-ORG"]
    book = TASK.prepare(rows_of([["a"], ["a"] * 10_001]), labelled=False)
    with pytest.raises(InputError, match="here: row 2: 10,001 words; expected at most 10,000: make a row of each"):
        TASK.tokenize(book, tiny_tokenizer, 32, TAGS)


def test_an_odd_label_does_not_change_what_the_others_mark() -> None:
    """Read as plain names, B-PER and I-PER would be two types, and the F1 another."""
    good = TASK.prepare(rows_of([["a", "b"]], [["B-PER", "I-PER"]]), labelled=True)
    test = TASK.prepare(rows_of([["a"], ["b", "c"]], [["O"], ["O", "B_LOC"]]), labelled=True)
    with pytest.raises(InputError) as error:
        TASK.class_names(Splits(good, good, test))
    assert error.value.lines == (
        "data.test: here: row 2: label 'B_LOC' marks no entity as the others do: expected O, or a label like 'B-PER'; "
        "correct it",
    )


@pytest.mark.parametrize(
    "labels, odd, said",
    [
        (
            ["O", "B-PER", "I-PER", "B-LOC"],
            [],
            "entity F1 (IOB2 labels of LOC, PER), scored as seqeval does by default",
        ),
        (
            ["O", "B-PER", "L-PER", "U-LOC"],
            [],
            "entity F1 (BILOU labels of LOC, PER), scored as seqeval does by default",
        ),
        (["O", "PER", "E-MAIL"], [], "entity F1 (IO labels of E-MAIL, PER)"),
        (
            ["O", *(f"B-{n}" for n in range(10))],
            [],
            "entity F1 (IOB2 labels of 0, 1, 2, 3, 4, 5, 6, 7 and 2 more), scored as seqeval does by default",
        ),
        (["DET", "NOUN"], [], "word accuracy (the labels mark no entities)"),
        (["O", "B-PER", "X", "B-"], ["X", "B-"], None),
        (["B-PER", "I-PER", "o"], ["o"], None),
    ],
)
def test_what_the_labels_are_taken_for(labels: list[str], odd: list[str], said: str | None) -> None:
    assert entities.odd(labels) == odd
    assert said is None or TASK.compared_by(labels) == said


def test_texts_and_json_are_lists_too() -> None:
    rows = TASK.prepare(rows_of(["a b", '["c", "d"]', "[ e"], ["O O", '["O", "B-A"]', "O O"]), labelled=True)
    assert rows.columns["words"] == [["a", "b"], ["c", "d"], ["[", "e"]]
    assert rows.columns["labels"][1] == ["O", "B-A"]


STUDY = """
model = {model}
seeds = [0, 1]
out = "out"
[task]
kind = "token-classification"
[data]
train = "train.jsonl"
test = "test.jsonl"
[train]
epochs = 3
batch_size = 8
max_length = 16
[search]
candidates = 1
[[method]]
name = "full"
learning_rate = 3e-3
[[method]]
name = "lora"
rank = 2
learning_rate = 1e-2
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for seed, (name, count) in enumerate({"train": 120, "test": 50}.items()):
        draw, lines = np.random.default_rng(seed), []
        for _ in range(count):
            words, tags = [], []
            for _ in range(draw.integers(2, 6)):
                if draw.random() < 0.4:
                    words += ["good", "film"]
                    tags += ["B-PER", "I-PER"]
                else:
                    words.append(str(draw.choice(["the", "was", "bad", "plot"])))
                    tags.append("B-LOC" if words[-1] == "plot" else "O")
            lines.append(json.dumps({"tokens": words, "ner_tags": tags}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "study.toml").write_text(STUDY.format(model=json.dumps(str(tiny_model("bert")))))
    return compare(folder / "study.toml").parent


def run_of(out: Path, method: str) -> Path:
    found = (path.parent for path in sorted(out.glob("runs/*/result.json")))
    return next(run for run in found if json.loads((run / "result.json").read_text())["method"] == method)


def test_a_whole_study(out: Path) -> None:
    with (out / "summary.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"majority", "untrained", "full", "lora", "head"}
    assert float(rows["full"]["entity_f1"]) > 0.9 > float(rows["majority"]["entity_f1"]) == 0
    assert float(rows["majority"]["accuracy"]) > 0 and 0 < float(rows["lora"]["p"]) <= 1
    assert float(rows["lora"]["entity_f1_rows_low"]) <= float(rows["lora"]["entity_f1"])
    assert rows["full"]["accuracy_rows_low"] == "" and rows["full"]["entity_precision"]
    page = (out / "report.html").read_text()
    assert "Entity F1 on the test rows" in page and "one standard error over seeds and test rows" in page
    assert '<th scope="row"><span class="cut" title="PER">PER</span></th>' in page and "Confusion" not in page
    table = collect.collect(out)
    assert table.metric.key == "entity_f1" and table.recommendation and table.recommendation.beats_majority
    run = run_of(out, "full")
    found = load_file(run / "predictions" / "test.safetensors")
    again = TASK.metrics(found["logits"], found["labels"], json.loads((run / "result.json").read_text())["class_names"])
    assert again["entity_f1"] == json.loads((run / "result.json").read_text())["splits"]["test"]["entity_f1"]


def test_predict_and_evaluate(out: Path, tmp_path: Path) -> None:
    run, stream = run_of(out, "full"), io.StringIO()
    assert predict(run, out.parent / "test.jsonl", stream) == 50
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    gold, predicted = ([json.loads(row[key]) for row in rows] for key in ("ner_tags", "labels"))
    found = evaluate(run, out.parent / "test.jsonl")
    names = sorted({label for row in (*gold, *predicted) for label in row})
    wanted = TASK.metrics(*as_arrays(gold, predicted, names), names)  # seqeval's, as the golden values show
    assert found["entity_f1"] == pytest.approx(wanted["entity_f1"])
    (tmp_path / "new.csv").write_text("words\nthe good film\nplot\n")
    stream = io.StringIO()
    assert predict(run, tmp_path / "new.csv", stream) == 2
    assert [len(json.loads(row["labels"])) for row in csv.DictReader(io.StringIO(stream.getvalue()))] == [3, 1]


@pytest.mark.parametrize("to", ["merged", "peft"])
def test_export(out: Path, tmp_path: Path, to: str) -> None:
    method = {"merged": "full", "peft": "lora"}[to]
    done = export(run_of(out, method), to, tmp_path / to)
    assert done.rows > 0 and done.difference < 1e-4


def test_check_says_what_is_cut(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check.check(out.parent / "study.toml", ["train.max_length=8"])
    assert any(line.startswith("data.test: ") and "words, in " in line for line in report.warnings)
    assert report.splits["train"].labels["O"] > 0
    with pytest.raises(SystemExit) as stop:
        main(["check", str(out.parent / "study.toml")])
    said = capsys.readouterr().out
    assert stop.value.code == 0 and "label B-PER" in said
    assert "reference: full; metric: entity F1 (IOB2 labels of LOC, PER)" in said


def test_prefix_and_prompt_are_among_the_cases() -> None:
    assert {Prefix, Prompt} <= {type(case) for case in CASES}
