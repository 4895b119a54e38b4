"""Evaluate a run on labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoderlab.data.readers import read
from encoderlab.data.rows import empty_texts
from encoderlab.data.source import Source
from encoderlab.engine.tuned_model import logits
from encoderlab.inference.load_run import load_run
from encoderlab.inference.predict import _as_source, _without_text


def evaluate(run: Path, source: Path | Source, *, force: bool = False, base: str | None = None) -> dict[str, Any]:
    """Score a run on a labelled file.

    Args:
        run: The folder of the run.
        source: The file.
        force: As in `load_run`.
        base: As in `load_run`.

    Returns:
        The metrics, with `rows` and `notes` (how the file was read, what was dropped).

    Raises:
        InputError: As in `predict`.
    """
    loaded = load_run(run, force=force, base=base)
    everything = read(_as_source(source), Path())
    rows = loaded.task.prepare(everything, labelled=True)
    tokenized = loaded.task.tokenize(rows, loaded.tokenizer, loaded.max_length, loaded.class_names)
    metrics = loaded.task.metrics(logits(loaded, tokenized), tokenized.labels, loaded.class_names)
    notes = list(rows.notes)
    if empty := empty_texts(rows, loaded.task.text_columns):
        notes.append(f"{rows.origin}: {_without_text(empty, len(rows))}; they are scored like the others")
    return {
        "run": str(run),
        "file": str(source.path if isinstance(source, Source) else source),
        "rows": len(rows),
        **metrics,
        "notes": notes,
    }
