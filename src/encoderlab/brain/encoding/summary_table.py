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

import h5py
import numpy as np

from encoderlab.brain.encoding.claims import Claim, Rival
from encoderlab.brain.encoding.score import Scores
from encoderlab.brain.encoding.settings import Encode
from encoderlab.brain.encoding.summary_row import COLUMNS, SummaryRow
from encoderlab.brain.fmri.paired import Paired, against_best, paired
from encoderlab.brain.fmri.scores import over_stories, summary
from encoderlab.brain.fmri.significance import benjamini_hochberg
from encoderlab.core import statistics
from encoderlab.core.files import write_atomically, write_text


def rows(scored: Mapping[tuple[str, str], Scores], features: Sequence[str], settings: Encode) -> list[SummaryRow]:
    """Make the rows of the table, subject by subject, with the spaces in the study's order.

    Args:
        scored: {(subject, feature space): scores}.
        features: labels of the spaces.
        settings: the section [encode].
    """
    reference = settings.reference or features[0]
    table = []
    for subject in dict.fromkeys(name for name, _ in scored):
        of_subject = [scored[subject, feature] for feature in features]
        other = scored[subject, reference].scores
        tests = [
            None if feature == reference else paired(scores.scores, other, folds=settings.folds)
            for feature, scores in zip(features, of_subject, strict=True)
        ]
        adjusted = statistics.holm([math.nan if test is None else test.p for test in tests])
        table += [
            _row(subject, scores, settings, test, float(p))
            for scores, test, p in zip(of_subject, tests, adjusted, strict=True)
        ]
    return table


def best(scored: Mapping[tuple[str, str], Scores], features: Sequence[str], settings: Encode) -> dict[str, Claim]:
    """Find the feature space that predicts each subject best: {subject: claim}."""
    subjects = dict.fromkeys(name for name, _ in scored)
    return {subject: _claim(subject, scored, features, settings) for subject in subjects}


def _claim(subject: str, scored: Mapping[tuple[str, str], Scores], features: Sequence[str], settings: Encode) -> Claim:
    """Make the claim about one subject."""
    means = {feature: over_stories(scored[subject, feature].scores).mean for feature in features}
    candidates = [feature for feature in features if not math.isnan(means[feature])]
    if not candidates:
        return Claim(feature=None)
    first = max(candidates, key=lambda feature: means[feature])
    scores = scored[subject, first].scores
    rest = [feature for feature in candidates if feature != first]
    tests = against_best([paired(scores, scored[subject, feature].scores, folds=settings.folds) for feature in rest])
    others = [
        Rival(
            feature=feature,
            difference=test.mean,
            difference_low=_number(test.low),
            difference_high=_number(test.high),
            p=_number(test.p),
        )
        for feature, test in zip(rest, tests, strict=True)
    ]
    return Claim(
        feature=first,
        stories=over_stories(scores).stories,
        tested=bool(rest) and not any(math.isnan(test.p) for test in tests),
        others=tuple(others),
        equals=tuple(feature for feature, test in zip(rest, tests, strict=True) if not test.p < 1 - statistics.LEVEL),
    )


def _row(subject: str, scores: Scores, settings: Encode, test: Paired | None, holm_p: float) -> SummaryRow:
    """Make the row of one subject and space.

    Args:
        subject: its name.
        scores: of the space.
        settings: the section [encode].
        test: the comparison with the reference space; None for the reference space itself.
        holm_p: the adjusted p of the comparison, or nan.
    """
    stories, voxels = over_stories(scores.scores), summary(scores.mean)
    tested = ~np.isnan(scores.q)
    alphas = scores.alphas[~np.isnan(scores.alphas)]
    ends = (scores.grid.min(), scores.grid.max())
    return SummaryRow(
        subject=subject,
        feature=scores.about.feature,
        kind=scores.about.kind,
        dimensions=scores.about.dimensions,
        stories=stories.stories,
        voxels=voxels.voxels,
        unscored=voxels.nan,
        mean=_number(stories.mean),
        mean_low=_number(stories.low),
        mean_high=_number(stories.high),
        median=_number(voxels.median),
        top5=_number(voxels.top5),
        top1=_number(voxels.top1),
        pooled=_mean(scores.pooled),
        r2=_mean(scores.r2),
        significant=float((scores.q[tested] < settings.q).mean()) if tested.any() else None,
        difference=None if test is None else _number(test.mean),
        difference_low=None if test is None else _number(test.low),
        difference_high=None if test is None else _number(test.high),
        p=None if test is None else _number(test.p),
        holm_p=_number(holm_p),
        alpha_median=float(np.median(alphas)) if alphas.size else None,
        alpha_edge=float(np.isin(alphas, ends).mean()) if alphas.size and ends[0] < ends[1] else None,
        seconds=scores.about.seconds,
    )


def _mean(values: np.ndarray) -> float | None:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def write_csv(path: Path, rows: Sequence[SummaryRow]) -> None:
    """Write the table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.to_json() for row in rows)
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
