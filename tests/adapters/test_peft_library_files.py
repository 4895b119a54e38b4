"""Runs of the bridge in PEFT's own folder: PEFT is the oracle of what it means and of what it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from encoderlab.adapters import folder as adapters
from encoderlab.adapters import peft as folders
from encoderlab.core.errors import InputError
from encoderlab.engine.runner import ModelRunner
from encoderlab.inference import export
from encoderlab.methods.peft_library import Peft
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel

peft = pytest.importorskip("peft")

TYPES: dict[str, dict[str, Any]] = {
    "BOFT": {"boft_block_size": 4},
    "OFT": {"oft_block_size": 8, "target_modules": ["query", "ffn_out"]},
    "LOHA": {"target_modules": ["key", "dense"]},  # a role, and an end of names that the pooler has too
    "FOURIERFT": {"n_frequency": 40},  # at frozen random places
    "LN_TUNING": {},
    "VERA": {"r": 4},  # frozen random matrices for all layers
    "PVERA": {"r": 4, "save_projection": False},  # the same, drawn again from the config's seed
    "VBLORA": {"vector_length": 8, "num_vectors": 16, "save_only_topk_weights": True},  # a trained bank for all layers
    "RANDLORA": {"r": 4},
    "TINYLORA": {},  # trained vectors for all layers, frozen projections in each
    "UNILORA": {"target_modules": ["key"]},  # one trained vector for all layers, and nothing else
    "SHIRA": {"r": 4},  # where it trains is random
    "TRAINABLE_TOKENS": {"token_indices": [3, 4]},
}
TEXTS = ["a good film", "the plot was not very good and the acting bad", "bad"]
QUIET = [
    "ignore:Setting boft_n_butterfly_factor",
    "ignore:Failed to load the CUDA extension",
    "ignore:Unsupported layer type",
    "ignore:Sparse invariant checks",
    "ignore:Specified to not (load|save)",
    "ignore:`is_gradient_checkpointing`",
]
pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]
Make = Callable[..., EncoderModel]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Make:
    def build(
        family: str, method: Peft | None = None, seed: int = 0, head: str = "SequenceClassification"
    ) -> EncoderModel:
        names = ["no", "yes", "maybe"]
        made = load.load(
            str(tiny_model(family)), head=f"AutoModel{head and 'For' + head}", class_names=names, seed=seed
        )
        if method is not None:
            assert method.problems(made) == []
            method.inject(made, seed + 7)
        made.model.eval()
        return made

    return build


def batch(encoder: EncoderModel) -> Any:
    return encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")


def trained(encoder: EncoderModel) -> torch.Tensor:
    """The logits after a few real steps, so that nothing is where it started."""
    optimizer = torch.optim.AdamW([p for _, p in encoder.trainable()], lr=3e-2)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(encoder.model(**batch(encoder)).logits, torch.tensor([0, 1, 2])).backward()
        optimizer.step()
    return logits(encoder.model, encoder)


def logits(model: Any, encoder: EncoderModel) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch(encoder)).logits


def by_peft(encoder: EncoderModel, folder: Path) -> Any:
    torch.manual_seed(99)
    plain = AutoModelForSequenceClassification.from_pretrained(encoder.name, num_labels=3)
    return peft.PeftModel.from_pretrained(plain, folder).eval()


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_peft_and_we_read_the_same_model(family: str, type_name: str, make: Make, tmp_path: Path) -> None:
    options = TYPES[type_name]
    if family == "distilbert" and type_name == "LOHA":
        options = {"target_modules": ["key", "lin1"]}
    method = Peft(type=type_name, options=options)
    tuned = make(family, method)
    wanted = trained(tuned)
    adapters.save(tuned, method, adapters.adapter_tensors(tuned), tmp_path)
    theirs = by_peft(tuned, tmp_path)
    torch.testing.assert_close(logits(theirs, tuned), wanted, rtol=0, atol=1e-6)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    saved = peft.get_peft_model_state_dict(theirs, save_embedding_layers=False)
    if type_name != "TRAINABLE_TOKENS":  # of which PEFT leaves out the head
        assert stored.keys() == saved.keys()
        assert all(torch.equal(stored[name], saved[name]) for name in stored)

    ours = make(family, seed=5)
    assert adapters.load_adapter(ours, tmp_path) == method
    assert torch.equal(logits(ours.model, ours), wanted)
    (tmp_path / "encoderlab.json").unlink()
    again = make(family, seed=6)
    back = adapters.load_adapter(again, tmp_path)
    assert isinstance(back, Peft) and back.type == type_name
    assert torch.equal(logits(again.model, again), wanted)


@pytest.mark.parametrize("family", ["roberta", "modernbert", "albert"])
@pytest.mark.parametrize("type_name", ["LOHA", "VERA"])
def test_other_families(family: str, type_name: str, make: Make, tmp_path: Path) -> None:
    """A head of several modules, one layer for query, key and value, layers that share their weights."""
    method = Peft(type=type_name, options={"r": 4})
    tuned = make(family, method)
    wanted = trained(tuned)
    adapters.save(tuned, method, adapters.adapter_tensors(tuned), tmp_path)
    torch.testing.assert_close(logits(by_peft(tuned, tmp_path), tuned), wanted, rtol=0, atol=1e-6)
    (tmp_path / "encoderlab.json").unlink()
    ours = make(family, seed=5)
    adapters.load_adapter(ours, tmp_path)
    assert torch.equal(logits(ours.model, ours), wanted)


def test_a_folder_that_peft_wrote(make: Make, tmp_path: Path) -> None:
    plain = make("bert")
    config = peft.VBLoRAConfig(task_type="SEQ_CLS", target_modules=r".*\.(query|key)", vector_length=8, num_vectors=16)
    model = AutoModelForSequenceClassification.from_pretrained(plain.name, num_labels=3)
    theirs = peft.get_peft_model(model, config).eval()
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            parameter.data.normal_(generator=torch.Generator().manual_seed(len(name)))
    theirs.save_pretrained(tmp_path)
    method = adapters.load_adapter(plain, tmp_path)
    assert isinstance(method, Peft) and method.options["target_modules"] == ["query", "key"]
    torch.testing.assert_close(logits(plain.model, plain), logits(theirs, plain), rtol=0, atol=1e-6)


def test_the_encoders_part_moves_to_a_bare_encoder(make: Make, tmp_path: Path) -> None:
    method = Peft(type="VBLORA", options=TYPES["VBLORA"])
    tuned = make("bert", method)
    trained(tuned)
    adapters.save(tuned, method, adapters.adapter_tensors(tuned), tmp_path)
    bare = make("bert", head="")
    adapters.load_adapter(bare, tmp_path, head=False)
    with torch.no_grad():
        states = [made.base_model(**batch(bare)).last_hidden_state for made in (bare, tuned)]
    assert torch.equal(*states)


@pytest.mark.parametrize("type_name", ["VERA", "DELORA"])  # frozen: drawn, and computed from the weights
def test_what_bf16_rounds_is_not_saved(type_name: str, make: Make, tmp_path: Path) -> None:
    method = Peft(type=type_name, options={"r": 4})
    tuned = make("bert", method)
    wanted = trained(tuned)
    with torch.no_grad():
        ModelRunner(tuned, torch.bfloat16, torch.device("cpu"))(**batch(tuned))
    assert any(p.dtype == torch.bfloat16 for p in tuned.base_model.parameters())
    adapters.save(tuned, method, adapters.adapter_tensors(tuned), tmp_path)
    torch.testing.assert_close(logits(by_peft(tuned, tmp_path), tuned), wanted, rtol=0, atol=1e-6)
    ours = make("bert")
    adapters.load_adapter(ours, tmp_path)
    assert torch.equal(logits(ours.model, ours), wanted)


def test_other_frozen_numbers_are_refused(make: Make, tmp_path: Path) -> None:
    method = Peft(type="VERA", options={"r": 4})
    tuned = make("bert", method)
    folders.write(tuned, method, adapters.adapter_tensors(tuned), tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors["base_model.vera_A"][0, 0] += 1
    save_file(tensors, path)
    with pytest.raises(
        InputError, match="base_model.vera_A: the frozen numbers of VERA differ from those that encoderlab draws"
    ):
        adapters.load_adapter(make("bert"), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "NOVEL"}))
    with pytest.raises(InputError, match="type = 'NOVEL': no such type"):
        adapters.load_adapter(make("bert"), tmp_path)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Peft(type="LORA"), "PEFT's LORA is written by our own method, name = 'lora'"),
        (Peft(type="LILY", options={"r": 2}), "PEFT's LILY shares matrices"),
        (Peft(type="OFT", options={"oft_block_size": 8, "bias": "all"}), "bias = 'all' changes the base model's own"),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_what_peft_would_read_otherwise_stays_in_our_layout(
    method: Peft, said: str, make: Make, tmp_path: Path
) -> None:
    tuned = make("bert", method)
    wanted = trained(tuned)
    assert said in str(folders.refusal(tuned, method))
    adapters.save(tuned, method, adapters.adapter_tensors(tuned), tmp_path)
    assert not (tmp_path / "adapter_config.json").exists()
    ours = make("bert", seed=5)
    assert adapters.load_adapter(ours, tmp_path) == method
    assert torch.equal(logits(ours.model, ours), wanted)


COMMANDS = """
import json, sys
from encoderlab.cli.app import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as stop:
        if stop.code:
            raise
    print("its end", file=sys.stderr, flush=True)
