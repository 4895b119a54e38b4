"""The table of part names of each encoder family.

To add a family, add a row with the paths of its parts inside one layer, as the code in transformers spells them, and a
row with its sizes in `tests/conftest.py`. Then run the tests, which are parametrized over this table. No other file
names a part of a model, except `relative_attention`, which replaces the attention of two families.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from encoderlab.model.relative_attention import BiasedAttention, DisentangledAttention

ROLES = ("query", "key", "value", "attention_out", "ffn_in", "ffn_out")


@dataclass(frozen=True, kw_only=True)
class Family:
    """The paths of the parts of one family, relative to one layer; `layers` is relative to the base model.

    If query, key and value are one linear layer, all three rows name it; its outputs are in this order.
    """

    layers: str  # the list of layers; "groups.*.layers" if each module of a list of groups has one
    query: str
    key: str
    value: str
    attention_out: str
    ffn_in: str
    ffn_out: str
    attention: str  # the module that calls the attention function
    after_attention: str  # the output of the attention sublayer, after its dropout and before the residual sum
    after_ffn: str
    ffn_norm: str | None  # the LayerNorm over (residual + feed-forward output); None if layers normalize their input
    note: str  # what is special, one or two sentences for docs/supported.md, which the tests check
    pooler: str = "pooler"  # the part of the base model that a checkpoint may lack
    encoder: str = "encoder"  # the part of the base model that gives the last hidden states
    # The part that adds the layer's input to the output of attention. A family with this part gives its attention the
    # attribute names of BERT: `attention_head_size`, `scaling`, and `dropout` with its probability.
    residual: str | None = None
    counts_from_padding: bool = False  # whether positions count from the config's `pad_token_id`
    # Whether sequences can lie end to end: attention depends only on `position_ids` and our function.
    packs: bool = True
    stand_in: Callable[[nn.Module], nn.Module] | None = None  # replaces `attention` by one that calls our function

    @property
    def fused(self) -> bool:
        """Whether one linear layer computes query, key and value."""
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
    residual="attention.output",
    note="Classification reads the pooler. A masked-LM checkpoint has no pooler, so it is newly initialized, trained "
    "and saved.",
)
_ROBERTA = replace(
    _BERT,
    counts_from_padding=True,
    note="Positions start at the row after the padding row, so 514 rows hold 512 tokens. Multiple choice reads a "
    "pooler that the checkpoints lack, so it is newly initialized, trained and saved.",
)

FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": replace(
        _BERT,
        note="No pooler. The embeddings of the small models are narrower than their layers.",
    ),
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
        encoder="transformer",
        note="No pooler and no token types. The head has two layers, `pre_classifier` and `classifier`.",
    ),
    "albert": Family(
        layers="encoder.albert_layer_groups.*.albert_layers",
        query="attention.query",
        key="attention.key",
        value="attention.value",
        attention_out="attention.dense",
        ffn_in="ffn",
        ffn_out="ffn_output",
        attention="attention",
        after_attention="attention.output_dropout",
        after_ffn="ffn_output",
        ffn_norm="full_layer_layer_norm",
        note="All layers share one set of weights, so they count as one layer. The parameters that a method adds are "
        "shared as well, and counted once.",
    ),
    "mpnet": Family(
        layers="encoder.layer",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_out="attention.attn.o",
        ffn_in="intermediate.dense",
        ffn_out="output.dense",
        attention="attention.attn",
        after_attention="attention.dropout",
        after_ffn="output.dropout",
        ffn_norm="output.LayerNorm",
        note="Every layer has a relative position bias; a learned prefix gets none. No token types. Positions start as "
        "in RoBERTa.",
        packs=False,
        stand_in=BiasedAttention,
    ),
    "deberta-v2": Family(
        layers="encoder.layer",
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
        attention_out="attention.output.dense",
        ffn_in="intermediate.dense",
        ffn_out="output.dense",
        attention="attention.self",
        after_attention="attention.output.dropout",
        after_ffn="output.dropout",
        ffn_norm="output.LayerNorm",
        note="DeBERTa-v2 and v3: disentangled attention. A learned prefix has content and no position. Query and key "
        "may project positions too (v3); a change of these layers then applies to both. The pooler is part of the "
        "head: newly initialized, trained and saved.",
        packs=False,
        stand_in=DisentangledAttention,
    ),
    "modernbert": Family(
        layers="layers",
        query="attn.Wqkv",
        key="attn.Wqkv",
        value="attn.Wqkv",
        attention_out="attn.Wo",
        ffn_in="mlp.Wi",
        ffn_out="mlp.Wo",
        attention="attn",
        after_attention="attn.out_drop",
        after_ffn="mlp",
        ffn_norm=None,
        encoder="final_norm",
        note="Query, key and value are one linear layer, so LoRA on one of them changes all three. Layers normalize "
        "their input (pre-norm), so a Pfeiffer adapter reads the output of the feed-forward sublayer. A learned prefix "
        "is not rotated, and all tokens attend to it, in local layers too.",
    ),
}
