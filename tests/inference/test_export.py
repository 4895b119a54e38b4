"""`encoderlab export`: what others load gives the run's logits, and what cannot be right is not written."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from encoderlab.adapters import folder as adapters
from encoderlab.cli import app
from encoderlab.core import files
from encoderlab.core.errors import EncoderlabError, InputError
from encoderlab.core.hashing import as_json
from encoderlab.data.rows import Rows
from encoderlab.engine import tuned_model
from encoderlab.inference import export, export_check, export_merged, load_run
from encoderlab.methods.adalora import AdaLora
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.bitfit import BitFit
from encoderlab.methods.dora import Dora
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.layernorm import LayerNorm
from encoderlab.methods.lora import Lora
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.methods.qlora import Qlora
from encoderlab.model import load
from encoderlab.model.families import FAMILIES
from encoderlab.tasks.classification import Classification

TASK = Classification(kind="classification", text="text", label="label")
CLASSES = ["no", "maybe", "yes"]
TEXTS = ["good", "the plot was not very good and the acting bad", "a film", "b" * 20, "not good, not bad", "good " * 40]

needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))), reason="needs the extra `onnx`"
)

MakeRun = Callable[[str, Method], Path]


@pytest.fixture
def make_run(tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """A run's folder as a study leaves it, of an adapter that was moved far from its start but not trained."""
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "cache"))

    def make(family: str, method: Method) -> Path:
        model = str(tiny_model(family))
        encoder = load.load(model, head=TASK.head, class_names=CLASSES, seed=0)
        rows = Rows({"text": TEXTS}, "rows", np.arange(len(TEXTS)))
        tokenized = TASK.tokenize(rows, encoder.tokenizer, 32, CLASSES, files.cache_folder() / "tokens")
        method.inject(encoder, 0)
        generator = torch.Generator().manual_seed(0)
        for _, parameter in encoder.trainable():
            parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
        folder = tmp_path / "runs" / f"{family}-{method.name}"
        plain = asdict(replace(method, learning_rate=None))
        config = {
            "model": {"name": model, "fingerprint": encoder.fingerprint},
            "task": asdict(TASK),
            "class_names": CLASSES,
            "data": {"test": {"fingerprint": tokenized.fingerprint}},
            "train": {"max_length": 32, "token_budget": 512},
            "precision": "float32",
            "method": plain,
            "seed": 0,
        }
        files.write_json(folder / "config.json", as_json(config))
        name = {"id": folder.name, "kind": "run", "method": method.name, "variant": method.name}
        result = {**name, "status": "done", "reason": None, "splits": {}, "config": as_json(config)}
        files.write_json(folder / "result.json", result)
        about = {"task": asdict(TASK), "class_names": CLASSES, "max_length": 32, "seed": 0, "head": TASK.head}
        adapters.save(encoder, method, adapters.adapter_tensors(encoder), folder / "adapter", about)
        return folder

    return make


def wanted_logits(run: Path) -> torch.Tensor:
    """What the run itself answers, row by row."""
    loaded = load_run.load_run(run, device="cpu", precision="fp32")
    rows = Rows({"text": TEXTS}, "rows", np.arange(len(TEXTS)))
    return torch.tensor(tuned_model.logits(loaded, TASK.tokenize(rows, loaded.tokenizer, 32, CLASSES)))


