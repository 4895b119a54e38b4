"""Damage to one file of a folder, as its kind can be damaged: JSON, safetensors, a pickle of tensors."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from numpy.random import Generator
from safetensors.torch import load_file, save
from torch import Tensor

from .mutate import chance, damaged, json_changed, pick

VALUES = (float("nan"), float("inf"), -float("inf"), 1e38, 0.0)


def _tensors_changed(tensors: dict[str, Tensor], draw: Generator) -> dict[str, Tensor]:
    """One or two tensors lost, renamed, reshaped, of another type, or with a value that is no number."""
    tensors = dict(tensors)
    for _ in range(int(draw.integers(1, 3))):
        if not tensors:
            break
        name = pick(draw, sorted(tensors))
        tensor = tensors[name].clone()
        match int(draw.integers(9)):
            case 0:
                del tensors[name]
            case 1:
                del tensors[name]
                tensors[
                    pick(
                        draw,
                        [
                            "x",
                            "",
                            name.replace("0", "7"),
                            name + ".weight",
                            name.upper(),
                            "é\n",
                            "base_model.model." + name,
                        ],
                    )
                ] = tensor
            case 2:
                tensors[name] = tensor.flatten() if tensor.dim() > 1 else tensor[None]
            case 3:
                tensors[name] = tensor[:0].contiguous()
            case 4:
                tensors[name] = torch.cat([tensor, tensor])
            case 5:
                tensors[name] = tensor.to(
                    pick(draw, [torch.int8, torch.bool, torch.float16, torch.bfloat16, torch.int64, torch.float64])
                )
            case 6:
                tensors["more"] = torch.zeros(pick(draw, [(0,), (3,), (1, 1, 1, 1, 1)]))
            case 7:
                tensors[name] = tensor.movedim(0, -1).contiguous() if tensor.dim() else tensor[None]
            case 8:
                if tensor.is_floating_point() and tensor.numel():
                    tensor.view(-1)[int(draw.integers(tensor.numel()))] = pick(draw, VALUES)
                tensors[name] = tensor
    return tensors


def _header_changed(data: bytes, draw: Generator) -> bytes:
    """The header of a safetensors file with hostile sizes, offsets and types."""
    size = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    if chance(draw, 0.3):
        written = json_changed(header, draw)
    else:
        one = header[pick(draw, [name for name in header if name != "__metadata__"])]
        match int(draw.integers(5)):
            case 0:
                one["shape"] = pick(
                    draw, [[10**9, 10**9], [-1], [2**63], [], [0], [10**9], one["shape"][::-1], [1] * 1000, "a", None]
                )
            case 1:
                one["data_offsets"] = pick(
                    draw, [[0, 2**62], [4, 0], [0, 0], [-1, 4], None, [0], one["data_offsets"][::-1]]
                )
            case 2:
                one["dtype"] = pick(draw, ["F64", "I8", "BOOL", "BF16", "F8_E4M3", "x", None, 7, "C64", "F4"])
            case 3:
                one["shape"] = [*one["shape"], 1]
            case 4:
                header["__metadata__"] = pick(draw, [{"format": 3}, {"format": "np"}, None, [], {}])
        written = json.dumps(header).encode()
    length = pick(draw, [len(written)] * 6 + [0, 2**63, 10**9, len(written) - 1])
    return length.to_bytes(8, "little") + written + rest


def change(path: Path, draw: Generator) -> None:
    """Damage one file of a folder as its kind can be damaged; seldom lose it, or put a folder there."""
    if chance(draw, 0.03):
        path.unlink()
        if chance(draw, 0.5):
            path.mkdir()
        return
    data = path.read_bytes()
    if chance(draw, 0.3):
        data = damaged(data, draw)
    elif path.suffix == ".json":
        data = json_changed(json.loads(data), draw)
    elif path.suffix == ".safetensors":
        data = save(_tensors_changed(load_file(path), draw)) if chance(draw, 0.6) else _header_changed(data, draw)
    elif path.suffix == ".bin":
        torch.save(_tensors_changed(torch.load(path, weights_only=True), draw), path)
        return
    path.write_bytes(data)
