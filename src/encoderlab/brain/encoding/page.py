"""Write the report of an encoding study: one offline page, from encoding.json and the score files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from encoderlab.brain.encoding import figures
from encoderlab.brain.encoding.claims import Claim, sentence
from encoderlab.brain.encoding.summary_row import SummaryRow
from encoderlab.core.files import read_json, write_text
from encoderlab.report import templates, text


@final
@dataclass(frozen=True, kw_only=True)
class SubjectPart:
    """The part of the page about one subject.

    Attributes:
        name: of the subject.
        anchor: the target of links to the part.
        rows: the rows of the table, from the highest mean r down.
        figures: {figure: SVG}; empty text for a figure that the study does not have.
        stories: the number of stories.
        trs: the number of TRs.
        voxels: the number of voxels.
        alpha: the first alpha of the grid.
        split: (model, feature space, mean share of r) of each space in a joint model.
        doctor: the alignment check as encoding.json keeps it.
    """

    name: str
    anchor: str
    rows: Sequence[SummaryRow]
    figures: Mapping[str, str]
    stories: int
    trs: int
    voxels: int
    alpha: float
    split: Sequence[tuple[str, str, float]]
    doctor: Mapping[str, Any]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class VoxelScores:
    """The part of a file of scores that the page shows; `score` describes the data sets."""

    mean: np.ndarray
    alphas: np.ndarray
    grid: np.ndarray
    split: np.ndarray
    notes: list[str]
    warnings: list[str]
    spaces: list[str]


def write(out: Path) -> Path:
    """Write `out`/report.html and return its path. The same folder always gives the same page.

    Raises:
        InputError: a file of the study cannot be read.
    """
    path = Path(out) / "report.html"
    write_text(path, page(Path(out), read_json(Path(out) / "encoding.json")))
    return path


def page(out: Path, account: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        out: the folder of the study, for its score files.
        account: the content of encoding.json.
    """
    features, settings = account["features"], account["study"]["encode"]
    reference = settings["reference"] or features[0]
    look = figures.colours(features)
    table = [SummaryRow(**row) for row in account["rows"]]
    subjects: list[SubjectPart] = []
    warnings, notes = [*account["notes"]], {}
    for name, about in account["subjects"].items():
        rows = [row for row in table if row.subject == name]
        held = {feature: _read(out / file) for feature, file in account["files"][name].items()}
        means = {feature: arrays.mean for feature, arrays in held.items()}
        grid = held[features[0]].grid
        drawn = {
            "ranking": figures.ranking(rows, look),
            "distributions": figures.distributions(means, look),
            "scatter": figures.scatter(means, reference, look) if len(features) > 1 else "",
            "sweep": figures.sweep(rows, look) if figures.ranks(rows) else "",
            "alphas": figures.alphas({f: a.alphas for f, a in held.items() if not a.spaces}, grid, look)
            if len(grid) > 1
            else "",
            "alignment": figures.alignment(about["doctor"]),
        }
        if about["doctor"]["warning"]:
            warnings.append(f"{name}: {about['doctor']['warning']}")
        notes |= {f: arrays.notes for f, arrays in held.items()}  # the same settings for every subject
        warnings += [f"{name}: {f}: {line}" for f, arrays in held.items() for line in arrays.warnings]
        ranked = sorted(rows, key=lambda row: -1.0 if row.mean is None else row.mean, reverse=True)
        anchor = f"subject-{len(subjects) + 1}"
        split = [
            (feature, space, float(np.nanmean(part)))
            for feature, arrays in held.items()
            for space, part in zip(arrays.spaces, arrays.split, strict=True)
        ]
        subjects.append(
            SubjectPart(
                name=name,
                anchor=anchor,
                rows=ranked,
                figures=drawn,
                stories=len(about["stories"]),
                trs=about["trs"],
                voxels=about["voxels"],
                alpha=float(grid[0]),
                split=split,
                doctor=about["doctor"],
            )
        )
    claims = {name: Claim.from_json(claim) for name, claim in account["best"].items()}
    headline, lead = _words(subjects, reference, claims)
    return templates.render(
        "encoding.html.j2",
        {
            "name": account["study"]["name"],
            "headline": headline,
            "lead": lead,
            "subjects": subjects,
            "reference": reference,
            "look": look,
            "warnings": list(dict.fromkeys(warnings)),
            "how": _how(settings, account["study"], notes),
            "pipeline": account["study"]["reference"] is not None,
            "files": account["files"],
            "settings": json.dumps(account["study"], indent=1, ensure_ascii=False),
            "machine": json.dumps({"versions": account["versions"], "hardware": account["hardware"]}, indent=1),
        },
        package="encoderlab.brain.encoding",
    )


