"""The bridge to PEFT: its layers under our rules, on families that PEFT has defaults for and on those it has none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from encoderlab.adapters import folder as adapters
from encoderlab.config import load as config_load
from encoderlab.config import settings
from encoderlab.core.errors import InputError
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods import peft_library
from encoderlab.methods.lora import Lora
from encoderlab.methods.peft_library import Peft
from encoderlab.model import load
from encoderlab.model.dropout import Dropout, DropoutRNG, use_rng
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES

peft = pytest.importorskip("peft")

TYPES: dict[str, dict[str, Any]] = {
    "BOFT": {"boft_block_size": 4},
    "OFT": {"oft_block_size": 8, "target_modules": ["query", "ffn_out"]},
    "VERA": {"r": 4},
    "LOHA": {},
    "FOURIERFT": {"n_frequency": 40, "init_weights": True},
    "LN_TUNING": {},
    "VBLORA": {"vector_length": 8, "num_vectors": 16},
    "LILY": {"r": 2},
    "DELORA": {"r": 4},
    "PVERA": {"r": 4},
}
NEARLY = {"VBLORA"}  # starts with a change, of 1e-6
TEXTS = ["a good film", "the plot was not very good and the acting bad", "bad"]
Make = Callable[..., EncoderModel]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Make:
    def build(family: str, method: Peft | Lora | None = None, seed: int = 0, method_seed: int = 0) -> EncoderModel:
        folder = str(tiny_model(family))
        made = load.load(
            folder, head="AutoModelForSequenceClassification", class_names=["no", "yes", "maybe"], seed=seed
        )
        made.model.eval()
        if method is not None:
            assert method.problems(made) == []
            method.inject(made, method_seed)
        return made

    return build


def batch(encoder: EncoderModel) -> Any:
    return encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")


def train(encoder: EncoderModel) -> None:
    """A few real steps, so that nothing is where it started."""
    optimizer = torch.optim.AdamW([p for _, p in encoder.trainable()], lr=3e-2)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(encoder.model(**batch(encoder)).logits, torch.tensor([0, 1, 2])).backward()
        optimizer.step()


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_type_of_peft_keeps_the_contract(family: str, type_name: str, make: Make, tmp_path: Path) -> None:
    method = Peft(type=type_name, options=TYPES[type_name])
    plain, tuned = make(family), make(family, method)
    pretrained = {name: p.detach().clone() for name, p in plain.model.named_parameters()}
    with torch.no_grad():
        before = plain.model(**batch(plain)).logits
        torch.testing.assert_close(
            tuned.model(**batch(plain)).logits, before, rtol=0, atol=1e-5 if type_name in NEARLY else 1e-6
        )

    trained = {name for name, _ in tuned.trainable()}
    heads = {name for name in pretrained if plain.is_head(name)}
    assert {name for name in trained if tuned.is_head(name)} == heads and trained > heads
    assert not (trained - heads) & pretrained.keys()
    train(tuned)
    assert all(p.grad is not None for _, p in tuned.trainable())
    for name, parameter in tuned.model.named_parameters():
        if not parameter.requires_grad and (own := name.replace("base_layer.", "")) in pretrained:
            assert torch.equal(parameter, pretrained[own]), f"{name} is frozen and has moved"

    with torch.no_grad():
        wanted = tuned.model(**batch(tuned)).logits
        assert not torch.allclose(wanted, before, atol=1e-3)
        adapters.save(tuned, method, adapters.adapter_tensors(tuned), tmp_path)
        loaded = make(family, seed=5)
        assert adapters.load_adapter(loaded, tmp_path) == method
        loaded.model.eval()
        assert torch.equal(loaded.model(**batch(loaded)).logits, wanted)
        method.merge(loaded)
        torch.testing.assert_close(loaded.model(**batch(loaded)).logits, wanted, rtol=0, atol=1e-5)
        if type_name != "LILY":  # which has no merged form, and runs as it is
            assert {name for name, _ in loaded.model.named_parameters()} == set(pretrained)  # a plain encoder again


@pytest.mark.parametrize("type_name", ["OSF", "ADAMSS"])
def test_a_type_that_cannot_compute_in_bf16_says_so(type_name: str, make: Make) -> None:
    tuned = make("bert", Peft(type=type_name))
    rows = batch(tuned)
    with torch.no_grad():
        tuned.model(**rows)
    model = ModelRunner(tuned, torch.bfloat16, torch.device("cpu"))
    with pytest.raises(InputError, match='set precision = "fp32"'):
        model(**rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_roles_are_exact_paths_in_every_family(family: str, make: Make) -> None:
    method = Peft(type="LOHA", options={"r": 2, "target_modules": ["key", "ffn_in"]})
    tuned = make(family, method)
    paths = {p for role in ("key", "ffn_in") for p in tuned.linear_paths(role, tuned.layer_numbers("all"))}
    own = {name.removeprefix(tuned.base_prefix).split(".hada_")[0] for name, _ in tuned.trainable() if "hada" in name}
    assert own == paths


def test_lora_over_the_bridge_is_our_lora(make: Make) -> None:
    bridged = make("roberta", Peft(type="LORA", options={"r": 4, "lora_alpha": 6, "target_modules": ["value"]}))
    ours = make("roberta", Lora(rank=4, alpha=6, target=("value",)))
    theirs = {name.replace(".default", ""): p for name, p in bridged.trainable()}
    assert theirs.keys() == {name for name, _ in ours.trainable()}
    for name, parameter in ours.trainable():
        # small beside the weights as after training: 1e-6 is then a bound on rounding, on any processor
        theirs[name].data.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
        parameter.data.copy_(theirs[name].data)
    with torch.no_grad():
        wanted = ours.model(**batch(ours)).logits
        torch.testing.assert_close(bridged.model(**batch(ours)).logits, wanted, rtol=1e-5, atol=1e-6)


def test_draws_depend_on_the_seed_alone_and_what_is_not_saved_on_nothing(make: Make) -> None:
    method = Peft(type="VERA", options={"r": 4})
    torch.manual_seed(1)
    one = make("bert", Peft(type="LOHA"), method_seed=1)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    two = make("bert", Peft(type="LOHA"), method_seed=1)
    other = make("bert", Peft(type="LOHA"), method_seed=2)
    assert not torch.equal(state, torch.random.get_rng_state())  # the global generator is where each test put it
    tensors = [dict(made.trainable()) for made in (one, two, other)]
    assert all(torch.equal(p, tensors[1][name]) for name, p in tensors[0].items())
    assert any(not torch.equal(p, tensors[2][name]) for name, p in tensors[0].items())
    frozen = [dict(make("bert", method, method_seed=seed).base_model.named_buffers()) for seed in (1, 2)]
    assert any("vera_A" in name for name in frozen[0])
    assert all(torch.equal(b, frozen[1][name]) for name, b in frozen[0].items())


@pytest.mark.parametrize(
    "method",
    [
        Peft(type="LORA", options={"lora_dropout": 0.5, "init_lora_weights": False}),
        Peft(type="LOHA", options={"rank_dropout": 0.5, "init_weights": False}),  # from torch's global generator
        Peft(type="PVERA", options={"r": 4, "d_initial": 1.0}),  # so too, without any dropout
    ],
    ids=lambda method: method.type,
)
def test_what_is_drawn_in_training_comes_from_the_steps_noise(method: Peft, make: Make) -> None:
    tuned = make("bert", method)
    for parameter in tuned.base_model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.5)
    for module in tuned.model.modules():
        if isinstance(module, Dropout) and module.p == 0.1:
            module.p = 0.0  # BERT's own

    def logits(step: int) -> Tensor:
        with use_rng(DropoutRNG(0, step)):
            return tuned.model(**batch(tuned)).logits

    tuned.model.train()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first, again_from = logits(1), torch.random.get_rng_state()
    assert torch.equal(state, again_from)
    torch.manual_seed(2)
    assert torch.equal(logits(1), first)
    assert not torch.equal(logits(2), first)
    tuned.model.eval()
    assert torch.equal(logits(1), logits(2))


@pytest.mark.parametrize("type_name", TYPES)
def test_bf16(type_name: str, make: Make) -> None:
    method = Peft(type=type_name, options=TYPES[type_name])
    tuned = make("bert", method)
    train(tuned)
    tuned.model.zero_grad()
    with torch.no_grad():
        wanted = tuned.model(**batch(tuned)).logits
    model = ModelRunner(tuned, torch.bfloat16, torch.device("cpu"))
    logits = model(**batch(tuned))
    torch.testing.assert_close(logits, wanted, rtol=0, atol=0.05 * float(wanted.abs().max()))
    logits.sum().backward()
    for name, parameter in tuned.trainable():
        assert parameter.dtype == torch.float32 and parameter.grad is not None, name


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Peft(type="BOFTT"), "no such type among peft's single-adapter layers; did you mean 'BOFT'"),
        (Peft(type="vera"), "did you mean 'VERA'"),
        (Peft(type="PROMPT_TUNING"), "encoderlab has its own method for this; set name = 'prompt'"),
        (Peft(type="PREFIX_TUNING"), "encoderlab has its own method for this; set name = 'prefix'"),
        (Peft(type="ADALORA"), "encoderlab has its own method for this; set name = 'adalora'"),
        (Peft(type="POLY"), "no such type"),
        (
            Peft(type="BOFT", options={"boft_blok_size": 4}),
            "peft's BOFT has no such field; did you mean 'boft_block_size'",
        ),
        (Peft(type="BOFT", options={"boft_block_size": "4"}), "boft_block_size = '4': peft's BOFT expects int"),
        (Peft(type="LORA", options={"lora_dropout": math.nan}), "lora_dropout = nan: peft's LORA expects float"),
        (Peft(type="BOFT", options={"modules_to_save": ["pooler"]}), "modules_to_save: encoderlab sets it"),
        (Peft(type="LOHA", options={"target_modules": ["querry"]}), "no module 'querry'.*did you mean 'query'"),
        (Peft(type="LOHA", options={"target_modules": "nothing.*"}), "peft does not accept these settings: Target"),
        (Peft(type="BOFT", options={"boft_block_size": 5}), "peft does not accept these settings"),
        (Peft(type="TRAINABLE_TOKENS"), "these fields train nothing in the encoder"),
        (Peft(type="LORA", options={"init_lora_weights": "pissa"}), "rewrite pretrained weights at the start"),
    ],
    ids=repr,
)
def test_what_cannot_be_is_said_in_one_line(method: Peft, said: str, make: Make) -> None:
    with pytest.raises(InputError, match=said) as caught:
        made = make("bert")
        if problems := method.problems(made):
            raise InputError(*problems)
        method.inject(made, 0)
    assert len(caught.value.lines) == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize("type_name", ["BOFT", "ADAMSS", "LOHA"])
def test_a_model_without_weights_can_be_counted(type_name: str, make: Make) -> None:
    """As `encoderlab inspect` does; some types compute on the weights when they start."""
    method = Peft(type=type_name, options=TYPES.get(type_name, {}))
    plain = make("bert")
    with torch.device("meta"):
        blank = replace(plain, model=AutoModelForSequenceClassification.from_config(plain.model.config))
        method.inject(blank, 0)
    assert blank.counts() == make("bert", method).counts()


def test_a_fresh_pooler_stays_the_heads(make: Make, tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "mlm"  # a masked-LM checkpoint has no pooler
    AutoModelForMaskedLM.from_pretrained(tiny_model("bert")).save_pretrained(folder)
    made = make("bert")
    made.tokenizer.save_pretrained(folder)
    made = load.load(str(folder), head="AutoModelForSequenceClassification", class_names=["no", "yes"], seed=0)
    assert any("pooler" in name for name in made.newly_initialized)
    with pytest.raises(InputError, match="bert.pooler.dense.* is not in the checkpoint, so all of it trains already"):
        Peft(type="LOHA", options={"target_modules": "all-linear"}).inject(made, 0)


def study(folder: Path, section: str) -> config_load.Draft:
    (folder / "train.csv").write_text("text,label\na,b\n")
    path = folder / "study.toml"
    path.write_text(f'model = "bert"\n[data]\ntrain = "train.csv"\n[[method]]\nname = "peft"\n{section}')
    return config_load.read(path)


def test_a_section_holds_pefts_own_fields_and_their_grids(tmp_path: Path) -> None:
    found = study(tmp_path, 'type = "BOFT"\ntarget_modules = ["query", "value"]\nboft_block_size = [4, 8]\n')
    assert not found.problems
    one, two = (v for v in found.variants if v.method.name == "peft")
    assert isinstance(one.method, Peft) and isinstance(two.method, Peft)
    assert one.method.options == {"target_modules": ["query", "value"], "boft_block_size": 4}
    assert two.method.options["boft_block_size"] == 8
    assert (one.label, two.label) == ("peft type=BOFT boft_block_size=4", "peft type=BOFT boft_block_size=8")
    found = study(tmp_path, 'type = ["LOHA", "LOKR"]\ntarget_modules = [["query"], ["key", "value"]]\nr = 4\n')
    assert [v.label for v in found.variants if v.method.name == "peft"] == [
        f"peft type={kind} target_modules={target}" for kind in ("LOHA", "LOKR") for target in ("query", "key+value")
    ]
    assert "missing; expected the method" in str(study(tmp_path, "r = 4\n").problems[0])


def test_the_command_line_sets_pefts_fields(tmp_path: Path) -> None:
    study(tmp_path, 'type = "LOHA"\n')
    found = config_load.load(tmp_path / "study.toml", ["method.peft.r=3", "method.peft.alpha=5"])
    (method,) = [v.method for v in found.variants if isinstance(v.method, Peft)]
    assert method.options == {"r": 3, "alpha": 5}
    assert settings.resolved(found)["method"][0]["options"] == {"r": 3, "alpha": 5}


def test_without_the_library_one_line_says_what_to_install(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make("bert")
    monkeypatch.setattr(peft_library.importlib.util, "find_spec", lambda name: None)  # as where it is not installed
    assert Peft.kinds("BOFT") == {}
    with pytest.raises(InputError, match=r"^needs the peft library: pip install 'encoderlab\[peft\]'$"):
        Peft(type="BOFT").inject(plain, 0)
