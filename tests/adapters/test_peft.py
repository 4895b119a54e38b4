"""PEFT's folders: ours read by plain PEFT, PEFT's read by us; equal logits, with padding in the batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from encoderlab.adapters import folder as adapters
from encoderlab.adapters import peft as our_peft
from encoderlab.core.errors import InputError
from encoderlab.methods.adalora import AdaLora
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.dora import Dora
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.methods.lora_plus import LoraPlus
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model.families import FAMILIES as ALL_FAMILIES
from fixtures_peft import Make, batch, make, plain, same, theirs  # noqa: F401  (a fixture)

FAMILIES = ["bert", "roberta", "distilbert"]
SIX = ("query", "key", "value", "attention_out", "ffn_in", "ffn_out")


METHODS: list[Method] = [
    Lora(rank=4),
    Lora(rank=3, alpha=5, rslora=True, target=SIX, layers=(1,)),
    LoraPlus(rank=2, target=("query", "ffn_out")),
    Dora(rank=2, target=("key", "ffn_in")),
    AdaLora(rank=2, target=("query", "attention_out")),
    Ia3(),
    Ia3(layers="last"),
    Prefix(length=5, shift_positions=True),
    Prompt(length=4, placement="front"),
]


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("family", FAMILIES)
def test_plain_peft_reads_our_folder(family: str, method: Method, make: Make, tmp_path: Path) -> None:
    ours = make(family, method)
    if reason := our_peft.refusal(ours, method):
        assert (family, method.name) == ("distilbert", "prefix"), reason
        return
    adapters.save(ours, method, adapters.adapter_tensors(ours), tmp_path)
    theirs = peft.PeftModel.from_pretrained(plain(ours.name), tmp_path)
    same(ours.model, theirs, batch(ours))
    known = {field for field in json.loads((tmp_path / "adapter_config.json").read_text())}
    assert known <= set(peft.get_peft_config(json.loads((tmp_path / "adapter_config.json").read_text())).to_dict())
    again = make(family, seed=5)
    adapters.load_adapter(again, tmp_path)
    inputs = batch(ours)
    with torch.no_grad():
        assert torch.equal(again.model(**inputs).logits, ours.model(**inputs).logits)


# PEFT says of its own files too that their rank_pattern is ignored, which it is not
RANKS = pytest.mark.filterwarnings("ignore:The following rank_pattern keys did not match:RuntimeWarning")


@RANKS
def test_peft_drops_the_ranks_that_adalora_dropped(make: Make, tmp_path: Path) -> None:
    method = AdaLora(rank=2, initial_rank=4)
    ours = make("bert", method)
    with torch.no_grad():
        values = [p for name, p in ours.trainable() if name.endswith("lora_E")]
        for e, gone in zip(values, ([0, 2], [1], [], [0, 1, 2, 3]), strict=True):  # the last module keeps none
            e[gone] = 0
    tensors = method.trimmed(adapters.adapter_tensors(ours))
    assert sorted(len(t) for n, t in tensors.items() if n.endswith("lora_E")) == [0, 2, 3, 4]
    adapters.save(ours, method, tensors, tmp_path)
    same(ours.model, peft.PeftModel.from_pretrained(plain(ours.name), tmp_path), batch(ours))
    for theirs_alone in (False, True):
        if theirs_alone:
            (tmp_path / "encoderlab.json").unlink()
        again = make("bert", seed=5)
        adapters.load_adapter(again, tmp_path)
        same(ours.model, again.model, batch(ours))


def linears(family: str, *roles: str) -> list[str]:
    return [getattr(ALL_FAMILIES[family], role) for role in roles]


def configs(family: str) -> dict[str, dict[str, Any]]:
    qv = linears(family, "query", "value")
    lora = {"peft_type": "LORA", "task_type": "SEQ_CLS", "target_modules": qv}
    six = linears(family, *SIX)
    whole = f"{ALL_FAMILIES[family].layers}.1.{six[0]}"
    prompt = {"task_type": "SEQ_CLS", "num_virtual_tokens": 5, "token_dim": 32, "num_attention_heads": 2}
    return {
        "lora": lora | {"r": 4, "lora_alpha": 6},
        "rslora": lora | {"r": 4, "use_rslora": True, "target_modules": six, "fan_in_fan_out": False},
        "regex": lora | {"r": 2, "target_modules": rf".*\.1\.{qv[0]}"},
        "one layer": lora | {"r": 2, "layers_to_transform": [1]},
        "patterns": lora | {"r": 4, "rank_pattern": {whole: 2}, "alpha_pattern": {qv[1]: 3}},
        "dora": lora | {"r": 3, "use_dora": True},
        "adalora": lora | {"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "total_step": 10},
        "ia3": {
            "peft_type": "IA3",
            "task_type": "SEQ_CLS",
            "target_modules": rf".*({'|'.join(linears(family, 'key', 'value'))}|\d\.{six[5]})",
            "feedforward_modules": rf".*\d\.{six[5]}",
        },
        "ia3 without feed-forward": {
            "peft_type": "IA3",
            "task_type": "SEQ_CLS",
            "target_modules": list(linears(family, "key", "value")),
            "feedforward_modules": [],
        },
        **({} if family == "distilbert" else {"ia3 as PEFT has it": {"peft_type": "IA3", "task_type": "SEQ_CLS"}}),
        "prefix": prompt | {"peft_type": "PREFIX_TUNING"},
        "prompt": prompt | {"peft_type": "PROMPT_TUNING"},
    }


@pytest.mark.parametrize(
    ("family", "kind"),
    [(family, kind) for family in FAMILIES for kind in configs(family) if (family, kind) != ("distilbert", "prefix")],
)  # PEFT's prefix does not run on DistilBERT
def test_we_read_what_plain_peft_wrote(family: str, kind: str, make: Make, tmp_path: Path) -> None:
    ours = make(family, seed=3)
    model = theirs(ours.name, configs(family)[kind])
    model.save_pretrained(tmp_path)
    method = adapters.load_adapter(ours, tmp_path)
    same(model, ours.model, batch(ours))
    # and what we write of it is the same again
    adapters.save(ours, method, adapters.adapter_tensors(ours), tmp_path / "again")
    same(model, peft.PeftModel.from_pretrained(plain(ours.name), tmp_path / "again"), batch(ours))


@RANKS
@pytest.mark.filterwarnings("ignore:Adapter 'default'. . LoRA tensor:UserWarning")  # a module may keep no rank
def test_we_read_the_ranks_that_peft_kept(make: Make, tmp_path: Path) -> None:
    ours = make("bert")
    inputs = batch(ours)
    model = theirs(ours.name, configs("bert")["adalora"] | {"tinit": 1, "tfinal": 1, "total_step": 6})
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for step in range(6):
        model(**inputs, labels=torch.tensor([0, 1, 2])).loss.backward()
        optimizer.step()
        model.base_model.update_and_allocate(step + 1)
        optimizer.zero_grad()
    model.save_pretrained(tmp_path)
    method = adapters.load_adapter(ours, tmp_path)
    sizes = [len(p) for name, p in ours.trainable() if name.endswith("lora_E")]
    assert sum(sizes) == 8 < 4 * 4 and isinstance(method, AdaLora) and method.initial_rank == 4
    same(model, ours.model, inputs)


FF = ["encoder.layer.0.output.dense"]
UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"bias": "lora_only"}, "bias = 'lora_only'"),
    ({"init_lora_weights": "olora"}, "init_lora_weights = 'olora'"),
    ({"target_modules": ["query", "word_embeddings"]}, "lora_embedding"),
    ({"peft_type": "LILY", "r": 2}, "LILY shares matrices"),
    (
        {"peft_type": "IA3", "feedforward_modules": FF, "target_modules": ["key", *FF]},
        "supports vectors on the outputs",
    ),
    ({"modules_to_save": ["pooler", "classifier"]}, "not in the model, e.g. pooler"),
    ({"task_type": None}, "missing, e.g. head.classifier"),
]


@pytest.mark.parametrize(("change", "said"), UNSUPPORTED, ids=str)
def test_what_we_do_not_support_is_named_in_one_line(
    change: dict[str, Any], said: str, make: Make, tmp_path: Path
) -> None:
    ours = make("bert")
    config = {"peft_type": "LORA", "task_type": "SEQ_CLS", "target_modules": ["query"]} | change
    theirs(ours.name, config).save_pretrained(tmp_path, save_embedding_layers=False)
    with pytest.raises(InputError, match=said) as caught:
        adapters.load_adapter(ours, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_of_a_newer_peft_is_no_obstacle(make: Make, tmp_path: Path) -> None:
    ours = make("bert")
    model = theirs(ours.name, configs("bert")["lora"])
    model.save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of_2030": {"a": 1}}))
    adapters.load_adapter(ours, tmp_path)
    same(model, ours.model, batch(ours))


def test_target_modules_are_short_where_that_is_exact(make: Make, tmp_path: Path) -> None:
    def targets(family: str, method: Method) -> list[str]:
        ours = make(family, method)
        adapters.save(ours, method, adapters.adapter_tensors(ours), tmp_path / "one")
        return json.loads((tmp_path / "one" / "adapter_config.json").read_text())["target_modules"]

    assert targets("bert", Lora()) == ["query", "value"]
    assert targets("bert", Lora(target=("attention_out",))) == ["attention.output.dense"]
    layer = "bert.encoder.layer"
    assert targets("bert", Lora(target=("ffn_out",))) == [f"{layer}.{i}.output.dense" for i in (0, 1)]
    assert targets("bert", Lora(target=("value",), layers="last")) == [f"{layer}.1.attention.self.value"]
    assert targets("distilbert", Lora()) == ["q_lin", "v_lin"]


def test_what_peft_has_not_is_our_own_folder(make: Make, tmp_path: Path) -> None:
    for method in (Adapter(), Prompt(), Prefix(layers=(0,))):
        ours = make("bert", method)
        assert our_peft.refusal(ours, method)
        adapters.save(ours, method, adapters.adapter_tensors(ours), tmp_path)
        assert not (tmp_path / "adapter_config.json").exists()
        with pytest.raises(InputError, match="PEFT"):
            our_peft.write(ours, method, adapters.adapter_tensors(ours), tmp_path)


def test_a_pattern_counts_from_the_root_of_the_model_that_peft_had(make: Make, tmp_path: Path) -> None:
    """ "^encoder..." is a bare encoder's name: there is no "bert." before it."""
    from peft import LoraConfig, get_peft_model

    plain, ours = make("bert", head="AutoModel"), make("bert", head="AutoModel")
    pattern = {"^encoder.layer.0.attention.self.query": 64}
    model: Any = get_peft_model(
        plain.model, LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], alpha_pattern=pattern)
    )
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(generator=generator)
    model.eval()
    model.save_pretrained(tmp_path)
    adapters.load_adapter(ours, tmp_path)
    ids = torch.arange(5, 17)[None]
    with torch.no_grad():
        wanted = model(input_ids=ids).last_hidden_state
        found = ours.model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
