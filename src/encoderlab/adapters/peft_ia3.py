"""PEFT's configuration of (IA)3."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from encoderlab.adapters import tensor_names
from encoderlab.adapters.tensor_names import paths
from encoderlab.core.errors import InputError
from encoderlab.methods.base import Method
from encoderlab.methods.ia3 import INPUTS as IA3_INPUTS
from encoderlab.methods.ia3 import OUTPUTS as IA3_OUTPUTS
from encoderlab.methods.ia3 import Ia3
from encoderlab.model.encoder import EncoderModel


def ia3_fields(encoder: EncoderModel, inserted: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the fields of PEFT's config."""
    where = paths(inserted, ".ia3_l")
    on_inputs = [path for path in where if inserted[f"{path}.ia3_l"].size(0) == 1]
    return {"peft_type": "IA3", "target_modules": where, "feedforward_modules": on_inputs, "fan_in_fan_out": False}


def ia3_whole(encoder: EncoderModel, inserted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the vectors of PEFT. In a fused query-key-value layer they have ones for the query."""
    whole = {}
    for name, vector in inserted.items():
        out: int = encoder.base_model.get_submodule(name.removesuffix(".ia3_l")).out_features  # type: ignore[assignment]
        on_outputs = vector.size(1) == 1 and vector.size(0) > 1
        whole[name] = F.pad(vector, (0, 0, out - len(vector), 0), value=1.0) if on_outputs else vector
    return whole


def read_ia3(encoder: EncoderModel, inserted: Mapping[str, Tensor], origin: str) -> tuple[Method, dict[str, Tensor]]:
    """Return the method of a config of PEFT, and its tensors.

    Our method scales the outputs of key and value, and the inputs of ffn_out and attention_out. PEFT can scale either
    side of any module.

    Raises:
        InputError: vectors scale other sides or modules.
    """
    target, layers = tensor_names.targets(encoder, paths(inserted, ".ia3_l"))
    if encoder.family.fused:
        target = tuple(role for name in target for role in (("key", "value") if name == "query" else (name,)))
    every = encoder.layer_numbers("all")
    on_inputs = {path for role in IA3_INPUTS for path in encoder.linear_paths(role, every)}
    misplaced = [n for n, v in inserted.items() if (v.size(0) == 1) != (n.removesuffix(".ia3_l") in on_inputs)]
    if misplaced or not set(target) <= {*IA3_OUTPUTS, *IA3_INPUTS}:
        raise InputError(
            f"{origin}: its vectors are at {', '.join(target)}; encoderlab supports vectors on the outputs of "
            f"{' and '.join(IA3_OUTPUTS)} and on the inputs of {' and '.join(IA3_INPUTS)}"
        )
    tensors = {}
    for name, vector in inserted.items():
        start = 0 if vector.size(0) == 1 else encoder.outputs("key", len(vector)).start
        if not (vector[:start] == 1).all():
            raise InputError(f"{origin}: {name} scales the queries too, which the paper's (IA)3 does not")
        tensors[name] = vector[start:]
    return Ia3(target=target, layers=layers), tensors
