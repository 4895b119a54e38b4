"""Compare the TRs of scans, known without the responses, with the rows of the responses.

    recording    a TextGrid or TSV: ceil((before + its length + after) / tr) TRs. A scan may end earlier, as long as it
                 covers the recording, or continue for a while; its beginning is still the one that `before` gives.
    respdict     the volumes that respdict.json counts, less the 5 that the laboratory's code leaves out
    own          raw_text.pkl and .parquet have a time for every TR

If rows do not fit, only an explanation that fits all stories is given, never a setting that happens to fit one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np
from scipy.optimize import linear_sum_assignment

from encoderlab.brain.encoding.settings import Encode
from encoderlab.brain.fmri.align import row_problems
from encoderlab.brain.fmri.alignment_check import Diagnosis, Recorded, diagnose
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.stories.read import Seconds
from encoderlab.brain.stories.story import Story
from encoderlab.core.errors import InputError

PAD = 5  # volumes at the end of a scan that the laboratory's code does not count (`load_simulated_trfiles`)
LATE = 10.0  # seconds that a scan may run on beyond `after`
SHOWN = 5
USUAL_TRS = (0.72, 0.8, 1.0, 1.25, 1.3, 1.5, 2.0, 2.2, 2.5, 3.0)


@final
@dataclass(frozen=True, kw_only=True)
class Scans:
    """The source of the TR times of a study's stories.

    Attributes:
        computed: whether TR times are computed from the recordings, by `tr`, `before` and `after`; otherwise the
            stories have TR times.
        tr: seconds from one TR to the next.
        before: seconds from the beginning of a scan to that of its recording.
        after: seconds from the end of a recording to that of its scan.
        counted: {story: volumes of its scan}, from respdict.json.
        file: that respdict.json.
    """

    computed: bool
    tr: float = 2.0
    before: Seconds = 10.0
    after: Seconds = 10.0
    counted: Mapping[str, int] = field(default_factory=dict)
    file: Path | None = None

    @property
    def trs(self) -> dict[str, int]:
        """The TRs of each story, {story: TRs}, as the laboratory's code counts them."""
        return {name: count - PAD for name, count in self.counted.items()}

    def used(self, names: Sequence[str]) -> str | None:
        """Note that respdict.json counts some of these stories; None if it counts none."""
        names = [name for name in names if name in self.counted]
        if not names:
            return None
        return f"TRs of {len(names)} stories from {self.shown}, less {PAD} at the end, as the laboratory's code counts"

    @property
    def shown(self) -> str:
        """The file of counts with its folder."""
        return "" if self.file is None else f"{self.file.parent.name}/{self.file.name}"

    def of(self, key: str, story: str) -> float:
        """Look up the seconds of `before` or `after` for one story."""
        given = getattr(self, key)
        return float(given.get(story, 0.0) if isinstance(given, Mapping) else given)

    def spare(self, story: str) -> tuple[int, int]:
        """Compute by how many TRs a scan may be shorter and longer than its recording implies."""
        if not self.computed:
            return 0, 0
        if story in self.counted:
            return 0, PAD  # with the volumes that the laboratory leaves out
        # rounded first, as the TRs of the recording are
        return max(0, math.ceil(round(self.of("after", story) / self.tr, 6))), math.ceil(round(LATE / self.tr, 6))


