"""Which attention trains faster on a CPU: forward and backward of one layer's, without dropout, in turn.

`fp32` and `own`: written-out products (`encoderlab.model.matmul_attention`), in fp32 or in the model's own precision.
`kernel`: torch's scaled-dot-product attention. As in training, lengths are new in every micro-batch and the same in its
six layers: what is made for one shape of matrices is used six times.

    python benchmarks/attention.py [--repeats 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from lib import work
from torch import Tensor

from encoderlab.model import matmul_attention
from encoderlab.model.packing import Group

HEADS, LAYERS = 12, 6
SHAPES = (
    *((tokens, sequences, 32) for tokens, sequences in ((24, 4), (24, 32), (48, 3), (48, 8), (80, 2), (128, 4))),
    *((tokens, sequences, 64) for tokens, sequences in ((48, 3), (80, 2), (128, 4), (256, 4), (512, 2), (1024, 2))),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = [race(*shape, dtype, arguments.repeats) for dtype in (torch.bfloat16, torch.float32) for shape in SHAPES]
    work.say({"benchmark": "attention", "layers": found}, arguments.json)


def race(tokens: int, sequences: int, size: int, dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Median milliseconds of processor time a layer."""
    generator = torch.Generator().manual_seed(0)
    clocks: dict[str, work.Clock] = {}
    for repeat in range(repeats):
        length = tokens + repeat
        made = [torch.randn(sequences * length, HEADS, size, generator=generator).to(dtype) for _ in range(4)]
        inputs, grad = [x.requires_grad_() for x in made[:3]], made[3]
        for name, way in ways(inputs, sequences, length, size).items():
            with clocks.setdefault(name, work.Clock()).running():
                for _ in range(LAYERS):
                    torch.autograd.grad(way(), inputs, grad)
    return {
        "tokens": tokens,
        "sequences": sequences,
        "head_size": size,
        "precision": str(dtype).removeprefix("torch."),
        **{name: round(1000 * statistics.median(clock.cpu) / LAYERS, 2) for name, clock in clocks.items()},
    }


def ways(inputs: list[Tensor], sequences: int, tokens: int, size: int) -> dict[str, Callable[[], Tensor]]:
    groups, scale = [Group(sequences, tokens, None)], size**-0.5

    def written(small: float) -> Tensor:
        query, key, value = inputs
        with patch.object(matmul_attention, "SMALL", small):
            return matmul_attention.attend(query, key, value, groups, scale)

    def kernel() -> Tensor:
        query, key, value = (x.unflatten(0, (sequences, tokens)).transpose(1, 2) for x in inputs)
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(0, 1)

    return {"fp32": lambda: written(math.inf), "own": lambda: written(0), "kernel": kernel}


if __name__ == "__main__":
    main()