def plain_logits(folder: Path) -> torch.Tensor:
    """What transformers alone answers from a folder: padded rows of unlike lengths, cut as the tokenizer says."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 32
    with torch.no_grad():
        return model(**tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")).logits


FOLDED = [
    *((family, Lora(rslora=True, target=("key", "ffn_in"))) for family in FAMILIES),
    *((family, method) for family in ("bert", "distilbert") for method in (Full(), BitFit(), LayerNorm())),
    *((family, Ia3()) for family in ("roberta", "modernbert")),
    ("deberta-v2", Head()),
    *(("bert", method) for method in (Dora(), AdaLora(), Peft(type="BOFT"))),
    pytest.param(
        *("roberta", Qlora()), marks=pytest.mark.skipif(not find_spec("bitsandbytes"), reason="needs the extra `quant`")
    ),
]


@pytest.mark.parametrize(("family", "method"), FOLDED, ids=lambda case: getattr(case, "name", case))
def test_merged_is_a_plain_model_with_our_logits(
    family: str, method: Method, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(family, method)
    done = export.export(run, "merged", tmp_path / "plain")
    assert done.checked_on == "rows of test" and done.rows == len(TEXTS) and done.difference <= 1e-5
    logits = plain_logits(tmp_path / "plain")
    torch.testing.assert_close(logits, wanted_logits(run), rtol=0, atol=1e-5)
    assert logits.std() > 0.01
    config = (tmp_path / "plain" / "config.json").read_text()
    assert json.loads(config)["id2label"] == {"0": "no", "1": "maybe", "2": "yes"}
    assert "encoderlab" not in config and str(tmp_path) not in config
    assert {path.suffix for path in (tmp_path / "plain").iterdir()} == {".json", ".safetensors"}


@needs_onnx
@pytest.mark.parametrize(
    ("family", "method"),
    [
        ("bert", Lora()),
        ("roberta", Prefix(length=3)),
        ("distilbert", Adapter(placement="houlsby")),
        pytest.param("modernbert", Prompt(length=3), marks=pytest.mark.slow),
        *(pytest.param(family, Prefix(length=3), marks=pytest.mark.slow) for family in FAMILIES),
        *(pytest.param(family, Lora(), marks=pytest.mark.slow) for family in FAMILIES if family != "bert"),
    ],
    ids=lambda case: getattr(case, "name", case),
)
def test_onnx_takes_any_batch_and_length(family: str, method: Method, make_run: MakeRun, tmp_path: Path) -> None:
    import onnxruntime

    run = make_run(family, method)
    done = export.export(run, "onnx", tmp_path / "out")
    assert done.difference <= 1e-5 and done.load.endswith('model.onnx")')
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    wanted = wanted_logits(run)
    assert wanted.std() > 0.01
    for chosen in ([0], [5], [1, 4], list(range(len(TEXTS)))):
        texts = [TEXTS[i] for i in chosen]
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
        given = {one.name: inputs[one.name] for one in session.get_inputs()}
        (logits,) = session.run(["logits"], given)
        torch.testing.assert_close(torch.tensor(logits), wanted[chosen], rtol=0, atol=1e-5)
    assert str(Path(export.__file__).parent).encode() not in (tmp_path / "out" / "model.onnx").read_bytes()


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_peft_alone_loads_what_we_export(family: str, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(family, Lora())
    done = export.export(run, "peft", tmp_path / "out")
    assert done.difference <= 1e-6
    loaded = load_run.load_run(run, device="cpu", precision="fp32")
    auto = transformers.AutoModelForSequenceClassification
    theirs = peft.PeftModel.from_pretrained(auto.from_pretrained(loaded.encoder.name, num_labels=3), tmp_path / "out")
    inputs = loaded.tokenizer(TEXTS, padding=True, truncation=True, max_length=32, return_tensors="pt")
    with torch.no_grad():
        logits = theirs.eval()(**inputs).logits
    torch.testing.assert_close(logits, wanted_logits(run), rtol=0, atol=1e-5)
    assert (tmp_path / "out" / "README.md").read_text().startswith("---")


@pytest.mark.skipif(not find_spec("bitsandbytes"), reason="needs the extra `quant`")
def test_an_adapter_over_four_bits_is_checked_over_four_bits(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("bert", Qlora(rank=2, alpha=3, rslora=True))
    for to in ("peft", "adapterhub"):
        done = export.export(run, to, tmp_path / to)
        assert done.difference <= 1e-5 and "four bits" in done.load


def test_adapterhub_is_read_back(make_run: MakeRun, tmp_path: Path) -> None:
    for method in (Adapter(), Lora()):
        done = export.export(make_run("bert", method), "adapterhub", tmp_path / method.name)
        assert done.difference <= 1e-6
        assert json.loads((tmp_path / method.name / "adapter_config.json").read_text())["model_type"] == "bert"


@pytest.mark.parametrize(
    ("to", "method", "said"),
    [
        ("merged", Prefix(), "cannot be folded into the weights of the plain model; use --to onnx"),
        ("merged", Prompt(), "cannot be folded into the weights of the plain model; use --to onnx"),
        ("merged", Adapter(), "cannot be folded into the weights of the plain model; use --to onnx"),
        ("peft", Prefix(), "PEFT counts a prefix among the positions.*; use --to onnx"),
        ("peft", Full(), "PEFT has no method like 'full'; use --to merged"),
        ("peft", LayerNorm(), 'written by the method name = "peft" with type = "LN_TUNING"; use --to merged'),
        ("adapterhub", BitFit(), "; use --to merged"),
        ("adapterhub", Prompt(), "; use --to onnx"),
        ("onx", Lora(), "--to onx: unknown format; did you mean 'onnx'"),
    ],
    ids=lambda case: getattr(case, "name", case),
)
def test_what_a_format_cannot_hold_is_refused(
    to: str, method: Method, said: str, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run("bert", method)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=said) as caught:
        export.export(run, to)
    assert len(caught.value.lines) == 1 and "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_answer_that_is_wrong_is_found_out_and_not_written(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, right = make_run("bert", Lora()), export_merged.merged_model

    def lying(change: Callable[[Any, dict[str, torch.Tensor]], Any]) -> Callable[..., Any]:
        def merged(*arguments: Any) -> Any:
            answer = right(*arguments)
            return lambda inputs: change(answer, inputs)

        return merged

    for change in (
        lambda answer, inputs: answer(inputs) + 1e-3,
        lambda answer, inputs: answer(inputs) * np.nan,
        lambda answer, inputs: answer({**inputs, "attention_mask": torch.ones_like(inputs["input_ids"])}),
        lambda answer, inputs: answer({**inputs, "input_ids": inputs["input_ids"].flip(1)}),
    ):
        monkeypatch.setattr(export, "merged_model", lying(change))
        with pytest.raises(EncoderlabError, match="not written: on 6 rows of test, its logits differ"):
            export.export(run, "merged", tmp_path / "deep" / "out")
        assert not list((tmp_path / "deep").iterdir())


def test_only_a_new_or_an_empty_folder_is_written(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("bert", Lora())
    used, empty, file = tmp_path / "used", tmp_path / "empty", tmp_path / "file"
    used.mkdir()
    empty.mkdir()
    file.write_text("mine")
    (used / "mine.txt").write_text("mine")
    (tmp_path / ".empty.part").mkdir()
    (tmp_path / ".empty.part" / "left").write_text("by an export that was killed")
    for target in (used, file):
        with pytest.raises(InputError, match="already exists"):
            export.export(run, "merged", target)
    export.export(run, "merged", empty)
    assert not (empty / "left").exists() and not (tmp_path / ".empty.part").exists()
    torch.testing.assert_close(plain_logits(empty), wanted_logits(run), rtol=0, atol=1e-5)
    assert [path.name for path in used.iterdir()] == ["mine.txt"]


def test_without_the_runs_rows_random_words_do(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("bert", Lora())
    shutil.rmtree(tmp_path / "cache")
    done = export.export(run, "merged")
    assert done.checked_on.startswith("rows of random words") and done.folder == str(run / "merged")
    lengths = {inputs["input_ids"].size(1) for inputs, _ in export_check.probe(run, load_run.load_run(run)).batches}
    assert len(lengths) > 1 and max(lengths) == 32 and done.rows == export_check.ROWS


def test_random_words_come_in_pairs_where_the_task_reads_pairs(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("bert", Lora())
    config = json.loads((run / "config.json").read_text())
    config["task"]["text"] = ["premise", "hypothesis"]
    config["data"]["test"]["fingerprint"] = "kept nowhere"
    files.write_json(run / "config.json", config)
    assert export.export(run, "merged").difference <= 1e-5
    batches = export_check.probe(run, load_run.load_run(run)).batches
    assert all(inputs["token_type_ids"].any() for inputs, _ in batches)


def test_onnx_without_its_extra(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("bert", Lora())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find_spec(name))
    with pytest.raises(InputError, match=r"needs onnxruntime; pip install 'encoderlab\[onnx\]'"):
        export.export(run, "onnx")


def test_the_command_says_how_to_load_and_force_takes_another_base(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            app.main(arguments)
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    run, rows = make_run("bert", Lora()), tmp_path / "rows.csv"
    code, out, err = command("export", str(run), "--to", "merged", "--out", str(tmp_path / "a"))
    assert (code, err) == (0, "")
    assert "checked: 6 rows of test" in out and f'from_pretrained("{tmp_path / "a"}")' in out
    assert out.splitlines()[-1] == str(tmp_path / "a")

    other = tmp_path / "other"
    model = transformers.AutoModel.from_pretrained(json.loads((run / "config.json").read_text())["model"]["name"])
    model.get_input_embeddings().weight.data.mul_(1.5)
    model.save_pretrained(other)
    load_run.load_run(run).tokenizer.save_pretrained(other)
    config = json.loads((run / "config.json").read_text())
    config["model"]["name"] = str(other)
    files.write_json(run / "config.json", config)
    rows.write_text("text,label\ngood,yes\nbad,no\n")
    for arguments in (
        ("predict", str(run), str(rows)),
        ("evaluate", str(run), str(rows), "--json"),
        ("export", str(run), "--to", "merged", "--out", str(tmp_path / "b"), "--json"),
    ):
        code, out, err = command(*arguments)
        assert code == 2 and out == "" and "--force" in err, arguments
        code, out, err = command(*arguments, "--force")
        assert code == 0 and out, (arguments, err)
    assert json.loads(out)["format"] == "merged" and json.loads(out)["difference"] < 1e-5
