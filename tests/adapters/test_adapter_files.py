"""Adapter folders that cannot lie: nothing is left out, nothing is half loaded, and what moves between heads moves
whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from encoderlab.adapters import folder, model_card
from encoderlab.core.errors import InputError
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.bitfit import BitFit
from encoderlab.methods.full import Full
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.training.run_record import Kind, ParameterCounts, RunRecord, SplitScores, Status

CLASSIFY = "AutoModelForSequenceClassification"
CLASSES = ["no", "maybe", "yes"]
Make = Callable[..., EncoderModel]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Make:
    def build(family: str, method: Method | None = None, *, head: str = CLASSIFY, seed: int = 0) -> EncoderModel:
        made = model_load.load(str(tiny_model(family)), head=head, class_names=CLASSES, seed=seed)
        made.model.eval()
        if method is not None:
            method.inject(made, seed)
        return made

    return build


def test_a_wrong_adapter_file_is_named_not_half_loaded(make: Make, tmp_path: Path) -> None:
    small = make("bert", Lora(rank=2))
    tensors = folder.adapter_tensors(small)
    folder.save(small, Lora(rank=2), tensors, tmp_path)
    with pytest.raises(InputError, match="of another shape"):
        folder.fill(make("bert", Lora(rank=3)), Lora(rank=3), tensors, "here")
    with pytest.raises(InputError, match="missing.*not in the model"):
        folder.fill(make("bert", Adapter()), Adapter(), tensors, "here")
    with pytest.raises(InputError, match="another base"):
        folder.load_adapter(make("roberta"), tmp_path)
    tensors.pop("head.classifier.weight")
    with pytest.raises(ValueError, match="without.*classifier.weight"):
        folder.save(small, Lora(rank=2), tensors, tmp_path)


# ---- between heads

MLM = "AutoModelForMaskedLM"
MOVERS: list[Method] = [
    Lora(rank=3, target=("query", "value", "ffn_in")),
    Adapter(bottleneck=4, placement="houlsby"),
    Prefix(length=3),
    Ia3(),
    BitFit(),
]


def trained(made: EncoderModel) -> dict[str, Tensor]:
    """The tensors under our names, with values that matter in each, as if training had been there."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in made.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return folder.adapter_tensors(made)


def hidden(made: EncoderModel) -> Tensor:
    """The encoder's last hidden states of two texts, one of them padded."""
    inputs = made.tokenizer(["a good film", "the plot was not very good and the acting bad"], padding=True)
    inputs = {k: torch.tensor(v) for k, v in inputs.items()}
    if type(made.model).__name__.endswith("MultipleChoice"):
        inputs = {k: v.unsqueeze(0) for k, v in inputs.items()}
    with torch.no_grad():
        states = made.model(**inputs, output_hidden_states=True).hidden_states[-1]
    return states


@pytest.mark.parametrize("method", MOVERS, ids=lambda m: m.name)
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "deberta-v2", "modernbert"])
def test_a_masked_lm_adapter_is_the_same_encoder_under_every_head(
    family: str, method: Method, make: Make, tmp_path: Path
) -> None:
    inside = make(family, head=MLM)
    if method.problems(inside):
        return  # ModernBERT has no biases
    untuned = hidden(inside)
    method.inject(inside, 0)
    folder.save(inside, method, trained(inside), tmp_path, {"head": MLM})
    wanted = hidden(inside)
    assert not torch.allclose(wanted, untuned, atol=1e-3)
    for head in ("AutoModel", CLASSIFY, "AutoModelForMultipleChoice", MLM):
        if (family, head) == ("distilbert", MLM) or (head.endswith("Choice") and family == "modernbert"):
            continue
        moved = make(family, head=head, seed=6)
        folder.load_adapter(moved, tmp_path, head=False)
        assert torch.equal(hidden(moved), wanted), head


