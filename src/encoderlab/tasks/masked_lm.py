r"""Masked language modelling: the encoder learns to predict masked words of unlabelled texts.

    m ~ Bernoulli(rate) for every token of a window; of the masked 80 % become [MASK], 10 % another token, 10 % stay
    loss of a window = mean over its masked tokens of -log p(token | window)          (Devlin et al. 2019, section 3.1)

Rows are windows of the texts: at most `max_length` tokens, including [CLS] and [SEP], that begin `stride` tokens apart.
The last window ends where the text ends. The masks of training are drawn from (seed, epoch, window), those of
validation and test once. The head computes only the masked positions, a seventh of the tokens, because the head of a
small encoder costs as much as its layers.

The head of the checkpoint stays frozen, so that training gives an adapter for the encoder with or without a head.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

import numpy as np
from annotated_types import Ge, Gt, Le

from encoderlab.core.errors import InputError, Problem
from encoderlab.core.types import Doc
from encoderlab.data.cells import as_list
from encoderlab.data.rows import Rows, as_text
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import Masked, MaskVocabulary, TokenizedRows
from encoderlab.tasks.base import MUCH, Task
from encoderlab.tasks.masked_metrics import MASKED_ACCURACY, MASKED_LOSS
from encoderlab.tasks.metric import Metric
from encoderlab.tasks.windows import around, spans, window_size

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from encoderlab.model.encoder import EncoderModel


SHORTEST = 32  # tokens; a shorter text, or the shorter rest of a text, has too little context to learn from
LABEL = "masked"


@final
@dataclass(frozen=True, kw_only=True)
class MaskedLM(Task):
    """Predict masked tokens of unlabelled texts."""

    kind: Literal["masked-lm"] = "masked-lm"
    text: Annotated[str | None, Doc("a column of texts, or of lists of words; default: text or words")] = None
    stride: Annotated[
        Annotated[int, Ge(1)] | None,
        Doc(
            "number of tokens from one window to the next; default: the number of tokens in a window, "
            "so that no token is read twice"
        ),
    ] = None
    mask_rate: Annotated[float, Gt(0), Le(0.9), Doc("share of the tokens that are masked")] = 0.15
    fresh_head: Annotated[
        bool, Doc("whether to accept an encoder without a masked-lm head, and train a newly initialized one")
    ] = False

    head: ClassVar[str] = "AutoModelForMaskedLM"
    has_classes: ClassVar[bool] = False
    baseline: ClassVar[str | None] = None
    supports_head_method: ClassVar[bool] = False  # the head is pretrained and stays frozen

    @property
    def text_columns(self) -> tuple[str, ...]:
        return ("text",)

    @property
    def label_column(self) -> str:
        return LABEL

    def problems(self) -> list[Problem]:
        return []

    def prepare(self, rows: Rows, *, labelled: bool) -> Rows:
        """Make texts with white space between words. Every row gets the same label, so nothing is balanced."""
        names = list(rows.columns)
        name = self.text or next((name for name in ("text", "words") if name in names), None)
        if name not in names:
            raise InputError(f"{rows.origin}: no column {name or 'text'!r}; it has {', '.join(names)}")
        texts = []
        for place, cell in enumerate(rows.columns[name]):
            where = f"{rows.origin}: row {rows.index[place] + 1}"
            if cell is None or (isinstance(cell, float) and math.isnan(cell)):
                cell = ""  # like an empty cell of a CSV file
            words: list[Any]
            try:
                words = [cell] if (cells := as_list(cell)) is None else cells
            except ValueError:  # a text that begins like a list
                words = [cell]
            if not all(isinstance(word, str) for word in words):
                if not isinstance(cell, str):
                    raise InputError(f"{where}: {name} is neither a text nor a list of words")
                words = [cell]  # a text such as [12]
            texts.append(" ".join(filter(None, (as_text(word).strip() for word in words))))
        columns: dict[str, list] = {"text": texts}
        return Rows(columns | ({LABEL: [LABEL] * len(texts)} if labelled else {}), rows.origin, rows.index, rows.notes)

    def class_names(self, splits: Splits) -> list[str]:
        return [LABEL]

    def model_problems(self, encoder: EncoderModel) -> list[str]:
        if encoder.tokenizer.mask_token_id is None:
            return [f"{encoder.name}: its tokenizer has no mask token, so it cannot learn from masked words"]
        missing = sorted(name for name in encoder.newly_initialized if not name.startswith(encoder.base_prefix))
        if missing and not self.fresh_head:
            return [
                f"{encoder.name}: the checkpoint has no masked-lm head ({len(missing)} tensors, e.g. {missing[0]}), "
                "and an encoder cannot be judged through a random one; name a checkpoint with its head, or set "
                "task.fresh_head = true to train one along"
            ]
        return []

    def length_problems(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Problem]:
        size = window_size(tokenizer, max_length)
        special = max_length - size
        if size < SHORTEST:
            message = (
                f"{max_length} leaves windows of {size} tokens; expected at least {SHORTEST + special}: fewer than "
                f"{SHORTEST} tokens have too little context to learn from"
            )
            return [Problem("train.max_length", message)]
        if self.stride is not None and self.stride > size:
            message = (
                f"{self.stride} is more than the {size} tokens of a window (train.max_length = {max_length} with "
                f"{special} special ones), and those between two windows would be left out"
            )
            return [Problem("task.stride", message, f"use at most {size}")]
        return []

    def tokenize(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        class_names: Sequence[str],
        cache: Path | None = None,
    ) -> TokenizedRows:
        """Make one row of each window.

        `rows_cut` counts the texts of which a short rest, or all, is left out, and `tokens_lost` their tokens.

        Raises:
            InputError: no text is long enough.
        """
        before, after = around(tokenizer)
        size = window_size(tokenizer, max_length)
        stride = self.stride or size
        ids: list[np.ndarray] = []
        texts: list[int] = []
        rows_cut = tokens_lost = read = 0
        for position, text in enumerate(rows.columns["text"]):
            tokens = np.array(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int32)
            windows = spans(len(tokens), size, stride, SHORTEST)
            rest = len(tokens) - (windows[-1][1] if windows else 0)
            rows_cut += rest > 0
            tokens_lost += rest
            read += len(tokens) - rest
            ids += [np.concatenate([before, tokens[start:stop], after]) for start, stop in windows]
            texts += [position] * len(windows)
        if not ids:
            raise InputError(
                f"{rows.origin}: no text has {SHORTEST} tokens; shorter ones have too little context to learn "
                "from: join them to longer texts"
            )
        whole = np.concatenate(ids).astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum([len(window) for window in ids])]).astype(np.int64)
        return TokenizedRows(
            ids=whole,
            offsets=offsets,
            type_ids=None,
            labels=np.zeros(len(ids), dtype=np.int64),
            rows_cut=rows_cut,
            tokens_lost=tokens_lost,
            fingerprint=hashlib.sha256(whole.tobytes() + offsets.tobytes()).hexdigest(),
            index=np.arange(len(ids)),
            texts=np.array(texts, dtype=np.int64),
            vocabulary=_vocabulary(tokenizer),
            read=read,
        )

    def cut_warning(self, tokenized: TokenizedRows, rows: int, max_length: int) -> str | None:
        """Warn by the share of tokens, because nearly every long text loses a short rest."""
        if tokenized.share_lost <= MUCH:
            return None
        return (
            f"{tokenized.share_lost:.0%} of the tokens are left out: {tokenized.rows_cut} of {rows} texts "
            f"({tokenized.rows_cut / rows:.0%}) have fewer than {SHORTEST} tokens, or so few behind their last window"
        )

    def label_counts(self, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
        """Return the number of windows, because there are no labels."""
        return {"windows": len(labels)}

    def masked(self, tokenized: TokenizedRows, rows: np.ndarray, draw: tuple[int, ...]) -> Masked:
        """Draw the masks of some windows.

        Args:
            tokenized: the split.
            rows: the windows, as rows of a padded batch.
            draw: (seed, epoch), or (0, 0) for validation and test.
        """
        from encoderlab.core.rng import numpy_generator

        assert tokenized.vocabulary is not None and tokenized.index is not None
        vocabulary = tokenized.vocabulary
        width = int(tokenized.lengths[rows].max())
        places, corrupted, wanted, owner = [], [], [], []
        for i, row in enumerate(rows):
            tokens = tokenized.ids[tokenized.offsets[row] : tokenized.offsets[row + 1]]
            generator = numpy_generator(draw[0], "mask", *draw[1:], int(tokenized.index[row]))
            ordinary = np.flatnonzero(~np.isin(tokens, vocabulary.special))
            uniform = generator.random(len(ordinary))
            chosen = ordinary[uniform < self.mask_rate]
            if not len(chosen):  # a short window: without a mask there is no loss
                chosen = ordinary[[int(uniform.argmin())]] if len(ordinary) else np.array([0])
            kind, other = generator.random(len(chosen)), generator.choice(vocabulary.ordinary, len(chosen))
            corrupted.append(np.where(kind < 0.8, vocabulary.mask, np.where(kind < 0.9, other, tokens[chosen])))
            places.append(i * width + chosen)
            wanted.append(tokens[chosen])
            owner.append(np.full(len(chosen), i))
        return Masked(
            places=np.concatenate(places),
            inputs=np.concatenate(corrupted).astype(np.int64),
            targets=np.concatenate(wanted).astype(np.int64),
            owner=np.concatenate(owner),
            rows=len(rows),
        )

    def masked_scores(self, logits: Tensor, masked: Masked) -> Tensor:
        """Return per row the summed loss, the masked tokens and the correct ones: (masked, vocabulary) -> (rows, 3)."""
        import torch
        from torch.nn.functional import cross_entropy

        targets, owner = (torch.from_numpy(array).to(logits.device) for array in (masked.targets, masked.owner))
        loss = cross_entropy(logits.float(), targets, reduction="none")
        right = (logits.argmax(dim=1) == targets).float()
        columns = torch.stack([loss, torch.ones_like(loss), right], dim=1)
        return columns.new_zeros(masked.rows, 3).index_add(0, owner, columns)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits[:, 0] / logits[:, 1]

    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Return loss (nats), perplexity = exp(loss) and accuracy over all masked tokens."""
        loss, count, right = logits.astype(np.float64).sum(axis=0)
        return {
            "loss": float(loss / count),
            "perplexity": perplexity(float(loss / count)),
            "accuracy": float(right / count),
            "masked_tokens": int(count),
        }

    def metric(self, class_names: Sequence[str]) -> Metric:
        return MASKED_ACCURACY

    def extra_metrics(self, class_names: Sequence[str]) -> tuple[Metric, ...]:
        return (MASKED_LOSS,)

    def value(self, metrics: Mapping[str, Any]) -> float:
        """Return minus the loss, which also measures how near a wrong guess was; the accuracy does not."""
        return -metrics["loss"]

    def mean_score(self, key: str, runs: Sequence[Mapping[str, float]]) -> float | None:
        """Return the mean over runs. Perplexity is that of the mean loss, as it is within one run."""
        if key == "perplexity" and any(key in scores for scores in runs):
            return perplexity(float(np.mean([scores["loss"] for scores in runs])))
        return super().mean_score(key, runs)

    def predictions(self, logits: np.ndarray, class_names: Sequence[str], rows: Rows) -> dict[str, list]:
        raise InputError(
            "a masked-lm run has no answers to predict; use its adapter on the bare encoder (encoderlab embed), or "
            "score it with `encoderlab evaluate`"
        )


def perplexity(loss: float) -> float:
    """Return exp(loss) of a mean loss in nats; capped where exp would overflow."""
    return math.exp(min(loss, 700.0))


def _vocabulary(tokenizer: Any) -> MaskVocabulary:
    special = np.array(sorted(tokenizer.all_special_ids), dtype=np.int64)
    ordinary = np.setdiff1d(np.arange(len(tokenizer)), special)
    return MaskVocabulary(mask=int(tokenizer.mask_token_id), special=special, ordinary=ordinary)
