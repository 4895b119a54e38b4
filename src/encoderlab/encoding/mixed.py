"""Responses that fit the rows but not the words: turned arrays, and stories of one length named after each other.

Rows tell neither where an array has as many voxels as TRs, or stories are equally long. The lag does: turned round, or
beside the words of another story, the responses follow by the usual time, and as they stand they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from encoderlab.brain.align import tr_of_words
from encoderlab.brain.doctor import EARLIEST, LATEST, SAMPLE, Diagnosis, diagnose
from encoderlab.brain.responses import StoryResponses
from encoderlab.stories import Story

NEAR = 2  # TRs by which stories of one length may differ
SQUARE = 10  # by which TRs and voxels may, where all arrays are turned
BETTER = 1.5  # times closer to the words than as they stand
SHOWN = 5


def mixed(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> str | None:
    """Say whether arrays are turned, or stories have each other's responses; None where neither is clear.

    Args:
        stories: with as many TRs as the subject's scans.
        responses: as they are stored.
        trim: TRs left out of the responses in front and at the end.
    """
    return _turned(stories, responses, trim) or _of_others(stories, responses, trim)


def _turned(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> str | None:
    lengths, voxels = np.array(responses.lengths), responses.voxels
    if len(set(responses.lengths)) == 1 and abs(lengths[0] - voxels) <= SQUARE:
        # all of them, as one; single ones are looked at below where not all are
        every = list(range(len(lengths)))
        if _turned_is_right(stories, responses, every, trim):
            return _say_turned(responses, every)
    square = np.flatnonzero(lengths == voxels).tolist()
    odd = [story for story in square if _turned_is_right(stories, responses, [story], trim)]
    return _say_turned(responses, odd) if odd else None


def _say_turned(responses: StoryResponses, which: list[int]) -> str:
    names = [responses.names[story] for story in which]
    of = "all stories" if len(names) == len(responses) else ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
    return (
        f"the responses of {of} seem to be turned, (voxels, TRs): there are about as many voxels as TRs, and turned "
        "round the responses follow the words by the usual time, as they stand they do not; save array.T"
    )


def _turned_is_right(
    stories: Sequence[Story], responses: StoryResponses, which: list[int], trim: tuple[int, int]
) -> bool:
    arrays = [responses.read(story, slice(0, responses.voxels)) for story in which]
    some = [stories[story] for story in which]
    stand = StoryResponses.from_arrays(arrays)
    turned = StoryResponses.from_arrays([array.T for array in arrays])
    return _clearly(_found(some, turned, trim), _found(some, stand, trim))


def _found(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> Diagnosis:
    return diagnose([story.times for story in stories], [story.tr_times for story in stories], responses, trim)


def _clearly(other: Diagnosis, stands: Diagnosis) -> bool:
    """Whether responses follow the words by the usual time in another arrangement, and not in this one."""
    usual = _usual(other.lags, other.tr)
    if not other.clear or other.peak not in usual or (stands.clear and stands.peak in usual):
        return False
    here = [other.lags.index(lag) for lag in usual]
    return max(other.curve[k] for k in here) > BETTER * max(stands.curve[k] for k in here)


def _usual(lags: Sequence[int], tr: float) -> list[int]:
    return [lag for lag in lags if EARLIEST <= lag * tr <= LATEST] or [round((EARLIEST + LATEST) / 2 / tr)]


def _of_others(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> str | None:
    """Find stories of nearly one length that have each other's responses."""
    order = _order(stories, responses, trim)
    found: list[int] = []
    for moved in _cycles(order.tolist()):
        some = [stories[story] for story in moved]
        as_named, as_found = (_chosen(responses, which) for which in (moved, order[moved].tolist()))
        if _clearly(_found(some, as_found, trim), _found(some, as_named, trim)):
            found += moved
    if not found:
        return None
    held = {int(order[story]): story for story in found}  # {whose responses are named: whose they are}
    said = [f"{responses.names[story]} has those of {responses.names[held[story]]}" for story in sorted(held)]
    return (
        f"stories of one length seem to have each other's responses: {', '.join(said[:SHOWN])}"
        f"{', ...' if len(said) > SHOWN else ''}; so the responses follow the words by the usual time, and as they are "
        "named they do not; rename them"
    )


def _cycles(order: list[int]) -> list[list[int]]:
    """The stories that change places among each other."""
    cycles, seen = list[list[int]](), set[int]()
    for story in range(len(order)):
        cycle = []
        while story not in seen:
            seen.add(story)
            cycle.append(story)
            story = order[story]
        if len(cycle) > 1:
            cycles.append(cycle)
    return cycles


def _chosen(responses: StoryResponses, which: list[int]) -> StoryResponses:
    return replace(
        responses,
        names=tuple(responses.names[story] for story in which),
        lengths=tuple(responses.lengths[story] for story in which),
        load=lambda story, voxels: responses.read(which[story], voxels),
    )


def _order(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> NDArray[Any]:
    """(S,) whose responses follow the words of each story most closely at the usual lags, each one's once."""
    lengths = np.array(responses.lengths)
    alike = np.abs(lengths[:, None] - lengths[None]) <= NEAR
    if not (alike.sum(axis=1) > 1).any():
        return np.arange(len(stories))
    step = max(1, responses.voxels // SAMPLE)
    rates = []
    for story in stories:
        place = tr_of_words(story.times, story.tr_times)
        rates.append(np.bincount(place[place >= 0], minlength=len(story.tr_times)).astype(float))
    tr = float(np.mean([np.diff(story.tr_times).mean() for story in stories]))
    usual = _usual(range(1, 30), tr)
    close = np.where(alike, 0.0, -1e6)
    for j in range(len(stories)):
        if alike[j].sum() < 2:
            continue
        y = responses.read(j, slice(0, responses.voxels, step)).astype(np.float64)
        y = np.nan_to_num(y - np.nanmean(y, axis=0))
        size = np.sqrt((y**2).sum(axis=0))
        y = np.divide(y, size, out=np.zeros_like(y), where=size > 0)
        for i in np.flatnonzero(alike[j]):
            for lag in usual:
                first = trim[0] - lag
                low, high = max(0, -first), min(len(y), len(rates[i]) - first)
                rate = rates[i][first + low : first + high]
                rate = rate - rate.mean()
                r = rate @ y[low:high] / max(float(np.sqrt((rate**2).sum())), 1e-12)
                close[i, j] = max(close[i, j], float(np.sqrt((r**2).mean())))
    _, order = linear_sum_assignment(-close)
    return order