def test_a_classifier_s_adapter_comes_back_to_the_bare_encoder(make: Make, tmp_path: Path) -> None:
    tuned = make("bert", method := Lora(rank=2))
    folder.save(tuned, method, trained(tuned), tmp_path)
    bare = make("bert", head="AutoModel")
    with pytest.raises(InputError, match="not in the model, e.g. head.classifier.bias"):
        folder.load_adapter(bare, tmp_path)  # the head is not dropped unasked
    bare = make("bert", head="AutoModel")
    folder.load_adapter(bare, tmp_path, head=False)
    assert torch.equal(hidden(bare), hidden(tuned))


def test_a_head_is_not_left_at_random_unasked(make: Make, tmp_path: Path) -> None:
    inside = make("bert", method := Lora(rank=2), head=MLM)
    folder.save(inside, method, trained(inside), tmp_path)
    with pytest.raises(InputError, match="missing, e.g. head.classifier.bias"):
        folder.load_adapter(make("bert"), tmp_path)


def test_full_fine_tuning_moves_with_the_pooler_where_both_have_one(make: Make, tmp_path: Path) -> None:
    tuned = make("bert", method := Full())
    folder.save(tuned, method, tensors := trained(tuned), tmp_path)
    assert "pooler.dense.weight" in tensors
    for head in ("AutoModel", "AutoModelForMultipleChoice", MLM):
        moved = make("bert", head=head)
        folder.load_adapter(moved, tmp_path, head=False)
        assert torch.equal(hidden(moved), hidden(tuned))
        pooler = dict(moved.base_model.named_parameters()).get("pooler.dense.weight")
        assert (pooler is None) == (head == MLM) and (
            pooler is None or torch.equal(pooler, tensors["pooler.dense.weight"])
        )


# ---- what is refused, and what is not