"""


def stderr_of(folder: Path, *commands: list[str]) -> list[str]:
    """What each command says on stderr, all in one new process, which imports peft in the first."""
    words = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *found, rest = done.stderr.split("its end\n")
    assert rest == "" and len(found) == len(commands)
    return found


def test_a_run_of_the_bridge_says_no_more_than_others_and_is_exported(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    model = str(tiny_model("bert"))
    rows = (
        "text,label\n" + "good film,pos\nbad film,neg\nvery good,pos\nnot good,neg\nthe plot,pos\nbad acting,neg\n" * 3
    )
    (tmp_path / "train.csv").write_text(rows)
    (tmp_path / "study.toml").write_text(
        f'model = "{model}"\nout = "out"\n[data]\ntrain = "train.csv"\n[train]\nepochs = 1\nmax_length = 16\n'
        '[[method]]\nname = "peft"\ntype = "VERA"\nr = 4\nlearning_rate = 1e-2\n'
        "[search]\ncandidates = 1\n"
    )
    inspected, talk = stderr_of(
        tmp_path,
        ["inspect", model, "--method", "peft", "-s", "type=LOHA"],
        ["train", "study.toml", "--method", "peft type=VERA", "--seed", "1"],
    )
    assert inspected == ""
    assert "gemm" not in talk and "pip install" not in talk
    (run,) = [path.parent for path in (tmp_path / "out").rglob("result.json")]
    assert (run / "adapter" / "adapter_config.json").is_file()
    done = export.export(run, "peft", tmp_path / "peft")
    assert done.difference <= 1e-6
