r"""The alignment doctor: do the responses follow the words by the time that blood takes?

    c(k) = root mean square over voxels of  mean over stories of  corr(words in TR i - k, response in TR i)

The haemodynamic response peaks 4 to 6 seconds after what it answers, 2 to 3 TRs of 2 seconds. A peak elsewhere says
that words and responses do not belong to the same TRs: a trim turned round, which no row count shows, or another
beginning of the recording in the scan (`before`). Which of them it is, the rows tell: another `before` asks for
another number of TRs, a turned trim for the same.

Whether there is a peak at all is held against chance (`chance`): voxels share signals that are smooth in time, which
follow anything as closely at some lag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.fmri import chance
from encoderlab.brain.fmri.align import tr_of_words
from encoderlab.brain.fmri.chance import correlation, curve_of
from encoderlab.brain.fmri.responses import StoryResponses

Times = Sequence[NDArray]

EARLIEST, LATEST = 3.9, 6.1  # seconds from words to the peak of the response
LAGS = range(-8, 13)
ENOUGH = 3000  # TRs; with fewer the curve of real responses may be too rough to judge
LATE = 10.0  # seconds by which scans may differ from the recordings, where two keys mend the lag
SAMPLE = 2000  # voxels looked at, evenly spread
SOME = 0.2  # of the stories that must be clear by themselves, before anything is said of each


@final
@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """lags: TRs. curve: c(k) of each. peak: the lag where it is highest. clear: whether it is beyond chance.
    level: what the peak of moved word rates stays below in 99 % of cases. warning: what is wrong, and what would mend
    it; None where nothing is."""

    lags: tuple[int, ...]
    curve: tuple[float, ...]
    peak: int
    tr: float
    clear: bool
    level: float
    warning: str | None

    @property
    def summary(self) -> str:
        if not self.clear:
            return self.warning or "too few TRs to say by how much the responses follow the words"
        return f"responses follow the words by {self.peak} TRs ({self.peak * self.tr:g} s)"


@final
@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Stories whose TR times are computed from a recording: seconds before it, and TRs of each recording."""

    before: tuple[float, ...]
    trs: tuple[int, ...]


def diagnose(
    times: Times,
    tr_times: Times,
    responses: StoryResponses,
    trim: tuple[int, int],
    recorded: Recorded | None = None,
) -> Diagnosis:
    """Find the lag at which the responses follow the words best.

    Args:
        times: seconds, of each story's words.
        tr_times: seconds, of its TRs before trimming.
        responses: of the same stories; row r is taken to be TR trim[0] + r. Row counts must agree.
        recorded: where `tr_times` come from; None where the stories have their own.
    """
    look = _look(times, tr_times, responses, trim)
    curve = look.curve
    tr = float(np.mean([np.diff(trs).mean() for trs in tr_times]))
    peak, clear = look.peak, look.clear
    warning = _warning(peak, tr, clear, trim) if clear or sum(responses.lengths) >= ENOUGH else None
    if recorded is not None:
        seen = _Seen(times, tr_times, responses, trim, recorded)
        wrong = not clear or warning is not None
        warning = _of_each(look, seen, tr) or (_advised(seen, peak, tr, clear) if wrong else None) or warning
    return Diagnosis(
        lags=tuple(LAGS),
        curve=tuple(float(value) for value in curve),
        peak=peak,
        tr=tr,
        clear=clear,
        level=look.chance.level,
        warning=warning,
    )


@dataclass(frozen=True)
class _Seen:
    times: Times
    tr_times: Times
    responses: StoryResponses
    trim: tuple[int, int]
    recorded: Recorded

    def off(self, before: float | None) -> float:
        """By how many TRs the scans differ from the recordings in the median, with another `before`."""
        more = np.array([len(trs) for trs in self.tr_times]) - np.array(self.recorded.trs, dtype=float)
        if before is not None:
            steps = np.array([np.diff(trs).mean() for trs in self.tr_times])
            more = more - (before - np.array(self.recorded.before)) / steps
        return float(np.abs(np.median(more)))

    def mended(self, before: float | None, trim: tuple[int, int], tr: float) -> bool:
        """Whether the peak is clear and where it belongs with these settings."""
        trs = list(self.tr_times)
        if before is not None:
            trs = [one - (before - old) for one, old in zip(trs, self.recorded.before, strict=True)]
        look = _look(self.times, trs, self.responses, trim)
        return look.peak in _usual(tr) and look.clear


@dataclass(frozen=True)
class _Look:
    """each: (stories, lags, voxels) correlations; nan where a story has too few rows at a lag. curve: c(k)."""

    each: NDArray
    curve: NDArray
    chance: chance.Chance

    @property
    def peak(self) -> int:
        return LAGS[int(self.curve.argmax())]

    @property
    def clear(self) -> bool:
        return _stands_out(self.curve, self.each.shape[2]) and self.chance.exceeded(self.each)


