"""The adapters library's folders. The default tests hold the files to the library's names, as its version 1.3.0 writes
them; the slow one asks the library itself, in an environment of its own."""

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
from torch import Tensor

from encoderlab.adapters import adapterhub, adapterhub_format
from encoderlab.adapters import folder as adapters
from encoderlab.core.errors import InputError
from encoderlab.core.files import cache_folder
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.dora import Dora
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel

CLASSES = ["no", "maybe", "yes"]
Make = Callable[..., EncoderModel]

METHODS: list[Method] = [
    Adapter(bottleneck=6),
    Adapter(bottleneck=5, placement="houlsby", activation="swish", layers=(1,)),
    Adapter(bottleneck=4, placement="parallel", scale=3.0, activation="gelu"),
    Lora(rank=3, alpha=7, target=("query", "key", "value", "ffn_in", "ffn_out")),
    Lora(rank=2, alpha=5, rslora=True, layers="last"),
]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Make:
    def build(family: str | Path, method: Method | None = None, *, seed: int = 0) -> EncoderModel:
        head = "AutoModelForSequenceClassification"
        folder = family if isinstance(family, Path) else tiny_model(family)
        made = load.load(str(folder), head=head, class_names=CLASSES, seed=seed)
        made.model.eval()
        if method is not None:
            method.inject(made, seed)
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for _, parameter in made.trainable():
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
        return made

    return build


def logits(made: EncoderModel) -> Tensor:
    texts = ["a good film", "the plot was not very good and the acting bad"]
    with torch.no_grad():
        return made.model(**made.tokenizer(texts, padding=True, return_tensors="pt")).logits


def tensors_of(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "pytorch_adapter.bin", weights_only=True)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "deberta-v2"])
def test_what_we_write_we_read(family: str, method: Method, make: Make, tmp_path: Path) -> None:
    ours = make(family, method)
    adapterhub.write(ours, method, adapters.adapter_tensors(ours), tmp_path)
    again = make(family, seed=4)
    adapters.load_adapter(again, tmp_path)
    torch.testing.assert_close(logits(again), logits(ours), rtol=0, atol=1e-6)


