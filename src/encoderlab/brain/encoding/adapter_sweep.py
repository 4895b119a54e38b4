"""Use an encoder and every run of a masked-lm study as feature spaces: the rank sweep.

adapt = "all stories"        the study's own runs, whose adapters were trained on the words of all stories, including
                             held-out ones (never on a response). Fast; the report states it.
adapt = "without held-out"   for each group of held-out stories, the study is run again on the other stories alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from encoderlab.brain.stories.saved import save
from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors.features import Encoder, Feature
from encoderlab.config import load, settings
from encoderlab.core.errors import InputError, Problem, collecting
from encoderlab.results.study_record import StudyRecord
from encoderlab.study.compare import compare
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import Kind


@final
@dataclass(frozen=True, kw_only=True)
class Adapted:
    """One variant and seed of a masked-lm study, which is trained without some stories."""

    label: str
    feature: Encoder
    study: Path
    variant: str
    seed: int


def expand(features: Sequence[tuple[str, Feature]], *, trained: bool) -> tuple[tuple[str, Any], ...]:
    """Replace each space that names a masked-lm study by the encoder and the study's runs.

    Args:
        features: (label, section) of each space.
        trained: whether to use the adapters of the runs; otherwise each run becomes an `Adapted`, which is trained for
            each group of held-out stories.

    Returns:
        (label, Feature or Adapted) of every space.

    Raises:
        InputError: a study is not a masked-lm study, is not finished, or cannot be trained without held-out stories;
            the message lists the problems of all spaces.
    """
    found: list[tuple[str, Feature | Adapted]] = []
    problems: list[Problem] = []
    for label, feature in features:
        if not isinstance(feature, Encoder) or feature.study is None:
            found.append((label, feature))
            continue
        with collecting(problems):
            found += _runs(label, replace(feature, study=None), Path(feature.study), trained)
    labels = [label for label, _ in found]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        problems.append(Problem("features", f"{twice[0]!r} occurs twice", "give one of them a label"))
    if problems:
        raise InputError(*problems)
    return tuple(found)


def _runs(label: str, plain: Encoder, path: Path, trained: bool) -> list[tuple[str, Feature | Adapted]]:
    """List the encoder and every run of the study at `path`."""
    study = load.load(path)
    if not isinstance(study.task, MaskedLM):
        raise InputError(f'{path}: task.kind is "{study.task.kind}"; expected a masked-lm study')  # type: ignore[attr-defined]
    if not trained:
        _check_cuts(study)
    found: list[tuple[str, Feature | Adapted]] = [(label, plain)]
    for variant, seed in [(variant.label, seed) for variant in study.variants for seed in study.seeds]:
        name = f"{label} + {variant}" + (f" seed {seed}" if len(study.seeds) > 1 else "")
        if trained:
            found.append((name, replace(plain, adapter=str(_adapter(path, study.out, variant, seed)))))
        else:
            found.append((name, Adapted(label=name, feature=plain, study=path, variant=variant, seed=seed)))
    return found


def _check_cuts(study: settings.Study) -> None:
    for split in ("validation", "test"):
        if getattr(study.data, split).fraction is None:
            raise InputError(
                f'{study.path}: data.{split} has its own source; adapt = "without held-out" needs a share of '
                "the training stories, { fraction = 0.1 }; otherwise held-out stories would choose the adapter"
            )


def retrain(adapted: Adapted, stories: Sequence[Story], folder: Path) -> Path:
    """Train a variant and seed on these stories alone, unless that is done, and return its adapter folder."""
    texts = folder / "stories.parquet"
    save(stories, texts)
    overrides = [f"data.train.path={texts.absolute()}", f"out={folder.absolute()}"]
    compare(adapted.study, overrides)  # it skips finished runs
    return _adapter(adapted.study, folder, adapted.variant, adapted.seed)


def _adapter(study: Path, out: Path, variant: str, seed: int) -> Path:
    """Find the adapter of a finished run, or raise InputError."""
    if not (out / "study.json").is_file():
        raise InputError(f"{out}: the masked-lm study has no runs yet; run `encoderlab compare {study}` first")
    for number, label in StudyRecord.read(out).labels.items():
        folder = RunFolder(out / "runs" / number)
        if label.variant != variant or not folder.is_recorded:
            continue
        record = folder.record()
        if record.kind is Kind.RUN and record.seed == seed and record.is_done:
            return folder.adapter
    raise InputError(f"{out}: no finished run of {variant!r} with seed {seed}; run `encoderlab compare {study}`")