def _read(path: Path) -> VoxelScores:
    """Read what the page needs of a file of scores."""
    with h5py.File(path, "r") as file:
        arrays = {name: np.asarray(file[name]) for name in ("mean", "alphas", "grid", "split")}
        texts = {
            name: [line.decode() for line in np.asarray(file[name]).tolist()]
            for name in ("notes", "warnings", "spaces")
        }
    return VoxelScores(
        mean=arrays["mean"],
        alphas=arrays["alphas"],
        grid=arrays["grid"],
        split=arrays["split"],
        notes=texts["notes"],
        warnings=texts["warnings"],
        spaces=texts["spaces"],
    )


def _words(subjects: Sequence[SubjectPart], reference: str, claims: Mapping[str, Claim]) -> tuple[str, list[str]]:
    lead = []
    for subject in subjects:
        first = subject.rows[0]
        between = f" ({text.correlation(first.mean_low)} to {text.correlation(first.mean_high)})"
        line = f"{sentence(subject.name, claims[subject.name])}: mean r {text.correlation(first.mean)}{between}"
        if first.feature != reference and first.difference is not None:
            line += f", {text.correlation(first.difference, sign=True)} vs {reference}"
            if first.holm_p is not None:
                line += f" (p {text.p_value(first.holm_p)}, Holm-adjusted)"
        lead.append(f"{line}. Alignment: {subject.doctor['summary']}.")
    return _headline(subjects, claims), lead


def _headline(subjects: Sequence[SubjectPart], claims: Mapping[str, Claim]) -> str:
    """Return the claim about a single subject, or the number of subjects that each space predicts best."""
    if len(subjects) == 1:
        name, first = subjects[0].name, subjects[0].rows[0]
        if claims[name].feature is not None and not claims[name].others:
            return f"{first.feature} predicts {name} with a mean r of {text.correlation(first.mean)}"
        return sentence(name, claims[name])
    if not any(claim.others for claim in claims.values()):
        means = sorted(row.mean for one in subjects for row in one.rows[:1] if row.mean is not None)
        label = subjects[0].rows[0].feature
        span = f"{text.correlation(means[0])} to {text.correlation(means[-1])}" if means else text.NOTHING
        return f"{label} predicts {len(subjects)} subjects with mean r of {span}"
    if not any(claim.tested for claim in claims.values()):
        return f"There are too few stories to test which feature space predicts {len(subjects)} subjects best"
    shown = Counter(claim.feature for claim in claims.values() if claim.tested and not claim.equals)
    if not shown:
        return f"No feature space is shown to be the best for any of {len(subjects)} subjects"
    return "; ".join(f"{label} predicts {count} of {len(subjects)} subjects best" for label, count in shown.items())


def _how(settings: Mapping[str, Any], study: Mapping[str, Any], notes: Mapping[str, list[str]]) -> list[str]:
    pipeline, features = study["reference"] is not None, study["features"]
    front, back = settings["trim"]
    held_out = "one story at a time." if settings["folds"] is None else f"{settings['folds']} groups of stories."
    where = (
        "made after the stories were stacked (so they cross story boundaries)"
        if settings["after_stacking"] or pipeline
        else "made within each story"
    )
    lines = [
        f"Features: downsampled to TRs ({settings['downsample']}), without the first {front} and the last {back} TRs, "
        f"{'z-scored within each story' if settings['zscore'] else 'not scaled'}, with delays of "
        f"{', '.join(map(str, settings['delays']))} TRs {where}.",
        "Responses: "
        + ("centred within each story." if settings["centre"] and not pipeline else "as stored, not centred."),
        f"Held out: {'the test stories, ' + ', '.join(study['reference']['test']) if pipeline else held_out}",
    ]
    if settings["permutations"] and not pipeline:
        lines.append(
            f"Significance: {settings['permutations']:,} permutations of blocks of {settings['block']} TRs within "
            "stories. The p-value of a voxel is the t tail of its z-score among its own permutations "
            f"(Benjamini-Hochberg at q = {settings['q']:g}). The null distribution does not include effects that all "
            "stories share at the same position, such as the response to the onset."
        )
    adapted = (
        "Adapters: trained on the words of all stories, including the held-out ones (never on responses)."
        if settings["adapt"] == "all stories"
        else f"Adapters: trained once for each of {settings['fitted']} groups of held-out stories, without that group."
    )
    lines += [adapted] if any(feature.get("study") or feature.get("adapter") for feature in features) else []
    for line, labels in _by_line(notes).items():
        lines.append(line[0].upper() + line[1:] + ("." if len(labels) == len(notes) else f" ({', '.join(labels)})."))
    return lines


def _by_line(notes: Mapping[str, list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for feature, lines in notes.items():
        for line in lines:
            found.setdefault(line, []).append(feature)
    return found
