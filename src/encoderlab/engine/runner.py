"""A model in its compute precision: forward passes over rows of a split, packed or padded.

Frozen weights are cast to the compute precision once. Trainable ones stay fp32, with their optimizer state, and are
cast at use, so their gradients arrive in fp32. The head runs in fp32 throughout: it is small, and its logits should
not be rounded. No autocast: the residual stream has one precision.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from encoderlab.core.errors import InputError
from encoderlab.data.tokenized import Masked, TokenizedRows
from encoderlab.engine import frozen_layers, state_cache
from encoderlab.engine.batches import collate, first_tokens, full_batches, micro_batches, pack
from encoderlab.engine.call import ForwardCall
from encoderlab.engine.last_layer import LastLayer
from encoderlab.engine.state_cache import StateCache, as_tensor
from encoderlab.model import positions
from encoderlab.model.dropout import DropoutRNG
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.packing import Layout
from encoderlab.model.prepacked_linear import prepack

GROUP_MULTIPLIES = 640_000  # multiply-adds of a layer, over its width squared: the time of one more attention group
GROUP_ON_GPU = 1000.0  # the same in tokens where it is the launches that take time

_TURNS: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()  # of models whose parameters are cast in each pass


class ModelRunner(nn.Module):
    """The model of an encoder, run in one precision.

    What belongs to a call is a `ForwardCall`, so several threads can run one model at the same time.

    Args:
        encoder: the model, with its method injected or merged. Its frozen tensors are cast in place.
        dtype: the compute precision.
        device: where the model goes, and runs.
        frozen: how many leading layers are the pretrained ones; None: those that nothing trains.

    Attributes:
        packs: whether the sequences of a batch lie end to end in one row.
        frozen: the frozen leading layers, and the states that are kept of them.
    """

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
        self.padding: int | None = None  # the token that counts as no position, where the family has one
        if self.packs:
            table = positions.table(encoder.base_model)
            self.padding = None if table is None else table.padding_idx
            hidden: int = encoder.model.config.hidden_size
            self.group_cost = GROUP_MULTIPLIES / hidden**2 if device.type == "cpu" else GROUP_ON_GPU
        self.owner = object()  # of the calls: a model may be wrapped more than once
        # Its hooks come before those of the frozen layers: the kept states are those that the head reads.
        self.last_layer = LastLayer(encoder, self.packs, self.owner)
        eval_layers = frozen_layers.frozen_layers(encoder) if frozen is None else frozen
        self.frozen = frozen_layers.FrozenLayers(encoder, eval_layers if self.packs else 0, eval_layers, self.owner)

    def train(self, mode: bool = True) -> ModelRunner:
        """Switch dropout on for passes that have a `DropoutRNG`, but not in front of what trains."""
        super().train(mode)
        self.frozen.set_eval()
        return self

    def forward(
        self,
        places: Tensor | None = None,
        layout: Layout | None = None,
        states: Tensor | None = None,
        rng: DropoutRNG | None = None,
        **inputs: Tensor,
    ) -> Tensor:
        """Compute the logits of a batch.

        Args:
            places: int64 (n,), the only tokens that the head reads; None: it reads as the model is made.
            layout: where the sequences of a packed row lie; None: the batch is padded.
            states: what the frozen leading layers give, (1, tokens, hidden) or (sequences, 1, hidden).
            rng: what dropout draws from; None: no dropout.
            inputs: what the model takes, by name; (1, tokens) where there is a layout, else (batch, tokens).

        Returns:
            fp32 (sequences, c); of a head that answers token by token (batch, tokens, c), or (1, n, c) with places.
        """
        call = ForwardCall(owner=self.owner, layout=layout, places=places, states=states, rng=rng)
        return self._pass(call, inputs)

    def _pass(self, call: ForwardCall, inputs: Mapping[str, Tensor]) -> Tensor:
        with call.running():
            if not self.cast:
                return self.model(**inputs).logits
            # functional_call puts the cast tensors into the modules until it returns, so such passes take turns. In a
            # model that was loaded for inference nothing trains, so nothing is cast here.
            with _TURNS.setdefault(self.model, RLock()):
                parameters = {name: self.model.get_parameter(name).to(self.dtype) for name in self.cast}
                return functional_call(self.model, parameters, args=(), kwargs=dict(inputs)).logits

    def micro_batches(self, tokenized: TokenizedRows, rows: np.ndarray, budget: int) -> list[np.ndarray]:
        """Cut `rows` into groups of at most `budget` tokens, or one row."""
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
        *,
        rng: DropoutRNG | None = None,
        cached: bool = True,
    ) -> Tensor:
        """Compute the logits of some rows, in one forward pass.

        Args:
            tokenized: a split.
            rows: (n,), the numbers of its rows.
            pad_id: the token that fills a batch.
            device: where the model is.
            masked: which tokens are masked; the head predicts these alone.
            rng: what dropout draws from; None: no dropout.
            cached: whether states that are kept of these rows stand in for the frozen layers.

        Returns:
            (sequences, c); or, where the task reads tokens, of each masked token or first token of a word, (n, c).
        """
        kept = self.frozen.kept.get(tokenized.fingerprint) if cached and masked is None else None
        if kept is not None and self.frozen.whole:
            # Of each sequence the first token's states, (sequences, hidden): a batch of sequences of one token.
            states = as_tensor(kept[tokenized.sequences(rows)], self.dtype, device)
            return self(states=states.unsqueeze(1), rng=rng, **first_tokens(self.typed(tokenized), rows, device))
        states = layout = places = None
        if self.packs:
            # batch: (1, tokens); starts: (sequences,); source: (tokens,), which of the split's tokens, -1 for padding
            batch, layout, starts, source = self.pack(tokenized, rows, pad_id, device)
            if kept is not None:
                states = as_tensor(kept[np.maximum(source, 0)], self.dtype, device).unsqueeze(0)  # (1, tokens, hidden)
        else:
            batch = collate(self.typed(tokenized), rows, pad_id, device)  # (sequences, length)
            starts = np.arange(len(rows)) * batch["input_ids"].size(-1)  # in the flattened tokens
        if (read := _read(tokenized, rows, masked)) is not None:
            places = torch.from_numpy(starts[read[0]] + read[1]).to(device)
        if masked is not None:
            batch["input_ids"].view(-1)[places] = torch.from_numpy(masked.inputs).to(device)
        found = self(places=places, layout=layout, states=states, rng=rng, **batch)
        return found if places is None else found[0]

    def typed(self, tokenized: TokenizedRows) -> TokenizedRows:
        """Leave out token types that the encoder has no use, or no room, for."""
        return tokenized if self.has_types or tokenized.type_ids is None else replace(tokenized, type_ids=None)

    def pack(self, tokenized: TokenizedRows, rows: np.ndarray, pad_id: int, device: torch.device) -> Any:
        """Pack some rows as `batches.pack` does, with positions as the model counts them."""
        found = pack(self.typed(tokenized), rows, pad_id, self.group_cost, self.dtype, device)
        if self.padding is not None:
            found[0]["position_ids"] = positions.packed(
                found[0]["input_ids"].view(1, -1), found[0]["position_ids"], self.padding
            )
        return found

    def states_shape(self, tokenized: TokenizedRows) -> tuple[int, int]:
        """Return the shape of a split's kept states: (tokens, hidden), or (sequences, hidden) if only a head trains."""
        rows = len(tokenized.lengths) if self.frozen.whole else int(tokenized.offsets[-1])
        return rows, int(self.model.config.hidden_size)

    def states_bytes(self, tokenized: TokenizedRows) -> int:
        """Return the bytes of a split's kept states."""
        return math.prod(self.states_shape(tokenized)) * state_cache.NUMPY[self.dtype].itemsize

    @torch.no_grad()
    def keep(
        self, tokenized: TokenizedRows, cache: StateCache, pad_id: int, budget: int, device: torch.device
    ) -> float:
        """Read the frozen layers' states of these rows from the cache, or compute and write them if there is room.

        Returns:
            The seconds that they took to compute, now or in another run; 0 where they are not kept.
        """
        kept = self.frozen
        if not kept.count or tokenized.vocabulary is not None:  # tokens that are masked are others each time
            return 0.0
        if kept.whole and tokenized.places is not None:  # what is kept then are first tokens
            return 0.0
        shape = self.states_shape(tokenized)
        model = f"{self.fingerprint}{positions.mark(tokenized.ids, self.padding)}"
        path = state_cache.path_of(cache, model, kept, tokenized, self.dtype)
        found = state_cache.opened(path, shape, self.dtype)
        if found is None and state_cache.room(cache, self.states_bytes(tokenized)):
            with contextlib.suppress(InputError):  # a cache that cannot be written costs time, and is no reason to stop
                state_cache.written(path, shape, self.dtype, self._states(tokenized, pad_id, budget, device))
            found = state_cache.opened(path, shape, self.dtype)
        if found is None:
            return 0.0
        kept.kept[tokenized.fingerprint] = found
        return state_cache.seconds(path)

    def _states(
        self, tokenized: TokenizedRows, pad_id: int, budget: int, device: torch.device
    ) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Compute the states of a split batch by batch, as `state_cache.written` takes them."""
        self.eval()
        for chosen in self.micro_batches(tokenized, np.arange(len(tokenized)), budget):
            batch, layout, _, source = self.pack(tokenized, chosen, pad_id, device)
            try:
                self._pass(ForwardCall(owner=self.owner, layout=layout, only_states=True), batch)
                raise AssertionError("the pass went by the states")
            except frozen_layers.Reached as reached:
                states = reached.states  # (1, tokens, hidden); if whole, (sequences, 1, hidden)
            if self.frozen.whole:
                yield tokenized.sequences(chosen), states[:, 0]
            else:
                yield source[source >= 0], states[0, torch.from_numpy(source >= 0).to(device)]  # without padding


def _read(tokenized: TokenizedRows, rows: np.ndarray, masked: Masked | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Find the tokens that the head reads: each one's row of the batch, (n,), and its place in that row, (n,).

    None: the head reads each sequence's first token, or all tokens.
    """
    if masked is not None:
        return np.divmod(masked.places, int(tokenized.lengths[rows].max()))
    if tokenized.places is None:
        return None
    places = tokenized.places[rows]
    row, word = np.nonzero(places >= 0)
    return row, places[row, word]


def _packs(encoder: EncoderModel) -> bool:
    """Return whether the sequences of a batch can lie end to end in one row.

    That needs a family whose code depends on `position_ids` alone, and a method that allows it. The head has to read
    first tokens or single tokens, and not the mean of a sequence.
    """
    mean = getattr(encoder.model.config, "classifier_pooling", "cls") == "mean"
    return encoder.family.packs and getattr(encoder.base_model, "packs", True) and not mean


def _to_fp32(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.float() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)
