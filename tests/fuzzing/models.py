"""Folders of models and adapters: a small valid one, with one of its files changed."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from numpy.random import Generator
from safetensors.torch import load_file, save
from torch import Tensor

from encoderlab import adapters
from encoderlab import backbone as backbones
from encoderlab.backbone import Backbone
from encoderlab.formats import adapterhub, peft
from encoderlab.methods import AdaLora, Adapter, Dora, Ia3, Lora, Method, Prefix, Prompt

from .mutate import chance, damaged, json_changed, pick
from .run import Target

FAMILIES = ("bert", "roberta", "deberta-v2")
CLASSES = ["no", "maybe", "yes"]
HEAD = "AutoModelForSequenceClassification"
PEFT: tuple[Method, ...] = (
    Lora(rank=2),
    AdaLora(rank=2),
    Dora(rank=2),
    Ia3(),
    Prefix(length=3, shift_positions=True),
    Prompt(length=3, placement="front"),
)
HUB: tuple[Method, ...] = (Adapter(bottleneck=4), Adapter(bottleneck=3, placement="houlsby"), Lora(rank=2))


@dataclass
class Models:
    """Encoders by family, and folders of valid adapters for them."""

    folders: dict[str, Path] = field(default_factory=dict)
    plain: dict[str, Backbone] = field(default_factory=dict)
    adapters: list[tuple[str, Path]] = field(default_factory=list)

    def fresh(self, family: str) -> Backbone:
        made = self.plain[family]
        return copy.deepcopy(made, {id(made.tokenizer): made.tokenizer})


def _models(folder: Path) -> Models:
    from conftest import build_tiny_model

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    made = Models()
    for family in FAMILIES:
        made.folders[family] = build_tiny_model(family, folder / family)
        made.plain[family] = backbones.load(str(made.folders[family]), head=HEAD, class_names=CLASSES, seed=0)
        made.plain[family].model.eval()
    return made


def _adapters(methods: Sequence[Method], write: Callable[..., Any]) -> Callable[[Path], Models]:
    def prepare(folder: Path) -> Models:
        made = _models(folder)
        for family in FAMILIES[:2]:
            for number, method in enumerate(methods):
                tuned = made.fresh(family)
                method.inject(tuned, 0)
                place = folder / f"{family}-{number}"
                place.mkdir()
                write(tuned, method, adapters.adapter_tensors(tuned), place)
                made.adapters.append((family, place))
        return made

    return prepare


VALUES = (float("nan"), float("inf"), -float("inf"), 1e38, 0.0)


def _tensors_changed(tensors: dict[str, Tensor], draw: Generator) -> dict[str, Tensor]:
    """One or two tensors lost, renamed, reshaped, of another type, or with a value that is no number."""
    tensors = dict(tensors)
    for _ in range(int(draw.integers(1, 3))):
        if not tensors:
            break
        name = pick(draw, sorted(tensors))
        tensor = tensors[name].clone()
        match int(draw.integers(9)):
            case 0:
                del tensors[name]
            case 1:
                del tensors[name]
                tensors[
                    pick(
                        draw,
                        [
                            "x",
                            "",
                            name.replace("0", "7"),
                            name + ".weight",
                            name.upper(),
                            "é\n",
                            "base_model.model." + name,
                        ],
                    )
                ] = tensor
            case 2:
                tensors[name] = tensor.flatten() if tensor.dim() > 1 else tensor[None]
            case 3:
                tensors[name] = tensor[:0].contiguous()
            case 4:
                tensors[name] = torch.cat([tensor, tensor])
            case 5:
                tensors[name] = tensor.to(
                    pick(draw, [torch.int8, torch.bool, torch.float16, torch.bfloat16, torch.int64, torch.float64])
                )
            case 6:
                tensors["more"] = torch.zeros(pick(draw, [(0,), (3,), (1, 1, 1, 1, 1)]))
            case 7:
                tensors[name] = tensor.movedim(0, -1).contiguous() if tensor.dim() else tensor[None]
            case 8:
                if tensor.is_floating_point() and tensor.numel():
                    tensor.view(-1)[int(draw.integers(tensor.numel()))] = pick(draw, VALUES)
                tensors[name] = tensor
    return tensors


def _header_changed(data: bytes, draw: Generator) -> bytes:
    """The header of a safetensors file with hostile sizes, offsets and types."""
    size = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    if chance(draw, 0.3):
        written = json_changed(header, draw)
    else:
        one = header[pick(draw, [name for name in header if name != "__metadata__"])]
        match int(draw.integers(5)):
            case 0:
                one["shape"] = pick(
                    draw, [[10**9, 10**9], [-1], [2**63], [], [0], [10**9], one["shape"][::-1], [1] * 1000, "a", None]
                )
            case 1:
                one["data_offsets"] = pick(
                    draw, [[0, 2**62], [4, 0], [0, 0], [-1, 4], None, [0], one["data_offsets"][::-1]]
                )
            case 2:
                one["dtype"] = pick(draw, ["F64", "I8", "BOOL", "BF16", "F8_E4M3", "x", None, 7, "C64", "F4"])
            case 3:
                one["shape"] = [*one["shape"], 1]
            case 4:
                header["__metadata__"] = pick(draw, [{"format": 3}, {"format": "np"}, None, [], {}])
        written = json.dumps(header).encode()
    length = pick(draw, [len(written)] * 6 + [0, 2**63, 10**9, len(written) - 1])
    return length.to_bytes(8, "little") + written + rest


def _change(path: Path, draw: Generator) -> None:
    """Damage one file of a folder as its kind can be damaged; seldom lose it, or put a folder there."""
    if chance(draw, 0.03):
        path.unlink()
        if chance(draw, 0.5):
            path.mkdir()
        return
    data = path.read_bytes()
    if chance(draw, 0.3):
        data = damaged(data, draw)
    elif path.suffix == ".json":
        data = json_changed(json.loads(data), draw)
    elif path.suffix == ".safetensors":
        data = save(_tensors_changed(load_file(path), draw)) if chance(draw, 0.6) else _header_changed(data, draw)
    elif path.suffix == ".bin":
        torch.save(_tensors_changed(torch.load(path, weights_only=True), draw), path)
        return
    path.write_bytes(data)


def _write_adapter(draw: Generator, folder: Path, made: Models) -> tuple[str, Path]:
    family, original = pick(draw, made.adapters)
    place = folder / "adapter"
    shutil.copytree(original, place)
    files = sorted(p for p in place.iterdir() if p.suffix in (".json", ".safetensors", ".bin"))
    for path in [pick(draw, files)] if chance(draw, 0.9) else files:
        _change(path, draw)
    if chance(draw, 0.05):  # its own weights again, as the other format
        bins = [path for path in files if path.suffix == ".bin" and path.is_file()]
        for path in bins:
            (place / "adapter.safetensors").write_bytes(path.read_bytes())
    return family, place


def check_adapter(case: tuple[str, Path], made: Models) -> list[str]:
    """Put the adapter into the encoder and ask it once: everything it put there is finite, and so is the answer."""
    family, folder = case
    model = made.fresh(family)
    adapters.load_adapter(model, folder)
    for name, tensor in model.model.named_parameters():
        assert tensor.isfinite().all(), f"{name} is not finite"
    with torch.no_grad():
        logits = model.model(**model.tokenizer(["a good film"], return_tensors="pt")).logits
    assert logits.shape == (1, len(CLASSES)), f"logits of shape {tuple(logits.shape)}"
    return []


def _write_config(draw: Generator, folder: Path, made: Models) -> Path:
    place = folder / "model"
    shutil.copytree(made.folders[pick(draw, FAMILIES)], place)
    path = place / "config.json"
    if chance(draw, 0.4):
        path.write_bytes(_plausible(json.loads(path.read_text()), draw))
    else:
        _change(path, draw)
    return place


def _write_tokenizer(draw: Generator, folder: Path, made: Models) -> Path:
    place = folder / "model"
    shutil.copytree(made.folders[pick(draw, FAMILIES)], place)
    _change(pick(draw, sorted(p for p in place.glob("*.json") if p.name != "config.json")), draw)
    return place


def _plausible(config: dict[str, Any], draw: Generator) -> bytes:
    """A config with a key that is set as real checkpoints, or a slip of the hand, set it."""
    numbers = [0, -1, 1, 3, 31, 2**31, 10**9, 1.5, None, "32", [32], True, float("nan")]
    sizes = [key for key, value in config.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    for _ in range(int(draw.integers(1, 3))):
        match int(draw.integers(4)):
            case 0:
                config[pick(draw, sizes)] = pick(draw, numbers)
            case 1:
                key = pick(
                    draw,
                    ["return_dict", "gradient_checkpointing", "is_decoder", "add_cross_attention", "output_attentions"],
                )
                config[pick(draw, [key, "output_hidden_states", "torchscript", "tie_word_embeddings", "use_cache"])] = (
                    pick(draw, [True, False, None, "a"])
                )
            case 2:
                config[
                    pick(draw, ["model_type", "architectures", "hidden_act", "position_embedding_type", "dtype"])
                ] = pick(
                    draw, [None, "", "bert", "gpt2", "t5", "relu", "x", [], ["BertModel"], "float16", "relative_key", 3]
                )
            case 3:
                key, value = pick(
                    draw,
                    [
                        ("id2label", {"0": "a"}),
                        ("id2label", {"a": 0}),
                        ("label2id", []),
                        ("num_labels", 10**9),
                        ("num_labels", -1),
                        ("quantization_config", {}),
                        ("quantization_config", {"quant_method": "x"}),
                        ("rope_scaling", {"type": "x"}),
                        ("auto_map", {"AutoModel": "x.Y"}),
                    ],
                )
                config[key] = value
    return json.dumps(config).encode()


def check_model(folder: Path, made: Models) -> list[str]:
    """Load the encoder under a head and ask it once."""
    backbones.read_config(str(folder))
    model = backbones.load(str(folder), head=HEAD, class_names=CLASSES, seed=0)
    model.model.eval()
    assert model.fingerprint and len(model.layers()) > 0, "an encoder without layers"
    with torch.no_grad():
        given = model.tokenizer(["a good film", "bad"], padding=True, return_tensors="pt")
        logits = model.model(**given).logits
    assert logits.shape == (2, len(CLASSES)), f"logits of shape {tuple(logits.shape)}"
    assert logits.isfinite().all(), "logits that are not finite"
    return []


def _peft_alone(backbone: Backbone, method: Method, tensors: dict[str, Tensor], folder: Path) -> None:
    peft.write(backbone, method, tensors, folder)


TARGETS = {
    "peft": Target(write=_write_adapter, read=check_adapter, named="adapter", prepare=_adapters(PEFT, _peft_alone)),
    "ours": Target(
        write=_write_adapter,
        read=check_adapter,
        named="adapter",
        prepare=_adapters(
            PEFT[:2] + HUB[:1], lambda made, method, tensors, to: adapters.save(made, method, tensors, to)
        ),
    ),
    "adapterhub": Target(
        write=_write_adapter, read=check_adapter, named="adapter", prepare=_adapters(HUB, adapterhub.write)
    ),
    "config": Target(write=_write_config, read=check_model, named="model", prepare=_models),
    "tokenizer": Target(write=_write_tokenizer, read=check_model, named="model", prepare=_models),
}
