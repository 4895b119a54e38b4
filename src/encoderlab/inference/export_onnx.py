"""Export a run as an ONNX file."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoderlab.core.errors import InputError, first_line
from encoderlab.engine.tuned_model import Loaded
from encoderlab.inference.export_check import Answer
from encoderlab.inference.export_merged import config_of, save_tokenizer

ONE_FILE = 1_500_000_000  # bytes; a larger ONNX model keeps its weights in a second file, as the format demands


class _Logits(nn.Module):
    """The model as a function of tensors by position, which is what ONNX knows."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


def write_onnx(loaded: Loaded, example: Mapping[str, Tensor], folder: Path) -> Answer:
    """Write model.onnx, of any batch size and length, with config and tokenizer.

    Args:
        loaded: the run's model in fp32.
        example: inputs of the model by name, (batch, tokens) or (batch, choices, tokens).
        folder: where the files go.

    Returns:
        A function from inputs to logits, which runs the file in onnxruntime.

    Raises:
        InputError: a package of the extra `onnx` is missing, or torch cannot export the model.
    """
    if missing := [name for name in ("onnx", "onnxruntime", "onnxscript") if not importlib.util.find_spec(name)]:
        raise InputError(f"--to onnx needs {', '.join(missing)}; pip install 'encoderlab[onnx]'")
    import onnxruntime

    inputs, model = list(example), loaded.encoder.model
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
            raise InputError(
                f"--to onnx: torch cannot export this model ({first_line(error)}); use --to merged"
            ) from None
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where in our sources each node comes from
    path = folder / "model.onnx"
    size = sum(parameter.nbytes for parameter in model.parameters())
    program.save(path, external_data=size > ONE_FILE)
    config_of(loaded).save_pretrained(folder)
    save_tokenizer(loaded, folder)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def answer(inputs: Mapping[str, Tensor]) -> np.ndarray:
        return np.asarray(session.run(["logits"], {name: tensor.numpy() for name, tensor in inputs.items()})[0])

    return answer


@contextmanager
def _muted(name: str) -> Iterator[None]:
    """Silence a library's logger below errors inside the block."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