@final
@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What was assumed about scans that are not as long as their recordings imply.

    Attributes:
        said: the assumption, in words.
        advice: the setting that states it.
    """

    said: str = ""
    advice: str = ""


def fitted(
    stories: Sequence[Story], responses: StoryResponses, settings: Encode, scans: Scans
) -> tuple[list[Story], Assumed]:
    """Give the stories as many TRs as the scans of one subject have.

    Args:
        stories: with the TRs of the recordings.
        responses: of one subject to the same stories.
        settings: the section [encode].
        scans: the source of the TR times.

    Returns:
        The stories, and what was assumed about the scans.

    Raises:
        InputError: the rows fit no scan of the recordings; the message tells what would explain them.
    """
    trimmed = sum(settings.trim)
    trs = np.array([len(story.tr_times) for story in stories])
    rows = np.array(responses.lengths)
    more = rows + trimmed - trs
    if not more.any():
        return list(stories), Assumed()
    spare = np.array([scans.spare(story.name) for story in stories])
    odd = np.flatnonzero((more < -spare[:, 0]) | (more > spare[:, 1]))
    names = [story.name for story in stories]
    order = _order(trs, rows + trimmed)
    swapped = order is not None and np.ptp(more) > 2  # less is the rounding of two scans
    if not odd.size and not swapped:
        return _extended(stories, (trs + more).tolist(), scans), _assumed(names, more, scans)
    shown = odd if odd.size else np.flatnonzero(more)
    why = (
        _explained(stories, responses, settings, scans, trs, shown)
        or (None if order is None else _reordered(names, order))
        or _aligned(stories, responses, settings, scans, more)
    )
    lines = row_problems(
        [names[i] for i in shown],
        np.maximum(trs - trimmed, 0)[shown].tolist(),
        rows[shown].tolist(),
        settings.design.trimmed,
        trs[shown].tolist(),
        explained=why is not None,
    )
    others = [f"{len(lines) - SHOWN} more stories whose rows differ"] if len(lines) > SHOWN else []
    raise InputError(*lines[:SHOWN], *others, *([why] if why else []))


def _extended(stories: Sequence[Story], trs: Sequence[int], scans: Scans) -> list[Story]:
    return [
        replace(story, tr_times=scans.tr * (np.arange(count) + 0.5) - scans.of("before", story.name))
        for story, count in zip(stories, trs, strict=True)
    ]


def _assumed(names: Sequence[str], more: np.ndarray, scans: Scans) -> Assumed:
    low, high = int(more.min()), int(more.max())
    how = "more" if low >= 0 else "fewer" if high <= 0 else "more (below 0: fewer)"
    span = f"{abs(low)}" if low == high else f"{low} to {high}" if low >= 0 or high > 0 else f"{-high} to {-low}"
    odd = "" if high - low <= 1 else f" ({', '.join(f'{n} {m:+d}' for n, m in zip(names, more, strict=True) if m)})"
    given = scans.after
    after = "" if isinstance(given, Mapping) else f"{given + float(np.median(more)) * scans.tr:g}"
    return Assumed(
        said=f"the scans have {span} TRs {how} than the recordings make with `before` and `after`{odd}: taken to begin "
        f"when `before` says, and to end {'later' if low >= 0 else 'earlier' if high <= 0 else 'at another time'}",
        advice=f"; after = {after} says so" if after else "",
    )


def _order(trs: np.ndarray, scans: np.ndarray) -> np.ndarray | None:
    """Find an order of the stories in which all scans fit their recordings to the TR, if the named order does not."""
    shift = round(float((scans - trs).mean()))
    gap = np.abs(scans[:, None] - trs[None] - shift)
    if not np.diag(gap).any():
        return None
    _, order = linear_sum_assignment(gap)
    return order if not gap[np.arange(len(trs)), order].any() else None


def _reordered(names: Sequence[str], order: np.ndarray) -> str:
    moved = [f"{name} has the rows of {names[i]}" for name, i in zip(names, order, strict=True) if name != names[i]]
    some = ", ".join(moved[:SHOWN]) + (", ..." if len(moved) > SHOWN else "")
    return (
        f"the rows fit the recordings in another order: {some}. The responses are named after other stories than their "
        "own; rename them"
    )


def _explained(
    stories: Sequence[Story],
    responses: StoryResponses,
    settings: Encode,
    scans: Scans,
    trs: np.ndarray,
    odd: np.ndarray,
) -> str | None:
    """Explain all stories whose rows do not fit; None if nothing explains all of them."""
    front, back = settings.trim
    rows, want = np.array(responses.lengths)[odd], (trs - front - back)[odd]
    if (want == responses.voxels).all():
        return (
            f"the arrays seem to be (voxels, TRs): they have {responses.voxels} columns, as many as the expected rows; "
            "save array.T"
        )
    late = scans.computed and _begins_right(stories, responses, settings, scans)  # so many TRs more, and at the end
    if (rows == trs[odd]).all() and not late:
        return f"the responses have a row for every TR, so they are not trimmed: set trim = [0, 0], not {[front, back]}"
    if front and back and (rows == trs[odd] - back).all() and not late:
        return f"only the last {back} TRs are left out of the responses: set trim = [0, {back}]"
    if front and back and (rows == trs[odd] - front).all():
        return f"only the first {front} TRs are left out of the responses: set trim = [{front}, 0]"
    times = int(rows[0] // max(1, want[0]))
    if times > 1 and (rows == times * want).all():
        return _several(responses, odd, times)
    if scans.computed and (tr := _another_tr(stories, scans, np.array(responses.lengths) + front + back)):
        return f"the rows fit a TR of {tr:g} s, not {scans.tr:g} s: set stories.tr = {tr:g}"
    return None


def _begins_right(stories: Sequence[Story], responses: StoryResponses, settings: Encode, scans: Scans) -> bool:
    """Return whether the trimmed responses clearly follow the words by the usual time."""
    counts = [len(story.tr_times) for story in stories]
    trs = [length + sum(settings.trim) for length in responses.lengths]
    if min(trs) < 2:
        return False
    longer = _extended(stories, trs, scans)
    found = alignment(longer, responses, settings, scans, counts)
    return found.clear and found.warning is None


def _several(responses: StoryResponses, odd: np.ndarray, times: int) -> str:
    """Explain rows that are a multiple of those expected: the same rows again, several repeats, or a shorter TR."""
    story = int(odd[0])
    block = responses.read(story, slice(0, min(64, responses.voxels)))
    length = len(block) // times
    said = f"the responses have {times} times the rows expected"
    if np.array_equal(block[:length], block[length : 2 * length], equal_nan=True):
        return f"{said}, the same ones again: keep the first {length} of story {responses.names[story]}, and so on"
    return (
        f"{said}: repeats one after the other (save them as one array (repeats, TRs, voxels) and set encode.repeats), "
        f"or a TR that is {times} times shorter (stories.tr)"
    )


def _another_tr(stories: Sequence[Story], scans: Scans, wanted: np.ndarray) -> float | None:
    seconds = np.array([len(story.tr_times) * scans.tr for story in stories])
    for tr in USUAL_TRS:
        if abs(tr - scans.tr) > 0.01 and (np.abs(wanted - seconds / tr) <= 1 + scans.tr / tr).all():
            return tr
    return None


def _aligned(
    stories: Sequence[Story], responses: StoryResponses, settings: Encode, scans: Scans, more: np.ndarray
) -> str | None:
    """Explain rows by the alignment check, if nothing else explains them."""
    if not scans.computed:
        return None
    counts = np.array([len(story.tr_times) for story in stories])
    if (counts + more < 2).any():
        return None
    longer = _extended(stories, (counts + more).tolist(), scans)
    found = alignment(longer, responses, settings, scans, counts.tolist())
    if found.warning is not None:
        return found.warning
    if any(story.name in scans.counted for story in stories):
        return f"the TRs are those of {scans.shown}, less {PAD}; check that it is of these scans"
    ends = {story.name: scans.of("after", story.name) + n * scans.tr for story, n in zip(stories, more, strict=True)}
    same = np.ptp(more) <= 1
    table = ", ".join(f"{name} = {end:g}" for name, end in list(ends.items())[:SHOWN])
    end = (
        f"{float(np.median(list(ends.values()))):g}" if same else f"{{ {table}{', ...' if len(ends) > SHOWN else ''} }}"
    )
    seen = " and the alignment is right" if found.clear else ""
    return f"if the scans did end at another time than `after` says{seen}, set stories.after = {end}"


def alignment(
    stories: Sequence[Story], responses: StoryResponses, settings: Encode, scans: Scans, counts: Sequence[int]
) -> Diagnosis:
    """Check the alignment of one subject.

    Args:
        stories: with as many TRs as the subject's scans.
        responses: as stored.
        settings: the section [encode], for `trim`.
        scans: the source of the TR times.
        counts: TRs of each story's recording.
    """
    before = tuple(scans.of("before", story.name) for story in stories)
    recorded = Recorded(before=before, trs=tuple(counts)) if scans.computed else None
    times, trs = [story.times for story in stories], [story.tr_times for story in stories]
    return diagnose(times, trs, responses, settings.trim, recorded)
