"""What PEFT alone loses between heads: fresh poolers, and adapters of the bare encoder and of masked LM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch

from encoderlab.adapters import folder as adapters
from encoderlab.adapters import peft as layout
from encoderlab.core.errors import InputError
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.model import load
from fixtures_peft import CLASSIFY, Make, batch, make, plain, same  # noqa: F401  (a fixture)


def mlm_checkpoint(family: str, tiny_model: Callable[[str], Path], folder: Path) -> Path:
    """A model without a pooler, as masked-LM training leaves it."""
    made = load.load(str(tiny_model(family)), head="AutoModelForMaskedLM", class_names=[], seed=0)
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("family", "head", "fresh"),
    [
        ("bert without pooler", CLASSIFY, "pooler.dense.weight"),
        ("bert without pooler", "AutoModelForMultipleChoice", "pooler.dense.weight"),
        ("roberta without pooler", "AutoModelForMultipleChoice", "pooler.dense.weight"),
        ("deberta-v2", CLASSIFY, "head.pooler.dense.weight"),
        ("deberta-v2", "AutoModelForMultipleChoice", "head.pooler.dense.weight"),
        ("modernbert", CLASSIFY, "head.head.dense.weight"),
        ("albert", CLASSIFY, "head.classifier.weight"),
        ("electra", CLASSIFY, "head.classifier.dense.weight"),
    ],
)
def test_fresh_poolers_come_back_under_plain_peft(
    family: str,
    head: str,
    fresh: str,
    make: Make,  # noqa: F811
    tiny_model: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    name, _, without = family.partition(" ")
    base = mlm_checkpoint(name, tiny_model, tmp_path / "mlm") if without else tiny_model(name)
    for i, method in enumerate((Lora(rank=2, target=("query", "value", "ffn_out")), Ia3())):
        ours = make(base, method, head=head)
        tensors = adapters.adapter_tensors(ours)
        assert fresh in tensors
        adapters.save(ours, method, tensors, tmp_path / str(i))
        inputs = batch(ours, choices="Choice" in head)
        same(ours.model, peft.PeftModel.from_pretrained(plain(base, head), tmp_path / str(i)), inputs)
        again = make(base, head=head, seed=8)
        adapters.load_adapter(again, tmp_path / str(i))
        same(ours.model, again.model, inputs)


@pytest.mark.parametrize("family", ["bert", "modernbert", "distilbert"])
def test_adapters_of_other_heads_are_plain_peft_s_too(
    family: str,
    make: Make,  # noqa: F811
    tiny_model: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """From the bare encoder and from masked LM, where PEFT's own files load as nothing under another head."""
    method = Lora(rank=2, target=("query", "ffn_out"))
    base = mlm_checkpoint(family, tiny_model, tmp_path / "mlm")
    for head in ("AutoModel", "AutoModelForMaskedLM"):
        ours = make(base, method, head=head)
        adapters.save(ours, method, adapters.adapter_tensors(ours), tmp_path / head)
        under_peft = peft.PeftModel.from_pretrained(plain(ours.name, head), tmp_path / head)
        moved = make(base)
        (tmp_path / head / "encoderlab.json").unlink()  # as PEFT's own folder
        adapters.load_adapter(moved, tmp_path / head, head=False)
        inputs = batch(ours)
        real = inputs["attention_mask"].bool()  # what padding reads is each attention's own affair
        with torch.no_grad():
            wanted = ours.model(**inputs, output_hidden_states=True).hidden_states[-1][real]
            for other in (under_peft, moved.model):
                states = other(**inputs, output_hidden_states=True).hidden_states[-1][real]
                torch.testing.assert_close(states, wanted, rtol=0, atol=1e-6)


def test_a_method_inside_a_fresh_pooler_is_not_written_as_peft_s(
    make: Make,  # noqa: F811
    tiny_model: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """PEFT would keep the pooler whole and drop the LoRA inside it, without a word."""
    base = mlm_checkpoint("bert", tiny_model, tmp_path / "mlm")
    method = Lora(rank=2, target=("query", "pooler.dense"))
    ours = make(base, method)
    tensors = adapters.adapter_tensors(ours)
    with pytest.raises(InputError, match="saves a newly initialized module as a whole.*pooler.dense"):
        layout.write(make(base), method, tensors, tmp_path / "peft")
    adapters.save(ours, method, tensors, tmp_path / "ours")
    assert not (tmp_path / "ours" / "adapter_config.json").exists()
    again = make(base, seed=8)
    adapters.load_adapter(again, tmp_path / "ours")
    same(ours.model, again.model, batch(ours))
