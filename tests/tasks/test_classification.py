"""Class names, tokens, truncation counts, the token cache, losses and metrics of the classification task."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase

from encoderlab.core.errors import InputError
from encoderlab.data.prepare import prepare
from encoderlab.data.readers import read
from encoderlab.data.rows import Rows
from encoderlab.data.source import DataConfig, Source
from encoderlab.data.splits import Splits, load_splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.tasks.classification import Classification
from encoderlab.tasks.registry import TASKS

TASK = Classification()
PAIR = Classification(text=("premise", "hypothesis"))


def make(**columns: list) -> Rows:
    return Rows(columns, "made.csv", np.arange(len(next(iter(columns.values()))), dtype=np.int64))


def labelled(*labels: str) -> Rows:
    return make(text=[f"text {i}" for i in range(len(labels))], label=list(labels))


def token_lists(tokenized: TokenizedRows) -> list[list[int]]:
    return [tokenized.ids[a:b].tolist() for a, b in zip(tokenized.offsets, tokenized.offsets[1:], strict=False)]


def test_the_task_list_names_this_task() -> None:
    assert TASKS[0] is Classification
    assert TASK.text_columns == ("text",) and PAIR.text_columns == ("premise", "hypothesis")
    assert TASK.label_column == "label" and TASK.kind == "classification"


def test_class_names_are_those_of_train_in_order() -> None:
    splits = Splits(labelled("10", "9", "9"), labelled("9"), labelled("10"))
    assert TASK.class_names(splits) == ["9", "10"]


def test_one_class_is_an_error_that_repeats_what_was_dropped() -> None:
    note = "made.csv: 9 of 12 rows are unlabelled and were dropped (0 empty, 9 -1)"
    splits = Splits(labelled("1", "1", "1"), labelled("1"), labelled("1"), ("other", note))
    with pytest.raises(InputError) as caught:
        TASK.class_names(splits)
    assert caught.value.lines == (
        f"data.train: all 3 rows have the label '1' (column 'label'); expected at least two classes; note: {note}",
    )


def test_labels_that_train_lacks_are_named_with_split_and_count() -> None:
    splits = Splits(labelled("a", "b"), labelled("a", "x"), labelled("y", "b", "y"))
    with pytest.raises(InputError) as caught:
        TASK.class_names(splits)
    assert caught.value.lines == (
        "data.validation: label 'x' (column 'label', 1 of 2 rows) is unknown to train, which has 'a', 'b'; "
        "remove or rename these rows",
        "data.test: label 'y' (column 'label', 2 of 3 rows) is unknown to train, which has 'a', 'b'; "
        "remove or rename these rows",
    )


def test_a_wrong_label_column_does_not_print_every_value() -> None:
    train, test = labelled(*(f"a{i:02}" for i in range(30))), labelled(*(f"b{i}" for i in range(30)))
    with pytest.raises(InputError) as caught:
        TASK.class_names(Splits(train, train, test))
    assert len(caught.value.lines) == 6
    assert "'a09' and 20 more; remove" in caught.value.lines[0]
    assert "25 more labels of column 'label' are unknown to train" in caught.value.lines[5]


WORDS = ["good film", "the acting was not very good and the plot was bad", "", "a", "xyzzy good"]


@pytest.mark.parametrize("max_length", [4, 7, 8, 64])
def test_tokens_are_the_tokenizers_own_and_losses_are_counted(max_length: int, tiny_tokenizer: BertTokenizer) -> None:
    rows = make(text=WORDS, label=["0", "1", "0", "1", "1"])
    tokenized = TASK.tokenize(rows, tiny_tokenizer, max_length, ["0", "1"])
    assert token_lists(tokenized) == tiny_tokenizer(WORDS, truncation=True, max_length=max_length)["input_ids"]
    full = np.array([len(ids) for ids in tiny_tokenizer(WORDS)["input_ids"]])
    assert tokenized.rows_cut == (full > max_length).sum()
    assert tokenized.tokens_lost == np.maximum(full - max_length, 0).sum()
    assert tokenized.lengths.tolist() == np.minimum(full, max_length).tolist()
    assert tokenized.labels.tolist() == [0, 1, 0, 1, 1] and len(tokenized) == 5
    assert (tokenized.ids.dtype, tokenized.offsets.dtype, tokenized.labels.dtype) == (np.int32, np.int64, np.int64)


def test_truncation_by_hand(tiny_tokenizer: BertTokenizer) -> None:
    # [CLS] the plot was bad [SEP] is 6 tokens; 5 leave room for three words.
    tokenized = TASK.tokenize(make(text=["the plot was bad"], label=["0"]), tiny_tokenizer, 5, ["0", "1"])
    assert tiny_tokenizer.convert_ids_to_tokens(tokenized.ids.tolist()) == ["[CLS]", "the", "plot", "was", "[SEP]"]
    assert (tokenized.rows_cut, tokenized.tokens_lost) == (1, 1)


@pytest.mark.parametrize("max_length", [5, 9, 12, 64])
def test_pairs_are_cut_longest_first_as_the_tokenizer_does(max_length: int, tiny_tokenizer: BertTokenizer) -> None:
    first, second = WORDS, ["the plot", "the acting was very bad film film film", "a", "", "not " * 20]
    rows = make(premise=first, hypothesis=second, label=["a", "b", "c", "a", "b"])
    tokenized = PAIR.tokenize(rows, tiny_tokenizer, max_length, ["a", "b", "c"])
    expected = tiny_tokenizer(first, second, truncation=True, max_length=max_length)
    assert token_lists(tokenized) == expected["input_ids"]
    assert tokenized.type_ids is not None and tokenized.type_ids.dtype == np.int8
    assert tokenized.type_ids.tolist() == [t for types in expected["token_type_ids"] for t in types]
    full = np.array([len(ids) for ids in tiny_tokenizer(first, second)["input_ids"]])
    assert tokenized.rows_cut == (full > max_length).sum()
    assert tokenized.tokens_lost == np.maximum(full - max_length, 0).sum()


def test_type_ids_only_where_the_tokenizer_makes_them(tiny_tokenizer: BertTokenizer) -> None:
    vocab = tiny_tokenizer.get_vocab()
    without = BertTokenizer(vocab=vocab, model_input_names=["input_ids", "attention_mask"])
    rows = make(text=WORDS, label=["0"] * 5)
    tokenized = TASK.tokenize(rows, without, 8, ["0", "1"])
    assert tokenized.type_ids is None
    assert tokenized.fingerprint != TASK.tokenize(rows, tiny_tokenizer, 8, ["0", "1"]).fingerprint


def test_rows_without_a_label_column_get_no_label(tiny_tokenizer: BertTokenizer) -> None:
    assert TASK.tokenize(make(text=WORDS), tiny_tokenizer, 8, ["0", "1"]).labels.tolist() == [-1] * 5


def test_a_label_the_model_does_not_know_is_an_error(tiny_tokenizer: BertTokenizer) -> None:
    with pytest.raises(
        InputError, match=r"made.csv: label '7' \(column 'label', 1 of 2 rows\) is unknown to the model"
    ):
        TASK.tokenize(labelled("7", "1"), tiny_tokenizer, 8, ["0", "1"])


def test_no_warning_about_long_texts(tiny_tokenizer: BertTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    short = BertTokenizer(vocab=tiny_tokenizer.get_vocab(), model_max_length=16)
    long = ["good " * 50]
    with caplog.at_level(logging.WARNING):
        tokenized = PAIR.tokenize(make(premise=long, hypothesis=long), short, 12, ["0", "1"])
    assert tokenized.tokens_lost == 91 and caplog.records == []


def encode_cached(
    tokenizer: PreTrainedTokenizerBase, cache: Path, max_length: int = 8, **columns: list
) -> TokenizedRows:
    return TASK.tokenize(
        make(**({"text": WORDS, "label": ["0"] * 5} | columns)), tokenizer, max_length, ["0", "1"], cache
    )


def assert_same_tokens(a: TokenizedRows, b: TokenizedRows) -> None:
    assert token_lists(a) == token_lists(b)
    assert a.type_ids is not None and b.type_ids is not None and a.type_ids.tolist() == b.type_ids.tolist()
    assert (a.rows_cut, a.tokens_lost, a.fingerprint) == (b.rows_cut, b.tokens_lost, b.fingerprint)
    assert (a.ids.dtype, a.offsets.dtype, a.type_ids.dtype) == (b.ids.dtype, b.offsets.dtype, b.type_ids.dtype)


def test_the_cache_gives_back_what_was_encoded(tiny_tokenizer: BertTokenizer, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "tokens"
    first = encode_cached(tiny_tokenizer, cache)
    (file,) = cache.iterdir()
    written = file.stat().st_mtime_ns
    again = encode_cached(tiny_tokenizer, cache, label=["1"] * 5)
    assert_same_tokens(first, again)
    assert again.labels.tolist() == [1] * 5  # labels are not what is cached
    assert [path.name for path in cache.iterdir()] == [file.name] and file.stat().st_mtime_ns == written


def test_the_cache_is_read_and_not_just_written(tiny_tokenizer: BertTokenizer, tmp_path: Path) -> None:
    encode_cached(tiny_tokenizer, tmp_path)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"\x63\0\0\0")
    changed = encode_cached(tiny_tokenizer, tmp_path)
    file.unlink()
    fresh = encode_cached(tiny_tokenizer, tmp_path)
    with pytest.raises(AssertionError):
        assert_same_tokens(changed, fresh)


@pytest.mark.parametrize("content", [b"", b"torn", None])
def test_a_torn_cache_file_is_written_anew(
    content: bytes | None, tiny_tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    first = encode_cached(tiny_tokenizer, tmp_path / "other")
    encode_cached(tiny_tokenizer, tmp_path / "tokens")
    (file,) = (tmp_path / "tokens").iterdir()
    good = file.read_bytes()
    file.write_bytes(good[:-7] if content is None else content)
    assert_same_tokens(first, encode_cached(tiny_tokenizer, tmp_path / "tokens"))
    assert file.read_bytes() == good


def test_a_cache_that_cannot_be_written_stops_nothing(tiny_tokenizer: BertTokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert len(encode_cached(tiny_tokenizer, tmp_path / "file")) == 5


def test_the_fingerprint_follows_what_decides_the_tokens(tiny_tokenizer: BertTokenizer) -> None:
    def fingerprint(tokenizer: PreTrainedTokenizerBase = tiny_tokenizer, max_length: int = 8, **columns: list) -> str:
        rows = make(**({"text": WORDS, "label": ["0"] * 5} | columns))
        return TASK.tokenize(rows, tokenizer, max_length, ["0", "1"]).fingerprint

    first = fingerprint()
    tiny_tokenizer(WORDS, truncation=True, max_length=3, padding=True)  # leaves its mark on the tokenizer
    assert fingerprint() == first
    assert fingerprint(label=["1"] * 5) == first
    vocab = list(tiny_tokenizer.get_vocab())
    other = BertTokenizer(vocab={token: i for i, token in enumerate([*vocab[:-2], vocab[-1], vocab[-2]])})
    left = BertTokenizer(vocab=tiny_tokenizer.get_vocab(), truncation_side="left")
    different = [fingerprint(max_length=9), fingerprint(other), fingerprint(left), fingerprint(text=WORDS[::-1])]
    assert len({first, *different}) == 5


# Three classes; the third is never predicted, and the softmax of [log a, log b, log c] is [a, b, c].
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.6, 0.2]])
GOLD = np.array([0, 1, 1, 2])


def test_metrics_by_hand() -> None:
    found = TASK.metrics(np.log(PROBABILITIES).astype(np.float32) + 5, GOLD, ["a", "b", "c"])
    assert found["loss"] == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.2]).mean(), abs=1e-6)
    assert found["accuracy"] == 0.5
    # predicted a a b b: a has precision 1/2, recall 1; b 1/2, 1/2; c nothing
    assert found["macro_precision"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert found["macro_recall"] == found["balanced_accuracy"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["per_class"][1] == {"label": "b", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert found["per_class"][2] == {"label": "c", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert found["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    json.dumps(found, allow_nan=False)


def test_a_class_without_rows_and_predictions_is_no_part_of_the_macro_mean() -> None:
    found = TASK.metrics(np.array([[2.0, 0, 0], [0, 2.0, 0]]), np.array([0, 1]), ["a", "b", "c"])
    assert found["accuracy"] == found["macro_f1"] == found["macro_recall"] == found["macro_precision"] == 1
    assert found["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert len(found["per_class"]) == 3


def test_metrics_against_scikit_learn_and_the_training_loss() -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(200, 4)).astype(np.float32) * 3, draw.integers(0, 4, 200)
    found = TASK.metrics(logits, labels, list("abcd"))
    names = TASK.predictions(logits, list("abcd"), labelled(*"a" * 200))
    probabilities = np.array([names[f"probability_{name}"] for name in "abcd"]).T
    assert found["accuracy"] == accuracy_score(labels, logits.argmax(1))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, logits.argmax(1), average="macro"))
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-6)
    losses = TASK.losses(torch.from_numpy(logits), torch.from_numpy(labels))
    assert losses.shape == (200,) and found["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize(("rows", "present"), [(200, 4), (200, 3), (1, 4)])  # of four classes
def test_the_balanced_accuracy_is_that_of_scikit_learn_and_of_the_metric(rows: int, present: int) -> None:
    draw, names = np.random.default_rng([rows, present]), list("abcd")
    logits, labels = draw.normal(size=(rows, 4)), draw.integers(0, present, rows)
    found = TASK.metrics(logits, labels, names)["balanced_accuracy"]
    metric = next(one for one in TASK.extra_metrics(names) if one.key == "balanced_accuracy")
    assert found == pytest.approx(balanced_accuracy_score(labels, logits.argmax(1)))
    assert found == pytest.approx(metric.value(metric.row_statistics(logits, labels)))


def test_losses_are_per_row_and_differentiable_in_any_precision() -> None:
    logits = torch.tensor(np.log(PROBABILITIES), dtype=torch.bfloat16, requires_grad=True)
    losses = TASK.losses(logits, torch.from_numpy(GOLD))
    assert losses.dtype == torch.float32
    assert losses.tolist() == pytest.approx((-np.log([0.7, 0.3, 0.8, 0.2])).tolist(), abs=0.02)
    losses.sum().backward()
    assert logits.grad is not None and bool((logits.grad != 0).all())


def test_predictions_are_labels_with_probabilities() -> None:
    found = TASK.predictions(np.log(PROBABILITIES), ["a", "b", "c"], labelled(*"aabb"))
    assert list(found) == ["label", "probability", "probability_a", "probability_b", "probability_c"]
    assert found["label"] == ["a", "a", "b", "b"]
    assert found["probability"] == pytest.approx([0.7, 0.5, 0.8, 0.6])
    assert found["probability_c"] == pytest.approx([0.1, 0.2, 0.1, 0.2])


def test_imdb_with_a_real_tokenizer(shared: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "weights" / "bert-tiny-mlm")
    rows = prepare(read(Source(path="test_5k.jsonl.gz"), shared / "data" / "imdb"), text=["text"], label="label")
    rows = rows.take(range(1200))  # more than one call of the tokenizer
    tokenized = TASK.tokenize(rows, tokenizer, 128, ["0", "1"], tmp_path)
    texts = rows.columns["text"]
    assert token_lists(tokenized) == tokenizer(texts, truncation=True, max_length=128)["input_ids"]
    full = np.array([len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"]])
    assert tokenized.rows_cut == (full > 128).sum() > 0
    assert tokenized.tokens_lost == np.maximum(full - 128, 0).sum()
    assert_same_tokens(tokenized, TASK.tokenize(rows, tokenizer, 128, ["0", "1"], tmp_path))


def test_mnli_pairs_with_a_real_tokenizer(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "weights" / "bert-tiny-mlm")
    config = DataConfig(train=Source(path="dev_matched.jsonl.gz", rows=300), test=Source(fraction=0.2, rows=50))
    splits = load_splits(config, text=PAIR.text_columns, label="label", base=shared / "data" / "mnli")
    names = PAIR.class_names(splits)
    assert names == ["contradiction", "entailment", "neutral"]
    tokenized = PAIR.tokenize(splits.train, tokenizer, 32, names)
    premises, hypotheses = (splits.train.columns[name] for name in PAIR.text_columns)
    expected = tokenizer(premises, hypotheses, truncation=True, max_length=32)
    assert token_lists(tokenized) == expected["input_ids"]
    assert np.bincount(tokenized.labels).sum() == 270 and tokenized.rows_cut > 0
