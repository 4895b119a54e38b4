"""Multiple choice: how files write it, rows of unlike numbers of choices in one batch, plain transformers as the
oracle, a whole study with prefix and prompt, predict and evaluate, and wrong input."""

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
import transformers
from safetensors.numpy import load_file
from transformers import BertTokenizer

from encoderlab.cli import tables
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows, take
from encoderlab.engine.batches import GROUP_COST, by_row, collate, micro_batches
from encoderlab.engine.logits import logits
from encoderlab.engine.runner import ModelRunner
from encoderlab.inference import evaluate, predict
from encoderlab.inference.export import export
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model import load as model_load
from encoderlab.model.dropout import Dropout
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from encoderlab.study import check, compare
from encoderlab.study.estimate import estimate
from encoderlab.tasks.multiple_choice import MultipleChoice
from encoderlab.tasks.tokenization import read_cached
from encoderlab.training.loop import Trainer
from encoderlab.training.settings import Train

TASK = MultipleChoice()
CPU = torch.device("cpu")
WORDS = "good bad film the a was not very plot acting and".split()
LETTERS = "ABCDE"


def raw(**columns: list) -> Rows:
    return Rows(columns, "made.jsonl", np.arange(len(next(iter(columns.values()))), dtype=np.int64))


def official(stem: str, texts: list[str], key: str, labels: str = LETTERS) -> dict[str, Any]:
    choices = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=False)]
    return {"question": {"stem": stem, "choices": choices}, "answerKey": key, "fact1": f"{stem} fact"}


