"""Check the alignment: whether the responses follow the words by the delay of the haemodynamic response.

    c(k) = root mean square over voxels of  mean over stories of  corr(words in TR i - k, response in TR i)

The haemodynamic response peaks 4 to 6 seconds after its stimulus, that is 2 to 3 TRs of 2 seconds. A peak elsewhere
means that words and responses do not belong to the same TRs. There are two usual reasons: the two numbers of `trim` are
swapped, which no row count shows, or the recording began at another time of the scan (`before`). The number of rows
tells which: another `before` needs another number of TRs, a swapped trim the same number.

Whether there is a peak at all is tested against chance (`chance`): voxels share signals that are smooth in time, and
these follow any other signal equally well at some lag.
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

EARLIEST, LATEST = 3.9, 6.1  # seconds from the words to the peak of the response
LAGS = range(-8, 13)  # TRs
ENOUGH = 3000  # TRs; with fewer, the curve of real responses may be too rough to judge
LATE = 10.0  # seconds by which scans may differ from recordings if either of two keys corrects the lag
SAMPLE = 2000  # voxels in the check, evenly spread
SOME = 0.2  # share of the stories that need a clear peak before a warning lists lags story by story


@final
@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The result of the alignment check.

    Attributes:
        lags: lags from words to responses, in TRs.
        curve: c(k) of each lag.
        peak: the lag with the highest c(k), in TRs.
        tr: seconds from one TR to the next.
        clear: whether the peak is beyond chance.
        level: the value that the peak exceeds by chance in 1 % of cases.
        warning: what is wrong, and what would correct it; None if nothing is wrong.
    """

    lags: tuple[int, ...]
    curve: tuple[float, ...]
    peak: int
    tr: float
    clear: bool
    level: float
    warning: str | None

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        if not self.clear:
            return self.warning or "too few TRs to tell by how much the responses follow the words"
        return f"responses follow the words by {self.peak} TRs ({self.peak * self.tr:g} s)"


@final
@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the TR times of stories were computed from, for stories that come from recordings.

    Attributes:
        before: seconds from the beginning of each scan to that of its recording.
        trs: the number of TRs of each recording.
    """

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
        times: one (words,) array a story, in seconds.
        tr_times: one (TRs,) array a story, in seconds, before trimming.
        responses: responses to the same stories, whose row r belongs to TR trim[0] + r. Row counts must agree.
        trim: TRs left out in front and at the end.
        recorded: what `tr_times` were computed from; None if the stories have TR times of the scan.
    """
    measured = _correlate(times, tr_times, responses, trim)
    tr = float(np.mean([np.diff(trs).mean() for trs in tr_times]))
    peak, clear = measured.peak, measured.clear
    warning = _warning(peak, tr, clear, trim) if clear or sum(responses.lengths) >= ENOUGH else None
    if recorded is not None:
        scans = _Scans(times, tr_times, responses, trim, recorded)
        wrong = not clear or warning is not None
        warning = (
            _story_by_story(measured, scans, tr) or (_advice(scans, peak, tr, clear) if wrong else None) or warning
        )
    return Diagnosis(
        lags=tuple(LAGS),
        curve=tuple(float(value) for value in measured.curve),
        peak=peak,
        tr=tr,
        clear=clear,
        level=measured.chance.level,
        warning=warning,
    )


@dataclass(frozen=True)
class _Scans:
    """The scans with the settings in use, to try other settings on."""

    times: Times
    tr_times: Times
    responses: StoryResponses
    trim: tuple[int, int]
    recorded: Recorded

    def off(self, before: float | None) -> float:
        """Compute by how many TRs the scans differ from the recordings (the median), with another `before`."""
        more = np.array([len(trs) for trs in self.tr_times]) - np.array(self.recorded.trs, dtype=float)
        if before is not None:
            steps = np.array([np.diff(trs).mean() for trs in self.tr_times])
            more = more - (before - np.array(self.recorded.before)) / steps
        return float(np.abs(np.median(more)))

    def corrected(self, before: float | None, trim: tuple[int, int], tr: float) -> bool:
        """Return whether the peak is clear and at a usual lag with these settings."""
        trs = list(self.tr_times)
        if before is not None:
            trs = [times - (before - old) for times, old in zip(trs, self.recorded.before, strict=True)]
        measured = _correlate(self.times, trs, self.responses, trim)
        return measured.peak in _usual(tr) and measured.clear


