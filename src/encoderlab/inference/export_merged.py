"""Export a run as a transformers model with its method merged."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import transformers

from encoderlab.core.errors import InputError
from encoderlab.engine.tuned_model import Loaded
from encoderlab.inference.export_check import Answer
from encoderlab.methods.base import Method


def merged_model(loaded: Loaded, method: Method, folder: Path) -> Answer:
    """Write a plain transformers folder, with the method folded into the weights.

    Args:
        loaded: the run's model in fp32, its method merged where it can be.
        method: the method of the run.
        folder: where the model and its tokenizer go.

    Returns:
        A function from inputs to logits, which runs the model as loaded from the folder.

    Raises:
        InputError: the method cannot be folded into the weights of the plain model.
    """
    tuned, task = loaded.encoder.model, loaded.task
    auto = getattr(transformers, task.head)
    with torch.device("meta"):
        plain = auto.from_config(config_of(loaded), dtype=torch.float32)
    wanted, there = plain.state_dict(), tuned.state_dict()
    inserted = {name for name, _ in tuned.named_parameters()} - {name for name, _ in plain.named_parameters()}
    if wanted.keys() - there.keys() or (inserted and not method.merges):
        raise InputError(
            f"--to merged: {method.name} cannot be folded into the weights of the plain model; use --to onnx"
        )
    plain.load_state_dict({name: there[name].clone() for name in wanted}, assign=True)
    plain.save_pretrained(folder)
    save_tokenizer(loaded, folder)
    again = auto.from_pretrained(folder).eval()
    return lambda inputs: again(**inputs).logits.numpy()


def config_of(loaded: Loaded) -> Any:
    """Return the model's config as plain transformers writes it, which does not name our attention."""
    config = copy.deepcopy(loaded.encoder.model.config)
    config._attn_implementation = "eager"
    config.problem_type = loaded.task.problem_type
    return config


def save_tokenizer(loaded: Loaded, folder: Path) -> None:
    """Save the tokenizer with the run's `max_length`, so that `truncation=True` cuts as the run did."""
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.model_max_length = loaded.max_length
    tokenizer.backend_tokenizer.no_truncation()  # what the last call left there
    tokenizer.backend_tokenizer.no_padding()
    if not loaded.encoder.has_types:  # the model has no room for what the tokenizer would make of a pair
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    tokenizer.save_pretrained(folder)
