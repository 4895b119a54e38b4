"""Multiple choice in the model: rows of unlike numbers of choices in one batch, held to plain transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import BertTokenizer

from encoderlab.data.tokenized import TokenizedRows, take
from encoderlab.engine.batches import GROUP_COST, by_row, collate, micro_batches
from encoderlab.engine.logits import logits
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model import load as model_load
from encoderlab.model.dropout import Dropout
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from encoderlab.tasks.tokenization import read_cached
from encoderlab.training.loop import Trainer
from encoderlab.training.settings import Train
from fixtures_choices import CPU, TASK, prepared, records


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
