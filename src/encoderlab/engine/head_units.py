"""Check whether a checkpoint's regression head predicts in the unit of the labels.

encoderlab compares its predictions with the labels of some training rows:

    rmse = sqrt(mean((prediction - label)^2))   s: standard deviation of the training rows' labels

A head that was trained on these labels has an rmse of at most about s; a head that always gives their mean has s. A
head far above s predicts in another unit, or another quantity of the same name. Training would then start out of reach
of the labels, and correlations would hide it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import collate
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.base import Task

ROWS = 32
FAR, DOUBTFUL = 3.0, 1.5  # times the labels' standard deviation


def settle(encoder: EncoderModel, task: Task, train: TokenizedRows) -> tuple[EncoderModel, str]:
    """Reinitialize the head's last layer if its predictions are not in the unit of the labels.

    Args:
        encoder: as `model.load.load` gives it, without a method.
        task: the task of the run; only a regression has labels with a unit.
        train: the training rows.

    Returns:
        The encoder, loaded again with a note if its last layer is newly initialized.
        That note, the `anew` of `model.load.load`; "" where the head is kept or was newly initialized.
    """
    scale = task.scale(train.labels)
    if scale is None or f"{encoder.output_layer()}.weight" in encoder.newly_initialized:
        return encoder, ""
    rows = _rows(train)
    answers, labels = _answers(encoder, train, rows), train.labels[rows]
    off = math.sqrt(float(((answers - labels) ** 2).mean())) / scale[1]
    if not off > DOUBTFUL:
        return encoder, ""
    said = (
        f"on {len(rows)} training rows it predicts {answers.mean():.4g} on average, their labels average "
        f"{labels.mean():.4g}: off by {off:.3g} standard deviations of the labels"
    )
    if off <= FAR:
        return replace(
            encoder, notes=(*encoder.notes, f"the checkpoint's own head may predict in another unit: {said}")
        ), ""
    anew = (
        f"the checkpoint's head does not predict in the unit of the labels: {said}; its last layer is newly initialized"
    )
    names = list(encoder.model.config.id2label.values())
    again = load.load(encoder.name, head=task.head, class_names=names, seed=0, tokenizer=encoder.tokenizer, anew=anew)
    return again, anew


def _rows(train: TokenizedRows) -> np.ndarray:
    """Choose up to ROWS rows of the shorter half, which cost little, evenly spaced by length."""
    order = np.argsort(train.longest, kind="stable")
    order = order[: max(ROWS, len(order) // 2)]
    return order[np.unique(np.linspace(0, len(order) - 1, ROWS).astype(int))]


@torch.no_grad()
def _answers(encoder: EncoderModel, train: TokenizedRows, rows: np.ndarray) -> np.ndarray:
    typed = train if encoder.has_types else replace(train, type_ids=None)
    device, was = torch.device("cpu"), encoder.model.training
    encoder.model.eval()
    found = [
        encoder.model(**collate(typed, chosen, encoder.pad_id, device)).logits[:, 0].double().numpy()
        for chosen in np.array_split(rows, -(-len(rows) // 8))
    ]
    encoder.model.train(was)
    return np.concatenate(found)