def test_names_are_the_library_s(make: Make, tmp_path: Path) -> None:
    def names(family: str, method: Method) -> set[str]:
        ours = make(family, method)
        adapterhub.write(ours, method, adapters.adapter_tensors(ours), tmp_path, name="n")
        return {name.replace(".1.", ".0.").replace("down.0", "down.0") for name in tensors_of(tmp_path)}

    layer = "bert.encoder.layer.0"
    down_up = {"adapter_down.0.weight", "adapter_down.0.bias", "adapter_up.weight", "adapter_up.bias"}
    assert names("bert", Adapter()) == {f"{layer}.output.adapters.n.{end}" for end in down_up}
    places = ("output", "attention.output")
    houlsby = {f"{layer}.{place}.adapters.n.{end}" for place in places for end in down_up}
    assert names("bert", Adapter(placement="houlsby")) == houlsby
    assert names("bert", Lora()) == {
        f"{layer}.attention.self.{role}.loras.n.lora_{k}" for role in ("query", "value") for k in "AB"
    }
    layer = "distilbert.transformer.layer.0"
    places = ("output_adapters", "attention_adapters")
    houlsby = {f"{layer}.{place}.adapters.n.{end}" for place in places for end in down_up}
    assert names("distilbert", Adapter(placement="houlsby")) == houlsby
    head = torch.load(tmp_path / "pytorch_model_head.bin", weights_only=True)
    assert set(head) == {f"{m}.{k}" for m in ("classifier", "pre_classifier") for k in ("weight", "bias")}
    said = json.loads((tmp_path / "adapter_config.json").read_text())
    assert said["model_name"] == "distilbert" and said["config"]["leave_out"] == []
    for width in (1, 5, 7, 31, 50):  # the library's own arithmetic gives the width back
        factor = adapterhub_format.settings(make("bert"), Adapter(bottleneck=width), [])["reduction_factor"]
        assert int(32 // factor) == width  # type: ignore[operator]


def rewrite(folder: Path, **keys: Any) -> None:
    path = folder / "adapter_config.json"
    said = json.loads(path.read_text())
    top = {key: keys.pop(key) for key in ("version", "model_type") if key in keys}
    path.write_text(json.dumps({**said, **top, "config": {**said["config"], **keys}}))


def test_safetensors_and_a_bare_encoder_s_names_are_read(make: Make, tmp_path: Path) -> None:
    ours = make("bert", Adapter(bottleneck=6))
    adapterhub.write(ours, Adapter(bottleneck=6), adapters.adapter_tensors(ours), tmp_path)
    save_file({n.removeprefix("bert."): t for n, t in tensors_of(tmp_path).items()}, tmp_path / "adapter.safetensors")
    (tmp_path / "pytorch_adapter.bin").unlink()
    again = make("bert", seed=4)
    adapters.load_adapter(again, tmp_path)
    torch.testing.assert_close(logits(again), logits(ours), rtol=0, atol=1e-6)


def test_the_scale_of_a_sequential_adapter_goes_into_its_weights(make: Make, tmp_path: Path) -> None:
    ours = make("bert", Adapter(bottleneck=6))
    adapterhub.write(ours, Adapter(bottleneck=6), adapters.adapter_tensors(ours), tmp_path)
    rewrite(tmp_path, scaling=2.0)
    again = make("bert", seed=4)
    adapters.load_adapter(again, tmp_path)
    with torch.no_grad():
        for name, parameter in ours.model.named_parameters():
            if ".adapter.up." in name:
                parameter.mul_(2)
    torch.testing.assert_close(logits(again), logits(ours), rtol=0, atol=1e-6)


def test_lora_of_an_old_version_has_scale_one(make: Make, tmp_path: Path) -> None:
    ours = make("bert", Lora(rank=2, alpha=9))
    adapterhub.write(ours, Lora(rank=2, alpha=9), adapters.adapter_tensors(ours), tmp_path)
    for version, alpha in (("adapters.1.0.1", 2.0), ("adapters.1.1.0", 9.0), ("3.2.1", 9.0)):
        rewrite(tmp_path, version=version)
        method, _ = adapterhub.read(make("bert"), tmp_path)
        assert isinstance(method, Lora) and method.alpha == alpha, version


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ln_before": True}, "ln_before = True"),
        ({"phm_layer": True}, "phm_layer = True"),
        ({"inv_adapter": "nice"}, "inv_adapter = 'nice'"),
        ({"residual_before_ln": "post_add"}, "residual_before_ln"),
        ({"mh_adapter": True}, r"match no placement of encoderlab \(pfeiffer, houlsby, parallel\)"),
        ({"non_linearity": "leakyrelu"}, "leakyrelu"),
        ({"scaling": "learned"}, "scaling = 'learned'"),
        ({"architecture": "prefix_tuning"}, "'prefix_tuning' of the adapters library"),
        ({"model_type": "roberta"}, "family 'roberta'"),
        ({"architecture": "lora", "composition_mode": "scale"}, "composition_mode = 'scale'"),
    ],
    ids=str,
)
def test_what_we_do_not_support_is_named_in_one_line(
    keys: dict[str, Any], said: str, make: Make, tmp_path: Path
) -> None:
    ours = make("bert", Adapter())
    adapterhub.write(ours, Adapter(), adapters.adapter_tensors(ours), tmp_path)
    rewrite(tmp_path, **keys)
    with pytest.raises(InputError, match=said) as caught:
        adapters.load_adapter(make("bert"), tmp_path)
    assert "\n" not in str(caught.value)


def test_what_the_library_has_no_place_for_is_refused(make: Make, tmp_path: Path) -> None:
    refused = {"bert": [Ia3(), Dora(), Lora(target=("attention_out",))], "albert": [Adapter()], "modernbert": [Lora()]}
    for family, methods in refused.items():
        for method in methods:
            ours = make(family, method)
            with pytest.raises(InputError, match="the adapters library"):
                adapterhub.write(ours, method, adapters.adapter_tensors(ours), tmp_path)
            assert not list(tmp_path.iterdir())


