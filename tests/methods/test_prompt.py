"""Prompt tuning: PEFT's model as the oracle for `front`, a computation by hand for `after_cls`; what must not move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from encoderlab.core.errors import InputError
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model import load, positions
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from encoderlab.study.check import check

TEXTS = ["a good film", "the plot was not very good and the acting bad", "bad"]
Make = Callable[..., EncoderModel]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Make:
    def build(family: str, method: Prompt | None = None, head: str = "SequenceClassification") -> EncoderModel:
        folder = str(tiny_model(family))
        made = load.load(folder, head=f"AutoModelFor{head}", class_names=["no", "yes"], seed=0)
        made.model.eval()
        for parameter in made.model.parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(6)  # so that tokens matter to each other
        if method is not None:
            method.inject(made, 0)
        return made

    return build


def prompt(encoder: EncoderModel) -> Tensor:
    return encoder.base_model.prompt_embeddings  # type: ignore[return-value]


def batch(encoder: EncoderModel) -> Any:
    return encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")


@pytest.mark.parametrize("family", FAMILIES)
def test_front_is_what_peft_does(family: str, make: Make) -> None:
    peft = pytest.importorskip("peft")
    tuned, plain = make(family, Prompt(length=5, placement="front")), make(family)
    assert Prompt(placement="front").problems(plain) == []
    rows = batch(plain)
    with torch.no_grad():
        before = plain.model(**rows).logits
    width = prompt(tuned).size(1)
    config = peft.PromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=5, token_dim=width, num_layers=2, num_attention_heads=2
    )
    theirs = peft.get_peft_model(plain.model, config)
    theirs.eval()
    theirs.prompt_encoder.default.embedding.weight.data.copy_(prompt(tuned).data)
    with torch.no_grad():
        wanted = theirs(**rows).logits
        torch.testing.assert_close(tuned.model(**rows).logits, wanted, rtol=0, atol=1e-6)
    assert not torch.allclose(wanted, before, atol=1e-3)


def test_after_cls_by_hand_on_bert(make: Make) -> None:
    """[CLS] P text, the virtual tokens at position 0, the text at 1, 2, ..., and a pooler that reads [CLS]."""
    tuned, plain = make("bert", Prompt(length=3)), make("bert")
    rows = plain.tokenizer(TEXTS, ["not bad", "a film", "good"], padding=True, return_tensors="pt")
    trunk: Any = plain.base_model
    ids, types, mask = rows["input_ids"], rows["token_type_ids"], rows["attention_mask"]
    with torch.no_grad():
        table = trunk.embeddings
        words = table.word_embeddings.weight[ids]
        words = torch.cat([words[:, :1], prompt(tuned).expand(3, -1, -1), words[:, 1:]], dim=1)
        order = torch.tensor([0, 0, 0, 0, *range(1, ids.size(1))])
        segments = torch.cat([torch.zeros(3, 3, dtype=torch.long), types], dim=1)  # [CLS] and the prompt are in text 0
        summed = words + table.position_embeddings.weight[order] + table.token_type_embeddings.weight[segments]
        hidden = table.LayerNorm(summed)
        seen = torch.cat([torch.ones(3, 3, dtype=torch.long), mask], dim=1)
        hidden = trunk.encoder(hidden, attention_mask=(1.0 - seen[:, None, None, :].float()) * -1e30).last_hidden_state
        wanted = plain.model.classifier(trunk.pooler(hidden))
        found = tuned.model(**rows, output_hidden_states=True)
    torch.testing.assert_close(found.logits, wanted, rtol=0, atol=1e-6)
    real = torch.cat([hidden[:, :1], hidden[:, 4:]], dim=1)
    torch.testing.assert_close(found.hidden_states[-1], real, rtol=0, atol=1e-5)
    with torch.no_grad():
        assert not torch.allclose(plain.model(**rows).logits, wanted, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_are_counted_as_the_family_counts_them(family: str, make: Make) -> None:
    plain = make(family)
    rows = batch(plain)
    if positions.table(plain.base_model) is None:
        assert family in ("deberta-v2", "modernbert")  # relative and rotary: where a token stands is its position
        return
    explicit = positions.counted(plain.base_model, rows).expand(len(TEXTS), -1)
    with torch.no_grad():
        assert torch.equal(plain.model(**rows, position_ids=explicit).logits, plain.model(**rows).logits)
        other = plain.model(**rows, position_ids=explicit.flip(1)).logits
    assert not torch.equal(other, plain.model(**rows).logits)
    assert positions.usable(plain.base_model) == 64


@pytest.mark.parametrize("family", FAMILIES)
def test_after_cls_keeps_every_position_and_every_real_token(family: str, make: Make) -> None:
    tuned = make(family, Prompt(length=7))
    ids = torch.randint(5, len(tuned.tokenizer), (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = tuned.base_model(ids, output_hidden_states=True)  # all 64 positions, given by place
        assert {tuple(s.shape[:2]) for s in (states.last_hidden_state, *states.hidden_states)} == {(2, 64)}
        assert len(states.hidden_states) == 3
        rows = batch(tuned)
        together = tuned.model(**rows).logits
        for i, text in enumerate(TEXTS):  # padding is no neighbour
            alone = tuned.model(**tuned.tokenizer([text], return_tensors="pt")).logits
            torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)
        prompt(tuned).data.mul_(-1)
        assert not torch.allclose(tuned.model(**rows).logits, together, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_choices_score_as_they_do_alone(make: Make, family: str) -> None:
    """With token types too, where the encoder has none."""
    tuned = make(family, Prompt(length=4), head="MultipleChoice")
    rows = {name: torch.stack([tensor, tensor.flip(0)]) for name, tensor in batch(tuned).items()}
    rows["token_type_ids"] = torch.zeros_like(rows["input_ids"])
    with torch.no_grad():
        found = tuned.model(**rows).logits
    assert found.shape == (2, 3) and len(found[0].unique()) == 3
    torch.testing.assert_close(found[1], found[0].flip(0), rtol=0, atol=1e-5)


def test_a_mean_over_tokens_and_a_token_wise_head_see_the_real_tokens(make: Make) -> None:
    for family in FAMILIES:
        tuned = make(family, Prompt(length=4), head="MaskedLM")
        rows = batch(tuned)
        with torch.no_grad():
            assert tuned.model(**rows).logits.shape[:2] == rows["input_ids"].shape
    tuned = make("modernbert", Prompt(length=4))
    tuned.model.config.classifier_pooling = "mean"
    assert "averages over all tokens" in Prompt(placement="front").problems(tuned)[0]
    rows = batch(tuned)
    with torch.no_grad():
        states = tuned.base_model(**rows).last_hidden_state
        mask = rows["attention_mask"][..., None]
        pooled = (states * mask).sum(1) / mask.sum(1)
        wanted = tuned.model.classifier(tuned.model.head(pooled))
        torch.testing.assert_close(tuned.model(**rows).logits, wanted, rtol=0, atol=1e-5)


def test_the_prompt_starts_as_words_of_the_vocabulary(make: Make) -> None:
    tuned = make("bert", Prompt(length=6))
    words = tuned.base_model.get_input_embeddings().weight.data  # type: ignore[operator]
    assert all((words == row).all(dim=1).any() for row in prompt(tuned).data)
    assert tuned.counts()["adapter"] == 6 * 32
    assert prompt(make("albert", Prompt(length=6))).shape == (6, 16)  # the width of the embeddings


def test_bf16_trains_in_fp32(make: Make) -> None:
    tuned = make("roberta", Prompt(length=4))
    rows = batch(tuned)
    with torch.no_grad():
        wanted = tuned.model(**rows).logits
    logits = ModelRunner(tuned, torch.bfloat16, torch.device("cpu"))(**rows)
    torch.testing.assert_close(logits, wanted, rtol=0, atol=0.1 * float(wanted.abs().max()))
    logits.sum().backward()
    assert prompt(tuned).grad is not None and prompt(tuned).dtype == torch.float32


def test_what_cannot_be_is_said_in_one_line(make: Make) -> None:
    plain = make("roberta")
    assert Prompt(length=0).problems(plain) == ["length = 0: expected a whole number of at least 1 (virtual tokens)"]
    assert "takes as many of the 64 positions" in Prompt(length=64, placement="front").problems(plain)[0]
    assert Prompt(length=64).problems(plain) == []
    masked = make("roberta", head="MaskedLM")
    assert "predicts one label per token" in Prompt(placement="front").problems(masked)[0]
    tuned = make("roberta", Prompt(length=5, placement="front"))
    with torch.no_grad():
        tuned.model(input_ids=torch.full((1, 59), 7))
        with pytest.raises(InputError, match="60 tokens and 5 learned positions.*at most 59"):
            tuned.model(input_ids=torch.full((1, 60), 7))


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_a_shifted_prefix_is_what_peft_does(family: str, make: Make) -> None:
    """PEFT's table is (length, 2 x layers x hidden): key and value of a layer side by side, heads inside."""
    peft = pytest.importorskip("peft")
    tuned, unshifted, plain = make(family), make(family), make(family)
    Prefix(length=5, shift_positions=True).inject(tuned, 0)
    Prefix(length=5).inject(unshifted, 0)
    assert Prefix(shift_positions=True).problems(plain) == []
    rows = batch(plain)
    config = peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5)
    theirs = peft.get_peft_model(plain.model, config)
    theirs.eval()
    with torch.no_grad():
        table = theirs.prompt_encoder.default.embedding.weight.view(5, 4, 2, 16)  # length, 2 x layers, heads, head size
        for i in range(2):
            for j, role in enumerate(("key", "value")):
                for made in (tuned, unshifted):
                    attention = made.part(i, made.family.attention)
                    table[:, 2 * i + j].copy_(getattr(attention, f"prefix_{role}").transpose(0, 1))
        wanted = theirs(**rows).logits
        torch.testing.assert_close(tuned.model(**rows).logits, wanted, rtol=0, atol=1e-6)
        assert not torch.allclose(unshifted.model(**rows).logits, wanted, atol=1e-4)
        full = torch.full((1, 59), 7)
        tuned.model(input_ids=full)
        with pytest.raises(InputError, match="60 tokens and 5 learned positions.*at most 59"):
            tuned.model(input_ids=torch.full((1, 60), 7))


