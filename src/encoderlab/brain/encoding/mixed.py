"""Find responses that fit the rows but not the words: transposed arrays, and stories with each other's responses.

Row counts show neither if an array has as many voxels as TRs, or if stories are equally long. The lag shows both: the
responses follow the words by the usual time if they are transposed, or next to the words of another story, and not as
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from encoderlab.brain.fmri.align import tr_of_words
from encoderlab.brain.fmri.alignment_check import EARLIEST, LATEST, SAMPLE, Diagnosis, diagnose
from encoderlab.brain.fmri.chance import correlation
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.stories.story import Story

NEAR = 2  # TRs by which stories of one length may differ
SQUARE = 10  # by which TRs and voxels may, where all arrays are turned
BETTER = 1.5  # times closer to the words than as they stand
CHOSEN = 1.1  # times closer than an order chosen at lags far from the usual
FAR = (-15, -12, -9, 9, 12, 15)  # TRs from the usual lags
ALIKE = 0.5  # cosine of how the voxels follow in these stories and in the others
SHOWN = 5


def mixed(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> str | None:
    """Warn if arrays are transposed, or if stories have each other's responses; None if neither is clear.

    Args:
        stories: with as many TRs as the subject's scans.
        responses: as stored.
        trim: TRs left out of the responses in front and at the end.
    """
    return _turned(stories, responses, trim) or _of_others(stories, responses, trim)


def _turned(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> str | None:
    lengths, voxels = np.array(responses.lengths), responses.voxels
    if len(set(responses.lengths)) == 1 and abs(lengths[0] - voxels) <= SQUARE:
        # all of them, as one; single ones are looked at below where not all are
        turned = StoryResponses.from_arrays([responses.read(s, slice(0, voxels)).T for s in range(len(lengths))])
        if _clearly(_found(stories, turned, trim), _found(stories, responses, trim)):
            return _say_turned(responses, list(range(len(lengths))))
    square = np.flatnonzero(lengths == voxels).tolist()
    odd = [story for story in square if _closer(stories, responses, _turn(responses, [story]), [story], trim)]
    return _say_turned(responses, odd) if odd and _right(stories, responses, _turn(responses, odd), odd, trim) else None


def _turn(responses: StoryResponses, which: list[int]) -> StoryResponses:
    """Transpose the square arrays of some stories."""

    def load(story: int, voxels: slice) -> NDArray[Any]:
        if story not in which:
            return responses.read(story, voxels)
        return responses.read(story, slice(0, responses.voxels)).T[:, voxels]

    return replace(responses, load=load)


def _say_turned(responses: StoryResponses, which: list[int]) -> str:
    names = [responses.names[story] for story in which]
    of = "all stories" if len(names) == len(responses) else ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
    return (
        f"the responses of {of} seem to be turned, (voxels, TRs): there are about as many voxels as TRs, and only the "
        "transposed responses follow the words by the usual time; save array.T"
    )


def _found(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> Diagnosis:
    return diagnose([story.times for story in stories], [story.tr_times for story in stories], responses, trim)


def _clearly(other: Diagnosis, stands: Diagnosis) -> bool:
    """Return whether the responses follow the words by the usual time beyond chance only in the other arrangement."""
    return other.clear and _better(other, stands)


def _better(other: Diagnosis, stands: Diagnosis) -> bool:
    usual = _usual(other.lags, other.tr)
    if other.peak not in usual or (stands.clear and stands.peak in usual):
        return False
    here = [other.lags.index(lag) for lag in usual]
    return max(other.curve[k] for k in here) > BETTER * max(stands.curve[k] for k in here)


def _closer(
    stories: Sequence[Story], stands: StoryResponses, other: StoryResponses, which: list[int], trim: tuple[int, int]
) -> bool:
    """Return whether some stories by themselves follow the words better the other way round, possibly by chance."""
    some = [stories[story] for story in which]
    return _better(_found(some, _chosen(other, which), trim), _found(some, _chosen(stands, which), trim))


def _right(
    stories: Sequence[Story], stands: StoryResponses, other: StoryResponses, which: list[int], trim: tuple[int, int]
) -> bool:
    """Return whether the other arrangement of some stories is right beyond chance.

    It is if these stories are clear by themselves. It also is if all stories together are clear, and only in this
    arrangement the same voxels follow the words in these stories and in the others.
    """
    some, rest = [stories[story] for story in which], [s for s in range(len(stories)) if s not in which]
    if _clearly(_found(some, _chosen(other, which), trim), _found(some, _chosen(stands, which), trim)):
        return True
    if len(rest) < 2:
        return False
    every = _found(stories, other, trim)
    if not every.clear or every.peak not in _usual(every.lags, every.tr):
        return False
    pattern = _pattern(stories, stands, rest, every.peak, trim)
    alike = [_cosine(pattern, _pattern(stories, one, which, every.peak, trim)) for one in (stands, other)]
    return alike[1] > max(ALIKE, 2 * alike[0])


def _pattern(
    stories: Sequence[Story], responses: StoryResponses, which: list[int], lag: int, trim: tuple[int, int]
) -> NDArray[Any]:
    """Measure how closely each voxel follows the words of some stories, (V,)."""
    step = max(1, responses.voxels // SAMPLE)
    return np.mean(
        [_follows(_rate(stories[s]), responses.read(s, slice(0, responses.voxels, step)), lag, trim) for s in which],
        axis=0,
    )


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def _rate(story: Story) -> NDArray[Any]:
    """Count the words of each TR, (T,)."""
    place = tr_of_words(story.times, story.tr_times)
    return np.bincount(place[place >= 0], minlength=len(story.tr_times)).astype(float)


def _follows(rate: NDArray[Any], y: NDArray[Any], lag: int, trim: tuple[int, int]) -> NDArray[Any]:
    """Correlate the words with the responses `lag` TRs later, without censored TRs: (V,)."""
    first = trim[0] - lag
    low, high = max(0, -first), min(len(y), len(rate) - first)
    if high - low < 2:
        return np.zeros(y.shape[1])
    rows = ~np.isnan(y[low:high]).all(axis=1)
    return correlation(rate[first + low : first + high][rows], y[low:high][rows].astype(np.float64))


def _usual(lags: Sequence[int], tr: float) -> list[int]:
    return [lag for lag in lags if EARLIEST <= lag * tr <= LATEST] or [round((EARLIEST + LATEST) / 2 / tr)]


def _of_others(stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int]) -> str | None:
    """Find stories of nearly one length that have each other's responses."""
    order, close = _order(stories, responses, trim, 0)
    if (order == np.arange(len(order))).all():
        return None
    # the best of many orders is close by chance: as close at lags that mean nothing
    if close < CHOSEN * max(_order(stories, responses, trim, off)[1] for off in FAR):
        return None
    found = [
        story
        for moved in _cycles(order.tolist())
        if _closer(stories, responses, _moved(responses, order, moved), moved, trim)
        for story in moved
    ]
    if not found or not _right(stories, responses, _moved(responses, order, found), found, trim):
        return None
    held = {int(order[story]): story for story in found}  # {whose responses are named: whose they are}
    said = [f"{responses.names[story]} has those of {responses.names[held[story]]}" for story in sorted(held)]
    return (
        f"stories of one length seem to have each other's responses: {', '.join(said[:SHOWN])}"
        f"{', ...' if len(said) > SHOWN else ''}; so the responses follow the words by the usual time, and as they are "
        "named they do not; rename them"
    )


