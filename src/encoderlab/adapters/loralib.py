"""The .bin file of microsoft/LoRA: a pickled state dict of LoRA's matrices and the head, without a config.

roberta.encoder.layer.0.attention.self.query.lora_A      (rank, in)
roberta.encoder.layer.0.attention.self.query.lora_B      (out, rank)
classifier.dense.weight                                  the head
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from encoderlab.adapters import tensor_names
from encoderlab.core.errors import InputError
from encoderlab.methods.lora import Lora
from encoderlab.model.encoder import EncoderModel


def read(encoder: EncoderModel, path: Path, alpha: float = 16.0) -> tuple[Lora, dict[str, Tensor]]:
    """Read the method and the tensors under our names.

    Args:
        encoder: the encoder that the adapter is for, without a method.
        path: the .bin file.
        alpha: the scale of the change, which is not in the file; the GLUE scripts of microsoft/LoRA train with 16.

    Raises:
        InputError: the file contains other tensors than LoRA's matrices and a head.
    """
    stored = tensor_names.ours(encoder, tensor_names.load_tensors(path.parent, path.name))
    matrices = {name: tensor for name, tensor in stored.items() if name.endswith((".lora_A", ".lora_B"))}
    paths = [name.removesuffix(".lora_A") for name in matrices if name.endswith(".lora_A")]
    ranks = {len(matrices[f"{p}.lora_A"]) for p in paths} | {
        tensor.size(1) for name, tensor in matrices.items() if name.endswith(".lora_B")
    }
    strange = [name for name in stored if name not in matrices and not name.startswith(tensor_names.HEAD)]
    if not paths or strange:
        what = f"the tensor {min(strange)}" if strange else "no lora_A"
        raise InputError(f"{path}: {what}; expected LoRA's matrices and a head, as microsoft/LoRA saves them")
    if len(ranks) != 1:
        raise InputError(f"{path}: ranks {sorted(ranks)}; expected one rank (layers merged into one are not supported)")
    target, layers = tensor_names.targets(encoder, paths)
    method = Lora(rank=ranks.pop(), alpha=alpha, target=target, layers=layers)
    heads = {name: tensor for name, tensor in stored.items() if name not in matrices}
    return method, {f"{name}.weight": tensor for name, tensor in matrices.items()} | heads
