"""Adapters of other libraries: the base that they name, and those that change the masked-lm head as well."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from encoderlab.adapters import adapterhub
from encoderlab.adapters import folder as adapters
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json, write_json
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.lora import Lora
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES

MASKED = "AutoModelForMaskedLM"


def bare(folder: Path | str) -> EncoderModel:
    return load.load(str(folder), head="AutoModel", class_names=[], seed=0)


def peft_folder(base: Path, folder: Path, head: str = "AutoModel", **config: Any) -> Any:
    """An adapter that plain PEFT wrote, with numbers that matter; returns PEFT's model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        said = {"peft_type": "LORA", "r": 2, "target_modules": ["query", "value"]} | config
        plain = getattr(transformers, head).from_pretrained(base)
        model: Any = peft.get_peft_model(plain, peft.get_peft_config(said)).eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(std=0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return model


def adapterhub_folder(base: Path, folder: Path) -> None:
    made = bare(base)
    Lora(rank=2).inject(made, 0)
    for _, parameter in made.trainable():
        parameter.data.normal_(std=0.3)
    folder.mkdir()
    adapterhub.write(made, Lora(rank=2), adapters.adapter_tensors(made), folder)


MAKE: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "peft": (peft_folder, "base_model_name_or_path"),
    "adapterhub": (adapterhub_folder, "model_name"),
}


