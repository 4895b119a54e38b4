"""The model card of an adapter folder: README.md with the front matter that the hub reads.

The card is filled from the record of the run; lines without a value are left out. Values in the front matter are JSON.
JSON is valid YAML, and no name of a class or a file can break it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from encoderlab.model import heads
from encoderlab.tasks.metric import plain
from encoderlab.tasks.score_names import SCORE_NAMES

PIPELINES = {
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForMultipleChoice": "multiple-choice",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModel": "feature-extraction",
}


class Scores(Protocol):
    """The scores on one split."""

    @property
    def rows(self) -> int:
        """The number of scored rows."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """{name: value} of every metric."""
        ...


class Counts(Protocol):
    """The numbers of parameters; None where they are not known."""

    @property
    def adapter(self) -> int | None:
        """The parameters of the adapter."""
        ...

    @property
    def head(self) -> int | None:
        """The parameters of the head."""
        ...

    @property
    def total(self) -> int | None:
        """The parameters of the whole model."""
        ...


class Result(Protocol):
    """The part of a run's record that the card shows, as `training.run_record.RunRecord` has it."""

    @property
    def splits(self) -> Mapping[str, Scores]:
        """{split: scores}."""
        ...

    @property
    def parameters(self) -> Counts:
        """The numbers of parameters."""
        ...

    @property
    def epochs(self) -> int:
        """The number of epochs that the run trained."""
        ...

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose tensors are in the adapter."""
        ...

    @property
    def steps(self) -> int:
        """The number of optimizer steps."""
        ...

    @property
    def train_seconds(self) -> float:
        """The time of the training steps."""
        ...


def card(about: Mapping[str, Any], result: Result | None = None) -> str:
    """Return the text of README.md.

    Args:
        about: The content of encoderlab.json.
        result: The run's record. None for an adapter that was not scored.
    """
    parts = [_front(about, result), _title(about), _result(result), _training(about, result), _loading(about)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(about: Mapping[str, Any], result: Result | None) -> str:
    base, method, as_peft = about["base"]["name"], about["method"]["name"], about["layout"] == "peft"
    scored = set[str]().union(*(scores.metrics for scores in result.splits.values())) if result else set()
    values = {
        "base_model": base,
        "library_name": "peft" if as_peft else None,
        "pipeline_tag": PIPELINES.get(about.get("head", "")),
        "datasets": about.get("datasets"),
        "metrics": [one.hub for one in SCORE_NAMES if one.hub and one.key in scored],
        "tags": ["encoderlab", method, f"base_model:adapter:{base}"],
    }
    lines = (f"{key}: {_yaml(value)}" for key, value in values.items() if value)
    return "\n".join(["---", *lines, "---"])


def _yaml(value: Any) -> str:
    """Write a value as JSON that YAML reads unchanged: unprintable characters are escaped, all others stay."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def _title(about: Mapping[str, Any]) -> str:
    method = about["method"]
    settings = ", ".join(f"{k} = {_text(v)}" for k, v in method.items() if k not in ("name", "learning_rate"))
    title = f"# `{method['name']}` on {_text(about['base']['name'])}"
    said = f"encoderlab trained this adapter with its method `{method['name']}`" + (
        f" ({settings})." if settings else "."
    )
    classes = about.get("class_names") or []
    named = f" Classes: {', '.join(map(_text, classes))}." if 1 < len(classes) <= 20 else ""
    return f"{title}\n\n{said}{named}"


def _result(result: Result | None) -> str:
    if not result or not result.splits:
        return ""
    splits = [scores.metrics for scores in result.splits.values()]
    told = {one.key: one.label for one in SCORE_NAMES if one.label and any(one.key in split for split in splits)}
    rows = [f"| split | rows | {' | '.join(told.values())} |", f"| --- | --- |{' --- |' * len(told)}"]
    for name, scores in result.splits.items():
        numbers = (scores.metrics.get(key) for key in told)
        rows.append(f"| {name} | {scores.rows} | {' | '.join('' if n is None else plain(n) for n in numbers)} |")
    return "\n".join(["## Result", "", *rows])


def _training(about: Mapping[str, Any], result: Result | None) -> str:
    return "\n".join(["## Training", "", *(f"- {line}" for line in _facts(about, result))])


def _facts(about: Mapping[str, Any], result: Result | None) -> Iterator[str]:
    for split, data in (about.get("data") or {}).items():
        yield f"{split}: {data['rows']} rows of {_text(data['origin'])}"
    for key, words in (("learning_rate", "learning rate"), ("seed", "seed"), ("max_length", "longest text, in tokens")):
        if about.get(key) is not None:
            yield f"{words}: {about[key]:g}" if key == "learning_rate" else f"{words}: {about[key]}"
    if result and result.parameters.total:
        adapter, head, total = result.parameters.adapter or 0, result.parameters.head or 0, result.parameters.total
        share = (adapter + head) / total
        yield f"parameters: {adapter:,} in the adapter, {head:,} in the head, {share:.2%} of {total:,}"
    if result and result.epochs:
        yield (
            f"epochs: {result.epochs} ({result.steps} steps, {result.train_seconds:.0f} s); "
            f"the best: {result.best_epoch}"
        )
    if about.get("precision") == "bfloat16":
        yield "precision: trained and scored in bf16; in fp32 the logits differ from about the third digit on"
    yield f"base model: {_text(about['base']['name'])}, fingerprint {about['base']['fingerprint'][:12]}"
    if about["method"]["name"] == "qlora":
        yield "four bits: trained with the base model in NF4; with the base model in full precision, the answers differ"


def _loading(about: Mapping[str, Any]) -> str:
    base, head = about["base"]["name"], about.get("head") or "AutoModelForSequenceClassification"
    classes = about.get("class_names") or []
    if about["layout"] == "peft" and about["method"]["name"] != "qlora":  # ours rounds the base to four bits
        labels = heads.arguments(head, classes)
        code = [
            "from peft import PeftModel",
            f"from transformers import {head}",
            f"model = PeftModel.from_pretrained({head}.from_pretrained({base!r}{labels}), FOLDER)",
        ]
    else:
        code = [
            "from encoderlab import adapters, backbone",
            f"encoder = backbone.load({base!r}, head={head!r}, class_names={classes!r}, seed=0)",
            "adapters.load_adapter(encoder, FOLDER)  # encoder.model is the tuned model",
        ]
    return "\n".join(["## Use", "", "```python", *code, "```"])


def _text(value: Any) -> str:
    """Format a value of the user as Markdown text on one line."""
    words = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else str(value)
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in line)
