"""Configs and tokenizers of real checkpoints: what must not matter changes nothing, what is wrong is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel

from encoderlab.brain.vectors.contextual import word_vectors
from encoderlab.core.errors import InputError
from encoderlab.data.rows import Rows
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.lora import Lora
from encoderlab.methods.prompt import Prompt
from encoderlab.model import load
from encoderlab.model.dropout import DropoutRNG
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from encoderlab.tasks.classification import Classification

CPU = torch.device("cpu")
TASK = Classification(text=("a", "b"), label="label")
CLASSES = ["no", "yes"]
COLUMNS = {
    "a": ["good film", "the plot was bad", "a film"],
    "b": ["bad", "acting", "not very good film [PAD] good"],
    "label": ["no", "yes", "no"],
}
ROWS = Rows(COLUMNS, "rows", np.arange(3))


def loaded(folder: Path) -> EncoderModel:
    return load.load(str(folder), head=TASK.head, class_names=CLASSES, seed=0)


def answers(folder: Path) -> list[Tensor]:
    """Logits of pairs after one step backwards, on the packed path (LoRA) and on the other one (prompt), and word
    vectors of the bare encoder."""
    found = []
    for method in (Lora(), Prompt(length=3)):
        made = loaded(folder)
        encoded = TASK.tokenize(ROWS, made.tokenizer, 32, CLASSES)
        method.inject(made, 0)
        model = ModelRunner(made, torch.float32, CPU)
        assert model.packs == (made.family.packs and method.name == "lora")
        model.train()
        model.run(encoded, np.arange(3), made.pad_id, CPU, rng=DropoutRNG(0, 0, 0)).sum().backward()
        assert all(p.grad is not None for _, p in made.trainable())
        model.eval()
        with torch.no_grad():
            found.append(model.run(encoded, np.arange(3), made.pad_id, CPU))
    bare = load.load(str(folder), head="AutoModel", class_names=[], seed=0)
    found.append(torch.from_numpy(word_vectors("the plot was not very good".split(), bare)))
    return found


@pytest.fixture(scope="module")
def clean(tiny_model: Callable[[str], Path]) -> Callable[[str], list[Tensor]]:
    known: dict[str, list[Tensor]] = {}

    def of(family: str) -> list[Tensor]:
        if family not in known:
            known[family] = answers(tiny_model(family))
        return known[family]

    return of


def change(folder: Path, file: str, **keys: Any) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def copy(family: str, tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model(family), tmp_path / family))


NO_MATTER: list[dict[str, Any]] = [
    {"return_dict": False},
    {"gradient_checkpointing": True},
    {"is_decoder": True},
    {"is_decoder": True, "add_cross_attention": True},
    {"add_cross_attention": True},
    {"output_hidden_states": True, "output_attentions": True},
    {"torchscript": True, "use_cache": False, "use_bfloat16": True},
    {"chunk_size_feed_forward": 8},
    {"tie_word_embeddings": False},
    {"problem_type": "multi_label_classification", "num_labels": 5},
    {"num_labels": 3, "id2label": {"0": "a", "1": "b"}},
    {"id2label": {"0": "a", "2": "b"}},
    {"label2id": ["a"], "id2label": None},
    {"torch_dtype": "float16"},
    {"dtype": "bfloat16"},
    {"_attn_implementation": "flash_attention_2", "attn_implementation": "sdpa"},
    {"pad_token_id": None},
    {"pad_token_id": 99_999},
    {"pad_token_id": -1},
    {"architectures": None, "quantization_config": None},
    {"key_of_2030": {"a": [1]}, "auto_map": {"AutoModel": "x--modeling.Foo"}, "tokenizer_class": "FooTokenizer"},
]


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("keys", NO_MATTER, ids=str)
def test_what_must_not_matter_changes_nothing(
    keys: dict[str, Any],
    family: str,
    tiny_model: Callable[[str], Path],
    clean: Callable[[str], list[Tensor]],
    tmp_path: Path,
) -> None:
    folder = copy(family, tiny_model, tmp_path)
    change(folder, "config.json", **keys)
    for ours, wanted in zip(answers(folder), clean(family), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "quantization_config: the weights are quantized",
        ),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "are quantized"),
        ({"position_embedding_type": "relative_key"}, "computes absolute positions only"),
        ({"pruned_heads": {"0": [0]}}, "pruned_heads"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0: expected 1 or more"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000: expected at most 1,000"),
        ({"num_labels": 10**9}, "num_labels = 1000000000: expected at most 1,000,000"),
        ({"vocab_size": 2**31}, "vocab_size = 2147483648: expected at most"),
        ({"vocab_size": 9_999_999}, r"vocab_size = 9999999: its weights \(0 MB\) have no tensor of that size"),
        ({"max_position_embeddings": 2**31}, "max_position_embeddings = 2147483648"),
        ({"intermediate_size": 0}, "intermediate_size = 0: expected 1 or more"),
        ({"num_attention_heads": -1}, "num_attention_heads = -1: expected 1 or more"),
        ({"hidden_size": True}, "hidden_size|is it a model's config.json"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps = nan: expected a finite number"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps = -1.0: expected a small number above 0"),
        ({"initializer_range": float("inf")}, "initializer_range = inf: expected a finite number"),
        ({"dtype": "auto"}, "is it a model's config.json"),
        ({"id2label": ["a", "b"]}, "is it a model's config.json"),
        ({"use_return_dict": False}, "is it a model's config.json"),
        ({"hidden_dropout_prob": 2.0}, "could not be loaded"),
        ({"hidden_act": "of_2030"}, "could not be loaded"),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_one_line(
    keys: dict[str, Any], said: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy("bert", tiny_model, tmp_path)
    change(folder, "config.json", **keys)
    with pytest.raises(InputError, match=said) as caught:
        loaded(folder)
    assert len(caught.value.lines) == 1 and "\n" not in str(caught.value)


def test_what_is_settled_and_matters_is_said(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("roberta", tiny_model, tmp_path)
    assert loaded(folder).notes == ()
    change(folder, "config.json", is_decoder=True, pad_token_id=None, num_hidden_layers=1)
    decoder, padding, smaller = loaded(folder).notes
    assert "is_decoder = true; it is run as an encoder" in decoder
    assert "pad_token_id = null" in padding and "taken: 1, that of its tokenizer" in padding
    assert smaller.startswith("16 tensors of its layers have no place")
    change(folder, "config.json", is_decoder=False, pad_token_id=5, num_hidden_layers=2)
    (other,) = loaded(folder).notes
    assert "pad_token_id = 5, its tokenizer 1; positions are counted by the config" in other


def test_a_study_that_was_run_before_finds_its_runs(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    """Keys that never mattered stay in the fingerprint as the file has them."""
    folder = copy("bert", tiny_model, tmp_path)
    plain = loaded(folder).fingerprint
    change(folder, "config.json", output_hidden_states=True)
    assert loaded(folder).fingerprint != plain
    change(folder, "config.json", output_hidden_states=False, return_dict=False, gradient_checkpointing=True)
    assert loaded(folder).fingerprint == plain


def no_padding_token(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    said = {key: value for key, value in json.loads(path.read_text()).items() if key != "pad_token"}
    path.write_text(json.dumps(said | {"tokenizer_class": "PreTrainedTokenizerFast"}))


def none_in_the_config_either(folder: Path) -> None:
    no_padding_token(folder)
    change(folder, "config.json", pad_token_id=None)


TYPES = ["input_ids", "token_type_ids", "attention_mask"]
tokenizer_says = partial(partial, change, file="tokenizer_config.json")


def with_cuts_of_its_own(folder: Path) -> None:
    cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    fill = {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0}
    change(folder, "tokenizer.json", truncation=cut, padding=fill | {"pad_token": "[PAD]"})


def as_a_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def in_shards(folder: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")


FILES: dict[str, Callable[[Path], Any]] = {
    "no padding token": no_padding_token,
    "none in the config either": none_in_the_config_either,
    "types for one type": tokenizer_says(model_input_names=TYPES),
    "BERT's tokenizer": tokenizer_says(model_input_names=TYPES, tokenizer_class="BertTokenizer"),
    "from the left": tokenizer_says(padding_side="left", truncation_side="left"),
    "length 5": tokenizer_says(model_max_length=5),
    "length 1e30": tokenizer_says(model_max_length=1e30),
    "length x": tokenizer_says(model_max_length="x"),
    "cuts of its own": with_cuts_of_its_own,
    "pickle": as_a_pickle,
    "shards": in_shards,
}


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("name", FILES)
def test_files_that_must_not_matter_change_nothing(
    name: str, family: str, tiny_model: Callable[[str], Path], clean: Callable[[str], list[Tensor]], tmp_path: Path
) -> None:
    folder = copy(family, tiny_model, tmp_path)
    FILES[name](folder)
    for ours, wanted in zip(answers(folder), clean(family), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_pairs_of_a_tokenizer_that_numbers_them(
    family: str, tiny_model: Callable[[str], Path], clean: Callable[[str], list[Tensor]], tmp_path: Path
) -> None:
    folder = copy(family, tiny_model, tmp_path)
    change(folder, "tokenizer_config.json", model_input_names=TYPES, tokenizer_class="BertTokenizer")
    for ours, wanted in zip(answers(folder), clean(family), strict=True):
        assert ours.shape == wanted.shape and ours.isfinite().all()


def no_fast_form(folder: Path, name: str = "PhobertTokenizer") -> None:
    (folder / "tokenizer.json").unlink()
    change(folder, "tokenizer_config.json", tokenizer_class=name)
    (folder / "vocab.txt").write_text("\n".join(f"{word} 1" for word in "a b film good bad".split()))
    (folder / "bpe.codes").write_text("#v\na b 1\n")


def weights_that_are_no_numbers(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][3] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


ADAPTER = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "bert-base-uncased"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_fast_form, "its tokenizer, PhobertTokenizer, is not a fast tokenizer"),
        (
            partial(no_fast_form, name="BertJapaneseTokenizer"),
            "BertJapaneseTokenizer.*not a fast tokenizer|could not be loaded",
        ),
        (
            partial(no_fast_form, name="BertweetTokenizer"),
            "BertweetTokenizer.*not a fast tokenizer|could not be loaded",
        ),
        (lambda f: (f / "adapter_config.json").write_text(ADAPTER), "holds an adapter .* next to the model"),
        (lambda f: (f / "adapter_config.json").write_text("{"), "holds an adapter .* next to the model"),
        (
            lambda f: (f / "config.json").rename(f / "adapter_config.json"),
            "no config.json; name the model that the adapter",
        ),
        (lambda f: (f / "tokenizer.json").write_text("[]"), "could not be loaded"),
        (weights_that_are_no_numbers, "not finite, e.g. in embeddings.LayerNorm.bias"),
    ],
)
def test_a_folder_that_check_refuses_is_one_line(
    spoil: Callable[[Path], Any], said: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy("bert", tiny_model, tmp_path)
    spoil(folder)
    with pytest.raises(InputError, match=said) as caught:
        loaded(folder)
    assert len(caught.value.lines) == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["roberta", "bert", "electra"])
def test_a_padding_token_inside_a_text_has_the_position_that_transformers_gives_it(
    family: str, tiny_model: Callable[[str], Path]
) -> None:
    made = loaded(tiny_model(family))
    columns = {"a": ["good [PAD] film", "[PAD] the plot", "a film [PAD] [PAD]"], "b": COLUMNS["b"]}
    encoded = TASK.tokenize(Rows(columns, "rows", np.arange(3)), made.tokenizer, 32, CLASSES)
    assert (encoded.ids == made.tokenizer.pad_token_id).sum() == 5
    model = ModelRunner(made, torch.float32, CPU).eval()
    assert model.packs
    with torch.no_grad():
        packed = model.run(encoded, np.arange(3), made.pad_id, CPU)
        plain = AutoModel.from_pretrained(made.name).eval()
        for row, (a, b) in enumerate(zip(columns["a"], columns["b"], strict=True)):
            alone = made.tokenizer(a, b, return_tensors="pt")
            states = plain(**alone).last_hidden_state
            theirs = made.base_model(**alone).last_hidden_state
            torch.testing.assert_close(theirs, states, rtol=0, atol=1e-5)
            torch.testing.assert_close(made.model(**alone).logits[0], packed[row], rtol=0, atol=1e-6)
