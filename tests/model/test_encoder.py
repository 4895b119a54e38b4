"""Model folders: what is fresh, what a fingerprint tells apart, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from encoderlab.core.errors import InputError
from encoderlab.methods.head import Head
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from encoderlab.model.positions import usable

HEAD = "AutoModelForSequenceClassification"


def load(folder: Path, seed: int = 0) -> EncoderModel:
    return model_load.load(str(folder), head=HEAD, class_names=["no", "yes"], seed=seed)


@pytest.fixture
def copied(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model("bert"), tmp_path / "model"))


def change(folder: Path, file: str, **keys: Any) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_tensors_are_the_heads_and_depend_on_the_seed(family: str, tiny_model: Callable[[str], Path]) -> None:
    one, same, other = (load(tiny_model(family), seed) for seed in (0, 0, 1))
    assert one.newly_initialized and not any(name.startswith(one.base_prefix) for name in one.newly_initialized)
    drawn = [
        n for n in one.newly_initialized if one.model.get_parameter(n).ndim == 2
    ]  # the others start as ones or zeros
    assert "classifier.weight" in drawn or "classifier.out_proj.weight" in drawn
    for name in drawn:
        a, b, c = (x.model.get_parameter(name) for x in (one, same, other))
        assert torch.equal(a, b) and not torch.equal(a, c)
    assert one.fingerprint == other.fingerprint and one.head_fingerprint == other.head_fingerprint


def test_a_pooler_that_the_checkpoint_lacks_is_fresh_and_counts_as_head(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    save_file({n: t for n, t in weights.items() if "pooler" not in n}, copied / "model.safetensors", {"format": "pt"})
    lacking = load(copied)
    assert {"bert.pooler.dense.weight", "bert.pooler.dense.bias"} < lacking.newly_initialized
    assert lacking.is_head("bert.pooler.dense.weight")


def test_the_fingerprint_tells_apart_what_computes_differently(copied: Path) -> None:
    seen = {load(copied).fingerprint}
    change(copied, "config.json", hidden_act="relu")
    seen.add(load(copied).fingerprint)
    change(copied, "config.json", hidden_dropout_prob=0.5)
    seen.add(load(copied).fingerprint)
    weights = load_file(copied / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"] += 1e-3
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    seen.add(load(copied).fingerprint)
    assert len(seen) == 4


def test_a_checkpoints_own_head_is_kept_fingerprinted_or_drawn_anew(copied: Path, tmp_path: Path) -> None:
    """With the same number of classes it is used; with another it is fresh."""
    for classes, name in ((2, "two"), (3, "three")):
        model = AutoModelForSequenceClassification.from_pretrained(copied, num_labels=classes)
        model.save_pretrained(tmp_path / name)
        for file in copied.glob("tokenizer*"):
            shutil.copy(file, tmp_path / name)
    two, three = load(tmp_path / "two"), load(tmp_path / "three")
    assert not two.newly_initialized
    assert three.newly_initialized == {"classifier.weight", "classifier.bias"}
    assert two.fingerprint == three.fingerprint == load(copied).fingerprint
    assert two.head_fingerprint != three.head_fingerprint == load(copied).head_fingerprint


@pytest.mark.parametrize("family", FAMILIES)
def test_a_masked_lm_checkpoint_keeps_its_head_and_lacks_a_pooler(
    family: str, tiny_masked_lm: Callable[[str], Path]
) -> None:
    """What a domain adaptation leaves: the same trunk under every head, and no pooler where nothing reads it."""
    heads = ("AutoModelForMaskedLM", "AutoModel", HEAD, "AutoModelForMultipleChoice")
    masked, bare, classifier, choice = (
        model_load.load(str(tiny_masked_lm(family)), head=head, class_names=["no", "yes"], seed=0) for head in heads
    )
    assert len({m.fingerprint for m in (masked, bare, classifier, choice)}) == 1
    assert (
        not masked.newly_initialized
        and masked.head_fingerprint
        and not bare.newly_initialized
        and not bare.head_fingerprint
    )
    for made in (masked, bare):
        Head().inject(made, 0)
        assert not list(made.trainable())  # a pretrained masked-LM head stays as it is
        assert getattr(made.base_model, made.family.pooler, None) is None
    for made in (classifier, choice):
        Head().inject(made, 0)
        names = {name for name, _ in made.trainable()}
        assert names == {n for head in made.heads() for n in _names(made, head)} | {n for n in names if ".pooler." in n}
        assert names >= made.newly_initialized

    given = bare.tokenizer(["a good film", "bad"], padding=True, return_tensors="pt")
    outputs = []
    for made in (masked, bare, classifier):
        made.model.eval()
        with torch.no_grad():
            outputs.append(made.base_model(**given).last_hidden_state)
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])


def _names(made: EncoderModel, module: torch.nn.Module) -> set[str]:
    return {n for n, p in made.model.named_parameters() if any(p is q for q in module.parameters())}


def test_a_bare_encoder_keeps_the_pooler_of_its_checkpoint(tiny_model: Callable[[str], Path]) -> None:
    bare = model_load.load(str(tiny_model("bert")), head="AutoModel", class_names=[], seed=0)
    assert bare.base_model.pooler is not None and bare.pooler_fingerprint
    assert bare.fingerprint == load(tiny_model("bert")).fingerprint


def test_positions_that_a_model_takes(tiny_model: Callable[[str], Path]) -> None:
    """The 64 of every tiny model, whatever else has 64 or 66 rows; and that many tokens do run."""
    for family in FAMILIES:
        made = load(tiny_model(family))
        assert usable(made.base_model) == 64, family
        made.model.eval()
        with torch.no_grad():
            ids = torch.full((1, 64), made.tokenizer.cls_token_id)
            assert made.model(input_ids=ids).logits.isfinite().all()


def rename_all(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({f"other.{n}": t for n, t in weights.items()}, folder / "model.safetensors", {"format": "pt"})


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def no_tokenizer(folder: Path) -> None:
    for file in [*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("special*")]:
        file.unlink()


def small_embeddings(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][:20].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    change(folder, "config.json", vocab_size=20)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (rename_all, r"encoder's tensors are missing.*do not belong together"),
        (lambda f: change(f, "config.json", num_hidden_layers=4), r"encoder\.layer\.2"),
        (lambda f: change(f, "config.json", hidden_size=16), r"missing in its weights or have another shape"),
        (lambda f: change(f, "config.json", num_attention_heads="x"), "could not be loaded|is it a model's config"),
        (lambda f: change(f, "config.json", model_type="gpt2"), "family 'gpt2' is not supported.*FAMILIES"),
        (lambda f: (f / "config.json").write_text("{"), "is it a model's config.json"),
        (lambda f: (f / "config.json").unlink(), "the folder has no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "could not be loaded"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "could not be loaded"),
        (cut_weights, "could not be loaded"),
        (no_tokenizer, "tokenizer"),
        (small_embeddings, "67 tokens, but the encoder has embeddings for 20|do not belong together"),
    ],
)
def test_a_folder_that_is_no_usable_model_is_refused_in_one_line(
    damage: Callable[[Path], Any], said: str, copied: Path
) -> None:
    damage(copied)
    with pytest.raises(InputError, match=said) as caught:
        load(copied)
    assert all("\n" not in problem for problem in caught.value.lines)