@pytest.mark.parametrize("family", ["distilbert", "albert", "mpnet", "deberta-v2", "modernbert"])
def test_a_prefix_is_not_shifted_where_peft_has_none(family: str, make: Make) -> None:
    (line,) = Prefix(shift_positions=True).problems(make(family))
    assert "remove shift_positions" in line
    assert (
        Prefix(length=64, shift_positions=True).problems(make("bert")) != [] == Prefix(length=64).problems(make("bert"))
    )


def test_a_study_whose_texts_leave_no_positions_is_refused_before_it_trains(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "train.csv").write_text(
        "text,label\n" + "good film,pos\nbad film,neg\nvery good,pos\nnot good,neg\n" * 5
    )
    path = tmp_path / "study.toml"
    path.write_text(
        f'model = "{tiny_model("bert")}"\n[data]\ntrain = "train.csv"\n'
        '[[method]]\nname = "prompt"\nlength = 5\nplacement = ["front", "after_cls"]\n'
        '[[method]]\nname = "prefix"\nlength = 7\nshift_positions = [true, false]\n'
    )
    check(path, ["train.max_length=57"])
    with pytest.raises(InputError) as caught:
        check(path, ["train.max_length=60"])
    prompt_line, prefix_line = caught.value.lines
    assert "train.max_length: 60, but method.prompt placement=front takes 5 of the 64 positions" in prompt_line
    assert prompt_line.endswith("; use at most 59")
    assert "60, but method.prefix shift_positions=true takes 7 of" in prefix_line and prefix_line.endswith("at most 57")
    with pytest.raises(InputError) as caught:
        check(path, ["train.max_length=65"])
    assert [line.rpartition(" ")[2] for line in caught.value.lines] == ["64", "59", "57"]
