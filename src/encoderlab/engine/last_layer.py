"""The last layer computes only what the head reads.

    attention        queries of each sequence's first token alone        (tokens,) -> (sequences,)
    residual, FFN    the tokens that the head reads                      first tokens, or chosen places

After the attention of the last layer, tokens no longer exchange information, so the others can be left out. Families
without a `residual` part compute the whole layer, and the tokens are chosen behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from encoderlab.engine.call import active
from encoderlab.engine.frozen_layers import replaced
from encoderlab.model import attention
from encoderlab.model.encoder import EncoderModel


class LastLayer:
    """The hooks on a model's last layer and behind it. They act only in the passes of `owner`.

    Args:
        encoder: the model, with its method in it: the hooks run after those of the method.
        packs: whether the owner packs sequences.
        owner: as in `ForwardCall`.
    """

    def __init__(self, encoder: EncoderModel, packs: bool, owner: object) -> None:
        self.owner = owner
        self.residual = encoder.family.residual if packs else None
        if self.residual is not None:
            layer = encoder.layers()[-1]
            module: Any = layer.get_submodule(encoder.family.attention)
            roles = [getattr(encoder.family, role) for role in ("query", "key", "value")]
            # partial, not a closure: a copy of the model then calls its own layers
            module.forward = partial(self._query_first_tokens, module.forward, module, layer, roles)
            layer.get_submodule(self.residual).register_forward_pre_hook(self._narrow)
        if packs:
            encoder.base_model.get_submodule(encoder.family.encoder).register_forward_hook(self._first)
        encoder.base_model.register_forward_hook(self._pick)

    def _query_first_tokens(
        self,
        own: Callable[..., Any],
        module: Any,
        layer: nn.Module,
        roles: list[str],
        hidden_states: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Stand in for the attention's `own` forward: compute queries only for first tokens, if the head reads these.

        hidden_states: (1, tokens, hidden). Returns (1, sequences, hidden), in the order of the batch.
        """
        call = active(self.owner)
        if call is None or call.layout is None or call.places is not None:
            return own(hidden_states, *args, **kwargs)
        layout = call.layout
        # (1, sequences, hidden), in the order of the row, as the groups of attention have them
        first = hidden_states.index_select(1, layout.cu_seqlens[:-1])
        # query: (1, heads, sequences, head size); key, value: (1, heads, tokens, head size)
        query, key, value = (
            layer.get_submodule(role)(states).unflatten(-1, (-1, module.attention_head_size)).transpose(1, 2)
            for role, states in zip(roles, (first, hidden_states, hidden_states), strict=True)
        )
        dropout = module.dropout.p if module.training else 0.0
        context, _ = attention.attention(module, query, key, value, None, scaling=module.scaling, dropout=dropout)
        return context.flatten(-2).index_select(1, layout.ranks), None

    def _narrow(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Leave out what the head does not read, between the last attention and its residual sum.

        args: the output of attention and the input of the layer, (1, tokens, hidden). The output of attention is
        already (1, sequences, hidden) if it had queries for first tokens alone.
        """
        call = active(self.owner)
        if call is None or call.layout is None:
            return None
        read, states = args
        if call.places is None:
            return read, states.index_select(1, call.layout.starts)
        return read.index_select(1, call.places), states.index_select(1, call.places)

    def _first(self, encoder: nn.Module, args: Any, output: Any) -> Any:
        """Take the first token of each sequence of a packed row: (1, tokens, hidden) -> (sequences, 1, hidden)."""
        call = active(self.owner)
        if call is None or call.layout is None or call.places is not None:
            return output
        starts = call.layout.starts
        narrowed = self.residual is not None  # then it is (1, sequences, hidden)
        return replaced(output, lambda x: (x[0] if narrowed else x[0].index_select(0, starts)).unsqueeze(1))

    def _pick(self, encoder: nn.Module, args: Any, output: Any) -> Any:
        """Give the head the chosen places alone: (batch, tokens, hidden) -> (1, n, hidden)."""
        call = active(self.owner)
        if call is None or call.places is None:
            return output
        if call.layout is not None and self.residual is not None:  # `_narrow` has chosen them
            return output
        places = call.places
        return replaced(output, lambda x: x.reshape(-1, x.size(-1))[places].unsqueeze(0))
