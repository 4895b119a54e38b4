"""A model in its compute precision, and one pass over rows without gradients.

Frozen weights are cast to the compute precision once. Trainable ones stay fp32, with their optimizer state, and are
cast at use, so their gradients arrive in fp32. The head runs in fp32 throughout: it is small, and its logits should
not be rounded. No autocast: the residual stream has one precision.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from encoderlab.core.errors import InputError
from encoderlab.data.tokenized import Masked, TokenizedRows
from encoderlab.engine import frozen_layers
from encoderlab.engine.batches import by_row, collate, first_tokens, full_batches, micro_batches, pack
from encoderlab.engine.distributed import ALONE, Ranks
from encoderlab.engine.frozen_layers import replaced
from encoderlab.model import attention, packing, positions
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import Family
from encoderlab.model.packing import Layout
from encoderlab.model.prepacked_linear import prepack
from encoderlab.tasks.base import Task

GROUP_MULTIPLIES = 640_000  # multiply-adds of a layer, over its width squared: the time of one more attention group
GROUP_ON_GPU = 1000.0  # the same in tokens where it is the launches that take time


class ModelRunner(nn.Module):
    """An encoder's model, run in `dtype`. Casts the frozen tensors in place; call it after `Method.inject` or
    `merge`. `packs`: it can take the sequences of a batch end to end. frozen: leading layers that are the pretrained
    ones; default: those that nothing trains."""

    def __init__(
        self, encoder: EncoderModel, dtype: torch.dtype, device: torch.device, frozen: int | None = None
    ) -> None:
        super().__init__()
        self.model, self.dtype = encoder.model, dtype
        self.fingerprint = encoder.fingerprint
        self.has_types = encoder.has_types
        # A pretrained head that stays frozen is a part of the encoder, whose word embeddings it shares.
        heads = [] if encoder.frozen_head else encoder.heads()
        in_head = {id(p) for head in heads for p in head.parameters()}
        for parameter in self.model.parameters():
            if not parameter.requires_grad and id(parameter) not in in_head:
                parameter.data = parameter.data.to(dtype)
        self.model.to(device)
        prepack(self.model, in_head)
        self.cast = (
            [n for n, p in self.model.named_parameters() if p.requires_grad and id(p) not in in_head]
            if dtype != torch.float32
            else []
        )
        if dtype != torch.float32:
            for head in heads:
                head.register_forward_pre_hook(_to_fp32)
        self.packs = _packs(encoder)
        self.layout: Layout | None = None  # of the pass that runs; a model may be wrapped more than once
        self.places: Tensor | None = None
        self.picked = False  # whether the encoder's states are those of `places` already
        self.padding: int | None = None  # the token that counts as no position, where the family has one
        if self.packs:
            table = positions.table(encoder.base_model)
            self.padding = None if table is None else table.padding_idx
            hidden: int = encoder.model.config.hidden_size
            self.group_cost = GROUP_MULTIPLIES / hidden**2 if device.type == "cpu" else GROUP_ON_GPU
            if encoder.family.residual is not None:
                self._ask_first(encoder.layers()[-1], encoder.family)
                encoder.part(-1, encoder.family.residual).register_forward_pre_hook(self._narrow)
            encoder.base_model.get_submodule(encoder.family.encoder).register_forward_hook(self._first)
        resting = frozen_layers.frozen_layers(encoder) if frozen is None else frozen
        self.trunk = frozen_layers.Trunk(encoder, resting if self.packs else 0, resting)
        encoder.base_model.register_forward_hook(self._pick)  # after those of a method

    def train(self, mode: bool = True) -> ModelRunner:
        """Dropout on, but not in front of what trains."""
        super().train(mode)
        self.trunk.rest()
        return self

    def forward(self, places: Tensor | None = None, layout: Layout | None = None, **inputs: Tensor) -> Tensor:
        """The logits, fp32; of a head that answers token by token. places: (n,) in the flattened tokens: the head sees
        these alone, and gives (1, n, c). layout: of a packed row."""
        self.places, self.picked, self.layout = places, False, layout
        try:
            with packing.use(layout):
                if not self.cast:
                    return self.model(**inputs).logits
                parameters = {name: self.model.get_parameter(name).to(self.dtype) for name in self.cast}
                return functional_call(self.model, parameters, args=(), kwargs=inputs).logits
        finally:
            self.places = self.layout = None

    def micro_batches(self, tokenized: TokenizedRows, rows: np.ndarray, budget: int) -> list[np.ndarray]:
        """`rows` in groups of at most `budget` tokens, or one row."""
        if self.packs:
            return full_batches(tokenized.tokens, tokenized.longest, rows, budget)
        return micro_batches(tokenized.longest, rows, budget, tokenized.sizes)

    def run(
        self,
        tokenized: TokenizedRows,
        rows: np.ndarray,
        pad_id: int,
        device: torch.device,
        masked: Masked | None = None,
    ) -> Tensor:
        """The logits of some rows, in one forward pass; of their masked tokens, or of the first tokens of their words,
        where the task reads those: (n, c)."""
        kept = self.trunk.kept.get(tokenized.fingerprint) if masked is None else None
        if kept is not None and self.trunk.whole:
            states = frozen_layers.as_tensor(kept[tokenized.sequences(rows)], self.dtype, device)
            with self.trunk.standing_in(states.unsqueeze(1)):
                return self(**first_tokens(self.typed(tokenized), rows, device))
        states = layout = places = None
        if self.packs:
            batch, layout, starts, source = self.pack(tokenized, rows, pad_id, device)
            if kept is not None:
                states = frozen_layers.as_tensor(kept[np.maximum(source, 0)], self.dtype, device).unsqueeze(0)
        else:
            batch = collate(self.typed(tokenized), rows, pad_id, device)
            starts = np.arange(len(rows)) * batch["input_ids"].size(-1)
        if (read := _read(tokenized, rows, masked)) is not None:
            places = torch.from_numpy(starts[read[0]] + read[1]).to(device)
        if masked is not None:
            batch["input_ids"].view(-1)[places] = torch.from_numpy(masked.inputs).to(device)
        with self.trunk.standing_in(states):
            found = self(places=places, layout=layout, **batch)
        return found if places is None else found[0]

    def typed(self, tokenized: TokenizedRows) -> TokenizedRows:
        """The rows without token types that the encoder has no use, or no room, for."""
        return tokenized if self.has_types or tokenized.type_ids is None else replace(tokenized, type_ids=None)

    def pack(self, tokenized: TokenizedRows, rows: np.ndarray, pad_id: int, device: torch.device) -> Any:
        """`batches.pack`, with positions as the model counts them."""
        found = pack(self.typed(tokenized), rows, pad_id, self.group_cost, self.dtype, device)
        if self.padding is not None:
            found[0]["position_ids"] = positions.packed(
                found[0]["input_ids"].view(1, -1), found[0]["position_ids"], self.padding
            )
        return found

    def states_shape(self, tokenized: TokenizedRows) -> tuple[int, int]:
        """Of what `keep` keeps of a split: a row for each token, or sequence, of the encoder's width."""
        rows = len(tokenized.lengths) if self.trunk.whole else int(tokenized.offsets[-1])
        return rows, int(self.model.config.hidden_size)

    def states_bytes(self, tokenized: TokenizedRows) -> int:
        return math.prod(self.states_shape(tokenized)) * frozen_layers.NUMPY[self.dtype].itemsize

    @torch.no_grad()
    def keep(
        self, tokenized: TokenizedRows, cache: frozen_layers.TrunkCache, pad_id: int, budget: int, device: torch.device
    ) -> float:
        """From now on the frozen leading layers are not run for these rows: their states come from the cache, where
        they are put if there is room. The seconds that they took, now or in another run."""
        kept = self.trunk
        if not kept.count or tokenized.vocabulary is not None:  # tokens that are masked are others each time
            return 0.0
        if kept.whole and tokenized.places is not None:  # what is kept then are first tokens
            return 0.0
        shape = self.states_shape(tokenized)
        model = f"{self.fingerprint}{positions.mark(tokenized.ids, self.padding)}"
        path = frozen_layers.path_of(cache, model, kept, tokenized, self.dtype)
        found = frozen_layers.opened(path, shape, self.dtype)
        if found is None and frozen_layers.room(cache, self.states_bytes(tokenized)):
            with contextlib.suppress(InputError):  # a cache that cannot be written costs time, and is no reason to stop
                frozen_layers.written(path, shape, self.dtype, self._states(tokenized, pad_id, budget, device))
            found = frozen_layers.opened(path, shape, self.dtype)
        if found is None:
            return 0.0
        kept.kept[tokenized.fingerprint] = found
        return frozen_layers.seconds(path)

    def _states(
        self, tokenized: TokenizedRows, pad_id: int, budget: int, device: torch.device
    ) -> Iterator[tuple[np.ndarray, Tensor]]:
        self.eval()
        for chosen in self.micro_batches(tokenized, np.arange(len(tokenized)), budget):
            batch, layout, _, source = self.pack(tokenized, chosen, pad_id, device)
            states = self.trunk.states(partial(self, layout=layout, **batch))
            if self.trunk.whole:
                yield tokenized.sequences(chosen), states[:, 0]
            else:
                yield source[source >= 0], states[0, torch.from_numpy(source >= 0).to(device)]

    def _wanted(self) -> Tensor | None:
        """The places of a packed row that the head reads."""
        layout = self.layout
        return None if layout is None else layout.starts if self.places is None else self.places

    def _ask_first(self, layer: nn.Module, family: Family) -> None:
        """In the last layer's attention, where the head reads first tokens, no other token asks."""
        module: Any = layer.get_submodule(family.attention)
        own = module.forward

        def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.layout is None or self.places is not None:
                return own(hidden_states, *args, **kwargs)
            starts, order = self.layout.starts.sort()
            asking = hidden_states.index_select(1, starts)
            query, key, value = (
                layer.get_submodule(role)(states).unflatten(-1, (-1, module.attention_head_size)).transpose(1, 2)
                for role, states in (
                    (family.query, asking),
                    (family.key, hidden_states),
                    (family.value, hidden_states),
                )
            )
            dropout = module.dropout.p if module.training else 0.0
            context, _ = attention.attention(module, query, key, value, None, module.scaling, dropout)
            return context.flatten(-2).index_select(1, order.argsort()), None

        module.forward = forward

    def _narrow(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """After the last layer's attention nothing meets any more: what the head does not read is left out."""
        wanted = self._wanted()
        if wanted is None:
            return None
        self.picked = True
        read, states = args
        return read if self.places is None else read.index_select(1, wanted), states.index_select(1, wanted)

    def _first(self, encoder: nn.Module, args: Any, output: Any) -> Any:
        """Of a packed row, where the head reads each sequence's first token: (1, tokens, hidden) to (sequences, 1,
        hidden)."""
        wanted = self._wanted()
        if wanted is None or self.places is not None:
            return output
        return replaced(output, lambda x: (x[0] if self.picked else x[0].index_select(0, wanted)).unsqueeze(1))

    def _pick(self, trunk: nn.Module, args: Any, output: Any) -> Any:
        places = self.places
        if places is None or self.picked:
            return output
        return replaced(output, lambda x: x.reshape(-1, x.size(-1))[places].unsqueeze(0))


def _read(tokenized: TokenizedRows, rows: np.ndarray, masked: Masked | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Of the tokens that the head reads: the row of the batch, and the place in it. None: each sequence's first."""
    if masked is not None:
        return np.divmod(masked.places, int(tokenized.lengths[rows].max()))
    if tokenized.places is None:
        return None
    places = tokenized.places[rows]
    row, word = np.nonzero(places >= 0)
    return row, places[row, word]


def _packs(encoder: EncoderModel) -> bool:
    """Whether the family's code depends on `position_ids` alone, the method allows it, and the head reads first tokens,
    or tokens."""
    mean = getattr(encoder.model.config, "classifier_pooling", "cls") == "mean"
    return encoder.family.packs and getattr(encoder.base_model, "packs", True) and not mean


def _to_fp32(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.float() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)


def scores(
    model: ModelRunner,
    task: Task,
    tokenized: TokenizedRows,
    rows: np.ndarray,
    *,
    pad_id: int,
    device: torch.device,
    draw: tuple[int, ...],
) -> Tensor:
    """(rows, c), or (rows, words, c): what `task.losses` and `task.metrics` take of some rows, in one forward pass.
    draw: what a task that hides tokens from the model draws them from."""
    masked = task.masked(tokenized, rows, draw)
    found = model.run(tokenized, rows, pad_id, device, masked)
    if masked is not None:
        return task.masked_scores(found, masked)
    if tokenized.places is not None:
        return _at_words(found, tokenized.places[rows])
    return by_row(found, tokenized, rows)


def _at_words(found: Tensor, places: np.ndarray) -> Tensor:
    """The answers of the places that are there, in their order -> (rows, words, c); -inf where a row has no such word,
    or no token of it."""
    whole = found.new_full((*places.shape, found.size(1)), -torch.inf)
    return whole.index_put(torch.from_numpy(places >= 0).to(found.device).nonzero(as_tuple=True), found)


@torch.no_grad()
def logits(
    model: ModelRunner,
    task: Task,
    tokenized: TokenizedRows,
    *,
    pad_id: int,
    budget: int,
    device: torch.device,
    tick: Any = None,
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """The scores of all rows in their order, float32 (rows, c), -inf where a row has fewer, or (rows, words, c). Rows
    run in batches of similar length, each on one of the ranks; `tick(tokens)` after each. What is hidden from the model
    is the same in every call."""
    model.eval()
    rows, tokens, widest = np.arange(len(tokenized)), tokenized.tokens, int(tokenized.sizes.max(initial=0))
    out: np.ndarray | None = None
    groups = model.micro_batches(tokenized, rows, budget)
    mine: list[tuple[int, np.ndarray]] = []
    for number in ranks.deal([int(tokens[chosen].sum()) for chosen in groups]):
        found = scores(model, task, tokenized, groups[number], pad_id=pad_id, device=device, draw=(0, 0))
        mine.append((number, found.float().cpu().numpy()))
        if tick is not None:
            tick(int(tokens[groups[number]].sum()))
    for number, result in (one for some in ranks.all(mine) for one in some):
        if out is None:
            width = result.shape[1] if tokenized.groups is None else widest
            out = np.full((len(rows), width, *result.shape[2:]), -np.inf, dtype=np.float32)
        out[groups[number], : result.shape[1]] = result
    assert out is not None, "no rows"
    return out