def records(count: int, seed: int, sizes: tuple[int, ...] = (3, 4, 5)) -> list[dict[str, Any]]:
    """Questions of uneven length; the right choice is the one with "good" in it."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(count):
        size = sizes[i % len(sizes)]
        texts = [" ".join(draw.choice(WORDS[1:], size=draw.integers(1, 6))) for _ in range(size)]
        right = int(draw.integers(size))
        texts[right] += " good"
        found.append(official(" ".join(draw.choice(WORDS[1:], size=draw.integers(1, 20))), texts, LETTERS[right]))
    return found


def prepared(objects: list[dict[str, Any]], task: MultipleChoice = TASK, *, labelled: bool = True) -> Rows:
    return task.prepare(raw(**{name: [one[name] for one in objects] for name in objects[0]}), labelled=labelled)


WANTED = {
    "question": ["the plot", "a film"],
    "choices": [[("A", "bad"), ("B", "good"), ("C", "very bad")], [("A", "was"), ("B", "not")]],
    "answer": ["B", "A"],
}
SHAPES: dict[str, dict[str, list]] = {
    "official": {
        "question": [
            {"stem": "the plot", "choices": [{"text": t, "label": n} for n, t in WANTED["choices"][0]]},
            {"stem": "a film", "choices": [{"text": t, "label": n} for n, t in WANTED["choices"][1]]},
        ],
        "answerKey": ["B", "A"],
    },
    "hub": {
        "question_stem": ["the plot", "a film"],
        "choices": [
            {"text": ["bad", "good", "very bad"], "label": ["A", "B", "C"]},
            {"text": ["was", "not"], "label": ["A", "B"]},
        ],
        "answerKey": ["B", "A"],
    },
    "lists": {
        "question": ["the plot", "a film"],
        "choices": [["bad", "good", "very bad"], ["was", "not"]],
        "answer": [1, 0],
    },
    "columns": {
        "question": ["the plot", "a film"],
        "A": ["bad", "was"],
        "B": ["good", "not"],
        "C": ["very bad", ""],
        "answer": ["B", "A"],
    },
    "endings": {
        "question": ["the plot", "a film"],
        "ending0": ["bad", "was"],
        "ending1": ["good", "not"],
        "ending2": ["very bad", None],
        "label": ["1", "0"],
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_files_of_every_shape_become_the_same_rows(shape: str) -> None:
    rows = TASK.prepare(raw(**SHAPES[shape]), labelled=True)
    assert dict(rows.columns) == WANTED
    assert dict(TASK.prepare(raw(**SHAPES[shape]), labelled=False).columns) == {
        k: WANTED[k] for k in ("question", "choices")
    }


def test_columns_can_be_named_and_a_context_follows_the_question(tiny_tokenizer: BertTokenizer) -> None:
    task = MultipleChoice(question="q", choices=("right", "wrong"), answer="key", context="fact")
    rows = task.prepare(
        raw(q=["the plot"], right=["good"], wrong=["bad"], key=["A"], fact=["a film"], answer=["C"]), labelled=True
    )
    assert rows.columns["choices"] == [[("A", "good"), ("B", "bad")]] and task.text_columns == (
        "question",
        "context",
        "choices",
    )
    tokenized = task.tokenize(rows, tiny_tokenizer, 32, ["A", "B"])
    words = [tiny_tokenizer.convert_ids_to_tokens(tokenized.ids[a:b].tolist()) for a, b in ((0, 8), (8, 16))]
    assert words[0] == ["[CLS]", "the", "plot", "a", "film", "[SEP]", "good", "[SEP]"]
    assert words[1] == ["[CLS]", "the", "plot", "a", "film", "[SEP]", "bad", "[SEP]"]
    # what a long row loses is the context's end, whatever the number of choices: one row was cut
    short = task.tokenize(rows, tiny_tokenizer, 7, ["A", "B"])
    assert tiny_tokenizer.convert_ids_to_tokens(short.ids[:7].tolist()) == [
        "[CLS]",
        "the",
        "plot",
        "a",
        "[SEP]",
        "good",
        "[SEP]",
    ]
    assert (short.rows_cut, short.tokens_lost) == (1, 2)


def test_labels_are_those_of_each_row_and_unlabelled_rows_are_dropped() -> None:
    texts = ["good", "bad", "film"]
    objects = [
        official("a", texts, "3", "123"),
        official("b", texts, "C"),
        official("c", texts, ""),
        official("d", texts, "-1"),
    ]
    rows = prepared(objects)
    assert rows.columns["answer"] == ["C", "C"] and rows.columns["question"] == ["a", "b"]
    assert rows.columns["choices"][0][2] == ("3", "film") and rows.index.tolist() == [0, 1]
    assert "2 of 4 rows are unlabelled and were dropped (1 empty, 1 -1)" in rows.notes[0]


def test_an_empty_choice_in_the_middle_keeps_the_letters_of_the_others() -> None:
    rows = TASK.prepare(raw(question=["a"], A=["good"], B=[" "], C=["bad"], answer=["C"]), labelled=True)
    assert rows.columns["choices"] == [[("A", "good"), ("C", "bad")]] and rows.columns["answer"] == ["B"]


OBJECTS = [{"text": "x", "label": "P"}, {"text": "y", "label": "Q"}]
BAD: list[tuple[dict[str, list], str]] = [
    (
        {"question": ["a"], "choices": [["x", "y"]], "answer": ["C"]},
        "made.jsonl: row 1: answer 'C' (column 'answer') is no choice of its row, which has 'A', 'B' (or numbers "
        "from 0); correct or remove the row",
    ),
    (
        {"question": ["a"], "choices": [{"text": ["x", "y"], "label": ["A", "B"]}], "answerKey": ["1"]},
        "made.jsonl: row 1: answer '1' (column 'answerKey') is no choice of its row, which has 'A', 'B'; correct or "
        "remove the row",
    ),
    (
        {"question": ["a", "b"], "choices": [["x", "y"], []], "answer": ["A", "A"]},
        "made.jsonl: row 2: no choices; expected two or more, or remove the row",
    ),
    (
        {"question": [{"stem": "a"}], "answerKey": ["A"]},
        "made.jsonl: no column with choices; expected 'choices' (lists), or 'A', 'B', ... (a text each), or name them "
        "with `choices` in [task]; the columns are 'question', 'answerKey'",
    ),
    (
        {"question": [{"stem": "a", "choices": ["x", "y"]}, {"stem": "b"}], "answer": ["A", "A"]},
        "made.jsonl: row 2: no choices; expected two or more, or remove the row",
    ),
    (
        {"question": ["a"], "choices": [["x", "y"]], "answer": ["²"]},
        "made.jsonl: row 1: answer '²' (column 'answer') is no choice of its row, which has 'A', 'B' (or numbers "
        "from 0); correct or remove the row",
    ),
    (  # the odd row alone is blamed
        {"question": ["a", "b", "c"], "choices": [["x", "y"], OBJECTS, ["x", "y"]], "answer": [1, 1, 0]},
        "made.jsonl: row 2: answer '1' (column 'answer') is no choice of its row, which has 'P', 'Q'; correct or "
        "remove the row",
    ),
    (
        {"question": ["a", "b"], "choices": [["x", "y", "z"], ["x", "y"]], "answer": [1, 2]},
        "made.jsonl: row 2: answer 2 (column 'answer') of 2 choices, and no row's answer is 0: answers count from 0; "
        "subtract 1 from each, or write letters (A, B, ...)",
    ),
    (
        {"question": ["a"], "choice1": ["x"], "choice2": ["y"], "choice3": [""], "answer": ["2"]},
        "made.jsonl: row 1: answer 2 (column 'answer') of 2 choices, and no row's answer is 0: answers count from 0; "
        "subtract 1 from each, or write letters (A, B, ...)",
    ),
    (
        {"question": ["a"], "A": ["x"], "B": [""], "answer": ["A"]},
        "made.jsonl: row 1: only one choice, 'x'; expected two or more, or remove the row",
    ),
    (
        {"question": ["a"], "choices": ["x, y"], "answer": ["A"]},
        "made.jsonl: row 1: choices are no list: expected texts, objects with text and label, or an object with lists "
        "text and label",
    ),
    (
        {"question": ["a"], "choices": [{"text": ["x", "y"], "label": ["A"]}], "answer": ["A"]},
        "made.jsonl: row 1: 2 choices, but 1 labels of choices; expected one for each",
    ),
    (
        {"question": ["a"], "choices": [{"text": ["x", "y"], "label": ["A", "A"]}], "answer": ["A"]},
        "made.jsonl: row 1: the labels of the choices are 'A', 'A'; expected different ones",
    ),
    (
        {"query": ["a"], "choices": [["x", "y"]], "answer": ["A"]},
        "made.jsonl: no column 'question' or 'question_stem'; name it with `question` in [task]; the columns are "
        "'query', 'choices', 'answer'",
    ),
    (
        {"question": ["a"], "answer": ["A"]},
        "made.jsonl: no column with choices; expected 'choices' (lists), or 'A', 'B', ... (a text each), or name them "
        "with `choices` in [task]; the columns are 'question', 'answer'",
    ),
    (
        {"question": ["a"], "choices": [["x", "y"]]},
        "made.jsonl: no column 'answerKey' or 'answer' or 'label'; name it with `answer` in [task]; the columns are "
        "'question', 'choices'",
    ),
]


@pytest.mark.parametrize("columns, line", BAD)
def test_wrong_rows_are_one_line_each(columns: dict[str, list], line: str) -> None:
    with pytest.raises(InputError) as caught:
        TASK.prepare(raw(**columns), labelled=True)
    assert caught.value.lines == (line,)


@pytest.mark.parametrize(
    "columns, warned",
    [
        ({"choices": [["x", "y", "z"]] * 3, "answer": [1, 2, 1]}, True),
        ({"choice1": ["x"] * 2, "choice2": ["y"] * 2, "choice3": ["z"] * 2, "answer": ["1", "2"]}, True),
        ({"choices": [["x", "y", "z"]] * 3, "answer": [1, 2, 0]}, False),
        ({"choices": [["x", "y", "z"]] * 2, "answer": ["B", "C"]}, False),
        ({"choices": [{"text": ["x", "y"], "label": ["1", "2"]}], "answer": ["1"]}, False),
    ],
)
def test_numbers_without_a_0_are_told(columns: dict[str, list], warned: bool) -> None:
    count = len(columns["answer"])
    rows = TASK.prepare(raw(question=["a"] * count, **columns), labelled=True)
    expected = (
        f"made.jsonl: none of the {count} answers that are numbers (column 'answer') is 0, and answers count from 0, 1 "
        "being the second choice; if these count from 1, subtract 1 from each, or write letters (A, B, ...)"
    )
    assert rows.notes == ((expected,) if warned else ())


def test_a_wrong_count_hides_no_other_problem() -> None:
    with pytest.raises(InputError) as caught:
        TASK.prepare(raw(question=["a"] * 4, choices=[["x", "y"]] * 4, answer=[2, "Q", 2, 7]), labelled=True)
    assert [line.split(": ")[1] for line in caught.value.lines] == ["row 1", "row 2", "row 4"]


def test_rows_of_one_file_may_differ_in_shape() -> None:
    inside = {"stem": "a", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]}
    rows = TASK.prepare(
        raw(question=[inside, "b", {"stem": "c"}], choices=[None, ["x", "y"], OBJECTS], answer=["B", 1, "Q"]),
        labelled=True,
    )
    assert rows.columns["question"] == ["a", "b", "c"] and rows.columns["answer"] == ["B", "B", "B"]
    assert [[text for _, text in cell] for cell in rows.columns["choices"]] == [["x", "y"]] * 3


@pytest.mark.parametrize("columns", [{"choices": [["x", "y"]]}, {"A": ["x"], "B": ["y"]}])
def test_objects_with_a_stem_alone_have_their_choices_beside_them(columns: dict[str, list]) -> None:
    rows = TASK.prepare(raw(question=[{"stem": "a"}], **columns, answer=["B"]), labelled=True)
    assert dict(rows.columns) == {"question": ["a"], "choices": [[("A", "x"), ("B", "y")]], "answer": ["B"]}


def test_objects_of_texts_alone_are_choices_without_labels() -> None:
    rows = TASK.prepare(raw(question=["a"], choices=[[{"text": "x"}, {"text": "y"}]], answer=[0]), labelled=True)
    assert rows.columns["choices"] == [[("A", "x"), ("B", "y")]] and rows.columns["answer"] == ["A"]


def test_many_wrong_rows_are_counted_and_a_named_column_that_is_missing_is_named() -> None:
    with pytest.raises(InputError) as caught:
        prepared([official("a", ["x", "y"], "Q")] * 9)
    assert len(caught.value.lines) == 6 and caught.value.lines[5] == "made.jsonl: 4 more such rows"
    with pytest.raises(InputError, match="no column 'fact2'; the columns are .*did you mean 'fact1'"):
        prepared(records(2, 0), MultipleChoice(context="fact2"))


def test_the_section_itself() -> None:
    assert TASK.problems() == []
    assert [str(problem) for problem in MultipleChoice(choices=("A",)).problems()] == [
        "choices: expected two columns or more, or the name of one column with lists"
    ]
    (twice,) = MultipleChoice(choices=("A", "B"), answer="A").problems()
    assert "column 'A' is named for two purposes" in twice.message
    rows = prepared(records(6, 0))
    assert TASK.class_names(Splits(rows.take([0]), rows.take([1]), rows.take([2]))) == list("ABCDE")


def test_tokens_are_the_tokenizers_own_and_the_cache_keeps_the_groups(
    tiny_tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    rows = prepared(records(7, 3))
    tokenized = TASK.tokenize(rows, tiny_tokenizer, 12, list("ABCDE"), tmp_path)
    firsts = [q for q, cell in zip(rows.columns["question"], rows.columns["choices"], strict=True) for _ in cell]
    texts = [text for cell in rows.columns["choices"] for _, text in cell]
    lists = [tokenized.ids[a:b].tolist() for a, b in zip(tokenized.offsets, tokenized.offsets[1:], strict=False)]
    assert lists == tiny_tokenizer(firsts, texts, truncation="longest_first", max_length=12)["input_ids"]
    assert tokenized.sizes.tolist() == [3, 4, 5, 3, 4, 5, 3] and len(tokenized) == 7
    full = [len(ids) for ids in tiny_tokenizer(firsts, texts)["input_ids"]]
    assert tokenized.groups is not None
    cut = [max(full[a:b]) > 12 for a, b in zip(tokenized.groups, tokenized.groups[1:], strict=False)]
    assert tokenized.rows_cut == sum(cut) > 0
    again = read_cached(tokenized.fingerprint, tmp_path)
    assert again is not None and again.groups is not None and len(again) == 7
    assert again.groups.tolist() == tokenized.groups.tolist()
    some = take(tokenized, np.array([4, 1]))
    assert some.sizes.tolist() == [4, 4] and some.tokens.tolist() == tokenized.tokens[[4, 1]].tolist()
    assert some.ids.tolist()[: some.tokens[0]] == [i for s in tokenized.sequences([4]) for i in lists[s]]


def load(tiny_model: Callable[[str], Path], family: str = "bert") -> EncoderModel:
    """A model whose weights are large enough for words to make a difference that can be seen in the logits."""
    encoder = model_load.load(str(tiny_model(family)), head=TASK.head, class_names=list("ABCDE"), seed=0)
    with torch.no_grad():
        for parameter in encoder.model.parameters():
            parameter.mul_(6 if parameter.ndim > 1 else 1)
    return encoder


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_3_4_and_5_choices_in_one_batch_are_as_one_at_a_time(family: str, tiny_model) -> None:
    encoder = load(tiny_model, family)
    tokenized = TASK.tokenize(prepared(records(9, 1)), encoder.tokenizer, 40, list("ABCDE"))
    model = ModelRunner(encoder, torch.float32, CPU)
    pad = encoder.tokenizer.pad_token_id
    together = logits(model, TASK, tokenized, pad_id=pad, budget=10**6, device=CPU)
    assert together.shape == (9, 5) and together.dtype == np.float32
    assert (np.isfinite(together) == tokenized.present(5)).all()
    assert together[np.isfinite(together)].std() > 1e-2
    for row in range(9):
        alone = logits(model, TASK, take(tokenized, np.array([row])), pad_id=pad, budget=1, device=CPU)
        np.testing.assert_allclose(together[row, : alone.shape[1]], alone[0], atol=1e-5)


METHODS: list[Method] = [Full(), Lora(rank=2), Prefix(length=3), Prompt(length=3)]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_logits_and_gradients_are_those_of_a_padded_batch_in_plain_transformers(
    method: Method, tiny_model, tmp_path
) -> None:
    """(batch, 4, length), the padded batch of the textbook, against micro-batches without a choice dimension."""
    encoder = load(tiny_model)
    method.inject(encoder, 0)
    for module in encoder.model.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    rows = prepared(records(8, 2, sizes=(4,)))
    tokenized = TASK.tokenize(rows, encoder.tokenizer, 64, list("ABCD"))
    trainer = Trainer(
        encoder=encoder, method=method, task=TASK, train=tokenized, validation=tokenized, class_names=list("ABCD"),
        settings=Train(batch_size=8, clip=1e9, token_budget=150), learning_rate=1e-3, seed=0, dtype=torch.float32,
        device=CPU, folder=tmp_path,
    )  # fmt: skip
    assert len(micro_batches(trainer.lengths, np.arange(8), 150, trainer.sizes)) > 2
    trainer.optimizer.step = lambda: None  # type: ignore[assignment]
    trainer.optimizer.zero_grad = lambda: None  # type: ignore[assignment]
    loss, _ = trainer.step(0, np.arange(8))
    ours = {name: p.grad.clone() for name, p in encoder.trainable() if p.grad is not None}

    firsts = [q for q in rows.columns["question"] for _ in range(4)]
    texts = [text for cell in rows.columns["choices"] for _, text in cell]
    batch = encoder.tokenizer(firsts, texts, padding=True, return_tensors="pt")
    batch = {name: tensor.view(8, 4, -1) for name, tensor in batch.items()}
    model = encoder.model
    if isinstance(method, Full):  # transformers alone, its own attention and all
        model = transformers.BertForMultipleChoice.from_pretrained(tiny_model("bert"), attn_implementation="eager")
        model.load_state_dict(encoder.model.state_dict())
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    model.train()
    model.zero_grad()
    output = model(**batch, labels=torch.from_numpy(tokenized.labels))
    output.loss.backward()
    found = logits(trainer.model, trainer.task, tokenized, pad_id=trainer.pad_id, budget=200, device=CPU)
    np.testing.assert_allclose(found, output.logits.detach().numpy(), atol=1e-5)
    assert loss == pytest.approx(output.loss.item(), abs=1e-6)
    theirs = dict(model.named_parameters())
    assert ours and any(gradient.abs().max() > 1e-4 for gradient in ours.values())
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name].grad, rtol=0, atol=1e-6, msg=name)


def test_absent_choices_have_no_probability_and_no_gradient() -> None:
    rows = prepared(records(3, 0))
    sizes = [len(cell) for cell in rows.columns["choices"]]
    scores = torch.arange(12.0).view(12, 1).requires_grad_()
    tokenized = numbered(sizes)
    found = by_row(scores, tokenized, [0, 1, 2])
    assert found.shape == (3, 5) and found[0, :3].tolist() == [0, 1, 2] and found[1, :4].tolist() == [3, 4, 5, 6]
    assert torch.isneginf(found[0, 3:]).all() and torch.isneginf(found[1, 4])
    labels = torch.tensor([2, 0, 4])
    losses = TASK.losses(found, labels)
    parts = [scores[:3, 0], scores[3:7, 0], scores[7:, 0]]
    wanted = torch.stack([-part.log_softmax(0)[k] for part, k in zip(parts, labels, strict=True)])
    torch.testing.assert_close(losses, wanted)
    losses.sum().backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all() and (scores.grad != 0).all()
    metrics = TASK.metrics(found.detach().numpy(), labels.numpy(), list("ABCDE"))
    assert metrics == {"loss": pytest.approx(wanted.mean().item(), rel=1e-6), "accuracy": pytest.approx(2 / 3)}


def numbered(sizes: list[int]) -> TokenizedRows:
    """Rows of so many sequences, sequence s being the one token s."""
    groups = np.array([0, *np.cumsum(sizes)])
    ids = np.arange(groups[-1], dtype=np.int32)
    return TokenizedRows(ids, np.arange(len(ids) + 1), None, np.zeros(len(sizes), int), 0, 0, "", groups)


def test_a_group_costs_all_its_choices() -> None:
    lengths, sizes = np.array([10, 10, 10, 4]), np.array([5, 3, 4, 2])
    groups = micro_batches(lengths, np.arange(4), 90, sizes)
    assert sorted(np.concatenate(groups)) == [0, 1, 2, 3] and GROUP_COST
    assert all(sizes[g].sum() * lengths[g].max() <= 90 for g in groups) and len(groups) == 2
    batch = collate(numbered([3, 2]), [1, 0], 0, CPU)
    assert batch["input_ids"].tolist() == [[[3]], [[4]], [[0]], [[1]], [[2]]]


STUDY = """
model = {model}
seeds = [0]
out = "out"
[task]
kind = "multiple-choice"
context = "fact1"
[data]
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
[train]
epochs = 3
batch_size = 8
max_length = 48
[search]
rows = 30
epochs = 1
candidates = 1
[[method]]
name = "full"
learning_rate = 3e-3
[[method]]
name = "lora"
rank = 4
learning_rate = 1e-2
[[method]]
name = "prefix"
length = 4
[[method]]
name = "prompt"
length = 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """A finished study: rows of 3, 4 and 5 choices, full, LoRA, prefix, prompt, and the head that is always there."""
    folder = tmp_path_factory.mktemp("choices")
    for name, count, seed in (("train", 90, 1), ("validation", 24, 2), ("test", 45, 3)):
        lines = [json.dumps(one) for one in records(count, seed)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "study.toml").write_text(STUDY.format(model=json.dumps(str(tiny_model("bert")))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENCODERLAB_CACHE", str(folder / "cache"))
        compare.compare(folder / "study.toml")
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(folder / "cache"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def runs(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    ids = read_json(folder / "out" / "study.json")["runs"]
    found = [(folder / "out" / "runs" / i, read_json(folder / "out" / "runs" / i / "result.json")) for i in ids]
    return {result["variant"]: (path, result) for path, result in found}


def test_a_whole_study_learns_and_its_tables_are_complete(folder: Path) -> None:
    found = runs(folder)
    assert set(found) == {"majority", "untrained", "full", "lora", "prefix", "prompt", "head"}
    assert all(result["status"] == "done" for _, result in found.values())
    assert found["full"][1]["splits"]["test"]["accuracy"] > 0.6  # chance is .26
    assert set(found["full"][1]["splits"]["test"]) == {"rows", "loss", "accuracy"}
    rows = table(folder / "out" / "results.csv")
    assert len(rows) == 2 * len(found)
    assert all(row["accuracy"] and row["loss"] and not row["macro_f1"] for row in rows)
    summary = table(folder / "out" / "summary.csv")
    assert all(row["accuracy_rows_low"] and not row["macro_f1_rows_low"] for row in summary)
    assert all(row["p"] for row in summary if row["variant"] != "full")
    page = (folder / "out" / "report.html").read_text()
    assert "Macro" not in page and "Confusion" not in page and 'id="classes"' not in page
    readme = (found["full"][0] / "adapter" / "README.md").read_text()
    assert "accuracy" in readme


def test_the_majority_is_the_most_frequent_position_that_a_row_has(folder: Path) -> None:
    path, _ = runs(folder)["majority"]
    counts = np.bincount([LETTERS.index(one["answerKey"]) for one in records(90, 1)], minlength=5)
    tensors = load_file(path / "predictions" / "test.safetensors")
    for row, size in zip(tensors["logits"], [3, 4, 5] * 15, strict=True):
        assert np.isneginf(row[size:]).all() and row.argmax() == counts[:size].argmax()


def test_predict_gives_label_text_and_a_probability_for_each_choice(folder: Path, tmp_path: Path) -> None:
    path, result = runs(folder)["full"]
    out = io.StringIO()
    assert predict.predict(path, folder / "test.jsonl", out) == 45
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert list(rows[0])[-8:] == ["answer", "answer_text", "probability", *(f"probability_{n}" for n in LETTERS)]
    right = 0
    for row, record in zip(rows, records(45, 3), strict=True):
        choices = {one["label"]: one["text"] for one in record["question"]["choices"]}
        numbers = [row[f"probability_{n}"] for n in LETTERS]
        assert [bool(n) for n in numbers] == [n in choices for n in LETTERS]
        assert sum(float(n) for n in numbers if n) == pytest.approx(1, abs=1e-5)
        assert row["answer_text"] == choices[row["answer"]]
        assert float(row["probability"]) == max(float(n) for n in numbers if n)
        right += row["answer"] == record["answerKey"]
    assert right / 45 == pytest.approx(result["splits"]["test"]["accuracy"])
    # columns instead of objects, without the answer
    new = tmp_path / "new.csv"
    new.write_text("question,A,B,C,fact1\nthe plot,bad,not good,,a\na film,good,bad,was,\n")
    out = io.StringIO()
    assert predict.predict(path, new, out) == 2
    assert next(csv.DictReader(io.StringIO(out.getvalue())))["probability_C"] == ""
    six = tmp_path / "six.jsonl"
    six.write_text(json.dumps(official("the plot", list("abcdef"), "A", "ABCDEF")))
    with pytest.raises(InputError, match=r"six.jsonl: row 1: 6 choices, but there are columns for the 5"):
        predict.predict(path, six, io.StringIO())


def test_evaluate_scores_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, result = runs(folder)["prefix"]
    found = evaluate.evaluate(path, folder / "test.jsonl")
    assert found["accuracy"] == pytest.approx(result["splits"]["test"]["accuracy"])
    assert found["loss"] == pytest.approx(result["splits"]["test"]["loss"], rel=1e-4)
    tables.evaluated(found)
    assert "accuracy" in capsys.readouterr().out


def test_check_shows_rows_as_people_read_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check.check(folder / "study.toml", ["task.context=fact1"])
    tables.checked(report)
    printed = capsys.readouterr().out
    first = records(90, 1)[0]["question"]["choices"]
    assert f"(A) {first[0]['text']} (B)" in printed and "label E" in printed
    assert estimate(folder / "study.toml").seconds > 0


@pytest.mark.parametrize("to", ["merged", "peft", "onnx"])
def test_a_run_is_exported_and_held_to_its_logits(folder: Path, to: str, tmp_path: Path) -> None:
    done = export(runs(folder)["lora"][0], to, tmp_path / to)
    assert done.rows > 8 and done.difference < 1e-4 and done.checked_on == "rows of test"


def test_wrong_input_stops_before_anything_is_trained(folder: Path) -> None:
    (folder / "wrong.jsonl").write_text(
        "\n".join(json.dumps(one) for one in [*records(9, 1), official("a", ["x", "y"], "E")])
    )
    with pytest.raises(InputError) as caught:
        compare.compare(folder / "study.toml", ["data.train=wrong.jsonl"])
    (line,) = caught.value.lines
    assert line.endswith(
        "data.train: wrong.jsonl: row 10: answer 'E' (column 'answerKey') is no choice of its row, which has 'A', 'B'; "
        "correct or remove the row"
    )


def test_openbookqa_as_it_is_published(shared: Path) -> None:
    lines = (shared / "data" / "openbookqa" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    rows = prepared([json.loads(line) for line in lines], MultipleChoice(context="fact1"))
    assert len(rows) == 500 and rows.columns["answer"].count("A") == 129
    assert all(len(cell) == 4 for cell in rows.columns["choices"]) and all(rows.columns["context"])
