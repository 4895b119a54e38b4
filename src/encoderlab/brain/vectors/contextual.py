r"""Make contextual word vectors: the hidden states of an encoder, one vector a word.

    h_ks  the state of subword s in window k, at one layer (0: the embeddings, l: after the l-th layer)
    v_w   = sum_k a_kw mean_{s in w} h_ks / sum_k a_kw        over the windows k that contain the whole word w

The weight a_kw depends on `combine`. For `mean` it is 1. For `weighted` it is the number of tokens from the word to the
nearer end of the window; an end of the window that is also an end of the story does not count. For `central` it is 1
for the window where that number is largest, and 0 for all others. If no window contains a whole word, each of its
subwords is averaged over the windows that contain the subword, and these averages over the word. A word without a
token, such as an empty one, has a zero vector.

The states are those of the encoder without a head. Windows of all stories share batches. Nearly all windows are full,
so there is little padding, and a story is finished and freed before the next but one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from encoderlab.brain.vectors.subwords import Subwords, subwords, word_tokenizer
from encoderlab.brain.vectors.windows import Combine, Windows, word_shares
from encoderlab.core.errors import InputError
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.windows import around, spans

PATIENCE = 16  # stories that may wait until a short window of an earlier story fits into a batch


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class WordVectors:
    """The vectors of the words of one story.

    Attributes:
        vectors: (layers, words, hidden) float32.
        empty: number of words without a token, whose rows are zero.
        unknown: number of words that are only the tokenizer's unknown token.
        windows: number of windows that were read.
        tokens: number of tokens of the story.
    """

    vectors: np.ndarray
    empty: int
    unknown: int
    windows: int
    tokens: int


def word_vectors(
    words: Sequence[str], encoder: EncoderModel, *, layer: int = -1, windows: Windows | None = None
) -> np.ndarray:
    """Make one vector a word, in context.

    Args:
        words: the words of a text.
        encoder: an encoder without a head, from `model.load.load(name, head="AutoModel", class_names=[], seed=0)`, with
            or without an adapter from `adapters.folder.load_adapter(encoder, folder, head=False)`.
        layer: 0 for the embeddings, l for the output of the l-th layer; negative numbers count from the end.
        windows: how the text is cut.

    Returns:
        (words, hidden) float32.

    Raises:
        InputError: the encoder does not have the layer, or cannot read such windows.
    """
    (story,) = story_vectors([words], encoder, layers=(layer,), windows=windows)
    return story.vectors[0]


def story_vectors(
    stories: Iterable[Sequence[str]],
    encoder: EncoderModel,
    *,
    layers: Sequence[int] = (-1,),
    windows: Windows | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Iterator[WordVectors]:
    """Yield the vectors of the words of each story, for several layers from one pass.

    Memory holds only the stories whose windows share a forward pass.

    Args:
        stories: the words of each story.
        encoder: an encoder without a head.
        layers: as `layer` of `word_vectors`.
        windows: how stories are cut.
        on_progress: on_progress(words) is called after each story.

    Raises:
        InputError: the encoder does not have a layer, or cannot read such windows.
    """
    reader = _Reader(encoder, layer_numbers(encoder, layers), windows or Windows())
    waiting: list[_Story] = []  # stories in order, some of whose windows are not read yet
    for words in stories:
        story = reader.open(words)
        waiting.append(story)
        reader.queue += [(story, span) for span in story.spans]
        reader.flush(all_of_them=len(waiting) > PATIENCE)
        while waiting and waiting[0].left == 0:
            yield _finished(waiting.pop(0), on_progress)
    reader.flush(all_of_them=True)
    for story in waiting:
        yield _finished(story, on_progress)


def layer_numbers(encoder: EncoderModel, layers: Sequence[int]) -> tuple[int, ...]:
    """Number layers from 0 (the embeddings) up, or raise InputError if the encoder does not have one."""
    count = encoder.model.config.num_hidden_layers
    if wrong := [n for n in layers if not -count - 1 <= n <= count]:
        raise InputError(f"layer {wrong[0]}: {encoder.name} has 0 (the embeddings) to {count}; -1 is the last")
    return tuple(n % (count + 1) for n in layers)


class _Story:
    """The sums of a story's word vectors over the windows that were read so far.

    Args:
        tokens: of the story.
        windows: (first token, token after the last) of each window.
        combine: how windows are combined.
        shape: (layers, hidden).
    """

    def __init__(self, tokens: Subwords, windows: list[tuple[int, int]], combine: Combine, shape: tuple[int, int]):
        self.tokens, self.spans, self.left = tokens, windows, len(windows)
        layers, hidden = shape
        self.sum = np.zeros((layers, tokens.words, hidden))
        # Word w has the tokens start[w] to stop[w]: (words,) each.
        first = tokens.first
        self.start, self.stop = first[:-1], first[1:]
        self.weights = word_shares(self.start, self.stop, windows, len(tokens.ids), combine)
        # If no window contains a whole word, each of its subwords is averaged by itself.
        whole = np.zeros(tokens.words, dtype=bool)
        for start, stop in windows:
            whole |= (self.start >= start) & (self.stop <= stop)
        windows_of_token = np.zeros(len(tokens.ids))
        for start, stop in windows:
            windows_of_token[start:stop] += 1
        self.long = np.flatnonzero(~whole & (self.stop > self.start))
        self.share = 1 / np.maximum(windows_of_token, 1)

    def add(self, span: tuple[int, int], states: np.ndarray) -> None:
        """Add the states of one window, (layers, tokens of the window, hidden) float32."""
        start, stop = span
        words, weights = self.weights[span]
        if len(words):
            # Sums before each token, (layers, tokens + 1, hidden); a word's sum is the difference of two of them.
            before = np.zeros((len(states), 1 + stop - start, states.shape[2]))
            np.cumsum(states, axis=1, dtype=np.float64, out=before[:, 1:])
            sums = before[:, self.stop[words] - start] - before[:, self.start[words] - start]
            self.sum[:, words] += sums * (weights / (self.stop - self.start)[words])[:, None]
        # Words longer than any window: add the subwords that this window contains.
        for word in self.long:
            low, high = max(self.start[word], start), min(self.stop[word], stop)
            if low < high:
                share = self.share[low:high] / (self.stop[word] - self.start[word])
                self.sum[:, word] += np.einsum("lth,t->lh", states[:, low - start : high - start], share)
        self.left -= 1


def _finished(story: _Story, on_progress: Callable[[int], object] | None) -> WordVectors:
    """Return the vectors of a story whose windows are all read."""
    vectors = story.sum.astype(np.float32)
    words = story.tokens.words
    assert vectors.shape[1] == words, (vectors.shape, words)
    if on_progress is not None:
        on_progress(words)
    return WordVectors(
        vectors=vectors,
        empty=int((story.start == story.stop).sum()),
        unknown=story.tokens.unknown,
        windows=len(story.spans),
        tokens=len(story.tokens.ids),
    )


class _Reader:
    """A queue of windows, which are read in batches of equal or similar length."""

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
        """Split a story into tokens and windows."""
        tokens = subwords(words, self.tokenizer, self.encoder.tokenizer.unk_token)
        windows = spans(len(tokens.ids), self.size, self.stride)
        return _Story(tokens, windows, self.windows.combine, (len(self.layers), self.hidden))

    def flush(self, *, all_of_them: bool) -> None:
        """Read full batches of full windows, and short windows if they have enough tokens for a batch.

        Args:
            all_of_them: whether to read all windows, even if a batch is not full.
        """
        short = [(story, span) for story, span in self.queue if span[1] - span[0] < self.size]
        full = [(story, span) for story, span in self.queue if span[1] - span[0] == self.size]
        while len(full) >= self.rows or (all_of_them and full):
            self.read(full[: self.rows])
            full = full[self.rows :]
        short.sort(key=lambda queued: queued[1][0] - queued[1][1])  # the longest first
        while short and (all_of_them or sum(stop - start for _, (start, stop) in short) >= self.windows.batch_tokens):
            longest = short[0][1][1] - short[0][1][0]
            rows = max(1, self.windows.batch_tokens // (longest + len(self.before) + len(self.after)))
            self.read(short[:rows])
            short = short[rows:]
        self.queue = [*full, *short]

    def read(self, batch: list[tuple[_Story, tuple[int, int]]]) -> None:
        """Run the encoder on a batch of windows, and add their states to their stories."""
        # (batch, seq) token ids with special tokens around the window
        ids, mask = _padded(
            [[*self.before, *story.tokens.ids[a:b], *self.after] for story, (a, b) in batch],
            self.encoder.pad_id,
        )
        device = next(self.encoder.model.parameters()).device
        inputs: dict[str, torch.Tensor] = {"input_ids": ids.to(device)}
        if not mask.all():
            inputs["attention_mask"] = mask.long().to(device)
        with torch.inference_mode():
            output = self.encoder.model(**inputs, output_hidden_states=True)
        # one (batch, seq, hidden) a layer
        states = [output.last_hidden_state if n == self.top else output.hidden_states[n] for n in self.layers]
        lead = len(self.before)
        for row, (story, (a, b)) in enumerate(batch):
            # (layers, tokens of the window, hidden), without special tokens and padding
            window_states = torch.stack([layer[row, lead : lead + b - a] for layer in states])
            story.add((a, b), window_states.float().cpu().numpy())


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of token ids: (batch, seq) ids, and the (batch, seq) mask of the tokens that are not padding."""
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), pad)
    mask = torch.zeros((len(rows), length), dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return ids, mask
