r"""Contextual word vectors: the hidden states of an encoder, one vector a word.

    h_s  the state of subword s in a window that holds it, at one layer (0: the embeddings, l: after the l-th layer)
    v_w  = sum_k a_kw mean_{s in w} h_ks / sum_k a_kw        over the windows k that hold the whole word w

with a_kw = 1 (`mean`), the smaller number of tokens between the word and an end of the window (`weighted`; an end of
the window that is an end of the story cuts nothing off and does not count), or 1 for the window where that number is
largest alone (`central`). A word longer than any window has no such window: each of its subwords is averaged over the
windows that hold it, then these over the word. Words without a token, such as empty ones, have a zero vector.

The states are those of the bare encoder, never logits. Windows of all stories share their batches: nearly all are full,
so that nearly nothing is padded, and a story is finished and forgotten before the next but one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch

from encoderlab.brain.vectors.subwords import Subwords, subwords, word_tokenizer
from encoderlab.core.errors import InputError
from encoderlab.model import positions
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.windows import around, spans

PATIENCE = 16  # stories that may wait for a short one, whose window waits for company
Combine = Literal["mean", "weighted", "central"]


@final
@dataclass(frozen=True, kw_only=True)
class Windows:
    """How stories are cut.

    window: tokens the encoder reads at once, special ones included; default: 512, or what it has positions for
    stride: tokens from the start of one window to that of the next; default: half of `window`
    combine: how a word's vectors from several windows become one
    batch_tokens: tokens of one forward pass, padding included
    """

    window: int | None = None
    stride: int | None = None
    combine: Combine = "mean"
    batch_tokens: int = 4096

    def sizes(self, encoder: EncoderModel) -> tuple[int, int]:
        """Tokens of a story in one window, and the stride. InputError where the encoder cannot have such windows."""
        limit = _limit(encoder)
        special = encoder.tokenizer.num_special_tokens_to_add()
        window = min(512, limit) if self.window is None else self.window
        if not special < window <= limit:
            raise InputError(
                f"window = {window}: {encoder.name} reads {special + 1} to {limit} tokens, special ones included"
            )
        size, stride = window - special, window // 2 if self.stride is None else self.stride
        if not 0 < stride <= size:
            raise InputError(f"stride = {stride}: expected 1 to {size}, so that no token is left out")
        return size, stride


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class WordVectors:
    """vectors: float32 (layers, words, hidden). empty: words without a token, whose rows are zero. unknown: words that
    the encoder's vocabulary has no piece of. windows, tokens: what was read for them."""

    vectors: np.ndarray
    empty: int
    unknown: int
    windows: int
    tokens: int


def word_vectors(
    words: Sequence[str], encoder: EncoderModel, *, layer: int = -1, windows: Windows | None = None
) -> np.ndarray:
    """float32 (words, hidden): one vector a word, in context. `layer`: 0 is the embeddings, l what the l-th layer
    returns, negative ones count from the end. InputError for a layer or a window that the encoder does not have.

    encoder: a bare one, `backbone.load(name, head="AutoModel", class_names=[], seed=0)`, with or without an adapter
    put in by `adapters.load_adapter(encoder, folder, head=False)`.
    """
    (found,) = story_vectors([words], encoder, layers=(layer,), windows=windows)
    return found.vectors[0]


def story_vectors(
    stories: Iterable[Sequence[str]],
    encoder: EncoderModel,
    *,
    layers: Sequence[int] = (-1,),
    windows: Windows | None = None,
    tick: Callable[[int], object] | None = None,
) -> Iterator[WordVectors]:
    """The vectors of each story's words, story after story, several layers from one pass. `tick(words)` after each.

    Memory holds the stories whose windows share a forward pass, and no others.
    """
    reader = _Reader(encoder, layer_numbers(encoder, layers), windows or Windows())
    waiting: list[_Story] = []  # stories in order, some of them with windows not yet read
    for words in stories:
        story = reader.open(words)
        waiting.append(story)
        reader.queue += [(story, span) for span in story.spans]
        reader.flush(all_of_them=len(waiting) > PATIENCE)
        while waiting and waiting[0].left == 0:
            yield _finished(waiting.pop(0), tick)
    reader.flush(all_of_them=True)
    for story in waiting:
        yield _finished(story, tick)


def layer_numbers(encoder: EncoderModel, layers: Sequence[int]) -> tuple[int, ...]:
    """Layers as numbers from 0 (the embeddings) up. InputError where there is no such layer."""
    count = encoder.model.config.num_hidden_layers
    if wrong := [n for n in layers if not -count - 1 <= n <= count]:
        raise InputError(f"layer {wrong[0]}: {encoder.name} has 0 (the embeddings) to {count}; -1 is the last")
    return tuple(n % (count + 1) for n in layers)


def _limit(encoder: EncoderModel) -> int:
    taken = getattr(encoder.base_model, "prompt_embeddings", None)  # a prompt in front takes positions from the text
    return positions.usable(encoder.base_model) - (0 if taken is None else len(taken))


