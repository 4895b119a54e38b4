"""Check the responses of one subject before anything is computed.

The check finds equal stories, missing or constant numbers, stories that are too short to be scored, and levels that
differ between stories. A voxel with nan in some TRs of a story, other than TRs that are nan in all voxels, is left out
of that story, in training and in scoring. A story with too few TRs is left out altogether: r over two TRs is 1 or -1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoderlab.brain.encoding.settings import Encode
from encoderlab.brain.fmri.censored import Censored
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge.voxel_batches import Survey, survey
from encoderlab.core.errors import InputError

LEAST = 10  # TRs
SAME = 0.99  # r of two stories' responses in the median voxel: the same numbers, whatever their unit and precision
LOOKED_AT = 64  # voxels, for that
APART = 1.0  # standard deviations
SOME_VOXELS = 0.1  # share of the voxels whose level must be so far off, for a story to be named
SHOWN = 5
MEMORY = 2.0**28
NOT_VARYING = "no voxel varies in it"


def too_short(responses: StoryResponses, left_out: Censored) -> list[int]:
    """Find the stories with too few TRs to be scored: fewer than 10, and fewer than half of the median story."""
    left = [length - count for length, count in zip(responses.lengths, left_out.counts, strict=True)]
    least = min(LEAST, float(np.median(left)) / 2)
    return [story for story, count in enumerate(left) if count < least]


def looked_through(
    responses: StoryResponses, left_out: Censored, settings: Encode, *, huth_pipeline: bool = False
) -> list[str]:
    """Read all responses once, and list what is left out of the scores or would spoil them.

    Args:
        responses: as stored, with repeats merged.
        left_out: the censored TRs.
        settings: the section [encode], for `centre`.
        huth_pipeline: whether the laboratory's pipeline runs, which does not centre the responses.

    Raises:
        InputError: a response is infinite, or two stories have the same responses.
    """
    kept = responses.without(left_out.rows)
    found = survey(kept, MEMORY)
    if same := _same(responses):
        raise InputError(*same)
    names, short = responses.names, too_short(responses, left_out)
    gone = _without_a_score(found, responses, left_out, short if not huth_pipeline else [])
    lines = [
        f"story {name} has no score, but is trained on: {reason}; mark what is missing as nan"
        if reason == NOT_VARYING
        else f"story {name} is left out of training and scoring: {reason}"
        for name, reason in gone.items()
    ]
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"{len(lines) - SHOWN} more stories have no score"]
    if len(names) - len(gone) < 2:
        lines.append("no voxel can be scored: expected numbers that vary in two stories at least")
    elif gone:
        lines.append(f"the scores rest on {len(names) - len(gone)} of {len(names)} stories")
    rest = np.array([name not in gone for name in names])
    lines += _voxels(found, names, rest)
    if huth_pipeline or not settings.centre:
        lines += _levels(found, kept, huth_pipeline=huth_pipeline)
    return lines


def _same(responses: StoryResponses) -> list[str]:
    """List the pairs of stories that have the same responses, one line each."""
    step = max(1, -(-responses.voxels // LOOKED_AT))
    held = [
        responses.read(story, slice(0, responses.voxels, step)).astype(np.float64) for story in range(len(responses))
    ]
    lines = []
    for i, first in enumerate(held):
        for j in range(i + 1, len(held)):
            rows = min(len(first), len(held[j]))
            if rows < LEAST or abs(len(first) - len(held[j])) > rows / 10:
                continue
            a, b = first[:rows], held[j][:rows]
            kept = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
            known = slice(None) if kept.sum() >= LEAST else np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
            a, b = (a[kept], b[kept]) if kept.sum() >= LEAST else (a[:, known], b[:, known])
            a, b = a - a.mean(axis=0), b - b.mean(axis=0)
            size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
            r = (a * b).sum(axis=0)[size > 0] / size[size > 0]
            if r.size and np.median(r) > SAME:
                lines.append(
                    f"stories {responses.names[i]} and {responses.names[j]} have the same responses "
                    f"(r {np.median(r):.3f} over {len(a)} TRs); give each its own, or name the "
                    "stories to use under stories.names"
                )
    return [*lines[:SHOWN], *([f"{len(lines) - SHOWN} more pairs of stories"] if len(lines) > SHOWN else [])]


def _without_a_score(
    found: Survey, responses: StoryResponses, left_out: Censored, short: Sequence[int]
) -> dict[str, str]:
    """Explain for each story without a score why no voxel of it can be scored: {story: reason}."""
    gone = {}
    for story, name in enumerate(responses.names):
        missing, constant = found.missing[story], found.constant[story]
        if story in short:
            left, censored = responses.lengths[story] - left_out.counts[story], left_out.counts[story]
            without = f" without the {censored} censored ones" if censored else ""
            gone[name] = f"it has {left} TRs{without}, too few for a correlation; expected {LEAST} at least"
        elif found.empty[story].all():
            gone[name] = "all its responses are nan"
        elif missing.all():
            gone[name] = "every voxel has nan in some of its TRs, and is left out for that"
        elif (missing | constant).all():
            gone[name] = NOT_VARYING
    return gone


def _voxels(found: Survey, names: Sequence[str], rest: np.ndarray) -> list[str]:
    """Count the voxels that are left out of stories.

    Args:
        found: the survey of the responses.
        names: of the stories.
        rest: (S,) True for the stories that have a score.
    """
    missing, empty = found.missing[rest], found.empty[rest]
    constant = found.constant[rest] & ~missing
    names, voxels = [name for name, kept in zip(names, rest, strict=True) if kept], found.missing.shape[1]
    never = (missing | constant).all(axis=0)
    lines = []
    if never.any():
        lines.append(f"{never.sum():,} of {voxels:,} voxels have nan or no variance in every story, and no score")
    for which, what in (
        (
            missing & ~empty,
            "have nan in some TRs of a story, and are left out of training and scoring of the whole story",
        ),
        (missing & empty, "are nan in every TR of a story, and are left out of training and scoring of that story"),
        (constant, "do not vary in a story, and have no score there"),
    ):
        counts = (which & ~never).sum(axis=1)
        if not counts.any():
            continue
        some = [f"{name} {count:,}" for name, count in zip(names, counts, strict=True) if count]
        said = ", ".join(some[:SHOWN]) + (", ..." if len(some) > SHOWN else "")
        lines.append(f"voxels that {what}: {said} (of {voxels:,})")
    return lines


def _levels(found: Survey, responses: StoryResponses, *, huth_pipeline: bool) -> list[str]:
    """Warn if the level of responses differs between stories by more than they vary within a story."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(found.square / np.array(responses.lengths)[:, None])
        spread[found.missing | found.constant] = np.nan
        mean = np.where(np.isnan(spread), np.nan, found.mean)
    voxels = np.flatnonzero(~np.isnan(spread).all(axis=0))
    if not voxels.size:
        return []
    mean, spread = mean[:, voxels], np.nanmedian(spread[:, voxels], axis=0)
    off = np.abs(mean - np.nanmedian(mean, axis=0)) / spread
    share = np.nanmean(np.where(np.isnan(off), 0.0, off > APART), axis=1)
    odd = np.flatnonzero(share > SOME_VOXELS)
    if not odd.size:
        return []
    largest = [float(np.nanquantile(off[story], 0.9)) for story in odd]
    said = ", ".join(f"{responses.names[s]} {size:.1f}" for s, size in list(zip(odd, largest, strict=True))[:SHOWN])
    why = (
        "the laboratory's pipeline takes them as they are, whatever encode.centre says: z-score them in each story"
        if huth_pipeline
        else "encode.centre = false takes them as they are: remove it, or centre them within each story"
    )
    return [
        f"the level of the responses differs between stories by more than they vary within a story (by up to, in "
        f"standard deviations: {said}{', ...' if odd.size > SHOWN else ''}), which spoils the scores; {why}"
    ]
