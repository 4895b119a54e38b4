"""Multiple choice: one of two or more choices of a row, for a question with or without a context.

    choice j is the sequence [CLS] question context [SEP] choice_j [SEP]; the head gives it one number s_j
    loss = -log softmax(s_1 ... s_m)[answer], over the m choices that the row has

The question comes before its context, so that a long row first loses the end of the context. Truncating the longest
text first leaves a choice at least half of the tokens, if it has that many.

A class is the position of a choice, written as a letter. `choice_layouts` reads the forms in which files write
questions, choices and answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

import numpy as np

from encoderlab.core.errors import InputError, Problem
from encoderlab.core.types import Doc
from encoderlab.data.labels import canonical_label
from encoderlab.data.prepare import convert, prepare
from encoderlab.data.rows import Rows, dropped, no_labels
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.tasks import choice_layouts as layouts
from encoderlab.tasks.base import Task
from encoderlab.tasks.class_metrics import CHOICE_ACCURACY
from encoderlab.tasks.metric import Metric
from encoderlab.tasks.probability_metrics import LogLoss, log_softmax
from encoderlab.tasks.tokenization import tokenize

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


MOST_PROBLEMS = 5  # lines about single rows; the rest is counted
FROM_ZERO = "answers count from 0"
ONE_LESS = "subtract 1 from each, or write letters (A, B, ...)"


@final
@dataclass(frozen=True, kw_only=True)
class MultipleChoice(Task):
    """Choose the right one of several answers to a question."""

    kind: Literal["multiple-choice"] = "multiple-choice"
    question: Annotated[
        str | None,
        Doc("a column of texts, or of objects with `stem` and `choices`; default: question or question_stem"),
    ] = None
    choices: Annotated[
        str | tuple[str, ...] | None,
        Doc(
            "a column of lists, or one column per choice; default: found in the question, in a column "
            "choices, or in columns such as A, B, C"
        ),
    ] = None
    answer: Annotated[
        str | None, Doc("a column that says which choice is right; default: answerKey, answer or label")
    ] = None
    context: Annotated[str | None, Doc("a column with a fact or a passage that belongs to the question")] = None

    head: ClassVar[str] = "AutoModelForMultipleChoice"

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of prepared rows, which have the same names for every file."""
        return ("question", *(["context"] if self.context is not None else []), "choices")

    @property
    def label_column(self) -> str:
        return "answer"

    def problems(self) -> list[Problem]:
        several = list(self.choices) if isinstance(self.choices, tuple) else [self.choices] if self.choices else []
        named = [name for name in (self.question, *several, self.answer, self.context) if name is not None]
        twice = dict.fromkeys(name for name in named if named.count(name) > 1)
        found = [Problem("choices", f"column {name!r} is named for two purposes", "name it once") for name in twice]
        if isinstance(self.choices, tuple) and len(self.choices) < 2:
            found.append(Problem("choices", "expected two columns or more, or the name of one column with lists"))
        return found

    def prepare(self, rows: Rows, *, labelled: bool) -> Rows:
        """Make the columns `question`, `context` if the section names one, `choices` and `answer`.

        `choices` are [(label, text), ...] without empty ones; `answer` is the letter of the position of the right one.
        """
        layout = layouts.find(rows, self.question, self.choices, self.answer, self.context, labelled=labelled)
        texts, answer = [layout.question, *([layout.context] if layout.context else [])], layout.answer
        plain = prepare(layout.rows, text=texts, label=None)
        if labelled:
            plain = _with_answers(plain, layout)
        positions = np.searchsorted(rows.index, plain.index)  # of the remaining rows in the file
        pairs: list[list[tuple[str, str]]] = []
        answers: list[str] = []
        problems: dict[int, str] = {}
        numbers: dict[int, tuple[int, Sequence[str]]] = {}  # answers that are numbers, with the labels of the row
        where = [f"{rows.origin}: row {number + 1}" for number in plain.index]
        for place, row in enumerate(positions):
            try:
                choices = layout.choices(row)
                pairs.append(choices.pairs)
                if labelled:
                    labels, written = [label for label, _ in choices.pairs], plain.columns[answer][place]
                    number = _number(labels, written) if choices.numbered else None
                    if number is not None:
                        numbers[place] = number, labels
                    answers.append(_position(labels, written, number, answer, choices.numbered))
            except ValueError as error:
                problems[place] = f"{where[place]}: {error}"
        notes = plain.notes
        if numbers and all(number for number, _ in numbers.values()):
            if beyond := [place for place, (number, labels) in numbers.items() if _is_one_more(labels, number)]:
                number, labels = numbers[beyond[0]]
                line = f"answer {number} (column {answer!r}) of {len(labels)} choices, and no row's answer is 0"
                others = {place: line for place, line in problems.items() if place not in beyond}
                problems = {beyond[0]: f"{where[beyond[0]]}: {line}: {FROM_ZERO}; {ONE_LESS}"} | others
            else:
                notes += (
                    f"{rows.origin}: none of the {len(numbers)} answers that are numbers (column {answer!r}) is 0, and "
                    f"{FROM_ZERO}, 1 being the second choice; if these count from 1, {ONE_LESS}",
                )
        if problems:
            lines, left = list(problems.values())[:MOST_PROBLEMS], len(problems) - MOST_PROBLEMS
            raise InputError(*lines, *([f"{rows.origin}: {left} more such rows"] if left > 0 else []))
        columns: dict[str, list] = dict(zip(self.text_columns, (plain.columns[name] for name in texts), strict=False))
        columns["choices"] = pairs
        return Rows(columns | ({"answer": answers} if labelled else {}), rows.origin, plain.index, notes)

    def dummy_rows(self, texts: Sequence[str]) -> Rows:
        """Return rows with two and three choices in turns."""
        columns: dict[str, list] = {name: list(texts) for name in self.text_columns}
        columns["choices"] = [
            [(layouts.letter(j), text[: 20 * (j + 1)] + "?") for j in range(2 + i % 2)] for i, text in enumerate(texts)
        ]
        return Rows(columns, "random words", np.arange(len(texts)))

    def class_names(self, splits: Splits) -> list[str]:
        """Return A, B, C, ... up to the largest number of choices of a row in any split."""
        most = max(len(cell) for _, rows in splits.items() for cell in rows.columns["choices"])
        return [layouts.letter(i) for i in range(most)]

    def tokenize(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        class_names: Sequence[str],
        cache: Path | None = None,
    ) -> TokenizedRows:
        """Make one sequence per choice, row by row, with the label -1 for unlabelled rows.

        Rows may have more choices than `class_names`, because each choice is scored by itself.
        """
        columns = rows.columns
        parts = [columns[name] for name in self.text_columns[:-1]]
        firsts = [" ".join(filter(None, cells)) for cells in zip(*parts, strict=True)]
        sizes = [len(cell) for cell in columns["choices"]]
        flat = {
            "first": [first for first, size in zip(firsts, sizes, strict=True) for _ in range(size)],
            "choice": [text for cell in columns["choices"] for _, text in cell],
        }
        groups = np.array([0, *accumulate(sizes)], dtype=np.int64)
        sequences = Rows(flat, rows.origin, np.arange(groups[-1]))
        if "answer" in columns:
            number = {layouts.letter(i): i for i in range(max(sizes))}
            labels = np.array([number[name] for name in columns["answer"]], dtype=np.int64)
        else:
            labels = np.full(len(rows), -1, dtype=np.int64)
        return tokenize(sequences, ("first", "choice"), labels, tokenizer, max_length, cache, groups)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.float(), labels, reduction="none")

    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Return loss (mean cross-entropy in nats, float64) and accuracy. Positions are not classes with own scores.

        Each of k best choices with equal logits counts 1/k.
        """
        return {one.key: one.value(one.row_statistics(logits, labels)) for one in (LogLoss(), CHOICE_ACCURACY)}

    def metric(self, class_names: Sequence[str]) -> Metric:
        return CHOICE_ACCURACY

    def extra_metrics(self, class_names: Sequence[str]) -> tuple[Metric, ...]:
        return (LogLoss(),)

    def predictions(self, logits: np.ndarray, class_names: Sequence[str], rows: Rows) -> dict[str, list]:
        """Return answer (the label in the file), answer_text, probability, and probability_<letter> of each position.

        The last is empty for a choice that the row does not have. Of several best choices with equal logits, the answer
        is the first.

        Raises:
            InputError: a row has more choices than `class_names`, because the columns are the same for all rows.
        """
        cells = rows.columns["choices"]
        widest = max(map(len, cells))
        if widest > len(class_names):
            row = rows.index[[len(cell) for cell in cells].index(widest)] + 1
            raise InputError(
                f"{rows.origin}: row {row}: {widest} choices, but there are columns for the {len(class_names)} that a "
                "row of the run's own data had at most; leave out such rows"
            )
        probabilities = np.exp(log_softmax(logits))
        chosen = [cell[i] for cell, i in zip(cells, logits.argmax(axis=1), strict=True)]
        return {
            "answer": [label for label, _ in chosen],
            "answer_text": [text for _, text in chosen],
            "probability": probabilities.max(axis=1).tolist(),
            **{
                f"probability_{name}": [
                    float(p[i]) if i < len(cell) else "" for p, cell in zip(probabilities, cells, strict=True)
                ]
                for i, name in enumerate(class_names)
            },
        }


def _with_answers(plain: Rows, layout: layouts.Layout) -> Rows:
    """Drop rows without an answer: an empty one, or -1 unless a choice has this label."""
    answers = convert(layout.rows, layout.answer, canonical_label)
    minus_one = [i for i, name in enumerate(answers) if name == "-1" and not layout.has_label(i, name)]
    empty = [i for i, name in enumerate(answers) if name is None]
    plain = Rows({**plain.columns, layout.answer: answers}, plain.origin, plain.index, plain.notes)
    if not (minus_one or empty):
        return plain
    answered = np.setdiff1d(np.arange(len(plain)), [*minus_one, *empty])
    if not len(answered):
        raise InputError(no_labels(plain.origin, len(plain), layout.answer))
    note = f"{dropped(len(plain) - len(answered), len(plain))} ({len(empty)} empty, {len(minus_one)} -1)"
    return replace(plain.take(answered), notes=(*plain.notes, f"{plain.origin}: {note}"))


def _number(labels: Sequence[str], answer: str) -> int | None:
    """Return an answer that is a number from 0, if the choices have no labels in the file; None for a label."""
    return int(answer) if answer not in labels and answer.isdecimal() and len(answer) < 10 else None


def _is_one_more(labels: Sequence[str], number: int) -> bool:
    """Return whether the row has this choice only if the first one is 1."""
    return layouts.letter(number) not in labels and layouts.letter(number - 1) in labels


def _position(labels: Sequence[str], answer: str, number: int | None, column: str, numbered: bool) -> str:
    """Return the letter of the position of the right choice.

    Args:
        labels: the labels of the choices.
        answer: the answer in the file.
        number: the answer as a number from 0, if the choices have no labels in the file.
        column: the name of the answer's column, for messages.
        numbered: whether the choices have no labels in the file.

    Raises:
        ValueError: there is no such choice.
    """
    name = answer if number is None else layouts.letter(number)
    if name in labels:
        return layouts.letter(labels.index(name))
    raise ValueError(
        f"answer {answer!r} (column {column!r}) is no choice of its row, which has {', '.join(map(repr, labels))}"
        f"{' (or numbers from 0)' if numbered else ''}; correct or remove the row"
    )
