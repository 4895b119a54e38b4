"""Summarise the scores of every subject and feature space in one row each.

mean, mean_low, mean_high    of the voxels' r, over stories, with the t interval over stories
median, top5, top1           of the voxels' mean r: the median voxel, the means of the best 5 % and 1 %
pooled, r2                   means over voxels of r and R2 over all held-out TRs end to end
significant                  share of the scored voxels below the false discovery rate `q`
difference, ..., p, holm_p   to the subject's reference space, paired over stories (`fmri.paired`), Holm over spaces;
                             no p with fewer than 6 stories
alpha_median, alpha_edge     over folds and voxels; the share at either end of the grid
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from encoderlab.brain.encoding.score import Scores
from encoderlab.brain.encoding.settings import Encode
from encoderlab.brain.fmri.paired import against_best, paired
from encoderlab.brain.fmri.scores import over_stories, summary
from encoderlab.brain.fmri.significance import benjamini_hochberg
from encoderlab.core import statistics
from encoderlab.core.files import write_atomically, write_text

COLUMNS = (
    *("subject", "feature", "kind", "dimensions", "stories", "voxels", "unscored"),
    *("mean", "mean_low", "mean_high", "median", "top5", "top1", "pooled", "r2", "significant"),
    *("difference", "difference_low", "difference_high", "p", "holm_p"),
    *("alpha_median", "alpha_edge", "seconds"),
)


def rows(scored: Mapping[tuple[str, str], Scores], features: Sequence[str], settings: Encode) -> list[dict[str, Any]]:
    """Make the rows of the table, subject by subject, with the spaces in the study's order.

    Args:
        scored: {(subject, feature space): scores}.
        features: labels of the spaces.
        settings: the section [encode].
    """
    reference = settings.reference or features[0]
    table = []
    for subject in dict.fromkeys(name for name, _ in scored):
        of_subject = [_row(subject, scored[subject, feature], settings) for feature in features]
        for row, feature in zip(of_subject, features, strict=True):
            if feature != reference:
                a, b = scored[subject, feature], scored[subject, reference]
                test = paired(a.scores, b.scores, folds=settings.folds)
                row |= {
                    "difference": test.mean,
                    "difference_low": test.low,
                    "difference_high": test.high,
                    "p": test.p,
                }
        adjusted = statistics.holm([math.nan if row["p"] is None else row["p"] for row in of_subject])
        table += [
            row | {"holm_p": None if math.isnan(p) else float(p)} for row, p in zip(of_subject, adjusted, strict=True)
        ]
    return [{key: _plain(row[key]) for key in COLUMNS} for row in table]


def best(scored: Mapping[tuple[str, str], Scores], features: Sequence[str], settings: Encode) -> dict[str, Any]:
    """Find the feature space that predicts each subject best: {subject: claim}.

    A claim has the `feature` of the highest mean r, the number of `stories`, whether there was a test (`tested`), and
    the `others`, each with its difference to the best, the interval and p (`against_best`). `equals` are the others
    that cannot be distinguished from the best. `feature` is None if nothing was scored.
    """
    subjects = dict.fromkeys(name for name, _ in scored)
    return {subject: _claim(subject, scored, features, settings) for subject in subjects}


def _claim(
    subject: str, scored: Mapping[tuple[str, str], Scores], features: Sequence[str], settings: Encode
) -> dict[str, Any]:
    """Make the claim about one subject."""
    means = {feature: over_stories(scored[subject, feature].scores).mean for feature in features}
    candidates = [feature for feature in features if not math.isnan(means[feature])]
    if not candidates:
        return {"feature": None, "stories": 0, "tested": False, "others": [], "equals": []}
    first = max(candidates, key=lambda feature: means[feature])
    scores = scored[subject, first].scores
    rest = [feature for feature in candidates if feature != first]
    tests = against_best([paired(scores, scored[subject, feature].scores, folds=settings.folds) for feature in rest])
    others = [
        {
            "feature": feature,
            "difference": test.mean,
            "difference_low": _plain(test.low),
            "difference_high": _plain(test.high),
            "p": _plain(test.p),
        }
        for feature, test in zip(rest, tests, strict=True)
    ]
    return {
        "feature": first,
        "stories": over_stories(scores).stories,
        "tested": bool(rest) and not any(math.isnan(test.p) for test in tests),
        "others": others,
        "equals": [feature for feature, test in zip(rest, tests, strict=True) if not test.p < 1 - statistics.LEVEL],
    }


def _row(subject: str, scores: Scores, settings: Encode) -> dict[str, Any]:
    """Make the row of one subject and space, without its comparison."""
    stories, voxels = over_stories(scores.scores), summary(scores.mean)
    tested = ~np.isnan(scores.q)
    alphas = scores.alphas[~np.isnan(scores.alphas)]
    ends = (scores.grid.min(), scores.grid.max())
    return dict.fromkeys(COLUMNS) | {
        "subject": subject,
        "feature": scores.about["feature"],
        "kind": scores.about["kind"],
        "dimensions": scores.about["dimensions"],
        "stories": stories.stories,
        "voxels": voxels.voxels,
        "unscored": voxels.nan,
        "mean": stories.mean,
        "mean_low": stories.low,
        "mean_high": stories.high,
        "median": voxels.median,
        "top5": voxels.top5,
        "top1": voxels.top1,
        "pooled": _mean(scores.pooled),
        "r2": _mean(scores.r2),
        "significant": float((scores.q[tested] < settings.q).mean()) if tested.any() else None,
        "alpha_median": float(np.median(alphas)) if alphas.size else None,
        "alpha_edge": float(np.isin(alphas, ends).mean()) if alphas.size and ends[0] < ends[1] else None,
        "seconds": scores.about["seconds"],
    }


def _mean(values: np.ndarray) -> float | None:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_comparisons(
    path: Path, subject: str, scored: Mapping[tuple[str, str], Scores], features: Sequence[str], settings: Encode
) -> None:
    """Write the comparison of each feature space with the reference, voxel by voxel, as HDF5.

    Each space has a group with `difference`, `p` (`fmri.paired`) and `q` (Benjamini-Hochberg), all (voxels,).
    """
    reference = settings.reference or features[0]

    def fill(beside: Path) -> None:
        with h5py.File(beside, "w") as file:
            file.attrs.update({"subject": subject, "reference": reference})
            for number, feature in enumerate(features):
                a, b = scored[subject, feature].scores, scored[subject, reference].scores
                if feature == reference or a.shape != b.shape:
                    continue
                test = paired(a, b, folds=settings.folds)
                group = file.create_group(f"{number:02d}")
                group.attrs["feature"] = feature
                group["difference"], group["p"] = test.difference, test.p_values
                group["q"] = benjamini_hochberg(test.p_values)

    write_atomically(path, fill)