def name_base(folder: Path, key: str, value: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


@pytest.fixture
def base(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model("bert"), tmp_path / "bert-base-uncased"))


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize(
    "named",
    [
        "bert-base-uncased",
        "google-bert/bert-base-uncased",
        "/home/another/models/BERT-base-uncased/",
        "C:\\models\\bert-base-uncased",
        "/hub/models--google-bert--bert-base-uncased/snapshots/0123abcd",
        None,
        "",
    ],
)
def test_names_of_the_same_base_are_taken(named: str | None, kind: str, base: Path, tmp_path: Path) -> None:
    make, key = MAKE[kind]
    make(base, tmp_path / "adapter")
    name_base(tmp_path / "adapter", key, named)
    adapters.load_adapter(bare(base), tmp_path / "adapter", head=False)


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("named", ["roberta-base", "user/bert-base-cased", "/gone/bert-base-uncased-v2", "./other"])
def test_another_base_is_refused_and_force_takes_it(
    named: str, kind: str, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, key = MAKE[kind]
    make(base, tmp_path / "adapter")
    name_base(tmp_path / "adapter", key, named)
    with pytest.raises(InputError) as caught:
        adapters.load_adapter(bare(base), tmp_path / "adapter", head=False)
    (line,) = caught.value.lines
    assert (
        f"trained on {named}, not on {base}; use the encoder that the adapter was trained on, or correct {key}" in line
    )
    with caplog.at_level(logging.WARNING):
        adapters.load_adapter(bare(base), tmp_path / "adapter", head=False, force=True)
    assert "used anyway, because force is set" in caplog.text


def test_where_the_folder_that_is_named_is_here_its_fingerprint_decides(base: Path, tmp_path: Path) -> None:
    adapter, copy, changed = tmp_path / "adapter", tmp_path / "copy", tmp_path / "elsewhere" / base.name
    peft_folder(base, adapter)
    shutil.copytree(base, copy)
    adapters.load_adapter(bare(copy), adapter, head=False)  # another name, the same weights
    shutil.copytree(base, changed)
    model: Any = transformers.AutoModel.from_pretrained(changed)
    model.get_input_embeddings().weight.data.mul_(1.5)
    model.save_pretrained(changed)
    with pytest.raises(InputError, match=r"trained on .* \(fingerprint [0-9a-f]{12}\), not on"):
        adapters.load_adapter(bare(changed), adapter, head=False)  # the same name, other weights


def test_our_own_folders_go_by_their_fingerprint(base: Path, tmp_path: Path) -> None:
    made = bare(base)
    Lora(rank=2).inject(made, 0)
    adapters.save(made, Lora(rank=2), adapters.adapter_tensors(made), tmp_path / "ours")
    name_base(tmp_path / "ours", "base_model_name_or_path", "anything")
    adapters.load_adapter(bare(base), tmp_path / "ours", head=False)
    said = read_json(tmp_path / "ours" / adapters.OURS)
    write_json(tmp_path / "ours" / adapters.OURS, said | {"base": said["base"] | {"fingerprint": "0" * 64}})
    for head in (True, False):  # what puts an adapter under a bare encoder has no --force
        with pytest.raises(InputError, match="use the encoder that the adapter was trained on") as caught:
            adapters.load_adapter(bare(base), tmp_path / "ours", head=head)
        assert ("--force" in str(caught.value)) == head


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_that_changes_the_masked_lm_head_gives_its_encoder_part(
    family: str, tiny_masked_lm: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tiny_masked_lm(family)
    model = peft_folder(folder, tmp_path / "adapter", MASKED, target_modules=_linear(folder))
    made = bare(folder)
    adapters.load_adapter(made, tmp_path / "adapter", head=False)
    inputs = made.tokenizer(["the plot was not very good", "bad"], padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        wanted = model.base_model.model.base_model(**inputs).last_hidden_state
        found = made.model(**inputs).last_hidden_state
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(found[real], wanted[real], rtol=0, atol=1e-4)
    with pytest.raises(
        InputError, match="it also changes modules inside the head .*only its tensors in the encoder can be used"
    ):
        adapters.load_adapter(load.load(str(folder), head=MASKED, class_names=["masked"], seed=0), tmp_path / "adapter")


def _linear(folder: Path) -> list[str]:
    """Query's layers and every linear layer of the head but the one that is tied to the word embeddings."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    family = FAMILIES[model.config.model_type]
    trunk = f"{model.base_model_prefix}."
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    tied = model.get_output_embeddings()
    head = [n for n in linear if not n.startswith(trunk) and model.get_submodule(n) is not tied]
    assert head
    return [*(n for n in linear if n.startswith(trunk) and n.endswith(family.query)), *head]


def test_ia3_and_a_head_that_is_saved_whole_too(tiny_masked_lm: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tiny_masked_lm("bert")
    for i, config in enumerate(
        (
            {"peft_type": "IA3", "target_modules": ["key", "transform.dense"], "feedforward_modules": [], "r": None},
            {"modules_to_save": ["cls"], "use_rslora": True},
            {"peft_type": "LOHA", "target_modules": ["query", "transform.dense"]},
        )
    ):
        said = {key: value for key, value in config.items() if value is not None}
        if config.get("peft_type") == "IA3":
            said = {**said, "peft_type": "IA3"}
        target = tmp_path / str(i)
        model = _peft(folder, target, said)
        made = bare(folder)
        adapters.load_adapter(made, target, head=False)
        ids = torch.arange(5, 17)[None]
        with torch.no_grad():
            wanted = model.base_model.model.bert(input_ids=ids).last_hidden_state
            torch.testing.assert_close(made.model(input_ids=ids).last_hidden_state, wanted, rtol=0, atol=1e-5)


def _peft(base: Path, folder: Path, said: dict[str, Any]) -> Any:
    if said.get("peft_type") != "IA3":
        return peft_folder(base, folder, MASKED, **said)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        plain = transformers.AutoModelForMaskedLM.from_pretrained(base)
        model: Any = peft.get_peft_model(
            plain, peft.IA3Config(**{k: v for k, v in said.items() if k != "peft_type"})
        ).eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(1, 0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return model


@pytest.mark.parametrize("method", [Lora(rank=2), Adapter()], ids=lambda method: method.name)
def test_the_head_of_our_own_folder_is_put_in_the_order_of_the_models_classes(
    method: Any, base: Path, tmp_path: Path
) -> None:
    head = "AutoModelForSequenceClassification"
    made, other = (load.load(str(base), head=head, class_names=names, seed=0) for names in (["a", "b"], ["b", "a"]))
    method.inject(made, 0)
    about = {"class_names": ["a", "b"]}
    adapters.save(made, method, adapters.adapter_tensors(made), tmp_path / "ours", about)
    adapters.load_adapter(other, tmp_path / "ours")
    ids = torch.arange(5, 17)[None]
    made.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(other.model(input_ids=ids).logits, made.model(input_ids=ids).logits.flip(1))
