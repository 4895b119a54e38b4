r"""The alignment doctor: do the responses follow the words by the time that blood takes?

    c(k) = root mean square over voxels of  mean over stories of  corr(words in TR i - k, response in TR i)

The haemodynamic response peaks 4 to 6 seconds after what it answers, 2 to 3 TRs of 2 seconds. A peak elsewhere says
that words and responses do not belong to the same TRs; the usual reason is a trim turned round, which no row count
shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.align import tr_of_words
from encoderlab.brain.responses import StoryResponses

EARLIEST, LATEST = 3.9, 6.1  # seconds from words to the peak of the response
LAGS = range(-8, 13)
ENOUGH = 3000  # TRs; with fewer the curve of real responses may be too rough to judge
SAMPLE = 2000  # voxels looked at, evenly spread


@final
@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """lags: TRs. curve: c(k) of each. peak: the lag where it is highest. warning: what is wrong, and what would mend
    it; None where nothing is."""

    lags: tuple[int, ...]
    curve: tuple[float, ...]
    peak: int
    tr: float
    clear: bool
    warning: str | None

    @property
    def summary(self) -> str:
        if not self.clear:
            return self.warning or "too few TRs to say by how much the responses follow the words"
        return f"responses follow the words by {self.peak} TRs ({self.peak * self.tr:g} s)"


def diagnose(
    times: Sequence[NDArray],
    tr_times: Sequence[NDArray],
    responses: StoryResponses,
    trim: tuple[int, int],
) -> Diagnosis:
    """times, tr_times: seconds, of each story's words and TRs before trimming; responses: of the same stories, whose
    row r is taken to be TR trim[0] + r. Row counts must agree."""
    step = max(1, responses.voxels // SAMPLE)
    total, counts = np.zeros((len(LAGS), -(-responses.voxels // step))), np.zeros(len(LAGS))
    for story, (words, trs) in enumerate(zip(times, tr_times, strict=True)):
        rate = np.bincount(tr_of_words(words, trs)[tr_of_words(words, trs) >= 0], minlength=len(trs)).astype(float)
        y = responses.read(story, slice(0, responses.voxels, step)).astype(np.float64)
        for k, lag in enumerate(LAGS):
            first = trim[0] - lag  # the TR of the words that belong to row 0
            low, high = max(0, -first), min(len(y), len(rate) - first)
            if high - low < 10:
                continue
            total[k] += _correlation(rate[first + low : first + high], y[low:high])
            counts[k] += 1
    curve = np.sqrt(((total / np.maximum(counts, 1)[:, None]) ** 2).mean(axis=1))
    tr = float(np.mean([np.diff(trs).mean() for trs in tr_times]))
    peak = LAGS[int(curve.argmax())]
    # Noise alone has its peak at 1.05 to 1.15 times the median over 200 voxels, and higher the fewer there are.
    clear = bool(curve.max() > max(1.4, 1 + 3 / np.sqrt(total.shape[1])) * np.median(curve))
    return Diagnosis(
        lags=tuple(LAGS),
        curve=tuple(float(value) for value in curve),
        peak=peak,
        tr=tr,
        clear=clear,
        warning=_warning(peak, tr, clear, trim) if clear or sum(responses.lengths) >= ENOUGH else None,
    )


def _correlation(rate: NDArray, y: NDArray) -> NDArray:
    """Pearson r of each column; 0 where one of the two is constant or a number is missing."""
    a, b = rate - rate.mean(), y - y.mean(axis=0)
    size = np.sqrt((a**2).sum() * (b**2).sum(axis=0))
    known = np.isfinite(size) & (size > 0)
    return np.where(known, a @ np.where(known, b, 0.0), 0.0) / np.where(known, size, 1.0)


def _warning(peak: int, tr: float, clear: bool, trim: tuple[int, int]) -> str | None:
    if not clear:
        return (
            "the responses follow the number of words at no lag clearly, so that the alignment cannot be judged; check "
            "that stories and responses belong together"
        )
    usual = [lag for lag in LAGS if EARLIEST <= lag * tr <= LATEST] or [round((EARLIEST + LATEST) / 2 / tr)]
    if peak in usual:
        return None
    front = trim[0] + usual[0] - peak
    expected = " or ".join(dict.fromkeys((str(usual[0]), str(usual[-1]))))
    said = f"the responses follow the words by {peak} TRs ({peak * tr:g} s); expected {expected}"
    back = sum(trim) - front
    if front < 0 or back < 0:
        return f"{said}. No trim of {sum(trim)} TRs in all puts it there: check the TR times"
    return (
        f"{said}, so words and responses are {abs(usual[0] - peak)} TRs apart; trim = [{front}, {back}] puts it there"
    )