def _look(times: Times, tr_times: Times, responses: StoryResponses, trim: tuple[int, int]) -> _Look:
    step = max(1, responses.voxels // SAMPLE)
    found = np.full((len(times), len(LAGS), -(-responses.voxels // step)), np.nan)
    moved = chance.Moved(LAGS, found.shape[2])
    for story, (words, trs) in enumerate(zip(times, tr_times, strict=True)):
        rate = np.bincount(tr_of_words(words, trs)[tr_of_words(words, trs) >= 0], minlength=len(trs)).astype(float)
        y = responses.read(story, slice(0, responses.voxels, step)).astype(np.float64)
        some = np.logical_not(np.isnan(y).all(axis=1))  # not censored
        for k, lag in enumerate(LAGS):
            first = trim[0] - lag  # the TR of the words that belong to row 0
            low, high = max(0, -first), min(len(y), len(rate) - first)
            kept = some[low:high] if high > low else some[:0]
            if kept.sum() >= 10:
                found[story, k] = correlation(rate[first + low : first + high][kept], y[low:high][kept])
        moved.add(rate[trim[0] : trim[0] + len(y)], y[: max(0, len(rate) - trim[0])], some)
    return _Look(found, curve_of(found), moved.chance())


def _stands_out(curve: NDArray, voxels: int) -> bool:
    # White noise has its peak at 1.05 to 1.15 times the median over 200 voxels, and higher the fewer there are.
    return bool(curve.max() > max(1.4, 1 + 3 / np.sqrt(voxels)) * np.median(curve))


def _warning(peak: int, tr: float, clear: bool, trim: tuple[int, int]) -> str | None:
    if not clear:
        return (
            "the responses follow the number of words at no lag clearly, so that the alignment cannot be judged; check "
            "that stories and responses belong together"
        )
    usual = _usual(tr)
    if peak in usual:
        return None
    front = trim[0] + usual[0] - peak
    said = _follow(peak, tr)
    back = sum(trim) - front
    if front < 0 or back < 0:
        return f"{said}. No trim of {sum(trim)} TRs in all puts it there: check the TR times"
    return (
        f"{said}, so words and responses are {abs(usual[0] - peak)} TRs apart; trim = [{front}, {back}] puts it there"
    )


def _usual(tr: float) -> list[int]:
    """The lags at which a response peaks."""
    return [lag for lag in LAGS if EARLIEST <= lag * tr <= LATEST] or [round((EARLIEST + LATEST) / 2 / tr)]


def _follow(peak: int, tr: float) -> str:
    usual = _usual(tr)
    expected = " or ".join(dict.fromkeys((str(usual[0]), str(usual[-1]))))
    return f"the responses follow the words by {peak} TRs ({peak * tr:g} s); expected {expected}"


def _advised(seen: _Seen, peak: int, tr: float, clear: bool) -> str | None:
    """Which key is wrong where all stories have a `before`: of those that put the peak where it belongs, the one that
    also makes the recordings as long as the scans are. Without a clear peak, only the usual slips are tried."""
    usual, (front, back) = _usual(tr), seen.trim
    options: list[tuple[float | None, tuple[int, int]]] = [(None, (back, front))] if front != back else []
    if clear:
        moved = front + usual[0] - peak
        options += [(None, (moved, front + back - moved))] if 0 <= moved <= front + back else []
        started = float(np.mean(seen.recorded.before))
        options += [(round(2 * (started + (peak - lag) * tr)) / 2, seen.trim) for lag in usual]
    options += [(0.0, seen.trim)] if any(seen.recorded.before) else []
    # of equal ones the first, and 0 before a number that is as good
    ranked = sorted(options, key=lambda one: (round(seen.off(one[0])), one[0] not in (None, 0.0)))
    mends: dict[bool, str] = {}  # the best of either key
    for before, trim in ranked:
        moved = before is not None
        if moved not in mends and (not mends or seen.off(before) * tr <= LATE) and seen.mended(before, trim, tr):
            mends[moved] = f"before = {before:g}" if moved else f"trim = [{trim[0]}, {trim[1]}]"
    if not mends:
        return None
    key, *other = mends.values()
    either = f"; {other[0]} would do so too: which of them is right, the scanner's log tells" if other else ""
    if clear:
        return f"{_follow(peak, tr)}; {key} puts it there{either}"
    return f"the responses follow the number of words at no lag clearly, and with {key} they do{either}"


def _of_each(look: _Look, seen: _Seen, tr: float) -> str | None:
    """What to say where stories differ in their lag: every story has a `before` of its own."""
    usual, names = _usual(tr), seen.responses.names
    each, curves = look.each, [curve_of(one[None]) for one in look.each]
    peaks = np.array([LAGS[int(curve.argmax())] for curve in curves])
    alone = look.chance.exceeded_alone(each)
    known = np.array([_stands_out(curve, each.shape[2]) for curve in curves]) & alone
    # a few of many stories are beyond chance by chance
    if known.sum() < max(2, SOME * len(each)) or np.ptp(peaks[known]) <= max(1, len(usual)):
        return None
    starts = np.array(seen.recorded.before)
    longer = np.array([len(trs) for trs in seen.tr_times]) - np.array(seen.recorded.trs)
    # the lag within the usual ones at which the rows fit the recordings best
    lag = min(usual, key=lambda lag: float(np.abs(peaks - lag - longer)[known].sum()))
    found = starts + (peaks - lag) * tr
    table = ", ".join(f"{name} = {found[i]:g}" for i, name in enumerate(names) if known[i])
    unknown = [name for i, name in enumerate(names) if not known[i]]
    said = ", ".join(f"{name} by {peaks[i]} TRs" for i, name in enumerate(names) if known[i])
    rest = f"; not clear in {', '.join(unknown)}" if unknown else ""
    return (
        f"the responses follow the words of different stories by different times ({said}), so each recording has a "
        f"beginning of its own in the scan: before = {{ {table} }} or near it{rest}"
    )
