"""The frozen layers in front of the first trained one: their states are computed once per row and then reused.

    h = layer_k-1(... layer_0(embeddings(tokens)))        frozen, so the same in every epoch, for every seed and method

Layers that nothing trains run as in inference, without dropout, whether their states are cached or not. So a run's
numbers do not depend on the cache (`encoderlab.engine.state_cache`). The cache holds the states of every token in front
of layer k. Where only a head trains, it holds the states of each sequence's first token behind the last layer, because
the head reads nothing else. The skipped layers stay in the model: called with cached states they return their input.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from encoderlab.engine.call import active
from encoderlab.model import fingerprints
from encoderlab.model.encoder import EncoderModel


class Reached(Exception):
    """The end of a pass with `only_states`: the states are computed, and the rest of the model is not needed.

    Attributes:
        states: (1, tokens, hidden) in front of the first trained layer, or (sequences, 1, hidden) behind the last one.
    """

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def frozen_layers(encoder: EncoderModel) -> int:
    """Count the leading layers that nothing trains: all under a head alone, none where the embeddings train."""
    paths = encoder.layer_paths()
    trained = {name.removeprefix(encoder.base_prefix) for name, _ in encoder.trainable() if _in_encoder(encoder, name)}
    inside = [i for i, path in enumerate(paths) if any(name.startswith(f"{path}.") for name in trained)]
    others = [name for name in trained if not any(name.startswith(f"{path}.") for path in paths)]
    if others:
        return 0
    return min(inside, default=len(paths))


def _in_encoder(encoder: EncoderModel, name: str) -> bool:
    return name.startswith(encoder.base_prefix) and not encoder.in_pooler(name)


class FrozenLayers:
    """The leading frozen layers of a model. In a pass of `owner` that has `states`, those stand in for them.

    Args:
        encoder: the model.
        count: how many layers states can stand in for; 0 leaves the model as it is.
        eval_layers: how many leading layers stay in eval mode, with the modules in front of them.
        owner: as in `ForwardCall`.

    Attributes:
        modules: the modules that stay in eval mode.
        whole: whether these are all layers, so that nothing but a head trains.
        kept: states by the fingerprint of their rows; a row of an array for each token, or each sequence if `whole`.
    """

    def __init__(self, encoder: EncoderModel, count: int, eval_layers: int, owner: object) -> None:
        layers = encoder.layers()
        self.count, self.whole, self.owner = count, count == len(layers), owner
        children = encoder.base_model.named_children()
        self.modules: list[nn.Module] = [*layers[:eval_layers]]
        if eval_layers:
            self.modules += [m for name, m in children if name != encoder.family.pooler and not _holds(m, layers)]
        self.kept: dict[str, np.ndarray] = {}
        if count == 0:
            return
        # Skipped layers return their input, (batch, tokens, hidden). So the output of the embeddings arrives at the
        # hook below, which puts the cached states in its place.
        for layer in layers[:count]:
            # partial, not a closure: a copy of the model then calls its own layers
            layer.forward = partial(self._through, layer.forward)  # type: ignore[method-assign]
        if self.whole:
            encoder.base_model.get_submodule(encoder.family.encoder).register_forward_hook(self._behind)
        else:
            layers[count].register_forward_pre_hook(self._before)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything in the frozen layers and in front of them.

        A method may have changed how their weights are stored, and with it what they give.
        """
        digest = hashlib.sha256()
        for module in self.modules:
            for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
                digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(fingerprints.buffer(tensor))
        return digest.hexdigest()

    def set_eval(self) -> None:
        """Put the frozen layers into eval mode. The runner calls it after every `train()`."""
        for module in self.modules:
            module.eval()

    def _through(self, own: Callable[..., Any], hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Stand in for a layer's `own` forward: return the input, (batch, tokens, hidden), if the call has states."""
        call = active(self.owner)
        if call is None or call.states is None:
            return own(hidden_states, *args, **kwargs)
        return hidden_states

    def _before(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Put the call's states, (1, tokens, hidden), in front of the first trained layer, or end the pass there."""
        call = active(self.owner)
        if call is None:
            return None
        if call.only_states:
            raise Reached(args[0])  # (1, tokens, hidden)
        return None if call.states is None else (call.states, *args[1:])

    def _behind(self, encoder: nn.Module, args: Any, output: Any) -> Any:
        """Put the call's states, (sequences, 1, hidden), behind the last layer, or end the pass there."""
        call = active(self.owner)
        if call is None:
            return output
        if call.only_states:
            raise Reached(output if isinstance(output, Tensor) else output[0])
        states = call.states
        return output if states is None else replaced(output, lambda _: states)


def replaced(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return the output of a part of the model with its first tensor changed."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    output.last_hidden_state = change(output.last_hidden_state)
    return output


def _holds(module: nn.Module, layers: list[nn.Module]) -> bool:
    mine = set(module.modules())
    return any(layer in mine for layer in layers)
