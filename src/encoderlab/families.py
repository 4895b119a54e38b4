"""The one table of what each family of encoders calls its parts.

No other file names a part of a model. To add a family, add a row: paths of the parts inside one layer, as the model's
own code in transformers spells them, and run the tests, which are parametrised over the table.
"""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("query", "key", "value", "attention_out", "ffn_in", "ffn_out")


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where one family keeps its parts. Paths are relative to one layer, `layers` to the trunk.

    Where query, key and value are one linear layer, all three rows name it; its outputs are theirs in this order.
    """

    layers: str  # of the list of layers; "groups.*.layers" where each of a list of groups has one
    query: str
    key: str
    value: str
    attention_out: str
    ffn_in: str
    ffn_out: str
    attention: str  # the module that calls the attention function
    after_attention: str  # what the attention sublayer returns, after its dropout and before the residual sum
    after_ffn: str
    ffn_norm: str  # the LayerNorm over (residual + feed-forward output)
    pooler: str = "pooler"  # the part of the trunk that a checkpoint may lack

    @property
    def fused(self) -> bool:
        """Whether one linear layer gives query, key and value together."""
        return self.query == self.key == self.value


_BERT = Family(
    layers="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    ffn_in="intermediate.dense",
    ffn_out="output.dense",
    attention="attention.self",
    after_attention="attention.output.dropout",
    after_ffn="output.dropout",
    ffn_norm="output.LayerNorm",
)

FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "distilbert": Family(
        layers="transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_out="attention.out_lin",
        ffn_in="ffn.lin1",
        ffn_out="ffn.lin2",
        attention="attention",
        after_attention="attention.out_lin",
        after_ffn="ffn",
        ffn_norm="output_layer_norm",
    ),
}