LIBRARY = """
import json, sys
import torch, transformers, adapters
from safetensors.torch import load_file, save_file

transformers.logging.set_verbosity_error()
for job in json.load(open(sys.argv[1])):
    torch.manual_seed(job["seed"])
    make = transformers.AutoModelForSequenceClassification
    model = make.from_pretrained(job["base"], num_labels=3, attn_implementation="eager").eval()
    adapters.init(model)
    if job["config"] is None:
        name = model.load_adapter(job["folder"])
    else:
        name = "theirs"
        model.add_adapter(name, config=job["config"])
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if f".{name}." in key or key.startswith(("classifier", "pre_classifier", "pooler")):
                    parameter.add_(torch.randn(parameter.shape), alpha=0.2)
        model.save_adapter(job["folder"], name)
    model.set_active_adapters(name)
    with torch.no_grad():
        out = model(**load_file(job["inputs"]), output_hidden_states=True)
    save_file({"logits": out.logits, "hidden": out.hidden_states[-1].contiguous()}, job["out"])
"""


@pytest.fixture(scope="module")
def library() -> Path:
    """The python of an environment with adapters 1.3.0, kept in the cache folder."""
    folder = cache_folder() / "adapters-1.3.0"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        constraints = (Path(__file__).resolve().parents[2] / "constraints.txt").read_text().splitlines()
        torch_line = next(line for line in constraints if line.startswith("torch=="))
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "adapters==1.3.0", torch_line, "setuptools<81"]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"adapters 1.3.0 cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
        (folder / "ready").touch()
    return python


@pytest.mark.slow
def test_the_library_itself_reads_our_folders_and_we_read_its(library: Path, make: Make, tmp_path: Path) -> None:
    bases: list[str | Path] = ["bert", "roberta", "distilbert", "electra", "deberta-v2", tmp_path / "mlm"]
    made = load.load(make("bert").name, head="AutoModelForMaskedLM", class_names=[], seed=0)
    made.model.save_pretrained(tmp_path / "mlm")  # a checkpoint without a pooler
    made.tokenizer.save_pretrained(tmp_path / "mlm")
    theirs = ["seq_bn[reduction_factor=4]", "double_seq_bn[reduction_factor=8]", "par_bn[reduction_factor=4]"]
    theirs += [
        "seq_bn[leave_out=[0],scaling=2.0]",
        "lora[r=4,alpha=6]",
        "lora[r=2,intermediate_lora=True,leave_out=[1]]",
    ]
    theirs += ["lora[r=3,alpha=9,output_lora=True,attn_matrices=['k']]"]
    jobs: list[dict[str, Any]] = []
    for base in bases:
        family = getattr(base, "name", base)
        plain = make(base)
        inputs = plain.tokenizer(["a good film", "the plot was not very good"], padding=True, return_tensors="pt")
        if family == "distilbert":
            inputs.pop("token_type_ids", None)
        save_file(dict(inputs), tmp_path / f"{family}.inputs")
        common = {"base": plain.name, "inputs": str(tmp_path / f"{family}.inputs")}
        for what in (*METHODS, *(theirs if family != "mlm" else ())):  # the library saves no fresh pooler
            folder = tmp_path / str(len(jobs))
            theirs_to_write = what if isinstance(what, str) else None
            jobs.append(common | {"config": theirs_to_write, "folder": str(folder), "seed": len(jobs)})
            jobs[-1]["out"] = f"{folder}.out"
            if isinstance(what, Method):
                tuned = make(base, what)
                adapterhub.write(tuned, what, adapters.adapter_tensors(tuned), folder)
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    (tmp_path / "library.py").write_text(LIBRARY)
    done = subprocess.run([library, tmp_path / "library.py", tmp_path / "jobs.json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for job in jobs:
        told = load_file(job["out"])
        ours = make(Path(job["base"]), seed=77)
        adapters.load_adapter(ours, job["folder"])
        with torch.no_grad():
            out = ours.model(**load_file(job["inputs"]), output_hidden_states=True)
            untuned = make(Path(job["base"])).model(**load_file(job["inputs"]), output_hidden_states=True)
        assert not torch.allclose(told["hidden"], untuned.hidden_states[-1], atol=1e-2), job
        for name, tensor in (("hidden", out.hidden_states[-1]), ("logits", out.logits)):
            torch.testing.assert_close(told[name], tensor, rtol=0, atol=1e-5, msg=f"{name} of {job}")