class _Story:
    """A story on its way: what its windows have given so far."""

    def __init__(self, tokens: Subwords, windows: list[tuple[int, int]], combine: Combine, shape: tuple[int, int]):
        self.tokens, self.spans, self.left = tokens, windows, len(windows)
        layers, hidden = shape
        self.sum = np.zeros((layers, tokens.words, hidden))
        first = tokens.first
        self.start, self.stop = first[:-1], first[1:]
        self.weights = _weights(self.start, self.stop, windows, len(tokens.ids), combine)
        whole = np.zeros(tokens.words, dtype=bool)
        for start, stop in windows:
            whole |= (self.start >= start) & (self.stop <= stop)
        # Of a word that no window holds whole, each subword is averaged by itself.
        held = np.zeros(len(tokens.ids))
        for start, stop in windows:
            held[start:stop] += 1
        self.long = np.flatnonzero(~whole & (self.stop > self.start))
        self.share = 1 / np.maximum(held, 1)

    def add(self, span: tuple[int, int], states: np.ndarray) -> None:
        """states: float32 (layers, tokens of the window, hidden)."""
        start, stop = span
        words, weights = self.weights[span]
        if len(words):
            until = np.zeros((len(states), 1 + stop - start, states.shape[2]))  # sums of all tokens before each
            np.cumsum(states, axis=1, dtype=np.float64, out=until[:, 1:])
            sums = until[:, self.stop[words] - start] - until[:, self.start[words] - start]
            self.sum[:, words] += sums * (weights / (self.stop - self.start)[words])[:, None]
        for word in self.long:
            low, high = max(self.start[word], start), min(self.stop[word], stop)
            if low < high:
                share = self.share[low:high] / (self.stop[word] - self.start[word])
                self.sum[:, word] += np.einsum("lth,t->lh", states[:, low - start : high - start], share)
        self.left -= 1


def _weights(
    first: np.ndarray, last: np.ndarray, windows: list[tuple[int, int]], tokens: int, combine: Combine
) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """{window: (words it holds whole, the share of the word's vector that comes from it)}."""
    held, context = {}, {}
    total, best = np.zeros(len(first)), np.full(len(first), -np.inf)
    for start, stop in windows:
        inside = np.flatnonzero((first >= start) & (last <= stop) & (last > first))
        left = first[inside] - start + 1.0 if start > 0 else np.full(len(inside), np.inf)
        right = stop - last[inside] + 1.0 if stop < tokens else np.full(len(inside), np.inf)
        near = np.minimum(np.minimum(left, right), stop - start)
        held[start, stop], context[start, stop] = inside, near
        total[inside] += 1 if combine == "mean" else near
        best[inside] = np.maximum(best[inside], near)
    shares = {}
    taken = np.zeros(len(first), dtype=bool)
    for window, words in held.items():
        if combine == "central":  # of equally central windows the first
            chosen = (context[window] == best[words]) & ~taken[words]
            taken[words[chosen]] = True
            shares[window] = (words[chosen], np.ones(chosen.sum()))
        else:
            shares[window] = (words, (1.0 if combine == "mean" else context[window]) / total[words])
    return shares


def _finished(story: _Story, tick: Callable[[int], object] | None) -> WordVectors:
    vectors = story.sum.astype(np.float32)
    words = story.tokens.words
    assert vectors.shape[1] == words, (vectors.shape, words)
    if tick is not None:
        tick(words)
    return WordVectors(
        vectors=vectors,
        empty=int((story.start == story.stop).sum()),
        unknown=story.tokens.unknown,
        windows=len(story.spans),
        tokens=len(story.tokens.ids),
    )


class _Reader:
    """Reads windows in batches of equal or similar length, as they come."""

    def __init__(self, encoder: EncoderModel, layers: tuple[int, ...], windows: Windows) -> None:
        self.encoder, self.layers, self.windows = encoder, layers, windows
        self.size, self.stride = windows.sizes(encoder)
        self.tokenizer = word_tokenizer(encoder.tokenizer)
        self.before, self.after = around(encoder.tokenizer)
        special = len(self.before) + len(self.after)
        self.rows = max(1, windows.batch_tokens // (self.size + special))
        self.queue: list[tuple[_Story, tuple[int, int]]] = []
        self.top = encoder.model.config.num_hidden_layers
        self.hidden = encoder.model.config.hidden_size
        encoder.model.eval()

    def open(self, words: Sequence[str]) -> _Story:
        tokens = subwords(words, self.tokenizer, self.encoder.tokenizer.unk_token)
        windows = spans(len(tokens.ids), self.size, self.stride)
        return _Story(tokens, windows, self.windows.combine, (len(self.layers), self.hidden))

    def flush(self, *, all_of_them: bool) -> None:
        """Read full batches of full windows, and short windows once as many tokens as a batch's have come together."""
        short = [one for one in self.queue if one[1][1] - one[1][0] < self.size]
        full = [one for one in self.queue if one[1][1] - one[1][0] == self.size]
        while len(full) >= self.rows or (all_of_them and full):
            self.read(full[: self.rows])
            full = full[self.rows :]
        short.sort(key=lambda one: one[1][0] - one[1][1])
        while short and (all_of_them or sum(stop - start for _, (start, stop) in short) >= self.windows.batch_tokens):
            longest = short[0][1][1] - short[0][1][0]
            rows = max(1, self.windows.batch_tokens // (longest + len(self.before) + len(self.after)))
            self.read(short[:rows])
            short = short[rows:]
        self.queue = [*full, *short]

    def read(self, batch: list[tuple[_Story, tuple[int, int]]]) -> None:
        ids, mask = _padded(
            [[*self.before, *story.tokens.ids[a:b], *self.after] for story, (a, b) in batch],
            self.encoder.pad_id,
        )
        device = next(self.encoder.model.parameters()).device
        inputs: dict[str, Any] = {"input_ids": ids.to(device)}
        if not mask.all():
            inputs["attention_mask"] = mask.long().to(device)
        with torch.inference_mode():
            output = self.encoder.model(**inputs, output_hidden_states=True)
        states = [output.last_hidden_state if n == self.top else output.hidden_states[n] for n in self.layers]
        lead = len(self.before)
        for row, (story, (a, b)) in enumerate(batch):
            picked = torch.stack([layer[row, lead : lead + b - a] for layer in states])
            story.add((a, b), picked.float().cpu().numpy())


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), pad)
    mask = torch.zeros((len(rows), length), dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return ids, mask
