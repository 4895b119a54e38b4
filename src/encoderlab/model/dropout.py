"""Dropout whose random bits are cheap on a CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from encoderlab.core.rng import derive


class DropoutRNG:
    """The dropout masks of one micro-batch: `reset` before each forward pass, then every `mask` call draws on."""

    def __init__(self) -> None:
        self.reset(0)

    def reset(self, seed: int, *counters: int) -> None:
        self._seed = derive(seed, "dropout", *counters)
        self._bits = np.random.SFC64(self._seed)
        self._generators: dict[torch.device, torch.Generator] = {}

    def mask(self, like: Tensor, p: float) -> Tensor:
        """Shape, dtype and device of `like`; 0 with probability round(256 p)/256, else 1/(1 - that probability)."""
        threshold = min(round(p * 256), 255)
        scale = 256 / (256 - threshold)
        if like.device.type != "cpu":
            draw = torch.empty(like.shape, dtype=torch.uint8, device=like.device)
            draw.random_(0, 256, generator=self._generator(like.device))
            return (draw >= threshold).to(like.dtype).mul_(scale)
        words = -(-like.numel() // 8)
        draw = self._bits.random_raw(words).view(np.uint8)[: like.numel()]
        keep = np.greater_equal(draw, threshold).view(np.uint8)
        if like.dtype == torch.bfloat16:  # write the bit pattern of the scale: no conversion pass
            pattern = np.float32(torch.tensor(scale).bfloat16().item()).view(np.uint32) >> 16
            flat = torch.from_numpy(np.multiply(keep, np.uint16(pattern), dtype=np.uint16)).view(torch.bfloat16)
        else:
            flat = torch.from_numpy(np.multiply(keep, np.float32(scale), dtype=np.float32)).to(like.dtype)
        return flat.view(like.shape)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


class Dropout(nn.Module):
    """Dropout that draws from a shared `DropoutRNG`; the identity outside training."""

    def __init__(self, p: float, noise: DropoutRNG) -> None:
        super().__init__()
        self.p, self.noise = p, noise

    def forward(self, x: Tensor) -> Tensor:
        return x * self.noise.mask(x, self.p) if self.training and self.p > 0 else x


def use_dropout_rng(model: nn.Module, noise: DropoutRNG) -> None:
    """Replace every `nn.Dropout` inside `model` by one that draws from `noise`, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, Dropout(child.p, noise))
