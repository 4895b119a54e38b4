"""The tensor names and the config of the `adapters` library for our methods."""

from __future__ import annotations

from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.low_rank import FixedRank
from encoderlab.model.encoder import EncoderModel

# Modules of a layer that hold the bottlenecks of the library: after attention, and after feed-forward.
PLACES = {
    "bert": ("attention.output", "output"),
    "roberta": ("attention.output", "output"),
    "xlm-roberta": ("attention.output", "output"),
    "electra": ("attention.output", "output"),
    "deberta-v2": ("attention.output", "output"),
    "distilbert": ("attention_adapters", "output_adapters"),
}
ATTENTION = {"query": "q", "key": "k", "value": "v"}
# The settings of the library for each placement. `original_ln_before`: the bottleneck reads the normalized sum.
PLACEMENTS: dict[str, dict[str, bool]] = {
    "pfeiffer": {"mh_adapter": False, "output_adapter": True, "original_ln_before": True, "is_parallel": False},
    "houlsby": {"mh_adapter": True, "output_adapter": True, "original_ln_before": False, "is_parallel": False},
    "parallel": {"mh_adapter": False, "output_adapter": True, "original_ln_before": False, "is_parallel": True},
}
# More settings of a bottleneck, and the only values under which it computes the same as ours.
BOTTLENECK: dict[str, object] = {
    "original_ln_after": True,
    "residual_before_ln": True,
    "adapter_residual_before_ln": False,
    "ln_before": False,
    "ln_after": False,
    "use_gating": False,
    "inv_adapter": None,
    "phm_layer": False,
    "stochastic_depth": 0.0,
}
LORA: dict[str, object] = {
    "composition_mode": "add",
    "use_gating": False,
    "use_dora": False,
    "vera_d": None,
    "vera_b": None,
}
ACTIVATIONS = ("relu", "gelu", "swish", "tanh")


def renaming(encoder: EncoderModel, method: Method, name: str) -> dict[str, str]:
    """Return {our name: their name} of all tensors of a method in all layers, relative to the base model."""
    family, after_attention, after_ffn = encoder.family, *PLACES[encoder.model.config.model_type]
    names = {}
    for i, layer in enumerate(encoder.layer_paths()):
        if isinstance(method, Adapter):
            last = family.ffn_norm if method.placement == "pfeiffer" else family.after_ffn
            hosts = {f"{layer}.{last}": after_ffn}
            if method.placement == "houlsby":
                hosts[f"{layer}.{family.after_attention}"] = after_attention
            for host, place in hosts.items():
                for kind in ("weight", "bias"):
                    theirs = f"{layer}.{place}.adapters.{name}"
                    names[f"{host}.adapter.down.{kind}"] = f"{theirs}.adapter_down.0.{kind}"
                    names[f"{host}.adapter.up.{kind}"] = f"{theirs}.adapter_up.{kind}"
        elif isinstance(method, FixedRank):
            for path in (path for target in method.target for path in encoder.linear_paths(target, [i])):
                names |= {f"{path}.lora_{k}.weight": f"{path}.loras.{name}.lora_{k}" for k in ("A", "B")}
    return names


def settings(encoder: EncoderModel, method: Method, left_out: list[int]) -> dict[str, object]:
    """Return the config of a method; `left_out` are the layers without it."""
    if isinstance(method, Adapter):
        hidden, width = encoder.model.config.hidden_size, method.bottleneck
        factor = hidden / width if int(hidden // (hidden / width)) == width else hidden / (width + 0.5)
        scale = method.scale if method.placement == "parallel" else 1.0
        values = {
            "non_linearity": method.activation,
            "reduction_factor": factor,
            "scaling": scale,
            "leave_out": left_out,
        }
        return {**BOTTLENECK, **PLACEMENTS[method.placement], **values}
    assert isinstance(method, FixedRank)
    return {
        **LORA,
        "architecture": "lora",
        "selfattn_lora": any(target in ATTENTION for target in method.target),
        "intermediate_lora": "ffn_in" in method.target,
        "output_lora": "ffn_out" in method.target,
        "attn_matrices": [letter for role, letter in ATTENTION.items() if role in method.target],
        "r": method.rank,
        "alpha": method.scale * method.rank,  # the library's scale is alpha / r
        "dropout": method.dropout,
        "leave_out": left_out,
    }
