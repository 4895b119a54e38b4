"""Export a run as an adapter file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import ModuleType

from encoderlab.adapters import folder as adapters
from encoderlab.adapters import model_card, tensor_names
from encoderlab.core import files
from encoderlab.core.errors import InputError
from encoderlab.engine.tuned_model import Loaded
from encoderlab.inference.export_check import Answer
from encoderlab.methods.low_rank import FixedRank
from encoderlab.methods.qlora import Qlora
from encoderlab.model import encoder as model_encoder
from encoderlab.model import load as model_load
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import RunRecord


def write_adapter(format: ModuleType, run: Path, loaded: Loaded, folder: Path, force: bool) -> Answer:
    """Write the run's adapter in the format of another library.

    Args:
        format: `adapters.peft` or `adapters.adapterhub`.
        run: the folder of the run.
        loaded: the run's model in fp32.
        folder: where the files go.
        force: whether a base other than the run's is allowed.

    Returns:
        A function from inputs to logits, which runs the adapter as read back from the folder.

    Raises:
        InputError: the format cannot hold the method.
    """
    source = RunFolder(run).adapter
    base = {"head": loaded.task.head, "class_names": loaded.class_names}
    encoder = model_load.load(loaded.encoder.name, **base, seed=0)
    method, tensors = adapters.read(encoder, source, force=force)
    if reason := format.refusal(encoder, method):
        foldable = not tensors.keys() - _own_names(encoder) or method.merges
        raise InputError(
            f"--to {format.__name__.rpartition('.')[2]}: {reason}; use --to {'merged' if foldable else 'onnx'}"
        )
    format.write(encoder, method, tensors, folder)
    files.write_text(
        folder / "README.md",
        model_card.card(files.read_json(source / adapters.OURS), RunRecord.read(run)),
    )
    back, read = format.read(encoder, folder)
    if isinstance(method, Qlora):  # the format says LoRA; the run's logits are those over a base in four bits
        assert isinstance(back, FixedRank)
        same = {f.name: getattr(back, f.name) for f in fields(FixedRank) if f.name != "name"}
        back = Qlora(**same, double_quantization=method.double_quantization)
    back.inject(encoder, 1)  # what this draws is filled in
    adapters.fill(encoder, back, read, str(folder))
    model = encoder.model.eval()
    return lambda inputs: model(**inputs).logits.numpy()


def _own_names(encoder: model_encoder.EncoderModel) -> set[str]:
    return {tensor_names.our_name(encoder, name) for name, _ in encoder.model.named_parameters()}