def test_another_base_is_an_error_that_names_both_and_force_is_the_way_round(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tuned = make("bert", method := Lora(rank=2))
    folder.save(tuned, method, trained(tuned), tmp_path / "adapter")
    other = make("bert")
    with torch.no_grad():
        other.model.bert.embeddings.word_embeddings.weight[7, 3] += 1e-3  # one number of the encoder
    other.model.save_pretrained(tmp_path / "other")
    other.tokenizer.save_pretrained(tmp_path / "other")
    load = lambda: model_load.load(str(tmp_path / "other"), head=CLASSIFY, class_names=CLASSES, seed=0)  # noqa: E731
    with pytest.raises(InputError, match=r"another base \(bert, fingerprint .* than other \(fingerprint .*--force"):
        folder.load_adapter(load(), tmp_path / "adapter")
    assert not caplog.records
    folder.load_adapter(forced := load(), tmp_path / "adapter", force=True)
    assert "used anyway" in caplog.text
    torch.testing.assert_close(hidden(forced), hidden(tuned), rtol=0, atol=0.05)


def test_another_pooler_is_another_base_where_the_head_reads_it(make: Make, tmp_path: Path) -> None:
    """The pooler is frozen and not in the file, and another one changes what the trained head answers."""
    tuned = make("bert", method := Lora(rank=2))
    folder.save(tuned, method, trained(tuned), tmp_path / "adapter")
    other = make("bert")
    with torch.no_grad():
        other.model.bert.pooler.dense.weight[7, 3] += 1e-3
    other.model.save_pretrained(tmp_path / "other")
    other.tokenizer.save_pretrained(tmp_path / "other")
    load = lambda head: model_load.load(str(tmp_path / "other"), head=head, class_names=CLASSES, seed=0)  # noqa: E731
    with pytest.raises(InputError, match="another pooler"):
        folder.load_adapter(load(CLASSIFY), tmp_path / "adapter")
    folder.load_adapter(bare := load("AutoModel"), tmp_path / "adapter", head=False)
    assert torch.equal(hidden(bare), hidden(tuned))


def test_another_tokenizer_is_another_base(make: Make, tmp_path: Path) -> None:
    tuned = make("bert", method := Lora(rank=2))
    folder.save(tuned, method, trained(tuned), tmp_path / "adapter")
    tuned.model.save_pretrained(tmp_path / "other")
    tuned.tokenizer.save_pretrained(tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    said = json.loads(file.read_text())
    vocab = said["model"]["vocab"]
    vocab["good"], vocab["bad"] = vocab["bad"], vocab["good"]
    file.write_text(json.dumps(said))
    other = model_load.load(str(tmp_path / "other"), head="AutoModel", class_names=CLASSES, seed=0)
    assert other.fingerprint == tuned.fingerprint
    with pytest.raises(InputError, match="another tokenizer"):
        folder.load_adapter(other, tmp_path / "adapter", head=False)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "encoderlab.json").write_text("{"), "not readable as JSON"),
        (lambda f: (f / "encoderlab.json").write_text("{}"), "KeyError"),
        (
            lambda f: (f / "encoderlab.json").write_text('{"format": "encoderlab/1", "base": {}}'),
            "train the adapter again",
        ),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "no adapter weights"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"1234567890"), "sha256 differs"),
        (lambda f: ((f / "encoderlab.json").unlink(), (f / "adapter_config.json").unlink()), "no adapter folder"),
        (lambda f: ((f / "encoderlab.json").unlink(), (f / "adapter_config.json").write_text("[]")), "neither|damaged"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(damage: Any, said: str, make: Make, tmp_path: Path) -> None:
    tuned = make("bert", method := Lora(rank=2))
    folder.save(tuned, method, trained(tuned), tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        folder.load_adapter(make("bert"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_holds_one_layout_only(make: Make, tmp_path: Path) -> None:
    """A folder that is written again by a method PEFT does not have keeps no config of PEFT's."""
    tuned = make("bert", method := Lora(rank=2))
    folder.save(tuned, method, trained(tuned), tmp_path)
    assert (tmp_path / "adapter_config.json").is_file()
    tuned = make("bert", method := Adapter())
    folder.save(tuned, method, trained(tuned), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "adapter_model.safetensors", "encoderlab.json"]


# ---- the model card


def test_the_card_is_read_back_as_yaml_whatever_the_names(make: Make, tmp_path: Path) -> None:
    nasty = ['a: "b"', "- x | y", "ünï\u0085\x7f😀", "'#{}"]
    about = {
        "layout": "peft",
        "base": {"name": nasty[0], "fingerprint": "0" * 64},
        "method": {"name": "lora", "rank": 8, "target": ["query", "value"]},
        "head": CLASSIFY,
        "class_names": nasty,
        "datasets": nasty,
        "learning_rate": 1e-3,
        "data": {"train": {"origin": "a|b\n.csv", "rows": 7}},
    }
    record = RunRecord(
        **{"id": "1", "status": Status.DONE, "kind": Kind.RUN, "method": "lora", "variant": "lora"},
        splits={
            "validation": SplitScores(rows=2, metrics={"macro_f1": 0.25}),
            "test": SplitScores(rows=3, metrics={"accuracy": 0.5, "loss": 0.7}),
        },
        parameters=ParameterCounts(adapter=5, head=5, total=1000),
    )
    text = model_card.card(about, record)
    _, front, body = text.split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["base_model"] == nasty[0] and said["datasets"] == nasty
    assert said["library_name"] == "peft" and said["pipeline_tag"] == "text-classification"
    assert said["metrics"] == ["accuracy", "f1"]
    assert "| validation | 2 |  | 0.2500 |  |" in body
    assert "| test | 3 | 0.5000 |  | 0.7000 |" in body and "1.00% of 1,000" in body and "7 rows of a\\|b .csv" in body
    compile(body.split("```python\n")[1].split("```")[0], "card", "exec")


def test_the_card_of_a_folder_names_no_path_of_this_machine(make: Make, tmp_path: Path) -> None:
    for method in (Lora(rank=2), Adapter()):
        tuned = make("bert", method)
        folder.save(tuned, method, trained(tuned), tmp_path / "a")
        for path in (tmp_path / "a").iterdir():
            if path.suffix != ".safetensors":
                assert str(Path(tuned.name).parent) not in path.read_text()
        front = yaml.safe_load((tmp_path / "a" / "README.md").read_text().split("---\n")[1])
        assert front["base_model"] == "bert" and ("library_name" in front) == isinstance(method, Lora)
