r"""Attention with relative positions, for the two families whose own code does not call the attention function.

    MPNet (Song et al. 2020, arXiv:2004.09297)         softmax(q k' / sqrt(d) + b) v
    b_ij = B[bucket(j - i)]                            one learned number a head, the same in every layer

    DeBERTa-v2 and v3 (He et al. 2020, arXiv:2006.03654)    softmax(b + q k' / sqrt(t d)) v
    b_ij = (q_i P_k[c(i - j)]' + k_j P_q[c(i - j)]') / sqrt(t d)
    P_k, P_q: projected embeddings of distances, c: their buckets, t: one term for q k' and one for each term of b

Each class stands in for the family's own module: it has the same parts under the same names and computes the same
numbers, but hands q, k, v and b to `encoderlab.model.attention`, as the other families do. So a prefix, our dropout
and the faster backward pass work here too. A prefix has no position, and its scores no b.

A distance is the same along a diagonal, so the products with the projected distances need one column a distance, not
one a pair, and each row is a window into them that moves by one: a view, where transformers gathers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from encoderlab.model import attention
from encoderlab.model.dropout import Dropout


class _Relative(nn.Module):
    """The parts of the module it stands in for, and what both families do with a bias."""

    dropout: Dropout

    def __init__(self, own: Any) -> None:
        super().__init__()
        for name, part in own.named_children():
            self.add_module(name, part)
        self.num_attention_heads, self.attention_head_size = own.num_attention_heads, own.attention_head_size
        self.train(own.training)

    def heads(self, x: Tensor) -> Tensor:
        """Split the heads, (batch, tokens, width) -> (batch, heads, tokens, head size)."""
        return x.unflatten(-1, (self.num_attention_heads, self.attention_head_size)).transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, terms: int) -> Tensor:
        """Attend, with a bias of the scores.

        Args:
            query: (batch, heads, tokens, head size).
            key: (batch, heads, tokens, head size).
            value: (batch, heads, tokens, head size).
            bias: additive, its shape widens to (batch, heads, tokens, tokens); None: no bias and no mask.
            terms: t in the module's docstring; the scores are divided by sqrt(t d).

        Returns:
            The context, (batch, tokens, width).
        """
        scaling = (self.attention_head_size * terms) ** -0.5
        dropout = self.dropout.p if self.training else 0.0
        context, _ = attention.attention(self, query, key, value, bias, scaling=scaling, dropout=dropout)  # type: ignore[arg-type]
        return context.flatten(-2)


class BiasedAttention(_Relative):
    """The attention of MPNet."""

    q: nn.Linear
    k: nn.Linear
    v: nn.Linear
    o: nn.Linear

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, position_bias: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None]:
        """Attend, as MPNet's layer calls it.

        Args:
            hidden_states: (batch, tokens, width).
            attention_mask: additive, its shape widens to (batch, heads, tokens, tokens).
            position_bias: b, its shape widens to (batch, heads, tokens, tokens).

        Returns:
            The output of the projection `o`, (batch, tokens, width), and no weights.
        """
        # query, key, value: (batch, heads, tokens, head size)
        query, key, value = (self.heads(project(hidden_states)) for project in (self.q, self.k, self.v))
        given = [term for term in (position_bias, attention_mask) if term is not None]
        context = self.attend(query, key, value, sum(given[1:], given[0]) if given else None, terms=1)
        return self.o(context), None


class DisentangledAttention(_Relative):
    """The disentangled attention of DeBERTa.

    Attributes:
        terms: which terms b has: "c2p" is q P_k', "p2c" is k P_q'.
        relative: whether the model has relative positions at all.
        shared: whether distances go through the projections of the tokens.
        span: half the rows of `rel_embeddings`; row `span` is that of distance 0.
    """

    query_proj: nn.Linear
    key_proj: nn.Linear
    value_proj: nn.Linear
    pos_key_proj: nn.Linear  # these two where the positions' projections are not the tokens'
    pos_query_proj: nn.Linear
    pos_dropout: Dropout

    def __init__(self, own: Any) -> None:
        super().__init__(own)
        self.terms = [kind for kind in ("c2p", "p2c") if kind in own.pos_att_type]
        self.relative, self.shared = own.relative_attention, own.share_att_key
        self.span = own.pos_ebd_size if self.relative else 0

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        query_states: Tensor | None = None,
        relative_pos: Tensor | None = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Attend, as DeBERTa's layer calls it.

        Args:
            hidden_states: (batch, tokens, width).
            attention_mask: (batch, 1, tokens, tokens), true for pairs of tokens that may meet; false for padding.
            output_attentions: not used.
            query_states: what the queries are made of, (batch, tokens, width); None: `hidden_states`.
            relative_pos: the bucket of each distance i - j, (1, tokens, tokens).
            rel_embeddings: (2 span, width).

        Returns:
            The context, (batch, tokens, width), and no weights.
        """
        # Distances go through the projections before tokens do: a hook on a projection then sees the tokens' keys last.
        distances = self.distances(relative_pos, rel_embeddings) if self.relative else {}
        query = self.heads(self.query_proj(hidden_states if query_states is None else query_states))
        key, value = self.heads(self.key_proj(hidden_states)), self.heads(self.value_proj(hidden_states))
        terms = 1 + len(self.terms)
        scale = (self.attention_head_size * terms) ** -0.5
        bias = query.new_zeros(1)
        # (batch, heads, tokens, head size) @ (1, heads, head size, 2 tokens) -> (batch, heads, tokens, 2 tokens), a
        # column a distance; `_along_diagonals` picks the columns of each pair, (batch, heads, tokens, tokens).
        if "c2p" in distances:
            bias = bias + _along_diagonals(query * scale @ distances["c2p"].transpose(-1, -2))
        if "p2c" in distances:
            # Here the rows are keys j and the columns queries i, hence the transpose.
            bias = bias + _along_diagonals(key * scale @ distances["p2c"].transpose(-1, -2)).transpose(-1, -2)
        bias = bias.where(attention_mask.bool(), torch.finfo(bias.dtype).min)
        return self.attend(query, key, value, bias, terms), None

    def distances(self, relative_pos: Any, rel_embeddings: Any) -> dict[str, Tensor]:
        """Project the embeddings of the distances i - j that occur.

        Args:
            relative_pos: the bucket of each distance, (1, tokens, tokens).
            rel_embeddings: (2 span, width).

        Returns:
            P_k under "c2p" and P_q under "p2c", as far as the model has them, each (1, heads, 2 tokens, head size). The
            rows of P_k fall from distance tokens - 1 to 1 - tokens, those of P_q rise. One last row is never read.
        """
        known = relative_pos[0]  # (tokens, tokens)
        rows = self.pos_dropout(rel_embeddings)
        # The first column and the first row hold every distance once; falling and rising: (2 tokens,)
        falling = torch.cat([known[:, 0].flip(0), known[0, 1:], known[0, :1]])
        rising = torch.cat([known[0].flip(0), known[1:, 0], known[0, :1]])
        found = {}
        if "c2p" in self.terms:
            project = self.key_proj if self.shared else self.pos_key_proj
            found["c2p"] = self.heads(project(rows[self.row_of(falling)].unsqueeze(0)))
        if "p2c" in self.terms:
            project = self.query_proj if self.shared else self.pos_query_proj
            found["p2c"] = self.heads(project(rows[self.row_of(rising)].unsqueeze(0)))
        return found

    def row_of(self, bucket: Tensor) -> Tensor:
        """Return the row of `rel_embeddings` for each bucket, of the same shape."""
        return (bucket + self.span).clamp(0, 2 * self.span - 1)


def _along_diagonals(products: Tensor) -> Tensor:
    """View a window of each row that moves by one: out[i, j] = products[i, n - 1 - i + j].

    products: (..., n, 2n). Returns (..., n, n).
    """
    # In the flattened rows, element (i, n - 1 - i + j) lies at n - 1 + i (2n - 1) + j: rows of 2n - 1 from n - 1 on.
    n = products.size(-2)
    return products.flatten(-2)[..., n - 1 : -1].unflatten(-1, (n, 2 * n - 1))[..., :n]
