"""Print the results of the commands of the encoding part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from encoderlab.brain.stories.read import noticed
from encoderlab.brain.stories.story import Story
from encoderlab.cli.tables import table
from encoderlab.core import durations
from encoderlab.report.text import correlation, p_value, percent

if TYPE_CHECKING:  # these modules import the libraries for brain data, which other commands do not need
    from encoderlab.brain.encoding.check import EncodingReport
    from encoderlab.brain.encoding.embed import Embedded


def encoding_checked(report: EncodingReport) -> None:
    """Print the responses, the feature spaces and the settings of an encoding study."""
    print(f"{report.name}: {report.stories} stories, {report.words:,} words, {report.device}\n")
    if report.subjects:
        table(
            "responses",
            ("subject", "stories", "TRs", "voxels", "folds"),
            [(name, *(f"{number:,}" for number in one.values())) for name, one in report.subjects.items()],
        )
        print()
    table("feature spaces", ("feature", "kind", "source"), report.features, text=3)
    low, high, count = report.alphas
    delays = ", ".join(map(str, report.delays))
    print(f"\ndownsampling to TRs: {report.downsample}, {report.design}; delays {delays}")
    grid = f"{count} alphas from {low:g} to {high:g}, chosen by {report.scheme}" if count > 1 else f"alpha {low:g}"
    print(f"{grid}; {report.fits:,} fits (one per fold, feature space and subject)")
    for line in report.alignment:
        print(line)
    for line in report.notes:
        print(f"note: {line}")
    for line in report.warnings:
        print(f"warning: {line}")


def embedded(stories: Sequence[Story], made: Sequence[Embedded]) -> None:
    """Print one line per feature space, and the notes on the stories."""
    say_stories(stories)
    rows = []
    for one in made:
        file = one.file
        zero = " + ".join(f"{count:,} {name}" for name in ("empty", "missing") if (count := file.counts.get(name)))
        took = "up to date" if one.seconds is None else durations.rough(one.seconds)
        rows.append((file.label, file.kind, f"{file.dimensions:,}", f"{file.words:,}", zero, took, str(file.path)))
    table("", ("feature", "kind", "dimensions", "words", "zero vectors", "time", "file"), rows, text=2)
    for line in dict.fromkeys(f"warning: {line}" for one in made for line in one.notes):
        print(line)


def encoded(account: Mapping[str, Any]) -> None:
    """Print one line per subject and feature space, best first."""
    reference = account["study"]["encode"]["reference"] or account["features"][0]
    for subject in account["subjects"]:
        rows = [row for row in account["rows"] if row["subject"] == subject]
        rows.sort(key=lambda row: -1.0 if row["mean"] is None else row["mean"], reverse=True)
        columns = (
            "feature",
            "mean r",
            "95 % interval",
            "median",
            "top 5 %",
            "pooled",
            "sig.",
            f"vs {reference}",
            "p (Holm)",
        )
        table(
            subject,
            columns,
            [
                (
                    *(row["feature"], correlation(row["mean"])),
                    f"{correlation(row['mean_low'])}-{correlation(row['mean_high'])}",
                    *(correlation(row[key]) for key in ("median", "top5", "pooled")),
                    f"{percent(row['significant'])} %",
                    "" if row["feature"] == reference else correlation(row["difference"], sign=True),
                    "" if row["holm_p"] is None else p_value(row["holm_p"]),
                )
                for row in rows
            ],
        )


def stories(found: Sequence[Story]) -> None:
    """Print one line per story, and the notes on the stories."""
    rows = [
        (
            *(s.name, f"{len(s):,}", f"{len(s.tr_times):,}", f"{s.tr:g} s", f"{s.tr_times[0]:g} s"),
            f"{s.times.min():.2f} to {s.times.max():.2f} s" if len(s) else "",
        )
        for s in found
    ]
    table("", ("story", "words", "TRs", "TR", "first TR", "word times"), rows)
    say_stories(found)


def say_stories(found: Sequence[Story]) -> None:
    """Print how many stories and words there are, and the notes on the stories."""
    print(f"{len(found)} stories, {sum(map(len, found)):,} words")
    for line in noticed(found):
        print(f"  {line}")
