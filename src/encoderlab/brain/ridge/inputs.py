"""Check the features and open the device of a ridge regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge.folds import Folds
from encoderlab.core.errors import InputError, first_line


def checked(features: Sequence[ArrayLike], responses: StoryResponses, folds: Folds) -> list[NDArray[np.floating]]:
    """Return the features as arrays that fit the responses.

    Raises:
        InputError: they do not fit; the message lists every problem.
    """
    if len(features) != len(responses) or folds.stories != len(responses):
        raise InputError(
            f"features of {len(features)} stories, responses to {len(responses)}, folds of {folds.stories}; "
            "expected the same stories in all three"
        )
    arrays = [np.asarray(block) for block in features]
    problems = []
    for name, block, rows in zip(responses.names, arrays, responses.lengths, strict=True):
        if block.ndim != 2 or block.dtype.kind not in "fiub" or block.size == 0:
            problems.append(
                f"story {name}: features of shape {block.shape}, {block.dtype}; expected numbers (TRs, features)"
            )
        elif len(block) != rows:
            problems.append(
                f"story {name}: features of {len(block)} TRs, responses of {rows}; expected equal numbers; trim both "
                "alike"
            )
        elif block.shape[1] != arrays[0].shape[-1]:
            problems.append(
                f"story {name}: {block.shape[1]} features, story {responses.names[0]} has {arrays[0].shape[-1]}; "
                "expected the same features in all stories"
            )
        elif bad := block.size - int(np.isfinite(block).sum()):
            problems.append(
                f"story {name}: {bad} of {block.size} feature values are nan or infinite; expected finite numbers"
            )
    if problems:
        raise InputError(*problems)
    return arrays


def open_device(name: str) -> torch.device:
    """Open a device, or raise InputError if it cannot compute in float64."""
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise InputError(
            f"device {name!r}: cannot compute in float64 on this machine: {first_line(error)}; use another one"
        ) from None
    return device
