"""A label for every word: the places of words among tokens, entities as seqeval counts them, the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.tasks import entities
from fixtures_seqeval import GOLDEN, Golden
from fixtures_words import TAGS, TASK, TEXTS, as_arrays, encoded_of, rows_of


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


def test_the_loss_is_the_mean_over_a_rows_words() -> None:
    answers = torch.randn(2, 3, 5, requires_grad=True)
    labels = torch.tensor([[0, 3, -1], [4, -1, -1]])
    each = torch.nn.functional.cross_entropy(answers.transpose(1, 2), labels, ignore_index=-1, reduction="none")
    wanted = each.sum(1) / torch.tensor([2, 1])
    torch.testing.assert_close(TASK.losses(answers, labels), wanted)
    cut = answers.detach().clone()
    cut[1] = -torch.inf  # nothing of it is seen
    assert TASK.losses(cut, labels)[1] == 0
