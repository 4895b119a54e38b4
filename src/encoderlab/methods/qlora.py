r"""QLoRA (Dettmers et al. 2023, arXiv:2305.14314): LoRA on an encoder whose frozen weights take four bits each.

    y = x deq(W_q)' + b + s (x A') B'          A: (rank, in)   B: (out, rank)

W_q is NF4: 64 weights share a scale, and each weight is the nearest of 16 quantiles of a normal distribution. With
double quantization the scales take eight bits, in blocks of 256. Every linear layer inside the encoder's layers is
quantized, with or without LoRA. Embeddings, the head and newly initialized tensors never are. A weight is dequantized
when it is used, and not kept for the backward pass.

At step 0 the model is the quantized one, which is near the pretrained one. The saved file holds A, B and the head.
Loading quantizes the base again, to the same bits. Merging gives plain weights deq(W_q) + s B A, which compute the
function that was trained. QLoRA needs bitsandbytes (the extra `quant`), also on a CPU.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoderlab.core.errors import InputError
from encoderlab.core.types import Doc
from encoderlab.methods.lora import LoraLinear, lora_pair
from encoderlab.methods.low_rank import FixedRank, replace_module
from encoderlab.model.encoder import EncoderModel

MISSING = "needs bitsandbytes, which is not installed; pip install 'encoderlab[quant]'"


class Nf4Weight(nn.Module):
    """A weight (out, in) in four bits. It consists of buffers, which torch copies and moves between devices."""

    packed: Tensor  # two weights a byte
    code: Tensor  # the 16 values
    scales: Tensor  # one per 64 weights; bytes with double quantization, which adds nested_code, nested_scales, offset

    def __init__(self, weight: Tensor, double: bool) -> None:
        super().__init__()
        self.shape = weight.shape
        packed, state = bitsandbytes().functional.quantize_4bit(
            weight.detach(), quant_type="nf4", compress_statistics=double
        )
        self.block = state.blocksize
        self.nested_block = state.state2.blocksize if double else None
        tensors = {"packed": packed, "code": state.code, "scales": state.absmax}
        if double:
            tensors |= {"nested_code": state.state2.code, "nested_scales": state.state2.absmax, "offset": state.offset}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def _state(self, dtype: torch.dtype) -> Any:
        state = bitsandbytes().functional.QuantState
        nested: dict[str, Any] = {}
        if self.nested_block is not None:
            second = state(
                absmax=self.nested_scales, code=self.nested_code, blocksize=self.nested_block, dtype=torch.float32
            )
            nested = {"offset": self.offset, "state2": second}
        return state(
            absmax=self.scales,
            shape=self.shape,
            code=self.code,
            blocksize=self.block,
            quant_type="nf4",
            dtype=dtype,
            **nested,
        )

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Compute x deq(W_q)' + b in the dtype of x."""
        return bitsandbytes().matmul_4bit(x, self.packed, quant_state=self._state(x.dtype), bias=bias)

    def values(self) -> Tensor:
        """Return deq(W_q), (out, in), in fp32."""
        return bitsandbytes().functional.dequantize_4bit(self.packed, self._state(torch.float32))


class QuantizedLinear(nn.Linear):
    """A frozen linear layer with a weight in four bits and the bias of the layer that it replaces.

    It has no parameter `weight`.
    """

    def __init__(self, bias: nn.Parameter | None, weight: Nf4Weight) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.bias, self.quantized = bias, weight

    def forward(self, input: Tensor) -> Tensor:
        return self.quantized(input, self.bias)

    def whole(self) -> Tensor:
        """Return the weight, (out, in), of a plain linear layer that computes the same."""
        return self.quantized.values()


class QloraLinear(QuantizedLinear):
    """A quantized linear layer with the change s B A."""

    def __init__(
        self, base: QuantizedLinear, rank: int, scale: float, dropout: nn.Module, generator: torch.Generator
    ) -> None:
        super().__init__(base.bias, base.quantized)
        self.scale, self.lora_dropout = scale, dropout
        self.lora_A, self.lora_B = lora_pair(base, rank, generator)

    def forward(self, input: Tensor) -> Tensor:
        low = F.linear(self.lora_dropout(input), self.lora_A.weight)
        return super().forward(input) + F.linear(low, self.lora_B.weight * self.scale)

    def whole(self) -> Tensor:
        return super().whole() + self.scale * (self.lora_B.weight @ self.lora_A.weight)


@final
@dataclass(frozen=True, kw_only=True)
class Qlora(FixedRank):
    """LoRA on an encoder whose frozen weights are stored in four bits."""

    name: Literal["qlora"] = "qlora"
    double_quantization: Annotated[
        bool, Doc("whether the scales of the four-bit weights are stored in eight bits too")
    ] = True
    default_learning_rate: ClassVar[float] = 1e-3

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        for path in encoder.layer_paths():
            inner = encoder.base_model.get_submodule(path)
            linears = [f"{path}.{name}" for name, module in inner.named_modules() if isinstance(module, nn.Linear)]
            for name in linears:
                base = encoder.base_model.get_submodule(name)
                assert isinstance(base, nn.Linear)
                if not encoder.is_head(f"{encoder.base_prefix}{name}.weight"):
                    quantized = QuantizedLinear(base.bias, Nf4Weight(base.weight, self.double_quantization))
                    replace_module(encoder.base_model, name, quantized)
        super().insert(encoder, seed)

    def wrap(self, base: nn.Linear, dropout: nn.Module, generator: torch.Generator) -> nn.Linear:
        if isinstance(base, QuantizedLinear):
            return QloraLinear(base, self.rank, self.scale, dropout, generator)
        return LoraLinear(base, self.rank, self.scale, dropout, generator)  # outside the layers

    @torch.no_grad()
    def merge(self, encoder: EncoderModel) -> None:
        super().merge(encoder)
        for path, layer in list(encoder.base_model.named_modules()):
            if isinstance(layer, QuantizedLinear):
                plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
                plain.weight = nn.Parameter(layer.whole(), requires_grad=False)
                plain.register_parameter("bias", layer.bias)
                replace_module(encoder.base_model, path, plain)

    def problems(self, encoder: EncoderModel) -> list[str]:
        missing = [] if importlib.util.find_spec("bitsandbytes") else [f"qlora {MISSING}"]
        return missing + super().problems(encoder)


@cache
def bitsandbytes() -> Any:
    """Return the library. Raise InputError if it is not installed."""
    try:
        import bitsandbytes as library
    except ImportError:
        raise InputError(f"qlora {MISSING}") from None
    return library
