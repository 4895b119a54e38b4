"""`encoderlab inspect`: its counts are those of a run, and need no weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedTokenizerBase

from encoderlab.adapters import folder as adapters
from encoderlab.cli import app
from encoderlab.core.errors import InputError
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.registry import METHODS
from encoderlab.model import load
from encoderlab.model.families import FAMILIES
from encoderlab.study import inspect

HEAD = "AutoModelForSequenceClassification"
READY: list[Any] = [cls for cls in METHODS if not any(f.default is f.default_factory is MISSING for f in fields(cls))]


@pytest.fixture(scope="module")
def bert_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the config.json of BERT-base, and nothing else."""
    folder = tmp_path_factory.mktemp("bert-base")
    AutoConfig.for_model("bert").save_pretrained(folder)
    return folder


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        app.main(["inspect", *arguments])
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_counts_as_in_a_run(family: str, tiny_model: Callable[[str], Path]) -> None:
    folder = tiny_model(family)
    found = inspect.inspect(str(folder), classes=3)
    assert [share.method for share in found.shares] == [cls().name for cls in READY]
    for share, cls in zip(found.shares, READY, strict=True):
        real = load.load(str(folder), head=HEAD, class_names=["a", "b", "c"], seed=0)
        if problems := cls().problems(real):
            assert share.problems == tuple(problems)
            continue
        plain = {name: p.numel() for name, p in real.model.named_parameters()}
        cls().inject(real, 0)
        assert {"adapter": share.adapter, "head": share.head, "total": share.total} == real.counts(), cls
        assert share.bytes == sum(tensor.nbytes for tensor in adapters.adapter_tensors(real).values())
        assert found.parameters == sum(plain.values())
    assert found.components["other"] == 0 and min(found.components[c] for c in inspect.COMPONENTS[:4]) > 0


def test_types_of_the_bridge_count_as_in_a_run(tiny_model: Callable[[str], Path]) -> None:
    found = inspect.inspect(str(tiny_model("bert")), ["peft"], ['type=["LOHA", "VERA"]'])
    for share, kind in zip(found.shares, ("LOHA", "VERA"), strict=True):
        real = load.load(str(tiny_model("bert")), head=HEAD, class_names=["a", "b"], seed=0)
        Peft(type=kind).inject(real, 0)
        assert {"adapter": share.adapter, "head": share.head, "total": share.total} == real.counts()
    with pytest.raises(InputError, match="no such type .* did you mean"):
        inspect.inspect(str(tiny_model("bert")), ["peft"], ["type=BOFFT"])


def test_components_of_bert_base_by_hand(bert_base: Path) -> None:
    found = inspect.inspect(str(bert_base), ["lora"])
    width, inner, layers = 768, 3072, 12
    assert found.components == {
        "embeddings": (30_522 + 512 + 2) * width,
        "attention": layers * 4 * (width * width + width),
        "feed-forward": layers * (2 * width * inner + width + inner),
        "norms": (2 * layers + 1) * 2 * width,
        "pooler": width * width + width,
        "head": 2 * width + 2,
        "other": 0,
    }
    lora = found.shares[0].as_dict()
    assert lora["trained"] == 296_450 and lora["bytes"] == 4 * 296_450
    assert lora["reduction"] == pytest.approx(109_778_690 / 296_450)


def test_a_pooler_that_the_weights_lack_counts_with_the_head(
    tmp_path: Path, tiny_model: Callable[[str], Path], tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    config = AutoConfig.from_pretrained(tiny_model("bert"))
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    found = inspect.inspect(str(tmp_path), ["lora"])
    assert found.newly_initialized == ("bert.pooler.dense.bias", "bert.pooler.dense.weight")
    assert found.shares[0].head == 32 * 32 + 32 + 32 * 2 + 2
    (tmp_path / "model.safetensors").unlink()
    blind = inspect.inspect(str(tmp_path), ["lora"])
    assert blind.newly_initialized is None and blind.shares[0].head == 32 * 2 + 2
    assert blind.components == found.components


def test_a_hub_name_needs_its_config_alone(
    bert_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No weights in the hub's cache, no network."""
    snapshot = tmp_path / "models--some--encoder" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    shutil.copy(bert_base / "config.json", snapshot)
    (tmp_path / "models--some--encoder" / "refs").mkdir()
    (tmp_path / "models--some--encoder" / "refs" / "main").write_text("0123abcd")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))  # read from the environment at import
    code, out, err = run(["some/encoder", "--method", "lora", "-s", "rank=[4, 8]", "--json"], capsys)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["fresh_in_encoder"] is None and found["parameters"] == 109_483_778
    assert found["attention_share"] == pytest.approx(0.2589, abs=1e-4)
    assert [(one["variant"], one["adapter"]) for one in found["methods"]] == [
        ("lora rank=4", 147_456),
        ("lora rank=8", 294_912),
    ]


def test_the_table_shows_every_count(bert_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run([str(bert_base), "--method", "lora", "-s", "rank=16", "--task-classes", "3"], capsys)
    assert (code, err) == (0, "")
    for shown in (
        "12 layers, hidden size 768",
        "28,348,416",
        "25.9%",
        "589,824",
        "2,307",
        "592,131",
        "0.5379 %",
        "2.37 MB",
    ):
        assert shown in out
    assert "no weights on this machine" in out


def test_what_does_not_fit_is_said_and_the_rest_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    AutoConfig.for_model("modernbert", num_hidden_layers=2).save_pretrained(tmp_path)
    code, out, _ = run([str(tmp_path)], capsys)
    assert code == 0 and "\nlora " in out and "\nbitfit: " in out
    code, out, err = run([str(tmp_path), "--method", "bitfit"], capsys)
    assert code == 2 and out == "" and len(err.splitlines()) == 1 and "bias" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "lorra"], "--method lorra: unknown method; did you mean 'lora'?"),
        (["--method", "lora", "-s", "rnk=3"], "-s rnk=3: unknown key; did you mean 'rank'?"),
        (["--method", "lora", "-s", "rank=x"], '-s rank=x: expected a whole number, got "x"'),
        (["--method", "lora", "-s", "rank"], "-s rank: expected key=value, e.g. rank=16"),
        (["--method", "lora", "-s", "name=head"], "-s name=head: expected key=value"),
        (["--method", "lora", "-s", "rank=999"], "method.lora: rank = 999: larger than the layers"),
        (["--method", "lora", "--method", "lora"], "method.lora: lora occurs twice"),
        (["-s", "rank=3"], "-s rank=3: name the method it belongs to, with --method"),
        (["--task-classes", "1"], "--task-classes 1: expected at least 2"),
    ],
    ids=repr,
)
def test_wrong_settings_are_one_line(
    arguments: list[str], said: str, bert_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run([str(bert_base), *arguments], capsys)
    assert code == 2 and out == "" and said in err and len(err.splitlines()) == 1


def test_wrong_models_are_one_line(tmp_path: Path) -> None:
    for name, said in ((str(tmp_path), "no config.json"), (str(tmp_path / "absent"), "no such folder")):
        with pytest.raises(InputError, match=said):
            inspect.inspect(name)
    AutoConfig.for_model("gpt2").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="family 'gpt2' is not supported"):
        inspect.inspect(str(tmp_path))
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace("gpt2", "bert"))
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="its weights cannot be read"):
        inspect.inspect(str(tmp_path))
