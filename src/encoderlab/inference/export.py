"""Export a finished run in the format of another library: `encoderlab export`.

    merged       a plain transformers folder, the method folded into the weights
    onnx         model.onnx, of any batch size and length, the method inside; with the tokenizer
    peft         the adapter folder of the `peft` library
    adapterhub   the adapter folder of the `adapters` library

encoderlab writes the export to a temporary folder, loads it again and runs it on rows of the run (`export_check`). If
its logits are the run's, encoderlab renames the folder. So the folder is complete and correct, or it does not exist.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from encoderlab.adapters import adapterhub, peft
from encoderlab.core import files
from encoderlab.core.errors import EncoderlabError, InputError
from encoderlab.core.suggestions import did_you_mean
from encoderlab.engine.tuned_model import Loaded
from encoderlab.inference.export_adapter import write_adapter
from encoderlab.inference.export_check import probe, rounding
from encoderlab.inference.export_merged import merged_model
from encoderlab.inference.export_onnx import write_onnx
from encoderlab.inference.load_run import load_run
from encoderlab.methods.base import Method
from encoderlab.methods.qlora import Qlora
from encoderlab.methods.registry import METHODS
from encoderlab.model import heads
from encoderlab.model.checkpoint_config import quiet
from encoderlab.training.run_folder import RunFolder

FORMATS = ("merged", "peft", "adapterhub", "onnx")
TOLERANCE = {"merged": 1e-5, "peft": 1e-5, "adapterhub": 1e-5, "onnx": 1e-4}  # as a share: `Probe.allowed`
STORED = 1e-3  # the same from the predictions that the run stored: another device, rows packed otherwise
ROUNDINGS = 4  # times what the run's precision does to the rows by itself, where that is not fp32


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An export: where it lies, what it was checked on, and how you load it.

    Attributes:
        folder: where it lies.
        format: one of `FORMATS`.
        bytes: the size of all its files.
        rows: how many rows it was checked on.
        checked_on: what these rows are, in words.
        difference: the largest difference of a logit from the run's model, computed again in fp32.
        load: one line of Python.
        stored_difference: the largest difference from the predictions that the run stored; None: these rows have none.
        stored_precision: the precision of the stored predictions.
        stored_allowed: the difference that this precision explains; None: another base was forced, so nothing is
            compared.
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
        """Describe in words what the exported model was compared with."""
        lines = [
            f"{self.rows} {self.checked_on}, logits differ by at most {self.difference:.1e} from the run's model "
            "computed again in fp32"
        ]
        if self.stored_difference is None:
            return [*lines, "not compared with stored predictions: the run has none for these rows"]
        held = (
            "not compared, because --force was used"
            if self.stored_allowed is None
            else f"{self.stored_precision}, allowed {self.stored_allowed:.1e}"
        )
        return [*lines, f"by at most {self.stored_difference:.1e} from the predictions that the run stored ({held})"]

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name, as `--json` prints them."""
        return asdict(self)


def export(run: Path, to: str, out: Path | None = None, *, force: bool = False, base: str | None = None) -> Exported:
    """Write the model of a run in another format, load it again and compare its logits.

    Args:
        run: the folder of a finished run.
        to: one of `FORMATS`.
        out: a new or empty folder; None: RUN/FORMAT.
        force: as in `load_run`.
        base: as in `load_run`.

    Raises:
        InputError: the format is unknown, the folder is in use, the run cannot be loaded, or the format cannot hold
            its method.
        EncoderlabError: the exported model gives other logits than the run's model, or than the run stored. encoderlab
            removes the export.
    """
    if to not in FORMATS:
        raise InputError(f"--to {to}: unknown format; {did_you_mean(to, FORMATS, 'known formats: ')}")
    target = run / to if out is None else out
    if (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise InputError(f"{target}: already exists; expected a new or an empty folder; choose one with --out")
    loaded = load_run(run, device="cpu", precision="fp32", force=force, base=base)
    config = RunFolder(run).read_config()
    method = files.build(METHODS, "name", config["method"])
    loaded.model.eval()
    with _whole(target) as folder, torch.no_grad(), quiet():
        rows = probe(run, loaded)
        if rows.spread is not None and rows.step > STORED * rows.spread:
            raise InputError(
                f"{target}: not written: the exported model predicts in float32, whose precision near "
                f"{rows.largest:.3g} is {rows.step:.2g}: too coarse for these labels; subtract a constant from the "
                "labels, or use `encoderlab predict`"
            )
        match to:
            case "merged":
                answer = merged_model(loaded, method, folder)
            case "onnx":
                answer = write_onnx(loaded, rows.batches[-1][0], folder)
            case "peft":
                answer = write_adapter(peft, run, loaded, folder, force)
            case _:
                answer = write_adapter(adapterhub, run, loaded, folder, force)
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
                    "the exported model is not the one that was scored; run the study again"
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
    """Make a folder beside `target`. It takes the place of `target` at the end, and is removed after an error."""
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


def _how_to_load(to: str, loaded: Loaded, method: Method, target: Path) -> str:
    """Return one line of Python that loads the export, with a remark where the line is not the whole truth."""
    auto = loaded.task.head
    base = f'{auto}.from_pretrained("{loaded.encoder.name}"{heads.arguments(auto, loaded.class_names)})'
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
