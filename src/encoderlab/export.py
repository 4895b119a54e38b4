"""A finished run in the formats of others: `encoderlab export`.

    merged       a plain transformers folder, the method folded into the weights
    onnx         model.onnx, of any batch size and length, the method inside; with the tokenizer
    peft         the adapter folder of the `peft` library
    adapterhub   the adapter folder of the `adapters` library

An export is written beside its place, loaded again and run on rows of the run (`probe`). Its logits have to be the
run's: then the folder is renamed, so that what is there is whole and right, or nothing is.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn

from encoderlab import adapters, files, heads
from encoderlab import backbone as backbones
from encoderlab.config.values import near
from encoderlab.errors import EncoderlabError, InputError
from encoderlab.evaluate import Loaded, load_run
from encoderlab.formats import adapterhub, card, names, peft
from encoderlab.methods import METHODS, Method, Qlora
from encoderlab.methods.low_rank import FixedRank
from encoderlab.probe import Answer, probe, rounding

FORMATS = ("merged", "peft", "adapterhub", "onnx")
TOLERANCE = {"merged": 1e-5, "peft": 1e-5, "adapterhub": 1e-5, "onnx": 1e-4}  # as a share: `Probe.allowed`
STORED = 1e-3  # the same from the predictions that the run stored: another device, rows packed otherwise
ROUNDINGS = 4  # times what the run's precision does to the rows by itself, where that is not fp32
ONE_FILE = 1_500_000_000  # bytes; a larger ONNX model keeps its weights in a second file, as the format demands


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written where, what it was checked on, and how it is loaded.

    difference: the largest one of a logit from the run's model, computed again in fp32.
    stored_difference: from the predictions that the run stored; None where there are none of these rows.
    stored_precision, stored_allowed: what those were computed in, and the difference that it explains; None where
        nothing was held to them, because another base was forced.
    """

    folder: str
    format: str
    bytes: int
    rows: int
    checked_on: str
    difference: float
    load: str
    stored_difference: float | None = None
    stored_precision: str = "float32"
    stored_allowed: float | None = None

    def checks(self) -> list[str]:
        """What the model was held to, in words."""
        lines = [
            f"{self.rows} {self.checked_on}, logits differ by at most {self.difference:.1e} from the run's model "
            "computed again in fp32"
        ]
        if self.stored_difference is None:
            return [*lines, "not held to stored predictions: there are none of these rows"]
        held = (
            "another base was forced, so they are not held to each other"
            if self.stored_allowed is None
            else f"{self.stored_precision}, allowed {self.stored_allowed:.1e}"
        )
        return [*lines, f"by at most {self.stored_difference:.1e} from the predictions that the run stored ({held})"]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def export(run: Path, to: str, out: Path | None = None, *, force: bool = False, base: str | None = None) -> Exported:
    """Write the run's model to `out`, a new or empty folder; default: RUN/FORMAT. `force`, `base`: as in `load_run`.

    InputError for an unknown format, a folder that is in use, a run that cannot be loaded, and a method that the format
    cannot hold. EncoderlabError where the exported model gives other logits than the run's model does, or than the run
    stored: nothing is left then."""
    if to not in FORMATS:
        raise InputError(f"--to {to}: unknown format{near(to, FORMATS, label='known formats: ')}")
    target = run / to if out is None else out
    if (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise InputError(f"{target}: is there already; expected a new or an empty folder, name one with --out")
    loaded = load_run(run, device="cpu", precision="fp32", force=force, base=base)
    config = files.read_json(run / "config.json")
    method = files.build(METHODS, "name", config["method"])
    loaded.model.eval()
    with _whole(target) as folder, torch.no_grad(), backbones.quiet():
        rows = probe(run, loaded)
        if rows.spread is not None and rows.step > STORED * rows.spread:
            raise InputError(
                f"{target}: not written: the model's answers lie around {rows.largest:.3g}, where float32, in which an "
                f"exported model answers, has steps of {rows.step:.2g}, too coarse for these labels; train on labels "
                "from which a constant is subtracted, or use `encoderlab predict`, which adds it in float64"
            )
        match to:
            case "merged":
                answer = _merged(loaded, method, folder)
            case "onnx":
                answer = _onnx(loaded, rows.batches[-1][0], folder)
            case "peft":
                answer = _adapter(peft, run, loaded, folder, force)
            case _:
                answer = _adapter(adapterhub, run, loaded, folder, force)
        difference, stored = rows.differences(answer)
        if difference > rows.allowed(TOLERANCE[to]):
            raise EncoderlabError(
                f"{target}: not written: on {rows.rows} {rows.origin}, its logits differ from the run's by up to "
                f"{difference:.1e}"
            )
        allowed = None
        if stored is not None and not force:
            allowed = rows.allowed(STORED)
            if config["precision"] != "float32":
                allowed += ROUNDINGS * rounding(rows, load_run(run, device="cpu", base=base))
            if stored > allowed:
                raise EncoderlabError(
                    f"{target}: not written: on {rows.rows} {rows.origin}, its logits differ by up to {stored:.1e} "
                    f"from the predictions that the run stored ({config['precision']}, which explains {allowed:.1e}); "
                    "the model is not the one that was scored: run the study again"
                )
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Exported(
        folder=str(target),
        format=to,
        bytes=size,
        rows=rows.rows,
        checked_on=rows.origin,
        difference=difference,
        stored_difference=stored,
        stored_precision=config["precision"],
        stored_allowed=allowed,
        load=_how_to_load(to, loaded, method, target),
    )


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder beside `target`, which takes its place at the end if nothing went wrong, and vanishes otherwise."""
    target = Path(os.path.abspath(target))
    beside = target.with_name(f".{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)  # of an export that was killed
    try:
        beside.mkdir(parents=True)
        yield beside
        if target.is_dir():
            target.rmdir()  # empty, as was checked
        beside.rename(target)
    except SafetensorError as error:
        raise EncoderlabError(f"{target}: cannot be written ({error})") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _merged(loaded: Loaded, method: Method, folder: Path) -> Answer:
    tuned, task = loaded.backbone.model, loaded.task
    auto = getattr(transformers, task.head)
    with torch.device("meta"):
        plain = auto.from_config(_config(loaded), dtype=torch.float32)
    wanted, there = plain.state_dict(), tuned.state_dict()
    inserted = {name for name, _ in tuned.named_parameters()} - {name for name, _ in plain.named_parameters()}
    if wanted.keys() - there.keys() or (inserted and type(method).merge is Method.merge):
        raise InputError(
            f"--to merged: {method.name} computes something that no weights of the plain model do; use --to onnx, "
            "which keeps it inside the model"
        )
    plain.load_state_dict({name: there[name].clone() for name in wanted}, assign=True)
    plain.save_pretrained(folder)
    _save_tokenizer(loaded, folder)
    again = auto.from_pretrained(folder).eval()
    return lambda inputs: again(**inputs).logits.numpy()


def _config(loaded: Loaded) -> Any:
    """The model's config as plain transformers writes it, which does not name our attention."""
    config = copy.deepcopy(loaded.backbone.model.config)
    config._attn_implementation = "eager"
    config.problem_type = loaded.task.problem_type
    return config


def _save_tokenizer(loaded: Loaded, folder: Path) -> None:
    """With the run's length as its own, so that `truncation=True` cuts as the run did."""
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.model_max_length = loaded.max_length
    tokenizer.backend_tokenizer.no_truncation()  # what the last call left there
    tokenizer.backend_tokenizer.no_padding()
    if not loaded.backbone.has_types:  # the model has no room for what the tokenizer would make of a pair
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    tokenizer.save_pretrained(folder)


class _Logits(nn.Module):
    """The model as a function of tensors by position, which is what ONNX knows."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


def _onnx(loaded: Loaded, example: Mapping[str, Tensor], folder: Path) -> Answer:
    if missing := [name for name in ("onnx", "onnxruntime", "onnxscript") if not importlib.util.find_spec(name)]:
        raise InputError(f"--to onnx needs {', '.join(missing)}; pip install 'encoderlab[onnx]'")
    import onnxruntime

    inputs, model = list(example), loaded.backbone.model
    free = tuple({0: "batch", tensor.ndim - 1: "tokens"} for tensor in example.values())
    with warnings.catch_warnings(), _muted("torch.onnx"):
        warnings.simplefilter("ignore")  # of names that axes share, of torch's own deprecations: the rows decide
        try:
            program = torch.onnx.export(
                _Logits(model, inputs).eval(),
                tuple(example.values()),
                input_names=inputs,
                output_names=["logits"],
                dynamo=True,
                dynamic_shapes=(free,),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            said = str(error).strip().partition("\n")[0]
            raise InputError(f"--to onnx: torch cannot export this model ({said}); use --to merged") from None
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where in our sources each node comes from
    path = folder / "model.onnx"
    size = sum(parameter.nbytes for parameter in model.parameters())
    program.save(path, external_data=size > ONE_FILE)
    _config(loaded).save_pretrained(folder)
    _save_tokenizer(loaded, folder)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def answer(inputs: Mapping[str, Tensor]) -> np.ndarray:
        return np.asarray(session.run(["logits"], {name: tensor.numpy() for name, tensor in inputs.items()})[0])

    return answer


@contextmanager
def _muted(name: str) -> Iterator[None]:
    """Without the talk of a library's logger."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _adapter(format: ModuleType, run: Path, loaded: Loaded, folder: Path, force: bool) -> Answer:
    """The run's adapter in another library's folder, read back from there into a fresh model."""
    source = run / "adapter"
    base = {"head": loaded.task.head, "class_names": loaded.class_names}
    backbone = backbones.load(loaded.backbone.name, **base, seed=0)
    method, tensors = adapters.read(backbone, source, force=force)
    if reason := format.refusal(backbone, method):
        foldable = not tensors.keys() - _own_names(backbone) or type(method).merge is not Method.merge
        raise InputError(
            f"--to {format.__name__.rpartition('.')[2]}: {reason}; use --to {'merged' if foldable else 'onnx'}"
        )
    format.write(backbone, method, tensors, folder)
    files.write_text(
        folder / "README.md",
        card.card(files.read_json(source / adapters.OURS), files.read_json(run / "result.json")),
    )
    back, read = format.read(backbone, folder)
    if isinstance(method, Qlora):  # the format says LoRA; the run's logits are those over a base in four bits
        assert isinstance(back, FixedRank)
        same = {f.name: getattr(back, f.name) for f in fields(FixedRank) if f.name != "name"}
        back = Qlora(**same, double_quantization=method.double_quantization)
    back.inject(backbone, 1)  # what this draws is filled in
    adapters.fill(backbone, back, read, str(folder))
    model = backbone.model.eval()
    return lambda inputs: model(**inputs).logits.numpy()


def _own_names(backbone: backbones.Backbone) -> set[str]:
    return {names.our_name(backbone, name) for name, _ in backbone.model.named_parameters()}


def _how_to_load(to: str, loaded: Loaded, method: Method, target: Path) -> str:
    """One line of Python, and what it cannot say."""
    auto = loaded.task.head
    base = f'{auto}.from_pretrained("{loaded.backbone.name}"{heads.arguments(auto, loaded.class_names)})'
    bits = " (trained over a base in four bits; --to merged is exactly that model)" if isinstance(method, Qlora) else ""
    match to:
        case "merged":
            return f'{auto}.from_pretrained("{target}")'
        case "onnx":
            return f'onnxruntime.InferenceSession("{target / "model.onnx"}")'
        case "peft":
            return f'PeftModel.from_pretrained({base}, "{target}"){bits}'
        case _:
            return f'model = {base}; adapters.init(model); model.load_adapter("{target}", set_active=True){bits}'
