"""Read rows, model and device once for all runs of a study."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from encoderlab.config.settings import Study
from encoderlab.core import files
from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine import head_units
from encoderlab.engine.device import choose_device, choose_precision
from encoderlab.model import load, positions
from encoderlab.model.encoder import EncoderModel
from encoderlab.training.run_context import RunContext


def open_context(study: Study, splits: Splits, class_names: list[str]) -> RunContext:
    """Prepare everything that the runs of a study share: tokens, device, precision, fingerprint.

    Args:
        study: the study.
        splits: its rows, by split.
        class_names: the names of the classes.

    Returns:
        The context of the runs. Tokens come from the cache on disk if they are there.
    """
    away = study.launch.gpu and study.train.device != "cpu"  # the jobs have a GPU, whatever this machine has
    device = choose_device("cuda" if away else study.train.device)
    dtype, why = choose_precision(device, study.train.precision)
    base = load.load(study.model, head=study.task.head, class_names=class_names, seed=0)
    cache = files.cache_folder() / "tokens"
    tokenized = {
        name: study.task.tokenize(rows, base.tokenizer, study.train.max_length, class_names, cache)
        for name, rows in splits.items()
    }
    base, anew = head_units.settle(base, study.task, tokenized["train"])
    strides = {stride for variant in study.variants if (stride := variant.overrides.stride) is not None}
    strided = {
        stride: replace(study.task, stride=stride).tokenize(  # type: ignore[type-var]
            splits.train, base.tokenizer, study.train.max_length, class_names, cache
        )
        for stride in sorted(strides)
    }
    index = {name: numbers_of(tokenized[name], rows) for name, rows in splits.items()}
    origins = {name: rows.origin for name, rows in splits.items()}
    unscored = study.report.confirm  # no run may depend on this set
    sources = [source for name, source in study.data.sources.items() if name != unscored]
    hub = tuple(dict.fromkeys(source.hub for source in sources if source.hub))
    return RunContext(
        model=study.model,
        fingerprint=fingerprint_of(base, [rows for name, rows in tokenized.items() if name != unscored]),
        tokenizer=base.tokenizer,
        task=study.task,
        class_names=class_names,
        train=tokenized["train"],
        validation=tokenized["validation"],
        test=tokenized["test"],
        other_tests={name: tokenized[name] for name in splits.others if name != unscored},
        kept_back={} if unscored is None else {unscored: tokenized[unscored]},
        strided=strided,
        index=index,
        settings=study.train,
        device=device,
        dtype=dtype,
        why=why,
        folder=study.out / "runs",
        track=study.top.track,
        study=study.name,
        origins={name: o if o.startswith(hub) else Path(o).name for name, o in origins.items()},
        hub=hub,
        since=time.time(),
        anew=anew,
    )


def fingerprint_of(base: EncoderModel, splits: Iterable[TokenizedRows]) -> str:
    """Return the text that stands for the model in a run's id."""
    parts = [base.fingerprint, base.pooler_fingerprint, base.head_fingerprint]
    table = positions.table(base.base_model) if base.family.packs else None
    padding = None if table is None else table.padding_idx
    parts += {positions.mark(tokenized.ids, padding) for tokenized in splits}
    return " ".join(filter(None, parts))


def numbers_of(tokenized: TokenizedRows, rows: Rows) -> np.ndarray:
    """Return the number of each row that the model sees: of the row in its source, or of the window. int64 (rows,)."""
    return rows.index if tokenized.index is None else tokenized.index