def _cycles(order: list[int]) -> list[list[int]]:
    """List the groups of stories that exchange places."""
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


def _moved(responses: StoryResponses, order: NDArray[Any], which: list[int]) -> StoryResponses:
    return _chosen(responses, [int(order[s]) if s in which else s for s in range(len(responses))])


def _chosen(responses: StoryResponses, which: list[int]) -> StoryResponses:
    return replace(
        responses,
        names=tuple(responses.names[story] for story in which),
        lengths=tuple(responses.lengths[story] for story in which),
        load=lambda story, voxels: responses.read(which[story], voxels),
    )


def _order(
    stories: Sequence[Story], responses: StoryResponses, trim: tuple[int, int], off: int
) -> tuple[NDArray[Any], float]:
    """Assign to each story the responses that follow its words most closely, each response once.

    Args:
        stories: the stories.
        responses: the responses.
        trim: TRs left out in front and at the end.
        off: TRs from the usual lags.

    Returns:
        (S,) the number of the assigned responses, and how closely they follow, summed over stories of equal length.
    """
    lengths = np.array(responses.lengths)
    alike = np.abs(lengths[:, None] - lengths[None]) <= NEAR
    if not (alike.sum(axis=1) > 1).any():
        return np.arange(len(stories)), 0.0
    step = max(1, responses.voxels // SAMPLE)
    rates = [_rate(story) for story in stories]
    tr = float(np.mean([np.diff(story.tr_times).mean() for story in stories]))
    usual = [lag + off for lag in _usual(range(1, 30), tr)]
    close = np.where(alike, 0.0, -1e6)
    for j in range(len(stories)):
        if alike[j].sum() < 2:
            continue
        y = responses.read(j, slice(0, responses.voxels, step)).astype(np.float64)
        for i in np.flatnonzero(alike[j]):
            r = [_follows(rates[i], y, lag, trim) for lag in usual]
            close[i, j] = max(float(np.sqrt((one**2).mean())) for one in r)
    _, order = linear_sum_assignment(-close)
    return order, float(close[np.arange(len(order)), order].sum())