@dataclass(frozen=True)
class _LagCorrelations:
    """The correlations of word rates with responses at every lag.

    Attributes:
        each: (stories, lags, voxels) correlations; nan if a story has too few rows at a lag.
        curve: (lags,) c(k).
        chance: the distribution of c(k) by chance.
    """

    each: NDArray
    curve: NDArray
    chance: chance.Chance

    @property
    def peak(self) -> int:
        return LAGS[int(self.curve.argmax())]

    @property
    def clear(self) -> bool:
        return _stands_out(self.curve, self.each.shape[2]) and self.chance.exceeded(self.each)


def _correlate(times: Times, tr_times: Times, responses: StoryResponses, trim: tuple[int, int]) -> _LagCorrelations:
    """Correlate the word rate of each story with its responses at every lag, over a sample of the voxels."""
    step = max(1, responses.voxels // SAMPLE)
    each = np.full((len(times), len(LAGS), -(-responses.voxels // step)), np.nan)
    moved = chance.Moved(LAGS, each.shape[2])
    for story, (words, trs) in enumerate(zip(times, tr_times, strict=True)):
        # words of each TR, (TRs,), and the responses, (rows, voxels of the sample)
        rate = np.bincount(tr_of_words(words, trs)[tr_of_words(words, trs) >= 0], minlength=len(trs)).astype(float)
        y = responses.read(story, slice(0, responses.voxels, step)).astype(np.float64)
        uncensored = np.logical_not(np.isnan(y).all(axis=1))
        for k, lag in enumerate(LAGS):
            first = trim[0] - lag  # the TR of the words that belong to row 0
            low, high = max(0, -first), min(len(y), len(rate) - first)  # rows whose words are inside the story
            rows = uncensored[low:high] if high > low else uncensored[:0]
            if rows.sum() >= 10:
                each[story, k] = correlation(rate[first + low : first + high][rows], y[low:high][rows])
        moved.add(rate, trim[0], y, uncensored)
    return _LagCorrelations(each, curve_of(each), moved.chance())


def _stands_out(curve: NDArray, voxels: int) -> bool:
    """Return whether the peak of a curve is well above its median."""
    # White noise has its peak at 1.05 to 1.15 times the median over 200 voxels; with fewer voxels it is higher.
    return bool(curve.max() > max(1.4, 1 + 3 / np.sqrt(voxels)) * np.median(curve))


def _warning(peak: int, tr: float, clear: bool, trim: tuple[int, int]) -> str | None:
    """Describe a peak that is unclear or at a wrong lag, with the trim that would correct it."""
    if not clear:
        return (
            "the responses do not clearly follow the number of words at any lag, so the alignment cannot be judged; "
            "check that stories and responses belong together"
        )
    usual = _usual(tr)
    if peak in usual:
        return None
    front = trim[0] + usual[0] - peak
    problem = _follow(peak, tr)
    back = sum(trim) - front
    if front < 0 or back < 0:
        return f"{problem}; no trim of {sum(trim)} TRs in all corrects it; check the TR times"
    return (
        f"{problem}; words and responses are {abs(usual[0] - peak)} TRs apart; "
        f"set trim = [{front}, {back}] to move the peak there"
    )


def _usual(tr: float) -> list[int]:
    """List the lags, in TRs, at which a response usually peaks."""
    return [lag for lag in LAGS if EARLIEST <= lag * tr <= LATEST] or [round((EARLIEST + LATEST) / 2 / tr)]


def _follow(peak: int, tr: float) -> str:
    """Describe the lag that was measured and the lags that were expected."""
    usual = _usual(tr)
    expected = " or ".join(dict.fromkeys((str(usual[0]), str(usual[-1]))))
    return f"the responses follow the words by {peak} TRs ({peak * tr:g} s); expected {expected}"


def _advice(scans: _Scans, peak: int, tr: float, clear: bool) -> str | None:
    """Find the key that is wrong, for stories from recordings.

    Of the settings that move the peak to a usual lag, the best is the one that also makes the recordings as long as the
    scans. Without a clear peak, only the usual mistakes are tried: a swapped `trim`, and a `before` that should be 0.

    Returns:
        A warning with the new value of the key; None if no setting corrects the peak.
    """
    usual, (front, back) = _usual(tr), scans.trim
    options: list[tuple[float | None, tuple[int, int]]] = [(None, (back, front))] if front != back else []
    if clear:
        moved = front + usual[0] - peak
        options += [(None, (moved, front + back - moved))] if 0 <= moved <= front + back else []
        started = float(np.mean(scans.recorded.before))
        options += [(round(2 * (started + (peak - lag) * tr)) / 2, scans.trim) for lag in usual]
    options += [(0.0, scans.trim)] if any(scans.recorded.before) else []
    # Options that fit the recordings best come first; of equal ones, 0 comes before another number.
    ranked = sorted(options, key=lambda option: (round(scans.off(option[0])), option[0] not in (None, 0.0)))
    corrections: dict[bool, str] = {}  # {whether the key is `before`: the best value of this key}
    for before, trim in ranked:
        moved = before is not None
        if moved in corrections or (corrections and scans.off(before) * tr > LATE):
            continue
        if scans.corrected(before, trim, tr):
            corrections[moved] = f"before = {before:g}" if moved else f"trim = [{trim[0]}, {trim[1]}]"
    if not corrections:
        return None
    key, *other = corrections.values()
    either = f"; {other[0]} would do so too; the scanner's log tells which of them is right" if other else ""
    if clear:
        return f"{_follow(peak, tr)}; set {key} to move the peak there{either}"
    return f"the responses do not clearly follow the number of words at any lag, but with {key} they do{either}"


def _story_by_story(measured: _LagCorrelations, scans: _Scans, tr: float) -> str | None:
    """Describe lags that differ from story to story: each story then needs its own `before`."""
    usual, names = _usual(tr), scans.responses.names
    each, curves = measured.each, [curve_of(story[None]) for story in measured.each]
    peaks = np.array([LAGS[int(curve.argmax())] for curve in curves])
    beyond_chance = measured.chance.exceeded_alone(each)
    clear = np.array([_stands_out(curve, each.shape[2]) for curve in curves]) & beyond_chance
    # A few of many stories exceed chance by chance, so a share of them has to.
    if clear.sum() < max(2, SOME * len(each)) or np.ptp(peaks[clear]) <= max(1, len(usual)):
        return None
    starts = np.array(scans.recorded.before)
    longer = np.array([len(trs) for trs in scans.tr_times]) - np.array(scans.recorded.trs)
    # of the usual lags, the one at which the rows fit the recordings best
    lag = min(usual, key=lambda lag: float(np.abs(peaks - lag - longer)[clear].sum()))
    corrected = starts + (peaks - lag) * tr
    table = ", ".join(f"{name} = {corrected[i]:g}" for i, name in enumerate(names) if clear[i])
    unclear = [name for i, name in enumerate(names) if not clear[i]]
    lags = ", ".join(f"{name} by {peaks[i]} TRs" for i, name in enumerate(names) if clear[i])
    rest = f"; the lag is not clear in {', '.join(unclear)}" if unclear else ""
    return (
        f"the responses follow the words by different times in different stories ({lags}), so each recording begins at "
        f"another time of its scan; set before = {{ {table} }} or values close to these{rest}"
    )
